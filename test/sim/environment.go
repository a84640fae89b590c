package sim

import "slices"

// Step is something that can happen. It changes the state and says whether it could happen at all, and what promise it
// broke.
type Step struct {
	// Name says what happens; Each steps happen to one member.
	Name string
	Each bool
	// Fair steps happen in the end if they can; the others may never happen.
	Fair bool
	// Topic is what a fault or an edit is about.
	Topic Topic
	Do    func(w *World, s *State, m int, p *Pass) bool
}

// environment are the steps of everything that is neither the operator, nor a fault, nor the user.
var environment = []Step{
	{Name: "the StatefulSet controller sees the newest template of", Each: true, Fair: true, Do: seeTemplate},
	{Name: "the StatefulSet controller makes the pod or claim of", Each: true, Fair: true, Do: makePod},
	{Name: "the StatefulSet controller deletes the pod of", Each: true, Fair: true, Do: scaleDown},
	{Name: "a volume is bound for", Each: true, Fair: true, Do: bind},
	{Name: "the volume grows of", Each: true, Fair: true, Topic: Growth, Do: grow},
	{Name: "the kubelet changes CPU and memory of", Each: true, Fair: true, Topic: Resources, Do: giveResources},
	{Name: "the kubelet brings the newest certificate to", Each: true, Fair: true, Topic: Certs, Do: bringCertificate},
	{Name: "the kubelet starts the etcd of", Each: true, Fair: true, Do: start},
	{Name: "the kubelet has stopped the pod of", Each: true, Fair: true, Do: stopped},
	{Name: "the garbage collector takes the StatefulSet of", Each: true, Fair: true, Do: collectWorkload},
	{Name: "the garbage collector deletes the pod of", Each: true, Fair: true, Do: collectPod},
	{Name: "the EtcdCluster is gone", Fair: true, Do: clusterGone},
	{Name: "the members elect", Each: true, Fair: true, Do: elect},
	{Name: "etcd lists as started", Each: true, Fair: true, Do: publish},
	{Name: "the raft log has caught up on", Each: true, Fair: true, Do: catchUp},
	{Name: "leadership moves by itself to", Each: true, Do: leaderMoves},
	{Name: "etcd ends, since it was removed, on", Each: true, Fair: true, Do: endRemoved},
	{Name: "etcd moves its cluster version", Fair: true, Topic: Versions, Do: moveVersion},
	{Name: "the data gets the cluster version on", Each: true, Fair: true, Topic: Versions, Do: migrate},
	{Name: "etcd has forgotten the downgrade", Fair: true, Topic: Versions, Do: forgetDowngrade},
	{Name: "a long time passes", Do: waitLong},
	{Name: "the dead node's pod is evicted of", Each: true, Fair: true, Do: evict},
	{Name: "the node comes back of", Each: true, Do: nodeBack},
	{Name: "the operator reaches again", Each: true, Fair: true, Do: reachAgain},
	{Name: "the network heals around", Each: true, Fair: true, Do: rejoin},
	{Name: "the operator's cache catches up", Fair: true, Do: refresh},
	{Name: "the quota is raised", Fair: true, Do: raiseQuota},
	{Name: "the late step arrives", Fair: true, Do: arrive},
}

// everything is what happens by itself.
var everything = slices.Concat(environment, restoring)

func seeTemplate(_ *World, s *State, m int, _ *Pass) bool {
	workload := &s.Live.Members[m].Workload
	if !workload.Exists || workload.Settled {
		return false
	}
	workload.Settled, workload.Known = true, workload.Want
	s.seal(m)
	return true
}

// makePod makes the pod, and the claim if there is none: a claim that is there is used as it is. Once refused, it does
// not try again by itself: that can take 16 minutes.
func makePod(_ *World, s *State, m int, _ *Pass) bool {
	member := &s.Live.Members[m]
	workload := &member.Workload
	if pod := &member.Pod; pod.Exists && !pod.Deleting && !pod.Orphan && !member.Claim.Exists {
		// A pending pod gets a claim that it lacks.
		member.Claim = newClaim(workload)
		return true
	}
	if !workload.Exists || workload.Known.Stopped || member.Pod.Exists || member.Claim.Deleting || workload.Refused {
		return false
	}
	if s.Quota {
		workload.Refused = true
		return true
	}
	if !member.Claim.Exists {
		member.Claim = newClaim(workload)
	}
	member.Pod = Pod{Exists: true, Template: workload.Known, Noted: workload.Known.Power}
	return true
}

