// Package live helps tests that run against a running Kubernetes with the operator installed: the local cluster, or
// kind. hack/with-cluster.sh prepares both and sets the environment that is read here.
package live

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// OperatorNamespace is where hack/cluster.sh installs the operator.
const OperatorNamespace = "etcd-operator-system"

// Kubernetes is the running cluster.
type Kubernetes struct {
	client.WithWatch
	Config *rest.Config
	T      testing.TB
	// Namespace is the test's own; it enforces the "restricted" pod security standard.
	Namespace string
}

// Connect connects to the running cluster and makes a namespace for the test, which goes when the test ends.
func Connect(t testing.TB) *Kubernetes {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatalf("KUBECONFIG=%q gives no cluster (%v): run these tests by make test-e2e or hack/with-cluster.sh", os.Getenv("KUBECONFIG"), err)
	}
	config.QPS, config.Burst = 200, 400
	ctrllog.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	k := &Kubernetes{WithWatch: c, Config: config, T: t}
	k.makeNamespace()
	return k
}

func (k *Kubernetes) makeNamespace() {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "etcd-test-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := k.Create(context.Background(), namespace); err != nil {
		k.T.Fatalf("making a namespace for the test: %v", err)
	}
	k.Namespace = namespace.Name
	k.T.Cleanup(func() {
		if k.T.Failed() {
			k.dump()
		}
		if err := k.Delete(context.Background(), namespace); err != nil && !apierrors.IsNotFound(err) {
			k.T.Errorf("deleting namespace %s: %v", namespace.Name, err)
		}
	})
}

// dump logs what explains a failure.
func (k *Kubernetes) dump() {
	ctx := context.Background()
	var clusters v1alpha1.EtcdClusterList
	_ = k.List(ctx, &clusters, client.InNamespace(k.Namespace))
	for i := range clusters.Items {
		k.T.Logf("EtcdCluster %s: spec %+v\nstatus %+v", clusters.Items[i].Name, clusters.Items[i].Spec, clusters.Items[i].Status)
	}
	var backups v1alpha1.EtcdBackupList
	_ = k.List(ctx, &backups, client.InNamespace(k.Namespace))
	for i := range backups.Items {
		k.T.Logf("EtcdBackup %s: spec %+v\nstatus %+v", backups.Items[i].Name, backups.Items[i].Spec, backups.Items[i].Status)
	}
	var pods corev1.PodList
	_ = k.List(ctx, &pods, client.InNamespace(k.Namespace))
	for i := range pods.Items {
		k.T.Logf("pod %s: %s %+v", pods.Items[i].Name, pods.Items[i].Status.Phase, pods.Items[i].Status.ContainerStatuses)
	}
	var events corev1.EventList
	_ = k.List(ctx, &events, client.InNamespace(k.Namespace))
	for i := range events.Items {
		e := &events.Items[i]
		k.T.Logf("event %s %s %s/%s: %s", e.Type, e.Reason, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Message)
	}
}

// Cluster is an EtcdCluster for a test: small volumes, removed with the cluster. The rest is as users get it, TLS on both planes
// among it.
func (k *Kubernetes) Cluster(name string, size int32) *v1alpha1.EtcdCluster {
	volume := resource.MustParse("1Gi")
	return &v1alpha1.EtcdCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: name},
		Spec: v1alpha1.EtcdClusterSpec{
			Size:    &size,
			Version: EtcdVersion(),
			Storage: v1alpha1.StorageSpec{Size: &volume, Retention: v1alpha1.RetentionSpec{WhenDeleted: v1alpha1.RetentionDelete}},
		},
	}
}

// EtcdImage is the etcd image that the cluster has.
func EtcdImage() string {
	if image := os.Getenv("ETCD_IMAGE"); image != "" {
		return image
	}
	return "gcr.io/etcd-development/etcd:v3.6.16"
}

// EtcdVersion is the version of EtcdImage, as the API writes it.
func EtcdVersion() string {
	_, tag, _ := strings.Cut(EtcdImage(), ":v")
	return tag
}

// MustCreate creates an object.
func (k *Kubernetes) MustCreate(object client.Object) {
	k.T.Helper()
	if err := k.Create(context.Background(), object); err != nil {
		k.T.Fatalf("creating %T %s: %v", object, object.GetName(), err)
	}
}

// MustDelete deletes an object.
func (k *Kubernetes) MustDelete(object client.Object) {
	k.T.Helper()
	if err := k.Delete(context.Background(), object); err != nil && !apierrors.IsNotFound(err) {
		k.T.Fatalf("deleting %T %s: %v", object, object.GetName(), err)
	}
}

// Change changes the spec of a cluster.
func (k *Kubernetes) Change(name string, change func(*v1alpha1.EtcdClusterSpec)) {
	k.T.Helper()
	k.Eventually("changing "+name, time.Minute, func(ctx context.Context) error {
		cluster, err := k.GetCluster(ctx, name)
		if err != nil {
			return err
		}
		change(&cluster.Spec)
		return k.Update(ctx, cluster)
	})
}

// GetCluster reads a cluster.
func (k *Kubernetes) GetCluster(ctx context.Context, name string) (*v1alpha1.EtcdCluster, error) {
	cluster := &v1alpha1.EtcdCluster{}
	err := k.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: name}, cluster)
	return cluster, err
}

