package core_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// membershipLaws are about who is a member, and about what is deleted.
var membershipLaws = []law{
	{"the membership changes only by a list that was read linearizably, and by way of the leader", func(o core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			via, isAsked := viaOf(action)
			s := statusOf(o, via)
			if isAsked && (!o.Etcd.List.Known || s == nil || s.ID != s.LeaderID || listedAs(o, via) == nil) {
				return false
			}
		}
		return true
	}},
	{"a voter is removed only if the others that serve are a quorum of those that remain", func(o core.Observation, d core.Decision) bool {
		remove, ok := disruption(d).(core.RemoveMember)
		if l := listedAs(o, remove.Member); !ok || l != nil && l.Learner {
			return true
		}
		voters, serving := votersOf(o, remove.Member)
		return serving >= core.Quorum(voters) && voters > 0 && remove.Needs >= core.Quorum(voters)
	}},
	{"who is removed is in the list, is ours, does not lead, and is named by its ID", func(o core.Observation, d core.Decision) bool {
		remove, ok := disruption(d).(core.RemoveMember)
		if !ok {
			return true
		}
		l, s := listedAs(o, remove.Member), statusOf(o, remove.Member)
		return l != nil && l.ID == remove.ID && slices.Equal(remove.Expect, idsOf(o)) && (s == nil || s.ID != l.ID || s.LeaderID != s.ID)
	}},
	{"who serves is removed only if there are too many, or if it was exchanged", func(o core.Observation, d core.Decision) bool {
		remove, ok := disruption(d).(core.RemoveMember)
		l := listedAs(o, remove.Member)
		return !ok || !serves(o, *l) || l.Learner || len(o.Etcd.List.Members) > o.Cluster.Spec.Size
	}},
	{"members are added under the names that are next, never used before", func(o core.Observation, d core.Decision) bool {
		add, ok := disruption(d).(core.AddMember)
		next := d.Report.NextOrdinal
		ordinal := next
		for slices.Contains(o.Cluster.Spec.Replace, fmt.Sprintf("demo-%d", ordinal)) {
			ordinal++
		}
		return !ok || add.Member == fmt.Sprintf("demo-%d", ordinal) && next >= nextOrdinal(o) && slices.Equal(add.Expect, idsOf(o))
	}},
	{"a member is added only while all others have started, and etcd would not refuse it", func(o core.Observation, d core.Decision) bool {
		_, ok := disruption(d).(core.AddMember)
		voters, serving := votersOf(o, "")
		unstarted := slices.ContainsFunc(o.Etcd.List.Members, func(l core.Listed) bool {
			begun := slices.ContainsFunc(o.Members, func(m core.Member) bool { return m.Name == l.Name && l.Learner && m.Pod.Running && m.Pod.Started })
			return !l.Started && !begun
		})
		return !ok || !unstarted && (voters == 1 || serving >= core.Quorum(voters+1)) && learners(o) < max(o.Cluster.Spec.MaxLearners, 1)
	}},
	{"there is never more than one member more than asked for, by our adding", func(o core.Observation, d core.Decision) bool {
		_, ok := disruption(d).(core.AddMember)
		return !ok || len(o.Etcd.List.Members) <= o.Cluster.Spec.Size
	}},
	{"nobody is added beside a foreign member", func(o core.Observation, d core.Decision) bool {
		_, ok := disruption(d).(core.AddMember)
		return !ok || !slices.ContainsFunc(o.Etcd.List.Members, func(l core.Listed) bool { return nameOf(l) == "stranger" })
	}},
	{"a learner is promoted only if it serves, has caught up and is sealed, and if there is a quorum then", func(o core.Observation, d core.Decision) bool {
		promote, ok := disruption(d).(core.PromoteMember)
		if !ok {
			return true
		}
		l := listedAs(o, promote.Member)
		voters, serving := votersOf(o, "")
		m := memberOf(o, promote.Member)
		sealed := m.Workload.Start == core.StartSealed && m.Pod.Start == core.StartSealed
		return l != nil && l.Learner && l.Started && l.ID == promote.ID && serves(o, *l) && sealed && serving+1 >= core.Quorum(voters+1)
	}},
	{"who is promoted was counted by the disruption budget", func(o core.Observation, d core.Decision) bool {
		promote, ok := disruption(d).(core.PromoteMember)
		l := listedAs(o, promote.Member)
		return !ok || l != nil && o.Etcd.Promotable(*l)
	}},
	{"what is put away is of no member that is listed, and the list is known", func(o core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			if member, isPutAway := putAway(action); isPutAway && (!o.Etcd.List.Known || listedAs(o, member) != nil) {
				return false
			}
		}
		return true
	}},
	{"claims are deleted only if they are marked as removed, are ours, are not to be kept, and no pod uses them", func(o core.Observation, d core.Decision) bool {
		doomed, ok := disruption(d).(core.DeleteVolumes)
		return !ok || !o.Cluster.Spec.KeepRemoved && !memberOf(o, doomed.Member).Pod.Exists && !slices.ContainsFunc(doomed.Volumes, func(v core.Volume) bool {
			return !v.Removed || v.OwnerUID != o.Cluster.UID || v.ClusterID == "c9"
		})
	}},
	{"a StatefulSet goes only after the claims are marked", func(o core.Observation, d core.Decision) bool {
		remove, ok := disruption(d).(core.DeleteMember)
		return !ok || !slices.ContainsFunc(memberOf(o, remove.Member).Volumes, func(v core.Volume) bool {
			return !v.Removed && !v.Deleting && v.OwnerUID == o.Cluster.UID && v.ClusterID != "c9"
		})
	}},
	{"nothing is made of a removed member, and its claims are not marked as a member's", func(o core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			name := ""
			switch step := action.(type) {
			case core.ApplyMember:
				if m := memberOf(o, step.Member); !m.Workload.Exists() || m.Workload.Stopped && !step.Stopped {
					name = step.Member
				}
			case core.MarkVolumes:
				name = step.Member
			}
			removed := slices.ContainsFunc(memberOf(o, name).Volumes, func(v core.Volume) bool { return v.Removed })
			if removed && listedAs(o, name) == nil {
				return false
			}
		}
		return true
	}},
	{"only who is listed, has never started and never had a volume joins", func(o core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			apply, ok := action.(core.ApplyMember)
			m := memberOf(o, apply.Member)
			if !ok || apply.Start != core.StartJoin || m.Workload.Exists() {
				continue
			}
			l := listedAs(o, apply.Member)
			bound := slices.ContainsFunc(m.Volumes, func(v core.Volume) bool { return v.Bound })
			if l == nil || l.Started || bound || len(apply.InitialCluster) != len(o.Etcd.List.Members) {
				return false
			}
		}
		return true
	}},
	{"an alarm is cleared only for who is not listed", func(o core.Observation, d core.Decision) bool {
		disarm, ok := disruption(d).(core.DisarmAlarm)
		return !ok || !slices.Contains(idsOf(o), disarm.ID)
	}},
	{"claims only grow, and none that is no member's", func(_ core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			expand, ok := action.(core.ExpandVolumes)
			if ok && slices.ContainsFunc(expand.Volumes, func(v core.Volume) bool { return v.WantedSize <= v.Size || !v.Expandable || v.Deleting }) {
				return false
			}
		}
		return true
	}},
	{"only a pod that runs, and needs no restart, is resized", func(o core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			resize, ok := action.(core.ResizeMember)
			if pod := memberOf(o, resize.Member).Pod; ok && (!pod.Running || pod.Deleting || pod.UID != resize.PodUID || pod.RestartHash != o.Cluster.Spec.RestartHash) {
				return false
			}
		}
		return true
	}},
	{"the leadership goes to a voter that serves", func(o core.Observation, d core.Decision) bool {
		move, ok := disruption(d).(core.MoveLeader)
		if !ok {
			return true
		}
		to := listedAs(o, move.To)
		return to != nil && !to.Learner && serves(o, *to) && move.ToID == to.ID
	}},
	{"members in memory are not restarted while they have something to lose", func(o core.Observation, d core.Decision) bool {
		restart, ok := disruption(d).(core.RestartMember)
		return !ok || !o.Cluster.Spec.InMemory || restart.OnlyIfDown || !serves(o, core.Listed{Name: restart.Member, ID: "id-" + restart.Member})
	}},
	{"a cluster that is to sleep is only marked and stopped; what never had a volume may go", func(o core.Observation, d core.Decision) bool {
		return o.Cluster.Spec.Size > 0 || o.Cluster.Spec.InMemory || !slices.ContainsFunc(d.Actions, func(action core.Action) bool {
			apply, applies := action.(core.ApplyMember)
			_, marks := action.(core.MarkVolumes)
			_, recreates := action.(core.RecreateMember)
			return !marks && !recreates && (!applies || !apply.Stopped)
		})
	}},
	{"etcd is told to go back only when all members serve, and by one minor", func(o core.Observation, d core.Decision) bool {
		enable, ok := disruption(d).(core.EnableDowngrade)
		if !ok {
			return true
		}
		for _, l := range o.Etcd.List.Members {
			if s := statusOf(o, nameOf(l)); s == nil || !serves(o, l) || minorsApart(s.Version, enable.Target) != 1 || minorsApart(s.Version, s.DowngradeTarget) > 0 {
				return false
			}
		}
		return true
	}},
	{"no member goes back before etcd is ready, once none runs the older minor any more", goesBackWhenReady},
}

