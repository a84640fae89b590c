//go:build integration

package operator

import (
	"fmt"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// metric is the sum of a metric's values for the cluster, of those with the given labels (name, value, ...).
func (s *scene) metric(name string, labels ...string) float64 {
	s.Helper()
	total, _ := s.series(name, labels...)
	return total
}

// series is the sum, and the number, of a metric's values for the cluster.
func (s *scene) series(name string, labels ...string) (total float64, count int) {
	s.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		s.Fatal(err)
	}
	wanted := map[string]string{"namespace": s.namespace, "cluster": "demo"}
	for i := 0; i < len(labels); i += 2 {
		wanted[labels[i]] = labels[i+1]
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			matching := 0
			for _, label := range m.GetLabel() {
				if wanted[label.GetName()] == label.GetValue() {
					matching++
				}
			}
			if matching == len(wanted) {
				total += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				count++
			}
		}
	}
	return total, count
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	cluster := s.running(3)
	s.sealed()
	for _, want := range []struct {
		metric string
		labels []string
		value  float64
		// more is by how much the value may be higher: a step is repeated if the cache lags behind it.
		more float64
	}{
		{"etcd_operator_members", []string{"health", "healthy"}, 3, 0},
		{"etcd_operator_members", []string{"health", "unhealthy"}, 0, 0},
		{"etcd_operator_members", []string{"role", "leader", "health", "healthy"}, 1, 0},
		{"etcd_operator_members", []string{"role", "voter", "health", "healthy"}, 2, 0},
		{"etcd_operator_cluster_condition", []string{"type", "Available", "status", "True"}, 1, 0},
		{"etcd_operator_cluster_condition", []string{"type", "Available", "status", "False"}, 0, 0},
		{"etcd_operator_cluster_condition", []string{"type", "Degraded", "status", "False"}, 1, 0},
		{"etcd_operator_cluster_condition", []string{"type", "Progressing", "status", "False"}, 1, 0},
		// Two Services, a ConfigMap and a disruption budget; each member's StatefulSet is made, then sealed, and its pod.
		{"etcd_operator_steps_total", []string{"step", "ApplyObject"}, 4, 4},
		{"etcd_operator_steps_total", []string{"step", "ApplyMember"}, 6, 6},
		{"etcd_operator_steps_total", []string{"step", "SealPod"}, 3, 3},
		{"etcd_operator_steps_total", []string{"step", "MarkVolumes"}, 3, 3},
		{"etcd_operator_steps_total", []string{"step", "RestartMember"}, 0, 0},
		{"etcd_operator_step_failures_total", nil, 0, 0},
	} {
		s.eventually(fmt.Sprint(want.metric, want.labels), patience, func() error {
			if value := s.metric(want.metric, want.labels...); value < want.value || value > want.value+want.more {
				return fmt.Errorf("it is %v, not %v", value, want.value)
			}
			return nil
		})
	}
	if size := s.metric("etcd_operator_db_size_bytes", "member", "demo-1"); size <= 0 {
		t.Errorf("the database of a member has a size of %v", size)
	}
	s.delete(cluster)
	s.gone(cluster)
	s.eventually("the metrics of a cluster that is gone are forgotten", patience, func() error {
		for _, name := range []string{
			"etcd_operator_members", "etcd_operator_cluster_condition", "etcd_operator_db_size_bytes",
			"etcd_operator_steps_total", "etcd_operator_step_failures_total", "etcd_operator_cluster_leader_changes_total",
		} {
			if _, count := s.series(name); count > 0 {
				return fmt.Errorf("there are %d values of %s", count, name)
			}
		}
		return nil
	})
}
