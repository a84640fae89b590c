package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Phase sums up the conditions in one word, for people. Machines read the conditions.
//
// +kubebuilder:validation:Enum=Pending;Creating;Running;Updating;Degraded;Unavailable;Hibernated;Restoring;Paused;Deleting
type Phase string

// MemberRole is what a member is to the cluster.
//
// +kubebuilder:validation:Enum=leader;voter;learner
type MemberRole string

// EtcdClusterStatus is what the operator last saw of the cluster.
type EtcdClusterStatus struct {
	// ObservedGeneration is the metadata.generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Phase sums up the conditions.
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// Conditions are Available (a quorum serves linearizable reads and writes), Progressing (the operator is
	// changing something, or waits to) and Degraded (something is wrong that the cluster survives, or does not).
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// ClusterID is etcd's own ID of the cluster, in hexadecimal. Once it stands here the cluster is never
	// bootstrapped again.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	ClusterID string `json:"clusterID,omitempty"`

	// BootstrapMembers are the names of the members that the cluster was, or is being, bootstrapped with. They
	// are recorded before the first of them is made, and stay when other members have taken their places.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=9
	// +kubebuilder:validation:items:MaxLength=63
	// +optional
	BootstrapMembers []string `json:"bootstrapMembers,omitempty"`

	// NextOrdinal is the number in the name of the next member. Those below it have been used, and are never used
	// again: a name that etcd's member list does not hold is that of a removed member.
	// +kubebuilder:validation:Minimum=0
	// +optional
	NextOrdinal int32 `json:"nextOrdinal,omitempty"`

	// Version is the etcd version that the cluster as a whole runs: the lowest of its members'.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Version string `json:"version,omitempty"`

	// Leader is the name of the member that leads.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Leader string `json:"leader,omitempty"`

	// MemberCount is the number of members in etcd's member list.
	// +optional
	MemberCount int32 `json:"memberCount,omitempty"`

	// ReadyMembers is the number of voters that serve.
	// +optional
	ReadyMembers int32 `json:"readyMembers,omitempty"`

	// Ready is readyMembers of the members wanted, as in "3/3".
	// +kubebuilder:validation:MaxLength=16
	// +optional
	Ready string `json:"ready,omitempty"`

	// Endpoints are the client URLs of the members, and before them that of the client Service.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	// +optional
	Endpoints []string `json:"endpoints,omitempty"`

	// DBSize is the size of the largest member database, rounded up.
	// +optional
	DBSize *resource.Quantity `json:"dbSize,omitempty"`

	// Members is every member that etcd or Kubernetes knows of.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Members []MemberStatus `json:"members,omitempty"`

	// Auth is what the operator has made of etcd's authentication. It is there while that is on or is being changed.
	// +optional
	Auth *AuthStatus `json:"auth,omitempty"`

	// Backup is what has become of drills.
	// +optional
	Backup *BackupStatus `json:"backup,omitempty"`

	// MeasuredAt is when the figures that change all the time (database sizes, revisions) were last written
	// here. They are refreshed with every other change, and otherwise at most once a minute.
	// +optional
	MeasuredAt *metav1.Time `json:"measuredAt,omitempty"`

	// Selector selects the members' pods, for the scale subresource.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Selector string `json:"selector,omitempty"`
}

// MemberStatus is what the operator last saw of one member.
type MemberStatus struct {
	// Name of the member, which is that of its StatefulSet.
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// ID is etcd's ID of the member, in hexadecimal.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	ID string `json:"id,omitempty"`

	// Role is leader, voter or learner.
	// +optional
	Role MemberRole `json:"role,omitempty"`

	// Version is the etcd version that the member runs.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Version string `json:"version,omitempty"`

	// Healthy is whether the member answers, knows the leader and has raised no alarm.
	Healthy bool `json:"healthy"`

	// HealthySince is when Healthy last changed.
	// +optional
	HealthySince *metav1.Time `json:"healthySince,omitempty"`

	// Message says what is wrong with the member.
	// +kubebuilder:validation:MaxLength=32768
	// +optional
	Message string `json:"message,omitempty"`

	// DBSize is the size of the member's database file, rounded up.
	// +optional
	DBSize *resource.Quantity `json:"dbSize,omitempty"`

	// DBSizeInUse is the part of it that is in use; the rest can be reclaimed by defragmentation.
	// +optional
	DBSizeInUse *resource.Quantity `json:"dbSizeInUse,omitempty"`

	// Revision is the revision of the key space that the member has.
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// RaftLag is the number of raft entries by which the member is behind the most advanced one.
	// +optional
	RaftLag int64 `json:"raftLag,omitempty"`
}

// AuthStatus is what the operator has made of etcd's authentication.
type AuthStatus struct {
	// Mode is whether etcd was last seen to ask clients who they are.
	// +optional
	Mode AuthMode `json:"mode,omitempty"`

	// Revision is etcd's revision of users and roles as of which they are as the spec asks for. 0 if they are not.
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// Hash stands for what the spec asked for then, and for the Secrets of passwords.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Hash string `json:"hash,omitempty"`

	// Users are those that the operator made, or is about to make. Only those are ever removed.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	Users []AuthUserStatus `json:"users,omitempty"`

	// Roles are those that the operator made, or is about to make. Only those are ever removed.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=64
	// +optional
	Roles []string `json:"roles,omitempty"`
}

// AuthLogin is how a user proves who it is.
//
// +kubebuilder:validation:Enum=Password;Certificate
type AuthLogin string

// AuthUserStatus is a user that the operator made.
type AuthUserStatus struct {
	// Name of the user.
	// +kubebuilder:validation:MaxLength=64
	Name string `json:"name"`

	// Login is how the user proves who it is.
	// +optional
	Login AuthLogin `json:"login,omitempty"`
}

// BackupStatus is what has become of drills.
type BackupStatus struct {
	// Drill is the last one.
	// +optional
	Drill *DrillStatus `json:"drill,omitempty"`

	// DrillWaitsFor is why none begins.
	// +kubebuilder:validation:MaxLength=32768
	// +optional
	DrillWaitsFor string `json:"drillWaitsFor,omitempty"`

	// DrillSucceededAt is when one last succeeded.
	// +optional
	DrillSucceededAt *metav1.Time `json:"drillSucceededAt,omitempty"`

	// DrillTook is how long that took.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +optional
	DrillTook *metav1.Duration `json:"drillTook,omitempty"`

	// DrillRevision is what it restored.
	// +optional
	DrillRevision int64 `json:"drillRevision,omitempty"`
}

// DrillOutcome is what has become of a drill.
//
// +kubebuilder:validation:Enum=Running;Succeeded;Failed
type DrillOutcome string

// DrillStatus is a drill.
type DrillStatus struct {
	// Outcome of it.
	// +optional
	Outcome DrillOutcome `json:"outcome,omitempty"`

	// Backup is the EtcdBackup.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Backup string `json:"backup,omitempty"`

	// ScheduledAt is when it was due.
	// +optional
	ScheduledAt *metav1.Time `json:"scheduledAt,omitempty"`

	// EndedAt is when it ended.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
}
