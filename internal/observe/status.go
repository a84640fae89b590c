package observe

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
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
		Auth:               recordedAuth(status.Auth),
	}
	for _, c := range status.Conditions {
		// Others may keep conditions of their own here.
		if !slices.Contains([]string{core.Available, core.Progressing, core.Degraded, core.CertificatesValid, core.AuthReady}, c.Type) {
			continue
		}
		report.Conditions = append(report.Conditions, readCondition(c))
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

// sinceRestore leaves out what the status says of an etcd cluster whose data has been replaced by another one's since. The names that
// were used stay used.
func sinceRestore(cluster *v1alpha1.EtcdCluster, recorded core.Report) core.Report {
	id, restored := cluster.Annotations[render.AnnotationRestoredClusterID]
	if id == core.Unsettled {
		id = "" // It waits for its first data again.
	}
	if !restored || id == recorded.ClusterID {
		return recorded
	}
	recorded.ClusterID, recorded.Members, recorded.Leader, recorded.Version = id, nil, "", ""
	recorded.MemberCount, recorded.ReadyMembers = 0, 0
	return recorded
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
		Auth:               authStatus(report.Auth),
	}
	for _, c := range report.Conditions {
		writeCondition(&status.Conditions, c, report.ObservedGeneration)
	}
	var largest int64
	for _, m := range report.Members {
		largest = max(largest, m.Figures.DBSize)
		status.Members = append(status.Members, v1alpha1.MemberStatus{
			Name: m.Name, ID: m.ID, Role: v1alpha1.MemberRole(m.Role), Version: m.Version, Healthy: m.Healthy,
			HealthySince: timeTo(m.HealthySince), Message: m.Message,
			DBSize: inBytes(m.Figures.DBSize), DBSizeInUse: inBytes(m.Figures.DBSizeInUse), Revision: m.Figures.Revision, RaftLag: m.Figures.RaftLag,
		})
	}
	status.DBSize = inBytes(largest)
	return status
}

func recordedAuth(status *v1alpha1.AuthStatus) core.AuthReport {
	if status == nil {
		return core.AuthReport{}
	}
	report := core.AuthReport{
		Managed: true, Enabled: status.Mode == v1alpha1.AuthEnabled, Revision: uint64(max(status.Revision, 0)), Hash: status.Hash, Roles: status.Roles,
	}
	for _, user := range status.Users {
		report.Users = append(report.Users, core.AuthUserReport{Name: user.Name, Login: core.Login(user.Login)})
	}
	return report
}

func authStatus(report core.AuthReport) *v1alpha1.AuthStatus {
	if !report.Managed {
		return nil
	}
	status := &v1alpha1.AuthStatus{
		Mode: v1alpha1.AuthDisabled, Hash: report.Hash, Roles: report.Roles,
		Revision: int64(report.Revision), //nolint:gosec // It counts changes.
	}
	if report.Enabled {
		status.Mode = v1alpha1.AuthEnabled
	}
	for _, user := range report.Users {
		status.Users = append(status.Users, v1alpha1.AuthUserStatus{Name: user.Name, Login: v1alpha1.AuthLogin(user.Login)})
	}
	return status
}

// readCondition reads a condition of a status.
func readCondition(c metav1.Condition) core.Condition {
	return core.Condition{
		Type: c.Type, Status: core.Truth(c.Status), Reason: core.Reason(c.Reason), Message: c.Message, Since: c.LastTransitionTime.Time,
	}
}

// writeCondition writes a condition to a status.
func writeCondition(to *[]metav1.Condition, c core.Condition, generation int64) {
	meta.SetStatusCondition(to, metav1.Condition{
		Type: c.Type, Status: metav1.ConditionStatus(c.Status), Reason: string(c.Reason), Message: c.Message,
		LastTransitionTime: metav1.NewTime(c.Since), ObservedGeneration: generation,
	})
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

func inBytes(size int64) *resource.Quantity {
	if size == 0 {
		return nil
	}
	return resource.NewQuantity(size, resource.BinarySI)
}
