package sim

// MaxMembers bounds the size of a modeled cluster.
const MaxMembers = 5

// Hash stands for what the user asks of a member.
type Hash uint8

// Two specs with which members run, and one with which they never do, e.g. for an image that does not exist.
const (
	Good0 Hash = iota
	Good1
	Bad
)

// Template is what a pod is made from.
type Template struct {
	Hash Hash
	// Sealed templates refuse to start on an empty volume; the others found a cluster.
	Sealed bool
	// Partial templates have an initial cluster that lacks a member.
	Partial bool
	// Token is the incarnation of the EtcdCluster that is in the initial cluster token.
	Token uint8
}

// Workload is a StatefulSet. Its owner is the EtcdCluster that is in the token.
type Workload struct {
	Exists bool
	// Settled is whether its controller has seen the newest template; until then it works with Known.
	Settled bool
	// Refused is whether the pod could not be made and the controller waits before it tries again.
	Refused     bool
	Want, Known Template
	Storage     uint8
	Founders    uint8
}

// Phase is how far a pod has come.
type Phase uint8

// The phases of a pod.
const (
	Waiting Phase = iota
	Failing
	Running
)

// Pod is a member's pod.
type Pod struct {
	Exists, Deleting bool
	// Orphan is whether its StatefulSet is gone: it will be collected.
	Orphan bool
	// Ready is what a stale cache holds of the kubelet's report; what is live is worked out.
	Ready    bool
	Phase    Phase
	Template Template
}

// Claim is the claim of a member's volume, with what is on the volume.
type Claim struct {
	Exists, Deleting, Bound bool
	// Owner is the incarnation of the EtcdCluster that the claim was made for.
	Owner uint8
	// Founder is the incarnation whose StatefulSet made it.
	Founder uint8
	Storage uint8
	// Marked is the cluster that is recorded on it, Data the cluster whose data it holds: an incarnation plus one.
	Marked, Data uint8
}

// Cluster is the EtcdCluster object.
type Cluster struct {
	Exists, Deleting bool
	// Incarnation counts the objects that have had this name.
	Incarnation uint8
	Hash        Hash
	Paused      bool
	Storage     uint8
	// RecordedID and RecordedFounders are the part of the status that decisions depend on.
	RecordedID       uint8
	RecordedFounders uint8
}

// Member is what Kubernetes has of a member.
type Member struct {
	Workload Workload
	Pod      Pod
	Claim    Claim
}

// Kube is what Kubernetes has.
type Kube struct {
	Cluster Cluster
	Members [MaxMembers]Member
}

// Node is what is true of a member apart from Kubernetes.
type Node struct {
	// Behind members run but have not caught up.
	Behind bool
	// Unreachable members run but do not answer the operator.
	Unreachable bool
	// Ran is the cluster that the member is recorded to have run in: an incarnation plus one.
	Ran uint8
	// DownByUs is whether the operator restarted it and it does not serve again yet.
	DownByUs bool
	// Same tells, of the objects that a stale cache holds, which exist still.
	Same Same
}

// Same is a set of kinds of objects.
type Same uint8

// The kinds of objects of a member.
const (
	SameWorkload Same = 1 << iota
	SamePod
	SameClaim
)

// Late is a decision to restart or to hand over that is carried out only later.
type Late struct {
	Kind LateKind
	// Member is the one to restart, or that hands over; To takes over.
	Member, To uint8
	Needs      uint8
	OnlyIfDown bool
	// NoneReady: it holds only while no member is ready.
	NoneReady bool
	// Same is whether the pod that was decided about exists still.
	Same bool
}

// LateKind is what is late.
type LateKind uint8

// The kinds of late decisions.
const (
	NotLate LateKind = iota
	LateRestart
	LateHandover
)

