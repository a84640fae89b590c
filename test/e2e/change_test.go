//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

func objectKey(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

func readyPods(k *live.Kubernetes, cluster string) int {
	n := 0
	for _, pod := range k.Pods(cluster) {
		if live.Ready(&pod) {
			n++
		}
	}
	return n
}

func TestAChangedSettingReachesEveryMember(t *testing.T) {
	t.Parallel()
	k := live.Connect(t)
	k.MustCreate(k.Cluster("demo", 3))
	before := k.WaitSettled("demo", patience)
	k.Put("demo", "demo-0-0", "key", "value")
	pods := k.Pods("demo")
	k.Change("demo", func(s *v1alpha1.EtcdClusterSpec) {
		s.Config = map[string]v1alpha1.ConfigValue{"snapshot-count": "4321"}
	})
	k.Eventually("every pod is another one", 2*patience, func(context.Context) error {
		for name, pod := range k.Pods("demo") {
			if pod.UID == pods[name].UID {
				return fmt.Errorf("pod %s is still the old one", name)
			}
		}
		return nil
	})
	after := k.WaitSettled("demo", patience)
	if after.Status.ClusterID != before.Status.ClusterID {
		t.Fatalf("the cluster is %s, it was %s", after.Status.ClusterID, before.Status.ClusterID)
	}
	k.WantValue("demo", "demo-1-0", "key", "value")
	k.Eventually("only the configuration in use is left", patience, func(ctx context.Context) error {
		var configs corev1.ConfigMapList
		if err := k.List(ctx, &configs, client.InNamespace(k.Namespace), client.MatchingLabels{"etcd.etcd.io/cluster": "demo"}); err != nil {
			return err
		}
		var settings []string
		for i := range configs.Items {
			if strings.HasPrefix(configs.Items[i].Name, "demo-config-") {
				settings = append(settings, configs.Items[i].Data["ETCD_SNAPSHOT_COUNT"])
			}
		}
		if !slices.Equal(settings, []string{"4321"}) {
			return fmt.Errorf("the configurations take snapshots of the log after %q entries", settings)
		}
		return nil
	})
}

func TestWhatIsTakenAwayByHandComesBack(t *testing.T) {
	t.Parallel()
	k := live.Connect(t)
	k.MustCreate(k.Cluster("demo", 3))
	before := k.WaitSettled("demo", patience)
	k.Put("demo", "demo-0-0", "key", "value")
	for _, kind := range []client.Object{&corev1.Service{}, &policyv1.PodDisruptionBudget{}, &appsv1.StatefulSet{}} {
		name := map[string]string{"*v1.Service": "demo-client", "*v1.PodDisruptionBudget": "demo", "*v1.StatefulSet": "demo-1"}[fmt.Sprintf("%T", kind)]
		kind.SetNamespace(k.Namespace)
		kind.SetName(name)
		k.MustDelete(kind)
		k.Eventually(fmt.Sprintf("%T %s is back", kind, name), patience, func(ctx context.Context) error {
			return k.Get(ctx, objectKey(k.Namespace, name), kind)
		})
	}
	// A selector that was changed by hand is set right.
	service := &corev1.Service{}
	k.Eventually("spoiling the client Service", patience, func(ctx context.Context) error {
		if err := k.Get(ctx, objectKey(k.Namespace, "demo-client"), service); err != nil {
			return err
		}
		service.Spec.Selector = map[string]string{"etcd.etcd.io/cluster": "other"}
		return k.Update(ctx, service)
	})
	k.Eventually("the selector is right again", patience, func(ctx context.Context) error {
		if err := k.Get(ctx, objectKey(k.Namespace, "demo-client"), service); err != nil {
			return err
		}
		if service.Spec.Selector["etcd.etcd.io/cluster"] != "demo" {
			return fmt.Errorf("it is %v", service.Spec.Selector)
		}
		return nil
	})
	after := k.WaitSettled("demo", patience)
	if after.Status.ClusterID != before.Status.ClusterID {
		t.Fatalf("the cluster is %s, it was %s", after.Status.ClusterID, before.Status.ClusterID)
	}
	k.WantValue("demo", "demo-0-0", "key", "value")
}

// leftOf lists what is left of a cluster.
func leftOf(ctx context.Context, k *live.Kubernetes, cluster string) ([]string, error) {
	var left []string
	for _, list := range []client.ObjectList{
		&appsv1.StatefulSetList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{}, &corev1.PersistentVolumeClaimList{},
		&corev1.PodList{}, &policyv1.PodDisruptionBudgetList{}, &appsv1.ControllerRevisionList{},
	} {
		if err := k.List(ctx, list, client.InNamespace(k.Namespace)); err != nil {
			return nil, err
		}
		for _, object := range items(list) {
			if strings.Contains(object.GetName(), cluster) {
				left = append(left, fmt.Sprintf("%T %s", object, object.GetName()))
			}
		}
	}
	return left, nil
}

func waitLeft(k *live.Kubernetes, cluster string, want int, of string) {
	k.T.Helper()
	k.Eventually(fmt.Sprintf("%d objects are left of %s", want, cluster), patience, func(ctx context.Context) error {
		left, err := leftOf(ctx, k, cluster)
		if err != nil {
			return err
		}
		if len(left) != want {
			return fmt.Errorf("left are %v", left)
		}
		for _, object := range left {
			if !strings.Contains(object, of) {
				return fmt.Errorf("left is %s", object)
			}
		}
		return nil
	})
}

func TestDeletionLeavesNothingButWhatIsToBeKept(t *testing.T) {
	t.Parallel()
	t.Run("Delete", func(t *testing.T) {
		t.Parallel()
		k := live.Connect(t)
		cluster := k.Cluster("demo", 3)
		k.MustCreate(cluster)
		k.WaitSettled("demo", patience)
		k.MustDelete(cluster)
		waitLeft(k, "demo", 0, "")
	})
	for name, broken := range map[string]struct {
		spoil  func(*v1alpha1.EtcdClusterSpec)
		reason string
	}{
		"Delete, in the middle of the creation": {
			func(s *v1alpha1.EtcdClusterSpec) { s.Repository = "registry.invalid/etcd" }, "ImagePullFailed",
		},
		"Delete, before there are volumes": {func(s *v1alpha1.EtcdClusterSpec) {
			s.PodTemplate.Spec.NodeSelector = map[string]v1alpha1.LabelValue{"no-such": "node"}
		}, "Unschedulable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := live.Connect(t)
			cluster := k.Cluster("demo", 3)
			broken.spoil(&cluster.Spec)
			k.MustCreate(cluster)
			k.WaitCondition("demo", "Degraded", broken.reason, patience)
			k.MustDelete(cluster)
			waitLeft(k, "demo", 0, "")
		})
	}
	t.Run("Retain, and the same cluster comes back", func(t *testing.T) {
		t.Parallel()
		k := live.Connect(t)
		cluster := k.Cluster("demo", 3)
		cluster.Spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionRetain
		k.MustCreate(cluster)
		before := k.WaitSettled("demo", patience)
		k.Put("demo", "demo-0-0", "key", "value")
		k.MustDelete(cluster)
		waitLeft(k, "demo", 3, "PersistentVolumeClaim")
		k.Eventually("the object is gone", patience, func(ctx context.Context) error {
			_, err := k.GetCluster(ctx, "demo")
			switch {
			case err == nil:
				return errors.New("it is there")
			case apierrors.IsNotFound(err):
				return nil
			}
			return fmt.Errorf("it may be there: %w", err)
		})
		again := k.Cluster("demo", 3)
		k.MustCreate(again)
		after := k.WaitSettled("demo", patience)
		if after.Status.ClusterID != before.Status.ClusterID {
			t.Fatalf("the cluster is %s, the volumes hold %s: their data was not taken up", after.Status.ClusterID, before.Status.ClusterID)
		}
		k.WantValue("demo", "demo-2-0", "key", "value")
		k.MustDelete(again)
		waitLeft(k, "demo", 0, "")
	})
}

func items(list client.ObjectList) []client.Object {
	var objects []client.Object
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		objects = append(objects, item.(client.Object))
		return nil
	})
	return objects
}
