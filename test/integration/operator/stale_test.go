//go:build integration

package operator

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// stillness lets an operator's cache of one kind stand still, while everything else, and what is read live, moves on.
type stillness struct {
	client.Reader
	object client.Object
	list   client.ObjectList

	mutex  sync.Mutex
	frozen bool
	as     []runtime.Object
}

// freeze lets the cache show from now on what there is now.
func (c *stillness) freeze(s *scene) {
	s.Helper()
	list, _ := c.list.DeepCopyObject().(client.ObjectList)
	if err := env.Client.List(s.Context(), list, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
	objects, err := meta.ExtractList(list)
	if err != nil {
		s.Fatal(err)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.frozen, c.as = true, objects
}

func (c *stillness) thaw() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.frozen = false
}

// seen are the objects that the cache shows, if it stands still and they are of its kind.
func (c *stillness) seen(asked any) ([]runtime.Object, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	kind := reflect.TypeOf(asked)
	return c.as, c.frozen && (kind == reflect.TypeOf(c.object) || kind == reflect.TypeOf(c.list))
}

func (c *stillness) Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	objects, frozen := c.seen(into)
	if !frozen {
		return c.Reader.Get(ctx, key, into, options...)
	}
	for _, object := range objects {
		if found, ok := object.(client.Object); ok && client.ObjectKeyFromObject(found) == key {
			reflect.ValueOf(into).Elem().Set(reflect.ValueOf(found.DeepCopyObject()).Elem())
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: fmt.Sprintf("%T", into)}, key.Name)
}

func (c *stillness) List(ctx context.Context, into client.ObjectList, options ...client.ListOption) error {
	objects, frozen := c.seen(into)
	if !frozen {
		return c.Reader.List(ctx, into, options...)
	}
	asked := client.ListOptions{LabelSelector: labels.Everything()}
	asked.ApplyOptions(options)
	var found []runtime.Object
	for _, object := range objects {
		if item, ok := object.(client.Object); ok && asked.LabelSelector.Matches(labels.Set(item.GetLabels())) {
			found = append(found, object.DeepCopyObject())
		}
	}
	return meta.SetList(into, found)
}

// cached are the kinds that the operator reads through its cache and that decisions depend on.
func cached() map[string]*stillness {
	return map[string]*stillness{
		"EtcdCluster":           {object: &v1alpha1.EtcdCluster{}, list: &v1alpha1.EtcdClusterList{}},
		"StatefulSet":           {object: &appsv1.StatefulSet{}, list: &appsv1.StatefulSetList{}},
		"Pod":                   {object: &corev1.Pod{}, list: &corev1.PodList{}},
		"PersistentVolumeClaim": {object: &corev1.PersistentVolumeClaim{}, list: &corev1.PersistentVolumeClaimList{}},
		"ConfigMap":             {object: &corev1.ConfigMap{}, list: &corev1.ConfigMapList{}},
	}
}

// stillFor is for how long a cache stands still.
const stillFor = 4 * time.Second

// TestACacheStandsStill: the cache of one kind is behind, from the moment before a change until some time after it. In the end
// all is as in a new cluster. zookeeper-operator#314 and cassandra-operator#407 deleted the volume of a new member by an old
// spec, cassandra-operator#398 missed what was there for a moment only. By default each kind meets some of the changes, with SWEEP=full all.
func TestACacheStandsStill(t *testing.T) {
	t.Parallel()
	last := settings("91")
	like := fresh(t, 3, last)
	for i, kind := range slices.Sorted(maps.Keys(cached())) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			cache := cached()[kind]
			s.operateWith(operatorOptions{still: cache})
			l := s.inhabit(3)
			during := func(change func()) {
				cache.freeze(s)
				change()
				time.Sleep(stillFor)
				cache.thaw()
				s.tidy(longPatience)
			}
			if taken(i, 3) {
				during(func() { s.change(size(5)) })
				during(func() { s.change(size(3)) })
			}
			if taken(i+2, 3) {
				// Down and up: what is meant for the old members must not hit the new ones.
				during(func() {
					s.change(size(1))
					time.Sleep(stillFor / 2)
					s.change(size(3))
				})
			}
			if taken(i+1, 3) {
				victim := s.follower()
				during(func() { s.loseVolume(victim) })
				s.replaced(victim)
			}
			before := s.pods()
			during(func() { s.change(last) })
			s.rolled(before)
			l.finish()
			s.isLikeNew(like)
		})
	}
}

