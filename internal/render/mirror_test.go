package render_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// mirrored is a cluster that repeats what an etcd outside does.
func mirrored() render.Cluster {
	c := tls()
	c.Spec.Bootstrap = &v1alpha1.BootstrapSpec{Mirror: v1alpha1.MirrorFollow, Source: &v1alpha1.ExternalEtcd{
		Endpoints: []v1alpha1.EtcdEndpoint{"https://10.0.0.1:2379", "https://10.0.0.2:2379"},
		TLSSecret: &v1alpha1.SecretName{Name: "old-tls"}, CredentialsSecret: &v1alpha1.SecretName{Name: "old-root"},
	}}
	c.Annotations = map[string]string{render.AnnotationMirrors: "true"}
	c.Status.ClusterID = "cdf8"
	return c
}

func TestGoldenMirror(t *testing.T) {
	agents := render.Agents{Image: "etcd-operator:1", Version: "1"}
	deployment, err := mirrored().Mirror(agents)
	if err != nil {
		t.Fatal(err)
	}
	job, err := mirrored().CutOver(agents).Job()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "mirror", append(append(yamlOf(t, deployment), "---\n"...), yamlOf(t, job)...))
}

// TestClientsAreKeptAway while a cluster mirrors, from its first pod on.
func TestClientsAreKeptAway(t *testing.T) {
	member := mirrored().MemberLabels("demo-0")
	for name, c := range map[string]struct {
		change func(render.Cluster)
		away   bool
	}{
		"it mirrors":                      {func(render.Cluster) {}, true},
		"it is about to":                  {func(c render.Cluster) { c.Status.ClusterID = "" }, true},
		"it is cut over":                  {func(c render.Cluster) { delete(c.Annotations, render.AnnotationMirrors) }, false},
		"the note is somebody's mistake":  {func(c render.Cluster) { c.Spec.Bootstrap = nil }, false},
		"it has begun with a backup only": {func(c render.Cluster) { c.Spec.Bootstrap.Source = nil }, false},
	} {
		cluster := mirrored()
		c.change(cluster)
		found := false
		for _, object := range cluster.Objects() {
			service, is := object.(*corev1.Service)
			if !is || service.Name != "demo-client" {
				continue
			}
			found = true
			if away := !selects(t, &metav1.LabelSelector{MatchLabels: service.Spec.Selector}, member); away != c.away {
				t.Errorf("%s: clients are kept away: %v, by %v", name, away, service.Spec.Selector)
			}
		}
		if !found {
			t.Fatal("there is no client Service")
		}
	}
}
