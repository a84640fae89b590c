package restores

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// world is a small Kubernetes around Decide: members stop and start as they are let, agents do what they are for, and what must
// never happen is checked after each step.
type world struct {
	*testing.T
	Observation
	// volumes is what each member's volume holds, and aside what was moved aside there: IDs of etcd clusters.
	volumes, aside map[string]string
	running        bool
	// fails has the agents that fail, with what they say; differs is whether comparisons fail since the data is another.
	fails            map[Kind]string
	differs          bool
	phases, messages []string
	gone             bool
	// target is what the check says.
	target int64
}

const (
	before = "aaaa"
	after  = "bbbb"
)

func newWorld(t *testing.T, change func(*Observation)) *world {
	t.Helper()
	w := &world{T: t, running: true, volumes: map[string]string{}, aside: map[string]string{}, fails: map[Kind]string{}, Observation: Observation{
		Now: time.Date(2026, 3, 1, 3, 15, 0, 0, time.UTC), Name: "undo", Generation: 1, Completion: Automatic, CheckWanted: true, SafetyWanted: true,
		Cluster:   Cluster{Exists: true, ClusterID: before, Members: []string{"demo-0", "demo-1", "demo-2"}, Serves: true, Available: true},
		TrialTook: 14 * time.Second,
		Claims:    map[string]Claim{}, Agents: map[AgentKey]Agent{}, Safety: Safety{Name: "undo-safety"},
	}}
	if change != nil {
		change(&w.Observation)
	}
	for _, member := range w.Cluster.Members {
		if w.Cluster.Begins {
			w.Claims[member] = Claim{Missing: true}
			continue
		}
		w.volumes[member], w.Claims[member] = before, Claim{ClusterID: before}
	}
	if w.Cluster.Begins {
		w.running, w.CheckWanted = false, false
	}
	return w
}

// step decides once and lets it happen.
func (w *world) step() Decision {
	w.Helper()
	w.settleCluster()
	d := Decide(w.Observation)
	w.Now = w.Now.Add(max(d.LookAgain, time.Second))
	if d.Report.Phase != w.Recorded.Phase {
		w.phases = append(w.phases, d.Report.Phase)
	}
	w.Recorded = d.Report
	w.messages = append(w.messages, d.Report.Phase+": "+d.Report.Condition.Message)
	for _, action := range d.Actions {
		w.do(action)
	}
	w.work()
	return d
}

// settleCluster is what the core of clusters does: who is held stops, who is not starts.
func (w *world) settleCluster() {
	c := &w.Cluster
	if c.Begins && c.Restored != "" {
		c.Begins = c.Restored == core.Unsettled
	}
	w.running = c.Holder == "" && !c.Begins
	c.Stopped, c.Serves, c.Available = !w.running, w.running, w.running
	if !w.running {
		return
	}
	if c.Restored != "" {
		c.ClusterID = c.Restored
	}
	if _, aside := w.aside[w.Cluster.Members[0]]; aside && c.Rests != w.Name {
		w.Errorf("what the restore rests on is carried out in %s", w.Recorded.Phase)
	}
	for member, data := range w.volumes {
		if data != c.ClusterID {
			w.Errorf("%s runs on the data of %s, the cluster is %s", member, data, c.ClusterID)
		}
		if mark := w.Claims[member].ClusterID; mark != c.ClusterID {
			w.Errorf("%s runs, and its claim says %q instead of %s", member, mark, c.ClusterID)
		}
	}
}

func (w *world) do(action Action) {
	w.Helper()
	switch a := action.(type) {
	case Keep:
		w.Held = true
	case Release:
		w.Held, w.gone = false, w.Deleting
	case BackUp:
		w.Safety.Exists, w.Safety.Complete = true, true
	case Hold:
		w.Cluster.Holder, w.Cluster.Rests = w.Name, w.Name
	case Settle:
		if !Over(w.Recorded.Phase) {
			w.Errorf("the spec is carried out in %s", w.Recorded.Phase)
		}
		w.Cluster.Rests = ""
	case LetGo:
		w.Cluster.Holder, w.Cluster.Restored, w.Cluster.Rests = "", a.ClusterID, ""
		if a.Rests {
			w.Cluster.Rests = w.Name
		}
		if a.ClusterID == core.Unsettled {
			w.Cluster.Begins, w.Cluster.ClusterID = true, ""
		}
	case MakeClaims:
		w.Claims[a.Member] = Claim{}
		w.volumes[a.Member] = ""
	case MarkClaims:
		w.Claims[a.Member] = Claim{ClusterID: a.ClusterID}
	case StartAgent:
		if w.running && (a.Kind == Fill || a.Kind == RollBack) {
			w.Errorf("%s is started while members run", a.Kind)
		}
		w.Agents[a.AgentKey] = Agent{Exists: true}
	case RemoveAgent:
		delete(w.Agents, a.AgentKey)
	}
}

