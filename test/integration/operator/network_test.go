//go:build integration

package operator

import (
	"fmt"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

func isolation(mode v1alpha1.NetworkPolicyMode, clients ...v1alpha1.NetworkPeer) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Security.NetworkPolicy.Mode = mode
		if len(clients) > 0 {
			spec.Security.NetworkPolicy.Clients = clients
		}
	}
}

// admitted waits until there is a NetworkPolicy of the cluster's that lets as many peers connect to each of its ports; none are
// everybody.
func (s *scene) admitted(what string, peers, clients, metrics int) *networkingv1.NetworkPolicy {
	s.Helper()
	policy := &networkingv1.NetworkPolicy{}
	s.eventually(what, patience, func() error {
		if err := env.Client.Get(s.Context(), s.key("demo"), policy); err != nil {
			return err
		}
		selector := metav1.FormatLabelSelector(&policy.Spec.PodSelector)
		if !metav1.IsControlledBy(policy, s.cluster()) || selector != render.LabelCluster+"=demo" {
			return fmt.Errorf("it belongs to %v and selects %s", policy.OwnerReferences, selector)
		}
		now := ""
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				now += port.Port.String() + " "
			}
			now += fmt.Sprintf("from %d, ", len(rule.From))
		}
		if want := fmt.Sprintf("2380 from %d, 2382 from %d, 2379 from %d, 2381 from %d, ", peers+1, peers, clients, metrics); now != want {
			return fmt.Errorf("it lets in %q, not %q", now, want)
		}
		return nil
	})
	return policy
}

// TestNetworkPolicy: it follows the spec, is set right, and goes. Members know nothing of it.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	h := s.follow()
	l := s.inhabit(3)
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "demo"}}
	if err := env.Client.Get(t.Context(), s.key("demo"), policy); !apierrors.IsNotFound(err) {
		t.Errorf("nobody has asked for a policy: %v", err)
	}

	s.change(isolation(v1alpha1.NetworkPolicyEnabled))
	s.admitted("it is made", 1, 4, 1)
	s.change(isolation(v1alpha1.NetworkPolicyEnabled, v1alpha1.NetworkPeer{Anyone: &v1alpha1.Anyone{}}))
	s.admitted("anyone may connect", 1, 0, 1)
	block := v1alpha1.NetworkPeer{IPBlock: &v1alpha1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.128/25"}}}
	s.change(isolation(v1alpha1.NetworkPolicyEnabled, block))
	policy = s.admitted("some may connect", 1, 4, 1)
	operator := policy.Spec.Ingress[0].From[1]
	where, who := metav1.FormatLabelSelector(operator.NamespaceSelector), metav1.FormatLabelSelector(operator.PodSelector)
	if where != "kubernetes.io/metadata.name=etcd-operator-system" || who != "app=operator" {
		t.Errorf("the operator is %s in %s", who, where)
	}
	written := policy.ResourceVersion
	time.Sleep(time.Second)
	if s.get("demo", policy); policy.ResourceVersion != written {
		t.Error("it is written again and again")
	}

	for what, edit := range map[string]func(){
		"a label more":      func() { policy.Spec.PodSelector.MatchLabels["app"] = "other" },
		"a rule for all":    func() { policy.Spec.Ingress = append(policy.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{}) },
		"peers are anybody": func() { policy.Spec.Ingress[0].From = nil },
	} {
		s.eventually(what, patience, func() error {
			s.get("demo", policy)
			edit()
			return env.Client.Update(t.Context(), policy, client.FieldOwner("a-person"))
		})
		policy = s.admitted(what+" is set right", 1, 4, 1)
	}
	s.delete(policy)
	s.admitted("it comes back", 1, 4, 1)

	s.change(isolation(v1alpha1.NetworkPolicyDisabled))
	s.gone(policy)
	s.settled()
	if err := h.once(); err != nil {
		t.Errorf("a policy restarted something: %v", err)
	}
	l.finish()
}

// TestAPolicyOfSomeoneElse bears the name of ours. It is left alone, and reported if it is in the way; members are looked after all
// the same.
func TestAPolicyOfSomeoneElse(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	foreign := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "demo"}}
	s.create(foreign)
	untouched := func() {
		t.Helper()
		now := &networkingv1.NetworkPolicy{}
		s.get("demo", now)
		if now.UID != foreign.UID || now.ResourceVersion != foreign.ResourceVersion {
			t.Errorf("the foreign policy was written to: %+v", now)
		}
	}
	s.operate()
	s.running(1)
	untouched()
	s.change(isolation(v1alpha1.NetworkPolicyEnabled))
	s.says("Degraded", "NameTaken", "NetworkPolicy demo exists but does not belong to this cluster")
	s.change(size(3))
	s.eventually("three members run", longPatience, func() error {
		if ready := s.cluster().Status.ReadyMembers; ready != 3 {
			return fmt.Errorf("%d do", ready)
		}
		return nil
	})
	s.says("Degraded", "NameTaken", "NetworkPolicy")
	untouched()
	s.delete(foreign)
	started := time.Now()
	s.admitted("ours takes its place", 1, 4, 1)
	s.settled()
	t.Logf("settled %v after the foreign policy was deleted", time.Since(started).Round(time.Millisecond))

	// One that takes the name of ours while that is gone.
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = true })
	s.says("Progressing", "Paused")
	s.delete(foreign)
	foreign.ResourceVersion, foreign.UID = "", ""
	s.create(foreign)
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Paused, spec.Security.NetworkPolicy.Mode = false, v1alpha1.NetworkPolicyDisabled
	})
	s.settled()
	untouched()
}
