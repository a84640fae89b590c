package sim

import (
	"fmt"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Power is what a member is given of CPU and memory.
type Power uint8

// The last one is so little memory that etcd ends.
const (
	Usual Power = iota
	More
	Starving
	// Resizing is noted on a pod that is being changed.
	Resizing
)

// Resize is how far the change of a pod's CPU and memory in place has come.
type Resize uint8

// What is asked for is Given, or the kubelet has not seen it, or its node has it later or never.
const (
	Given Resize = iota
	Unseen
	Deferred
	Infeasible
)

// VolumeSpec is what is asked of volumes.
type VolumeSpec struct{ Class, Size uint8 }

// String stands for it, as its hash does in reality.
func (s VolumeSpec) String() string { return fmt.Sprintf("s%d.%d", s.Class, s.Size) }

// wish is what a cluster asks of its members.
func (c *Cluster) wish(next Heading) Wish {
	return Wish{Hash: c.Hash, Minor: next.Minor, Power: c.Power, Peers: next.Peers, Trust: next.Trust}
}

// restarts is the part of a wish for which a member has to restart.
func (w Wish) restarts() Wish {
	w.Power = Usual
	return w
}

// fails is whether no member runs with it.
func (w Wish) fails() bool { return w.Hash == Bad || w.Power == Starving }

// fails is whether a pod has what it does not run with.
func (p *Pod) fails() bool { return p.Template.fails() && p.Resize == Given }

// resizeWrites is of how many writes the change of a pod's CPU and memory consists.
const resizeWrites = 3

// resize is internal/act's change of a pod's CPU and memory, or as many of its writes as there are before the operator ends.
func (w *World) resize(s *State, seen Cluster, a core.ResizeMember, writes int, p *Pass) bool {
	m := memberOf(a.Member)
	pod, want := &s.Live.Members[m].Pod, seen.wish(p.next)
	if !pod.Exists || a.PodUID != uid("pod", m, true) && !w.Operator.Blind {
		return false
	}
	if pod.Template.restarts() != want.restarts() {
		p.broke(InPlace, "%s would have to restart for what is asked for", memberName(m))
	}
	if pod.Template.Power != want.Power {
		pod.Noted = Resizing
		switch {
		case writes == 1:
			return true
		case w.NoResize:
			pod.Unable, pod.Refused = want, writes > 2
			return true
		}
		if want.fails() && !pod.Template.fails() {
			s.checkAlone(m, p)
		}
		pod.Template.Power, pod.Resize = want.Power, Unseen
	}
	if writes > 2 {
		pod.Noted = want.Power
	}
	return true
}

// giveResources is the kubelet's part: at once, or when the node has room again.
func giveResources(_ *World, s *State, m int, _ *Pass) bool {
	member := &s.Live.Members[m]
	pod := &member.Pod
	if !pod.Exists || pod.Deleting || member.Node != Present || pod.Resize != Unseen && pod.Resize != Deferred {
		return false
	}
	pod.Resize = Given
	if pod.fails() && pod.Phase == Running {
		pod.Phase = Waiting
	}
	return true
}

// answerResize is a kubelet that does not do what is asked for.
func answerResize(answer Resize) func(*World, *State, int, *Pass) bool {
	return func(_ *World, s *State, m int, _ *Pass) bool {
		pod := &s.Live.Members[m].Pod
		could := pod.Exists && !pod.Deleting && s.Live.Members[m].Node == Present && pod.Resize == Unseen
		if could {
			pod.Resize = answer
		}
		return could
	}
}

// observeResize says of a pod how its change in place goes, as internal/observe does.
func observeResize(pod *Pod, want string, o *core.Pod) {
	if pod.Resize == Unseen {
		o.Resizing = "the kubelet has not begun"
	}
	infeasible := pod.Resize == Infeasible && o.MemberHash == want
	if infeasible {
		o.MemberHash = ""
	}
	o.ResizeRefused = infeasible || pod.Refused && hashOf(pod.Unable) == want
}

// gibibyte times its size and one is what a volume has.
const gibibyte = 1 << 30

// misfit is why the volume of a claim cannot become what is asked for.
func (w *World) misfit(c *Cluster, claim *Claim) string {
	switch {
	case claim.Storage.Class != c.Storage.Class:
		return "its volume is of another class"
	case claim.Storage.Size > c.Storage.Size:
		return "its volume is larger"
	case claim.Storage.Size < c.Storage.Size && w.NoGrowth:
		return "its volume is smaller, and its class does not let it grow"
	}
	return ""
}

// fit compares a volume with what is wanted, as internal/observe does.
func (w *World) fit(c *Cluster, claim *Claim, o *core.Volume) {
	o.Misfit, o.Expandable, o.Growing = w.misfit(c, claim), !w.NoGrowth, claim.Growing
	o.Size, o.WantedSize = gibibyte*int64(1+claim.Storage.Size), gibibyte*int64(1+c.Storage.Size)
}

// expand is internal/act's request for a larger volume.
func (w *World) expand(s *State, seen Cluster, a core.ExpandVolumes, p *Pass) bool {
	m := memberOf(a.Member)
	claim := &s.Live.Members[m].Claim
	if !claim.Exists {
		return true
	}
	if a.Volumes[0].UID != uid("claim", m, true) && !w.Operator.Blind {
		return false
	}
	if !claim.Bound || w.NoGrowth {
		p.broke(InPlace, "the volume of %s cannot grow", memberName(m))
	}
	if claim.Storage.Size < seen.Storage.Size {
		claim.Storage.Size, claim.Growing = seen.Storage.Size, true
	}
	return true
}

// grow is the part of the volume's driver.
func grow(_ *World, s *State, m int, _ *Pass) bool {
	claim := &s.Live.Members[m].Claim
	could := claim.Exists && claim.Growing
	claim.Growing = false
	return could
}
