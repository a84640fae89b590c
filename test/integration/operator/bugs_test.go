//go:build integration

package operator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// The tests of this file are bugs that other operators had, as far as they need real processes to show. The numbers are
// those of the issues; docs/development/named-bugs.md has them all.

// TestBugVolumeOfANewMemberDeleted: zookeeper-operator#314, cassandra-operator#407. Down and up again at once: what is done
// for the smaller size must not hit the members of the larger one.
func TestBugVolumeOfANewMemberDeleted(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	for _, n := range []int32{1, 3, 5, 3} {
		s.change(size(n))
		time.Sleep(700 * time.Millisecond)
	}
	l.finish()
}

// TestBugUnschedulableMembersBlockTheirRevert: CloudNativePG#3541, OT redis-operator#480, spotahome redis-operator#552,
// cass-operator#324 and #334, tidb-operator (Acto#202). An affinity that no node has, alone or with new members, does not keep the
// operator from going back.
func TestBugUnschedulableMembersBlockTheirRevert(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][]int32{{3, 3}, {1, 3}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			l := s.live(sizes[0])
			s.change(func(spec *v1alpha1.EtcdClusterSpec) {
				size(sizes[1])(spec)
				affinity("none")(spec)
			})
			s.says("Degraded", "Unschedulable")
			s.says("Available", "QuorumServes")
			s.change(func(spec *v1alpha1.EtcdClusterSpec) {
				size(sizes[0])(spec)
				spec.PodTemplate.Spec.Affinity = nil
			})
			l.finish()
		})
	}
}

// affinity asks for nodes with such a disk.
func affinity(disk string) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) {
		spec.PodTemplate.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{disk}}},
			}}},
		}}
	}
}

// TestBugGrowingLosesTheQuorum: coreos/etcd-operator#2023, etcd-backup-restore#646. The second member's pod cannot be made, and
// the first restarts meanwhile: it serves alone, since the other has no vote yet.
func TestBugGrowingLosesTheQuorum(t *testing.T) {
	// Not beside others, see TestAnExceededQuota.
	s := newScene(t)
	l := s.live(1)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "tight"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
	}
	s.create(quota)
	s.eventually("the quota is in force", patience, func() error {
		if s.get("tight", quota); len(quota.Status.Hard) == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	s.change(size(3))
	s.says("Degraded", "QuotaExceeded")
	if err := env.KillMember(s.namespace, "demo-0-0", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	s.put("while", "alone")
	s.says("Available", "QuorumServes")
	s.delete(quota)
	l.finish()
	s.holds("while", "alone")
}

// TestBugPodLossIsNoScaleIn: etcd-io/etcd-operator#193; coreos/etcd-operator#1323, #1467, #1684, #1840, #2049; bitnami/charts#1908,
// #5443, #12832, #14731, #16069. Pods that are gone are no members that are gone: whoever stops is not taken out of the list for it,
// and comes back with its volume, also if all stop at once.
func TestBugPodLossIsNoScaleIn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	before := s.cluster().Status.Members
	for _, name := range []string{"demo-0", "demo-1", "demo-2"} {
		s.delete(s.pods()[name+"-0"])
	}
	l.finish()
	for i, m := range s.cluster().Status.Members {
		if m.ID != before[i].ID {
			t.Errorf("member %s was %s and is %s", m.Name, before[i].ID, m.ID)
		}
	}
}

// TestBugQuorumLossDeletesTheRest: coreos/etcd-operator#1972, #777; tidb-operator#3349; druid#452. With two of three volumes gone the
// third holds the data: nothing is removed, deleted or founded anew.
func TestBugQuorumLossDeletesTheRest(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	before := s.running(3)
	s.sealed()
	survivor := s.claimOf("demo-2")
	s.loseVolume("demo-0")
	s.loseVolume("demo-1")
	s.says("Available", "QuorumLost")
	time.Sleep(10 * time.Second)
	if now := s.claimOf("demo-2"); now.UID != survivor.UID || now.DeletionTimestamp != nil {
		t.Errorf("the last volume with data is gone: %+v", now.ObjectMeta)
	}
	after := s.cluster()
	if names := s.members(); !slices.Equal(names, []string{"demo-0", "demo-1", "demo-2"}) || after.Status.ClusterID != before.Status.ClusterID {
		t.Errorf("the members are %v of cluster %s, which was %s", names, after.Status.ClusterID, before.Status.ClusterID)
	}
	if n := len(s.workloads()); n != 3 {
		t.Errorf("there are %d StatefulSets", n)
	}
}

// TestBugFailoverKeepsAdding: tidb-operator#1895, #2161. Members are lost one after another, one of them while it joins: in
// the end there are three, and no more were ever listed than four.
func TestBugFailoverKeepsAdding(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	seen := s.statuses()
	victim := s.follower()
	s.loseVolume(victim)
	s.eventually("a new member joins", longPatience, func() error {
		if s.pods()["demo-3-0"] == nil {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	s.loseVolume("demo-3") // it may join with another volume, if it has not yet
	s.replaced(victim)
	second := s.follower()
	s.loseVolume(second)
	s.replaced(second)
	if names := l.finish(); len(names) != 3 {
		t.Errorf("the members are %v", names)
	}
	most := 0
	for range len(seen) {
		most = max(most, len((<-seen).Status.Members))
	}
	if most < 3 || most > 4 {
		t.Errorf("up to %d members were listed", most)
	}
}

// TestChurn changes the size while members are killed.
func TestChurn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	r := rand.New(rand.NewPCG(7, 7))
	for range 6 {
		s.change(size(draw[int32](r, 3, 5, 7)))
		time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		if names := s.members(); len(names) > 0 {
			_ = env.KillMember(s.namespace, draw(r, names...)+"-0", syscall.SIGKILL) // it may be down
		}
	}
	s.change(size(3))
	l.finish()
}
