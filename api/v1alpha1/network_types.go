package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// NetworkPolicySpec says who may connect to the members. The network of the Kubernetes cluster has to enforce it.
type NetworkPolicySpec struct {
	// Mode is Disabled (no NetworkPolicy is made) or Enabled: a NetworkPolicy lets nobody connect to the members but themselves,
	// the operator, and whom the lists below name.
	// +kubebuilder:default=Disabled
	// +optional
	Mode NetworkPolicyMode `json:"mode,omitempty"`

	// Clients may connect to port 2379. Left out, these are the pods of the cluster's namespace; with an empty list nobody but
	// the members and the operator.
	// +kubebuilder:default={{podSelector: {}}}
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Clients []NetworkPeer `json:"clients,omitzero"`

	// Metrics may connect to port 2381, which serves metrics and health but no data. Left out, these are the pods of the
	// cluster's namespace; with an empty list nobody but the kubelet.
	// +kubebuilder:default={{podSelector: {}}}
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Metrics []NetworkPeer `json:"metrics,omitzero"`
}

// NetworkPolicyMode says whether a NetworkPolicy is made.
//
// +kubebuilder:validation:Enum=Disabled;Enabled
type NetworkPolicyMode string

// Whether a NetworkPolicy is made.
const (
	NetworkPolicyDisabled NetworkPolicyMode = "Disabled"
	NetworkPolicyEnabled  NetworkPolicyMode = "Enabled"
)

// NetworkPeer is somebody who may connect: pods, addresses, or anyone. Pods and addresses are named as in a NetworkPolicy.
//
// +kubebuilder:validation:XValidation:rule=`[has(self.podSelector) || has(self.namespaceSelector), has(self.ipBlock), has(self.anyone)].filter(x, x).size() == 1`,message="an entry must have podSelector, namespaceSelector or both, or ipBlock alone, or anyone alone; {podSelector: {}} are all pods of the namespace, {anyone: {}} is everybody"
type NetworkPeer struct {
	// PodSelector selects pods by their labels; {} selects all. They are those of the cluster's namespace, unless
	// namespaceSelector says otherwise. Pods in the network of their node are not selected: they have its address.
	// +optional
	PodSelector *LabelSelector `json:"podSelector,omitempty"`

	// NamespaceSelector selects namespaces by their labels; {} selects all. Every namespace has its name as the label
	// kubernetes.io/metadata.name.
	// +optional
	NamespaceSelector *LabelSelector `json:"namespaceSelector,omitempty"`

	// IPBlock are addresses outside of the pods' network, e.g. those of virtual machines.
	// +optional
	IPBlock *IPBlock `json:"ipBlock,omitempty"`

	// Anyone, as {}, is everybody who reaches the members' addresses.
	// +optional
	Anyone *Anyone `json:"anyone,omitempty"`
}

// Anyone is everybody.
type Anyone struct{}

// LabelSelector selects what has all these labels and meets all these requirements; {} selects everything.
type LabelSelector struct {
	// MatchLabels are labels with their values.
	// +kubebuilder:validation:MaxProperties=8
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)`,message="matchLabels keys must be label names: [prefix/]name with a name of at most 63 letters, digits, '-', '_' and '.'"
	// +optional
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// MatchExpressions are requirements of labels.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	MatchExpressions []LabelRequirement `json:"matchExpressions,omitempty"`
}

// LabelRequirement is a requirement of one label.
//
// +kubebuilder:validation:XValidation:rule=`(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)`,message="matchExpressions must have values with the operators In and NotIn, and none with Exists and DoesNotExist"
type LabelRequirement struct {
	// Key is the label's name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self.indexOf('/') <= 253`,message="a key of matchExpressions must be a label name: [prefix/]name with a name of at most 63 letters, digits, '-', '_' and '.'"
	Key string `json:"key"`

	// Operator is In, NotIn, Exists or DoesNotExist.
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// Values are those that the label has to have one of (In), or must not have (NotIn).
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Values []LabelValue `json:"values,omitempty"`
}

// IPBlock is a block of addresses.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.except) || !isCIDR(self.cidr) || self.except.all(e, !isCIDR(e) || cidr(self.cidr).containsCIDR(e) && cidr(e).prefixLength() > cidr(self.cidr).prefixLength())`,message="except must be blocks within cidr, and smaller",messageExpression=`'except must be blocks within %s, and smaller; not all of %s are'.format([self.cidr, self.except])`,fieldPath=".except"
type IPBlock struct {
	// CIDR is the block, e.g. 192.0.2.0/24 or 2001:db8::/32.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule=`isCIDR(self) && string(cidr(self).masked()) == self`,message="cidr must be a block of addresses in its shortest form, with nothing after the prefix, e.g. 192.0.2.0/24 or 2001:db8::/32"
	CIDR string `json:"cidr"`

	// Except are blocks within it that are left out.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:XValidation:rule=`self.all(e, isCIDR(e) && string(cidr(e).masked()) == e)`,message="except must be blocks of addresses in their shortest form, with nothing after the prefix, e.g. 192.0.2.0/24",messageExpression=`'except must be blocks of addresses in their shortest form, with nothing after the prefix, e.g. 192.0.2.0/24; %s are not'.format([self.filter(e, !(isCIDR(e) && string(cidr(e).masked()) == e))])`
	// +listType=atomic
	// +optional
	Except []string `json:"except,omitempty"`
}
