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
	// founders are the names of the members that the cluster is, or was, founded with.
	founders []string
	// members are those that the cluster has, or is founded with.
	members []*memberView
	// leftovers are what Kubernetes still has of members that are not in the member list any more.
	leftovers []*memberView
	byName    map[string]*memberView
	byID      map[string]*memberView
	// earlierRuns is whether members of an earlier cluster of this name still answer.
	earlierRuns bool
}

// memberView is a member with what follows for it.
type memberView struct {
	Member
	status *Status
	listed *Listed
	// stranger: another member answers in its place, from the data of another one.
	stranger bool
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
	v.Members = slices.SortedStableFunc(slices.Values(o.Members), func(a, b Member) int { return CompareNames(a.Name, b.Name) })
	v.clusterID = o.Cluster.Recorded.ClusterID
	if v.clusterID == "" && !o.awaits() {
		v.clusterID = o.markedClusterID()
	}
	if v.clusterID != "" && o.Etcd.List.ClusterID != v.clusterID {
		// The list of another cluster says nothing about this one.
		v.Etcd.List = MemberList{}
	}
	for _, m := range v.Members {
		v.byName[m.Name] = &memberView{Member: m}
	}
	v.ignoreStrangers()
	v.hearOnlyOurs()
	v.nameListed()
	if v.clusterID == "" && v.Etcd.List.Known {
		v.clusterID = v.Etcd.List.ClusterID
	}
	v.founders = v.findFounders()
	v.findMembers()
	v.joinEtcd()
	for _, m := range v.members {
		v.judge(m)
	}
	return v
}

// ignoreStrangers leaves out, before it is known which cluster is ours, a list that has none of our members, and who is of
// that cluster: the address of a founder has passed to someone else's pod, and the cache does not show that yet.
func (v *view) ignoreStrangers() {
	list := v.Etcd.List
	if v.clusterID != "" || !list.Known || slices.ContainsFunc(list.Members, func(l Listed) bool { return l.Name != "" }) {
		return
	}
	v.Etcd.List = MemberList{}
	v.Etcd.Statuses = slices.DeleteFunc(slices.Clone(v.Etcd.Statuses), func(s Status) bool { return s.ClusterID == list.ClusterID })
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

// nameListed recognizes members by their ID whose peer URL was changed by hand: they answer, or answered before.
func (v *view) nameListed() {
	v.Etcd.List.Members = slices.SortedFunc(slices.Values(v.Etcd.List.Members), func(a, b Listed) int { return strings.Compare(a.ID, b.ID) })
	for i := range v.Etcd.List.Members {
		l := &v.Etcd.List.Members[i]
		for _, s := range v.Etcd.Statuses {
			if l.Name == "" && s.Answered && s.ID == l.ID {
				l.Name = s.Member
			}
		}
		for _, m := range v.Cluster.Recorded.Members {
			if l.Name == "" && m.ID == l.ID {
				l.Name = m.Name
			}
		}
	}
}

// findMembers tells the members that the cluster has from what is left of others. etcd's member list is what counts;
// as long as it cannot be read, members are those that were recorded, and whatever has a StatefulSet: a StatefulSet is
// made only after its member was added to the list, so that one without an entry is left over from a removed member. Since
// a restore a StatefulSet says nothing: only those are members whose volumes have the restored data, or that were recorded since.
func (v *view) findMembers() {
	names := v.expected()
	for _, m := range v.Members {
		switch {
		case slices.Contains(names, m.Name):
		case m.removed():
			v.leftovers = append(v.leftovers, v.byName[m.Name])
			delete(v.byName, m.Name)
		case v.Etcd.List.Known && v.leftOver(v.byName[m.Name]):
			v.leftovers = append(v.leftovers, v.byName[m.Name])
			delete(v.byName, m.Name)
		case !v.Etcd.List.Known && v.Cluster.Restored != "" && m.Workload.Exists():
			// It may be a member of what the cluster was before. With its peers of then it would be that cluster still.
			v.leftovers = append(v.leftovers, v.byName[m.Name])
			delete(v.byName, m.Name)
		case !v.Etcd.List.Known && m.Workload.State != Missing:
			names = append(names, m.Name)
		default:
			// What is left of members that this cluster never had, e.g. a claim of an earlier one.
			delete(v.byName, m.Name)
		}
	}
	slices.SortFunc(names, CompareNames)
	for _, name := range slices.Compact(names) {
		if v.byName[name] == nil {
			v.byName[name] = &memberView{Member: Member{Name: name}}
		}
		v.members = append(v.members, v.byName[name])
	}
}

// removed is whether it is recorded that the member was removed: it is a member no more, whoever can be asked.
func (m Member) removed() bool {
	return slices.ContainsFunc(m.Volumes, func(v Volume) bool { return v.Removed })
}

// expected are the names of the members that should exist.
func (v *view) expected() []string {
	var names []string
	switch {
	case v.Etcd.List.Known:
		for _, l := range v.Etcd.List.Members {
			if l.Name != "" {
				names = append(names, l.Name)
			}
		}
	case v.clusterID == "":
		names = v.unretired(v.founders)
	case len(v.Cluster.Recorded.Members) > 0:
		for _, m := range v.Cluster.Recorded.Members {
			if known := v.byName[m.Name]; known == nil || !known.removed() {
				names = append(names, m.Name)
			}
		}
		names = append(names, v.survivors()...)
	default:
		names = v.survivors()
	}
	return names
}

// survivors are the members whose volumes hold the cluster's data, for when its status was lost. A founder's volume may
// hold data without saying so yet.
func (v *view) survivors() []string {
	var names []string
	for _, m := range v.Members {
		if slices.ContainsFunc(m.Volumes, func(volume Volume) bool {
			unsaid := volume.ClusterID == "" && slices.Contains(v.founders, m.Name)
			return volume.Bound && !volume.Removed && !volume.Deleting && (volume.ClusterID == v.clusterID || unsaid)
		}) {
			names = append(names, m.Name)
		}
	}
	if len(names) > 0 || len(v.Cluster.Recorded.Members) > 0 {
		return names
	}
	return v.unretired(v.founders)
}

// unretired leaves out the members whose claims say that they were removed.
func (v *view) unretired(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return v.byName[name] != nil && v.byName[name].removed() })
}

