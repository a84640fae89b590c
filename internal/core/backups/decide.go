package backups

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// When to look again. Jobs and the ends of their pods are watched; the cluster and the Secrets are not.
const (
	whileRunning = 5 * time.Second
	whileWaiting = 5 * time.Second
	atOnce       = time.Millisecond
	// betweenDeletions is how long a failed removal of the data rests.
	betweenDeletions = time.Minute
)

// Decide decides what happens next.
func Decide(o Observation) Decision {
	d := &Decision{Report: o.Recorded}
	d.Report.ObservedGeneration = o.Generation
	switch {
	case o.Deleting:
		o.remove(d)
	case !o.Held:
		// Nothing is written anywhere that would not be removed again.
		d.Actions = append(d.Actions, Hold{})
		o.say(d, PhasePending, core.False, core.Problem{Reason: ReasonRunning, Message: "about to begin"})
		d.LookAgain = atOnce
	case o.Recorded.Phase == PhaseFailed:
	case o.Recorded.Condition(Complete).Status != core.True:
		o.store(d)
	default:
		o.verify(d)
	}
	d.Events = news(o.Recorded, d.Report)
	return *d
}

// store brings the backup into the store, or finds it there.
func (o Observation) store(d *Decision) {
	kind := Backup
	if o.Adopted {
		kind = Inspect
	}
	agent := o.Agents[kind]
	switch {
	case agent.Foreign:
		o.wait(d, nameTaken(o.Name, kind))
	case agent.Leaving:
		d.LookAgain = whileWaiting
	case agent.Ended && !agent.Failed && agent.Stored != nil:
		d.Report.Stored = agent.Stored
		o.say(d, PhaseVerifying, core.True, core.Problem{Reason: ReasonStored, Message: o.stored(agent.Stored)})
		d.Actions = append(d.Actions, RemoveAgent{kind})
		// The next agent is told what this one has found out, which has to be recorded first.
		if d.LookAgain = atOnce; !o.untried(d) {
			d.Report.setCondition(o.Now, Verified, core.Unknown, core.Problem{Reason: ReasonRunning, Message: "it is about to be restored on trial"})
		}
	case agent.Ended && !agent.Failed:
		// What it found out is lost with its pod. It can be asked again: a backup that is there is not made a second time.
		d.Actions = append(d.Actions, RemoveAgent{kind})
		d.LookAgain = whileWaiting
	case agent.Ended:
		o.say(d, PhaseFailed, core.False, core.Problem{Reason: ReasonFailed, Message: agent.Trouble})
	case agent.Exists:
		o.say(d, PhaseRunning, core.False, core.Problem{Reason: ReasonRunning, Message: running("an agent is making the backup", agent)})
		d.LookAgain = whileRunning
	case !o.Store.IsZero():
		o.wait(d, o.Store)
	case kind == Backup && !o.Cluster.IsZero():
		o.wait(d, o.Cluster)
	default:
		d.Report.Path = o.Path
		if d.Report.StartedAt.IsZero() {
			d.Report.StartedAt = o.Now
		}
		o.say(d, PhaseRunning, core.False, core.Problem{Reason: ReasonRunning, Message: "an agent is started"})
		d.Actions = append(d.Actions, StartAgent{kind})
		d.LookAgain = whileRunning
	}
}

func (o Observation) wait(d *Decision, what core.Problem) {
	o.say(d, PhasePending, core.False, what)
	d.LookAgain = whileWaiting
}

func (o Observation) stored(s *Stored) string {
	return fmt.Sprintf("%d keys at revision %d, from member %s with etcd %s; %d MiB, which take %d MiB at %s",
		s.Keys, s.Revision, s.Member, s.Version, mebibytes(s.Size), mebibytes(s.StoredSize), o.Path)
}

// mebibytes are rounded up.
func mebibytes(size int64) int64 { return (size + 1<<20 - 1) >> 20 }

func running(what string, agent Agent) string {
	if agent.Trouble != "" {
		return what + "; " + agent.Trouble
	}
	return what
}

