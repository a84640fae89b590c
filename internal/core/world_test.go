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
	// hash and resources are what the user asks of a running member: the one needs a restart, the other does not.
	hash, resources string
	// hashes are what was asked with the versions before.
	hashes map[string]string
	// leader is the name of etcd's leader; without one the member list cannot be read.
	leader string
	// listHidden: the members answer, but a linearizable read does not come back.
	listHidden bool
	// list is etcd's member list, in the order in which members were added. It is formed with the founders as soon as
	// there is a leader.
	list   []*entry
	formed bool
	// alarms are those that are raised; they outlive their members.
	alarms []alarm
	// downgrade is the minor that etcd was told to go back to.
	downgrade string
	answers   map[string]*answer
	// templates are the etcd versions in the members' StatefulSets.
	templates map[string]string
	pods      int
	decision  core.Decision
}

// answer is what a member says when it is asked, as far as it is not the usual.
type answer struct {
	silent    bool
	clusterID string
	follows   string
	// leaderless: it knows no leader, whoever leads the others.
	leaderless bool
	version    string
	stored     string
	lag        uint64
	size       int64
	errors     []string
	// joined members have published their client URLs once.
	joined bool
}

// entry is one of etcd's member list.
type entry struct {
	name string
	// url is its peer URL if that is none that we would give.
	url     string
	learner bool
}

type alarm struct{ member, kind string }

func newWorld() *world {
	w := &world{answers: map[string]*answer{}, templates: map[string]string{}, hashes: map[string]string{}, hash: "a"}
	w.Now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	w.Cluster = core.Cluster{
		Namespace: "default", Name: "demo", UID: "uid-1", Generation: 1,
		Spec: core.Spec{
			Size: 3, FinalVersion: "3.6.16", StorageHash: "disk", Selector: "etcd.etcd.io/cluster=demo",
			MaxLearners: 2, SnapshotCount: 10_000, UnhealthyAfter: 10 * time.Minute,
		},
	}
	w.wish()
	return w
}

// wish works out what the spec asks for now, as observing does: the version that is next on the way to the one in the
// spec, and the hashes that go with it.
func (w *world) wish() {
	var fleet core.Fleet
	for i := range w.Members {
		m := &w.Members[i]
		if m.Workload.Exists() {
			m.Workload.Version = w.templates[m.Name]
		}
		if a := w.answers[m.Name]; m.Pod.Running && !a.silent {
			fleet.Runs, fleet.Answers, fleet.Told = append(fleet.Runs, a.version), append(fleet.Answers, a.version), w.downgrade
			continue
		}
		w.awayInFleet(m, &fleet)
	}
	stopped := func(m core.Member) bool { return m.Workload.Exists() && m.Workload.Stopped }
	fleet.Joining = w.joining()
	fleet.Asleep = fleet.Asleep || w.Cluster.Spec.Size == 0 || slices.ContainsFunc(w.Members, stopped)
	spec := &w.Cluster.Spec
	spec.Version, spec.RestartHash = core.Waypoint(spec.FinalVersion, fleet), w.hash
	if before, known := w.hashes[spec.Version]; known && spec.Version != spec.FinalVersion {
		spec.RestartHash = before
	} else if spec.Version != spec.FinalVersion {
		spec.RestartHash += "@" + spec.Version
	}
	spec.MemberHash = spec.RestartHash
	if w.resources != "" {
		spec.MemberHash += "+" + w.resources
	}
}

// awayInFleet adds what a member that does not answer is last known to have run.
func (w *world) awayInFleet(m *core.Member, fleet *core.Fleet) {
	for _, before := range w.Cluster.Recorded.Members {
		if before.Name == m.Name && before.Version != "" {
			fleet.Runs, fleet.Away = append(fleet.Runs, before.Version), append(fleet.Away, m.Workload.Version)
			return
		}
	}
	for _, volume := range m.Volumes {
		if volume.ClusterID != "" && volume.Version != "" && !volume.Removed {
			fleet.Runs, fleet.Asleep = append(fleet.Runs, volume.Version), true
		}
	}
}