// State is a state of the world.
type State struct {
	Live Kube
	// Stale is whether the operator's cache stands still; Seen is what it holds then.
	Stale bool
	Seen  Kube
	// SameCluster is whether the EtcdCluster is as the stale cache has it.
	SameCluster bool
	Nodes       [MaxMembers]Node
	// Formed is the etcd cluster that has come into being: an incarnation plus one.
	Formed uint8
	// Started is the set of members that etcd's member list has as started.
	Started uint8
	// Leader is the member that leads, plus one.
	Leader uint8
	// Quota is whether the quota for pods is used up.
	Quota bool
	Late  Late
	// Faults and Edits are what may still happen.
	Faults, Edits uint8
}

// World is what does not change during a run.
type World struct {
	Size int
	// ClassMissing is whether the first storage class does not exist.
	ClassMissing bool
	// Incarnations is how often the EtcdCluster can be made under its name.
	Incarnations uint8
	Faults       int
	Edits        int
	// Formed runs start with a cluster that serves and is recorded, the others with a new EtcdCluster.
	Formed bool
	// Remade runs start formed, but the EtcdCluster was deleted since and has just been made again.
	Remade   bool
	Operator *Operator
}

func quorum(n int) int { return n/2 + 1 }

// all is the set of all members.
func (w *World) all() uint8 { return 1<<w.Size - 1 }

// runs is whether the etcd process of a member runs.
func (s *State) runs(m int) bool { return s.Live.Members[m].Pod.Phase == Running }

// serves is whether a member runs on data of the cluster that has formed.
func (s *State) serves(m int) bool {
	return s.Formed != 0 && s.runs(m) && s.Live.Members[m].Claim.Data == s.Formed
}

// serving counts the members that serve.
func (w *World) serving(s *State) int {
	n := 0
	for m := range w.Size {
		if s.serves(m) {
			n++
		}
	}
	return n
}

// staying counts the members that serve, are caught up and are not on their way out, without one.
func (w *World) staying(s *State, without int) int {
	n := 0
	for m := range w.Size {
		if m != without && s.serves(m) && !s.Nodes[m].Behind && !s.Live.Members[m].Pod.Deleting {
			n++
		}
	}
	return n
}

// running counts the members that serve and are not on their way out, without one.
func (w *World) running(s *State, without int) int {
	n := 0
	for m := range w.Size {
		if m != without && s.serves(m) && !s.Live.Members[m].Pod.Deleting {
			n++
		}
	}
	return n
}

// withData counts the volumes that hold data of the cluster that has formed.
func (w *World) withData(s *State) int {
	n := 0
	for m := range w.Size {
		if s.Formed != 0 && s.Live.Members[m].Claim.Data == s.Formed {
			n++
		}
	}
	return n
}

// dropPod takes a pod away, and a claim that only waited for that.
func (s *State) dropPod(m int) {
	member := &s.Live.Members[m]
	member.Pod = Pod{}
	s.Nodes[m].Same &^= SamePod
	if s.Late.Member == uint8(m) {
		s.Late.Same = false
	}
	if member.Claim.Deleting {
		s.dropClaim(m)
	}
}

func (s *State) dropClaim(m int) {
	s.Live.Members[m].Claim = Claim{}
	s.Nodes[m].Same &^= SameClaim
}

// dropWorkload takes a StatefulSet away; its pod is collected later.
func (s *State) dropWorkload(m int) {
	member := &s.Live.Members[m]
	member.Workload = Workload{}
	s.Nodes[m].Same &^= SameWorkload
	member.Pod.Orphan = member.Pod.Exists
}

// dropCluster takes the EtcdCluster away, and with it what its status told.
func (s *State) dropCluster() {
	s.Live.Cluster = Cluster{Incarnation: s.Live.Cluster.Incarnation}
	s.SameCluster = false
	for m := range s.Nodes {
		s.Nodes[m].Ran = 0
	}
}

// settle derives what follows at once from a step.
func (w *World) settle(s *State) {
	if s.Leader != 0 && (!s.serves(int(s.Leader-1)) || w.serving(s) < quorum(w.Size)) {
		s.Leader = 0
	}
	for m := range w.Size {
		node := &s.Nodes[m]
		if !s.runs(m) {
			node.Behind, node.Unreachable = false, false
		}
		if s.serves(m) && !s.Live.Members[m].Pod.Deleting {
			node.DownByUs = false
		}
	}
}
