package observe_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

const gib = 1 << 30

// logClaim is the bound claim of a member's log volume.
func (s *situation) logClaim(name string) *corev1.PersistentVolumeClaim {
	claim := s.claim(name)
	claim.Name, claim.UID = render.ClaimName(render.WALVolume, name), types.UID("log-claim-of-"+name)
	return claim
}

// resized makes a claim one of another size.
func resized(claim *corev1.PersistentVolumeClaim, size string) *corev1.PersistentVolumeClaim {
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	claim.Status.Capacity = claim.Spec.Resources.Requests
	return claim
}

// growing is a class whose volumes grow in place, or do not; left out it says nothing, which is no.
func growing(name string, grows *bool) *storagev1.StorageClass {
	c := class(name, false)
	c.AllowVolumeExpansion = grows
	return c
}

func TestVolumeIsLost(t *testing.T) {
	s := newSituation()
	claim := s.claim("demo-0")
	claim.Status.Phase = corev1.ClaimLost
	got := s.add(claim).member(t, "demo-0").Volumes[0]
	if want := (core.Problem{Reason: core.ReasonVolumeLost, Message: "claim data-demo-0-0 has lost its volume pv-demo-0"}); got.Problem != want || !got.Bound || got.Misfit != "" {
		t.Errorf("%+v", got)
	}
}

func TestVolumeOfARemovedMember(t *testing.T) {
	for mark, want := range map[string]bool{render.Removed: true, "": false, "no": false} {
		s := newSituation()
		claim := s.claim("demo-0")
		claim.Annotations[render.AnnotationRemoved] = mark
		if got := s.add(claim).member(t, "demo-0").Volumes[0].Removed; got != want {
			t.Errorf("marked %q: %t", mark, got)
		}
	}
}

func TestSince36(t *testing.T) {
	for said, want := range map[string]uint64{"": 0, "1234": 1234, "-1": 0, "long ago": 0} {
		s := newSituation()
		claim := s.claim("demo-0")
		claim.Annotations[render.AnnotationSince36] = said
		if got := s.add(claim).member(t, "demo-0").Volumes[0].Since36; got != want {
			t.Errorf("%q: %d", said, got)
		}
	}
}

// TestWhatBecomesOfVolumes: a volume grows where its class lets it; what else is different it cannot become.
func TestWhatBecomesOfVolumes(t *testing.T) {
	for name, test := range map[string]struct {
		class, size, wantsClass, wantsSize string
		classes                            []client.Object
		misfit                             string
		expandable                         bool
	}{
		"as it is":                      {"slow", "1Gi", "slow", "1Gi", nil, "", false},
		"by another spelling":           {"slow", "1Gi", "slow", "1024Mi", nil, "", false},
		"of a class nobody asks for":    {"slow", "1Gi", "", "1Gi", nil, "", false},
		"of another class":              {"slow", "1Gi", "fast", "1Gi", nil, "claim data-demo-0-0 is of StorageClass slow and fast is asked for", false},
		"of no class":                   {"", "1Gi", "fast", "1Gi", nil, "fast is asked for", false},
		"too large":                     {"slow", "2Gi", "slow", "1Gi", nil, "claim data-demo-0-0 has 2Gi and only 1Gi is asked for", false},
		"too small, and grows":          {"slow", "1Gi", "slow", "2Gi", []client.Object{growing("slow", new(true))}, "", true},
		"too small, and does not grow":  {"slow", "1Gi", "slow", "2Gi", []client.Object{growing("slow", new(false))}, "claim data-demo-0-0 has 1Gi, 2Gi is asked for, and its StorageClass slow does not let it grow", false},
		"too small, nothing is said":    {"slow", "1Gi", "", "2Gi", []client.Object{growing("slow", nil)}, "does not let it grow", false},
		"too small, its class is gone":  {"slow", "1Gi", "", "2Gi", []client.Object{growing("fast", new(true))}, "does not let it grow", false},
		"too small and of another":      {"slow", "1Gi", "fast", "2Gi", []client.Object{growing("slow", new(true)), growing("fast", new(true))}, "fast is asked for", false},
		"too large and of another":      {"slow", "2Gi", "fast", "1Gi", nil, "fast is asked for", false},
		"too small, and of any, grows":  {"slow", "1Gi", "", "2Gi", []client.Object{growing("slow", new(true))}, "", true},
		"small by a byte, and can grow": {"slow", "1073741823", "slow", "1Gi", []client.Object{growing("slow", new(true))}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(test.classes...)
			claim := resized(s.claim("demo-0"), test.size)
			if test.class != "" {
				claim.Spec.StorageClassName = new(test.class)
			}
			if test.wantsClass != "" {
				s.cluster.Spec.Storage.StorageClassName = new(test.wantsClass)
			}
			s.cluster.Spec.Storage.Size = new(resource.MustParse(test.wantsSize))
			got := s.add(claim).member(t, "demo-0").Volumes[0]
			if (got.Misfit == "") != (test.misfit == "") || !strings.Contains(got.Misfit, test.misfit) || got.Expandable != test.expandable {
				t.Errorf("misfit %q, expandable %t", got.Misfit, got.Expandable)
			}
			if got.Size != claim.Spec.Resources.Requests.Storage().Value() || got.WantedSize != s.cluster.Spec.Storage.Size.Value() {
				t.Errorf("%d bytes, %d wanted", got.Size, got.WantedSize)
			}
		})
	}
}

