// Package drills decides when the way back from a backup is tried, and what has become of that. Like the core of clusters it is pure: what
// there is goes in, and what is to be done, and to be said, comes out.
package drills

import (
	"cmp"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/schedule"
)

// Field is the part of the spec that a schedule of drills is in.
const Field = "spec.backup.drill"

// Spec is what is asked for.
type Spec struct {
	Schedule, TimeZone string
	Suspended          bool
}

// Timeout is after what time a drill that has not ended has failed.
const Timeout = 4 * time.Hour

// Observation is all that a decision is made from.
type Observation struct {
	Now time.Time
	// Cluster is whose backups are tried, and Name the EtcdCluster that they are restored into.
	Cluster, Name string
	// Since is when the cluster was made: there is nothing to be caught up from before.
	Since time.Time
	// Spec is nil if there are to be no drills.
	Spec *Spec
	// Blocked is why none may begin now; empty if one may.
	Blocked string
	// Taken is what has the name of the drill's EtcdCluster and is not ours, or is left of an earlier drill.
	Taken core.Problem
	// Backup is the newest that can be restored; empty if there is none.
	Backup string
	// Drill is the one that there is; nil if there is none.
	Drill *Drill
	// Recorded is the report that was last written.
	Recorded Report
}

// Drill is an EtcdCluster that a backup is restored into.
type Drill struct {
	Scheduled, Started time.Time
	Backup             string
	// Leaving is whether it is being deleted.
	Leaving bool
	// Available is whether it serves.
	Available bool
	// Completed is whether all its data was compared, at Compared, and Failed whether it could not be restored.
	Completed, Failed bool
	Compared          time.Time
	Revision, Keys    int64
	// Says is what its restore says, or the cluster as long as there is no restore.
	Says string
}

// Outcomes.
const (
	Running   = "Running"
	Succeeded = "Succeeded"
	Failed    = "Failed"
)

// Run is what is told of a drill.
type Run struct {
	Outcome, Backup  string
	Scheduled, Ended time.Time
}

// Success is a drill that has restored what it was to.
type Success struct {
	Ended    time.Time
	Took     time.Duration
	Revision int64
}

// Report is what is told of drills. The last one that runs or has ended is nil if there was none, as is the last that has succeeded.
type Report struct {
	Last *Run
	Good *Success
	// WaitsFor is why one that is due has not begun.
	WaitsFor  string
	Condition core.Condition
}

// Drilled is the type of the condition.
const Drilled = "Drilled"

// Reasons.
const (
	ReasonPending   core.Reason = "DrillPending"
	ReasonBegun     core.Reason = "DrillBegun"
	ReasonWaiting   core.Reason = "DrillWaiting"
	ReasonSucceeded core.Reason = "DrillSucceeded"
	ReasonFailed    core.Reason = "DrillFailed"
)

// Begin makes the EtcdCluster of a drill.
type Begin struct {
	Scheduled time.Time
	Backup    string
}

// Decision is what to do, to say, and when to look again.
type Decision struct {
	// Begin is the drill to begin; nil if there is none.
	Begin *Begin
	// End is whether the EtcdCluster of the drill is to be deleted.
	End    bool
	Report Report
	Events []core.Event
	// Next is when the schedule comes round again. If that is past, something is in the way.
	Next time.Time
	// Overdue is until when a drill has to have succeeded: that of the second run after the last one that has, and its time.
	Overdue   time.Time
	LookAgain time.Duration
}

// When to look again: after a step, and while a drill runs or waits. Its end is also heard of.
const (
	soon    = time.Second
	running = 15 * time.Second
	waiting = time.Minute
)

// Decide decides what happens next. What has become of a drill is recorded before its EtcdCluster is deleted, so that no drill is begun
// twice.
func Decide(o Observation) (Decision, error) {
	d := Decision{}
	if o.Spec == nil {
		// Nothing is told of what nobody wants.
		d.End = o.Drill != nil && !o.Drill.Leaving
		return d, nil
	}
	parsed, err := schedule.Parse(Field, o.Spec.Schedule, o.Spec.TimeZone)
	if err != nil && o.Drill == nil {
		return Decision{Report: o.Recorded}, err // One that runs goes on.
	}
	d.Report = o.Recorded
	d.Report.WaitsFor = ""
	if d.Report.Condition.Type == "" {
		d.Report.Condition = core.Condition{Type: Drilled, Status: core.Unknown, Reason: ReasonPending, Message: "no drill has ended yet", Since: o.Now}
	}
	if parsed != nil && !o.Spec.Suspended {
		d.Next = parsed.Next(o.Now)
	}
	switch last := o.Recorded.Last; {
	case o.Drill != nil:
		o.follow(&d)
	case last != nil && last.Outcome == Running:
		o.ends(&d, *last, Failed, fmt.Sprintf("the EtcdCluster %s was deleted before the drill had ended", o.Name))
		d.LookAgain = soon
	case !o.Spec.Suspended:
		o.begin(&d, parsed)
	}
	o.overdue(&d, parsed)
	return d, nil
}

