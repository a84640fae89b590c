package core_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestImports: the core decides and does no I/O. It can import nothing that could do any.
func TestImports(t *testing.T) {
	allowed := []string{"cmp", "errors", "fmt", "maps", "math", "slices", "sort", "strconv", "strings", "time", "github.com/Masterminds/semver/v3"}
	for name, file := range sources(t) {
		for _, spec := range file.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

// TestNoClockAndNoMapOrder: time is given, and nothing depends on the order of a map.
func TestNoClockAndNoMapOrder(t *testing.T) {
	for name, file := range sources(t) {
		ast.Inspect(file, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.SelectorExpr:
				if of, ok := n.X.(*ast.Ident); ok && of.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After"}, n.Sel.Name) {
					t.Errorf("%s calls time.%s", name, n.Sel.Name)
				}
			case *ast.RangeStmt:
				// The maps of the package are the indexes of a view.
				if over, ok := n.X.(*ast.SelectorExpr); ok && strings.HasPrefix(over.Sel.Name, "by") {
					t.Errorf("%s ranges over the map %s", name, over.Sel.Name)
				}
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine", name)
			}
			return true
		})
	}
}

func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	parsed := map[string]*ast.File{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if parsed[name], err = parser.ParseFile(token.NewFileSet(), name, source, 0); err != nil {
			t.Fatal(err)
		}
	}
	if len(parsed) == 0 {
		t.Fatal("there are no sources here")
	}
	return parsed
}

// law is a property of every decision.
type law struct {
	name  string
	holds func(o core.Observation, d core.Decision) bool
}