// leftOver is whether what Kubernetes has under a name that etcd does not list was this cluster's.
func (v *view) leftOver(m *memberView) bool {
	return m.Workload.Exists() || slices.ContainsFunc(m.Volumes, func(volume Volume) bool {
		return v.ours(volume) || volume.ClusterID == v.clusterID
	})
}

// ours is whether a volume was made for this EtcdCluster object, or was taken over by it.
func (v *view) ours(volume Volume) bool {
	return volume.OwnerUID == v.Cluster.UID && (volume.unsaid() || volume.ClusterID == v.clusterID)
}

// CompareNames orders names by length first, so that member 10 comes after member 9.
func CompareNames(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// joinEtcd connects what Kubernetes has with what etcd said: by the member that was asked, by the peer URL that it was
// added with, and by member ID.
func (v *view) joinEtcd() {
	for i := range v.Etcd.Statuses {
		s := &v.Etcd.Statuses[i]
		if m := v.byName[s.Member]; m != nil {
			m.status = s
		}
	}
	for i := range v.Etcd.List.Members {
		l := &v.Etcd.List.Members[i]
		m := v.byName[l.Name]
		if m == nil {
			continue
		}
		m.listed = l
		if m.stranger = m.status != nil && m.status.Answered && m.status.ID != l.ID; !m.stranger {
			v.byID[l.ID] = m
		}
	}
}

// judge works out whether a member is healthy, and if not, why.
func (v *view) judge(m *memberView) {
	s := m.status
	m.trouble = v.trouble(m)
	m.healthy = m.trouble.IsZero()
	m.serves = m.healthy || m.trouble.Reason == ReasonAlarmRaised && !slices.Contains(s.Alarms, alarmCorrupt)
	m.starting = passing(m.trouble.Reason) && (v.waking() || !m.marked() && !v.everAnswered(m.Name) && !v.overdue(m.Name))
	if s == nil || !s.Answered || v.clusterID != "" && s.ClusterID != v.clusterID {
		return
	}
	m.leads = s.LeaderID != "" && s.LeaderID == s.ID && !m.stranger
	m.lag, m.caughtUp = v.Etcd.lag(*s)
}

// lag is how many raft entries a member is behind the newest, and whether that is little enough to count as caught up.
func (e Etcd) lag(s Status) (entries uint64, caughtUp bool) {
	var newest uint64
	for _, other := range e.Statuses {
		if other.Answered && other.ClusterID == s.ClusterID && other.RaftApplied > newest {
			newest = other.RaftApplied
		}
	}
	entries = newest - s.RaftApplied
	// etcd itself promotes a learner that has nine tenths of the leader's log
	// (https://etcd.io/docs/v3.6/learning/design-learner/).
	return entries, entries <= caughtUpEntries && s.RaftApplied >= newest/10*9
}

// Promotable is whether a learner may become a voter at any moment: it answers, knows a leader and has caught up.
func (e Etcd) Promotable(l Listed) bool {
	return l.Learner && slices.ContainsFunc(e.Statuses, func(s Status) bool {
		_, caughtUp := e.lag(s)
		return s.Answered && s.ID == l.ID && s.LeaderID != "" && caughtUp
	})
}

// startPatience is how long a first start may take without a known problem before that is one.
const startPatience = 5 * time.Minute

// overdue is whether a member has been reported as unhealthy for longer than a first start takes.
func (v *view) overdue(name string) bool {
	before, known := v.Cluster.Recorded.member(name)
	return known && !before.Healthy && v.Now.Sub(before.HealthySince) > startPatience
}

// waking is whether the cluster has been woken from hibernation, or was given its data, a short while ago.
func (v *view) waking() bool {
	before, _ := v.Cluster.Recorded.condition(Progressing)
	slept := before.Reason == ReasonHibernated || before.Reason == ReasonRestoring
	return v.Cluster.Spec.Size > 0 && v.clusterID != "" && (slept || before.Reason == ReasonWaking && v.Now.Sub(before.Since) < startPatience)
}

// everAnswered is whether a member was ever reported with an ID.
func (v *view) everAnswered(name string) bool {
	before, _ := v.Cluster.Recorded.member(name)
	return before.ID != ""
}

// trouble says why a member is not healthy, or nothing if it is.
func (v *view) trouble(m *memberView) Problem {
	s := m.status
	if s == nil || !s.Answered {
		return v.absence(m)
	}
	switch {
	case v.clusterID != "" && s.ClusterID != v.clusterID:
		return Problem{ReasonClusterIDMismatch, fmt.Sprintf("member %s belongs to etcd cluster %s, not to %s: its volume holds the data of another cluster", m.Name, s.ClusterID, v.clusterID)}
	case s.LeaderID == "":
		return Problem{ReasonMemberUnhealthy, fmt.Sprintf("member %s knows no leader", m.Name)}
	case len(s.Errors) > 0:
		return Problem{ReasonMemberUnhealthy, fmt.Sprintf("member %s reports: %s", m.Name, strings.Join(s.Errors, "; "))}
	case v.Etcd.List.Known && (m.listed == nil || m.stranger):
		return Problem{ReasonForeignMember, fmt.Sprintf("member %s runs as %s, which is not its ID in the member list", m.Name, s.ID)}
	case len(s.Alarms) > 0:
		return Problem{ReasonAlarmRaised, alarmMessage(m.Name, s.Alarms)}
	}
	return Problem{}
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
		if !volume.Problem.IsZero() && (!volume.Bound || volume.Problem.Reason == ReasonVolumeLost) {
			return volume.Problem
		}
	}
	switch {
	case m.Node.Gone:
		return v.withoutNode(m)
	case m.Workload.State == Foreign:
		return NameTaken("StatefulSet", m.Name)
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
	case m.status != nil && m.status.Refused:
		return Problem{ReasonLoginRefused, loginRefusedMessage(m)}
	case m.status != nil && m.status.Error != "":
		return Problem{ReasonNotAnswering, fmt.Sprintf("member %s does not answer: %s", m.Name, m.status.Error)}
	}
	return Problem{ReasonNotAnswering, fmt.Sprintf("member %s does not answer yet", m.Name)}
}

