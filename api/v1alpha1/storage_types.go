package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// StorageMedium is what a member's data is kept on.
//
// +kubebuilder:validation:Enum=Disk;Memory
type StorageMedium string

const (
	// StorageMediumDisk keeps data on a PersistentVolume per member.
	StorageMediumDisk StorageMedium = "Disk"
	// StorageMediumMemory keeps data in the memory of the node. A member that loses its pod loses its data.
	StorageMediumMemory StorageMedium = "Memory"
)

// StorageSpec says where each member keeps its data.
//
// +kubebuilder:validation:XValidation:rule=`self.medium == oldSelf.medium`,message="spec.storage.medium cannot be changed",messageExpression=`'spec.storage.medium cannot be changed from %s to %s: data would have to move between disk and memory; make a new cluster and restore into it'.format([oldSelf.medium, self.medium])`,fieldPath=".medium"
// +kubebuilder:validation:XValidation:rule=`size(string(self.size)) <= 32 && isQuantity(string(self.size)) && quantity(string(self.size)).compareTo(quantity('64Mi')) >= 0 && quantity(string(self.size)).compareTo(quantity('64Ti')) <= 0`,message="spec.storage.size must be a quantity from 64Mi to 64Ti, e.g. 10Gi",messageExpression=`'spec.storage.size is %s, must be a quantity from 64Mi to 64Ti, e.g. 10Gi: the log segments of etcd alone take 64 MB'.format([self.size])`,fieldPath=".size"
// +kubebuilder:validation:XValidation:rule=`self.medium != 'Memory' || !has(self.storageClassName)`,message="spec.storage.storageClassName must not be set with spec.storage.medium Memory: there is no volume to provision",fieldPath=".storageClassName"
// +kubebuilder:validation:XValidation:rule=`self.medium != 'Memory' || !has(self.wal)`,message="spec.storage.wal must not be set with spec.storage.medium Memory: there is no volume to separate",fieldPath=".wal"
// +kubebuilder:validation:XValidation:rule=`self.medium != 'Memory' || !has(self.autoGrow)`,message="spec.storage.autoGrow must not be set with spec.storage.medium Memory: there is no volume to grow",fieldPath=".autoGrow"
// +kubebuilder:validation:XValidation:rule=`!has(self.autoGrow) || !isQuantity(string(self.autoGrow.limit)) || !isQuantity(string(self.size)) || quantity(string(self.autoGrow.limit)).compareTo(quantity(string(self.size))) >= 0`,message="spec.storage.autoGrow.limit must not be less than spec.storage.size",messageExpression=`'spec.storage.autoGrow.limit is %s, must not be less than spec.storage.size %s: volumes start at the size and grow up to the limit'.format([self.autoGrow.limit, self.size])`,fieldPath=".autoGrow.limit"
type StorageSpec struct {
	// Medium is Disk (a PersistentVolume per member) or Memory (lost with the pod; for tests and caches).
	// It cannot be changed.
	// +kubebuilder:default=Disk
	// +optional
	Medium StorageMedium `json:"medium,omitempty"`

	// Size of each member's data volume, from 64Mi to 64Ti. Volumes grow in place, without a restart of a pod, where
	// their class can; for smaller ones members are exchanged one by one, each new one before an old one goes.
	// etcd's default quota is 2 GiB and its suggested maximum 8 GiB
	// (https://etcd.io/docs/v3.6/dev-guide/limit/); leave room for the log and for snapshots beside the database.
	// +kubebuilder:default="10Gi"
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`

	// StorageClassName is the class of the data volumes. Left out, the cluster's default class is used. For another
	// class members are exchanged one by one, each new one before an old one goes.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')`,message="spec.storage.storageClassName must be the name of a StorageClass: at most 253 lower-case letters, digits, '-' and '.', e.g. fast"
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`

	// WAL puts the write-ahead log on a volume of its own, so that its fsyncs do not compete with the
	// database (https://etcd.io/docs/v3.6/op-guide/hardware/#disks). When it is added or removed
	// later, members are exchanged one by one, each new one before an old one goes.
	// +optional
	WAL *WALStorage `json:"wal,omitempty"`

	// AutoGrow lets volumes grow by themselves. Left out, they have the size above.
	// +optional
	AutoGrow *AutoGrowSpec `json:"autoGrow,omitempty"`

	// Retention says what becomes of volumes that are no longer used.
	// +kubebuilder:default={}
	// +optional
	Retention RetentionSpec `json:"retention,omitzero"`
}

// WALStorage is the separate volume of the write-ahead log.
//
// +kubebuilder:validation:XValidation:rule=`size(string(self.size)) <= 32 && isQuantity(string(self.size)) && quantity(string(self.size)).compareTo(quantity('512Mi')) >= 0 && quantity(string(self.size)).compareTo(quantity('64Ti')) <= 0`,message="spec.storage.wal.size must be a quantity from 512Mi to 64Ti, e.g. 10Gi",messageExpression=`'spec.storage.wal.size is %s, must be a quantity from 512Mi to 64Ti, e.g. 10Gi: etcd keeps five log segments of 64 MB and writes a sixth'.format([self.size])`,fieldPath=".size"
type WALStorage struct {
	// Size of each member's log volume, from 512Mi to 64Ti. It grows in place; for a smaller one members are
	// exchanged one by one.
	// +kubebuilder:default="2Gi"
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`

	// StorageClassName is the class of the log volumes. Left out, the cluster's default class is used. For another
	// class members are exchanged one by one, each new one before an old one goes.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')`,message="spec.storage.wal.storageClassName must be the name of a StorageClass: at most 253 lower-case letters, digits, '-' and '.', e.g. fast"
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
}

