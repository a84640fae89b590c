package render_test

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestMemberHashStays: none of these asks for another member, so none of them may roll one.
func TestMemberHashStays(t *testing.T) {
	for name, change := range map[string]func(c *render.Cluster){
		"the default pull policy, written out":        func(c *render.Cluster) { c.Spec.PodTemplate.Spec.ImagePullPolicy = corev1.PullIfNotPresent },
		"the default grace period, written out":       func(c *render.Cluster) { c.Spec.PodTemplate.Spec.TerminationGracePeriodSeconds = new(int64(30)) },
		"an empty list":                               func(c *render.Cluster) { c.Spec.PodTemplate.Spec.Env = []corev1.EnvVar{} },
		"no settings, written out":                    func(c *render.Cluster) { c.Spec.Config = map[string]v1alpha1.ConfigValue{} },
		"another size":                                func(c *render.Cluster) { c.Spec.Size = new(int32(5)) },
		"larger volumes":                              func(c *render.Cluster) { c.Spec.Storage.Size = quantity("20Gi") },
		"another retention":                           func(c *render.Cluster) { c.Spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionDelete },
		"another kind of Service":                     func(c *render.Cluster) { c.Spec.Services.Client.Type = corev1.ServiceTypeLoadBalancer },
		"a policy of the network":                     func(c *render.Cluster) { c.Spec.Security.NetworkPolicy.Mode = v1alpha1.NetworkPolicyEnabled },
		"another namespace of the operator":           func(c *render.Cluster) { c.Operator.Namespace = "elsewhere" },
		"a pause":                                     func(c *render.Cluster) { c.Spec.Paused = true },
		"a newer operator, for another set of voters": func(c *render.Cluster) { c.Voters = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			changed := plain()
			change(&changed)
			if changed.MemberHash() != plain().MemberHash() {
				t.Error("the members would be rolled")
			}
		})
	}
}

// TestMemberHashChanges: each of these is to reach the members.
func TestMemberHashChanges(t *testing.T) {
	seen := map[string]string{plain().MemberHash(): "nothing"}
	changes := map[string]func(c *render.Cluster){
		"version":    func(c *render.Cluster) { c.Spec.Version = "3.6.17" },
		"repository": func(c *render.Cluster) { c.Spec.Repository = "quay.io/coreos/etcd" },
		"setting":    func(c *render.Cluster) { c.Spec.Config = map[string]v1alpha1.ConfigValue{"log-level": "debug"} },
		"label":      func(c *render.Cluster) { c.Spec.PodTemplate.Metadata.Labels = map[string]v1alpha1.LabelValue{"a": "b"} },
		"annotation": func(c *render.Cluster) {
			c.Spec.PodTemplate.Metadata.Annotations = map[string]v1alpha1.AnnotationValue{"a": "b"}
		},
		"pull policy":  func(c *render.Cluster) { c.Spec.PodTemplate.Spec.ImagePullPolicy = corev1.PullAlways },
		"grace period": func(c *render.Cluster) { c.Spec.PodTemplate.Spec.TerminationGracePeriodSeconds = new(int64(31)) },
		"resources": func(c *render.Cluster) {
			c.Spec.PodTemplate.Spec.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}
		},
		"affinity": func(c *render.Cluster) { c.Spec.PodTemplate.Spec.Affinity = &corev1.Affinity{} },
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		changed := plain()
		changes[name](&changed)
		if before, ok := seen[changed.MemberHash()]; ok {
			t.Errorf("%s gives the same hash as %s", name, before)
		}
		seen[changed.MemberHash()] = name
	}
}

