package sim

import (
	"slices"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

func proposed(o core.Observation) core.Decision {
	if o.Cluster.Recorded.ClusterID == "" && !o.Etcd.List.Known {
		marked, sealed, foreign := false, false, false
		for _, m := range o.Members {
			sealed = sealed || m.Workload.Exists() && m.Workload.Start == core.StartSealed
			foreign = foreign || m.Workload.State == core.Foreign
			for _, v := range m.Volumes {
				marked = marked || v.ClusterID != ""
			}
		}
		if (foreign || sealed) && !marked {
			o.Cluster.Spec.Paused = true
			return core.Decide(o)
		}
	}
	d := core.Decide(o)
	byName := map[string]core.Member{}
	for _, m := range o.Members {
		byName[m.Name] = m
	}
	d.Actions = slices.DeleteFunc(d.Actions, func(a core.Action) bool {
		r, is := a.(core.RestartMember)
		if !is {
			return false
		}
		m := byName[r.Member]
		if m.Pod.Running && !o.Etcd.List.Known {
			return len(d.Report.BootstrapMembers) > 1
		}
		for _, other := range o.Members {
			if other.Name != m.Name && other.Pod.Exists && other.Pod.MemberHash == o.Cluster.Spec.MemberHash && !other.Pod.Running && m.Pod.Problem.IsZero() && m.Pod.MemberHash != o.Cluster.Spec.MemberHash {
				return true
			}
		}
		return false
	})
	return d
}

func TestProposed(t *testing.T) {
	for _, run := range runs {
		t.Run(run.name, func(t *testing.T) {
			t.Parallel()
			run.world.Operator = NewOperator(proposed)
			e := Explorer{World: &run.world, Limit: run.limit * 3}
			tell(t, run.name, e.Explore())
		})
	}
}
