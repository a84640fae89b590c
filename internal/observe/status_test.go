package observe_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
)

func fullReport() core.Report {
	at := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	return core.Report{
		ObservedGeneration: 7, Phase: core.PhaseRunning, ClusterID: "c1", BootstrapMembers: []string{"demo-0", "demo-1"},
		Version: "3.6.16", Leader: "demo-1", MemberCount: 2, ReadyMembers: 1, Ready: "1/2",
		Endpoints: []string{"http://a:2379"}, Selector: "a=b", MeasuredAt: at,
		Conditions: []core.Condition{
			{Type: core.Available, Status: core.True, Reason: core.ReasonQuorumServes, Message: "m1", Since: at.Add(-time.Hour)},
			{Type: core.Progressing, Status: core.False, Reason: core.ReasonSettled, Message: "m2", Since: at},
			{Type: core.Degraded, Status: core.Unknown, Reason: core.ReasonNotAnswering, Message: "m3", Since: at.Add(-time.Minute)},
			{Type: core.CertificatesValid, Status: core.True, Reason: core.ReasonValid, Message: "m4", Since: at},
			{Type: core.AuthReady, Status: core.True, Reason: core.ReasonAuthEnabled, Message: "m5", Since: at},
		},
		Auth: core.AuthReport{
			Managed: true, Enabled: true, Revision: 17, Hash: "h", Roles: []string{"app"},
			Users: []core.AuthUserReport{{Name: "app", Login: core.LoginPassword}, {Name: "web", Login: core.LoginCertificate}},
		},
		Members: []core.MemberReport{
			{
				Name: "demo-0", ID: "1a", Role: core.RoleVoter, Version: "3.6.16", Healthy: true, HealthySince: at,
				Figures: core.Figures{DBSize: 5 << 20, DBSizeInUse: 64 << 10, Revision: 9, RaftLag: 3},
			},
			{Name: "demo-1", HealthySince: at.Add(-time.Second), Message: "it is down"},
		},
	}
}

// TestStatusRoundTrip: a report comes back as it was written, by way of the API server. Otherwise an idle cluster would
// be written to for ever.
func TestStatusRoundTrip(t *testing.T) {
	for name, report := range map[string]core.Report{"full": fullReport(), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(observe.Status(report))
			if err != nil {
				t.Fatal(err)
			}
			cluster := &v1alpha1.EtcdCluster{}
			if err := json.Unmarshal(text, &cluster.Status); err != nil {
				t.Fatal(err)
			}
			back := observe.Recorded(cluster)
			if !back.Equal(report) {
				t.Error(cmp.Diff(report, back))
			}
		})
	}
}

func TestStatusOfTheLargestMember(t *testing.T) {
	status := observe.Status(fullReport())
	if status.DBSize.String() != "5Mi" || status.Conditions[0].ObservedGeneration != 7 {
		t.Errorf("%+v", status)
	}
	if empty := observe.Status(core.Report{}); empty.DBSize != nil || empty.MeasuredAt != nil {
		t.Errorf("%+v", empty)
	}
}

// TestEqualSeesEverything: whatever changes in a report is written.
func TestEqualSeesEverything(t *testing.T) {
	for name, change := range map[string]func(r *core.Report){
		"generation":  func(r *core.Report) { r.ObservedGeneration++ },
		"phase":       func(r *core.Report) { r.Phase = core.PhaseDegraded },
		"cluster":     func(r *core.Report) { r.ClusterID = "c2" },
		"founders":    func(r *core.Report) { r.BootstrapMembers = r.BootstrapMembers[:1] },
		"version":     func(r *core.Report) { r.Version = "3.6.17" },
		"leader":      func(r *core.Report) { r.Leader = "demo-0" },
		"count":       func(r *core.Report) { r.MemberCount++ },
		"ready count": func(r *core.Report) { r.ReadyMembers++ },
		"ready":       func(r *core.Report) { r.Ready = "2/2" },
		"endpoints":   func(r *core.Report) { r.Endpoints[0] = "http://b:2379" },
		"selector":    func(r *core.Report) { r.Selector = "c=d" },
		"measured":    func(r *core.Report) { r.MeasuredAt = r.MeasuredAt.Add(time.Second) },
		"condition":   func(r *core.Report) { r.Conditions[0].Message = "other" },
		"since":       func(r *core.Report) { r.Conditions[0].Since = r.MeasuredAt },
		"member":      func(r *core.Report) { r.Members[0].ID = "2b" },
		"figure":      func(r *core.Report) { r.Members[0].Figures.Revision++ },
		"health":      func(r *core.Report) { r.Members[1].HealthySince = r.MeasuredAt },
		"one less":    func(r *core.Report) { r.Members = r.Members[:1] },
		"auth":        func(r *core.Report) { r.Auth.Enabled = false },
		"unmanaged":   func(r *core.Report) { r.Auth = core.AuthReport{} },
		"revision":    func(r *core.Report) { r.Auth.Revision++ },
		"hash":        func(r *core.Report) { r.Auth.Hash = "i" },
		"role":        func(r *core.Report) { r.Auth.Roles = nil },
		"login":       func(r *core.Report) { r.Auth.Users[0].Login = core.LoginCertificate },
	} {
		changed := fullReport()
		change(&changed)
		if changed.Equal(fullReport()) {
			t.Errorf("%s: the change is not seen", name)
		}
	}
}

// TestConditionsOfOthers: what others keep in the status is not part of the report, and so changes nothing in it.
func TestConditionsOfOthers(t *testing.T) {
	cluster := &v1alpha1.EtcdCluster{}
	cluster.Status.Conditions = []metav1.Condition{{Type: "Audited", Status: metav1.ConditionTrue, Reason: "Yes"}}
	if got := observe.Recorded(cluster).Conditions; len(got) != 0 {
		t.Errorf("conditions %v", got)
	}
}
