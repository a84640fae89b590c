package render_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestGoldenBackup shows the Jobs of a backup: of one that asks for nothing, to a volume, and of an encrypted one that sets all.
func TestGoldenBackup(t *testing.T) {
	for name, backup := range map[string]render.Backup{"backup": plainBackup(), "backup-everything": fullBackup()} {
		t.Run(name, func(t *testing.T) {
			var text []byte
			for _, kind := range backups.Kinds {
				text = append(append(text, "---\n"...), jobOf(t, backup.Agent(kind))...)
			}
			golden(t, name, text)
		})
	}
}

// TestGoldenRestore shows the Jobs of a restore and the claims that it makes: of one that asks for nothing, and of one to a moment of a
// cluster that sets all.
func TestGoldenRestore(t *testing.T) {
	moment := metav1.NewMicroTime(time.Date(2026, 3, 1, 10, 15, 30, 500_000_000, time.UTC))
	everything := restored(fullBackup())
	everything.Spec.PointInTime, everything.Spec.Revision = &moment, 42
	everything.Spec.Agent = &v1alpha1.AgentSpec{ServiceAccountName: "restorer", Tolerations: []corev1.Toleration{{Key: "spot"}}}
	everything.Logs["demo-1"] = true
	everything.Cluster.Status.Version = "3.6.15" // what the members run counts
	for name, restore := range map[string]render.Restore{"restore": restored(plainBackup()), "restore-everything": everything} {
		t.Run(name, func(t *testing.T) {
			var text []byte
			for _, key := range []restores.AgentKey{{Kind: restores.Check}, {Kind: restores.Fill, Index: 1}, {Kind: restores.Compare}, {Kind: restores.Confirm, Index: 1}, {Kind: restores.RollBack, Index: 1}} {
				text = append(append(text, "---\n"...), jobOf(t, restore.Agent(key, "demo-1"))...)
			}
			for _, claim := range restore.Claims("demo-1") {
				text = append(append(text, "---\n"...), yamlOf(t, &claim)...)
			}
			golden(t, name, text)
		})
	}
}

func jobOf(t *testing.T, agent render.Agent) []byte {
	t.Helper()
	job, err := agent.Job()
	if err != nil {
		t.Fatal(err)
	}
	return yamlOf(t, job)
}

// formed is a cluster that can be backed up.
func formed(c render.Cluster) render.Cluster {
	c.Status.ClusterID = "cdf8"
	c.Status.Members = []v1alpha1.MemberStatus{{Name: "demo-2", Role: "leader", Healthy: true}, {Name: "demo-3", Role: "learner", Healthy: true}}
	return c
}

func plainBackup() render.Backup {
	backup := &v1alpha1.EtcdBackup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nightly", UID: "0d8f7a6b-5c4d-4e3f"}}
	backup.Spec.ClusterRef.Name = "demo"
	backup.Spec.Store = &v1alpha1.BackupStore{Volume: &v1alpha1.VolumeStore{ClaimName: "backups", Path: "etcd"}}
	backup.Status.Version = "3.6.16"
	return render.Backup{EtcdBackup: backup, Cluster: formed(plain()), Agents: render.Agents{Image: "etcd-operator:1", Version: "1"}}
}

// fullBackup is one by the settings of its cluster.
func fullBackup() render.Backup {
	b := plainBackup()
	b.Spec.Store = nil
	b.Status.Encryption = &v1alpha1.BackupEncryption{Recipients: []string{"age1"}}
	b.Cluster = formed(everything())
	b.Cluster.Spec.Security.TLS, b.Cluster.Trust = tls().Spec.Security.TLS, tls().Trust
	b.Cluster.Spec.Security.Auth.Mode = v1alpha1.AuthEnabled
	b.Cluster.Spec.Backup = &v1alpha1.BackupSpec{
		Store: v1alpha1.BackupStore{S3: &v1alpha1.S3Store{
			Bucket: "etcd$", Prefix: "prod", Endpoint: "https://s3.example.com", Region: "eu-central-1", PathStyle: true, ServerSideEncryption: "aws:kms", KMSKeyID: "key",
			CredentialsSecret: &v1alpha1.SecretName{Name: "s3"}, CASecret: &v1alpha1.SecretName{Name: "s3-ca"},
		}},
		Encryption: &v1alpha1.BackupEncryption{Recipients: []string{"age1"}, IdentitySecret: &v1alpha1.SecretName{Name: "identity"}},
		Agent: &v1alpha1.AgentSpec{
			ServiceAccountName: "backup", Repository: "registry.example.com/etcd", NodeSelector: map[string]v1alpha1.LabelValue{"pool": "backup"},
			Resources: &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")}},
		},
	}
	return b
}

func restored(b render.Backup) render.Restore {
	restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo", UID: "uid-2"}}
	restore.Spec.ClusterRef.Name, restore.Spec.BackupRef.Name, restore.Spec.BumpRevision = "demo", "nightly", new(int64(1_000_000_000))
	restore.Status.Members, restore.Status.EarlierClusterID = []string{"demo-1", "demo-2"}, "cdf7"
	restore.Status.Revision, restore.Status.Keys, restore.Status.Digest = 42, 7, "d"
	return render.Restore{EtcdRestore: restore, Cluster: b.Cluster, Backup: b, Agents: b.Agents, Logs: map[string]bool{}, Reached: map[string]string{
		"demo-1": "http://demo-1-0.demo-peer.default.svc.cluster.local:2380", "demo-2": "http://demo-2-0.demo-peer.default.svc.cluster.local:2380",
	}}
}

// Where a store is, and by whose rights, is told to the agent for each kind of store.
func TestStores(t *testing.T) {
	for name, c := range map[string]struct {
		store v1alpha1.BackupStore
		says  []string
	}{
		"Amazon": {v1alpha1.BackupStore{S3: &v1alpha1.S3Store{Bucket: "b", Region: "eu-west-1"}}, []string{
			`"endpoint":"https://s3.eu-west-1.amazonaws.com"`, "the service account default of the agent (store.s3.credentialsSecret is not set)",
		}},
		"Google": {v1alpha1.BackupStore{GCS: &v1alpha1.GCSStore{Bucket: "b", Prefix: "p", KMSKeyName: "k", CredentialsSecret: &v1alpha1.SecretName{Name: "gcs"}}}, []string{
			`"gcs":{`, `"bucket":"b"`, `"prefix":"p"`, "the credentials of Secret gcs, which store.gcs.credentialsSecret names",
		}},
		"Azure": {v1alpha1.BackupStore{Azure: &v1alpha1.AzureStore{Account: "a", Container: "c", EncryptionScope: "e", CASecret: &v1alpha1.SecretName{Name: "ca"}}}, []string{
			`"azure":{`, `"account":"a"`, `"container":"c"`, "store.azure.credentialsSecret is not set",
		}},
	} {
		backup := plainBackup()
		backup.Spec.Store = &c.store
		job, err := backup.Agent(backups.Delete).Job()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.says {
			if order := job.Spec.Template.Spec.Containers[0].Env[0].Value; !strings.Contains(order, want) {
				t.Errorf("%s: %s lacks %s", name, order, want)
			}
		}
	}
}
