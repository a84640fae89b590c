//go:build integration

package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// restore makes an EtcdRestore of the cluster from a backup.
func (s *scene) restore(name, backup string, changes ...func(*v1alpha1.EtcdRestoreSpec)) *v1alpha1.EtcdRestore {
	s.Helper()
	restore := &v1alpha1.EtcdRestore{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: v1alpha1.EtcdRestoreSpec{
			ClusterRef: v1alpha1.ClusterReference{Name: "demo"}, BackupRef: v1alpha1.BackupReference{Name: backup},
		},
	}
	for _, change := range changes {
		change(&restore.Spec)
	}
	s.create(restore)
	return restore
}

// restoreIs waits until a restore has a phase, and says all the words.
func (s *scene) restoreIs(name string, phase v1alpha1.RestorePhase, words ...string) *v1alpha1.EtcdRestore {
	s.Helper()
	restore := &v1alpha1.EtcdRestore{}
	s.eventually(fmt.Sprintf("restore %s is %s", name, phase), longPatience, func() error {
		if err := env.Client.Get(s.Context(), s.key(name), restore); err != nil {
			return err // That of a new cluster is made a moment later.
		}
		said := meta.FindStatusCondition(restore.Status.Conditions, "Complete")
		if restore.Status.Phase != phase || said == nil {
			return fmt.Errorf("phase %s, conditions %+v", restore.Status.Phase, restore.Status.Conditions)
		}
		for _, word := range words {
			if !strings.Contains(said.Message, word) {
				return fmt.Errorf("%q lacks %q", said.Message, word)
			}
		}
		return nil
	})
	return restore
}

// A cluster is given back the data of a backup, under the same names; what it had since is gone, and can be brought back until that is
// confirmed.
func TestRestoreInPlace(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	store := s.store()
	s.running(3, func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup = &v1alpha1.BackupSpec{Store: store} })
	s.sealed()
	for i := range 20 {
		s.put(fmt.Sprint("key-", i), "before")
	}
	s.backup("good")
	made := s.becomes("good", "Completed", "Verified", metav1.ConditionTrue)
	s.put("key-0", "after")
	s.put("late", "after")
	before := s.cluster().Status.ClusterID

	s.restore("undo", "good", func(spec *v1alpha1.EtcdRestoreSpec) { spec.Completion = v1alpha1.CompleteManually })
	restored := s.restoreIs("undo", "Restored", "20 keys")
	cluster := s.settled()
	if cluster.Status.ClusterID == before || cluster.Status.ClusterID != restored.Status.ClusterID {
		s.Errorf("etcd's ID was %s, is %s, and the restore says %s", before, cluster.Status.ClusterID, restored.Status.ClusterID)
	}
	s.holds("key-0", "before")
	s.lacks("late")
	if bumped := s.member("demo-0").Header.Revision; bumped < made.Status.Revision+1_000_000_000 {
		s.Errorf("the revision is %d, and was %d", bumped, made.Status.Revision)
	}
	s.becomes(restored.Status.SafetyBackup, "Completed", "Complete", metav1.ConditionTrue)
	s.put("new", "afterwards")

	s.changeRestore("undo", v1alpha1.CompleteByRollBack)
	s.restoreIs("undo", "RolledBack", "spec.completion is RollBack")
	if cluster = s.settled(); cluster.Status.ClusterID != before {
		s.Errorf("etcd's ID was %s and is %s", before, cluster.Status.ClusterID)
	}
	s.holds("late", "after")
	s.lacks("new")

	// Once more, for good, from the backup that was made before the first time.
	s.restore("redo", restored.Status.SafetyBackup, func(spec *v1alpha1.EtcdRestoreSpec) {
		spec.BumpRevision, spec.SafetyBackup = ptr.To[int64](0), v1alpha1.SafetySkip
	})
	s.restoreIs("redo", "Completed", "21 keys")
	s.settled()
	s.holds("late", "after")
	s.change(size(1))
	s.settled()
	s.holds("key-0", "after")
}

