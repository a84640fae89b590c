package core

import "time"

// Decision is what is to happen next.
type Decision struct {
	// Actions are carried out in their order, after the report was written; the first failure ends the pass.
	Actions []Action
	// Report is the status to write.
	Report Report
	// Events tell people what changed since the last report.
	Events []Event
	// LookAgain is when to look again if nothing happens before.
	LookAgain time.Duration
}

// Action is one thing to do. All of them are idempotent and may be cut off anywhere.
type Action interface {
	// Step names the action in metrics, logs and events.
	Step() string
	// Disruptive is whether the action takes something from a member, if only for a moment.
	Disruptive() bool
}

// ApplyObject applies a supporting object.
type ApplyObject struct{ Kind, Name string }

// ApplyMember applies the StatefulSet of a member as the spec wants it now. No pod restarts by that.
type ApplyMember struct {
	Member string
	Start  Start
	// InitialCluster is the static initial cluster of a member that founds it, or the member list that one joins.
	InitialCluster []string
	// Stopped members have no pod: the cluster is hibernated.
	Stopped bool
	// Made: the StatefulSet was there; it is not made anew.
	Made bool
	// Retry, when it changes, makes the StatefulSet controller try again at once: left alone, it would wait
	// up to 16 minutes after repeated failures.
	Retry int64
	// FlushLog is as in [RestartMember]: from then on the pod may come back with the new version at any time.
	FlushLog int
}

// SealPod seals the pod of a member that has run: from then on its container, whenever it starts again, refuses to start on
// an empty volume. No pod restarts by that.
type SealPod struct{ Member, PodUID string }

// MarkVolumes records the cluster's ID on the claims of a member, the version that it runs, how members talk to each other, and
// whether they outlive the EtcdCluster.
type MarkVolumes struct {
	Member    string
	ClusterID string
	Volumes   []Volume
}

// DeleteConfig deletes a configuration that no member refers to.
type DeleteConfig struct{ Config StaleConfig }

// RestartMember deletes the pod of a member, which comes back with the template that its StatefulSet has by now.
type RestartMember struct {
	Member string
	PodUID string
	// OnlyIfDown: the decision rests on the pod not running, which has to be true still.
	OnlyIfDown bool
	// OnlyIfNoneReady: the decision rests on nothing serving, by the kubelets' word too.
	OnlyIfNoneReady bool
	// Needs is the number of other members whose pods have to run, and to stay, at that moment.
	Needs int
	// FlushLog is the number of entries to write to the raft log first, so that every member writes a snapshot and none
	// has to read older entries again: those of 3.5 are unknown to 3.7.
	FlushLog int
}

// MoveLeader hands the leadership over.
type MoveLeader struct {
	From, FromID string
	To, ToID     string
}

// RecreateMember deletes the StatefulSet and the claims of a member none of whose claims ever had a volume.
type RecreateMember struct {
	Member      string
	WorkloadUID string
	Volumes     []Volume
}

// DeleteObject deletes a supporting object that should not exist any more.
type DeleteObject struct{ Kind, Name string }

// AddMember adds a member to etcd's member list, as a learner: it does not count for the quorum until it has caught up
// (https://etcd.io/docs/v3.6/learning/design-learner/). The member's peer URL is unique for ever, so that an unclear
// answer is cleared up by the next member list.
type AddMember struct {
	Member string
	// Via is the member to ask, the leader: etcd checks by the connections of whoever is asked whether a quorum would
	// survive. The same holds for the other changes of the membership.
	Via string
	// Expect are the IDs of the member list that was decided on.
	Expect []string
	// EndDowngrade: a downgrade that is enabled is canceled first. While it is, etcd starts nobody who joins, and while someone
	// joins it never forgets it.
	EndDowngrade bool
}

// PromoteMember makes a learner a voter.
type PromoteMember struct {
	Member, ID string
	Via        string
	// Expect are the IDs of the member list that was decided on.
	Expect []string
	// Needs is the number of voters that have to serve at that moment, so that with the member they are a quorum. etcd does
	// not ask for that: to it whoever has ever started counts.
	Needs int
}

// RemoveMember removes a member from etcd's member list. From then on it can never take part again, whatever becomes of
// its pod and its volume.
type RemoveMember struct {
	Member, ID string
	Via        string
	// Expect are the IDs of the member list that was decided on.
	Expect []string
	// Needs is the number of other voters that have to answer and know a leader at that moment.
	Needs int
	// IfOthersAgree: those have to hold the same data, by their hashes at one revision.
	IfOthersAgree bool
}

// DeleteMember deletes the StatefulSet of a member that is not in the member list any more.
type DeleteMember struct {
	Member      string
	WorkloadUID string
	Via         string
}

