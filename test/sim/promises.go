package sim

import (
	"fmt"
	"math/bits"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Promise is something that has to hold in every state, or of every step.
type Promise string

// The promises.
const (
	// KeepsQuorum: a restart leaves a quorum of members that serve and are caught up, if there was a quorum before.
	KeepsQuorum Promise = "keeps quorum"
	// KeepsQuorumLate: a restart that was decided about earlier leaves a quorum of members that serve.
	KeepsQuorumLate Promise = "a late restart keeps quorum"
	// LetsElect: a restart leaves enough processes for an election that is under way, once a cluster is recorded.
	LetsElect Promise = "lets members elect"
	// OneAtATime: no member is taken down while another is still down by our doing.
	OneAtATime Promise = "one member at a time"
	// LeaderLast: the leader hands over before it is restarted, if it can be reached, and to a member that can lead.
	LeaderLast Promise = "leadership moves before the leader restarts"
	// FoundsOnce: no cluster forms while a volume holds data of another one that has formed.
	FoundsOnce Promise = "a cluster is founded once"
	// StartsClean: no member even starts to found one then.
	StartsClean Promise = "no member founds a cluster next to data"
	// StaysLost: a member that is recorded to have run never starts over on an empty volume.
	StaysLost Promise = "lost data is not papered over"
	// KeepsData: no claim that has a volume is deleted.
	KeepsData Promise = "no volume is deleted"
	// OneDisruption: a decision has one disruptive action at most, and it is the last.
	OneDisruption Promise = "one disruption a decision"
	// HandsOff: nothing is done to a cluster that is paused or on its way out.
	HandsOff Promise = "hands off"
	// Settles: without faults the operator comes to a state in which it writes nothing any more.
	Settles Promise = "settles"
	// Delivers: that state is as the spec asks, as far as the data is there.
	Delivers Promise = "delivers what the spec asks"
	// Revives: a member whose StatefulSet was deleted gets it again.
	Revives Promise = "a deleted StatefulSet comes back"
	// Follows: a claim that never had a volume follows the spec.
	Follows Promise = "an unbound claim follows the spec"
	// Contained: a spec that never runs takes down one member at most.
	Contained Promise = "a spec that never runs is contained"
	// TellsTruth: the status at the end says what is the case.
	TellsTruth Promise = "the status is true"
)

// Broken is a promise that was broken, and how.
type Broken struct {
	Promise Promise
	Why     string
}

func (p *Pass) broke(promise Promise, format string, args ...any) {
	for _, before := range p.Broken {
		if before.Promise == promise {
			return
		}
	}
	p.Broken = append(p.Broken, Broken{Promise: promise, Why: fmt.Sprintf(format, args...)})
}

// checkDecision checks what can be told from a decision alone.
func checkDecision(o core.Observation, d core.Decision) []Broken {
	if (o.Cluster.Spec.Paused || o.Cluster.Deleting) && len(d.Actions) > 0 {
		return []Broken{{HandsOff, fmt.Sprintf("paused or deleting, but %d actions", len(d.Actions))}}
	}
	for i, action := range d.Actions {
		if action.Disruptive() && i != len(d.Actions)-1 {
			return []Broken{{OneDisruption, action.Step() + " is not the last action"}}
		}
	}
	return nil
}

// checkRestart checks the restart of a member against what is really the case.
func (w *World) checkRestart(s *State, m int, p *Pass) {
	if w.Size == 1 {
		return
	}
	w.checkContained(s, m, p)
	if !s.serves(m) {
		return
	}
	staying, need := w.staying(s, m), quorum(w.Size)
	if p.late {
		if after := w.running(s, m); s.Leader != 0 && after < need {
			p.broke(KeepsQuorumLate, "without %s only %d members serve, of %d needed", memberName(m), after, need)
		}
		return
	}
	if s.Leader != 0 && staying < need {
		p.broke(KeepsQuorum, "without %s only %d members serve and are caught up, of %d needed", memberName(m), staying, need)
	}
	if !w.recorded(s) {
		// Nobody was told of the cluster yet.
		return
	}
	if s.Leader == 0 && w.staying(s, -1) >= need && staying < need {
		p.broke(LetsElect, "an election was under way; without %s only %d members can elect, of %d needed", memberName(m), staying, need)
	}
	for other := range w.Size {
		if other != m && s.Nodes[other].DownByUs {
			p.broke(OneAtATime, "%s serves, and %s is still down by our doing", memberName(m), memberName(other))
		}
	}
	if s.Leader == uint8(m+1) && !s.Nodes[m].Unreachable {
		p.broke(LeaderLast, "%s leads", memberName(m))
	}
}

// recorded is whether it is recorded anywhere that the cluster has formed.
func (w *World) recorded(s *State) bool {
	for m := range w.Size {
		if s.Live.Members[m].Claim.Marked != 0 {
			return true
		}
	}
	return s.Live.Cluster.RecordedID != 0
}

// checkHandover checks that the new leader can lead.
func (w *World) checkHandover(s *State, to int, p *Pass) {
	if s.Live.Members[to].Pod.Deleting || s.Nodes[to].Behind {
		p.broke(LeaderLast, "the leadership went to %s, which is stopping or behind", memberName(to))
	}
}

// checkFounding checks a member that starts on an empty volume.
func (w *World) checkFounding(s *State, m int, p *Pass) {
	template := s.Live.Members[m].Pod.Template
	for other := range w.Size {
		if data := s.Live.Members[other].Claim.Data; data != 0 && data == s.Formed && data != template.Token+1 {
			p.broke(StartsClean, "%s founds another cluster while the volume of %s holds data", memberName(m), memberName(other))
		}
	}
	if s.Nodes[m].Ran != 0 {
		p.broke(StaysLost, "%s starts empty although it is recorded to have run", memberName(m))
	}
	if template.Partial {
		p.broke(FoundsOnce, "%s founds a cluster that lacks members", memberName(m))
	}
}

// checkForming checks a majority that forms a cluster.
func (w *World) checkForming(s *State, id uint8, p *Pass) {
	for m := range w.Size {
		if data := s.Live.Members[m].Claim.Data; data != 0 && data == s.Formed && data != id {
			p.broke(FoundsOnce, "cluster %d forms while the volume of %s holds data of cluster %d", id, memberName(m), data)
		}
	}
}

// checkClaim checks a claim that is deleted.
func checkClaim(claim Claim, m int, p *Pass) {
	if claim.Bound || claim.Data != 0 {
		p.broke(KeepsData, "the claim of %s has a volume", memberName(m))
	}
}

// checkEnd checks a state in which nothing happens any more.
func (w *World) checkEnd(s *State, p *Pass) {
	cluster := &s.Live.Cluster
	if !cluster.Exists {
		return
	}
	v := w.decide(s, false)
	switch {
	case len(v.actions) > 0 || v.disruptive != nil:
		p.broke(Settles, "nothing changes any more, but the operator still acts: %v %v", v.actions, v.disruptive)
	case w.restless(s):
		p.broke(Settles, "the report changes although nothing else does")
	case v.id != cluster.RecordedID || v.founders != cluster.RecordedFounders:
		p.broke(Settles, "the status cannot be recorded")
	}
	if cluster.Deleting {
		p.broke(Settles, "the deletion never ends")
	}
	if !cluster.Paused && w.checkRevived(s, v, p) && cluster.Hash != Bad {
		w.checkDelivered(s, v, p)
	}
	w.checkReport(s, v, p)
}

func conditionOf(r core.Report, kind string) core.Condition {
	for _, c := range r.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return core.Condition{}
}

// checkReport compares the status with the truth.
func (w *World) checkReport(s *State, v *verdict, p *Pass) {
	available, degraded := v.available, v.degraded
	if (available.Status == core.True) != (s.Leader != 0) {
		p.broke(TellsTruth, "Available is %s (%s), leader %d", available.Status, available.Message, s.Leader)
	}
	for m := range w.Size {
		member := &s.Live.Members[m]
		ran := member.Claim.Marked != 0 || member.Workload.Exists && member.Workload.Want.Sealed
		if ran && !s.serves(m) && degraded.Status != core.True {
			p.broke(TellsTruth, "%s has run and does not serve, but nothing is Degraded", memberName(m))
		}
	}
}

// checkContained checks that a member is not moved to a template with which another one does not run.
func (w *World) checkContained(s *State, m int, p *Pass) {
	member := &s.Live.Members[m]
	moves := member.Workload.Known.Hash == Bad && member.Pod.Template.Hash != Bad
	if s.Formed == 0 || member.Claim.Data != s.Formed || !moves {
		return
	}
	for other := range w.Size {
		member := &s.Live.Members[other]
		if other != m && member.Claim.Data == s.Formed && member.Pod.Exists && member.Pod.Template.Hash == Bad {
			p.broke(Contained, "%s is moved to a spec with which %s does not run", memberName(m), memberName(other))
		}
	}
}

// checkRevived checks that every founder, and every member with data, has a StatefulSet.
func (w *World) checkRevived(s *State, v *verdict, p *Pass) bool {
	all := true
	for m := range w.Size {
		member := &s.Live.Members[m]
		wanted := s.Live.Cluster.RecordedFounders&(1<<m) != 0 || s.Formed != 0 && member.Claim.Data == s.Formed
		if wanted && !member.Workload.Exists && !w.blockedByVolumes(s, v) {
			p.broke(Revives, "the StatefulSet of %s is never made again", memberName(m))
			all = false
		}
	}
	return all
}

// checkDelivered checks that every member with data runs what the spec asks.
func (w *World) checkDelivered(s *State, v *verdict, p *Pass) {
	cluster := &s.Live.Cluster
	waits := false
	for m := range w.Size {
		claim := &s.Live.Members[m].Claim
		if claim.Exists && !claim.Bound && claim.Storage != cluster.Storage && !w.blockedByVolumes(s, v) {
			waits = true
			p.broke(Follows, "the claim of %s waits for a volume that the spec does not ask for", memberName(m))
		}
	}
	if s.Formed == 0 {
		if !waits && !w.excused(s, v) {
			p.broke(Delivers, "the cluster was never formed: %s", v.degraded.Message)
		}
		return
	}
	if w.withData(s) < quorum(w.Size) || w.blockedByVolumes(s, v) {
		return
	}
	if cluster.RecordedID != s.Formed {
		p.broke(Delivers, "cluster %d is not recorded", s.Formed)
	}
	for m := range w.Size {
		member := &s.Live.Members[m]
		if member.Claim.Data != s.Formed {
			continue
		}
		if !s.serves(m) {
			p.broke(Delivers, "%s has its data but does not serve", memberName(m))
		}
		// While a volume is lost the rollout waits.
		whole := w.withData(s) == w.Size
		if whole && (member.Workload.Want.Hash != cluster.Hash || member.Pod.Template.Hash != cluster.Hash) {
			p.broke(Delivers, "%s does not run what the spec asks", memberName(m))
		}
		if member.Claim.Marked != s.Formed || member.Claim.Owner != cluster.Incarnation {
			p.broke(Delivers, "%s is not marked", memberName(m))
		}
		if member.Workload.Want.Hash == cluster.Hash && !member.Workload.Want.Sealed {
			p.broke(Delivers, "%s is not sealed", memberName(m))
		}
	}
}

// blockedByVolumes is whether volumes of an earlier object of the same name, that do not say whose data they hold,
// are in the way, and reported. A person has to decide.
func (w *World) blockedByVolumes(s *State, v *verdict) bool {
	blocked := false
	if v.degraded.Reason != core.ReasonDataVolumesExist {
		return false
	}
	for m := range w.Size {
		claim := &s.Live.Members[m].Claim
		if claim.Marked != 0 {
			return false
		}
		blocked = blocked || claim.Bound && claim.Owner != s.Live.Cluster.Incarnation
	}
	return blocked
}

// excused is whether there is a reason why no cluster has formed.
func (w *World) excused(s *State, v *verdict) bool {
	var refused uint8
	for m := range w.Size {
		member := &s.Live.Members[m]
		if member.Workload.Exists && member.Workload.Storage != s.Live.Cluster.Storage && w.ClassMissing {
			refused |= 1 << m
		}
	}
	return w.blockedByVolumes(s, v) || bits.OnesCount8(refused) > 0 || w.ClassMissing && s.Live.Cluster.Storage == 0
}
