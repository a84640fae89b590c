// Package restores decides what happens next to an EtcdRestore. Like the core of clusters it is pure: what there is goes in, and
// what is to be done, and to be said, comes out.
package restores

import (
	"cmp"
	"fmt"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Kind is a kind of agents.
type Kind string

// Kinds of agents. The words are those of their tasks.
const (
	Check    Kind = "Check"
	Fill     Kind = "Fill"
	RollBack Kind = "RollBack"
	Confirm  Kind = "Confirm"
	Compare  Kind = "Compare"
)

// Completion is when what the cluster had is given up.
type Completion string

// Ways of completion.
const (
	Automatic  Completion = "Automatic"
	Manual     Completion = "Manual"
	ConfirmNow Completion = "Confirm"
	RollItBack Completion = "RollBack"
)

// Observation is all that a decision is made from.
type Observation struct {
	Now        time.Time
	Name       string
	Generation int64
	Deleting   bool
	// Held is whether the object has our finalizer, by which nothing is left half done.
	Held       bool
	Completion Completion
	// CheckWanted is whether all that is to be restored is read through before anything is touched.
	CheckWanted bool
	// SafetyWanted is whether the cluster is backed up before.
	SafetyWanted bool
	Cluster      Cluster
	// Backup is why the backup cannot be restored: not now, or with Refused never.
	Backup  core.Problem
	Refused core.Problem
	// TrialTook is how long the trial of the backup took, if there was one: about what it takes to fill a volume.
	TrialTook time.Duration
	// Ahead is another EtcdRestore into the same cluster, which comes first.
	Ahead core.Problem
	// Safety is the safety backup.
	Safety Safety
	// Claims are those of the members, by member.
	Claims map[string]Claim
	Agents map[AgentKey]Agent
	// Recorded is the status as it was last written.
	Recorded Report
}

// Cluster is the EtcdCluster.
type Cluster struct {
	Exists bool
	// UID tells it apart from others of its name.
	UID      string
	Deleting bool
	Paused   bool
	InMemory bool
	// Begins is whether it waits for its first data.
	Begins bool
	// Holder is the EtcdRestore that holds it, and Restored etcd's ID of the data that it was last given; [core.Unsettled] if it waits for
	// its first data again.
	Holder   string
	Restored string
	// Rests is the EtcdRestore for which the spec is noted, see [Settle].
	Rests string
	// ClusterID is what its status says.
	ClusterID string
	// Members are those that it has, or is to begin with.
	Members []string
	// Serves is whether a voter is healthy, and Available whether clients are served.
	Serves, Available bool
	// Stopped is whether it is certain that no member runs, nor will by itself.
	Stopped bool
	// Says is what it says of itself.
	Says string
}

// data is etcd's ID of what is on the volumes: after a restore the status is late. It is empty before the first data.
func (c Cluster) data() string {
	if c.Begins {
		return ""
	}
	return cmp.Or(c.Restored, c.ClusterID)
}

// Safety is the backup that is made before.
type Safety struct {
	Exists, Complete, Failed bool
	Foreign                  bool
	Name, Says               string
}

// Claim is what is known of a member's claims.
type Claim struct {
	// Missing is whether one of them does not exist, Leaving whether one is being deleted.
	Missing, Leaving bool
	// ClusterID is the mark that all of them bear; empty if they differ.
	ClusterID string
}

// AgentKey names an agent: its kind, and the place of its member in the list; 0 for one that is for the whole cluster.
type AgentKey struct {
	Kind  Kind
	Index int
}

// Agent is a Job, with what has become of it.
type Agent struct {
	Exists, Foreign, Leaving bool
	Ended, Failed            bool
	// Differs is whether it failed since the data is not what it ought to be. Else it could not find out.
	Differs bool
	Trouble string
	// Read is how many bytes it has read of Total; 0 of 0 if that is not known.
	Read, Total int64
	Checked     *Checked
	Filled      *Filled
}

// Checked is what can be restored. Target is the revision that the last change which is archived has, if that is wanted; else it is 0.
type Checked struct{ Target int64 }

// Filled is a volume with its new data.
type Filled struct {
	ClusterID string
	Revision  int64
	Keys      int64
	Digest    string
}

// Report is the status of an EtcdRestore as a plain value.
type Report struct {
	ObservedGeneration int64
	Phase              string
	Condition          core.Condition
	// ClusterUID is that of the EtcdCluster that it began with.
	ClusterUID   string
	Members      []string
	EarlierID    string
	ClusterID    string
	SafetyBackup string
	// Target is the revision that all volumes are recovered to, if the spec does not name it.
	Target         int64
	Revision, Keys int64
	Digest         string
	// Read is how much the agents have read that check or fill, of Total, in bytes.
	Read, Total int64
	StartedAt   time.Time
	StoppedAt   time.Time
	AvailableAt time.Time
	CompletedAt time.Time
}

// Complete is the type of the condition.
const Complete = "Complete"

// Phases.
const (
	Pending     = "Pending"
	Checking    = "Checking"
	BackingUp   = "BackingUp"
	Stopping    = "Stopping"
	Filling     = "Filling"
	Starting    = "Starting"
	Comparing   = "Comparing"
	Restored    = "Restored"
	Confirming  = "Confirming"
	Completed   = "Completed"
	RollingBack = "RollingBack"
	RolledBack  = "RolledBack"
	Failed      = "Failed"
)

// Over is whether a restore in a phase has come to its end, good or bad.
func Over(phase string) bool { return phase == Completed || phase == RolledBack || phase == Failed }

// Begun is whether a restore in a phase works on its cluster: it is not over, and no longer waits for what it needs.
func Begun(phase string) bool { return phase != "" && phase != Pending && !Over(phase) }

// NotOver says that an EtcdRestore into a cluster is in the way, and what to do about it.
func NotOver(name, cluster, phase string) string {
	todo := "wait until it is, or delete it"
	switch phase {
	case Restored:
		todo = "set its spec.completion to Confirm or RollBack"
	case Confirming, RollingBack:
		todo = "wait until it is" // Its deletion waits for the same.
	}
	return fmt.Sprintf("EtcdRestore %s into EtcdCluster %s is not over (%s): %s", name, cluster, cmp.Or(phase, Pending), todo)
}

// Reasons.
const (
	ReasonWaiting     core.Reason = "Waiting"
	ReasonRefused     core.Reason = "Refused"
	ReasonRestoring   core.Reason = "Restoring"
	ReasonRestored    core.Reason = "Restored"
	ReasonCompleted   core.Reason = "Completed"
	ReasonRollingBack core.Reason = "RollingBack"
	ReasonRolledBack  core.Reason = "RolledBack"
	ReasonFailed      core.Reason = "RestoreFailed"
)

// Action is something to do. They are done in their order.
type Action interface{ action() }

// Keep adds our finalizer.
type Keep struct{}

// Release takes our finalizer away.
type Release struct{}

// BackUp makes the safety backup.
type BackUp struct{}

// Hold holds the cluster, so that its members stop. What of its spec a restore rests on is noted, and stays as it is.
type Hold struct{}

// Settle ends that: nothing can be rolled back any more.
type Settle struct{}

// MakeClaims makes the claims of a member that do not exist.
type MakeClaims struct{ Member string }

// StartAgent makes a Job, for the whole cluster or for one member.
type StartAgent struct {
	AgentKey
	Member string
}

// RemoveAgent deletes a Job and its pods.
type RemoveAgent struct{ AgentKey }

// MarkClaims notes on a member's claims whose data they hold; an empty ID that this is not certain.
type MarkClaims struct{ Member, ClusterID string }

// LetGo lets the cluster run with the data of an etcd cluster, or with [core.Unsettled] wait for its first data again. Rests is whether it
// may still be rolled back.
type LetGo struct {
	ClusterID string
	Rests     bool
}

func (Keep) action()        {}
func (Release) action()     {}
func (BackUp) action()      {}
func (Hold) action()        {}
func (Settle) action()      {}
func (MakeClaims) action()  {}
func (StartAgent) action()  {}
func (RemoveAgent) action() {}
func (MarkClaims) action()  {}
func (LetGo) action()       {}

// Decision is what to do, to say, and when to look again.
type Decision struct {
	Actions   []Action
	Report    Report
	Events    []core.Event
	LookAgain time.Duration
}
