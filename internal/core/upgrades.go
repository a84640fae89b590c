package core

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// upgradeFloors are, by minor, the first versions from which the next minor may be reached, and gone back from. Earlier 3.5 can bring
// removed members back to life, since 3.6 takes the membership from the v3 store
// (https://etcd.io/blog/2025/zombie_members_upgrade/); for 3.6 the floor is that of the upgrade guide to 3.7.
var upgradeFloors = map[uint64]*semver.Version{
	5: semver.MustParse("3.5.26"),
	6: semver.MustParse("3.6.11"),
}

// first36 is before all versions of 3.6.
var first36 = semver.MustParse("3.6.0-0")

// known are, by minor, the newest versions when this was written: what the operator goes through on a way of several
// minors.
var known = map[uint64]*semver.Version{
	5: semver.MustParse("3.5.33"),
	6: semver.MustParse("3.6.16"),
	7: semver.MustParse("3.7.3"),
}

// Fleet is what the version to run next depends on, besides the one that is wanted.
type Fleet struct {
	// Runs are the versions that members run or are last known to have run.
	Runs []string
	// Asleep: members are stopped, or only their volumes say what they ran, as those that are taken over from an earlier
	// EtcdCluster do. A cluster wakes with the minor that it went to sleep with.
	Asleep bool
	// Joining: members are still to come, see [MemberList.Joining]. They come before a change of the minor: etcd lets nobody
	// join while a downgrade is enabled, and a leader of 3.6 may send entries of 3.5, which end a member of 3.7.
	Joining bool
	// Away are, of the members that have run and do not answer, the versions that they would start with: those of their
	// StatefulSets. Whether one is ready for another minor only it could say, or it was before it was told to move.
	Away []string
	// Answers are, of Runs, those of the members that answer. Told is the minor that etcd was told to go back to, as far as they
	// say so.
	Answers []string
	Told    string
}

// Waypoint is the version to run next on the way to the one that is wanted. A cluster moves by one minor at a time, upwards
// only from a version that is safe to leave, and begins with the next minor only when nobody is away.
func Waypoint(wanted string, fleet Fleet) string {
	target, err := semver.StrictNewVersion(wanted)
	var versions []*semver.Version
	for _, text := range fleet.Runs {
		versions = appendVersion(versions, text)
	}
	lowest, highest := extremes(versions)
	if err != nil || lowest == nil || target.Major() != lowest.Major() {
		return wanted
	}
	floor := upgradeFloors[lowest.Minor()]
	next := target
	switch {
	case target.Minor() > lowest.Minor() && floor != nil && lowest.LessThan(floor):
		next = known[lowest.Minor()]
	case target.Minor() > lowest.Minor()+1:
		next = known[lowest.Minor()+1]
	case target.Minor()+1 < highest.Minor():
		next = known[highest.Minor()-1]
	}
	switch {
	case next == nil || !wayKnown(lowest, highest, target):
		return wanted
	case fleet.Asleep && target.Minor() != highest.Minor(), lowest.Minor() == highest.Minor() && fleet.stays(lowest, next):
		next = highest
	case lowest.Minor() != highest.Minor() && next.Minor() < highest.Minor() && !fleet.mayReturn(next):
		next = highest
	}
	return next.String()
}

// stays is whether members that all run one minor keep it for now: others are still to join, or someone is away and not on
// the way to the next.
func (f Fleet) stays(runs, next *semver.Version) bool {
	if next.Minor() == runs.Minor() {
		return false
	}
	to := minorOf(next.String())
	moving := !slices.ContainsFunc(f.Away, func(template string) bool { return minorOf(template) != to })
	untold := len(f.Away) > 0 && len(f.Answers) > 0 && next.Minor() < runs.Minor() && minorOf(f.Told) != to
	return f.Joining || !moving || untold
}

