//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/history"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// TestImportWithAMirror: a cluster takes the place of another one, which is written to until the cut-over, with the same revisions.
func TestImportWithAMirror(t *testing.T) {
	k := live.Connect(t)
	b := backups{k, k.StartObjectStore(resource.MustParse("64Mi"))}
	k.MustCreate(k.Cluster("old", 3))
	old := k.WaitSettled("old", patience)
	// One transaction at a time is repeated, and here both clusters share disks and processors.
	workload := k.StartWorkload("old", history.Options{Workers: 2, Pause: time.Second, Heartbeat: 150 * time.Millisecond})
	cluster := k.Cluster("demo", 3)
	cluster.Spec.Backup = &v1alpha1.BackupSpec{Store: *b.store.Bucket("import")}
	source := &v1alpha1.ExternalEtcd{TLSSecret: &v1alpha1.SecretName{Name: "old-client-tls"}}
	for _, member := range old.Status.Endpoints[1:] {
		source.Endpoints = append(source.Endpoints, v1alpha1.EtcdEndpoint(member))
	}
	cluster.Spec.Bootstrap = &v1alpha1.BootstrapSpec{Source: source, Mirror: v1alpha1.MirrorFollow}
	began := time.Now()
	k.MustCreate(cluster)
	k.WaitCondition("demo", "Mirrored", "Following", 2*patience)
	t.Logf("follows after %v", time.Since(began).Round(100*time.Millisecond))
	time.Sleep(10 * time.Second)
	etcd, err := k.Etcd(context.Background(), "demo-client")
	if err != nil {
		t.Fatal(err)
	}
	served := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := etcd.Get(ctx, "x")
		return err
	}
	if served(context.Background()) == nil {
		t.Error("clients are let in while the cluster mirrors")
	}
	t.Logf("while it was imported and mirrored: %s", workload.Finish())

	began = time.Now()
	k.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Bootstrap.Mirror = v1alpha1.MirrorCutOver })
	k.Eventually("clients are let in", patience, served)
	t.Logf("cut over after %v", time.Since(began).Round(100*time.Millisecond))
	k.WaitCondition("demo", "Mirrored", "CutOver", patience)
	replaced, err := k.Etcd(context.Background(), "old-client")
	if err != nil {
		t.Fatal(err)
	}
	if has, want := b.digest(etcd), b.digest(replaced); has != want || has.Keys == 0 {
		t.Errorf("the cluster has %+v, the one that it has replaced %+v", has, want)
	}
	k.WaitSettled("demo", patience)
	k.Put("demo", "demo-0-0", "key", "value")
}

// digest is all that an etcd has.
func (b backups) digest(etcd *clientv3.Client) backup.Content {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	now, err := etcd.Get(ctx, "x")
	if err != nil {
		b.T.Fatal(err)
	}
	has, err := backup.DigestCluster(ctx, etcd, now.Header.Revision)
	if err != nil {
		b.T.Fatal(err)
	}
	return has
}
