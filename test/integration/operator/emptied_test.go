//go:build integration

package operator

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestAVolumeIsEmptiedBeneathItsPod: a member loses what it has acknowledged while its pod stays, as by a reboot of its node,
// and while the only other one that has the newest write is away. The container starts again in a pod that was made for a
// member to found or to join. Were it to start over, it would elect itself with one who lacks the write.
func TestAVolumeIsEmptiedBeneathItsPod(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		joined  bool
		changes []func(*v1alpha1.EtcdClusterSpec)
	}{
		"a founder":                 {false, nil},
		"one that joined":           {true, nil},
		"a founder in memory":       {false, []func(*v1alpha1.EtcdClusterSpec){inMemory}},
		"one that joined in memory": {true, []func(*v1alpha1.EtcdClusterSpec){inMemory}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.operate()
			if test.joined {
				s.running(1, test.changes...)
				s.change(size(3))
				s.settled()
			} else {
				s.running(3, test.changes...)
			}
			s.sealed()
			leader := s.cluster().Status.Leader
			others := without(s.members(), leader)
			if test.joined {
				// The founder is the first: who is emptied has to have joined.
				slices.Reverse(others)
			}
			emptied, late := others[0], others[1]
			pod := s.pods()[render.PodName(emptied)]
			s.pause(late)
			endpoint := s.endpoint(leader)
			if _, err := s.connect(endpoint).Put(t.Context(), "acknowledged", "yes"); err != nil {
				t.Fatal(err)
			}
			s.pause(emptied)
			s.pause(leader)
			s.empty(emptied, pod)
			if test.joined {
				// One that joins asks who answers.
				s.resume(late)
			}
			if err := env.KillMember(s.namespace, pod.Name, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			s.eventually("the member refuses to start over", patience, func() error { return s.refused(pod) })
			if !test.joined {
				s.resume(late)
			}
			s.resume(leader)
			s.replaced(emptied)
			s.holds("acknowledged", "yes")
			s.checkOneCluster()
		})
	}
}

func (s *scene) pause(member string) {
	s.Helper()
	if err := env.PausePod(s.namespace, render.PodName(member)); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) resume(member string) {
	s.Helper()
	if err := env.ResumePod(s.namespace, render.PodName(member)); err != nil {
		s.Fatal(err)
	}
}

// empty empties the volume of a member beneath its pod.
func (s *scene) empty(member string, pod *corev1.Pod) {
	s.Helper()
	err := env.WipePodVolume(s.namespace, pod.Name, render.DataVolume)
	if len(s.claims()) > 0 {
		err = env.WipeVolume(s.Context(), s.namespace, render.ClaimName(render.DataVolume, member))
	}
	if err != nil {
		s.Fatal(err)
	}
}

// refused is whether the container of a pod, which is the same still, has started again since, and has found nothing to start on.
func (s *scene) refused(before *corev1.Pod) error {
	pod := s.pods()[before.Name]
	if pod == nil || pod.UID != before.UID {
		return errors.New("it is another pod")
	}
	status := pod.Status.ContainerStatuses[0]
	again := status.RestartCount > before.Status.ContainerStatuses[0].RestartCount
	if problem := observe.ObservePod(pod).Problem; !again || problem.Reason != core.ReasonVolumeEmpty {
		return fmt.Errorf("started %d times, %s: %v", status.RestartCount+1, state(status.State), problem)
	}
	return nil
}
