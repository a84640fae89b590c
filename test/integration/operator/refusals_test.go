//go:build integration

package operator

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// refusals are how an API server refuses a write that it would accept the next time.
var refusals = map[string]error{
	"conflict":            apierrors.NewConflict(schema.GroupResource{Resource: "things"}, "thing", fmt.Errorf("it was changed")),
	"too many requests":   apierrors.NewTooManyRequests("slow down", 1),
	"internal error":      apierrors.NewInternalError(fmt.Errorf("broken")),
	"service unavailable": apierrors.NewServiceUnavailable("starting"),
}

// TestRefusedWrites refuses the n-th write of a creation, for every n in turn, each in half of the ways, or in all of them with SWEEP=full:
// the creation ends all the same, and nothing is tried without end.
func TestRefusedWrites(t *testing.T) {
	t.Parallel()
	end, usual := undisturbed(t, 1)
	for i, name := range slices.Sorted(maps.Keys(refusals)) {
		refusal := refusals[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; n <= usual; n++ {
				if !taken(n+i, 4) {
					continue
				}
				t.Run(fmt.Sprintf("write %d", n), func(t *testing.T) {
					s := newScene(t)
					h := s.follow()
					w := &writes{before: func(write int) error {
						if write == n {
							return refusal
						}
						return nil
					}}
					s.operateWith(operatorOptions{writes: w})
					s.running(1)
					s.sealed()
					s.ends(end)
					if err := h.once(); err != nil {
						t.Error(err)
					}
					if steps := slices.DeleteFunc(w.all(), isReport); len(steps) > usual+6 {
						t.Errorf("after one refusal %d steps were made, without any %d writes: %q", len(steps), usual, steps)
					}
				})
			}
		})
	}
}

// TestEveryOtherWriteIsRefused: three members are made, and rolled, by an API server that refuses half of the writes.
func TestEveryOtherWriteIsRefused(t *testing.T) {
	t.Parallel()
	end, usual := undisturbed(t, 3)
	s := newScene(t)
	h := s.follow()
	var refused atomic.Int64
	kinds := []string{"conflict", "too many requests", "internal error", "service unavailable"}
	w := &writes{before: func(write int) error {
		if write%2 == 0 {
			return nil
		}
		return refusals[kinds[int(refused.Add(1))%len(kinds)]]
	}}
	s.operateWith(operatorOptions{writes: w})
	s.running(3)
	s.sealed()
	s.ends(end)
	if err := h.once(); err != nil {
		t.Error(err)
	}
	steps := slices.DeleteFunc(w.all(), isReport)
	t.Logf("%d writes were tried, %d of them steps, %d refused; without refusals %d are enough", len(w.all()), len(steps), refused.Load(), usual)
	// How many reports there are depends on how much is seen on the way, and so on how fast the machine is.
	if len(steps) > 4*usual {
		t.Errorf("%d steps were tried, expected are up to %d: %q", len(steps), 4*usual, steps)
	}
	before := s.pods()
	h.mark()
	s.change(settings("42"))
	s.rolled(before)
	s.checkRoll(h)
	s.checkOneCluster()
}
