package sim

import (
	"strings"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Late is a decision that disrupts, with what internal/act checks when it carries it out. It can come late.
type Late struct {
	Kind LateKind
	// Member is the one that it is about; To takes the leadership over; Via is asked.
	Member, To, Via uint8
	Needs           uint8
	OnlyIfDown      bool
	// NoneReady: it holds only while no member is ready.
	NoneReady bool
	// Same is whether the object that was decided about exists still.
	Same bool
	// Expect is the member list that was decided on.
	Expect Set
	// Target is what etcd is told to go back to; Flush is whether the log is flushed before a restart.
	Target Minor
	Flush  bool
	// TLS is whether a member is to be listed by it.
	TLS bool
	// EndDowngrade is whether a downgrade is canceled before a member is added.
	EndDowngrade bool
}

// LateKind is what a decision is about.
type LateKind uint8

// The kinds of decisions that disrupt.
const (
	NotLate LateKind = iota
	Restart
	Handover
	Add
	Promote
	Remove
	DeleteSet
	DeleteClaim
	Disarm
	Downgrade
	Cancel
	MoveURL
)

// about is the kind of object that a decision is about.
func (k LateKind) about() Same {
	switch k {
	case Restart:
		return SamePod
	case DeleteSet:
		return SameWorkload
	case DeleteClaim:
		return SameClaim
	case NotLate, Handover, Add, Promote, Remove, Disarm, Downgrade, Cancel, MoveURL:
	}
	return 0
}

// order puts what disrupts in the terms of the model. RecreateMember has terms of its own.
func order(action core.Action, p *Pass) Late {
	at := func(name string) uint8 { return uint8(memberOf(name)) }
	switch a := action.(type) {
	case core.RestartMember:
		m := at(a.Member)
		return Late{
			Kind: Restart, Member: m, Needs: uint8(a.Needs), OnlyIfDown: a.OnlyIfDown,
			NoneReady: a.OnlyIfNoneReady, Same: a.PodUID == uid("pod", int(m), true), Flush: a.FlushLog > 0,
		}
	case core.MoveLeader:
		return Late{Kind: Handover, Member: at(a.From), To: at(a.To)}
	case core.AddMember:
		return Late{Kind: Add, Member: at(a.Member), Via: at(a.Via), Expect: byIDs(a.Expect), EndDowngrade: a.EndDowngrade, TLS: p.next.JoinTLS}
	case core.PromoteMember:
		return Late{Kind: Promote, Member: at(a.Member), Via: at(a.Via), Needs: uint8(a.Needs), Expect: byIDs(a.Expect)}
	case core.RemoveMember:
		return Late{Kind: Remove, Member: at(a.Member), Via: at(a.Via), Needs: uint8(a.Needs), Expect: byIDs(a.Expect)}
	case core.DeleteMember:
		m := at(a.Member)
		return Late{Kind: DeleteSet, Member: m, Via: at(a.Via), Same: a.WorkloadUID == uid("set", int(m), true)}
	case core.DeleteVolumes:
		m := at(a.Member)
		return Late{Kind: DeleteClaim, Member: m, Via: at(a.Via), Same: a.Volumes[0].UID == uid("claim", int(m), true)}
	case core.DisarmAlarm:
		return Late{Kind: Disarm, Member: ordinalOf(a.ID), Via: at(a.Via)}
	case core.EnableDowngrade:
		return Late{Kind: Downgrade, Target: minorOf(a.Target), Via: at(a.Via)}
	case core.MovePeerURL:
		return Late{Kind: MoveURL, Member: at(a.Member), Via: at(a.Via), Expect: byIDs(a.Expect), TLS: strings.HasPrefix(a.URL, "https://")}
	case core.CancelDowngrade:
		return Late{Kind: Cancel, Via: at(a.Via)}
	}
	panic("the model does not know the action " + action.Step())
}

// carryOut carries out what disrupts, under the preconditions of internal/act. It says whether they held.
func (w *World) carryOut(s *State, a Late, p *Pass) bool {
	m := int(a.Member)
	asks := s.serves(int(a.Via)) && !s.Nodes[a.Via].Unreachable && s.Leader != 0
	if a.Kind > Handover && !asks {
		return false
	}
	blind := w.Operator.Blind
	switch a.Kind {
	case Restart:
		return w.restart(s, a, p)
	case Handover:
		return w.handOver(s, a, p)
	case Add:
		return w.add(s, a, p)
	case Promote:
		return w.promote(s, a, p)
	case Remove:
		return (blind || a.Expect == s.list() && s.answering(m) >= int(a.Needs)) && w.remove(s, m, p)
	case DeleteSet:
		return (blind || a.Same && !s.list().has(m)) && s.Live.Members[m].Workload.Exists && w.deleteSet(s, m, p)
	case DeleteClaim:
		member := &s.Live.Members[m]
		removed := a.Same && !s.list().has(m) && !member.Pod.Exists && member.Claim.Removed && member.Claim.Owner == s.Live.Cluster.Incarnation
		return (blind || removed) && member.Claim.Exists && w.deleteClaim(s, m, p)
	case Disarm:
		if s.list().has(m) {
			p.broke(RemovedFirst, "the alarm of %s is cleared while it is in the member list", memberName(m))
		}
		s.Alarms &^= 1 << m
		return true
	case Downgrade:
		return s.enableDowngrade(a.Target)
	case Cancel:
		s.Downgrade = 0
		return true
	case MoveURL:
		return w.movePeerURL(s, a)
	case NotLate:
	}
	return false
}

// act carries out what disrupts nothing. The cluster is the EtcdCluster as the operator saw it.
func (w *World) act(s *State, seen Cluster, action core.Action, p *Pass) bool {
	switch a := action.(type) {
	case core.ApplyMember:
		return w.apply(s, seen, a, p)
	case core.MarkVolumes:
		return w.mark(s, seen, a)
	case core.SealPod:
		m := memberOf(a.Member)
		pod := &s.Live.Members[m].Pod
		if !pod.Exists || pod.Deleting || a.PodUID != uid("pod", m, true) && !w.Operator.Blind {
			return false
		}
		pod.Template.Start, pod.Template.Initial = core.StartSealed, 0
		return true
	case core.RetireVolumes:
		m, via := memberOf(a.Member), memberOf(a.Via)
		claim := &s.Live.Members[m].Claim
		asks := s.serves(via) && !s.Nodes[via].Unreachable && s.Leader != 0
		if !claim.Exists || a.Volumes[0].UID != uid("claim", m, true) && !w.Operator.Blind || !asks || s.list().has(m) && !w.Operator.Blind {
			return false
		}
		if s.list().has(m) {
			p.broke(RemovedFirst, "the claim of %s is marked as removed while it is listed", memberName(m))
		}
		claim.Removed = true
		return true
	case core.ExpandVolumes:
		return w.expand(s, seen, a, p)
	case core.ResizeMember:
		return w.resize(s, seen, a, resizeWrites, p)
	case core.WriteCertificates:
		return w.writeCertificates(s, seen, a.Change, certificateWrites)
	case core.RecreateMember:
		return w.recreate(s, a, false, p)
	}
	return w.carryOut(s, order(action, p), p)
}

// begin carries out the first writes of an action.
func (w *World) begin(s *State, seen Cluster, action core.Action, writes int, p *Pass) {
	switch a := action.(type) {
	case core.ResizeMember:
		w.resize(s, seen, a, writes, p)
	case core.WriteCertificates:
		w.writeCertificates(s, seen, a.Change, writes)
	}
}

// apply makes or changes a StatefulSet. What it says comes from the spec that the operator saw, except for the claim
// templates of one that exists: they are immutable.
func (w *World) apply(s *State, seen Cluster, a core.ApplyMember, p *Pass) bool {
	m := memberOf(a.Member)
	workload := &s.Live.Members[m].Workload
	live := &s.Live.Cluster
	stale := a.Stopped && !live.sleeps() || !a.Stopped && live.Holder != 0 || live.Restored != seen.Restored
	if a.FlushLog > 0 && !s.flush(m) || stale && !w.Operator.Blind {
		return false
	}
	want := Template{Wish: seen.wish(p.next), Start: a.Start, Initial: mask(a.InitialCluster), Token: seen.Incarnation, Stopped: a.Stopped}
	s.Next, s.Used = max(s.Next, uint8(m+1)), max(s.Used, uint8(m+1))
	want.InitialTLS = want.Start == core.StartBootstrap && p.next.FoundTLS
	if want.Start == core.StartSealed {
		// Sealed members have themselves only in their initial cluster, whoever founded it.
		want.Initial = 0
	}
	switch {
	case !workload.Exists:
		*workload = Workload{Exists: true, Want: want, Known: want, Storage: seen.Storage}
		s.seal(m)
		return true
	case workload.Want.Token != seen.Incarnation:
		// It is another object's.
		return false
	case workload.Want.Start == core.StartSealed && want.Start != core.StartSealed:
		return false
	}
	if workload.Want != want {
		workload.Want, workload.Settled = want, false
	}
	if !workload.Settled || a.Retry != 0 {
		workload.Refused = false
	}
	return true
}

// seal remembers that a member with data was sealed, when that has taken effect.
func (s *State) seal(m int) {
	member := &s.Live.Members[m]
	cluster := &s.Live.Cluster
	if !cluster.Exists || cluster.Incarnation != member.Workload.Known.Token {
		return
	}
	if member.Workload.Known.Start == core.StartSealed && member.Claim.Data != 0 {
		s.Nodes[m].Ran = member.Claim.Data
	}
}

func (w *World) mark(s *State, seen Cluster, a core.MarkVolumes) bool {
	m := memberOf(a.Member)
	claim := &s.Live.Members[m].Claim
	for _, volume := range a.Volumes {
		if !claim.Exists {
			continue
		}
		if volume.UID != uid("claim", m, true) && !w.Operator.Blind {
			return false
		}
		claim.Owner = seen.Incarnation
		if id := idOf(volume.ClusterID); id != 0 {
			claim.Marked = id
		}
		claim.Peers = volume.Peers
		if w.Minor != 0 && volume.Version != "" {
			claim.Ran = minorOf(volume.Version)
		}
	}
	return true
}

// restart deletes a pod if it is the one that was decided about and what allowed it is still true.
func (w *World) restart(s *State, a Late, p *Pass) bool {
	m := int(a.Member)
	pod := &s.Live.Members[m].Pod
	others, ready := uint8(0), false
	for other := range s.members() {
		ready = ready || s.Leader != 0 && s.serves(other)
		if other != m && s.Live.Members[other].Pod.Phase == Running && !s.Live.Members[other].Pod.Deleting {
			others++
		}
	}
	if !pod.Exists {
		return false
	}
	stale := !a.Same || a.OnlyIfDown && pod.Phase == Running || a.NoneReady && ready
	if !w.Operator.Blind && (stale || others < a.Needs) {
		return false
	}
	if pod.Deleting {
		return true
	}
	if a.Flush && !s.flush(m) {
		return false
	}
	w.checkRestart(s, m, p)
	s.Nodes[m].DownByUs = s.serves(m)
	pod.Deleting = true
	return true
}

// handOver is carried out by the leader itself, and only towards a voter that runs.
func (w *World) handOver(s *State, a Late, p *Pass) bool {
	if s.Leader != a.Member+1 || !s.serves(int(a.To)) || !s.Voters.has(int(a.To)) {
		return false
	}
	w.checkHandover(s, int(a.To), p)
	s.Leader = a.To + 1
	// The old leader sends it the rest of the log first.
	s.Live.Members[a.To].Claim.Old = false
	return true
}

// recreate deletes the claim and the StatefulSet of a member whose claim has no volume. Half of it is what is done if
// the operator ends in between.
func (w *World) recreate(s *State, a core.RecreateMember, half bool, p *Pass) bool {
	m := memberOf(a.Member)
	member := &s.Live.Members[m]
	if len(a.Volumes) == 0 && member.Claim.Exists && !w.Operator.Blind {
		return false
	}
	for _, volume := range a.Volumes {
		if !member.Claim.Exists {
			continue
		}
		if !w.Operator.Blind && (volume.UID != uid("claim", m, true) || member.Claim.Bound) {
			return false
		}
		checkClaim(s, m, p)
		// A pod that is not scheduled, for want of a volume, does not protect its claim.
		member.Claim.Deleting = true
		if !member.Pod.Exists || !member.Claim.Bound {
			s.dropClaim(m)
		}
	}
	if half || a.WorkloadUID == "" || !member.Workload.Exists {
		return true
	}
	if a.WorkloadUID != uid("set", m, true) && !w.Operator.Blind {
		return false
	}
	s.dropWorkload(m)
	return true
}

// answering counts the voters that serve and can be asked, without one.
func (s *State) answering(without int) int {
	return s.count(func(m int) bool { return m != without && !s.Nodes[m].Unreachable })
}

// promote makes a learner a voter, if etcd lets it: the list has to be the one that was decided on, the member has to serve, and
// enough voters.
func (w *World) promote(s *State, a Late, p *Pass) bool {
	m := int(a.Member)
	if !w.Operator.Blind && (a.Expect != s.list() || s.answering(m) < int(a.Needs) || !s.serves(m) || s.Nodes[m].Unreachable) {
		return false
	}
	w.checkPromote(s, m, p)
	return w.promoteMember(s, m)
}

// add adds a member, if etcd lets it: nothing may bear the name, and the list has to be the one that was decided on.
func (w *World) add(s *State, a Late, p *Pass) bool {
	m := int(a.Member)
	if !w.Operator.Blind && (a.Expect != s.list() || m < MaxMembers && !s.Live.Members[m].empty()) {
		return false
	}
	if a.EndDowngrade {
		s.Downgrade = 0
	}
	if m >= MaxMembers {
		p.beyond = true
		return false
	}
	w.checkAdd(s, m, p)
	done := w.addMember(s, m)
	if done && a.TLS {
		s.TLSURLs |= 1 << m
	}
	if done {
		s.Next = max(s.Next, uint8(m+1))
	}
	return done
}

func (w *World) remove(s *State, m int, p *Pass) bool {
	before := *s
	done := w.removeMember(s, m)
	if done {
		w.checkRemove(&before, m, p)
	}
	return done
}

func (w *World) deleteSet(s *State, m int, p *Pass) bool {
	if s.list().has(m) {
		p.broke(RemovedFirst, "the StatefulSet of %s is deleted while it is in the member list", memberName(m))
	}
	s.dropWorkload(m)
	return true
}

// deleteClaim deletes a claim; as long as a pod uses it, it stays.
func (w *World) deleteClaim(s *State, m int, p *Pass) bool {
	checkClaim(s, m, p)
	s.Live.Members[m].Claim.Deleting = true
	if !s.Live.Members[m].Pod.Exists {
		s.dropClaim(m)
	}
	return true
}

// arrive carries out what was late.
func arrive(w *World, s *State, _ int, p *Pass) bool {
	late := s.Late
	s.Late = Late{}
	p.late = true
	if late.Kind != NotLate {
		w.carryOut(s, late, p)
	}
	p.late = false
	return late.Kind != NotLate
}
