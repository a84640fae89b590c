package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EtcdRestore gives an EtcdCluster the data of a backup, under the same names and Services. What the cluster had is kept beside it
// until the restore is confirmed.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=etcdrestores,singular=etcdrestore,categories={all,etcd}
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterRef.name`,description="Whose data is replaced"
// +kubebuilder:printcolumn:name="Backup",type=string,JSONPath=`.spec.backupRef.name`,description="By what"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`,description="Summary of the condition"
// +kubebuilder:printcolumn:name="Revision",type=integer,JSONPath=`.status.revision`,description="The revision that the cluster began with"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Complete")].message`,description="What is being done, or went wrong"
// +kubebuilder:validation:XValidation:rule=`oldSelf.hasValue() || size(self.metadata.name) <= 50`,message="metadata.name must be at most 50 characters: names of Jobs are made from it",messageExpression=`'metadata.name %s has %d characters, must have at most 50: names of Jobs are made from it'.format([self.metadata.name, size(self.metadata.name)])`,optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule=`oldSelf.hasValue() || self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="metadata.name must be of lower-case letters, digits and '-', without dots: names of Jobs are made from it",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule=`oldSelf.hasValue() || !has(self.spec.completion) || self.spec.completion in ['Automatic','Manual']`,message="spec.completion is Confirm or RollBack only once there is something to confirm or to roll back: begin with Automatic or Manual",fieldPath=".spec.completion",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule=`!has(self.spec.completion) || self.spec.completion != 'RollBack' || !has(self.status) || !has(self.status.phase) || !(self.status.phase in ['Confirming','Completed']) || !oldSelf.hasValue() || (has(oldSelf.value().spec.completion) && oldSelf.value().spec.completion == 'RollBack')`,message="spec.completion cannot become RollBack: what the cluster had is given up; make another EtcdRestore, such as of status.safetyBackup",fieldPath=".spec.completion",optionalOldSelf=true
// +kubebuilder:validation:XValidation:rule=`!has(self.spec.completion) || self.spec.completion != 'Confirm' || !has(self.status) || !has(self.status.phase) || !(self.status.phase in ['RollingBack','RolledBack']) || !oldSelf.hasValue() || (has(oldSelf.value().spec.completion) && oldSelf.value().spec.completion == 'Confirm')`,message="spec.completion cannot become Confirm: the cluster is given back what it had; make another EtcdRestore",fieldPath=".spec.completion",optionalOldSelf=true
type EtcdRestore struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is the restore that is wanted.
	// +required
	Spec EtcdRestoreSpec `json:"spec"`

	// Status is what has become of it.
	// +optional
	Status EtcdRestoreStatus `json:"status,omitzero"`
}

// EtcdRestoreList is a list of EtcdRestores.
//
// +kubebuilder:object:root=true
type EtcdRestoreList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []EtcdRestore `json:"items"`
}

// EtcdRestoreSpec is the restore that is wanted. Only its completion and its agents can be changed.
//
// +kubebuilder:validation:XValidation:rule="self.clusterRef == oldSelf.clusterRef && self.backupRef == oldSelf.backupRef",message="clusterRef and backupRef cannot be changed: make another EtcdRestore"
// +kubebuilder:validation:XValidation:rule="has(self.revision) == has(oldSelf.revision) && (!has(self.revision) || self.revision == oldSelf.revision) && has(self.pointInTime) == has(oldSelf.pointInTime) && (!has(self.pointInTime) || self.pointInTime == oldSelf.pointInTime) && has(self.latest) == has(oldSelf.latest) && (!has(self.latest) || self.latest == oldSelf.latest)",message="revision, pointInTime and latest cannot be changed: make another EtcdRestore"
// +kubebuilder:validation:XValidation:rule="has(self.bumpRevision) == has(oldSelf.bumpRevision) && (!has(self.bumpRevision) || self.bumpRevision == oldSelf.bumpRevision)",message="bumpRevision cannot be changed: make another EtcdRestore"
// +kubebuilder:validation:XValidation:rule="has(self.safetyBackup) == has(oldSelf.safetyBackup) && (!has(self.safetyBackup) || self.safetyBackup == oldSelf.safetyBackup)",message="safetyBackup cannot be changed: make another EtcdRestore"
// +kubebuilder:validation:XValidation:rule="[has(self.revision), has(self.pointInTime), has(self.latest) && self.latest].filter(said, said).size() <= 1",message="revision, pointInTime and latest are three ways to say how far: set one of them"
type EtcdRestoreSpec struct {
	// ClusterRef is the EtcdCluster, in the same namespace.
	// +required
	ClusterRef ClusterReference `json:"clusterRef"`

	// BackupRef is the EtcdBackup, of whatever cluster. One that is only in a store is made known by an EtcdBackup with spec.path.
	// +required
	BackupRef BackupReference `json:"backupRef"`

	// Revision is what the cluster is to be recovered to, by what was archived continuously since the backup, or before it.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// PointInTime is the moment that the cluster is to be recovered to, in the same way.
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2000-01-01T00:00:00Z')",message="spec.pointInTime must be a moment since 2000, such as 2026-03-01T10:15:30.500000Z"
	// +optional
	PointInTime *metav1.MicroTime `json:"pointInTime,omitempty"`

	// Latest is whether the cluster is to be recovered to the last change that is archived when the restore begins, in the same way. It is
	// refused if the backup is newer.
	// +optional
	Latest bool `json:"latest,omitempty"`

	// BumpRevision is by how much the revision is raised, so that it is higher than any that clients have seen; all before is
	// compacted then, so that those who watch find out (https://etcd.io/docs/v3.6/op-guide/recovery/). 0 leaves revisions as they were.
	// +kubebuilder:default=1000000000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000000000
	// +optional
	BumpRevision *int64 `json:"bumpRevision,omitempty"`

	// SafetyBackup is whether the cluster is backed up before: Required, or Skip, e.g. if it no longer serves.
	// +kubebuilder:default=Required
	// +optional
	SafetyBackup SafetyBackupMode `json:"safetyBackup,omitempty"`

	// Completion is when the data that the cluster had is given up: Automatic (when the restored data has been compared with the
	// backup), Manual (not until this is changed to one of the following), Confirm, or RollBack, which brings it back.
	// +kubebuilder:default=Automatic
	// +optional
	Completion RestoreCompletion `json:"completion,omitempty"`

	// Agent is how the pods run that move the data: as the cluster's spec.backup says if it is left out.
	// +optional
	Agent *AgentSpec `json:"agent,omitempty"`
}

