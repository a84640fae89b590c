package observe

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// RecordedBackup reads the report that was last written.
func RecordedBackup(backup *v1alpha1.EtcdBackup) backups.Report {
	status := &backup.Status
	report := backups.Report{
		ObservedGeneration: status.ObservedGeneration, Phase: string(status.Phase), Path: status.Path,
		StartedAt: timeOf(status.StartedAt), VerifiedAt: timeOf(status.VerifiedAt),
	}
	if status.VerificationTook != nil {
		report.Took = status.VerificationTook.Duration
	}
	for _, c := range status.Conditions {
		if c.Type == backups.Complete || c.Type == backups.Verified {
			report.Conditions = append(report.Conditions, readCondition(c))
		}
	}
	if status.CompletedAt != nil {
		report.Stored = &backups.Stored{
			Ended: status.CompletedAt.Time, Member: status.Member, Version: status.Version, ClusterID: status.ClusterID,
			Revision: status.Revision, Keys: status.Keys, Hash: uint32(status.HashKV), //nolint:gosec // It was one.
			Size: valueOf(status.SnapshotSize), StoredSize: valueOf(status.StoredSize),
		}
		if status.Encryption != nil {
			report.Stored.Recipients = status.Encryption.Recipients
		}
	}
	return report
}

// BackupStatus writes a report as the status of an EtcdBackup.
func BackupStatus(b render.Backup, report backups.Report) v1alpha1.EtcdBackupStatus {
	status := v1alpha1.EtcdBackupStatus{
		ObservedGeneration: report.ObservedGeneration, Phase: v1alpha1.BackupPhase(report.Phase), Path: report.Path,
		StartedAt: timeTo(report.StartedAt), VerifiedAt: timeTo(report.VerifiedAt),
	}
	if report.Path != "" {
		status.Store = b.Store().DeepCopy()
	}
	if report.Took > 0 {
		status.VerificationTook = &metav1.Duration{Duration: report.Took.Round(time.Millisecond)}
	}
	for _, c := range report.Conditions {
		writeCondition(&status.Conditions, c, report.ObservedGeneration)
	}
	if stored := report.Stored; stored != nil {
		status.CompletedAt, status.Member, status.Version, status.ClusterID = timeTo(stored.Ended), stored.Member, stored.Version, stored.ClusterID
		status.Revision, status.Keys, status.HashKV = stored.Revision, stored.Keys, int64(stored.Hash)
		status.SnapshotSize, status.StoredSize = inBytes(stored.Size), inBytes(stored.StoredSize)
		if len(stored.Recipients) > 0 {
			status.Encryption = &v1alpha1.BackupEncryption{Recipients: stored.Recipients}
			if identity := b.Identity(); identity != "" {
				status.Encryption.IdentitySecret = &v1alpha1.SecretName{Name: identity}
			}
		}
	}
	return status
}
