package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SecuritySpec says how members and clients prove who they are, who may do what, and who may connect at all.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.auth) || !has(self.auth.users) || self.auth.mode != 'Enabled' || self.tls.client.mode != 'Disabled' || self.auth.users.all(u, has(u.passwordSecret))`,message="spec.security.auth.users without passwordSecret are known by their certificates, which needs spec.security.tls.client.mode Permissive or Required",messageExpression=`'spec.security.auth.users: %s have no passwordSecret and are known by their certificates, which needs spec.security.tls.client.mode Permissive or Required'.format([self.auth.users.filter(u, !has(u.passwordSecret)).map(u, u.name)])`
type SecuritySpec struct {
	// TLS of the two planes on which etcd talks.
	// +kubebuilder:default={}
	// +optional
	TLS TLSSpec `json:"tls,omitzero"`

	// Auth says who may do what: etcd's users and roles.
	// +kubebuilder:default={}
	// +optional
	Auth AuthSpec `json:"auth,omitzero"`

	// NetworkPolicy says who may connect to the members.
	// +kubebuilder:default={}
	// +optional
	NetworkPolicy NetworkPolicySpec `json:"networkPolicy,omitzero"`
}

// TLSSpec is the TLS of the two planes on which etcd talks. Unless its certificates have another source, each plane has a
// certificate authority of its own, which the operator makes for this one cluster: what another cluster's authority signed is worth
// nothing here, and a client's certificate does not make a member.
type TLSSpec struct {
	// Client is the plane between clients and members, port 2379.
	// +kubebuilder:default={}
	// +optional
	Client ClientTLS `json:"client,omitzero"`

	// Peer is the plane between members.
	// +kubebuilder:default={}
	// +optional
	Peer PeerTLS `json:"peer,omitzero"`

	// Certificates says for how long certificates are valid.
	// +kubebuilder:default={}
	// +optional
	Certificates CertificatesSpec `json:"certificates,omitzero"`
}

// ClientTLSMode says whether clients talk TLS.
//
// +kubebuilder:validation:Enum=Disabled;Permissive;Required
type ClientTLSMode string

// Modes of the plane between clients and members.
const (
	// ClientTLSDisabled is plain TCP.
	ClientTLSDisabled ClientTLSMode = "Disabled"
	// ClientTLSPermissive is both on the same port, while clients change from one to the other.
	ClientTLSPermissive ClientTLSMode = "Permissive"
	// ClientTLSRequired is TLS alone.
	ClientTLSRequired ClientTLSMode = "Required"
)

// ClientTLS is the TLS of the plane between clients and members.
type ClientTLS struct {
	// Mode is Required (TLS, and clients need a certificate), Disabled (plain TCP), or Permissive: both at the same port, so
	// that the clients of a running cluster can be changed one after the other. A ready-made client certificate is in the
	// Secret <cluster>-client-tls.
	// +kubebuilder:default=Required
	// +optional
	Mode ClientTLSMode `json:"mode,omitempty"`

	// Source is where the certificates come from; left out, the operator's own authority signs them. It can be changed while the
	// cluster runs: members trust both for as long as it takes.
	// +optional
	Source *ClientCertificateSource `json:"source,omitempty"`

	// DNSNames are further names by which clients reach the members, e.g. that of a load balancer.
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.all(n, n.matches('^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))`,message="spec.security.tls.client.dnsNames must be DNS names in lower case, with * as their first part at most",messageExpression=`'spec.security.tls.client.dnsNames must be DNS names in lower case, with * as their first part at most; %s are not'.format([self.filter(n, !n.matches('^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))])`
	// +optional
	DNSNames []string `json:"dnsNames,omitempty"`

	// IPAddresses are further addresses by which clients reach the members, e.g. that of a load balancer.
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:XValidation:rule=`self.all(a, isIP(a))`,message="spec.security.tls.client.ipAddresses must be IP addresses",messageExpression=`'spec.security.tls.client.ipAddresses must be IP addresses; %s are not'.format([self.filter(a, !isIP(a))])`
	// +optional
	IPAddresses []string `json:"ipAddresses,omitempty"`
}

// PeerTLSMode says whether members talk TLS among each other.
//
// +kubebuilder:validation:Enum=Disabled;Required
type PeerTLSMode string

// Modes of the plane between members.
const (
	// PeerTLSDisabled is plain TCP.
	PeerTLSDisabled PeerTLSMode = "Disabled"
	// PeerTLSRequired is TLS with certificates on both sides.
	PeerTLSRequired PeerTLSMode = "Required"
)

// PeerTLS is the TLS of the plane between members.
type PeerTLS struct {
	// Mode is Required (TLS with certificates on both sides, port 2380) or Disabled (plain TCP, port 2382). It can be changed
	// while the cluster runs: members listen on both until all of them are reached by the new one.
	// +kubebuilder:default=Required
	// +optional
	Mode PeerTLSMode `json:"mode,omitempty"`

	// Source is where the certificates come from; left out, the operator's own authority signs them. It can be changed while the
	// cluster runs: members trust both for as long as it takes. Whoever has a certificate of it can become a member: share no
	// issuer with the plane of clients.
	// +optional
	Source *PeerCertificateSource `json:"source,omitempty"`
}

// ClientCertificateSource is where the certificates of the plane between clients and members come from: one of them.
//
// +kubebuilder:validation:XValidation:rule=`has(self.certManager) != has(self.secrets)`,message="spec.security.tls.client.source must have exactly one of certManager and secrets"
type ClientCertificateSource struct {
	// CertManager lets cert-manager issue all certificates of the plane, those of users among them.
	// +optional
	CertManager *CertManagerSource `json:"certManager,omitempty"`

	// Secrets have been made by someone else. Certificates for clients are made nowhere then.
	// +optional
	Secrets *ClientCertificateSecrets `json:"secrets,omitempty"`
}