// RetireVolumes records on the claims of a removed member that what they hold must never run again.
type RetireVolumes struct {
	Member  string
	Volumes []Volume
	Via     string
}

// DeleteVolumes deletes the claims of a removed member.
type DeleteVolumes struct {
	Member  string
	Volumes []Volume
	Via     string
}

// ExpandVolumes lets the volumes of a member grow in place.
type ExpandVolumes struct {
	Member  string
	Volumes []Volume
}

// ResizeMember changes CPU and memory of a running pod
// (https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/).
type ResizeMember struct {
	Member string
	PodUID string
}

// EnableDowngrade tells etcd that its members will be replaced by ones of the minor before
// (https://etcd.io/docs/v3.6/downgrades/downgrading-etcd/).
type EnableDowngrade struct {
	// Target is MAJOR.MINOR.
	Target string
	Via    string
}

// CancelDowngrade takes that back.
type CancelDowngrade struct{ Via string }

// DisarmAlarm clears an alarm of a member that has been removed.
type DisarmAlarm struct {
	ID, Alarm string
	Via       string
}

// Step implements Action.
func (ApplyObject) Step() string { return "ApplyObject" }

// Disruptive implements Action.
func (ApplyObject) Disruptive() bool { return false }

// Step implements Action.
func (DeleteObject) Step() string { return "DeleteObject" }

// Disruptive implements Action.
func (DeleteObject) Disruptive() bool { return false }

// Step implements Action.
func (ApplyMember) Step() string { return "ApplyMember" }

// Disruptive implements Action.
func (ApplyMember) Disruptive() bool { return false }

// Step implements Action.
func (SealPod) Step() string { return "SealPod" }

// Disruptive implements Action.
func (SealPod) Disruptive() bool { return false }

// Step implements Action.
func (MarkVolumes) Step() string { return "MarkVolumes" }

// Disruptive implements Action.
func (MarkVolumes) Disruptive() bool { return false }

// Step implements Action.
func (DeleteConfig) Step() string { return "DeleteConfig" }

// Disruptive implements Action.
func (DeleteConfig) Disruptive() bool { return false }

// Step implements Action.
func (RestartMember) Step() string { return "RestartMember" }

// Disruptive implements Action.
func (RestartMember) Disruptive() bool { return true }

// Step implements Action.
func (MoveLeader) Step() string { return "MoveLeader" }

// Disruptive implements Action.
func (MoveLeader) Disruptive() bool { return true }

// Step implements Action.
func (RecreateMember) Step() string { return "RecreateMember" }

// Disruptive implements Action.
func (RecreateMember) Disruptive() bool { return true }

// Step implements Action.
func (AddMember) Step() string { return "AddMember" }

// Disruptive implements Action.
func (AddMember) Disruptive() bool { return true }

// Step implements Action.
func (PromoteMember) Step() string { return "PromoteMember" }

// Disruptive implements Action.
func (PromoteMember) Disruptive() bool { return true }

// Step implements Action.
func (RemoveMember) Step() string { return "RemoveMember" }

// Disruptive implements Action.
func (RemoveMember) Disruptive() bool { return true }

// Step implements Action.
func (DeleteMember) Step() string { return "DeleteMember" }

// Disruptive implements Action.
func (DeleteMember) Disruptive() bool { return true }

// Step implements Action.
func (RetireVolumes) Step() string { return "RetireVolumes" }

// Disruptive implements Action.
func (RetireVolumes) Disruptive() bool { return false }

// Step implements Action.
func (DeleteVolumes) Step() string { return "DeleteVolumes" }

// Disruptive implements Action.
func (DeleteVolumes) Disruptive() bool { return true }

// Step implements Action.
func (ExpandVolumes) Step() string { return "ExpandVolumes" }

// Disruptive implements Action.
func (ExpandVolumes) Disruptive() bool { return false }

// Step implements Action.
func (ResizeMember) Step() string { return "ResizeMember" }

// Disruptive implements Action.
func (ResizeMember) Disruptive() bool { return false }

// Step implements Action.
func (EnableDowngrade) Step() string { return "EnableDowngrade" }

// Disruptive implements Action.
func (EnableDowngrade) Disruptive() bool { return true }

// Step implements Action.
func (CancelDowngrade) Step() string { return "CancelDowngrade" }

// Disruptive implements Action.
func (CancelDowngrade) Disruptive() bool { return true }

// Step implements Action.
func (DisarmAlarm) Step() string { return "DisarmAlarm" }

// Disruptive implements Action.
func (DisarmAlarm) Disruptive() bool { return true }

// Event is something that a person would want to know.
type Event struct {
	Warning bool
	// Member is the member that it is about, if it is about one.
	Member  string
	Reason  Reason
	Message string
}
