package sim

import (
	"fmt"
	"slices"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
)

// LateRestore is a step of a restore that comes late, as that of an operator that was paused right before it, with what
// internal/act checks when it is carried out.
type LateRestore struct {
	Kind        LateRestoreKind
	Member, Job uint8
	ID          uint8
	// Rests is whether the cluster may still be rolled back.
	Rests bool
	// Number and Incarnation are those of the restore and the cluster that it was decided for.
	Number, Incarnation uint8
	// SameRestore and SameCluster are whether they have not changed since.
	SameRestore, SameCluster bool
}

// LateRestoreKind is what a step of a restore does.
type LateRestoreKind uint8

// The kinds of steps. The rest is kept from being late by the UID or the version of what it changes.
const (
	Punctual LateRestoreKind = iota
	Holding
	LettingGo
	Settling
	MakingClaims
	Marking
	Starting
)

func restoreName(number uint8) string { return fmt.Sprint("r", number) }

// passOfRestore is one pass of the operator over the EtcdRestore.
func passOfRestore(cut Cut) func(*World, *State, int, *Pass) bool {
	return func(w *World, s *State, _ int, p *Pass) bool { return w.restore(s, cut, p) }
}

// restore is one pass over the EtcdRestore, which reads the API server and not a cache. It says whether it was possible, and wrote
// anything.
func (w *World) restore(s *State, cut Cut, p *Pass) bool {
	if !s.Restore.Exists {
		return false
	}
	decide := restores.Decide
	if w.Restorer != nil {
		decide = w.Restorer
	}
	o := w.observeRestore(s)
	d := decide(o)
	next, writes, left := s.Restore.reported(d.Report), len(d.Actions), cut.After
	if next != s.Restore {
		writes++
	}
	if writes == 0 || cut.Early && (cut.After == 0 || cut.After >= writes) || cut.Late && cut.After >= len(d.Actions) {
		return false
	}
	incarnation := s.Live.Cluster.Incarnation
	if next != s.Restore {
		p.say("it is %s", next.phase())
		s.Restore, s.LateRestore.SameRestore = next, false
		if cut.Early {
			left--
		}
	}
	for i, action := range d.Actions {
		if cut.Early && left == 0 {
			return true
		}
		left--
		step, late := orderRestore(s, action, incarnation)
		if cut.Late && i == cut.After {
			if !late || s.LateRestore.Kind != Punctual {
				return false
			}
			s.LateRestore = step
			p.say("held up before %s", describeRestore(action))
			return true
		}
		done := w.actRestore(s, action, step, p)
		p.say("%s", describeRestore(action))
		if !done {
			p.say("which is refused")
			return true
		}
	}
	return true
}

// observeRestore is what internal/observe reads about the EtcdRestore. There is no safety backup: what was there is aside.
func (w *World) observeRestore(s *State) restores.Observation {
	r, c := &s.Restore, w.resting(s.Live.Cluster)
	o := restores.Observation{
		Now: now, Name: restoreName(r.Number), Generation: 1, Deleting: r.Deleting, Held: r.Kept, Completion: completions[r.Completion],
		Claims: map[string]restores.Claim{}, Agents: map[restores.AgentKey]restores.Agent{},
		Recorded: restores.Report{
			ObservedGeneration: 1, Phase: r.phase(), Members: spelled(r.Members), EarlierID: clusterID(r.Earlier), ClusterID: clusterID(r.ID), ClusterUID: clusterUID(r.Of),
		},
	}
	if r.Held {
		o.Recorded.StoppedAt = now
	}
	if r.Differs {
		o.Recorded.Condition.Reason = restores.ReasonFailed
	}
	if !c.Exists {
		return o
	}
	o.Cluster = restores.Cluster{
		Exists: true, UID: clusterUID(c.Incarnation), Deleting: c.Deleting, Paused: c.Paused, Begins: s.begins(), Restored: clusterID(c.Restored), ClusterID: clusterID(c.Status.ID),
		Members: spelled(c.Status.Members), Available: c.Status.Available, Serves: c.Status.Available, Stopped: s.stopped(),
	}
	if c.Holder != 0 {
		o.Cluster.Holder = restoreName(c.Holder)
	}
	if c.Rests.By != 0 {
		o.Cluster.Rests = restoreName(c.Rests.By)
	}
	if o.Cluster.Begins {
		o.Cluster.Members = spelled(1<<c.Size - 1)
	}
	for i, name := range o.Recorded.Members {
		m := memberOf(name)
		claim := &s.Live.Members[m].Claim
		o.Claims[name] = restores.Claim{Missing: !claim.Exists, Leaving: claim.Deleting, ClusterID: clusterID(claim.Marked)}
		for kind, job := range s.Nodes[m].Jobs {
			r.observeJob(&o, restores.AgentKey{Kind: agentKinds[kind], Index: i}, job)
		}
	}
	r.observeJob(&o, restores.AgentKey{Kind: restores.Compare}, r.Compare)
	return o
}

