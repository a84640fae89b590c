package history

import (
	"strings"
	"testing"
	"time"
)

// at makes an operation from second `call` to second `end`.
func at(call, end int, o Operation) Operation {
	o.Key, o.Call, o.Return = "key", time.Duration(call)*time.Second, time.Duration(end)*time.Second
	return o
}

func put(value string, revision int64) Operation {
	return Operation{Kind: Put, Value: value, Revision: revision}
}

func get(value string, revision int64) Operation {
	return Operation{Kind: Get, Value: value, Revision: revision}
}

func swap(expect, value string, revision int64) Operation {
	return Operation{Kind: Swap, Expect: expect, Value: value, Swapped: true, Revision: revision}
}

func missed(expect, value, found string, revision int64) Operation {
	return Operation{Kind: Swap, Expect: expect, Value: value, Found: found, Revision: revision}
}

func unknown(o Operation) Operation {
	o.Outcome, o.Swapped, o.Found, o.Revision = Unknown, false, "", 0
	return o
}

func refused(o Operation) Operation {
	o = unknown(o)
	o.Outcome = Refused
	return o
}

func TestVerify(t *testing.T) {
	for name, test := range map[string]struct {
		operations []Operation
		final      Final
		// wrong is a part of what has to be found wrong; empty for a good history.
		wrong string
	}{
		"one after the other": {
			[]Operation{
				at(1, 2, get("", 1)), at(3, 4, put("a", 2)), at(5, 6, get("a", 2)), at(7, 8, swap("a", "b", 3)), at(9, 10, missed("a", "c", "b", 3)), at(11, 12, get("b", 3)),
			}, Final{"b", 3}, "",
		},
		"concurrent writes in either order": {
			[]Operation{at(1, 5, put("a", 3)), at(1, 5, put("b", 2)), at(6, 7, get("a", 3))}, Final{"a", 3}, "",
		},
		"the first swap of a key that does not exist": {
			[]Operation{at(1, 2, swap("", "a", 2)), at(3, 4, missed("", "b", "a", 2))}, Final{"a", 2}, "",
		},
		"lost write": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, put("b", 3))}, Final{"a", 2}, "lost",
		},
		"lost write, the key is gone": {
			[]Operation{at(1, 2, put("a", 2))}, Final{}, "lost",
		},
		"lost swap": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, swap("a", "b", 3))}, Final{"a", 2}, "lost",
		},
		"lost write under a new one": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, put("b", 3)), at(5, 6, get("a", 3)), at(7, 8, put("c", 4))}, Final{"c", 4}, "not linearizable",
		},
		"lost write, its revision given again": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, put("b", 2)), at(5, 6, put("c", 3))}, Final{"c", 3}, "given twice",
		},
		"lost data, revisions begin again": {
			[]Operation{at(1, 2, put("a", 7)), at(3, 4, put("b", 2)), at(5, 6, put("c", 9))}, Final{"c", 9}, "went back",
		},
		"stale read": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, put("b", 3)), at(5, 6, get("a", 3))}, Final{"b", 3}, "not linearizable",
		},
		"stale read of an old revision": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, put("b", 3)), at(5, 6, get("a", 2))}, Final{"b", 3}, "went back",
		},
		"read that goes back while a write is under way": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 10, put("b", 3)), at(4, 5, get("b", 3)), at(6, 7, get("a", 3))}, Final{"b", 3}, "not linearizable",
		},
		"swap of a value that was replaced": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, put("b", 3)), at(5, 6, swap("a", "c", 4))}, Final{"c", 4}, "not linearizable",
		},
		"swap that found what it expected and said no": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, missed("a", "b", "a", 2))}, Final{"a", 2}, "not linearizable",
		},
		"value that nobody wrote": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, get("x", 2))}, Final{"a", 2}, "not linearizable",
		},
		"write applied twice": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, put("b", 3)), at(5, 6, get("b", 3)), at(7, 8, get("a", 4))}, Final{"a", 4}, "not linearizable",
		},
		"unknown write that never took effect": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, unknown(put("b", 0))), at(5, 6, get("a", 2))}, Final{"a", 2}, "",
		},
		"unknown write that took effect long after its call": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, unknown(put("b", 0))), at(5, 6, get("a", 2)), at(7, 8, put("c", 3)), at(9, 10, get("b", 4))}, Final{"b", 4}, "",
		},
		"unknown write that was overwritten unseen": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, unknown(put("b", 0))), at(5, 6, put("c", 4)), at(7, 8, get("c", 4))}, Final{"c", 4}, "",
		},
		"unknown swap that took effect": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, unknown(swap("a", "b", 0))), at(5, 6, get("b", 3))}, Final{"b", 3}, "",
		},
		"unknown swap that took effect though it could not": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, unknown(swap("x", "b", 0))), at(5, 6, get("b", 3))}, Final{"b", 3}, "not linearizable",
		},
		"unknown write seen, then gone": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, unknown(put("b", 0))), at(5, 6, get("b", 3)), at(7, 8, get("a", 3))}, Final{"a", 3}, "not linearizable",
		},
		"unknown write seen before it was made": {
			[]Operation{at(1, 2, get("b", 2)), at(3, 4, unknown(put("b", 0)))}, Final{"b", 2}, "not linearizable",
		},
		"refused write that took effect": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, refused(put("b", 0))), at(5, 6, get("b", 3))}, Final{"b", 3}, "not linearizable",
		},
		"refused write": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, refused(put("b", 0))), at(5, 6, get("a", 2))}, Final{"a", 2}, "",
		},
		"unknown read": {
			[]Operation{at(1, 2, put("a", 2)), at(3, 4, unknown(get("x", 0)))}, Final{"a", 2}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			final := map[string]Final{}
			if test.final.Revision > 0 {
				final["key"] = test.final
			}
			err := Verify(test.operations, final)
			if test.wrong == "" && err != nil {
				t.Fatalf("a good history is found bad: %v", err)
			}
			if test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
				t.Fatalf("found %v, want an error with %q", err, test.wrong)
			}
		})
	}
}

