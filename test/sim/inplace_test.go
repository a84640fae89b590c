package sim

import (
	"slices"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// resizers are operators with one mistake each in how they change members and volumes in place.
var resizers = []mutant{
	{"never resizes", Delivers, changing(1, 0, 1, Resources), without(isResize), false},
	{"resizes all members at once", Contained, changing(3, 0, 1, Resources), resizesAll, false},
	{"resizes what has to restart", InPlace, changing(1, 0, 1, Specs), resizesAnything, false},
	{"does not restart what cannot be resized", Delivers, rigid(changing(1, 0, 1, Resources)), resizesAlways, false},
	{"does not restart what its node cannot give", Delivers, changing(1, 1, 1, Resources), resizesAlways, false},
	{"takes a pod that is being resized for what it was", Delivers, changing(1, 1, 2, Resources|Cuts), forgetsResize, false},
	{"never lets volumes grow", Delivers, changing(1, 0, 1, Growth), without(isA[core.ExpandVolumes]), false},
	{"lets volumes grow that cannot", InPlace, rigid(changing(1, 0, 1, Growth)), growsAnything, false},
}

// eachMember is the core, with other members.
func eachMember(o core.Observation, change func(m *core.Member)) core.Decision {
	o.Members = slices.Clone(o.Members)
	for i := range o.Members {
		o.Members[i].Volumes = slices.Clone(o.Members[i].Volumes)
		change(&o.Members[i])
	}
	return core.Decide(o)
}

func resizesAll(o core.Observation) core.Decision {
	d := core.Decide(o)
	for _, m := range outdated(o) {
		if m.Pod.RestartHash == o.Cluster.Spec.RestartHash {
			d.Actions = append(d.Actions, core.ResizeMember{Member: m.Name, PodUID: m.Pod.UID})
		}
	}
	return outdate(o, instead(d))
}

func resizesAnything(o core.Observation) core.Decision {
	return eachMember(o, func(m *core.Member) { m.Pod.RestartHash = o.Cluster.Spec.RestartHash })
}

func resizesAlways(o core.Observation) core.Decision {
	return eachMember(o, func(m *core.Member) { m.Pod.ResizeRefused = false })
}

func forgetsResize(o core.Observation) core.Decision {
	return eachMember(o, func(m *core.Member) {
		if m.Pod.MemberHash == hashOf(Wish{Power: Resizing}) {
			m.Pod.MemberHash = hashOf(Wish{})
		}
	})
}

func growsAnything(o core.Observation) core.Decision {
	return eachMember(o, func(m *core.Member) {
		for i := range m.Volumes {
			m.Volumes[i].Misfit, m.Volumes[i].Expandable = "", true
		}
	})
}
