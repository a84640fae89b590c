//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
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

// TestRestores: a bad client deletes everything that others have written. The cluster is given back what it had the moment before; and a
// new cluster begins with the same store alone.
func TestRestores(t *testing.T) {
	k := live.Connect(t)
	b := backups{k, k.StartObjectStore(resource.MustParse("64Mi"))}
	cluster := k.Cluster("demo", 3)
	cluster.Spec.Backup = &v1alpha1.BackupSpec{
		Store: *b.store.Bucket("all"), Schedule: "@hourly",
		Continuous: &v1alpha1.ContinuousBackup{FlushInterval: metav1.Duration{Duration: time.Second}},
	}
	k.MustCreate(cluster)
	k.WaitSettled("demo", patience)
	k.MustBackUp("daily", "demo", nil)
	daily := b.verified("daily")
	k.Eventually("the archiver keeps up", patience, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := k.List(ctx, &pods, client.InNamespace(k.Namespace), client.MatchingLabels{"app.kubernetes.io/name": "etcd-archiver"}); err != nil {
			return err
		}
		for i := range pods.Items {
			for _, c := range pods.Items[i].Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
					return nil
				}
			}
		}
		return fmt.Errorf("of %d pods none is ready", len(pods.Items))
	})

	etcd, err := k.Etcd(context.Background(), "demo-client")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i := range 500 {
		if _, err := etcd.Put(ctx, fmt.Sprintf("app/%d", i%100), fmt.Sprint("value-", i)); err != nil {
			t.Fatal(err)
		}
	}
	want := b.everything(etcd)
	deleted, err := etcd.Delete(ctx, "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second) // The archiver stores what it has every second.

	began := time.Now()
	k.MustCreate(&v1alpha1.EtcdRestore{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: "undo"},
		Spec: v1alpha1.EtcdRestoreSpec{
			ClusterRef: v1alpha1.ClusterReference{Name: "demo"}, BackupRef: v1alpha1.BackupReference{Name: "daily"}, Revision: deleted.Header.Revision - 1,
		},
	})
	restore := b.restored("undo")
	t.Logf("completed after %v; clients were cut off for %v; %d keys", time.Since(began).Round(time.Second),
		restore.Status.AvailableAt.Sub(restore.Status.StoppedAt.Time), restore.Status.Keys)
	k.WaitSettled("demo", patience)
	if etcd, err = k.Etcd(context.Background(), "demo-client"); err != nil {
		t.Fatal(err)
	}
	if has := b.everything(etcd); fmt.Sprint(has) != fmt.Sprint(want) {
		t.Errorf("it has %d keys, and had %d: %v, %v", len(has), len(want), has, want)
	}

	// The same from the store alone, under another name.
	k.MustCreate(&v1alpha1.EtcdBackup{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: "found"},
		Spec: v1alpha1.EtcdBackupSpec{
			ClusterRef: v1alpha1.ClusterReference{Name: "twin"}, Store: b.store.Bucket("all"), Path: daily.Status.Path,
		},
	})
	b.verified("found")
	twin := k.Cluster("twin", 3)
	twin.Spec.Bootstrap = &v1alpha1.BootstrapSpec{BackupRef: &v1alpha1.BackupReference{Name: "found"}}
	began = time.Now()
	k.MustCreate(twin)
	k.WaitSettled("twin", patience)
	took := time.Since(began)
	first := b.restored("twin-bootstrap")
	nodes := map[string]bool{}
	for _, pod := range k.Pods("twin") {
		nodes[pod.Spec.NodeName] = true
	}
	t.Logf("a new cluster settled after %v, on %d nodes", took.Round(time.Second), len(nodes))
	if first.Status.Keys != daily.Status.Keys || len(nodes) != 3 {
		t.Errorf("it began with %d keys, of %d; its members are on %d nodes", first.Status.Keys, daily.Status.Keys, len(nodes))
	}
}

// restored waits until a restore is complete.
func (b backups) restored(name string) *v1alpha1.EtcdRestore {
	b.T.Helper()
	restore := &v1alpha1.EtcdRestore{}
	b.Eventually("restore "+name+" is complete", patience, func(ctx context.Context) error {
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
