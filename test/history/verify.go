package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Final is what a key holds at the end.
type Final struct {
	Value string
	// Revision is the one at which the key was last written.
	Revision int64
}

// verifyLimit is how long the search for a linearization may take in all.
const verifyLimit = 3 * time.Minute

// Verify says what is wrong with a history. final is what a linearizable read of all keys found after it.
func Verify(operations []Operation, final map[string]Final) error {
	if err := verifyAcknowledged(operations, final); err != nil {
		return err
	}
	if err := verifyRevisions(operations); err != nil {
		return err
	}
	return verifyLinearizable(operations, verifyLimit)
}

// verifyAcknowledged checks that every key ends with the last value that was acknowledged, or a later one. Revisions
// tell the order: etcd gives each write a higher one than all writes before it.
func verifyAcknowledged(operations []Operation, final map[string]Final) error {
	last := map[string]Operation{}
	for _, o := range operations {
		if o.Writes() && o.Revision > last[o.Key].Revision {
			last[o.Key] = o
		}
	}
	var lost []string
	for _, key := range slices.Sorted(maps.Keys(last)) {
		wrote, has := last[key], final[key]
		if has.Revision < wrote.Revision || has.Revision == wrote.Revision && has.Value != wrote.Value {
			lost = append(lost, fmt.Sprintf("%s: acknowledged %s; at the end it has %q of revision %d", key, wrote, has.Value, has.Revision))
		}
	}
	if len(lost) > 0 {
		return fmt.Errorf("the last acknowledged writes of %d keys are lost:\n%s", len(lost), strings.Join(first(lost, 20), "\n"))
	}
	return nil
}

// verifyRevisions checks over all keys together that no revision was given to two writes, and that no operation got a
// revision from before one that was acknowledged when it was called. A cluster that lost data and went on, or a second
// cluster under the same name, gives revisions a second time.
func verifyRevisions(operations []Operation) error {
	var acknowledged []Operation
	writer := map[int64]Operation{}
	for _, o := range operations {
		if o.Outcome != OK {
			continue
		}
		acknowledged = append(acknowledged, o)
		if !o.Writes() {
			continue
		}
		if other, ok := writer[o.Revision]; ok {
			return fmt.Errorf("revision %d was given twice:\n%s %s\n%s %s", o.Revision, other.Key, other, o.Key, o)
		}
		writer[o.Revision] = o
	}
	byCall := slices.SortedFunc(slices.Values(acknowledged), func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
	byReturn := slices.SortedFunc(slices.Values(acknowledged), func(a, b Operation) int { return cmp.Compare(a.Return, b.Return) })
	var newest Operation
	for _, o := range byCall {
		for len(byReturn) > 0 && byReturn[0].Return < o.Call {
			if byReturn[0].Revision > newest.Revision {
				newest = byReturn[0]
			}
			byReturn = byReturn[1:]
		}
		if o.Revision < newest.Revision || o.Revision == newest.Revision && o.Writes() {
			return fmt.Errorf("revisions went back:\n%s %s\nwas answered after\n%s %s", o.Key, o, newest.Key, newest)
		}
	}
	return nil
}

// verifyLinearizable checks each key by itself: linearizability is a local property (Herlihy and Wing 1990, theorem 1).
func verifyLinearizable(operations []Operation, limit time.Duration) error {
	keys := map[string][]Operation{}
	for _, o := range operations {
		keys[o.Key] = append(keys[o.Key], o)
	}
	deadline := time.Now().Add(limit)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("the history was not checked within %v: key %s and those after it are left", limit, key)
		}
		switch porcupine.CheckOperationsTimeout(register, settle(keys[key]), left) {
		case porcupine.Illegal:
			return fmt.Errorf("key %s is not linearizable: no order of its operations explains what they returned\n%s", key, describe(keys[key]))
		case porcupine.Unknown:
			return fmt.Errorf("whether key %s is linearizable was not decided within %v", key, limit)
		case porcupine.Ok:
		}
	}
	return nil
}

// register is the model of one key: a value that is read, written, and compared and swapped.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		o := input.(Operation)
		switch {
		case o.Kind == Get:
			return state == o.Value, state
		case o.Kind == Put:
			return true, o.Value
		case o.Swapped:
			return state == o.Expect, o.Value
		}
		return state == o.Found && state != o.Expect, state
	},
}

// settle makes what the model knows of the operations of one key: those that took effect, and when they can have.
//
// An operation of unknown outcome may take effect at any time after its call, or never. Values are written once, so if
// nobody saw its value there is an order without it whenever there is one with it: nothing that was seen depends on it,
// and it is left out. If somebody saw it, it took effect, at the latest when the first of those who saw it returned.
func settle(operations []Operation) []porcupine.Operation {
	seen := map[string]time.Duration{}
	for _, o := range operations {
		if value, ok := o.observed(); ok {
			if at, already := seen[value]; !already || o.Return < at {
				seen[value] = o.Return
			}
		}
	}
	var settled []porcupine.Operation
	for _, o := range operations {
		if o.Outcome != OK {
			at, was := seen[o.Value]
			if o.Outcome == Refused || o.Kind == Get || !was {
				continue
			}
			// What was seen before the call came from elsewhere: left as it is, the model refuses it.
			o.Return, o.Swapped = max(at, o.Call), true
		}
		settled = append(settled, porcupine.Operation{Input: o, Call: int64(o.Call), Return: int64(o.Return)})
	}
	return settled
}

// describe writes the operations of a key in the order of their calls.
func describe(operations []Operation) string {
	sorted := slices.SortedFunc(slices.Values(operations), func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
	var lines []string
	for _, o := range sorted {
		lines = append(lines, o.String())
	}
	return strings.Join(first(lines, 400), "\n")
}

func first(lines []string, limit int) []string {
	if len(lines) <= limit {
		return lines
	}
	return append(slices.Clone(lines[:limit]), fmt.Sprintf("and %d more", len(lines)-limit))
}