// work lets agents end.
func (w *world) work() {
	w.Helper()
	for key, agent := range w.Agents {
		if agent.Ended || agent.Foreign {
			continue
		}
		agent.Ended = true
		if trouble := w.fails[key.Kind]; trouble != "" {
			agent.Failed, agent.Trouble, agent.Differs = true, trouble, key.Kind == Compare && w.differs
			w.Agents[key] = agent
			continue
		}
		member := ""
		if key.Index < len(w.Recorded.Members) {
			member = w.Recorded.Members[key.Index]
		}
		switch key.Kind {
		case Check:
			agent.Checked = &Checked{Target: w.target}
		case Fill:
			if w.volumes[member] != after {
				w.aside[member], w.volumes[member] = w.volumes[member], after
			}
			agent.Filled = &Filled{ClusterID: after, Revision: 42, Keys: 7, Digest: "d"}
		case RollBack:
			if old, moved := w.aside[member]; moved {
				w.volumes[member] = old
				delete(w.aside, member)
			}
		case Confirm:
			delete(w.aside, member)
		case Compare:
		}
		w.Agents[key] = agent
	}
}

// said is whether it was said in a phase, at the beginning of a message.
func (w *world) said(phase, words string) bool {
	return slices.ContainsFunc(w.messages, func(message string) bool { return strings.HasPrefix(message, phase+": "+words) })
}

// settle steps until nothing changes any more.
func (w *world) settle() {
	w.Helper()
	for range 100 {
		seen := fmt.Sprintf("%+v %+v %+v", w.Recorded, w.Agents, w.Cluster)
		d := w.step()
		if w.gone || len(d.Actions) == 0 && seen == fmt.Sprintf("%+v %+v %+v", w.Recorded, w.Agents, w.Cluster) {
			return
		}
	}
	w.Fatalf("it goes on for ever: %+v", w.Recorded)
}

func (w *world) ends(phase string, data string, words ...string) {
	w.Helper()
	w.settle()
	if w.Recorded.Phase != phase {
		w.Errorf("the phase is %s (%s), want %s; it was %v", w.Recorded.Phase, w.Recorded.Condition.Message, phase, w.phases)
	}
	for _, word := range words {
		if !strings.Contains(w.Recorded.Condition.Message, word) {
			w.Errorf("%q lacks %q", w.Recorded.Condition.Message, word)
		}
	}
	for member, has := range w.volumes {
		if has != data {
			w.Errorf("the volume of %s has the data of %q, want %q", member, has, data)
		}
	}
	if over := slices.Contains([]string{Completed, RolledBack, Failed}, phase); over && (w.Held || w.Cluster.Holder != "" || w.Cluster.Rests != "") {
		w.Errorf("it is over, and holds on: %+v", w.Cluster)
	}
}

// What is latest is found out once, and by another agent if what the first one said is lost.
func TestLatest(t *testing.T) {
	w := newWorld(t, func(o *Observation) { o.Cluster.Begins, o.Cluster.ClusterID = true, "" })
	w.CheckWanted = true
	for range 10 {
		w.step()
		if agent, there := w.Agents[AgentKey{Kind: Check}]; there && agent.Ended {
			agent.Checked = nil
			w.Agents[AgentKey{Kind: Check}] = agent
			break
		}
	}
	if d := w.step(); len(w.Agents) > 0 || len(d.Actions) != 1 || w.Recorded.Phase != Checking {
		t.Errorf("%+v, %+v", d.Actions, w.Agents)
	}
	w.target = 41
	w.ends(Completed, after)
	if w.Recorded.Target != 41 || len(w.Agents) > 0 {
		t.Errorf("%+v, %+v", w.Recorded, w.Agents)
	}
}

