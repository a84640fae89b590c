// Package backups decides what happens next to an EtcdBackup. Like the core of clusters it is pure: what there is goes in, and
// what is to be done, and to be said, comes out.
package backups

import (
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Kind is a kind of agents.
type Kind string

// Kinds of agents. The words are those of their tasks.
const (
	Backup  Kind = "Backup"
	Inspect Kind = "Inspect"
	Verify  Kind = "Verify"
	Delete  Kind = "Delete"
)

// Kinds are all of them.
var Kinds = []Kind{Backup, Inspect, Verify, Delete}

// Observation is all that a decision is made from.
type Observation struct {
	Now        time.Time
	Name       string
	Generation int64
	Deleting   bool
	// Held is whether the object has our finalizer, by which its data can be removed before it goes.
	Held bool
	// NamespaceEnds is whether nothing can be made in the namespace any more.
	NamespaceEnds bool
	// Adopted backups are in the store already.
	Adopted bool
	// Verify is whether it is to be tried out, and Keep whether its data outlives the object.
	Verify, Keep bool
	// Path is where it is, or is to be, in the store.
	Path string
	// Encrypted is whether a private key is needed to read it, and Readable whether there is one.
	Encrypted, Readable bool
	// Cluster is why it cannot be taken from the cluster now, and Store why the store cannot be used.
	Cluster, Store core.Problem
	Agents         map[Kind]Agent
	Recorded       Report
}

// Agent is a Job, with what has become of it.
type Agent struct {
	Exists bool
	// Foreign is one of the name of ours that is not ours.
	Foreign bool
	Leaving bool
	// Ended is whether it will not run again, Failed whether it did not do what it was to, and Differs whether that is since the
	// backup is not what it ought to be.
	Ended, Failed, Differs bool
	EndedAt                time.Time
	// Trouble is why it does not get on, or failed.
	Trouble string
	// Stored and Took are what it found out; nil and 0 if that cannot be read any more.
	Stored *Stored
	Took   time.Duration
}

// Stored is a backup in the store.
type Stored struct {
	Began, Ended time.Time
	Member       string
	Version      string
	ClusterID    string
	Revision     int64
	Keys         int64
	Hash         uint32
	Size         int64
	StoredSize   int64
	Recipients   []string
}

// Report is the status of an EtcdBackup as a plain value.
type Report struct {
	ObservedGeneration int64
	Phase              string
	Conditions         []core.Condition
	// Path is where it is, or may be in part: it is recorded before anything is written there.
	Path       string
	StartedAt  time.Time
	Stored     *Stored
	VerifiedAt time.Time
	Took       time.Duration
}

// Types of conditions.
const (
	Complete = "Complete"
	Verified = "Verified"
)

// Phases, which sum the conditions up.
const (
	PhasePending   = "Pending"
	PhaseRunning   = "Running"
	PhaseVerifying = "Verifying"
	PhaseCompleted = "Completed"
	PhaseFailed    = "Failed"
	PhaseDeleting  = "Deleting"
)

// Reasons.
const (
	ReasonRunning        core.Reason = "AgentRuns"
	ReasonStored         core.Reason = "Stored"
	ReasonFailed         core.Reason = "BackupFailed"
	ReasonVerified       core.Reason = "Restored"
	ReasonDiffers        core.Reason = "ContentDiffers"
	ReasonNotTried       core.Reason = "TrialFailed"
	ReasonNotWanted      core.Reason = "NotWanted"
	ReasonNoIdentity     core.Reason = "IdentityMissing"
	ReasonNotComplete    core.Reason = "NotComplete"
	ReasonDeletionFailed core.Reason = "DeletionFailed"
	ReasonDeleting       core.Reason = "Deleting"
	ReasonDataStays      core.Reason = "DataStays"
)

// Condition finds a condition of the report.
func (r Report) Condition(kind string) core.Condition {
	for _, c := range r.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return core.Condition{}
}

// Action is something to do. They are done in their order.
type Action interface{ action() }

// Hold adds our finalizer.
type Hold struct{}

// Release takes our finalizer away.
type Release struct{}

// StartAgent makes a Job.
type StartAgent struct{ Kind Kind }

// RemoveAgent deletes a Job and its pods.
type RemoveAgent struct{ Kind Kind }

func (Hold) action()        {}
func (Release) action()     {}
func (StartAgent) action()  {}
func (RemoveAgent) action() {}

// Decision is what to do, to say, and when to look again.
type Decision struct {
	Actions   []Action
	Report    Report
	Events    []core.Event
	LookAgain time.Duration
}
