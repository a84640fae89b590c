package sim

import (
	"fmt"
	"slices"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
)

// Restore is an EtcdRestore. The model has one at a time, and counts them.
type Restore struct {
	Exists, Deleting bool
	// Kept is whether it has our finalizer.
	Kept bool
	// First is whether it brings a cluster its first data, with which it goes.
	First      bool
	Number     uint8
	Completion Completion
	// Phase is the place of its phase in phases.
	Phase uint8
	// Members are those whose volumes it fills.
	Members Set
	// Earlier and ID are the clusters whose data was and is to be on them.
	Earlier, ID uint8
	// Of is the incarnation of the EtcdCluster that it began with.
	Of uint8
	// Held is whether it is noted since when the cluster is held, Differs that the cluster has other data than was brought.
	Held, Differs bool
	Compare       Job
}

// Completion is when what the cluster had is given up.
type Completion uint8

// Ways of completion.
const (
	ByItself Completion = iota
	ByUser
	Confirmed
	TakenBack
)

var completions = [...]restores.Completion{restores.Automatic, restores.Manual, restores.ConfirmNow, restores.RollItBack}

var phases = [...]string{
	"", restores.Pending, restores.BackingUp, restores.Stopping, restores.Filling, restores.Starting, restores.Comparing, restores.Restored,
	restores.Confirming, restores.Completed, restores.RollingBack, restores.RolledBack, restores.Failed,
}

func (r *Restore) phase() string { return phases[r.Phase] }

// firstRestored is above every incarnation: clusters whose data restores bring are numbered from it.
const firstRestored = 16

// unsettled is that of claims whose volumes are being given other data.
const unsettled = 63

// brings is the cluster whose data a restore brings. Agents compute its ID of the restore's own token, so that it is a new one.
func (r *Restore) brings() uint8 { return firstRestored + r.Number }

// Job is an agent.
type Job struct {
	Exists, Leaving, Ended, Failed bool
	// Differs is whether it failed since the data is another.
	Differs bool
	// Of is the number of its restore.
	Of uint8
}

// works is whether it may touch the volume.
func (j Job) works() bool { return j.Exists && !j.Ended }

// The agents of a member, which work at its volume.
const (
	fills = iota
	rollsBack
	confirms
	memberJobs
)

var agentKinds = [memberJobs]restores.Kind{restores.Fill, restores.RollBack, restores.Confirm}

// Aside is what was moved aside on a volume.
type Aside struct {
	Data uint8
	Old  bool
	Harm Harm
}

// Rests is what a restore rests on, by its number; 0 if there is none.
type Rests struct {
	By, Size uint8
	Storage  VolumeSpec
	// Waits is, in what the operator sees, whether the user asks for something else.
	Waits bool
}

// rest notes what a restore rests on. Its size is the number of members that it has filled.
func (c *Cluster) rest(by uint8, members Set) {
	if c.Rests.By != by {
		c.Rests = Rests{By: by, Storage: c.Storage}
	}
	if c.asRestored().Size > 0 {
		c.Rests.Size = uint8(members.size())
	}
}

// settle has the spec count again, which may ask for something else.
func (c *Cluster) settle(p *Pass) {
	if c.asRestored().Rests.Waits {
		p.changes = append(p.changes, "the spec counts again")
	}
	c.Rests = Rests{}
}

// asRestored is the EtcdCluster as a restore has found it that may still roll it back.
func (c Cluster) asRestored() Cluster {
	if c.Rests.By == 0 {
		return c
	}
	size, storage := c.Size, c.Storage
	if c.Rests.Size > 0 {
		c.Size = c.Rests.Size
	}
	c.Storage = c.Rests.Storage
	c.Rests.Waits = c.Size != size || c.Storage != storage
	return c
}

// resting is the EtcdCluster as the operator sees it.
func (w *World) resting(c Cluster) Cluster {
	if w.Thaws {
		return c
	}
	return c.asRestored()
}

// sleeps is whether no member is to run.
func (c *Cluster) sleeps() bool { return c.Size == 0 || c.Holder != 0 }

// begins is whether it waits for its first data.
func (c *Cluster) begins() bool {
	return c.Bootstrap && (c.Status.ID == 0 && c.Restored == 0 || c.Restored == unsettled)
}

// begins is that as well, unless an earlier EtcdCluster has left something that comes first.
func (s *State) begins() bool {
	c := &s.Live.Cluster
	for m := range s.members() {
		member := &s.Live.Members[m]
		if c.Restored == unsettled {
			break
		}
		if member.Workload.Exists || member.Claim.Exists && member.Claim.Founder != c.Incarnation {
			return false
		}
	}
	return c.begins()
}

