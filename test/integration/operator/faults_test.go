//go:build integration

package operator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/environment"
)

// The tests of this file let something fail in the midst of a step, under a constant writer.

// memberWith is the name that etcd lists under an ID, written as etcdctl does.
func (s *scene) memberWith(id string) (string, error) {
	answer, err := s.connect().MemberList(s.Context())
	if err != nil {
		return "", err
	}
	for _, m := range answer.Members {
		if etcd.ID(m.ID) == id && m.Name != "" {
			return m.Name, nil
		}
	}
	return "", fmt.Errorf("etcd lists no member %s that has started", id)
}

// TestKilledMidPromotion: a learner, or the leader, is killed right before or after the learner becomes a voter.
func TestKilledMidPromotion(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]struct {
		from, to int32
		leader   bool
		made     bool
	}{
		"the learner, before": {1, 3, false, false},
		"the learner, after":  {3, 5, false, true},
		"the leader, before":  {3, 5, true, false},
		"the leader, after":   {3, 5, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			w := &writes{}
			s.operateWith(operatorOptions{writes: w})
			l := s.inhabit(story.from)
			killed := make(chan error, 1)
			var once sync.Once
			w.reacts(func(what string, made bool) {
				id, promotes := strings.CutPrefix(what, "promote ")
				if !promotes || made != story.made {
					return
				}
				once.Do(func() {
					victim, err := s.cluster().Status.Leader, error(nil)
					if !story.leader {
						victim, err = s.memberWith(id)
					}
					killed <- errors.Join(err, env.KillMember(s.namespace, victim+"-0", syscall.SIGKILL))
				})
			})
			s.change(size(story.to))
			select {
			case err := <-killed:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(longPatience):
				t.Fatal("nobody was promoted")
			}
			l.finish()
		})
	}
}

// TestANodeIsLostMidRoll: while the first member restarts the node of another one goes. The roll waits; it goes on once the
// node is back, or its member was replaced after the time that the spec gives it.
func TestANodeIsLostMidRoll(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"it comes back", "it is gone for good"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			_, place := s.pool(4)
			w := &writes{}
			s.operateWith(operatorOptions{writes: w})
			h := s.follow()
			l := s.inhabit(3, place, unhealthyAfter(30*time.Second))
			before, leader := s.pods(), s.cluster().Status.Leader
			lost := make(chan string, 1)
			var once sync.Once
			w.reacts(func(what string, made bool) {
				restarted, restarts := strings.CutPrefix(what, "evict *v1.Pod ")
				if !restarts || !made {
					return
				}
				once.Do(func() {
					for name, pod := range before {
						if name == restarted || name == leader+"-0" {
							continue
						}
						if err := env.StopNode(s.Context(), pod.Spec.NodeName); err != nil {
							t.Error(err)
						}
						lost <- name
						return
					}
				})
			})
			h.mark()
			s.change(settings("78"))
			var victim string
			select {
			case victim = <-lost:
			case <-time.After(patience):
				t.Fatal("no member was restarted")
			}
			s.says("Progressing", "RollingOut", "waiting", strings.TrimSuffix(victim, "-0"))
			time.Sleep(5 * time.Second)
			// The lost one may be brought up to date as well: it serves nobody.
			if _, stopped := h.since(); len(without(stopped, victim)) != 1 {
				t.Errorf("the pods %v were stopped while the node of %s was gone", stopped, victim)
			}
			node := before[victim].Spec.NodeName
			if end == "it comes back" {
				if err := env.StartNode(s.Context(), node); err != nil {
					t.Fatal(err)
				}
				if names := l.finish(); !slices.Equal(names, []string{"demo-0", "demo-1", "demo-2"}) {
					t.Errorf("the members are %v", names)
				}
				return
			}
			if err := env.RemoveNode(s.Context(), node); err != nil {
				t.Fatal(err)
			}
			s.eventually("the member is removed", longPatience, func() error {
				if names := s.members(); slices.Contains(names, strings.TrimSuffix(victim, "-0")) {
					return fmt.Errorf("the members are %v", names)
				}
				return nil
			})
			if pod := s.pods()[victim]; pod != nil {
				// As Kubernetes' collector of pods without a node does.
				s.delete(pod, &client.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))})
			}
			l.finish()
		})
	}
}

// limitedClass makes a class whose volumes have no more room than they say.
func (s *scene) limitedClass() string {
	s.Helper()
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: s.namespace + "-limited"}, Provisioner: environment.Provisioner,
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer), AllowVolumeExpansion: ptr.To(true),
		Parameters: map[string]string{environment.ParameterLimited: "true"},
	}
	s.create(class)
	s.Cleanup(func() { _ = env.Client.Delete(context.Background(), class) })
	return class.Name
}

// TestAFullDisk: etcd ends when its disk is full. That is said, and nobody takes it for damaged data: the member comes back
// as it was once there is room again.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	for name, mend := range map[string]func(s *scene, ballast string){
		"what fills it is deleted": func(_ *scene, ballast string) { _ = os.Remove(ballast) },
		"its volume grows":         func(s *scene, _ string) { s.change(volumeSize("512Mi")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			class := s.limitedClass()
			l := s.live(3, volumeSize("256Mi"), func(spec *v1alpha1.EtcdClusterSpec) {
				spec.Storage.StorageClassName = &class
				spec.Config = map[string]v1alpha1.ConfigValue{"quota-backend-bytes": "134217728"}
			})
			before := s.cluster().Status.Members
			victim := s.follower()
			ballast := filepath.Join(env.VolumeFolder(s.claimOf(victim)), "ballast")
			stop := keepFull(t, ballast)
			// The database needs more room now.
			value := strings.Repeat("x", 512<<10)
			for n := range 24 {
				s.put(fmt.Sprintf("large/%d", n), value)
			}
			s.says("Degraded", "DiskFull", victim, "spec.storage.size")
			s.says("Available", "QuorumServes", "2 of 3")
			// Longer than damaged data is given.
			time.Sleep(35 * time.Second)
			s.says("Degraded", "DiskFull", victim)
			stop()
			mend(s, ballast)
			l.finish()
			_ = os.Remove(ballast)
			for i, m := range s.cluster().Status.Members {
				if m.ID != before[i].ID {
					t.Errorf("member %s was %s and is %s", m.Name, before[i].ID, m.ID)
				}
			}
		})
	}
}

// keepFull lets a file grow whenever there is room, until the function that it gives is called: etcd itself makes room when it
// starts, by giving up a segment of its log that it has prepared.
func keepFull(t *testing.T, name string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var filling sync.WaitGroup
	filling.Go(func() {
		for ctx.Err() == nil {
			if err := fill(name); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	stop = func() {
		cancel()
		filling.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// fill lets a file grow until there is no room left.
func fill(name string) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	block := make([]byte, 64<<10)
	for range 1 << 14 {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return fmt.Errorf("%s does not run full", name)
}
