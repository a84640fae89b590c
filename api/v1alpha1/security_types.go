package v1alpha1

// SecuritySpec says how members and clients prove who they are.
type SecuritySpec struct {
	// TLS of the two planes on which etcd talks.
	// +kubebuilder:default={}
	// +optional
	TLS TLSSpec `json:"tls,omitzero"`
}

// TLSSpec is the TLS of the two planes on which etcd talks.
type TLSSpec struct {
	// Client is the plane between clients and members, port 2379.
	// +kubebuilder:default={}
	// +optional
	Client PlaneTLS `json:"client,omitzero"`

	// Peer is the plane between members, port 2380.
	// +kubebuilder:default={}
	// +optional
	Peer PlaneTLS `json:"peer,omitzero"`
}

// TLSMode says whether a plane is encrypted. This release knows only Disabled; anything else is refused, so that
// nobody believes in an encryption that is not there.
//
// +kubebuilder:validation:Enum=Disabled
type TLSMode string

// TLSModeDisabled is plain TCP.
const TLSModeDisabled TLSMode = "Disabled"

// PlaneTLS is the TLS of one plane.
type PlaneTLS struct {
	// Mode is Disabled (plain TCP) in this release.
	// +kubebuilder:default=Disabled
	// +optional
	Mode TLSMode `json:"mode,omitempty"`
}
