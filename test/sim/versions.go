package sim

import (
	"fmt"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Minor is a minor of etcd. 0 is the only one where versions are not modeled, otherwise none.
type Minor uint8

// The minors that there are.
const (
	V35 Minor = iota + 1
	V36
	V37
)

// Log is what the log of a member has of 3.5, which 3.7 cannot read.
type Log uint8

// Covered entries are behind a snapshot: a process that starts does not read them any more, but until then it sends them to
// those that join. Old ones have to be read.
const (
	NewLog Log = iota
	Covered
	Old
)

// releases are, by minor, the patches that the core knows.
var releases = [...]string{"3.6.16", "3.5.33", "3.6.16", "3.7.3"}

// String is MAJOR.MINOR.PATCH.
func (v Minor) String() string { return releases[v] }

// data is how a version without a patch is told, empty for none.
func (v Minor) data() string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("3.%d.0", v+4)
}

func minorOf(version string) Minor {
	var minor Minor
	if _, err := fmt.Sscanf(version, "3.%d", &minor); err != nil || minor < 5 || minor > 7 {
		panic(fmt.Sprintf("the core named the version %q, which the model does not have", version))
	}
	return minor - 4
}

// hashOf is what the user asks of a member, its version included.
func hashOf(wish Wish) string {
	text := fmt.Sprint("h", wish.Hash)
	if wish.Minor != 0 {
		text += " of " + wish.Minor.String()
	}
	if wish.Power != Usual {
		text += fmt.Sprint(" with p", wish.Power)
	}
	if wish.Peers != core.PeersPlain {
		text += fmt.Sprintf(", %s, trusts %b", wish.Peers, wish.Trust)
	}
	return text
}

// versionsOf are the versions that a report has of the members.
func versionsOf(report core.Report) uint32 {
	var versions uint32
	for _, m := range report.Members {
		if m.Version != "" {
			versions |= uint32(minorOf(m.Version)) << (2 * memberOf(m.Name))
		}
	}
	return versions
}

// version is that of a member, if it is recorded.
func (r *Record) version(m int) string {
	if minor := r.minor(m); minor != 0 {
		return minor.String()
	}
	return ""
}

func (r *Record) minor(m int) Minor { return Minor(r.Versions >> (2 * m) & 3) }

// heading works out what to run next, as internal/observe does.
func (w *World) heading(v *State) Heading {
	next := Heading{Minor: v.Live.Cluster.Minor}
	if w.Minor != 0 {
		next.Minor = w.waypoint(v)
	}
	var read bool
	if next.Peers, read = w.stage(v); (read || v.inUse()) && next.Peers != core.PeersPlain {
		next.Trust = v.known().Trusted
	}
	next.JoinTLS, next.FoundTLS = v.byTLS(next.Peers)
	return next
}

func (w *World) head(v *State, o *core.Observation) {
	c, next := &v.Live.Cluster, w.heading(v)
	o.Cluster.Spec.Version, o.Cluster.Spec.Peers = next.Minor.String(), next.Peers
	o.Cluster.Spec.MemberHash = hashOf(c.wish(next))
	o.Cluster.Spec.RestartHash = hashOf(c.wish(next).restarts())
}

func (w *World) waypoint(v *State) Minor {
	c := &v.Live.Cluster
	var fleet core.Fleet
	for m := range v.members() {
		member, template := &v.Live.Members[m], ""
		if member.Workload.Exists {
			template = member.Workload.Want.Minor.String()
			fleet.Asleep = fleet.Asleep || member.Workload.Want.Stopped
		}
		switch before := c.Status.version(m); {
		case member.Pod.Exists && member.Pod.Phase == Running && !v.Nodes[m].Unreachable:
			minor := member.Pod.Template.Minor
			fleet.Runs, fleet.Answers = append(fleet.Runs, minor.String()), append(fleet.Answers, minor.String())
			if minor >= V36 {
				fleet.Told = v.Downgrade.data()
			}
		case c.Status.Members.has(m) && before != "":
			fleet.Runs, fleet.Away = append(fleet.Runs, before), append(fleet.Away, template)
		case w.unheard(v, m):
			fleet.Runs, fleet.Asleep = append(fleet.Runs, member.Claim.Ran.String()), true
		}
	}
	fleet.Joining = w.list(v).Joining(int(c.Size))
	if w.Waypoint != nil {
		return minorOf(w.Waypoint(c.Minor.String(), fleet))
	}
	return minorOf(core.Waypoint(c.Minor.String(), fleet))
}