// TestClassCannotBeRead: the API server has the last word then.
func TestClassCannotBeRead(t *testing.T) {
	s := newSituation()
	s.reading(func(object client.Object) bool { _, ok := object.(*storagev1.StorageClass); return ok })
	if got := s.add(resized(s.claim("demo-0"), "512Mi")).member(t, "demo-0").Volumes[0]; !got.Expandable || got.Misfit != "" {
		t.Errorf("%+v", got)
	}
}

// TestGrowing: until the volume is as large as its claim asks for.
func TestGrowing(t *testing.T) {
	s := newSituation()
	claim := resized(s.claim("demo-0"), "1Gi")
	claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("512Mi")}
	if got := s.add(claim).member(t, "demo-0").Volumes[0]; !got.Growing {
		t.Errorf("%+v", got)
	}
	claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
	if got := newSituation(claim).member(t, "demo-0").Volumes[0]; got.Growing {
		t.Errorf("%+v", got)
	}
}

// TestUnboundClaimsFit: they have nothing yet that could be wrong, and are made again instead.
func TestUnboundClaimsFit(t *testing.T) {
	s := newSituation(class("slow", true))
	s.cluster.Spec.Storage.StorageClassName = new("fast")
	s.cluster.Spec.Storage.WAL = &v1alpha1.WALStorage{Size: new(resource.MustParse("1Gi"))}
	if got := s.add(s.pendingClaim("demo-0", new("slow"))).member(t, "demo-0").Volumes[0]; got.Misfit != "" || got.WantedSize != 0 {
		t.Errorf("%+v", got)
	}
}

// TestVolumeOfTheLog: it has its own size and class, and whether there is one is a matter of the whole member.
func TestVolumeOfTheLog(t *testing.T) {
	wal := func(size, class string) *v1alpha1.WALStorage {
		return &v1alpha1.WALStorage{Size: new(resource.MustParse(size)), StorageClassName: new(class)}
	}
	for name, test := range map[string]struct {
		asked     *v1alpha1.WALStorage
		has       bool
		data, log string
	}{
		"none, and none is asked for":   {nil, false, "", ""},
		"none, and one is asked for":    {wal("2Gi", "slow"), false, "it has no volume for its log, and spec.storage.wal asks for one", ""},
		"one, and none is asked for":    {nil, true, "it has a volume for its log, and spec.storage.wal asks for none", ""},
		"one, as asked for":             {wal("2Gi", "slow"), true, "", ""},
		"one, another class is asked":   {wal("2Gi", "fast"), true, "", "claim wal-demo-0-0 is of StorageClass slow and fast is asked for"},
		"one, and less is asked for":    {wal("1Gi", "slow"), true, "", "claim wal-demo-0-0 has 2Gi and only 1Gi is asked for"},
		"one, and more than can be had": {wal("3Gi", "slow"), true, "", "claim wal-demo-0-0 has 2Gi, 3Gi is asked for, and its StorageClass slow does not let it grow"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			s.cluster.Spec.Storage.WAL = test.asked
			// The database's growth is none of the log's.
			s.cluster.Spec.Storage.AutoGrow = &v1alpha1.AutoGrowSpec{Limit: resource.MustParse("1Gi"), ThresholdPercent: 80}
			s.etcd.answer.Statuses = []core.Status{{Member: "demo-0", Answered: true, DBSize: 9 * gib}}
			s.add(s.claim("demo-0"))
			if test.has {
				log := resized(s.logClaim("demo-0"), "2Gi")
				log.Spec.StorageClassName = new("slow")
				s.add(log)
			}
			volumes := s.member(t, "demo-0").Volumes
			if volumes[0].Misfit != test.data || test.has && volumes[1].Misfit != test.log {
				t.Errorf("%+v", volumes)
			}
		})
	}
}

