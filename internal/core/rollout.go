package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// rollOut brings the members to what the spec asks: one at a time, those that do not serve first, followers next, the
// leader last, and only as far as the rest keeps a quorum.
func rollOut(v *view, p *plan) bool {
	var pending []*memberView
	for _, m := range v.members {
		if m.Workload.Exists() && !m.Workload.Stopped && m.outdated(v.Cluster.Spec.MemberHash) && !v.exchangedInstead(m) {
			pending = append(pending, m)
		}
	}
	if len(pending) == 0 {
		if m := v.comingBack(); m != nil {
			p.doing = Problem{ReasonRollingOut, fmt.Sprintf("every member is brought up to date; waiting: %s", m.trouble.Message)}
			return true
		}
		return false
	}
	if refused := v.versionRefused(); !refused.IsZero() {
		p.blocked = refused
		return true
	}
	if only := pending[0]; v.alone() && v.target() > 1 && only.serves && minorOf(only.status.Version) == minorOf(v.Cluster.Spec.Version) {
		// Others join first, with what is asked for by now: then nobody notices the restart.
		return false
	}
	if !v.mayGoBack() {
		p.doing = Problem{ReasonDowngrading, fmt.Sprintf("the cluster goes back to %s; waiting until etcd can be told so", v.Cluster.Spec.Version)}
		return true
	}
	return v.nextOutdated(p, pending)
}

// exchangedInstead is whether a restart would lose the data of a member, which is in memory, or would leave it without a
// node that reaches its volume. One that has to move to another minor is restarted first all the same, if it can be.
func (v *view) exchangedInstead(m *memberView) bool {
	if v.Cluster.Spec.InMemory {
		ran := m.serves || v.everAnswered(m.Name) || m.Workload.Start == StartSealed
		return ran && !v.resizable(m)
	}
	return m.serves && v.exchangeReason(m) != "" && m.status != nil && minorOf(m.status.Version) == minorOf(v.Cluster.Spec.Version)
}

// restartPatience is how long a member that the rollout restarts may be away before that counts as trouble.
const restartPatience = time.Minute

// comingBack is the member that a rollout has restarted last and that is on its way.
func (v *view) comingBack() *memberView {
	if before, ok := v.Cluster.Recorded.condition(Progressing); !ok || before.Status != True || before.Reason != ReasonRollingOut && before.Reason != ReasonDowngrading {
		return nil
	}
	for _, m := range v.members {
		if v.restarting(m) {
			return m
		}
	}
	return nil
}

// restarting is whether a member is away as briefly as a restart takes.
func (v *view) restarting(m *memberView) bool {
	if m.healthy || !passing(m.trouble.Reason) {
		return false
	}
	before, known := v.Cluster.Recorded.member(m.Name)
	return known && (before.Healthy || v.Now.Sub(before.HealthySince) < restartPatience)
}

// running finds the versions that members run, or were last known to run.
func (v *view) running() running {
	var r running
	for _, m := range v.members {
		if m.status != nil && m.status.Answered && (v.clusterID == "" || m.status.ClusterID == v.clusterID) {
			r.answered = appendVersion(r.answered, m.status.Version)
			if len(appendVersion(nil, m.status.Version)) == 0 {
				r.unknown = m.status.Version
			}
			continue
		}
		for _, version := range v.lastRan(m) {
			r.remembered = appendVersion(r.remembered, version)
		}
	}
	return r
}

// lastRan are the versions that a member is last known to have run: by the status, or if that says nothing, by its volumes.
func (v *view) lastRan(m *memberView) []string {
	if before, _ := v.Cluster.Recorded.member(m.Name); before.Version != "" {
		return []string{before.Version}
	}
	var versions []string
	for _, volume := range m.Volumes {
		if volume.ClusterID == v.clusterID && volume.Version != "" {
			versions = append(versions, volume.Version)
		}
	}
	return versions
}

func appendVersion(versions []*semver.Version, text string) []*semver.Version {
	version, err := semver.StrictNewVersion(text)
	if err != nil {
		return versions
	}
	return append(versions, version)
}

