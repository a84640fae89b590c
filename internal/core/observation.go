package core

import "time"

// Observation is all that a decision is made from.
type Observation struct {
	// Now is the time of the observation.
	Now time.Time
	// WatchedSince is since when this operator has been looking, by a clock that did not jump. If it is not known, the times
	// in the status are believed.
	WatchedSince time.Time
	// Cluster is the EtcdCluster object.
	Cluster Cluster
	// Objects are the supporting objects (Services, ConfigMaps, disruption budget, NetworkPolicy) that should exist, in the
	// order in which they are applied.
	Objects []Object
	// StaleConfigs are configurations of the cluster that no member refers to any more.
	StaleConfigs []StaleConfig
	// Members is every member that Kubernetes has anything of, in the order of their ordinals.
	Members []Member
	// Planes are the planes that talk TLS, or are to.
	Planes []Plane
	// Etcd is what etcd itself said.
	Etcd Etcd
	// Auth is about etcd's users and roles.
	Auth Auth
	// Failure is how the last attempt at an action failed, if it did. It is for the report only.
	Failure Failure
}

// Failure is how an action failed.
type Failure struct {
	Step    string
	Problem Problem
	// PutOffSince is since when it has only been put off; zero for what failed.
	PutOffSince time.Time
}

// Cluster is the EtcdCluster object.
type Cluster struct {
	Namespace  string
	Name       string
	UID        string
	Generation int64
	// Deleting is whether the object is being deleted.
	Deleting bool
	Spec     Spec
	// Recorded is the status as it was last written. Of a cluster that was given other data since it has only what does not depend on
	// that.
	Recorded Report
	// Restored is etcd's ID of the cluster whose data a restore has last given it, or given back to it; empty if none has, and [Unsettled]
	// if these were its first and are not what they ought to be.
	Restored string
}

// Spec is the part of the EtcdCluster's spec that decisions depend on.
type Spec struct {
	// Size is the number of members wanted; 0 hibernates, which is also what a restore asks for.
	Size int
	// Restore is the EtcdRestore that holds the cluster: as long as it does, no member may run.
	Restore string
	// Rests is the EtcdRestore that may still roll the cluster back. What was on the members' volumes before is on them still. HeldBack is
	// what of the spec waits until it is over: what is here is what it rests on.
	Rests    string
	HeldBack Problem
	// Bootstrap is the EtcdBackup whose data the cluster begins with.
	Bootstrap string
	// Version is the etcd version to run next, MAJOR.MINOR.PATCH: that of the spec, or one on the way to it, see
	// [Waypoint].
	Version string
	// FinalVersion is the version of the spec.
	FinalVersion string
	// MemberHash stands for everything that the user asked of a running member: image, settings, pod.
	MemberHash string
	// RestartHash is the same without what can be changed on a running pod: CPU and memory.
	RestartHash string
	// StorageHash stands for everything that the user asked of a member's volumes.
	StorageHash string
	// MaxLearners is how many learners etcd lets join at the same time.
	MaxLearners int
	// SnapshotCount is the number of raft log entries after which etcd 3.6 and older write a snapshot.
	SnapshotCount int
	// Replace names the members that the user asked to have replaced, whatever their state.
	Replace []string
	// UnhealthyAfter is for how long the node of a member may be gone before the member is replaced.
	UnhealthyAfter time.Duration
	// KeepRemoved is whether the volumes of removed members are kept.
	KeepRemoved bool
	// InMemory is whether members lose their data with their pod.
	InMemory bool
	// Peers is how members are to talk to each other next.
	Peers  Peers
	Paused bool
	// Endpoints and Selector are reported as they are.
	Endpoints []string
	Selector  string
}

// Object is a supporting object.
type Object struct {
	Kind  string
	Name  string
	State ObjectState
}

// ObjectState compares a live object with what it should be.
type ObjectState uint8

const (
	// Missing objects do not exist.
	Missing ObjectState = iota
	// Current objects are as they should be.
	Current
	// Drifted objects lack something that was applied, or that should be by now.
	Drifted
	// Foreign objects bear the name of ours but belong to someone else.
	Foreign
	// Leaving objects are being deleted.
	Leaving
	// Surplus objects are ours and should not exist any more.
	Surplus
)

// Exists is whether an object is there and ours.
func (s ObjectState) Exists() bool { return s == Current || s == Drifted }

// StaleConfig is a configuration that no member refers to any more.
type StaleConfig struct {
	Name string
	UID  string
}

// Member is what Kubernetes has of one member.
type Member struct {
	Name     string
	Workload Workload
	Pod      Pod
	Volumes  []Volume
	Node     Node
}

// Node is the node that a member's pod is bound to, or that its volumes can only be reached from.
type Node struct {
	// Gone is whether the node does not exist, or is not ready; unknown counts as not gone.
	Gone bool
	// Name is that of the node.
	Name string
	// Since is when it was last seen to be there, if that is known.
	Since time.Time
}

// Start is how a member's etcd would start on an empty volume. On a volume with data the settings that differ are
// ignored (https://etcd.io/docs/v3.6/op-guide/configuration/#clustering).
type Start uint8

const (
	// StartBootstrap makes it found the cluster, together with the other bootstrap members.
	StartBootstrap Start = iota
	// StartSealed makes it refuse to start: it was part of the cluster, so an empty volume is a lost volume.
	StartSealed
	// StartJoin makes it join the cluster that it was added to, with the member list as it is then.
	StartJoin
)

