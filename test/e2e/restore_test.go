//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// everything is what a cluster has at a revision: values by key.
func (b backups) everything(etcd *clientv3.Client, options ...clientv3.OpOption) map[string]string {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := etcd.Get(ctx, "\x00", append(options, clientv3.WithFromKey())...)
	if err != nil {
		b.T.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range answer.Kvs {
		all[string(kv.Key)] = string(kv.Value)
	}
	return all
}

// TestRestores: a cluster is backed up by schedule and continuously under load, and a bad client deletes everything. It is given back what it
// had one second before; and where nobody knows of it, a new cluster begins with all that the store has.
func TestRestores(t *testing.T) {
	k := live.Connect(t)
	b := backups{k, k.StartObjectStore(resource.MustParse("128Mi"))}
	cluster := k.Cluster("demo", 3)
	cluster.Spec.Backup = &v1alpha1.BackupSpec{
		Store: *b.store.Bucket("all"), Schedule: "* * * * *",
		Continuous: &v1alpha1.ContinuousBackup{FlushInterval: metav1.Duration{Duration: time.Second}},
	}
	k.MustCreate(cluster)
	k.WaitSettled("demo", patience)
	b.archives()
	workload := k.StartWorkload("demo", gently)
	scheduled := b.scheduled("demo")
	k.Change("demo", func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup.Suspend = true })
	workload.Finish() // All that was acknowledged is there.

	want := b.everything(b.client("demo"))
	time.Sleep(2 * time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	before := metav1.NewMicroTime(time.Now().Add(-time.Second))
	if _, err := b.client("demo").Delete(ctx, "\x00", clientv3.WithFromKey()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second) // The archiver stores what it has every second.
	began := time.Now()
	k.MustCreate(&v1alpha1.EtcdRestore{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: "undo"},
		Spec: v1alpha1.EtcdRestoreSpec{
			ClusterRef: v1alpha1.ClusterReference{Name: "demo"}, BackupRef: v1alpha1.BackupReference{Name: scheduled.Name}, PointInTime: &before,
		},
	})
	restore := b.restored("undo")
	t.Logf("completed after %v; clients were cut off for %v; %d keys", time.Since(began).Round(time.Second),
		restore.Status.AvailableAt.Sub(restore.Status.StoppedAt.Time), restore.Status.Keys)
	k.WaitSettled("demo", patience)
	if has := b.everything(b.client("demo")); fmt.Sprint(has) != fmt.Sprint(want) {
		t.Errorf("it has %d keys, and had %d: %v, %v", len(has), len(want), has, want)
	}

	// Then all is lost but the store.
	if _, err := b.client("demo").Put(ctx, "last", "of all"); err != nil {
		t.Fatal(err)
	}
	want["last"] = "of all"
	b.archives()
	time.Sleep(5 * time.Second)
	other := live.Connect(t)
	b.store.Share(other)
	b.fromTheStoreAlone(other, scheduled.Status.Path, want)
}

// fromTheStoreAlone makes a cluster of what the store has, in a namespace where nobody knows of it.
func (b backups) fromTheStoreAlone(k *live.Kubernetes, path string, want map[string]string) {
	b.T.Helper()
	there := backups{k, b.store}
	k.MustCreate(&v1alpha1.EtcdBackup{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: "found"},
		Spec:       v1alpha1.EtcdBackupSpec{ClusterRef: v1alpha1.ClusterReference{Name: "twin"}, Store: b.store.Bucket("all"), Path: path},
	})
	there.verified("found")
	twin := k.Cluster("twin", 3)
	twin.Spec.Bootstrap = &v1alpha1.BootstrapSpec{BackupRef: &v1alpha1.BackupReference{Name: "found"}, Latest: true}
	began := time.Now()
	k.MustCreate(twin)
	k.WaitSettled("twin", patience)
	took := time.Since(began)
	there.restored("twin-bootstrap")
	nodes := map[string]bool{}
	for _, pod := range k.Pods("twin") {
		nodes[pod.Spec.NodeName] = true
	}
	b.T.Logf("a new cluster settled after %v, on %d nodes", took.Round(time.Second), len(nodes))
	if has := there.everything(there.client("twin")); fmt.Sprint(has) != fmt.Sprint(want) || len(nodes) != 3 {
		b.T.Errorf("it began with %d keys, of %d, its members are on %d nodes: %v, %v", len(has), len(want), len(nodes), has, want)
	}
}

// client is one of a cluster, by its Service.
func (b backups) client(cluster string) *clientv3.Client {
	b.T.Helper()
	etcd, err := b.Etcd(context.Background(), cluster+"-client")
	if err != nil {
		b.T.Fatal(err)
	}
	return etcd
}

// archives waits until an archiver keeps up.
func (b backups) archives() {
	b.T.Helper()
	b.Eventually("the archiver keeps up", patience, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := b.List(ctx, &pods, client.InNamespace(b.Namespace), client.MatchingLabels{"app.kubernetes.io/name": "etcd-archiver"}); err != nil {
			return err
		}
		for i := range pods.Items {
			if live.Ready(&pods.Items[i]) {
				return nil
			}
		}
		return fmt.Errorf("of %d pods none is ready", len(pods.Items))
	})
}

// scheduled waits for a backup that the schedule of a cluster has made, and that is verified.
func (b backups) scheduled(cluster string) *v1alpha1.EtcdBackup {
	b.T.Helper()
	found := &v1alpha1.EtcdBackup{}
	b.Eventually("a backup is made by schedule", 3*patience, func(ctx context.Context) error {
		var made v1alpha1.EtcdBackupList
		if err := b.List(ctx, &made, client.InNamespace(b.Namespace), client.MatchingLabels{render.LabelScheduledFor: cluster}); err != nil {
			return err
		}
		for i := range made.Items {
			if meta.IsStatusConditionTrue(made.Items[i].Status.Conditions, "Verified") {
				*found = made.Items[i]
				return nil
			}
		}
		return fmt.Errorf("of %d none is verified", len(made.Items))
	})
	return found
}

// restored waits until a restore is complete.
func (b backups) restored(name string) *v1alpha1.EtcdRestore {
	b.T.Helper()
	restore := &v1alpha1.EtcdRestore{}
	b.Eventually("restore "+name+" is complete", 2*patience, func(ctx context.Context) error {
		if err := b.Get(ctx, client.ObjectKey{Namespace: b.Namespace, Name: name}, restore); err != nil {
			return err
		}
		if restore.Status.Phase != "Completed" {
			return fmt.Errorf("it is %s: %+v", restore.Status.Phase, restore.Status.Conditions)
		}
		return nil
	})
	return restore
}
