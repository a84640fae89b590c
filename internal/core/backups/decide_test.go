package backups

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

var now = time.Date(2026, 3, 1, 3, 15, 0, 0, time.UTC)

// world is a small Kubernetes around Decide: what is decided happens, and agents end as a test wants.
type world struct {
	Observation
	// started counts the agents that were started.
	started map[Kind]int
	gone    bool
	events  []string
}

func newWorld(change func(*Observation)) *world {
	w := &world{started: map[Kind]int{}, Observation: Observation{
		Now: now, Name: "nightly", Generation: 1, Verify: true, Path: "default/demo/1b4e/nightly-0", Agents: map[Kind]Agent{},
	}}
	if change != nil {
		change(&w.Observation)
	}
	return w
}

// step decides once, and lets it happen.
func (w *world) step() Decision {
	d := Decide(w.Observation)
	w.Now = w.Now.Add(max(d.LookAgain, time.Second))
	for _, e := range d.Events {
		w.events = append(w.events, string(e.Reason))
	}
	w.Recorded = d.Report
	for _, action := range d.Actions {
		switch a := action.(type) {
		case Hold:
			w.Held = true
		case Release:
			w.Held, w.gone = false, w.Deleting
		case StartAgent:
			w.started[a.Kind]++
			w.Agents[a.Kind] = Agent{Exists: true}
		case RemoveAgent:
			delete(w.Agents, a.Kind)
		}
	}
	return d
}

// settle steps until nothing is done any more.
func (w *world) settle(t *testing.T) Decision {
	t.Helper()
	for range 50 {
		before := fmt.Sprintf("%+v %+v", w.Recorded, w.Agents)
		d := w.step()
		if tried := w.Recorded.Condition(Verified); w.Recorded.Phase == PhaseCompleted && slices.Contains([]core.Reason{ReasonNotComplete, ReasonRunning}, tried.Reason) {
			t.Errorf("it is completed, and whether it is good is not known yet: %+v", tried)
		}
		if w.gone || len(d.Actions) == 0 && before == fmt.Sprintf("%+v %+v", w.Recorded, w.Agents) {
			return d
		}
	}
	t.Fatalf("it goes on for ever: %+v", w.Recorded)
	return Decision{}
}

func (w *world) ends(kind Kind, agent Agent) {
	agent.Exists, agent.Ended, agent.EndedAt = true, true, w.Now
	w.Agents[kind] = agent
}

func (w *world) is(t *testing.T, phase string, complete, verified core.Truth, words ...string) {
	t.Helper()
	c, v := w.Recorded.Condition(Complete), w.Recorded.Condition(Verified)
	if w.Recorded.Phase != phase || c.Status != complete || v.Status != verified {
		t.Errorf("phase %s, complete %+v, verified %+v; want %s, %s, %s", w.Recorded.Phase, c, v, phase, complete, verified)
	}
	for _, word := range words {
		if !strings.Contains(c.Message+"\n"+v.Message, word) {
			t.Errorf("neither %q nor %q has %q", c.Message, v.Message, word)
		}
	}
}

var stored = &Stored{Ended: now, Member: "demo-1", Version: "3.6.16", Revision: 42, Keys: 7, Size: 3 << 20, StoredSize: 1 << 20}

// taken is a backup that is complete, and about to be tried out if that is wanted.
func taken(t *testing.T, change func(*Observation)) *world {
	t.Helper()
	w := newWorld(change)
	w.settle(t)
	kind := Backup
	if w.Adopted {
		kind = Inspect
	}
	w.ends(kind, Agent{Stored: stored})
	w.settle(t)
	return w
}

func TestABackupIsMadeAndTriedOut(t *testing.T) {
	w := newWorld(nil)
	if d := w.step(); !reflect.DeepEqual(d.Actions, []Action{Hold{}}) || w.Recorded.Path != "" {
		t.Fatalf("first of all the object is held: %+v", d)
	}
	if d := w.step(); !reflect.DeepEqual(d.Actions, []Action{StartAgent{Backup}}) || d.Report.Path != w.Path || !d.Report.StartedAt.Equal(w.Recorded.StartedAt) {
		t.Fatalf("where it will be is recorded before anything is there: %+v", d)
	}
	w.settle(t)
	w.is(t, PhaseRunning, core.False, core.Unknown)
	w.ends(Backup, Agent{Stored: stored})
	w.settle(t)
	w.is(t, PhaseVerifying, core.True, core.Unknown, "7 keys at revision 42, from member demo-1 with etcd 3.6.16; 3 MiB, which take 1 MiB")
	if _, there := w.Agents[Backup]; there {
		t.Error("the first agent is left")
	}
	w.ends(Verify, Agent{Took: 2 * time.Second})
	w.settle(t)
	w.is(t, PhaseCompleted, core.True, core.True, "in 2s")
	if len(w.Agents) > 0 || w.started[Backup] != 1 || w.started[Verify] != 1 {
		t.Errorf("agents %+v, started %v", w.Agents, w.started)
	}
	if d := w.step(); d.LookAgain != 0 || !reflect.DeepEqual(d.Report, w.Recorded) {
		t.Errorf("there is nothing to wait for: %+v", d)
	}
	if want := "[AgentRuns Stored AgentRuns Restored]"; fmt.Sprint(w.events) != want {
		t.Errorf("events %v, want %s", w.events, want)
	}
}

