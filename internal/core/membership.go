package core

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// corruptPatience is for how long a member has to fail on its own data before that counts: a disk may hang for a moment.
const corruptPatience = 30 * time.Second

// cleanUp deletes what is left of members that are not in the member list any more: first it is recorded on their claims
// that these must never run again, then their StatefulSets go, then, unless they are to be kept, the claims. A member is
// removed before its pod and volume go, never after. As long as a restore may be rolled back, no claim goes: what the cluster had may
// be on it.
func cleanUp(v *view, p *plan) bool {
	for _, m := range v.leftovers {
		var unretired, doomed []Volume
		for _, volume := range m.Volumes {
			switch {
			case volume.Deleting:
			case !volume.Removed && (v.ours(volume) || volume.ClusterID == v.clusterID):
				unretired = append(unretired, volume)
			case volume.Removed && v.ours(volume) && !v.Cluster.Spec.KeepRemoved && v.Cluster.Spec.Rests == "":
				doomed = append(doomed, volume)
			}
		}
		switch {
		case v.leader() == nil || v.foreign() != "":
			// A member that is not recognized might be this one.
			return false
		case len(unretired) > 0:
			p.actions = append(p.actions, RetireVolumes{Member: m.Name, Volumes: unretired, Via: v.leader().Name})
		case m.Workload.Exists():
			p.actions = append(p.actions, DeleteMember{Member: m.Name, WorkloadUID: m.Workload.UID, Via: v.leader().Name})
		case len(doomed) > 0 && !m.Pod.Exists:
			p.actions = append(p.actions, DeleteVolumes{Member: m.Name, Volumes: doomed, Via: v.leader().Name})
		default:
			continue
		}
		p.doing = Problem{ReasonCleaningUp, fmt.Sprintf("member %s was removed from the cluster; what is left of it is deleted", m.Name)}
		return true
	}
	return false
}

// disarm clears the alarms of members that have been removed: while one is raised the writes of all are refused, and it
// outlives its member.
func disarm(v *view, p *plan) bool {
	for _, m := range v.members {
		if m.status == nil || !m.serves || !v.Etcd.List.Known || v.leader() == nil {
			continue
		}
		for i, id := range m.status.AlarmIDs {
			// An alarm for nobody in particular is not ours to clear.
			if id == "0" || slices.ContainsFunc(v.Etcd.List.Members, func(l Listed) bool { return l.ID == id }) {
				continue
			}
			alarm := m.status.ClusterAlarms[i]
			p.doing = Problem{ReasonDisarming, fmt.Sprintf("the alarm %s of member %s is cleared: the member has been removed", alarm, id)}
			p.actions = append(p.actions, DisarmAlarm{ID: id, Alarm: alarm, Via: v.leader().Name})
			return true
		}
	}
	return false
}

// heal removes a member that can never serve again with what it has; the size rule puts a new one in its place. For a voter
// that is gone, removing comes first: etcd refuses to add one while too few of them are connected
// (https://etcd.io/docs/v3.6/op-guide/runtime-configuration/#replace-a-failed-machine).
func heal(v *view, p *plan) bool {
	for _, m := range v.members {
		why := v.irreparable(m)
		if why.IsZero() {
			continue
		}
		p.doing = Problem{ReasonReplacing, fmt.Sprintf("member %s is replaced: %s", m.Name, why.Message)}
		if waiting := v.keepsWithout(m); waiting != "" {
			// What it waits for may be mended by another rule.
			p.doing.Message += "; waiting: " + waiting
			continue
		}
		v.remove(p, m)
		return true
	}
	return false
}

// irreparable says why a member cannot serve again with what it has, if that is certain, or if the user says so.
func (v *view) irreparable(m *memberView) Problem {
	if m.listed == nil || m.serves || v.Cluster.Spec.Size == 0 {
		return Problem{}
	}
	s := m.status
	switch {
	case m.corrupt() && (m.listed.Learner || v.staying(m.Name) >= 2):
		// etcd's periodic check blames whoever differs from the leader, so that the others have to agree: see IfOthersAgree. A
		// learner has nothing that the others lack.
		return Problem{ReasonDataCorrupt, "its data is corrupt, it has raised the alarm CORRUPT"}
	case slices.Contains(v.Cluster.Spec.Replace, m.Name):
		return Problem{ReasonReplacementAsked, "its replacement was asked for"}
	case s != nil && s.Answered:
		// Whoever answers has its data.
		return Problem{}
	case v.dataIsLost(m):
		return m.trouble
	case m.listed.Learner && m.listed.Started && v.failsByItself(m):
		// It has no vote, and nothing that the others lack.
		return m.trouble
	}
	if why := v.cannotJoin(m); !why.IsZero() {
		return why
	}
	return v.nodeGone(m)
}

