package sim

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
)

// holders are operators with one mistake each in what they do with a cluster that is given other data.
var holders = []mutant{
	{"lets members run while a restore holds the cluster", SwapsAlone, midway(restores.Filling, changing(3, 0, 1, Restoring)), wakesHeld, true},
	{"does not stop members for a restore", GivesBack, restored(changing(1, 0, 1, Restoring), 1), ignoresHold, true},
	{"deletes a claim while a restore holds the cluster", KeepsHeld, midway(restores.Filling, changing(3, 0, 0, Restoring)), deletesHeld, true},
	{"deletes the volumes of removed members before a restore is over", KeepsEarlier, midway(restores.Restored, growing(changing(3, 0, 1, Restoring|Replacing))), forgetsRestore, true},
	{"founds a cluster that is to begin with a backup", StartsClean, beginning(World{Size: 3, Topics: Restoring}), awaitsNothing, false},
	{"takes a StatefulSet of before the restore for a member", OneData, restored(changing(1, 0, 3, Restoring|Sizes, 1, 3), 1), trustsStatefulSets, false},
	{"founds again in place of a volume that was filled", StartsClean, beginning(World{Size: 3, Faults: 1, Topics: Restoring | Losses}), trustsStatefulSets, false},
}

// restorers are operators with one mistake each in how they restore.
var restorers = []struct {
	name    string
	promise Promise
	world   World
	decide  func(restores.Observation) restores.Decision
	blind   bool
}{
	{"fills volumes before members have stopped", SwapsAlone, restored(changing(3, 0, 1, Restoring), 1), believes(func(o *restores.Observation) { o.Cluster.Stopped = true }), false},
	{"lets the cluster go before all volumes are filled", SwapsAlone, midway(restores.Filling, changing(3, 0, 1, Restoring)), believes(allEnded(restores.Fill)), false},
	{"leaves one member its former data", OneData, midway(restores.Filling, changing(3, 0, 0, Restoring)), leavesOne, false},
	{"lets the cluster go before all volumes are given back", SwapsAlone, midway(restores.Restored, changing(3, 0, 1, Restoring)), believes(allEnded(restores.RollBack)), false},
	{"gives back nothing", OneData, midway(restores.Restored, changing(3, 0, 1, Restoring)), skips(restores.RollBack), false},
	{"serves first data that are not those of the backup", GivesBack, beginning(World{Size: 1, Faults: 1, Topics: Restoring}), servesAnything, false},
	{"never lets the cluster go", GivesBack, midway(restores.Filling, changing(1, 0, 0, Restoring)), keepsHold, false},
	{"deletes what was there before it is confirmed", KeepsEarlier, midway(restores.Filling, changing(1, 0, 0, Restoring)), confirmsEarly, false},
	{"gives a cluster back that it has not noted to be so", GivesBack, midway(restores.Restored, changing(1, 0, 1, Restoring)), forgetsEarlier, false},
	{"starts agents without looking who holds the cluster", SwapsAlone, midway(restores.Filling, changing(1, 1, 1, Restoring|RestoreLate)), restores.Decide, true},
	{"carries out another size before a restore is over", NotWithoutNeed, thawing(midway(restores.Restored, changing(3, 0, 1, Restoring|Sizes, 1, 3))), restores.Decide, false},
	{"carries out other storage before a restore is over", KeepsEarlier, thawing(midway(restores.Restored, changing(3, 0, 1, Restoring|Storage))), restores.Decide, false},
	{"never carries out what waits for a restore", GivesBack, midway(restores.Restored, changing(1, 0, 1, Restoring)), forgetsToSettle, false},
	{"leaves on volumes whose data they had", OneData, midway(restores.Filling, World{Size: 3, Edits: 1, Incarnations: 2, Formed: true, Retain: true, Topics: Restoring | Remaking}), leavesMarks, false},
}

// thawing is a world in which what a restore rests on is carried out at once.
func thawing(w World) World {
	w.Thaws = true
	return w
}

func forgetsToSettle(o restores.Observation) restores.Decision {
	return less(restores.Decide(o), func(action restores.Action) bool { _, is := action.(restores.Settle); return is })
}

func TestRestoreMutants(t *testing.T) {
	for _, mutant := range restorers {
		t.Run(strings.ReplaceAll(mutant.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			mutant.world.Operator, mutant.world.Restorer = NewOperator(core.Decide), mutant.decide
			mutant.world.Operator.Blind = mutant.blind
			mutant.world.catches(t, mutant.name, mutant.promise)
		})
	}
}