func TestWaitsBeforeABackup(t *testing.T) {
	cluster, store := core.Problem{Reason: "ClusterUnavailable", Message: "no voter"}, core.Problem{Reason: "StoreMissing", Message: "no Secret"}
	for name, c := range map[string]struct {
		change func(*Observation)
		says   string
	}{
		"for the cluster":        {func(o *Observation) { o.Cluster = cluster }, "no voter"},
		"for the store":          {func(o *Observation) { o.Store = store }, "no Secret"},
		"for the store, adopted": {func(o *Observation) { o.Store, o.Adopted = store, true }, "no Secret"},
		"for a name": {func(o *Observation) { o.Agents[Backup] = Agent{Exists: true, Foreign: true} },
			"Job nightly-backup exists and is not this backup's"},
	} {
		w := newWorld(c.change)
		d := w.settle(t)
		w.is(t, PhasePending, core.False, core.Unknown, c.says)
		if d.LookAgain == 0 || len(w.started) > 0 || w.Recorded.Path != "" {
			t.Errorf("%s: %+v, started %v", name, d, w.started)
		}
		w.Cluster, w.Store = core.Problem{}, core.Problem{}
		delete(w.Agents, Backup)
		w.settle(t)
		w.is(t, PhaseRunning, core.False, core.Unknown)
	}
	// Who adopts needs no cluster.
	w := newWorld(func(o *Observation) { o.Cluster, o.Adopted = cluster, true })
	w.settle(t)
	if w.started[Inspect] != 1 || w.started[Backup] != 0 {
		t.Errorf("started %v", w.started)
	}
}

func TestABackupThatFails(t *testing.T) {
	w := newWorld(nil)
	w.settle(t)
	w.Agents[Backup] = Agent{Exists: true, Trouble: "the bucket is away"}
	w.settle(t)
	w.is(t, PhaseRunning, core.False, core.Unknown, "the bucket is away")
	w.ends(Backup, Agent{Failed: true, Trouble: "the bucket is still away"})
	w.settle(t)
	w.is(t, PhaseFailed, core.False, core.Unknown, "the bucket is still away")
	delete(w.Agents, Backup)
	w.settle(t)
	if w.started[Backup] != 1 {
		t.Error("a backup that has failed is not made after all: it would be of another moment")
	}
}

// What an agent found out is lost with its pod: it is asked again.
func TestAResultThatIsLost(t *testing.T) {
	w := newWorld(nil)
	w.settle(t)
	w.ends(Backup, Agent{})
	w.settle(t)
	w.is(t, PhaseRunning, core.False, core.Unknown)
	w.ends(Backup, Agent{Stored: stored})
	w.settle(t)
	w.ends(Verify, Agent{})
	w.settle(t)
	w.is(t, PhaseVerifying, core.True, core.Unknown)
	if w.started[Backup] != 2 || w.started[Verify] != 2 {
		t.Errorf("started %v", w.started)
	}
}

func TestTrials(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*Observation)
		agent    *Agent
		verified core.Truth
		reason   core.Reason
	}{
		"not wanted":        {change: func(o *Observation) { o.Verify = false }, verified: core.Unknown, reason: ReasonNotWanted},
		"no key":            {change: func(o *Observation) { o.Encrypted = true }, verified: core.Unknown, reason: ReasonNoIdentity},
		"a key":             {change: func(o *Observation) { o.Encrypted, o.Readable = true, true }, agent: &Agent{Took: 1}, verified: core.True, reason: ReasonVerified},
		"of what is there":  {change: func(o *Observation) { o.Adopted = true }, agent: &Agent{Took: 1}, verified: core.True, reason: ReasonVerified},
		"it is not that":    {agent: &Agent{Failed: true, Differs: true, Trouble: "a bit is wrong"}, verified: core.False, reason: ReasonDiffers},
		"it could not be":   {agent: &Agent{Failed: true, Trouble: "no room"}, verified: core.Unknown, reason: ReasonNotTried},
		"the name is taken": {change: func(o *Observation) { o.Agents[Verify] = Agent{Exists: true, Foreign: true} }, verified: core.Unknown, reason: core.ReasonNameTaken},
	} {
		t.Run(name, func(t *testing.T) {
			w := taken(t, c.change)
			if c.agent != nil {
				w.ends(Verify, *c.agent)
				w.settle(t)
			}
			w.is(t, PhaseCompleted, core.True, c.verified)
			if got := w.Recorded.Condition(Verified).Reason; got != c.reason {
				t.Errorf("the reason is %s, want %s", got, c.reason)
			}
			before := fmt.Sprint(w.started)
			if w.settle(t); fmt.Sprint(w.started) != before {
				t.Errorf("then started %v, before %s", w.started, before)
			}
		})
	}
}

