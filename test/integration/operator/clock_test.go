//go:build integration

package operator

import (
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// skewed is a clock that differs from the real one.
type skewed struct{ by atomic.Int64 }

func (c *skewed) now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

func (c *skewed) jump(by time.Duration) { c.by.Add(int64(by)) }

// jumps are how an operator's clock may jump.
var jumps = map[string]time.Duration{
	"an hour forward": time.Hour, "an hour back": -time.Hour, "a year forward": 365 * 24 * time.Hour, "a year back": -365 * 24 * time.Hour,
}

// TestTheClockJumps: in the midst of a scale-out, of a roll and while a member is down for a moment. Nobody is replaced for
// it, and all ends as it should.
func TestTheClockJumps(t *testing.T) {
	t.Parallel()
	for name, jump := range jumps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			clock := &skewed{}
			s.operateWith(operatorOptions{now: clock.now})
			l := s.inhabit(1)
			s.change(size(3))
			time.Sleep(700 * time.Millisecond)
			clock.jump(jump)
			before := s.tidy(longPatience)

			pods := s.pods()
			s.change(settings("79"))
			time.Sleep(1500 * time.Millisecond)
			clock.jump(jump)
			s.rolled(pods)

			if err := env.KillMember(s.namespace, s.follower()+"-0", syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			clock.jump(jump)
			if after := l.finish(); !slices.Equal(before, after) {
				t.Errorf("the members were %v and are %v", before, after)
			}
		})
	}
}

// TestTheNextOperatorHasAnotherClock: it reads times that are yet to come, or long gone.
func TestTheNextOperatorHasAnotherClock(t *testing.T) {
	t.Parallel()
	for name, by := range jumps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			clock := &skewed{}
			clock.jump(by)
			first := s.operateWith(operatorOptions{now: clock.now})
			l := s.inhabit(3)
			victim := s.follower()
			if err := env.PausePod(s.namespace, victim+"-0"); err != nil {
				t.Fatal(err)
			}
			s.says("Degraded", "NotAnswering", victim)
			first.stop()
			s.operate()
			time.Sleep(3 * time.Second)
			if err := env.ResumePod(s.namespace, victim+"-0"); err != nil {
				t.Fatal(err)
			}
			s.change(settings("80"))
			if names := l.finish(); !slices.Contains(names, victim) {
				t.Errorf("the members are %v: %s was replaced", names, victim)
			}
		})
	}
}
