package core

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// caughtUpEntries is how many raft entries a member may be behind and still count as caught up. Members are asked
// at slightly different moments, so that a busy cluster shows differences of some hundreds.
const caughtUpEntries = 1000

// view is an observation with what follows from it, worked out once.
type view struct {
	Observation
	// clusterID is etcd's ID of the cluster, from wherever it was recorded; empty if it was never formed.
	clusterID string
	// bootstrapMembers are the names of the members that the cluster is founded with.
	bootstrapMembers []string
	members          []*memberView
	byName           map[string]*memberView
	byID             map[string]*memberView
	// earlierRuns is whether members of an earlier cluster of this name still answer.
	earlierRuns bool
}

// memberView is a member with what follows for it.
type memberView struct {
	Member
	status *Status
	listed *Listed
	// serves: the member answers, knows a leader, belongs to this cluster and is not corrupt. Its vote counts.
	serves bool
	// healthy members serve and have raised no alarm.
	healthy  bool
	caughtUp bool
	lag      uint64
	leads    bool
	// trouble says why it is not healthy.
	trouble Problem
	// starting members have never run yet, and nothing says that they will not.
	starting bool
}

// look works out what follows from an observation.
func look(o Observation) *view {
	v := &view{Observation: o, byName: map[string]*memberView{}, byID: map[string]*memberView{}}
	v.Members = slices.SortedStableFunc(slices.Values(o.Members), func(a, b Member) int { return compareNames(a.Name, b.Name) })
	v.clusterID = o.Cluster.Recorded.ClusterID
	if v.clusterID != "" && o.Etcd.List.ClusterID != v.clusterID {
		// The list of another cluster says nothing about this one.
		v.Etcd.List = MemberList{}
	}
	if v.clusterID == "" {
		v.clusterID = o.markedClusterID()
	}
	for _, m := range v.Members {
		v.addMember(m)
	}
	v.hearOnlyOurs()
	v.bootstrapMembers = v.findBootstrapMembers()
	for _, name := range v.bootstrapMembers {
		if v.byName[name] == nil {
			v.addMember(Member{Name: name})
		}
	}
	slices.SortStableFunc(v.members, func(a, b *memberView) int { return compareNames(a.Name, b.Name) })
	v.dropStrangers()
	v.joinEtcd()
	if v.clusterID == "" && v.Etcd.List.Known {
		v.clusterID = v.Etcd.List.ClusterID
	}
	for _, m := range v.members {
		v.judge(m)
	}
	return v
}

// hearOnlyOurs leaves out what pods say that are not of our StatefulSets, before it is known which cluster is ours: an
// earlier one of this name may still be on its way out.
func (v *view) hearOnlyOurs() {
	v.earlierRuns = v.clusterID == "" && slices.ContainsFunc(v.Etcd.Statuses, func(s Status) bool {
		m := v.byName[s.Member]
		return s.Answered && (m == nil || !m.Workload.Exists())
	})
	if v.earlierRuns {
		v.Etcd = Etcd{}
	}
}

// dropStrangers leaves out what is left of members that this cluster does not have, e.g. a claim of an earlier one.
func (v *view) dropStrangers() {
	v.members = slices.DeleteFunc(v.members, func(m *memberView) bool {
		listed := slices.ContainsFunc(v.Etcd.List.Members, func(l Listed) bool { return l.Name == m.Name })
		stranger := !listed && m.Workload.State == Missing && !slices.Contains(v.bootstrapMembers, m.Name)
		if stranger {
			delete(v.byName, m.Name)
		}
		return stranger
	})
}

func (v *view) addMember(m Member) {
	member := &memberView{Member: m}
	v.members = append(v.members, member)
	v.byName[m.Name] = member
}

