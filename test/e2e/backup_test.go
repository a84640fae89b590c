//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/plugin"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/history"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// backups are a cluster called demo, as users get it, and an object store.
type backups struct {
	*live.Kubernetes
	store *live.ObjectStore
}

func (b backups) run(name string, test func(backups), parallel bool) {
	b.T.(*testing.T).Run(name, func(t *testing.T) {
		if parallel {
			t.Parallel()
		}
		k := b.For(t)
		test(backups{k, b.store.For(k)})
	})
}

// TestBackups makes backups of a running cluster, side by side where they do not get into each other's way.
func TestBackups(t *testing.T) {
	k := live.Connect(t)
	k.MustCreate(k.Cluster("demo", 3))
	b := backups{k, k.StartObjectStore(resource.MustParse("64Mi"))}
	k.WaitSettled("demo", patience)
	b.run("under writes", backups.underWrites, false)
	t.Run("side by side", func(t *testing.T) {
		k := b.For(t)
		b := backups{k, b.store.For(k)}
		for name, test := range map[string]func(backups){
			"encrypted":            backups.encrypted,
			"damaged in the store": backups.damaged,
			"kept, adopted in another namespace, deleted":  backups.keptAndDeleted,
			"credentials that are missing, and then wrong": backups.credentials,
			"of a cluster with authentication":             backups.withAuthentication,
			"of a cluster without TLS, on a volume":        backups.withoutTLSOnAVolume,
			"the operator is killed":                       backups.operatorKilled,
		} {
			b.run(name, test, true)
		}
	})
	b.run("the store is away, and an agent is killed", backups.storeAway, false)
	b.run("the store is full", backups.storeFull, false)
}

// verified waits until a backup is whole, and was tried out.
func (b backups) verified(name string) *v1alpha1.EtcdBackup {
	b.T.Helper()
	b.WaitBackup(name, "Complete", "Stored", patience)
	return b.WaitBackup(name, "Verified", "Restored", patience)
}

// object is the one snapshot of a backup that the store has below the prefix. Beside it there has to be its manifest, and nothing
// else.
func (b backups) object(prefix string, backup *v1alpha1.EtcdBackup) string {
	b.T.Helper()
	objects := b.store.Objects(prefix)
	names := slices.Sorted(maps.Keys(objects))
	folder := prefix + "/" + backup.Status.Path + "/"
	if len(names) != 2 || names[0] != folder+"manifest.json" || !strings.HasPrefix(names[1], folder+"snapshot-") {
		b.T.Fatalf("below %s there are %v, want a manifest and a snapshot in %s", prefix, objects, folder)
	}
	if stored := backup.Status.StoredSize.Value(); objects[names[1]] != stored {
		b.T.Errorf("the object %s has %d bytes, status.storedSize is %d", names[1], objects[names[1]], stored)
	}
	return names[1]
}

func (b backups) underWrites() {
	workload := b.StartWorkload("demo", history.Options{})
	leader := b.Leader(workload.Client())
	began := time.Now()
	b.MustBackUp("first", "demo", b.store.Bucket("first"))
	b.WaitBackup("first", "Complete", "Stored", patience)
	complete := time.Since(began)
	backup := b.WaitBackup("first", "Verified", "Restored", patience)
	b.T.Logf("Complete after %v, Verified after %v", complete.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond))
	b.object("first", backup)
	b.sameAsEtcd(workload.Client(), backup.Status)
	stayed := b.Leader(workload.Client()) == leader
	result := workload.Finish()
	// On a quiet machine none fails. One whose two cores are taken, as is common where tests run, is slow with some of them anyway.
	if worst := result.Worst(); worst.Failed > worst.Writes/20 {
		b.T.Errorf("%d of %d writes failed during a backup", worst.Failed, worst.Writes)
	}
	if stayed && backup.Status.Member == leader {
		b.T.Errorf("the snapshot was taken from %s, which leads", leader)
	}
	b.WaitNoAgents("first", patience)
}

