package sim

// dropPod takes a pod away, and a claim that only waited for that.
func (s *State) dropPod(m int) {
	member := &s.Live.Members[m]
	member.Pod = Pod{}
	s.forget(m, SamePod)
	if member.Claim.Deleting {
		s.dropClaim(m)
	}
}

// dropClaim takes a claim away. The next one can be on another node.
func (s *State) dropClaim(m int) {
	member := &s.Live.Members[m]
	member.Claim = Claim{}
	if !member.Pod.Exists {
		member.Node = Present
	}
	s.forget(m, SameClaim)
}

// dropWorkload takes a StatefulSet away; its pod is collected later.
func (s *State) dropWorkload(m int) {
	member := &s.Live.Members[m]
	member.Workload = Workload{}
	member.Pod.Orphan = member.Pod.Exists
	s.forget(m, SameWorkload)
}

// forget notes that an object is not the one any more that was decided about.
func (s *State) forget(m int, kind Same) {
	s.Nodes[m].Same &^= kind
	if int(s.Late.Member) == m && s.Late.Kind.about() == kind {
		s.Late.Same = false
	}
}

// dropCluster takes the EtcdCluster away, and with it what its status told.
func (s *State) dropCluster() {
	s.Live.Cluster = Cluster{Incarnation: s.Live.Cluster.Incarnation}
	s.touched()
	for m := range s.Nodes {
		s.Nodes[m].Ran = 0
	}
	s.forgetNames()
}

// touched notes that the EtcdCluster has changed.
func (s *State) touched() { s.SameCluster, s.LateRestore.SameCluster = false, false }

// forgetNames lowers the next ordinal to what anything still shows: with the status, the names are forgotten of which
// nothing else is left.
func (s *State) forgetNames() {
	for s.Next > 0 {
		last := int(s.Next) - 1
		if !s.Live.Members[last].empty() || s.list().has(last) || s.Seen.Cluster.Status.Members.has(last) || !s.Seen.Members[last].empty() ||
			s.Earlier.list().has(last) || s.Restore.Members.has(last) {
			return
		}
		s.Live.Members[last], s.Nodes[last] = Member{}, Node{}
		s.Next--
		s.Used = min(s.Used, s.Next)
	}
}

// settle derives what follows at once from a step. Clients write all the time: whoever does not take part while there
// is a leader lacks an acknowledged write from then on.
func (w *World) settle(s *State) {
	if s.Leader != 0 && (!s.serves(int(s.Leader-1)) || !s.Voters.has(int(s.Leader-1)) || s.serving() < s.quorum()) {
		s.Leader = 0
	}
	// The log has no gaps: a write commits only with a quorum that has all writes before it.
	writes := s.Leader != 0 && s.count(func(m int) bool { return !s.Live.Members[m].Claim.Old }) >= s.quorum()
	if w.Minor != 0 {
		s.writeOldLog()
	}
	for m := range s.members() {
		node, member := &s.Nodes[m], &s.Live.Members[m]
		if !s.runs(m) {
			node.Unreachable, node.Cut = false, false
		}
		if writes && s.list().has(m) && !s.serves(m) && s.hasData(m) {
			member.Claim.Old = true
		}
		if s.serves(m) && !member.Pod.Deleting || !s.list().has(m) {
			node.DownByUs = false
		}
		if !s.looksIll(m) {
			member.Ailing = false
		}
	}
}

// looksIll is whether the operator finds that a member is not healthy.
func (s *State) looksIll(m int) bool {
	return !s.serves(m) || s.Nodes[m].Unreachable || s.Leader == 0 || s.Alarms.has(m)
}

// heal forgets what was recorded of the health of members with other data than the cluster has by now.
func (w *World) heal(s *State, record Record) {
	for m := range s.members() {
		if w.Restores > 0 && record.ID != s.Live.Cluster.Status.ID {
			s.Live.Members[m].Ailing = false
		}
	}
}
