package core

import (
	"fmt"
	"slices"
)

// expandVolumes lets volumes grow in place. No pod restarts by that: the volume's driver, and the kubelet, enlarge the file
// system under the running member (https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims).
func (v *view) expandVolumes() []Action {
	var actions []Action
	for _, m := range v.members {
		var growing []Volume
		for _, volume := range m.Volumes {
			if volume.grows() && v.ours(volume) {
				growing = append(growing, volume)
			}
		}
		if len(growing) > 0 {
			actions = append(actions, ExpandVolumes{Member: m.Name, Volumes: growing})
		}
	}
	return actions
}

// grows is whether a volume is to grow in place.
func (v Volume) grows() bool {
	return v.Bound && !v.Deleting && v.Expandable && v.Misfit == "" && v.Size < v.WantedSize
}

// recreate: a member that waits for volumes as they should not be is deleted and made again. None of its claims ever had a
// volume behind it, so there is nothing to lose; a claim cannot be changed.
func recreate(v *view, p *plan) bool {
	for _, m := range v.members {
		if !m.waitsForOtherStorage(v.Cluster.Spec.StorageHash) || !v.neverRan(m) {
			continue
		}
		p.doing = Problem{ReasonRecreating, fmt.Sprintf("member %s is made again: its claims have no volume yet and spec.storage has changed", m.Name)}
		p.actions = append(p.actions, RecreateMember{Member: m.Name, WorkloadUID: m.Workload.UID, Volumes: m.Volumes})
		return true
	}
	return false
}

// waitsForOtherStorage is whether the member waits for other volumes than are wanted.
func (m *memberView) waitsForOtherStorage(want string) bool {
	if !m.Workload.Exists() || m.Workload.Stopped {
		return false
	}
	return m.Workload.StorageHash != want || slices.ContainsFunc(m.Volumes, func(v Volume) bool {
		return !v.Bound && !v.Deleting && v.StorageHash != want
	})
}

// neverRan is whether a member is certain to have never had a volume. Without claims there is nothing to tell from, but that
// no pod was ever made.
func (v *view) neverRan(m *memberView) bool {
	ran := m.hasVolume() || m.Pod.Running || m.Workload.Start == StartSealed || m.marked() || m.listedStarted()
	unclear := len(m.Volumes) == 0 && (v.Cluster.Spec.InMemory || m.Pod.Exists)
	return !ran && !unclear
}

// exchange is a member that is to be replaced although nothing is wrong with it, or whatever is.
type exchange struct {
	member *memberView
	why    string
}

// exchanges are the members that cannot become what is asked of them: those whose volumes cannot be changed in
// place, those that would lose their data by a restart, and those that the user named.
func (v *view) exchanges() []exchange {
	var found []exchange
	for _, m := range v.members {
		if m.listed == nil {
			continue
		}
		if why := v.exchangeReason(m); why != "" {
			found = append(found, exchange{m, why})
		}
	}
	return found
}

func (v *view) exchangeReason(m *memberView) string {
	if slices.Contains(v.Cluster.Spec.Replace, m.Name) {
		return "its replacement was asked for"
	}
	if v.Cluster.Spec.InMemory && m.outdated(v.Cluster.Spec.MemberHash) && !v.resizable(m) {
		return "it keeps its data in memory and would lose it by a restart"
	}
	for _, volume := range m.Volumes {
		if volume.Misfit != "" && !volume.Deleting && tooSmall(m, volume).IsZero() {
			return volume.Misfit
		}
	}
	return ""
}

func tooSmall(m *memberView, volume Volume) Problem {
	if m.status == nil {
		return Problem{}
	}
	return ShrinkRefused(m.Name, volume, m.status.DBSize)
}

// ShrinkRefused says that the smaller volume that is wanted would not hold a member's database with its log and a snapshot, or nothing
// if it would.
func ShrinkRefused(member string, volume Volume, database int64) Problem {
	if volume.WantedSize <= 0 || volume.WantedSize >= volume.Size || volume.WantedSize >= database/2*3 {
		return Problem{}
	}
	return Problem{ReasonStorageChangeRefused, fmt.Sprintf("spec.storage.size asks for volumes of %d MiB, but the database of member %s has %d MiB: volumes need one and a half times that, for log and snapshots; ask for more, or compact and defragment first", volume.WantedSize>>20, member, database>>20)}
}

// shrinkRefused says which volumes would be too small.
func (v *view) shrinkRefused() Problem {
	for _, m := range v.members {
		for _, volume := range m.Volumes {
			if problem := tooSmall(m, volume); !problem.IsZero() {
				return problem
			}
		}
	}
	return Problem{}
}
