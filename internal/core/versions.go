package core

import (
	"fmt"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// upgradeFloors are, by minor, the first versions from which the next minor may be reached. Earlier 3.5 can bring
// removed members back to life, since 3.6 takes the membership from the v3 store
// (https://etcd.io/blog/2025/zombie_members_upgrade/); for 3.6 the floor is that of the upgrade guide to 3.7.
var upgradeFloors = map[uint64]*semver.Version{
	5: semver.MustParse("3.5.26"),
	6: semver.MustParse("3.6.11"),
}

// running are the versions that members are known to run.
type running struct {
	// answered are those of the members that answer, remembered those of members that answered before.
	answered, remembered []*semver.Version
	// unknown is one that is no version.
	unknown string
}

// versionHop says why the wanted version cannot be reached from the versions that run, or nothing if it can.
//
// A cluster moves up by one minor at a time (https://etcd.io/docs/v3.6/upgrades/upgrade_3_6/). It moves back only as
// long as a member still runs the older minor: until then the cluster version has not moved. What is only remembered
// can forbid a hop but never allow one.
func versionHop(want string, r running) Problem {
	target, err := semver.NewVersion(want)
	if err != nil {
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version %q is not a version; write MAJOR.MINOR.PATCH, e.g. 3.6.16", want)}
	}
	if r.unknown != "" {
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("a member runs version %q, which is not one that the operator knows", r.unknown)}
	}
	lowest, _ := extremes(append(slices.Clone(r.answered), r.remembered...))
	if lowest == nil {
		return Problem{}
	}
	proven, _ := extremes(r.answered)
	if proven == nil {
		_, proven = extremes(r.remembered)
	}
	refused := func(format string, args ...any) Problem {
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version is %s but "+format, append([]any{want}, args...)...)}
	}
	switch {
	case target.Major() != lowest.Major():
		return refused("members run %s: the major version cannot change", lowest)
	case target.Minor() > lowest.Minor()+1:
		return refused("a member runs %s: etcd moves by one minor at a time; go to %d.%d first", lowest, lowest.Major(), lowest.Minor()+1)
	case target.Minor() < proven.Minor():
		return refused("no member that answers runs %d.%d any more: going back a minor then needs etcd's downgrade, which this release does not do", target.Major(), target.Minor())
	}
	if floor := upgradeFloors[lowest.Minor()]; floor != nil && target.Minor() > lowest.Minor() && lowest.LessThan(floor) {
		return refused("a member runs %s, from which it cannot safely be reached; go to %s or a later %d.%d first", lowest, floor, floor.Major(), floor.Minor())
	}
	return Problem{}
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

// unfinishedUpgrade names what the last upgrade still waits for before the next minor may follow: etcd moves its cluster
// version, and with it the version of the data, some seconds after the last member has moved, and only while all of them
// run (https://etcd.io/docs/v3.6/upgrades/upgrade_3_6/).
func (v *view) unfinishedUpgrade() string {
	target, err := semver.NewVersion(v.Cluster.Spec.Version)
	if err != nil {
		return ""
	}
	for _, m := range v.members {
		if m.status == nil || !m.status.Answered || m.status.StorageVersion == "" {
			continue
		}
		runs, errRuns := semver.NewVersion(m.status.Version)
		stored, errStored := semver.NewVersion(m.status.StorageVersion)
		if errRuns == nil && errStored == nil && target.Minor() > runs.Minor() && stored.Minor() < runs.Minor() {
			return fmt.Sprintf("the upgrade to %d.%d is not finished on member %s, its data is still of %d.%d", runs.Major(), runs.Minor(), m.Name, stored.Major(), stored.Minor())
		}
	}
	return ""
}