// mayReturn is whether members that have moved to a later minor may go back to another that others are known to have run: one
// of these answers, or etcd was told. Otherwise all may have moved, and the data with them, see [view.mayGoBack].
func (f Fleet) mayReturn(next *semver.Version) bool {
	return minorOf(f.Told) == minorOf(next.String()) || slices.ContainsFunc(f.Answers, func(text string) bool {
		version, err := semver.StrictNewVersion(text)
		return err == nil && version.Minor() <= next.Minor()
	})
}

// Joining is whether members are still to join, those that were added already or those that the cluster lacks.
func (l MemberList) Joining(size int) bool {
	return l.Known && (len(l.Members) < size || slices.ContainsFunc(l.Members, func(m Listed) bool { return m.Learner }))
}

// wayKnown is whether a version is known of every minor between those that run and the one that is wanted. Otherwise
// nothing is begun.
func wayKnown(lowest, highest, target *semver.Version) bool {
	for minor := min(lowest.Minor(), target.Minor()) + 1; minor < max(highest.Minor(), target.Minor()); minor++ {
		if known[minor] == nil {
			return false
		}
	}
	return true
}

// running are the versions that members are known to run.
type running struct {
	// answered are those of the members that answer, remembered those of members that answered before.
	answered, remembered []*semver.Version
	// unknown is one that is no version.
	unknown string
}

// VersionRefused says why members can never come from the versions that they run to the one that is wanted, or nothing if they can,
// once all of them are there.
func VersionRefused(wanted string, runs []string) Problem {
	var r running
	for _, version := range runs {
		r.answered = appendVersion(r.answered, version)
		if len(appendVersion(nil, version)) == 0 {
			r.unknown = version
		}
	}
	return versionHop(Waypoint(wanted, Fleet{Runs: runs, Answers: runs}), wanted, r)
}

// versionHop says why the version to run next cannot be reached from the versions that run, or the final one never could, or
// nothing if they can. Without a final one it is the next.
//
// A cluster moves up by one minor at a time (https://etcd.io/docs/v3.6/upgrades/upgrade_3_6/). When it moves back is for
// [downgrade] to say.
func versionHop(want, final string, r running) Problem {
	target, err := semver.StrictNewVersion(want)
	if err != nil {
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version %q is not a version; write MAJOR.MINOR.PATCH, e.g. 3.6.16", want)}
	}
	if r.unknown != "" {
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("a member runs version %q, which is not one that the operator knows", r.unknown)}
	}
	lowest, highest := extremes(append(slices.Clone(r.answered), r.remembered...))
	if lowest == nil {
		return Problem{}
	}
	if problem := tooFarBack(cmp.Or(final, want), highest); !problem.IsZero() {
		return problem
	}
	refused := func(format string, args ...any) Problem {
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version is %s but "+format, append([]any{want}, args...)...)}
	}
	switch {
	case target.Major() != lowest.Major():
		return refused("members run %s: the major version cannot change", lowest)
	case target.Minor() > lowest.Minor()+1:
		return refused("a member runs %s: etcd moves by one minor at a time; go to %d.%d first", lowest, lowest.Major(), lowest.Minor()+1)
	}
	if floor := upgradeFloors[lowest.Minor()]; floor != nil && target.Minor() > lowest.Minor() && lowest.LessThan(floor) {
		return refused("a member runs %s, from which it cannot safely be reached; go to %s or a later %d.%d first", lowest, floor, floor.Major(), floor.Minor())
	}
	return Problem{}
}

// tooFarBack: what may not be left for the next minor may not be come back to from there either. The definition of the API compares
// with the spec before, which need not be what members run.
func tooFarBack(final string, highest *semver.Version) Problem {
	target, err := semver.StrictNewVersion(final)
	if err != nil || target.Major() != highest.Major() || target.Minor() >= highest.Minor() {
		return Problem{}
	}
	if floor := upgradeFloors[target.Minor()]; floor != nil && target.LessThan(floor) {
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version is %s but a member runs %s, from which etcd goes back to %s or a later %d.%d only; set it to one of these", final, highest, floor, floor.Major(), floor.Minor())}
	}
	return Problem{}
}

