package core

import (
	"slices"
	"time"
)

// applyMembers makes the StatefulSets that are missing, and mends those that drifted or that are to be sealed.
//
// All members of a new cluster are made at once, with a static initial cluster
// (https://etcd.io/docs/v3.6/op-guide/clustering/#static), so that creation is as fast as the pods start. Those that have data start one
// after the other: at its start each asks all others for what they have, and waits for each of them that listens and does not answer since it
// asks, too: 5 s and twice its election timeout, 7 s in all if that is etcd's default (server/etcdserver/corrupt.go). Who does not listen yet is
// passed over at once.
func (v *view) applyMembers() []Action {
	var actions []Action
	asking := slices.ContainsFunc(v.members, v.asks)
	for _, m := range v.members {
		stopped := m.Workload.Exists() && m.Workload.Stopped && v.Cluster.Spec.Size > 0
		switch {
		case stopped, m.Workload.State == Missing && v.mayMake(m):
			if starts := v.apply(m); starts.Start != StartSealed || !asking {
				actions = append(actions, starts)
				asking = asking || starts.Start == StartSealed
			}
		case m.Workload.State == Missing:
		case m.Workload.MemberHash != v.Cluster.Spec.MemberHash:
			// Applying would bring in what the rollout has not come to yet.
		case m.Workload.State == Drifted, m.Workload.State == Current && v.sealsNow(m):
			actions = append(actions, v.apply(m))
		}
	}
	return actions
}

// asksWithin is how long the start of a member holds others back.
const asksWithin = 10 * time.Second

// asks is whether a member has just begun to start, and does not answer yet.
func (v *view) asks(m *memberView) bool {
	if !m.Workload.Exists() || m.Workload.Stopped || m.Workload.Start != StartSealed || !m.Pod.Problem.IsZero() || !m.Workload.Problem.IsZero() {
		return false
	}
	if !m.Pod.Exists {
		// Its controller tells that it has seen the StatefulSet when it has made the pod, or could not.
		return !m.Workload.Settled
	}
	return !m.Pod.Started && !m.Pod.Deleting && (m.status == nil || !m.status.Answered) && v.Now.Sub(m.Pod.Created).Abs() < asksWithin
}

// mayMake is whether the StatefulSet of a member that has none may be made now.
func (v *view) mayMake(m *memberView) bool {
	switch start := v.startOf(m); {
	case v.clusterID != "" && (!v.versionRefused().IsZero() || !v.mayGoBack()):
		// What is refused reaches no member, not even one that is made again.
		return false
	case m.listed != nil && m.listed.Learner && len(v.Etcd.List.Members) > v.target():
		// It was added and is not wanted any more.
		return false
	case start == StartSealed && len(m.Volumes) == 0 && !v.Etcd.List.Known:
		// It could not start on nothing. It may be one that is to join, which only etcd can say.
		return false
	}
	return m.remnants() == 0 && v.Cluster.Spec.Size > 0 && !v.inTheWay()
}

// apply is the action that makes a member's StatefulSet what it should be.
func (v *view) apply(m *memberView) ApplyMember {
	apply := ApplyMember{Member: m.Name, Start: v.startOf(m), Stopped: v.Cluster.Spec.Size == 0, Made: m.Workload.Exists(), Retry: m.Workload.Retry}
	if m.Workload.Exists() && !v.Cluster.Spec.InMemory && !m.marked() {
		apply.Start = m.Workload.Start
	}
	switch {
	case apply.Start == StartBootstrap:
		apply.InitialCluster = v.founders
	case apply.Start == StartJoin && m.Workload.Exists():
		apply.InitialCluster = m.Workload.InitialCluster
	case apply.Start == StartJoin:
		apply.InitialCluster = v.listedNames()
	}
	return apply
}

// listedNames are the members that etcd lists. One that joins has to know all of them, and nothing else
// (https://etcd.io/docs/v3.6/op-guide/runtime-configuration/#add-a-new-member).
func (v *view) listedNames() []string {
	var names []string
	for _, l := range v.Etcd.List.Members {
		names = append(names, l.Name)
	}
	slices.SortFunc(names, CompareNames)
	return names
}