// PeerCertificateSource is where the certificates of the plane between members come from: one of them.
//
// +kubebuilder:validation:XValidation:rule=`has(self.certManager) != has(self.secrets)`,message="spec.security.tls.peer.source must have exactly one of certManager and secrets"
type PeerCertificateSource struct {
	// CertManager lets cert-manager issue the certificate of the members.
	// +optional
	CertManager *CertManagerSource `json:"certManager,omitempty"`

	// Secrets have been made by someone else.
	// +optional
	Secrets *PeerCertificateSecrets `json:"secrets,omitempty"`
}

// CertManagerSource is cert-manager (https://cert-manager.io).
type CertManagerSource struct {
	// IssuerRef is the issuer that signs. It has to say who is to be trusted: in ca.crt of the Secrets that it fills.
	// +required
	IssuerRef IssuerReference `json:"issuerRef"`
}

// IssuerReference names an issuer of cert-manager.
type IssuerReference struct {
	// Name of the issuer.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="issuerRef.name must be the name of an issuer"
	// +required
	Name string `json:"name"`

	// Kind is Issuer, in the namespace of the cluster, ClusterIssuer, or the kind of an issuer of another group.
	// +kubebuilder:default=Issuer
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[A-Z][A-Za-z0-9]*$')`,message="issuerRef.kind must be the kind of an issuer, e.g. Issuer or ClusterIssuer"
	// +optional
	Kind string `json:"kind,omitempty"`

	// Group of the kind.
	// +kubebuilder:default="cert-manager.io"
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="issuerRef.group must be an API group, e.g. cert-manager.io"
	// +optional
	Group string `json:"group,omitempty"`
}

// ClientCertificateSecrets are Secrets with certificates, each with tls.crt, tls.key, and in ca.crt whom to trust for it.
type ClientCertificateSecrets struct {
	// Server is the certificate of the members: for servers and clients, and for the names by which they are reached.
	// +required
	Server CertificateSecret `json:"server"`

	// Operator is a certificate for clients, by which the operator talks to members. Where etcd asks clients who they are, its common
	// name is best root: else the operator logs in with a password.
	// +required
	Operator CertificateSecret `json:"operator"`
}

// PeerCertificateSecrets are Secrets with certificates, each with tls.crt, tls.key, and in ca.crt whom to trust for it.
type PeerCertificateSecrets struct {
	// Member is the certificate of the members: for servers and clients, and for the names by which they are reached.
	// +required
	Member CertificateSecret `json:"member"`
}

// CertificateSecret names a Secret in the namespace of the cluster.
type CertificateSecret struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')`,message="name must be the name of a Secret"
	// +required
	Name string `json:"name"`
}

// CertificatesSpec says for how long certificates are valid. They are made again when two thirds of that are over.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.overlap) || !has(self.authorityDuration) || duration(self.overlap).getSeconds() * 6 <= duration(self.authorityDuration).getSeconds()`,message="spec.security.tls.certificates.overlap must be a sixth of authorityDuration at most",messageExpression=`'spec.security.tls.certificates.overlap is %s, must be a sixth of authorityDuration (%s) at most: the next authority has to sign before the one before expires'.format([self.overlap, self.authorityDuration])`
type CertificatesSpec struct {
	// Duration is for how long those of members and clients are valid. Members take a new one without a restart.
	// +kubebuilder:default="2160h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9]') && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,6}([.][0-9]{1,9})?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('87600h')`,message="spec.security.tls.certificates.duration must be a duration of hours, minutes and seconds from 10m to 87600h, e.g. 2160h",messageExpression=`'spec.security.tls.certificates.duration is %s, must be a duration of hours, minutes and seconds from 10m to 87600h, e.g. 2160h'.format([self])`
	// +optional
	Duration metav1.Duration `json:"duration,omitzero"`

	// AuthorityDuration is for how long those of the authorities are valid. Changing an authority restarts the members twice,
	// one after the other.
	// +kubebuilder:default="87600h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9]') && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,6}([.][0-9]{1,9})?s)?$') && duration(self) >= duration('1h') && duration(self) <= duration('438000h')`,message="spec.security.tls.certificates.authorityDuration must be a duration of hours, minutes and seconds from 1h to 438000h, e.g. 87600h",messageExpression=`'spec.security.tls.certificates.authorityDuration is %s, must be a duration of hours, minutes and seconds from 1h to 438000h, e.g. 87600h'.format([self])`
	// +optional
	AuthorityDuration metav1.Duration `json:"authorityDuration,omitzero"`

	// Overlap is for how long clients are given to follow a change of the authority, or of the source, of their plane: once from when
	// the next authority is to be trusted until it signs, and once more until the one before is trusted no more. Clients that read
	// their Secret only when they start have to be restarted in each of the two.
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9]') && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,6}([.][0-9]{1,9})?s)?$') && duration(self) <= duration('720h')`,message="spec.security.tls.certificates.overlap must be a duration of hours, minutes and seconds from 0s to 720h, e.g. 1h",messageExpression=`'spec.security.tls.certificates.overlap is %s, must be a duration of hours, minutes and seconds from 0s to 720h, e.g. 1h'.format([self])`
	// +optional
	Overlap *metav1.Duration `json:"overlap,omitempty"`
}

// DeletionProtection says whether an EtcdCluster can be deleted.
//
// +kubebuilder:validation:Enum=Disabled;Enabled
type DeletionProtection string

// Whether it is protected.
const (
	DeletionProtectionDisabled DeletionProtection = "Disabled"
	DeletionProtectionEnabled  DeletionProtection = "Enabled"
)
