//go:build integration

package operator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

func TestScale(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][]int32{{3, 5, 3}, {1, 3, 1}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			l := s.live(sizes[0])
			for _, n := range sizes[1:] {
				s.change(size(n))
				s.tidy(longPatience)
			}
			l.finish()
			if l.writer.gap > 3*time.Second {
				t.Errorf("no write was acknowledged for %v", l.writer.gap)
			}
		})
	}
}

// TestScaleOutIsTakenBack: the size goes back before the new members have joined.
func TestScaleOutIsTakenBack(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	s.change(size(5))
	s.eventually("a fourth member is made", patience, func() error {
		if n := len(s.workloads()); n < 4 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	s.change(size(3))
	l.finish()
}

func TestHibernateAndWake(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	s.put("key", "value")
	before := s.cluster().Status.Members
	s.change(size(0))
	s.eventually("the cluster hibernates", patience, func() error {
		if cluster := s.cluster(); cluster.Status.Phase != "Hibernated" || len(s.pods()) > 0 {
			return fmt.Errorf("phase %s, %d pods: %s", cluster.Status.Phase, len(s.pods()), summary(cluster))
		}
		return nil
	})
	if claims := s.claims(); len(claims) != 3 {
		t.Fatalf("there are %d claims", len(claims))
	}
	s.change(size(3))
	l.finish()
	s.holds("key", "value")
	for i, m := range s.cluster().Status.Members {
		if m.ID != before[i].ID || m.Name != before[i].Name {
			t.Errorf("member %s (%s) was %s (%s)", m.Name, m.ID, before[i].Name, before[i].ID)
		}
	}
}

func TestALostVolumeIsReplaced(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"follower", "leader"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			l := s.live(3)
			victim := s.follower()
			if role == "leader" {
				victim = s.cluster().Status.Leader
			}
			s.loseVolume(victim)
			s.replaced(victim)
			if names := l.finish(); names[2] != "demo-3" {
				t.Errorf("the members are %v, demo-3 was expected among them", names)
			}
		})
	}
}

func TestCorruptDataIsReplaced(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	victim := s.follower()
	err := filepath.WalkDir(env.VolumeFolder(s.claimOf(victim)), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() != "db" {
			return err
		}
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		_, err = file.Write(make([]byte, 16384))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = env.KillMember(s.namespace, victim+"-0", syscall.SIGKILL) // it may have ended by itself
	s.replaced(victim)
	l.finish()
}

func TestACorruptAlarmIsHealed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	victim := s.follower()
	s.alarm(victim)
	s.replaced(victim)
	l.finish()
}

func TestMembersAreReplacedOnRequest(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"follower", "leader"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			l := s.live(3)
			victim := s.follower()
			if role == "leader" {
				victim = s.cluster().Status.Leader
			}
			s.annotate(render.AnnotationReplaceMembers, victim)
			s.replaced(victim)
			l.finish()
		})
	}
}

// exchanged waits until none of the members is one of before.
func (l *life) exchanged(before []string) {
	l.Helper()
	for _, name := range before {
		l.replaced(name)
	}
	l.finish()
}

func TestAnotherStorageClass(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	class := s.storageClass(true)
	l := s.live(3)
	before := s.members()
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.StorageClassName = &class })
	l.exchanged(before)
	for _, claim := range s.claims() {
		if ptr.Deref(claim.Spec.StorageClassName, "") != class {
			t.Errorf("claim %s is of class %v", claim.Name, claim.Spec.StorageClassName)
		}
	}
}

func TestASmallerVolume(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(1)
	before := s.members()
	s.change(volumeSize("512Mi"))
	l.exchanged(before)
}

func volumeSize(text string) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Size = ptr.To(resource.MustParse(text)) }
}

func TestVolumesGrowInPlace(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	h := s.follow()
	l := s.live(3)
	s.change(volumeSize("2Gi"))
	want := resource.MustParse("2Gi")
	s.eventually("the volumes have grown", patience, func() error {
		for _, claim := range s.claims() {
			if has := claim.Status.Capacity[corev1.ResourceStorage]; has.Cmp(want) != 0 {
				return fmt.Errorf("claim %s has %s", claim.Name, &has)
			}
		}
		return nil
	})
	l.finish()
	if err := h.once(); err != nil {
		t.Error(err)
	}
}

func TestVolumesThatCannotGrowAreExchanged(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	class := s.storageClass(false)
	l := s.live(1, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.StorageClassName = &class })
	before := s.members()
	s.change(volumeSize("2Gi"))
	l.exchanged(before)
}

func TestResourcesChangeInPlace(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	h := s.follow()
	l := s.live(3)
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		spec.PodTemplate.Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
		}}
	})
	s.eventually("the pods have other resources", patience, func() error {
		for name, pod := range s.pods() {
			if status := pod.Status.ContainerStatuses[0]; status.Resources == nil || status.Resources.Requests.Cpu().String() != "250m" {
				return fmt.Errorf("pod %s has %v", name, status.Resources)
			}
		}
		return nil
	})
	l.finish()
	if err := h.once(); err != nil {
		t.Error(err)
	}
}

func TestAHandRemovedMember(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	victim := s.follower()
	id := s.member(victim).Header.MemberId
	s.removeMember(id)
	s.replaced(victim)
	l.finish()
}

func TestAForeignMemberIsReported(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	var id uint64
	s.eventually("a member is added by hand", patience, func() error {
		answer, err := s.connect().MemberAddAsLearner(t.Context(), []string{"http://10.9.8.7:2380"})
		if err == nil {
			id = answer.Member.ID
		}
		return err
	})
	s.says("Degraded", "ForeignMember", "10.9.8.7")
	before := s.members()
	s.change(size(1))
	time.Sleep(5 * time.Second)
	for _, name := range []string{"demo-0", "demo-1", "demo-2"} {
		if !slices.Contains(s.members(), name) || s.pods()[name+"-0"] == nil {
			t.Errorf("the members were %v and are %v", before, s.members())
		}
	}
	s.removeMember(id)
	l.finish()
}

// removeMember removes a member by hand, whoever it is.
func (s *scene) removeMember(id uint64) {
	s.Helper()
	s.eventually("the member is removed", patience, func() error {
		_, err := s.connect().MemberRemove(s.Context(), id)
		if errors.Is(err, rpctypes.ErrMemberNotFound) {
			return nil // an earlier try was carried out, its answer was lost
		}
		return err
	})
}
