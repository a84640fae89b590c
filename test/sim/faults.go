package sim

// Topic groups faults and edits.
type Topic uint32

// The topics.
const (
	// Crashes: processes and pods.
	Crashes Topic = 1 << iota
	// Losses: volumes, data.
	Losses
	// Deletions by hand: StatefulSets, entries of the member list, the status.
	Deletions
	// Networks between operator, members and nodes.
	Networks
	// Caches that stand still, and steps that arrive late.
	Caches
	// Cuts: the operator ends in the middle.
	Cuts
	// Quotas for pods.
	Quotas
	// Specs: template, pause.
	Specs
	// Sizes: scale and hibernate.
	Sizes
	// Storage class changes.
	Storage
	// Replacing by the user's wish.
	Replacing
	// Remaking the EtcdCluster.
	Remaking
	// Versions of etcd.
	Versions
	// Resources: CPU and memory.
	Resources
	// Growth of volumes.
	Growth
	// Certs: certificates, and TLS between members.
	Certs
	// Restoring the data of a backup; the operator ends in the midst of that, or acts late.
	Restoring
	RestoreCuts
	RestoreLate

	// Basics is everything that concerns a cluster whose members stay the same.
	Basics = Crashes | Losses | Deletions | Networks | Caches | Cuts | Quotas | Specs | Storage | Remaking
)

// faults are the steps that use up the fault budget.
var faults = []Step{
	{Name: "etcd crashes on", Topic: Crashes, Each: true, Do: crash},
	{Name: "someone deletes the pod of", Topic: Crashes, Each: true, Do: deletePod},
	{Name: "the volume is lost of", Topic: Losses, Each: true, Do: loseVolume},
	{Name: "the volume is wiped of", Topic: Losses, Each: true, Do: wipeVolume},
	{Name: "the data becomes corrupt of", Topic: Losses, Each: true, Do: corrupt},
	{Name: "the log becomes unreadable of", Topic: Losses, Each: true, Do: breakLog},
	{Name: "someone deletes the StatefulSet of", Topic: Deletions, Each: true, Do: deleteWorkload},
	{Name: "someone removes from the member list", Topic: Deletions, Each: true, Do: removeByHand},
	{Name: "the recorded status is lost", Topic: Deletions, Do: loseStatus},
	{Name: "the operator cannot reach any more", Topic: Networks, Each: true, Do: loseReach},
	{Name: "the operator is cut off from all members", Topic: Networks, Do: cutOff},
	{Name: "cut off from the other members is", Topic: Networks, Each: true, Do: partition},
	{Name: "the node is gone of", Topic: Networks, Each: true, Do: loseNode},
	{Name: "clients write faster than it can follow to", Topic: Networks, Each: true, Do: fallBehind},
	{Name: "the node has no room yet for what is asked for", Topic: Resources, Each: true, Do: answerResize(Deferred)},
	{Name: "the node never has what is asked for", Topic: Resources, Each: true, Do: answerResize(Infeasible)},
	{Name: "someone deletes the Secret of the authorities", Topic: Certs, Do: loseAuthorities},
	{Name: "someone deletes the Secret of the members' certificate", Topic: Certs, Do: loseLeaf(membersLeaf)},
	{Name: "someone deletes the Secret of the operator's certificate", Topic: Certs, Do: loseLeaf(ownLeaf)},
	{Name: "someone puts another authority in place of the one that signs", Topic: Certs, Do: putOwnAuthority},
	{Name: "the certificates grow old", Topic: Certs, Do: age},
	{Name: "the agent fails that fills the volume of", Topic: Restoring, Each: true, Do: agentFails(fills)},
	{Name: "the agent fails that gives back what was on the volume of", Topic: Restoring, Each: true, Do: agentFails(rollsBack)},
	{Name: "the comparison finds other data", Topic: Restoring, Do: comparisonFails(true)},
	{Name: "the comparison cannot be made", Topic: Restoring, Do: comparisonFails(false)},
	{Name: "the operator's cache stands still", Topic: Caches, Do: standStill},
	{Name: "the quota for pods is used up", Topic: Quotas, Do: useUpQuota},
}

func crash(_ *World, s *State, m int, _ *Pass) bool {
	could := s.runs(m)
	if could {
		s.Live.Members[m].Pod.Phase = Waiting
	}
	return could
}

func deletePod(_ *World, s *State, m int, _ *Pass) bool {
	pod := &s.Live.Members[m].Pod
	could := pod.Exists && !pod.Deleting
	pod.Deleting = pod.Exists
	return could
}

