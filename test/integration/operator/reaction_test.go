//go:build integration

package operator

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// statuses follows the status of the cluster from now on, each as it is written.
func (s *scene) statuses() <-chan *v1alpha1.EtcdCluster {
	s.Helper()
	watcher, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Client.Scheme()})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := watcher.Watch(ctx, &v1alpha1.EtcdClusterList{}, client.InNamespace(s.namespace))
	if err != nil {
		s.Fatal(err)
	}
	seen := make(chan *v1alpha1.EtcdCluster, 1000)
	go func() {
		for event := range stream.ResultChan() {
			if cluster, ok := event.Object.(*v1alpha1.EtcdCluster); ok && event.Type != watch.Deleted {
				seen <- cluster
			}
		}
	}()
	s.Cleanup(cancel)
	return seen
}

// reported waits for a status that fits, and tells when it was seen.
func (s *scene) reported(statuses <-chan *v1alpha1.EtcdCluster, what string, limit time.Duration, fits func(v1alpha1.EtcdClusterStatus) bool) time.Time {
	s.Helper()
	deadline := time.After(patience)
	started := time.Now()
	for {
		select {
		case cluster := <-statuses:
			if fits(cluster.Status) {
				took := time.Since(started)
				s.Logf("%s was reported after %v", what, took.Round(time.Millisecond))
				if took > limit {
					s.Errorf("%s was reported after %v, not within %v", what, took, limit)
				}
				return time.Now()
			}
		case <-deadline:
			s.Fatalf("%s was not reported", what)
		}
	}
}

func healthy(status v1alpha1.EtcdClusterStatus, member string) bool {
	for _, m := range status.Members {
		if m.Name == member {
			return m.Healthy
		}
	}
	return false
}

// kill kills a member, and again whenever it comes back, for longer than an election and a call to etcd take. The
// returned function waits for the end of it.
func (s *scene) kill(member string) (wait func()) {
	s.Helper()
	if err := env.KillMember(s.namespace, member+"-0", syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 60 {
			time.Sleep(50 * time.Millisecond)
			_ = env.KillMember(s.namespace, member+"-0", syscall.SIGKILL) // it may be down
		}
	}()
	return func() { <-ended }
}

// These run while no other test does: they measure.

func TestAKilledMemberIsReportedAtOnce(t *testing.T) {
	s := newScene(t)
	s.operate()
	cluster := s.running(3)
	s.sealed()
	for _, role := range []string{"follower", "leader"} {
		victim := cluster.Status.Leader
		for n := 0; role == "follower" && victim == cluster.Status.Leader; n++ {
			victim = fmt.Sprintf("demo-%d", n)
		}
		statuses := s.statuses()
		wait := s.kill(victim)
		// A call to a member that is just starting waits for it, for 2 s at most.
		s.reported(statuses, "the death of the "+role, 2500*time.Millisecond, func(status v1alpha1.EtcdClusterStatus) bool {
			return !healthy(status, victim)
		})
		if role == "leader" {
			s.reported(statuses, "the new leader", 5*time.Second, func(status v1alpha1.EtcdClusterStatus) bool {
				return status.Leader != "" && status.Leader != victim
			})
		}
		wait()
		s.reported(statuses, "the recovery of the "+role, 10*time.Second, func(status v1alpha1.EtcdClusterStatus) bool {
			return status.ReadyMembers == 3
		})
		s.settled()
	}
	s.tells("MemberHealthy", "LeaderChanged")
}

func TestAChangeOfTheLeaderIsReported(t *testing.T) {
	s := newScene(t)
	s.operate()
	cluster := s.running(3)
	from, to := cluster.Status.Leader, "demo-0"
	if from == to {
		to = "demo-1"
	}
	statuses := s.statuses()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	connection := s.connect(s.endpoint(from))
	if _, err := connection.MoveLeader(ctx, s.member(to).Header.MemberId); err != nil {
		t.Fatal(err)
	}
	// Nothing of Kubernetes changes and no connection ends: the look that comes at the latest has to see it.
	s.reported(statuses, "the change of the leader", 17*time.Second, func(status v1alpha1.EtcdClusterStatus) bool { return status.Leader == to })
	s.settled()
}

func TestAFrozenOrUnreachableMemberIsReported(t *testing.T) {
	s := newScene(t)
	s.operate()
	cluster := s.running(3)
	for what, fault := range map[string][2]func(string, string) error{
		"frozen": {env.PausePod, env.ResumePod}, "disconnected": {env.DisconnectPod, env.ConnectPod},
	} {
		victim := "demo-0"
		if cluster.Status.Leader == victim {
			victim = "demo-1"
		}
		statuses := s.statuses()
		if err := fault[0](s.namespace, victim+"-0"); err != nil {
			t.Fatal(err)
		}
		s.reported(statuses, "a "+what+" member", 19*time.Second, func(status v1alpha1.EtcdClusterStatus) bool { return !healthy(status, victim) })
		s.says("Available", "QuorumServes")
		if err := fault[1](s.namespace, victim+"-0"); err != nil {
			t.Fatal(err)
		}
		s.reported(statuses, "the end of it", 10*time.Second, func(status v1alpha1.EtcdClusterStatus) bool { return healthy(status, victim) })
		cluster = s.settled()
	}
}