// unheard is whether only its claim says what a member ran.
func (w *World) unheard(v *State, m int) bool {
	claim, list := &v.Live.Members[m].Claim, w.list(v)
	if known := v.Live.Cluster.Status.ID; known != 0 && claim.Marked != known || list.Known && !v.list().has(m) {
		return false
	}
	return claim.Exists && claim.Marked != 0 && claim.Ran != 0 && !claim.Removed
}

// minor is the version that a member runs.
func (s *State) minor(m int) Minor { return s.Live.Members[m].Pod.Template.Minor }

// allServe is whether every member of the list can be asked for its version, and the lowest and highest of these.
func (s *State) allServe() (lowest, highest Minor, all bool) {
	if s.Leader == 0 {
		return 0, 0, false
	}
	for m := range s.members() {
		if !s.list().has(m) {
			continue
		}
		if !s.serves(m) {
			return 0, 0, false
		}
		if minor := s.minor(m); lowest == 0 {
			lowest, highest = minor, minor
		} else {
			lowest, highest = min(lowest, minor), max(highest, minor)
		}
	}
	return lowest, highest, true
}

// moveVersion is decideClusterVersion of server/etcdserver/version/monitor.go: upwards to the lowest version of all
// members, downwards only as etcd was told, and both only while all of them answer.
func moveVersion(w *World, s *State, _ int, p *Pass) bool {
	lowest, _, all := s.allServe()
	switch {
	case !all:
		return false
	case s.Downgrade != 0 && s.Version == s.Downgrade+1 && lowest == s.Version:
		s.Version = s.Downgrade
		return true
	case s.Downgrade == 0 && s.Version < lowest:
		s.Version = lowest
		for m := range s.members() {
			migrate(w, s, m, p)
		}
		return true
	}
	return false
}

// migrate is UpdateStorageVersionIfNeeded, by each member for itself. Upwards it comes with the cluster version, downwards
// when a snapshot covers what is too new.
func migrate(_ *World, s *State, m int, _ *Pass) bool {
	claim := &s.Live.Members[m].Claim
	if s.Version == 0 || !s.serves(m) || claim.Old || claim.Stored == s.Version {
		return false
	}
	claim.Stored = s.Version
	return true
}

// forgetDowngrade is CancelDowngradeIfNeeded: all members run what they were to go back to.
func forgetDowngrade(_ *World, s *State, _ int, _ *Pass) bool {
	lowest, highest, all := s.allServe()
	if s.Downgrade == 0 || !all || lowest != s.Downgrade || highest != s.Downgrade {
		return false
	}
	s.Downgrade = 0
	return true
}

// enableDowngrade is DowngradeEnable of server/etcdserver/version/version.go.
func (s *State) enableDowngrade(target Minor) bool {
	if s.Downgrade != 0 || target == 0 || target+1 != s.Version {
		return false
	}
	s.Downgrade = target
	return true
}

// unfit says why etcd of a minor does not start on the volume of a member. On data it panics below the cluster version
// (MustDetectDowngrade), on data of a later version, and 3.7 on log entries of 3.5, also on those that the leader sends. Who joins wants the cluster version to
// be at most its own, and while a downgrade is enabled exactly one minor above (allowedVersionRange).
func (s *State) unfit(m int, minor Minor) string {
	claim := &s.Live.Members[m].Claim
	joins := claim.Data == 0 && s.Live.Members[m].Pod.Template.Start == core.StartJoin
	switch {
	case minor == 0 || claim.Data != s.Formed && !joins:
		return ""
	case minor < s.Version && (!joins || s.Downgrade == 0):
		return "the cluster version is " + s.Version.String()
	case claim.Stored > minor:
		return "the data is of " + claim.Stored.String()
	case minor >= V37 && (claim.Log == Old || joins && s.Leader != 0 && s.Live.Members[s.Leader-1].Claim.Log != NewLog):
		return "there are entries of 3.5 in the log"
	case joins && s.Downgrade != 0 && s.Version != minor+1:
		return "a downgrade is enabled, so that only members join that are a minor below the cluster version"
	}
	return ""
}

