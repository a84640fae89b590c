package etcd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
)

// newcomer is a member that is not in the cluster yet.
func (c *cluster) newcomer() *member {
	c.t.Helper()
	return &member{
		name: fmt.Sprintf("demo-%d", len(c.members)), client: freePort(c.t), peer: freePort(c.t), metrics: freePort(c.t), folder: c.t.TempDir(),
	}
}

func (m *member) peerURL() string { return fmt.Sprintf("http://127.0.0.1:%d", m.peer) }

// persist asks again for as long as etcd refuses for now, and tells how often it did.
func persist(t *testing.T, pool *etcd.Pool, what string, ask func() error) (refusals int) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = ask(); err == nil {
			return refusals
		}
		if !pool.IsRefusal(err) {
			t.Fatalf("%s: %v", what, err)
		}
		refusals++
	}
	t.Fatalf("%s: still refused: %v", what, err)
	return refusals
}

// idOf is the ID that etcd lists a peer URL with.
func idOf(t *testing.T, e core.Etcd, m *member) string {
	t.Helper()
	i := slices.IndexFunc(e.List.Members, func(l core.Listed) bool { return l.PeerURL == m.peerURL() })
	if i < 0 {
		t.Fatalf("%s is not listed: %+v", m.peerURL(), e.List)
	}
	return e.List.Members[i].ID
}

// TestLifeOfAMember: added as a learner, started, promoted, removed; each of it asked for twice, as after an answer that
// was lost.
func TestLifeOfAMember(t *testing.T) {
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			c, pool := newCluster(t, minor, 1), newPool(t)
			c.found(pool)
			via, second := c.members[0].address(), c.newcomer()
			for range 2 {
				persist(t, pool, "adding", func() error { return pool.AddLearner(ctx, via, second.peerURL()) })
			}
			e := pool.Observe(ctx, c.endpoints())
			id := idOf(t, e, second)
			if want := (core.Listed{ID: id, PeerURL: second.peerURL(), Learner: true}); len(e.List.Members) != 2 || !slices.Contains(e.List.Members, want) {
				t.Errorf("listed: %+v", e.List.Members)
			}
			if err := pool.Promote(ctx, via, id); !pool.IsRefusal(err) || !strings.Contains(err.Error(), "promoting member "+id+", asked of "+via) {
				t.Errorf("promoted before it has started: %v", err)
			}
			if err := pool.AddLearner(ctx, via, "http://127.0.0.1:1"); !pool.IsRefusal(err) {
				t.Errorf("a learner more than members were told: %v", err)
			}

			c.members = append(c.members, second)
			c.start(second, core.StartJoin)
			c.await(pool, "it has joined as a learner", func(e core.Etcd) bool { return c.allServe(e) && e.Statuses[1].Learner && e.Statuses[1].ID == id })
			for range 2 {
				persist(t, pool, "promoting", func() error { return pool.Promote(ctx, via, id) })
			}
			e = c.await(pool, "it votes", func(e core.Etcd) bool { return c.allServe(e) && !e.Statuses[1].Learner })
			if slices.ContainsFunc(e.List.Members, func(l core.Listed) bool { return l.Learner || !l.Started }) {
				t.Errorf("listed: %+v", e.List.Members)
			}

			// etcd wants to have been connected to those that stay for five seconds.
			persist(t, pool, "removing", func() error { return pool.Remove(ctx, via, id) })
			persist(t, pool, "removing again", func() error { return pool.Remove(ctx, via, id) })
			<-second.ended
			c.members = c.members[:1]
			c.await(pool, "one is left", c.allServe)
		})
	}
}

// TestQuorumIsProtected: etcd refuses for now what could cost the quorum. That is no failure.
func TestQuorumIsProtected(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c, pool := newCluster(t, "3.6", 3), newPool(t)
	leader, followers := c.leader(c.found(pool))
	fourth := c.newcomer()
	add := func() error { return pool.AddLearner(ctx, leader.address(), fourth.peerURL()) }
	if persist(t, pool, "adding", add) == 0 {
		t.Error("etcd added a member before the others have been connected for five seconds")
	}
	e := pool.Observe(ctx, c.endpoints())
	c.kill(followers[1])
	c.await(pool, "the killed one is missed", func(core.Etcd) bool {
		return pool.IsRefusal(pool.AddLearner(ctx, leader.address(), "http://127.0.0.1:1"))
	})
	if err := pool.Remove(ctx, leader.address(), idOf(t, e, followers[0])); !pool.IsRefusal(err) {
		t.Errorf("of two that are left one is removed: %v", err)
	}
	// The one that is dead may go.
	persist(t, pool, "removing the dead one", func() error { return pool.Remove(ctx, leader.address(), idOf(t, e, followers[1])) })
}

