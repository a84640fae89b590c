package render_test

import (
	"reflect"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

var memberZero = core.ApplyMember{Member: "demo-0", Start: core.StartSealed, InitialCluster: []string{"demo-0"}}

// live is a StatefulSet as it is on the API server after it was applied, with what the server fills in.
func live(t *testing.T, c render.Cluster) (*appsv1.StatefulSet, *unstructured.Unstructured) {
	t.Helper()
	applied := mustApply(t, c.StatefulSet(memberZero))
	set := &appsv1.StatefulSet{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, set); err != nil {
		t.Fatal(err)
	}
	set.UID, set.ResourceVersion, set.Generation = "uid-2", "17", 1
	set.Spec.Template.Spec.RestartPolicy, set.Spec.Template.Spec.DNSPolicy = corev1.RestartPolicyAlways, corev1.DNSClusterFirst
	set.Spec.VolumeClaimTemplates[0].Status.Phase = corev1.ClaimPending
	set.Status.ReadyReplicas = 1
	return set, applied
}

func mustApply(t *testing.T, object client.Object) *unstructured.Unstructured {
	t.Helper()
	applied, err := render.Applied(object)
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

// TestToleratesAdditions: what the API server fills in, and what others add, is theirs.
func TestToleratesAdditions(t *testing.T) {
	for name, change := range map[string]func(s *appsv1.StatefulSet){
		"what the server fills in": func(*appsv1.StatefulSet) {},
		"an annotation":            func(s *appsv1.StatefulSet) { s.Annotations["example.com/theirs"] = "1" },
		"a label":                  func(s *appsv1.StatefulSet) { s.Spec.Template.Labels["theirs"] = "1" },
		"a variable":               func(s *appsv1.StatefulSet) { etcdOf(s).Env = append(etcdOf(s).Env, corev1.EnvVar{Name: "THEIRS"}) },
		"a container": func(s *appsv1.StatefulSet) {
			s.Spec.Template.Spec.Containers = append([]corev1.Container{{Name: "theirs"}}, s.Spec.Template.Spec.Containers...)
		},
		// They cannot be changed on a live StatefulSet: to apply it again would only be refused.
		"other claim templates": func(s *appsv1.StatefulSet) { s.Spec.VolumeClaimTemplates = s.Spec.VolumeClaimTemplates[:1] },
		"a volume": func(s *appsv1.StatefulSet) {
			s.Spec.Template.Spec.Volumes = append(s.Spec.Template.Spec.Volumes, corev1.Volume{Name: "theirs"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			set, applied := live(t, everything())
			change(set)
			holds(t, set, applied, true)
		})
	}
}

// TestNoticesDrift: what was applied has been changed or taken away by someone.
func TestNoticesDrift(t *testing.T) {
	for name, change := range map[string]func(s *appsv1.StatefulSet){
		"a number":               func(s *appsv1.StatefulSet) { s.Spec.Replicas = new(int32(0)) },
		"a text":                 func(s *appsv1.StatefulSet) { etcdOf(s).Image = "evil" },
		"a boolean":              func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.EnableServiceLinks = new(true) },
		"a field taken away":     func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.EnableServiceLinks = nil },
		"a label":                func(s *appsv1.StatefulSet) { delete(s.Labels, render.LabelMember) },
		"an annotation":          func(s *appsv1.StatefulSet) { s.Annotations[render.AnnotationStart] = "bootstrap" },
		"an annotation of a pod": func(s *appsv1.StatefulSet) { delete(s.Spec.Template.Annotations, "example.com/note") },
		"an argument":            func(s *appsv1.StatefulSet) { etcdOf(s).Args[0] = "--name=other" },
		"an argument more":       func(s *appsv1.StatefulSet) { etcdOf(s).Args = append(etcdOf(s).Args, "--force-new-cluster") },
		"a variable":             func(s *appsv1.StatefulSet) { etcdOf(s).Env[0].Value = "1" },
		"an amount": func(s *appsv1.StatefulSet) {
			etcdOf(s).Resources.Limits[corev1.ResourceMemory] = resource.MustParse("1Gi")
		},
		"a whole list":            func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Tolerations = nil },
		"a probe":                 func(s *appsv1.StatefulSet) { etcdOf(s).LivenessProbe = nil },
		"a container":             func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers = nil },
		"the owner":               func(s *appsv1.StatefulSet) { s.OwnerReferences[0].UID = "other" },
		"the hash":                func(s *appsv1.StatefulSet) { s.Annotations[render.AnnotationAppliedHash] = "other" },
		"all annotations":         func(s *appsv1.StatefulSet) { s.Annotations = nil },
		"an image pull secret":    func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.ImagePullSecrets = nil },
		"a constraint of another": func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.TopologySpreadConstraints[0].MaxSkew = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			set, applied := live(t, everything())
			change(set)
			holds(t, set, applied, false)
		})
	}
}

