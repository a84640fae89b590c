package core_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// world is what a scenario is about. Scenarios change it in statements of one line each (see tell), and what is
// observed of it is what the core decides from.
type world struct {
	core.Observation
	// leader is the name of etcd's leader; without one the member list cannot be read.
	leader string
	// listHidden: the members answer, but a linearizable read does not come back.
	listHidden bool
	answers    map[string]*answer
	pods       int
	decision   core.Decision
}

// answer is what a member says when it is asked, as far as it is not the usual.
type answer struct {
	silent    bool
	clusterID string
	follows   string
	version   string
	stored    string
	lag       uint64
	alarms    []string
	errors    []string
	learner   bool
	unlisted  bool
	// joined members have published their client URLs once.
	joined bool
}

func newWorld() *world {
	w := &world{answers: map[string]*answer{}}
	w.Now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	w.Cluster = core.Cluster{
		Namespace: "default", Name: "demo", UID: "uid-1", Generation: 1,
		Spec: core.Spec{Size: 3, Version: "3.6.16", MemberHash: "a", StorageHash: "disk", Selector: "etcd.etcd.io/cluster=demo"},
	}
	return w
}

// tell changes the world by one statement: a subject, a name where there are several, and words.
func (w *world) tell(line string) {
	subject, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch subject {
	case "", "#":
	case "begin":
		*w = *newWorld()
	case "cluster":
		w.tellCluster(strings.Fields(rest))
	case "object", "config":
		w.tellObject(subject, strings.Fields(rest))
	case "status":
		w.Cluster.Recorded = core.Report{}
	case "after":
		passed, err := time.ParseDuration(rest)
		must(err)
		w.Now = w.Now.Add(passed)
	case "failed":
		step, problem, _ := strings.Cut(rest, " ")
		w.Failure = core.Failure{Step: step, Problem: parseProblem(problem)}
	case "etcd":
		w.tellEtcd(strings.Fields(rest))
	case "member", "answer", "volume", "pod", "workload":
		names, words, _ := strings.Cut(rest, " ")
		for _, name := range expand(names) {
			w.tellMember(subject, w.member(name), words)
		}
	default:
		panic("a scenario knows no " + subject)
	}
}

func (w *world) tellCluster(words []string) {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		c := &w.Cluster
		switch key {
		case "size":
			c.Spec.Size = number(value)
		case "version":
			c.Spec.Version = value
		case "hash":
			c.Spec.MemberHash = value
		case "storage":
			c.Spec.StorageHash = value
		case "uid":
			c.UID = value
		case "paused":
			c.Spec.Paused = value != "false"
		case "deleting":
			c.Deleting = true
		case "in-memory":
			c.Spec.InMemory = true
		case "recorded-id":
			c.Recorded.ClusterID = value
		default:
			panic("a cluster has no " + word)
		}
	}
	w.Cluster.Generation++
}

var objectStates = map[string]core.ObjectState{
	"missing": core.Missing, "current": core.Current, "drifted": core.Drifted, "foreign": core.Foreign, "leaving": core.Leaving,
}

func (w *world) tellObject(subject string, words []string) {
	if subject == "config" {
		w.StaleConfigs = append(w.StaleConfigs, core.StaleConfig{Name: words[0], UID: "uid-of-" + words[0]})
		return
	}
	kind, name, _ := strings.Cut(words[0], "/")
	object := core.Object{Kind: kind, Name: name, State: objectStates[words[1]]}
	i := slices.IndexFunc(w.Objects, func(o core.Object) bool { return o.Kind == kind && o.Name == name })
	if i < 0 {
		w.Objects = append(w.Objects, object)
		return
	}
	w.Objects[i] = object
}

func (w *world) tellEtcd(words []string) {
	w.listHidden = false
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "leader":
			w.leader = value
		case "leaderless":
			w.leader = ""
		case "list-hidden":
			w.listHidden = true
		default:
			panic("etcd has no " + word)
		}
	}
}

func (w *world) tellMember(subject string, m *core.Member, words string) {
	if problem, ok := strings.CutPrefix(words, "problem "); ok {
		p := parseProblem(problem)
		switch subject {
		case "pod":
			m.Pod.Problem = p
		case "workload":
			m.Workload.Problem = p
		case "volume":
			for i := range m.Volumes {
				m.Volumes[i].Problem = p
			}
		}
		return
	}
	for _, word := range strings.Fields(words) {
		switch subject {
		case "answer":
			w.tellAnswer(w.answers[m.Name], word)
		case "volume":
			w.tellVolume(m, word)
		case "pod":
			w.tellPod(m, word)
		case "workload":
			w.tellWorkload(m, word)
		case "member":
			w.tellWhole(m, word)
		}
	}
}

// tellWhole says in one word what is the case with a member that nothing is wrong with.
func (w *world) tellWhole(m *core.Member, word string) {
	switch word {
	case "gone":
		w.Members = slices.DeleteFunc(w.Members, func(o core.Member) bool { return o.Name == m.Name })
	case "made":
		w.tellWorkload(m, "current")
		w.tellVolume(m, "pending")
		w.tellPod(m, "starting")
	case "serves":
		w.tellWorkload(m, "current")
		w.tellVolume(m, "bound")
		w.tellPod(m, "ready")
	case "settled":
		w.tellWhole(m, "serves")
		w.tellWorkload(m, "sealed")
		w.tellVolume(m, "marked")
		w.answers[m.Name].joined = true
	default:
		panic("a member is not " + word)
	}
}