// TestAutoGrow: by half whenever the database has filled the part of the quota, and never back.
func TestAutoGrow(t *testing.T) {
	const threshold = 687194765 // 80 % of four fifths of 1 GiB
	for name, test := range map[string]struct {
		has              string
		limit            string
		database, wanted int64
	}{
		"the database is small":             {"1Gi", "9Gi", 0, gib},
		"just below the threshold":          {"1Gi", "9Gi", threshold - 1, gib},
		"at the threshold":                  {"1Gi", "9Gi", threshold, gib / 2 * 3},
		"only up to the limit":              {"1Gi", "1200Mi", threshold, 1200 << 20},
		"nothing is left up to the limit":   {"1Gi", "1Gi", threshold, gib},
		"it has grown, and that is enough":  {"1536Mi", "9Gi", threshold, gib / 2 * 3},
		"the next step":                     {"1536Mi", "9Gi", threshold*3/2 + 5, gib / 4 * 9},
		"the limit was lowered":             {"3Gi", "2Gi", 9 * gib, 3 * gib},
		"the database has become small":     {"3Gi", "9Gi", 0, 3 * gib},
		"it is smaller than is asked for":   {"512Mi", "9Gi", 0, gib},
		"one step at a time, even if large": {"1Gi", "9Gi", 9 * gib, gib / 2 * 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(growing("slow", new(true)))
			s.cluster.Spec.Storage.AutoGrow = &v1alpha1.AutoGrowSpec{Limit: resource.MustParse(test.limit), ThresholdPercent: 80}
			// The largest database counts, whoever has it.
			s.etcd.answer.Statuses = []core.Status{{Member: "demo-1", DBSize: test.database}, {Member: "demo-0", DBSize: test.database / 2}}
			claim := resized(s.claim("demo-0"), test.has)
			claim.Spec.StorageClassName = new("slow")
			got := s.add(claim).member(t, "demo-0").Volumes[0]
			if got.WantedSize != test.wanted || got.Misfit != "" || got.Expandable != (got.Size < test.wanted) {
				t.Errorf("%d wanted, want %d; %+v", got.WantedSize, test.wanted, got)
			}
		})
	}
}

// TestNodesExcluded: the volume stays where it is, and its pod would not find a node any more.
func TestNodesExcluded(t *testing.T) {
	const zone = corev1.LabelTopologyZone
	notIn := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: zone, Operator: corev1.NodeSelectorOpNotIn, Values: []string{"b"}}}}
	for name, test := range map[string]struct {
		volume client.Object
		misfit bool
	}{
		"it is in the zone":                  {volume("demo-0", in(zone, "a", "b")), false},
		"it is in another zone":              {volume("demo-0", in(zone, "a")), true},
		"it is in one of two other zones":    {volume("demo-0", in(zone, "a"), in(zone, "c")), true},
		"it can be reached from there too":   {volume("demo-0", in(zone, "a"), in(zone, "b")), false},
		"it is on some node":                 {volume("demo-0", in(corev1.LabelHostname, "unknown")), false},
		"it is on a node of the zone":        {volume("demo-0", in(corev1.LabelHostname, "in-b")), false},
		"it is on a node of another zone":    {volume("demo-0", in(corev1.LabelHostname, "in-a")), true},
		"it is on one of two nodes":          {volume("demo-0", in(corev1.LabelHostname, "in-a", "in-b")), false},
		"its node lacks another label":       {volume("demo-0", in(corev1.LabelHostname, "in-b-without-disk")), true},
		"it can be reached from everywhere":  {volume("demo-0"), false},
		"nobody knows where it is":           {volume("demo-7"), false},
		"it says where it cannot be reached": {volume("demo-0", notIn), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(test.volume)
			for name, labels := range map[string]map[string]string{"in-a": {zone: "a", "disk": "nvme"}, "in-b": {zone: "b", "disk": "nvme"}, "in-b-without-disk": {zone: "b"}} {
				n := node(name, corev1.ConditionTrue, since)
				n.Labels = labels
				s.add(n)
			}
			s.cluster.Spec.PodTemplate.Spec.NodeSelector = map[string]v1alpha1.LabelValue{zone: "b", "disk": "nvme"}
			got := s.add(s.claim("demo-0")).member(t, "demo-0").Volumes[0].Misfit
			if (got != "") != test.misfit || got != "" && got != "claim data-demo-0-0 cannot be reached from the nodes that spec.podTemplate.spec.nodeSelector asks for" {
				t.Errorf("misfit %q", got)
			}
		})
	}
	s := newSituation(volume("demo-0", in(zone, "a")))
	if got := s.add(s.claim("demo-0")).member(t, "demo-0").Volumes[0].Misfit; got != "" {
		t.Errorf("no nodes are excluded: %s", got)
	}
}
