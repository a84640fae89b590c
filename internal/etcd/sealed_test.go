package etcd_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// The operator seals members that have run: it starts them with an initial cluster of only themselves, as members of
// an existing one. That rests on two facts about etcd, which are tested here with every minor that is supported.
var minors = []string{"3.5", "3.6", "3.7"}

// TestSealedMemberComesBack: on its data a sealed member starts and is the member that it was.
func TestSealedMemberComesBack(t *testing.T) {
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c, pool := newCluster(t, minor, 3), newPool(t)
			before := c.found(pool)
			for _, m := range c.members {
				c.kill(m)
				c.start(m, core.StartSealed)
				c.await(pool, "all serve again", c.allServe)
			}
			// All at once too: none of them was told of another one by its arguments.
			for _, m := range c.members {
				c.kill(m)
			}
			for _, m := range c.members {
				c.start(m, core.StartSealed)
			}
			after := c.await(pool, "all serve again", c.allServe)
			for i, s := range after.Statuses {
				if was := before.Statuses[i]; s.ID != was.ID || s.ClusterID != was.ClusterID {
					t.Errorf("member %s of cluster %s became %s of %s", was.ID, was.ClusterID, s.ID, s.ClusterID)
				}
			}
		})
	}
}

// TestSealedMemberRefusesAnEmptyVolume: it ends with an error, and never forms a cluster of its own.
func TestSealedMemberRefusesAnEmptyVolume(t *testing.T) {
	for _, minor := range minors {
		t.Run("one of three, "+minor, func(t *testing.T) {
			t.Parallel()
			c, pool := newCluster(t, minor, 3), newPool(t)
			before := c.found(pool)
			emptied := c.members[2]
			c.kill(emptied)
			c.refuses(emptied)
			after := c.await(pool, "the others serve", func(e core.Etcd) bool { return e.List.Known })
			if !slices.Equal(after.List.Members, before.List.Members) {
				t.Errorf("the member list has changed: %v", after.List.Members)
			}
			// Nor while nobody else is there to say that it is a member.
			c.kill(c.members[0])
			c.kill(c.members[1])
			c.refuses(emptied)
		})
		t.Run("the only one, "+minor, func(t *testing.T) {
			t.Parallel()
			c, pool := newCluster(t, minor, 1), newPool(t)
			c.found(pool)
			c.kill(c.members[0])
			c.refuses(c.members[0])
		})
	}
}

// TestWhyPodsThatRunAreSealed: a founder whose volume was emptied, and who is started as one again while who holds the newest
// write is down, votes as if it had never acknowledged that. Sealed it refuses; so the pod is sealed, not only what makes the
// next one.
func TestWhyPodsThatRunAreSealed(t *testing.T) {
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c, pool := newCluster(t, minor, 3), newPool(t)
			leader, followers := c.leader(c.found(pool))
			late, emptied := followers[0], followers[1]
			c.kill(late)
			put(t, leader.address(), "acknowledged", "yes")
			c.kill(emptied)
			c.kill(leader)
			c.refuses(emptied)
			c.start(emptied, core.StartBootstrap)
			for deadline := time.Now().Add(startLimit); !emptied.hasLog() && time.Now().Before(deadline); {
				time.Sleep(20 * time.Millisecond)
			}
			c.start(late, core.StartSealed)
			c.await(pool, "they elect each other", func(e core.Etcd) bool { return e.List.Known })
			if got, err := connect(t, late.address()).Get(t.Context(), "acknowledged"); err != nil || len(got.Kvs) > 0 {
				t.Errorf("the write is there: etcd keeps such a member out (%v)", err)
			}
		})
	}
}

// refuses starts a member, sealed and on an empty volume, and expects it to end with an error.
func (c *cluster) refuses(m *member) {
	c.t.Helper()
	if err := os.RemoveAll(m.folder); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Mkdir(m.folder, 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.start(m, core.StartSealed)
	select {
	case <-m.ended:
		if code := m.process.ProcessState.ExitCode(); code <= 0 {
			c.t.Errorf("it ended with exit code %d", code)
		}
	case <-time.After(10 * time.Second):
		c.t.Error("it runs, although it has no data")
	}
	if m.hasLog() {
		c.t.Error("it began a log of its own")
	}
}

// hasLog is whether a member has begun a log.
func (m *member) hasLog() bool {
	entries, _ := os.ReadDir(m.folder + "/data/member/wal") // There is none as long as it has not.
	return len(entries) > 0
}
