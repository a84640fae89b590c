package core_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestWaypoint: the version to run next, from what runs and what is wanted.
func TestWaypoint(t *testing.T) {
	for _, c := range []struct {
		why    string
		wanted string
		runs   []string
		asleep bool
		next   string
	}{
		{"a new cluster", "3.6.16", nil, false, "3.6.16"},
		{"nothing to do", "3.6.16", []string{"3.6.16", "3.6.16"}, false, "3.6.16"},
		{"a patch up", "3.6.16", []string{"3.6.5"}, false, "3.6.16"},
		{"a patch down", "3.6.5", []string{"3.6.16"}, false, "3.6.5"},
		{"patches may be skipped also where the next minor could not be reached", "3.5.30", []string{"3.5.3"}, false, "3.5.30"},
		{"one minor up", "3.6.16", []string{"3.5.30"}, false, "3.6.16"},
		{"the floor itself", "3.6.16", []string{"3.5.26"}, false, "3.6.16"},
		{"below the floor of 3.5", "3.6.16", []string{"3.5.25", "3.5.30"}, false, "3.5.33"},
		{"below the floor of 3.6", "3.7.3", []string{"3.6.10"}, false, "3.6.16"},
		{"two minors up", "3.7.3", []string{"3.5.33"}, false, "3.6.16"},
		{"two minors up, half way to the first", "3.7.3", []string{"3.5.33", "3.6.16"}, false, "3.6.16"},
		{"two minors up, below the floor", "3.7.3", []string{"3.5.20"}, false, "3.5.33"},
		{"the second minor of two", "3.7.3", []string{"3.6.16", "3.6.16"}, false, "3.7.3"},
		{"half way to the second minor", "3.7.3", []string{"3.6.16", "3.7.3"}, false, "3.7.3"},
		{"one minor down", "3.5.33", []string{"3.6.16"}, false, "3.5.33"},
		{"two minors down", "3.5.33", []string{"3.7.3", "3.7.3"}, false, "3.6.16"},
		{"two minors down, half way to the first", "3.5.33", []string{"3.7.3", "3.6.16"}, false, "3.6.16"},
		{"two minors down, the first is done", "3.5.33", []string{"3.6.16"}, false, "3.5.33"},
		{"back before the last has moved", "3.5.33", []string{"3.6.16", "3.5.33"}, false, "3.5.33"},
		{"nothing is known on the way: it is left to be refused", "3.9.1", []string{"3.7.3"}, false, "3.9.1"},
		{"nothing is known later on the way: not even the first step is taken", "3.9.1", []string{"3.6.16"}, false, "3.9.1"},
		{"nothing is known on the way down", "3.2.0", []string{"3.5.33"}, false, "3.2.0"},
		{"another major is left to be refused", "4.0.0", []string{"3.6.16"}, false, "4.0.0"},
		{"so is what is no version", "latest", []string{"3.6.16"}, false, "latest"},
		{"a member that says nonsense says nothing", "3.7.3", []string{"nonsense", "3.6.16"}, false, "3.7.3"},
		{"asleep: the minor that it fell asleep with", "3.7.3", []string{"3.6.16"}, true, "3.6.16"},
		{"asleep: the newest of several", "3.7.3", []string{"3.5.33", "3.6.14"}, true, "3.6.14"},
		{"asleep: no way back either", "3.5.33", []string{"3.6.16"}, true, "3.6.16"},
		{"asleep: patches are free", "3.6.16", []string{"3.6.5"}, true, "3.6.16"},
		{"asleep, and never ran", "3.6.16", nil, true, "3.6.16"},
	} {
		t.Run(c.why, func(t *testing.T) {
			answers := c.runs
			if c.asleep {
				answers = nil
			}
			if next := core.Waypoint(c.wanted, core.Fleet{Runs: c.runs, Answers: answers, Asleep: c.asleep}); next != c.next {
				t.Errorf("%s is next on the way from %v to %s, want %s", next, c.runs, c.wanted, c.next)
			}
			slices.Reverse(c.runs)
			if next := core.Waypoint(c.wanted, core.Fleet{Runs: c.runs, Answers: answers, Asleep: c.asleep}); next != c.next {
				t.Errorf("it depends on the order of the members: %s", next)
			}
		})
	}
}