// restoring are the steps of restores that happen by themselves.
var restoring = []Step{
	{Name: "the EtcdRestore is made that the cluster begins with", Fair: true, Topic: Restoring, Do: makeFirst},
	{Name: "the garbage collector deletes the EtcdRestore", Fair: true, Topic: Restoring, Do: collectRestore},
	{Name: "the restore", Fair: true, Topic: Restoring, Do: passOfRestore(Cut{})},
	{Name: "the restore's late step arrives", Fair: true, Topic: Restoring, Do: arriveRestore},
	{Name: "an agent fills the volume of", Each: true, Fair: true, Topic: Restoring, Do: fillVolume},
	{Name: "an agent gives back what was on the volume of", Each: true, Fair: true, Topic: Restoring, Do: giveBackVolume},
	{Name: "an agent deletes what was on the volume of", Each: true, Fair: true, Topic: Restoring, Do: forgetVolume},
	{Name: "an agent is gone from", Each: true, Fair: true, Topic: Restoring, Do: agentGone},
	{Name: "an agent compares", Fair: true, Topic: Restoring, Do: compare},
}

// rolledBackTo is whether a restore in a phase may still be rolled back.
func rolledBackTo(phase string) bool {
	return restores.Begun(phase) && phase != restores.Confirming
}

// makeFirst is what internal/controller's BootstrapReconciler does.
func makeFirst(w *World, s *State, _ int, _ *Pass) bool {
	c := &s.Live.Cluster
	if !c.Exists || c.Deleting || !c.begins() || c.sleeps() || s.Restore.Exists || int(s.Restore.Number) >= w.Restores {
		return false
	}
	for m := range s.members() {
		if claim := &s.Live.Members[m].Claim; claim.Exists && claim.Founder != c.Incarnation {
			return false
		}
	}
	s.newRestore(Restore{First: true})
	return true
}

func (s *State) newRestore(r Restore) {
	r.Exists, r.Number = true, s.Restore.Number+1
	s.Restore, s.LateRestore.SameRestore = r, false
}

// collectRestore: that with which a cluster begins is owned by it.
func collectRestore(_ *World, s *State, _ int, _ *Pass) bool {
	r, c := &s.Restore, &s.Live.Cluster
	if !r.Exists || !r.First || r.Deleting || c.Exists && c.begins() || c.Exists && c.Restored == r.brings() || c.Exists && c.Status.ID != 0 {
		return false
	}
	s.deleteRestore()
	return true
}

// deleteRestore deletes the object, which stays as long as it has a finalizer.
func (s *State) deleteRestore() {
	s.LateRestore.SameRestore = false
	if s.Restore.Deleting = true; !s.Restore.Kept {
		s.dropRestore()
	}
}

// dropRestore takes it away, and with it its agents. What it had come to is kept, to be judged by.
func (s *State) dropRestore() {
	s.Restore.Exists, s.Restore.Compare, s.LateRestore.SameRestore = false, Job{}, false
	for m := range s.Nodes {
		for kind := range s.Nodes[m].Jobs {
			if job := &s.Nodes[m].Jobs[kind]; job.Exists {
				job.Leaving = true
			}
		}
	}
}

// works is whether an agent of a kind can work at the volume of a member.
func (s *State) works(m, kind int) (*Job, *Claim, bool) {
	job, claim := &s.Nodes[m].Jobs[kind], &s.Live.Members[m].Claim
	return job, claim, job.works() && claim.Exists && claim.Bound && !claim.Deleting
}

// fillVolume is internal/backup's Swap, one rename after the other. What was prepared is prepared at any time.
func fillVolume(_ *World, s *State, m int, p *Pass) bool {
	job, claim, can := s.works(m, fills)
	if !can {
		return false
	}
	id := s.Restore.brings()
	if claim.Data != id {
		s.checkSwap(m, p)
	}
	switch {
	case claim.Data == id:
	case claim.Data != 0 && claim.Aside.Data != 0:
		// Something was started in between.
		job.Failed = true
	case claim.Data != 0:
		claim.Aside = Aside{claim.Data, claim.Old, claim.Harm}
		claim.Data, claim.Old, claim.Harm = 0, false, Intact
		return true
	default:
		claim.Data, claim.Old, claim.Harm = id, false, Intact
	}
	job.Ended = true
	return true
}

// giveBackVolume is internal/backup's RollBack.
func giveBackVolume(_ *World, s *State, m int, p *Pass) bool {
	job, claim, can := s.works(m, rollsBack)
	if !can {
		return false
	}
	if claim.Data == s.Restore.brings() || claim.Aside.Data != 0 {
		s.checkSwap(m, p)
	}
	switch {
	case claim.Data == s.Restore.brings():
		claim.Data, claim.Old, claim.Harm = 0, false, Intact
		return true
	case claim.Data != 0 && claim.Aside.Data != 0:
		job.Failed = true
	case claim.Aside.Data != 0:
		claim.Data, claim.Old, claim.Harm = claim.Aside.Data, claim.Aside.Old, claim.Aside.Harm
		claim.Aside = Aside{}
	}
	job.Ended = true
	return true
}

