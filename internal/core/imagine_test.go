package core_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// dice makes choices that depend on a seed alone.
type dice struct{ *rand.Rand }

// oneIn is true once in n times.
func (d dice) oneIn(n int) bool { return d.IntN(n) == 0 }

func choose[T any](d dice, options ...T) T { return options[d.IntN(len(options))] }

// cast are the members that an imagined cluster has, had and will have.
type cast struct {
	founders []string
	// listed are those in etcd's list; learners are the last of them, and unstarted is one of those, or nobody.
	listed    []string
	learners  []string
	unstarted string
	// removed are those that were in the list once, and of which something may be left.
	removed []string
	foreign bool
	next    int
}

// imagine makes up an observation. Anything may be the case that no law of Kubernetes or of etcd rules out; most of
// the time most things are well, or nothing interesting would ever happen.
func imagine(seed uint64) core.Observation {
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	size := choose(d, 1, 3, 3, 3, 5)
	formed := !d.oneIn(3)
	o := core.Observation{Now: time.Unix(2_000_000_000+int64(seed), 0)}
	o.Cluster = core.Cluster{Name: "demo", Namespace: "default", UID: "uid-1", Generation: 2, Deleting: d.oneIn(40), Spec: d.spec(size)}
	c := d.cast(size, formed)
	if formed && !d.oneIn(6) {
		o.Cluster.Recorded.ClusterID = "c1"
	}
	if !d.oneIn(6) {
		o.Cluster.Recorded.BootstrapMembers = c.founders
	}
	if formed && !d.oneIn(4) {
		d.record(&o, c)
	}
	if d.oneIn(4) {
		o.Cluster.Spec.Replace = []string{choose(d, c.founders...)}
	}
	for _, kind := range []string{"ConfigMap", "Service"} {
		state := choose(d, core.Current, core.Current, core.Current, core.Missing, core.Drifted, core.Foreign, core.Surplus)
		o.Objects = append(o.Objects, core.Object{Kind: kind, Name: "demo", State: state})
	}
	calm := d.oneIn(3)
	for _, name := range c.listed {
		if !calm && d.oneIn(10) {
			continue
		}
		o.Members = append(o.Members, d.member(name, c, formed, calm, o.Now))
	}
	for _, name := range c.removed {
		o.Members = append(o.Members, d.leftover(name, c))
	}
	if formed {
		o.Etcd = d.etcd(o.Members, c, calm)
	}
	d.wish(&o)
	if d.oneIn(5) {
		o.Failure = core.Failure{Step: "ApplyMember", Problem: core.Problem{Reason: core.ReasonStepFailed, Message: "it failed"}}
	}
	return o
}

func (d dice) spec(size int) core.Spec {
	spec := core.Spec{
		Size: size, FinalVersion: choose(d, "3.6.16", "3.6.16", "3.6.17", "3.7.3", "3.5.30"),
		MemberHash: choose(d, "b", "b", "b+cpu"), RestartHash: "b", StorageHash: choose(d, "disk", "disk", "disk", "other"), Paused: d.oneIn(40),
		MaxLearners: choose(d, 1, 2), SnapshotCount: 10_000, UnhealthyAfter: choose(d, 0, 10*time.Minute, 10*time.Minute),
		KeepRemoved: d.oneIn(2), InMemory: d.oneIn(12),
	}
	if d.oneIn(4) {
		spec.Size = choose(d, 0, 1, 3, 5)
	}
	return spec
}

// wish works out which version is next, as observing does.
func (d dice) wish(o *core.Observation) {
	var fleet core.Fleet
	for _, s := range o.Etcd.Statuses {
		fleet.Runs, fleet.Answers, fleet.Told = append(fleet.Runs, s.Version), append(fleet.Answers, s.Version), s.DowngradeTarget
	}
	for _, m := range o.Cluster.Recorded.Members {
		if statusOf(*o, m.Name) == nil {
			fleet.Runs, fleet.Away = append(fleet.Runs, m.Version), append(fleet.Away, m.Version)
		}
	}
	fleet.Joining = o.Etcd.List.Joining(o.Cluster.Spec.Size)
	fleet.Asleep = o.Cluster.Spec.Size == 0 || slices.ContainsFunc(o.Members, func(m core.Member) bool { return m.Workload.Exists() && m.Workload.Stopped })
	o.Cluster.Spec.Version = core.Waypoint(o.Cluster.Spec.FinalVersion, fleet)
}