func (v *view) withoutNode(m *memberView) Problem {
	p := Problem{ReasonNodeGone, fmt.Sprintf("node %s of member %s is gone or not ready", m.Node.Name, m.Name)}
	if v.Cluster.Spec.UnhealthyAfter > 0 {
		p.Message += fmt.Sprintf("; if it stays away the member is replaced at %s", v.dueWithoutNode(m).UTC().Format(time.RFC3339))
	}
	return p
}

// sealedOff recognizes a member that keeps failing because its volume is no longer the one that it was started on: either
// nothing is recorded on its claim, or etcd itself says that it finds nothing there.
func (v *view) sealedOff(m *memberView) Problem {
	// What is in memory outlives a process, and nothing is recorded of it.
	unsaid := m.Pod.Problem.Reason == ReasonCrashLooping && !m.marked() && len(m.Volumes) > 0
	empty := m.Pod.Problem.Reason == ReasonVolumeEmpty || unsaid
	if empty && m.Workload.Start == StartSealed {
		return Problem{ReasonVolumeLost, fmt.Sprintf("member %s does not start on an empty volume: it was part of the cluster, so its data is lost (%s)", m.Name, m.Pod.Problem.Message)}
	}
	return m.Pod.Problem
}

// listedStarted is whether etcd lists the member and says that it has run.
func (m *memberView) listedStarted() bool { return m.listed != nil && m.listed.Started }