// compareNames orders names by length first, so that member 10 comes after member 9.
func compareNames(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// joinEtcd connects what Kubernetes has with what etcd said: by the member that was asked, and by member ID.
func (v *view) joinEtcd() {
	for i := range v.Etcd.Statuses {
		s := &v.Etcd.Statuses[i]
		if m := v.byName[s.Member]; m != nil {
			m.status = s
		}
	}
	for i := range v.Etcd.List.Members {
		l := &v.Etcd.List.Members[i]
		for _, m := range v.members {
			asked := m.status != nil && m.status.Answered && m.status.ID == l.ID
			if asked || (m.status == nil || !m.status.Answered) && m.Name == l.Name {
				m.listed = l
				v.byID[l.ID] = m
				break
			}
		}
	}
}

// judge works out whether a member is healthy, and if not, why.
func (v *view) judge(m *memberView) {
	s := m.status
	m.trouble = v.trouble(m)
	m.healthy = m.trouble.IsZero()
	m.serves = m.healthy || m.trouble.Reason == ReasonAlarmRaised && !slices.Contains(s.Alarms, alarmCorrupt)
	m.starting = passing(m.trouble.Reason) && !m.marked() && !v.everAnswered(m.Name) && !v.overdue(m.Name)
	if s == nil || !s.Answered || v.clusterID != "" && s.ClusterID != v.clusterID {
		return
	}
	m.leads = s.LeaderID != "" && s.LeaderID == s.ID
	var newest uint64
	for _, other := range v.Etcd.Statuses {
		if other.Answered && other.ClusterID == s.ClusterID && other.RaftApplied > newest {
			newest = other.RaftApplied
		}
	}
	m.lag = newest - s.RaftApplied
	m.caughtUp = m.lag <= caughtUpEntries
}

// startPatience is how long a first start may take without a known problem before that is one.
const startPatience = 5 * time.Minute

// overdue is whether a member has been reported as unhealthy for longer than a first start takes.
func (v *view) overdue(name string) bool {
	before, known := v.Cluster.Recorded.member(name)
	return known && !before.Healthy && v.Now.Sub(before.HealthySince) > startPatience
}

// everAnswered is whether a member was ever reported with an ID.
func (v *view) everAnswered(name string) bool {
	before, _ := v.Cluster.Recorded.member(name)
	return before.ID != ""
}

func (v *view) trouble(m *memberView) Problem {
	s := m.status
	switch {
	case s != nil && s.Answered && v.clusterID != "" && s.ClusterID != v.clusterID:
		return Problem{ReasonClusterIDMismatch, fmt.Sprintf("member %s belongs to etcd cluster %s, not to %s: its volume holds the data of another cluster", m.Name, s.ClusterID, v.clusterID)}
	case s != nil && s.Answered && len(s.Alarms) > 0:
		return Problem{ReasonAlarmRaised, alarmMessage(m.Name, s.Alarms)}
	case s != nil && s.Answered && s.LeaderID == "":
		return Problem{ReasonMemberUnhealthy, fmt.Sprintf("member %s knows no leader", m.Name)}
	case s != nil && s.Answered && len(s.Errors) > 0:
		return Problem{ReasonMemberUnhealthy, fmt.Sprintf("member %s reports: %s", m.Name, strings.Join(s.Errors, "; "))}
	case s != nil && s.Answered && v.Etcd.List.Known && m.listed == nil:
		return Problem{ReasonForeignMember, fmt.Sprintf("member %s runs but is not in the member list", m.Name)}
	case s != nil && s.Answered:
		return Problem{}
	}
	return v.absence(m)
}

// alarmCorrupt and alarmNoSpace are etcd's alarms.
const (
	alarmCorrupt = "CORRUPT"
	alarmNoSpace = "NOSPACE"
)

// alarmMessage says what etcd's documentation says to do
// (https://etcd.io/docs/v3.6/op-guide/maintenance/#space-quota).
func alarmMessage(member string, alarms []string) string {
	message := fmt.Sprintf("member %s raised the alarm %s", member, strings.Join(alarms, ", "))
	if slices.Contains(alarms, alarmNoSpace) {
		message += ": the cluster refuses writes; compact and defragment, or raise quota-backend-bytes in spec.config, then run etcdctl alarm disarm"
	}
	return message
}

// absence says why a member does not answer, by the first thing that is missing on the way to a running process.
func (v *view) absence(m *memberView) Problem {
	for _, volume := range m.Volumes {
		if !volume.Bound && !volume.Problem.IsZero() {
			return volume.Problem
		}
	}
	switch {
	case m.Workload.State == Foreign:
		return nameTaken("StatefulSet", m.Name)
	case !m.Workload.Exists():
		return Problem{ReasonMemberDown, fmt.Sprintf("member %s has no StatefulSet", m.Name)}
	case !m.Pod.Exists && !m.Workload.Problem.IsZero():
		return m.Workload.Problem
	case !m.Pod.Exists:
		return Problem{ReasonMemberDown, fmt.Sprintf("member %s has no pod yet", m.Name)}
	case m.Pod.Deleting:
		return Problem{ReasonMemberDown, fmt.Sprintf("pod of member %s is stopping", m.Name)}
	case !m.Pod.Problem.IsZero():
		return v.sealedOff(m)
	case !m.Pod.Running:
		return Problem{ReasonMemberDown, fmt.Sprintf("pod of member %s is starting", m.Name)}
	case m.status != nil && m.status.Error != "":
		return Problem{ReasonNotAnswering, fmt.Sprintf("member %s does not answer: %s", m.Name, m.status.Error)}
	}
	return Problem{ReasonNotAnswering, fmt.Sprintf("member %s does not answer yet", m.Name)}
}

// sealedOff recognizes a member that keeps failing because its volume is no longer the one that it was started on.
func (v *view) sealedOff(m *memberView) Problem {
	if m.Pod.Problem.Reason == ReasonCrashLooping && m.Workload.Start == StartSealed && !m.marked() {
		return Problem{ReasonVolumeLost, fmt.Sprintf("member %s does not start on an empty volume: it was part of the cluster, so its data is lost (%s)", m.Name, m.Pod.Problem.Message)}
	}
	return m.Pod.Problem
}

// listedStarted is whether etcd lists the member and says that it has run.
func (m *memberView) listedStarted() bool { return m.listed != nil && m.listed.Started }

// marked is whether the cluster's ID is recorded on every volume of the member: it has run as part of it.
func (m *memberView) marked() bool {
	for _, volume := range m.Volumes {
		if volume.ClusterID == "" {
			return false
		}
	}
	return len(m.Volumes) > 0
}

// outdated is whether the member is not what the spec asks for.
func (m *memberView) outdated(want string) bool {
	return m.Workload.MemberHash != want || m.Pod.Exists && m.Pod.MemberHash != want
}

// markedClusterID is the cluster ID that all marked volumes agree on, or nothing.
func (o Observation) markedClusterID() string {
	id := ""
	for _, m := range o.Members {
		for _, volume := range m.Volumes {
			if volume.ClusterID == "" || volume.leaves(o.Cluster.UID) {
				continue
			}
			if id != "" && id != volume.ClusterID {
				return ""
			}
			id = volume.ClusterID
		}
	}
	return id
}

// findBootstrapMembers finds the members that the cluster is founded with: as recorded in the status; else, if the
// status was lost, as recorded on the StatefulSets; else as the spec asks and as the data volumes show.
func (v *view) findBootstrapMembers() []string {
	if recorded := v.Cluster.Recorded.BootstrapMembers; len(recorded) > 0 {
		return v.withListed(recorded)
	}
	for _, m := range v.members {
		if m.Workload.Exists() && len(m.Workload.BootstrapMembers) > 0 {
			return m.Workload.BootstrapMembers
		}
	}
	if founders := v.foundersOnVolumes(); len(founders) > 0 {
		return v.withListed(founders)
	}
	var names []string
	for n := range v.Cluster.Spec.Size {
		names = append(names, fmt.Sprintf("%s-%d", v.Cluster.Name, n))
	}
	for _, m := range v.members {
		if v.clusterID != "" && m.holds(v.clusterID) && !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return v.withListed(names)
}

// foundersOnVolumes are the members that the cluster was founded with, as its volumes say.
func (v *view) foundersOnVolumes() []string {
	for _, m := range v.members {
		for _, volume := range m.Volumes {
			if v.clusterID != "" && volume.ClusterID == v.clusterID && len(volume.Founders) > 0 {
				return volume.Founders
			}
		}
	}
	return nil
}

// withListed adds the members that etcd itself lists: they are part of the cluster whatever was recorded.
func (v *view) withListed(names []string) []string {
	names = slices.Clone(names)
	for _, l := range v.Etcd.List.Members {
		if strings.HasPrefix(l.Name, v.Cluster.Name+"-") && !slices.Contains(names, l.Name) && v.byName[l.Name] != nil {
			names = append(names, l.Name)
		}
	}
	slices.SortFunc(names, compareNames)
	return names
}

// holds is whether a volume of the member holds data of the cluster.
func (m *memberView) holds(clusterID string) bool {
	return slices.ContainsFunc(m.Volumes, func(v Volume) bool { return v.ClusterID == clusterID })
}