var laws = []law{
	{"the same observation leads to the same decision", func(o core.Observation, d core.Decision) bool {
		return reflect.DeepEqual(core.Decide(o), d)
	}},
	{"the order of what was observed does not matter", func(o core.Observation, d core.Decision) bool {
		return reflect.DeepEqual(core.Decide(reversed(o)), d)
	}},
	{"at most one action disrupts, and it is the last", func(_ core.Observation, d core.Decision) bool {
		for i, action := range d.Actions {
			if action.Disruptive() && i != len(d.Actions)-1 {
				return false
			}
		}
		return true
	}},
	{"nothing is done to a cluster that is deleted or paused", func(o core.Observation, d core.Decision) bool {
		return !o.Cluster.Deleting && !o.Cluster.Spec.Paused || len(d.Actions) == 0
	}},
	{"a member has one StatefulSet to apply at most", func(_ core.Observation, d core.Decision) bool {
		seen := map[string]bool{}
		for _, action := range d.Actions {
			if apply, ok := action.(core.ApplyMember); ok {
				if seen[apply.Member] {
					return false
				}
				seen[apply.Member] = true
			}
		}
		return true
	}},
	{"a leader of several members is not restarted", func(o core.Observation, d core.Decision) bool {
		restart, ok := disruption(d).(core.RestartMember)
		if !ok || len(o.Etcd.List.Members) < 2 || restart.OnlyIfDown {
			return true
		}
		s := statusOf(o, restart.Member)
		return s == nil || s.ID != s.LeaderID
	}},
	{"while a pod is ready a quorum may serve, and what is not known is not restarted", func(o core.Observation, d core.Decision) bool {
		restart, ok := disruption(d).(core.RestartMember)
		ready := slices.ContainsFunc(o.Members, func(m core.Member) bool { return m.Pod.Ready })
		return !ok || o.Etcd.List.Known || restart.OnlyIfDown || restart.OnlyIfNoneReady && !ready
	}},
	{"a member that runs is restarted only if the others keep a quorum", quorumIsKept},
	{"while a member gets what is asked for, no other one that serves does", func(o core.Observation, d core.Decision) bool {
		if len(d.Actions) == 0 {
			return true
		}
		member := ""
		switch step := d.Actions[len(d.Actions)-1].(type) {
		case core.ResizeMember:
			member = step.Member
		case core.RestartMember:
			member = step.Member
		}
		l := listedAs(o, member)
		if l == nil || l.Learner || !serves(o, *l) {
			return true
		}
		return !slices.ContainsFunc(o.Members, func(m core.Member) bool {
			upToDate := m.Workload.MemberHash == o.Cluster.Spec.MemberHash && m.Pod.MemberHash == o.Cluster.Spec.MemberHash
			l := listedAs(o, m.Name)
			return m.Name != member && l != nil && serves(o, *l) && m.Pod.Resizing != "" && upToDate
		})
	}},
	{"a member that has run never founds a cluster", func(o core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			apply, ok := action.(core.ApplyMember)
			if ok && apply.Start == core.StartBootstrap && hasRun(o, apply.Member) {
				return false
			}
		}
		return true
	}},
	{"a pod is sealed only if its member has run or is sealed already, and if that can be", func(o core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			seal, ok := action.(core.SealPod)
			m := memberOf(o, seal.Member)
			l := listedAs(o, seal.Member)
			ran := hasRun(o, seal.Member) || m.Workload.Start == core.StartSealed || o.Cluster.Spec.InMemory && l != nil && l.Started
			if ok && (!ran || !m.Workload.Exists() || m.Pod.UID != seal.PodUID || m.Pod.StartFixed || m.Pod.Start == core.StartSealed) {
				return false
			}
		}
		return true
	}},
	{"a cluster that was formed is not founded again", func(o core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			apply, ok := action.(core.ApplyMember)
			made := slices.ContainsFunc(o.Members, func(m core.Member) bool { return m.Name == apply.Member && m.Workload.Exists() })
			if ok && !made && apply.Start == core.StartBootstrap && o.Cluster.Recorded.ClusterID != "" && !o.Etcd.List.Known {
				return false
			}
		}
		return true
	}},
	{"nothing founds beside a sealed or joining StatefulSet, but what the list says has never started", func(o core.Observation, d core.Decision) bool {
		formed := slices.ContainsFunc(o.Members, func(m core.Member) bool { return m.Workload.Exists() && m.Workload.Start != core.StartBootstrap })
		for _, action := range d.Actions {
			apply, ok := action.(core.ApplyMember)
			l := listedAs(o, apply.Member)
			if ok && formed && apply.Start == core.StartBootstrap && !memberOf(o, apply.Member).Workload.Exists() && (l == nil || l.Started) {
				return false
			}
		}
		return true
	}},
	{"a claim that ever had a volume is not deleted", func(_ core.Observation, d core.Decision) bool {
		recreate, ok := disruption(d).(core.RecreateMember)
		return !ok || !slices.ContainsFunc(recreate.Volumes, func(v core.Volume) bool { return v.Bound || v.ClusterID != "" })
	}},
	{"the cluster's ID and its founders stay as they were recorded", func(o core.Observation, d core.Decision) bool {
		before := o.Cluster.Recorded
		return (before.ClusterID == "" || d.Report.ClusterID == before.ClusterID) &&
			(len(before.BootstrapMembers) == 0 || slices.Equal(d.Report.BootstrapMembers, before.BootstrapMembers))
	}},
	{"the founders are recorded before the first member is made", func(o core.Observation, d core.Decision) bool {
		for _, action := range d.Actions {
			if apply, ok := action.(core.ApplyMember); ok && apply.Start == core.StartBootstrap && !apply.Stopped && !slices.Equal(apply.InitialCluster, d.Report.BootstrapMembers) {
				return false
			}
		}
		return true
	}},
	{"an unchanged world is not reported again", func(o core.Observation, d core.Decision) bool {
		// What was known before may matter for one more look.
		for range 2 {
			o.Cluster.Recorded = d.Report
			d = core.Decide(o)
		}
		o.Cluster.Recorded = d.Report
		again := core.Decide(o)
		return again.Report.Equal(d.Report) && len(again.Events) == 0
	}},
	{"all three conditions are reported, with reason and message", func(o core.Observation, d core.Decision) bool {
		return (len(d.Report.Conditions) == 3 || o.Cluster.Deleting) && !slices.ContainsFunc(d.Report.Conditions, func(c core.Condition) bool {
			return c.Status == "" || c.Reason == "" || c.Message == "" || c.Since.IsZero()
		})
	}},
	{"there is another look, unless there is nothing to look for", func(_ core.Observation, d core.Decision) bool {
		return d.LookAgain > 0 || d.Report.Phase == core.PhaseDeleting || d.Report.Phase == core.PhaseHibernated
	}},
}

