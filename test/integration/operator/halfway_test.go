//go:build integration

package operator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// halfways are changes that take several steps, and moments in the middle of them.
var halfways = []struct {
	name   string
	from   int32
	change func(*scene)
	// reached is nil at the moment.
	reached func(*scene) error
}{
	{"a StatefulSet of a new member is made", 1, func(s *scene) { s.change(size(3)) }, func(s *scene) error {
		return atLeast("StatefulSets", len(s.workloads()), 2)
	}},
	{"a learner runs", 1, func(s *scene) { s.change(size(3)) }, func(s *scene) error { return s.hasRole("learner") }},
	{"a member is removed", 3, func(s *scene) { s.change(size(1)) }, func(s *scene) error {
		if names := s.members(); len(names) == 3 {
			return fmt.Errorf("the members are %v", names)
		}
		return nil
	}},
	{"a claim of a removed member is marked", 3, func(s *scene) { s.change(size(1)) }, func(s *scene) error {
		for _, claim := range s.claims() {
			if claim.Annotations[render.AnnotationRemoved] != "" {
				return nil
			}
		}
		return fmt.Errorf("none is")
	}},
	{"a lost member is removed", 3, func(s *scene) { s.loseVolume("demo-0") }, func(s *scene) error {
		if slices.Contains(s.members(), "demo-0") {
			return fmt.Errorf("it is there")
		}
		return nil
	}},
	{"a member is exchanged", 3, func(s *scene) { s.annotate(render.AnnotationReplaceMembers, "demo-0") }, func(s *scene) error {
		return atLeast("members", len(s.members()), 4)
	}},
	{"members are being stopped", 3, func(s *scene) { s.change(size(0)) }, func(s *scene) error {
		if len(s.pods()) == 3 && s.cluster().Status.Phase != "Hibernated" {
			return fmt.Errorf("all pods are there")
		}
		return nil
	}},
	{"a rollout has begun", 3, func(s *scene) { s.change(settings("55")) }, func(s *scene) error {
		for _, pod := range s.pods() {
			if pod.DeletionTimestamp != nil {
				return nil
			}
		}
		return fmt.Errorf("no pod stops")
	}},
}

func atLeast(what string, has, want int) error {
	if has < want {
		return fmt.Errorf("there are %d %s, not %d", has, what, want)
	}
	return nil
}

func (s *scene) hasRole(role v1alpha1.MemberRole) error {
	for _, m := range s.cluster().Status.Members {
		if m.Role == role {
			return nil
		}
	}
	return fmt.Errorf("no member is a %s", role)
}

// TestDeletionHalfway deletes the cluster in the middle of each change: nothing hangs, and nothing is left.
func TestDeletionHalfway(t *testing.T) {
	t.Parallel()
	for _, halfway := range halfways {
		t.Run(halfway.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.operate()
			cluster := s.running(halfway.from)
			s.sealed()
			halfway.change(s)
			s.eventually(halfway.name, patience, func() error { return halfway.reached(s) })
			s.delete(cluster)
			s.nothingLeft()
		})
	}
}

// TestAPauseHalfway: a paused cluster stays as it is in the middle of a change, and goes on after it.
func TestAPauseHalfway(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	s.change(size(5))
	s.eventually("a learner is added", patience, func() error { return s.hasRole("learner") })
	pause := func(paused bool) {
		s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = paused })
	}
	pause(true)
	s.says("Progressing", "Paused")
	time.Sleep(time.Second)
	before, members := s.snapshot(), s.members()
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		settings("66")(spec)
		volumeSize("2Gi")(spec)
	})
	s.loseVolume(members[0])
	time.Sleep(4 * time.Second)
	if now := s.members(); !slices.Equal(now, members) {
		t.Errorf("a paused cluster had the members %v and has %v", members, now)
	}
	for name, text := range before {
		// The StatefulSet controller makes the pod and claim again; that is not the operator.
		if now := s.snapshot()[name]; now != text && name != "status" && name != "PersistentVolumeClaim data-"+members[0]+"-0" && name != "Pod "+members[0]+"-0" {
			t.Errorf("%s was changed during the pause:\n%s\n%s", name, text, now)
		}
	}
	pause(false)
	l.finish()
	s.checkTransactionLimit(66)
}

