//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/history"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// gently is how clients write and read beside other tests: what they see is checked here, how fast they are is measured by the benchmarks.
var gently = history.Options{Pause: 200 * time.Millisecond, Heartbeat: 100 * time.Millisecond}

// life is a cluster that something is done to while clients write to it and read from it all the time.
type life struct {
	*live.Kubernetes
	workload *live.Workload
	before   *v1alpha1.EtcdCluster
	// ids are the members that ever were.
	ids map[string]uint64
}

// beginLife makes a cluster called demo, and starts the clients. The nodes must have the images of some versions of etcd.
func beginLife(t *testing.T, size int32, adjust func(*v1alpha1.EtcdClusterSpec), versions ...string) *life {
	t.Helper()
	k := live.Connect(t)
	k.RequireVersions(versions...)
	cluster := k.Cluster("demo", size)
	if adjust != nil {
		adjust(&cluster.Spec)
	}
	k.MustCreate(cluster)
	l := &life{Kubernetes: k, before: k.WaitSettled("demo", patience), ids: map[string]uint64{}}
	l.workload = k.StartWorkload("demo", gently)
	l.note()
	return l
}

// note remembers who the members are. A name that comes back with another ID, or an ID with another name, is the mistake
// that makes etcd confuse members: an identity that was removed is never used again.
func (l *life) note() {
	l.T.Helper()
	for name, id := range l.MustMembers(l.workload.Client()) {
		for earlier, other := range l.ids {
			if (earlier == name) != (other == id) {
				l.T.Errorf("member %s has ID %x, %s had %x: an identity is used again", name, id, earlier, other)
			}
		}
		l.ids[name] = id
	}
}

// settled waits for the end of a step: nothing is left but a cluster of this size, and it is the same cluster.
func (l *life) settled(size int) *v1alpha1.EtcdCluster {
	l.T.Helper()
	now := l.WaitSettled("demo", 4*patience)
	if now.Status.ClusterID != l.before.Status.ClusterID {
		l.T.Fatalf("the cluster is %s, it was %s", now.Status.ClusterID, l.before.Status.ClusterID)
	}
	l.WaitEndState("demo", l.workload.Client(), size, 2*patience)
	l.note()
	return now
}

// finish ends the clients and checks all that they saw.
func (l *life) finish(size int) history.Result {
	l.T.Helper()
	l.settled(size)
	return l.workload.Finish()
}

// member is a member that leads, or one that does not.
func (l *life) member(leads bool) (name string, id uint64) {
	l.T.Helper()
	leader := l.Leader(l.workload.Client())
	members := l.MustMembers(l.workload.Client())
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if (name == leader) == leads {
			return name, members[name]
		}
	}
	l.T.Fatalf("members are %v, the leader is %s", members, leader)
	return "", 0
}

func TestLifeScaleOutAndIn(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 1, nil)
	for _, size := range []int32{3, 5, 3, 1} {
		l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Size = &size })
		l.settled(int(size))
		if size == 1 {
			continue
		}
		budget := &policyv1.PodDisruptionBudget{}
		l.Eventually(fmt.Sprintf("the disruption budget is that of %d voters", size), patience, func(ctx context.Context) error {
			err := l.Get(ctx, objectKey(l.Namespace, "demo"), budget)
			if err == nil && budget.Status.DesiredHealthy != size/2+1 {
				err = fmt.Errorf("it wants %d healthy", budget.Status.DesiredHealthy)
			}
			return err
		})
	}
	l.finish(1)
	if len(l.ids) != 5 {
		t.Errorf("members were %v, want five in all: each step has to keep those that it can", l.ids)
	}
}

// The member that does not run goes first, whatever its number.
func TestLifeScaleInWhileAMemberIsDown(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 5, nil)
	member, _ := l.member(false)
	if err := live.CorruptLog(l.DataFolder(member)); err != nil {
		t.Fatal(err)
	}
	l.restart(member)
	size := int32(3)
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Size = &size })
	l.finish(3)
	if _, still := l.MustMembers(l.workload.Client())[member]; still || len(l.ids) != 5 {
		t.Errorf("members were %v, want that %s is gone and none is new", l.ids, member)
	}
}

func TestLifeReplaceTheLeaderByAnnotation(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, nil)
	leader, id := l.member(true)
	l.Annotate("demo", "etcd.etcd.io/replace-members", leader)
	l.WaitReplaced("demo", l.workload.Client(), leader, id, 4*patience)
	l.finish(3)
	if _, ok := l.MustMembers(l.workload.Client())[leader]; ok {
		t.Errorf("%s is a member again", leader)
	}
}

