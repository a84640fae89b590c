//go:build integration

package operator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// stopsIn lets an operator work until it is about to write something in a phase, and ends it there.
func (s *scene) stopsIn(phase string, of func() string, begin func()) {
	s.Helper()
	w := crash(1, false)
	w.skip = func(write string) bool { return isReport(write) || of() != phase }
	o := s.operateWith(operatorOptions{writes: w})
	begin()
	s.strikes(o, w)
	if now := of(); now != phase {
		s.Fatalf("the phase is %q and not %q", now, phase)
	}
}

// A backup that is deleted, whatever it is about, goes with all that it has brought into the store.
func TestABackupIsDeletedInEachPhase(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	s.seeded(1)
	seed := &v1alpha1.EtcdBackup{}
	s.get("seed", seed)
	o.stop()
	for _, phase := range []string{"", "Pending", "Running", "Completed", "Verifying"} {
		name := "deleted-" + strings.ToLower(phase) + "-"
		name = strings.TrimRight(name, "-")
		s.stopsIn(phase, func() string { return journeys[0].phase(s, name) }, func() { s.backup(name) })
		backup := &v1alpha1.EtcdBackup{}
		s.get(name, backup)
		s.delete(backup)
		o := s.operate()
		s.gone(backup)
		s.eventually("nothing is left of "+name, patience, s.nothingOnTheWay)
		o.stop()
	}
	s.operate()
	// What has failed, and what waits for something.
	s.backup("failed", func(spec *v1alpha1.EtcdBackupSpec) { spec.Store, spec.Path = &at, seed.Status.Path+"-not-there" })
	failed := s.becomes("failed", "Failed", "Complete", metav1.ConditionFalse)
	s.backup("waiting", func(spec *v1alpha1.EtcdBackupSpec) { spec.Store, spec.ClusterRef.Name = &at, "nobody" })
	waiting := s.becomes("waiting", "Pending", "Complete", metav1.ConditionFalse, "EtcdCluster nobody", "does not exist")
	for _, backup := range []*v1alpha1.EtcdBackup{failed, waiting} {
		s.delete(backup)
		s.gone(backup)
	}
	s.eventually("the backup that nobody deleted is there", patience, s.nothingOnTheWay)
}

// A restore that is deleted leaves the cluster as it was before, up to the moment when it is confirmed, and as restored from then on.
func TestARestoreIsDeletedInEachPhase(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		phase     string
		completes bool
	}{
		{"", false},
		{"Pending", false},
		{"Checking", false},
		{"BackingUp", false},
		{"Stopping", false},
		{"Filling", false},
		{"Starting", false},
		{"Comparing", false},
		{"Restored", false},
		{"RollingBack", false},
		{"Confirming", true},
		{"Completed", true},
	} {
		t.Run("in "+c.phase, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			o := s.operate()
			saved := s.seeded(1)
			s.put("late", "after")
			had, before := s.content(), s.cluster().Status.ClusterID
			begin := func() { s.restore("undo", "seed") }
			if c.phase == "RollingBack" {
				s.restore("undo", "seed", func(spec *v1alpha1.EtcdRestoreSpec) { spec.Completion = v1alpha1.CompleteManually })
				s.restoreIs("undo", "Restored")
				begin = func() { s.changeRestore("undo", v1alpha1.CompleteByRollBack) }
			}
			o.stop()
			s.stopsIn(c.phase, func() string { return phaseOfRestore(s, "undo") }, begin)
			restore := &v1alpha1.EtcdRestore{}
			s.get("undo", restore)
			s.delete(restore)
			s.operate()
			s.gone(restore)
			cluster := s.settled()
			want := had
			if c.completes {
				want = saved
			}
			if has := s.content(); !slices.Equal(has, want) {
				t.Errorf("the cluster has\n%s\nand is to have\n%s", strings.Join(has, "\n"), strings.Join(want, "\n"))
			}
			if restored := cluster.Status.ClusterID != before; restored != c.completes {
				t.Errorf("etcd's ID was %s and is %s", before, cluster.Status.ClusterID)
			}
			s.eventually("nothing is left of it", patience, s.nothingOnTheWay)
			s.checkOneCluster()
		})
	}
}

