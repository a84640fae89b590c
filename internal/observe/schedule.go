package observe

import (
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/schedule"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Schedule is what the schedule of a cluster is decided from.
func Schedule(cluster *v1alpha1.EtcdCluster, made []v1alpha1.EtcdBackup, now time.Time) schedule.Observation {
	spec := cluster.Spec.Backup
	o := schedule.Observation{
		Now: now, Cluster: cluster.Name, Since: cluster.CreationTimestamp.Time,
		Spec: schedule.Spec{
			Schedule: spec.Schedule, TimeZone: spec.TimeZone, Suspended: spec.Suspend,
			VerifyEvery: map[v1alpha1.VerificationMode]int{v1alpha1.VerifyAlways: 1, v1alpha1.VerifySampled: int(spec.Verification.Every)}[spec.Verification.Mode],
			Retention: schedule.Retention{
				Last: int(spec.Retention.KeepLast), Daily: int(spec.Retention.KeepDaily), Weekly: int(spec.Retention.KeepWeekly),
				Monthly: int(spec.Retention.KeepMonthly),
			},
		},
	}
	if within := spec.Retention.KeepWithin; within != nil {
		o.Spec.Retention.Within = within.Duration
	}
	for i := range made {
		b := &made[i]
		recorded := RecordedBackup(b)
		verified := recorded.Condition(backups.Verified)
		scheduled, err := time.Parse(time.RFC3339, b.Annotations[render.AnnotationScheduledAt])
		if err != nil {
			scheduled = b.CreationTimestamp.Time
		}
		o.Backups = append(o.Backups, schedule.Backup{
			Name: b.Name, Scheduled: scheduled, Complete: recorded.Condition(backups.Complete).Status == core.True,
			Failed: recorded.Phase == backups.PhaseFailed, VerifyAsked: b.Spec.Verification != v1alpha1.VerifyNever,
			Verified: verified.Status == core.True, Bad: verified.Status == core.False,
			Kept: b.Annotations[render.AnnotationKeep] == "true", Deleting: !b.DeletionTimestamp.IsZero(),
		})
	}
	return o
}