// dataIsLost is whether it is certain that a member that does not answer has lost its data, or that what it has is bad.
func (v *view) dataIsLost(m *memberView) bool {
	patient := v.unhealthyFor(m) >= corruptPatience
	switch m.trouble.Reason { //nolint:exhaustive // All others say nothing of the data.
	case ReasonVolumeLost:
		return patient || m.provenLost()
	case ReasonDataCorrupt:
		return patient
	case ReasonVolumeEmpty:
		// It was lost before anything was recorded on its claim.
		return patient && m.listed.Started
	case ReasonDataDiffers:
		// It does not start since its data differs from that of another member. Which of them is wrong the others decide,
		// at the moment of the removal: see IfOthersAgree.
		return patient && v.staying(m.Name) >= 2
	}
	return false
}

// cannotJoin says why a member that has never started will not.
func (v *view) cannotJoin(m *memberView) Problem {
	switch {
	case m.listed.Started:
	case m.Workload.Start == StartJoin && m.trouble.Reason == ReasonCrashLooping && !slices.Equal(m.Workload.InitialCluster, v.listedNames()):
		return Problem{ReasonCrashLooping, "the members have changed since it was to join them, so that it does not start"}
	case m.listed.Learner && m.Workload.State == Missing && (!v.mayGoBack() || !v.versionRefused().IsZero()):
		return Problem{ReasonVersionHopRefused, "it was added but cannot start with the version that is asked for by now"}
	}
	return Problem{}
}

// corrupt is whether the member has raised the alarm CORRUPT.
func (m *memberView) corrupt() bool {
	return m.status != nil && m.status.Answered && slices.Contains(m.status.Alarms, alarmCorrupt)
}

// provenLost is whether the volume is certain to be another one: Kubernetes has lost it, or etcd finds nothing on one whose
// claim says nothing. A claim that says that it holds data may only be mounted wrongly for a moment.
func (m *memberView) provenLost() bool {
	lost := slices.ContainsFunc(m.Volumes, func(v Volume) bool { return v.Problem.Reason == ReasonVolumeLost })
	return lost || m.Pod.Problem.Reason == ReasonVolumeEmpty && !m.marked()
}

// failsByItself is whether a member's process has been starting and ending for long, on its own data or, after a longer
// patience, for whatever reason with settings with which another member serves.
func (v *view) failsByItself(m *memberView) bool {
	switch m.trouble.Reason { //nolint:exhaustive // All others say nothing of its process.
	case ReasonDataCorrupt, ReasonVolumeEmpty:
		return v.unhealthyFor(m) >= corruptPatience
	case ReasonCrashLooping:
		after := v.Cluster.Spec.UnhealthyAfter
		return after > 0 && v.unhealthyFor(m) >= after && v.provenSettings(m)
	}
	return false
}

// provenSettings is whether another member serves with the settings of a member.
func (v *view) provenSettings(m *memberView) bool {
	return slices.ContainsFunc(v.members, func(other *memberView) bool {
		return other != m && other.serves && other.Pod.MemberHash == m.Pod.MemberHash && !other.outdated(v.Cluster.Spec.MemberHash)
	})
}

// nodeGone: without its node a member cannot come back, or only with the node. Should it come back after it was removed,
// etcd keeps it out: its ID is never accepted again.
func (v *view) nodeGone(m *memberView) Problem {
	after := v.Cluster.Spec.UnhealthyAfter
	if due := v.dueWithoutNode(m); !m.Node.Gone || after == 0 || v.Now.Before(due) {
		return Problem{}
	}
	return Problem{ReasonNodeGone, fmt.Sprintf("its node %s has been gone for longer than spec.healing.memberUnhealthyAfter (%s)", m.Node.Name, after)}
}

// dueWithoutNode is when a member whose node is gone is replaced: both the node and the member have been away for long
// enough then.
func (v *view) dueWithoutNode(m *memberView) time.Time {
	away := v.Now.Add(-v.unhealthyFor(m))
	if m.Node.Since.After(away) {
		away = m.Node.Since
	}
	return away.Add(v.Cluster.Spec.UnhealthyAfter)
}

