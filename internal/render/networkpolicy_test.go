package render_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// caller is a pod, by its namespace and labels, or an address outside of the pods' network.
type caller struct {
	namespace string
	labels    map[string]string
	address   string
}

var operatorLabels = map[string]string{"app.kubernetes.io/name": "etcd-operator", "app.kubernetes.io/component": "manager"}

var callers = map[string]caller{
	"a member":                     {namespace: "default", labels: plain().MemberLabels("demo-1")},
	"a member of another cluster":  {namespace: "default", labels: map[string]string{render.LabelCluster: "other"}},
	"a member of the same name":    {namespace: "shop", labels: plain().MemberLabels("demo-1")},
	"the operator":                 {namespace: "operators", labels: operatorLabels},
	"a pod beside the operator":    {namespace: "operators", labels: map[string]string{"app": "web"}},
	"one with the operator's name": {namespace: "shop", labels: operatorLabels},
	"an app":                       {namespace: "default", labels: map[string]string{"app": "web"}},
	"another app":                  {namespace: "default", labels: map[string]string{"app": "batch"}},
	"an app of the shop":           {namespace: "shop", labels: map[string]string{"app": "web"}},
	"Prometheus":                   {namespace: "monitoring", labels: map[string]string{"app": "prometheus"}},
	"a machine":                    {address: "192.0.2.7"},
	"a machine of the guests":      {address: "192.0.2.200"},
}

// namespaceLabels are those that Kubernetes gives to each namespace, and one that a person gave.
func namespaceLabels(name string) labels.Set {
	set := labels.Set{corev1.LabelMetadataName: name}
	if name == "shop" {
		set["team"] = "sales"
	}
	return set
}

// TestWhoReachesMembers: the policy is evaluated as Kubernetes says that it has to be
// (https://kubernetes.io/docs/concepts/services-networking/network-policies/), for each port that members listen on.
func TestWhoReachesMembers(t *testing.T) {
	all := func(ports string) map[string]string {
		reached := map[string]string{}
		for name := range callers {
			reached[name] = ports
		}
		return reached
	}
	anyPod, nobody := []v1alpha1.NetworkPeer{{PodSelector: &v1alpha1.LabelSelector{}}}, []v1alpha1.NetworkPeer{}
	anyone := v1alpha1.NetworkPeer{Anyone: &v1alpha1.Anyone{}}
	namespace := func(label, value string) *v1alpha1.LabelSelector {
		return &v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{label: v1alpha1.LabelValue(value)}}
	}
	usual := render.Operator{Namespace: "operators", Labels: operatorLabels}
	members, inside := map[string]string{"a member": "2379 2380 2382"}, map[string]string{"a member": "2379 2380 2382", "the operator": "2379 2380"}
	for name, test := range map[string]struct {
		operator         render.Operator
		clients, metrics []v1alpha1.NetworkPeer
		reached          map[string]string
	}{
		"by default": {usual, anyPod, anyPod, map[string]string{
			"a member": "2379 2380 2381 2382", "the operator": "2379 2380",
			"a member of another cluster": "2379 2381", "an app": "2379 2381", "another app": "2379 2381",
		}},
		"nobody":                      {usual, nobody, nobody, inside},
		"an operator that is nowhere": {render.Operator{}, nobody, nobody, members},
		"an operator without any labels": {
			render.Operator{Namespace: "operators"}, nobody, nobody, merged(inside, map[string]string{"a pod beside the operator": "2379 2380"}),
		},
		"an operator beside its clusters": {
			render.Operator{Namespace: "default", Labels: map[string]string{"app": "batch"}}, nobody, nobody,
			merged(members, map[string]string{"another app": "2379 2380"}),
		},
		"anyone": {
			usual, []v1alpha1.NetworkPeer{anyone}, []v1alpha1.NetworkPeer{anyPod[0], anyone},
			merged(all("2379 2381"), map[string]string{"a member": "2379 2380 2381 2382", "the operator": "2379 2380 2381"}),
		},
		"some": {
			usual,
			[]v1alpha1.NetworkPeer{
				{PodSelector: &v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": "web"}}},
				{
					NamespaceSelector: namespace("team", "sales"),
					PodSelector: &v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{
						{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []v1alpha1.LabelValue{"web", "batch"}},
						{Key: render.LabelCluster, Operator: metav1.LabelSelectorOpDoesNotExist},
					}},
				},
				{IPBlock: &v1alpha1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.128/25"}}},
			},
			[]v1alpha1.NetworkPeer{{NamespaceSelector: namespace(corev1.LabelMetadataName, "monitoring")}},
			merged(inside, map[string]string{"an app": "2379", "an app of the shop": "2379", "a machine": "2379", "Prometheus": "2381"}),
		},
		"every namespace": {
			usual, nobody, []v1alpha1.NetworkPeer{{NamespaceSelector: &v1alpha1.LabelSelector{}}},
			merged(all("2381"), map[string]string{
				"a member": "2379 2380 2381 2382", "the operator": "2379 2380 2381", "a machine": "", "a machine of the guests": "",
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := plain()
			c.Operator = test.operator
			c.Spec.Security.NetworkPolicy = v1alpha1.NetworkPolicySpec{
				Mode: v1alpha1.NetworkPolicyEnabled, Clients: test.clients, Metrics: test.metrics,
			}
			checkReached(t, c, test.reached)
			c.Spec.Security.NetworkPolicy.Mode = v1alpha1.NetworkPolicyDisabled
			checkReached(t, c, all("2379 2380 2381 2382"))
		})
	}
}

// checkReached checks which ports of a member each caller is let in to.
func checkReached(t *testing.T, c render.Cluster, want map[string]string) {
	t.Helper()
	for name, caller := range callers {
		if got := reaches(t, c, caller); got != want[name] {
			t.Errorf("%s: %s reaches %q, want %q", c.Spec.Security.NetworkPolicy.Mode, name, got, want[name])
		}
	}
}

func merged(parts ...map[string]string) map[string]string {
	whole := map[string]string{}
	for _, part := range parts {
		for name, ports := range part {
			whole[name] = ports
		}
	}
	return whole
}

// reaches are the ports of a member that a caller is let in to.
func reaches(t *testing.T, c render.Cluster, from caller) string {
	t.Helper()
	var policies []*networkingv1.NetworkPolicy
	for _, object := range c.Objects() {
		if policy, ok := object.(*networkingv1.NetworkPolicy); ok {
			policies = append(policies, policy)
		}
	}
	pod := c.StatefulSet(core.ApplyMember{Member: "demo-0", Start: core.StartSealed}).Spec.Template
	var reached []string
	for _, port := range pod.Spec.Containers[0].Ports {
		if admits(t, policies, caller{namespace: c.Namespace, labels: pod.Labels}, from, port) {
			reached = append(reached, fmt.Sprint(port.ContainerPort))
		}
	}
	slices.Sort(reached)
	return strings.Join(reached, " ")
}

// admits is whether policies, all of the namespace of a pod, let somebody connect to one of its ports: those that select it add
// up, and without any everybody may.
func admits(t *testing.T, policies []*networkingv1.NetworkPolicy, pod, from caller, port corev1.ContainerPort) bool {
	t.Helper()
	selected := false
	for _, policy := range policies {
		forIngress := slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeIngress)
		if !forIngress || policy.Namespace != pod.namespace || !selects(t, &policy.Spec.PodSelector, pod.labels) {
			continue
		}
		selected = true
		for _, rule := range policy.Spec.Ingress {
			toPort := len(rule.Ports) == 0 || slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool {
				return *p.Protocol == port.Protocol && p.Port.IntVal == port.ContainerPort
			})
			fromPeer := len(rule.From) == 0 || slices.ContainsFunc(rule.From, func(p networkingv1.NetworkPolicyPeer) bool {
				return is(t, p, policy.Namespace, from)
			})
			if toPort && fromPeer {
				return true
			}
		}
	}
	return !selected
}

