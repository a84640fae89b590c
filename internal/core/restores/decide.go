package restores

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// When to look again. Jobs and the ends of their pods, the cluster and its StatefulSets are watched.
const (
	atOnce  = time.Millisecond
	soon    = 500 * time.Millisecond
	waiting = 3 * time.Second
)

// Decide decides what happens next. The recorded phase says how far the restore is, and each of its steps can be repeated: the phase is
// written before anything is done, and goes on only when what it stands for is seen to be done.
func Decide(o Observation) Decision {
	d := &Decision{Report: o.Recorded}
	d.Report.ObservedGeneration = o.Generation
	o.decide(d)
	o.progress(&d.Report)
	if before := o.Recorded.Condition; before.Reason != d.Report.Condition.Reason || before.Status != d.Report.Condition.Status || o.Recorded.Phase != d.Report.Phase {
		d.Events = []core.Event{{
			Warning: slices.Contains([]core.Reason{ReasonRefused, ReasonFailed, ReasonRollingBack}, d.Report.Condition.Reason),
			Reason:  d.Report.Condition.Reason, Message: d.Report.Condition.Message,
		}}
	}
	return *d
}

func (o Observation) decide(d *Decision) {
	phase := o.Recorded.Phase
	// From here on the cluster is held, or its data is not what it was.
	begun := slices.Contains([]string{Stopping, Filling, Starting, Comparing, Restored}, phase)
	switch {
	case Over(phase):
		o.tidy(d)
	case !o.Cluster.Exists && phase != "" && phase != Pending:
		o.end(d, Failed, ReasonFailed, "the EtcdCluster is gone")
	case o.anotherCluster() && phase != Pending:
		// What it has is none of this restore's: there is nothing to go on with, nor to be given back.
		o.end(d, Failed, ReasonFailed, "the EtcdCluster is gone, and there is another one of its name: make another EtcdRestore for that")
	case begun && (o.Deleting && !o.firstRuns() || o.Completion == RollItBack):
		why := "spec.completion is RollBack"
		if o.Deleting {
			why = "the EtcdRestore is being deleted"
		}
		o.rollBack(d, why)
	case o.Deleting && !begun && phase != Confirming && phase != RollingBack:
		// Nothing was touched.
		d.Actions = append(d.Actions, Release{})
	case !o.Held:
		d.Actions, d.LookAgain = append(d.Actions, Keep{}), atOnce
		o.say(d, Pending, ReasonWaiting, "about to begin")
	default:
		o.advance(d)
	}
}

// anotherCluster is whether the EtcdCluster is not the one that it began with.
func (o Observation) anotherCluster() bool {
	return o.Cluster.UID != o.Recorded.ClusterUID && o.Recorded.ClusterUID != ""
}

// first is whether the cluster had nothing before.
func (o Observation) first() bool { return o.Recorded.EarlierID == "" }

// firstRuns is whether the cluster runs with its first data. There is nothing to give it back, and clients may have written: who deletes
// the EtcdRestore has not said that this may be lost.
func (o Observation) firstRuns() bool {
	return o.first() && !o.Cluster.Begins && o.Cluster.Holder != o.Name
}

// advance takes the next step of a phase.
func (o Observation) advance(d *Decision) {
	switch o.Recorded.Phase {
	case "", Pending:
		o.begin(d)
	case Checking:
		o.check(d)
	case BackingUp:
		o.backUp(d)
	case Stopping:
		o.stop(d)
	case Filling:
		o.fill(d)
	case Starting:
		o.start(d)
	case Comparing:
		o.compare(d)
	case Restored:
		o.await(d)
	case Confirming:
		o.confirm(d)
	case RollingBack:
		o.rollBack(d, "")
	}
}

// begin checks all that can be checked before anything is touched.
func (o Observation) begin(d *Decision) {
	c := o.Cluster
	if why := o.refused(); why != "" {
		o.end(d, Failed, ReasonRefused, why)
		return
	}
	if what := o.lacks(); what != "" {
		o.say(d, Pending, ReasonWaiting, what)
		d.LookAgain = waiting
		return
	}
	d.Report.ClusterUID, d.Report.Members, d.Report.EarlierID, d.Report.StartedAt = c.UID, c.Members, c.data(), o.Now
	if o.CheckWanted {
		o.say(d, Checking, ReasonRestoring, "what is to be restored is read through")
		d.LookAgain = atOnce
		return
	}
	o.touch(d)
}

