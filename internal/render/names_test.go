package render_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestNamesFit: the longest name that the API accepts, and a member that comes late.
func TestNamesFit(t *testing.T) {
	c := everything()
	c.Name = "a" + strings.Repeat("-b", 19) + "c"
	member := c.Name + "-99"
	names := []string{render.PodName(member), render.ClaimName(render.WALVolume, member), render.ClaimName(render.DataVolume, member)}
	set := c.StatefulSet(core.ApplyMember{Member: member, Start: core.StartBootstrap, InitialCluster: []string{member}})
	for _, object := range append(c.Objects(), set) {
		names = append(names, object.GetName())
		for _, value := range object.GetLabels() {
			if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
				t.Errorf("label value %s: %v", value, problems)
			}
		}
	}
	for _, name := range names {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
	}
	// Kubernetes adds a label with a hash of ten characters after the name of the StatefulSet.
	if revision := set.Name + "-0123456789"; len(revision) > 63 {
		t.Errorf("%s has %d characters", revision, len(revision))
	}
}

func TestOrdinal(t *testing.T) {
	c := plain()
	for name, want := range map[string]int{"demo-0": 0, "demo-9": 9, "demo-10": 10} {
		if n, ok := c.Ordinal(name); !ok || n != want {
			t.Errorf("%s: %d, %t; want %d", name, n, ok, want)
		}
	}
	// Also not ours: the members of a cluster that is called demo-1.
	for _, name := range []string{"demo", "demo-", "demo-x", "demo-01", "demo--1", "demo-+1", "demo-1-0", "demo-1-10", "other-0", "", "demo-0 "} {
		if n, ok := c.Ordinal(name); ok {
			t.Errorf("%q is taken for member %d", name, n)
		}
	}
}

func TestAddresses(t *testing.T) {
	c := plain()
	c.Domain = "example.org"
	want := []string{
		"http://demo-client.default.svc.example.org:2379",
		"http://demo-0-0.demo-peer.default.svc.example.org:2379",
		"http://demo-1-0.demo-peer.default.svc.example.org:2379",
	}
	if got := c.Endpoints([]string{"demo-0", "demo-1"}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := c.PeerURL("demo-0"); got != "http://demo-0-0.demo-peer.default.svc.example.org:2382" {
		t.Error(got)
	}
	if owner := c.ClaimOwner(); owner.Controller != nil || owner.UID != c.UID || owner.Kind != "EtcdCluster" {
		t.Errorf("claims are the StatefulSet controller's to make, and go with the cluster: %+v", owner)
	}
}

// TestConfigMapFollowsContent: a member keeps the settings that it was rolled to, since other settings have another
// name.
func TestConfigMapFollowsContent(t *testing.T) {
	c := plain()
	before := c.ConfigMap()
	c.Spec.Config = map[string]v1alpha1.ConfigValue{"log-level": "debug"}
	if c.ConfigMap() == before {
		t.Error("other settings have the same name")
	}
	c.Spec.Config = nil
	if c.ConfigMap() != before {
		t.Error("the same settings have another name")
	}
}

func TestQuotaLeavesRoom(t *testing.T) {
	for size, want := range map[string]string{"64Mi": "53687088", "1Gi": "858993456", "10Gi": "8589934592", "64Ti": "8589934592"} {
		c := plain()
		c.Spec.Storage.Size = quantity(size)
		if got := settings(t, c)["ETCD_QUOTA_BACKEND_BYTES"]; got != want {
			t.Errorf("%s: quota %s, want %s", size, got, want)
		}
	}
	c := plain()
	c.Spec.Config = map[string]v1alpha1.ConfigValue{"quota-backend-bytes": "1"}
	if got := settings(t, c)["ETCD_QUOTA_BACKEND_BYTES"]; got != "1" {
		t.Errorf("the user's quota became %s", got)
	}
}

// TestFeatureGatesAreMerged: the user's gates come after the operator's, so that they can also turn those off.
func TestFeatureGatesAreMerged(t *testing.T) {
	c := plain()
	c.Spec.Config = map[string]v1alpha1.ConfigValue{"feature-gates": "InitialCorruptCheck=false"}
	if got := settings(t, c)["ETCD_FEATURE_GATES"]; got != "InitialCorruptCheck=true,CompactHashCheck=true,InitialCorruptCheck=false" {
		t.Error(got)
	}
	c = version35()
	got := settings(t, c)
	if _, ok := got["ETCD_FEATURE_GATES"]; ok || got["ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK"] != "false" || got["ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED"] != "true" {
		t.Errorf("etcd 3.5 has no feature gates: %v", got)
	}
}

// settings are what the ConfigMap of a cluster gives to etcd.
func settings(t *testing.T, c render.Cluster) map[string]string {
	t.Helper()
	applied, err := render.Applied(c.Objects()[0])
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for name, value := range applied.Object["data"].(map[string]any) {
		texts[name] = value.(string)
	}
	return texts
}

func TestDisruptionBudget(t *testing.T) {
	for voters, objects := range map[int]int{0: 3, 1: 3, 3: 4, 9: 4} {
		c := plain()
		c.Voters = voters
		if got := len(c.Objects()); got != objects {
			t.Errorf("%d voters: %d objects, want %d: only several members have something to spare", voters, got, objects)
		}
	}
}
