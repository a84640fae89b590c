//go:build integration

package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// patience is how long anything may take on a slow machine under load.
const patience = 60 * time.Second

// version is the etcd version of most tests.
const version = "3.6.16"

// scene is a test with a namespace of its own, and short ways to look at it and to change it. Its clusters are called
// demo unless a test says otherwise.
type scene struct {
	*testing.T
	namespace string
	// login is the user as whom connections are made; nil as long as nobody asks.
	login *login
	// certificate is the Secret with that of an application; empty means the ready-made one.
	certificate string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, namespace: env.NewNamespace(t)}
	t.Cleanup(func() {
		if t.Failed() {
			s.explain()
		}
	})
	return s
}

// explain logs what a failure may be understood from.
func (s *scene) explain() {
	ctx := context.Background()
	var clusters v1alpha1.EtcdClusterList
	_ = env.Client.List(ctx, &clusters, client.InNamespace(s.namespace))
	for i := range clusters.Items {
		c := &clusters.Items[i]
		s.Logf("EtcdCluster %s: phase %s, ready %s, leader %s, conditions %s", c.Name, c.Status.Phase, c.Status.Ready, c.Status.Leader, summary(c))
		for _, m := range c.Status.Members {
			s.Logf("  member %s: %s %s healthy=%v %s", m.Name, m.Role, m.Version, m.Healthy, m.Message)
		}
	}
	var pods corev1.PodList
	_ = env.Client.List(ctx, &pods, client.InNamespace(s.namespace))
	for i := range pods.Items {
		for _, container := range pods.Items[i].Status.ContainerStatuses {
			s.Logf("  pod %s: %s, started %d times, %s", pods.Items[i].Name, pods.Items[i].Status.Phase, container.RestartCount+1, state(container.State))
		}
	}
}

// demo is an EtcdCluster as most tests want it: with small volumes, which go with it, and without TLS, since certificates are
// others in each cluster.
func (s *scene) demo(size int32, changes ...func(*v1alpha1.EtcdClusterSpec)) *v1alpha1.EtcdCluster {
	volume := resource.MustParse("1Gi")
	cluster := &v1alpha1.EtcdCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "demo"},
		Spec: v1alpha1.EtcdClusterSpec{
			Size: &size, Version: version,
			Storage: v1alpha1.StorageSpec{Size: &volume, Retention: v1alpha1.RetentionSpec{WhenDeleted: v1alpha1.RetentionDelete}},
		},
	}
	unsecured(&cluster.Spec)
	for _, change := range changes {
		change(&cluster.Spec)
	}
	return cluster
}

// byDefault is for a test of what users get who ask for nothing: TLS on both planes.
func byDefault(spec *v1alpha1.EtcdClusterSpec) { spec.Security.TLS = v1alpha1.TLSSpec{} }

// running creates a cluster and waits until it has settled.
func (s *scene) running(size int32, changes ...func(*v1alpha1.EtcdClusterSpec)) *v1alpha1.EtcdCluster {
	s.Helper()
	s.create(s.demo(size, changes...))
	return s.settled()
}

func (s *scene) create(object client.Object) {
	s.Helper()
	if err := env.Client.Create(s.Context(), object); err != nil {
		s.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

func (s *scene) delete(object client.Object, options ...client.DeleteOption) {
	s.Helper()
	if err := env.Client.Delete(s.Context(), object, options...); err != nil && !apierrors.IsNotFound(err) {
		s.Fatalf("delete %T %s: %v", object, object.GetName(), err)
	}
}

// get reads an object of the scene's namespace.
func (s *scene) get(name string, into client.Object) {
	s.Helper()
	if err := env.Client.Get(s.Context(), s.key(name), into); err != nil {
		s.Fatalf("read %T %s: %v", into, name, err)
	}
}

func (s *scene) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: name}
}

func (s *scene) cluster() *v1alpha1.EtcdCluster {
	s.Helper()
	cluster := &v1alpha1.EtcdCluster{}
	s.get("demo", cluster)
	return cluster
}

// change changes the spec of the cluster.
func (s *scene) change(change func(*v1alpha1.EtcdClusterSpec)) {
	s.Helper()
	s.eventually("the spec is changed", patience, func() error {
		cluster := s.cluster()
		change(&cluster.Spec)
		return env.Client.Update(s.Context(), cluster)
	})
}

