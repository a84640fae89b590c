//go:build integration

package operator

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/environment"
)

// longPatience is for what takes some time by itself: half a minute of certainty that data is corrupt, or several
// members one after another.
const longPatience = 150 * time.Second

// life is a cluster under a constant writer, whose membership changes.
type life struct {
	*scene
	writer *writer
	id     string
}

// live makes a cluster and lets an operator and a writer work on it.
func (s *scene) live(size int32, changes ...func(*v1alpha1.EtcdClusterSpec)) *life {
	s.Helper()
	s.operate()
	return s.inhabit(size, changes...)
}

// inhabit is live without the operator.
func (s *scene) inhabit(size int32, changes ...func(*v1alpha1.EtcdClusterSpec)) *life {
	s.Helper()
	id := s.running(size, changes...).Status.ClusterID
	s.sealed()
	return &life{scene: s, writer: s.write(), id: id}
}

// finish checks what has to be true at the end of every story: no acknowledged write is lost, it is the same cluster,
// and Kubernetes and etcd have exactly the members that the status names.
func (l *life) finish() []string {
	l.Helper()
	names := l.tidy(longPatience)
	l.writer.finish()
	if id := l.cluster().Status.ClusterID; id != l.id {
		l.Errorf("the cluster was %s and is %s", l.id, id)
	}
	l.checkOneCluster()
	return names
}

func size(n int32) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) { spec.Size = &n }
}

// members are the names of the members that the status reports.
func (s *scene) members() []string {
	s.Helper()
	var names []string
	for _, m := range s.cluster().Status.Members {
		names = append(names, m.Name)
	}
	return names
}

// without are the names but one.
func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
}

// follower is a member that does not lead.
func (s *scene) follower() string {
	s.Helper()
	cluster := s.cluster()
	for _, m := range cluster.Status.Members {
		if m.Name != cluster.Status.Leader {
			return m.Name
		}
	}
	s.Fatal("there is no follower")
	return ""
}

// tidy waits until the cluster has settled and nothing is left of members that it has no more.
func (s *scene) tidy(limit time.Duration) (names []string) {
	s.Helper()
	took := s.eventually("the cluster settles with nothing left over", limit, func() (err error) {
		names, err = s.tidyNow()
		return err
	})
	s.Logf("settled as %v after %v", names, took.Round(time.Millisecond))
	return names
}

func (s *scene) tidyNow() ([]string, error) {
	cluster := s.cluster()
	if err := isSettled(cluster); err != nil {
		return nil, err
	}
	names := s.members()
	if len(names) != int(*cluster.Spec.Size) {
		return nil, fmt.Errorf("the status has the members %v", names)
	}
	var workloads, pods, claims []string
	for _, set := range s.workloads() {
		workloads = append(workloads, set.Name)
	}
	for name := range s.pods() {
		pods = append(pods, strings.TrimSuffix(name, "-0"))
	}
	for _, claim := range s.claims() {
		if claim.Annotations[render.AnnotationRemoved] == "" || cluster.Spec.Storage.Retention.WhenScaled != v1alpha1.RetentionRetain {
			claims = append(claims, claim.Labels[render.LabelMember])
		}
	}
	sort.Strings(claims)
	claims = slices.Compact(claims)
	if cluster.Spec.Storage.Medium == v1alpha1.StorageMediumMemory {
		claims = names
	}
	for what, found := range map[string][]string{"StatefulSets": workloads, "pods": pods, "claims": claims} {
		slices.SortFunc(found, core.CompareNames)
		if !slices.Equal(found, names) {
			return nil, fmt.Errorf("the members are %v, there are %s of %v", names, what, found)
		}
	}
	return names, s.etcdAgrees(names)
}

// etcdAgrees compares etcd's own member list with the names.
func (s *scene) etcdAgrees(names []string) error {
	ctx, cancel := context.WithTimeout(s.Context(), 3*time.Second)
	defer cancel()
	connection := s.connect()
	defer func() { _ = connection.Close() }()
	answer, err := connection.MemberList(ctx)
	if err != nil {
		return err
	}
	var listed []string
	for _, m := range answer.Members {
		if m.IsLearner {
			return fmt.Errorf("member %s is a learner", m.Name)
		}
		listed = append(listed, m.Name)
	}
	slices.SortFunc(listed, core.CompareNames)
	if !slices.Equal(listed, names) {
		return fmt.Errorf("the status has the members %v, etcd lists %v", names, listed)
	}
	return nil
}

// annotate sets an annotation of the cluster.
func (s *scene) annotate(key, value string) {
	s.Helper()
	s.eventually("the cluster is annotated", patience, func() error {
		cluster := s.cluster()
		metav1.SetMetaDataAnnotation(&cluster.ObjectMeta, key, value)
		return env.Client.Update(s.Context(), cluster)
	})
}

// claimOf is the claim of a member's data volume.
func (s *scene) claimOf(member string) *corev1.PersistentVolumeClaim {
	s.Helper()
	claim := &corev1.PersistentVolumeClaim{}
	s.get(render.ClaimName(render.DataVolume, member), claim)
	return claim
}

// loseVolume deletes the claim of a member together with its pod.
func (s *scene) loseVolume(member string) {
	s.Helper()
	s.delete(s.claimOf(member))
	s.delete(s.pods()[member+"-0"])
}

// alarm raises the alarm CORRUPT for a member, as etcd's own checks do.
func (s *scene) alarm(member string) {
	s.Helper()
	if err := s.alarmOf(s.member(member).Header.MemberId, s.connect()); err != nil {
		s.Fatalf("raise an alarm: %v", err)
	}
}

// alarmOf raises the alarm CORRUPT for whoever has, or had, an ID.
func (s *scene) alarmOf(id uint64, connection *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	_, err := pb.NewMaintenanceClient(connection.ActiveConnection()).Alarm(ctx, &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, MemberID: id, Alarm: pb.AlarmType_CORRUPT,
	})
	return err
}

// replaced waits until a member is gone and another has taken its place.
func (s *scene) replaced(member string) {
	s.Helper()
	took := s.eventually(fmt.Sprintf("member %s is replaced", member), longPatience, func() error {
		names, err := s.tidyNow()
		if err == nil && slices.Contains(names, member) {
			return fmt.Errorf("it is still there: %s", summary(s.cluster()))
		}
		return err
	})
	s.Logf("member %s was replaced within %v; the members are %v", member, took.Round(time.Millisecond), s.members())
}

// storageClass makes a class of its own for the scene.
func (s *scene) storageClass(growing bool) string {
	s.Helper()
	class := &storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: s.namespace + "-class"},
		Provisioner:          environment.Provisioner,
		VolumeBindingMode:    ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowVolumeExpansion: &growing,
	}
	s.create(class)
	s.Cleanup(func() { _ = env.Client.Delete(context.Background(), class) })
	return class.Name
}
