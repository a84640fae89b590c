//go:build integration

package operator

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// fault is how the n-th write, or call that changes etcd, goes wrong.
type fault struct {
	name string
	// dies ends the operator; otherwise the write only returns an error.
	dies bool
	// applied is whether the write is made.
	applied bool
	err     error
}

var deaths = []fault{
	{name: "dies before", dies: true},
	{name: "dies after", dies: true, applied: true},
}

// errors that a write returns. One that was made, and says that it was not, is how a connection breaks.
var failures = []fault{
	{name: "made but failed", applied: true, err: apierrors.NewServiceUnavailable("the answer was lost")},
	{name: "conflict", err: refusals["conflict"]},
	{name: "too many requests", err: refusals["too many requests"]},
	{name: "internal error", err: refusals["internal error"]},
	{name: "service unavailable", err: refusals["service unavailable"]},
	{name: "forbidden", err: apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "thing", fmt.Errorf("not yet"))},
}

// strike makes the n-th write go wrong. The channel died is closed then.
func (f fault) strike(n int) *writes {
	if f.dies {
		return crash(n, f.applied)
	}
	w := &writes{died: make(chan struct{})}
	once := sync.OnceFunc(func() { close(w.died) })
	fail := func(write int) error {
		if write != n {
			return nil
		}
		once()
		return f.err
	}
	if f.applied {
		w.after = fail
	} else {
		w.before = fail
	}
	return w
}

// sweep is a change that is made again and again, each time with another write going wrong.
type sweep struct {
	name string
	// size and spec of the cluster to begin with.
	size int32
	spec []func(*v1alpha1.EtcdClusterSpec)
	// login is the user as whom clients are there, if etcd asks them.
	login *login
	// stages are made one after another, and lead back to the beginning.
	stages []stage
	// lanes is how many clusters share the writes between them, each in a scene of its own.
	lanes int
	// every is how many writes are gone on by unless SWEEP is full; 0 means one.
	every int
}

// stage is a change, and whether it is done.
type stage struct {
	name   string
	change func(*scene)
	done   func(*scene) error
	// like, if set, is a new cluster like that.
	size int32
	spec []func(*v1alpha1.EtcdClusterSpec)
}

func tidyStage(name string, change func(*scene), size int32, spec ...func(*v1alpha1.EtcdClusterSpec)) stage {
	return stage{name: name, change: change, size: size, spec: spec, done: func(s *scene) error {
		_, err := s.tidyNow()
		return err
	}}
}

func resizing(from, to int32) stage {
	return tidyStage(fmt.Sprintf("%d to %d", from, to), func(s *scene) { s.change(size(to)) }, to)
}

// losing loses the volume of a follower, which is replaced.
func losing() stage {
	var victim string
	stage := tidyStage("lost volume", nil, 3)
	var mutex sync.Mutex
	victims := map[*scene]string{}
	stage.change = func(s *scene) {
		victim = s.follower()
		mutex.Lock()
		victims[s] = victim
		mutex.Unlock()
		s.loseVolume(victim)
	}
	stage.done = func(s *scene) error {
		names, err := s.tidyNow()
		mutex.Lock()
		defer mutex.Unlock()
		if err == nil && slices.Contains(names, victims[s]) {
			return fmt.Errorf("member %s is there still", victims[s])
		}
		return err
	}
	return stage
}

var sweeps = []sweep{
	{name: "scale", size: 1, lanes: 3, stages: []stage{resizing(1, 3), resizing(3, 1)}},
	{name: "replace", size: 3, lanes: 3, stages: []stage{losing()}},
	{name: "hibernate", size: 3, lanes: 1, every: 4, stages: []stage{
		{name: "hibernate", change: func(s *scene) { s.change(size(0)) }, done: func(s *scene) error {
			if cluster := s.cluster(); cluster.Status.Phase != "Hibernated" || len(s.pods()) > 0 {
				return fmt.Errorf("phase %s, %d pods", cluster.Status.Phase, len(s.pods()))
			}
			return nil
		}},
		resizing(0, 3),
	}},
	{name: "versions", size: 3, lanes: 1, every: 9, spec: []func(*v1alpha1.EtcdClusterSpec){etcdVersion("3.5.33")}, stages: []stage{
		tidyStage("up", func(s *scene) { s.change(etcdVersion("3.6.16")) }, 3, etcdVersion("3.6.16")),
		tidyStage("down", func(s *scene) { s.change(etcdVersion("3.5.33")) }, 3, etcdVersion("3.5.33")),
	}},
	{name: "authentication", size: 1, lanes: 2, spec: []func(*v1alpha1.EtcdClusterSpec){authOff}, login: rootLogin, stages: []stage{
		{name: "on", change: func(s *scene) { s.change(authOn) }, done: (*scene).isAuthOn},
		{name: "off", change: func(s *scene) { s.change(authOff) }, done: (*scene).isAuthOff},
	}},
}

// TestDeathAtEveryStep ends the operator at its n-th write, calls that change etcd among them, for every second n: before or after
// it was made, in turn; with SWEEP=full for every n, both, and at reports too. Another operator takes over, and in the end all is as in a new cluster, with no
// acknowledged write lost.
func TestDeathAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, sweep := range sweeps {
		t.Run(sweep.name, func(t *testing.T) {
			t.Parallel()
			sweep.run(t, deaths, 2)
		})
	}
}