// What could not be tried is tried again when the spec has changed, what differs is not, nor what is verified.
func TestATrialIsRepeatedForAnotherSpec(t *testing.T) {
	for name, c := range map[string]struct {
		agent Agent
		again int
	}{
		"not tried": {Agent{Failed: true}, 2}, "differs": {Agent{Failed: true, Differs: true}, 1}, "verified": {Agent{Took: 1}, 1},
	} {
		w := taken(t, nil)
		w.ends(Verify, c.agent)
		w.settle(t)
		w.Generation++
		w.settle(t)
		if w.started[Verify] != c.again {
			t.Errorf("%s: tried %d times, want %d", name, w.started[Verify], c.again)
		}
	}
	w := taken(t, func(o *Observation) { o.Verify = false })
	w.Verify = true
	w.Generation++
	w.settle(t)
	w.is(t, PhaseVerifying, core.True, core.Unknown)
}

func TestDeletion(t *testing.T) {
	complete := func(t *testing.T) *world {
		w := taken(t, func(o *Observation) { o.Verify = false })
		w.Deleting = true
		return w
	}
	t.Run("with its data", func(t *testing.T) {
		w := complete(t)
		w.settle(t)
		w.is(t, PhaseDeleting, core.True, core.Unknown)
		if w.gone || w.started[Delete] != 1 {
			t.Fatalf("gone %v, started %v", w.gone, w.started)
		}
		w.ends(Delete, Agent{})
		if w.settle(t); !w.gone {
			t.Error("it stays")
		}
	})
	t.Run("its data stays", func(t *testing.T) {
		w := complete(t)
		w.Keep = true
		if w.settle(t); !w.gone || w.started[Delete] != 0 {
			t.Errorf("gone %v, started %v", w.gone, w.started)
		}
	})
	t.Run("nothing was ever written", func(t *testing.T) {
		w := newWorld(func(o *Observation) { o.Store = core.Problem{Reason: "StoreMissing", Message: "none"} })
		w.settle(t)
		w.Deleting = true
		if w.settle(t); !w.gone || w.started[Delete] != 0 {
			t.Errorf("gone %v, started %v", w.gone, w.started)
		}
	})
	t.Run("while an agent runs", func(t *testing.T) {
		w := newWorld(nil)
		w.settle(t)
		w.Deleting = true
		if d := w.step(); !reflect.DeepEqual(d.Actions, []Action{RemoveAgent{Backup}}) {
			t.Fatalf("the agent is ended first: %+v", d.Actions)
		}
		w.Agents[Backup] = Agent{Exists: true, Leaving: true}
		if w.settle(t); w.started[Delete] != 0 {
			t.Error("data is removed while an agent may still write")
		}
		delete(w.Agents, Backup)
		if w.settle(t); w.started[Delete] != 1 || w.gone {
			t.Errorf("started %v, gone %v", w.started, w.gone)
		}
	})
	t.Run("the store is away", func(t *testing.T) {
		w := complete(t)
		w.settle(t)
		w.ends(Delete, Agent{Failed: true, Trouble: "the bucket is away"})
		w.step()
		w.is(t, PhaseDeleting, core.True, core.Unknown, "the bucket is away; to leave the data where it is, set spec.deletionPolicy to Retain")
		for range 20 {
			w.step()
		}
		if w.started[Delete] != 2 || w.gone {
			t.Errorf("started %v, gone %v", w.started, w.gone)
		}
		w.Keep = true
		if w.settle(t); !w.gone {
			t.Error("it stays although its data may")
		}
	})
	t.Run("its Secret is gone", func(t *testing.T) {
		w := complete(t)
		w.Store = core.Problem{Reason: "StoreMissing", Message: "no Secret"}
		w.settle(t)
		w.is(t, PhaseDeleting, core.True, core.Unknown, "no Secret; to leave")
	})
	t.Run("with its namespace", func(t *testing.T) {
		w := complete(t)
		w.NamespaceEnds, w.Store = true, core.Problem{Reason: "StoreMissing", Message: "no Secret"}
		if w.settle(t); !w.gone || w.started[Delete] != 0 || w.events[len(w.events)-1] != string(ReasonDataStays) {
			t.Errorf("gone %v, started %v, events %v", w.gone, w.started, w.events)
		}
	})
	t.Run("of what was never held", func(t *testing.T) {
		w := newWorld(func(o *Observation) { o.Deleting = true })
		if d := w.step(); len(d.Actions) > 0 || len(d.Events) > 0 {
			t.Errorf("%+v", d)
		}
	})
}
