package sim

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"
)

// kind groups steps by what they use up.
type kind uint8

const (
	byEnvironment kind = iota
	byOperator
	byFault
	byUser
	byUserFree
)

// choice is one row of everything that can happen.
type choice struct {
	Step
	kind kind
}

// most is the number of writes of a pass that it can be cut off after.
const most = 16

// mostOfRestore is that of a pass over an EtcdRestore.
const mostOfRestore = 6

// choices is everything that can happen, in the order in which it is tried.
func choices() []choice {
	var all []choice
	add := func(k kind, steps ...Step) {
		for _, step := range steps {
			all = append(all, choice{step, k})
		}
	}
	pass := func(cut Cut) func(*World, *State, int, *Pass) bool {
		return func(w *World, s *State, _ int, p *Pass) bool { return w.operate(s, cut, p) }
	}
	add(byOperator, Step{Name: "the operator", Do: pass(Cut{})})
	add(byEnvironment, environment...)
	add(byEnvironment, restoring...)
	add(byUser, edits...)
	add(byUserFree, free...)
	add(byFault, faults...)
	add(byFault, Step{Name: "the operator, while kubelets have not reported ready yet", Topic: Caches, Do: pass(Cut{Unready: true})})
	add(byFault, Step{Name: "the operator, slow", Topic: Caches, Do: pass(Cut{Late: true})})
	for n := range most {
		add(byFault, Step{Name: fmt.Sprintf("the operator, ended after %d writes", n), Topic: Cuts, Do: pass(Cut{Early: true, After: n})})
	}
	for n := range mostOfRestore {
		add(byFault, Step{Name: fmt.Sprintf("the restore, ended after %d writes", n+1), Topic: RestoreCuts, Do: passOfRestore(Cut{Early: true, After: n + 1})})
		add(byFault, Step{Name: fmt.Sprintf("the restore, slow after %d steps", n), Topic: RestoreLate, Do: passOfRestore(Cut{Late: true, After: n})})
	}
	return all
}

// origin says how a state was reached first.
type origin struct {
	parent int32
	choice uint8
	member uint8
}

// Result is what an exploration found.
type Result struct {
	States      int
	Transitions int
	Depth       int
	// Complete is whether every state within the budgets was visited.
	Complete bool
	Took     time.Duration
	// Beyond is how many steps led out of the model.
	Beyond int
	// Walked is how many of the states only random walks have reached, Longest the depth that they came to.
	Walked, Longest int
	// Suffixes is the number of states whose fault-free suffix was followed.
	Suffixes int
	// Found is the shortest trace to each promise that was broken.
	Found map[Promise]string
	Order []Promise
}

// Explorer visits the states of a world, breadth-first.
type Explorer struct {
	*World
	// Limit is the number of states after which it stops.
	Limit int
	// Deeper is the number of states after that random walks visit, which reach what the breadth does not; Seed is
	// theirs.
	Deeper int
	Seed   uint64
	// Until stops it when this promise was broken.
	Until Promise

	choices []choice
	keys    []Key
	from    []origin
	index   map[uint64]int32
	seed    maphash.Seed
	known   suffixes
	result  Result
	ended   bool
	// next and pass are what try works on; they are kept to save the garbage collector work.
	next State
	pass Pass
}

// possible are the choices that this world has.
func (e *Explorer) possible() []choice {
	topics := e.Topics
	if topics == 0 {
		topics = Basics
	}
	return slices.DeleteFunc(choices(), func(c choice) bool { return c.Topic != 0 && c.Topic&topics == 0 })
}

// initial is the state in which a run starts.
func (w *World) initial() State {
	var s State
	s.Live.Cluster.Exists, s.Live.Cluster.Size = true, uint8(w.Size)
	s.Live.Cluster.Minor, s.Live.Cluster.TLS, s.Live.Cluster.Bootstrap = w.Minor, w.TLS, w.Begins
	var p Pass
	for range longestSuffix {
		if w.Formed || w.Remade {
			w.round(&s, &p)
		}
	}
	for range longestSuffix {
		if w.Midway != "" && s.Restore.phase() != w.Midway {
			restoreBackup(ByUser)(w, &s, 0, &p)
			w.round(&s, &p)
		}
	}
	if w.Remade {
		deleteCluster(w, &s, 0, &p)
		for range longestSuffix {
			w.round(&s, &p)
		}
		makeAgain(w, &s, 0, &p)
	}
	s.Faults, s.Edits = uint8(w.Faults), uint8(w.Edits)
	return s
}