// versionRefused says why the members cannot come to the version of the spec, or nothing if they can.
func (v *view) versionRefused() Problem {
	return versionHop(v.Cluster.Spec.Version, v.Cluster.Spec.FinalVersion, v.running())
}

// extremes are the lowest and the highest of some versions.
func extremes(versions []*semver.Version) (lowest, highest *semver.Version) {
	for _, version := range versions {
		if lowest == nil || version.LessThan(lowest) {
			lowest = version
		}
		if highest == nil || version.GreaterThan(highest) {
			highest = version
		}
	}
	return lowest, highest
}

// downgrade readies etcd for members of the minor before. As long as a member still runs that minor the cluster version
// has not moved, and the others may simply go back. Afterwards etcd has to be told: it then brings its data back to the
// older format while it runs, and only when all members have done so may the first one be replaced
// (https://etcd.io/docs/v3.6/downgrades/downgrading-etcd/). One that is not wanted any more is canceled first.
func downgrade(v *view, p *plan) bool {
	target := minorOf(v.Cluster.Spec.Version)
	lowest, _ := extremes(v.running().answered)
	leader := v.leader()
	if target == "" || lowest == nil || leader == nil || !v.Etcd.List.Known || !strings.HasPrefix(target, "3.") {
		return false
	}
	asked := v.downgradeTarget()
	if _, highest := extremes(v.running().answered); asked == fmt.Sprintf("%d.%d", highest.Major(), highest.Minor()) {
		// All members have gone back; etcd forgets what it was told within seconds.
		asked = ""
	}
	older := semver.MustParse(target+".0").Minor() < lowest.Minor()
	before := p.doing
	p.doing = Problem{ReasonDowngrading, fmt.Sprintf("the cluster goes back to %s", target)}
	switch {
	case asked != "" && asked != target:
		p.doing.Message = fmt.Sprintf("the downgrade to %s is canceled: spec.version is %s", asked, v.Cluster.Spec.FinalVersion)
		if final := v.Cluster.Spec.FinalVersion; final != v.Cluster.Spec.Version && minorOf(final) == asked {
			p.doing.Message = fmt.Sprintf("the downgrade to %s is canceled for now: first all members have to be there, with %s", asked, v.Cluster.Spec.Version)
		}
		p.actions = append(p.actions, CancelDowngrade{Via: leader.Name})
		return true
	case !older:
	case !v.versionRefused().IsZero():
		p.blocked, p.doing = v.versionRefused(), Problem{}
		return true
	case lowest.Minor() < 6:
		p.blocked = Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version is %s but every member runs %s or later, and etcd can be downgraded from 3.6 on only", v.Cluster.Spec.FinalVersion, lowest)}
		p.doing = Problem{}
		return true
	case asked == "" && cmp.Or(v.foreign(), v.waitsFor()) != "":
		p.doing.Message += "; waiting: " + cmp.Or(v.foreign(), v.waitsFor())
		return true
	case asked == "":
		p.actions = append(p.actions, EnableDowngrade{Target: target, Via: leader.Name})
		return true
	default:
		if behind := v.newerData(target); behind != "" {
			p.doing.Message += "; waiting: " + behind
			return true
		}
	}
	p.doing = before
	return false
}

// mayGoBack is whether members may start with the version that is wanted: it is not older than all that run, or etcd is
// ready for it. What is only remembered can forbid it, but never allow it.
func (v *view) mayGoBack() bool {
	target, err := semver.StrictNewVersion(v.Cluster.Spec.Version)
	r := v.running()
	proven, _ := extremes(r.answered)
	if proven == nil {
		_, proven = extremes(r.remembered)
	}
	if err != nil || proven == nil || target.Major() != proven.Major() || target.Minor() >= proven.Minor() {
		return true
	}
	wanted := minorOf(v.Cluster.Spec.Version)
	return v.downgradeTarget() == wanted && v.newerData(wanted) == ""
}