func TestLifeRollingChange(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, nil)
	pods := l.Pods("demo")
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) {
		s.Config = map[string]v1alpha1.ConfigValue{"snapshot-count": "4321"}
	})
	l.finish(3)
	for name, pod := range l.Pods("demo") {
		if pod.UID == pods[name].UID {
			t.Errorf("pod %s is still the old one", name)
		}
	}
	if len(l.ids) != 3 {
		t.Errorf("members were %v, want the same three", l.ids)
	}
}

func TestLifeResourcesInPlace(t *testing.T) {
	t.Parallel()
	requests := func(cpu, memory string) *corev1.ResourceRequirements {
		return &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}}
	}
	l := beginLife(t, 3, func(s *v1alpha1.EtcdClusterSpec) { s.PodTemplate.Spec.Resources = requests("50m", "64Mi") })
	pods := l.Pods("demo")
	wanted := requests("60m", "96Mi")
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.PodTemplate.Spec.Resources = wanted })
	l.Eventually("every container has its new resources", 2*patience, func(context.Context) error {
		for name, pod := range l.Pods("demo") {
			status := pod.Status.ContainerStatuses[0]
			if status.Resources == nil || !status.Resources.Requests.Cpu().Equal(*wanted.Requests.Cpu()) ||
				!status.Resources.Requests.Memory().Equal(*wanted.Requests.Memory()) {
				return fmt.Errorf("pod %s has %v", name, status.Resources)
			}
		}
		return nil
	})
	l.finish(3)
	for name, pod := range l.Pods("demo") {
		if pod.UID != pods[name].UID || pod.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("pod %s is another one, or its container was restarted %d times", name, pod.Status.ContainerStatuses[0].RestartCount)
		}
	}
}

func TestLifeHibernateAndWake(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, nil)
	asleep, awake := int32(0), int32(3)
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Size = &asleep })
	l.Eventually("no pod is left, all claims are", 2*patience, func(ctx context.Context) error {
		var claims corev1.PersistentVolumeClaimList
		if err := l.List(ctx, &claims, inNamespace(l.Namespace)); err != nil {
			return err
		}
		if pods := l.Pods("demo"); len(pods) > 0 || len(claims.Items) != 3 {
			return fmt.Errorf("there are %d pods and %d claims", len(pods), len(claims.Items))
		}
		now, err := l.GetCluster(ctx, "demo")
		if err == nil && now.Status.Phase != "Hibernated" {
			err = fmt.Errorf("phase is %s", now.Status.Phase)
		}
		return err
	})
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Size = &awake })
	l.finish(3)
	if len(l.ids) != 3 {
		t.Errorf("members were %v, want the same three", l.ids)
	}
}

// Between two members a roll can be held for as long as anybody wants.
func TestLifePausedMidway(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, nil)
	before := l.Pods("demo")
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) {
		s.Config = map[string]v1alpha1.ConfigValue{"snapshot-count": "4321"}
	})
	rolled := func() (count int) {
		for name, pod := range l.Pods("demo") {
			if pod.UID != before[name].UID {
				count++
			}
		}
		return count
	}
	l.Eventually("a pod is another one", 2*patience, func(context.Context) error {
		if rolled() == 0 {
			return errors.New("none is")
		}
		return nil
	})
	pause := func(paused bool) {
		l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Paused = paused })
	}
	pause(true)
	l.WaitCondition("demo", "Progressing", "Paused", patience)
	held := rolled()
	time.Sleep(5 * time.Second)
	if now := rolled(); held == 3 || now != held {
		t.Errorf("%d pods were rolled when the cluster was paused, and are %d by now", held, now)
	}
	pause(false)
	l.finish(3)
	if rolled() != 3 {
		t.Errorf("%d pods were rolled in the end", rolled())
	}
}

// The operator ends with a member half joined, and the cluster is deleted before another one is there. No test runs beside one without
// an operator.
func TestLifeDeletedWithAStepHalfDone(t *testing.T) {
	l := beginLife(t, 3, nil)
	size := int32(5)
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Size = &size })
	l.Eventually("a fourth member is listed", patience, func(ctx context.Context) error {
		members, err := live.Members(ctx, l.workload.Client())
		if err == nil && len(members) < 4 {
			err = fmt.Errorf("members are %v", members)
		}
		return err
	})
	t.Cleanup(func() { l.ScaleOperator(1) })
	l.ScaleOperator(0)
	l.workload.Stop()
	l.MustDelete(l.before)
	waitLeft(l.Kubernetes, "demo", 0, "")
}