// eventually polls a condition that says what is missing, and tells how long it took.
func (s *scene) eventually(what string, limit time.Duration, condition func() error) time.Duration {
	s.Helper()
	started := time.Now()
	for {
		err := condition()
		switch took := time.Since(started); {
		case err == nil:
			return took
		case took > limit:
			s.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		// What takes long is asked for less often: all tests share two cores.
		time.Sleep(min(max(time.Since(started)/20, 20*time.Millisecond), 250*time.Millisecond))
	}
}

// settled waits until nothing is wrong with the cluster and nothing is left to do for its newest spec.
func (s *scene) settled() *v1alpha1.EtcdCluster {
	s.Helper()
	var cluster *v1alpha1.EtcdCluster
	s.eventually("the cluster settles", patience, func() error {
		cluster = s.cluster()
		return isSettled(cluster)
	})
	return cluster
}

func isSettled(c *v1alpha1.EtcdCluster) error {
	conditions := c.Status.Conditions
	if c.Status.ObservedGeneration == c.Generation && c.Status.Phase == "Running" && c.Status.ReadyMembers == *c.Spec.Size &&
		meta.IsStatusConditionTrue(conditions, "Available") && meta.IsStatusConditionFalse(conditions, "Progressing") &&
		meta.IsStatusConditionFalse(conditions, "Degraded") {
		return nil
	}
	return fmt.Errorf("generation %d of %d, phase %s, ready %s: %s", c.Status.ObservedGeneration, c.Generation, c.Status.Phase, c.Status.Ready, summary(c))
}

// says waits until a condition has a reason, and a message with all the words.
func (s *scene) says(kind, reason string, words ...string) time.Duration {
	s.Helper()
	return s.eventually(fmt.Sprintf("%s has the reason %s", kind, reason), patience, func() error {
		cluster := s.cluster()
		condition := meta.FindStatusCondition(cluster.Status.Conditions, kind)
		if condition == nil || condition.Reason != reason {
			return fmt.Errorf("the conditions are %s", summary(cluster))
		}
		for _, word := range words {
			if !strings.Contains(condition.Message, word) {
				return fmt.Errorf("the message %q lacks %q", condition.Message, word)
			}
		}
		return nil
	})
}

func summary(c *v1alpha1.EtcdCluster) string {
	var parts []string
	for _, condition := range c.Status.Conditions {
		parts = append(parts, fmt.Sprintf("%s=%s %s (%s)", condition.Type, condition.Status, condition.Reason, condition.Message))
	}
	return strings.Join(parts, ", ")
}

// list lists what bears the cluster's label.
func (s *scene) list(into client.ObjectList) {
	s.Helper()
	if err := env.Client.List(s.Context(), into, client.InNamespace(s.namespace), client.MatchingLabels{render.LabelCluster: "demo"}); err != nil {
		s.Fatalf("list %T: %v", into, err)
	}
}

// pods are the pods of the cluster, by name.
func (s *scene) pods() map[string]*corev1.Pod {
	s.Helper()
	var list corev1.PodList
	s.list(&list)
	pods := map[string]*corev1.Pod{}
	for i := range list.Items {
		pods[list.Items[i].Name] = &list.Items[i]
	}
	return pods
}

func (s *scene) claims() []corev1.PersistentVolumeClaim {
	s.Helper()
	var list corev1.PersistentVolumeClaimList
	s.list(&list)
	return list.Items
}

func (s *scene) workloads() []appsv1.StatefulSet {
	s.Helper()
	var list appsv1.StatefulSetList
	s.list(&list)
	return list.Items
}

// sealed waits until everything is recorded that is to be recorded of a cluster that has formed: from then on no
// member would start on an empty volume, be it in the pod that runs or in the next.
func (s *scene) sealed() {
	s.Helper()
	s.eventually("the members and their pods are sealed and their claims are marked", patience, func() error {
		for _, set := range s.workloads() {
			if set.Annotations[render.AnnotationStart] != render.StartSealed {
				return fmt.Errorf("StatefulSet %s is not sealed", set.Name)
			}
		}
		for name, pod := range s.pods() {
			if start, _ := render.PodStart(pod); start != core.StartSealed {
				return fmt.Errorf("pod %s is not sealed", name)
			}
		}
		for _, claim := range s.claims() {
			// One that is kept of a member that left before it ran never gets the mark.
			if claim.Annotations[render.AnnotationClusterID] == "" && claim.Annotations[render.AnnotationRemoved] == "" {
				return fmt.Errorf("claim %s is not marked", claim.Name)
			}
		}
		return nil
	})
}

// gone waits until an object is gone.
func (s *scene) gone(object client.Object) {
	s.Helper()
	s.eventually(fmt.Sprintf("%T %s goes", object, object.GetName()), patience, func() error {
		err := env.Client.Get(s.Context(), client.ObjectKeyFromObject(object), object.DeepCopyObject().(client.Object))
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return errors.New("it is there")
	})
}

// state is a container's state in a few words.
func state(s corev1.ContainerState) string {
	switch {
	case s.Waiting != nil:
		return s.Waiting.Reason + ": " + s.Waiting.Message
	case s.Terminated != nil:
		return fmt.Sprintf("ended with %d", s.Terminated.ExitCode)
	case s.Running != nil:
		return "running"
	}
	return "unknown"
}

func runs(pod *corev1.Pod) bool {
	for i := range pod.Status.ContainerStatuses {
		if pod.Status.ContainerStatuses[i].State.Running != nil {
			return pod.DeletionTimestamp == nil
		}
	}
	return false
}
