package archive

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func at(seconds int) time.Time { return time.Unix(int64(1_700_000_000+seconds), 0).UTC() }

func segments(text string) (all []segment) {
	for part := range strings.FieldsSeq(text) {
		var s segment
		var until int
		if _, err := fmt.Sscanf(part, "%d-%d@%d", &s.first, &s.last, &until); err != nil {
			panic(err)
		}
		s.object, s.until = part, at(until)
		all = append(all, s)
	}
	return all
}

func TestChains(t *testing.T) {
	b := base{revision: 10, lastRevision: 12, ended: at(0)}
	for text, want := range map[string]string{
		"":                                "[] 10@0 0",
		"11-10@5":                         "[] 10@5 0",
		"11-13@5 14-14@6 15-14@9":         "[11-13@5 14-14@6] 14@9 0",
		"1-13@5 14-14@6":                  "[1-13@5 14-14@6] 14@6 0",
		"1-5@1 6-9@2 11-13@5":             "[11-13@5] 13@5 0",
		"11-13@5 11-15@6 12-13@5 14-14@6": "[11-15@6] 15@6 0",
		"11-13@5 12-16@5 14-14@6 15-18@7": "[11-13@5 12-16@5 15-18@7] 18@7 0",
		"11-13@5 15-18@7":                 "[11-13@5] 13@5 15",
		"11-13@5 15-18@7 20-19@8":         "[11-13@5] 13@5 15",
		"12-13@5":                         "[] 10@0 12",
		"11-13@5 13-12@4 14-13@6 14-16@8": "[11-13@5 14-16@8] 16@8 0",
		"11-20@5 12-12@5 13-13@5 14-14@6 21-21@9": "[11-20@5 21-21@9] 21@9 0",
	} {
		c := history{segments: segments(text)}.chain(b)
		var names []string
		for _, s := range c.segments {
			names = append(names, s.object)
		}
		if got := fmt.Sprintf("%v %d@%d %d", names, c.last, c.until.Unix()-at(0).Unix(), c.next); got != want {
			t.Errorf("%s: it is %s, and not %s", text, got, want)
		}
	}
}

// Of overlapping segments in any number, a chain has all revisions, if there is one.
func TestChainsOfRandomSegments(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	unbroken := 0
	for range 20_000 {
		var covered [40]bool
		var all []segment
		for first := int64(1); first < 30; first += random.Int64N(4) {
			s := segment{first: first, last: first + random.Int64N(5), until: at(int(first))}
			for r := s.first; r <= s.last; r++ {
				covered[r] = true
			}
			all = append(all, s)
		}
		want := int64(5)
		for covered[want+1] {
			want++
		}
		c := history{segments: all}.chain(base{revision: 5})
		last := int64(5)
		for _, s := range c.segments {
			if s.first > last+1 || s.last <= last {
				t.Fatalf("%v is no chain", c.segments)
			}
			last = s.last
		}
		beyond := false
		for r := want + 1; r < 40; r++ {
			beyond = beyond || covered[r]
		}
		if last != want || c.last != want || (c.next != 0) != beyond {
			t.Fatalf("of %v it is %+v, and %d can be reached", all, c, want)
		}
		if c.next == 0 {
			unbroken++
		}
	}
	if unbroken < 100 || unbroken > 19_900 {
		t.Errorf("%d chains are unbroken: the test shows nothing", unbroken)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"00000000000000000011-00000000000000000013-20231114T221320.000000005Z":     true,
		"00000000000000000011-00000000000000000010-20231114T221320.000000005Z":     true,
		"00000000000000000011-00000000000000000009-20231114T221320.000000005Z":     false,
		"00000000000000000000-00000000000000000009-20231114T221320.000000005Z":     false,
		"0000000000000000011-00000000000000000013-20231114T221320.000000005Z":      false,
		"00000000000000000011-00000000000000000013-20231314T221320.000000005Z":     false,
		"00000000000000000011-99999999999999999999-20231114T221320.000000005Z":     false,
		"00000000000000000011-00000000000000000013":                                false,
		"00000000000000000011-00000000000000000013-20231114T221320.000000005Z-a-b": true,
		"manifest.json": false,
	} {
		if _, _, _, _, ok := parseName(name); ok != want {
			t.Errorf("%s: %t", name, ok)
		}
	}
}
