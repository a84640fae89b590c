//go:build integration

package operator

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/environment"
)

// store makes a claim whose volume every node reaches, and is the store on it.
func (s *scene) store() v1alpha1.BackupStore {
	s.Helper()
	class, immediate := s.namespace+"-shared", storagev1.VolumeBindingImmediate
	s.make(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: environment.Provisioner, VolumeBindingMode: &immediate})
	s.create(&corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "backups"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	})
	return v1alpha1.BackupStore{Volume: &v1alpha1.VolumeStore{ClaimName: "backups", Path: "etcd/backups"}}
}

// backup makes an EtcdBackup of the cluster. The program of its agents is built before.
func (s *scene) backup(name string, changes ...func(*v1alpha1.EtcdBackupSpec)) *v1alpha1.EtcdBackup {
	s.Helper()
	if _, err := buildOperator(); err != nil {
		s.Fatal(err)
	}
	backup := &v1alpha1.EtcdBackup{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec:       v1alpha1.EtcdBackupSpec{ClusterRef: v1alpha1.ClusterReference{Name: "demo"}},
	}
	for _, change := range changes {
		change(&backup.Spec)
	}
	s.create(backup)
	return backup
}

// becomes waits until a backup has a phase, and a condition with all the words.
func (s *scene) becomes(name string, phase v1alpha1.BackupPhase, condition string, status metav1.ConditionStatus, words ...string) *v1alpha1.EtcdBackup {
	s.Helper()
	backup := &v1alpha1.EtcdBackup{}
	s.eventually(fmt.Sprintf("backup %s is %s and %s=%s", name, phase, condition, status), patience, func() error {
		s.get(name, backup)
		found := meta.FindStatusCondition(backup.Status.Conditions, condition)
		said := fmt.Errorf("phase %s, conditions %+v", backup.Status.Phase, backup.Status.Conditions)
		if backup.Status.Phase != phase || found == nil || found.Status != status {
			return said
		}
		for _, word := range words {
			if !strings.Contains(found.Message, word) {
				return said
			}
		}
		return nil
	})
	return backup
}

func agentsOf(s *scene) (names []string) {
	s.Helper()
	var pods corev1.PodList
	if err := env.Client.List(s.Context(), &pods, client.InNamespace(s.namespace), client.HasLabels{"etcd.etcd.io/agent-for"}); err != nil {
		s.Fatal(err)
	}
	for i := range pods.Items {
		names = append(names, pods.Items[i].Name)
	}
	return names
}

// A backup is made, tried out, adopted by another object, and removed with the object that made it.
func TestBackup(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	store := s.store()
	s.create(s.demo(3, byDefault, func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup = &v1alpha1.BackupSpec{Store: store} }))
	s.settled()
	for i := range 20 {
		s.put(fmt.Sprint("key-", i), strings.Repeat("x", 100))
	}
	s.backup("first")
	made := s.becomes("first", "Completed", "Verified", metav1.ConditionTrue, "compared")
	status := s.member("demo-0")
	if made.Status.Revision != status.Header.Revision || made.Status.Keys != 20 || made.Status.ClusterID != fmt.Sprintf("%x", status.Header.ClusterId) {
		s.Errorf("the backup says %+v, the member %+v", made.Status, status)
	}
	if want := s.namespace + "/demo/" + string(s.cluster().UID) + "/first-"; !strings.HasPrefix(made.Status.Path, want) {
		s.Errorf("the path is %s, want %s…", made.Status.Path, want)
	}
	s.eventually("no agent is left", patience, func() error {
		if left := agentsOf(s); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})

	// The same data under another object, which never touches it.
	s.backup("adopted", func(spec *v1alpha1.EtcdBackupSpec) { spec.Store, spec.Path = &store, made.Status.Path })
	adopted := s.becomes("adopted", "Completed", "Verified", metav1.ConditionTrue)
	if adopted.Status.Revision != made.Status.Revision || adopted.Status.Keys != 20 {
		s.Errorf("adopted as %+v", adopted.Status)
	}
	s.delete(adopted)
	s.gone(adopted)
	s.delete(made)
	s.gone(made)
	s.backup("gone", func(spec *v1alpha1.EtcdBackupSpec) { spec.Store, spec.Path = &store, made.Status.Path })
	s.becomes("gone", "Failed", "Complete", metav1.ConditionFalse, "without its manifest it is no backup")
}