// cast makes up who is a member: founders, some of which are gone, and others who have joined since.
func (d dice) cast(size int, formed bool) cast {
	c := cast{founders: expand(fmt.Sprintf("demo-0..%d", size-1)), next: size}
	if !formed {
		c.listed = c.founders
		return c
	}
	for _, name := range c.founders {
		if d.oneIn(8) && len(c.founders)-len(c.removed) > 1 {
			c.removed = append(c.removed, name)
			continue
		}
		c.listed = append(c.listed, name)
	}
	for range choose(d, 0, 0, 0, 1, 1, 2) {
		name := fmt.Sprintf("demo-%d", c.next)
		c.next++
		switch d.IntN(4) {
		case 0:
			c.removed = append(c.removed, name)
		case 1:
			c.listed = append(c.listed, name)
		default:
			c.listed, c.learners = append(c.listed, name), append(c.learners, name)
			if d.oneIn(2) {
				c.unstarted = name
			}
		}
	}
	if c.unstarted == "" && d.oneIn(12) {
		c.unstarted = choose(d, c.listed...)
	}
	c.foreign = d.oneIn(25)
	return c
}

// record makes up what the status says of the members.
func (d dice) record(o *core.Observation, c cast) {
	o.Cluster.Recorded.MemberCount = len(c.listed)
	if !d.oneIn(4) {
		o.Cluster.Recorded.NextOrdinal = c.next + choose(d, 0, 0, 1)
	}
	for _, name := range c.listed {
		if name == c.unstarted || d.oneIn(8) {
			continue
		}
		o.Cluster.Recorded.Members = append(o.Cluster.Recorded.Members, core.MemberReport{
			Name: name, ID: "id-" + name, Version: choose(d, "3.6.16", "3.6.16", "3.5.30"), Healthy: d.oneIn(2), Role: core.RoleVoter,
			HealthySince: o.Now.Add(-choose(d, time.Second, time.Minute, time.Hour)),
		})
	}
	if d.oneIn(3) {
		o.Cluster.Recorded.Conditions = []core.Condition{{
			Type: core.Progressing, Status: core.True, Reason: choose(d, core.ReasonRollingOut, core.ReasonHibernated, core.ReasonWaking),
			Message: "it was", Since: o.Now.Add(-choose(d, time.Second, time.Hour)),
		}}
	}
}

func (d dice) member(name string, c cast, formed, calm bool, now time.Time) core.Member {
	m := core.Member{Name: name, Node: core.Node{Name: "node", Gone: d.oneIn(10), Since: now.Add(-choose(d, time.Minute, time.Hour))}}
	rare := func(n int) bool { return !calm && d.oneIn(n) }
	if !rare(10) {
		m.Workload = d.workload(name, c, formed, calm)
	}
	volume := core.Volume{
		Name: "data-" + name + "-0", UID: "claim-" + name, Bound: formed && name != c.unstarted || d.oneIn(3), Kept: calm || d.oneIn(2), KeptWanted: true,
		OwnerUID: "uid-1", FoundedBy: choose(d, "uid-1", "uid-1", "uid-0"), StorageHash: choose(d, "disk", "disk", "other"),
		Deleting: rare(20), Size: 10 << 30, WantedSize: choose[int64](d, 10<<30, 10<<30, 20<<30, 1<<30), Expandable: d.oneIn(2),
	}
	if rare(6) {
		volume.OwnerUID = "uid-0"
	}
	if volume.WantedSize < volume.Size || d.oneIn(12) {
		volume.Misfit = "it cannot become what is asked for"
	}
	if volume.Bound && formed && !rare(4) && name != c.unstarted {
		volume.ClusterID = "c1"
	}
	if rare(12) {
		volume.Problem = core.Problem{Reason: choose(d, core.ReasonStorageClassMissing, core.ReasonVolumeLost), Message: "no volume"}
	}
	if !rare(10) {
		m.Volumes = []core.Volume{volume}
	}
	d.pod(&m, c, formed, rare)
	return m
}

