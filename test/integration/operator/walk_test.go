//go:build integration

package operator

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// fields are the fields of the spec that a walk changes, each to a value that is drawn.
var fields = []struct {
	name string
	draw func(*rand.Rand, *v1alpha1.EtcdClusterSpec)
}{
	{"size", func(r *rand.Rand, spec *v1alpha1.EtcdClusterSpec) { size(draw[int32](r, 1, 3, 5))(spec) }},
	{"version", func(r *rand.Rand, spec *v1alpha1.EtcdClusterSpec) {
		spec.Version = draw(r, "3.6.14", "3.6.15", "3.6.16")
	}},
	{"config", func(r *rand.Rand, spec *v1alpha1.EtcdClusterSpec) {
		settings(strconv.Itoa(100 + r.IntN(3)))(spec)
		fixedQuota(spec)
		if r.IntN(2) == 0 {
			spec.Config["auto-compaction-retention"] = "1h"
		}
	}},
	{"resources", func(r *rand.Rand, spec *v1alpha1.EtcdClusterSpec) {
		spec.PodTemplate.Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(draw(r, "50m", "200m", "300m")), corev1.ResourceMemory: resource.MustParse("128Mi"),
		}}
	}},
	{"labels", func(r *rand.Rand, spec *v1alpha1.EtcdClusterSpec) {
		spec.PodTemplate.Metadata.Labels = map[string]v1alpha1.LabelValue{"team": v1alpha1.LabelValue(draw(r, "red", "green", "blue"))}
	}},
	{"tolerations", func(r *rand.Rand, spec *v1alpha1.EtcdClusterSpec) {
		spec.PodTemplate.Spec.Tolerations = []corev1.Toleration{{Key: draw(r, "a", "b"), Operator: corev1.TolerationOpExists}}
	}},
	{"grace period", func(r *rand.Rand, spec *v1alpha1.EtcdClusterSpec) {
		spec.PodTemplate.Spec.TerminationGracePeriodSeconds = ptr.To(draw[int64](r, 10, 20, 30))
	}},
	{"storage size", func(r *rand.Rand, spec *v1alpha1.EtcdClusterSpec) {
		spec.Storage.Size.Add(resource.MustParse(draw(r, "1Gi", "2Gi")))
	}},
	{"retention", func(r *rand.Rand, spec *v1alpha1.EtcdClusterSpec) {
		spec.Storage.Retention.WhenDeleted = draw(r, v1alpha1.RetentionRetain, v1alpha1.RetentionDelete)
	}},
	{"pause", func(_ *rand.Rand, spec *v1alpha1.EtcdClusterSpec) { spec.Paused = !spec.Paused }},
}

// fixedQuota sets what otherwise follows the size of volumes, at the next restart after they have grown.
func fixedQuota(spec *v1alpha1.EtcdClusterSpec) {
	if spec.Config == nil {
		spec.Config = map[string]v1alpha1.ConfigValue{}
	}
	spec.Config["quota-backend-bytes"] = "536870912"
}

func draw[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// TestRandomWalks changes fields of the spec at random moments, in the middle of other changes too. In the end the cluster
// is as one that was made with its last spec. WALKS is how many walks are made, each with its number as the seed.
func TestRandomWalks(t *testing.T) {
	t.Parallel()
	walks := 2
	if text := os.Getenv("WALKS"); text != "" {
		var err error
		if walks, err = strconv.Atoi(text); err != nil {
			t.Fatalf("WALKS=%q is not a number", text)
		}
	}
	for seed := range walks {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // A walk is to be repeatable, not secret.
			s := newScene(t)
			l := s.live(draw[int32](r, 1, 3), fixedQuota)
			for step := range 6 {
				field := fields[r.IntN(len(fields))]
				s.change(func(spec *v1alpha1.EtcdClusterSpec) {
					field.draw(r, spec)
					if step == 5 {
						spec.Paused = false
					}
				})
				pause := time.Duration(r.IntN(4000)) * time.Millisecond
				t.Logf("step %d: %s; then %v", step, field.name, pause)
				time.Sleep(pause)
			}
			l.finish()
			s.sealed()
			last := s.cluster().Spec
			s.isLikeNew(fresh(t, *last.Size, func(spec *v1alpha1.EtcdClusterSpec) { *spec = last }))
		})
	}
}
