package core_test

import (
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestAnEarlierClusterStillAnswers: the object was deleted and made again at once. The pods of the earlier one run until
// the garbage collector comes to them; what they say is not about the new cluster.
func TestAnEarlierClusterStillAnswers(t *testing.T) {
	o := core.Observation{
		Now:     time.Unix(1_800_000_000, 0),
		Cluster: core.Cluster{Name: "demo", UID: "uid-2", Spec: core.Spec{Size: 1, Version: "3.6.16", MemberHash: "a", StorageHash: "disk"}},
		Members: []core.Member{{
			Name: "demo-0",
			Pod:  core.Pod{Exists: true, UID: "pod", Running: true, Ready: true, MemberHash: "a"},
			Volumes: []core.Volume{{
				Name: "data-demo-0-0", UID: "claim", Bound: true, OwnerUID: "uid-1", FoundedBy: "uid-1", ClusterID: "c1", KeptWanted: false,
			}},
		}},
		Etcd: core.Etcd{
			List:     core.MemberList{Known: true, ClusterID: "c1", Members: []core.Listed{{ID: "m0", Name: "demo-0", Started: true}}},
			Statuses: []core.Status{{Member: "demo-0", Answered: true, ClusterID: "c1", ID: "m0", LeaderID: "m0", Version: "3.6.16"}},
		},
	}
	d := core.Decide(o)
	if len(d.Actions) > 0 || d.Report.ClusterID != "" {
		t.Fatalf("cluster %q is taken up, actions %v", d.Report.ClusterID, d.Actions)
	}
	for _, c := range d.Report.Conditions {
		if c.Type == core.Available && c.Status == core.True || c.Type == core.Progressing && c.Reason != core.ReasonCleaningUp {
			t.Errorf("condition %+v", c)
		}
	}
	// When everything of it is gone, the new cluster is made.
	o.Members, o.Etcd, o.Cluster.Recorded = nil, core.Etcd{}, d.Report
	if d = core.Decide(o); len(d.Actions) != 1 {
		t.Errorf("actions %v", d.Actions)
	}
}

// TestFoundersOnVolumes: kept volumes say how many members the cluster had, whatever size the new object asks for.
func TestFoundersOnVolumes(t *testing.T) {
	o := core.Observation{
		Now:     time.Unix(1_800_000_000, 0),
		Cluster: core.Cluster{Name: "demo", UID: "uid-2", Spec: core.Spec{Size: 3, Version: "3.6.16", MemberHash: "a", StorageHash: "disk"}},
		Members: []core.Member{{Name: "demo-0", Volumes: []core.Volume{{
			Name: "data-demo-0-0", UID: "claim", Bound: true, OwnerUID: "uid-1", FoundedBy: "uid-1", ClusterID: "c1",
			Founders: []string{"demo-0"}, StorageHash: "disk", Kept: true, KeptWanted: true,
		}}}},
	}
	d := core.Decide(o)
	if len(d.Report.BootstrapMembers) != 1 {
		t.Errorf("founders are %v, the volume says demo-0", d.Report.BootstrapMembers)
	}
}
