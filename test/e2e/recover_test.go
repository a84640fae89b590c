//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

func TestDeletedPodComesBackAsTheSameMember(t *testing.T) {
	t.Parallel()
	k := live.Connect(t)
	k.MustCreate(k.Cluster("demo", 3))
	before := k.WaitSettled("demo", patience)
	k.Put("demo", "demo-0-0", "key", "value")
	for _, member := range before.Status.Members {
		pod := k.Pods("demo")[member.Name+"-0"]
		k.MustDelete(&pod)
		k.Eventually("pod "+pod.Name+" is another one", patience, func(context.Context) error {
			if now := k.Pods("demo")[pod.Name]; now.UID == "" || now.UID == pod.UID {
				return fmt.Errorf("the pod is %q", now.UID)
			}
			return nil
		})
		after := k.WaitSettled("demo", patience)
		for _, m := range after.Status.Members {
			if m.Name == member.Name && m.ID != member.ID {
				t.Errorf("member %s came back with ID %s, want %s", m.Name, m.ID, member.ID)
			}
		}
		if after.Status.ClusterID != before.Status.ClusterID {
			t.Fatalf("the cluster is %s by now, it was %s: it was bootstrapped again", after.Status.ClusterID, before.Status.ClusterID)
		}
		k.WantValue("demo", pod.Name, "key", "value")
	}
}

func TestTheClusterServesWithoutTheOperator(t *testing.T) {
	k := live.Connect(t)
	k.MustCreate(k.Cluster("demo", 3))
	before := k.WaitSettled("demo", patience)
	k.ScaleOperator(0)
	defer k.ScaleOperator(1)
	k.Put("demo", "demo-1-0", "without", "operator")
	pod := k.Pods("demo")["demo-2-0"]
	k.MustDelete(&pod)
	k.Eventually("the pod is back and reads, without the operator", patience, func(ctx context.Context) error {
		_, err := k.Exec(ctx, "demo-2-0", "/usr/local/bin/etcdctl", "get", "without")
		return err
	})
	k.ScaleOperator(1)
	after := k.WaitSettled("demo", patience)
	if after.Status.ClusterID != before.Status.ClusterID {
		t.Errorf("the cluster is %s, it was %s", after.Status.ClusterID, before.Status.ClusterID)
	}
	k.WantValue("demo", "demo-0-0", "without", "operator")
}

// badSpecs are changes that cannot work; each says what the condition Degraded has to say of it.
var badSpecs = []struct {
	name   string
	spoil  func(*v1alpha1.EtcdClusterSpec)
	reason string
	words  []string
	// ready is how many of three members are ready with it: one is stopped for it, or none, if it meets one that is to join.
	ready int
}{
	{"an image that does not exist", func(s *v1alpha1.EtcdClusterSpec) { s.Repository = "registry.invalid/etcd" },
		"ImagePullFailed", []string{"registry.invalid/etcd"}, 2},
	{"a node selector that fits no node", func(s *v1alpha1.EtcdClusterSpec) {
		s.PodTemplate.Spec.NodeSelector = map[string]v1alpha1.LabelValue{"no-such": "node"}
	}, "Unschedulable", []string{"-0 cannot be scheduled"}, 3},
	{"more memory than any node has", func(s *v1alpha1.EtcdClusterSpec) {
		s.PodTemplate.Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Ti")}}
	}, "Unschedulable", []string{"nsufficient memory"}, 2},
	{"a memory limit that etcd does not fit into", func(s *v1alpha1.EtcdClusterSpec) {
		tight := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("10Mi")}
		s.PodTemplate.Spec.Resources = &corev1.ResourceRequirements{Requests: tight, Limits: tight}
	}, "CrashLooping", []string{"exit code"}, 2},
	{"a Secret that does not exist", func(s *v1alpha1.EtcdClusterSpec) {
		s.PodTemplate.Spec.Env = []corev1.EnvVar{{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "no-such-secret"}, Key: "token",
		}}}}
	}, "ContainerConfigError", []string{"no-such-secret"}, 2},
}