// sealsNow is whether a member can be sealed and its StatefulSet is not yet.
func (v *view) sealsNow(m *memberView) bool {
	return m.Workload.Start != StartSealed && v.sealable(m) && v.startOf(m) == StartSealed
}

// sealPods seals the pods that were made before their member was sealed: the volume may be emptied beneath one, by a reboot
// of its node or by hand, and its container starts again in the same pod.
func (v *view) sealPods() []Action {
	var actions []Action
	for _, m := range v.members {
		if v.sealsPod(m) {
			actions = append(actions, SealPod{Member: m.Name, PodUID: m.Pod.UID})
		}
	}
	return actions
}

// sealsPod is whether the pod of a member can be sealed and is not yet. It does not wait for the StatefulSet, which is not
// touched while a rollout has not come to it.
func (v *view) sealsPod(m *memberView) bool {
	if !m.Workload.Exists() || !m.Pod.Exists || m.Pod.Deleting || m.Pod.StartFixed || m.Pod.Start == StartSealed {
		return false
	}
	return m.Workload.Start == StartSealed || v.sealsNow(m)
}

// startOf decides how a member would start on an empty volume. Only members that are certain to have never run may
// found the cluster: initial-cluster-state belongs to the phase of the cluster, not to a member. Once the cluster is
// formed, only a StatefulSet that was made before may still found, by the founding token that it has; and only a member
// that was added since, and never had a volume, may join.
func (v *view) startOf(m *memberView) Start {
	switch {
	case m.Workload.Exists() && m.Workload.Start == StartSealed, m.marked(), m.listedStarted():
		return StartSealed
	case m.Workload.Exists():
		return m.Workload.Start
	case !v.formed(), v.stillFounds(m):
		return StartBootstrap
	case m.listed != nil && !m.hasVolume() && !v.filled(m):
		return StartJoin
	}
	return StartSealed
}

// formed is whether the cluster has been founded. A StatefulSet that is sealed, or joins, proves it even if its ID is lost.
func (v *view) formed() bool {
	return v.clusterID != "" || slices.ContainsFunc(v.Members, func(m Member) bool {
		return m.Workload.Exists() && m.Workload.Start != StartBootstrap
	})
}

// hasVolume is whether the member ever had a volume: then it may have run.
func (m *memberView) hasVolume() bool {
	return slices.ContainsFunc(m.Volumes, func(v Volume) bool { return v.Bound })
}

// stillFounds is whether a founder could not be made before the others formed the cluster: etcd lists it and says, by
// a linearizable read, that it has never started; it never had a volume; and it would found by the same token, which
// is that of the object that all other volumes were made for.
func (v *view) stillFounds(m *memberView) bool {
	if m.listed == nil || m.listed.Started || m.listed.Learner || v.filled(m) || !slices.Contains(v.founders, m.Name) {
		return false
	}
	for _, other := range v.members {
		for _, volume := range other.Volumes {
			if other == m && volume.Bound || other != m && volume.FoundedBy != v.Cluster.UID {
				return false
			}
		}
	}
	return true
}

// filled is whether a restore has filled the volume of a member that etcd lists: it lists those from the start, and they are voters, as
// no member is that was added since and has not started.
func (v *view) filled(m *memberView) bool {
	return v.Cluster.Restored != "" && m.listed != nil && !m.listed.Learner
}

// sealable is whether everything is recorded on the member's volumes that has to outlive its StatefulSet. Only then is
// the member sealed: a volume without a mark under a sealed member is one that was lost.
func (v *view) sealable(m *memberView) bool {
	return len(m.Volumes) == 0 && v.Cluster.Spec.InMemory || m.marked() && !slices.ContainsFunc(m.Volumes, func(v Volume) bool { return v.Kept != v.KeptWanted })
}

// inTheWay is whether a StatefulSet under a member's name is not ours, or is leaving: members of an earlier cluster
// may still run, and what is made beside them would found another one.
func (v *view) inTheWay() bool {
	return slices.ContainsFunc(v.members, func(m *memberView) bool {
		return m.Workload.State == Foreign || m.Workload.State == Leaving
	})
}

