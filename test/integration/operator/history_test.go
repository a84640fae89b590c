//go:build integration

package operator

import (
	"context"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// history follows a scene from its beginning, so that nothing is missed that was there for a moment only.
type history struct {
	scene *scene
	mutex sync.Mutex
	// made are the objects by kind and name: each UID is one that was made.
	made map[string]map[types.UID]bool
	// pods are the pods as they are now.
	pods map[string]*corev1.Pod
	// fewest is how many members ran at the worst moment since expect was called.
	fewest int
	// stopped are the pods in the order in which they began to stop.
	stopped []string
}

// follow begins a history.
func (s *scene) follow() *history {
	s.Helper()
	h := &history{scene: s, made: map[string]map[types.UID]bool{}, pods: map[string]*corev1.Pod{}}
	ctx, cancel := context.WithCancel(context.Background())
	watcher, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Client.Scheme()})
	if err != nil {
		s.Fatal(err)
	}
	var following sync.WaitGroup
	for kind, list := range map[string]client.ObjectList{
		"Pod": &corev1.PodList{}, "StatefulSet": &appsv1.StatefulSetList{}, "PersistentVolumeClaim": &corev1.PersistentVolumeClaimList{},
	} {
		stream, err := watcher.Watch(ctx, list, client.InNamespace(s.namespace))
		if err != nil {
			s.Fatalf("watch %T: %v", list, err)
		}
		following.Go(func() {
			for event := range stream.ResultChan() {
				if object, ok := event.Object.(client.Object); ok {
					h.add(kind, event.Type, object)
				}
			}
		})
	}
	s.Cleanup(func() {
		cancel()
		following.Wait()
	})
	return h
}

func (h *history) add(kind string, event watch.EventType, object client.Object) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	key := kind + " " + object.GetName()
	if h.made[key] == nil {
		h.made[key] = map[types.UID]bool{}
	}
	h.made[key][object.GetUID()] = true
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	before := h.pods[pod.Name]
	if pod.DeletionTimestamp != nil && (before == nil || before.DeletionTimestamp == nil) {
		h.stopped = append(h.stopped, pod.Name)
	}
	h.pods[pod.Name] = pod
	if event == watch.Deleted {
		delete(h.pods, pod.Name)
	}
	running := 0
	for _, pod := range h.pods {
		if runs(pod) {
			running++
		}
	}
	h.fewest = min(h.fewest, running)
}

// mark begins to count how many members run at least, and in which order pods stop, anew.
func (h *history) mark() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.fewest, h.stopped = len(h.pods), nil
}

// since tells how many members ran at the worst moment since the mark, and which pods stopped, in their order.
func (h *history) since() (fewest int, stopped []string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.fewest, append([]string{}, h.stopped...)
}

// forget leaves objects out of the counts.
func (h *history) forget(names ...string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for _, name := range names {
		delete(h.made, name)
	}
}

// counts are how often each object was made.
func (h *history) counts() map[string]int {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	counts := map[string]int{}
	for key, uids := range h.made {
		counts[key] = len(uids)
	}
	return counts
}

// once checks that no object was made more than once: nothing was started over.
func (h *history) once() error {
	for key, count := range h.counts() {
		if count != 1 {
			return fmt.Errorf("%s was made %d times", key, count)
		}
	}
	return nil
}
