//go:build integration

package operator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// settings is a change that restarts every member.
func settings(value string) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Config = map[string]v1alpha1.ConfigValue{"max-txn-ops": v1alpha1.ConfigValue(value)}
	}
}

// rolled waits until the cluster has settled and every pod is another one than before.
func (s *scene) rolled(before map[string]*corev1.Pod) *v1alpha1.EtcdCluster {
	s.Helper()
	s.tidy(longPatience)
	cluster := s.cluster()
	for name, pod := range s.pods() {
		if before[name] != nil && before[name].UID == pod.UID {
			s.Errorf("pod %s was not restarted", name)
		}
	}
	return cluster
}

// checkRoll checks how the members were restarted: each once, one at a time.
func (s *scene) checkRoll(h *history) (stopped []string) {
	s.Helper()
	fewest, stopped := h.since()
	size := int(*s.cluster().Spec.Size)
	if fewest < size-1 {
		s.Errorf("only %d of %d members ran at some moment, %d must at all times", fewest, size, size-1)
	}
	if len(stopped) != size || len(slices.Compact(slices.Sorted(slices.Values(stopped)))) != size {
		s.Errorf("the pods were stopped in the order %v, expected is each once", stopped)
	}
	return stopped
}

func TestRollingChangeUnderWrites(t *testing.T) {
	s := newScene(t)
	s.operate()
	h := s.follow()
	cluster := s.running(3)
	s.sealed()
	before := s.pods()
	w := s.write()
	time.Sleep(500 * time.Millisecond)

	h.mark()
	started := time.Now()
	s.change(settings("200"))
	after := s.rolled(before)
	t.Logf("three members were restarted within %v", time.Since(started).Round(time.Millisecond))
	stopped := s.checkRoll(h)
	w.finish()
	if w.gap > 3*time.Second {
		t.Errorf("no write was acknowledged for %v", w.gap)
	}
	if leader := cluster.Status.Leader; len(stopped) == 3 && stopped[2] != leader+"-0" {
		t.Errorf("the pods were stopped in the order %v, the leader %s was to be the last", stopped, leader)
	}
	s.tells("MoveLeader", "RestartMember", "RollingOut")
	if moves := s.metric("etcd_operator_steps_total", "step", "MoveLeader"); moves < 1 {
		t.Errorf("the leadership was moved %v times", moves)
	}
	if after.Status.ClusterID != cluster.Status.ClusterID {
		t.Errorf("the cluster was %s and is %s", cluster.Status.ClusterID, after.Status.ClusterID)
	}
	s.checkTransactionLimit(200)
	s.eventually("the old settings are removed", patience, func() error {
		var configs corev1.ConfigMapList
		s.list(&configs)
		if len(configs.Items) != 1 {
			return fmt.Errorf("there are %d ConfigMaps", len(configs.Items))
		}
		return nil
	})
}

func TestASingleMemberIsRolledToo(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	s.running(1)
	s.put("key", "value")
	before := s.pods()
	s.change(settings("300"))
	s.rolled(before)
	s.holds("key", "value")
	s.checkTransactionLimit(300)
}

func TestUpgradeUnderWrites(t *testing.T) {
	t.Parallel()
	for _, upgrade := range []struct {
		name     string
		versions []string
	}{
		{"from 3.6 to 3.7", []string{"3.6.16", "3.7.3"}},
	} {
		t.Run(upgrade.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			for _, version := range upgrade.versions {
				s.needs(version)
			}
			s.operate()
			h := s.follow()
			s.running(3, etcdVersion(upgrade.versions[0]))
			s.sealed()
			w := s.write()
			for _, version := range upgrade.versions[1:] {
				s.upgrade(h, version)
			}
			w.finish()
			s.checkOneCluster()
		})
	}
}

// upgrade brings the cluster to another version, and checks how.
func (s *scene) upgrade(h *history, version string) {
	s.Helper()
	before, id := s.pods(), s.cluster().Status.ClusterID
	h.mark()
	started := time.Now()
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = version })
	after := s.rolled(before)
	s.Logf("upgraded to %s within %v", version, time.Since(started).Round(time.Millisecond))
	s.checkRoll(h)
	if after.Status.Version != version || after.Status.ClusterID != id {
		s.Errorf("after the upgrade to %s the status says version %s and cluster %s, before it was %s",
			version, after.Status.Version, after.Status.ClusterID, id)
	}
	for n := range 3 {
		if said := s.member(fmt.Sprintf("demo-%d", n)).Version; said != version {
			s.Errorf("member %d runs %s, not %s", n, said, version)
		}
	}
}

func TestAnUpgradeIsTakenBackHalfway(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.needs("3.5.33")
	s.operate()
	h := s.follow()
	cluster := s.running(3, func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.5.33" })
	s.sealed()
	w := s.write()
	h.mark()
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.6.16" })
	s.eventually("one member runs 3.6", patience, func() error {
		for _, m := range s.cluster().Status.Members {
			if m.Version == "3.6.16" {
				return nil
			}
		}
		return fmt.Errorf("none does")
	})
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.5.33" })
	after := s.settled()
	for n := range 3 {
		if said := s.member(fmt.Sprintf("demo-%d", n)).Version; said != "3.5.33" {
			t.Errorf("member %d runs %s, not 3.5.33", n, said)
		}
	}
	if fewest, _ := h.since(); fewest < 2 || after.Status.ClusterID != cluster.Status.ClusterID {
		t.Errorf("at the worst moment %d members ran; the cluster was %s and is %s", fewest, cluster.Status.ClusterID, after.Status.ClusterID)
	}
	w.finish()
}