// sameAsEtcd compares what a status says with what etcd knows of that revision.
func (b backups) sameAsEtcd(etcd *clientv3.Client, s v1alpha1.EtcdBackupStatus) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	keys, err := etcd.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly(), clientv3.WithRev(s.Revision))
	if err != nil {
		b.T.Fatal(err)
	}
	endpoint := etcd.Endpoints()[0]
	hash, err := etcd.HashKV(ctx, endpoint, s.Revision)
	if err != nil {
		b.T.Fatal(err)
	}
	now, err := etcd.Status(ctx, endpoint)
	if err != nil {
		b.T.Fatal(err)
	}
	if keys.Count != s.Keys || int64(hash.Hash) != s.HashKV || fmt.Sprintf("%x", now.Header.ClusterId) != s.ClusterID || now.Version != s.Version {
		b.T.Errorf("at revision %d etcd has %d keys with hash %d, its cluster ID is %x and its version %s: the status is %+v",
			s.Revision, keys.Count, hash.Hash, now.Header.ClusterId, now.Version, s)
	}
	if size := s.SnapshotSize.Value(); size == 0 || size > now.DbSize+4096 {
		b.T.Errorf("status.snapshotSize is %d, the database has %d bytes by now", size, now.DbSize)
	}
}

func (b backups) encrypted() {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		b.T.Fatal(err)
	}
	b.MustCreate(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "identity"},
		StringData: map[string]string{"identity.txt": identity.String() + "\n"},
	})
	encryption := v1alpha1.BackupEncryption{Recipients: []string{identity.Recipient().String()}}
	b.MustBackUp("sealed", "demo", b.store.Bucket("sealed"), func(s *v1alpha1.EtcdBackupSpec) { s.Encryption = &encryption })
	b.MustBackUp("readable", "demo", b.store.Bucket("readable"), func(s *v1alpha1.EtcdBackupSpec) {
		s.Encryption = &v1alpha1.BackupEncryption{Recipients: encryption.Recipients, IdentitySecret: &v1alpha1.SecretName{Name: "identity"}}
	})
	readable := b.verified("readable")
	sealed := b.WaitBackup("sealed", "Verified", "IdentityMissing", patience, "spec.encryption.identitySecret")
	b.WaitBackup("sealed", "Complete", "Stored", patience)
	for prefix, backup := range map[string]*v1alpha1.EtcdBackup{"readable": readable, "sealed": sealed} {
		if !bytes.HasPrefix(b.store.Read(b.object(prefix, backup)), []byte("age-encryption.org/v1\n")) {
			b.T.Errorf("what is stored of %s is not encrypted", prefix)
		}
	}
}

// damaged: a backup that is no longer what it was is not taken for a good one.
func (b backups) damaged() {
	store := b.store.Bucket("damaged")
	b.MustBackUp("whole", "demo", store, func(s *v1alpha1.EtcdBackupSpec) { s.Verification = v1alpha1.VerifyNever })
	whole := b.WaitBackup("whole", "Complete", "Stored", patience)
	object := b.object("damaged", whole)
	content := b.store.Read(object)
	flipped := bytes.Clone(content)
	flipped[len(flipped)/2] ^= 1
	for _, damage := range []struct {
		name   string
		inject func()
	}{
		{"flipped", func() { b.store.Write(object, flipped) }},
		{"cut", func() { b.store.Write(object, content[:len(content)-1]) }},
		{"removed", func() { b.store.Remove(object) }},
	} {
		damage.inject()
		b.MustBackUp(damage.name, "demo", store, func(s *v1alpha1.EtcdBackupSpec) { s.Path = whole.Status.Path })
		adopted := b.WaitBackup(damage.name, "Verified", "ContentDiffers", patience, strings.TrimPrefix(object, "damaged/"))
		b.T.Logf("%s: %s", damage.name, live.Summary(adopted.Status.Conditions))
	}
}

