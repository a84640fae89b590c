package observe_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestObjects: every supporting object in each of its states.
func TestObjects(t *testing.T) {
	s := newSituation()
	wanted := s.render().Objects()
	config, peer, clients, budget := &corev1.ConfigMap{}, &corev1.Service{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{}
	for i, live := range []client.Object{config, peer, clients, budget} {
		applied(t, wanted[i], live)
	}
	states := func() []core.ObjectState {
		var all []core.ObjectState
		for _, object := range s.observe(t).Objects {
			all = append(all, object.State)
		}
		return all
	}
	expect := func(want ...core.ObjectState) {
		t.Helper()
		if got := states(); !slices.Equal(got, want) {
			t.Errorf("states %v, want %v", got, want)
		}
	}
	expect(core.Missing, core.Missing, core.Missing, core.Missing)
	s.objects = []client.Object{config, peer, clients, budget}
	expect(core.Current, core.Current, core.Current, core.Current)
	peer.Spec.Selector = map[string]string{"app": "other"}
	clients.OwnerReferences = nil
	budget.DeletionTimestamp, budget.Finalizers = &metav1.Time{Time: now}, []string{"example.com/wait"}
	s.objects = []client.Object{config, peer, clients, budget}
	expect(core.Current, core.Drifted, core.Foreign, core.Leaving)
}

// TestNetworkPolicy: in each of its states, with and without one that is wanted. It lets in the operator's own pods.
func TestNetworkPolicy(t *testing.T) {
	s := newSituation()
	s.operator = render.Operator{Namespace: "operators", Labels: map[string]string{"app": "operator"}}
	object := func() (found core.Object) {
		t.Helper()
		for _, object := range s.observe(t).Objects {
			if object.Kind == "NetworkPolicy" {
				found = object
			}
		}
		return found
	}
	expect := func(what string, want core.ObjectState) {
		t.Helper()
		if got := object(); got != (core.Object{Kind: "NetworkPolicy", Name: "demo", State: want}) {
			t.Errorf("%s: %+v, want the state %d", what, got, want)
		}
	}
	expectNone := func(what string) {
		t.Helper()
		if got := object(); got.Kind != "" {
			t.Errorf("%s: %+v", what, got)
		}
	}
	network := &s.cluster.Spec.Security.NetworkPolicy
	expectNone("of a cluster that never had one")
	network.Mode = v1alpha1.NetworkPolicyEnabled
	expect("before it is made", core.Missing)

	made := s.render()
	made.Operator = s.operator
	policy := &networkingv1.NetworkPolicy{}
	applied(t, made.Objects()[4], policy)
	s.add(policy)
	expect("once it is made", core.Current)
	network.Clients = []v1alpha1.NetworkPeer{{NamespaceSelector: &v1alpha1.LabelSelector{}}}
	expect("when others may connect", core.Drifted)
	network.Clients = nil
	s.operator.Namespace = "elsewhere"
	expect("when the operator is elsewhere", core.Drifted)
	s.operator.Namespace = "operators"
	policy.Spec.PodSelector.MatchLabels["a"] = "b"
	expect("when it selects nobody", core.Drifted)

	network.Mode = v1alpha1.NetworkPolicyDisabled
	expect("when it is not wanted any more", core.Surplus)
	policy.DeletionTimestamp, policy.Finalizers = &metav1.Time{Time: now}, []string{"example.com/wait"}
	expectNone("on its way out")
	network.Mode = v1alpha1.NetworkPolicyEnabled
	expect("on its way out and wanted again", core.Leaving)
	policy.DeletionTimestamp, policy.Finalizers, policy.OwnerReferences = nil, nil, nil
	expect("someone else's", core.Foreign)
	network.Mode = v1alpha1.NetworkPolicyDisabled
	expectNone("someone else's that is in nobody's way")

	s.reading(func(object client.Object) bool { _, ok := object.(*networkingv1.NetworkPolicy); return ok })
	if _, err := s.try(t); err == nil {
		t.Error("it could not be read")
	}
}

// TestStaleConfigs: settings that neither the spec, nor a StatefulSet, nor a pod refers to.
func TestStaleConfigs(t *testing.T) {
	s := newSituation()
	config := func(name string) *corev1.ConfigMap {
		c := &corev1.ConfigMap{}
		applied(t, s.render().Objects()[0], c)
		c.Name, c.UID = name, "uid-of-config"
		return c
	}
	set := s.workload(t, "demo-0")
	envFrom(set).ConfigMapRef.Name = "demo-config-of-set"
	pod := s.pod("demo-1")
	pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "demo-config-of-pod"}}}}
	foreign, leaving := config("foreign"), config("leaving")
	foreign.OwnerReferences = nil
	leaving.DeletionTimestamp, leaving.Finalizers = &metav1.Time{Time: now}, []string{"example.com/wait"}
	s.add(set, pod, config(s.render().ConfigMap()), config("demo-config-of-set"), config("demo-config-of-pod"), foreign, leaving, config("demo-config-of-none"))
	if got, want := s.observe(t).StaleConfigs, []core.StaleConfig{{Name: "demo-config-of-none", UID: "uid-of-config"}}; !slices.Equal(got, want) {
		t.Errorf("stale: %v, want %v", got, want)
	}
}

func envFrom(set *appsv1.StatefulSet) *corev1.EnvFromSource {
	return &set.Spec.Template.Spec.Containers[0].EnvFrom[0]
}