func loseVolume(_ *World, s *State, m int, _ *Pass) bool {
	could := s.Live.Members[m].Claim.Exists && !s.unpublished(m)
	if could {
		s.dropPod(m)
		s.dropClaim(m)
		// It does not come back, whoever stopped it.
		s.Nodes[m].DownByUs = false
	}
	return could
}

// unpublished voters have run and are not listed as started yet: etcd itself does not know that they must not start over.
// That lasts for the moment in which the first entries are written.
func (s *State) unpublished(m int) bool { return s.Voters.has(m) && s.hasData(m) && !s.Started.has(m) }

// wipeVolume leaves the claim with an empty volume, for a pod that is made again.
func wipeVolume(_ *World, s *State, m int, _ *Pass) bool {
	member := &s.Live.Members[m]
	could := member.Claim.Data != 0 && !s.unpublished(m)
	if could {
		member.Claim.Data, member.Claim.Old, member.Claim.Harm, member.Claim.Aside = 0, false, Intact, Aside{}
		s.dropPod(m)
		s.Nodes[m].DownByUs = false
	}
	return could
}

// corrupt data is found by etcd's own check, which raises the alarm.
func corrupt(_ *World, s *State, m int, _ *Pass) bool {
	could := s.Leader != 0 && s.serves(m) && !s.Alarms.has(m)
	if could {
		s.Alarms |= 1 << m
		s.Live.Members[m].Claim.Harm = Corrupt
	}
	return could
}

func breakLog(_ *World, s *State, m int, _ *Pass) bool {
	member := &s.Live.Members[m]
	could := member.Claim.Data != 0 && member.Claim.Harm != Unreadable
	if could {
		member.Claim.Harm = Unreadable
		if member.Pod.Exists {
			member.Pod.Phase = Waiting
		}
	}
	return could
}

func deleteWorkload(_ *World, s *State, m int, _ *Pass) bool {
	could := s.Live.Members[m].Workload.Exists
	if could {
		s.dropWorkload(m)
	}
	return could
}

func removeByHand(w *World, s *State, m int, _ *Pass) bool { return w.removeMember(s, m) }

func loseReach(_ *World, s *State, m int, _ *Pass) bool {
	could := s.runs(m) && !s.Nodes[m].Unreachable
	s.Nodes[m].Unreachable = s.runs(m)
	return could
}

func cutOff(w *World, s *State, _ int, p *Pass) bool {
	could := 0
	for m := range s.members() {
		if loseReach(w, s, m, p) {
			could++
		}
	}
	return could > 1
}

func partition(_ *World, s *State, m int, _ *Pass) bool {
	could := s.serves(m) && s.list().size() > 1
	s.Nodes[m].Cut = s.Nodes[m].Cut || could
	return could
}

func loseNode(_ *World, s *State, m int, _ *Pass) bool {
	member := &s.Live.Members[m]
	could := member.Node == Present && member.Pod.Exists && member.Claim.Bound
	if could {
		member.Node = Gone
	}
	return could
}

// fallBehind: writes commit with the others only.
func fallBehind(_ *World, s *State, m int, _ *Pass) bool {
	claim := &s.Live.Members[m].Claim
	could := s.Leader != 0 && int(s.Leader) != m+1 && s.serves(m) && !claim.Old &&
		s.count(func(other int) bool { return other != m && !s.Live.Members[other].Claim.Old }) >= s.quorum()
	claim.Old = claim.Old || could
	return could
}

func loseStatus(_ *World, s *State, _ int, _ *Pass) bool {
	cluster := &s.Live.Cluster
	could := cluster.Status.Founders != 0
	if could {
		cluster.Status = Record{}
		s.touched()
		s.forgetNames()
	}
	return could
}

// standStill keeps what the cache holds now. It may stay so for long while the cluster moves on.
func standStill(w *World, s *State, _ int, _ *Pass) bool {
	if s.Stale {
		return false
	}
	s.Stale, s.SameCluster, s.Seen = true, true, w.visible(s)
	for m := range s.members() {
		member, same := &s.Live.Members[m], Same(0)
		if member.Workload.Exists {
			same |= SameWorkload
		}
		if member.Pod.Exists {
			same |= SamePod
		}
		if member.Claim.Exists {
			same |= SameClaim
		}
		s.Nodes[m].Same = same
	}
	return true
}

func useUpQuota(_ *World, s *State, _ int, _ *Pass) bool {
	could := !s.Quota
	s.Quota = true
	return could
}