// Without the webhook, what a restore rests on stays as it is until the restore is over, and the conditions say so. A member that is replaced
// meanwhile leaves its volume, so that the cluster can be given back what it had. Then the spec is carried out.
func TestChangesBeforeARestoreIsOver(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	saved := s.seeded(3)
	s.put("late", "after")
	had, before := s.content(), s.cluster().Status.ClusterID
	s.restore("undo", "seed", func(spec *v1alpha1.EtcdRestoreSpec) {
		spec.Completion, spec.SafetyBackup = v1alpha1.CompleteManually, v1alpha1.SafetySkip
	})
	s.restoreIs("undo", "Restored")
	s.settled()
	if has := s.content(); !slices.Equal(has, saved) {
		t.Errorf("the cluster has %v", has)
	}

	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Size, spec.Version = ptr.To[int32](1), "3.7.3" })
	const waits = "spec.size cannot be changed from 3 to 1, spec.version cannot be changed from " + version + " to 3.7.3: " +
		"EtcdRestore undo into EtcdCluster demo is not over (Restored): set its spec.completion to Confirm or RollBack"
	s.says("Progressing", "RestoreInFlight", waits)
	s.says("Degraded", "RestoreInFlight", waits)
	s.annotate(render.AnnotationReplaceMembers, "demo-1")
	s.eventually("the member is replaced, and its volume is there", longPatience, func() error {
		names := map[string]bool{}
		for i := range s.claims() {
			names[s.claims()[i].Name] = true
		}
		members := s.cluster().Status.Members
		replaced := !slices.ContainsFunc(members, func(m v1alpha1.MemberStatus) bool { return m.Name == "demo-1" }) && len(s.workloads()) == 3
		if !replaced || len(members) != 3 || s.cluster().Status.ReadyMembers != 3 || !names["data-demo-1-0"] {
			return fmt.Errorf("%s, claims %v", summary(s.cluster()), names)
		}
		return nil
	})
	s.annotate(render.AnnotationReplaceMembers, "")
	s.says("Progressing", "RestoreInFlight", waits)

	s.changeRestore("undo", v1alpha1.CompleteByRollBack)
	s.restoreIs("undo", "RolledBack")
	cluster := s.settled()
	if has := s.content(); !slices.Equal(has, had) || cluster.Status.ClusterID != before {
		t.Errorf("the cluster is %s and has %v", cluster.Status.ClusterID, has)
	}
	if note := cluster.Annotations[render.AnnotationRestoreRestsOn]; note != "" || cluster.Status.Version != "3.7.3" || len(cluster.Status.Members) != 1 {
		t.Errorf("noted is %q; the version is %s, and the members are %v", note, cluster.Status.Version, cluster.Status.Members)
	}
}

// A new cluster begins with the data of another one's backup.
func TestBootstrapFromBackup(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	store := s.store()
	s.running(1)
	for i := range 20 {
		s.put(fmt.Sprint("key-", i), "before")
	}
	s.backup("seed", func(spec *v1alpha1.EtcdBackupSpec) { spec.Store = &store })
	made := s.becomes("seed", "Completed", "Verified", metav1.ConditionTrue)
	old := s.cluster()
	s.delete(old)
	s.gone(old)
	s.nothingLeft("PersistentVolumeClaim backups")

	s.create(s.demo(3, byDefault, func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Bootstrap = &v1alpha1.BootstrapSpec{BackupRef: &v1alpha1.BackupReference{Name: "seed"}}
	}))
	s.settled()
	s.holds("key-19", "before")
	restored := s.restoreIs("demo-bootstrap", "Completed", "20 keys")
	if revision := s.member("demo-0").Header.Revision; revision != made.Status.Revision || restored.Status.Revision != revision {
		s.Errorf("the revision is %d, was %d, and the restore says %d", revision, made.Status.Revision, restored.Status.Revision)
	}
	s.sealed()
}

