package act_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

var promoteThree = core.PromoteMember{Member: "demo-3", ID: "d", Via: "demo-1", Expect: []string{"a", "b", "c", "d"}, Needs: 2}

// joined is an etcd of three voters and a learner, all of which serve.
func joined() *members {
	l := three()
	l.live.List.Members = append(l.live.List.Members, core.Listed{ID: "d", Name: "demo-3", PeerURL: observed().Render.PeerURL("demo-3"), Started: true, Learner: true})
	l.live.Statuses = append(l.live.Statuses, core.Status{Member: "demo-3", Answered: true, ID: "d", LeaderID: "a", ClusterID: "c1", Learner: true})
	return l
}

// TestPromote: a learner becomes a voter while it serves and two of the three others do.
func TestPromote(t *testing.T) {
	const asked = "Promote http://10.0.0.2:2379 d"
	s, l := newServer(t), joined()
	if _, err := s.do(l, promoteThree); err != nil || !slices.Equal(l.asked, []string{asked}) {
		t.Errorf("%v, asked %v", err, l.asked)
	}
	l.live.Statuses[2].Answered = false
	if _, err := s.do(l, promoteThree); err != nil {
		t.Errorf("one is not needed: %v", err)
	}
	for _, refused := range []bool{true, false} {
		l.err, l.refused = errBroken, refused
		if _, err := s.do(l, promoteThree); !errors.Is(err, errBroken) || act.IsPutOff(err) != refused || isStale(err) {
			t.Errorf("refused: %v", err)
		}
	}
	l = joined()
	l.live.List.Members[3].Learner = false
	if _, err := s.do(l, promoteThree); err != nil || len(l.asked) > 0 {
		t.Errorf("it votes already: %v, asked %v", err, l.asked)
	}
}

// TestPromoteOfAStaleDecision: etcd itself would make a dead learner a voter beside dead voters. Whoever decided may have
// stood still since.
func TestPromoteOfAStaleDecision(t *testing.T) {
	silent := func(which ...int) func(l *members) {
		return func(l *members) {
			for _, i := range which {
				l.live.Statuses[i].Answered = false
			}
		}
	}
	for name, change := range map[string]func(l *members){
		"it does not answer any more":   silent(3),
		"it knows no leader":            func(l *members) { l.live.Statuses[3].LeaderID = "" },
		"someone else answers for it":   func(l *members) { l.live.Statuses[3].ClusterID = "c9" },
		"one voter serves":              silent(1, 2),
		"another cluster answers":       func(l *members) { l.live.Statuses[1].ClusterID, l.live.Statuses[2].ClusterID = "c9", "c9" },
		"it was removed":                func(l *members) { l.live.List.Members = l.live.List.Members[:3] },
		"another one joins":             func(l *members) { l.live.List.Members = append(l.live.List.Members, core.Listed{ID: "e"}) },
		"the list cannot be read":       func(l *members) { l.live.List = core.MemberList{} },
		"the one to be asked is no one": func(l *members) {},
	} {
		s, l, promote := newServer(t), joined(), promoteThree
		if change(l); name == "the one to be asked is no one" {
			promote.Via = "demo-2"
		}
		if _, err := s.do(l, promote); !isStale(err) || len(l.asked) > 0 {
			t.Errorf("%s: %v, asked %v", name, err, l.asked)
		}
	}
	// There are more voters by now than when it was decided.
	s, l, promote := newServer(t), joined(), promoteThree
	promote.Needs = 1
	silent(1, 2)(l)
	if _, err := s.do(l, promote); !isStale(err) || len(l.asked) > 0 {
		t.Errorf("one was needed: %v, asked %v", err, l.asked)
	}
}
