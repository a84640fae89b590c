//go:build bench

package bench

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/history"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// lifecycleRounds is how often each operation is measured; BENCH_ROUNDS changes it.
func lifecycleRounds() int {
	if n, err := strconv.Atoi(os.Getenv("BENCH_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 1
}

// measured is one operation of one round.
type measured struct {
	took   time.Duration
	floors floors
	result history.Result
	// ran is whether it came to its end.
	ran bool
}

// TestBenchLifecycle times what can be done to a running cluster, while two clients write and read all the time: how long it
// takes against what the pods themselves need, and what the clients notice of it. -run TestBenchLifecycle/scale chooses
// operations by their names.
func TestBenchLifecycle(t *testing.T) {
	k := live.Connect(t)
	samples, skipped := map[string][]measured{}, map[string]string{}
	for round := range lifecycleRounds() {
		f := measureFloors(k, fmt.Sprintf("floor-%d", round))
		t.Logf("round %d: floors %+v", round+1, f)
		s := &stage{Kubernetes: k, round: round, floors: f}
		for _, o := range operations {
			if o.missing != nil {
				if why := o.missing(s); why != "" {
					skipped[o.name] = why
					continue
				}
			}
			t.Run(o.name, func(t *testing.T) {
				m := measured{floors: f}
				defer func() { samples[o.name] = append(samples[o.name], m) }()
				s.Kubernetes = k.For(t)
				s.measure(o, &m)
			})
			s.broken = s.broken || len(samples[o.name]) > 0 && !samples[o.name][len(samples[o.name])-1].ran
		}
		s.Kubernetes = k
		s.end()
	}
	report(t, samples, skipped)
}

// stage is the cluster that is operated on: one for all operations, and another one after something went wrong.
type stage struct {
	*live.Kubernetes
	round, made int
	name        string
	size        int32
	broken      bool
	floors      floors
	workload    *live.Workload
}

// begin makes sure that there is a settled cluster of a size. One that is to be hibernated begins awake.
func (s *stage) begin(size int32) {
	s.T.Helper()
	if s.name != "" && s.size == size && !s.broken {
		return
	}
	s.end()
	if size == 0 {
		size = 3
	}
	s.made++
	s.name, s.size, s.broken = fmt.Sprintf("life-%d-%d", s.round, s.made), size, false
	cluster := s.Cluster(s.name, size)
	cluster.Spec.PodTemplate.Spec.Resources = requests(fewCPU, fewMemory)
	// A quota that does not follow the size of the volumes, which would need a restart.
	cluster.Spec.Config = map[string]v1alpha1.ConfigValue{"quota-backend-bytes": "536870912"}
	s.MustCreate(cluster)
	s.WaitSettled(s.name, operationLimit)
}

// end removes the cluster.
func (s *stage) end() {
	s.T.Helper()
	if s.name == "" {
		return
	}
	cluster := s.Cluster(s.name, 1)
	s.name = ""
	s.MustDelete(cluster)
	waitGone(s.Kubernetes, cluster.Name)
}

// operationLimit is how long any operation may take.
const operationLimit = 6 * time.Minute

// Time before and after an operation in which the clients are watched too.
const (
	leadIn  = time.Second
	leadOut = 2 * time.Second
)

// measure times one operation with the clients at work, and checks what they saw.
func (s *stage) measure(o operation, m *measured) {
	s.T.Helper()
	s.begin(o.from)
	if o.prepare != nil {
		o.prepare(s)
	}
	if o.quiet {
		began := time.Now()
		o.run(s)
		m.took, m.ran = time.Since(began), true
		s.size = o.to
		return
	}
	s.workload = s.StartWorkload(s.name, history.Options{})
	time.Sleep(leadIn)
	began := time.Now()
	o.run(s)
	m.took = time.Since(began)
	time.Sleep(leadOut)
	m.result = s.workload.Finish()
	m.ran = !s.T.Failed()
	s.size = o.to
}

// report writes the table and the result file, and fails the test for targets that were missed.
func report(t *testing.T, samples map[string][]measured, skipped map[string]string) {
	t.Helper()
	var figures []Figure
	fmt.Printf("\n| operation | duration | floor | ratio | longest gap (Service / members) | failed writes (Service / members) | leader changes | target | met |\n")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, o := range operations {
		if why := skipped[o.name]; why != "" {
			fmt.Printf("| %s | not measured: %s | | | | | | | |\n", o.name, why)
			continue
		}
		row := newSummary(o, samples[o.name])
		if row.rounds == 0 {
			if len(samples[o.name]) > 0 {
				fmt.Printf("| %s | failed | | | | | | | **no** |\n", o.name)
			}
			continue
		}
		fmt.Println(row.markdown())
		figures = append(figures, row.figures()...)
		if len(row.missed) > 0 {
			t.Errorf("%s: %s", o.name, strings.Join(row.missed, ", "))
		}
	}
	fmt.Println()
	if err := WriteResults("lifecycle", figures); err != nil {
		t.Fatal(err)
	}
}

// summary is all rounds of one operation: the median of what it took, and the worst of what clients noticed.
type summary struct {
	operation operation
	rounds    int
	took      []time.Duration
	floor     []time.Duration
	gaps      map[string]time.Duration
	failed    map[string]int
	elections int
	stall     time.Duration
	missed    []string
}

func newSummary(o operation, samples []measured) summary {
	row := summary{operation: o, gaps: map[string]time.Duration{}, failed: map[string]int{}}
	for _, m := range samples {
		if !m.ran {
			row.missed = append(row.missed, "it failed")
			continue
		}
		row.rounds++
		row.took = append(row.took, m.took)
		if o.floor != nil {
			row.floor = append(row.floor, o.floor(m.floors))
		}
		for name, f := range m.result.Clients {
			row.gaps[name] = max(row.gaps[name], f.LongestGap)
			row.failed[name] += f.Failed
		}
		row.elections = max(row.elections, m.result.Elections)
		row.stall = max(row.stall, m.result.Stall)
		row.missed = append(row.missed, o.missedBy(m)...)
	}
	return row
}

func (r summary) markdown() string {
	floor, ratio, gaps, failed, elections := "", "", "", "", ""
	if r.operation.floor != nil {
		floor, ratio = fmt.Sprintf("%.2f s", median(r.floor)), fmt.Sprintf("%.2f", median(r.took)/median(r.floor))
	}
	if !r.operation.quiet {
		gaps = fmt.Sprintf("%d / %d ms", r.gaps[live.ByService].Milliseconds(), r.gaps[live.ByMembers].Milliseconds())
		failed = fmt.Sprintf("%d / %d", r.failed[live.ByService], r.failed[live.ByMembers])
		elections = fmt.Sprint(r.elections)
	}
	met := ""
	if target := r.operation.target(); target != "" {
		met = "yes"
	}
	if len(r.missed) > 0 {
		met = "**no**: " + strings.Join(slices.Compact(slices.Sorted(slices.Values(r.missed))), "; ")
	}
	return fmt.Sprintf("| %s | %.2f s | %s | %s | %s | %s | %s | %s | %s |",
		r.operation.name, median(r.took), floor, ratio, gaps, failed, elections, r.operation.target(), met)
}

func (r summary) figures() []Figure {
	name := "lifecycle." + strings.NewReplacer(" ", "-", "'", "", ",", "").Replace(r.operation.name)
	figures := []Figure{{Name: name + ".duration", Value: median(r.took), Unit: "s"}}
	if r.operation.floor != nil {
		figures[0] = Against(name+".duration", median(r.took), median(r.floor), "s")
	}
	if !r.operation.quiet {
		for _, client := range []string{live.ByService, live.ByMembers} {
			figures = append(figures,
				Figure{Name: name + ".longest-gap." + client, Value: r.gaps[client].Seconds(), Unit: "s"},
				Figure{Name: name + ".failed-writes." + client, Value: float64(r.failed[client]), Unit: "count"})
		}
		figures = append(figures,
			Figure{Name: name + ".leader-changes", Value: float64(r.elections), Unit: "count"},
			Figure{Name: name + ".writer-late", Value: r.stall.Seconds(), Unit: "s"})
	}
	return append(figures, Figure{Name: name + ".targets-missed", Value: float64(len(r.missed)), Unit: "count"})
}

const (
	fewCPU, fewMemory   = "50m", "64Mi"
	moreCPU, moreMemory = "60m", "96Mi"
	moreStorage         = "2Gi"
)

var moreStorageQuantity = resource.MustParse(moreStorage)