func (r *Restore) observeJob(o *restores.Observation, key restores.AgentKey, job Job) {
	if !job.Exists {
		return
	}
	agent := restores.Agent{Exists: true, Leaving: job.Leaving, Ended: job.Ended, Failed: job.Failed, Differs: job.Differs}
	if job.Of != r.Number {
		// That of one that is gone goes, too.
		agent = restores.Agent{Exists: true, Leaving: true}
	}
	if key.Kind == restores.Fill && agent.Ended && !agent.Failed {
		agent.Filled = &restores.Filled{ClusterID: clusterID(r.brings())}
	}
	o.Agents[key] = agent
}

// stopped is whether it is certain that no member runs, nor will.
func (s *State) stopped() bool {
	for m := range s.members() {
		member := &s.Live.Members[m]
		if member.Pod.Exists || member.Workload.Exists && (!member.Workload.Settled || !member.Workload.Want.Stopped) {
			return false
		}
	}
	return true
}

func clusterUID(incarnation uint8) string {
	if incarnation == 0 {
		return ""
	}
	return fmt.Sprintf("uid-%d", incarnation)
}

// reported is the EtcdRestore with another status.
func (r Restore) reported(report restores.Report) Restore {
	r.Phase, r.Members = uint8(slices.Index(phases[:], report.Phase)), mask(report.Members)
	r.Of = 0
	if _, err := fmt.Sscanf(report.ClusterUID, "uid-%d", &r.Of); err != nil && report.ClusterUID != "" {
		panic(err)
	}
	r.Earlier, r.ID, r.Held = idOf(report.EarlierID), idOf(report.ClusterID), !report.StoppedAt.IsZero()
	r.Differs = report.Phase == restores.Comparing && report.Condition.Reason == restores.ReasonFailed
	return r
}

// orderRestore puts a step in the terms of the model, and says whether it can come late.
func orderRestore(s *State, action restores.Action, incarnation uint8) (step LateRestore, late bool) {
	step = LateRestore{Number: s.Restore.Number, Incarnation: incarnation, SameRestore: true, SameCluster: true}
	switch a := action.(type) {
	case restores.Hold:
		step.Kind = Holding
	case restores.LetGo:
		step.Kind, step.ID, step.Rests = LettingGo, idOf(a.ClusterID), a.Rests
	case restores.Settle:
		step.Kind = Settling
	case restores.MakeClaims:
		step.Kind, step.Member = MakingClaims, uint8(memberOf(a.Member))
	case restores.MarkClaims:
		step.Kind, step.Member, step.ID = Marking, uint8(memberOf(a.Member)), idOf(a.ClusterID)
	case restores.StartAgent:
		if a.Kind != restores.Compare {
			step.Kind, step.Member, step.Job = Starting, uint8(memberOf(a.Member)), uint8(slices.Index(agentKinds[:], a.Kind))
		}
	}
	return step, step.Kind != Punctual
}

