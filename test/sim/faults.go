package sim

// faults are the steps that use up the fault budget.
var faults = []Step{
	{Name: "etcd crashes on", Each: true, Do: crash},
	{Name: "someone deletes the pod of", Each: true, Do: deletePod},
	{Name: "the volume is lost of", Each: true, Do: loseVolume},
	{Name: "someone deletes the StatefulSet of", Each: true, Do: deleteWorkload},
	{Name: "the operator cannot reach any more", Each: true, Do: loseReach},
	{Name: "the operator is cut off from all members", Do: cutOff},
	{Name: "the recorded status is lost", Do: loseStatus},
	{Name: "the operator's cache stands still", Do: standStill},
	{Name: "the quota for pods is used up", Do: useUpQuota},
}

// edits are the steps that use up the budget of changes by the user.
var edits = []Step{
	{Name: "the user asks for spec good0", Do: setHash(Good0)},
	{Name: "the user asks for spec good1", Do: setHash(Good1)},
	{Name: "the user asks for the spec that never runs", Do: setHash(Bad)},
	{Name: "the user changes the storage class", Do: setStorage},
	{Name: "the user pauses the cluster", Do: setPaused(true)},
	{Name: "the user deletes the EtcdCluster", Do: deleteCluster},
	{Name: "the user deletes the EtcdCluster in the foreground", Do: deleteInForeground},
}

// free are the steps of the user that undo others; they use up nothing.
var free = []Step{
	{Name: "the user unpauses the cluster", Do: setPaused(false)},
	{Name: "the user makes the EtcdCluster again", Do: makeAgain},
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
	could := s.Live.Members[m].Claim.Exists
	if could {
		s.dropPod(m)
		s.dropClaim(m)
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

func loseReach(_ *World, s *State, m int, _ *Pass) bool {
	could := s.runs(m) && !s.Nodes[m].Unreachable
	s.Nodes[m].Unreachable = s.runs(m)
	return could
}

func cutOff(w *World, s *State, _ int, p *Pass) bool {
	could := 0
	for m := range w.Size {
		if loseReach(w, s, m, p) {
			could++
		}
	}
	return could > 1
}

func loseStatus(_ *World, s *State, _ int, _ *Pass) bool {
	cluster := &s.Live.Cluster
	could := cluster.RecordedFounders != 0
	cluster.RecordedID, cluster.RecordedFounders = 0, 0
	s.SameCluster = false
	return could
}

// standStill keeps what the cache holds now. It may stay so for long while the cluster moves on.
func standStill(w *World, s *State, _ int, _ *Pass) bool {
	if s.Stale {
		return false
	}
	s.Stale, s.SameCluster, s.Seen = true, true, w.visible(s)
	for m := range w.Size {
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

func setHash(hash Hash) func(*World, *State, int, *Pass) bool {
	return func(_ *World, s *State, _ int, _ *Pass) bool {
		cluster := &s.Live.Cluster
		could := cluster.Exists && !cluster.Deleting && cluster.Hash != hash
		if could {
			cluster.Hash, s.SameCluster = hash, false
		}
		return could
	}
}

func setStorage(_ *World, s *State, _ int, _ *Pass) bool {
	cluster := &s.Live.Cluster
	could := cluster.Exists && !cluster.Deleting
	if could {
		cluster.Storage, s.SameCluster = 1-cluster.Storage, false
	}
	return could
}

func setPaused(paused bool) func(*World, *State, int, *Pass) bool {
	return func(_ *World, s *State, _ int, _ *Pass) bool {
		cluster := &s.Live.Cluster
		could := cluster.Exists && !cluster.Deleting && cluster.Paused != paused
		if could {
			cluster.Paused, s.SameCluster = paused, false
		}
		return could
	}
}

func deleteCluster(_ *World, s *State, _ int, _ *Pass) bool {
	cluster := &s.Live.Cluster
	could := cluster.Exists
	if could {
		s.dropCluster()
	}
	return could
}

func deleteInForeground(_ *World, s *State, _ int, _ *Pass) bool {
	cluster := &s.Live.Cluster
	could := cluster.Exists && !cluster.Deleting
	if could {
		cluster.Deleting, s.SameCluster = true, false
	}
	return could
}

// makeAgain makes another object under the same name. The volumes of the first one are still there.
func makeAgain(w *World, s *State, _ int, _ *Pass) bool {
	cluster := &s.Live.Cluster
	could := !cluster.Exists && cluster.Incarnation+1 < w.Incarnations
	if could {
		*cluster = Cluster{Exists: true, Incarnation: cluster.Incarnation + 1}
		s.SameCluster = false
	}
	return could
}