// Workload is a member's StatefulSet.
type Workload struct {
	State ObjectState
	UID   string
	// MemberHash and StorageHash are those that it was made for.
	MemberHash  string
	StorageHash string
	// Version is the etcd version that its pod is made with.
	Version string
	Start   Start
	// Settled is whether the StatefulSet controller has seen its newest spec.
	Settled bool
	// InitialCluster are the members that it founds the cluster with, or that it joins.
	InitialCluster []string
	// Stopped is whether it has no pod, as hibernated members have none.
	Stopped bool
	// Retry is the nudge that it was last given, see [ApplyMember].
	Retry int64
	// Problem is why its pod could not be made.
	Problem Problem
}

// Exists is whether the StatefulSet is there and ours.
func (w Workload) Exists() bool { return w.State.Exists() }

// Pod is a member's pod.
type Pod struct {
	Exists   bool
	UID      string
	Deleting bool
	// MemberHash and RestartHash are those that it was made for, or was resized to.
	MemberHash  string
	RestartHash string
	// Start is how its etcd would start on an empty volume if its container started again.
	Start Start
	// StartFixed is whether that cannot be changed while the pod lives.
	StartFixed bool
	// ResizeRefused is whether Kubernetes refused, or cannot fulfill, the last change of its CPU and memory in place.
	ResizeRefused bool
	// Resizing is what its last change of CPU and memory in place waits for; empty if there is none. One that the node puts off
	// until it has more is not waited for.
	Resizing string
	// Created is when it was made.
	Created time.Time
	// Running is whether its etcd process runs.
	Running bool
	// Started is whether the kubelet has seen it alive: it answers others, though it may still wait for the data.
	Started bool
	// Ready is what the kubelet says.
	Ready bool
	// Problem is why it does not run.
	Problem Problem
}

// Volume is the claim of one of a member's volumes.
type Volume struct {
	Name     string
	UID      string
	Deleting bool
	// Bound is whether it has, or ever had, a volume behind it: then there may be data.
	Bound bool
	// OwnerUID is the UID of the EtcdCluster object that it was made for.
	OwnerUID string
	// FoundedBy is the UID of the EtcdCluster object whose StatefulSet made the claim. It never changes.
	FoundedBy string
	// Founders are the members that the cluster was founded with.
	Founders []string
	// ClusterID is etcd's ID of the cluster whose data it holds, if that was recorded on it.
	ClusterID string
	// Version is the etcd version that its member is recorded to have run on it; empty if none is.
	Version string
	// Since36 is the raft index that the cluster had when its member was first recorded to run etcd 3.6 or later on it: that
	// member has written no entry of an older kind since. 0 if that is not recorded.
	Since36 uint64
	// Peers is how the cluster's members were recorded to talk to each other: all of them by now, or both while they change.
	Peers Peers
	// StorageHash is what the user asked of volumes when it was made.
	StorageHash string
	// Removed is whether it is recorded on the claim that its member was removed from the cluster: what it holds must
	// never run again.
	Removed bool
	// Size is what the claim asks for and WantedSize what it should ask for, in bytes.
	Size, WantedSize int64
	// Expandable is whether its class lets it grow in place.
	Expandable bool
	// Growing is whether the volume has not yet become as large as its claim asks for.
	Growing bool
	// Misfit is why the volume cannot become what the spec asks for, e.g. one of another class; empty if it can.
	Misfit string
	// Kept is whether it outlives the EtcdCluster object.
	Kept bool
	// KeptWanted is whether it should.
	KeptWanted bool
	// Problem is why it has no volume.
	Problem Problem
}

// leaves is whether the volume is on its way out: deleted by someone, or with the earlier cluster that it was made for.
func (v Volume) leaves(clusterUID string) bool {
	return v.Deleting || !v.Kept && v.OwnerUID != clusterUID
}

// Problem is something that is wrong with an object, and would not be mended by waiting alone.
type Problem struct {
	Reason  Reason
	Message string
}

// IsZero is whether there is no problem.
func (p Problem) IsZero() bool { return p.Reason == "" }

// Etcd is what etcd itself said.
type Etcd struct {
	List     MemberList
	Statuses []Status
}

// MemberList is etcd's member list, read linearizably: that it is known proves that a quorum answered.
type MemberList struct {
	Known     bool
	ClusterID string
	Members   []Listed
}

// Listed is an entry of etcd's member list.
type Listed struct {
	ID string
	// Name is the name of our member with that peer URL; empty if the URL is none of ours.
	Name    string
	PeerURL string
	// MovesTo is the peer URL that it is to have; empty if it has it.
	MovesTo string
	Learner bool
	// Started is whether the member has ever published its client URLs.
	Started bool
}

// Status is the answer of one member.
type Status struct {
	// Member is the name of the member that was asked.
	Member string
	// Answered is whether it answered; the rest is empty if not, but for Error.
	Answered bool
	Error    string
	// Refused is whether it did not answer since it does not let the operator in.
	Refused   bool
	ClusterID string
	ID        string
	LeaderID  string
	Learner   bool
	Version   string
	// StorageVersion is the version of the data on disk, from 3.6 on. It follows etcd's cluster version.
	StorageVersion string
	DBSize         int64
	DBSizeInUse    int64
	Revision       int64
	// RaftApplied is the index of the last entry applied.
	RaftApplied uint64
	// Alarms are the alarms raised for this member, e.g. NOSPACE.
	Alarms []string
	// ClusterAlarms are the alarms of all members that it knows of; each of them binds the whole cluster.
	ClusterAlarms []string
	// AlarmIDs are the IDs of the members that ClusterAlarms were raised for, in the same order.
	AlarmIDs []string
	// DowngradeTarget is the version, MAJOR.MINOR, that the cluster is being downgraded to, if it is.
	DowngradeTarget string
	// Errors are the member's own complaints, e.g. "etcdserver: no leader".
	Errors []string
}
