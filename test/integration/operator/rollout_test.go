//go:build integration

package operator

import (
	"fmt"
	"slices"
	"strings"
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
	cluster := s.settled()
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
		// snapshots is how many entries of the log a member applies between two snapshots of it; "" means etcd's 10000.
		// The log of 3.5 has entries that 3.7 cannot read, so that a snapshot has to come between.
		snapshots v1alpha1.ConfigValue
	}{
		{"from 3.6 to 3.7", []string{"3.6.16", "3.7.3"}, ""},
		{"from 3.5 to 3.7 with snapshots", []string{"3.5.33", "3.6.16", "3.7.3"}, "100"},
	} {
		t.Run(upgrade.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			for _, version := range upgrade.versions {
				s.needs(version)
			}
			s.operate()
			h := s.follow()
			s.running(3, func(spec *v1alpha1.EtcdClusterSpec) {
				spec.Version = upgrade.versions[0]
				if upgrade.snapshots != "" {
					spec.Config = map[string]v1alpha1.ConfigValue{"snapshot-count": upgrade.snapshots}
				}
			})
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

// TestAnUpgradeThatEtcdCannotMakeIsTakenBack: the log of 3.5 has entries that 3.7 cannot read, and 3.6 keeps them until
// its next snapshot of the log, after 10000 entries. A 3.7 that comes before fails; it fails alone, and 3.6 comes back.
func TestAnUpgradeThatEtcdCannotMakeIsTakenBack(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, version := range []string{"3.5.33", "3.6.16", "3.7.3"} {
		s.needs(version)
	}
	s.operate()
	h := s.follow()
	s.running(3, func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.5.33" })
	s.sealed()
	w := s.write()
	s.upgrade(h, "3.6.16")
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.7.3" })
	s.says("Degraded", "CrashLooping", "exit code")
	s.says("Available", "QuorumServes")
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.6.16" })
	s.settled()
	w.finish()
	s.checkOneCluster()
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

func TestHopsThatEtcdCannotMakeAreRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, version := range []string{"3.5.33", "3.6.16", "3.7.3"} {
		s.needs(version)
	}
	set := func(version string) error {
		cluster := s.cluster()
		cluster.Spec.Version = version
		return env.Client.Update(t.Context(), cluster)
	}
	o := s.operate()
	s.running(3, func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.5.33" })
	s.sealed()
	before := s.pods()
	if err := set("3.7.3"); err == nil || !strings.Contains(err.Error(), "one minor at a time") {
		t.Fatalf("the step from 3.5.33 to 3.7.3 is not refused: %v", err)
	}
	// Two allowed steps, too quick for the operator to make the first.
	o.stop()
	for _, version := range []string{"3.6.16", "3.7.3"} {
		s.eventually("spec.version is "+version, patience, func() error { return set(version) })
	}
	s.operate()
	s.says("Degraded", "VersionHopRefused", "3.7.3", "3.5.33", "3.6 first")
	s.says("Available", "QuorumServes")
	time.Sleep(2 * time.Second)
	for name, pod := range s.pods() {
		if pod.UID != before[name].UID {
			t.Errorf("pod %s was restarted by a change that was refused", name)
		}
	}
	s.eventually("spec.version is 3.6.16", patience, func() error { return set("3.6.16") })
	s.rolled(before)
	// The way back is closed by now.
	s.eventually("spec.version is 3.5.33", patience, func() error { return set("3.5.33") })
	s.says("Degraded", "VersionHopRefused", "3.5.33", "downgrade")
	s.eventually("spec.version is 3.6.16", patience, func() error { return set("3.6.16") })
	s.settled()
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