// verify tries the backup out, once.
func (o Observation) verify(d *Decision) {
	// What the first agent has found out is recorded by now.
	for _, kind := range []Kind{Backup, Inspect} {
		if first := o.Agents[kind]; first.Exists && !first.Foreign && !first.Leaving {
			d.Actions = append(d.Actions, RemoveAgent{kind})
		}
	}
	agent := o.Agents[Verify]
	switch {
	case o.concluded():
		if agent.Ended && !agent.Failed && !agent.Leaving {
			d.Actions = append(d.Actions, RemoveAgent{Verify})
		}
	case o.untried(d):
	case agent.Foreign:
		o.conclude(d, core.Unknown, core.ReasonNameTaken, nameTaken(o.Name, Verify).Message)
		d.LookAgain = whileWaiting
	case agent.Leaving:
		d.LookAgain = whileWaiting
	case agent.Ended:
		o.tried(d, agent)
	default:
		o.trying(d, agent)
	}
}

// untried concludes that it is not to be tried out, or cannot be, if that is so.
func (o Observation) untried(d *Decision) bool {
	switch {
	case !o.Verify:
		o.conclude(d, core.Unknown, ReasonNotWanted, "spec.verification is Never")
	case o.Encrypted && !o.Readable:
		o.conclude(d, core.Unknown, ReasonNoIdentity, "it is encrypted, and there is no private key to try it out with: name a Secret with one in spec.encryption.identitySecret")
	default:
		return false
	}
	return true
}

// concluded is whether nothing new can be found out. What could not be tried is tried again once the spec has changed.
func (o Observation) concluded() bool {
	before := o.Recorded.Condition(Verified)
	return before.Status == core.True || before.Reason == ReasonDiffers || before.Reason == ReasonNotTried && o.Recorded.ObservedGeneration == o.Generation
}

func (o Observation) conclude(d *Decision, status core.Truth, reason core.Reason, message string) {
	d.Report.Phase = PhaseCompleted
	d.Report.setCondition(o.Now, Verified, status, core.Problem{Reason: reason, Message: message})
}

// tried reads what an ended trial has shown.
func (o Observation) tried(d *Decision, agent Agent) {
	switch {
	case !agent.Failed && agent.Took > 0:
		d.Report.VerifiedAt, d.Report.Took = agent.EndedAt, agent.Took
		o.conclude(d, core.True, ReasonVerified, fmt.Sprintf("restored on trial in %s, and compared: revision, keys and hash are what the cluster had", agent.Took.Round(time.Millisecond)))
		d.Actions = append(d.Actions, RemoveAgent{Verify})
	case agent.Failed && agent.Differs:
		o.conclude(d, core.False, ReasonDiffers, agent.Trouble)
	case agent.Failed && o.Recorded.Condition(Verified).Reason != ReasonNotTried:
		o.conclude(d, core.Unknown, ReasonNotTried, agent.Trouble)
	default:
		// The spec has changed since, or what the agent found out is lost with its pod.
		d.Report.Phase, d.LookAgain = PhaseVerifying, whileWaiting
		d.Report.setCondition(o.Now, Verified, core.Unknown, core.Problem{Reason: ReasonRunning, Message: "another agent will restore it on trial"})
		d.Actions = append(d.Actions, RemoveAgent{Verify})
	}
}

// trying waits for the trial, or begins it.
func (o Observation) trying(d *Decision, agent Agent) {
	d.Report.Phase, d.LookAgain = PhaseVerifying, whileRunning
	message := running("an agent is restoring it on trial", agent)
	if !agent.Exists {
		if !o.Store.IsZero() {
			d.Report.setCondition(o.Now, Verified, core.Unknown, o.Store)
			return
		}
		message = "an agent is started to restore it on trial"
		d.Actions = append(d.Actions, StartAgent{Verify})
	}
	d.Report.setCondition(o.Now, Verified, core.Unknown, core.Problem{Reason: ReasonRunning, Message: message})
}

