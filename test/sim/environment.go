package sim

// Step is something that can happen. It changes the state and says whether it could happen at all, and what promise it
// broke.
type Step struct {
	// Name says what happens; Each steps happen to one member.
	Name string
	Each bool
	// Fair steps happen in the end if they can; the others may never happen.
	Fair bool
	Do   func(w *World, s *State, m int, p *Pass) bool
}

// environment are the steps of everything that is neither the operator, nor a fault, nor the user.
var environment = []Step{
	{Name: "the StatefulSet controller sees the newest template of", Each: true, Fair: true, Do: seeTemplate},
	{Name: "the StatefulSet controller makes the pod or claim of", Each: true, Fair: true, Do: makePod},
	{Name: "a volume is bound for", Each: true, Fair: true, Do: bind},
	{Name: "the kubelet starts the etcd of", Each: true, Fair: true, Do: start},
	{Name: "the kubelet has stopped the pod of", Each: true, Fair: true, Do: stopped},
	{Name: "the garbage collector takes the StatefulSet of", Each: true, Fair: true, Do: collectWorkload},
	{Name: "the garbage collector deletes the pod of", Each: true, Fair: true, Do: collectPod},
	{Name: "the EtcdCluster is gone", Fair: true, Do: clusterGone},
	{Name: "the members elect", Each: true, Fair: true, Do: elect},
	{Name: "etcd lists as started", Each: true, Fair: true, Do: publish},
	{Name: "the raft log has caught up on", Each: true, Fair: true, Do: catchUp},
	{Name: "leadership moves by itself to", Each: true, Do: leaderMoves},
	{Name: "the operator reaches again", Each: true, Fair: true, Do: reachAgain},
	{Name: "the operator's cache catches up", Fair: true, Do: refresh},
	{Name: "the quota is raised", Fair: true, Do: raiseQuota},
	{Name: "the late step arrives", Fair: true, Do: arrive},
}

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
		member.Claim = Claim{Exists: true, Owner: workload.Known.Token, Founder: workload.Known.Token, Storage: workload.Storage}
		return true
	}
	if !workload.Exists || member.Pod.Exists || member.Claim.Deleting || workload.Refused {
		return false
	}
	if s.Quota {
		workload.Refused = true
		return true
	}
	if !member.Claim.Exists {
		member.Claim = Claim{Exists: true, Owner: workload.Known.Token, Founder: workload.Known.Token, Storage: workload.Storage}
	}
	member.Pod = Pod{Exists: true, Template: workload.Known}
	return true
}

func bind(w *World, s *State, m int, _ *Pass) bool {
	claim := &s.Live.Members[m].Claim
	if !claim.Exists || claim.Bound || claim.Deleting || w.ClassMissing && claim.Storage == 0 {
		return false
	}
	claim.Bound = true
	return true
}

// start starts etcd. On a volume with data it resumes. On an empty one it founds the cluster, or refuses.
func start(w *World, s *State, m int, p *Pass) bool {
	member := &s.Live.Members[m]
	pod, claim := &member.Pod, &member.Claim
	if !pod.Exists || pod.Deleting || pod.Phase == Running || !claim.Bound || pod.Template.Hash == Bad {
		return false
	}
	if claim.Data == 0 {
		if pod.Template.Sealed || alreadyBootstrapped(w, s, m) {
			failed := pod.Phase != Failing
			pod.Phase = Failing
			return failed
		}
		w.checkFounding(s, m, p)
		claim.Data = pod.Template.Token + 1
	}
	pod.Phase = Running
	// What is committed is on a quorum: only while others make one can a member have missed something.
	s.Nodes[m].Behind = s.Leader != 0 && claim.Data == s.Formed && w.caughtUp(s)-1 >= quorum(w.Size)
	form(w, s, claim.Data, p)
	return true
}

// caughtUp counts the members that serve and are not behind.
func (w *World) caughtUp(s *State) int {
	n := 0
	for m := range w.Size {
		if s.serves(m) && !s.Nodes[m].Behind {
			n++
		}
	}
	return n
}

// alreadyBootstrapped is etcd's own guard: a running peer says that this member has started before.
func alreadyBootstrapped(w *World, s *State, m int) bool {
	id := s.Live.Members[m].Pod.Template.Token + 1
	if s.Formed != id || s.Started&(1<<m) == 0 {
		return false
	}
	for other := range w.Size {
		if other != m && s.serves(other) {
			return true
		}
	}
	return false
}

// form is the moment at which a majority of the initial cluster runs.
func form(w *World, s *State, id uint8, p *Pass) {
	if s.Formed == id {
		return
	}
	running := 0
	for m := range w.Size {
		if s.runs(m) && s.Live.Members[m].Claim.Data == id {
			running++
		}
	}
	if running >= quorum(w.Size) {
		w.checkForming(s, id, p)
		s.Formed, s.Started, s.Leader = id, 0, 0
	}
}

func stopped(_ *World, s *State, m int, _ *Pass) bool {
	if !s.Live.Members[m].Pod.Deleting {
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
func clusterGone(w *World, s *State, _ int, _ *Pass) bool {
	cluster := &s.Live.Cluster
	if !cluster.Exists || !cluster.Deleting {
		return false
	}
	for m := range w.Size {
		if s.Live.Members[m].Workload.Exists || s.Live.Members[m].Pod.Exists {
			return false
		}
	}
	s.dropCluster()
	return true
}

func elect(w *World, s *State, m int, _ *Pass) bool {
	if s.Leader != 0 || !s.serves(m) || w.serving(s) < quorum(w.Size) {
		return false
	}
	for other := range w.Size {
		if s.Nodes[m].Behind && s.serves(other) && !s.Nodes[other].Behind {
			return false
		}
	}
	s.Leader = uint8(m + 1)
	s.Nodes[m].Behind = false
	return true
}

func publish(_ *World, s *State, m int, _ *Pass) bool {
	if s.Leader == 0 || !s.serves(m) || s.Started&(1<<m) != 0 {
		return false
	}
	s.Started |= 1 << m
	return true
}

func catchUp(_ *World, s *State, m int, _ *Pass) bool {
	if s.Leader == 0 || !s.Nodes[m].Behind {
		return false
	}
	s.Nodes[m].Behind = false
	return true
}

func leaderMoves(_ *World, s *State, m int, _ *Pass) bool {
	// An etcd that is being stopped gives leadership away.
	if s.Leader == 0 || s.Leader == uint8(m+1) || !s.serves(m) || s.Nodes[m].Behind || s.Live.Members[m].Pod.Deleting {
		return false
	}
	s.Leader = uint8(m + 1)
	return true
}

func reachAgain(_ *World, s *State, m int, _ *Pass) bool {
	could := s.Nodes[m].Unreachable
	s.Nodes[m].Unreachable = false
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
