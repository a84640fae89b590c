package sim

import (
	"slices"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// changers are operators with one mistake each in what they do about the members that a cluster has.
var changers = []mutant{
	{"scales in without counting who stays", KeepsQuorum, changing(3, 1, 1, Sizes|Networks, 1, 3), removesYoungest, false},
	{"deletes the volume before the removal", KeepsData, changing(3, 1, 0, Losses), deletesClaimFirst, true},
	{"deletes the StatefulSet before the removal", RemovedFirst, changing(3, 0, 1, Sizes, 1, 3), deletesSetFirst, true},
	{"clears the alarm of a member that is listed", RemovedFirst, changing(3, 1, 0, Losses), disarmsListed, false},
	{"promotes before a learner has caught up", PromotesReady, changing(3, 1, 0, Losses), promotesEarly, false},
	{"promotes before a learner is sealed", PromotesReady, changing(1, 0, 1, Sizes, 1, 3), promotesUnsealed, false},
	{"removes the leader without moving the leadership", LeaderLast, changing(3, 0, 1, Replacing), removesLeader, false},
	{"does not mark the claims of removed members", CleansUp, changing(3, 0, 1, Sizes, 1, 3), marksNothing, false},
	{"exchanges by removing first", AddsFirst, changing(3, 0, 1, Storage), removesFirst, false},
	{"uses a name again", NoReuse, changing(3, 1, 0, Deletions), reusesNames, false},
	{"adds while a member has never started", Bounded, changing(1, 0, 1, Sizes, 1, 5), addsTwo, false},
	{"adds more than asked for", Bounded, changing(3, 0, 1, Sizes, 3, 5), addsMore, false},
	{"replaces whoever does not answer", NotWithoutNeed, changing(3, 1, 0, Networks), replacesSilent, false},
	{"replaces members of a gone node at once", NotWithoutNeed, changing(3, 1, 0, Networks), impatient, false},
	{"removes whoever joins", NoOscillation, changing(1, 0, 1, Sizes, 1, 3), removesLearners, false},
	{"lets new members found", FoundsOnce, changing(1, 0, 1, Sizes, 1, 3), joinersFound, false},
	{"never replaces", Delivers, changing(3, 1, 0, Losses), without(isA[core.RemoveMember]), false},
	{"never adds", Delivers, changing(3, 0, 1, Sizes, 3, 5), without(isA[core.AddMember]), false},
	{"never promotes", Delivers, changing(3, 1, 0, Losses), without(isA[core.PromoteMember]), false},
	{"never clears an alarm", Delivers, changing(3, 1, 0, Losses), without(isA[core.DisarmAlarm]), false},
	{"never wakes", Delivers, changing(3, 0, 2, Sizes, 0, 3), without(isWaking), false},
	{"never deletes what is left", Delivers, changing(3, 0, 1, Sizes, 1, 3), without(isA[core.DeleteMember]), false},
}

// changing is a cluster that serves, of which members come and go.
func changing(size, faults, edits int, topics Topic, sizes ...int) World {
	return World{Size: size, Sizes: sizes, Faults: faults, Edits: edits, Incarnations: 1, Formed: true, MaxLearners: 2, Topics: topics}
}

func isWaking(action core.Action) bool {
	apply, is := action.(core.ApplyMember)
	return is && apply.Start == core.StartSealed && !apply.Stopped
}

// leading is the name of the leader.
func leading(o core.Observation) string {
	for _, s := range o.Etcd.Statuses {
		if s.Answered && s.LeaderID == s.ID {
			return s.Member
		}
	}
	return ""
}

func listed(o core.Observation) []string {
	var ids []string
	for _, l := range o.Etcd.List.Members {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return ids
}

func remove(o core.Observation, l core.Listed) core.Action {
	return core.RemoveMember{Member: l.Name, ID: l.ID, Via: leading(o), Expect: listed(o)}
}

// removed is the member that a decision removes.
func removed(d core.Decision) (core.RemoveMember, bool) {
	for _, action := range d.Actions {
		if a, is := action.(core.RemoveMember); is {
			return a, true
		}
	}
	return core.RemoveMember{}, false
}

func memberNamed(o core.Observation, name string) core.Member {
	i := slices.IndexFunc(o.Members, func(m core.Member) bool { return m.Name == name })
	if i < 0 {
		return core.Member{}
	}
	return o.Members[i]
}

func removesYoungest(o core.Observation) core.Decision {
	d := core.Decide(o)
	leader := leading(o)
	for _, l := range slices.Backward(o.Etcd.List.Members) {
		if len(o.Etcd.List.Members) > o.Cluster.Spec.Size && leader != "" && l.Name != leader {
			return instead(d, remove(o, l))
		}
	}
	return d
}

func deletesClaimFirst(o core.Observation) core.Decision {
	d := core.Decide(o)
	if a, is := removed(d); is && len(memberNamed(o, a.Member).Volumes) > 0 {
		return instead(d, core.DeleteVolumes{Member: a.Member, Volumes: memberNamed(o, a.Member).Volumes, Via: a.Via})
	}
	return d
}

func deletesSetFirst(o core.Observation) core.Decision {
	d := core.Decide(o)
	if a, is := removed(d); is && memberNamed(o, a.Member).Workload.Exists() {
		return instead(d, core.DeleteMember{Member: a.Member, WorkloadUID: memberNamed(o, a.Member).Workload.UID, Via: a.Via})
	}
	return d
}

func disarmsListed(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, s := range o.Etcd.Statuses {
		if len(s.AlarmIDs) > 0 && leading(o) != "" {
			return instead(d, core.DisarmAlarm{ID: s.AlarmIDs[0], Alarm: s.ClusterAlarms[0], Via: leading(o)})
		}
	}
	return d
}

func promote(o core.Observation, ready func(core.Listed) bool) core.Decision {
	d := core.Decide(o)
	for _, l := range o.Etcd.List.Members {
		if l.Learner && l.Started && leading(o) != "" && ready(l) {
			return instead(d, core.PromoteMember{Member: l.Name, ID: l.ID, Via: leading(o), Expect: listed(o)})
		}
	}
	return d
}

func promotesEarly(o core.Observation) core.Decision {
	return promote(o, func(l core.Listed) bool { return memberNamed(o, l.Name).Workload.Start == core.StartSealed })
}

func promotesUnsealed(o core.Observation) core.Decision {
	return promote(o, func(core.Listed) bool { return true })
}

func removesLeader(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, l := range o.Etcd.List.Members {
		if l.Name == leading(o) && slices.ContainsFunc(d.Actions, isA[core.MoveLeader]) {
			return instead(d, remove(o, l))
		}
	}
	return d
}

// marksNothing believes that all claims of removed members are marked.
func marksNothing(o core.Observation) core.Decision {
	o.Members = slices.Clone(o.Members)
	for i := range o.Members {
		o.Members[i].Volumes = slices.Clone(o.Members[i].Volumes)
		for j := range o.Members[i].Volumes {
			o.Members[i].Volumes[j].Removed = true
		}
	}
	return core.Decide(o)
}

func removesFirst(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, l := range o.Etcd.List.Members {
		if slices.ContainsFunc(d.Actions, isA[core.AddMember]) && len(o.Etcd.List.Members) == o.Cluster.Spec.Size && l.Name != leading(o) {
			return instead(d, remove(o, l))
		}
	}
	return d
}

func reusesNames(o core.Observation) core.Decision {
	d := core.Decide(o)
	for i, action := range d.Actions {
		if a, is := action.(core.AddMember); is {
			for m := range MaxMembers {
				taken := slices.ContainsFunc(o.Etcd.List.Members, func(l core.Listed) bool { return l.Name == memberName(m) })
				if !taken && memberNamed(o, memberName(m)).Name == "" {
					a.Member = memberName(m)
					d.Actions[i] = a
					break
				}
			}
		}
	}
	return d
}

func add(o core.Observation, d core.Decision, most int) core.Decision {
	highest := -1
	for _, l := range o.Etcd.List.Members {
		highest = max(highest, memberOf(l.Name))
	}
	if n := len(o.Etcd.List.Members); n > 0 && n < most && highest+1 < MaxMembers && leading(o) != "" {
		return instead(d, core.AddMember{Member: memberName(highest + 1), Via: leading(o), Expect: listed(o)})
	}
	return d
}

func addsTwo(o core.Observation) core.Decision { return add(o, core.Decide(o), o.Cluster.Spec.Size) }

// addsMore believes that the spec asks for more.
func addsMore(o core.Observation) core.Decision {
	if o.Cluster.Spec.Size == 5 {
		o.Cluster.Spec.Size = 7
	}
	return core.Decide(o)
}

func replacesSilent(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, s := range o.Etcd.Statuses {
		for _, l := range o.Etcd.List.Members {
			if !s.Answered && l.Name == s.Member && leading(o) != "" {
				return instead(d, remove(o, l))
			}
		}
	}
	return d
}

// impatient believes that whatever is wrong has been so for long.
func impatient(o core.Observation) core.Decision {
	o.Members, o.Cluster.Recorded.Members = slices.Clone(o.Members), slices.Clone(o.Cluster.Recorded.Members)
	for i := range o.Members {
		o.Members[i].Node.Since = longAgo
	}
	for i := range o.Cluster.Recorded.Members {
		o.Cluster.Recorded.Members[i].Healthy = false
	}
	return core.Decide(o)
}

func removesLearners(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, l := range o.Etcd.List.Members {
		if l.Learner && leading(o) != "" {
			return instead(d, remove(o, l))
		}
	}
	return d
}

func joinersFound(o core.Observation) core.Decision {
	d := core.Decide(o)
	for i, action := range d.Actions {
		if apply, is := action.(core.ApplyMember); is && apply.Start == core.StartJoin {
			apply.Start = core.StartBootstrap
			d.Actions[i] = apply
		}
	}
	return d
}