func TestLaws(t *testing.T) {
	const observations = 15_000
	happened := map[string]int{}
	for seed := range uint64(observations) {
		o := imagine(seed)
		d := core.Decide(o)
		if !reflect.DeepEqual(o, imagine(seed)) {
			t.Fatalf("seed %d: to decide changed what was observed", seed)
		}
		for _, law := range slices.Concat(laws, membershipLaws) {
			if !law.holds(o, d) {
				t.Fatalf("seed %d: not so: %s\nactions: %+v\nmembers: %+v\netcd: %+v\ncluster: %+v", seed, law.name, d.Actions, o.Members, o.Etcd, o.Cluster)
			}
		}
		for _, action := range d.Actions {
			happened[action.Step()]++
		}
	}
	// Or the laws would hold because nothing happens.
	for _, step := range steps {
		if happened[step.Step()] < 20 {
			t.Errorf("%s happened %d times only", step.Step(), happened[step.Step()])
		}
	}
}

// steps are all that can be done.
var steps = []core.Action{
	core.ApplyObject{}, core.DeleteObject{}, core.ApplyMember{}, core.SealPod{}, core.MarkVolumes{}, core.RestartMember{}, core.MoveLeader{},
	core.RecreateMember{}, core.AddMember{}, core.PromoteMember{}, core.RemoveMember{}, core.DeleteMember{}, core.RetireVolumes{},
	core.DeleteVolumes{}, core.ExpandVolumes{}, core.ResizeMember{}, core.EnableDowngrade{}, core.CancelDowngrade{}, core.DisarmAlarm{},
}

// disruption is the disruptive action of a decision, if it has one.
func disruption(d core.Decision) core.Action {
	if len(d.Actions) == 0 || !d.Actions[len(d.Actions)-1].Disruptive() {
		return nil
	}
	return d.Actions[len(d.Actions)-1]
}

func statusOf(o core.Observation, member string) *core.Status {
	for i := range o.Etcd.Statuses {
		if o.Etcd.Statuses[i].Member == member && o.Etcd.Statuses[i].Answered {
			return &o.Etcd.Statuses[i]
		}
	}
	return nil
}

// counts is whether a member that answers can be counted on.
func counts(o core.Observation, s core.Status) bool {
	newest := uint64(0)
	for _, other := range o.Etcd.Statuses {
		if other.ClusterID == s.ClusterID {
			newest = max(newest, other.RaftApplied)
		}
	}
	return s.Answered && s.LeaderID != "" && !slices.Contains(s.Alarms, "CORRUPT") && len(s.Errors) == 0 && s.ClusterID == "c1" && newest-s.RaftApplied <= 1000
}

func quorumIsKept(o core.Observation, d core.Decision) bool {
	restart, ok := disruption(d).(core.RestartMember)
	if !ok || restart.OnlyIfDown || !o.Etcd.List.Known || len(o.Etcd.List.Members) == 1 {
		return true
	}
	if l := listedAs(o, restart.Member); l != nil && l.Learner {
		// Nobody misses it.
		return true
	}
	voters, _ := votersOf(o, "")
	_, staying := votersOf(o, restart.Member)
	return staying >= core.Quorum(voters) && restart.Needs >= core.Quorum(voters)
}

// hasRun is whether something says that a member has run. A StatefulSet that was made to found the cluster stays so until
// that is recorded on its claims: only then a claim without a record is known to be a lost one.
func hasRun(o core.Observation, member string) bool {
	if l := listedAs(o, member); l != nil && l.Started && !memberOf(o, member).Workload.Exists() {
		return true
	}
	for _, m := range o.Members {
		for _, v := range m.Volumes {
			if m.Name == member && v.ClusterID != "" {
				return true
			}
		}
	}
	return false
}

func reversed(o core.Observation) core.Observation {
	o.Members, o.Etcd.Statuses, o.Etcd.List.Members = slices.Clone(o.Members), slices.Clone(o.Etcd.Statuses), slices.Clone(o.Etcd.List.Members)
	slices.Reverse(o.Members)
	slices.Reverse(o.Etcd.Statuses)
	slices.Reverse(o.Etcd.List.Members)
	return o
}