// A cluster that waits for its first data gets it from another EtcdRestore when the one that was made for it is deleted, on volumes which
// have what that one has left; none of that stays.
func TestABootstrapRestoreIsDeleted(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	saved := s.seeded(1)
	j := journeys[slices.IndexFunc(journeys, func(j journey) bool { return strings.Contains(j.name, "begins") })]
	j.prepare(s, "")
	o.stop()
	w := crash(1, true)
	w.skip = only("create *v1.Job")
	first := s.operateWith(operatorOptions{writes: w})
	j.begin(s, "")
	s.strikes(first, w)
	restore := &v1alpha1.EtcdRestore{}
	s.get(render.BootstrapRestore("demo"), restore)
	s.eventually("the volume of the first member is filled", patience, func() error {
		claim := &corev1.PersistentVolumeClaim{}
		s.get(render.ClaimName(render.DataVolume, "demo-0"), claim)
		mount := env.VolumeFolder(claim)
		for _, path := range []string{"data", "restore-" + string(restore.UID)} {
			if _, err := os.Stat(filepath.Join(mount, path)); err != nil {
				return err
			}
		}
		return nil
	})
	s.operate()
	s.delete(restore)
	s.eventually("another one completes", longPatience, func() error {
		now := &v1alpha1.EtcdRestore{}
		if err := env.Client.Get(s.Context(), client.ObjectKeyFromObject(restore), now); err != nil || now.UID == restore.UID {
			return fmt.Errorf("UID %s: %w", now.UID, err)
		}
		return s.restoreEnded(restore.Name, "Completed", 0, saved)
	})
	s.eventually("nothing is left of the first one", patience, s.nothingOnTheWay)
}

// A new cluster that has other data than its backup does not run until somebody says what is to become of it. Rolled back, it waits for
// its first data again, and gets them from another EtcdRestore.
func TestANewClusterWithOtherData(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	saved := s.seeded(1)
	j := journeys[slices.IndexFunc(journeys, func(j journey) bool { return strings.Contains(j.name, "begins") })]
	j.prepare(s, "")
	o.stop()
	s.stopsIn("Comparing", func() string { return j.phase(s, "") }, func() { j.begin(s, "") })
	// What it is to have is noted as something else.
	name := render.BootstrapRestore("demo")
	restore := &v1alpha1.EtcdRestore{}
	s.get(name, restore)
	digest := restore.Status.Digest
	s.note(name, func(r *v1alpha1.EtcdRestore) { r.Status.Digest = "another" })
	s.operate()
	s.restoreIs(name, "Comparing", "its volumes were filled with 5, with the digest another", "no member runs", "RollBack", "Confirm")
	s.says("Available", "Restoring", "EtcdRestore "+name)
	s.eventually("no member runs", patience, func() error {
		if pods := s.pods(); len(pods) > 0 {
			return fmt.Errorf("there are %d pods", len(pods))
		}
		return nil
	})
	s.changeRestore(name, v1alpha1.CompleteByRollBack)
	s.restoreIs(name, "Failed", "the cluster waits for its first data")
	s.says("Progressing", "Restoring", "waiting for the data of EtcdBackup seed")
	s.get(name, restore)
	s.delete(restore)
	s.eventually("another one completes", longPatience, func() error {
		now := &v1alpha1.EtcdRestore{}
		if err := env.Client.Get(s.Context(), s.key(name), now); err != nil || now.UID == restore.UID || now.Status.Digest != digest {
			return fmt.Errorf("UID %s, digest %s: %w", now.UID, now.Status.Digest, err)
		}
		return s.restoreEnded(name, "Completed", 0, saved)
	})
	s.eventually("nothing is left of the first one", patience, s.nothingOnTheWay)
	s.checkOneCluster()
}

