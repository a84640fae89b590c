package render_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestWhatARestoreRestsOn stays as it was noted first, whatever the spec asks for. What is not noted is the spec's.
func TestWhatARestoreRestsOn(t *testing.T) {
	spec := func(size int32, version, class string, tls v1alpha1.ClientTLSMode, auth v1alpha1.AuthMode) v1alpha1.EtcdClusterSpec {
		s := v1alpha1.EtcdClusterSpec{Size: &size, Version: version}
		s.Storage.StorageClassName, s.Security.TLS.Client.Mode, s.Security.Auth.Mode = &class, tls, auth
		return s
	}
	found := spec(3, "3.6.16", "fast", v1alpha1.ClientTLSDisabled, v1alpha1.AuthDisabled)
	cluster := &v1alpha1.EtcdCluster{Spec: found}
	if same, err := render.AsRestored(cluster); err != nil || same != cluster {
		t.Errorf("without a restore: %v", err)
	}
	cluster.Annotations = map[string]string{}
	wanted := spec(5, "3.7.3", "slow", v1alpha1.ClientTLSRequired, v1alpha1.AuthEnabled)
	for _, note := range []render.Rests{render.RestsOf("undo", &found), render.RestsOf("undo", &wanted)} {
		if err := note.Note(cluster.Annotations); err != nil {
			t.Fatal(err)
		}
	}
	cluster.Spec = wanted
	cluster.Spec.Paused, cluster.Spec.Storage.Retention.WhenScaled = true, v1alpha1.RetentionRetain
	want := found
	want.Size = wanted.Size // Of what was noted last.
	want.Paused, want.Storage.Retention.WhenScaled = true, v1alpha1.RetentionRetain
	got, err := render.AsRestored(cluster)
	if err != nil || !equality.Semantic.DeepEqual(got.Spec, want) {
		t.Errorf("%v: %+v, want %+v", err, got.Spec, want)
	}
	if by := (render.Cluster{EtcdCluster: cluster}).RestsFor(); by != "undo" {
		t.Errorf("it rests for %q", by)
	}
	// What another restore has noted that is gone is not its own.
	if err := render.RestsOf("redo", &wanted).Note(cluster.Annotations); err != nil {
		t.Fatal(err)
	}
	if got, err := render.AsRestored(cluster); err != nil || *got.Spec.Size != 5 {
		t.Errorf("%v: %+v", err, got.Spec)
	}
	// A cluster that hibernates has to wake.
	asleep := spec(0, "3.6.16", "fast", v1alpha1.ClientTLSDisabled, v1alpha1.AuthDisabled)
	cluster.Annotations = map[string]string{}
	if err := render.RestsOf("undo", &asleep).Note(cluster.Annotations); err != nil {
		t.Fatal(err)
	}
	if got, err := render.AsRestored(cluster); err != nil || *got.Spec.Size != 5 || got.Spec.Version != "3.6.16" {
		t.Errorf("%v: %+v", err, got.Spec)
	}
	cluster.Annotations[render.AnnotationRestoreRestsOn] = "{"
	if _, err := render.AsRestored(cluster); err == nil || !strings.Contains(err.Error(), "is not what the operator has written") {
		t.Errorf("what cannot be read: %v", err)
	}
}

// TestTheSizeThatARestoreRestsOn is the number of members that it has filled, whatever the cluster was on its way to.
func TestTheSizeThatARestoreRestsOn(t *testing.T) {
	for size, want := range map[int32]int32{0: 0, 1: 2, 2: 2, 3: 2} {
		built := render.Restore{EtcdRestore: &v1alpha1.EtcdRestore{}, Cluster: render.Cluster{EtcdCluster: &v1alpha1.EtcdCluster{}}}
		built.Status.Members, built.Cluster.Spec.Size = []string{"demo-0", "demo-2"}, &size
		if got := built.RestsOn().Size; got != want {
			t.Errorf("of a cluster of %d: %d", size, got)
		}
	}
}