func TestInPlace(t *testing.T) {
	w := newWorld(t, nil)
	w.ends(Completed, after, "7 keys at revision 42")
	if want := "[Pending Checking BackingUp Stopping Filling Starting Comparing Restored Confirming Completed]"; fmt.Sprint(w.phases) != want {
		t.Errorf("%v, want %s", w.phases, want)
	}
	if says := w.said(Filling, "0 of 3 volumes are filled (a trial of the backup took 14s); "); !says {
		t.Errorf("it is not told how long it may take: %v", w.messages)
	}
	if len(w.aside) > 0 || len(w.Agents) > 0 || !w.running || w.Recorded.EarlierID != before || w.Recorded.ClusterID != after {
		t.Errorf("aside %v, agents %v, %+v", w.aside, w.Agents, w.Recorded)
	}
}

func TestANewCluster(t *testing.T) {
	w := newWorld(t, func(o *Observation) {
		o.Cluster.Begins, o.Cluster.ClusterID, o.Cluster.Serves, o.SafetyWanted = true, "", false, false
	})
	w.ends(Completed, after)
	if want := "[Pending Filling Starting Comparing Restored Confirming Completed]"; fmt.Sprint(w.phases) != want {
		t.Errorf("%v, want %s", w.phases, want)
	}
}

// Whatever fails before the data was compared, the cluster has what it had.
func TestFailures(t *testing.T) {
	for kind, trouble := range map[Kind]string{Fill: "the bucket is away", Compare: "it has other keys"} {
		w := newWorld(t, nil)
		w.fails[kind], w.differs = trouble, true
		w.ends(RolledBack, before, trouble, "the cluster has what it had")
		if !w.running || w.Cluster.ClusterID != before {
			t.Errorf("%s: %+v", kind, w.Cluster)
		}
	}
	w := newWorld(t, func(o *Observation) {
		o.Cluster.Begins, o.Cluster.ClusterID, o.Cluster.Serves, o.SafetyWanted = true, "", false, false
	})
	w.fails[Fill] = "the bucket is away"
	w.ends(Failed, "", "the bucket is away — the cluster waits for its first data")
	if w.Cluster.Restored != "" || w.running {
		t.Errorf("a cluster without data runs: %+v", w.Cluster)
	}
	// What cannot be rolled back, or deleted, is tried again.
	for _, c := range []struct {
		kind       Kind
		completion Completion
		phase      string
	}{{RollBack, RollItBack, RollingBack}, {Confirm, Automatic, Confirming}} {
		w := newWorld(t, func(o *Observation) { o.Completion = Manual })
		w.ends(Restored, after)
		w.fails[c.kind] = "the node is away"
		w.Completion = c.completion
		told := false
		for range 20 {
			told = strings.Contains(w.step().Report.Condition.Message, "the node is away") || told
		}
		if w.Recorded.Phase != c.phase || !told {
			t.Errorf("%s: %+v", c.kind, w.Recorded)
		}
		delete(w.fails, c.kind)
		want := map[Kind]string{RollBack: before, Confirm: after}[c.kind]
		w.ends(map[Kind]string{RollBack: RolledBack, Confirm: Completed}[c.kind], want)
	}
}

// It can be rolled back, by the spec or by deleting it, at each of its steps until it is confirmed, and always ends with one or the other.
func TestRollBackAtEveryStep(t *testing.T) {
	for _, how := range []string{"by the spec", "by deletion"} {
		for n := range 30 {
			w := newWorld(t, func(o *Observation) { o.Completion = Manual })
			for range n {
				w.step()
			}
			phase := w.Recorded.Phase
			if how == "by deletion" {
				w.Deleting = true
			} else {
				w.Completion = RollItBack
			}
			w.settle()
			for member, data := range w.volumes {
				if data != before {
					t.Errorf("%s after %d steps, in %s: the volume of %s has the data of %s", how, n, phase, member, data)
				}
			}
			if !w.running || w.Cluster.ClusterID != before || how == "by deletion" && !w.gone {
				t.Errorf("%s after %d steps, in %s: %+v, gone %v", how, n, phase, w.Cluster, w.gone)
			}
		}
	}
}

func TestWhatIsWaitedForAndRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Observation)
		phase  string
		says   string
	}{
		"no cluster":             {func(o *Observation) { o.Cluster = Cluster{} }, Pending, "does not exist"},
		"a cluster that goes":    {func(o *Observation) { o.Cluster.Deleting = true }, Failed, "is being deleted"},
		"in memory":              {func(o *Observation) { o.Cluster.InMemory = true }, Failed, "spec.storage.medium Disk"},
		"a backup not complete":  {func(o *Observation) { o.Backup = core.Problem{Reason: "x", Message: "it is not complete"} }, Pending, "it is not complete"},
		"a backup that is wrong": {func(o *Observation) { o.Refused = core.Problem{Reason: "x", Message: "choose another one"} }, Failed, "choose another one"},
		"another restore":        {func(o *Observation) { o.Cluster.Holder = "other" }, Pending, "EtcdRestore other holds the cluster"},
		"one that comes first":   {func(o *Observation) { o.Ahead = core.Problem{Reason: "x", Message: "the other is not over"} }, Pending, "the other is not over"},
		"other data on its way":  {func(o *Observation) { o.Cluster.Restored = after }, Pending, "is not yet that of the data"},
		"paused":                 {func(o *Observation) { o.Cluster.Paused = true }, Pending, "spec.paused"},
		"not formed":             {func(o *Observation) { o.Cluster.ClusterID = "" }, Pending, "spec.bootstrap"},
		"no members":             {func(o *Observation) { o.Cluster.Members = nil }, Pending, "spec.size"},
		"rolled back at once":    {func(o *Observation) { o.Completion = RollItBack }, Failed, "before anything was restored"},
		"a safety backup's name": {func(o *Observation) { o.CheckWanted, o.Safety.Exists, o.Safety.Foreign = false, true, true }, Failed, "EtcdBackup undo-safety exists"},
		"a safety backup fails": {func(o *Observation) {
			o.CheckWanted, o.Safety.Exists, o.Safety.Failed, o.Safety.Says = false, true, true, "no room"
		}, Failed, "nothing was touched: no room"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.change)
			held := w.Cluster.Holder
			for range 5 {
				d := Decide(w.Observation)
				w.Recorded = d.Report
				for _, action := range d.Actions {
					switch action.(type) {
					case Keep, Release:
						w.do(action)
					default:
						t.Errorf("%T is done", action)
					}
				}
			}
			if w.Recorded.Phase != c.phase || !strings.Contains(w.Recorded.Condition.Message, c.says) || w.Cluster.Holder != held {
				t.Errorf("%s: %s", w.Recorded.Phase, w.Recorded.Condition.Message)
			}
		})
	}
	// What cannot be restored is found out while the cluster serves.
	for name, change := range map[string]func(*world){
		"nothing was touched: it is damaged":               func(w *world) { w.fails[Check] = "it is damaged" },
		"nothing was touched: Job undo-check-0 exists and": func(w *world) { w.Agents[AgentKey{Kind: Check}] = Agent{Exists: true, Foreign: true} },
	} {
		w := newWorld(t, nil)
		change(w)
		w.ends(Failed, before, name)
		if want := "[Pending Checking Failed]"; fmt.Sprint(w.phases) != want || !w.running {
			t.Errorf("%v, want %s", w.phases, want)
		}
	}
	// Without a quorum there is no safety backup, and without one no restore, unless it is waived.
	w := newWorld(t, func(o *Observation) { o.SafetyWanted = false })
	w.ends(Completed, after)
}

// What is held is what the cluster is by then: who has joined since the restore began is given the data as well, and a cluster that
// another restore has given other data is left alone.
func TestAClusterThatChangesUntilItIsHeld(t *testing.T) {
	until := func(phase string) *world {
		w := newWorld(t, nil)
		for w.Recorded.Phase != phase {
			w.step()
		}
		return w
	}
	w := until(Stopping)
	w.Cluster.Members = append(w.Cluster.Members, "demo-3")
	w.volumes["demo-3"], w.Claims["demo-3"] = before, Claim{ClusterID: before}
	w.ends(Completed, after)

	const others = "cccc"
	w = until(BackingUp)
	w.Cluster.ClusterID = others
	for _, member := range w.Cluster.Members {
		w.volumes[member], w.Claims[member] = others, Claim{ClusterID: others}
	}
	w.ends(Failed, others, "nothing was touched", "make it again")
}

