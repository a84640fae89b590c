package etcd_test

import (
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
)

// listener hears what a watcher tells.
type listener chan string

func (l listener) notify(cluster string) { l <- cluster }

// hear waits for the next word, and says how long it took.
func (l listener) hear(t *testing.T, what string, within time.Duration) {
	t.Helper()
	asked := time.Now()
	select {
	case cluster := <-l:
		t.Logf("%s: heard after %s", what, time.Since(asked).Round(time.Millisecond))
		if cluster != "default/demo" {
			t.Errorf("%s: heard of %s", what, cluster)
		}
	case <-time.After(within):
		t.Fatalf("%s: nothing was heard within %s", what, within)
	}
}

// silence is what is heard while nothing happens.
func (l listener) silence(t *testing.T, what string) {
	t.Helper()
	select {
	case <-l:
		t.Errorf("%s: heard of it", what)
	case <-time.After(400 * time.Millisecond):
	}
}

func newWatcher(t *testing.T, pool *etcd.Pool) (*etcd.Watcher, listener) {
	t.Helper()
	heard := make(listener, 100)
	watcher := etcd.NewWatcher(pool, heard.notify)
	t.Cleanup(watcher.Close)
	return watcher, heard
}

// TestWatchOneMember: it is heard of when it begins to serve, and within a second when it is killed.
func TestWatchOneMember(t *testing.T) {
	t.Parallel()
	c, pool := newCluster(t, "3.6", 1), newPool(t)
	watcher, heard := newWatcher(t, pool)
	watcher.Watch("default/demo", c.endpoints())
	heard.silence(t, "nothing runs")
	c.start(c.members[0], core.StartBootstrap)
	heard.hear(t, "it starts", startLimit)
	// The same endpoints again: the watch goes on.
	watcher.Watch("default/demo", c.endpoints())
	heard.silence(t, "it runs")
	c.kill(c.members[0])
	heard.hear(t, "it is killed", time.Second)
	heard.silence(t, "it is down")
	c.start(c.members[0], core.StartSealed)
	heard.hear(t, "it is back", startLimit)
	watcher.Watch("default/demo", nil)
	c.kill(c.members[0])
	heard.silence(t, "nobody is interested any more")
}

// TestWatchLossOfTheLeader: a member that runs on without a leader is heard of too. No pod changes then.
func TestWatchLossOfTheLeader(t *testing.T) {
	t.Parallel()
	c, pool := newCluster(t, "3.6", 3), newPool(t)
	leader, followers := c.leader(c.found(pool))
	watcher, heard := newWatcher(t, pool)
	watcher.Watch("default/demo", []etcd.Endpoint{{Member: followers[0].name, Address: followers[0].address()}})
	heard.hear(t, "it serves", startLimit)
	c.kill(leader)
	c.kill(followers[1])
	heard.hear(t, "it has lost its leader", 5*time.Second)
	c.start(leader, core.StartSealed)
	heard.hear(t, "there is a leader again", startLimit)
}
