package sim

import (
	"math/bits"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
)

// MaxMembers bounds the ordinals of a modeled cluster. Names are never used again, so that this also bounds how many
// members can be replaced; what goes beyond is not explored.
const MaxMembers = 10

// Set is a set of members, by ordinal.
type Set uint16

func (s Set) has(m int) bool { return s&(1<<m) != 0 }
func (s Set) size() int      { return bits.OnesCount16(uint16(s)) }

// Hash stands for what the user asks of a member.
type Hash uint8

// Two specs with which members run, and one with which they never do, e.g. for an image that does not exist.
const (
	Good0 Hash = iota
	Good1
	Bad
)

// Wish is what is asked of a member that runs.
type Wish struct {
	Hash Hash
	// Minor is the version of etcd.
	Minor Minor
	// Power is what it is given of CPU and memory. That alone can change while it runs.
	Power Power
	// Peers is how it talks to other members, Trust whom it trusts.
	Peers core.Peers
	Trust Authorities
}

// Heading is what members are given next, where that is not the spec's to say alone.
type Heading struct {
	Minor Minor
	Peers core.Peers
	Trust Authorities
	// JoinTLS is whether members that are new are to be reached by TLS, FoundTLS whether those that found the cluster are.
	JoinTLS, FoundTLS bool
}

// Template is what a pod is made from.
type Template struct {
	Wish
	Start core.Start
	// Initial is the initial cluster of members that found or join one.
	Initial Set
	// InitialTLS is whether members that found a cluster are to be reached by TLS.
	InitialTLS bool
	// Token is the incarnation of the EtcdCluster that is in the initial cluster token.
	Token uint8
	// Stopped StatefulSets have no pod.
	Stopped bool
}

// Workload is a StatefulSet. Its owner is the EtcdCluster that is in the token.
type Workload struct {
	Exists bool
	// Settled is whether its controller has seen the newest template; until then it works with Known.
	Settled bool
	// Refused is whether the pod could not be made and the controller waits before it tries again.
	Refused     bool
	Want, Known Template
	Storage     VolumeSpec
}

// Phase is how far a pod has come.
type Phase uint8

// The phases of a pod. Those that fail differ in what etcd said when it ended.
const (
	Waiting Phase = iota
	Failing
	FailingEmpty
	FailingCorrupt
	FailingRemoved
	Running
)

// Pod is a member's pod.
type Pod struct {
	Exists, Deleting bool
	// Orphan is whether its StatefulSet is gone: it will be collected.
	Orphan bool
	// Ready is what a stale cache holds of the kubelet's report; what is live is worked out.
	Ready bool
	Phase Phase
	// Template is what it was made from, with the CPU and memory that are asked for by now; Resize is how far that has come.
	Template Template
	Resize   Resize
	// Noted is what it is noted to have; what is asked for may be ahead. Unable is what it is noted to be Refused.
	Noted   Power
	Refused bool
	Unable  Wish
	// Shows is the authority that signed the certificate which it shows.
	Shows uint8
}

// Harm is what is wrong with the data on a volume.
type Harm uint8

// Corrupt data raises etcd's alarm; from unreadable data etcd does not start.
const (
	Intact Harm = iota
	Corrupt
	Unreadable
)

// Claim is the claim of a member's volume, with what is on the volume.
type Claim struct {
	Exists, Deleting, Bound bool
	// Owner is the incarnation of the EtcdCluster that the claim was made for.
	Owner uint8
	// Founder is the incarnation whose StatefulSet made it, Founders the members that this one was to found with.
	Founder  uint8
	Founders Set
	Storage  VolumeSpec
	// Growing is whether the volume is not yet as large as is asked for.
	Growing bool
	// Removed is whether it is recorded on it that its member was removed.
	Removed bool
	// Marked is the cluster that is recorded on it, Data the cluster whose data it holds: an incarnation plus one.
	Marked, Data uint8
	// Old is whether the data lacks a write that was acknowledged.
	Old  bool
	Harm Harm
	// Aside is what a restore has moved aside.
	Aside Aside
	// Ran is the version that is recorded on it, Peers how members are recorded to talk to each other.
	Ran   Minor
	Peers core.Peers
	// Stored is the version of the data. Log is what the log has of 3.5.
	Stored Minor
	Log    Log
}