// TestNotOver: what to do about a restore that is in the way depends on how far it is.
func TestNotOver(t *testing.T) {
	for phase, want := range map[string]string{
		"":          "EtcdRestore undo into EtcdCluster demo is not over (Pending): wait until it is, or delete it",
		Filling:     "EtcdRestore undo into EtcdCluster demo is not over (Filling): wait until it is, or delete it",
		Restored:    "EtcdRestore undo into EtcdCluster demo is not over (Restored): set its spec.completion to Confirm or RollBack",
		RollingBack: "EtcdRestore undo into EtcdCluster demo is not over (RollingBack): wait until it is",
	} {
		if got := NotOver("undo", "demo", phase); got != want {
			t.Errorf("%q: %s", phase, got)
		}
	}
}

// Who lets the cluster go in the midst of it finds it held again before anything is moved.
func TestAClusterThatIsLetGo(t *testing.T) {
	w := newWorld(t, nil)
	for w.Recorded.Phase != Filling {
		w.step()
	}
	w.Cluster.Holder = ""
	w.ends(Completed, after)
}

// Members come and go until they have been stopped. Those are filled that there are then.
func TestMembersThatCome(t *testing.T) {
	w := newWorld(t, nil)
	for w.Recorded.Phase != Stopping {
		w.step()
	}
	w.Cluster.Members = append(w.Cluster.Members, "demo-3")
	w.volumes["demo-3"], w.Claims["demo-3"] = before, Claim{ClusterID: before}
	w.ends(Completed, after)
	if len(w.Recorded.Members) != 4 {
		t.Errorf("filled are %v", w.Recorded.Members)
	}
}

// A status that is not about the data that the cluster has by now says neither what it has, nor who its members are.
func TestAStatusOfBefore(t *testing.T) {
	w := newWorld(t, func(o *Observation) { o.Cluster.Restored = "cccc" })
	w.Held = true
	if d := Decide(w.Observation); d.Report.Phase != Pending || !strings.Contains(d.Report.Condition.Message, "status") {
		t.Errorf("%s: %s", d.Report.Phase, d.Report.Condition.Message)
	}
}

// While volumes are given other data, in either direction, their claims do not say whose they have.
func TestClaimsSayNothingMeanwhile(t *testing.T) {
	w := newWorld(t, func(o *Observation) { o.Completion = Manual })
	check := func() {
		t.Helper()
		for range 60 {
			for _, action := range w.step().Actions {
				start, is := action.(StartAgent)
				if mark := w.Claims[start.Member].ClusterID; is && (start.Kind == Fill || start.Kind == RollBack) && mark != core.Unsettled {
					t.Errorf("%s begins at the volume of %s, whose claim says %q", start.Kind, start.Member, mark)
				}
			}
		}
	}
	check()
	w.Completion = RollItBack
	check()
	w.ends(RolledBack, before)
}

// Two begin at once, and one holds the cluster first. The other one would be rolled back to what is no longer there.
func TestAnotherRestoreWasFirst(t *testing.T) {
	w := newWorld(t, nil)
	for w.Recorded.Phase != Stopping {
		w.step()
	}
	w.Cluster.Holder = "other"
	w.step()
	if w.Recorded.Phase != Stopping || !strings.Contains(w.Recorded.Condition.Message, "EtcdRestore other holds the cluster") {
		t.Errorf("%+v", w.Recorded)
	}
	w.Cluster.Holder, w.Cluster.Restored = "", "cccc"
	for _, member := range w.Cluster.Members {
		w.volumes[member], w.Claims[member] = "cccc", Claim{ClusterID: "cccc"}
	}
	w.ends(Failed, "cccc", "nothing was touched", "make it again")
}

// One that is to be rolled back waits for who holds the cluster.
func TestRollBackWaitsForAnotherRestore(t *testing.T) {
	w := newWorld(t, func(o *Observation) { o.Completion = Manual })
	w.ends(Restored, after)
	w.Cluster.Holder, w.Completion = "other", RollItBack
	for range 5 {
		w.step()
	}
	if started := w.Agents[AgentKey{RollBack, 0}].Exists; w.Recorded.Phase != RollingBack || started || !strings.Contains(w.Recorded.Condition.Message, "EtcdRestore other holds the cluster") {
		t.Errorf("%+v, agents %v", w.Recorded, w.Agents)
	}
	w.Cluster.Holder = ""
	w.ends(RolledBack, before)
}