// nextOutdated picks the next member and its next step. Learners may be restarted at any time: they have no vote. Where no
// voter can be spared, the number of members is seen to first.
func (v *view) nextOutdated(p *plan, pending []*memberView) bool {
	p.doing = Problem{ReasonRollingOut, fmt.Sprintf("%d of %d members are to be brought up to date", len(pending), len(v.members))}
	if v.Cluster.Spec.Version != v.Cluster.Spec.FinalVersion {
		p.doing.Message += fmt.Sprintf(" with %s, on the way to %s", v.Cluster.Spec.Version, v.Cluster.Spec.FinalVersion)
	}
	for _, m := range pending {
		if v.sparable(m) && v.mayRestart(m) && !v.spreads(m) && !v.hopsAsleep(m) && v.bringUpToDate(p, m) {
			return true
		}
	}
	next := pending[0]
	for _, m := range pending {
		if next.Pod.Resizing == "" && (m.Pod.Resizing != "" || next.leads && !m.leads) {
			next = m
		}
	}
	if waiting := v.waitsForOthers(next); waiting != "" {
		p.doing.Message += "; waiting: " + waiting
		return true
	}
	if !v.mayRestart(next) {
		p.doing.Message += fmt.Sprintf("; waiting: without member %s there would be no quorum of members that serve and are caught up", next.Name)
		return false
	}
	v.bringUpToDate(p, next)
	return true
}

// sparable members give nothing that others need: those that do not serve, and learners. One that may serve without our
// hearing it is left alone while another one is away, or is down and about to be brought up to date.
func (v *view) sparable(m *memberView) bool {
	if m.listed != nil && m.listed.Learner || !m.Pod.Running {
		return true
	}
	return !m.serves && !slices.ContainsFunc(v.members, func(other *memberView) bool {
		mended := !other.Pod.Running && other.outdated(v.Cluster.Spec.MemberHash) && other.trouble.Reason != ReasonNodeGone && !v.hopsAsleep(other)
		return other != m && (other.Pod.Deleting || v.restarting(other) || mended)
	})
}

// hopsAsleep is whether a member that is away would come back with another minor: etcd wants all members to be healthy when
// the first one moves. One that is away for longer may follow if it was to move already, or if others have.
func (v *view) hopsAsleep(m *memberView) bool {
	want := minorOf(v.Cluster.Spec.Version)
	other := slices.ContainsFunc(v.lastRan(m), func(version string) bool { return minorOf(version) != "" && minorOf(version) != want })
	if m.serves || !other {
		return false
	}
	moved := slices.ContainsFunc(v.running().answered, func(version *semver.Version) bool { return minorOf(version.String()) == want })
	return passing(m.trouble.Reason) || !moved && minorOf(m.Workload.Version) != want
}

// spreads is whether the new template could be bad and reach another member through a moment's weakness: a member that
// has it already, or is about to get it, does not run. Then only members follow that have a problem of their own; the new template may mend it.
func (v *view) spreads(m *memberView) bool {
	if !passing(m.trouble.Reason) && m.trouble.Reason != ReasonNodeGone {
		return false
	}
	return slices.ContainsFunc(v.members, func(other *memberView) bool {
		has := other.Workload.MemberHash == v.Cluster.Spec.MemberHash
		return other != m && has && !other.Pod.Running && other.trouble.Reason != ReasonVolumeLost
	})
}

// mayRestart is the one guard of every restart: the others serve on without the member; or it is not running at all;
// or nothing serves anyway, by the kubelets' word too. A single member has nobody to serve on; its restart is what the
// user asked for.
func (v *view) mayRestart(m *memberView) bool {
	switch {
	case !m.Pod.Exists || !m.Pod.Running:
		return true
	case v.keepsQuorum(m.Name):
		return true
	case !v.Etcd.List.Known:
		return !m.serves && v.noneReady() && (v.clusterID == "" || v.cannotElect(m))
	}
	return v.alone()
}

// alone is whether the cluster has this one member only.
func (v *view) alone() bool { return len(v.Etcd.List.Members) == 1 && len(v.members) == 1 }

// cannotElect is whether too few members run for a leader, and none of the others is about to come back: while a
// majority runs, an election may end at any moment.
func (v *view) cannotElect(without *memberView) bool {
	running := 0
	for _, m := range v.members {
		if m.Pod.Running && !m.Pod.Deleting {
			running++
		} else if m != without && passing(m.trouble.Reason) {
			return false
		}
	}
	return running < Quorum(v.usualVoters())
}

func (v *view) noneReady() bool {
	return !slices.ContainsFunc(v.members, func(m *memberView) bool { return m.Pod.Ready })
}