// joining is whether members are still to join, as far as the member list can be read.
func (w *world) joining() bool {
	learner := slices.ContainsFunc(w.list, func(e *entry) bool { return e.learner })
	return w.leader != "" && !w.listHidden && w.formed && (learner || len(w.list) < w.Cluster.Spec.Size)
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
	case "put-off":
		step, message, _ := strings.Cut(rest, " ")
		w.Failure = core.Failure{Step: step, Problem: core.Problem{Reason: core.ReasonStepFailed, Message: message}, PutOffSince: w.Now}
	case "etcd":
		w.tellEtcd(strings.Fields(rest))
	case "listed":
		names, words, _ := strings.Cut(rest, " ")
		for _, name := range expand(names) {
			w.tellListed(name, strings.Fields(words))
		}
	case "member", "answer", "volume", "pod", "workload", "node":
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
			if len(w.Members) > 0 {
				w.hashes[c.Spec.FinalVersion] = w.hash
			}
			c.Spec.FinalVersion = value
		case "hash":
			w.hash = value
		case "resources":
			w.resources = value
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
		case "max-learners":
			c.Spec.MaxLearners = number(value)
		case "keep-removed":
			c.Spec.KeepRemoved = value != "false"
		case "rests":
			c.Spec.Rests, c.Spec.HeldBack = value, core.Problem{}
		case "held-back":
			c.Spec.HeldBack = core.Problem{Reason: core.ReasonRestoreInFlight, Message: fmt.Sprintf("%s cannot be changed: %s", value, "EtcdRestore undo into EtcdCluster demo is not over (Restored): set its spec.completion to Confirm or RollBack")}
		case "unhealthy-after":
			after, err := time.ParseDuration(value)
			must(err)
			c.Spec.UnhealthyAfter = after
		case "replace":
			c.Spec.Replace = slices.DeleteFunc(strings.Split(value, ","), func(name string) bool { return name == "" })
		case "recorded-id":
			c.Recorded.ClusterID = value
		default:
			panic("a cluster has no " + word)
		}
	}
	w.Cluster.Generation++
	w.wish()
}

var objectStates = map[string]core.ObjectState{
	"missing": core.Missing, "current": core.Current, "drifted": core.Drifted, "foreign": core.Foreign, "leaving": core.Leaving,
	"surplus": core.Surplus,
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
		case "downgrades-to":
			w.downgrade = value
		case "downgrade-done":
			w.downgrade = ""
		default:
			panic("etcd has no " + word)
		}
	}
}

// tellListed says what etcd's member list has.
func (w *world) tellListed(name string, words []string) {
	w.form()
	for _, word := range words {
		switch word {
		case "voter", "learner":
			if w.entry(name) == nil {
				w.list = append(w.list, &entry{name: name})
			}
			w.entry(name).learner = word == "learner"
		case "foreign":
			w.list = append(w.list, &entry{name: name, url: "http://" + name + ":2380"})
		case "removed":
			w.list = slices.DeleteFunc(w.list, func(e *entry) bool { return e.name == name })
		default:
			panic("a member is not listed as " + word)
		}
	}
}

func parseProblem(text string) core.Problem {
	reason, message, _ := strings.Cut(text, " ")
	return core.Problem{Reason: core.Reason(reason), Message: message}
}

// expand reads "demo-0", "demo-0,demo-2" and "demo-0..2,demo-4".
func expand(names string) []string {
	var all []string
	for part := range strings.SplitSeq(names, ",") {
		first, last, isRange := strings.Cut(part, "..")
		if !isRange {
			all = append(all, part)
			continue
		}
		cut := strings.LastIndex(first, "-") + 1
		for n := number(first[cut:]); n <= number(last); n++ {
			all = append(all, fmt.Sprintf("%s%d", first[:cut], n))
		}
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
