package core

import (
	"fmt"

	"github.com/Masterminds/semver/v3"
)

// upgradeFloors are, by minor, the first versions from which the next minor may be reached. Earlier 3.5 can bring
// removed members back to life, since 3.6 takes the membership from the v3 store
// (https://etcd.io/blog/2025/zombie_members_upgrade/); for 3.6 the floor is that of the upgrade guide to 3.7.
var upgradeFloors = map[uint64]*semver.Version{
	5: semver.MustParse("3.5.26"),
	6: semver.MustParse("3.6.11"),
}

// versionHop says why the wanted version cannot be reached from the versions that run, or nothing if it can.
//
// A cluster moves up by one minor at a time (https://etcd.io/docs/v3.6/upgrades/upgrade_3_6/). It moves back only as
// long as a member still runs the older minor: until then the cluster version has not moved.
func versionHop(want string, running []string) Problem {
	target, err := semver.NewVersion(want)
	if err != nil {
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version %q is not a version; write MAJOR.MINOR.PATCH, e.g. 3.6.16", want)}
	}
	var lowest, highest *semver.Version
	for _, r := range running {
		version, err := semver.NewVersion(r)
		if err != nil {
			return Problem{ReasonVersionHopRefused, fmt.Sprintf("a member runs version %q, which is not a version that the operator knows", r)}
		}
		if lowest == nil || version.LessThan(lowest) {
			lowest = version
		}
		if highest == nil || version.GreaterThan(highest) {
			highest = version
		}
	}
	switch {
	case lowest == nil:
		return Problem{}
	case target.Major() != lowest.Major():
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version is %s but members run %s: the major version cannot change", want, lowest)}
	case target.Minor() > lowest.Minor()+1:
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version is %s but a member runs %s: etcd moves by one minor at a time; go to %d.%d first", want, lowest, lowest.Major(), lowest.Minor()+1)}
	case target.Minor() < lowest.Minor():
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version is %s but every member runs %d.%d or later: going back a minor needs etcd's downgrade, which this release does not do", want, lowest.Major(), lowest.Minor())}
	}
	if floor := upgradeFloors[lowest.Minor()]; floor != nil && target.Minor() > lowest.Minor() && lowest.LessThan(floor) {
		return Problem{ReasonVersionHopRefused, fmt.Sprintf("spec.version is %s but a member runs %s, from which it cannot safely be reached; go to %s or a later %d.%d first", want, lowest, floor, floor.Major(), floor.Minor())}
	}
	return Problem{}
}