// The EtcdCluster is deleted and made again, at each step: the new one is none of the restore's.
func TestAnotherCluster(t *testing.T) {
	for n := range 30 {
		w := newWorld(t, func(o *Observation) { o.Completion, o.Cluster.UID = Manual, "first" })
		for i := range n {
			if i == 20 {
				w.Completion = RollItBack
			}
			w.step()
		}
		phase := w.Recorded.Phase
		if phase == "" || phase == Pending || Over(phase) {
			continue
		}
		w.Cluster.UID, w.Cluster.Holder, w.Cluster.Restored, w.Cluster.ClusterID = "second", "", "", "cccc"
		for range 5 {
			d := Decide(w.Observation)
			w.Recorded = d.Report
			for _, action := range d.Actions {
				switch action.(type) {
				case Release, RemoveAgent:
					w.do(action)
				default:
					t.Errorf("in %s: %T is done to another cluster", phase, action)
				}
			}
		}
		if w.Recorded.Phase != Failed || w.Held || !strings.Contains(w.Recorded.Condition.Message, "another one of its name") {
			t.Errorf("in %s: %+v", phase, w.Recorded)
		}
	}
}

// newCluster is a world in which a cluster begins with a backup.
func newCluster(t *testing.T) *world {
	t.Helper()
	return newWorld(t, func(o *Observation) {
		o.Cluster.Begins, o.Cluster.ClusterID, o.Cluster.Serves, o.SafetyWanted = true, "", false, false
	})
}

// A comparison that cannot be made is no verdict: it is tried again, and nothing is given back. Who knows better can confirm meanwhile.
func TestAComparisonThatCannotBeMade(t *testing.T) {
	for name, of := range map[string]func(*testing.T) *world{"in place": func(t *testing.T) *world { return newWorld(t, nil) }, "a new cluster": newCluster} {
		for _, completion := range []Completion{Automatic, Manual, ConfirmNow} {
			t.Run(fmt.Sprint(name, " ", completion), func(t *testing.T) {
				w := of(t)
				w.fails[Compare], w.Completion = "no member can be reached", completion
				tries := 0
				for range 40 {
					for _, action := range w.step().Actions {
						if start, is := action.(StartAgent); is && start.Kind == Compare {
							tries++
						}
					}
				}
				if completion == ConfirmNow {
					w.ends(Completed, after)
					return
				}
				if want := "the cluster serves; what it has could not be compared, which is tried again: no member can be reached"; w.Recorded.Phase != Comparing || tries < 3 || !w.running || w.Recorded.Condition.Message != want {
					t.Errorf("%d tries, %+v", tries, w.Recorded)
				}
				delete(w.fails, Compare)
				w.ends(map[Completion]string{Automatic: Completed, Manual: Restored}[completion], after)
			})
		}
	}
}

// A new cluster with other data than its backup's does not run, whatever becomes of the agent that has found it out, until somebody says
// what is to become of it.
func TestANewClusterWithOtherData(t *testing.T) {
	const verdict = "it has other keys"
	withheld := func(t *testing.T) *world {
		w := newCluster(t)
		w.fails[Compare], w.differs = verdict, true
		w.ends(Comparing, after, verdict+" — so that no member runs: set spec.completion to RollBack, or delete this object, to have the volumes filled anew, or set it to Confirm if you know better")
		delete(w.Agents, AgentKey{Kind: Compare})
		delete(w.fails, Compare)
		w.ends(Comparing, after, verdict)
		if w.running || w.Cluster.Holder != w.Name || w.Recorded.Condition.Reason != ReasonFailed || len(w.Agents) > 0 {
			t.Errorf("it runs: %v; %+v, agents %v", w.running, w.Recorded, w.Agents)
		}
		return w
	}
	t.Run("it is confirmed", func(t *testing.T) {
		w := withheld(t)
		w.Completion = ConfirmNow
		w.ends(Completed, after)
		if !w.running {
			t.Error("no member runs")
		}
	})
	for how, say := range map[string]func(w *world){
		"it is rolled back": func(w *world) { w.Completion = RollItBack },
		"it is deleted":     func(w *world) { w.Deleting = true },
	} {
		t.Run(how, func(t *testing.T) {
			w := withheld(t)
			say(w)
			w.ends(Failed, after, " — the cluster waits for its first data")
			if w.running || !w.Cluster.Begins || w.Cluster.Restored != core.Unsettled || w.Deleting != w.gone {
				t.Errorf("it runs: %v; %+v, gone %v", w.running, w.Cluster, w.gone)
			}
			for member, claim := range w.Claims {
				if claim.ClusterID != core.Unsettled {
					t.Errorf("the claim of %s says %q", member, claim.ClusterID)
				}
			}
			// The next one fills the volumes again. What it finds there is nothing to go back to.
			next := newCluster(t)
			next.Cluster, next.Claims, next.Name = w.Cluster, w.Claims, "next"
			for member := range next.volumes {
				next.volumes[member] = "bad"
			}
			next.ends(Completed, after)
			if next.Recorded.EarlierID != "" || next.aside["demo-0"] != "" {
				t.Errorf("%+v, aside %v", next.Recorded, next.aside)
			}
		})
	}
}

