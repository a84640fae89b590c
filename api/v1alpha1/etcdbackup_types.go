package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EtcdBackup is one backup of one EtcdCluster in a store: made when the object is made, or one that is in the store already.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=etcdbackups,singular=etcdbackup,categories={all,etcd}
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterRef.name`,description="Whose data it is"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`,description="Summary of the conditions"
// +kubebuilder:printcolumn:name="Verified",type=string,JSONPath=`.status.conditions[?(@.type=="Verified")].status`,description="Whether it was restored on trial, and compared with the cluster"
// +kubebuilder:printcolumn:name="Revision",type=integer,JSONPath=`.status.revision`,description="The revision of the key space that it has"
// +kubebuilder:printcolumn:name="Size",type=string,JSONPath=`.status.storedSize`,description="What it takes in the store"
// +kubebuilder:printcolumn:name="Completed",type=date,JSONPath=`.status.completedAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Complete")].message`,description="What is being done, or went wrong"
// +kubebuilder:validation:XValidation:rule=`oldSelf.hasValue() || size(self.metadata.name) <= 52`,message="metadata.name must be at most 52 characters: names of Jobs are made from it",messageExpression=`'metadata.name %s has %d characters, must have at most 52: names of Jobs are made from it'.format([self.metadata.name, size(self.metadata.name)])`,optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule=`oldSelf.hasValue() || self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="metadata.name must be of lower-case letters, digits and '-', without dots: names of Jobs are made from it",optionalOldSelf=true
type EtcdBackup struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is the backup that is wanted.
	// +required
	Spec EtcdBackupSpec `json:"spec"`

	// Status is what has become of it.
	// +optional
	Status EtcdBackupStatus `json:"status,omitzero"`
}

// EtcdBackupList is a list of EtcdBackups.
//
// +kubebuilder:object:root=true
type EtcdBackupList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []EtcdBackup `json:"items"`
}

// EtcdBackupSpec is the backup that is wanted. What was backed up to where never changes.
//
// +kubebuilder:validation:XValidation:rule="self.clusterRef == oldSelf.clusterRef",message="clusterRef cannot be changed: make another EtcdBackup"
// +kubebuilder:validation:XValidation:rule="has(self.store) == has(oldSelf.store) && (!has(self.store) || self.store == oldSelf.store)",message="store cannot be changed: make another EtcdBackup"
// +kubebuilder:validation:XValidation:rule="has(self.path) == has(oldSelf.path) && (!has(self.path) || self.path == oldSelf.path)",message="path cannot be changed: make another EtcdBackup"
// +kubebuilder:validation:XValidation:rule="has(self.source) == has(oldSelf.source) && (!has(self.source) || self.source == oldSelf.source)",message="source cannot be changed: make another EtcdBackup"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || !has(self.source)",message="a backup that is in the store already is not taken from anywhere: set one of path and source"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || has(self.store)",message="path is where the backup is in the store: set store as well"
type EtcdBackupSpec struct {
	// ClusterRef is the EtcdCluster, in the same namespace. With source it need not exist: it is by whose name the backup is filed.
	// +required
	ClusterRef ClusterReference `json:"clusterRef"`

	// Source is an etcd outside that is backed up, instead of the EtcdCluster.
	// +optional
	Source *ExternalEtcd `json:"source,omitempty"`

	// Store is where the backup is kept: that of the cluster's spec.backup if it is left out.
	// +optional
	Store *BackupStore `json:"store,omitempty"`

	// Path is that of a backup that is in the store already, <namespace>/<cluster>/<UID>/<backup> below the store's prefix. With
	// it nothing is backed up: the object stands for what is there, of whatever cluster it is, and makes it known here, also to a
	// Kubernetes that has never seen the cluster.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[a-z0-9][-a-z0-9]*/[a-z0-9][-a-z0-9]*/[0-9a-f][-0-9a-f]*/[a-z0-9][-a-z0-9]*$`
	// +optional
	Path string `json:"path,omitempty"`

	// Encryption encrypts what is stored. Left out, and with the store left out as well, it is that of the cluster's
	// spec.backup.
	// +optional
	Encryption *BackupEncryption `json:"encryption,omitempty"`

	// Verification is Always, or Never.
	// +kubebuilder:default=Always
	// +kubebuilder:validation:XValidation:rule="self != 'Sampled'",message="spec.verification is Always or Never: Sampled is for the schedule of an EtcdCluster"
	// +optional
	Verification VerificationMode `json:"verification,omitempty"`

	// DeletionPolicy is what becomes of the data in the store when the EtcdBackup is deleted: Delete or Retain. Left out it is
	// Delete, but Retain with path: what was there before stays.
	// +optional
	DeletionPolicy BackupDeletionPolicy `json:"deletionPolicy,omitempty"`

	// Agent is how the pods run that move the data: as the cluster's spec.backup says if it is left out.
	// +optional
	Agent *AgentSpec `json:"agent,omitempty"`
}

