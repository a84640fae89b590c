package sim

import (
	"fmt"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Promise is something that has to hold in every state, or of every step.
type Promise string

// The promises.
const (
	// KeepsQuorum: a restart or a removal leaves a quorum of voters that serve and are caught up, if there was a quorum
	// before; and a learner becomes a voter only if the voters that serve are a quorum with it.
	KeepsQuorum Promise = "keeps quorum"
	// KeepsQuorumLate: one that was decided about earlier leaves a quorum of voters that serve.
	KeepsQuorumLate Promise = "a late step keeps quorum"
	// LetsElect: a restart leaves enough processes for an election that is under way, once a cluster is recorded.
	LetsElect Promise = "lets members elect"
	// OneAtATime: no member is taken down while another is still down by our doing.
	OneAtATime Promise = "one member at a time"
	// LeaderLast: the leader hands over before it is restarted or removed, if it can be reached, and to a member that
	// can lead.
	LeaderLast Promise = "leadership moves before the leader goes"
	// FoundsOnce: no cluster forms while a volume holds data of another one that has formed, and all that found one
	// found the same.
	FoundsOnce Promise = "a cluster is founded once"
	// StartsClean: no member even starts to found one then.
	StartsClean Promise = "no member founds a cluster next to data"
	// StaysLost: a member that is recorded to have run never starts over on an empty volume.
	StaysLost Promise = "lost data is not papered over"
	// LosesNothing: no majority that could elect a leader lacks an acknowledged write.
	LosesNothing Promise = "no acknowledged write is lost"
	// KeepsData: no claim that has a volume is deleted while its member is in the member list.
	KeepsData Promise = "no volume is deleted while its member is listed"
	// RemovedFirst: a member is removed before its StatefulSet goes, or its claim is marked as removed.
	RemovedFirst Promise = "a member is removed first"
	// NoReuse: no name is given to a second member, unless nothing was ever made under it.
	NoReuse Promise = "no name is used again"
	// Bounded: there is one voter more than asked for at most, and nothing is added beside a member that has not started.
	Bounded Promise = "no more members than asked for"
	// NotWithoutNeed: a member that could come back with its data is not removed, unless the user asked for it.
	NotWithoutNeed Promise = "no member is replaced without need"
	// AddsFirst: a member that serves is exchanged only once there is one more than asked for.
	AddsFirst Promise = "an exchange adds first"
	// PromotesReady: only a sealed learner that has caught up is made a voter.
	PromotesReady Promise = "only learners that are ready become voters"
	// NoOscillation: without faults no member is added that is removed again.
	NoOscillation Promise = "nothing is done and undone"
	// OneDisruption: a decision has one disruptive action at most, and it is the last.
	OneDisruption Promise = "one disruption a decision"
	// HandsOff: nothing is done to a cluster that is paused or on its way out.
	HandsOff Promise = "hands off"
	// Settles: without faults the operator comes to a state in which it writes nothing any more.
	Settles Promise = "settles"
	// Delivers: that state is as the spec asks, as far as the data is there.
	Delivers Promise = "delivers what the spec asks"
	// CleansUp: then nothing is left of members that were removed.
	CleansUp Promise = "nothing is left over"
	// Revives: a member whose StatefulSet was deleted gets it again.
	Revives Promise = "a deleted StatefulSet comes back"
	// Follows: a claim that never had a volume follows the spec.
	Follows Promise = "an unbound claim follows the spec"
	// Contained: a spec that never runs takes down one voter at most.
	Contained Promise = "a spec that never runs is contained"
	// InPlace: only CPU and memory are changed while a member runs, and volumes only grow.
	InPlace Promise = "only what can change in place does"
	// LegalHops: no two members have versions more than a minor apart, and none is restarted with one that would not start.
	LegalHops Promise = "members keep within a minor"
	// DowngradeAsked: no member goes below the cluster version before etcd was told and all data has become older.
	DowngradeAsked Promise = "etcd is told of a downgrade first"
	// OneMinorAtATime: no member goes to the next minor before cluster version and data have come to the last.
	OneMinorAtATime Promise = "one minor after the other"
	// Understood: members that run, and the operator, trust each other's certificates, and dial where the others listen.
	Understood Promise = "members understand each other"
	// SwapsAlone: no member runs while a restore gives volumes other data, nor before all of them have it.
	SwapsAlone Promise = "no member runs while volumes are given other data"
	// OneData: members that run have the data of one cluster, and after a restore what that has brought or given back.
	OneData Promise = "members run with the data of one cluster"
	// KeepsHeld: no claim is deleted while a restore holds the cluster, or brings it its first data.
	KeepsHeld Promise = "no claim is deleted while volumes are given other data"
	// KeepsEarlier: what was on volumes is kept until the restore is confirmed.
	KeepsEarlier Promise = "what was there is kept until a restore is confirmed"
	// GivesBack: a restore comes to an end, with the data on all volumes that it stands for, and lets the cluster go.
	GivesBack Promise = "a restore ends with the data that it stands for"
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

// checkState checks what has to hold in every state.
func (s *State) checkState(p *Pass) {
	old := 0
	for m := range s.members() {
		if s.Voters.has(m) && s.hasData(m) && s.Live.Members[m].Claim.Old && s.Live.Members[m].Claim.Harm != Unreadable {
			old++
		}
	}
	if old > 0 && old >= s.quorum() {
		p.broke(LosesNothing, "%d of %d voters lack an acknowledged write and could elect a leader without it", old, s.Voters.size())
	}
	if s.Live.Cluster.Minor != 0 {
		s.checkMinors(p)
	}
	s.checkUnderstood(p)
	s.checkOneData(p)
}

// checkStays checks that the voters that stay without a member are a quorum of those that there will be.
func (s *State) checkStays(m, voters int, what string, p *Pass) {
	need := quorum(voters)
	// What a stale cache does not show, that a pod is stopping, is not known in time.
	if p.late || p.stale {
		if after := s.count(func(other int) bool { return other != m }); s.Leader != 0 && after < need {
			p.broke(KeepsQuorumLate, "%s of %s: without it only %d voters serve, of %d needed", what, memberName(m), after, need)
		}
		return
	}
	if staying := s.staying(m); s.Leader != 0 && staying < need {
		p.broke(KeepsQuorum, "%s of %s: without it only %d voters serve and are caught up, of %d needed", what, memberName(m), staying, need)
	}
}

// checkRestart checks the restart of a member against what is really the case.
func (w *World) checkRestart(s *State, m int, p *Pass) {
	if w.Minor != 0 && s.Formed != 0 && !p.late && !p.stale {
		s.checkHop(m, p)
	}
	if s.list().size() <= 1 && s.Formed != 0 || w.Size == 1 && s.Formed == 0 {
		return
	}
	w.checkContained(s, m, p)
	if !s.serves(m) || !s.Voters.has(m) {
		return
	}
	if p.late {
		if after := s.running(m); s.Leader != 0 && after < s.quorum() {
			p.broke(KeepsQuorumLate, "without %s only %d voters serve, of %d needed", memberName(m), after, s.quorum())
		}
		return
	}
	staying := s.staying(m)
	if s.Leader != 0 && staying < s.quorum() {
		p.broke(KeepsQuorum, "without %s only %d voters serve and are caught up, of %d needed", memberName(m), staying, s.quorum())
	}
	if !s.recorded() {
		// Nobody was told of the cluster yet.
		return
	}
	if s.Leader == 0 && s.staying(-1) >= s.quorum() && staying < s.quorum() {
		p.broke(LetsElect, "an election was under way; without %s only %d voters can elect, of %d needed", memberName(m), staying, s.quorum())
	}
	for other := range s.members() {
		if other != m && s.Nodes[other].DownByUs {
			p.broke(OneAtATime, "%s serves, and %s is still down by our doing", memberName(m), memberName(other))
		}
	}
	if int(s.Leader) == m+1 && !s.Nodes[m].Unreachable {
		p.broke(LeaderLast, "%s leads", memberName(m))
	}
}

// recorded is whether it is recorded anywhere that the cluster has formed.
func (s *State) recorded() bool {
	for m := range s.members() {
		if s.Live.Members[m].Claim.Marked != 0 {
			return true
		}
	}
	return s.Live.Cluster.Status.ID != 0
}

// checkHandover checks that the new leader can lead. What is late cannot know.
func (w *World) checkHandover(s *State, to int, p *Pass) {
	if p.late {
		return
	}
	if s.Live.Members[to].Pod.Deleting || s.Live.Members[to].Claim.Old {
		p.broke(LeaderLast, "the leadership went to %s, which is stopping or behind", memberName(to))
	}
}

// checkAdd checks a member that is added.
func (w *World) checkAdd(s *State, m int, p *Pass) {
	// What comes late finds nothing of the earlier member left; etcd's IDs tell the two apart.
	if m < int(s.Used) && !p.late {
		p.broke(NoReuse, "%s was a member before", memberName(m))
	}
	unstarted := s.list() &^ s.Started
	for other := range s.members() {
		if s.runs(other) && s.hasData(other) {
			unstarted &^= 1 << other
		}
	}
	if unstarted != 0 && !p.stale && !p.late {
		p.broke(Bounded, "%s is added while %s have never started", memberName(m), join(unstarted))
	}
	if most := int(p.seen.Size) + 1; !p.late && s.list().size()+1 > most {
		p.broke(Bounded, "with %s there are more than %d members", memberName(m), most)
	}
}

// checkPromote checks a learner that is to become a voter.
func (w *World) checkPromote(s *State, m int, p *Pass) {
	member := &s.Live.Members[m]
	switch {
	case !s.Learners.has(m) || s.Leader == 0:
		return
	case member.Workload.Exists && member.Workload.Known.Start != core.StartSealed:
		p.broke(PromotesReady, "%s is promoted before it is sealed", memberName(m))
	case p.late || p.stale:
		return
	case member.Claim.Old || !s.serves(m):
		p.broke(PromotesReady, "%s is promoted before it has caught up", memberName(m))
	}
	if voters := s.Voters.size() + 1; s.staying(-1)+1 < quorum(voters) {
		p.broke(KeepsQuorum, "with %s there are %d voters, of which %d serve", memberName(m), voters, s.staying(-1)+1)
	}
	if most := int(p.seen.Size) + 1; s.Voters.size()+1 > most {
		p.broke(Bounded, "with %s there are more than %d voters", memberName(m), most)
	}
}

// checkRemove checks a member that was removed from the list.
func (w *World) checkRemove(s *State, m int, p *Pass) {
	if s.Voters.has(m) {
		s.checkStays(m, s.Voters.size()-1, "removal", p)
	}
	if int(s.Leader) == m+1 && !p.late {
		p.broke(LeaderLast, "%s leads and is removed", memberName(m))
	}
	if p.late || s.list().size() > int(p.seen.Size) || !s.Started.has(m) {
		return
	}
	member := &s.Live.Members[m]
	sound := member.Claim.Exists && !member.Claim.Deleting && member.Claim.Harm == Intact && s.hasData(m) && !s.Alarms.has(m)
	asked := p.seen.Replace.has(m) || w.misfit(&p.seen, &member.Claim) != ""
	// A node that is back by now had been away for long enough.
	gone := member.Node == GoneLong || p.stale && s.Seen.Members[m].Node == GoneLong && !s.serves(m)
	switch {
	case sound && !asked && !gone:
		p.broke(NotWithoutNeed, "%s could serve with its data and is removed", memberName(m))
	case s.Voters.has(m) && s.serves(m) && sound && !p.stale:
		p.broke(AddsFirst, "%s serves and is removed before there is one more", memberName(m))
	}
}

// checkFounding checks a member that starts on an empty volume.
func (w *World) checkFounding(s *State, m int, p *Pass) {
	template := s.Live.Members[m].Pod.Template
	founds := template.Start == core.StartBootstrap
	if founds && s.Live.Cluster.Bootstrap && s.Live.Cluster.Incarnation == template.Token {
		p.broke(StartsClean, "%s founds a cluster that is to begin with a backup", memberName(m))
	}
	if founds && s.Formed == template.Token+1 && template.InitialTLS != s.ByTLS {
		p.broke(FoundsOnce, "%s founds a cluster by other URLs than the one that has formed", memberName(m))
	}
	if founds && s.Formed == template.Token+1 && template.Initial != s.Founders {
		p.broke(FoundsOnce, "%s founds a cluster of %s, and not the one of %s", memberName(m), join(template.Initial), join(s.Founders))
	}
	for other := range s.members() {
		member := &s.Live.Members[other]
		if data := member.Claim.Data; founds && data != 0 && (data == s.Formed || data >= firstRestored) && data != template.Token+1 || founds && member.Claim.Aside.Data != 0 {
			p.broke(StartsClean, "%s founds another cluster while the volume of %s holds data", memberName(m), memberName(other))
		}
		peer := member.Pod.Template
		together := founds && member.Pod.Exists && peer.Start == template.Start && peer.Token == template.Token && member.Claim.Data == peer.Token+1
		if together && peer.InitialTLS != template.InitialTLS {
			p.broke(FoundsOnce, "%s and %s found a cluster by different URLs", memberName(m), memberName(other))
		}
		if together && peer.Initial != template.Initial {
			p.broke(FoundsOnce, "%s founds a cluster of %s, %s one of %s", memberName(m), join(template.Initial), memberName(other), join(peer.Initial))
		}
	}
	if s.Nodes[m].Ran != 0 || s.Voters.has(m) && s.Started.has(m) && template.Start == core.StartJoin {
		p.broke(StaysLost, "%s starts empty although it has run", memberName(m))
	}
}

// checkForming checks a majority that forms a cluster.
func (s *State) checkForming(id uint8, p *Pass) {
	for m := range s.members() {
		if data := s.Live.Members[m].Claim.Data; data != 0 && data == s.Formed && data != id {
			p.broke(FoundsOnce, "cluster %d forms while the volume of %s holds data of cluster %d", id, memberName(m), data)
		}
	}
}

// checkClaim checks a claim that is deleted.
func checkClaim(s *State, m int, p *Pass) {
	claim, cluster := &s.Live.Members[m].Claim, &s.Live.Cluster
	if cluster.Holder != 0 || cluster.begins() && claim.Owner == cluster.Incarnation {
		p.broke(KeepsHeld, "the claim of %s is deleted", memberName(m))
	}
	if r := &s.Restore; claim.Aside.Data != 0 && cluster.Rests.By == r.Number && rolledBackTo(r.phase()) {
		p.broke(KeepsEarlier, "the claim of %s is deleted, and restore %d is %s", memberName(m), r.Number, r.phase())
	}
	if (claim.Bound || claim.Data != 0) && (s.Formed == 0 || s.list().has(m)) {
		p.broke(KeepsData, "the claim of %s has a volume", memberName(m))
	}
}

// checkContained checks that a member is not moved to a template with which another one does not run.
func (w *World) checkContained(s *State, m int, p *Pass) {
	member := &s.Live.Members[m]
	if !member.Workload.Known.fails() || member.Pod.Template.fails() {
		return
	}
	s.checkAlone(m, p)
}

// checkAlone checks that no other member fails with what a member gets.
func (s *State) checkAlone(m int, p *Pass) {
	member := &s.Live.Members[m]
	if !s.hasData(m) || !s.Voters.has(m) || member.Claim.Harm == Unreadable {
		return
	}
	for other := range s.members() {
		member := &s.Live.Members[other]
		if other != m && s.hasData(other) && s.Voters.has(other) && member.Pod.Exists && member.Pod.fails() {
			p.broke(Contained, "%s is moved to a spec with which %s does not run", memberName(m), memberName(other))
		}
	}
}
