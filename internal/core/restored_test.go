package core_test

import (
	"slices"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// restored is a cluster that a restore has just let go: two members have the data of c2, and demo-2, which joined before, that of c1.
func restored() core.Observation {
	o := core.Observation{
		Now: time.Unix(1_800_000_000, 0),
		Cluster: core.Cluster{
			Name: "demo", UID: "uid-1", Restored: "c2", Recorded: core.Report{ClusterID: "c2", BootstrapMembers: []string{"demo-0", "demo-1"}, NextOrdinal: 3},
			Spec: core.Spec{Size: 3, Version: "3.6.16", FinalVersion: "3.6.16", MemberHash: "a", StorageHash: "disk"},
		},
	}
	for name, id := range map[string]string{"demo-0": "c2", "demo-1": "c2", "demo-2": "c1"} {
		o.Members = append(o.Members, core.Member{
			Name:     name,
			Workload: core.Workload{State: core.Current, UID: "set", MemberHash: "a", StorageHash: "disk", Start: core.StartSealed, Settled: true, Stopped: true, Version: "3.6.16"},
			Volumes: []core.Volume{{
				Name: "data-" + name + "-0", UID: "claim", Bound: true, OwnerUID: "uid-1", FoundedBy: "uid-1", ClusterID: id, StorageHash: "disk", Kept: true, KeptWanted: true,
			}},
		})
	}
	return o
}

func applied(d core.Decision) map[string]core.ApplyMember {
	members := map[string]core.ApplyMember{}
	for _, action := range d.Actions {
		if apply, is := action.(core.ApplyMember); is {
			members[apply.Member] = apply
		}
	}
	return members
}

// started are the members that are started, one after the other.
func started(o core.Observation) (order []string) {
	for range o.Members {
		next := applied(core.Decide(o))
		for i := range o.Members {
			m := &o.Members[i]
			apply, starts := next[m.Name]
			if starts && !apply.Stopped {
				order = append(order, m.Name)
				m.Workload.State, m.Workload.Stopped, m.Workload.Start = core.Current, false, apply.Start
				m.Workload.MemberHash, m.Workload.StorageHash = o.Cluster.Spec.MemberHash, o.Cluster.Spec.StorageHash
				m.Pod = core.Pod{Exists: true, UID: "pod-of-" + m.Name, Running: true, Started: true, MemberHash: m.Workload.MemberHash, Start: apply.Start}
			}
		}
	}
	return order
}

// TestMembersFromBeforeARestore: who was a member only before must not start. With others like it, it would be the cluster of then, beside
// the restored one.
func TestMembersFromBeforeARestore(t *testing.T) {
	for name, change := range map[string]func(*core.Volume){
		"its volume is of the cluster before": func(*core.Volume) {},
		"nothing is noted on its volume":      func(v *core.Volume) { v.ClusterID = "" },
	} {
		o := restored()
		for i := range o.Members {
			if o.Members[i].Name == "demo-2" {
				change(&o.Members[i].Volumes[0])
			}
		}
		if order := started(o); !slices.Equal(order, []string{"demo-0", "demo-1"}) {
			t.Errorf("%s: %v start", name, order)
		}
	}
	// The same cluster without a restore: then a StatefulSet is made for members only.
	o := restored()
	o.Cluster.Restored = ""
	if order := started(o); len(order) != 3 {
		t.Errorf("without a restore %v start", order)
	}
}

// TestAFilledVolumeIsLost: etcd lists the member and has never seen it, but its volume was not empty. It neither founds nor joins.
func TestAFilledVolumeIsLost(t *testing.T) {
	for restoredID, want := range map[string]core.Start{"c2": core.StartSealed, "": core.StartBootstrap} {
		o := restored()
		o.Cluster.Restored = restoredID
		o.Members = slices.DeleteFunc(o.Members, func(m core.Member) bool { return m.Name != "demo-0" })
		o.Members[0].Workload.Stopped = false
		o.Members[0].Pod = core.Pod{Exists: true, UID: "pod", Running: true, Started: true, Ready: true, MemberHash: "a", Start: core.StartSealed}
		o.Etcd = core.Etcd{
			List: core.MemberList{Known: true, ClusterID: "c2", Members: []core.Listed{
				{ID: "m0", Name: "demo-0", PeerURL: "http://demo-0", Started: true}, {ID: "m1", Name: "demo-1", PeerURL: "http://demo-1"},
			}},
			Statuses: []core.Status{{Member: "demo-0", Answered: true, ClusterID: "c2", ID: "m0", LeaderID: "m0", Version: "3.6.16"}},
		}
		if apply, made := applied(core.Decide(o))["demo-1"]; !made || apply.Start != want {
			t.Errorf("restored %q: %v, %+v", restoredID, made, apply)
		}
	}
}

// TestAwaiting: a cluster that begins with a backup is left alone until its data is there, but not one whose status was lost, or whose
// volumes come from an earlier EtcdCluster.
func TestAwaiting(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*core.Observation)
		awaits bool
	}{
		"volumes that a restore fills": {func(*core.Observation) {}, true},
		"members":                      {func(o *core.Observation) { o.Members[0].Workload = restored().Members[0].Workload }, false},
		"volumes of an earlier one":    {func(o *core.Observation) { o.Members[0].Volumes[0].FoundedBy = "uid-0" }, false},
	} {
		o := restored()
		o.Cluster.Restored, o.Cluster.Recorded, o.Cluster.Spec.Bootstrap = "", core.Report{}, "nightly"
		for i := range o.Members {
			o.Members[i].Workload, o.Members[i].Volumes[0].ClusterID = core.Workload{}, "c2"
		}
		test.change(&o)
		d := core.Decide(o)
		if awaits := d.Report.Phase == core.PhaseRestoring; awaits != test.awaits || awaits && len(d.Actions) > 0 || !awaits && d.Report.ClusterID != "c2" {
			t.Errorf("%s: %s, cluster %q, %v", name, d.Report.Phase, d.Report.ClusterID, d.Actions)
		}
	}
}

// TestAClusterThatBeginsAgain: one whose first data were not those of the backup starts nothing, whatever is left of its members.
func TestAClusterThatBeginsAgain(t *testing.T) {
	o := restored()
	o.Cluster.Restored, o.Cluster.Spec.Bootstrap = core.Unsettled, "nightly"
	o.Cluster.Recorded.ClusterID = ""
	for i := range o.Members {
		o.Members[i].Volumes[0].ClusterID = core.Unsettled
	}
	d := core.Decide(o)
	if len(d.Actions) > 0 || d.Report.Phase != core.PhaseRestoring || d.Report.ClusterID != "" {
		t.Errorf("%+v, %s, %q", d.Actions, d.Report.Phase, d.Report.ClusterID)
	}
	again := o
	again.Cluster.Recorded = d.Report
	if second := core.Decide(again); !second.Report.Equal(d.Report) {
		t.Errorf("it is not at rest: %+v instead of %+v", second.Report, d.Report)
	}
}