func newClaim(w *Workload) Claim {
	claim := Claim{Exists: true, Owner: w.Known.Token, Founder: w.Known.Token, Storage: w.Storage}
	if w.Known.Start == 0 {
		claim.Founders = w.Known.Initial
	}
	return claim
}

func scaleDown(_ *World, s *State, m int, _ *Pass) bool {
	member := &s.Live.Members[m]
	could := member.Workload.Exists && member.Workload.Known.Stopped && member.Pod.Exists && !member.Pod.Deleting
	if could {
		member.Pod.Deleting = true
	}
	return could
}

func bind(w *World, s *State, m int, _ *Pass) bool {
	claim := &s.Live.Members[m].Claim
	// Volumes are bound where the first pod goes.
	if !claim.Exists || claim.Bound || claim.Deleting || !s.Live.Members[m].Pod.Exists && !s.hasAgent(m) || w.ClassMissing && claim.Storage.Class == 0 {
		return false
	}
	claim.Bound = true
	return true
}

func stopped(_ *World, s *State, m int, _ *Pass) bool {
	if !s.Live.Members[m].Pod.Deleting || s.Live.Members[m].Node != Present {
		return false
	}
	s.dropPod(m)
	return true
}

func collectWorkload(_ *World, s *State, m int, _ *Pass) bool {
	workload, cluster := s.Live.Members[m].Workload, s.Live.Cluster
	if !workload.Exists || cluster.Exists && !cluster.Deleting && cluster.Incarnation == workload.Want.Token {
		return false
	}
	s.dropWorkload(m)
	return true
}

func collectPod(_ *World, s *State, m int, _ *Pass) bool {
	pod := &s.Live.Members[m].Pod
	if !pod.Orphan || pod.Deleting {
		return false
	}
	pod.Deleting = true
	return true
}

// clusterGone ends a deletion in the foreground: the object goes after what it owns.
func clusterGone(_ *World, s *State, _ int, _ *Pass) bool {
	cluster := &s.Live.Cluster
	if !cluster.Exists || !cluster.Deleting {
		return false
	}
	for m := range s.members() {
		if s.Live.Members[m].Workload.Exists || s.Live.Members[m].Pod.Exists {
			return false
		}
	}
	s.dropCluster()
	return true
}

// waitLong lets more time pass than any patience lasts: whoever is reported as unhealthy is so for long.
func waitLong(_ *World, s *State, _ int, _ *Pass) bool {
	could := false
	for m := range s.members() {
		member := &s.Live.Members[m]
		if member.Node == Gone {
			member.Node, could = GoneLong, true
		}
		if s.Live.Cluster.Status.Members.has(m) && s.looksIll(m) && !member.Ailing {
			member.Ailing, could = true, true
		}
	}
	return could
}

func evict(_ *World, s *State, m int, _ *Pass) bool {
	member := &s.Live.Members[m]
	could := member.Node == GoneLong && member.Pod.Exists && !member.Pod.Deleting
	if could {
		member.Pod.Deleting = true
	}
	return could
}

func nodeBack(_ *World, s *State, m int, _ *Pass) bool {
	member := &s.Live.Members[m]
	could := member.Node != Present
	if could {
		member.Node, member.Pod.Phase = Present, Waiting
	}
	return could
}

func reachAgain(_ *World, s *State, m int, _ *Pass) bool {
	could := s.Nodes[m].Unreachable
	s.Nodes[m].Unreachable = false
	return could
}

func rejoin(_ *World, s *State, m int, _ *Pass) bool {
	could := s.Nodes[m].Cut
	s.Nodes[m].Cut = false
	return could
}

func refresh(_ *World, s *State, _ int, _ *Pass) bool {
	could := s.Stale
	s.Stale, s.Seen, s.SameCluster = false, Kube{}, false
	for m := range s.Nodes {
		s.Nodes[m].Same = 0
	}
	return could
}

func raiseQuota(_ *World, s *State, _ int, _ *Pass) bool {
	could := s.Quota
	s.Quota = false
	return could
}