// TestNoticesWhatIsAdded: what selects pods, and who may connect, is all or nothing. One label more, and a Service leads nowhere,
// and a budget or a policy protects nobody.
func TestNoticesWhatIsAdded(t *testing.T) {
	service, budget, policy := &corev1.Service{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{}
	everybody := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}
	exists := metav1.LabelSelectorRequirement{Key: "a", Operator: metav1.LabelSelectorOpExists}
	for name, test := range map[string]struct {
		live   client.Object
		change func()
	}{
		"a label of a Service":      {service, func() { service.Spec.Selector["a"] = "b" }},
		"a label of a budget":       {budget, func() { budget.Spec.Selector.MatchLabels["a"] = "b" }},
		"a requirement of a budget": {budget, func() { budget.Spec.Selector.MatchExpressions = append(budget.Spec.Selector.MatchExpressions, exists) }},
		"a label of a policy":       {policy, func() { policy.Spec.PodSelector.MatchLabels["a"] = "b" }},
		"a requirement of a policy": {policy, func() {
			policy.Spec.PodSelector.MatchExpressions = append(policy.Spec.PodSelector.MatchExpressions, exists)
		}},
		"a rule of a policy":                  {policy, func() { policy.Spec.Ingress = append(policy.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{}) }},
		"a rule taken away":                   {policy, func() { policy.Spec.Ingress = policy.Spec.Ingress[1:] }},
		"a peer of a rule":                    {policy, func() { policy.Spec.Ingress[0].From = append(policy.Spec.Ingress[0].From, everybody) }},
		"a rule for all, by naming nobody":    {policy, func() { policy.Spec.Ingress[0].From = nil }},
		"a rule for all that names somebody":  {policy, func() { policy.Spec.Ingress[3].From = policy.Spec.Ingress[0].From }},
		"a label of a peer that needs none":   {policy, func() { policy.Spec.Ingress[2].From[2].PodSelector.MatchLabels = map[string]string{"a": "b"} }},
		"a namespace of a peer":               {policy, func() { policy.Spec.Ingress[0].From[0].NamespaceSelector = &metav1.LabelSelector{} }},
		"more ports of a rule":                {policy, func() { policy.Spec.Ingress[0].Ports[0].EndPort = new(int32(9999)) }},
		"a policy for what members reach too": {policy, func() { policy.Spec.PolicyTypes = append(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) }},
	} {
		t.Run(name, func(t *testing.T) {
			applied := asApplied(t, everything(), test.live)
			holds(t, test.live, applied, true)
			test.change()
			holds(t, test.live, applied, false)
		})
	}
}

// asApplied makes live the last supporting object of its kind, as it is after it was applied.
func asApplied(t *testing.T, c render.Cluster, live client.Object) *unstructured.Unstructured {
	t.Helper()
	var applied *unstructured.Unstructured
	for _, object := range c.Objects() {
		if reflect.TypeOf(object) == reflect.TypeOf(live) {
			applied = mustApply(t, object)
		}
	}
	reflect.ValueOf(live).Elem().SetZero()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, live); err != nil {
		t.Fatal(err)
	}
	return applied
}

// TestTwoMountsOfOneVolume: they are told apart by their path.
func TestTwoMountsOfOneVolume(t *testing.T) {
	c := everything()
	c.Spec.PodTemplate.Spec.VolumeMounts = []corev1.VolumeMount{
		{Name: "extra", MountPath: "/a", SubPath: "a"}, {Name: "extra", MountPath: "/b", SubPath: "b"},
	}
	set, applied := live(t, c)
	holds(t, set, applied, true)
	mounts := etcdOf(set).VolumeMounts
	mounts[len(mounts)-1].SubPath = "changed"
	holds(t, set, applied, false)
}

