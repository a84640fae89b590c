package core

import (
	"fmt"
	"slices"
)

// applyMembers makes the StatefulSets that are missing, and mends those that drifted or that are to be sealed.
//
// All members of a new cluster are made at once, with a static initial cluster
// (https://etcd.io/docs/v3.6/op-guide/clustering/#static), so that creation is as fast as the pods start.
func (v *view) applyMembers() []Action {
	var actions []Action
	for _, name := range v.bootstrapMembers {
		m := v.byName[name]
		start := v.startOf(m)
		apply := ApplyMember{Member: name, Start: start, BootstrapMembers: v.bootstrapMembers, Retry: m.Workload.Retry}
		switch {
		case m.Workload.State == Missing && v.clusterID != "" && !versionHop(v.Cluster.Spec.Version, v.running()).IsZero():
			// What is refused reaches no member, not even one that is made again.
		case m.Workload.State == Missing && m.remnants() == 0 && v.Cluster.Spec.Size > 0 && !v.inTheWay():
			actions = append(actions, apply)
		case m.Workload.MemberHash != v.Cluster.Spec.MemberHash:
			// Applying would bring in what the rollout has not come to yet.
		case m.Workload.State == Drifted, m.Workload.State == Current && m.Workload.Start != start && m.sealable():
			actions = append(actions, apply)
		}
	}
	return actions
}

// startOf decides how a member would start on an empty volume. Only members that are certain to have never run may
// found the cluster: initial-cluster-state belongs to the phase of the cluster, not to a member. Once the cluster is
// formed, only a StatefulSet that was made before may still found, by the founding token that it has.
func (v *view) startOf(m *memberView) Start {
	switch {
	case m.Workload.Exists() && m.Workload.Start == StartSealed, m.marked(), m.listedStarted():
		return StartSealed
	case m.Workload.Exists() || v.clusterID == "", v.stillFounds(m):
		return StartBootstrap
	}
	return StartSealed
}

// stillFounds is whether a founder could not be made before the others formed the cluster: etcd lists it and says, by
// a linearizable read, that it has never started; it never had a volume; and it would found by the same token, which
// is that of the object that all other volumes were made for.
func (v *view) stillFounds(m *memberView) bool {
	if m.listed == nil || m.listed.Started {
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

// sealable is whether everything is recorded on the member's volumes that has to outlive its StatefulSet. Only then is
// the member sealed: a volume without a mark under a sealed member is one that was lost.
func (m *memberView) sealable() bool {
	return len(m.Volumes) == 0 || m.marked() && !slices.ContainsFunc(m.Volumes, func(v Volume) bool { return v.Kept != v.KeptWanted })
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

// markVolumes records on the claims whose data they hold and whether they outlive the EtcdCluster. That makes a lost
// status harmless: claims that are marked are never bootstrapped over.
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
		if !v.markable(volume, ran) || v.upToDate(volume) {
			continue
		}
		volume.ClusterID = v.clusterID
		unmarked = append(unmarked, volume)
	}
	return unmarked
}

// seenRunning is whether etcd lists the member as started and the member itself says that it is part of the cluster.
// Its volumes hold the cluster's data then.
func (v *view) seenRunning(m *memberView) bool {
	return m.listedStarted() && m.status != nil && m.status.Answered && m.status.ClusterID == v.clusterID
}

// markable is whether a volume may be marked, given whether its member was seen running.
func (v *view) markable(volume Volume, ran bool) bool {
	switch {
	case volume.Deleting, !volume.Bound:
		return false
	case volume.ClusterID == "" && !ran:
		// A claim whose member has not run yet is left alone: its provisioner may be at work on it, and there is
		// nothing to lose.
		return false
	case volume.ClusterID != "" && volume.ClusterID != v.clusterID, volume.leaves(v.Cluster.UID) && !ran:
		// What holds other data, or goes with an earlier cluster, is not ours to mark.
		return false
	}
	return true
}

// upToDate is whether everything is recorded on a volume that may be marked: whose data it holds, whether it outlives
// the EtcdCluster, and that it is this EtcdCluster's, which may have taken it over from an earlier one.
func (v *view) upToDate(volume Volume) bool {
	return volume.ClusterID != "" && volume.Kept == volume.KeptWanted && volume.OwnerUID == v.Cluster.UID
}

// retryRefused nudges the StatefulSets whose pod was refused, e.g. for a quota: their controller backs off for up to
// 16 minutes, and does not see that a quota was raised.
func (v *view) retryRefused() []Action {
	bucket := v.Now.Unix() / int64(retryEvery.Seconds())
	var actions []Action
	for _, m := range v.members {
		start := v.startOf(m)
		upToDate := m.Workload.MemberHash == v.Cluster.Spec.MemberHash
		if upToDate && m.Workload.State == Current && m.Workload.Start == start && !m.Workload.Problem.IsZero() && !m.Pod.Exists && m.Workload.Retry < bucket {
			actions = append(actions, ApplyMember{Member: m.Name, Start: start, BootstrapMembers: v.bootstrapMembers, Retry: bucket})
		}
	}
	return actions
}

// recreate deletes a member that waits for volumes as they should not be. None of its claims ever had a volume
// behind it, so there is nothing to lose; a claim cannot be changed.
func (v *view) recreate(m *memberView) (Action, Problem) {
	unbound := true
	for _, volume := range m.Volumes {
		unbound = unbound && !volume.Bound
	}
	ran := m.Pod.Running || m.Workload.Start == StartSealed || m.marked() || m.listedStarted()
	// Without claims there is nothing to tell from, but that no pod was ever made.
	unclear := len(m.Volumes) == 0 && (v.Cluster.Spec.InMemory || m.Pod.Exists)
	if !unbound || ran || unclear {
		return nil, Problem{ReasonStorageChangeRefused, fmt.Sprintf("spec.storage asks for other volumes than member %s has: this release does not change the volumes of a member that has run; everything else of the spec is applied", m.Name)}
	}
	return RecreateMember{Member: m.Name, WorkloadUID: m.Workload.UID, Volumes: m.Volumes},
		Problem{ReasonRecreating, fmt.Sprintf("member %s is made again: its claims have no volume yet and spec.storage has changed", m.Name)}
}
