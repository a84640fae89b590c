package core

import (
	"fmt"
	"strings"
)

// change brings the members to what the spec asks: one at a time, those that do not serve first, followers next, the
// leader last, and only as far as the rest keeps a quorum.
func (v *view) change(p *plan) {
	if len(v.bootstrapMembers) != v.Cluster.Spec.Size && len(v.members) > 0 {
		p.blocked = v.sizeChange()
	}
	var pending []*memberView
	for _, m := range v.members {
		if !m.Workload.Exists() {
			continue
		}
		if m.Workload.StorageHash != v.Cluster.Spec.StorageHash {
			action, problem := v.recreate(m)
			if action != nil {
				p.actions, p.doing = append(p.actions, action), problem
				return
			}
			p.blocked = problem
		}
		if m.outdated(v.Cluster.Spec.MemberHash) {
			pending = append(pending, m)
		}
	}
	if len(pending) == 0 {
		return
	}
	if refused := versionHop(v.Cluster.Spec.Version, v.runningVersions()); !refused.IsZero() {
		p.blocked = refused
		return
	}
	v.rollOut(p, pending)
}

func (v *view) sizeChange() Problem {
	return Problem{ReasonSizeChangeRefused, fmt.Sprintf("spec.size is %d but the cluster has %d members: this release does not change the size of a cluster; set spec.size back to %d", v.Cluster.Spec.Size, len(v.bootstrapMembers), len(v.bootstrapMembers))}
}

// runningVersions are the versions of the members that answer, and of those that are only known from the last report.
func (v *view) runningVersions() []string {
	var versions []string
	for _, m := range v.members {
		if m.status != nil && m.status.Answered && m.status.Version != "" {
			versions = append(versions, m.status.Version)
			continue
		}
		for _, recorded := range v.Cluster.Recorded.Members {
			if recorded.Name == m.Name && recorded.Version != "" {
				versions = append(versions, recorded.Version)
			}
		}
	}
	return versions
}

// rollOut picks the next member and its next step.
func (v *view) rollOut(p *plan, pending []*memberView) {
	p.doing = Problem{ReasonRollingOut, fmt.Sprintf("%d of %d members are to be brought up to date", len(pending), len(v.members))}
	for _, m := range pending {
		if v.Cluster.Spec.InMemory && m.Pod.Running {
			p.doing, p.blocked = Problem{}, volatile(m)
			continue
		}
		if !m.healthy && v.mayRestart(m) {
			v.bringUpToDate(p, m)
			return
		}
	}
	if !p.blocked.IsZero() && p.doing.IsZero() {
		return
	}
	if waiting := v.waitsFor(); waiting != "" {
		p.doing.Message += "; waiting: " + waiting
		return
	}
	next := pending[0]
	for _, m := range pending {
		if next.leads && !m.leads {
			next = m
		}
	}
	switch {
	case next.leads && len(v.Etcd.List.Members) > 1 && next.settledOn(v.Cluster.Spec.MemberHash):
		v.moveLeader(p, next)
	case !v.mayRestart(next):
		p.doing.Message += fmt.Sprintf("; waiting: without member %s there would be no quorum of healthy members that are caught up", next.Name)
	default:
		v.bringUpToDate(p, next)
	}
}

// volatile members would lose their data by a restart, and come back as nothing.
func volatile(m *memberView) Problem {
	return Problem{ReasonMemberVolatile, fmt.Sprintf("member %s keeps its data in memory and would lose it by a restart: this release does not change running members of spec.storage.medium Memory; make a new cluster", m.Name)}
}

// mayRestart is the one guard of every restart: the others serve on without the member; or it is not running at all;
// or nothing serves anyway, and it does not either. A single member has nobody to serve on; its restart is what the
// user asked for.
func (v *view) mayRestart(m *memberView) bool {
	switch {
	case !m.Pod.Exists || !m.Pod.Running:
		return true
	case v.keepsQuorum(m.Name):
		return true
	case !v.Etcd.List.Known:
		return !m.healthy && !m.Pod.Ready
	}
	return len(v.Etcd.List.Members) == 1 && len(v.members) == 1
}

// waitsFor says what has to be mended before a healthy member is touched.
func (v *view) waitsFor() string {
	var reasons []string
	for _, m := range v.members {
		switch {
		case !m.healthy:
			reasons = append(reasons, m.trouble.Message)
		case m.Pod.Deleting:
			reasons = append(reasons, fmt.Sprintf("pod of member %s is stopping", m.Name))
		case !m.caughtUp:
			reasons = append(reasons, fmt.Sprintf("member %s is %d raft entries behind", m.Name, m.lag))
		}
	}
	if !v.Etcd.List.Known {
		reasons = append(reasons, "the member list could not be read linearizably")
	}
	return strings.Join(reasons, "; ")
}

// settledOn is whether a restart would bring the member to the wanted template.
func (m *memberView) settledOn(want string) bool {
	return m.Workload.MemberHash == want && m.Workload.Settled
}

// bringUpToDate does the next step for one member: its StatefulSet first, which restarts nothing, then its pod, once
// the StatefulSet controller has seen the new template.
func (v *view) bringUpToDate(p *plan, m *memberView) {
	want := v.Cluster.Spec.MemberHash
	start, known := v.startOf(m)
	switch {
	case m.Workload.MemberHash != want && known:
		p.actions = append(p.actions, ApplyMember{Member: m.Name, Start: start, BootstrapMembers: v.bootstrapMembers, Retry: m.Workload.Retry})
	case m.Workload.MemberHash != want || !m.Workload.Settled || !m.Pod.Exists || m.Pod.Deleting:
	case m.Pod.MemberHash != want:
		p.actions = append(p.actions, RestartMember{Member: m.Name, PodUID: m.Pod.UID, OnlyIfDown: !m.Pod.Running, Needs: v.needs(m)})
	}
	p.doing.Message += fmt.Sprintf("; next: %s", m.Name)
}

// needs is how many other members have to run for a restart to be harmless, by the reason for which it is allowed.
func (v *view) needs(m *memberView) int {
	if m.Pod.Running && v.keepsQuorum(m.Name) {
		return Quorum(len(v.Etcd.List.Members))
	}
	return 0
}

// moveLeader hands the leadership to the healthy voter that is furthest, so that restarting the old leader interrupts
// no write for an election's length.
func (v *view) moveLeader(p *plan, from *memberView) {
	var to *memberView
	for _, m := range v.members {
		if m == from || !m.healthy || m.listed == nil || m.listed.Learner || m.Pod.Deleting {
			continue
		}
		if to == nil || m.lag < to.lag {
			to = m
		}
	}
	if to == nil {
		p.doing.Message += fmt.Sprintf("; waiting: no healthy voter can take the leadership from %s", from.Name)
		return
	}
	p.doing = Problem{ReasonLeaderMoving, fmt.Sprintf("leadership moves from %s to %s, which is up to date", from.Name, to.Name)}
	p.actions = append(p.actions, MoveLeader{From: from.Name, FromID: from.listed.ID, To: to.Name, ToID: to.listed.ID})
}