// note changes the status of a restore.
func (s *scene) note(name string, change func(*v1alpha1.EtcdRestore)) {
	s.Helper()
	restore := &v1alpha1.EtcdRestore{}
	s.get(name, restore)
	change(restore)
	if err := env.Client.Status().Update(s.Context(), restore); err != nil {
		s.Fatal(err)
	}
}

// Neither a backup nor a restore keeps a namespace from going.
func TestANamespaceIsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*scene){
		"a backup runs": func(s *scene) {
			s.stopsIn("Running", func() string { return journeys[0].phase(s, "late") }, func() { s.backup("late") })
		},
		"a restore fills": func(s *scene) {
			s.stopsIn("Filling", func() string { return phaseOfRestore(s, "undo") }, func() { s.restore("undo", "seed") })
			s.backup("late")
		},
		"a restore is rolled back": func(s *scene) {
			o := s.operate()
			s.restore("undo", "seed", func(spec *v1alpha1.EtcdRestoreSpec) { spec.Completion = v1alpha1.CompleteManually })
			s.restoreIs("undo", "Restored")
			o.stop()
			s.stopsIn("RollingBack", func() string { return phaseOfRestore(s, "undo") }, func() { s.changeRestore("undo", v1alpha1.CompleteByRollBack) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			o := s.operate()
			s.seeded(1)
			o.stop()
			begin(s)
			s.operate()
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
			s.delete(namespace)
			s.eventually("the namespace goes", longPatience, func() error {
				err := env.Client.Get(s.Context(), client.ObjectKeyFromObject(namespace), namespace)
				if apierrors.IsNotFound(err) {
					return nil
				}
				return fmt.Errorf("%w; it says %+v", errors.Join(err, errors.New("it is there")), namespace.Status.Conditions)
			})
		})
	}
}

// foreignJob makes a Job of somebody else that does nothing.
func (s *scene) foreignJob(name string) *batchv1.Job {
	s.Helper()
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: batchv1.JobSpec{Suspend: ptr.To(true), Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "work", Image: "their-own"}},
		}}},
	}
	s.create(job)
	return job
}

// leaves checks that a Job of somebody else is there as it was, and deletes it.
func (s *scene) leaves(job *batchv1.Job) {
	s.Helper()
	now := &batchv1.Job{}
	s.get(job.Name, now)
	if now.UID != job.UID || now.DeletionTimestamp != nil || now.Generation != job.Generation {
		s.Errorf("Job %s of somebody else was %+v and is %+v", job.Name, job, now)
	}
	s.delete(job, client.PropagationPolicy(metav1.DeletePropagationBackground))
	s.gone(job)
}

// Jobs of somebody else that have the names of ours are left alone, and named as what is in the way.
func TestJobsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	t.Run("backup", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.operate()
		s.seeded(1)
		taken := func(kind string) string { return "Job late-" + kind + " exists and is not this backup's" }
		makes, tries, deletes := s.foreignJob("late-backup"), s.foreignJob("late-verify"), s.foreignJob("late-delete")
		backup := s.backup("late")
		s.becomes("late", "Pending", "Complete", metav1.ConditionFalse, taken("backup"))
		s.leaves(makes)
		s.becomes("late", "Completed", "Verified", metav1.ConditionUnknown, taken("verify"))
		s.leaves(tries)
		s.becomes("late", "Completed", "Verified", metav1.ConditionTrue)
		s.delete(backup)
		s.becomes("late", "Deleting", "Complete", metav1.ConditionTrue, taken("delete"), "spec.deletionPolicy")
		s.leaves(deletes)
		s.gone(backup)
		s.eventually("nothing is left of it", patience, s.nothingOnTheWay)
	})
	t.Run("restore", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.operate()
		saved := s.seeded(1)
		s.put("late", "after")
		had := s.content()
		fills, gives := s.foreignJob("undo-fill-0"), s.foreignJob("undo-rollback-0")
		s.restore("undo", "seed")
		s.restoreIs("undo", "RollingBack", "Job undo-rollback-0 exists and is not this restore's")
		s.leaves(gives)
		s.restoreIs("undo", "RolledBack", "Job undo-fill-0 exists and is not this restore's")
		s.leaves(fills)
		s.eventually("it has ended", patience, func() error { return s.restoreEnded("undo", "RolledBack", 1, had) })
		compares, confirms := s.foreignJob("redo-compare-0"), s.foreignJob("redo-confirm-0")
		s.restore("redo", "seed")
		s.restoreIs("redo", "Comparing", "Job redo-compare-0 exists and is not this restore's")
		s.leaves(compares)
		s.restoreIs("redo", "Confirming", "Job redo-confirm-0 exists and is not this restore's")
		s.leaves(confirms)
		s.eventually("it has ended", longPatience, func() error { return s.restoreEnded("redo", "Completed", 1, saved) })
		s.eventually("nothing is left of it", patience, s.nothingOnTheWay)
	})
}