// actRestore carries out a step of a restore. It says whether its preconditions held.
func (w *World) actRestore(s *State, action restores.Action, step LateRestore, p *Pass) bool {
	if step.Kind != Punctual {
		return w.carryOutRestore(s, step, p)
	}
	r := &s.Restore
	switch a := action.(type) {
	case restores.Keep:
		r.Kept, s.LateRestore.SameRestore = true, false
	case restores.Release:
		r.Kept, s.LateRestore.SameRestore = false, false
		if r.Deleting {
			s.dropRestore()
		}
	case restores.StartAgent:
		r.Compare = Job{Exists: true, Of: r.Number}
	case restores.RemoveAgent:
		if a.Kind == restores.Compare {
			r.Compare = Job{}
			return true
		}
		m := memberOf(spelled(r.Members)[a.Index])
		s.Nodes[m].Jobs[slices.Index(agentKinds[:], a.Kind)].Leaving = true
	default:
		panic(fmt.Sprintf("the model does not know the step %T of a restore", action))
	}
	return true
}

// carryOutRestore carries out what may come late, under the preconditions of internal/act.
func (w *World) carryOutRestore(s *State, a LateRestore, p *Pass) bool {
	m, c := int(a.Member), &s.Live.Cluster
	claim := &s.Live.Members[m].Claim
	if stands := a.SameRestore && a.Number == s.Restore.Number && s.Restore.Exists; !stands && !w.Operator.Blind {
		return false
	}
	switch a.Kind {
	case Holding, LettingGo, Settling:
		if !c.Exists || !a.SameCluster || a.Incarnation != c.Incarnation {
			return false
		}
		switch a.Kind {
		case Holding:
			c.Holder = a.Number
			c.rest(a.Number, s.Restore.Members)
		case Settling:
			c.settle(p)
		default:
			c.Restored = a.ID
			if c.Holder == a.Number {
				c.Holder = 0
			}
			if a.Rests {
				c.rest(a.Number, s.Restore.Members)
			} else {
				c.settle(p)
			}
		}
		s.touched()
	case MakingClaims:
		if !claim.Exists {
			*claim = Claim{Exists: true, Owner: a.Incarnation, Founder: a.Incarnation, Founders: s.Restore.Members, Storage: w.resting(*c).Storage}
			s.Next, s.Used = max(s.Next, a.Member+1), max(s.Used, a.Member+1)
		}
	case Marking:
		if claim.Exists {
			claim.Marked, claim.Removed = a.ID, false
			if a.ID != unsettled {
				claim.Founders = s.Restore.Members
			}
		}
	case Starting:
		moves := a.Job == fills || a.Job == rollsBack
		stale := !c.Exists || a.Incarnation != c.Incarnation ||
			moves && !c.begins() && c.Holder != a.Number
		job := &s.Nodes[m].Jobs[a.Job]
		if stale && !w.Operator.Blind || job.Exists {
			return false
		}
		*job = Job{Exists: true, Of: a.Number}
	case Punctual:
	}
	return true
}

// arriveRestore carries out what was late.
func arriveRestore(w *World, s *State, _ int, p *Pass) bool {
	late := s.LateRestore
	s.LateRestore = LateRestore{}
	if late.Kind == Punctual {
		return false
	}
	if !w.carryOutRestore(s, late, p) {
		p.say("which is refused")
	}
	return true
}

func describeRestore(action restores.Action) string {
	switch a := action.(type) {
	case restores.Hold:
		return "holds the cluster"
	case restores.LetGo:
		return "lets the cluster go with " + a.ClusterID
	case restores.Settle:
		return "has the spec of the cluster carried out again"
	case restores.MakeClaims:
		return "makes the claim of " + a.Member
	case restores.MarkClaims:
		return fmt.Sprintf("marks the claim of %s with %s", a.Member, a.ClusterID)
	case restores.StartAgent:
		return fmt.Sprintf("starts the agent %s for %q", a.Kind, a.Member)
	case restores.RemoveAgent:
		return fmt.Sprintf("removes the agent %s %d", a.Kind, a.Index)
	}
	return fmt.Sprintf("%T", action)
}

// sinceRestore is internal/observe's: a report of other data than the cluster has by now says nothing but which names were used.
func (c *Cluster) sinceRestore(r core.Report) core.Report {
	data := c.Restored
	if data == unsettled {
		data = 0
	}
	if c.Restored != 0 && data != c.Status.ID {
		r.ClusterID, r.Members, r.MemberCount = clusterID(data), nil, 0
	}
	return r
}
