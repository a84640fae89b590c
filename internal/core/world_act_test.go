package core_test

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

func itoa(n int) string { return strconv.Itoa(n) }

// act carries the last decision out, as Kubernetes and etcd would: what is deleted comes back as its template says. It says
// what etcd refuses, which ends the pass.
func (w *world) act() string {
	for _, action := range w.decision.Actions {
		if refused := w.refusal(action); refused != "" {
			return fmt.Sprintf("etcd refuses %s: %s\n", action.Step(), refused)
		}
		if !w.actOnObject(action) && !w.actOnMember(action) && !w.actOnVolumes(action) && !w.actOnEtcd(action) {
			panic("a scenario cannot carry out " + action.Step())
		}
	}
	return ""
}

func (w *world) actOnObject(action core.Action) bool {
	switch step := action.(type) {
	case core.ApplyObject:
		w.tellObject("object", []string{step.Kind + "/" + step.Name, "current"})
	case core.DeleteObject:
		w.Objects = slices.DeleteFunc(w.Objects, func(o core.Object) bool { return o.Kind == step.Kind && o.Name == step.Name })
	case core.DeleteConfig:
		w.StaleConfigs = slices.DeleteFunc(w.StaleConfigs, func(c core.StaleConfig) bool { return c == step.Config })
	default:
		return false
	}
	return true
}

func (w *world) actOnMember(action core.Action) bool {
	switch step := action.(type) {
	case core.ApplyMember:
		w.apply(step)
	case core.RestartMember:
		m := w.member(step.Member)
		m.Pod = core.Pod{}
		w.tellPod(m, "starting")
	case core.ResizeMember:
		m := w.member(step.Member)
		m.Pod.MemberHash, m.Pod.RestartHash = w.Cluster.Spec.MemberHash, w.Cluster.Spec.RestartHash
	case core.SealPod:
		w.member(step.Member).Pod.Start = core.StartSealed
	case core.RecreateMember:
		m := w.member(step.Member)
		m.Workload, m.Pod, m.Volumes = core.Workload{}, core.Pod{}, nil
	case core.DeleteMember:
		m := w.member(step.Member)
		m.Workload, m.Pod = core.Workload{}, core.Pod{}
	default:
		return false
	}
	return true
}

func (w *world) apply(step core.ApplyMember) {
	m := w.member(step.Member)
	made, slept := !m.Workload.Exists(), m.Workload.Stopped
	w.tellWorkload(m, "current")
	m.Workload.MemberHash, m.Workload.Start, m.Workload.Retry = w.Cluster.Spec.MemberHash, step.Start, step.Retry
	m.Workload.InitialCluster, m.Workload.Stopped = step.InitialCluster, step.Stopped
	w.templates[m.Name] = w.Cluster.Spec.Version
	if made && len(m.Volumes) == 0 && !w.Cluster.Spec.InMemory {
		w.tellVolume(m, "pending")
	}
	switch {
	case step.Stopped:
		m.Pod = core.Pod{}
	case made, slept:
		w.tellPod(m, "starting")
	}
}

func (w *world) actOnVolumes(action core.Action) bool {
	each := func(member string, volumes []core.Volume, do func(live *core.Volume, told core.Volume)) {
		m := w.member(member)
		for i := range m.Volumes {
			for _, told := range volumes {
				if told.Name == m.Volumes[i].Name {
					do(&m.Volumes[i], told)
				}
			}
		}
	}
	switch step := action.(type) {
	case core.MarkVolumes:
		each(step.Member, step.Volumes, func(live *core.Volume, told core.Volume) {
			live.ClusterID, live.OwnerUID, live.Kept, live.Version = told.ClusterID, w.Cluster.UID, told.KeptWanted, told.Version
			live.Since36 = told.Since36
		})
	case core.RetireVolumes:
		each(step.Member, step.Volumes, func(live *core.Volume, _ core.Volume) { live.Removed = true })
	case core.ExpandVolumes:
		each(step.Member, step.Volumes, func(live *core.Volume, told core.Volume) { live.Size = told.WantedSize })
	case core.DeleteVolumes:
		m := w.member(step.Member)
		m.Volumes = slices.DeleteFunc(m.Volumes, func(live core.Volume) bool {
			return slices.ContainsFunc(step.Volumes, func(told core.Volume) bool { return told.Name == live.Name })
		})
		if !m.Workload.Exists() && !m.Pod.Exists && len(m.Volumes) == 0 {
			w.tellWhole(m, "gone")
		}
	default:
		return false
	}
	return true
}

func (w *world) actOnEtcd(action core.Action) bool {
	switch step := action.(type) {
	case core.MoveLeader:
		w.leader = step.To
	case core.AddMember:
		w.list = append(w.list, &entry{name: step.Member, learner: true})
		if step.EndDowngrade {
			w.downgrade = ""
		}
	case core.PromoteMember:
		w.entry(step.Member).learner = false
	case core.RemoveMember:
		w.list = slices.DeleteFunc(w.list, func(e *entry) bool { return e.name == step.Member })
		// Its etcd ends, and does not start again: "the member has been permanently removed from the cluster".
		if m := w.member(step.Member); m.Pod.Running {
			m.Pod.Running, m.Pod.Ready = false, false
			m.Pod.Problem = core.Problem{Reason: core.ReasonMemberRemoved, Message: "member " + step.Member + " has been removed from the cluster"}
		}
	case core.EnableDowngrade:
		w.downgrade = step.Target
	case core.CancelDowngrade:
		w.downgrade = ""
	case core.DisarmAlarm:
		w.alarms = slices.DeleteFunc(w.alarms, func(a alarm) bool { return memberID(a.member) == step.ID && a.kind == step.Alarm })
	default:
		return false
	}
	return true
}