// check has an agent read all that is to be restored, so that what cannot be is refused while the cluster serves.
func (o Observation) check(d *Decision) {
	d.LookAgain = waiting
	key := AgentKey{Check, 0}
	switch agent := o.Agents[key]; {
	case agent.Foreign:
		o.end(d, Failed, ReasonRefused, "nothing was touched: "+nameTaken(o.Name, key))
	case !agent.Exists:
		d.Actions = append(d.Actions, StartAgent{AgentKey: key})
	case agent.Ended && agent.Failed:
		o.end(d, Failed, ReasonRefused, "nothing was touched: "+agent.Trouble)
	case agent.Ended && agent.Checked != nil:
		d.Report.Target = agent.Checked.Target
		o.touch(d)
	case agent.Ended && !agent.Leaving:
		d.Actions = append(d.Actions, RemoveAgent{key}) // What it found out is lost with its pod; it can be asked again.
	case agent.Trouble != "":
		o.say(d, Checking, ReasonRestoring, "what is to be restored is read through: "+agent.Trouble)
	}
}

// progress is how much was read of what has to be, as long as that goes on. All volumes are filled with the same.
func (o Observation) progress(r *Report) {
	kind, agents := Fill, int64(len(r.Members))
	switch r.Phase {
	case Checking:
		kind, agents = Check, 1
	case Filling:
	default:
		r.Read, r.Total = 0, 0
		return
	}
	if r.Phase != o.Recorded.Phase {
		r.Read, r.Total = 0, 0
	}
	var read, each, done int64
	for key, agent := range o.Agents {
		if key.Kind != kind {
			continue
		}
		read, each = read+agent.Read, max(each, agent.Total)
		if agent.Ended && !agent.Failed {
			done++
		}
	}
	if each > 0 { // Else none is asked now, or none answers.
		r.Read, r.Total = read+done*each, agents*each
	}
}

// touch goes on to the first phase in which something is done.
func (o Observation) touch(d *Decision) {
	d.LookAgain = atOnce
	switch {
	case o.Cluster.Begins:
		o.say(d, Filling, ReasonRestoring, "the volumes are filled")
	case o.SafetyWanted:
		o.say(d, BackingUp, ReasonRestoring, "a safety backup is made")
	default:
		o.say(d, Stopping, ReasonRestoring, "the members stop")
	}
}

// refused is why it can never begin; empty if it can.
func (o Observation) refused() string {
	c := o.Cluster
	switch {
	case o.Completion == RollItBack:
		return "spec.completion is RollBack before anything was restored"
	case !c.Exists:
		return ""
	case c.Deleting:
		return "the EtcdCluster is being deleted"
	case c.InMemory:
		return "the members of the EtcdCluster keep their data in memory: make a cluster with spec.storage.medium Disk"
	}
	return o.Refused.Message
}

// lacks is what it waits for before it begins; empty if it can.
func (o Observation) lacks() string {
	c := o.Cluster
	switch {
	case !c.Exists:
		return "the EtcdCluster that spec.clusterRef names does not exist: make it, or delete this object"
	case !o.Ahead.IsZero():
		return o.Ahead.Message
	case !o.Backup.IsZero():
		return o.Backup.Message
	case c.Holder != "" && c.Holder != o.Name:
		return fmt.Sprintf("EtcdRestore %s holds the cluster: wait until it is over, or end it", c.Holder)
	case c.Paused:
		return "spec.paused of the EtcdCluster is true: set it to false"
	case len(c.Members) == 0 && (c.Begins || c.ClusterID != ""):
		return "the EtcdCluster has no members: set spec.size"
	case c.Begins:
		return ""
	case c.Restored != "" && c.Restored != c.ClusterID:
		return "the status of the EtcdCluster is not yet that of the data which an earlier restore has given it"
	case c.ClusterID == "":
		return "the EtcdCluster is not formed: to begin with the data of a backup, make it with spec.bootstrap"
	case o.SafetyWanted && !c.Serves:
		return "no voter serves, so that no safety backup can be made: bring one back, or set spec.safetyBackup to Skip in another EtcdRestore; what is on the volumes is kept until the restore is confirmed all the same"
	}
	return ""
}