// wakesHeld lets members run once all of them have stopped for a restore.
func wakesHeld(o core.Observation) core.Decision {
	stopped := !slices.ContainsFunc(o.Members, func(m core.Member) bool { return !m.Workload.Stopped || m.Pod.Exists })
	if o.Cluster.Spec.Restore != "" && stopped {
		o.Cluster.Spec.Restore, o.Cluster.Spec.Size = "", 3
	}
	return core.Decide(o)
}

func ignoresHold(o core.Observation) core.Decision {
	if o.Cluster.Spec.Restore != "" {
		o.Cluster.Spec.Restore, o.Cluster.Spec.Size = "", 1
	}
	return core.Decide(o)
}

func deletesHeld(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, m := range o.Members {
		if o.Cluster.Spec.Restore != "" && len(m.Volumes) > 0 {
			return instead(d, core.RecreateMember{Member: m.Name, WorkloadUID: m.Workload.UID, Volumes: m.Volumes})
		}
	}
	return d
}

// forgetsRestore does not know that the cluster may be rolled back.
func forgetsRestore(o core.Observation) core.Decision {
	o.Cluster.Spec.Rests = ""
	return core.Decide(o)
}

func awaitsNothing(o core.Observation) core.Decision {
	o.Cluster.Spec.Bootstrap = ""
	return core.Decide(o)
}

// trustsStatefulSets does not know that the cluster was restored.
func trustsStatefulSets(o core.Observation) core.Decision {
	o.Cluster.Restored = ""
	return core.Decide(o)
}

// believes is the decision about something else than is the case.
func believes(change func(*restores.Observation)) func(restores.Observation) restores.Decision {
	return func(o restores.Observation) restores.Decision {
		change(&o)
		return restores.Decide(o)
	}
}

// allEnded takes all agents of a kind that were started for done.
func allEnded(kind restores.Kind) func(*restores.Observation) {
	return func(o *restores.Observation) {
		o.Agents = maps.Clone(o.Agents)
		for key, agent := range o.Agents {
			if key.Kind == kind {
				agent.Ended, agent.Failed = true, false
				agent.Filled = &restores.Filled{ClusterID: clusterID(firstRestored + 1)}
				o.Agents[key] = agent
			}
		}
	}
}

// leavesOne takes the volume of the first member for filled.
func leavesOne(o restores.Observation) restores.Decision {
	o.Agents = maps.Clone(o.Agents)
	o.Agents[restores.AgentKey{Kind: restores.Fill}] = restores.Agent{
		Exists: true, Ended: true, Filled: &restores.Filled{ClusterID: clusterID(firstRestored + 1)},
	}
	d := restores.Decide(o)
	return less(d, func(action restores.Action) bool {
		remove, is := action.(restores.RemoveAgent)
		return is && remove.AgentKey == restores.AgentKey{Kind: restores.Fill}
	})
}

func less(d restores.Decision, drop func(restores.Action) bool) restores.Decision {
	d.Actions = slices.DeleteFunc(d.Actions, drop)
	return d
}

// skips takes agents of a kind for done that it has never started.
func skips(kind restores.Kind) func(restores.Observation) restores.Decision {
	return believes(func(o *restores.Observation) {
		o.Agents = maps.Clone(o.Agents)
		for i := range o.Recorded.Members {
			o.Agents[restores.AgentKey{Kind: kind, Index: i}] = restores.Agent{Ended: true}
		}
	})
}

func keepsHold(o restores.Observation) restores.Decision {
	return less(restores.Decide(o), func(action restores.Action) bool { _, is := action.(restores.LetGo); return is })
}

func servesAnything(o restores.Observation) restores.Decision {
	return less(restores.Decide(o), func(action restores.Action) bool { _, is := action.(restores.Hold); return is })
}

func confirmsEarly(o restores.Observation) restores.Decision {
	d := restores.Decide(o)
	key := restores.AgentKey{Kind: restores.Confirm}
	if o.Recorded.Phase == restores.Starting && !o.Agents[key].Exists {
		d.Actions = append(d.Actions, restores.StartAgent{AgentKey: key, Member: o.Recorded.Members[0]})
	}
	return d
}

func leavesMarks(o restores.Observation) restores.Decision {
	if o.Recorded.Phase == restores.Filling {
		o.Claims = maps.Clone(o.Claims)
		for member, claim := range o.Claims {
			claim.ClusterID = ""
			o.Claims[member] = claim
		}
	}
	return restores.Decide(o)
}

// forgetsEarlier gives back what there was under the name of what was restored.
func forgetsEarlier(o restores.Observation) restores.Decision {
	if o.Recorded.Phase == restores.RollingBack {
		o.Recorded.EarlierID = o.Recorded.ClusterID
	}
	return restores.Decide(o)
}
