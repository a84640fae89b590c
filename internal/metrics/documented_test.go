package metrics_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// read is a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// found are all matches of the first group, each of them once.
func found(expression, text string) []string {
	var all []string
	for _, match := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// registered are the names of the operator's own metrics, also of those that have no value yet.
func registered(t *testing.T) (names []string) {
	t.Helper()
	registry, is := ctrlmetrics.Registry.(prometheus.Collector)
	if !is {
		t.Fatal("the registry does not tell what is registered")
	}
	all := make(chan *prometheus.Desc, 1000)
	registry.Describe(all)
	close(all)
	for desc := range all {
		names = append(names, found(`fqName: "(etcd_operator_\w+)"`, desc.String())...)
	}
	if len(names) == 0 {
		t.Fatal("nothing is registered")
	}
	slices.Sort(names)
	return names
}

// TestAllMetricsAreDocumented: each metric has a row in the reference, and the reference has no other.
func TestAllMetricsAreDocumented(t *testing.T) {
	rows := found("(?m)^\\| `(etcd_operator_\\w+)`", read(t, "docs/reference/metrics.md"))
	if got := registered(t); !slices.Equal(got, rows) {
		t.Errorf("registered are\n%s\nand docs/reference/metrics.md has rows for\n%s", strings.Join(got, "\n"), strings.Join(rows, "\n"))
	}
}

// TestAlerts: each says what is wrong and what to do, asks for metrics that there are, and is in the documentation.
func TestAlerts(t *testing.T) {
	template := read(t, "charts/etcd-operator/templates/prometheusrule.yaml")
	alerts := strings.Split(template, "- alert: ")[1:]
	metrics := registered(t)
	var names []string
	for _, alert := range alerts {
		name, _, _ := strings.Cut(alert, "\n")
		names = append(names, name)
		for _, field := range []string{"expr: .", "severity: (warning|critical)\n", "summary: .", "description: ."} {
			if !regexp.MustCompile(`(?m)^ +` + field).MatchString(alert) {
				t.Errorf("%s lacks %s", name, field)
			}
		}
		for _, metric := range found(`\b(etcd_operator_\w+)`, alert) {
			if !slices.Contains(metrics, metric) {
				t.Errorf("%s asks for %s, which is not registered", name, metric)
			}
		}
	}
	slices.Sort(names)
	for _, page := range []string{"docs/reference/metrics.md", "docs/troubleshooting.md"} {
		if rows := found("(?m)^\\| `(Etcd\\w+)`", read(t, page)); !slices.Equal(rows, names) {
			t.Errorf("the chart has the alerts\n%s\nand %s has rows for\n%s", strings.Join(names, "\n"), page, strings.Join(rows, "\n"))
		}
	}
}