// Two keys hide from each other what one of them shows alone; revisions do not.
func TestVerifyFindsAStaleReadOfAnotherKey(t *testing.T) {
	other := at(5, 6, get("", 1))
	other.Key = "other"
	err := Verify([]Operation{at(1, 2, put("a", 2)), other}, map[string]Final{"key": {"a", 2}})
	if err == nil || !strings.Contains(err.Error(), "went back") {
		t.Fatalf("found %v, want that revisions went back", err)
	}
}

func TestFigures(t *testing.T) {
	second := time.Second
	beats := []Operation{at(0, 1, put("a", 1)), at(0, 2, put("b", 2)), at(2, 3, unknown(put("c", 0))), at(5, 7, put("d", 3))}
	beats[2].Error = "late"
	f := figures(beats, []Operation{at(3, 4, get("a", 3)), at(3, 4, missed("a", "b", "c", 3)), at(8, 9, swap("d", "e", 4))}, 9*second)
	if f.Writes != 4 || f.Failed != 1 || f.Errors["late"] != 1 {
		t.Errorf("%d writes, %d failed (%v), want 4, 1 and one late", f.Writes, f.Failed, f.Errors)
	}
	if f.LongestGap != 5*second || f.GapAt != 2*second {
		t.Errorf("the longest gap is %v after %v, want 5s after 2s", f.LongestGap, f.GapAt)
	}
	if f.P50 != 2*second || f.Max != 2*second {
		t.Errorf("median %v and maximum %v, want 2s and 2s", f.P50, f.Max)
	}
	if f := figures(nil, nil, 9*second); f.LongestGap != 9*second {
		t.Errorf("without any write the gap is %v, want all the time", f.LongestGap)
	}
}

// The search has to cope with the most that a run leaves in one key, and with many open outcomes.
func TestVerifyIsFastEnough(t *testing.T) {
	var operations []Operation
	for n := range 4 * generation {
		value := strings.Repeat("v", 1+n)
		o := at(2*n, 2*n+9, put(value, int64(n+1)))
		if n%5 == 0 {
			o = unknown(o)
			operations = append(operations, at(2*n+10, 2*n+10, get(strings.Repeat("v", n+5), int64(n+5))))
		}
		operations = append(operations, o)
	}
	started := time.Now()
	err := verifyLinearizable(operations, 20*time.Second)
	t.Logf("%d operations of one key took %v", len(operations), time.Since(started))
	if err != nil {
		t.Error(err)
	}
}
