//go:build integration

package operator

import (
	"fmt"
	"maps"
	"testing"
	"time"
)

// writesToCreate is how many writes the creation of three members may take: the status as it advances, five supporting objects, six
// Secrets of certificates, and per member its StatefulSet, its claim's mark, its seal and that of its pod. These are about 29; some
// are made twice if the cache lags behind them.
const writesToCreate = 39

func TestCreationTakesFewWrites(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	s.running(3, byDefault)
	s.sealed()
	o.stop()
	writes, events := s.requests(o.agent)
	t.Logf("%d writes and %d events to create three members: %v", len(writes), len(events), writes)
	if len(writes) == 0 || len(writes) > writesToCreate {
		t.Errorf("the creation took %d writes, expected are up to %d: %v", len(writes), writesToCreate, writes)
	}
}

func TestAnIdleClusterIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	const quiet = 20 * time.Second
	s := newScene(t)
	o := s.operate()
	s.running(3)
	s.sealed()
	// What follows from the creation comes to rest first: etcd writes its cluster version a few seconds after it has
	// started, and the recorder of events tries again after 10 s.
	time.Sleep(12 * time.Second)
	for range 3 {
		writes, events := s.requests(o.agent)
		term, before := s.raft()
		time.Sleep(quiet)
		termAfter, after := s.raft()
		if term != termAfter {
			t.Logf("there was an election, from term %d to %d: not a quiet time", term, termAfter)
			continue
		}
		writesAfter, eventsAfter := s.requests(o.agent)
		if len(writesAfter) != len(writes) || len(eventsAfter) != len(events) {
			t.Errorf("the operator wrote while there was nothing to do: %v %v", writesAfter[len(writes):], eventsAfter[len(events):])
		}
		if !maps.Equal(before, after) {
			t.Errorf("the raft log grew from %v to %v while there was nothing to do", before, after)
		}
		return
	}
	t.Error("there were elections all the time")
}

// raft is the term, and the index of each member.
func (s *scene) raft() (term uint64, indexes map[string]uint64) {
	indexes = map[string]uint64{}
	for n := range *s.cluster().Spec.Size {
		name := fmt.Sprintf("demo-%d", n)
		status := s.member(name)
		term, indexes[name] = max(term, status.RaftTerm), status.RaftIndex
	}
	return term, indexes
}