// Absence is for how long a node has been gone.
type Absence uint8

// Long is longer than spec.healing.memberUnhealthyAfter.
const (
	Present Absence = iota
	Gone
	GoneLong
)

// Doing is what the condition Progressing says, as far as decisions depend on it.
type Doing uint8

// What is under way.
const (
	Other Doing = iota
	Rolling
	Hibernated
	Waking
	BeingRestored
)

// Record is the part of the status that decisions depend on.
type Record struct {
	// ID is an incarnation plus one.
	ID                uint8
	Founders, Members Set
	Next, Count       uint8
	Doing             Doing
	// Available is what the condition says, in worlds with restores.
	Available bool
	// Versions are those of the members, by two bits each.
	Versions uint32
}

// Cluster is the EtcdCluster object.
type Cluster struct {
	Exists, Deleting bool
	// Incarnation counts the objects that have had this name.
	Incarnation uint8
	Size        uint8
	Hash        Hash
	// Minor is the version that is wanted.
	Minor  Minor
	Power  Power
	Paused bool
	// TLS is whether members are to talk it; Rotate counts the wishes for another authority.
	TLS     bool
	Rotate  uint8
	Storage VolumeSpec
	// Replace are the members that the user wants to have replaced.
	Replace Set
	// Bootstrap is whether it is to begin with the data of a backup. Holder is the restore that holds it, and Restored the cluster whose
	// data it was last given.
	Bootstrap        bool
	Holder, Restored uint8
	// Rests is what a restore rests on that may still be rolled back.
	Rests  Rests
	Status Record
}

// Member is what Kubernetes has of a member.
type Member struct {
	Workload Workload
	Pod      Pod
	Claim    Claim
	// Node is whether its node is there.
	Node Absence
	// Ailing is whether the status says that it has been unhealthy for long.
	Ailing bool
}

func (m *Member) empty() bool { return !m.Workload.Exists && !m.Pod.Exists && !m.Claim.Exists }

// Kube is what Kubernetes has.
type Kube struct {
	Cluster Cluster
	Members [MaxMembers]Member
}

// Node is what is true of a member apart from Kubernetes.
type Node struct {
	// Unreachable members run but do not answer the operator.
	Unreachable bool
	// Cut members run and answer, but cannot reach the other members.
	Cut bool
	// Ran is the cluster that the member is recorded to have run in: an incarnation plus one.
	Ran uint8
	// DownByUs is whether the operator restarted it and it does not serve again yet.
	DownByUs bool
	// Same tells, of the objects that a stale cache holds, which exist still.
	Same Same
	// Jobs are the agents that work at its volume.
	Jobs [memberJobs]Job
}

// Same is a set of kinds of objects.
type Same uint8

// The kinds of objects of a member.
const (
	SameWorkload Same = 1 << iota
	SamePod
	SameClaim
)

// Etcd is the cluster that has come into being.
type Etcd struct {
	// Formed is an incarnation plus one; Founders are those that it was formed with.
	Formed   uint8
	Founders Set
	// Voters and Learners are the member list; Started are those of it that have run.
	Voters, Learners, Started Set
	// TLSURLs are those that are listed by TLS; ByTLS is whether the founders were.
	TLSURLs Set
	ByTLS   bool
	// Alarms are the members that the alarm CORRUPT is raised for.
	Alarms Set
	// Leader is the member that leads, plus one.
	Leader uint8
	// Version is etcd's cluster version, Downgrade the one that it was told to go back to.
	Version, Downgrade Minor
}

func (e *Etcd) list() Set { return e.Voters | e.Learners }

// State is a state of the world.
type State struct {
	Live Kube
	// Stale is whether the operator's cache stands still; Seen is what it holds then.
	Stale bool
	Seen  Kube
	// SameCluster is whether the EtcdCluster is as the stale cache has it.
	SameCluster bool
	Nodes       [MaxMembers]Node
	Etcd
	// Earlier is the cluster that was there before a restore, or the one that a restore had brought before it was rolled back.
	Earlier      Etcd
	Restore      Restore
	LateRestore  LateRestore
	Certificates Certificates
	// Next is one more than the highest ordinal that was ever given to a member, Used than that of those of which anything
	// was made.
	Next, Used uint8
	// Quota is whether the quota for pods is used up.
	Quota bool
	Late  Late
	// Faults and Edits are what may still happen.
	Faults, Edits uint8
}

