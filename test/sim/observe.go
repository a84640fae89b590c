package sim

import (
	"fmt"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// now is the time of every observation; longAgo is longer ago than any patience lasts.
var (
	now     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	longAgo = now.Add(-time.Hour)
)

// visible is what the API server shows: what is on a volume, and what a controller knows, it does not.
func (w *World) visible(s *State) Kube {
	seen := s.Live
	for m := range s.members() {
		member := &seen.Members[m]
		member.Claim.Data, member.Claim.Old, member.Claim.Harm, member.Claim.Aside = 0, false, Intact, Aside{}
		member.Claim.Stored, member.Claim.Log = 0, NewLog
		member.Workload.Known = Template{}
		member.Pod.Template = Template{Wish: member.Pod.Template.Wish, Start: member.Pod.Template.Start}
		member.Pod.Orphan, member.Pod.Shows = false, 0
		member.Pod.Ready = s.Leader != 0 && s.serves(m) && s.Voters.has(m)
	}
	return seen
}

// view is what the operator sees of a state, as a state: whatever it does not see is empty. In Claim.Data it has the
// clusters that members said they belong to, in Unreachable the members that it asked in vain, and in Cut those that
// know no leader.
func (w *World) view(s *State, unready bool) State {
	v := State{Live: s.Seen, Next: s.Next, Certificates: s.Certificates}
	if !s.Stale {
		v.Live = w.visible(s)
	}
	v.Live.Cluster = w.resting(v.Live.Cluster)
	for m := range s.members() {
		seen, node := &v.Live.Members[m], &s.Nodes[m]
		seen.Pod.Ready = seen.Pod.Ready && !unready
		v.Nodes[m].Same = SameWorkload | SamePod | SameClaim
		if s.Stale {
			v.Nodes[m].Same = node.Same
		}
		switch samePod := !s.Stale || node.Same&SamePod != 0; {
		case seen.Pod.Phase != Running:
		case !samePod || !s.runs(m) || node.Unreachable || !s.reaches(m):
			v.Nodes[m].Unreachable = true
		default:
			seen.Claim.Data, seen.Claim.Old = s.Live.Members[m].Claim.Data, s.Live.Members[m].Claim.Old
			seen.Claim.Stored = s.Live.Members[m].Claim.Stored
			seen.Pod.Shows = s.Live.Members[m].Pod.Shows
			v.Nodes[m].Cut = s.Leader == 0 || !s.serves(m)
			if seen.Claim.Data == s.Formed {
				v.Alarms = s.Alarms
			}
			if !v.Nodes[m].Cut {
				v.Etcd = s.Etcd
				v.Version = 0
			}
		}
	}
	return v
}

func clusterID(id uint8) string {
	switch id {
	case 0:
		return ""
	case unsettled:
		return core.Unsettled
	}
	return fmt.Sprintf("c%d", id)
}

var names = func() (names [MaxMembers + 1]string) {
	for m := range names {
		names[m] = fmt.Sprintf("etcd-%d", m)
	}
	return names
}()

func memberName(m int) string { return names[m] }

func memberID(m int, id uint8) string { return fmt.Sprintf("m%d.%d", m, id) }

// uid is the UID of an object as the operator knows it.
func uid(kind string, m int, same bool) string {
	if same {
		return fmt.Sprintf("%s-%d", kind, m)
	}
	return fmt.Sprintf("%s-%d-gone", kind, m)
}

// spelled are the names of a set of members.
func spelled(set Set) []string {
	if set == 0 {
		return nil
	}
	list := make([]string, 0, set.size())
	for m := range MaxMembers {
		if set.has(m) {
			list = append(list, memberName(m))
		}
	}
	return list
}

// observation spells a view out for the core.
func (w *World) observation(v *State) core.Observation {
	c := &v.Live.Cluster
	o := core.Observation{Now: now, Cluster: core.Cluster{
		Namespace: "default", Name: "etcd", UID: fmt.Sprint("u", c.Incarnation), Generation: 1, Deleting: c.Deleting,
		Spec: core.Spec{
			Size: int(c.Size), FinalVersion: c.Minor.String(),
			StorageHash: c.Storage.String(), MaxLearners: w.MaxLearners, Replace: spelled(c.Replace),
			UnhealthyAfter: 10 * time.Minute, KeepRemoved: w.Retain, Paused: c.Paused, SnapshotCount: 1000,
		},
		Recorded: c.sinceRestore(recorded(v)), Restored: clusterID(c.Restored),
	}}
	if c.Holder != 0 {
		o.Cluster.Spec.Size, o.Cluster.Spec.Restore = 0, restoreName(c.Holder)
	}
	if c.Rests.By != 0 && !w.Thaws {
		o.Cluster.Spec.Rests = restoreName(c.Rests.By)
		if c.Rests.Waits {
			o.Cluster.Spec.HeldBack = core.Problem{Reason: core.ReasonRestoreInFlight, Message: "the spec cannot be changed"}
		}
	}
	if c.Bootstrap {
		o.Cluster.Spec.Bootstrap = "backup"
	}
	if c.Deleting {
		return o
	}
	w.head(v, &o)
	if _, read := w.stage(v); read && o.Cluster.Spec.Peers != core.PeersPlain || v.inUse() {
		o.Planes = []core.Plane{w.observePlane(v)}
	}
	for m := range v.members() {
		member := &v.Live.Members[m]
		if !member.empty() {
			o.Members = append(o.Members, w.observeMember(v, m, o.Cluster.Spec.MemberHash))
		}
		if member.Pod.Exists && member.Pod.Phase == Running {
			o.Etcd.Statuses = append(o.Etcd.Statuses, w.status(v, m))
		}
	}
	o.Etcd.List = w.list(v)
	return o
}

// list is the member list, if a leader is known.
func (w *World) list(v *State) core.MemberList {
	if v.Leader == 0 {
		return core.MemberList{}
	}
	list := core.MemberList{Known: true, ClusterID: clusterID(v.Formed)}
	for m := range v.members() {
		if v.list().has(m) {
			listed := core.Listed{
				ID: memberID(m, v.Formed), Name: memberName(m), PeerURL: peerURL(m, v.TLSURLs.has(m)),
				Learner: v.Learners.has(m), Started: v.Started.has(m),
			}
			if w.Secured && v.TLSURLs.has(m) != v.Live.Cluster.TLS {
				listed.MovesTo = peerURL(m, v.Live.Cluster.TLS)
			}
			list.Members = append(list.Members, listed)
		}
	}
	return list
}

func peerURL(m int, byTLS bool) string {
	if byTLS {
		return "https://" + memberName(m)
	}
	return "http://" + memberName(m)
}

// recorded is the status, as far as it is modeled.
func recorded(v *State) core.Report {
	record := &v.Live.Cluster.Status
	r := core.Report{
		ClusterID: clusterID(record.ID), BootstrapMembers: spelled(record.Founders), NextOrdinal: int(record.Next),
		MemberCount: int(record.Count),
	}
	for m := range v.members() {
		if record.Members.has(m) {
			r.Members = append(r.Members, core.MemberReport{
				Name: memberName(m), Healthy: !v.Live.Members[m].Ailing, HealthySince: longAgo, Version: record.version(m),
			})
		}
	}
	reasons := map[Doing]core.Reason{Rolling: core.ReasonRollingOut, Hibernated: core.ReasonHibernated, Waking: core.ReasonWaking, BeingRestored: core.ReasonRestoring}
	if reason, known := reasons[record.Doing]; known {
		progressing := core.Condition{Type: core.Progressing, Status: core.True, Reason: reason, Since: longAgo}
		if record.Doing == Hibernated || record.Doing == BeingRestored {
			progressing.Status = core.False
		}
		r.Conditions = append(r.Conditions, progressing)
	}
	return r
}

func (w *World) observeMember(v *State, m int, want string) core.Member {
	member, same := &v.Live.Members[m], v.Nodes[m].Same
	o := core.Member{Name: memberName(m)}
	if workload := &member.Workload; workload.Exists {
		o.Workload = core.Workload{
			State: core.Current, UID: uid("set", m, same&SameWorkload != 0), Settled: workload.Settled, Start: workload.Want.Start,
			MemberHash: hashOf(workload.Want.Wish), StorageHash: workload.Storage.String(),
			InitialCluster: spelled(workload.Want.Initial), Stopped: workload.Want.Stopped, Version: workload.Want.Minor.String(),
		}
		if workload.Want.Token != v.Live.Cluster.Incarnation {
			o.Workload.State = core.Foreign
		}
		if workload.Refused && !member.Pod.Exists {
			o.Workload.Problem = core.Problem{Reason: core.ReasonQuotaExceeded, Message: "exceeded quota"}
		}
	}
	if member.Pod.Exists {
		o.Pod = observePod(member, uid("pod", m, same&SamePod != 0))
		observeResize(&member.Pod, want, &o.Pod)
	}
	if member.Claim.Exists {
		o.Volumes = []core.Volume{w.observeClaim(&v.Live.Cluster, &member.Claim, uid("claim", m, same&SameClaim != 0))}
	}
	switch member.Node {
	case Gone:
		o.Node = core.Node{Gone: true, Name: "node", Since: now}
	case GoneLong:
		o.Node = core.Node{Gone: true, Name: "node", Since: longAgo}
	case Present:
	}
	return o
}

func observePod(member *Member, id string) core.Pod {
	pod, noted := &member.Pod, member.Pod.Template.Wish
	noted.Power = pod.Noted
	o := core.Pod{
		Exists: true, UID: id, Deleting: pod.Deleting, MemberHash: hashOf(noted), RestartHash: hashOf(noted.restarts()),
		Running: pod.Phase == Running, Started: pod.Phase == Running, Ready: pod.Ready, Start: pod.Template.Start,
	}
	switch pod.Phase {
	case Failing:
		o.Problem = core.Problem{Reason: core.ReasonCrashLooping, Message: "etcd ended"}
	case FailingEmpty:
		o.Problem = core.Problem{Reason: core.ReasonVolumeEmpty, Message: "etcd found nothing"}
	case FailingCorrupt:
		o.Problem = core.Problem{Reason: core.ReasonDataCorrupt, Message: "etcd cannot read its log"}
	case FailingRemoved:
		o.Problem = core.Problem{Reason: core.ReasonMemberRemoved, Message: "etcd was removed"}
	case Waiting:
		if pod.Template.Hash == Bad && member.Claim.Bound {
			o.Problem = core.Problem{Reason: core.ReasonImagePullFailed, Message: "no such image"}
		}
	case Running:
	}
	return o
}

// applied is the raft index that members report who are not behind. It stands still, so that all that a flush is to write is
// still to be written.
const applied = 5000

func (w *World) observeClaim(c *Cluster, claim *Claim, id string) core.Volume {
	o := core.Volume{
		Name: "data", UID: id, Deleting: claim.Deleting, Bound: claim.Bound,
		OwnerUID: fmt.Sprint("u", claim.Owner), FoundedBy: fmt.Sprint("u", claim.Founder), Founders: spelled(claim.Founders),
		StorageHash: claim.Storage.String(), ClusterID: clusterID(claim.Marked), Removed: claim.Removed, Kept: true, KeptWanted: true,
		Peers: claim.Peers,
	}
	if claim.Marked != 0 && (w.Minor == 0 || claim.Ran != 0) {
		o.Version = claim.Ran.String()
		if claim.Ran == 0 || claim.Ran >= V36 {
			o.Since36 = applied
		}
	}
	if o.Bound {
		w.fit(c, claim, &o)
	}
	if w.ClassMissing && claim.Storage.Class == 0 && !claim.Bound && !claim.Deleting {
		o.Problem = core.Problem{Reason: core.ReasonStorageClassMissing, Message: "no such class"}
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
		Version: v.Live.Members[m].Pod.Template.Minor.String(), RaftApplied: applied, Learner: v.Learners.has(m),
	}
	if minor := v.Live.Members[m].Pod.Template.Minor; minor >= V36 {
		status.StorageVersion, status.DowngradeTarget = v.Live.Members[m].Claim.Stored.data(), v.Downgrade.data()
	}
	if !v.Nodes[m].Cut {
		status.LeaderID = memberID(int(v.Leader)-1, id)
	}
	if v.Live.Members[m].Claim.Old {
		status.RaftApplied = 1000
	}
	for ill := range v.members() {
		if v.Alarms.has(ill) && (v.Formed == 0 || id == v.Formed) {
			status.ClusterAlarms, status.AlarmIDs = append(status.ClusterAlarms, "CORRUPT"), append(status.AlarmIDs, memberID(ill, id))
			if ill == m {
				status.Alarms = []string{"CORRUPT"}
			}
		}
	}
	return status
}
