package sim

import "math/rand/v2"

// strides is the length of a random walk, seldom how seldom it takes a fault or a change by the user.
const (
	strides = 120
	seldom  = 25
)

// walks visits what the limit keeps the breadth-first search from: random walks from its start, in which faults and
// changes come late as well. Their traces are not the shortest.
func (e *Explorer) walks() {
	if e.result.Complete || e.Until != "" {
		return
	}
	random := rand.New(rand.NewPCG(e.Seed, 1))
	before := len(e.keys)
	for n := 0; n < e.Deeper/20+1 && len(e.keys) < before+e.Deeper; n++ {
		at := int32(0)
		for depth := range strides {
			next, moved := e.stride(at, random)
			if !moved {
				break
			}
			at, e.result.Longest = next, max(e.result.Longest, depth+1)
		}
	}
	e.result.Walked = len(e.keys) - before
}

// stride takes one random step that is possible in a state.
func (e *Explorer) stride(at int32, random *rand.Rand) (int32, bool) {
	state := e.unpack(&e.keys[at])
	for range 50 * len(e.choices) {
		i := random.IntN(len(e.choices))
		c := &e.choices[i]
		if c.kind == byFault && (state.Faults == 0 || random.IntN(seldom) > 0) || c.kind == byUser && (state.Edits == 0 || random.IntN(seldom) > 0) {
			continue
		}
		m := 0
		if c.Each {
			m = random.IntN(max(state.members(), 1))
		}
		if next, moved := e.try(at, &state, i, m); moved {
			reached := e.unpack(&e.keys[next])
			var end Pass
			e.converge(&reached, e.known, &end)
			e.found(next, nil, 0, end.Broken)
			return next, true
		}
	}
	return at, false
}
