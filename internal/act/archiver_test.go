package act_test

import (
	"context"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// An archiver is made, left alone while it is right, changed with what it is made of, and removed by its UID.
func TestTheArchiver(t *testing.T) {
	cluster := render.Cluster{EtcdCluster: observed().Render.DeepCopy(), Domain: "cluster.local"}
	cluster.Spec.Backup = &v1alpha1.BackupSpec{
		Store: v1alpha1.BackupStore{Volume: &v1alpha1.VolumeStore{ClaimName: "backups"}}, Continuous: &v1alpha1.ContinuousBackup{SegmentSize: cluster.Spec.Storage.Size},
	}
	s := newServer(t)
	a := &act.Actor{Client: s, Live: s}
	live := &appsv1.Deployment{}
	apply := func(image string, known *appsv1.Deployment) {
		t.Helper()
		if err := a.ApplyArchiver(context.Background(), cluster, render.Agents{Image: image, Version: "1"}, known); err != nil {
			t.Fatal(err)
		}
		s.read(t, "demo-archiver", live)
	}
	apply("etcd-operator:1", nil)
	apply("etcd-operator:1", live)
	if want := []string{"apply demo-archiver"}; !slices.Equal(s.writes, want) {
		t.Errorf("the writes are %v, expected are %v", s.writes, want)
	}
	apply("etcd-operator:2", live)
	if image := live.Spec.Template.Spec.Containers[0].Image; image != "etcd-operator:2" {
		t.Errorf("the image is %s", image)
	}
	live.UID = "archiver"
	if err := a.RemoveFollower(context.Background(), live); err != nil {
		t.Fatal(err)
	}
	if uid := s.preconditions["demo-archiver"].UID; uid == nil || *uid != "archiver" || s.exists(t, live) {
		t.Errorf("it is there, or was deleted whatever its UID is: %v", uid)
	}
}