// keptAndDeleted: data that was kept is adopted in another namespace, which knows nothing of the cluster, and removed from there.
func (b backups) keptAndDeleted() {
	store := b.store.Bucket("kept")
	b.MustBackUp("kept", "demo", store, func(s *v1alpha1.EtcdBackupSpec) { s.DeletionPolicy = v1alpha1.BackupRetain })
	kept := b.verified("kept")
	before := kept.Status
	b.DeleteAndWait(kept, patience)

	other := live.Connect(b.T)
	b.store.Share(other)
	there := backups{other, b.store}
	there.lists(store, before.Path, "-")
	if out := there.plugin(store, "adopt", before.Path, "--as", "adopted", "--wait"); !strings.Contains(out, "restored on trial in") {
		b.T.Errorf("the plugin has adopted it, and says %q", out)
	}
	adopted := there.verified("adopted")
	there.Eventually("its data is to go with it", patience, func(ctx context.Context) error {
		adopted.Spec.DeletionPolicy = v1alpha1.BackupDelete
		if err := there.Update(ctx, adopted); err != nil {
			return errors.Join(err, there.Get(ctx, client.ObjectKeyFromObject(adopted), adopted))
		}
		return nil
	})
	b.object("kept", adopted)
	if s := adopted.Status; s.Revision != before.Revision || s.HashKV != before.HashKV || s.Keys != before.Keys || s.ClusterID != before.ClusterID {
		b.T.Errorf("what was %+v was adopted as %+v", before, s)
	}
	there.lists(store, before.Path, "adopted (verified)")
	there.DeleteAndWait(adopted, patience)
	if left := b.store.Objects("kept"); len(left) > 0 {
		b.T.Errorf("of the deleted backup there is left: %v", left)
	}
}

// plugin runs kubectl etcd backups, and is what it prints.
func (b backups) plugin(store *v1alpha1.BackupStore, args ...string) string {
	b.T.Helper()
	content, err := yaml.Marshal(store)
	if err != nil {
		b.T.Fatal(err)
	}
	file := filepath.Join(b.T.(*testing.T).TempDir(), "store.yaml")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		b.T.Fatal(err)
	}
	var out bytes.Buffer
	command := plugin.Command("test")
	command.SetOut(&out)
	command.SetArgs(slices.Concat([]string{"backups"}, args, []string{"--namespace", b.Namespace, "--store", file, "--timeout", patience.String()}))
	if err := command.ExecuteContext(context.Background()); err != nil {
		b.T.Fatal(err)
	}
	return out.String()
}

// lists has the plugin list what is in a store, which has to be one backup, and known as something.
func (b backups) lists(store *v1alpha1.BackupStore, path, known string) {
	b.T.Helper()
	out := b.plugin(store, "list")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[1], path+" ") || !strings.HasSuffix(strings.TrimSpace(lines[1]), " "+known) {
		b.T.Errorf("of %s, known as %s, there is listed\n%s", path, known, out)
	}
	b.Eventually("the agent that has listed is removed", patience, func(ctx context.Context) error {
		var jobs batchv1.JobList
		if err := b.List(ctx, &jobs, client.InNamespace(b.Namespace)); err != nil {
			return err
		}
		for i := range jobs.Items {
			if strings.HasPrefix(jobs.Items[i].Name, "etcd-list-") {
				return fmt.Errorf("there is Job %s", jobs.Items[i].Name)
			}
		}
		return nil
	})
}

// credentials: a backup says what it waits for, and comes through once it is there.
func (b backups) credentials() {
	store := b.store.Bucket("credentials")
	store.S3.CredentialsSecret.Name = "mine"
	b.MustBackUp("patient", "demo", store)
	b.WaitBackup("patient", "Complete", "StoreMissing", patience, "Secret mine", "store.s3.credentialsSecret", "does not exist")
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "mine"},
		StringData: map[string]string{"access-key-id": "tests", "secret-access-key": "wrong"},
	}
	b.MustCreate(secret)
	refused := b.WaitBackup("patient", "Complete", "AgentRuns", patience, "the store refuses the credentials of Secret mine, which store.s3.credentialsSecret names")
	b.T.Logf("with wrong credentials: %s", live.Summary(refused.Status.Conditions))
	right := &corev1.Secret{}
	b.Eventually("the credentials are set right", patience, func(ctx context.Context) error {
		if err := b.Get(ctx, objectKey(b.Namespace, live.StoreCredentials), right); err != nil {
			return err
		}
		secret.Data, secret.StringData = right.Data, nil
		return b.Update(ctx, secret)
	})
	b.object("credentials", b.verified("patient"))
}