// backUp waits for the safety backup.
func (o Observation) backUp(d *Decision) {
	d.LookAgain = waiting
	switch s := o.Safety; {
	case s.Foreign:
		o.end(d, Failed, ReasonRefused, fmt.Sprintf("EtcdBackup %s exists and is not this restore's: delete it, or choose another name for the restore", s.Name))
	case !s.Exists:
		o.say(d, BackingUp, ReasonRestoring, "a safety backup is made")
		d.Report.SafetyBackup = s.Name
		d.Actions = append(d.Actions, BackUp{})
	case s.Failed:
		o.end(d, Failed, ReasonFailed, fmt.Sprintf("the safety backup %s has failed, and nothing was touched: %s", s.Name, s.Says))
	case s.Complete:
		o.say(d, Stopping, ReasonRestoring, "the members stop")
		d.LookAgain = atOnce
	default:
		o.say(d, BackingUp, ReasonRestoring, fmt.Sprintf("waiting for the safety backup %s: %s", s.Name, s.Says))
	}
}

// stop holds the cluster and waits until it is certain that no member runs.
func (o Observation) stop(d *Decision) {
	d.LookAgain = soon
	c := o.Cluster
	switch {
	case c.Holder == "" && o.Recorded.Phase == Stopping && c.data() != o.Recorded.EarlierID:
		// It could not be rolled back to what was recorded, and the safety backup is one of other data.
		o.end(d, Failed, ReasonRefused, "nothing was touched: another EtcdRestore has given the cluster other data since this one began; make it again")
		return
	case c.Holder == "" && o.Recorded.Phase == Stopping:
		d.Actions = append(d.Actions, Hold{})
		if d.Report.StoppedAt.IsZero() {
			d.Report.StoppedAt = o.Now
		}
		if len(c.Members) > 0 {
			d.Report.Members = c.Members // Others may have come or gone since.
		}
	case c.Holder == "":
		d.Actions = append(d.Actions, Hold{})
	case c.Holder != o.Name:
		o.say(d, Stopping, ReasonWaiting, fmt.Sprintf("EtcdRestore %s holds the cluster", c.Holder))
		return
	case c.Stopped:
		if len(c.Members) > 0 && len(o.Agents) == 0 && c.ClusterID == o.Recorded.EarlierID {
			// Until now members could come and go.
			d.Report.Members = c.Members
		}
		o.say(d, Filling, ReasonRestoring, "the volumes are filled")
		d.LookAgain = atOnce
		return
	}
	o.say(d, Stopping, ReasonRestoring, "waiting until all members have stopped: "+c.Says)
}

// fill has all volumes filled at once, and notes on them whose data they have then. Only when that is noted on all of them may members
// run.
func (o Observation) fill(d *Decision) {
	d.LookAgain = waiting
	if !o.Cluster.Begins && (o.Cluster.Holder != o.Name || !o.Cluster.Stopped) {
		// Somebody let it go: its members may run.
		o.stop(d)
		return
	}
	if o.disown(d, "") {
		o.say(d, Filling, ReasonRestoring, "the volumes are filled")
		d.LookAgain = atOnce
		return
	}
	var lacks, failed []string
	var filled []Filled
	for i, member := range o.Recorded.Members {
		key, claim := AgentKey{Fill, i}, o.Claims[member]
		agent := o.Agents[key]
		switch {
		case claim.Leaving:
			lacks = append(lacks, fmt.Sprintf("the claims of %s are being deleted", member))
		case claim.Missing:
			d.Actions = append(d.Actions, MakeClaims{Member: member})
			lacks = append(lacks, fmt.Sprintf("the claims of %s are made", member))
			d.LookAgain = soon
		case agent.Foreign:
			failed = append(failed, nameTaken(o.Name, key))
		case !agent.Exists:
			d.Actions = append(d.Actions, StartAgent{key, member})
			lacks = append(lacks, fmt.Sprintf("an agent is started for %s", member))
		case agent.Ended && !agent.Failed && agent.Filled != nil:
			filled = append(filled, *agent.Filled)
		case agent.Ended && !agent.Failed:
			d.Actions = append(d.Actions, RemoveAgent{key}) // What it found out is lost with its pod; it can be asked again.
			lacks = append(lacks, fmt.Sprintf("another agent is started for %s", member))
		case agent.Ended:
			failed = append(failed, fmt.Sprintf("%s: %s", member, agent.Trouble))
		default:
			lacks = append(lacks, strings.TrimSuffix(fmt.Sprintf("an agent fills the volume of %s; %s", member, agent.Trouble), "; "))
		}
	}
	switch {
	case len(failed) > 0:
		o.rollBack(d, strings.Join(failed, "; "))
		return
	case len(lacks) > 0:
		o.say(d, Filling, ReasonRestoring, fmt.Sprintf("%d of %d volumes are filled%s; %s", len(filled), len(o.Recorded.Members), o.estimate(), strings.Join(lacks, "; ")))
		return
	}
	if slices.ContainsFunc(filled, func(f Filled) bool { return f != filled[0] }) {
		o.rollBack(d, fmt.Sprintf("the volumes were filled with different data: %+v", filled))
		return
	}
	d.Report.ClusterID, d.Report.Revision, d.Report.Keys, d.Report.Digest = filled[0].ClusterID, filled[0].Revision, filled[0].Keys, filled[0].Digest
	o.say(d, Starting, ReasonRestoring, "the members start")
	d.LookAgain = atOnce
}

