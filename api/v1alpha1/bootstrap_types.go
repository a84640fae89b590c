package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BootstrapSpec is what a new cluster begins with: the data of a backup, or of an etcd outside.
//
// +kubebuilder:validation:XValidation:rule="has(self.backupRef) != has(self.source)",message="spec.bootstrap is a backup or an etcd outside: set one of backupRef and source"
// +kubebuilder:validation:XValidation:rule="!has(self.mirror) || has(self.source)",message="spec.bootstrap.mirror follows the etcd of spec.bootstrap.source: set that as well, or leave mirror out"
// +kubebuilder:validation:XValidation:rule="has(self.backupRef) || !has(self.revision) && !has(self.pointInTime) && !has(self.latest)",message="spec.bootstrap.revision, pointInTime and latest say how far what was archived beside a backup is to be followed: set backupRef as well, or leave them out"
// +kubebuilder:validation:XValidation:rule="[has(self.revision), has(self.pointInTime), has(self.latest) && self.latest].filter(said, said).size() <= 1",message="spec.bootstrap.revision, pointInTime and latest are three ways to say how far: set one of them"
// +kubebuilder:validation:XValidation:rule="has(self.revision) == has(oldSelf.revision) && (!has(self.revision) || self.revision == oldSelf.revision) && has(self.pointInTime) == has(oldSelf.pointInTime) && (!has(self.pointInTime) || self.pointInTime == oldSelf.pointInTime) && has(self.latest) == has(oldSelf.latest) && (!has(self.latest) || self.latest == oldSelf.latest)",message="spec.bootstrap.revision, pointInTime and latest cannot be changed: make another EtcdCluster"
type BootstrapSpec struct {
	// BackupRef is the EtcdBackup whose data the cluster begins with. It has to be complete.
	// +optional
	BackupRef *BackupReference `json:"backupRef,omitempty"`

	// Revision is what the cluster begins with, by what was archived continuously since that backup, or before it.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// PointInTime is the moment that the cluster begins with, in the same way.
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z')",message="spec.bootstrap.pointInTime must be a moment since 2000, such as 2026-03-01T10:15:30.500000Z"
	// +optional
	PointInTime *metav1.MicroTime `json:"pointInTime,omitempty"`

	// Latest is whether the cluster begins with the last change that is archived when it is made, in the same way.
	// +optional
	Latest bool `json:"latest,omitempty"`

	// Source is an etcd outside whose data the cluster begins with. An EtcdBackup called <cluster>-import is made of it, in the store
	// of spec.backup.
	// +optional
	Source *ExternalEtcd `json:"source,omitempty"`

	// Mirror is Follow: the cluster repeats all that the source does, with the same revisions, and clients are kept away; then CutOver: when
	// it has all of it, it stops and clients are let in. Left out, the cluster has what the source had when it was backed up.
	// +optional
	Mirror MirrorMode `json:"mirror,omitempty"`
}

// MirrorMode is how a cluster repeats what an etcd outside does.
//
// +kubebuilder:validation:Enum=Follow;CutOver
type MirrorMode string

// Modes of mirroring.
const (
	// MirrorFollow repeats all that the source does.
	MirrorFollow MirrorMode = "Follow"
	// MirrorCutOver stops when all of it is there.
	MirrorCutOver MirrorMode = "CutOver"
)

// BackupReference is an EtcdBackup of the same namespace.
type BackupReference struct {
	// Name of the EtcdBackup.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
}

// ExternalEtcd is an etcd that this operator does not run.
//
// +kubebuilder:validation:XValidation:rule="has(self.tlsSecret) ? self.endpoints.all(e, e.startsWith('https://')) : self.endpoints.all(e, e.startsWith('http://'))",message="endpoints are https:// with tlsSecret, which says whom to trust, and http:// without"
type ExternalEtcd struct {
	// Endpoints are the URLs where its members serve clients: one of each member, not of something in front of them.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=9
	// +required
	Endpoints []EtcdEndpoint `json:"endpoints"`

	// TLSSecret is a Secret with ca.crt, whom to trust for its certificates, and with tls.crt and tls.key if it asks for one of the client.
	// +optional
	TLSSecret *SecretName `json:"tlsSecret,omitempty"`

	// CredentialsSecret is a Secret with username and password, if it asks who is there. The user has to be root, as only root may
	// have a snapshot.
	// +optional
	CredentialsSecret *SecretName `json:"credentialsSecret,omitempty"`
}

// EtcdEndpoint is the URL where a member of etcd serves clients.
//
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?$')",message="an endpoint is the URL where a member of etcd serves clients, such as https://10.0.0.1:2379"
type EtcdEndpoint string
