package etcd_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
)

func TestObserveOneMember(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "3.6", 1)
	s := c.found(newPool(t)).Statuses[0]
	if s.Member != "demo-0" || s.ID != s.LeaderID || !strings.HasPrefix(s.Version, "3.6.") || s.ClusterID == "" || s.DBSize == 0 || s.RaftApplied == 0 {
		t.Errorf("%+v", s)
	}
}

// TestThreeMembers: what is seen of three members, of a leader that moves, and of one that is killed.
func TestThreeMembers(t *testing.T) {
	t.Parallel()
	c, pool := newCluster(t, "3.6", 3), newPool(t)
	e := c.found(pool)
	if e.List.ClusterID != e.Statuses[0].ClusterID {
		t.Errorf("the list is of cluster %s, the member of %s", e.List.ClusterID, e.Statuses[0].ClusterID)
	}
	for i, s := range e.Statuses {
		j := slices.IndexFunc(e.List.Members, func(l core.Listed) bool { return l.ID == s.ID })
		if j < 0 {
			t.Fatalf("member %s is not listed: %+v", s.ID, e.List)
		}
		want := core.Listed{ID: s.ID, Name: c.members[i].name, PeerURL: fmt.Sprintf("http://127.0.0.1:%d", c.members[i].peer), Started: true}
		if e.List.Members[j] != want {
			t.Errorf("listed as %+v, want %+v", e.List.Members[j], want)
		}
	}

	leader, followers := c.leader(e)
	to := e.Statuses[slices.Index(c.members, followers[0])].ID
	if err := pool.MoveLeader(context.Background(), followers[0].address(), to); err == nil || !strings.Contains(err.Error(), "not leader") {
		t.Errorf("a follower cannot hand over: %v", err)
	}
	if err := pool.MoveLeader(context.Background(), leader.address(), "nobody"); err == nil || !strings.Contains(err.Error(), `"nobody" is not a member ID`) {
		t.Error(err)
	}
	if err := pool.MoveLeader(context.Background(), leader.address(), to); err != nil {
		t.Fatal(err)
	}
	c.await(pool, "the other one leads", func(e core.Etcd) bool { return c.allServe(e) && e.Statuses[0].LeaderID == to })

	// One of three is killed: it is unknown, the others serve.
	c.kill(leader)
	gone := slices.Index(c.members, leader)
	e = c.await(pool, "the killed one does not answer", func(e core.Etcd) bool {
		return e.Statuses[gone].Error == "connection refused" && e.List.Known
	})
	if s := e.Statuses[gone]; s.Answered || s.ID != "" {
		t.Errorf("%+v", s)
	}

	// Two of three are: the one that is left answers, but nothing is known of the list.
	c.kill(followers[1])
	left := slices.Index(c.members, followers[0])
	e = c.await(pool, "there is no leader", func(e core.Etcd) bool { return e.Statuses[left].Answered && e.Statuses[left].LeaderID == "" })
	if e.List.Known || len(e.Statuses[left].Errors) > 0 {
		t.Errorf("%+v", e)
	}
}

// TestNoSpace: the alarm of a member that ran out of space is that member's.
func TestNoSpace(t *testing.T) {
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c, pool := newCluster(t, minor, 1, "--quota-backend-bytes=1000000"), newPool(t)
			c.found(pool)
			fill(t, c.members[0].address())
			e := c.await(pool, "the alarm is raised", func(e core.Etcd) bool { return len(e.Statuses[0].Alarms) > 0 })
			if s := e.Statuses[0]; !slices.Equal(s.Alarms, []string{"NOSPACE"}) || len(s.Errors) > 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// fill writes until no more is accepted.
func fill(t *testing.T, address string) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err := client.Put(context.Background(), "key", strings.Repeat("x", 200_000)); err != nil {
			return
		}
	}
	t.Fatal("the quota did not hold")
}

// TestNobodyThere: nothing listens. That is an answer of its own, and a quick one.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	address := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	asked := time.Now()
	e := pool.Observe(context.Background(), []etcd.Endpoint{{Member: "demo-0", Address: address}})
	if s := e.Statuses[0]; s.Answered || s.Error != "connection refused" || e.List.Known {
		t.Errorf("%+v", e)
	}
	if took := time.Since(asked); took > time.Second {
		t.Errorf("it took %s", took)
	}
	if _, err := pool.MemberList(context.Background(), address); err == nil || !strings.Contains(err.Error(), "member list from "+address) {
		t.Error(err)
	}
	if e := pool.Observe(context.Background(), nil); e.List.Known || len(e.Statuses) > 0 {
		t.Errorf("%+v", e)
	}
}

// TestNothingLeaks: connections of members that are gone are closed for good. Not parallel: it counts goroutines.
func TestNothingLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	c, pool := newCluster(t, "3.6", 1), etcd.NewPool()
	c.found(pool)
	watcher := etcd.NewWatcher(pool, func(string) {})
	watcher.Watch("default/demo", c.endpoints())
	watcher.Watch("default/demo", nil)
	pool.Forget("http://127.0.0.1:1")
	watcher.Watch("default/demo", c.endpoints())
	watcher.Close()
	pool.Forget(c.members[0].address())
	pool.Observe(context.Background(), c.endpoints())
	pool.Close()
	pool.Close()
	c.kill(c.members[0])
	goleak.VerifyNone(t, before)
}
