package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Operator is the core and the way in which its decisions are carried out. Mutants are made by replacing its parts.
type Operator struct {
	Decide func(core.Observation) core.Decision
	// Blind operators carry decisions out without checking preconditions.
	Blind bool
	// verdicts are the decisions that were made before: the core is a pure function.
	verdicts map[Key]*verdict
}

// NewOperator wraps a decision function.
func NewOperator(decide func(core.Observation) core.Decision) *Operator {
	return &Operator{Decide: decide, verdicts: map[Key]*verdict{}}
}

// verdict is a decision, in the terms of the model.
type verdict struct {
	actions    []core.Action
	disruptive core.Action
	// id and founders are what the status is to record.
	id, founders uint8
	// available and degraded are the conditions of the report.
	available, degraded core.Condition
	broken              []Broken
}

// decide is core.Decide of a state, with a memory.
func (w *World) decide(s *State, unready bool) *verdict {
	view := w.view(s, unready)
	key := view.pack()
	if known := w.Operator.verdicts[key]; known != nil {
		return known
	}
	o := w.observation(&view)
	decision := w.Operator.Decide(o)
	v := &verdict{actions: decision.Actions, broken: checkDecision(o, decision)}
	for id := uint8(1); id <= w.Incarnations; id++ {
		if decision.Report.ClusterID == clusterID(id) {
			v.id = id
		}
	}
	v.available, v.degraded = conditionOf(decision.Report, core.Available), conditionOf(decision.Report, core.Degraded)
	v.founders = mask(decision.Report.BootstrapMembers)
	if n := len(v.actions); n > 0 && v.actions[n-1].Disruptive() {
		v.actions, v.disruptive = v.actions[:n-1], v.actions[n-1]
	}
	w.Operator.verdicts[key] = v
	return v
}

// restless is whether another report follows although nothing has changed.
func (w *World) restless(s *State) bool {
	view := w.view(s, false)
	o := w.observation(&view)
	o.Cluster.Recorded = w.Operator.Decide(o).Report
	again := w.Operator.Decide(o).Report
	o.Cluster.Recorded = again
	return !w.Operator.Decide(o).Report.Equal(again)
}

// mask is a set of members by name.
func mask(names []string) uint8 {
	var set uint8
	for _, name := range names {
		set |= 1 << memberOf(name)
	}
	return set
}

func memberOf(name string) int {
	m := 0
	if _, err := fmt.Sscanf(name, "etcd-%d", &m); err != nil || m >= MaxMembers {
		panic(fmt.Sprintf("the core named a member %q, which the model does not have", name))
	}
	return m
}

// Pass is what comes out of one step: what it did, in words if they are asked for, and the promises it broke.
type Pass struct {
	Broken []Broken
	Words  *strings.Builder
	// late steps rest on a decision that was made earlier.
	late bool
}

func (p *Pass) say(format string, args ...any) {
	if p.Words != nil {
		fmt.Fprintf(p.Words, "; "+format, args...)
	}
}

// Cut says how a pass of the operator ends.
type Cut struct {
	// After is the number of writes, if it ends early; the status is the first one.
	After int
	Early bool
	// Unready is whether kubelets have not reported ready yet what serves.
	Unready bool
	// Late is whether what disrupts is carried out later.
	Late bool
}

// operate is one pass of the operator. It says whether the pass was possible, and wrote anything.
func (w *World) operate(s *State, cut Cut, p *Pass) bool {
	cluster := s.Live.Cluster
	if s.Stale {
		cluster = s.Seen.Cluster
	}
	if !cluster.Exists {
		return false
	}
	v := w.decide(s, cut.Unready)
	reports := v.id != cluster.RecordedID || v.founders != cluster.RecordedFounders
	never := v.disruptive == nil || isRecreate(v.disruptive) || s.Late.Kind != NotLate
	if cut.Early && cut.After >= writes(v, reports) || cut.Late && never {
		return false
	}
	for _, broken := range v.broken {
		p.broke(broken.Promise, "%s", broken.Why)
	}
	left := cut.After
	if reports {
		if cut.Early && left == 0 {
			return false
		}
		left--
		if s.Stale && !s.SameCluster {
			p.say("its status write conflicts")
			return true
		}
		p.say("records cluster %q and founders %v", clusterID(v.id), w.founders(v.founders))
		s.Live.Cluster.RecordedID, s.Live.Cluster.RecordedFounders = v.id, v.founders
		s.SameCluster = false
	}
	refused := false
	for _, action := range v.actions {
		if cut.Early && left == 0 {
			return true
		}
		left--
		done := w.act(s, cluster, action, p)
		p.say("%s", describe(action, done))
		refused = refused || !done
	}
	if v.disruptive == nil || refused || cut.Early && left == 0 && !isRecreate(v.disruptive) {
		return true
	}
	if cut.Late {
		w.postpone(s, v.disruptive)
		p.say("is held up before %s", describe(v.disruptive, true))
		return true
	}
	if cut.Early {
		recreate, _ := v.disruptive.(core.RecreateMember)
		w.recreate(s, recreate, true, p)
		p.say("ends in the middle of %s", describe(v.disruptive, true))
		return true
	}
	done := w.act(s, cluster, v.disruptive, p)
	p.say("%s", describe(v.disruptive, done))
	return true
}

// writes counts the points at which a pass can be cut off.
func writes(v *verdict, reports bool) int {
	n := len(v.actions)
	if reports {
		n++
	}
	if v.disruptive != nil {
		n++
	}
	return n
}

func isRecreate(action core.Action) bool {
	_, is := action.(core.RecreateMember)
	return is
}

func describe(action core.Action, done bool) string {
	words := action.Step()
	switch a := action.(type) {
	case core.ApplyMember:
		words = fmt.Sprintf("applies %s to found a cluster of %s", a.Member, strings.Join(a.BootstrapMembers, ","))
		if a.Start == core.StartSealed {
			words = "applies " + a.Member + " sealed"
		}
		if a.Retry != 0 {
			words += " and nudges it"
		}
	case core.MarkVolumes:
		words = fmt.Sprintf("marks the claim of %s with %q", a.Member, slices.MaxFunc(a.Volumes, byID).ClusterID)
	case core.RestartMember:
		words = fmt.Sprintf("restarts %s (needs %d others)", a.Member, a.Needs)
	case core.MoveLeader:
		words = fmt.Sprintf("moves the leadership from %s to %s", a.From, a.To)
	case core.RecreateMember:
		words = "deletes StatefulSet and claim of " + a.Member
	}
	if !done {
		words += " (refused by a precondition)"
	}
	return words
}

func byID(a, b core.Volume) int { return strings.Compare(a.ClusterID, b.ClusterID) }