// is tells whether a peer of a policy is this caller.
func is(t *testing.T, peer networkingv1.NetworkPolicyPeer, policyNamespace string, from caller) bool {
	t.Helper()
	if peer.IPBlock != nil {
		excepted := slices.ContainsFunc(peer.IPBlock.Except, func(block string) bool { return within(from.address, block) })
		return within(from.address, peer.IPBlock.CIDR) && !excepted
	}
	if from.address != "" {
		return false
	}
	inNamespace := from.namespace == policyNamespace
	if peer.NamespaceSelector != nil {
		inNamespace = selects(t, peer.NamespaceSelector, namespaceLabels(from.namespace))
	}
	return inNamespace && (peer.PodSelector == nil || selects(t, peer.PodSelector, from.labels))
}

func within(address, block string) bool {
	return address != "" && netip.MustParsePrefix(block).Contains(netip.MustParseAddr(address))
}

func selects(t *testing.T, selector *metav1.LabelSelector, set labels.Set) bool {
	t.Helper()
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Matches(set)
}

// TestPolicyIsAboutMembersOnly: other pods of the namespace, also those with labels like the cluster's, are as they were; and
// what members connect to is open.
func TestPolicyIsAboutMembersOnly(t *testing.T) {
	c := plain()
	c.Spec.Security.NetworkPolicy.Mode = v1alpha1.NetworkPolicyEnabled
	objects, http := c.Objects(), corev1.ContainerPort{ContainerPort: 80, Protocol: corev1.ProtocolTCP}
	policy, ok := objects[len(objects)-1].(*networkingv1.NetworkPolicy)
	if !ok {
		t.Fatalf("the last object is %T", objects[len(objects)-1])
	}
	for name, pod := range callers {
		if pod.namespace == "" || name == "a member" {
			continue
		}
		if !admits(t, []*networkingv1.NetworkPolicy{policy}, pod, callers["a machine"], http) {
			t.Errorf("%s cannot be reached any more", name)
		}
	}
	if !slices.Equal(policy.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) || policy.Spec.Egress != nil {
		t.Errorf("%+v", policy.Spec)
	}
}

// TestSurplus: what is surplus is what is not wanted, and all of it has been wanted before.
func TestSurplus(t *testing.T) {
	c := plain()
	for _, test := range []struct {
		voters int
		mode   v1alpha1.NetworkPolicyMode
		want   string
	}{
		{3, v1alpha1.NetworkPolicyEnabled, ""},
		{1, v1alpha1.NetworkPolicyEnabled, "PodDisruptionBudget demo"},
		{3, v1alpha1.NetworkPolicyDisabled, "NetworkPolicy demo"},
		{3, "", "NetworkPolicy demo"},
		{1, v1alpha1.NetworkPolicyDisabled, "PodDisruptionBudget demo, NetworkPolicy demo"},
	} {
		c.Voters, c.Spec.Security.NetworkPolicy.Mode = test.voters, test.mode
		var surplus []string
		for _, object := range c.Surplus() {
			surplus = append(surplus, object.GetObjectKind().GroupVersionKind().Kind+" "+object.GetName())
			for _, wanted := range c.Objects() {
				if fmt.Sprintf("%T", wanted) == fmt.Sprintf("%T", object) {
					t.Errorf("%d voters, %s: a %T is both", test.voters, test.mode, object)
				}
			}
		}
		if got := strings.Join(surplus, ", "); got != test.want {
			t.Errorf("%d voters, %s: %q, want %q", test.voters, test.mode, got, test.want)
		}
	}
}
