package core_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestCertificates: each round begins when the one before has reached every member, and not before.
func TestCertificates(t *testing.T) {
	settled := []string{"member demo-0..2 settled", "etcd leader=demo-0"}
	for _, test := range []struct {
		name  string
		world []string
		plane core.Plane
		want  core.CertificateChange
	}{
		{"nothing is there", nil, core.Plane{AuthorityDue: "there is none"}, core.MakeAuthority},
		{"the authority is old", settled, core.Plane{AuthorityDue: "it is old", Trust: core.TrustExact}, core.MakeAuthority},
		{"… and another one was begun", settled, core.Plane{AuthorityDue: "it is old", Trust: core.TrustExact, Next: true, Due: []string{"a"}}, core.MakeAuthority},
		{"someone put another authority there", settled, core.Plane{Trust: core.TrustLacks, Next: true, Due: []string{"a"}}, core.TrustAuthority},
		{"a certificate is due", settled, core.Plane{Trust: core.TrustExact, Due: []string{"a"}}, core.IssueCertificates},
		{"… while members are away", append(slices.Clone(settled), "pod demo-1 down"), core.Plane{Trust: core.TrustExact, Due: []string{"a"}}, core.IssueCertificates},
		{"… while another authority waits", append(slices.Clone(settled), "pod demo-1 down"), core.Plane{Trust: core.TrustExact, Next: true, Due: []string{"a"}}, core.IssueCertificates},
		{"the next one is trusted by all", settled, core.Plane{Trust: core.TrustExact, Next: true}, core.UseAuthority},
		{"… and more than that", settled, core.Plane{Trust: core.TrustMore, Next: true, Presented: true}, core.UseAuthority},
		{"… but one does not run", append(slices.Clone(settled), "pod demo-1 down"), core.Plane{Trust: core.TrustExact, Next: true}, ""},
		{"… but they have yet to be rolled", append(slices.Clone(settled), "cluster hash=b"), core.Plane{Trust: core.TrustExact, Next: true}, ""},
		{"the new certificates are shown", settled, core.Plane{Trust: core.TrustMore, Presented: true}, core.DistrustOthers},
		{"… not by all", settled, core.Plane{Trust: core.TrustMore}, ""},
		{"… but one does not run", append(slices.Clone(settled), "pod demo-1 down"), core.Plane{Trust: core.TrustMore, Presented: true}, ""},
		{"all is done", settled, core.Plane{Trust: core.TrustExact, Presented: true}, ""},
		{"cert-manager is to be asked", nil, core.Plane{RequestsDue: "it was not", Source: core.Problem{Reason: core.ReasonSourceNotReady}}, core.RequestCertificates},
		{"it has not answered yet", nil, core.Plane{Source: core.Problem{Reason: core.ReasonSourceNotReady}}, ""},
		{"it does not answer any more, and one is due", settled, core.Plane{Trust: core.TrustExact, Due: []string{"a"}, Source: core.Problem{Reason: core.ReasonSourceNotReady}}, core.IssueCertificates},
		{"an earlier cluster's are there still", nil, core.Plane{AuthorityDue: "there is none", Leaving: true}, ""},
		{"a name is taken", settled, core.Plane{Trust: core.TrustExact, Due: []string{"a"}, Problem: core.Problem{Reason: core.ReasonNameTaken, Message: "no"}}, ""},
		{"what members trust is lost", settled, core.Plane{AuthorityDue: "there is none", Lost: "all is gone"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			for _, line := range test.world {
				w.tell(line)
			}
			o := w.observe()
			test.plane.Name, test.plane.Version = core.PlanePeer, "v"
			o.Planes = []core.Plane{test.plane}
			d := core.Decide(o)
			var got core.CertificateChange
			for _, action := range d.Actions {
				if write, is := action.(core.WriteCertificates); is {
					got = write.Change
					if write.Plane != core.PlanePeer || write.Version != "v" || len(d.Actions) != 1 {
						t.Errorf("%v among %v", write, d.Actions)
					}
				}
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestNothingWithoutCertificates: what could not start is not made, and nothing is restarted that would not come back.
func TestNothingWithoutCertificates(t *testing.T) {
	taken := core.Problem{Reason: core.ReasonNameTaken, Message: "Secret demo-server-tls is another's"}
	for name, test := range map[string]struct {
		world []string
		plane core.Plane
		want  core.Reason
	}{
		"a name is taken":    {nil, core.Plane{Problem: taken}, core.ReasonNameTaken},
		"not given yet":      {nil, core.Plane{Source: core.Problem{Reason: core.ReasonSourceNotReady, Message: "no"}}, core.ReasonSourceNotReady},
		"they have got lost": {[]string{"member demo-0..2 settled", "etcd leader=demo-0", "cluster hash=b"}, core.Plane{Lost: "all is gone"}, core.ReasonCertificatesLost},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, line := range test.world {
				w.tell(line)
			}
			o := w.observe()
			test.plane.Name = core.PlaneClient
			o.Planes = []core.Plane{test.plane}
			d := core.Decide(o)
			if len(d.Actions) > 0 {
				t.Errorf("%v", d.Actions)
			}
			for _, kind := range []string{core.Degraded, core.CertificatesValid} {
				i := slices.IndexFunc(d.Report.Conditions, func(c core.Condition) bool { return c.Type == kind })
				if i < 0 || d.Report.Conditions[i].Reason != test.want {
					t.Errorf("%s: %v", kind, d.Report.Conditions)
				}
			}
		})
	}
}

func TestExpiringCertificatesAreReported(t *testing.T) {
	w := newWorld()
	w.tell("member demo-0..2 settled")
	w.tell("etcd leader=demo-0")
	o := w.observe()
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	o.Planes = []core.Plane{{Name: core.PlaneClient, Trust: core.TrustExact, Expires: at, First: "a"}, {Name: core.PlanePeer, Trust: core.TrustExact, Expires: at.Add(time.Hour), First: "b"}}
	valid := func(d core.Decision) core.Condition {
		i := slices.IndexFunc(d.Report.Conditions, func(c core.Condition) bool { return c.Type == core.CertificatesValid })
		return d.Report.Conditions[i]
	}
	d := core.Decide(o)
	if c := valid(d); c.Status != core.True || c.Reason != core.ReasonValid || c.Message != "client: until 2026-05-01T00:00:00Z (Secret a); peer: until 2026-05-01T01:00:00Z (Secret b)" {
		t.Errorf("%v", c)
	}
	o.Cluster.Recorded = d.Report
	o.Planes[1].Expiring = true
	d = core.Decide(o)
	if c := valid(d); c.Status != core.False || c.Reason != core.ReasonCertificateExpiring {
		t.Errorf("%v", c)
	}
	if !slices.ContainsFunc(d.Events, func(e core.Event) bool { return e.Warning && e.Reason == core.ReasonCertificateExpiring }) {
		t.Errorf("%v", d.Events)
	}
}

// TestASourceThatGivesNothingMore: what there is stays in use, and it is said long before that expires.
func TestASourceThatGivesNothingMore(t *testing.T) {
	w := newWorld()
	w.tell("member demo-0..2 settled")
	w.tell("etcd leader=demo-0")
	o := w.observe()
	o.Planes = []core.Plane{{
		Name: core.PlaneClient, Trust: core.TrustExact, Expires: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), First: "b",
		Source: core.Problem{Reason: core.ReasonSourceNotReady, Message: "Secret a does not exist"},
	}}
	d := core.Decide(o)
	for _, c := range d.Report.Conditions {
		switch {
		case c.Type == core.CertificatesValid && (c.Status != core.False || c.Reason != core.ReasonSourceNotReady || c.Message != "client: until 2026-05-01T00:00:00Z (Secret b); Secret a does not exist"),
			c.Type == core.Degraded && c.Status != core.False:
			t.Errorf("%v", c)
		}
	}
}

// TestClaimsSayHowMembersTalk: what members that run are told next is recorded on their claims, before any of them is listed
// otherwise. Of one that is down nothing is.
func TestClaimsSayHowMembersTalk(t *testing.T) {
	w := newWorld()
	w.tell("member demo-0..2 settled")
	w.tell("etcd leader=demo-1")
	w.tell("pod demo-2 down")
	for _, peers := range []core.Peers{core.PeersPlain, core.PeersBoth, core.PeersTLS} {
		o := w.observe()
		o.Cluster.Spec.Peers = peers
		recorded := map[string]core.Peers{}
		for _, action := range core.Decide(o).Actions {
			if mark, is := action.(core.MarkVolumes); is {
				recorded[mark.Member] = mark.Volumes[0].Peers
			}
		}
		want := map[string]core.Peers{"demo-0": peers, "demo-1": peers}
		if peers == core.PeersPlain {
			want = map[string]core.Peers{} // as they are
		}
		if !maps.Equal(recorded, want) {
			t.Errorf("members talk %s, recorded is %v, not %v", peers, recorded, want)
		}
	}
}

// TestPeersMove: members are listed at their new URLs one after the other, once all of them listen to both.
func TestPeersMove(t *testing.T) {
	for _, test := range []struct {
		name string
		tell string
		want string
	}{
		{"all listen to both", "", "demo-0"},
		{"one does not run", "pod demo-1 down", ""},
		{"they have yet to be rolled", "cluster hash=b", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			w.tell("member demo-0..2 settled")
			w.tell("etcd leader=demo-1")
			if test.tell != "" {
				w.tell(test.tell)
			}
			o := w.observe()
			o.Cluster.Spec.Peers = core.PeersBoth
			for i := range o.Etcd.List.Members {
				o.Etcd.List.Members[i].MovesTo = "https://" + o.Etcd.List.Members[i].Name
			}
			d := core.Decide(o)
			moved := ""
			for _, action := range d.Actions {
				if move, is := action.(core.MovePeerURL); is {
					moved = move.Member
					if move.URL != "https://"+moved || move.Via != "demo-1" || len(move.Expect) != 3 {
						t.Errorf("%v", move)
					}
				}
			}
			if moved != test.want {
				t.Errorf("%q moves, want %q: %v", moved, test.want, d.Actions)
			}
		})
	}
}
