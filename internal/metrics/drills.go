package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/drills"
)

func drillGauge(name, help string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "etcd_operator_drill_" + name, Help: help}, []string{"namespace", "cluster"})
}

var (
	drillSucceeded = drillGauge("last_success_timestamp_seconds", "When a drill of a cluster last ended with all data restored and compared, in seconds since 1970.")
	drillTook      = drillGauge("last_success_seconds", "How long the last successful drill of a cluster took, until all data was served and compared: how long a restore takes.")
	drillNext      = drillGauge("next_timestamp_seconds", "When the next drill of a cluster is due, in seconds since 1970; past if one is overdue.")
	drillOverdue   = drillGauge("overdue_timestamp_seconds", "When the second drill after the last successful one of a cluster has to have ended, in seconds since 1970.")
	drillFailing   = drillGauge("failing", "1 if the last drill of a cluster that has ended has failed; else 0.")
	drillGauges    = []*prometheus.GaugeVec{drillSucceeded, drillTook, drillNext, drillOverdue, drillFailing}
)

func init() {
	for _, gauge := range drillGauges {
		metrics.Registry.MustRegister(gauge)
	}
}

// Drills publishes what has become of the drills of a cluster, and what comes next; nothing of an empty decision.
func Drills(namespace, cluster string, d drills.Decision) {
	set := func(gauge *prometheus.GaugeVec, known bool, value func() float64) {
		if !known {
			gauge.DeleteLabelValues(namespace, cluster)
			return
		}
		gauge.WithLabelValues(namespace, cluster).Set(value())
	}
	moment := func(at time.Time) func() float64 { return func() float64 { return float64(at.Unix()) } }
	good := d.Report.Good
	set(drillSucceeded, good != nil, func() float64 { return float64(good.Ended.Unix()) })
	set(drillTook, good != nil, func() float64 { return good.Took.Seconds() })
	set(drillNext, !d.Next.IsZero(), moment(d.Next))
	set(drillOverdue, !d.Overdue.IsZero(), moment(d.Overdue))
	set(drillFailing, d.Report.Condition.Type != "", func() float64 {
		if d.Report.Condition.Reason == drills.ReasonFailed {
			return 1
		}
		return 0
	})
}