// downgradeTarget is the minor that etcd has been told to go back to.
func (v *view) downgradeTarget() string {
	for _, m := range v.members {
		if m.serves && m.status.DowngradeTarget != "" {
			return minorOf(m.status.DowngradeTarget)
		}
	}
	return ""
}

// mayBeDowngrading is whether etcd may have been told to go back to an older minor, which keeps members from joining. Members
// of 3.5 do not say, and forget it some seconds after the last of them has gone back, unless someone joins before.
func (v *view) mayBeDowngrading() bool {
	lowest, _ := extremes(v.running().answered)
	return v.downgradeTarget() != "" || lowest != nil && lowest.Minor() == 5
}

// newerData names a member whose data is not yet in the format of the target.
func (v *view) newerData(target string) string {
	for _, m := range v.members {
		if m.status != nil && m.status.StorageVersion != "" && minorOf(m.status.StorageVersion) != target {
			return fmt.Sprintf("the data of member %s is still of %s", m.Name, minorOf(m.status.StorageVersion))
		}
	}
	return ""
}

// oldLog is the number of entries to write before a member of 3.6 may start with 3.7: entries of 3.5 that none of its
// snapshots covers yet would end it, since 3.7 does not know them any more. Whatever has been written since the last member
// left 3.5 counts.
func (v *view) oldLog(m *memberView) int {
	if !m.serves || minorOf(v.Cluster.Spec.Version) != "3.7" || minorOf(m.status.Version) != "3.6" {
		return 0
	}
	entries := v.Cluster.Spec.SnapshotCount + 1
	if since := v.allSince36(nil); since > 0 && m.status.RaftApplied > since {
		entries = max(0, entries-int(min(m.status.RaftApplied-since, math.MaxInt32)))
	}
	return entries
}

// allSince36 is the raft index from which on no member but one has written entries of 3.5, or 0 if that is not known of all.
func (v *view) allSince36(but *memberView) uint64 {
	var latest uint64
	for _, m := range v.members {
		if m.listed == nil || !m.listed.Started || m == but {
			continue
		}
		var since uint64
		for _, volume := range m.Volumes {
			since = max(since, volume.Since36)
		}
		if since == 0 {
			return 0
		}
		latest = max(latest, since)
	}
	return latest
}

// since36 is what is to be recorded of a volume whose member runs: what it may have proposed with an older version is in the
// log by now, and the leader has applied it. A member that is new has never run one.
func (v *view) since36(m *memberView, volume Volume) uint64 {
	version, err := semver.StrictNewVersion(m.status.Version)
	switch {
	case err != nil || version.LessThan(first36):
		return 0
	case volume.Since36 > 0 || v.leader() == nil:
		return volume.Since36
	}
	if others := v.allSince36(m); volume.Version == "" && others > 0 {
		return others
	}
	return v.leader().status.RaftApplied
}

// minorOf is MAJOR.MINOR of a version, or nothing.
func minorOf(version string) string {
	parsed, err := semver.NewVersion(version)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d.%d", parsed.Major(), parsed.Minor())
}

// unfinishedUpgrade names what the last upgrade still waits for before the next minor may follow: etcd moves its cluster
// version, and with it the version of the data, some seconds after the last member has moved, and only while all of them
// run (https://etcd.io/docs/v3.6/upgrades/upgrade_3_6/).
func (v *view) unfinishedUpgrade() string {
	target, err := semver.StrictNewVersion(v.Cluster.Spec.Version)
	if err != nil {
		return ""
	}
	for _, m := range v.members {
		if m.status == nil || !m.status.Answered || m.status.StorageVersion == "" {
			continue
		}
		runs, errRuns := semver.StrictNewVersion(m.status.Version)
		stored, errStored := semver.StrictNewVersion(m.status.StorageVersion)
		if errRuns == nil && errStored == nil && target.Minor() > runs.Minor() && stored.Minor() < runs.Minor() {
			return fmt.Sprintf("the upgrade to %d.%d is not finished on member %s, its data is still of %d.%d", runs.Major(), runs.Minor(), m.Name, stored.Major(), stored.Minor())
		}
	}
	return ""
}