func (b backups) withAuthentication() {
	cluster := b.Cluster("guarded", 1)
	cluster.Spec.Security.Auth.Mode = v1alpha1.AuthEnabled
	b.MustCreate(cluster)
	b.WaitCondition("guarded", "AuthReady", "AuthEnabled", patience)
	b.MustBackUp("guarded", "guarded", b.store.Bucket("guarded"))
	b.object("guarded", b.verified("guarded"))
}

func (b backups) withoutTLSOnAVolume() {
	b.MustCreate(&corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "backups"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	})
	cluster := b.Cluster("plain", 1)
	modesOfTLS(v1alpha1.ClientTLSDisabled, v1alpha1.PeerTLSDisabled)(&cluster.Spec)
	store := v1alpha1.BackupStore{Volume: &v1alpha1.VolumeStore{ClaimName: "backups", Path: "of/plain"}}
	// The EtcdBackup says nothing of the store itself.
	cluster.Spec.Backup = &v1alpha1.BackupSpec{Store: store}
	b.MustCreate(cluster)
	b.MustBackUp("plain", "plain", nil)
	b.WaitBackup("plain", "Complete", "ClusterUnavailable", patience, "no voter of EtcdCluster plain serves")
	made := b.verified("plain")
	b.DeleteAndWait(made, patience)
	b.MustBackUp("gone", "plain", &store, func(s *v1alpha1.EtcdBackupSpec) { s.Path = made.Status.Path })
	b.WaitBackup("gone", "Complete", "BackupFailed", patience, "without its manifest it is no backup")
}

// operatorKilled: what was begun is neither lost nor done twice.
func (b backups) operatorKilled() {
	b.MustBackUp("begun", "demo", b.store.Bucket("begun"))
	b.Eventually("an agent is started", patience, func(ctx context.Context) error {
		pods, err := b.AgentPods(ctx, "begun")
		if err == nil && len(pods) == 0 {
			err = fmt.Errorf("there is none")
		}
		return err
	})
	b.KillOperator()
	b.WaitBackup("begun", "Complete", "Stored", patience)
	b.KillOperator()
	b.object("begun", b.verified("begun"))
	b.WaitNoAgents("begun", patience)
}

// storeAway: the reason is told, also after an agent was killed, and all comes to its end when the store is back.
func (b backups) storeAway() {
	b.store.Leave()
	for _, name := range []string{"waits", "killed"} {
		b.MustBackUp(name, "demo", b.store.Bucket(name))
	}
	b.Eventually("an agent is killed that runs", patience, func(ctx context.Context) error {
		pods, err := b.AgentPods(ctx, "killed")
		if err != nil {
			return err
		}
		for i := range pods {
			if pods[i].Status.Phase == corev1.PodRunning {
				b.Kill(&pods[i])
				return nil
			}
		}
		return fmt.Errorf("there are %d pods, none of which runs", len(pods))
	})
	waiting := b.WaitBackup("waits", "Complete", "AgentRuns", patience, "the last try failed", string(b.store.Bucket("").S3.Endpoint))
	b.T.Logf("while the store is away: %s", live.Summary(waiting.Status.Conditions))
	b.store.Return()
	for _, name := range []string{"waits", "killed"} {
		b.object(name, b.verified(name))
		b.WaitNoAgents(name, patience)
	}
}

func (b backups) storeFull() {
	empty := b.store.Fill()
	b.MustBackUp("squeezed", "demo", b.store.Bucket("squeezed"))
	waiting := b.WaitBackup("squeezed", "Complete", "AgentRuns", patience, "the last try failed", "bucket backups/squeezed")
	b.T.Logf("while the store is full: %s", live.Summary(waiting.Status.Conditions))
	empty()
	b.object("squeezed", b.verified("squeezed"))
}