// remnants counts what is left of an earlier StatefulSet of the member and is on its way out: a new one would only
// wait for that.
func (m *memberView) remnants() int {
	count := 0
	if m.Pod.Exists {
		count++
	}
	for _, volume := range m.Volumes {
		if volume.Deleting {
			count++
		}
	}
	return count
}

// markVolumes records on the claims whose data they hold, the version that their member runs, how members talk to each other, and
// whether they outlive the EtcdCluster. That makes a lost status harmless: claims that are marked are never bootstrapped over, and
// their members start with a version that knows their data, and listen where the others look for them.
func (v *view) markVolumes() []Action {
	var actions []Action
	for _, m := range v.members {
		if unmarked := v.unmarked(m); len(unmarked) > 0 {
			actions = append(actions, MarkVolumes{Member: m.Name, ClusterID: v.clusterID, Volumes: unmarked})
		}
	}
	return actions
}

// unmarked are the volumes of a member that may be marked and are not yet as they should be, with the cluster's ID.
func (v *view) unmarked(m *memberView) []Volume {
	ran := v.seenRunning(m)
	var unmarked []Volume
	for _, volume := range m.Volumes {
		version, since, peers := volume.Version, volume.Since36, volume.Peers
		if ran {
			// The member list is known then, and so is how all of its members are listed.
			peers = v.Cluster.Spec.Peers
		}
		if ran && len(appendVersion(nil, m.status.Version)) > 0 {
			version, since = m.status.Version, v.since36(m, volume)
		}
		if !v.markable(volume, ran) || v.upToDate(volume) && volume.Version == version && volume.Since36 == since && volume.Peers == peers {
			continue
		}
		volume.ClusterID, volume.Version, volume.Since36, volume.Peers = v.clusterID, version, since, peers
		unmarked = append(unmarked, volume)
	}
	return unmarked
}

// seenRunning is whether etcd lists the member as started, or it is a learner with all data, and the member itself says that it is
// part of the cluster. Its volumes hold the cluster's data then.
func (v *view) seenRunning(m *memberView) bool {
	return (m.listedStarted() || m.copied()) && m.status != nil && m.status.Answered && m.status.ClusterID == v.clusterID
}

// markable is whether a volume may be marked, given whether its member was seen running.
func (v *view) markable(volume Volume, ran bool) bool {
	switch {
	case volume.Deleting, !volume.Bound:
		return false
	case volume.unsaid() && !ran:
		// A claim whose member has not run yet is left alone: its provisioner may be at work on it, and there is
		// nothing to lose.
		return false
	case !volume.unsaid() && volume.ClusterID != v.clusterID, volume.leaves(v.Cluster.UID) && !ran:
		// What holds other data, or goes with an earlier cluster, is not ours to mark.
		return false
	}
	return true
}

// upToDate is whether everything is recorded on a volume that may be marked: whose data it holds, whether it outlives
// the EtcdCluster, and that it is this EtcdCluster's, which may have taken it over from an earlier one.
func (v *view) upToDate(volume Volume) bool {
	return !volume.unsaid() && volume.Kept == volume.KeptWanted && volume.OwnerUID == v.Cluster.UID
}

// retryRefused nudges the StatefulSets whose pod was refused, e.g. for a quota: their controller backs off for up to
// 16 minutes, and does not see that a quota was raised.
func (v *view) retryRefused() []Action {
	bucket := v.Now.Unix() / int64(retryEvery.Seconds())
	var actions []Action
	for _, m := range v.members {
		settled := m.Workload.MemberHash == v.Cluster.Spec.MemberHash && m.Workload.State == Current && !v.sealsNow(m) && !m.Workload.Stopped
		if settled && !m.Workload.Problem.IsZero() && !m.Pod.Exists && m.Workload.Retry != bucket {
			nudge := v.apply(m)
			nudge.Retry = bucket
			actions = append(actions, nudge)
		}
	}
	return actions
}