// TestWaypointWhileMembersJoin: members join before the next minor is begun. What was begun goes on.
func TestWaypointWhileMembersJoin(t *testing.T) {
	for _, c := range []struct {
		why    string
		wanted string
		runs   []string
		next   string
	}{
		{"one minor down", "3.5.33", []string{"3.6.14", "3.6.16"}, "3.6.16"},
		{"two minors down", "3.5.33", []string{"3.7.3"}, "3.7.3"},
		{"one has gone back already", "3.5.33", []string{"3.6.16", "3.5.33"}, "3.5.33"},
		{"half way to the first of two minors down", "3.5.33", []string{"3.7.3", "3.6.16"}, "3.6.16"},
		{"one minor up", "3.7.3", []string{"3.6.16"}, "3.6.16"},
		{"two minors up", "3.7.3", []string{"3.5.33"}, "3.5.33"},
		{"half way up", "3.7.3", []string{"3.7.3", "3.6.16"}, "3.7.3"},
		{"a patch down", "3.6.5", []string{"3.6.16"}, "3.6.5"},
	} {
		if next := core.Waypoint(c.wanted, core.Fleet{Runs: c.runs, Answers: c.runs, Joining: true}); next != c.next {
			t.Errorf("%s: %s is next, want %s", c.why, next, c.next)
		}
	}
	learner, voter := core.Listed{Learner: true}, core.Listed{}
	for _, c := range []struct {
		list core.MemberList
		size int
		want bool
	}{
		{core.MemberList{}, 3, false},
		{core.MemberList{Known: true, Members: []core.Listed{voter}}, 1, false},
		{core.MemberList{Known: true, Members: []core.Listed{voter}}, 3, true},
		{core.MemberList{Known: true, Members: []core.Listed{voter, learner}}, 1, true},
		{core.MemberList{Known: true, Members: []core.Listed{voter, voter}}, 1, false},
	} {
		if got := c.list.Joining(c.size); got != c.want {
			t.Errorf("of %d listed, with %d asked for: %v", len(c.list.Members), c.size, got)
		}
	}
}