// remove lets the object go, after its agents, and its data unless that is to stay.
func (o Observation) remove(d *Decision) {
	if !o.Held {
		return
	}
	d.LookAgain = whileWaiting
	working := false
	for _, kind := range []Kind{Backup, Inspect, Verify} {
		if agent := o.Agents[kind]; agent.Exists && !agent.Foreign {
			working = true
			if !agent.Leaving {
				d.Actions = append(d.Actions, RemoveAgent{kind})
			}
		}
	}
	say := func(p core.Problem) { o.say(d, PhaseDeleting, o.Recorded.Condition(Complete).Status, p) }
	agent, advice := o.Agents[Delete], "; to leave the data where it is, set spec.deletionPolicy to Retain"
	switch {
	case working:
		say(core.Problem{Reason: ReasonDeleting, Message: "waiting until its agents have ended"})
	case o.Keep || o.Recorded.Path == "" || agent.Ended && !agent.Failed:
		d.Actions = append(d.Actions, Release{})
	case o.NamespaceEnds:
		say(core.Problem{Reason: ReasonDataStays, Message: "the namespace is being deleted, in which no agent can be started: the data stays at " + o.Recorded.Path})
		d.Actions = append(d.Actions, Release{})
	case agent.Foreign:
		say(core.Problem{Reason: ReasonDeletionFailed, Message: nameTaken(o.Name, Delete).Message + advice})
	case agent.Ended:
		say(core.Problem{Reason: ReasonDeletionFailed, Message: agent.Trouble + advice})
		if o.Now.Sub(agent.EndedAt) >= betweenDeletions && !agent.Leaving {
			d.Actions = append(d.Actions, RemoveAgent{Delete})
		}
	case agent.Exists:
		say(core.Problem{Reason: ReasonDeleting, Message: running("an agent is removing the data from the store", agent) + advice})
	case !o.Store.IsZero():
		say(core.Problem{Reason: ReasonDeletionFailed, Message: o.Store.Message + advice})
	default:
		say(core.Problem{Reason: ReasonDeleting, Message: "an agent is started to remove the data from the store"})
		d.Actions = append(d.Actions, StartAgent{Delete})
	}
}

func nameTaken(backup string, kind Kind) core.Problem {
	return core.Problem{Reason: core.ReasonNameTaken, Message: fmt.Sprintf("Job %s exists and is not this backup's: delete it, or choose another name for the backup", JobName(backup, kind))}
}

// JobName is the name of the Job of a kind for an EtcdBackup.
func JobName(backup string, kind Kind) string { return backup + "-" + strings.ToLower(string(kind)) }

func (o Observation) say(d *Decision, phase string, status core.Truth, p core.Problem) {
	if status == "" {
		status = core.False
	}
	d.Report.Phase = phase
	d.Report.setCondition(o.Now, Complete, status, p)
	if status != core.True && d.Report.Condition(Verified).Type == "" {
		d.Report.setCondition(o.Now, Verified, core.Unknown, core.Problem{Reason: ReasonNotComplete, Message: "it is not complete"})
	}
}

// setCondition sets a condition, since when only if its status changes.
func (r *Report) setCondition(now time.Time, kind string, status core.Truth, p core.Problem) {
	next := core.Condition{Type: kind, Status: status, Reason: p.Reason, Message: p.Message, Since: now}
	r.Conditions = slices.Clone(r.Conditions)
	for i, c := range r.Conditions {
		if c.Type == kind {
			if c.Status == status {
				next.Since = c.Since
			}
			r.Conditions[i] = next
			return
		}
	}
	r.Conditions = append(r.Conditions, next)
}

// news are the conditions whose status or reason has changed. That it begins is none, and that it is not tried out yet.
func news(old, now Report) []core.Event {
	var events []core.Event
	for _, c := range now.Conditions {
		before := old.Condition(c.Type)
		if before.Status == c.Status && before.Reason == c.Reason || c.Reason == ReasonNotComplete {
			continue
		}
		normal := c.Status == core.True || slices.Contains([]core.Reason{ReasonRunning, ReasonNotWanted, ReasonDeleting}, c.Reason)
		events = append(events, core.Event{Warning: !normal, Reason: c.Reason, Message: c.Message})
	}
	return events
}
