// Package metrics holds the operator's own metrics. docs/reference/metrics.md describes each.
package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

var (
	members = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "etcd_operator_members",
		Help: "Members of a cluster, by role (leader, voter, learner, none) and health (healthy, unhealthy).",
	}, []string{"namespace", "cluster", "role", "health"})

	conditions = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "etcd_operator_cluster_condition",
		Help: "Conditions of a cluster: 1 for the status that a condition has, 0 for the others.",
	}, []string{"namespace", "cluster", "type", "status"})

	leaderChanges = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "etcd_operator_cluster_leader_changes_total",
		Help: "Changes of a cluster's leader that the operator saw.",
	}, []string{"namespace", "cluster"})

	dbSize = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "etcd_operator_db_size_bytes",
		Help: "Size of a member's database file in bytes.",
	}, []string{"namespace", "cluster", "member"})

	certificateExpiry = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "etcd_operator_certificate_expiry_timestamp_seconds",
		Help: "When the first certificate of a plane (client, peer) expires, in seconds since 1970.",
	}, []string{"namespace", "cluster", "plane"})

	archiverReady = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "etcd_operator_cluster_archiver_ready",
		Help: "Whether all changes of a cluster are stored, if they are to be: 1 while its archiver keeps up, 0 while not.",
	}, []string{"namespace", "cluster"})

	mirrorFollows = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "etcd_operator_cluster_mirror_follows",
		Help: "Whether a cluster repeats what the etcd outside does that it is to mirror: 1 while it keeps up, 0 while not.",
	}, []string{"namespace", "cluster"})

	steps = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "etcd_operator_steps_total",
		Help: "Steps that the operator has carried out.",
	}, []string{"namespace", "cluster", "step"})

	stepFailures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "etcd_operator_step_failures_total",
		Help: "Steps that have failed.",
	}, []string{"namespace", "cluster", "step"})
)

func init() {
	metrics.Registry.MustRegister(members, conditions, leaderChanges, dbSize, certificateExpiry, archiverReady, mirrorFollows, steps, stepFailures)
}

// Report publishes what was reported of a cluster, and what has changed since the last report.
func Report(namespace, cluster string, before, report core.Report) {
	// Every combination is set each time, so that no scrape sees a gap.
	count := map[[2]string]float64{}
	for _, m := range report.Members {
		count[[2]string{roleOf(m), healthOf(m)}]++
		dbSize.WithLabelValues(namespace, cluster, m.Name).Set(float64(m.Figures.DBSize))
	}
	for _, role := range []string{core.RoleLeader, core.RoleVoter, core.RoleLearner, noRole} {
		for _, health := range []string{"healthy", "unhealthy"} {
			members.WithLabelValues(namespace, cluster, role, health).Set(count[[2]string{role, health}])
		}
	}
	for _, m := range before.Members {
		if !slices.ContainsFunc(report.Members, func(now core.MemberReport) bool { return now.Name == m.Name }) {
			dbSize.DeleteLabelValues(namespace, cluster, m.Name)
		}
	}
	for _, c := range before.Conditions {
		if !slices.ContainsFunc(report.Conditions, func(now core.Condition) bool { return now.Type == c.Type }) {
			conditions.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "cluster": cluster, "type": c.Type})
		}
	}
	for _, c := range report.Conditions {
		for _, status := range []core.Truth{core.True, core.False, core.Unknown} {
			value := 0.0
			if c.Status == status {
				value = 1
			}
			conditions.WithLabelValues(namespace, cluster, c.Type, string(status)).Set(value)
		}
	}
	changes := leaderChanges.WithLabelValues(namespace, cluster)
	if before.Leader != "" && report.Leader != "" && before.Leader != report.Leader {
		changes.Inc()
	}
}

// Certificates publishes when certificates expire.
func Certificates(namespace, cluster string, planes []core.Plane) {
	for _, plane := range []core.PlaneName{core.PlaneClient, core.PlanePeer} {
		i := slices.IndexFunc(planes, func(p core.Plane) bool { return p.Name == plane && !p.Expires.IsZero() })
		if i < 0 {
			certificateExpiry.DeleteLabelValues(namespace, cluster, string(plane))
			continue
		}
		certificateExpiry.WithLabelValues(namespace, cluster, string(plane)).Set(float64(planes[i].Expires.Unix()))
	}
}

// Archiver publishes whether the archiver of a cluster keeps up; nil if there is to be none.
func Archiver(namespace, cluster string, ready *bool) {
	publish(archiverReady, namespace, cluster, ready)
}

func publish(gauge *prometheus.GaugeVec, namespace, cluster string, truth *bool) {
	switch {
	case truth == nil:
		gauge.DeleteLabelValues(namespace, cluster)
	case *truth:
		gauge.WithLabelValues(namespace, cluster).Set(1)
	default:
		gauge.WithLabelValues(namespace, cluster).Set(0)
	}
}

// Mirror publishes whether the mirror of a cluster keeps up with its source; nil if there is to be none.
func Mirror(namespace, cluster string, follows *bool) {
	publish(mirrorFollows, namespace, cluster, follows)
}

// noRole is the role of members that have never answered.
const noRole = "none"

func roleOf(m core.MemberReport) string {
	if m.Role == "" {
		return noRole
	}
	return m.Role
}

func healthOf(m core.MemberReport) string {
	if m.Healthy {
		return "healthy"
	}
	return "unhealthy"
}

// Step counts a step.
func Step(namespace, cluster, step string, err error) {
	if err != nil {
		stepFailures.WithLabelValues(namespace, cluster, step).Inc()
		return
	}
	steps.WithLabelValues(namespace, cluster, step).Inc()
}

// Forget drops the metrics of a cluster that is gone.
func Forget(namespace, cluster string) {
	labels := prometheus.Labels{"namespace": namespace, "cluster": cluster}
	members.DeletePartialMatch(labels)
	conditions.DeletePartialMatch(labels)
	leaderChanges.DeletePartialMatch(labels)
	dbSize.DeletePartialMatch(labels)
	certificateExpiry.DeletePartialMatch(labels)
	archiverReady.DeletePartialMatch(labels)
	steps.DeletePartialMatch(labels)
	stepFailures.DeletePartialMatch(labels)
}
