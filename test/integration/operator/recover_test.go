//go:build integration

package operator

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/environment"
)

const (
	goodRepository = "gcr.io/etcd-development/etcd"
	badRepository  = "registry.invalid/nothing"
)

func repository(name string) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) { spec.Repository = name }
}

func nodeSelector(selector map[string]v1alpha1.LabelValue) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) { spec.PodTemplate.Spec.NodeSelector = selector }
}

// mistakes are specs that cannot work, what is said of them, and how they are put right.
var mistakes = []struct {
	name        string
	bad, good   func(*v1alpha1.EtcdClusterSpec)
	reason      string
	word        string
	atCreations bool // only a creation can go wrong like this
	joins       bool // a member that is to join meets it, and nobody is stopped for it
}{
	{name: "an image that does not exist", bad: repository(badRepository), good: repository(goodRepository), reason: "ImagePullFailed", word: badRepository},
	{name: "a selector that no node has", bad: nodeSelector(map[string]v1alpha1.LabelValue{"disk": "none"}), good: nodeSelector(nil), reason: "Unschedulable", word: "cannot be scheduled", joins: true},
	{
		name: "a storage class that does not exist", reason: "StorageClassMissing", word: "nothing", atCreations: true,
		bad:  func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.StorageClassName = ptr.To("nothing") },
		good: func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.StorageClassName = ptr.To(environment.StorageClass) },
	},
}

func TestAClusterMadeWithAMistake(t *testing.T) {
	t.Parallel()
	for _, mistake := range mistakes {
		t.Run(mistake.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.operate()
			s.create(s.demo(3, mistake.bad))
			s.says("Degraded", mistake.reason, mistake.word)
			s.says("Available", "Creating")
			s.change(mistake.good)
			s.settled()
			s.sealed()
			s.checkOneCluster()
		})
	}
	t.Run("and then deleted", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.operate()
		cluster := s.demo(3, repository(badRepository))
		s.create(cluster)
		s.says("Degraded", "ImagePullFailed")
		s.delete(cluster)
		s.nothingLeft()
	})
}

func TestARunningClusterIsGivenAMistake(t *testing.T) {
	t.Parallel()
	for _, mistake := range mistakes {
		if mistake.atCreations {
			continue
		}
		t.Run(mistake.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.operate()
			h := s.follow()
			s.running(3)
			s.sealed()
			w := s.write()
			h.mark()
			s.change(mistake.bad)
			s.says("Degraded", mistake.reason, mistake.word)
			s.says("Available", "QuorumServes")
			// No other member may follow the first.
			time.Sleep(2 * time.Second)
			spoiled := 1
			if mistake.joins {
				spoiled = 0
			}
			if fewest, stopped := h.since(); fewest < 3-spoiled || len(stopped) != spoiled {
				t.Errorf("the members %v were stopped for a spec that cannot work; at least %d ran", stopped, fewest)
			}
			s.change(mistake.good)
			s.settled()
			if fewest, _ := h.since(); fewest < 2 {
				t.Errorf("only %d members ran at some moment", fewest)
			}
			w.finish()
			s.checkOneCluster()
		})
	}
}

func TestARolloutIsPausedAndResumed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	h := s.follow()
	s.running(3)
	s.sealed()
	before := s.pods()
	h.mark()
	s.change(settings("77"))
	s.eventually("a member is restarted", patience, func() error {
		if _, stopped := h.since(); len(stopped) == 0 {
			return fmt.Errorf("none is")
		}
		return nil
	})
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = true })
	s.says("Progressing", "Paused")
	s.eventually("all members run", patience, func() error {
		if cluster := s.cluster(); cluster.Status.ReadyMembers != 3 || cluster.Status.Phase != "Paused" {
			return fmt.Errorf("ready %s, phase %s", cluster.Status.Ready, cluster.Status.Phase)
		}
		return nil
	})
	_, stopped := h.since()
	time.Sleep(3 * time.Second)
	if _, after := h.since(); len(after) != len(stopped) || len(stopped) == 3 {
		t.Errorf("the members %v were stopped before the pause, %v by now", stopped, after)
	}
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = false })
	s.rolled(before)
	s.checkRoll(h)
}

// TestAnExceededQuota does not run beside others: only an event tells of a pod that is refused, and when many tests make events
// kube-controller-manager writes them minutes late.
func TestAnExceededQuota(t *testing.T) {
	for what, kind := range map[string]corev1.ResourceName{"of pods": corev1.ResourcePods, "of StatefulSets": "count/statefulsets.apps"} {
		t.Run(what, func(t *testing.T) {
			s := newScene(t)
			quota := &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "tight"},
				Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{kind: resource.MustParse("1")}},
			}
			s.create(quota)
			s.eventually("the quota is in force", patience, func() error {
				s.get("tight", quota)
				if len(quota.Status.Hard) == 0 {
					return fmt.Errorf("its status is %+v", quota.Status)
				}
				return nil
			})
			s.operate()
			s.create(s.demo(3))
			s.says("Degraded", "QuotaExceeded", "tight")
			quota.Spec.Hard[kind] = resource.MustParse("10")
			s.eventually("the quota is raised", patience, func() error {
				s.get("tight", quota)
				quota.Spec.Hard[kind] = resource.MustParse("10")
				return env.Client.Update(t.Context(), quota)
			})
			started := time.Now()
			s.settled()
			t.Logf("settled %v after the quota was raised", time.Since(started).Round(time.Millisecond))
			s.sealed()
			s.checkOneCluster()
		})
	}
}
