package core_test

import (
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestAStrangerAnswersFirst: before a cluster is formed the address of a founder has passed to the pod of another etcd, and the
// cache does not show that yet. A list that has none of our members is not ours: its ID is not taken up, nothing is marked with
// it, and the founders are not left over from it.
func TestAStrangerAnswersFirst(t *testing.T) {
	o := core.Observation{
		Now:     time.Unix(1_800_000_000, 0),
		Cluster: core.Cluster{Name: "demo", UID: "uid-1", Spec: core.Spec{Size: 3, Version: "3.6.16", MemberHash: "a", StorageHash: "disk"}},
		Etcd: core.Etcd{
			List:     core.MemberList{Known: true, ClusterID: "c9", Members: []core.Listed{{ID: "m9", PeerURL: "http://other-0:2380", Started: true}}},
			Statuses: []core.Status{{Member: "demo-0", Answered: true, ClusterID: "c9", ID: "m9", LeaderID: "m9", Version: "3.6.16"}},
		},
	}
	founders := []string{"demo-0", "demo-1", "demo-2"}
	o.Cluster.Recorded.BootstrapMembers = founders
	for _, name := range founders {
		o.Members = append(o.Members, core.Member{
			Name: name,
			Workload: core.Workload{
				State: core.Current, UID: "w", MemberHash: "a", StorageHash: "disk", InitialCluster: founders, Settled: true,
			},
			Pod: core.Pod{Exists: true, UID: "pod", Running: true, MemberHash: "a"},
			Volumes: []core.Volume{{
				Name: "data-" + name + "-0", UID: "claim", Bound: true, OwnerUID: "uid-1", FoundedBy: "uid-1", StorageHash: "disk", Kept: true, KeptWanted: true,
			}},
		})
	}
	for range 3 {
		d := core.Decide(o)
		if len(d.Actions) > 0 || d.Report.ClusterID != "" {
			t.Fatalf("cluster %q is taken up, actions %+v", d.Report.ClusterID, d.Actions)
		}
		o.Now, o.Cluster.Recorded = o.Now.Add(time.Second), d.Report
	}
	// The founder answers from where it is by now.
	o.Etcd.List.ClusterID = "c1"
	o.Etcd.List.Members = []core.Listed{{ID: "m0", Name: "demo-0", Started: true}, {ID: "m1", Name: "demo-1"}, {ID: "m2", Name: "demo-2"}}
	o.Etcd.Statuses[0] = core.Status{Member: "demo-0", Answered: true, ClusterID: "c1", ID: "m0", LeaderID: "m1", Version: "3.6.16"}
	if d := core.Decide(o); d.Report.ClusterID != "c1" || len(d.Actions) != 1 {
		t.Errorf("cluster %q, actions %+v", d.Report.ClusterID, d.Actions)
	}
}