// AutoGrowSpec says when and how far data volumes grow by themselves: each time by half of their size.
//
// +kubebuilder:validation:XValidation:rule=`size(string(self.limit)) <= 32 && isQuantity(string(self.limit)) && quantity(string(self.limit)).compareTo(quantity('64Mi')) >= 0 && quantity(string(self.limit)).compareTo(quantity('64Ti')) <= 0`,message="spec.storage.autoGrow.limit must be a quantity from 64Mi to 64Ti, e.g. 50Gi",messageExpression=`'spec.storage.autoGrow.limit is %s, must be a quantity from 64Mi to 64Ti, e.g. 50Gi'.format([self.limit])`,fieldPath=".limit"
type AutoGrowSpec struct {
	// Limit is the size up to which a data volume grows: at least spec.storage.size, at most 64Ti.
	// +required
	Limit resource.Quantity `json:"limit"`

	// ThresholdPercent is how much of its quota the database may reach before the volumes grow, from 50 to 95.
	// +kubebuilder:default=80
	// +kubebuilder:validation:Minimum=50
	// +kubebuilder:validation:Maximum=95
	// +optional
	ThresholdPercent int32 `json:"thresholdPercent,omitempty"`
}

// RetentionPolicy is what becomes of a volume.
//
// +kubebuilder:validation:Enum=Retain;Delete
type RetentionPolicy string

const (
	// RetentionRetain keeps the volume's claim; nothing of it is lost until someone deletes the claim.
	RetentionRetain RetentionPolicy = "Retain"
	// RetentionDelete deletes the volume's claim; the class's reclaim policy decides over the data.
	RetentionDelete RetentionPolicy = "Delete"
)

// RetentionSpec says what becomes of volumes that are no longer used.
type RetentionSpec struct {
	// WhenDeleted applies when the EtcdCluster is deleted.
	// +kubebuilder:default=Retain
	// +optional
	WhenDeleted RetentionPolicy `json:"whenDeleted,omitempty"`

	// WhenScaled applies to the volumes of a member that was removed by scaling in or replaced by another one.
	// +kubebuilder:default=Delete
	// +optional
	WhenScaled RetentionPolicy `json:"whenScaled,omitempty"`
}