// copied is what a member that joins has from the leader.
func (s *State) copied(m int) {
	if claim := &s.Live.Members[m].Claim; s.Leader != 0 && claim.Data == s.Formed {
		leader := &s.Live.Members[s.Leader-1].Claim
		claim.Stored = leader.Stored
		if leader.Log != NewLog {
			claim.Log = Old
		}
	}
}

// writeOldLog: members of 3.5 write to the log what 3.7 cannot read, and everyone gets it.
func (s *State) writeOldLog() {
	old := false
	for m := range s.members() {
		old = old || s.Leader != 0 && s.minor(m) == V35 && s.serves(m)
	}
	for m := range s.members() {
		if old && s.list().has(m) && s.hasData(m) {
			s.Live.Members[m].Claim.Log = Old
		}
	}
}

// flush makes whoever takes part write a snapshot, so that it need not read older entries.
func (s *State) flush(m int) bool {
	if s.Leader == 0 || !s.serves(m) || s.Nodes[m].Unreachable {
		return false
	}
	for other := range s.members() {
		if claim := &s.Live.Members[other].Claim; s.serves(other) && claim.Log == Old && (!claim.Old || other == m) {
			claim.Log = Covered
		}
	}
	return true
}

// checkMinors checks what the pods of the list's members are made with.
func (s *State) checkMinors(p *Pass) {
	var lowest, highest Minor
	for m := range s.members() {
		if !s.list().has(m) || !s.Live.Members[m].Pod.Exists || !s.hasData(m) {
			continue
		}
		if minor := s.minor(m); lowest == 0 {
			lowest, highest = minor, minor
		} else {
			lowest, highest = min(lowest, minor), max(highest, minor)
		}
	}
	if highest > lowest+1 {
		p.broke(LegalHops, "there are members with %s and with %s", lowest, highest)
	}
}

// unseen is whether a member ran a later version than was ever recorded: it crashed before the operator had seen it.
func (s *State) unseen(m int) bool {
	return s.Live.Members[m].Claim.Stored > s.Live.Cluster.Status.minor(m)
}

// stranded is whether the only member does not start any more, since its pod was lost between two wishes and came back with a
// version that is older than its data. Nobody else could tell the operator: the user has to ask for the later version again.
func (s *State) stranded() bool {
	for m := range s.members() {
		if s.list() == 1<<m && !s.runs(m) && s.minor(m) < max(s.Version, s.Live.Members[m].Claim.Stored) {
			return true
		}
	}
	return false
}

// checkHop checks a member that is restarted with another version. One that cannot start anyway is no matter.
func (s *State) checkHop(m int, p *Pass) {
	member := &s.Live.Members[m]
	from, to := member.Pod.Template.Minor, member.Workload.Known.Minor
	if !member.Workload.Exists || from == to || !s.list().has(m) || !s.hasData(m) || member.Claim.Harm == Unreadable || s.unseen(m) {
		return
	}
	if to < s.Version {
		p.broke(DowngradeAsked, "%s goes to %s, but the cluster version is %s", memberName(m), to, s.Version)
	}
	wanted := s.serves(m) && s.Voters.has(m) && !s.Alarms.has(m)
	for other := range s.members() {
		stored := s.Live.Members[other].Claim.Stored
		if !s.list().has(other) || !s.hasData(other) || stored == 0 {
			continue
		}
		if stored > to {
			p.broke(DowngradeAsked, "%s goes to %s, but the data of %s is of %s", memberName(m), to, memberName(other), stored)
		}
		if wanted && stored+1 < to && s.Voters.has(other) && s.minor(other) < to {
			p.broke(OneMinorAtATime, "%s goes to %s, but the data of %s is of %s", memberName(m), to, memberName(other), stored)
		}
	}
	if why := s.unfit(m, to); why != "" {
		p.broke(LegalHops, "%s does not start with %s: %s", memberName(m), to, why)
	}
}
