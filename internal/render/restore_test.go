package render_test

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestMarkOfARestore: what a claim says of the data before is no longer so.
func TestMarkOfARestore(t *testing.T) {
	cluster := &v1alpha1.EtcdCluster{}
	cluster.Status.Version = "3.6.16"
	r := render.Restore{EtcdRestore: &v1alpha1.EtcdRestore{}, Cluster: render.Cluster{EtcdCluster: cluster}}
	r.Status.Members = []string{"demo-0", "demo-1"}
	for id, want := range map[string]map[string]string{
		"c2": {
			render.AnnotationClusterID: "c2", render.AnnotationVersion: "3.6.16", render.AnnotationBootstrapMembers: "demo-0,demo-1", render.AnnotationOwnerUID: "uid-1",
		},
		core.Unsettled: {render.AnnotationClusterID: core.Unsettled, render.AnnotationVersion: "3.5.33", render.AnnotationSince36: "7", render.AnnotationOwnerUID: "uid-1"},
	} {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			render.AnnotationClusterID: "c1", render.AnnotationVersion: "3.5.33", render.AnnotationSince36: "7", render.AnnotationRemoved: render.Removed,
			render.AnnotationOwnerUID: "uid-1",
		}}}
		r.Mark(claim, id)
		if !maps.Equal(claim.Annotations, want) {
			t.Errorf("%q: %v, want %v", id, claim.Annotations, want)
		}
	}
}

// TestTheImageOfARestore is the cluster's, unless the restore names another one, or the cluster's backups do.
func TestTheImageOfARestore(t *testing.T) {
	for want, set := range map[string]func(c *v1alpha1.EtcdCluster, r *v1alpha1.EtcdRestore){
		"etcd:v3.6.16": func(*v1alpha1.EtcdCluster, *v1alpha1.EtcdRestore) {},
		"example.com/own:v3.6.16": func(_ *v1alpha1.EtcdCluster, r *v1alpha1.EtcdRestore) {
			r.Spec.Agent = &v1alpha1.AgentSpec{Repository: "example.com/own"}
		},
		"example.com/backups:v3.6.16": func(c *v1alpha1.EtcdCluster, _ *v1alpha1.EtcdRestore) {
			c.Spec.Backup = &v1alpha1.BackupSpec{Agent: &v1alpha1.AgentSpec{Repository: "example.com/backups"}}
		},
	} {
		cluster := &v1alpha1.EtcdCluster{Spec: v1alpha1.EtcdClusterSpec{Version: "3.6.16", Repository: "etcd"}}
		restore := &v1alpha1.EtcdRestore{}
		set(cluster, restore)
		built := render.Restore{EtcdRestore: restore, Cluster: render.Cluster{EtcdCluster: cluster}, Backup: render.Backup{EtcdBackup: &v1alpha1.EtcdBackup{}}}
		if got := built.Agent(restores.AgentKey{Kind: restores.Fill}, "demo-0").EtcdImage; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestTheFirstData: an agent is told whether there was data before, by what the restore noted when it began.
func TestTheFirstData(t *testing.T) {
	restore := &v1alpha1.EtcdRestore{}
	built := render.Restore{EtcdRestore: restore, Cluster: render.Cluster{EtcdCluster: &v1alpha1.EtcdCluster{}}, Backup: render.Backup{EtcdBackup: &v1alpha1.EtcdBackup{}}}
	for earlier, want := range map[string]bool{"": true, "c1": false} {
		restore.Status.EarlierClusterID = earlier
		if got := built.Agent(restores.AgentKey{Kind: restores.Fill}, "demo-0").Task.Restore.First; got != want {
			t.Errorf("with %q before: %v", earlier, got)
		}
	}
}
