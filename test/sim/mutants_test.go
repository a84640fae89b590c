package sim

import (
	"slices"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// mutant is an operator with one mistake. The simulator has to find it, as the promise that it breaks.
type mutant struct {
	name    string
	promise Promise
	world   World
	// decide is the core with the mistake; blind operators check no preconditions.
	decide func(core.Observation) core.Decision
	blind  bool
}

// mutants are operators with one mistake each in what they do with the members of a cluster.
var mutants = []mutant{
	{"restarts whatever is outdated", KeepsQuorum, formed(3, 1, 1), restartAny, false},
	{"restarts two at once", OneDisruption, formed(3, 0, 1), restartTwo, false},
	{"restarts the leader first", LeaderLast, formed(3, 0, 1), restartLeader, false},
	{"never moves the leadership", Delivers, formed(3, 0, 1), without(isA[core.MoveLeader]), false},
	{"restarts next to a member that lags", KeepsQuorum, formed(3, 1, 1), allCaughtUp, false},
	{"takes no answer for a dead member", KeepsQuorum, formed(3, 2, 1), silentIsDead, true},
	{"restarts by a stale cache without preconditions", KeepsQuorum, formed(3, 2, 1), core.Decide, true},
	{"waits for what never runs", Delivers, formed(3, 0, 2), leavesBroken, false},
	{"founds a second cluster when the object is made again", FoundsOnce, World{Size: 3, Faults: 2, Incarnations: 2, Remade: true}, founds, false},
	// The door of act keeps a sealed member sealed, so that such a core only tries for ever.
	{"founds again when the volume is lost", Settles, formed(1, 1, 0), forgetful, false},
	{"forgets sealing", Delivers, World{Size: 1, Incarnations: 1}, unsealed, false},
	{"forgets marking", Delivers, World{Size: 1, Incarnations: 1}, without(isA[core.MarkVolumes]), false},
	{"deletes a claim that has a volume", KeepsData, formed(1, 0, 1), deletesVolumes, true},
	{"acts on a paused cluster", HandsOff, formed(1, 0, 2), unpaused, false},
	{"acts on a cluster that is deleted", HandsOff, formed(1, 1, 1), undeleted, false},
	{"never tries again", Delivers, World{Size: 1, Faults: 1, Incarnations: 1}, without(isRetry), false},
	{"seals and unseals in turn", Settles, formed(1, 0, 0), flips, false},
	{"writes what is there already", Settles, formed(1, 0, 0), repeats, false},
	{"reports a cluster that is down as available", TellsTruth, formed(3, 2, 1), optimist, false},
	{"rolls on while a new template does not run", Contained, formed(5, 0, 1), rollsOn, false},
}

func formed(size, faults, edits int) World {
	return World{Size: size, Faults: faults, Edits: edits, Incarnations: 1, Formed: true}
}

func TestMutants(t *testing.T) {
	for _, mutant := range slices.Concat(mutants, changers, movers, resizers, certifiers, holders) {
		t.Run(strings.ReplaceAll(mutant.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			mutant.world.Operator = NewOperator(mutant.decide)
			mutant.world.Operator.Blind = mutant.blind
			mutant.world.catches(t, mutant.name, mutant.promise)
		})
	}
}

// catches fails unless the operator of a world is found to break a promise.
func (w *World) catches(t *testing.T, name string, promise Promise) {
	t.Helper()
	explorer := Explorer{World: w, Limit: 400_000, Until: promise}
	result := explorer.Explore()
	trace, caught := result.Found[promise]
	if !caught {
		t.Fatalf("an operator that %s was not caught by %q in %d states; found: %q", name, promise, result.States, result.Order)
	}
	t.Logf("an operator that %s, after %d states:\n%s", name, result.States, trace)
}

func isA[A core.Action](action core.Action) bool {
	_, is := action.(A)
	return is
}

func isRetry(action core.Action) bool {
	apply, is := action.(core.ApplyMember)
	return is && apply.Retry != 0
}

// without is the core, less some of its actions.
func without(drop func(core.Action) bool) func(core.Observation) core.Decision {
	return func(o core.Observation) core.Decision {
		d := core.Decide(o)
		d.Actions = slices.DeleteFunc(d.Actions, drop)
		return d
	}
}

// outdated are the members whose StatefulSet is as the spec asks, and whose pod is not.
func outdated(o core.Observation) []core.Member {
	var members []core.Member
	for _, m := range o.Members {
		want := o.Cluster.Spec.MemberHash
		ready := m.Workload.MemberHash == want && m.Workload.Settled
		if ready && m.Pod.Exists && !m.Pod.Deleting && m.Pod.MemberHash != want {
			members = append(members, m)
		}
	}
	return members
}

func restart(m core.Member) core.Action {
	return core.RestartMember{Member: m.Name, PodUID: m.Pod.UID}
}

// again applies a StatefulSet that exists.
func again(m core.Member, start core.Start) core.Action {
	return core.ApplyMember{Member: m.Name, Start: start, InitialCluster: m.Workload.InitialCluster}
}

// instead replaces what disrupts in a decision.
func instead(d core.Decision, actions ...core.Action) core.Decision {
	d.Actions = slices.DeleteFunc(d.Actions, core.Action.Disruptive)
	d.Actions = append(d.Actions, actions...)
	return d
}

// outdate brings all StatefulSets to the spec at once, as a mutant that does not go member by member would.
func outdate(o core.Observation, d core.Decision) core.Decision {
	for _, m := range o.Members {
		if m.Workload.Exists() && m.Workload.MemberHash != o.Cluster.Spec.MemberHash {
			d.Actions = append(d.Actions, again(m, m.Workload.Start))
		}
	}
	return d
}

func restartAny(o core.Observation) core.Decision {
	d := core.Decide(o)
	if pending := outdated(o); len(pending) > 0 {
		return instead(d, restart(pending[0]))
	}
	return instead(outdate(o, instead(d)))
}

func restartTwo(o core.Observation) core.Decision {
	d := core.Decide(o)
	if pending := outdated(o); len(pending) > 1 {
		return instead(d, restart(pending[0]), restart(pending[1]))
	}
	return outdate(o, instead(d))
}

func restartLeader(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, m := range outdated(o) {
		if slices.ContainsFunc(d.Actions, isA[core.MoveLeader]) {
			return instead(d, restart(m))
		}
	}
	return d
}

func allCaughtUp(o core.Observation) core.Decision {
	o.Etcd.Statuses = slices.Clone(o.Etcd.Statuses)
	for i := range o.Etcd.Statuses {
		o.Etcd.Statuses[i].RaftApplied = 0
	}
	return core.Decide(o)
}

// silentIsDead takes a member that does not answer for one whose pod is down, and is blind for what says otherwise.
func silentIsDead(o core.Observation) core.Decision {
	o.Members = slices.Clone(o.Members)
	for _, s := range o.Etcd.Statuses {
		for i := range o.Members {
			if o.Members[i].Name == s.Member && !s.Answered {
				o.Members[i].Pod.Running, o.Members[i].Pod.Ready = false, false
			}
		}
	}
	return core.Decide(o)
}

// leavesBroken never touches a pod that does not run.
func leavesBroken(o core.Observation) core.Decision {
	return without(func(action core.Action) bool {
		restart, is := action.(core.RestartMember)
		return is && restart.OnlyIfDown
	})(o)
}

// founds forgets every record of an earlier cluster.
func founds(o core.Observation) core.Decision {
	o.Cluster.Recorded.ClusterID = ""
	o.Etcd = core.Etcd{}
	o.Members = slices.Clone(o.Members)
	for i := range o.Members {
		o.Members[i].Volumes = nil
	}
	return core.Decide(o)
}

// forgetful takes a member whose volume is not marked for one that has never run.
func forgetful(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, m := range o.Members {
		marked := slices.ContainsFunc(m.Volumes, func(v core.Volume) bool { return v.ClusterID != "" })
		if m.Workload.Start == core.StartSealed && !marked {
			d.Actions = append(d.Actions, again(m, core.StartBootstrap))
		}
	}
	return d
}

// unsealed takes every StatefulSet for sealed and seals none.
func unsealed(o core.Observation) core.Decision {
	o.Members = slices.Clone(o.Members)
	for i := range o.Members {
		o.Members[i].Workload.Start = core.StartSealed
	}
	d := core.Decide(o)
	for i, action := range d.Actions {
		if apply, is := action.(core.ApplyMember); is {
			apply.Start = core.StartBootstrap
			d.Actions[i] = apply
		}
	}
	return d
}

func deletesVolumes(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, m := range outdated(o) {
		d = instead(d, core.RecreateMember{Member: m.Name, WorkloadUID: m.Workload.UID, Volumes: m.Volumes})
	}
	return d
}

func unpaused(o core.Observation) core.Decision {
	paused := o.Cluster.Spec.Paused
	o.Cluster.Spec.Paused = false
	d := core.Decide(o)
	if !paused {
		d.Actions = nil
	}
	return d
}

func undeleted(o core.Observation) core.Decision {
	o.Cluster.Deleting = false
	return core.Decide(o)
}

func flips(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, m := range o.Members {
		d.Actions = append(d.Actions, again(m, 1-m.Workload.Start))
	}
	return d
}

func repeats(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, m := range o.Members {
		if m.Workload.Exists() {
			d.Actions = append(d.Actions, again(m, m.Workload.Start))
		}
	}
	return d
}

func optimist(o core.Observation) core.Decision {
	d := core.Decide(o)
	d.Report.Conditions = slices.Clone(d.Report.Conditions)
	for i := range d.Report.Conditions {
		if d.Report.Conditions[i].Type == core.Available {
			d.Report.Conditions[i].Status = core.True
		}
	}
	return d
}

// rollsOn restarts one more member as long as a quorum stays, whether or not the first one came back.
func rollsOn(o core.Observation) core.Decision {
	d := core.Decide(o)
	running := 0
	for _, m := range o.Members {
		if m.Pod.Running && !m.Pod.Deleting {
			running++
		}
	}
	if pending := outdated(o); len(pending) > 0 && running > core.Quorum(len(o.Members)) {
		return instead(d, restart(pending[len(pending)-1]))
	}
	return outdate(o, instead(d))
}