// Eventually tries until there is no error, or fails the test with the last one.
func (k *Kubernetes) Eventually(what string, timeout time.Duration, try func(context.Context) error) {
	k.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var last error
	for began := time.Now(); ; {
		err := try(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		// What takes long is asked for less often, so that this takes nothing from what is waited for: one part in fifty more counts for little.
		select {
		case <-time.After(min(max(time.Since(began)/50, 20*time.Millisecond), 250*time.Millisecond)):
		case <-ctx.Done():
			k.T.Fatalf("%s: not within %v: %v", what, timeout, last)
		}
	}
}

// WaitSettled waits until a cluster is Available, all its members are healthy and nothing is left to do for the
// newest spec.
func (k *Kubernetes) WaitSettled(name string, timeout time.Duration) *v1alpha1.EtcdCluster {
	k.T.Helper()
	var settled *v1alpha1.EtcdCluster
	k.Eventually("cluster "+name+" settles", timeout, func(ctx context.Context) error {
		cluster, err := k.GetCluster(ctx, name)
		if err != nil {
			return err
		}
		settled = cluster
		s := cluster.Status
		if s.ObservedGeneration == cluster.Generation && s.Phase == "Running" && s.ReadyMembers == *cluster.Spec.Size &&
			meta.IsStatusConditionTrue(s.Conditions, "Available") && meta.IsStatusConditionFalse(s.Conditions, "Progressing") {
			return nil
		}
		return fmt.Errorf("phase %s, ready %s, generation %d of %d, conditions %v", s.Phase, s.Ready, s.ObservedGeneration, cluster.Generation, Summary(s.Conditions))
	})
	return settled
}

// WaitCondition waits until a condition has the reason and a message that has all the words.
func (k *Kubernetes) WaitCondition(name, kind, reason string, timeout time.Duration, words ...string) {
	k.T.Helper()
	k.Eventually(fmt.Sprintf("condition %s of %s has reason %s", kind, name, reason), timeout, func(ctx context.Context) error {
		cluster, err := k.GetCluster(ctx, name)
		if err != nil {
			return err
		}
		return wantCondition(cluster.Status.Conditions, kind, reason, words)
	})
}

func wantCondition(conditions []metav1.Condition, kind, reason string, words []string) error {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil || c.Reason != reason {
		return fmt.Errorf("conditions are %v", Summary(conditions))
	}
	for _, word := range words {
		if !strings.Contains(c.Message, word) {
			return fmt.Errorf("message %q lacks %q", c.Message, word)
		}
	}
	return nil
}

// Summary writes conditions in one line.
func Summary(conditions []metav1.Condition) string {
	var parts []string
	for _, c := range conditions {
		parts = append(parts, fmt.Sprintf("%s=%s %s (%s)", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(parts, ", ")
}

// Pods are the pods of a cluster, by name.
func (k *Kubernetes) Pods(name string) map[string]corev1.Pod {
	k.T.Helper()
	var list corev1.PodList
	if err := k.List(context.Background(), &list, client.InNamespace(k.Namespace), client.MatchingLabels{"etcd.etcd.io/cluster": name}); err != nil {
		k.T.Fatalf("listing the pods of %s: %v", name, err)
	}
	pods := map[string]corev1.Pod{}
	for _, pod := range list.Items {
		pods[pod.Name] = pod
	}
	return pods
}

// ScaleOperator sets the number of the operator's pods and waits until it is so.
func (k *Kubernetes) ScaleOperator(replicas int32) {
	k.T.Helper()
	k.Eventually("scaling the operator", 90*time.Second, func(ctx context.Context) error {
		deployment := &appsv1.Deployment{}
		if err := k.Get(ctx, client.ObjectKey{Namespace: OperatorNamespace, Name: "etcd-operator"}, deployment); err != nil {
			return err
		}
		if *deployment.Spec.Replicas != replicas {
			deployment.Spec.Replicas = &replicas
			if err := k.Update(ctx, deployment); err != nil {
				return err
			}
		}
		var pods corev1.PodList
		if err := k.List(ctx, &pods, client.InNamespace(OperatorNamespace), client.MatchingLabels(deployment.Spec.Selector.MatchLabels)); err != nil {
			return err
		}
		if int32(len(pods.Items)) != replicas || deployment.Status.ReadyReplicas != replicas {
			return fmt.Errorf("%d pods of the operator, %d ready", len(pods.Items), deployment.Status.ReadyReplicas)
		}
		return nil
	})
}

// ResourceVersions are those of everything that the operator may write to in the test's namespace.
func (k *Kubernetes) ResourceVersions() map[string]string {
	k.T.Helper()
	versions := map[string]string{}
	for _, list := range []client.ObjectList{
		&v1alpha1.EtcdClusterList{}, &appsv1.StatefulSetList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{},
		&corev1.PersistentVolumeClaimList{}, &corev1.PodList{}, &policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{},
	} {
		if err := k.List(context.Background(), list, client.InNamespace(k.Namespace)); err != nil {
			k.T.Fatalf("listing %T: %v", list, err)
		}
		_ = meta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			versions[fmt.Sprintf("%T %s", object, object.GetName())] = object.GetResourceVersion()
			return nil
		})
	}
	return versions
}

// ResourceVersionsAtRest waits until nothing has been written for a while.
func (k *Kubernetes) ResourceVersionsAtRest(quiet time.Duration) map[string]string {
	k.T.Helper()
	last, since := k.ResourceVersions(), time.Now()
	k.Eventually("the namespace comes to rest", 2*time.Minute, func(context.Context) error {
		now := k.ResourceVersions()
		if !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
		if time.Since(since) < quiet {
			return fmt.Errorf("something was written %v ago", time.Since(since))
		}
		return nil
	})
	return last
}