// estimate says how long it may take, as far as that is known.
func (o Observation) estimate() string {
	if o.TrialTook == 0 {
		return ""
	}
	return fmt.Sprintf(" (a trial of the backup took %s)", o.TrialTook.Round(time.Millisecond))
}

// disown has all claims say that it is unsettled whose data they hold, unless it is what they will, before the first of them is given
// that: an EtcdCluster that is made again meanwhile would take all of them for what it had. It is whether there was one.
func (o Observation) disown(d *Decision, will string) bool {
	found := false
	for _, member := range o.Recorded.Members {
		if id := o.Claims[member].ClusterID; id != "" && id != core.Unsettled && id != will {
			d.Actions, found = append(d.Actions, MarkClaims{member, core.Unsettled}), true
		}
	}
	return found
}

// giveBack notes on all claims whose data they hold and then lets the cluster run with it. It is whether that is done.
func (o Observation) giveBack(d *Decision, id string) bool {
	marked := true
	for _, member := range o.Recorded.Members {
		if claim := o.Claims[member]; claim.ClusterID != id && !claim.Missing {
			d.Actions, marked = append(d.Actions, MarkClaims{member, id}), false
		}
	}
	d.LookAgain = soon
	if marked && (o.Cluster.Holder == o.Name || o.Cluster.Restored != id) {
		d.Actions = append(d.Actions, LetGo{ClusterID: id, Rests: o.Recorded.Phase != RollingBack})
		return false
	}
	return marked
}

// start lets the members run, and waits until they do.
func (o Observation) start(d *Decision) {
	if !o.giveBack(d, o.Recorded.ClusterID) {
		o.say(d, Starting, ReasonRestoring, "the members start")
		return
	}
	d.LookAgain = waiting
	// The Jobs hold the volumes. None may be left by when the restore is confirmed: one that lost its pod would fill a volume once more.
	switch filling := o.removeAgents(d, Fill); {
	case o.Cluster.ClusterID != o.Recorded.ClusterID || !o.Cluster.Available:
		o.say(d, Starting, ReasonRestoring, "waiting until the cluster serves: "+o.Cluster.Says)
		return
	case filling:
		o.say(d, Starting, ReasonRestoring, "the cluster serves; waiting until the agents that filled its volumes are gone")
		d.LookAgain = soon
		return
	}
	d.Report.AvailableAt = o.Now
	o.say(d, Comparing, ReasonRestoring, "the cluster serves; what it has is compared with what its volumes were filled with")
	d.LookAgain = atOnce
}

// compare waits for the comparison. That the data differs is a verdict, which stays. That this could not be found out is none.
func (o Observation) compare(d *Decision) {
	d.LookAgain = waiting
	key := AgentKey{Compare, 0}
	if said := o.Recorded.Condition; said.Reason == ReasonFailed {
		verdict, _, _ := strings.Cut(said.Message, " — ")
		o.differs(d, verdict)
		return
	}
	switch agent := o.Agents[key]; {
	case agent.Foreign:
		o.say(d, Comparing, ReasonWaiting, nameTaken(o.Name, key))
	case !agent.Exists:
		d.Actions = append(d.Actions, StartAgent{AgentKey: key})
	case agent.Ended && !agent.Failed:
		o.say(d, Restored, ReasonRestored, o.content())
		d.LookAgain = atOnce
	case agent.Ended && agent.Differs:
		o.differs(d, agent.Trouble)
	case agent.Ended && o.Completion == ConfirmNow:
		o.say(d, Confirming, ReasonRestored, "confirmed although it could not be compared: "+agent.Trouble)
	case agent.Ended:
		if !agent.Leaving {
			d.Actions = append(d.Actions, RemoveAgent{key})
		}
		o.say(d, Comparing, ReasonRestoring, "the cluster serves; what it has could not be compared, which is tried again: "+agent.Trouble)
	case agent.Trouble != "":
		o.say(d, Comparing, ReasonRestoring, "the cluster serves; what it has is compared: "+agent.Trouble)
	}
}