// ClusterReference is an EtcdCluster of the same namespace.
type ClusterReference struct {
	// Name of the EtcdCluster.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
}

// BackupDeletionPolicy is what becomes of a backup's data when its EtcdBackup is deleted.
//
// +kubebuilder:validation:Enum=Delete;Retain
type BackupDeletionPolicy string

// Policies of deletion.
const (
	// BackupDelete removes the data.
	BackupDelete BackupDeletionPolicy = "Delete"
	// BackupRetain leaves it in the store, from where it can be adopted again.
	BackupRetain BackupDeletionPolicy = "Retain"
)

// BackupPhase sums up the conditions in one word, for people.
//
// +kubebuilder:validation:Enum=Pending;Running;Verifying;Completed;Failed;Deleting
type BackupPhase string

// EtcdBackupStatus is what has become of the backup.
type EtcdBackupStatus struct {
	// ObservedGeneration is the metadata.generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Phase sums up the conditions.
	// +optional
	Phase BackupPhase `json:"phase,omitempty"`

	// Conditions are Complete (it is in the store, whole) and Verified (it was read back, restored on trial, and is what the
	// cluster had).
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Store is where it is. It is written before anything is.
	// +optional
	Store *BackupStore `json:"store,omitempty"`

	// Encryption is how it was encrypted.
	// +optional
	Encryption *BackupEncryption `json:"encryption,omitempty"`

	// Path is where it is in the store, below the prefix.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Path string `json:"path,omitempty"`

	// StartedAt is when the first agent was started.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// CompletedAt is when the backup was whole in the store.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// VerifiedAt is when the trial ended well.
	// +optional
	VerifiedAt *metav1.Time `json:"verifiedAt,omitempty"`

	// VerificationTook is how long the trial took from the first byte read to the comparison: about what a restore takes.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +optional
	VerificationTook *metav1.Duration `json:"verificationTook,omitempty"`

	// Member is whom it was taken from.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Member string `json:"member,omitempty"`

	// Version is the etcd version of that member.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Version string `json:"version,omitempty"`

	// ClusterID is etcd's ID of the cluster, in hexadecimal.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	ClusterID string `json:"clusterID,omitempty"`

	// Revision is the revision of the key space at which it was compared with the cluster; it may have a few later ones.
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// Keys is the number of keys at that revision.
	// +optional
	Keys int64 `json:"keys,omitempty"`

	// HashKV is etcd's hash of the key space at that revision.
	// +optional
	HashKV int64 `json:"hashKV,omitempty"`

	// SnapshotSize is what a member's database takes after a restore.
	// +optional
	SnapshotSize *resource.Quantity `json:"snapshotSize,omitempty"`

	// StoredSize is what the backup takes in the store.
	// +optional
	StoredSize *resource.Quantity `json:"storedSize,omitempty"`
}
