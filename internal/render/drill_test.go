package render_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

var night = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// TestGoldenDrill shows the EtcdCluster of a drill: of a cluster that asks for little, and of one that sets all and has grown.
func TestGoldenDrill(t *testing.T) {
	little, all := plainBackup().Cluster, fullBackup().Cluster
	little.Spec.Backup = &v1alpha1.BackupSpec{Store: *plainBackup().Spec.Store}
	all.Spec.Backup.Continuous, all.Spec.Backup.Schedule = &v1alpha1.ContinuousBackup{}, "@daily"
	all.Status.Version = "3.5.33" // what the members run counts
	for name, drill := range map[string]*v1alpha1.EtcdCluster{
		"drill": little.Drill(night, "nightly", 0), "drill-everything": all.Drill(night, "nightly", 20<<30),
	} {
		golden(t, name, yamlOf(t, drill))
	}
}

// What leads clients to a cluster does not lead them to its drill, and the cluster is left as it is.
func TestADrillIsForNobody(t *testing.T) {
	of := fullBackup().Cluster
	of.Spec.PodTemplate.Metadata.Labels = map[string]v1alpha1.LabelValue{"app": "store"}
	of.Spec.Security.TLS.Client.Mode = v1alpha1.ClientTLSPermissive
	of.Spec.Security.TLS.Client.DNSNames = []string{"etcd.example.com"}
	of.Spec.DeletionProtection = v1alpha1.DeletionProtectionEnabled
	before := of.DeepCopy()
	drill := render.Cluster{EtcdCluster: of.Drill(night, "nightly", 0), Domain: "cluster.local"}
	if !render.IsDrill(drill) || render.IsDrill(of) {
		t.Error("which is the drill cannot be told")
	}
	spec := drill.Spec
	if spec.Services.Client.Type != "" || len(spec.Services.Client.Annotations) > 0 || len(spec.PodTemplate.Metadata.Labels) > 0 || spec.DeletionProtection != "" {
		t.Errorf("it has the Service %+v, the labels %v, and its protection is %q", spec.Services.Client, spec.PodTemplate.Metadata.Labels, spec.DeletionProtection)
	}
	if tls := spec.Security.TLS.Client; tls.Mode != v1alpha1.ClientTLSRequired || tls.Source != nil || len(tls.DNSNames) > 0 {
		t.Errorf("clients have %+v", tls)
	}
	for _, object := range drill.Objects() {
		service, is := object.(*corev1.Service)
		if is && service.Name == "demo-drill-client" && service.Spec.Selector[render.LabelDrillOf] != "nobody" {
			t.Errorf("clients are led to %v", service.Spec.Selector)
		}
	}
	if of.Spec.PodTemplate.Metadata.Labels["app"] != "store" || !before.Spec.Storage.Size.Equal(*of.Spec.Storage.Size) || of.Spec.Storage.Retention != before.Spec.Storage.Retention {
		t.Errorf("the cluster itself is %+v", of.Spec)
	}
}
