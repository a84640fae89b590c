package act_test

import (
	"errors"
	"slices"
	"testing"
)

// TestDowngradeEndsBeforeAMemberIsAdded: while one is enabled etcd starts nobody who joins.
func TestDowngradeEndsBeforeAMemberIsAdded(t *testing.T) {
	add := addThree
	add.EndDowngrade = true
	s, l := newServer(t), three()
	want := []string{"CancelDowngrade " + leaderAddress, "AddLearner " + leaderAddress + " http://demo-3-0.demo-peer.default.svc.cluster.local:2382"}
	if _, err := s.do(l, add); err != nil || !slices.Equal(l.asked, want) {
		t.Errorf("%v, asked %v", err, l.asked)
	}
	l = three()
	l.err = errBroken
	if _, err := s.do(l, add); !errors.Is(err, errBroken) || !slices.Equal(l.asked, want[:1]) {
		t.Errorf("%v, asked %v", err, l.asked)
	}
}

// TestFlushBeforeApply: from the moment at which the new version is written down the pod may come back with it.
func TestFlushBeforeApply(t *testing.T) {
	apply := applyZero
	apply.FlushLog = 1100
	s, l := newServer(t), three()
	if _, err := s.do(l, apply); err != nil || !slices.Equal(l.asked, []string{"FlushLog " + leaderAddress + " 1100"}) || len(s.writes) != 1 {
		t.Errorf("%v, asked %v, written %v", err, l.asked, s.writes)
	}
	s, l = newServer(t), three()
	l.err = errBroken
	if _, err := s.do(l, apply); !errors.Is(err, errBroken) || len(s.writes) > 0 {
		t.Errorf("%v, written %v", err, s.writes)
	}
}
