package render

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// Operator are the operator's own pods, which members have to let in.
type Operator struct {
	// Namespace is where they are; empty if the operator does not run in a pod.
	Namespace string
	// Labels are those that they have; without any, all pods of the namespace are meant.
	Labels map[string]string
}

// isolated is whether a NetworkPolicy says who may connect.
func (c Cluster) isolated() bool {
	return c.Spec.Security.NetworkPolicy.Mode == v1alpha1.NetworkPolicyEnabled
}

// networkPolicy lets members connect to each other, the operator to where it looks at certificates and talks to etcd, agents to where
// they get their snapshots, and others as the spec says. What comes from
// outside is all that it is about: members connect to each other and to DNS only, and where they may is for the namespace to say.
func (c Cluster) networkPolicy() *networkingv1.NetworkPolicy {
	members := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: c.Selector()}}
	always := []networkingv1.NetworkPolicyPeer{members}
	if c.Operator.Namespace != "" {
		always = append(always, networkingv1.NetworkPolicyPeer{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: c.Operator.Namespace}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: maps.Clone(c.Operator.Labels)},
		})
	}
	rules := []networkingv1.NetworkPolicyIngressRule{
		{From: always, Ports: policyPorts(PeerPort)},
		{From: []networkingv1.NetworkPolicyPeer{members}, Ports: policyPorts(PlainPeerPort)},
	}
	agents := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{LabelAgentOf: c.Name}}}
	rules = append(rules, admit(ClientPort, c.Spec.Security.NetworkPolicy.Clients, append(always, agents)...)...)
	rules = append(rules, admit(MetricsPort, c.Spec.Security.NetworkPolicy.Metrics)...)
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: c.meta(c.Name, c.Labels()),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: c.Selector()},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     rules,
		},
	}
}

// admit is the rule that lets peers connect to a port, beside those who always may. To Kubernetes a rule that names nobody lets
// in everybody: it is what anyone gets, and there is none if nobody may.
func admit(port int, peers []v1alpha1.NetworkPeer, always ...networkingv1.NetworkPolicyPeer) (rules []networkingv1.NetworkPolicyIngressRule) {
	rule := networkingv1.NetworkPolicyIngressRule{From: slices.Clone(always), Ports: policyPorts(port)}
	for _, peer := range peers {
		if peer.Anyone != nil {
			return append(rules, networkingv1.NetworkPolicyIngressRule{Ports: rule.Ports})
		}
		rule.From = append(rule.From, policyPeer(peer))
	}
	if len(rule.From) > 0 {
		rules = append(rules, rule)
	}
	return rules
}

func policyPeer(peer v1alpha1.NetworkPeer) networkingv1.NetworkPolicyPeer {
	made := networkingv1.NetworkPolicyPeer{
		PodSelector: labelSelector(peer.PodSelector), NamespaceSelector: labelSelector(peer.NamespaceSelector),
	}
	if peer.IPBlock != nil {
		made.IPBlock = &networkingv1.IPBlock{CIDR: peer.IPBlock.CIDR, Except: peer.IPBlock.Except}
	}
	return made
}

func labelSelector(want *v1alpha1.LabelSelector) *metav1.LabelSelector {
	if want == nil {
		return nil
	}
	selector := &metav1.LabelSelector{MatchLabels: plain(want.MatchLabels)}
	for _, requirement := range want.MatchExpressions {
		made := metav1.LabelSelectorRequirement{Key: requirement.Key, Operator: requirement.Operator}
		for _, value := range requirement.Values {
			made.Values = append(made.Values, string(value))
		}
		selector.MatchExpressions = append(selector.MatchExpressions, made)
	}
	return selector
}

func policyPorts(numbers ...int) []networkingv1.NetworkPolicyPort {
	var ports []networkingv1.NetworkPolicyPort
	for _, number := range numbers {
		ports = append(ports, networkingv1.NetworkPolicyPort{Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(intstr.FromInt(number))})
	}
	return ports
}
