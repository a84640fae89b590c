package metrics_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
)

// values are the values of a metric for the cluster demo that are not 0, by the other labels.
func values(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			ours := false
			for _, label := range metric.GetLabel() {
				ours = ours || label.GetName() == "cluster" && label.GetValue() == "demo"
				if label.GetName() != "cluster" && label.GetName() != "namespace" {
					labels = append(labels, label.GetValue())
				}
			}
			if value := metric.GetGauge().GetValue() + metric.GetCounter().GetValue(); family.GetName() == name && ours && value != 0 {
				found[strings.Join(labels, " ")] = value
			}
		}
	}
	return found
}

func expect(t *testing.T, name string, want map[string]float64) {
	t.Helper()
	if got := values(t, name); !maps.Equal(got, want) {
		t.Errorf("%s: %v, want %v", name, got, want)
	}
}

// TestLifeOfACluster: what is published of it, and that nothing is left of it at the end.
func TestLifeOfACluster(t *testing.T) {
	one := core.Report{
		Leader: "demo-0",
		Members: []core.MemberReport{
			{Name: "demo-0", Role: core.RoleLeader, Healthy: true, Figures: core.Figures{DBSize: 7}},
			{Name: "demo-1", Role: core.RoleVoter, Healthy: true},
			{Name: "demo-2"},
		},
		Conditions: []core.Condition{{Type: core.Available, Status: core.True}, {Type: core.AuthReady, Status: core.True}},
	}
	metrics.Report("default", "demo", core.Report{}, one)
	expect(t, "etcd_operator_members", map[string]float64{"healthy leader": 1, "healthy voter": 1, "unhealthy none": 1})
	expect(t, "etcd_operator_cluster_condition", map[string]float64{"True Available": 1, "True AuthReady": 1})
	expect(t, "etcd_operator_db_size_bytes", map[string]float64{"demo-0": 7})
	expect(t, "etcd_operator_cluster_leader_changes_total", map[string]float64{})

	two := one
	two.Leader = "demo-1"
	two.Members = []core.MemberReport{{Name: "demo-1", Role: core.RoleLeader, Healthy: true, Figures: core.Figures{DBSize: 8}}}
	two.Conditions = []core.Condition{{Type: core.Available, Status: core.Unknown}}
	metrics.Report("default", "demo", one, two)
	expect(t, "etcd_operator_members", map[string]float64{"healthy leader": 1})
	expect(t, "etcd_operator_cluster_condition", map[string]float64{"Unknown Available": 1})
	expect(t, "etcd_operator_db_size_bytes", map[string]float64{"demo-1": 8})
	expect(t, "etcd_operator_cluster_leader_changes_total", map[string]float64{"": 1})

	metrics.Step("default", "demo", "ApplyMember", nil)
	metrics.Step("default", "demo", "ApplyMember", errors.New("no"))
	expect(t, "etcd_operator_steps_total", map[string]float64{"ApplyMember": 1})
	expect(t, "etcd_operator_step_failures_total", map[string]float64{"ApplyMember": 1})

	metrics.Forget("default", "demo")
	for _, name := range []string{"members", "cluster_condition", "cluster_leader_changes_total", "db_size_bytes", "steps_total", "step_failures_total"} {
		expect(t, "etcd_operator_"+name, map[string]float64{})
	}
}