// World is what does not change during a run.
type World struct {
	// Size is the number of members at first; Sizes are those that the user may change it to.
	Size  int
	Sizes []int
	// MaxLearners is how many learners etcd accepts.
	MaxLearners int
	// Retain is whether the volumes of removed members are kept.
	Retain bool
	// ClassMissing is whether the first storage class does not exist.
	ClassMissing bool
	// NoResize clusters do not change the CPU and memory of a pod; in NoGrowth ones no storage class lets volumes grow.
	NoResize, NoGrowth bool
	// Incarnations is how often the EtcdCluster can be made under its name.
	Incarnations uint8
	// Minor is the version at first, and Minors are those that the user may ask for; without, versions are not modeled.
	Minor  Minor
	Minors []Minor
	// Waypoint takes the place of the core's, for mutants.
	Waypoint func(wanted string, fleet core.Fleet) string
	// Secured worlds model certificates, and TLS is whether members talk it at first. Stage changes what observe works out, for
	// mutants.
	Secured, TLS bool
	Stage        func(tls bool, next core.Peers) core.Peers
	Faults       int
	Edits        int
	// Topics are the kinds of faults and edits that can happen; none means those of Basics.
	Topics Topic
	// Formed runs start with a cluster that serves and is recorded, the others with a new EtcdCluster.
	Formed bool
	// Remade runs start formed, but the EtcdCluster was deleted since and has just been made again.
	Remade   bool
	Operator *Operator
	// Restores is how many EtcdRestores there may be. In worlds that begin with a backup, Begins, the first of them is that one.
	Restores int
	Begins   bool
	// Midway runs start when the first restore, which the user is to confirm, has come to this phase.
	Midway string
	// Thaws is whether the operator carries out at once what a restore rests on, for mutants.
	Thaws bool
	// Restorer takes the place of restores.Decide, for mutants.
	Restorer func(restores.Observation) restores.Decision
	tables   tables
}

func quorum(n int) int { return n/2 + 1 }

// quorum is the number of voters that must agree.
func (s *State) quorum() int { return quorum(s.Voters.size()) }

// members bounds the ordinals in use.
func (s *State) members() int { return int(s.Next) }

// runs is whether the etcd process of a member runs.
func (s *State) runs(m int) bool {
	return s.Live.Members[m].Pod.Phase == Running && s.Live.Members[m].Node == Present
}

// hasData is whether the volume of a member holds data of the cluster that has formed.
func (s *State) hasData(m int) bool {
	return s.Formed != 0 && s.Live.Members[m].Claim.Data == s.Formed
}

// serves is whether a member of the list runs on data of the cluster that has formed, and is connected.
func (s *State) serves(m int) bool {
	return s.hasData(m) && s.runs(m) && !s.Nodes[m].Cut && s.list().has(m)
}

// count counts the voters that serve and meet a condition.
func (s *State) count(meets func(m int) bool) int {
	n := 0
	for m := range s.members() {
		if s.Voters.has(m) && s.serves(m) && meets(m) {
			n++
		}
	}
	return n
}

// serving counts the voters that serve.
func (s *State) serving() int { return s.count(func(int) bool { return true }) }

// staying counts the voters that serve, are caught up and are not on their way out, without one.
func (s *State) staying(without int) int {
	return s.count(func(m int) bool {
		return m != without && !s.Live.Members[m].Claim.Old && !s.Live.Members[m].Pod.Deleting
	})
}

// running counts the voters that serve and are not on their way out, without one.
func (s *State) running(without int) int {
	return s.count(func(m int) bool { return m != without && !s.Live.Members[m].Pod.Deleting })
}

// recoverable counts the voters that can serve as things are.
func (s *State) recoverable() int {
	n := 0
	for m := range s.members() {
		member := &s.Live.Members[m]
		if s.Voters.has(m) && s.hasData(m) && !member.Claim.Deleting && member.Claim.Harm == Intact && member.Node == Present {
			n++
		}
	}
	return n
}

// withData counts the volumes of voters that hold data of the cluster that has formed.
func (s *State) withData() int {
	n := 0
	for m := range s.members() {
		if s.Voters.has(m) && s.hasData(m) {
			n++
		}
	}
	return n
}
