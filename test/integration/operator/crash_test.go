//go:build integration

package operator

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// sweepEvery is how many crash points a default run goes on by in a rolling change, which takes seconds for each;
// CRASH_SWEEP_EVERY=1 tries every one.
func sweepEvery(t *testing.T, usual int) int {
	every := usual
	if text := os.Getenv("CRASH_SWEEP_EVERY"); text != "" {
		var err error
		if every, err = strconv.Atoi(text); err != nil || every < 1 {
			t.Fatalf("CRASH_SWEEP_EVERY=%q is not a number from 1", text)
		}
	}
	return every
}

// undisturbed creates a cluster with nothing in the way, and tells how it ends and how many writes that takes.
func undisturbed(t *testing.T, size int32) (end map[string]string, count int) {
	s := newScene(t)
	w := &writes{}
	s.operateWith(operatorOptions{writes: w})
	s.running(size)
	s.sealed()
	s.ends(s.snapshot())
	return s.snapshot(), len(w.all())
}

// TestCrashAtWritesOfTheCreation ends the operator at its n-th write, for every second n: before the write was made, or
// after it was made but before the operator knew, in turn; with SWEEP=full for every n, and both. Each time a new operator takes over, and in the end all is as if
// nothing had happened.
func TestCrashAtWritesOfTheCreation(t *testing.T) {
	t.Parallel()
	end, count := undisturbed(t, 3)
	t.Logf("the creation takes %d writes", count)
	for n := 1; n <= count; n++ {
		for _, applied := range []bool{false, true} {
			if !taken(n-1, 2) || applied != (n%4 == 3) && !fullSweep() {
				continue
			}
			t.Run(fmt.Sprintf("write %d, applied %v", n, applied), func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				h := s.follow()
				w := crash(n, applied)
				first := s.operateWith(operatorOptions{writes: w})
				s.create(s.demo(3))
				select {
				case <-w.died:
				case <-time.After(8 * time.Second):
					// The number of reports differs a little from run to run.
					t.Logf("there were only %d writes", len(w.all()))
				}
				first.stop()
				s.operate()
				s.settled()
				s.sealed()
				s.ends(end)
				if err := h.once(); err != nil {
					t.Error(err)
				}
				s.checkOneCluster()
			})
		}
	}
}

// TestCrashAtWritesOfARollingChange does the same with a change of the settings, under a constant writer. One cluster
// serves all crash points.
func TestCrashAtWritesOfARollingChange(t *testing.T) {
	t.Parallel()
	every := sweepEvery(t, 15)
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied %v", applied), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			h := s.follow()
			o := s.operate()
			id := s.running(3).Status.ClusterID
			s.sealed()
			o.stop()
			w := s.write()
			crashes := 0
			start := 1
			if applied {
				start = 1 + every/2 // other points than without
			}
			for n := start; ; n += every {
				before := s.pods()
				h.mark()
				c := crash(n, applied)
				first := s.operateWith(operatorOptions{writes: c})
				s.change(settings(fmt.Sprint(100 + n)))
				died := s.diesOrSettles(c)
				first.stop()
				second := s.operate()
				after := s.rolled(before)
				s.checkRoll(h)
				second.stop()
				if after.Status.ClusterID != id {
					t.Fatalf("crash at write %d: the cluster was %s and is %s", n, id, after.Status.ClusterID)
				}
				if !died {
					t.Logf("a rolling change takes %d writes: %v", len(c.all()), c.all())
					break
				}
				crashes++
			}
			t.Logf("%d crashes", crashes)
			w.finish()
			s.checkOneCluster()
		})
	}
}

// diesOrSettles waits until the operator has met its end or has nothing left to do, and tells which.
func (s *scene) diesOrSettles(w *writes) (died bool) {
	s.Helper()
	s.eventually("the operator dies or settles", patience, func() error {
		select {
		case <-w.died:
			died = true
			return nil
		default:
		}
		return isSettled(s.cluster())
	})
	return died
}

// TestAnOperatorThatDiesAfterEveryWrite: each operator makes one write and is gone. Steps that only work together
// would never come about.
func TestAnOperatorThatDiesAfterEveryWrite(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	h := s.follow()
	s.create(s.demo(3))
	lives := s.singleWrites(150)
	if err := h.once(); err != nil {
		t.Error(err)
	}
	s.sealed()
	t.Logf("%d operators created three members", lives)
	w := s.write()
	before := s.pods()
	h.mark()
	s.change(settings("99"))
	lives = s.singleWrites(150)
	s.rolled(before)
	s.checkRoll(h)
	w.finish()
	t.Logf("%d operators rolled them", lives)
	s.checkOneCluster()
}

// singleWrites lets operators live for one write each, until one of them settles with nothing to write.
func (s *scene) singleWrites(limit int) (lives int) {
	s.Helper()
	for lives = 1; lives <= limit; lives++ {
		w := crash(1, true)
		o := s.operateWith(operatorOptions{writes: w})
		idle := false
		select {
		case <-w.died:
		case <-time.After(2500 * time.Millisecond):
			idle = isSettled(s.cluster()) == nil
			if !idle {
				<-w.died
			}
		}
		o.stop()
		if idle {
			return lives
		}
	}
	s.Fatalf("after %d operators that lived for one write there is still something to do: %s", limit, summary(s.cluster()))
	return 0
}

// checkOneCluster checks that all members are of one cluster, which the status and every claim name.
func (s *scene) checkOneCluster() {
	s.Helper()
	cluster := s.cluster()
	for _, name := range s.members() {
		if id := fmt.Sprintf("%x", s.member(name).Header.ClusterId); id != cluster.Status.ClusterID {
			s.Errorf("member %s belongs to cluster %s, the status says %s", name, id, cluster.Status.ClusterID)
		}
	}
	for _, claim := range s.claims() {
		leftEarly := claim.Annotations["etcd.etcd.io/removed"] != "" && claim.Annotations["etcd.etcd.io/cluster-id"] == ""
		if id := claim.Annotations["etcd.etcd.io/cluster-id"]; id != cluster.Status.ClusterID && !leftEarly {
			s.Errorf("claim %s is marked with cluster %q, the status says %s", claim.Name, id, cluster.Status.ClusterID)
		}
	}
	s.put("after", "all")
	s.holds("after", "all")
}

// TestTwoOperatorsAtOnce: the lease of the leader election is no lock, so two may be at work for a while.
func TestTwoOperatorsAtOnce(t *testing.T) {
	t.Parallel()
	end, _ := undisturbed(t, 3)
	s := newScene(t)
	h := s.follow()
	for range 2 {
		s.operate()
	}
	s.running(3)
	s.sealed()
	s.ends(end)
	if err := h.once(); err != nil {
		t.Error(err)
	}
	w := s.write()
	for round := range 2 {
		before := s.pods()
		h.mark()
		s.change(settings(fmt.Sprint(50 + round)))
		s.rolled(before)
		s.checkRoll(h)
	}
	w.finish()
	s.checkOneCluster()
}