// waitsFor says what has to be mended before a member that serves is touched.
func (v *view) waitsFor() string {
	var reasons []string
	leaders := map[string]bool{}
	for _, m := range v.members {
		switch {
		case !m.serves:
			reasons = append(reasons, m.trouble.Message)
		case m.Pod.Deleting:
			reasons = append(reasons, fmt.Sprintf("pod of member %s is stopping", m.Name))
		case !m.caughtUp:
			reasons = append(reasons, fmt.Sprintf("member %s is catching up", m.Name))
		case m.listed != nil && m.listed.Learner:
			reasons = append(reasons, v.joins(m))
		}
		if m.serves {
			leaders[m.status.LeaderID] = true
		}
	}
	if len(leaders) > 1 {
		reasons = append(reasons, "the members do not agree yet on who leads")
	}
	if !v.Etcd.List.Known {
		reasons = append(reasons, "the member list could not be read linearizably")
	}
	if unfinished := v.unfinishedUpgrade(); unfinished != "" {
		reasons = append(reasons, unfinished)
	}
	return strings.Join(reasons, "; ")
}

// waitsForOthers says what has to be mended before a member that serves is brought up to date: so little memory that etcd ends
// must not reach the next one. Changes that are not wanted any more are not waited for.
func (v *view) waitsForOthers(next *memberView) string {
	waiting := v.waitsFor()
	for _, m := range v.members {
		if m != next && m.Pod.Resizing != "" && !m.outdated(v.Cluster.Spec.MemberHash) && waiting == "" {
			waiting = v.resizes(m)
		}
	}
	return waiting
}

// resizes says what the change of a member's CPU and memory waits for.
func (v *view) resizes(m *memberView) string {
	return fmt.Sprintf("CPU and memory of member %s are changed: %s", m.Name, m.Pod.Resizing)
}

// bringUpToDate does the next step for one member, if there is one to do now: its StatefulSet first, which restarts
// nothing; then, for a leader, the leadership; then its pod, once the StatefulSet controller has seen the new template.
func (v *view) bringUpToDate(p *plan, m *memberView) bool {
	want := v.Cluster.Spec.MemberHash
	next := fmt.Sprintf("; next: %s", m.Name)
	switch {
	case m.Workload.MemberHash != want:
		apply := v.apply(m)
		apply.FlushLog = v.oldLog(m)
		p.actions = append(p.actions, apply)
	case !m.Workload.Settled || !m.Pod.Exists || m.Pod.Deleting || m.Pod.MemberHash == want:
		return false
	case v.resizable(m):
		p.actions = append(p.actions, ResizeMember{Member: m.Name, PodUID: m.Pod.UID})
	case m.leads && m.Pod.Running && !v.alone():
		v.moveLeader(p, m)
		return true
	default:
		p.actions = append(p.actions, v.restart(m))
	}
	p.doing.Message += next
	return true
}

// resizable is whether all that is asked of a running pod is other CPU and memory.
func (v *view) resizable(m *memberView) bool {
	return m.Pod.Running && !m.Pod.ResizeRefused && m.Pod.RestartHash == v.Cluster.Spec.RestartHash
}

// restart is the action, with what has to be true still when it is carried out.
func (v *view) restart(m *memberView) RestartMember {
	restart := RestartMember{Member: m.Name, PodUID: m.Pod.UID, OnlyIfDown: !m.Pod.Running}
	switch {
	case restart.OnlyIfDown:
	case m.listed != nil && m.listed.Learner:
	case v.keepsQuorum(m.Name):
		restart.Needs = Quorum(v.voters())
	case !v.Etcd.List.Known:
		restart.OnlyIfNoneReady = true
	}
	restart.FlushLog = v.oldLog(m)
	return restart
}

// moveLeader hands the leadership to the healthy voter that is furthest, so that restarting the old leader interrupts
// no write for an election's length.
func (v *view) moveLeader(p *plan, from *memberView) {
	var to *memberView
	for _, m := range v.members {
		if m == from || !m.serves || m.listed == nil || m.listed.Learner || m.Pod.Deleting {
			continue
		}
		if to == nil || m.lag < to.lag {
			to = m
		}
	}
	if to == nil {
		p.doing.Message += fmt.Sprintf("; waiting: no voter that serves can take the leadership from %s", from.Name)
		return
	}
	p.doing = Problem{ReasonLeaderMoving, fmt.Sprintf("leadership moves from %s to %s, which is up to date", from.Name, to.Name)}
	p.actions = append(p.actions, MoveLeader{From: from.Name, FromID: from.status.ID, To: to.Name, ToID: to.listed.ID})
}