// unhealthyFor is for how long a member has been reported as unhealthy, and this operator has been looking: a time that was
// written by another clock, or before this one jumped, says nothing of how long that is ago.
func (v *view) unhealthyFor(m *memberView) time.Duration {
	before, known := v.Cluster.Recorded.member(m.Name)
	if !known || before.Healthy {
		return 0
	}
	since := before.HealthySince
	if watched := v.WatchedSince; !watched.IsZero() && (since.Before(watched) || since.After(v.Now)) {
		since = watched
	}
	unhealthy := v.Now.Sub(since)
	if v.waking() {
		// It was not to run until a short while ago.
		woken, _ := v.Cluster.Recorded.condition(Progressing)
		if woken.Reason == ReasonHibernated || woken.Reason == ReasonRestoring {
			return 0
		}
		unhealthy = min(unhealthy, v.Now.Sub(woken.Since))
	}
	return unhealthy
}

// abandon removes members that are not wanted any more and that a rollout would otherwise wait for: those that have not
// joined yet, and those that do not serve.
func abandon(v *view, p *plan) bool {
	exchanges := v.exchanges()
	count := len(v.Etcd.List.Members)
	if !v.Etcd.List.Known || v.Cluster.Spec.Size == 0 || v.foreign() != "" {
		return false
	}
	if m := v.stranded(); m != nil && v.leader() != nil {
		p.doing = v.resizing(count, exchanges)
		p.doing.Message += fmt.Sprintf("; next: %s, which cannot join as it is", m.Name)
		v.remove(p, m)
		return true
	}
	if count <= v.target() {
		return false
	}
	next := v.surplus(exchanges)
	if next == nil || next.serves && !next.listed.Learner {
		return false
	}
	p.doing = v.resizing(count, exchanges)
	v.shrink(p, exchanges)
	return true
}

// stranded is a learner that cannot join: it would have to be sealed first, for that to be rolled, and it is not rolled but
// exchanged. It has no vote, and another one joins as is asked for by now.
func (v *view) stranded() *memberView {
	for _, m := range v.members {
		sealed := m.Workload.Start == StartSealed && (m.Pod.Start == StartSealed || !m.Pod.StartFixed)
		if m.listed != nil && m.listed.Learner && !sealed && m.outdated(v.Cluster.Spec.MemberHash) && v.exchangedInstead(m) {
			return m
		}
	}
	return nil
}

// copied is whether a learner serves and is caught up. That etcd lists it as started may follow seconds later: its announcement
// can be in what it copies, and then waits for the request to time out (publishV3 in server/etcdserver/server.go).
func (m *memberView) copied() bool {
	return m.listed != nil && m.listed.Learner && m.serves && m.caughtUp
}

// promote makes a learner a voter once it has caught up. It is sealed first, and so is its pod: from then on its vote
// counts, and it must not be able to start over on an empty volume.
func promote(v *view, p *plan) bool {
	voters, serving := v.voters(), v.servingVoters()
	if !v.Etcd.List.Known || v.leader() == nil || voters >= v.target() {
		return false
	}
	for _, m := range v.members {
		if !m.copied() || m.Pod.Deleting {
			continue
		}
		if m.Workload.Start != StartSealed || !m.Workload.Settled || m.Pod.Start != StartSealed || serving+1 < Quorum(voters+1) {
			continue
		}
		p.doing = Problem{ReasonJoining, fmt.Sprintf("member %s has caught up and becomes a voter", m.Name)}
		p.actions = append(p.actions, PromoteMember{
			Member: m.Name, ID: m.listed.ID, Via: v.leader().Name, Expect: v.listedIDs(), Needs: Quorum(voters+1) - 1,
		})
		return true
	}
	return false
}

// target is the number of members to have now: while members that serve are exchanged, one more than the spec asks for, so
// that the data is never on fewer.
func (v *view) target() int {
	target := v.Cluster.Spec.Size
	if len(v.exchanges()) > 0 {
		target++
	}
	return target
}

