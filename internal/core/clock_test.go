package core_test

import (
	"slices"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// replaces tells whether the member is removed.
func replaces(d core.Decision, member string) bool {
	return slices.ContainsFunc(d.Actions, func(a core.Action) bool {
		removed, ok := a.(core.RemoveMember)
		return ok && removed.Member == member
	})
}

// TestTimeThatNobodyWatched: what another clock has written, or this one before it jumped, is no time that a member has been
// away for. The patience begins when this operator began to look, and ends as usual.
func TestTimeThatNobodyWatched(t *testing.T) {
	for _, trouble := range []struct {
		what     string
		tell     []string
		patience time.Duration
	}{
		{"its node is gone", []string{"node demo-2 gone", "pod demo-2 down"}, 10 * time.Minute},
		{"its data is corrupt", []string{"pod demo-2 down", "pod demo-2 problem DataCorrupt pod demo-2-0: etcd ended: walpb: crc mismatch"}, 30 * time.Second},
	} {
		for _, jump := range []time.Duration{time.Hour, -time.Hour, 365 * 24 * time.Hour} {
			t.Run(trouble.what+" "+jump.String(), func(t *testing.T) {
				w := newWorld()
				w.tell("member demo-0..2 settled")
				w.tell("etcd leader=demo-0")
				look := func(after time.Duration) core.Decision {
					w.Now = w.Now.Add(after)
					d := core.Decide(w.observe())
					w.Cluster.Recorded = d.Report
					return d
				}
				look(0)
				for _, line := range trouble.tell {
					w.tell(line)
				}
				w.WatchedSince = w.Now
				look(time.Second)
				w.WatchedSince = w.Now.Add(jump)
				if d := look(jump); replaces(d, "demo-2") {
					t.Fatal("it is replaced since the clock has jumped")
				}
				if jump < 0 && trouble.patience > time.Minute {
					return // The node's own time is an hour ahead: it is waited for.
				}
				if d := look(trouble.patience - time.Second); replaces(d, "demo-2") {
					t.Error("it is replaced too early")
				}
				if d := look(time.Second); !replaces(d, "demo-2") {
					t.Errorf("it is not replaced in the end: %v", d.Actions)
				}
			})
		}
	}
}

// TestAClockThatWasAhead: what it has dated in advance is not waited for.
func TestAClockThatWasAhead(t *testing.T) {
	const refused = "workload demo-2 problem QuotaExceeded exceeded quota: compute"
	w := newWorld()
	for _, line := range []string{
		"member demo-0..1 settled", "etcd leader=demo-0", "workload demo-2 current bootstrap", "volume demo-2 pending", refused,
	} {
		w.tell(line)
	}
	nudged := func() bool {
		w.decision = core.Decide(w.observe())
		w.Cluster.Recorded = w.decision.Report
		nudge := slices.ContainsFunc(w.decision.Actions, func(a core.Action) bool {
			apply, ok := a.(core.ApplyMember)
			return ok && apply.Member == "demo-2"
		})
		w.act()
		w.tell(refused)
		return nudge
	}
	if !nudged() || nudged() {
		t.Fatal("a refused pod is to be tried again, once at a time")
	}
	w.Now = w.Now.Add(-time.Hour)
	if !nudged() || nudged() {
		t.Error("a refused pod is not tried again, since that was done at a time that is yet to come")
	}

	o := w.observe()
	o.Cluster.Recorded.MeasuredAt = o.Now.Add(time.Hour)
	o.Etcd.Statuses[0].Revision += 1000
	if report := core.Decide(o).Report; report.Members[0].Figures.Revision != o.Etcd.Statuses[0].Revision {
		t.Error("figures are not reported, since others were at a time that is yet to come")
	}
}