func TestABadSpecOnARunningClusterHurtsNothingAndIsMendedByTheGoodOne(t *testing.T) {
	t.Parallel()
	for _, bad := range badSpecs {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			k := live.Connect(t)
			k.MustCreate(k.Cluster("demo", 3))
			good := k.WaitSettled("demo", patience)
			k.Put("demo", "demo-0-0", "key", "value")

			k.Change("demo", bad.spoil)
			k.WaitCondition("demo", "Degraded", bad.reason, patience, bad.words...)
			k.WaitCondition("demo", "Available", "QuorumServes", patience)
			// Another member must not follow the first one into trouble.
			time.Sleep(3 * time.Second)
			serving := ""
			for name, pod := range k.Pods("demo") {
				if live.Ready(&pod) {
					serving = name
				}
			}
			if n := readyPods(k, "demo"); n != bad.ready {
				t.Fatalf("%d members are ready with the bad spec, want %d", n, bad.ready)
			}
			k.Put("demo", serving, "meanwhile", "served")

			k.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { *s = good.Spec })
			after := k.WaitSettled("demo", patience)
			if after.Status.ClusterID != good.Status.ClusterID {
				t.Fatalf("the cluster is %s, it was %s", after.Status.ClusterID, good.Status.ClusterID)
			}
			k.WantValue("demo", "demo-0-0", "key", "value")
			k.WantValue("demo", "demo-0-0", "meanwhile", "served")
		})
	}
}

func TestAClusterMadeWithABadSpecIsMendedByAGoodOne(t *testing.T) {
	t.Parallel()
	for _, bad := range badSpecs {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			k := live.Connect(t)
			cluster := k.Cluster("demo", 3)
			good := cluster.Spec
			bad.spoil(&cluster.Spec)
			k.MustCreate(cluster)
			k.WaitCondition("demo", "Degraded", bad.reason, patience, bad.words...)
			k.Change("demo", func(s *v1alpha1.EtcdClusterSpec) {
				s.Repository, s.PodTemplate, s.Config = "", good.PodTemplate, good.Config
				if good.Repository == "" {
					s.Repository = "gcr.io/etcd-development/etcd"
				}
			})
			k.WaitSettled("demo", patience)
			k.Put("demo", "demo-0-0", "key", "value")
		})
	}
}

func TestAMissingStorageClass(t *testing.T) {
	t.Parallel()
	for _, mend := range []string{"by the spec", "by making the class"} {
		t.Run(mend, func(t *testing.T) {
			t.Parallel()
			k := live.Connect(t)
			class := "class-of-" + k.Namespace
			cluster := k.Cluster("demo", 3)
			cluster.Spec.Storage.StorageClassName = &class
			k.MustCreate(cluster)
			k.WaitCondition("demo", "Degraded", "StorageClassMissing", patience, class, "does not exist", "standard")
			if mend == "by the spec" {
				k.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Storage.StorageClassName = ptr.To("standard") })
			} else {
				standard := &storagev1.StorageClass{}
				if err := k.Get(context.Background(), objectKey("", "standard"), standard); err != nil {
					t.Fatal(err)
				}
				made := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: standard.Provisioner,
					VolumeBindingMode: standard.VolumeBindingMode, ReclaimPolicy: standard.ReclaimPolicy, Parameters: standard.Parameters}
				k.MustCreate(made)
				t.Cleanup(func() { k.MustDelete(made) })
			}
			k.WaitSettled("demo", patience)
			k.Put("demo", "demo-0-0", "key", "value")
		})
	}
}

func TestAnExceededQuota(t *testing.T) {
	t.Parallel()
	k := live.Connect(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: "tight"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
	}
	k.MustCreate(quota)
	k.Eventually("the quota is in force", patience, func(ctx context.Context) error {
		if err := k.Get(ctx, objectKey(k.Namespace, "tight"), quota); err != nil {
			return err
		}
		if len(quota.Status.Hard) == 0 {
			return fmt.Errorf("its status is empty")
		}
		return nil
	})
	k.MustCreate(k.Cluster("demo", 3))
	k.WaitCondition("demo", "Degraded", "QuotaExceeded", patience, "exceeded quota: tight", "pods")
	k.MustDelete(quota)
	k.WaitSettled("demo", patience)
	k.Put("demo", "demo-0-0", "key", "value")
}

func TestANameThatIsTaken(t *testing.T) {
	t.Parallel()
	k := live.Connect(t)
	foreign := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: "demo-client"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "other"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	k.MustCreate(foreign)
	k.MustCreate(k.Cluster("demo", 3))
	k.WaitCondition("demo", "Degraded", "NameTaken", patience, "Service", "demo-client", "does not belong")
	untouched := &corev1.Service{}
	if err := k.Get(context.Background(), objectKey(k.Namespace, "demo-client"), untouched); err != nil || untouched.Spec.Selector["app"] != "other" {
		t.Fatalf("the other's Service was touched: %v %v", err, untouched.Spec.Selector)
	}
	k.MustDelete(foreign)
	k.WaitSettled("demo", patience)
	k.Put("demo", "demo-0-0", "key", "value")
}
