package core_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

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

func (w *world) tellMember(subject string, m *core.Member, words string) {
	if problem, ok := strings.CutPrefix(words, "problem "); ok {
		w.tellProblem(subject, m, parseProblem(problem))
		return
	}
	if why, ok := strings.CutPrefix(words, "misfit "); ok {
		for i := range m.Volumes {
			m.Volumes[i].Misfit = why
		}
		return
	}
	for _, word := range strings.Fields(words) {
		switch subject {
		case "answer":
			w.tellAnswer(m.Name, word)
		case "volume":
			w.tellVolume(m, word)
		case "pod":
			w.tellPod(m, word)
		case "workload":
			w.tellWorkload(m, word)
		case "node":
			w.tellNode(m, word)
		case "member":
			w.tellWhole(m, word)
		}
	}
}

func (w *world) tellProblem(subject string, m *core.Member, p core.Problem) {
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
		w.tellPod(m, "sealed")
		w.tellVolume(m, "marked")
		w.answers[m.Name].joined = true
	default:
		panic("a member is not " + word)
	}
}

// tellNode says how the node is that the member's pod is bound to.
func (w *world) tellNode(m *core.Member, word string) {
	switch word {
	case "gone":
		m.Node = core.Node{Gone: true, Name: "node-of-" + m.Name, Since: w.Now}
	case "back", "unknown":
		m.Node = core.Node{Name: "node-of-" + m.Name}
	default:
		panic("a node is not " + word)
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
	case "joins":
		m.Workload.Start, m.Workload.InitialCluster = core.StartJoin, strings.Split(value, ",")
	case "awake":
		m.Workload.Stopped = false
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
				InitialCluster: w.founders(), Settled: true,
			}
			w.templates[m.Name] = w.Cluster.Spec.Version
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
		m.Pod.MemberHash, m.Pod.RestartHash = value, restartHash(value)
	case "deleting":
		m.Pod.Deleting = true
	case "fine":
		m.Pod.Problem = core.Problem{}
	case "sealed":
		m.Pod.Start = core.StartSealed
	case "unsealed":
		m.Pod.Start = core.StartBootstrap
	case "fixed":
		m.Pod.StartFixed = true
	case "resize-refused":
		m.Pod.ResizeRefused = true
	case "resizing":
		m.Pod.Resizing = "the kubelet is at it"
	case "resized":
		m.Pod.Resizing = ""
	case "down":
		m.Pod.Running, m.Pod.Started, m.Pod.Ready = false, false, false
	case "starting", "running", "ready":
		if !m.Pod.Exists || m.Pod.Deleting {
			w.pods++
			m.Pod = core.Pod{
				Exists: true, UID: fmt.Sprintf("pod-%d", w.pods), Created: w.Now, Start: m.Workload.Start,
				MemberHash: m.Workload.MemberHash, RestartHash: restartHash(m.Workload.MemberHash),
			}
			w.answers[m.Name].version = w.Cluster.Spec.Version
			if template := w.templates[m.Name]; template != "" {
				w.answers[m.Name].version = template
			}
		}
		m.Pod.Problem = core.Problem{}
		m.Pod.Running, m.Pod.Started, m.Pod.Ready = key != "starting", key != "starting", key == "ready"
	default:
		panic("a pod is not " + word)
	}
}

// restartHash is what is left of a member's hash without its CPU and memory.
func restartHash(memberHash string) string {
	hash, _, _ := strings.Cut(memberHash, "+")
	return hash
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
			StorageHash: w.Cluster.Spec.StorageHash, Kept: true, KeptWanted: true, Founders: w.founders(),
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
			record(v, w.answers[m.Name].version)
			if value == "" {
				v.ClusterID = "c1"
			}
		case "ran":
			record(v, value)
		case "since36":
			v.Since36 = uint64(number(value))
		case "unmarked":
			v.ClusterID = ""
		case "founders":
			v.Founders = strings.Split(value, ",")
		case "owner":
			v.OwnerUID, v.FoundedBy = value, value
		case "taken-over-by":
			v.OwnerUID = value
		case "leaving":
			v.Deleting = true
		case "kept":
			v.KeptWanted = value != "false"
		case "goes-with-its-cluster":
			v.Kept = false
		case "removed":
			v.Removed = true
		case "size":
			v.Size, v.WantedSize = int64(number(value))<<30, int64(number(value))<<30
		case "wanted":
			v.WantedSize = int64(number(value)) << 30
		case "expandable":
			v.Expandable = value != "false"
		case "fits":
			v.Misfit = ""
		default:
			panic("a volume is not " + word)
		}
	}
}

// recordVersion is what has happened since a member that has been there for long began to run its version.
func (w *world) recordVersion(name string) {
	for i := range w.member(name).Volumes {
		if v := &w.member(name).Volumes[i]; v.ClusterID != "" {
			record(v, w.answers[name].version)
		}
	}
}

// record is what is on the claim of a member that has run a version for long.
func record(v *core.Volume, version string) {
	v.Version, v.Since36 = version, 0
	if version != "" && !strings.HasPrefix(version, "3.5.") {
		v.Since36 = 1
	}
}

func (w *world) tellAnswer(name, word string) {
	a := w.answers[name]
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "usual":
		*a = answer{version: a.version, stored: a.stored, joined: a.joined}
		w.alarms = slices.DeleteFunc(w.alarms, func(raised alarm) bool { return raised.member == name })
	case "silent":
		a.silent = true
	case "cluster":
		a.clusterID = value
	case "follows":
		a.follows = value
	case "leaderless":
		a.leaderless = true
	case "version":
		a.version = value
		w.recordVersion(name)
	case "stored":
		a.stored = value
	case "lag":
		lag, err := strconv.ParseUint(value, 10, 64)
		must(err)
		a.lag = lag
	case "db":
		a.size = int64(number(value)) << 30
	case "alarm":
		w.alarms = append(w.alarms, alarm{name, value})
	case "error":
		a.errors = append(a.errors, value)
	case "joined":
		a.joined = true
	default:
		panic("no answer is " + word)
	}
}