// marked is whether the cluster's ID is recorded on every volume of the member: it has run as part of it.
func (m *memberView) marked() bool {
	for _, volume := range m.Volumes {
		if volume.unsaid() {
			return false
		}
	}
	return len(m.Volumes) > 0
}

// outdated is whether the member is not what the spec asks for.
func (m *memberView) outdated(want string) bool {
	return m.Workload.MemberHash != want || m.Pod.Exists && m.Pod.MemberHash != want
}

// awaits is whether the cluster waits for the data of a backup. What a restore has put on its volumes so far does not count: it says
// in the EtcdCluster when all of it is there, and no member is made before. An earlier EtcdCluster's volumes come first, whose data is not given up for that of
// a backup.
func (o Observation) awaits() bool {
	if o.Cluster.Spec.Bootstrap == "" || o.Cluster.Recorded.ClusterID != "" {
		return false
	}
	return o.Cluster.Restored == Unsettled || !slices.ContainsFunc(o.Members, func(m Member) bool {
		return m.Workload.Exists() || slices.ContainsFunc(m.Volumes, func(volume Volume) bool { return volume.FoundedBy != o.Cluster.UID })
	})
}

// Unsettled is what claims say instead of an ID while a restore gives their volumes other data: nobody knows whose data they have, and
// an EtcdCluster that is made again meanwhile touches nothing.
const Unsettled = "unsettled"

// unsaid is whether the claim does not say whose data it has.
func (v Volume) unsaid() bool { return v.ClusterID == "" || v.ClusterID == Unsettled }

// markedClusterID is the cluster ID that all marked volumes agree on, or nothing.
func (o Observation) markedClusterID() string {
	id := ""
	for _, m := range o.Members {
		for _, volume := range m.Volumes {
			if volume.ClusterID == "" || volume.Removed || volume.leaves(o.Cluster.UID) {
				continue
			}
			if volume.ClusterID == Unsettled || id != "" && id != volume.ClusterID {
				return ""
			}
			id = volume.ClusterID
		}
	}
	return id
}

// findFounders finds the members that the cluster is founded with: as recorded in the status; else, if the status was
// lost, as recorded on the StatefulSets or on the volumes; else as the spec asks.
func (v *view) findFounders() []string {
	if recorded := v.Cluster.Recorded.BootstrapMembers; len(recorded) > 0 {
		return recorded
	}
	for _, m := range v.Members {
		if w := m.Workload; w.Exists() && w.Start == StartBootstrap && len(w.InitialCluster) > 0 {
			return w.InitialCluster
		}
	}
	for _, m := range v.Members {
		for _, volume := range m.Volumes {
			if v.clusterID != "" && volume.ClusterID == v.clusterID && len(volume.Founders) > 0 {
				return volume.Founders
			}
		}
	}
	if v.clusterID != "" {
		return nil
	}
	var names []string
	for n := range v.Cluster.Spec.Size {
		names = append(names, v.memberName(n))
	}
	return names
}

func (v *view) memberName(ordinal int) string { return fmt.Sprintf("%s-%d", v.Cluster.Name, ordinal) }

// newName is the name of a member to be added: the next, unless the user wants to be rid of who would have it.
func (v *view) newName() string {
	for ordinal := v.nextOrdinal(); ; ordinal++ {
		if name := v.memberName(ordinal); !slices.Contains(v.Cluster.Spec.Replace, name) {
			return name
		}
	}
}

// nextOrdinal is one more than the highest ordinal that a member ever had, as far as anything shows it. Names are not used
// again: whatever bears one belongs to one member for ever.
func (v *view) nextOrdinal() int {
	next := v.Cluster.Recorded.NextOrdinal
	count := func(name string) {
		var n int
		if rest, ok := strings.CutPrefix(name, v.Cluster.Name+"-"); ok {
			if _, err := fmt.Sscanf(rest, "%d", &n); err == nil && n >= next {
				next = n + 1
			}
		}
	}
	for _, m := range v.Members {
		count(m.Name)
	}
	for _, l := range v.Etcd.List.Members {
		count(l.Name)
	}
	for _, m := range v.Cluster.Recorded.Members {
		count(m.Name)
	}
	for _, name := range v.founders {
		count(name)
	}
	return next
}