// Two backups at once do not get in each other's way. One that is asked for during a restore waits, says for what, and has what the
// cluster has after it; a second restore waits as well.
func TestBackupsAndRestoresAtOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	saved := s.seeded(1)
	for _, name := range []string{"one", "two"} {
		s.backup(name)
	}
	one, two := s.becomes("one", "Completed", "Verified", metav1.ConditionTrue), s.becomes("two", "Completed", "Verified", metav1.ConditionTrue)
	if one.Status.Path == two.Status.Path || one.Status.HashKV != two.Status.HashKV {
		t.Errorf("%+v and %+v", one.Status, two.Status)
	}
	s.put("late", "after")
	o.stop()
	s.stopsIn("Filling", func() string { return phaseOfRestore(s, "undo") }, func() { s.restore("undo", "seed") })
	confirms := s.foreignJob("undo-compare-0") // which keeps the restore from ending
	s.backup("late")
	s.restore("again", "one", func(spec *v1alpha1.EtcdRestoreSpec) {
		spec.SafetyBackup, spec.Completion = v1alpha1.SafetySkip, v1alpha1.CompleteManually
	})
	o = s.operateWith(operatorOptions{writes: s.onlyUntilTheyWait()})
	s.becomes("late", "Pending", "Complete", metav1.ConditionFalse, "EtcdRestore undo holds EtcdCluster demo")
	s.restoreIs("again", "Pending", "EtcdRestore undo into EtcdCluster demo is not over")
	o.stop()
	s.operate()
	s.restoreIs("undo", "Comparing", "Job undo-compare-0")
	s.leaves(confirms)
	undone := s.restoreIs("undo", "Completed")
	late := s.becomes("late", "Completed", "Verified", metav1.ConditionTrue)
	again := s.restoreIs("again", "Restored")
	if known := []string{undone.Status.ClusterID, again.Status.ClusterID}; !slices.Contains(known, late.Status.ClusterID) {
		t.Errorf("the backup is of the cluster %s, expected is one of %v", late.Status.ClusterID, known)
	}
	if again.Status.EarlierClusterID != undone.Status.ClusterID {
		t.Errorf("the second restore leads back to %s, the first one has brought %s", again.Status.EarlierClusterID, undone.Status.ClusterID)
	}
	s.changeRestore("again", v1alpha1.CompleteByRollBack)
	s.eventually("the second one is rolled back", longPatience, func() error { return s.restoreEnded("again", "RolledBack", 0, saved) })
	s.checkOneCluster()
}

// onlyUntilTheyWait lets no Job be made, so that a restore stays where it is.
func (s *scene) onlyUntilTheyWait() *writes {
	return &writes{skip: only("create *v1.Job"), before: func(int) error { return refusals["service unavailable"] }}
}
