package core_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// dice makes choices that depend on a seed alone.
type dice struct{ *rand.Rand }

// oneIn is true once in n times.
func (d dice) oneIn(n int) bool { return d.IntN(n) == 0 }

func choose[T any](d dice, options ...T) T { return options[d.IntN(len(options))] }

// imagine makes up an observation. Anything may be the case that no law of Kubernetes or of etcd rules out; most of
// the time most things are well, or nothing interesting would ever happen.
func imagine(seed uint64) core.Observation {
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	size := choose(d, 1, 3, 3, 3, 5)
	formed := !d.oneIn(3)
	o := core.Observation{Now: time.Unix(2_000_000_000+int64(seed), 0)}
	o.Cluster = core.Cluster{
		Name: "demo", Namespace: "default", UID: "uid-1", Generation: 2, Deleting: d.oneIn(40),
		Spec: core.Spec{
			Size: size, Version: choose(d, "3.6.16", "3.6.16", "3.6.17", "3.7.3", "3.5.30"),
			MemberHash: "b", StorageHash: choose(d, "disk", "disk", "disk", "other"), Paused: d.oneIn(40),
		},
	}
	var founders []string
	for n := range size {
		founders = append(founders, fmt.Sprintf("demo-%d", n))
	}
	if formed && !d.oneIn(6) {
		o.Cluster.Recorded.ClusterID = "c1"
	}
	if !d.oneIn(6) {
		o.Cluster.Recorded.BootstrapMembers = founders
	}
	if d.oneIn(10) {
		o.Cluster.Spec.Size = choose(d, 0, 1, 3, 5)
	}
	for _, kind := range []string{"ConfigMap", "Service"} {
		state := choose(d, core.Current, core.Current, core.Current, core.Missing, core.Drifted, core.Foreign)
		o.Objects = append(o.Objects, core.Object{Kind: kind, Name: "demo", State: state})
	}
	for _, name := range founders {
		if d.oneIn(10) {
			continue
		}
		o.Members = append(o.Members, d.member(name, founders, formed))
	}
	if formed {
		o.Etcd = d.etcd(o.Members, founders)
	}
	if d.oneIn(5) {
		o.Failure = core.Failure{Step: "ApplyMember", Problem: core.Problem{Reason: core.ReasonStepFailed, Message: "it failed"}}
	}
	return o
}

func (d dice) member(name string, founders []string, formed bool) core.Member {
	m := core.Member{Name: name}
	if !d.oneIn(10) {
		m.Workload = core.Workload{
			State: choose(d, core.Current, core.Current, core.Current, core.Drifted, core.Leaving, core.Foreign),
			UID:   "workload-" + name, MemberHash: choose(d, "a", "b", "b"), StorageHash: "disk",
			Start: choose(d, core.StartSealed, core.StartBootstrap), Settled: !d.oneIn(8), BootstrapMembers: founders,
		}
	}
	volume := core.Volume{
		Name: "data-" + name + "-0", UID: "claim-" + name, Bound: formed || d.oneIn(3), Kept: d.oneIn(2), KeptWanted: true,
		OwnerUID: choose(d, "uid-1", "uid-1", "uid-1", "uid-1", "uid-0"), Deleting: d.oneIn(20),
		FoundedBy: choose(d, "uid-1", "uid-1", "uid-0"), StorageHash: choose(d, "disk", "disk", "other"),
	}
	if volume.Bound && formed && !d.oneIn(4) {
		volume.ClusterID = "c1"
	}
	if !volume.Bound && d.oneIn(2) {
		volume.Problem = core.Problem{Reason: core.ReasonStorageClassMissing, Message: "no class"}
	}
	if !d.oneIn(10) {
		m.Volumes = []core.Volume{volume}
	}
	if !d.oneIn(8) {
		m.Pod = core.Pod{Exists: true, UID: "pod-" + name, Deleting: d.oneIn(15), MemberHash: choose(d, "a", m.Workload.MemberHash)}
		m.Pod.Running = formed && !d.oneIn(6)
		m.Pod.Ready = m.Pod.Running && !d.oneIn(5)
		if !m.Pod.Running && d.oneIn(2) {
			m.Pod.Problem = core.Problem{Reason: choose(d, core.ReasonImagePullFailed, core.ReasonCrashLooping), Message: "it does not run"}
		}
	} else if m.Workload.Exists() && d.oneIn(2) {
		m.Workload.Problem = core.Problem{Reason: core.ReasonQuotaExceeded, Message: "exceeded quota"}
	}
	return m
}

// etcd makes up what the members that run answer.
func (d dice) etcd(members []core.Member, founders []string) core.Etcd {
	var e core.Etcd
	leader := ""
	for _, m := range members {
		if m.Pod.Running && (leader == "" || d.oneIn(2)) {
			leader = m.Name
		}
	}
	if d.oneIn(8) {
		leader = ""
	}
	for _, m := range members {
		if !m.Pod.Running {
			continue
		}
		s := core.Status{Member: m.Name, Error: "connection refused"}
		if !d.oneIn(12) {
			s = core.Status{
				Member: m.Name, Answered: true, ID: "id-" + m.Name, ClusterID: "c1",
				Version: choose(d, "3.6.16", "3.6.16", "3.5.30"), DBSize: 1 << 20, RaftApplied: 50_000 + uint64(d.IntN(500)),
			}
			if leader != "" {
				s.LeaderID = "id-" + leader
			}
			if d.oneIn(20) {
				s.RaftApplied -= 20_000
			}
			if d.oneIn(20) {
				s.Alarms = []string{choose(d, "NOSPACE", "CORRUPT")}
			}
			if d.oneIn(30) {
				s.Errors = []string{"it complains"}
			}
		}
		e.Statuses = append(e.Statuses, s)
		e.List.Known = e.List.Known || s.Answered && leader != "" && !d.oneIn(10)
	}
	if !e.List.Known {
		return e
	}
	e.List.ClusterID = "c1"
	for _, name := range founders {
		e.List.Members = append(e.List.Members, core.Listed{ID: "id-" + name, Name: name, Started: !d.oneIn(12)})
	}
	return e
}
