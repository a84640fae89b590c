package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var webhookExpiry = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "etcd_operator_webhook_certificate_expiry_timestamp_seconds",
	Help: "When the certificate expires that the admission webhook shows, in seconds since 1970; 0 without a webhook.",
})

func init() { metrics.Registry.MustRegister(webhookExpiry) }

// WebhookShows publishes until when the certificate of the admission webhook is valid.
func WebhookShows(notAfter time.Time) { webhookExpiry.Set(float64(notAfter.Unix())) }