// SafetyBackupMode is whether a cluster is backed up before its data is replaced.
//
// +kubebuilder:validation:Enum=Required;Skip
type SafetyBackupMode string

// Modes of the safety backup.
const (
	// SafetyRequired waits for it.
	SafetyRequired SafetyBackupMode = "Required"
	// SafetySkip goes without.
	SafetySkip SafetyBackupMode = "Skip"
)

// RestoreCompletion is when the earlier data is given up.
//
// +kubebuilder:validation:Enum=Automatic;Manual;Confirm;RollBack
type RestoreCompletion string

// Ways of completion.
const (
	// CompleteAutomatically gives it up once the restored data has been compared.
	CompleteAutomatically RestoreCompletion = "Automatic"
	// CompleteManually waits.
	CompleteManually RestoreCompletion = "Manual"
	// CompleteNow gives it up.
	CompleteNow RestoreCompletion = "Confirm"
	// CompleteByRollBack brings it back.
	CompleteByRollBack RestoreCompletion = "RollBack"
)

// RestorePhase sums the restore up in one word.
//
// +kubebuilder:validation:Enum=Pending;Checking;BackingUp;Stopping;Filling;Starting;Comparing;Restored;Confirming;Completed;RollingBack;RolledBack;Failed
type RestorePhase string

// RestoreProgress is how far the agents of a restore are.
type RestoreProgress struct {
	// Read is how many bytes they have read from the store, all together.
	Read resource.Quantity `json:"read"`

	// Total is how many they have to read: all of it once to check, and once for each member.
	Total resource.Quantity `json:"total"`
}

// EtcdRestoreStatus is what has become of the restore.
type EtcdRestoreStatus struct {
	// ObservedGeneration is the metadata.generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Phase is how far it is: Pending, Checking (all that is to be restored is read through), BackingUp (a safety backup is made), Stopping
	// (members stop), Filling (volumes are given the data), Starting, Comparing (the data is compared with the backup), Restored (waiting for spec.completion), Confirming (the
	// earlier data is deleted) and Completed; or RollingBack and RolledBack; or Failed, before anything was touched.
	// +optional
	Phase RestorePhase `json:"phase,omitempty"`

	// Conditions is Complete: the cluster has the data of the backup, and that was compared.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Progress is how much was read from the store in the phases Checking and Filling, as long as that goes on.
	// +optional
	Progress *RestoreProgress `json:"progress,omitempty"`

	// Members are those whose volumes are filled.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=9
	// +kubebuilder:validation:items:MaxLength=63
	// +optional
	Members []string `json:"members,omitempty"`

	// ClusterUID is that of the EtcdCluster. Another one of its name is none of this restore's.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	ClusterUID string `json:"clusterUID,omitempty"`

	// EarlierClusterID and ClusterID are etcd's IDs of the cluster before and after.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	EarlierClusterID string `json:"earlierClusterID,omitempty"`

	// ClusterID is etcd's ID of the restored cluster.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	ClusterID string `json:"clusterID,omitempty"`

	// SafetyBackup is the EtcdBackup that was made before.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	SafetyBackup string `json:"safetyBackup,omitempty"`

	// TargetRevision is what spec.latest was when the restore began.
	// +optional
	TargetRevision int64 `json:"targetRevision,omitempty"`

	// Revision is that which the restored cluster began with, and Keys how many keys it had.
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// Keys is the number of keys of the restored cluster.
	// +optional
	Keys int64 `json:"keys,omitempty"`

	// Digest stands for all keys with their values, versions, revisions and leases.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Digest string `json:"digest,omitempty"`

	// StartedAt is when the restore began, StoppedAt when members were stopped.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// StoppedAt is when the members were told to stop.
	// +optional
	StoppedAt *metav1.Time `json:"stoppedAt,omitempty"`

	// AvailableAt is when the cluster served again.
	// +optional
	AvailableAt *metav1.Time `json:"availableAt,omitempty"`

	// CompletedAt is when the restore ended.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
}