// forgetVolume is internal/backup's Confirm.
func forgetVolume(_ *World, s *State, m int, p *Pass) bool {
	job, claim, can := s.works(m, confirms)
	if !can {
		return false
	}
	// One that was being confirmed fails if its EtcdCluster is deleted.
	r, c := &s.Restore, &s.Live.Cluster
	gone := r.phase() == restores.Failed && (!c.Exists || c.Incarnation != r.Of)
	if phase := r.phase(); phase != restores.Confirming && phase != restores.Completed && !gone {
		p.broke(KeepsEarlier, "what was on the volume of %s is deleted, and the restore is %s", memberName(m), phase)
	}
	claim.Aside, job.Ended = Aside{}, true
	return true
}

// agentGone ends the deletion of agents: their pods go first.
func agentGone(_ *World, s *State, m int, _ *Pass) bool {
	could := false
	for kind := range s.Nodes[m].Jobs {
		if job := &s.Nodes[m].Jobs[kind]; job.Leaving {
			*job, could = Job{}, true
		}
	}
	return could
}

// compare needs a cluster that serves.
func compare(_ *World, s *State, _ int, _ *Pass) bool {
	job := &s.Restore.Compare
	if !job.works() || s.Leader == 0 {
		return false
	}
	job.Ended, job.Differs = true, s.Formed != s.Restore.ID
	job.Failed = job.Differs
	return true
}

// agentFails is an agent that cannot do what it is for. An agent that is only killed is started again by its Job.
func agentFails(kind int) func(*World, *State, int, *Pass) bool {
	return func(_ *World, s *State, m int, _ *Pass) bool {
		job := &s.Nodes[m].Jobs[kind]
		could := job.works()
		if could {
			job.Ended, job.Failed = true, true
		}
		return could
	}
}

// comparisonFails is a comparison that finds other data, or cannot be made.
func comparisonFails(differs bool) func(*World, *State, int, *Pass) bool {
	return func(_ *World, s *State, _ int, _ *Pass) bool {
		job := &s.Restore.Compare
		could := job.works()
		if could {
			job.Ended, job.Failed, job.Differs = true, true, differs
		}
		return could
	}
}

// restoreBackup makes another EtcdRestore, once nothing is left of the one before.
func restoreBackup(completion Completion) func(*World, *State, int, *Pass) bool {
	return func(w *World, s *State, _ int, _ *Pass) bool {
		if r := &s.Restore; int(r.Number) >= w.Restores || !s.Live.Cluster.Exists || r.Exists && !restores.Over(r.phase()) || s.Live.Cluster.Rests.By != 0 || s.anyJob() {
			return false
		}
		s.newRestore(Restore{Completion: completion})
		return true
	}
}

// hasAgent is whether an agent needs the volume of a member.
func (s *State) hasAgent(m int) bool {
	return slices.ContainsFunc(s.Nodes[m].Jobs[:], Job.works)
}

func (s *State) anyJob() bool {
	for m := range s.members() {
		if s.Nodes[m].Jobs != [memberJobs]Job{} {
			return true
		}
	}
	return s.Restore.Compare.Exists
}

func setCompletion(completion Completion) func(*World, *State, int, *Pass) bool {
	return func(_ *World, s *State, _ int, _ *Pass) bool {
		r := &s.Restore
		could := r.Exists && !restores.Over(r.phase()) && r.Completion != completion && r.Completion != TakenBack
		if could {
			r.Completion, s.LateRestore.SameRestore = completion, false
		}
		return could
	}
}

func askToDeleteRestore(_ *World, s *State, _ int, _ *Pass) bool {
	could := s.Restore.Exists && !s.Restore.Deleting
	if could {
		s.deleteRestore()
	}
	return could
}

// comesBack makes the cluster whose data a member starts with the one that counts, unless another one runs. What a restore has
// brought starts with the members that it was made for, none of which has published itself.
func (s *State) comesBack(id uint8) {
	if id == s.Formed || id == 0 {
		return
	}
	for m := range s.members() {
		if s.runs(m) && s.hasData(m) {
			return
		}
	}
	switch {
	case id == s.Earlier.Formed:
		s.Etcd, s.Earlier = s.Earlier, s.Etcd
	case id >= firstRestored:
		s.Etcd, s.Earlier = Etcd{Formed: id, Founders: s.Restore.Members, Voters: s.Restore.Members}, s.Etcd
	}
	s.Leader, s.Earlier.Leader = 0, 0
	for s.Used > 0 && s.Live.Members[s.Used-1].empty() {
		s.Used--
	}
}