func (w *world) tellWorkload(m *core.Member, word string) {
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "missing":
		m.Workload = core.Workload{}
	case "sealed":
		m.Workload.Start = core.StartSealed
	case "bootstrap":
		m.Workload.Start = core.StartBootstrap
	case "unsettled":
		m.Workload.Settled = false
	case "settled":
		m.Workload.Settled = true
	case "hash":
		m.Workload.MemberHash = value
	case "storage":
		m.Workload.StorageHash = value
	case "fine":
		m.Workload.Problem = core.Problem{}
	default:
		state, ok := objectStates[key]
		if !ok {
			panic("a workload is not " + word)
		}
		if !m.Workload.Exists() {
			m.Workload = core.Workload{
				UID: "workload-of-" + m.Name, MemberHash: w.Cluster.Spec.MemberHash, StorageHash: w.Cluster.Spec.StorageHash,
				BootstrapMembers: w.founders(), Settled: true,
			}
		}
		m.Workload.State = state
	}
}

func (w *world) tellPod(m *core.Member, word string) {
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "none":
		m.Pod = core.Pod{}
	case "hash":
		m.Pod.MemberHash = value
	case "deleting":
		m.Pod.Deleting = true
	case "fine":
		m.Pod.Problem = core.Problem{}
	case "down":
		m.Pod.Running, m.Pod.Ready = false, false
	case "starting", "running", "ready":
		if !m.Pod.Exists || m.Pod.Deleting {
			w.pods++
			m.Pod = core.Pod{Exists: true, UID: fmt.Sprintf("pod-%d", w.pods), MemberHash: m.Workload.MemberHash}
			w.answers[m.Name].version = w.Cluster.Spec.Version
		}
		m.Pod.Problem = core.Problem{}
		m.Pod.Running, m.Pod.Ready = key != "starting", key == "ready"
	default:
		panic("a pod is not " + word)
	}
}

func (w *world) tellVolume(m *core.Member, word string) {
	key, value, _ := strings.Cut(word, "=")
	if key == "gone" {
		m.Volumes = nil
		return
	}
	if len(m.Volumes) == 0 {
		m.Volumes = []core.Volume{{
			Name: "data-" + m.Name + "-0", UID: "claim-of-" + m.Name, OwnerUID: w.Cluster.UID, FoundedBy: w.Cluster.UID,
			StorageHash: w.Cluster.Spec.StorageHash, Kept: true, KeptWanted: true,
		}}
	}
	for i := range m.Volumes {
		v := &m.Volumes[i]
		switch key {
		case "pending":
			v.Bound = false
		case "bound":
			v.Bound, v.Problem = true, core.Problem{}
		case "marked":
			v.ClusterID = value
			if value == "" {
				v.ClusterID = "c1"
			}
		case "unmarked":
			v.ClusterID = ""
		case "owner":
			v.OwnerUID = value
		case "leaving":
			v.Deleting = true
		case "kept":
			v.KeptWanted = value != "false"
		case "goes-with-its-cluster":
			v.Kept = false
		default:
			panic("a volume is not " + word)
		}
	}
}

func (w *world) tellAnswer(a *answer, word string) {
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "usual":
		*a = answer{version: a.version, joined: a.joined}
	case "silent":
		a.silent = true
	case "cluster":
		a.clusterID = value
	case "follows":
		a.follows = value
	case "version":
		a.version = value
	case "stored":
		a.stored = value
	case "lag":
		lag, err := strconv.ParseUint(value, 10, 64)
		must(err)
		a.lag = lag
	case "alarm":
		a.alarms = append(a.alarms, value)
	case "error":
		a.errors = append(a.errors, value)
	case "learner":
		a.learner = true
	case "unlisted":
		a.unlisted = true
	case "joined":
		a.joined = true
	default:
		panic("no answer is " + word)
	}
}

func (w *world) member(name string) *core.Member {
	if w.answers[name] == nil {
		w.answers[name] = &answer{version: w.Cluster.Spec.Version}
	}
	for i := range w.Members {
		if w.Members[i].Name == name {
			return &w.Members[i]
		}
	}
	w.Members = append(w.Members, core.Member{Name: name})
	return &w.Members[len(w.Members)-1]
}

func (w *world) founders() []string {
	if recorded := w.Cluster.Recorded.BootstrapMembers; len(recorded) > 0 {
		return recorded
	}
	var names []string
	for n := range w.Cluster.Spec.Size {
		names = append(names, fmt.Sprintf("%s-%d", w.Cluster.Name, n))
	}
	return names
}

func parseProblem(text string) core.Problem {
	reason, message, _ := strings.Cut(text, " ")
	return core.Problem{Reason: core.Reason(reason), Message: message}
}

// expand reads "demo-0", "demo-0,demo-2" and "demo-0..2".
func expand(names string) []string {
	first, last, isRange := strings.Cut(names, "..")
	if !isRange {
		return strings.Split(names, ",")
	}
	cut := strings.LastIndex(first, "-") + 1
	var all []string
	for n := number(first[cut:]); n <= number(last); n++ {
		all = append(all, first[:cut]+strconv.Itoa(n))
	}
	return all
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	must(err)
	return n
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
