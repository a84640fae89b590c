package metrics_test

import (
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/drills"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
)

// TestDrills: what alerts are made of.
func TestDrills(t *testing.T) {
	t.Cleanup(func() { metrics.Drills("default", "demo", drills.Decision{}) })
	good := &drills.Success{Ended: time.Unix(100, 0), Took: 42 * time.Second}
	pending := core.Condition{Type: drills.Drilled, Status: core.Unknown, Reason: drills.ReasonPending}
	failed := core.Condition{Type: drills.Drilled, Status: core.False, Reason: drills.ReasonFailed}
	next := drills.Decision{Next: time.Unix(1000, 0), Overdue: time.Unix(2000, 0)}
	for _, c := range []struct {
		situation string
		report    drills.Report
		wanted    bool
		want      map[string]float64
	}{
		{"none yet", drills.Report{Condition: pending}, true, map[string]float64{"next_timestamp_seconds": 1000, "overdue_timestamp_seconds": 2000}},
		{"one was good, and another has failed", drills.Report{Good: good, Condition: failed}, true, map[string]float64{
			"next_timestamp_seconds": 1000, "overdue_timestamp_seconds": 2000, "failing": 1, "last_success_timestamp_seconds": 100, "last_success_seconds": 42,
		}},
		{"there are to be none", drills.Report{}, false, nil},
	} {
		d := drills.Decision{Report: c.report}
		if c.wanted {
			d.Next, d.Overdue = next.Next, next.Overdue
		}
		metrics.Drills("default", "demo", d)
		for _, name := range []string{"next_timestamp_seconds", "overdue_timestamp_seconds", "failing", "last_success_timestamp_seconds", "last_success_seconds"} {
			want := map[string]float64{}
			if value := c.want[name]; value != 0 {
				want[""] = value
			}
			t.Run(c.situation, func(t *testing.T) { expect(t, "etcd_operator_drill_"+name, want) })
		}
	}
}
