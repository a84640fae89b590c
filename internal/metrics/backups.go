package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/schedule"
)

func backupGauge(name, help string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "etcd_operator_scheduled_backup_" + name, Help: help}, []string{"namespace", "cluster"})
}

var (
	backupCompleted = backupGauge("last_completed_timestamp_seconds", "When the newest scheduled backup of a cluster was complete, in seconds since 1970.")
	backupVerified  = backupGauge("last_verified_timestamp_seconds", "When a scheduled backup of a cluster was last tried out with success, in seconds since 1970.")
	backupNext      = backupGauge("next_timestamp_seconds", "When the next scheduled backup of a cluster is due, in seconds since 1970; past if one is overdue.")
	backupOverdue   = backupGauge("overdue_timestamp_seconds", "When the second run after the last good scheduled backup of a cluster is due, in seconds since 1970: if that is past, two in a row have brought nothing.")
	backupUnproven  = backupGauge("unverified_since_timestamp_seconds", "Since when no scheduled backup of a cluster was tried out with success, in seconds since 1970; only if they are to be tried out.")
	backupFailing   = backupGauge("failing", "1 if the newest scheduled backup of a cluster that has ended has failed, or is not what the cluster had; else 0.")
	backupSize      = backupGauge("last_stored_bytes", "What the newest complete scheduled backup of a cluster takes in the store.")
	backupTrial     = backupGauge("last_verification_seconds", "How long the last successful trial of a scheduled backup took: about what a restore takes.")
)

// backupGauges are all of them.
var backupGauges = []*prometheus.GaugeVec{
	backupCompleted, backupVerified, backupNext, backupOverdue, backupUnproven, backupFailing, backupSize, backupTrial,
}

// restoreFailed has one value for each EtcdRestore.
var restoreFailed = prometheus.NewGaugeVec(prometheus.GaugeOpts{
	Name: "etcd_operator_restore_failed",
	Help: "1 if an EtcdRestore has failed, or a cluster was given back what it had without being asked to; else 0.",
}, []string{"namespace", "cluster", "restore"})

func init() {
	for _, gauge := range backupGauges {
		metrics.Registry.MustRegister(gauge)
	}
	metrics.Registry.MustRegister(restoreFailed)
}

// Backups publishes what has become of the scheduled backups of a cluster, and what comes next.
func Backups(cluster *v1alpha1.EtcdCluster, made []v1alpha1.EtcdBackup, next schedule.Decision) {
	newest, completed, verified, unproven := telling(made)
	set := func(gauge *prometheus.GaugeVec, known bool, value func() float64) {
		if !known {
			gauge.DeleteLabelValues(cluster.Namespace, cluster.Name)
			return
		}
		gauge.WithLabelValues(cluster.Namespace, cluster.Name).Set(value())
	}
	set(backupNext, !next.Next.IsZero(), func() float64 { return float64(next.Next.Unix()) })
	set(backupOverdue, !next.Overdue.IsZero(), func() float64 { return float64(next.Overdue.Unix()) })
	set(backupCompleted, completed != nil, func() float64 { return float64(completed.Status.CompletedAt.Unix()) })
	set(backupSize, completed != nil && completed.Status.StoredSize != nil, func() float64 { return float64(completed.Status.StoredSize.Value()) })
	set(backupVerified, verified != nil, func() float64 { return float64(verified.Status.VerifiedAt.Unix()) })
	wanted := cluster.Spec.Backup != nil && cluster.Spec.Backup.Verification.Mode != v1alpha1.VerifyNever
	set(backupUnproven, wanted && (verified != nil || unproven != nil), func() float64 {
		if verified != nil {
			return float64(verified.Status.VerifiedAt.Unix())
		}
		return float64(unproven.Status.CompletedAt.Unix())
	})
	set(backupTrial, verified != nil && verified.Status.VerificationTook != nil, func() float64 { return verified.Status.VerificationTook.Seconds() })
	set(backupFailing, true, func() float64 {
		if newest != nil && (newest.Status.Phase == backups.PhaseFailed || meta.IsStatusConditionFalse(newest.Status.Conditions, backups.Verified)) {
			return 1
		}
		return 0
	})
}

// telling are the newest backup that has ended, the last that was completed, the last that was verified, and the first that was
// completed of those that are to be verified; nil where there is none.
func telling(made []v1alpha1.EtcdBackup) (newest, completed, verified, unproven *v1alpha1.EtcdBackup) {
	for i := range made {
		b := &made[i]
		complete := meta.IsStatusConditionTrue(b.Status.Conditions, backups.Complete)
		if (complete || b.Status.Phase == backups.PhaseFailed) && (newest == nil || newest.CreationTimestamp.Before(&b.CreationTimestamp)) {
			newest = b
		}
		if at := b.Status.VerifiedAt; at != nil && (verified == nil || verified.Status.VerifiedAt.Before(at)) {
			verified = b
		}
		at := b.Status.CompletedAt
		if !complete || at == nil {
			continue
		}
		if completed == nil || completed.Status.CompletedAt.Before(at) {
			completed = b
		}
		if b.Spec.Verification != v1alpha1.VerifyNever && (unproven == nil || at.Before(unproven.Status.CompletedAt)) {
			unproven = b
		}
	}
	return newest, completed, verified, unproven
}

// ForgetBackups drops what was published of the backups of a cluster.
func ForgetBackups(namespace, cluster string) {
	for _, gauge := range backupGauges {
		gauge.DeleteLabelValues(namespace, cluster)
	}
}

// Restore publishes whether a restore has failed. One that a person has given up has not.
func Restore(restore *v1alpha1.EtcdRestore, report restores.Report) {
	value := 0.0
	givenUp := restore.Spec.Completion == v1alpha1.CompleteByRollBack || restore.DeletionTimestamp != nil
	failures := []core.Reason{restores.ReasonFailed, restores.ReasonRefused, restores.ReasonRollingBack, restores.ReasonRolledBack}
	if !givenUp && slices.Contains(failures, report.Condition.Reason) {
		value = 1
	}
	restoreFailed.WithLabelValues(restore.Namespace, restore.Spec.ClusterRef.Name, restore.Name).Set(value)
}

// ForgetRestore drops what was published of a restore.
func ForgetRestore(namespace, name string) {
	restoreFailed.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "restore": name})
}