// resize brings the number of members to what the spec asks, one step at a time.
func resize(v *view, p *plan) bool {
	count, size := len(v.Etcd.List.Members), v.Cluster.Spec.Size
	if v.clusterID == "" || len(v.members) == 0 {
		return false
	}
	exchanges := v.exchanges()
	if !v.Etcd.List.Known {
		if count := v.Cluster.Recorded.MemberCount; count > 0 && count != size {
			p.doing = v.resizing(count, exchanges)
			p.doing.Message += "; waiting: the member list could not be read linearizably"
		}
		return false
	}
	if v.foreign() != "" {
		return false
	}
	if p.blocked.IsZero() {
		p.blocked = v.shrinkRefused()
	}
	switch {
	case count > v.target():
		p.doing = v.resizing(count, exchanges)
		v.shrink(p, exchanges)
	case count < v.target():
		p.doing = v.resizing(count, exchanges)
		v.grow(p, len(exchanges) > 0 && count >= size)
	case len(exchanges) > 0:
		p.doing = v.resizing(count, exchanges)
		v.letGo(p, exchanges)
	default:
		return v.joining(p)
	}
	return true
}

// letGo removes a member that is exchanged once the one more has joined: one that is away anyway first, the leader last.
func (v *view) letGo(p *plan, exchanges []exchange) {
	next, waiting := v.leaderLast(exchanges), ""
	if i := slices.IndexFunc(exchanges, func(e exchange) bool { return !e.member.serves }); i >= 0 && v.voters() == len(v.Etcd.List.Members) {
		next = exchanges[i].member
	} else {
		waiting = v.waitsFor()
	}
	if waiting == "" {
		waiting = v.keepsWithout(next)
	}
	if waiting != "" {
		p.doing.Message += "; waiting: " + waiting
		return
	}
	v.remove(p, next)
}

func (v *view) resizing(count int, exchanges []exchange) Problem {
	size := v.Cluster.Spec.Size
	switch {
	case len(exchanges) > 0:
		return Exchanging(len(exchanges), v.leaderLast(exchanges).Name, exchanges[0].why)
	case count > size:
		return Problem{ReasonScalingIn, fmt.Sprintf("%d members become %d", count, size)}
	}
	return Problem{ReasonScalingOut, fmt.Sprintf("%d members become %d", count, size)}
}

// Exchanging tells that members are exchanged for new ones, and why.
func Exchanging(count int, first, why string) Problem {
	return Problem{ReasonExchanging, fmt.Sprintf("%d members are exchanged one by one, %s first: %s", count, first, why)}
}

// joining says what is waited for while members join although nothing else is to be done.
func (v *view) joining(p *plan) bool {
	for _, m := range v.members {
		if m.listed != nil && m.listed.Learner {
			p.doing = Problem{ReasonJoining, v.joins(m)}
			return true
		}
	}
	return false
}

func (v *view) joins(m *memberView) string {
	switch {
	case !m.serves:
		return fmt.Sprintf("member %s joins: %s", m.Name, m.trouble.Message)
	case !m.caughtUp:
		return fmt.Sprintf("member %s joins and is catching up", m.Name)
	}
	return fmt.Sprintf("member %s joins", m.Name)
}

// foreign tells of a member in etcd's list that is none of ours.
func (v *view) foreign() string {
	for _, l := range v.Etcd.List.Members {
		if l.Name == "" {
			return fmt.Sprintf("etcd lists the member %s (%s), which the operator did not add: remove it with etcdctl member remove; no member is added or removed before", l.ID, l.PeerURL)
		}
	}
	return ""
}

// grow adds a member, as a learner. The next may join beside it, if etcd lets it, once this one has started: a new member has to
// know all others, waits until it can resolve their names, and asks each of them for its version, so that two that start at one
// moment wait for each other for seven seconds (getVersions in server/etcdserver/cluster_util.go).
func (v *view) grow(p *plan, exchanging bool) {
	learners := 0
	for _, m := range v.members {
		if m.listed == nil {
			continue
		}
		if m.listed.Learner {
			learners++
		}
		if m.stranger || !m.begun() {
			p.doing.Message += "; " + v.joins(m)
			return
		}
	}
	voters := v.voters()
	refused := v.versionRefused()
	switch {
	case v.leader() == nil:
		p.doing.Message += "; waiting: the leader is not known"
	case !refused.IsZero():
		p.blocked = refused
	case !v.mayGoBack():
		p.doing.Message += "; waiting until etcd can be told of the downgrade"
	case learners >= max(v.Cluster.Spec.MaxLearners, 1):
		p.doing.Message += "; waiting: as many members are joining as etcd allows"
	case v.servingVoters() < Quorum(voters+1) && voters > 1:
		p.doing.Message += fmt.Sprintf("; waiting: only %d of %d voters serve, and a new member must not be needed for the quorum; %s", v.servingVoters(), voters, v.ailing())
	case exchanging && v.waitsFor() != "":
		p.doing.Message += "; waiting: " + v.waitsFor()
	default:
		name := v.newName()
		p.doing.Message += "; next: " + name
		p.actions = append(p.actions, AddMember{Member: name, Via: v.leader().Name, Expect: v.listedIDs(), EndDowngrade: v.mayBeDowngrading()})
	}
}

