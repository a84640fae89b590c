//go:build integration

package operator

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

func inMemory(spec *v1alpha1.EtcdClusterSpec) {
	spec.Storage = v1alpha1.StorageSpec{Medium: v1alpha1.StorageMediumMemory, Size: ptr.To(resource.MustParse("256Mi"))}
}

func TestAMemberInMemoryIsReplaced(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"follower", "leader"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			l := s.live(3, inMemory)
			victim := s.follower()
			if role == "leader" {
				victim = s.cluster().Status.Leader
			}
			s.delete(s.pods()[victim+"-0"])
			s.replaced(victim)
			l.finish()
		})
	}
}

func TestSettingsOfMembersInMemory(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3, inMemory)
	before := s.members()
	s.change(settings("200"))
	l.exchanged(before)
	s.checkTransactionLimit(200)
}
