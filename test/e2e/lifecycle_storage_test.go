//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// fixedQuota sets what otherwise follows the size of the volumes, which needs a restart.
func fixedQuota(s *v1alpha1.EtcdClusterSpec) {
	s.Config = map[string]v1alpha1.ConfigValue{"quota-backend-bytes": "536870912"}
}

// claims are the claims of the namespace.
func (l *life) claims(ctx context.Context) ([]corev1.PersistentVolumeClaim, error) {
	var list corev1.PersistentVolumeClaimList
	err := l.List(ctx, &list, inNamespace(l.Namespace))
	return list.Items, err
}

// grown waits until every claim has a size.
func (l *life) grown(size string) {
	l.T.Helper()
	want := resource.MustParse(size)
	l.Eventually("every claim has "+size, 2*patience, func(ctx context.Context) error {
		claims, err := l.claims(ctx)
		for i := range claims {
			if has := claims[i].Status.Capacity.Storage(); has.Cmp(want) != 0 {
				return fmt.Errorf("claim %s has %v", claims[i].Name, has)
			}
		}
		return err
	})
}

// untouched checks that the pods are those of before, and that none of their containers was restarted.
func (l *life) untouched(before map[string]corev1.Pod) {
	l.T.Helper()
	for name, pod := range l.Pods("demo") {
		if pod.UID != before[name].UID || pod.Status.ContainerStatuses[0].RestartCount != 0 {
			l.T.Errorf("pod %s was restarted", name)
		}
	}
}

// exchanged waits until every member is another one and all are as they should be, and checks that there was never more than
// one above the size.
func (l *life) exchanged(as func(context.Context) error) {
	l.T.Helper()
	before := l.MustMembers(l.workload.Client())
	most := 0
	l.Eventually("every member is another one", 6*patience, func(ctx context.Context) error {
		members, err := live.Members(ctx, l.workload.Client())
		if err != nil {
			return err
		}
		most = max(most, len(members))
		for name := range before {
			if _, still := members[name]; still {
				return fmt.Errorf("members are %v", members)
			}
		}
		return as(ctx)
	})
	if most > len(before)+1 {
		l.T.Errorf("there were %d members at a time, want one at most above the size", most)
	}
}

func TestLifeStorageExpansion(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, fixedQuota)
	pods := l.Pods("demo")
	size := resource.MustParse("2Gi")
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Storage.Size = &size })
	l.grown("2Gi")
	l.finish(3)
	l.untouched(pods)
}

// The database fills more than half of the quota, so that the volumes grow by half, and then no more.
func TestLifeVolumesGrowByThemselves(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, func(s *v1alpha1.EtcdClusterSpec) {
		size := resource.MustParse("64Mi")
		s.Storage.Size = &size
		s.Config = map[string]v1alpha1.ConfigValue{"quota-backend-bytes": "62914560"}
		s.Storage.AutoGrow = &v1alpha1.AutoGrowSpec{Limit: resource.MustParse("1Gi"), ThresholdPercent: 50}
	})
	pods := l.Pods("demo")
	value := strings.Repeat("x", 256<<10)
	for n := range 120 {
		l.Eventually("a large value is written", patience, func(ctx context.Context) error {
			_, err := l.workload.Client().Put(ctx, fmt.Sprintf("large/%d", n), value)
			return err
		})
	}
	l.grown("96Mi")
	l.finish(3)
	l.untouched(pods)
}

func TestLifeAnotherStorageClass(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, nil)
	standard := &storagev1.StorageClass{}
	if err := l.Get(context.Background(), objectKey("", "standard"), standard); err != nil {
		t.Fatal(err)
	}
	other := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "other-" + l.Namespace}, Provisioner: standard.Provisioner,
		VolumeBindingMode: standard.VolumeBindingMode, ReclaimPolicy: standard.ReclaimPolicy, Parameters: standard.Parameters}
	l.MustCreate(other)
	t.Cleanup(func() { l.MustDelete(other) })
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Storage.StorageClassName = &other.Name })
	l.exchanged(func(ctx context.Context) error {
		claims, err := l.claims(ctx)
		for i := range claims {
			if class := claims[i].Spec.StorageClassName; class == nil || *class != other.Name {
				return fmt.Errorf("claim %s is of another class", claims[i].Name)
			}
		}
		return err
	})
	l.finish(3)
}

func TestLifeTheLogGetsAVolumeOfItsOwn(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, nil)
	size := resource.MustParse("512Mi")
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Storage.WAL = &v1alpha1.WALStorage{Size: &size} })
	l.exchanged(func(ctx context.Context) error {
		claims, err := l.claims(ctx)
		if err == nil && len(claims) != 6 {
			err = fmt.Errorf("there are %d claims", len(claims))
		}
		return err
	})
	l.finish(3)
}

// A volume of a node cannot follow its member to another zone, so that the members are exchanged.
func TestLifeAnotherZone(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, nil)
	var nodes corev1.NodeList
	if err := l.List(context.Background(), &nodes); err != nil {
		t.Fatal(err)
	}
	zone := nodes.Items[0].Labels[corev1.LabelTopologyZone]
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) {
		s.PodTemplate.Spec.NodeSelector = map[string]v1alpha1.LabelValue{corev1.LabelTopologyZone: v1alpha1.LabelValue(zone)}
	})
	l.Eventually("all members are in the zone", 6*patience, func(context.Context) error {
		for name, pod := range l.Pods("demo") {
			for i := range nodes.Items {
				if n := &nodes.Items[i]; n.Name == pod.Spec.NodeName && n.Labels[corev1.LabelTopologyZone] != zone {
					return fmt.Errorf("pod %s is on node %s", name, n.Name)
				}
			}
		}
		return nil
	})
	l.finish(3)
}

// A member in memory has nothing left once its pod is gone.
func TestLifeInMemory(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, func(s *v1alpha1.EtcdClusterSpec) {
		size := resource.MustParse("256Mi")
		s.Storage.Medium, s.Storage.Size = v1alpha1.StorageMediumMemory, &size
	})
	member, id := l.member(false)
	l.restart(member)
	l.WaitReplaced("demo", l.workload.Client(), member, id, 4*patience)
	l.finish(3)
}
