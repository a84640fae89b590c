package core_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

func TestDebug(t *testing.T) {
	seed := uint64(number(os.Getenv("SEED")))
	o := imagine(seed)
	d := core.Decide(o)
	s := o.Cluster.Spec
	fmt.Printf("SEED %d size=%d version=%s hash=%s replace=%v mem=%v cid=%s founders=%v next=%d maxl=%d\n", seed, s.Size, s.Version, s.MemberHash, s.Replace, s.InMemory, o.Cluster.Recorded.ClusterID, o.Cluster.Recorded.BootstrapMembers, o.Cluster.Recorded.NextOrdinal, s.MaxLearners)
	for _, m := range o.Members {
		fmt.Printf("  %s W{st=%d hash=%s start=%d stop=%v ic=%v} P{%+v}\n", m.Name, m.Workload.State, m.Workload.MemberHash, m.Workload.Start, m.Workload.Stopped, m.Workload.InitialCluster, m.Pod)
		for _, v := range m.Volumes {
			fmt.Printf("     V{bound=%v owner=%s founded=%s cid=%s removed=%v del=%v kept=%v prob=%v misfit=%v size=%d->%d}\n", v.Bound, v.OwnerUID, v.FoundedBy, v.ClusterID, v.Removed, v.Deleting, v.Kept, v.Problem.Reason, v.Misfit != "", v.Size>>30, v.WantedSize>>30)
		}
	}
	for _, st := range o.Etcd.Statuses {
		fmt.Printf("  S %s ans=%v id=%s leader=%s cid=%s ver=%s stored=%s down=%s alarms=%v/%v errs=%v lag=%d\n", st.Member, st.Answered, st.ID, st.LeaderID, st.ClusterID, st.Version, st.StorageVersion, st.DowngradeTarget, st.Alarms, st.AlarmIDs, st.Errors, 50500-st.RaftApplied)
	}
	fmt.Printf("  L known=%v %+v\n", o.Etcd.List.Known, o.Etcd.List.Members)
	for _, r := range o.Cluster.Recorded.Members {
		fmt.Printf("  R %s v=%s healthy=%v\n", r.Name, r.Version, r.Healthy)
	}
	for _, a := range d.Actions {
		fmt.Printf("  -> %s %+v\n", a.Step(), a)
	}
	for _, c := range d.Report.Conditions {
		fmt.Printf("  %s=%s %s %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	fmt.Printf("  report founders %v next %d\n", d.Report.BootstrapMembers, d.Report.NextOrdinal)
}
