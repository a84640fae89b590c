package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HealingSpec says when the operator replaces members by itself.
type HealingSpec struct {
	// MemberUnhealthyAfter is how long the node of a member may be gone (deleted, or not ready) before the member
	// is removed and replaced by a new one with an empty volume, from 30s to 168h, e.g. 1h30m. It is done only
	// while the other members keep a quorum.
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9]') && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,6}([.][0-9]{1,9})?s)?$') && duration(self) >= duration('30s') && duration(self) <= duration('168h')`,message="spec.healing.memberUnhealthyAfter must be a duration of hours, minutes and seconds from 30s to 168h, e.g. 10m",messageExpression=`'spec.healing.memberUnhealthyAfter is %s, must be a duration of hours, minutes and seconds from 30s to 168h, e.g. 10m or 1h30m'.format([self])`
	// +optional
	MemberUnhealthyAfter metav1.Duration `json:"memberUnhealthyAfter,omitzero"`
}