func (d dice) workload(name string, c cast, formed, calm bool) core.Workload {
	w := core.Workload{
		State: core.Current, UID: "workload-" + name, MemberHash: choose(d, "a", "b", "b"), StorageHash: "disk",
		Start: choose(d, core.StartSealed, core.StartBootstrap), Settled: calm || !d.oneIn(8), InitialCluster: c.founders,
		Stopped: formed && d.oneIn(15),
	}
	if !formed {
		w.Start = core.StartBootstrap
	}
	if formed && slices.Contains(c.listed, name) && !slices.Contains(c.founders, name) {
		w.Start = choose(d, core.StartSealed, core.StartJoin)
		w.InitialCluster = choose(d, c.listed, c.founders)
	}
	if formed && calm && name != c.unstarted {
		w.Start = core.StartSealed
	}
	if !calm && d.oneIn(3) {
		w.State = choose(d, core.Drifted, core.Leaving, core.Foreign, core.Missing)
	}
	return w
}

func (d dice) pod(m *core.Member, c cast, formed bool, rare func(int) bool) {
	if rare(8) || m.Workload.Stopped {
		if m.Workload.Exists() && d.oneIn(2) {
			m.Workload.Problem = core.Problem{Reason: core.ReasonQuotaExceeded, Message: "exceeded quota"}
		}
		return
	}
	hash := choose(d, "a", m.Workload.MemberHash)
	m.Pod = core.Pod{Exists: true, UID: "pod-" + m.Name, Deleting: rare(15), MemberHash: hash, RestartHash: choose(d, "b", hash), ResizeRefused: d.oneIn(4)}
	m.Pod.Start, m.Pod.StartFixed = m.Workload.Start, rare(20)
	if d.oneIn(4) {
		m.Pod.Resizing = "the kubelet is at it"
	}
	if rare(6) {
		m.Pod.Start = choose(d, core.StartBootstrap, core.StartJoin, core.StartSealed)
	}
	m.Pod.Running = formed && !rare(6) && m.Name != c.unstarted
	m.Pod.Started = m.Pod.Running && !rare(8)
	m.Pod.Ready = m.Pod.Running && !rare(5) && !slices.Contains(c.learners, m.Name)
	if !m.Pod.Running && d.oneIn(2) {
		reason := choose(d, core.ReasonImagePullFailed, core.ReasonCrashLooping, core.ReasonVolumeEmpty, core.ReasonDataCorrupt)
		m.Pod.Problem = core.Problem{Reason: reason, Message: "it does not run"}
	}
}

// leftover makes up what is left of a member that is not in the list any more.
func (d dice) leftover(name string, c cast) core.Member {
	m := core.Member{Name: name}
	removed := d.oneIn(2)
	if !removed || d.oneIn(2) {
		m.Workload = d.workload(name, c, true, true)
	}
	if !d.oneIn(5) {
		m.Volumes = []core.Volume{{
			Name: "data-" + name + "-0", UID: "claim-" + name, Bound: !d.oneIn(4), Kept: true, KeptWanted: true, StorageHash: "disk",
			OwnerUID: choose(d, "uid-1", "uid-1", "uid-0"), FoundedBy: "uid-1", ClusterID: choose(d, "c1", "c1", "c1", "c9", ""),
			Removed: removed, Deleting: d.oneIn(8),
		}}
		if !m.Volumes[0].Bound {
			m.Volumes[0].ClusterID = ""
		}
	}
	if d.oneIn(2) {
		m.Pod = core.Pod{Exists: true, UID: "pod-" + name, Deleting: d.oneIn(2), Running: d.oneIn(3), MemberHash: "b", RestartHash: "b"}
	}
	return m
}
