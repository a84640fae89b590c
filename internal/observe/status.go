package observe

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

func isCluster(owner metav1.OwnerReference) bool {
	return owner.Kind == "EtcdCluster" && owner.APIVersion == v1alpha1.GroupVersion.String()
}

// Recorded reads the report that was last written.
func Recorded(cluster *v1alpha1.EtcdCluster) core.Report {
	status := &cluster.Status
	report := core.Report{
		ObservedGeneration: status.ObservedGeneration,
		Phase:              string(status.Phase),
		ClusterID:          status.ClusterID,
		BootstrapMembers:   status.BootstrapMembers,
		NextOrdinal:        int(status.NextOrdinal),
		Version:            status.Version,
		Leader:             status.Leader,
		MemberCount:        int(status.MemberCount),
		ReadyMembers:       int(status.ReadyMembers),
		Ready:              status.Ready,
		Endpoints:          status.Endpoints,
		Selector:           status.Selector,
		MeasuredAt:         timeOf(status.MeasuredAt),
	}
	for _, c := range status.Conditions {
		// Others may keep conditions of their own here.
		if c.Type != core.Available && c.Type != core.Progressing && c.Type != core.Degraded {
			continue
		}
		report.Conditions = append(report.Conditions, core.Condition{
			Type: c.Type, Status: core.Truth(c.Status), Reason: core.Reason(c.Reason), Message: c.Message, Since: c.LastTransitionTime.Time,
		})
	}
	for i := range status.Members {
		m := &status.Members[i]
		report.Members = append(report.Members, core.MemberReport{
			Name: m.Name, ID: m.ID, Role: string(m.Role), Version: m.Version, Healthy: m.Healthy,
			HealthySince: timeOf(m.HealthySince), Message: m.Message,
			Figures: core.Figures{DBSize: valueOf(m.DBSize), DBSizeInUse: valueOf(m.DBSizeInUse), Revision: m.Revision, RaftLag: m.RaftLag},
		})
	}
	return report
}

// Status writes a report as the status of a cluster.
func Status(report core.Report) v1alpha1.EtcdClusterStatus {
	status := v1alpha1.EtcdClusterStatus{
		ObservedGeneration: report.ObservedGeneration,
		Phase:              v1alpha1.Phase(report.Phase),
		ClusterID:          report.ClusterID,
		BootstrapMembers:   report.BootstrapMembers,
		NextOrdinal:        int32(report.NextOrdinal), //nolint:gosec // One per member that ever was.
		Version:            report.Version,
		Leader:             report.Leader,
		MemberCount:        int32(report.MemberCount),  //nolint:gosec // At most 32 members.
		ReadyMembers:       int32(report.ReadyMembers), //nolint:gosec // At most 32 members.
		Ready:              report.Ready,
		Endpoints:          report.Endpoints,
		Selector:           report.Selector,
		MeasuredAt:         timeTo(report.MeasuredAt),
	}
	for _, c := range report.Conditions {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: c.Type, Status: metav1.ConditionStatus(c.Status), Reason: string(c.Reason), Message: c.Message,
			LastTransitionTime: metav1.NewTime(c.Since), ObservedGeneration: report.ObservedGeneration,
		})
	}
	var largest int64
	for _, m := range report.Members {
		largest = max(largest, m.Figures.DBSize)
		status.Members = append(status.Members, v1alpha1.MemberStatus{
			Name: m.Name, ID: m.ID, Role: v1alpha1.MemberRole(m.Role), Version: m.Version, Healthy: m.Healthy,
			HealthySince: timeTo(m.HealthySince), Message: m.Message,
			DBSize: bytes(m.Figures.DBSize), DBSizeInUse: bytes(m.Figures.DBSizeInUse), Revision: m.Figures.Revision, RaftLag: m.Figures.RaftLag,
		})
	}
	status.DBSize = bytes(largest)
	return status
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

func timeTo(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	at := metav1.NewTime(t)
	return &at
}

func valueOf(q *resource.Quantity) int64 {
	if q == nil {
		return 0
	}
	return q.Value()
}

func bytes(size int64) *resource.Quantity {
	if size == 0 {
		return nil
	}
	return resource.NewQuantity(size, resource.BinarySI)
}
