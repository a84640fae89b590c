//go:build integration

package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// The tests of this file are bugs that other operators had with what is deleted, is being deleted, or is refused. The API server,
// its garbage collector and the StatefulSet controller are real.

// claimUIDs tell claims apart from others of the same name.
func (s *scene) claimUIDs() map[string]types.UID {
	s.Helper()
	uids := map[string]types.UID{}
	for _, claim := range s.claims() {
		if claim.DeletionTimestamp == nil {
			uids[claim.Name] = claim.UID
		}
	}
	return uids
}

// TestBugVolumesOfALivingCluster: zookeeper-operator#312, cassandra-operator#402, cass-operator#118, K8SPSMDB-430. A cluster is
// deleted and made again under its name at once. What goes is what belonged to the first one, by its UID; the claims of the second
// one stay, whoever hears of the deletion once more.
func TestBugVolumesOfALivingCluster(t *testing.T) {
	t.Parallel()
	for _, way := range []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground} {
		t.Run("deleted with the claims, "+string(way), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			o := s.operate()
			h := s.follow()
			before := s.running(3)
			s.sealed()
			s.put("key", "of the first")
			s.remade(before, way)
			after := s.settled()
			s.sealed()
			if after.Status.ClusterID == before.Status.ClusterID {
				t.Errorf("both clusters have the ID %s", after.Status.ClusterID)
			}
			claims := s.claimUIDs()
			s.eventually("all of the first one is gone", patience, func() error { return s.leftOf(before) })
			o.stop()
			s.operate() // which hears of everything anew
			s.put("key", "of the second")
			s.settled()
			time.Sleep(2 * time.Second)
			if now := s.claimUIDs(); len(now) != 3 || !maps.Equal(now, claims) {
				t.Errorf("the claims of the living cluster were %v and are %v", claims, now)
			}
			for object, count := range h.counts() {
				if count != 2 {
					t.Errorf("%s was made %d times for two clusters", object, count)
				}
			}
			s.holds("key", "of the second")
			s.checkOneCluster()
		})
	}
	t.Run("deleted without the claims", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.operate()
		before := s.running(3, retain)
		s.sealed()
		s.put("key", "value")
		claims := s.claimUIDs()
		s.remade(before, metav1.DeletePropagationBackground, retain)
		after := s.settled()
		s.sealed()
		s.eventually("all of the first one is gone", patience, func() error { return s.leftOf(before) })
		if now := s.claimUIDs(); !maps.Equal(now, claims) || after.Status.ClusterID != before.Status.ClusterID {
			t.Errorf("cluster %s with the claims %v became %s with %v", before.Status.ClusterID, claims, after.Status.ClusterID, now)
		}
		s.holds("key", "value")
		s.checkOneCluster()
	})
}

// remade deletes a cluster and makes it again as soon as its name is free.
func (s *scene) remade(cluster *v1alpha1.EtcdCluster, way metav1.DeletionPropagation, changes ...func(*v1alpha1.EtcdClusterSpec)) {
	s.Helper()
	s.delete(cluster, client.PropagationPolicy(way))
	s.eventually("the cluster is made again", patience, func() error { return env.Client.Create(s.Context(), s.demo(3, changes...)) })
}

// leftOf says what an EtcdCluster that is gone still owns.
func (s *scene) leftOf(cluster *v1alpha1.EtcdCluster) error {
	var owned []client.Object
	for _, set := range s.workloads() {
		owned = append(owned, &set)
	}
	for _, claim := range s.claims() {
		owned = append(owned, &claim)
	}
	for _, object := range owned {
		for _, owner := range object.GetOwnerReferences() {
			if owner.UID == cluster.UID {
				return fmt.Errorf("%T %s belongs to it", object, object.GetName())
			}
		}
	}
	return nil
}

// TestBugDeletedMembersTakeTheirVolumes: cozystack/etcd-operator#347 and #348. The objects of all members are deleted at once, with
// all that is theirs: the volumes are not, and the same members come back with them.
func TestBugDeletedMembersTakeTheirVolumes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3, retain)
	before, claims := s.cluster().Status.Members, s.claimUIDs()
	for _, set := range s.workloads() {
		s.delete(&set, client.PropagationPolicy(metav1.DeletePropagationForeground))
	}
	s.eventually("the pods stop", patience, func() error {
		if pods := s.pods(); len(pods) == 3 && !slices.ContainsFunc(slices.Collect(maps.Values(pods)), func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil }) {
			return errors.New("they run")
		}
		return nil
	})
	l.finish()
	if now := s.claimUIDs(); !maps.Equal(now, claims) {
		t.Errorf("the claims were %v and are %v", claims, now)
	}
	for i, m := range s.cluster().Status.Members {
		if m.ID != before[i].ID {
			t.Errorf("member %s was %s and is %s", m.Name, before[i].ID, m.ID)
		}
	}
}

