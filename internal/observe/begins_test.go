package observe_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestWhoBegins: an EtcdCluster that was made again has as empty a status as a new one. Its volumes are not filled as if there were
// nothing on them.
func TestWhoBegins(t *testing.T) {
	for name, test := range map[string]struct {
		change func(t *testing.T, s *situation)
		begins bool
	}{
		"nothing is there yet":       {func(*testing.T, *situation) {}, true},
		"claims that a restore made": {func(_ *testing.T, s *situation) { s.claimFoundedBy("uid-1") }, true},
		"claims of an earlier one":   {func(_ *testing.T, s *situation) { s.claimFoundedBy("uid-0") }, false},
		"members":                    {func(t *testing.T, s *situation) { s.add(s.workload(t, "demo-0")) }, false},
		"it has its data":            {func(_ *testing.T, s *situation) { s.cluster.Status.ClusterID = "c1" }, false},
		"its first data were wrong": {func(t *testing.T, s *situation) {
			s.cluster.Status.ClusterID, s.cluster.Annotations = "c1", map[string]string{render.AnnotationRestoredClusterID: core.Unsettled}
			s.add(s.workload(t, "demo-0"))
		}, true},
		"it is to begin with no backup": {func(_ *testing.T, s *situation) { s.cluster.Spec.Bootstrap = nil }, false},
	} {
		s := newSituation()
		s.cluster.Spec.Bootstrap = &v1alpha1.BootstrapSpec{BackupRef: &v1alpha1.BackupReference{Name: "nightly"}}
		test.change(t, s)
		restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo", UID: "uid-2"}}
		restore.Spec.ClusterRef.Name, restore.Spec.BackupRef.Name = "demo", "nightly"
		s.add(s.cluster, restore)
		reader := s.client(t)
		o := observe.Observer{Cache: reader, Live: reader, Etcd: &s.etcd, Now: func() time.Time { return now }}
		seen, err := o.ObserveRestore(t.Context(), restore)
		if err != nil {
			t.Fatal(err)
		}
		if seen.Cluster.Begins != test.begins {
			t.Errorf("%s: %v", name, seen.Cluster.Begins)
		}
	}
}

func (s *situation) claimFoundedBy(uid string) {
	claim := s.claim("demo-0")
	claim.Annotations[render.AnnotationOwnerUID], claim.Annotations[render.AnnotationFoundedBy] = "uid-1", uid
	s.add(claim)
}

// TestARestoredClusterIsKnown: the core learns that the data was replaced, and nothing that the status says of the data before.
func TestARestoredClusterIsKnown(t *testing.T) {
	s := newSituation()
	s.cluster.Annotations = map[string]string{render.AnnotationRestoredClusterID: "c2"}
	s.cluster.Status.ClusterID = "c1"
	s.cluster.Status.Members = []v1alpha1.MemberStatus{{Name: "demo-0"}}
	var want core.Cluster
	if seen := s.observe(t).Cluster; seen.Restored != "c2" || seen.Recorded.ClusterID != "c2" || len(seen.Recorded.Members) != len(want.Recorded.Members) {
		t.Errorf("restored %q, recorded %q, %v", seen.Restored, seen.Recorded.ClusterID, seen.Recorded.Members)
	}
}

// TestAClusterThatBeginsAgain: nothing that the status says of its first data counts any more, and once it says nothing it stays as it is.
func TestAClusterThatBeginsAgain(t *testing.T) {
	s := newSituation()
	s.cluster.Annotations = map[string]string{render.AnnotationRestoredClusterID: core.Unsettled}
	s.cluster.Status.ClusterID = "c1"
	s.cluster.Status.Members = []v1alpha1.MemberStatus{{Name: "demo-0"}}
	if seen := s.observe(t).Cluster; seen.Restored != core.Unsettled || seen.Recorded.ClusterID != "" || len(seen.Recorded.Members) > 0 {
		t.Errorf("restored %q, recorded %q, %v", seen.Restored, seen.Recorded.ClusterID, seen.Recorded.Members)
	}
	s.cluster.Status.ClusterID = ""
	if seen := s.observe(t).Cluster.Recorded; len(seen.Members) != 1 {
		t.Errorf("recorded are %v", seen.Members)
	}
}