// TestACacheShowsAnEarlierCluster: the cluster is deleted and made again under its name, and the cache of one kind still shows
// the one that was being deleted. zookeeper-operator#312, cassandra-operator#402 and K8SPSMDB-430 then deleted the volumes of
// the living one.
func TestACacheShowsAnEarlierCluster(t *testing.T) {
	t.Parallel()
	for i, policy := range []v1alpha1.RetentionPolicy{v1alpha1.RetentionDelete, v1alpha1.RetentionRetain} {
		for j, kind := range slices.Sorted(maps.Keys(cached())) {
			if !taken(i+j, 2) {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s", policy, kind), func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				cache := cached()[kind]
				retain := func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Retention.WhenDeleted = policy }
				s.operateWith(operatorOptions{still: cache})
				earlier := s.running(3, retain)
				s.sealed()
				s.put("key", "value")
				s.delete(earlier, client.PropagationPolicy("Foreground"))
				cache.freeze(s)
				s.eventually("the object is gone", patience, func() error {
					if err := env.Client.Get(t.Context(), s.key("demo"), &v1alpha1.EtcdCluster{}); !apierrors.IsNotFound(err) {
						return fmt.Errorf("it is there (%w)", err)
					}
					return nil
				})
				s.create(s.demo(3, retain))
				time.Sleep(stillFor)
				cache.thaw()
				// A cache that has caught up says what has changed.
				s.annotate("example.com/caught-up", "true")
				later := s.settled()
				s.sealed()
				claims := map[string]bool{}
				for _, claim := range s.claims() {
					claims[string(claim.UID)] = true
				}
				time.Sleep(stillFor / 2)
				for _, claim := range s.claims() {
					if claim.DeletionTimestamp != nil || !claims[string(claim.UID)] {
						t.Errorf("claim %s of the living cluster was deleted", claim.Name)
					}
				}
				if len(claims) != 3 {
					t.Errorf("there are %d claims", len(claims))
				}
				s.checkOneCluster()
				if same := later.Status.ClusterID == earlier.Status.ClusterID; same != (policy == v1alpha1.RetentionRetain) {
					t.Errorf("the cluster was %s and is %s", earlier.Status.ClusterID, later.Status.ClusterID)
				}
				if policy == v1alpha1.RetentionRetain {
					s.holds("key", "value")
				}
			})
		}
	}
}

// hold stops an operator right before its n-th write, until it is released: between the last look and the write. Evictions are
// held with SWEEP=full only: each costs two minutes, see overtakePatience.
func hold(n int) (w *writes, release func()) {
	released := make(chan struct{})
	w = &writes{died: make(chan struct{}), skip: func(what string) bool {
		return isReport(what) || !fullSweep() && strings.HasPrefix(what, "evict ")
	}}
	once := sync.OnceFunc(func() { close(w.died) })
	w.before = func(write int) error {
		if write == n {
			once()
			<-released
		}
		return nil
	}
	return w, sync.OnceFunc(func() { close(released) })
}

// TestAnOperatorThatWasPaused: an operator stops in its tracks right before a write, and loses its lease. Another one ends what
// it has begun, and a further change, too; then the first one goes on where it was, and both are at work. Its late write is
// refused, or does no harm. SWEEP=full tries every write.
func TestAnOperatorThatWasPaused(t *testing.T) {
	t.Parallel()
	stories := append([]sweep{}, sweeps[:3]...)
	stories = append(stories, sweep{name: "roll", size: 3, stages: []stage{
		tidyStage("to 95", func(s *scene) { s.change(settings("95")) }, 3, settings("95")),
		tidyStage("to 96", func(s *scene) { s.change(settings("96")) }, 3, settings("96")),
	}})
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			likes := story.likes(t)
			for first := range story.stages {
				t.Run(story.stages[first].name, func(t *testing.T) {
					t.Parallel()
					story.overtake(t, first, likes)
				})
			}
		})
	}
}

// overtake holds the operator in one stage, at one write after the other.
func (w sweep) overtake(t *testing.T, first int, likes []map[string]string) {
	s := newScene(t)
	o := s.operate()
	l := s.inhabit(w.size, w.spec...)
	for _, stage := range w.stages[:first] {
		stage.change(s)
		s.eventually(stage.name, longPatience, func() error { return stage.done(s) })
	}
	o.stop()
	every := 13
	if fullSweep() {
		every = 1
	}
	held := w.stages[first]
	next := (first + 1) % len(w.stages)
	// Every story has one stage or two, so that after the next one all is as before.
	rest := w.stages[first:]
	for n := 1 + first; n <= mostHeld; n += every {
		if !s.overtaken(n, held, w.stages[next], likes[next]) {
			// It was not held, and has come as far as the stage goes.
			rest = w.stages[first+1:]
			break
		}
	}
	s.operate()
	for _, stage := range rest {
		stage.change(s)
		s.eventually(stage.name, overtakePatience, func() error { return stage.done(s) })
	}
	l.finish()
}

// mostHeld bounds the writes that are held: a change takes fewer, but for evictions that are asked for again and again.
const mostHeld = 24

// overtakePatience: an eviction that comes late, of a pod that has been replaced, holds the disruption budget up for two minutes.
const overtakePatience = 2*time.Minute + longPatience

// overtaken holds an operator at its n-th write of a change, if it comes to that.
func (s *scene) overtaken(n int, held, next stage, like map[string]string) bool {
	s.Helper()
	w, release := hold(n)
	first := s.operateWith(operatorOptions{writes: w})
	defer func() {
		release()
		first.stop()
	}()
	held.change(s)
	struck := false
	s.eventually(fmt.Sprintf("%s: write %d is held or not reached", held.name, n), overtakePatience, func() error {
		select {
		case <-w.died:
			struck = true
			return nil
		default:
			return held.done(s)
		}
	})
	if !struck {
		return false
	}
	second := s.operate()
	defer second.stop()
	s.eventually(held.name+", by the second operator", overtakePatience, func() error { return held.done(s) })
	next.change(s)
	s.eventually(next.name+", by the second operator", overtakePatience, func() error { return next.done(s) })
	release()
	s.eventually(fmt.Sprintf("%s: the held write %d is made", held.name, n), patience, func() error {
		if what, ended := w.concluded(n); !ended {
			return fmt.Errorf("%s is not", what)
		}
		return nil
	})
	s.eventually(next.name+", after the late write", overtakePatience, func() error { return next.done(s) })
	if like != nil {
		s.isLikeNew(like)
	}
	what, _ := w.concluded(n)
	s.Logf("%s: write %d (%s) came late", held.name, n, what)
	return true
}