// A new cluster that runs may have what clients have written: it goes on, although its EtcdRestore is deleted, and so does the comparison.
func TestADeletionWhileANewClusterRuns(t *testing.T) {
	for _, phase := range []string{Starting, Comparing, Restored} {
		w := newCluster(t)
		for w.Recorded.Phase != phase {
			w.step()
		}
		for w.Cluster.Restored == "" {
			w.step()
		}
		w.settleCluster()
		w.Deleting = true
		w.ends(Completed, after)
		if !w.running || !w.gone || w.Cluster.Restored != after {
			t.Errorf("in %s: it runs: %v; %+v, gone %v", phase, w.running, w.Cluster, w.gone)
		}
	}
	w := newCluster(t)
	for w.Recorded.Phase != Filling {
		w.step()
	}
	w.Deleting = true
	w.ends(Failed, "")
}

// How much was read is that of all agents of the phase. It stays while none is heard, and goes with the phase.
func TestHowFarItIs(t *testing.T) {
	check, fill := AgentKey{Kind: Check}, func(i int) AgentKey { return AgentKey{Fill, i} }
	runs := func(read int64) Agent { return Agent{Exists: true, Read: read, Total: 100} }
	silent, done := Agent{Exists: true}, Agent{Exists: true, Ended: true, Filled: &Filled{ClusterID: after}}
	for name, c := range map[string]struct {
		phase       string
		agents      map[AgentKey]Agent
		read, total int64
	}{
		"checking":             {Checking, map[AgentKey]Agent{check: runs(30)}, 30, 100},
		"not heard":            {Checking, map[AgentKey]Agent{check: silent}, 7, 300},
		"filling":              {Filling, map[AgentKey]Agent{check: done, fill(0): runs(30), fill(1): runs(50), fill(2): silent}, 80, 300},
		"one is filled":        {Filling, map[AgentKey]Agent{fill(0): done, fill(1): runs(50), fill(2): runs(60)}, 210, 300},
		"one has failed":       {Filling, map[AgentKey]Agent{fill(0): {Exists: true, Ended: true, Failed: true}, fill(1): runs(50)}, 0, 0},
		"nothing is read then": {Starting, map[AgentKey]Agent{fill(0): runs(30)}, 0, 0},
		"a phase ends":         {Checking, map[AgentKey]Agent{check: {Exists: true, Ended: true, Checked: &Checked{}}}, 0, 0},
	} {
		w := newWorld(t, nil)
		w.Held, w.Recorded.Phase, w.Recorded.Members, w.Recorded.Read, w.Recorded.Total = true, c.phase, w.Cluster.Members, 7, 300
		w.Cluster.Holder, w.Cluster.Stopped, w.Recorded.EarlierID, w.Agents = w.Name, true, before, c.agents
		for member := range w.Claims {
			w.Claims[member] = Claim{ClusterID: core.Unsettled}
		}
		if r := Decide(w.Observation).Report; r.Read != c.read || r.Total != c.total {
			t.Errorf("%s: in %s %d of %d are read, want %d of %d", name, r.Phase, r.Read, r.Total, c.read, c.total)
		}
	}
}
