package sim

import "strings"

// longestSuffix bounds the rounds until nothing changes any more.
const longestSuffix = 200

// suffixes remembers the states from which the fault-free suffix was followed to its end.
type suffixes map[Key]struct{}

// calm takes away what a suffix without faults does not have. States that differ in nothing else share their suffix.
func calm(w *World, s *State, p *Pass) {
	refresh(w, s, 0, p)
	raiseQuota(w, s, 0, p)
	for m := range s.members() {
		s.Nodes[m].Unreachable, s.Nodes[m].Cut, s.Nodes[m].DownByUs = false, false, false
	}
	s.Faults, s.Edits = 0, 0
}

// converge follows the suffix in which everything fair happens and nothing else: it has to end, and well. The trace
// of what broke is in the words of the pass.
func (w *World) converge(start *State, known suffixes, p *Pass) {
	s := *start
	if w.Incarnations > 1 && !s.Live.Cluster.Exists {
		return
	}
	calm(w, &s, p)
	var path []Key
	for range longestSuffix {
		before := w.pack(&s)
		if _, done := known[before]; done {
			break
		}
		path = append(path, before)
		w.round(&s, p)
		s.checkState(p)
		checkChanges(p)
		if p.beyond {
			break
		}
		if w.pack(&s) == before && !waitLong(w, &s, 0, p) {
			w.checkEnd(&s, p)
			break
		}
		if len(path) == longestSuffix {
			p.broke(Settles, "after %d rounds without faults it still changes", longestSuffix)
		}
	}
	for _, key := range path {
		known[key] = struct{}{}
	}
}

// checkChanges checks that without faults no member is added and then removed again. If another one was removed in
// between, the new one cannot join with the member list that it knows.
func checkChanges(p *Pass) {
	for i := 1; i < len(p.changes); i++ {
		added, is := strings.CutPrefix(p.changes[i-1], "adds ")
		name, _, _ := strings.Cut(added, " to ")
		if is && strings.HasPrefix(p.changes[i], "removes "+name+" ") {
			p.broke(NoOscillation, "%s is added, and removed again", name)
		}
	}
}

// round is one pass of the operator, and everything fair that can happen, once.
func (w *World) round(s *State, p *Pass) {
	p.say("\n     the operator")
	w.operate(s, Cut{}, p)
	w.settle(s)
	for i := range everything {
		step := &everything[i]
		if !step.Fair || step.Topic == Versions && w.Minor == 0 || step.Topic == Certs && !w.Secured || step.Topic == Restoring && w.Restores == 0 {
			continue
		}
		for m := range max(s.members(), 1) {
			if step.Do(w, s, m, p) {
				p.say("\n     %s", step.words(m))
			}
			w.settle(s)
			if !step.Each {
				break
			}
		}
	}
	s.Nodes = undisturbed(s.Nodes)
}

// undisturbed drops whose doing it was that members are down: a suffix is judged by its end.
func undisturbed(nodes [MaxMembers]Node) [MaxMembers]Node {
	for m := range nodes {
		nodes[m].DownByUs = false
	}
	return nodes
}

// words names a step.
func (step *Step) words(m int) string {
	if step.Each {
		return step.Name + " " + memberName(m)
	}
	return step.Name
}
