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
	// BootstrapMembers is the static initial cluster of a member that founds it.
	BootstrapMembers []string
	// Retry, when it changes, makes the StatefulSet controller try again at once: left alone, it would wait
	// up to 16 minutes after repeated failures.
	Retry int64
}

// MarkVolumes records the cluster's ID on the claims of a member, and whether they outlive the EtcdCluster.
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

// Step implements Action.
func (ApplyObject) Step() string { return "ApplyObject" }

// Disruptive implements Action.
func (ApplyObject) Disruptive() bool { return false }

// Step implements Action.
func (ApplyMember) Step() string { return "ApplyMember" }

// Disruptive implements Action.
func (ApplyMember) Disruptive() bool { return false }

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

// Event is something that a person would want to know.
type Event struct {
	Warning bool
	// Member is the member that it is about, if it is about one.
	Member  string
	Reason  Reason
	Message string
}
