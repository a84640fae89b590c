package sim

import (
	"slices"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// versions is a world in which the user changes the version.
func versions(w World, first Minor, others ...Minor) World {
	w.Minor, w.Minors = first, others
	return w
}

// movers are operators with one mistake each in how they move members to another version.
var movers = []mutant{
	{"skips a minor", LegalHops, skipping(versions(changing(3, 0, 1, Versions), V35, V37)), isNext, false},
	{"starts the next minor before the last is finished", OneMinorAtATime, versions(changing(1, 0, 1, Versions), V35, V37), finished, false},
	{"goes back without asking etcd", DowngradeAsked, versions(changing(3, 0, 1, Versions), V36, V35), asked, false},
	{"goes back before the data has", DowngradeAsked, versions(changing(3, 0, 1, Versions), V36, V35), finished, false},
	{"never cancels a downgrade", Delivers, versions(changing(1, 0, 2, Versions), V36, V35, V36), without(isA[core.CancelDowngrade]), false},
	{"never asks for a downgrade", Delivers, versions(changing(1, 0, 1, Versions), V36, V35), without(isA[core.EnableDowngrade]), false},
	{"does not flush the log before 3.7", LegalHops, versions(changing(1, 0, 1, Versions), V35, V37), flushesNothing, false},
	{"flushes the log only when it restarts", Delivers, versions(changing(1, 1, 1, Versions|Crashes), V35, V37), flushesLate, false},
	{"adds while a downgrade is in force", Delivers, versions(changing(1, 0, 2, Versions|Sizes, 1, 3), V36, V35), addsMeanwhile, false},
	{"goes back while members are to join", Delivers, heedless(versions(changing(1, 0, 2, Versions|Sizes, 1, 3), V36, V35)), core.Decide, false},
	{"goes back while a member is away", Delivers, heedless(versions(changing(3, 0, 3, Versions|Specs), V36, V35)), core.Decide, false},
}

func skipping(w World) World {
	w.Waypoint = func(wanted string, _ core.Fleet) string { return wanted }
	return w
}

// heedless is a world in which the way is chosen by the versions alone.
func heedless(w World) World {
	w.Waypoint = func(wanted string, fleet core.Fleet) string {
		fleet.Joining, fleet.Away = false, nil
		return core.Waypoint(wanted, fleet)
	}
	return w
}

// told is the core, with other answers of the members.
func told(o core.Observation, change func(s *core.Status)) core.Decision {
	o.Etcd.Statuses = slices.Clone(o.Etcd.Statuses)
	for i := range o.Etcd.Statuses {
		if o.Etcd.Statuses[i].Answered {
			change(&o.Etcd.Statuses[i])
		}
	}
	return core.Decide(o)
}

// isNext believes that members of 3.5 run 3.6.
func isNext(o core.Observation) core.Decision {
	o.Cluster.Recorded.Members = slices.Clone(o.Cluster.Recorded.Members)
	for i := range o.Cluster.Recorded.Members {
		o.Cluster.Recorded.Members[i].Version = ""
	}
	return told(o, func(s *core.Status) {
		if minorOf(s.Version) == V35 {
			s.Version, s.StorageVersion = V36.String(), V36.data()
		}
	})
}

// finished believes of all data that it has the right version.
func finished(o core.Observation) core.Decision {
	return told(o, func(s *core.Status) { s.StorageVersion = "" })
}

// asked believes that etcd was told of every downgrade.
func asked(o core.Observation) core.Decision {
	wanted := minorOf(o.Cluster.Spec.Version)
	return told(o, func(s *core.Status) {
		if minorOf(s.Version) > wanted {
			s.DowngradeTarget, s.StorageVersion = wanted.data(), wanted.data()
		}
	})
}

// unflushed is the core, less some of its flushing.
func unflushed(o core.Observation, applying, restarting bool) core.Decision {
	d := core.Decide(o)
	for i, action := range d.Actions {
		switch a := action.(type) {
		case core.ApplyMember:
			if applying {
				a.FlushLog = 0
			}
			d.Actions[i] = a
		case core.RestartMember:
			if restarting {
				a.FlushLog = 0
			}
			d.Actions[i] = a
		}
	}
	return d
}

func flushesNothing(o core.Observation) core.Decision { return unflushed(o, true, true) }
func flushesLate(o core.Observation) core.Decision    { return unflushed(o, true, false) }

func addsMeanwhile(o core.Observation) core.Decision {
	d := core.Decide(o)
	for i, action := range d.Actions {
		if a, is := action.(core.AddMember); is {
			a.EndDowngrade = false
			d.Actions[i] = a
		}
	}
	return d
}

// TestEtcdVersions: what etcd does with its versions, see server/etcdserver/version of etcd.
func TestEtcdVersions(t *testing.T) {
	w := versions(formed(3, 0, 0), V36, V35)
	w.Operator = NewOperator(core.Decide)
	start := w.initial()
	runs := func(s *State, minors ...Minor) {
		for m, minor := range minors {
			s.Live.Members[m].Pod.Template.Minor = minor
		}
	}
	for name, test := range map[string]struct {
		prepare func(s *State)
		do      func(s *State) bool
		done    bool
		version Minor
	}{
		"stays":                                 {func(*State) {}, nil, false, V36},
		"upwards once all have":                 {func(s *State) { runs(s, V37, V37, V37) }, nil, true, V37},
		"not before":                            {func(s *State) { runs(s, V37, V37, V36) }, nil, false, V36},
		"not while one is down":                 {func(s *State) { runs(s, V37, V37, V37); s.Live.Members[1].Pod.Phase = Waiting }, nil, false, V36},
		"not without a leader":                  {func(s *State) { runs(s, V37, V37, V37); s.Leader = 0 }, nil, false, V36},
		"never downwards by itself":             {func(s *State) { runs(s, V35, V35, V35) }, nil, false, V36},
		"downwards as it was told":              {func(s *State) { s.Downgrade = V35 }, nil, true, V35},
		"back up once that was canceled":        {func(s *State) { s.Version = V35 }, nil, true, V36},
		"a downgrade by one minor":              {func(*State) {}, func(s *State) bool { return s.enableDowngrade(V35) }, true, V36},
		"not to itself":                         {func(*State) {}, func(s *State) bool { return s.enableDowngrade(V36) }, false, V36},
		"not before the upgrade is finished":    {func(s *State) { s.Version = V35 }, func(s *State) bool { return s.enableDowngrade(V35) }, false, V35},
		"not twice":                             {func(s *State) { s.Downgrade = V35 }, func(s *State) bool { return s.enableDowngrade(V35) }, false, V36},
		"it is not forgotten while one is left": {func(s *State) { s.Downgrade = V35; runs(s, V35, V35, V36) }, func(s *State) bool { return forgetDowngrade(&w, s, 0, nil) }, false, V36},
		"it is forgotten":                       {func(s *State) { s.Downgrade = V35; runs(s, V35, V35, V35) }, func(s *State) bool { return forgetDowngrade(&w, s, 0, nil) }, true, V36},
	} {
		s := start
		test.prepare(&s)
		do := test.do
		if do == nil {
			do = func(s *State) bool { return moveVersion(&w, s, 0, nil) }
		}
		if done := do(&s); done != test.done || s.Version != test.version {
			t.Errorf("%s: %v, %s", name, done, s.Version)
		}
	}
}

// TestUnfit: which versions start, and which do not.
func TestUnfit(t *testing.T) {
	w := versions(formed(3, 0, 0), V36, V35)
	w.Operator = NewOperator(core.Decide)
	start := w.initial()
	joins := func(s *State) {
		s.Live.Members[1].Claim.Data, s.Live.Members[1].Claim.Stored, s.Live.Members[1].Pod.Template.Start = 0, 0, core.StartJoin
	}
	for name, test := range map[string]struct {
		prepare func(s *State)
		minor   Minor
		fits    bool
	}{
		"the same":                       {func(*State) {}, V36, true},
		"later":                          {func(*State) {}, V37, true},
		"earlier":                        {func(*State) {}, V35, false},
		"earlier, after a downgrade":     {func(s *State) { s.Version, s.Live.Members[1].Claim.Stored = V35, V35 }, V35, true},
		"earlier, on data that is later": {func(s *State) { s.Version = V35 }, V35, false},
		"an old log":                     {func(s *State) { s.Live.Members[1].Claim.Log = Old }, V37, false},
		"an old log, which 3.6 can read": {func(s *State) { s.Live.Members[1].Claim.Log = Old }, V36, true},
		"an old log behind a snapshot":   {func(s *State) { s.Live.Members[1].Claim.Log = Covered }, V37, true},
		"who joins":                      {joins, V36, true},
		"who joins, sent an old log":     {func(s *State) { joins(s); s.Leader = 1; s.Live.Members[0].Claim.Log = Covered }, V37, false},
		"who joins with a later":         {joins, V37, true},
		"who joins with an earlier":      {joins, V35, false},
		"who joins during a downgrade":   {func(s *State) { joins(s); s.Downgrade, s.Version = V35, V35 }, V36, false},
		"… with the earlier":             {func(s *State) { joins(s); s.Downgrade, s.Version = V35, V35 }, V35, false},
	} {
		s := start
		test.prepare(&s)
		if why := s.unfit(1, test.minor); (why == "") != test.fits {
			t.Errorf("%s: %q", name, why)
		}
	}
}