// TestFailureAtEveryStep lets writes fail in all the ways that they do.
func TestFailureAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, sweep := range sweeps[:2] {
		t.Run(sweep.name, func(t *testing.T) {
			t.Parallel()
			sweep.lanes = 1
			sweep.run(t, failures, 8)
		})
	}
}

func (w sweep) run(t *testing.T, faults []fault, every int) {
	every = max(every, w.every)
	full := fullSweep()
	if full {
		every = 1
	}
	likes := w.likes(t)
	for lane := range w.lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.become(w.login)
			o := s.operate()
			l := s.inhabit(w.size, w.spec...)
			o.stop()
			struck := 0
			for n := 1 + lane*every; ; n += every * w.lanes {
				hit, turns := 0, 1
				if full {
					turns = len(faults)
				}
				for turn := range turns {
					for i, stage := range w.stages {
						if s.endures(faults[(n/every+turn+i)%len(faults)], n, stage, likes[i]) {
							hit++
						}
					}
				}
				if hit == 0 {
					break
				}
				struck += hit
			}
			s.operate()
			l.finish()
			t.Logf("%d writes went wrong", struck)
		})
	}
}

// likes are what new clusters look like that have the spec of each stage.
func (w sweep) likes(t *testing.T) []map[string]string {
	t.Helper()
	likes := make([]map[string]string, len(w.stages))
	for i, stage := range w.stages {
		if stage.size > 0 {
			likes[i] = fresh(t, stage.size, stage.spec...)
		}
	}
	return likes
}

// endures makes a change with one fault, and tells whether it struck.
func (s *scene) endures(f fault, n int, stage stage, like map[string]string) (struck bool) {
	s.Helper()
	what := fmt.Sprintf("%s, %s write %d", stage.name, f.name, n)
	w := f.strike(n)
	if !fullSweep() {
		w.skip = isReport
	}
	first := s.operateWith(operatorOptions{writes: w})
	stage.change(s)
	s.eventually(what+": strikes or is not reached", longPatience, func() error {
		select {
		case <-w.died:
			struck = true
			return nil
		default:
			return stage.done(s)
		}
	})
	var second *operator
	took := s.eventually(what+": the end is reached all the same", longPatience, func() error {
		// The last write may come, or not, after everything seems to be done.
		select {
		case <-w.died:
			struck = true
			if f.dies && second == nil {
				first.stop()
				second = s.operate()
			}
		default:
		}
		if err := stage.done(s); err != nil || like == nil {
			return err
		}
		return s.unlikeNew(like)
	})
	if second == nil {
		second = first
	}
	second.stop()
	made := w.all()
	if counted := slices.DeleteFunc(slices.Clone(made), func(what string) bool { return w.skip != nil && w.skip(what) }); struck && n <= len(counted) {
		s.Logf("%s (%s): settled %v later", what, counted[n-1], took.Round(time.Millisecond))
	} else {
		s.Logf("%s takes %d writes, %d of them reports", stage.name, len(made), len(made)-len(counted))
	}
	return struck
}

// fullSweep is whether everything is to be tried: each fault at each write, reports among them.
func fullSweep() bool { return os.Getenv("SWEEP") == "full" }

// taken is whether the n-th of many cases alike is part of a default run, which takes one of so many.
func taken(n, oneOf int) bool { return fullSweep() || n%oneOf == 0 }

// isReport is whether a write is one of the status. These come between the others, and an operator that dies there might as
// well have died after the last or before the next.
func isReport(what string) bool { return strings.Contains(what, "status of EtcdCluster") }

// TestDeathDuringDeletion: whatever the operator was about to write, nothing is left.
func TestDeathDuringDeletion(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 2; n++ {
		for _, death := range deaths {
			t.Run(fmt.Sprintf("%s write %d", death.name, n), func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				o := s.operate()
				cluster := s.running(1)
				s.sealed()
				o.stop()
				w := death.strike(n)
				first := s.operateWith(operatorOptions{writes: w})
				s.delete(cluster)
				select {
				case <-w.died:
				case <-time.After(3 * time.Second):
				}
				first.stop()
				s.nothingLeft()
			})
		}
	}
}

// TestScalingTakesFewWrites: in etcd a member is added and promoted, or removed; in Kubernetes it has a StatefulSet that is made,
// sealed once its claim is marked, the claim, and the pod, which is sealed, too; the disruption budget follows the number of voters.
func TestScalingTakesFewWrites(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	w := &writes{}
	s.operateWith(operatorOptions{writes: w})
	s.running(1)
	s.sealed()
	for _, to := range []struct {
		size   int32
		writes int
	}{{3, 16}, {1, 12}} {
		before := len(w.all())
		s.change(size(to.size))
		s.tidy(longPatience)
		made := w.all()[before:]
		steps := slices.DeleteFunc(slices.Clone(made), isReport)
		reports := len(made) - len(steps)
		// etcd refuses removals until its members have been connected for 5 s, and is asked again.
		steps = slices.Compact(steps)
		t.Logf("to %d: %d reports, and %q", to.size, reports, steps)
		if len(steps) > to.writes || reports > 20 {
			t.Errorf("to come to %d members took %d writes and %d reports, expected are up to %d and 20", to.size, len(steps), reports, to.writes)
		}
	}
}