// follow looks what has become of a drill.
func (o Observation) follow(d *Decision) {
	seen := o.Drill
	run := Run{Outcome: Running, Scheduled: seen.Scheduled, Backup: seen.Backup}
	last := o.Recorded.Last
	known := last != nil && last.Scheduled.Equal(seen.Scheduled)
	d.LookAgain = running
	switch age := o.Now.Sub(seen.Started); {
	case known && last.Outcome != Running:
		d.End = !seen.Leaving
	case seen.Completed && seen.Available:
		took := max(seen.Compared.Sub(seen.Started), 0)
		d.Report.Good = &Success{Ended: o.Now, Took: took, Revision: seen.Revision}
		o.ends(d, run, Succeeded, fmt.Sprintf("the EtcdBackup %s was restored into a cluster of its own within %s: %d keys at revision %d, which were compared",
			run.Backup, took.Round(time.Second), seen.Keys, seen.Revision))
		d.End = !seen.Leaving
	case seen.Failed:
		o.ends(d, run, Failed, fmt.Sprintf("the EtcdBackup %s could not be restored: %s", run.Backup, seen.Says))
		d.End = !seen.Leaving
	case seen.Leaving:
		o.ends(d, run, Failed, fmt.Sprintf("the EtcdCluster %s was deleted before the drill had ended", o.Name))
	case age > Timeout:
		o.ends(d, run, Failed, fmt.Sprintf("the EtcdBackup %s was not restored within %s: %s", run.Backup, Timeout, cmp.Or(seen.Says, "nothing was heard of its EtcdRestore")))
		d.End = true
	default:
		if !known {
			d.tell(false, ReasonBegun, fmt.Sprintf("the EtcdBackup %s is restored into the EtcdCluster %s, to see whether it can be and how long that takes", run.Backup, o.Name))
		}
		d.Report.Last = &run
		d.LookAgain = min(running, Timeout-age+soon)
	}
}

// ends records the end of a drill.
func (o Observation) ends(d *Decision, run Run, outcome, message string) {
	run.Outcome, run.Ended = outcome, o.Now
	d.Report.Last = &run
	status, reason := core.False, ReasonFailed
	if outcome == Succeeded {
		status, reason = core.True, ReasonSucceeded
	}
	next := core.Condition{Type: Drilled, Status: status, Reason: reason, Message: message, Since: o.Now}
	if before := o.Recorded.Condition; before.Status == status {
		next.Since = before.Since
	}
	d.Report.Condition = next
	d.tell(outcome != Succeeded, reason, message)
}

// begin begins one that is due, if nothing is in the way. Of all that were missed it is one.
func (o Observation) begin(d *Decision, parsed cron.Schedule) {
	due, last := schedule.Latest(parsed, o.Now), o.Since
	if run := o.Recorded.Last; run != nil && run.Scheduled.After(last) {
		last = run.Scheduled
	}
	if !due.After(last) {
		if !d.Next.IsZero() {
			d.LookAgain = max(d.Next.Sub(o.Now), soon)
		}
		return
	}
	waits := core.Problem{Reason: ReasonWaiting}
	switch {
	case !o.Taken.IsZero():
		waits = o.Taken
	case o.Blocked != "":
		waits.Message = o.Blocked
	case o.Backup == "":
		waits.Message = "there is no complete EtcdBackup of the cluster that could be restored: make one, or set spec.backup.schedule"
	default:
		// What it has waited for stays until it is there: that may be refused.
		d.Begin, d.LookAgain, d.Report.WaitsFor = &Begin{Scheduled: due, Backup: o.Backup}, soon, o.Recorded.WaitsFor
		return
	}
	d.Report.WaitsFor, d.Next, d.LookAgain = waits.Message, due, waiting
	if waits.Message != o.Recorded.WaitsFor {
		d.tell(waits.Reason == core.ReasonNameTaken, waits.Reason, "a drill is due and waits: "+waits.Message)
	}
}

// overdue is until when one has to have succeeded. One that runs has its time.
func (o Observation) overdue(d *Decision, parsed cron.Schedule) {
	if parsed == nil || o.Spec.Suspended {
		return
	}
	last := o.Since
	if good := d.Report.Good; good != nil && good.Ended.After(last) {
		last = good.Ended
	}
	second := parsed.Next(parsed.Next(last))
	if second.IsZero() {
		return
	}
	d.Overdue = second.Add(Timeout)
	if run := o.Drill; run != nil && run.Started.Add(Timeout).After(d.Overdue) {
		d.Overdue = run.Started.Add(Timeout)
	}
}

func (d *Decision) tell(warning bool, reason core.Reason, message string) {
	d.Events = append(d.Events, core.Event{Warning: warning, Reason: reason, Message: message})
}