// TestRestartHash: CPU and memory reach a running pod, everything else needs a new one.
func TestRestartHash(t *testing.T) {
	resized := plain()
	resized.Spec.PodTemplate.Spec.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}
	if resized.RestartHash() != plain().RestartHash() || resized.MemberHash() == plain().MemberHash() {
		t.Error("other CPU and memory would need a restart, or would not be seen at all")
	}
	if plain().RestartHash() != plain().MemberHash() {
		t.Error("without CPU and memory there is no difference between the two")
	}
	pod := resized.StatefulSet(memberZero).Spec.Template.Annotations
	if pod[render.AnnotationMemberHash] != resized.MemberHash() || pod[render.AnnotationRestartHash] != resized.RestartHash() {
		t.Errorf("on the pod: %v", pod)
	}
	changes := map[string]func(c *render.Cluster){
		"image":   func(c *render.Cluster) { c.Spec.Version = "3.6.17" },
		"setting": func(c *render.Cluster) { c.Spec.Config = map[string]v1alpha1.ConfigValue{"log-level": "debug"} },
		"label":   func(c *render.Cluster) { c.Spec.PodTemplate.Metadata.Labels = map[string]v1alpha1.LabelValue{"a": "b"} },
		"env":     func(c *render.Cluster) { c.Spec.PodTemplate.Spec.Env = []corev1.EnvVar{{Name: "GOGC", Value: "80"}} },
		"node selector": func(c *render.Cluster) {
			c.Spec.PodTemplate.Spec.NodeSelector = map[string]v1alpha1.LabelValue{"pool": "etcd"}
		},
	}
	for name, change := range changes {
		changed := plain()
		change(&changed)
		if changed.RestartHash() == plain().RestartHash() {
			t.Errorf("%s: no pod would be restarted", name)
		}
	}
}

// TestHashOfTheQuota: with autoGrow the quota follows the volumes, which members learn by a restart. Otherwise what a
// volume turns out to have is no change of what was asked for.
func TestHashOfTheQuota(t *testing.T) {
	c := plain()
	before := c.RestartHash()
	c.VolumeSize = 5 << 30
	if c.RestartHash() != before {
		t.Error("the size of a volume would restart members")
	}
	c.Spec.Storage.AutoGrow = &v1alpha1.AutoGrowSpec{Limit: resource.MustParse("50Gi"), ThresholdPercent: 80}
	small := c.RestartHash()
	c.VolumeSize = 7 << 30
	if c.RestartHash() == small || c.MemberHash() == before {
		t.Error("the database could never use what its volume has grown by")
	}
	if c.StorageHash() != plain().StorageHash() {
		t.Error("autoGrow asks for no other volumes")
	}
}

// TestHashOfSpellings: two spellings of one amount are the same amount.
func TestHashOfSpellings(t *testing.T) {
	one, other := plain(), plain()
	one.Spec.PodTemplate.Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000m")}}
	other.Spec.PodTemplate.Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}
	if one.MemberHash() != other.MemberHash() {
		t.Error("1000m and 1 CPU would roll the members")
	}
	one.Spec.Storage.Size, other.Spec.Storage.Size = quantity("10240Mi"), quantity("10Gi")
	if one.StorageHash() != other.StorageHash() {
		t.Error("10240Mi and 10Gi would be a change of the volumes")
	}
}

func TestStorageHash(t *testing.T) {
	before := plain().StorageHash()
	for name, test := range map[string]struct {
		change func(c *render.Cluster)
		same   bool
	}{
		"retention": {func(c *render.Cluster) {
			c.Spec.Storage.Retention = v1alpha1.RetentionSpec{WhenDeleted: v1alpha1.RetentionDelete}
		}, true},
		"version": {func(c *render.Cluster) { c.Spec.Version = "3.6.17" }, true},
		"size":    {func(c *render.Cluster) { c.Spec.Storage.Size = quantity("20Gi") }, false},
		"class":   {func(c *render.Cluster) { c.Spec.Storage.StorageClassName = new("fast") }, false},
		"log":     {func(c *render.Cluster) { c.Spec.Storage.WAL = &v1alpha1.WALStorage{Size: quantity("2Gi")} }, false},
	} {
		changed := plain()
		test.change(&changed)
		if same := changed.StorageHash() == before; same != test.same {
			t.Errorf("%s: the same hash: %t, want %t", name, same, test.same)
		}
	}
}

// TestHashesAreFixed: a release that hashes otherwise would roll every cluster, or refuse a change that nobody made.
func TestHashesAreFixed(t *testing.T) {
	for name, test := range map[string]struct {
		c               render.Cluster
		member, storage string
	}{
		"plain":      {plain(), "6c404ad1da", "287706429f"},
		"default":    {tls(), "61c375bd89", "287706429f"},
		"everything": {everything(), "227683ae23", "b877b514bf"},
	} {
		if member, storage := test.c.MemberHash(), test.c.StorageHash(); member != test.member || storage != test.storage {
			t.Errorf("%s: hashes %s and %s, want %s and %s", name, member, storage, test.member, test.storage)
		}
	}
}
