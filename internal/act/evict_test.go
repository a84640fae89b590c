package act_test

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestEviction: whom the others can spare the API server is asked for, so that no drain takes another one at that moment. With a
// resource version that is outdated it would count the pod as evicted for two minutes.
func TestEviction(t *testing.T) {
	s := newServer(t, pod("demo-0"), pod("demo-1"), pod("demo-2"))
	if _, err := s.do(three(), restartZero); err != nil {
		t.Fatal(err)
	}
	p := s.preconditions["evicted demo-0-0"]
	if s.exists(t, pod("demo-0")) || p.UID == nil || *p.UID != "pod-of-demo-0" || p.ResourceVersion != nil || !slices.Equal(s.writes, []string{"eviction demo-0-0"}) {
		t.Errorf("preconditions %+v, writes %v", p, s.writes)
	}
}

// TestNothingToSpare: who has no vote, or runs alone, is in no budget's way.
func TestNothingToSpare(t *testing.T) {
	learner, alone := three(), three()
	learner.live.List.Members[0].Learner = true
	alone.live.List.Members, alone.live.Statuses = alone.live.List.Members[:1], alone.live.Statuses[:1]
	for name, l := range map[string]*members{"a learner": learner, "the only one": alone} {
		s := newServer(t, pod("demo-0"), pod("demo-1"), pod("demo-2"))
		if _, err := s.do(l, core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0"}); err != nil || !slices.Equal(s.writes, []string{"delete demo-0-0"}) {
			t.Errorf("%s: %v, writes %v", name, err, s.writes)
		}
	}
}

// TestEvictionThatFails: what a budget does not allow is put off, and said. Where no budget can be asked the pod is deleted.
func TestEvictionThatFails(t *testing.T) {
	budget := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	budget.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: "The disruption budget demo needs 2 healthy pods and has 2 currently"}}
	several := apierrors.FromObject(&metav1.Status{Status: metav1.StatusFailure, Code: 500, Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."})
	for name, test := range map[string]struct {
		answer  error
		says    string
		putOff  bool
		remains bool
	}{
		"a budget does not allow it": {budget, "RestartMember: pod default/demo-0-0 may not be evicted now: Cannot evict pod as it would violate the pod's disruption budget. The disruption budget demo needs 2 healthy pods and has 2 currently", true, true},
		"it is gone":                 {apierrors.NewNotFound(corev1.Resource("pods"), "demo-0-0"), "", false, true},
		"it has several budgets":     {several, "", false, false},
		"it is forbidden":            {apierrors.NewForbidden(corev1.Resource("pods"), "demo-0-0", errors.New("no")), `RestartMember: evicting pod default/demo-0-0: pods "demo-0-0" is forbidden: no`, false, true},
	} {
		s := newServer(t, pod("demo-0"), pod("demo-1"), pod("demo-2"))
		s.fail = func(verb string, _ client.Object) error {
			if verb == "eviction" {
				return test.answer
			}
			return nil
		}
		said := ""
		_, err := s.do(three(), restartZero)
		if err != nil {
			said = err.Error()
		}
		if said != test.says || act.IsPutOff(err) != test.putOff || s.exists(t, pod("demo-0")) != test.remains {
			t.Errorf("%s: put off %t, %q", name, act.IsPutOff(err), said)
		}
	}
}
