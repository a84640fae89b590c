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
	// record is what the status is to say.
	record Record
	// next is what members are given.
	next Heading
	// available, progressing and degraded are the conditions of the report.
	available, progressing, degraded core.Condition
	broken                           []Broken
}

// decide is core.Decide of a state, with a memory.
func (w *World) decide(s *State, unready bool) *verdict {
	view := w.view(s, unready)
	key := w.pack(&view)
	if known := w.Operator.verdicts[key]; known != nil {
		return known
	}
	o := w.observation(&view)
	decision := w.Operator.Decide(o)
	v := &verdict{actions: decision.Actions, broken: checkDecision(o, decision), record: recordOf(decision.Report)}
	if w.Minor != 0 && o.Cluster.Spec.Version != "" {
		v.record.Versions = versionsOf(decision.Report)
	}
	v.next = w.heading(&view)
	v.available, v.degraded = conditionOf(decision.Report, core.Available), conditionOf(decision.Report, core.Degraded)
	v.progressing = conditionOf(decision.Report, core.Progressing)
	v.record.Available = w.Restores > 0 && v.available.Status == core.True
	if n := len(v.actions); n > 0 && v.actions[n-1].Disruptive() {
		v.actions, v.disruptive = v.actions[:n-1], v.actions[n-1]
	}
	w.Operator.verdicts[key] = v
	return v
}

// recordOf is what the model keeps of a report.
func recordOf(report core.Report) Record {
	record := Record{
		ID: idOf(report.ClusterID), Founders: mask(report.BootstrapMembers),
		Next: uint8(report.NextOrdinal), Count: uint8(report.MemberCount),
	}
	for _, m := range report.Members {
		record.Members |= 1 << memberOf(m.Name)
	}
	switch progressing := conditionOf(report, core.Progressing); progressing.Reason {
	case core.ReasonRollingOut, core.ReasonDowngrading:
		if progressing.Status == core.True {
			record.Doing = Rolling
		}
	case core.ReasonHibernated:
		record.Doing = Hibernated
	case core.ReasonWaking:
		record.Doing = Waking
	case core.ReasonRestoring:
		record.Doing = BeingRestored
	default:
	}
	return record
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
func mask(names []string) Set {
	var set Set
	for _, name := range names {
		set |= 1 << memberOf(name)
	}
	return set
}

func memberOf(name string) int {
	m := slices.Index(names[:], name)
	if m < 0 {
		panic(fmt.Sprintf("the core named a member %q, which the model does not have", name))
	}
	return m
}

// byIDs is a set of members by ID.
func byIDs(ids []string) Set {
	var set Set
	for _, id := range ids {
		set |= 1 << ordinalOf(id)
	}
	return set
}

func ordinalOf(id string) uint8 {
	var m, cluster uint8
	if _, err := fmt.Sscanf(id, "m%d.%d", &m, &cluster); err != nil {
		panic(fmt.Sprintf("the core named the member ID %q, which the model does not have", id))
	}
	return m
}

func idOf(cluster string) uint8 {
	if cluster == core.Unsettled {
		return unsettled
	}
	var id uint8
	if _, err := fmt.Sscanf(cluster, "c%d", &id); err != nil && cluster != "" {
		panic(fmt.Sprintf("the core named the cluster ID %q, which the model does not have", cluster))
	}
	return id
}

// Pass is what comes out of one step: what it did, in words if they are asked for, and the promises it broke.
type Pass struct {
	Broken []Broken
	Words  *strings.Builder
	// late steps rest on a decision that was made earlier, stale ones on an old view, of this EtcdCluster.
	late, stale bool
	seen        Cluster
	// next is what members are given.
	next Heading
	// beyond is whether the step leads out of the model.
	beyond bool
	// changes are those of the member list.
	changes []string
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
	found := cluster.asRestored()
	cluster = w.resting(cluster)
	v := w.decide(s, cut.Unready)
	reports := v.record != cluster.Status
	never := v.disruptive == nil || isRecreate(v.disruptive) || s.Late.Kind != NotLate
	if cut.Early && cut.After >= writes(v, reports) || cut.Late && never {
		return false
	}
	p.seen, p.stale, p.next = found, s.Stale, v.next
	p.Broken = append(p.Broken, v.broken...)
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
		p.say("records %s", v.record)
		w.heal(s, v.record)
		s.Live.Cluster.Status = v.record
		s.touched()
	}
	refused := false
	for _, action := range v.actions {
		if cut.Early && left == 0 {
			return true
		}
		if cut.Early && left < parts(action) {
			w.begin(s, cluster, action, left, p)
			p.say("ends in the middle of %s", describe(action, true))
			return true
		}
		left -= parts(action)
		done := w.act(s, cluster, action, p)
		p.say("%s", describe(action, done))
		refused = refused || !done
	}
	if v.disruptive == nil || refused || cut.Early && left == 0 && !hasMiddle(v.disruptive) {
		return true
	}
	if cut.Late {
		s.Late = order(v.disruptive, p)
		s.Late.Same = s.Late.Same || s.Late.Kind.about() == 0
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
	if done && (isAdd(v.disruptive) || isRemove(v.disruptive)) {
		p.changes = append(p.changes, describe(v.disruptive, true))
	}
	return true
}