// A client deletes everything. The cluster is given back what it had at the revision before, and at the moment before.
func TestRestoreToARevisionAndAMoment(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	store := s.store()
	s.running(1, continuous(store))
	s.keepsUp()
	for i := range 20 {
		s.put(fmt.Sprint("key-", i), "good")
	}
	revision := s.member("demo-0").Header.Revision
	from, cluster := s.archiveOf(store)
	s.archived(from, cluster, revision)
	time.Sleep(2 * time.Second) // A moment is of the archiver's clock, in which it has received all of it.
	moment := metav1.NowMicro()
	time.Sleep(2 * time.Second)
	if _, err := s.connect().Delete(s.Context(), "", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	s.lacks("key-0")
	s.archived(from, cluster, revision+1)
	// It is too late for a backup; it only says where the archive is.
	s.backup("late")
	s.becomes("late", "Completed", "Verified", metav1.ConditionTrue)
	for name, target := range map[string]func(*v1alpha1.EtcdRestoreSpec){
		"by-revision": func(spec *v1alpha1.EtcdRestoreSpec) { spec.Revision = revision },
		"by-moment":   func(spec *v1alpha1.EtcdRestoreSpec) { spec.PointInTime = &moment },
	} {
		s.restore(name, "late", target, func(spec *v1alpha1.EtcdRestoreSpec) { spec.SafetyBackup = v1alpha1.SafetySkip })
		s.restoreIs(name, "Completed", "20 keys")
		s.settled()
		s.holds("key-0", "good")
		s.holds("key-19", "good")
		if _, err := s.connect().Delete(s.Context(), "", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
	}
	// Another cluster begins with it, and one with the last of all, by a backup that knows neither.
	second := s.connect()
	last, err := second.Put(s.Context(), "last", "of all")
	if err != nil {
		t.Fatal(err)
	}
	from, cluster = s.archiveOf(store)
	s.archived(from, cluster, last.Header.Revision)
	for name, target := range map[string]v1alpha1.BootstrapSpec{
		"thatrevision": {Revision: revision}, "thatmoment": {PointInTime: &moment}, "alloftime": {Latest: true},
	} {
		target.BackupRef = &v1alpha1.BackupReference{Name: "late"}
		twin := s.demo(1, byDefault, func(spec *v1alpha1.EtcdClusterSpec) { spec.Bootstrap = &target })
		twin.Name = name
		s.create(twin)
	}
	s.restoreIs("thatrevision-bootstrap", "Completed", fmt.Sprintf("20 keys at revision %d", revision))
	s.restoreIs("thatmoment-bootstrap", "Completed", fmt.Sprintf("20 keys at revision %d", revision))
	if found := s.restoreIs("alloftime-bootstrap", "Completed", fmt.Sprintf("1 keys at revision %d", last.Header.Revision)); found.Status.TargetRevision != last.Header.Revision {
		s.Errorf("the target is %d, want %d", found.Status.TargetRevision, last.Header.Revision)
	}
	// What was never archived is refused, and the cluster has what it had.
	s.put("kept", "value")
	s.restore("never", "late", func(spec *v1alpha1.EtcdRestoreSpec) { spec.Revision, spec.SafetyBackup = 999_999, v1alpha1.SafetySkip })
	s.restoreIs("never", "Failed", "nothing was touched", "it is not archived")
	s.settled()
	s.holds("kept", "value")
	s.eventually("one restore is told to have failed", patience, func() error {
		if total, of := s.series("etcd_operator_restore_failed"); total != 1 || of != 3 || s.metric("etcd_operator_restore_failed", "restore", "never") != 1 {
			return fmt.Errorf("it is %v of %d", total, of)
		}
		return nil
	})
	failed := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "never"}}
	s.delete(failed)
	s.eventually("nothing is told of one that is deleted", patience, func() error {
		if total, of := s.series("etcd_operator_restore_failed"); total != 0 || of != 2 {
			return fmt.Errorf("it is %v of %d", total, of)
		}
		return nil
	})
}

func (s *scene) changeRestore(name string, completion v1alpha1.RestoreCompletion) {
	s.Helper()
	s.eventually("the restore is changed", patience, func() error {
		restore := &v1alpha1.EtcdRestore{}
		s.get(name, restore)
		restore.Spec.Completion = completion
		return env.Client.Update(s.Context(), restore)
	})
}

// lacks checks that there is no such key.
func (s *scene) lacks(key string) {
	s.Helper()
	answer, err := s.connect().Get(s.Context(), key, clientv3.WithCountOnly())
	if err != nil || answer.Count != 0 {
		s.Errorf("there are %+v of %s: %v", answer, key, err)
	}
}
