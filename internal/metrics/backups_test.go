package metrics_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/schedule"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
)

func scheduled(mode v1alpha1.VerificationMode) *v1alpha1.EtcdCluster {
	return &v1alpha1.EtcdCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo"},
		Spec:       v1alpha1.EtcdClusterSpec{Backup: &v1alpha1.BackupSpec{Verification: v1alpha1.BackupVerification{Mode: mode}}},
	}
}

// made is a backup of a time; it is verified ten seconds later if it is.
func made(seconds int64, phase string, verified metav1.ConditionStatus) v1alpha1.EtcdBackup {
	at := metav1.Unix(seconds, 0)
	b := v1alpha1.EtcdBackup{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at}}
	b.Status.Phase = v1alpha1.BackupPhase(phase)
	if phase == backups.PhaseFailed {
		return b
	}
	b.Status.CompletedAt = &at
	b.Status.Conditions = []metav1.Condition{{Type: backups.Complete, Status: metav1.ConditionTrue}, {Type: backups.Verified, Status: verified}}
	if verified == metav1.ConditionTrue {
		later := metav1.Unix(seconds+10, 0)
		b.Status.VerifiedAt, b.Status.VerificationTook = &later, &metav1.Duration{Duration: 3 * time.Second}
	}
	return b
}

// TestScheduledBackups: what alerts are made of.
func TestScheduledBackups(t *testing.T) {
	t.Cleanup(func() { metrics.ForgetBackups("default", "demo") })
	const completed, unknown = backups.PhaseCompleted, metav1.ConditionUnknown
	next := schedule.Decision{Next: time.Unix(1000, 0), Overdue: time.Unix(2000, 0)}
	for _, c := range []struct {
		situation string
		mode      v1alpha1.VerificationMode
		made      []v1alpha1.EtcdBackup
		next      schedule.Decision
		want      map[string]float64
	}{
		{"none yet", v1alpha1.VerifyAlways, nil, next, map[string]float64{"next": 1000, "overdue": 2000}},
		{
			"one is good, and a later one has failed", v1alpha1.VerifyAlways, []v1alpha1.EtcdBackup{made(100, completed, metav1.ConditionTrue), made(200, backups.PhaseFailed, "")}, next,
			map[string]float64{"next": 1000, "overdue": 2000, "completed": 100, "verified": 110, "trial": 3, "unverified": 110, "failing": 1},
		},
		{
			"another is not what the cluster had", v1alpha1.VerifyAlways, []v1alpha1.EtcdBackup{made(300, completed, metav1.ConditionFalse), made(100, completed, metav1.ConditionTrue)}, next,
			map[string]float64{"next": 1000, "overdue": 2000, "completed": 300, "verified": 110, "trial": 3, "unverified": 110, "failing": 1},
		},
		{
			"none could be tried out", v1alpha1.VerifyAlways, []v1alpha1.EtcdBackup{made(300, completed, unknown), made(100, completed, unknown)}, next,
			map[string]float64{"next": 1000, "overdue": 2000, "completed": 300, "unverified": 100},
		},
		{
			"none is to be tried out", v1alpha1.VerifyNever, []v1alpha1.EtcdBackup{made(100, completed, unknown)}, next,
			map[string]float64{"next": 1000, "overdue": 2000, "completed": 100},
		},
		{"suspended", v1alpha1.VerifyAlways, []v1alpha1.EtcdBackup{made(100, completed, unknown)}, schedule.Decision{}, map[string]float64{"completed": 100, "unverified": 100}},
	} {
		metrics.Backups(scheduled(c.mode), c.made, c.next)
		for short, name := range map[string]string{
			"next": "next_timestamp_seconds", "overdue": "overdue_timestamp_seconds", "completed": "last_completed_timestamp_seconds", "failing": "failing",
			"verified": "last_verified_timestamp_seconds", "unverified": "unverified_since_timestamp_seconds", "trial": "last_verification_seconds",
		} {
			want := map[string]float64{}
			if c.want[short] != 0 {
				want[""] = c.want[short]
			}
			t.Run(c.situation, func(t *testing.T) { expect(t, "etcd_operator_scheduled_backup_"+name, want) })
		}
	}
	metrics.ForgetBackups("default", "demo")
	expect(t, "etcd_operator_scheduled_backup_last_completed_timestamp_seconds", map[string]float64{})
}

// TestRestores: one that ended otherwise than it was asked to has failed.
func TestRestores(t *testing.T) {
	const name = "etcd_operator_restore_failed"
	for _, c := range []struct {
		phase      string
		reason     core.Reason
		completion v1alpha1.RestoreCompletion
		failed     bool
	}{
		{restores.Filling, restores.ReasonRestoring, v1alpha1.CompleteAutomatically, false},
		{restores.Failed, restores.ReasonRefused, v1alpha1.CompleteAutomatically, true},
		{restores.Failed, restores.ReasonFailed, v1alpha1.CompleteAutomatically, true},
		{restores.Comparing, restores.ReasonFailed, v1alpha1.CompleteManually, true},
		{restores.RollingBack, restores.ReasonRollingBack, v1alpha1.CompleteAutomatically, true},
		{restores.RolledBack, restores.ReasonRolledBack, v1alpha1.CompleteAutomatically, true},
		{restores.RolledBack, restores.ReasonRolledBack, v1alpha1.CompleteByRollBack, false},
		{restores.Failed, restores.ReasonRefused, v1alpha1.CompleteByRollBack, false},
		{restores.Completed, restores.ReasonCompleted, v1alpha1.CompleteAutomatically, false},
	} {
		restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo"}}
		restore.Spec.ClusterRef.Name, restore.Spec.Completion = "demo", c.completion
		metrics.Restore(restore, restores.Report{Phase: c.phase, Condition: core.Condition{Reason: c.reason}})
		want := map[string]float64{}
		if c.failed {
			want["undo"] = 1
		}
		t.Run(c.phase+string(c.completion), func(t *testing.T) { expect(t, name, want) })
	}
	restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo"}}
	restore.Spec.ClusterRef.Name = "demo"
	metrics.Restore(restore, restores.Report{Condition: core.Condition{Reason: restores.ReasonFailed}})
	metrics.ForgetRestore("default", "undo")
	expect(t, name, map[string]float64{})
}