// differs decides about a cluster that has other data than its volumes were filled with: it is given back what it had. If that is
// nothing, its members stop, until somebody says what is to become of it.
func (o Observation) differs(d *Decision, verdict string) {
	d.LookAgain = waiting
	held := o.Cluster.Holder == o.Name
	switch {
	case o.Completion == ConfirmNow && held:
		d.Actions, d.LookAgain = append(d.Actions, LetGo{ClusterID: o.Recorded.ClusterID, Rests: true}), soon
		o.say(d, Comparing, ReasonFailed, verdict+" — that is confirmed: the members start")
	case o.Completion == ConfirmNow:
		o.say(d, Confirming, ReasonRestored, "confirmed although the comparison failed: "+verdict)
	case o.first():
		if o.Cluster.Holder == "" {
			d.Actions, d.LookAgain = append(d.Actions, Hold{}), soon
		}
		o.say(d, Comparing, ReasonFailed, verdict+" — so that no member runs: set spec.completion to RollBack, or delete this object, to have the volumes filled anew, or set it to Confirm if you know better")
	case o.Completion == Automatic:
		o.rollBack(d, verdict)
	default:
		o.say(d, Comparing, ReasonFailed, verdict+" — set spec.completion to RollBack, or to Confirm if you know better")
	}
}

func (o Observation) content() string {
	return fmt.Sprintf("the cluster has %d keys at revision %d, as its volumes were filled", o.Recorded.Keys, o.Recorded.Revision)
}

// await waits until what the cluster had may be given up.
func (o Observation) await(d *Decision) {
	if o.Completion == Manual {
		o.say(d, Restored, ReasonRestored, o.content()+"; what it had is kept: set spec.completion to Confirm or RollBack")
		return
	}
	o.say(d, Confirming, ReasonRestored, o.content()+"; what it had is deleted")
	d.LookAgain = atOnce
}

// confirm has what the cluster had deleted.
func (o Observation) confirm(d *Decision) {
	done, trouble := o.each(d, Confirm)
	if done {
		d.Report.CompletedAt = o.Now
		o.end(d, Completed, ReasonCompleted, o.content())
		return
	}
	d.LookAgain = waiting
	o.say(d, Confirming, ReasonRestored, strings.TrimSuffix(o.content()+"; what it had is deleted; "+trouble, "; "))
}

// rollBack brings back what the cluster had. Why is empty once that is recorded.
func (o Observation) rollBack(d *Decision, why string) {
	d.LookAgain = soon
	say := func(message string) {
		if why != "" {
			message = why
		} else if reason, _, found := strings.Cut(o.Recorded.Condition.Message, " — "); found {
			message = reason + " — " + message
		}
		o.say(d, RollingBack, ReasonRollingBack, message)
	}
	if o.Recorded.Phase != RollingBack {
		d.Actions = nil
		if o.first() {
			why += " — the cluster is to wait for its first data again"
		} else {
			why += " — the cluster is given back what it had"
		}
		say("")
		return
	}
	if o.first() {
		o.empty(d, say)
		return
	}
	switch {
	case o.Cluster.Restored == o.Recorded.EarlierID && o.Cluster.Holder != o.Name:
		reason, _, _ := strings.Cut(o.Recorded.Condition.Message, " — ")
		d.Report.CompletedAt = o.Now
		o.end(d, RolledBack, ReasonRolledBack, reason+" — the cluster has what it had")
		return
	case o.Cluster.Holder == "":
		d.Actions = append(d.Actions, Hold{})
		say("waiting until all members have stopped")
		return
	case o.Cluster.Holder != o.Name:
		d.LookAgain = waiting
		say(fmt.Sprintf("EtcdRestore %s holds the cluster: wait until it is over, or end it", o.Cluster.Holder))
		return
	case !o.Cluster.Stopped:
		say("waiting until all members have stopped")
		return
	}
	if o.removeAgents(d, Fill) {
		say("waiting until the agents that fill volumes are gone")
		return
	}
	if o.disown(d, o.Recorded.EarlierID) {
		say("the volumes are given back what they had")
		return
	}
	done, trouble := o.each(d, RollBack)
	if !done {
		d.LookAgain = waiting
		say(strings.TrimSuffix("the volumes are given back what they had; "+trouble, "; "))
		return
	}
	o.giveBack(d, o.Recorded.EarlierID)
	say("the members start with what they had")
}