// viaOf is the member that an action is asked of.
func viaOf(action core.Action) (via string, isAsked bool) {
	switch step := action.(type) {
	case core.AddMember:
		return step.Via, true
	case core.PromoteMember:
		return step.Via, true
	case core.RemoveMember:
		return step.Via, true
	case core.DeleteMember:
		return step.Via, true
	case core.RetireVolumes:
		return step.Via, true
	case core.DeleteVolumes:
		return step.Via, true
	case core.DisarmAlarm:
		return step.Via, true
	case core.EnableDowngrade:
		return step.Via, true
	case core.CancelDowngrade:
		return step.Via, true
	}
	return "", false
}

// putAway is the member whose remains an action deletes, or prepares to.
func putAway(action core.Action) (member string, isPutAway bool) {
	switch step := action.(type) {
	case core.DeleteMember:
		return step.Member, true
	case core.RetireVolumes:
		return step.Member, true
	case core.DeleteVolumes:
		return step.Member, true
	}
	return "", false
}

// nameOf is whose entry of the list that is, as imagined: also if somebody changed its peer URL.
func nameOf(l core.Listed) string { return strings.TrimPrefix(l.ID, "id-") }

func listedAs(o core.Observation, name string) *core.Listed {
	for i := range o.Etcd.List.Members {
		if l := &o.Etcd.List.Members[i]; nameOf(*l) == name {
			return l
		}
	}
	return nil
}

