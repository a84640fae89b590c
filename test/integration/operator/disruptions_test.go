//go:build integration

package operator

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestTheBudgetComesBeforeAVoter: an operator that ends right after it has promoted a member leaves a disruption budget that is
// right for the voters that there are then.
func TestTheBudgetComesBeforeAVoter(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	w := &writes{}
	promotions, voters := atomic.Int32{}, atomic.Int32{}
	voters.Store(1)
	w.reacts(func(what string, made bool) {
		if !strings.HasPrefix(what, "promote ") || !made {
			return
		}
		promotions.Add(1)
		budget, quorum := &policyv1.PodDisruptionBudget{}, core.Quorum(int(voters.Add(1)))
		if err := env.Client.Get(context.Background(), s.key("demo"), budget); err != nil {
			t.Errorf("of %d voters: %v", voters.Load(), err)
		} else if least := budget.Spec.MinAvailable.IntValue(); least < quorum {
			t.Errorf("of %d voters %d have to be available, the quorum is %d", voters.Load(), least, quorum)
		}
	})
	s.operateWith(operatorOptions{writes: w})
	l := s.inhabit(1)
	s.change(size(3))
	s.tidy(longPatience)
	s.change(size(5))
	l.finish()
	if n := promotions.Load(); n != 4 {
		t.Errorf("%d members were promoted, not 4", n)
	}
}

// evict asks the API server to evict a pod, as a drain does.
func (s *scene) evict(name string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	return env.Client.SubResource("eviction").Create(context.Background(), pod, &policyv1.Eviction{ObjectMeta: pod.ObjectMeta})
}

// TestADrainDuringARoll: someone evicts the others at the very moment at which the operator restarts a member. The API server lets
// one of them do it.
func TestADrainDuringARoll(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	w := &writes{}
	s.operateWith(operatorOptions{writes: w})
	h := s.follow()
	l := s.inhabit(3)
	before := s.pods()
	h.mark()
	var drained atomic.Int32
	w.reacts(func(what string, made bool) {
		pod, restarts := strings.CutPrefix(what, "evict *v1.Pod ")
		if !restarts || drained.Load() >= 2 {
			return
		}
		for name := range before {
			if name == pod {
				continue
			}
			if err := s.evict(name); err == nil {
				drained.Add(1)
			} else if !apierrors.IsTooManyRequests(err) {
				t.Error(err)
			}
		}
	})
	s.change(settings("88"))
	s.rolled(before)
	if fewest, _ := h.since(); fewest < 2 {
		t.Errorf("only %d members ran at some moment", fewest)
	}
	if drained.Load() == 0 {
		t.Error("nobody was evicted: the test shows nothing")
	}
	l.finish()
	s.checkTransactionLimit(88)
}

// TestARollThatABudgetHoldsUp: someone's budget allows no disruption, in the name of ours. That is said; and when it is gone, the
// roll goes on. Beside ours it is none that the API server could ask, and does not hold up anything.
func TestARollThatABudgetHoldsUp(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	budget := func(name string) *policyv1.PodDisruptionBudget {
		return &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
			Spec: policyv1.PodDisruptionBudgetSpec{
				MaxUnavailable: new(intstr.FromInt32(0)),
				Selector:       &metav1.LabelSelector{MatchLabels: map[string]string{render.LabelCluster: "demo"}},
			},
		}
	}
	other := budget("someone")
	s.create(other)
	before := s.pods()
	s.change(settings("91"))
	s.rolled(before)
	s.delete(other)

	pause := func(paused bool) {
		s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = paused })
	}
	pause(true)
	s.says("Progressing", "Paused")
	ours := budget("demo")
	s.delete(ours)
	s.gone(ours)
	theirs := budget("demo")
	s.create(theirs)
	before = s.pods()
	s.change(settings("92"))
	pause(false)
	s.says("Progressing", "RollingOut", "put off: pod "+s.namespace+"/demo-", "may not be evicted now: ")
	time.Sleep(time.Second)
	for name, pod := range s.pods() {
		if before[name] == nil || before[name].UID != pod.UID {
			t.Errorf("pod %s was restarted", name)
		}
	}
	s.delete(theirs)
	s.rolled(before)
	l.finish()
}