// begun is whether a voter has ever run, and a learner runs. etcd lists a learner as started later, see copied.
func (m *memberView) begun() bool {
	if !m.listed.Learner {
		return m.listed.Started
	}
	return m.serves || m.Pod.Running && m.Pod.Started && !m.Pod.Deleting
}

// shrink removes a member: one that has not joined yet, else one that was to be exchanged, else one that does not serve,
// else the youngest that does not lead.
func (v *view) shrink(p *plan, exchanges []exchange) {
	next := v.surplus(exchanges)
	p.doing.Message += "; next: " + next.Name
	if waiting := v.keepsWithout(next); waiting != "" {
		p.doing.Message += "; waiting: " + waiting
		return
	}
	v.remove(p, next)
}

func (v *view) surplus(exchanges []exchange) *memberView {
	var chosen *memberView
	best := -1
	for _, m := range v.members {
		if m.listed == nil {
			continue
		}
		rank := 1
		switch {
		case !m.listed.Started:
			rank = 6
		case m.listed.Learner:
			rank = 5
		case !m.serves:
			rank = 4
		case !m.caughtUp && !m.leads:
			rank = 3
		case slices.ContainsFunc(exchanges, func(e exchange) bool { return e.member == m }):
			rank = 2
		case m.leads:
			rank = 0
		}
		if rank >= best {
			chosen, best = m, rank
		}
	}
	return chosen
}

// leaderLast is the next member to exchange.
func (v *view) leaderLast(exchanges []exchange) *memberView {
	for _, e := range exchanges {
		if !e.member.leads {
			return e.member
		}
	}
	return exchanges[0].member
}

// remove takes a member out of the member list, after the leadership was moved away from it.
func (v *view) remove(p *plan, m *memberView) {
	if m.leads {
		v.moveLeader(p, m)
		return
	}
	needs := 0
	if !m.listed.Learner {
		needs = Quorum(v.voters() - 1)
	}
	p.actions = append(p.actions, RemoveMember{
		Member: m.Name, ID: m.listed.ID, Via: v.leader().Name, Expect: v.listedIDs(), Needs: needs,
		IfOthersAgree: !m.listed.Learner && (m.corrupt() || m.trouble.Reason == ReasonDataDiffers) && !slices.Contains(v.Cluster.Spec.Replace, m.Name),
	})
}

// keepsWithout is the one guard of every removal: those that stay, serve and are caught up have to be a quorum of the
// voters that there will be. It says what is missing.
func (v *view) keepsWithout(m *memberView) string {
	switch {
	case !v.Etcd.List.Known:
		return "the member list could not be read linearizably"
	case v.leader() == nil:
		return "the leader is not known"
	case m.listed.Learner:
		return ""
	case v.voters() < 2:
		return "it is the only voter: nobody else has the data"
	}
	staying, after := v.staying(m.Name), v.voters()-1
	if staying < Quorum(after) {
		return fmt.Sprintf("without member %s only %d of %d voters would serve and be caught up, which is no quorum", m.Name, staying, after)
	}
	return ""
}

// ailing says what is wrong with the voters that do not serve.
func (v *view) ailing() string {
	var why []string
	for _, m := range v.members {
		if m.listed != nil && !m.serves {
			why = append(why, m.trouble.Message)
		}
	}
	return strings.Join(why, "; ")
}

// leader is the member that leads, if it serves.
func (v *view) leader() *memberView {
	for _, m := range v.members {
		if m.leads && m.listed != nil && !m.Pod.Deleting {
			return m
		}
	}
	return nil
}

func (v *view) listedIDs() []string {
	var ids []string
	for _, l := range v.Etcd.List.Members {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return ids
}
