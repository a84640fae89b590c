package sim

import "github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"

// act carries one action out under the preconditions of internal/act. It says whether they held. The cluster is the
// EtcdCluster as the operator saw it.
func (w *World) act(s *State, seen Cluster, action core.Action, p *Pass) bool {
	switch a := action.(type) {
	case core.ApplyMember:
		return w.apply(s, seen, a)
	case core.MarkVolumes:
		return w.mark(s, seen, a)
	case core.RestartMember:
		return w.restart(s, Late{
			Kind: LateRestart, Member: uint8(memberOf(a.Member)), Needs: uint8(a.Needs), OnlyIfDown: a.OnlyIfDown,
			NoneReady: a.OnlyIfNoneReady, Same: a.PodUID == uid("pod", memberOf(a.Member), true),
		}, p)
	case core.MoveLeader:
		return w.handOver(s, Late{Kind: LateHandover, Member: uint8(memberOf(a.From)), To: uint8(memberOf(a.To))}, p)
	case core.RecreateMember:
		return w.recreate(s, a, false, p)
	}
	panic("the model does not know the action " + action.Step())
}

// apply makes or changes a StatefulSet. What it says comes from the spec that the operator saw, except for the claim
// templates of one that exists: they are immutable.
func (w *World) apply(s *State, seen Cluster, a core.ApplyMember) bool {
	m := memberOf(a.Member)
	workload := &s.Live.Members[m].Workload
	founders := mask(a.BootstrapMembers)
	want := Template{
		Hash: seen.Hash, Sealed: a.Start == core.StartSealed, Partial: founders != w.all(), Token: seen.Incarnation,
	}
	if want.Sealed {
		// Sealed members have themselves only in their initial cluster, whoever founded it.
		want.Partial = false
	}
	switch {
	case !workload.Exists:
		*workload = Workload{Exists: true, Want: want, Known: want, Storage: seen.Storage, Founders: founders}
		s.seal(m)
		return true
	case workload.Want.Token != seen.Incarnation:
		// It is another object's.
		return false
	case workload.Want.Sealed && !want.Sealed:
		return false
	}
	if workload.Want != want {
		workload.Want, workload.Settled = want, false
	}
	if !workload.Settled || a.Retry != 0 {
		workload.Refused = false
	}
	workload.Founders = founders
	return true
}

// seal remembers that a member with data was sealed, when that has taken effect.
func (s *State) seal(m int) {
	member := &s.Live.Members[m]
	cluster := &s.Live.Cluster
	if !cluster.Exists || cluster.Incarnation != member.Workload.Known.Token {
		return
	}
	if member.Workload.Known.Sealed && member.Claim.Data != 0 {
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
		for id := uint8(1); id <= w.Incarnations; id++ {
			if volume.ClusterID == clusterID(id) {
				claim.Marked = id
			}
		}
	}
	return true
}

// restart deletes a pod if it is the one that was decided about and what allowed it is still true.
func (w *World) restart(s *State, a Late, p *Pass) bool {
	m := int(a.Member)
	pod := &s.Live.Members[m].Pod
	others, ready := uint8(0), false
	for other := range w.Size {
		ready = ready || s.Leader != 0 && s.serves(other)
		if other != m && s.runs(other) && !s.Live.Members[other].Pod.Deleting {
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
	w.checkRestart(s, m, p)
	s.Nodes[m].DownByUs = s.serves(m)
	pod.Deleting = true
	return true
}

// handOver is carried out by the leader itself, and only towards a member that runs.
func (w *World) handOver(s *State, a Late, p *Pass) bool {
	if s.Leader != a.Member+1 || !s.serves(int(a.To)) {
		return false
	}
	w.checkHandover(s, int(a.To), p)
	s.Leader = a.To + 1
	s.Nodes[a.To].Behind = false
	return true
}

// recreate deletes the claim and the StatefulSet of a member whose claim has no volume. Half of it is what is done if
// the operator ends in between.
func (w *World) recreate(s *State, a core.RecreateMember, half bool, p *Pass) bool {
	m := memberOf(a.Member)
	member := &s.Live.Members[m]
	for _, volume := range a.Volumes {
		if !member.Claim.Exists {
			continue
		}
		if !w.Operator.Blind && (volume.UID != uid("claim", m, true) || member.Claim.Bound) {
			return false
		}
		checkClaim(member.Claim, m, p)
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

// postpone keeps what disrupts for later.
func (w *World) postpone(s *State, action core.Action) {
	switch a := action.(type) {
	case core.RestartMember:
		m := memberOf(a.Member)
		s.Late = Late{
			Kind: LateRestart, Member: uint8(m), Needs: uint8(a.Needs), OnlyIfDown: a.OnlyIfDown,
			NoneReady: a.OnlyIfNoneReady, Same: a.PodUID == uid("pod", m, true),
		}
	case core.MoveLeader:
		s.Late = Late{Kind: LateHandover, Member: uint8(memberOf(a.From)), To: uint8(memberOf(a.To))}
	}
}

// arrive carries out what was late.
func arrive(w *World, s *State, _ int, p *Pass) bool {
	late := s.Late
	s.Late = Late{}
	p.late = true
	switch late.Kind {
	case LateRestart:
		w.restart(s, late, p)
	case LateHandover:
		w.handOver(s, late, p)
	case NotLate:
		return false
	}
	return true
}