// TestNoticesWhatIsToGo: an annotation is not wanted any more. The live object has all that is wanted, but also that.
func TestNoticesWhatIsToGo(t *testing.T) {
	with := everything()
	service := mustApply(t, with.Objects()[2])
	live := &corev1.Service{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(service.Object, live); err != nil {
		t.Fatal(err)
	}
	holds(t, live, service, true)
	with.Spec.Services.Client.Annotations = nil
	holds(t, live, mustApply(t, with.Objects()[2]), false)
}

// TestAppliesOnlyWhatIsSet: server-side apply owns what it is sent, nulls and empty values included.
func TestAppliesOnlyWhatIsSet(t *testing.T) {
	applied := mustApply(t, plain().StatefulSet(memberZero))
	var empty []string
	walk("", applied.Object, func(path string, value any) {
		if m, ok := value.(map[string]any); value == nil || ok && len(m) == 0 {
			empty = append(empty, path)
		}
	})
	if len(empty) > 0 {
		t.Errorf("sent although nothing is in them: %v", empty)
	}
	if _, ok := applied.Object["status"]; ok {
		t.Error("the status is sent")
	}
}

func walk(path string, value any, visit func(path string, value any)) {
	visit(path, value)
	switch typed := value.(type) {
	case map[string]any:
		for key, child := range typed {
			walk(path+"."+key, child, visit)
		}
	case []any:
		for _, child := range typed {
			walk(path+"[]", child, visit)
		}
	}
}

func etcdOf(s *appsv1.StatefulSet) *corev1.Container {
	for i := range s.Spec.Template.Spec.Containers {
		if s.Spec.Template.Spec.Containers[i].Name == render.ContainerName {
			return &s.Spec.Template.Spec.Containers[i]
		}
	}
	return nil
}

func holds(t *testing.T, live client.Object, applied *unstructured.Unstructured, want bool) {
	t.Helper()
	got, err := render.Holds(live, applied)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("holds: %t, want %t", got, want)
	}
}

// TestKeepStorage: what is applied to a live StatefulSet has the claim templates that it was made with, and says so.
func TestKeepStorage(t *testing.T) {
	set, _ := live(t, everything())
	grown := everything()
	grown.Spec.Storage.Size = quantity("99Gi")
	applied := mustApply(t, grown.StatefulSet(memberZero))
	if err := render.KeepStorage(applied, set); err != nil {
		t.Fatal(err)
	}
	if got := applied.GetAnnotations()[render.AnnotationStorageHash]; got != everything().StorageHash() {
		t.Errorf("storage hash %s", got)
	}
	kept := &appsv1.StatefulSet{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, kept); err != nil {
		t.Fatal(err)
	}
	if size := kept.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().String(); size != "10Gi" || len(kept.Spec.VolumeClaimTemplates) != 2 {
		t.Errorf("size %s, %d claims", size, len(kept.Spec.VolumeClaimTemplates))
	}
	// In memory there is nothing to keep.
	inMemory := &appsv1.StatefulSet{}
	if err := render.KeepStorage(mustApply(t, memory().StatefulSet(memberZero)), inMemory); err != nil {
		t.Error(err)
	}
}

// TestClaimsOfInterruptedCreation: claims that are to go with the cluster belong to it from the beginning, never to the
// StatefulSet.
func TestClaimsOfInterruptedCreation(t *testing.T) {
	for retention, want := range map[v1alpha1.RetentionPolicy]int{v1alpha1.RetentionDelete: 1, v1alpha1.RetentionRetain: 0} {
		c := everything()
		c.Spec.Storage.Retention.WhenDeleted = retention
		set := c.StatefulSet(core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: []string{"demo-0"}})
		for _, template := range set.Spec.VolumeClaimTemplates {
			owners := template.OwnerReferences
			if len(owners) != want || want == 1 && (owners[0].Kind != "EtcdCluster" || owners[0].UID != c.UID) {
				t.Errorf("%s: claim %s belongs to %v", retention, template.Name, owners)
			}
		}
	}
}