// TestBugDeletedObjectsStayVisible: prometheus-operator#4504. A StatefulSet and a Service are being deleted and cannot go yet: they
// are waited for without a write, and then made again once.
func TestBugDeletedObjectsStayVisible(t *testing.T) {
	t.Parallel()
	const finalizer = "test.example/hold"
	s := newScene(t)
	h := s.follow()
	w := &writes{}
	s.operateWith(operatorOptions{writes: w})
	l := s.inhabit(3)
	hold := func(name string, object client.Object, held bool) {
		s.eventually(fmt.Sprintf("%s is held: %t", name, held), patience, func() error {
			s.get(name, object)
			object.SetFinalizers(slices.DeleteFunc(object.GetFinalizers(), func(f string) bool { return f == finalizer }))
			if held {
				object.SetFinalizers(append(object.GetFinalizers(), finalizer))
			}
			return env.Client.Update(t.Context(), object)
		})
	}
	victim := s.follower()
	set, pod, service := &appsv1.StatefulSet{}, &corev1.Pod{}, &corev1.Service{}
	hold(victim+"-0", pod, true)
	hold("demo-client", service, true)
	s.get(victim, set)
	s.delete(set, client.PropagationPolicy(metav1.DeletePropagationForeground))
	s.delete(service)
	s.says("Available", "QuorumServes", "2 of 3")
	s.eventually("the member has stopped", patience, func() error {
		if s.get(victim+"-0", pod); runs(pod) || pod.Status.ContainerStatuses[0].State.Terminated == nil {
			return errors.New("it runs")
		}
		return nil
	})
	made := len(w.all())
	time.Sleep(5 * time.Second)
	since := w.all()[made:]
	if steps := slices.DeleteFunc(slices.Clone(since), isReport); len(steps) > 0 || len(since) > 5 {
		t.Errorf("while nothing could be done there were the writes %q", since)
	}
	if s.get(victim, set); set.DeletionTimestamp == nil {
		t.Error("the StatefulSet was not held")
	}
	hold(victim+"-0", pod, false)
	hold("demo-client", service, false)
	l.finish()
	for object, count := range h.counts() {
		if want := 1 + len(slices.DeleteFunc([]string{"StatefulSet " + victim, "Pod " + victim + "-0"}, func(o string) bool { return o != object })); count != want {
			t.Errorf("%s was made %d times, expected are %d", object, count, want)
		}
	}
}

// TestBugRefusedObjectsDeleteOthers: Altinity/clickhouse-operator#1420. The API server refuses a label, in the spec or in a
// StatefulSet: nothing is deleted for it, nothing restarts, and nothing is tried without end.
func TestBugRefusedObjectsDeleteOthers(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	h := s.follow()
	w := &writes{}
	s.operateWith(operatorOptions{writes: w})
	l := s.inhabit(3)
	label := func(value v1alpha1.LabelValue) func(*v1alpha1.EtcdClusterSpec) {
		return func(spec *v1alpha1.EtcdClusterSpec) {
			spec.PodTemplate.Metadata.Labels = map[string]v1alpha1.LabelValue{"team": value}
		}
	}
	invalid := s.cluster()
	label("not a label!")(&invalid.Spec)
	if err := env.Client.Update(t.Context(), invalid); !apierrors.IsInvalid(err) && !apierrors.IsConflict(err) {
		t.Errorf("an invalid label is not refused: %v", err)
	}
	s.refuses("team", "forbidden")
	made := len(w.all())
	s.change(label("forbidden"))
	s.says("Degraded", "StepFailed", "not this team")
	time.Sleep(3 * time.Second)
	s.says("Available", "QuorumServes", "3 of 3")
	if tries := len(w.all()) - made; tries > 40 {
		t.Errorf("%d writes were tried within seconds: %q", tries, w.all()[made:])
	}
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.PodTemplate.Metadata.Labels = nil })
	l.finish()
	if err := h.once(); err != nil {
		t.Errorf("something was made again for a label that was refused: %v", err)
	}
}

// refuses has the API server refuse StatefulSets of the scene whose pods have a label.
func (s *scene) refuses(key, value string) {
	s.Helper()
	match := fmt.Sprintf("has(object.spec.template.metadata.labels) && %q in object.spec.template.metadata.labels && object.spec.template.metadata.labels[%q] == %q", key, key, value)
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: s.namespace + "-refusal"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: ptr.To(admissionv1.Fail),
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"statefulsets"}},
			}}}},
			Validations: []admissionv1.Validation{{Expression: "!(" + match + ")", Message: "not this team"}},
		},
	}
	s.create(policy)
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.namespace}}},
		},
	}
	s.create(binding)
	s.Cleanup(func() {
		_ = env.Client.Delete(context.Background(), binding)
		_ = env.Client.Delete(context.Background(), policy)
	})
	s.eventually("the policy is in force", patience, func() error {
		set := s.workloads()[0].DeepCopy()
		set.Spec.Template.Labels[key] = value
		if err := env.Client.Update(s.Context(), set, client.DryRunAll); err == nil || apierrors.IsConflict(err) {
			return errors.New("it is not")
		}
		return nil
	})
}

// TestBugCompletedPods: cozystack/etcd-operator#368. A node that shuts down leaves pods that have Failed or Succeeded, and that nobody
// starts again: their member comes back all the same.
func TestBugCompletedPods(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	before := s.cluster().Status.Members
	for i, phase := range []corev1.PodPhase{corev1.PodFailed, corev1.PodSucceeded} {
		name := fmt.Sprintf("demo-%d-0", i)
		pod := s.pods()[name]
		patch := client.MergeFrom(pod.DeepCopy())
		pod.Status.Phase, pod.Status.Reason = phase, "Terminated"
		if err := env.Client.Status().Patch(t.Context(), pod, patch); err != nil {
			t.Fatal(err)
		}
		s.eventually("the member has another pod", patience, func() error {
			if now := s.pods()[name]; now == nil || now.UID == pod.UID || !runs(now) {
				return fmt.Errorf("pod %s has not been replaced", name)
			}
			return nil
		})
		s.settled()
	}
	l.finish()
	for i, m := range s.cluster().Status.Members {
		if m.ID != before[i].ID {
			t.Errorf("member %s was %s and is %s", m.Name, before[i].ID, m.ID)
		}
	}
}