// Explore visits all states, or as many as the limit allows.
func (e *Explorer) Explore() Result {
	started := time.Now()
	e.choices, e.seed = e.possible(), maphash.MakeSeed()
	e.index, e.known = map[uint64]int32{}, suffixes{}
	e.result.Found = map[Promise]string{}
	first := e.initial()
	_, _ = e.visit(e.pack(&first), origin{parent: -1})
	level := 1
	for at := 0; at < len(e.keys) && !e.ended; at++ {
		if at == level {
			e.result.Depth, level = e.result.Depth+1, len(e.keys)
		}
		e.expand(int32(at))
	}
	e.result.Complete = !e.ended
	e.walks()
	e.result.States, e.result.Suffixes, e.result.Took = len(e.keys), len(e.known), time.Since(started)
	return e.result
}

// visit remembers a state if it is new, and says which it is. Two states with one hash are told apart.
func (e *Explorer) visit(key Key, from origin) (int32, bool) {
	hash := maphash.Comparable(e.seed, key)
	for {
		at, taken := e.index[hash]
		if !taken {
			break
		}
		if e.keys[at] == key {
			return at, false
		}
		hash++
	}
	number := int32(len(e.keys))
	e.index[hash] = number
	e.keys, e.from = append(e.keys, key), append(e.from, from)
	return number, true
}

// expand takes every step that is possible in a state.
func (e *Explorer) expand(at int32) {
	state := e.unpack(&e.keys[at])
	var end Pass
	e.converge(&state, e.known, &end)
	e.found(at, nil, 0, end.Broken)
	for i := range e.choices {
		c := &e.choices[i]
		if c.kind == byFault && state.Faults == 0 || c.kind == byUser && state.Edits == 0 {
			continue
		}
		for m := range max(state.members(), 1) {
			_, _ = e.try(at, &state, i, m)
			if !c.Each {
				break
			}
		}
	}
}

// try takes one step. It says where that leads, if anywhere.
func (e *Explorer) try(at int32, state *State, i, m int) (int32, bool) {
	c, next, p := &e.choices[i], &e.next, &e.pass
	*next, *p = *state, Pass{}
	if !c.Do(e.World, next, m, p) {
		return 0, false
	}
	e.result.Transitions++
	switch c.kind {
	case byFault:
		next.Faults--
	case byUser:
		next.Edits--
	case byEnvironment, byOperator, byUserFree:
	}
	e.settle(next)
	next.checkState(p)
	e.found(at, c, m, p.Broken)
	if p.beyond {
		e.result.Beyond++
		return 0, false
	}
	number, fresh := e.visit(e.pack(next), origin{parent: at, choice: uint8(i), member: uint8(m)})
	if fresh && len(e.keys) >= e.Limit {
		e.ended = true
	}
	return number, true
}

// found keeps the first, and so the shortest, trace to each promise that was broken. What follows is explored still.
func (e *Explorer) found(at int32, last *choice, m int, broken []Broken) {
	for _, b := range broken {
		if _, before := e.result.Found[b.Promise]; before {
			continue
		}
		e.result.Found[b.Promise] = e.trace(at, last, m, b)
		e.result.Order = append(e.result.Order, b.Promise)
		e.ended = e.ended || b.Promise == e.Until
	}
}

// trace tells how a state was reached, and what happened then.
func (e *Explorer) trace(at int32, last *choice, m int, broken Broken) string {
	var path []origin
	for ; e.from[at].parent >= 0; at = e.from[at].parent {
		path = append(path, e.from[at])
	}
	var words strings.Builder
	fmt.Fprintf(&words, "broken: %s: %s\n", broken.Promise, broken.Why)
	state := e.initial()
	number := 0
	tell := func(c *choice, m int) {
		number++
		fmt.Fprintf(&words, "%3d. %s", number, c.words(m))
		c.Do(e.World, &state, m, &Pass{Words: &words})
		e.settle(&state)
		words.WriteString("\n")
	}
	for i := len(path) - 1; i >= 0; i-- {
		tell(&e.choices[path[i].choice], int(path[i].member))
	}
	if last != nil {
		tell(last, m)
		return words.String()
	}
	words.WriteString("     then, without faults:")
	e.converge(&state, suffixes{}, &Pass{Words: &words})
	return words.String() + "\n"
}