// What is encrypted is tried out only with a private key, which can be given later.
func TestEncryptedBackup(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	store := s.store()
	s.running(1)
	s.put("some", "value")
	s.backup("sealed", func(spec *v1alpha1.EtcdBackupSpec) {
		spec.Store, spec.Encryption = &store, &v1alpha1.BackupEncryption{Recipients: []string{key.Recipient().String()}}
	})
	s.becomes("sealed", "Completed", "Verified", metav1.ConditionUnknown, "spec.encryption.identitySecret")
	s.eventually("the key is given", patience, func() error {
		backup := &v1alpha1.EtcdBackup{}
		s.get("sealed", backup)
		backup.Spec.Encryption.IdentitySecret = &v1alpha1.SecretName{Name: "identity"}
		return env.Client.Update(s.Context(), backup)
	})
	s.becomes("sealed", "Verifying", "Verified", metav1.ConditionUnknown, "Secret identity", "does not exist")
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	s.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "identity"},
		StringData: map[string]string{"identity.txt": other.String()},
	})
	s.becomes("sealed", "Completed", "Verified", metav1.ConditionUnknown, "of none of which the private key was given")
	secret := &corev1.Secret{}
	s.get("identity", secret)
	secret.StringData = map[string]string{"identity.txt": key.String()}
	if err := env.Client.Update(s.Context(), secret); err != nil {
		t.Fatal(err)
	}
	s.eventually("the spec is changed", patience, func() error {
		backup := &v1alpha1.EtcdBackup{}
		s.get("sealed", backup)
		backup.Spec.DeletionPolicy = v1alpha1.BackupRetain
		return env.Client.Update(s.Context(), backup)
	})
	s.becomes("sealed", "Completed", "Verified", metav1.ConditionTrue)
}

// Backups are made when they are due, one for all that were missed, and removed when nothing keeps them.
func TestScheduledBackups(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var days atomic.Int64
	s.operateWith(operatorOptions{now: func() time.Time { return time.Now().AddDate(0, 0, int(days.Load())) }})
	store := s.store()
	s.running(1, func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Backup = &v1alpha1.BackupSpec{
			Store: store, Schedule: "@daily", Retention: v1alpha1.BackupRetention{KeepLast: 1},
			Verification: v1alpha1.BackupVerification{Mode: v1alpha1.VerifyNever},
		}
	})
	s.put("some", "value")
	made := func(count int) (all []v1alpha1.EtcdBackup) {
		s.eventually(fmt.Sprintf("there are %d complete backups", count), patience, func() error {
			var list v1alpha1.EtcdBackupList
			if err := env.Client.List(s.Context(), &list, client.InNamespace(s.namespace)); err != nil {
				return err
			}
			for i := range list.Items {
				if !meta.IsStatusConditionTrue(list.Items[i].Status.Conditions, "Complete") {
					return fmt.Errorf("%s is %s", list.Items[i].Name, list.Items[i].Status.Phase)
				}
			}
			if all = list.Items; len(all) != count {
				return fmt.Errorf("there are %d", len(all))
			}
			return nil
		})
		return all
	}
	// The next day nobody looks by himself: a change of the spec has the schedule looked at.
	suspend := func(value bool) { s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup.Suspend = value }) }
	made(0)
	days.Store(1)
	suspend(true)
	made(0)
	suspend(false)
	first := made(1)[0]
	if want := "demo-" + time.Now().UTC().AddDate(0, 0, 1).Format("060102") + "-0000"; first.Name != want {
		s.Errorf("it is called %s, want %s", first.Name, want)
	}
	s.eventually("it is told that it is overdue on the second day after", patience, func() error {
		want := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 3)
		if at := s.metric("etcd_operator_scheduled_backup_overdue_timestamp_seconds"); at != float64(want.Unix()) {
			return fmt.Errorf("it is %v, want %v", at, want.Unix())
		}
		return nil
	})
	days.Store(5)
	suspend(true)
	suspend(false)
	s.eventually("the next one has taken its place", patience, func() error {
		if left := made(1)[0]; left.Name == first.Name {
			return errors.New("the first is there")
		}
		return nil
	})
	s.gone(&first)
	// They outlive their cluster.
	cluster := s.cluster()
	s.delete(cluster)
	s.gone(cluster)
	made(1)
}