// empty has a cluster that had nothing wait for its first data again.
func (o Observation) empty(d *Decision, say func(string)) {
	o.removeAgents(d, Fill)
	switch c := o.Cluster; {
	case c.Begins || c.Restored == core.Unsettled && c.Holder != o.Name:
		reason, _, _ := strings.Cut(o.Recorded.Condition.Message, " — ")
		o.end(d, Failed, ReasonFailed, reason+" — the cluster waits for its first data")
	case c.Holder == "":
		d.Actions = append(d.Actions, Hold{})
		say("waiting until all members have stopped")
	case c.Holder != o.Name:
		d.LookAgain = waiting
		say(fmt.Sprintf("EtcdRestore %s holds the cluster: wait until it is over, or end it", c.Holder))
	case !c.Stopped:
		say("waiting until all members have stopped")
	case o.disown(d, ""):
		say("the volumes are nobody's")
	default:
		d.Actions = append(d.Actions, LetGo{ClusterID: core.Unsettled})
		say("the cluster is to wait for its first data")
	}
}

// each has an agent of a kind work for every member, until all have done it. One that fails is started again.
func (o Observation) each(d *Decision, kind Kind) (done bool, trouble string) {
	done = true
	for i, member := range o.Recorded.Members {
		key := AgentKey{kind, i}
		agent := o.Agents[key]
		switch {
		case agent.Ended && !agent.Failed:
			continue
		case agent.Foreign:
			trouble = nameTaken(o.Name, key)
		case o.Claims[member].Missing:
			continue // There is nothing that could be brought back, or deleted.
		case !agent.Exists:
			d.Actions = append(d.Actions, StartAgent{key, member})
		case agent.Ended && !agent.Leaving:
			d.Actions = append(d.Actions, RemoveAgent{key})
			trouble = fmt.Sprintf("%s: %s", member, agent.Trouble)
		case agent.Trouble != "":
			trouble = fmt.Sprintf("%s: %s", member, agent.Trouble)
		}
		done = false
	}
	return done, trouble
}

// tidy removes what is left of the agents, has the spec of the cluster carried out again, and lets the object go.
func (o Observation) tidy(d *Decision) {
	for key, agent := range o.Agents {
		if agent.Exists && !agent.Foreign && !agent.Leaving && (!agent.Ended || !agent.Failed) {
			d.Actions = append(d.Actions, RemoveAgent{key})
		}
	}
	slices.SortFunc(d.Actions, func(a, b Action) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	if o.Cluster.Rests == o.Name && !o.anotherCluster() {
		d.Actions = append(d.Actions, Settle{})
	}
	if o.Held {
		d.Actions = append(d.Actions, Release{})
	}
}

// removeAgents removes the agents of a kind, and tells whether there still are some.
func (o Observation) removeAgents(d *Decision, kind Kind) (left bool) {
	for i := range o.Recorded.Members {
		agent := o.Agents[AgentKey{kind, i}]
		if !agent.Exists || agent.Foreign {
			continue
		}
		if left = true; !agent.Leaving {
			d.Actions = append(d.Actions, RemoveAgent{AgentKey{kind, i}})
		}
	}
	return left
}

// JobName is the name of the Job of an agent.
func JobName(restore string, key AgentKey) string {
	return fmt.Sprintf("%s-%s-%d", restore, strings.ToLower(string(key.Kind)), key.Index)
}

func nameTaken(restore string, key AgentKey) string {
	return fmt.Sprintf("Job %s exists and is not this restore's: delete it, or choose another name for the restore", JobName(restore, key))
}

func (o Observation) end(d *Decision, phase string, reason core.Reason, message string) {
	o.say(d, phase, reason, message)
	d.LookAgain = atOnce
}

func (o Observation) say(d *Decision, phase string, reason core.Reason, message string) {
	status := core.False
	if slices.Contains([]string{Restored, Confirming, Completed}, phase) {
		status = core.True
	}
	next := core.Condition{Type: Complete, Status: status, Reason: reason, Message: message, Since: o.Now}
	if o.Recorded.Condition.Status == status {
		next.Since = o.Recorded.Condition.Since
	}
	d.Report.Phase, d.Report.Condition = phase, next
}