// checkSwap checks that no member runs while the volume of one is given other data.
func (s *State) checkSwap(m int, p *Pass) {
	for other := range s.members() {
		if s.Live.Members[other].Pod.Phase == Running {
			p.broke(SwapsAlone, "the data of %s is moved while %s runs", memberName(m), memberName(other))
		}
	}
}

// checkResumes checks a member that starts, in worlds with restores.
func (s *State) checkResumes(m int, p *Pass) {
	claim, cluster := &s.Live.Members[m].Claim, &s.Live.Cluster
	for other := range s.members() {
		data, id := s.Live.Members[other].Claim, s.Restore.brings()
		_, _, filling := s.works(other, fills)
		_, _, undoing := s.works(other, rollsBack)
		if filling && data.Data != id || undoing && (data.Data == id || data.Aside.Data != 0) {
			p.broke(SwapsAlone, "%s starts while an agent works at the volume of %s", memberName(m), memberName(other))
		}
	}
	if claim.Data != 0 && cluster.Exists && cluster.Restored != 0 && claim.Data != cluster.Restored {
		p.broke(OneData, "%s starts with data of cluster %d, and what the restore has brought is of %d", memberName(m), claim.Data, cluster.Restored)
	}
	if claim.Data >= firstRestored && cluster.Exists && cluster.Restored == 0 && cluster.Status.ID == 0 && claim.Marked == 0 {
		p.broke(SwapsAlone, "%s starts with what a restore has brought, before that is said to be there", memberName(m))
	}
}

// checkOneData checks that members that run have the data of one cluster.
func (s *State) checkOneData(p *Pass) {
	if s.Restore.Number == 0 {
		return
	}
	first := -1
	for m := range s.members() {
		switch data := s.Live.Members[m].Claim.Data; {
		case !s.runs(m):
		case first < 0:
			first = m
		case s.Live.Members[first].Claim.Data != data:
			p.broke(OneData, "%s runs with data of cluster %d, %s with that of %d", memberName(first), s.Live.Members[first].Claim.Data, memberName(m), data)
		}
	}
}

// checkRestored checks what has become of a restore when nothing happens any more.
func (w *World) checkRestored(s *State, v *verdict, p *Pass) {
	r, c := &s.Restore, s.Live.Cluster.asRestored()
	phase := r.phase()
	if r.Number == 0 || c.Deleting || c.Paused || w.anyGone(s) || w.blockedByVolumes(s, v) {
		return
	}
	withheld := r.Earlier == 0 && phase == restores.Comparing && r.Differs
	if c.Rests.By != 0 && (!r.Exists || restores.Over(phase)) {
		p.broke(GivesBack, "what the spec asks for waits for ever: restore %d is %s", c.Rests.By, phase)
	}
	if withheld && c.Holder == 0 {
		p.broke(GivesBack, "the cluster serves other data than those that it was to begin with")
	}
	if c.Holder != 0 && !withheld {
		p.broke(GivesBack, "the cluster is held for ever: restore %d is %s", c.Holder, phase)
	}
	if c.Size == 0 || c.wish(Heading{}).fails() || s.recoverable() < s.quorum() {
		return
	}
	want, data := fmt.Sprintf("restore %d is %s", r.Number, phase), r.Earlier
	switch phase {
	case restores.Completed, restores.Restored, restores.Comparing:
		data = r.ID
	case restores.Failed:
		// Nothing was touched, the first data are still to come, or the EtcdCluster was deleted: then what is there is what volumes have, once
		// a person says so.
		data = 0
	case restores.RolledBack, restores.Pending, "":
	default:
		p.broke(GivesBack, "%s for ever: %s", want, v.available.Message)
	}
	waits := phase == restores.Restored && r.Completion == ByUser || phase == restores.Comparing && r.Differs || phase == restores.Pending && !r.First
	if r.Exists && !restores.Over(phase) && !waits {
		p.broke(GivesBack, "%s for ever", want)
	}
	if data != 0 && s.Formed != data {
		p.broke(GivesBack, "%s, but the cluster runs with the data of %d and not of %d", want, s.Formed, data)
	}
	for m := range s.members() {
		if aside := s.Live.Members[m].Claim.Aside.Data; aside != 0 && (phase == restores.Completed || phase == restores.RolledBack) && r.Members.has(m) {
			p.broke(GivesBack, "%s, but data of cluster %d is still aside on the volume of %s", want, aside, memberName(m))
		}
	}
}