// TestDisarm: an alarm is cleared for the member that raised it, by its ID.
func TestDisarm(t *testing.T) {
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			c, pool := newCluster(t, minor, 1, "--quota-backend-bytes=1000000"), newPool(t)
			c.found(pool)
			address := c.members[0].address()
			fill(t, address)
			e := c.await(pool, "the alarm is raised", func(e core.Etcd) bool { return len(e.Statuses[0].Alarms) > 0 })
			s := e.Statuses[0]
			if !slices.Equal(s.ClusterAlarms, []string{"NOSPACE"}) || !slices.Equal(s.AlarmIDs, []string{s.ID}) {
				t.Errorf("%+v", s)
			}
			if err := pool.Disarm(ctx, address, s.ID, "THIRSTY"); err == nil || pool.IsRefusal(err) || !strings.Contains(err.Error(), `"THIRSTY" is no alarm`) {
				t.Error(err)
			}
			// Someone else's is another alarm.
			if err := pool.Disarm(ctx, address, "1", "NOSPACE"); err != nil {
				t.Error(err)
			}
			if e = pool.Observe(ctx, c.endpoints()); len(e.Statuses[0].Alarms) == 0 {
				t.Error("the alarm of another member was cleared")
			}
			for range 2 {
				if err := pool.Disarm(ctx, address, s.ID, "NOSPACE"); err != nil {
					t.Error(err)
				}
			}
			c.await(pool, "the alarm is cleared", func(e core.Etcd) bool {
				return e.Statuses[0].Answered && len(e.Statuses[0].Alarms)+len(e.Statuses[0].ClusterAlarms)+len(e.Statuses[0].AlarmIDs) == 0
			})
		})
	}
}

// TestDowngradeIsTold: etcd knows of a downgrade, brings its data back, and forgets it again.
func TestDowngradeIsTold(t *testing.T) {
	for minor, target := range map[string]string{"3.6": "3.5", "3.7": "3.6"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			c, pool := newCluster(t, minor, 1), newPool(t)
			if s := c.found(pool).Statuses[0]; s.DowngradeTarget != "" {
				t.Errorf("%+v", s)
			}
			address := c.members[0].address()
			if err := pool.EnableDowngrade(ctx, address, "3.3"); !pool.IsRefusal(err) {
				t.Errorf("over two minors at once: %v", err)
			}
			persist(t, pool, "enabling", func() error { return pool.EnableDowngrade(ctx, address, target) })
			c.await(pool, "the data has gone back", func(e core.Etcd) bool {
				s := e.Statuses[0]
				return strings.HasPrefix(s.DowngradeTarget, target) && strings.HasPrefix(s.StorageVersion, target+".") && strings.HasPrefix(s.Version, minor+".")
			})
			if err := pool.EnableDowngrade(ctx, address, target); !pool.IsRefusal(err) {
				t.Errorf("it goes on already: %v", err)
			}
			for range 2 {
				if err := pool.CancelDowngrade(ctx, address); err != nil {
					t.Error(err)
				}
			}
			c.await(pool, "the downgrade is forgotten", func(e core.Etcd) bool { return e.Statuses[0].Answered && e.Statuses[0].DowngradeTarget == "" })
		})
	}
}

// TestFlushLog: entries that change nothing, of which there are enough for every member to write a snapshot.
func TestFlushLog(t *testing.T) {
	t.Parallel()
	const count = 200
	c, pool := newCluster(t, "3.6", 3, fmt.Sprintf("--snapshot-count=%d", count)), newPool(t)
	before := c.found(pool)
	if err := pool.FlushLog(context.Background(), c.members[1].address(), count+100); err != nil {
		t.Fatal(err)
	}
	after := c.await(pool, "every member has applied them and written a snapshot", func(e core.Etcd) bool {
		for i, m := range c.members {
			snapshots, err := filepath.Glob(m.folder + "/data/member/snap/*.snap")
			if err != nil || len(snapshots) == 0 || e.Statuses[i].RaftApplied < before.Statuses[i].RaftApplied+count {
				return false
			}
		}
		return true
	})
	if after.Statuses[0].Revision != before.Statuses[0].Revision || len(after.Statuses[0].Alarms) > 0 {
		t.Errorf("something has changed: %+v, before %+v", after.Statuses[0], before.Statuses[0])
	}
	if _, err := os.Stat(c.members[0].folder + "/data/member/wal"); err != nil {
		t.Error(err)
	}
}

