//go:build integration

package operator

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/integration/specs"
)

// walkPatience is for several changes that each exchange or upgrade all members.
const walkPatience = 4 * time.Minute

// setting is a number from the environment.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return number
}

// TestRandomWalks changes fields of the spec at random moments, in the middle of other changes too. The fields and their
// values are drawn from the schema of the definition; what is refused must touch nothing. In the end what the cluster
// cannot stay with is taken back, and it is as one that was made with its last spec. WALKS is how many walks are made, each
// with its number as the seed, from WALK_SEED on; WALK_STEPS is how many changes each makes.
func TestRandomWalks(t *testing.T) {
	t.Parallel()
	first, steps := setting(t, "WALK_SEED", 0), setting(t, "WALK_STEPS", 6)
	for seed := first; seed < first+setting(t, "WALKS", 1); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWalk(t, seed)
			for step := range steps {
				w.step(step)
			}
			w.putRight()
			w.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = false })
			w.tidy(walkPatience)
			w.finish()
			w.sealed()
			last := w.cluster().Spec
			t.Logf("%d changes were refused; the last spec is %s", w.refusals, w.specText())
			like := newScene(t)
			like.furnish()
			w.isLikeNew(like.fresh(*last.Size, func(spec *v1alpha1.EtcdClusterSpec) { *spec = last }))
		})
	}
}

// often are the fields that are changed more often than others: those that set more in motion than a roll.
var often = []string{"spec.size", "spec.version", "spec.config", "spec.storage.size", "spec.storage.wal", "spec.storage.storageClassName"}

// walk is a cluster whose spec is changed at random.
type walk struct {
	*life
	random *rand.Rand
	knobs  []*specs.Node
	// passing are the knobs with values that the cluster cannot stay with: what they were before.
	passing  map[*specs.Node]any
	refusals int
}

func newWalk(t *testing.T, seed int) *walk {
	t.Helper()
	s := newScene(t)
	s.furnish()
	w := &walk{random: rand.New(rand.NewPCG(uint64(seed), 1)), passing: map[*specs.Node]any{}}
	for _, knob := range knobs(t) {
		w.knobs = append(w.knobs, knob)
		if slices.Contains(often, knob.Path) {
			w.knobs = append(w.knobs, knob, knob)
		}
	}
	w.life = s.live(draw[int32](w.random, 1, 3, 3), fixedQuota)
	return w
}

// fixedQuota sets what otherwise follows the size of volumes, at the next restart after they have grown.
func fixedQuota(spec *v1alpha1.EtcdClusterSpec) {
	spec.Config = map[string]v1alpha1.ConfigValue{"quota-backend-bytes": "536870912"}
}

func draw[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// step changes one knob, or takes back what the cluster cannot stay with, and waits for a moment. What is refused is
// followed by another change.
func (w *walk) step(step int) {
	w.Helper()
	if len(w.passing) > 0 && w.random.IntN(3) == 0 {
		w.putRight()
		w.pause(step)
		return
	}
	for range 20 {
		knob := w.knobs[w.random.IntN(len(w.knobs))]
		if w.random.IntN(8) == 0 {
			wrong := knob.Wrong(w.random)
			if err := w.turn(knob, wrong); err == nil {
				w.Fatalf("%s was set to %v, which the schema forbids", knob.Path, wrong)
			}
			continue
		}
		change, ok := knob.Change(w.random, w.spec(), false)
		if !ok || (change.Value == nil && specs.Kept[knob.Path] != "") {
			continue
		}
		before := knob.Get(w.spec())
		if w.turn(knob, change.Value) != nil {
			continue
		}
		if _, already := w.passing[knob]; change.Passing == "" {
			delete(w.passing, knob)
		} else if !already {
			w.passing[knob] = before
		}
		w.Logf("%s is %v, which was %v (%s)", knob.Path, change.Value, before, change.Passing)
		w.pause(step)
		return
	}
	w.Fatal("of 20 changes not one was accepted")
}

// pause is a moment, of whatever length, between two steps.
func (w *walk) pause(step int) {
	pause := time.Duration(w.random.IntN(4000)) * time.Millisecond
	w.Logf("step %d; then %v", step, pause)
	time.Sleep(pause)
}

// putRight takes back what the cluster cannot stay with; if that is refused by now, something else that it can stay with
// takes its place.
func (w *walk) putRight() {
	w.Helper()
	for _, knob := range w.knobs {
		before, is := w.passing[knob]
		if !is {
			continue
		}
		delete(w.passing, knob)
		for tries := 0; w.turn(knob, before) != nil; tries++ {
			change, ok := knob.Change(w.random, w.spec(), true)
			if !ok || tries > 20 {
				w.Fatalf("%s cannot be put right", knob.Path)
			}
			before = change.Value
		}
		w.Logf("%s is put right: %v", knob.Path, before)
	}
}