// TestWaypointWhileAMemberIsAway: whether it is ready for another minor is not known, so that none is begun. What was begun
// goes on.
func TestWaypointWhileAMemberIsAway(t *testing.T) {
	for _, c := range []struct {
		why    string
		wanted string
		fleet  core.Fleet
		next   string
	}{
		{"a minor up", "3.7.3", core.Fleet{Runs: []string{"3.6.14", "3.6.16"}, Away: []string{"3.6.14"}}, "3.6.16"},
		{"a minor down", "3.5.33", core.Fleet{Runs: []string{"3.6.16"}, Away: []string{"3.6.16"}}, "3.6.16"},
		{"two minors up", "3.7.3", core.Fleet{Runs: []string{"3.5.33"}, Away: []string{"3.5.33"}}, "3.5.33"},
		{"a patch", "3.6.16", core.Fleet{Runs: []string{"3.6.14"}, Away: []string{"3.6.14"}}, "3.6.16"},
		{"first to where it is safe", "3.6.16", core.Fleet{Runs: []string{"3.5.20"}, Away: []string{"3.5.20"}}, "3.5.33"},
		{"it has no StatefulSet", "3.7.3", core.Fleet{Runs: []string{"3.6.16"}, Away: []string{""}}, "3.6.16"},
		{"it is moving", "3.7.3", core.Fleet{Runs: []string{"3.6.16"}, Away: []string{"3.7.3"}}, "3.7.3"},
		{"it is to move to what does not run", "3.7.3", core.Fleet{Runs: []string{"3.6.16"}, Away: []string{"3.7.99"}}, "3.7.3"},
		{"another one is moving", "3.7.3", core.Fleet{Runs: []string{"3.6.16"}, Away: []string{"3.7.3", "3.6.16"}}, "3.6.16"},
		{"it is on another way", "3.7.3", core.Fleet{Runs: []string{"3.6.16"}, Away: []string{"3.5.33"}}, "3.6.16"},
		{"half way up", "3.7.3", core.Fleet{Runs: []string{"3.7.3", "3.6.16"}, Away: []string{"3.6.16"}}, "3.7.3"},
		{"it goes back, as etcd was told", "3.5.33", core.Fleet{Runs: []string{"3.6.16"}, Away: []string{"3.5.33"}, Answers: []string{"3.6.16"}, Told: "3.5.0"}, "3.5.33"},
		{"it goes back, and etcd was not told", "3.5.33", core.Fleet{Runs: []string{"3.6.16"}, Away: []string{"3.5.33"}, Answers: []string{"3.6.16"}}, "3.6.16"},
		{"it goes back, and nobody can say whether etcd was told", "3.5.33", core.Fleet{Runs: []string{"3.6.16"}, Away: []string{"3.5.33"}}, "3.5.33"},
		{"some have moved, and nobody answers", "3.5.33", core.Fleet{Runs: []string{"3.6.16", "3.5.33"}, Away: []string{"", ""}}, "3.6.16"},
		{"some have moved, and one of them answers", "3.5.33", core.Fleet{Runs: []string{"3.6.16", "3.5.33"}, Away: []string{""}, Answers: []string{"3.6.16"}}, "3.6.16"},
		{"some have moved, and one that has not answers", "3.5.33", core.Fleet{Runs: []string{"3.6.16", "3.5.33"}, Away: []string{""}, Answers: []string{"3.5.33"}}, "3.5.33"},
		{"some have gone back, as etcd was told", "3.5.33", core.Fleet{Runs: []string{"3.6.16", "3.5.33"}, Away: []string{""}, Answers: []string{"3.6.16"}, Told: "3.5.0"}, "3.5.33"},
		{"some have moved, nobody answers, and it goes on", "3.7.3", core.Fleet{Runs: []string{"3.7.3", "3.6.16"}, Away: []string{"", ""}}, "3.7.3"},
		{"nothing is known on the way: it is left to be refused", "3.9.1", core.Fleet{Runs: []string{"3.7.3"}, Away: []string{"3.7.3"}}, "3.9.1"},
	} {
		if next := core.Waypoint(c.wanted, c.fleet); next != c.next {
			t.Errorf("%s: %s is next, want %s", c.why, next, c.next)
		}
	}
}

// TestWaypointsLead: whatever members run, and whatever is wanted: members that follow the way stations one at a time are
// never more than one minor apart from each other, and arrive.
func TestWaypointsLead(t *testing.T) {
	versions := []string{"3.5.20", "3.5.26", "3.5.33", "3.6.5", "3.6.11", "3.6.16", "3.7.0", "3.7.3"}
	for _, from := range versions {
		for _, wanted := range versions {
			t.Run(fmt.Sprintf("from %s to %s", from, wanted), func(t *testing.T) {
				members := []string{from, from, from}
				steps := 0
				for ; slices.ContainsFunc(members, func(v string) bool { return v != wanted }); steps++ {
					next := core.Waypoint(wanted, core.Fleet{Runs: members, Answers: members})
					i := slices.IndexFunc(members, func(v string) bool { return v != next })
					if i < 0 || steps > 12 {
						t.Fatalf("the members stay at %v", members)
					}
					leavesSafely(t, members[i], next)
					members[i] = next
					if low, high := minors(members); high-low > 1 {
						t.Fatalf("members run %v", members)
					}
				}
			})
		}
	}
}

// leavesSafely checks one member's step: a minor at a time, and upwards only from a version that is safe to leave.
func leavesSafely(t *testing.T, from, to string) {
	t.Helper()
	floors := map[int64]string{5: "3.5.26", 6: "3.6.11"}
	low, high := minors([]string{from, to})
	if high-low > 1 {
		t.Fatalf("a member goes from %s to %s", from, to)
	}
	if a, b := semver.MustParse(from), semver.MustParse(to); b.Minor() > a.Minor() && a.LessThan(semver.MustParse(floors[low])) {
		t.Fatalf("a member goes from %s, which is not safe to leave, to %s", from, to)
	}
}

func minors(versions []string) (low, high int64) {
	low = 99
	for _, v := range versions {
		minor := int64(semver.MustParse(v).Minor())
		low, high = min(low, minor), max(high, minor)
	}
	return low, high
}
