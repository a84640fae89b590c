//go:build integration

package operator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// pool makes nodes for this scene alone, and the change that puts a cluster there.
func (s *scene) pool(nodes int) (names []string, place func(*v1alpha1.EtcdClusterSpec)) {
	s.Helper()
	label := map[string]string{"pool": s.namespace}
	for n := range nodes {
		name := fmt.Sprintf("%s-node-%d", s.namespace, n)
		if err := env.AddNode(s.Context(), name, n+1, label, corev1.Taint{Key: "pool", Value: s.namespace, Effect: corev1.TaintEffectNoSchedule}); err != nil {
			s.Fatal(err)
		}
		names = append(names, name)
	}
	return names, func(spec *v1alpha1.EtcdClusterSpec) {
		spec.PodTemplate.Spec.NodeSelector = map[string]v1alpha1.LabelValue{"pool": v1alpha1.LabelValue(s.namespace)}
		spec.PodTemplate.Spec.Tolerations = []corev1.Toleration{{Key: "pool", Operator: corev1.TolerationOpExists}}
		spec.PodTemplate.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"etcd.etcd.io/cluster": "demo"}}, TopologyKey: corev1.LabelHostname,
			}},
		}}
	}
}

func unhealthyAfter(d time.Duration) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) { spec.Healing.MemberUnhealthyAfter = metav1.Duration{Duration: d} }
}

// TestALostNode: its member is replaced after the time that the spec gives it, not before; what the node brings back
// with it is cleared away.
func TestALostNode(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"comes back", "is deleted"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			_, place := s.pool(4)
			l := s.live(3, place, unhealthyAfter(30*time.Second))
			victim := s.follower()
			node := s.pods()[victim+"-0"].Spec.NodeName
			started := time.Now()
			lose := env.StopNode
			if end == "is deleted" {
				lose = env.RemoveNode
			}
			if err := lose(t.Context(), node); err != nil {
				t.Fatal(err)
			}
			s.eventually("the member is replaced", longPatience, func() error {
				if names := s.members(); slices.Contains(names, victim) || len(names) != 3 {
					return fmt.Errorf("the members are %v", names)
				}
				return isSettled(s.cluster())
			})
			took := time.Since(started)
			t.Logf("the member was replaced within %v", took.Round(time.Millisecond))
			if took < 30*time.Second {
				t.Errorf("the member was replaced %v after its node was lost, not after 30 s", took)
			}
			if end == "comes back" {
				if err := env.StartNode(t.Context(), node); err != nil {
					t.Fatal(err)
				}
			} else if pod := s.pods()[victim+"-0"]; pod != nil {
				// As Kubernetes' collector of pods without a node does.
				s.delete(pod, &client.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))})
			}
			l.finish()
		})
	}
}

// TestANodeThatComesBackInTime: nothing is replaced.
func TestANodeThatComesBackInTime(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, place := s.pool(4)
	h := s.follow()
	l := s.live(3, place, unhealthyAfter(60*time.Second))
	before := s.members()
	node := s.pods()[s.follower()+"-0"].Spec.NodeName
	if err := env.StopNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	s.says("Available", "QuorumServes", "2 of 3")
	time.Sleep(5 * time.Second)
	if err := env.StartNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if names := l.finish(); !slices.Equal(names, before) {
		t.Errorf("the members were %v and are %v", before, names)
	}
	if err := h.once(); err != nil {
		t.Error(err)
	}
}