// TestAgree: members that hold the same data say so, and nobody can be compared with a member that is gone.
func TestAgree(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c, pool := newCluster(t, "3.6", 3), newPool(t)
	c.found(pool)
	put(t, c.members[0].address(), "key", "value")
	e := c.await(pool, "all have it", func(e core.Etcd) bool {
		return !slices.ContainsFunc(e.Statuses, func(s core.Status) bool { return s.Revision < 2 })
	})
	if difference, err := pool.Agree(ctx, c.endpoints(), e.Statuses[0].Revision); difference != "" || err != nil {
		t.Errorf("%s, %v", difference, err)
	}
	if difference, err := pool.Agree(ctx, nil, 1); difference != "" || err != nil {
		t.Errorf("nobody differs from nobody: %s, %v", difference, err)
	}
	if _, err := pool.Agree(ctx, c.endpoints(), 999); err == nil {
		t.Error("of a revision that is yet to come")
	}
	// Another cluster's data stands for data that was lost.
	other := newCluster(t, "3.6", 1)
	other.found(pool)
	put(t, other.members[0].address(), "key", "another value")
	pair := []etcd.Endpoint{c.endpoints()[0], {Member: "demo-9", Address: other.members[0].address()}}
	if difference, err := pool.Agree(ctx, pair, 2); difference != "members demo-0 and demo-9 hold different data at revision 2" || err != nil {
		t.Errorf("%s, %v", difference, err)
	}
	compact(t, other.members[0].address(), 2)
	// etcd remembers the hash of the revision that was compacted at, as it was before: the next one shows it.
	for _, member := range []*member{c.members[0], other.members[0]} {
		put(t, member.address(), "key", "a third value")
	}
	if _, err := pool.Agree(ctx, pair, 3); err == nil || !strings.Contains(err.Error(), "have compacted differently") {
		t.Error(err)
	}
}

// connect makes a client as users have one.
func connect(t *testing.T, address string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func put(t *testing.T, address, key, value string) {
	t.Helper()
	if _, err := connect(t, address).Put(context.Background(), key, value); err != nil {
		t.Fatal(err)
	}
}

func compact(t *testing.T, address string, revision int64) {
	t.Helper()
	if _, err := connect(t, address).Compact(context.Background(), revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// TestCallsThatFail: the error says what was asked of whom, and is no refusal.
func TestCallsThatFail(t *testing.T) {
	t.Parallel()
	nobody := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	pool, closed := newPool(t), etcd.NewPool()
	closed.Close()
	for want, call := range map[string]func(ctx context.Context, p *etcd.Pool) error{
		"adding the member http://a:2380, asked of " + nobody: func(ctx context.Context, p *etcd.Pool) error { return p.AddLearner(ctx, nobody, "http://a:2380") },
		"promoting member a1, asked of " + nobody:             func(ctx context.Context, p *etcd.Pool) error { return p.Promote(ctx, nobody, "a1") },
		"removing member a1, asked of " + nobody:              func(ctx context.Context, p *etcd.Pool) error { return p.Remove(ctx, nobody, "a1") },
		"disarming NOSPACE of member a1, asked of " + nobody:  func(ctx context.Context, p *etcd.Pool) error { return p.Disarm(ctx, nobody, "a1", "NOSPACE") },
		"enabling the downgrade to 3.5, asked of " + nobody:   func(ctx context.Context, p *etcd.Pool) error { return p.EnableDowngrade(ctx, nobody, "3.5") },
		"canceling the downgrade, asked of " + nobody:         func(ctx context.Context, p *etcd.Pool) error { return p.CancelDowngrade(ctx, nobody) },
		"writing 3 entries to the log, asked of " + nobody:    func(ctx context.Context, p *etcd.Pool) error { return p.FlushLog(ctx, nobody, 3) },
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		t.Cleanup(cancel)
		if err := call(ctx, pool); err == nil || pool.IsRefusal(err) || !strings.HasPrefix(err.Error(), want+": ") {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if err := call(ctx, closed); err == nil || !strings.Contains(err.Error(), "the operator is stopping") {
			t.Errorf("the pool is closed: %v", err)
		}
	}
	for _, call := range []func(context.Context, string, string) error{pool.Promote, pool.Remove} {
		if err := call(context.Background(), nobody, "nobody"); err == nil || !strings.Contains(err.Error(), `"nobody" is not a member ID`) {
			t.Error(err)
		}
	}
	if pool.IsRefusal(nil) {
		t.Error("nothing is refused")
	}
}