// TestMembersComeBackUnderTheirNames: a cluster is deleted whose founders have been replaced, and made again. The retained
// volumes say whose they are.
func TestMembersComeBackUnderTheirNames(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3, retain)
	s.put("key", "value")
	s.annotate(render.AnnotationReplaceMembers, "demo-1")
	s.replaced("demo-1")
	names := l.finish()
	before := s.cluster()
	s.delete(before)
	var claims []string
	for _, name := range names {
		claims = append(claims, "PersistentVolumeClaim "+render.ClaimName(render.DataVolume, name))
	}
	s.nothingLeft(claims...)
	after := s.running(3, retain)
	if after.Status.ClusterID != before.Status.ClusterID {
		t.Errorf("the cluster was %s and is %s", before.Status.ClusterID, after.Status.ClusterID)
	}
	if now := s.tidy(patience); !slices.Equal(now, names) {
		t.Errorf("the members were %v and are %v", names, now)
	}
	s.holds("key", "value")
	// The names of members that are gone are not used again.
	s.change(size(5))
	if now := s.tidy(longPatience); !slices.Equal(now, append(names, "demo-4", "demo-5")) {
		t.Errorf("the members were %v and are %v", names, now)
	}
}

// TestOlderVolumesAreTakenOver: the new object asks for a version that the kept volumes cannot start with. Their members start with
// what they ran, and walk.
func TestOlderVolumesAreTakenOver(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3, retain, etcdVersion("3.5.33"))
	s.put("key", "value")
	names := l.finish()
	before := s.cluster()
	s.eventually("the claims say what their members ran", patience, func() error { return s.recordedVersion("3.5.33") })
	s.delete(before)
	var claims []string
	for _, name := range names {
		claims = append(claims, "PersistentVolumeClaim "+render.ClaimName(render.DataVolume, name))
	}
	s.nothingLeft(claims...)
	s.create(s.demo(3, retain, etcdVersion("3.7.3")))
	s.eventually("they start with what they ran", patience, func() error {
		if version := s.cluster().Status.Version; version != "3.5.33" {
			return fmt.Errorf("the version is %q", version)
		}
		return nil
	})
	s.runs("3.7.3")
	if after := s.cluster(); after.Status.ClusterID != before.Status.ClusterID {
		t.Errorf("the cluster was %s and is %s", before.Status.ClusterID, after.Status.ClusterID)
	}
	s.holds("key", "value")
	s.eventually("the claims say what their members run", patience, func() error { return s.recordedVersion("3.7.3") })
}

// recordedVersion is nil if all claims say that their members ran a version.
func (s *scene) recordedVersion(version string) error {
	for _, claim := range s.claims() {
		if said := claim.Annotations[render.AnnotationVersion]; said != version {
			return fmt.Errorf("claim %s says %q", claim.Name, said)
		}
	}
	return nil
}

// TestRemovedMembersLeaveTheirVolumes: with whenScaled Retain the claims stay, marked, and never run again.
func TestRemovedMembersLeaveTheirVolumes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Retention.WhenScaled = v1alpha1.RetentionRetain })
	s.change(size(1))
	kept := s.tidy(longPatience)
	if claims := s.claims(); len(claims) != 3 {
		t.Errorf("there are %d claims", len(claims))
	}
	s.change(size(3))
	if names := l.finish(); !slices.Equal(names, []string{kept[0], "demo-3", "demo-4"}) {
		t.Errorf("the members are %v", names)
	}
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Retention.WhenScaled = v1alpha1.RetentionDelete })
	s.tidy(longPatience)
}
