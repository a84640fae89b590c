package sim

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// version is the etcd version of all members: versions are not modeled.
const version = "3.6.16"

// now is the time of every observation: time is not modeled.
var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// visible is what the API server shows: what is on a volume, and what a controller knows, it does not.
func (w *World) visible(s *State) Kube {
	seen := s.Live
	for m := range w.Size {
		member := &seen.Members[m]
		member.Claim.Data = 0
		if !w.ClassMissing {
			member.Claim.Storage = 0
		}
		member.Workload.Known = Template{}
		member.Pod.Template = Template{Hash: member.Pod.Template.Hash}
		member.Pod.Orphan = false
		member.Pod.Ready = s.Leader != 0 && s.serves(m)
	}
	return seen
}

// view is what the operator sees of a state, as a state: whatever it does not see is empty. In Claim.Data it has the
// clusters that members said they belong to, and in Unreachable the members that it asked in vain.
func (w *World) view(s *State, unready bool) State {
	v := State{Live: s.Seen}
	if !s.Stale {
		v.Live = w.visible(s)
	}
	for m := range w.Size {
		seen, node := &v.Live.Members[m], &s.Nodes[m]
		seen.Pod.Ready = seen.Pod.Ready && !unready
		v.Nodes[m].Same = SameWorkload | SamePod | SameClaim
		if s.Stale {
			v.Nodes[m].Same = node.Same
		}
		switch samePod := !s.Stale || node.Same&SamePod != 0; {
		case seen.Pod.Phase != Running:
		case !samePod || !s.runs(m) || node.Unreachable:
			v.Nodes[m].Unreachable = true
		default:
			seen.Claim.Data = s.Live.Members[m].Claim.Data
			v.Nodes[m].Behind = node.Behind
			if seen.Claim.Data == s.Formed && s.Leader != 0 {
				v.Formed, v.Leader, v.Started = s.Formed, s.Leader, s.Started
			}
		}
	}
	return v
}

func clusterID(id uint8) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("c%d", id)
}

func memberName(m int) string { return fmt.Sprintf("etcd-%d", m) }

func memberID(m int, id uint8) string { return fmt.Sprintf("m%d.%d", m, id) }

// uid is the UID of an object as the operator knows it.
func uid(kind string, m int, same bool) string {
	if same {
		return fmt.Sprintf("%s-%d", kind, m)
	}
	return fmt.Sprintf("%s-%d-gone", kind, m)
}

func (w *World) founders(mask uint8) []string {
	if mask == 0 {
		return nil
	}
	names := make([]string, 0, bits.OnesCount8(mask))
	for m := range w.Size {
		if mask&(1<<m) != 0 {
			names = append(names, memberName(m))
		}
	}
	return names
}

// observation spells a view out for the core.
func (w *World) observation(v *State) core.Observation {
	c := &v.Live.Cluster
	o := core.Observation{Now: now, Cluster: core.Cluster{
		Namespace: "default", Name: "etcd", UID: fmt.Sprint("u", c.Incarnation), Generation: 1, Deleting: c.Deleting,
		Spec: core.Spec{
			Size: w.Size, Version: version, MemberHash: fmt.Sprint("h", c.Hash), StorageHash: fmt.Sprint("s", c.Storage),
			Paused: c.Paused,
		},
		Recorded: core.Report{ClusterID: clusterID(c.RecordedID), BootstrapMembers: w.founders(c.RecordedFounders)},
	}}
	if c.Deleting {
		return o
	}
	for m := range w.Size {
		member := &v.Live.Members[m]
		if member.Workload.Exists || member.Pod.Exists || member.Claim.Exists {
			o.Members = append(o.Members, w.observeMember(v, m))
		}
		if member.Pod.Phase == Running {
			o.Etcd.Statuses = append(o.Etcd.Statuses, w.status(v, m))
		}
	}
	if v.Leader == 0 {
		return o
	}
	o.Etcd.List = core.MemberList{Known: true, ClusterID: clusterID(v.Formed)}
	for m := range w.Size {
		o.Etcd.List.Members = append(o.Etcd.List.Members, core.Listed{
			ID: memberID(m, v.Formed), Name: memberName(m), PeerURL: "http://" + memberName(m), Started: v.Started&(1<<m) != 0,
		})
	}
	return o
}

func (w *World) observeMember(v *State, m int) core.Member {
	member, same := &v.Live.Members[m], v.Nodes[m].Same
	o := core.Member{Name: memberName(m)}
	if workload := &member.Workload; workload.Exists {
		o.Workload = core.Workload{
			State: core.Current, UID: uid("set", m, same&SameWorkload != 0), Settled: workload.Settled,
			MemberHash: fmt.Sprint("h", workload.Want.Hash), StorageHash: fmt.Sprint("s", workload.Storage),
			BootstrapMembers: w.founders(workload.Founders),
		}
		if workload.Want.Sealed {
			o.Workload.Start = core.StartSealed
		}
		if workload.Want.Token != v.Live.Cluster.Incarnation {
			o.Workload.State = core.Foreign
		}
		if workload.Refused && !member.Pod.Exists {
			o.Workload.Problem = core.Problem{Reason: core.ReasonQuotaExceeded, Message: "exceeded quota"}
		}
	}
	if pod := &member.Pod; pod.Exists {
		o.Pod = core.Pod{
			Exists: true, UID: uid("pod", m, same&SamePod != 0), Deleting: pod.Deleting,
			MemberHash: fmt.Sprint("h", pod.Template.Hash), Running: pod.Phase == Running, Ready: pod.Ready,
		}
		switch {
		case pod.Phase == Failing:
			o.Pod.Problem = core.Problem{Reason: core.ReasonCrashLooping, Message: "etcd ended"}
		case pod.Phase == Waiting && pod.Template.Hash == Bad && member.Claim.Bound:
			o.Pod.Problem = core.Problem{Reason: core.ReasonImagePullFailed, Message: "no such image"}
		}
	}
	if claim := &member.Claim; claim.Exists {
		o.Volumes = []core.Volume{{
			Name: "data", UID: uid("claim", m, same&SameClaim != 0), Deleting: claim.Deleting, Bound: claim.Bound,
			OwnerUID: fmt.Sprint("u", claim.Owner), FoundedBy: fmt.Sprint("u", claim.Founder), StorageHash: fmt.Sprint("s", claim.Storage), ClusterID: clusterID(claim.Marked), Kept: true, KeptWanted: true,
		}}
		if w.ClassMissing && claim.Storage == 0 && !claim.Bound && !claim.Deleting {
			o.Volumes[0].Problem = core.Problem{Reason: core.ReasonStorageClassMissing, Message: "no such class"}
		}
	}
	return o
}

func (w *World) status(v *State, m int) core.Status {
	if v.Nodes[m].Unreachable {
		return core.Status{Member: memberName(m), Error: "connection refused"}
	}
	id := v.Live.Members[m].Claim.Data
	status := core.Status{
		Member: memberName(m), Answered: true, ClusterID: clusterID(id), ID: memberID(m, id),
		Version: version, RaftApplied: 5000,
	}
	if v.Leader != 0 && id == v.Formed {
		status.LeaderID = memberID(int(v.Leader-1), id)
	}
	if v.Nodes[m].Behind {
		status.RaftApplied = 1000
	}
	return status
}
