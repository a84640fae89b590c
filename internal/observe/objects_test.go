package observe_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
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