func memberOf(o core.Observation, name string) core.Member {
	for _, m := range o.Members {
		if m.Name == name {
			return m
		}
	}
	return core.Member{}
}

// serves is whether a member of the list can be counted on.
func serves(o core.Observation, l core.Listed) bool {
	s := statusOf(o, nameOf(l))
	return s != nil && s.ID == l.ID && counts(o, *s) && !memberOf(o, nameOf(l)).Pod.Deleting
}

// votersOf counts the voters, and those of them that serve, without one.
func votersOf(o core.Observation, without string) (voters, serving int) {
	for _, l := range o.Etcd.List.Members {
		if l.Learner || nameOf(l) == without {
			continue
		}
		voters++
		if serves(o, l) {
			serving++
		}
	}
	return voters, serving
}

func learners(o core.Observation) int {
	count := 0
	for _, l := range o.Etcd.List.Members {
		if l.Learner {
			count++
		}
	}
	return count
}

func idsOf(o core.Observation) []string {
	var ids []string
	for _, l := range o.Etcd.List.Members {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return ids
}

// nextOrdinal is one more than any ordinal that shows anywhere.
func nextOrdinal(o core.Observation) int {
	names := slices.Clone(o.Cluster.Recorded.BootstrapMembers)
	for _, m := range o.Members {
		names = append(names, m.Name)
		names = append(names, m.Workload.InitialCluster...)
	}
	for _, l := range o.Etcd.List.Members {
		names = append(names, nameOf(l))
	}
	for _, m := range o.Cluster.Recorded.Members {
		names = append(names, m.Name)
	}
	next := o.Cluster.Recorded.NextOrdinal
	for _, name := range names {
		if _, ordinal, ok := strings.Cut(name, "-"); ok {
			next = max(next, number(ordinal)+1)
		}
	}
	return next
}

// minorsApart is by how many minors a version is newer than another one.
func minorsApart(newer, older string) int64 {
	a, errA := semver.NewVersion(newer)
	b, errB := semver.NewVersion(older)
	if errA != nil || errB != nil {
		return 0
	}
	return int64(a.Minor()) - int64(b.Minor())
}

// goesBackWhenReady: one member that answers, and runs the older minor still, proves that the cluster's version has not moved.
func goesBackWhenReady(o core.Observation, d core.Decision) bool {
	want, answered, told, ready := o.Cluster.Spec.Version, 0, false, true
	for _, m := range o.Members {
		s := statusOf(o, m.Name)
		ours := slices.ContainsFunc(d.Report.Members, func(r core.MemberReport) bool { return r.Name == m.Name })
		if s == nil || s.ClusterID != "c1" || !ours || o.Cluster.Recorded.ClusterID == "" {
			continue
		}
		if answered++; minorsApart(s.Version, want) <= 0 {
			return true
		}
		told = told || s.LeaderID != "" && s.DowngradeTarget != "" && minorsApart(s.DowngradeTarget, want) == 0
		ready = ready && (s.StorageVersion == "" || minorsApart(s.StorageVersion, want) == 0)
	}
	if answered == 0 || told && ready {
		return true
	}
	for _, action := range d.Actions {
		switch step := action.(type) {
		case core.RestartMember:
			return false
		case core.ApplyMember:
			if w := memberOf(o, step.Member).Workload; w.MemberHash != o.Cluster.Spec.MemberHash && !step.Stopped {
				return false
			}
		}
	}
	return true
}
