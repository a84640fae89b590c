//go:build integration

package operator

import (
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// skewed is a clock that differs from the real one, and counts who looks at it.
type skewed struct{ by, looks atomic.Int64 }

func (c *skewed) now() time.Time {
	c.looks.Add(1)
	return time.Now().Add(time.Duration(c.by.Load()))
}

func (c *skewed) jump(by time.Duration) { c.by.Add(int64(by)) }

// jumps are how an operator's clock may jump.
var jumps = []struct {
	name string
	by   time.Duration
}{{"a year forward", 365 * 24 * time.Hour}, {"an hour forward", time.Hour}, {"an hour back", -time.Hour}, {"a year back", -365 * 24 * time.Hour}}

// TestTheClockJumps: in the midst of a scale-out, of a roll and while a member is down for a moment. Nobody is replaced for
// it, and all ends as it should.
func TestTheClockJumps(t *testing.T) {
	t.Parallel()
	for i, jump := range jumps {
		if !taken(i, 2) {
			continue
		}
		t.Run(jump.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			clock := &skewed{}
			s.operateWith(operatorOptions{now: clock.now})
			l := s.inhabit(1)
			s.change(size(3))
			time.Sleep(700 * time.Millisecond)
			clock.jump(jump.by)
			before := s.tidy(longPatience)

			pods := s.pods()
			s.change(settings("79"))
			time.Sleep(1500 * time.Millisecond)
			clock.jump(jump.by)
			s.rolled(pods)

			if err := env.KillMember(s.namespace, s.follower()+"-0", syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			clock.jump(jump.by)
			if after := l.finish(); !slices.Equal(before, after) {
				t.Errorf("the members were %v and are %v", before, after)
			}
		})
	}
}

// TestTheNextOperatorHasAnotherClock: it reads times that are yet to come, or long gone.
func TestTheNextOperatorHasAnotherClock(t *testing.T) {
	t.Parallel()
	for i, jump := range jumps {
		if !taken(i, 2) {
			continue
		}
		t.Run(jump.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			clock := &skewed{}
			clock.jump(jump.by)
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

// TestAJumpIsNoAbsence: while the node of a member is away for a moment, the operator's clock jumps, or another operator takes
// over whose clock is another one. The member is not replaced: nobody has waited for it for as long as the spec says.
func TestAJumpIsNoAbsence(t *testing.T) {
	t.Parallel()
	for i, story := range []struct {
		name  string
		jump  time.Duration
		other bool
	}{
		{"an hour forward", time.Hour, false},
		{"a year back", -365 * 24 * time.Hour, false},
		{"another operator, an hour on", time.Hour, true},
		{"another operator, an hour ago", -time.Hour, true},
		{"a year forward", 365 * 24 * time.Hour, false},
	} {
		if !taken(i, 2) {
			continue
		}
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			_, place := s.pool(4)
			clock := &skewed{}
			first := s.operateWith(operatorOptions{now: clock.now})
			l := s.inhabit(3, place, unhealthyAfter(10*time.Minute))
			before, victim := s.members(), s.follower()
			node := s.pods()[victim+"-0"].Spec.NodeName
			if err := env.StopNode(t.Context(), node); err != nil {
				t.Fatal(err)
			}
			s.says("Degraded", "NodeGone", victim)
			if story.other {
				first.stop()
				clock = &skewed{}
				s.operateWith(operatorOptions{now: clock.now})
			}
			clock.jump(story.jump)
			s.looksAgain(clock)
			if after := s.members(); !slices.Equal(before, after) {
				t.Errorf("the members were %v and are %v", before, after)
			}
			if err := env.StartNode(t.Context(), node); err != nil {
				t.Fatal(err)
			}
			if after := l.finish(); !slices.Equal(before, after) {
				t.Errorf("the members were %v and are %v", before, after)
			}
		})
	}
}

// looksAgain waits until an operator with a clock of its own has had at least one whole round more: a round ends before the
// next look, and the first may run into the write that wakes it.
func (s *scene) looksAgain(clock *skewed) {
	s.Helper()
	before := clock.looks.Load()
	s.annotate("test/woken", strconv.FormatInt(before, 10))
	s.eventually("the operator looks", patience, func() error {
		if looks := clock.looks.Load() - before; looks < 3 {
			return fmt.Errorf("it has looked %d times", looks)
		}
		return nil
	})
}
