//go:build integration

package operator

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestWhatIsDeletedByHandComesBack: and no member restarts for it, unless it is the member's own.
func TestWhatIsDeletedByHandComesBack(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	s.running(3)
	s.sealed()
	s.put("key", "value")
	end, id := s.snapshot(), s.cluster().Status.ClusterID
	var configs corev1.ConfigMapList
	s.list(&configs)
	for _, object := range []client.Object{
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "demo-client"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "demo-peer"}},
		&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "demo"}},
		&configs.Items[0],
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "demo-0-0"}},
		&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "demo-1"}},
	} {
		key := s.key(object.GetName())
		s.get(key.Name, object)
		uid := object.GetUID()
		s.delete(object, client.PropagationPolicy(metav1.DeletePropagationBackground))
		took := s.eventually(fmt.Sprintf("%T %s is made again", object, key.Name), patience, func() error {
			if err := env.Client.Get(t.Context(), key, object); err != nil {
				return err
			}
			if object.GetUID() == uid || object.GetDeletionTimestamp() != nil {
				return fmt.Errorf("it is the old one")
			}
			return nil
		})
		t.Logf("%T %s was back after %v", object, key.Name, took.Round(time.Millisecond))
		s.settled()
		s.eventually("everything is as before", 20*time.Second, func() error {
			// A member made again starts sealed; that is what differs.
			if diff := cmp.Diff(keys(end), keys(s.snapshot())); diff != "" {
				return fmt.Errorf("- before, + now:\n%s", diff)
			}
			return nil
		})
	}
	if now := s.cluster().Status.ClusterID; now != id {
		t.Errorf("the cluster was %s and is %s", id, now)
	}
	s.sealed()
	s.checkOneCluster()
	s.holds("key", "value")
}

func keys(snapshot map[string]string) map[string]bool {
	names := map[string]bool{}
	for name := range snapshot {
		names[name] = true
	}
	return names
}

// TestWhatIsEditedByHandIsSetRight: and what others add stays.
func TestWhatIsEditedByHandIsSetRight(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	h := s.follow()
	s.running(3)
	s.sealed()
	end := s.snapshot()
	service, budget, set := &corev1.Service{}, &policyv1.PodDisruptionBudget{}, &appsv1.StatefulSet{}
	for _, edit := range []struct {
		what   string
		object client.Object
		name   string
		change func()
	}{
		{"the selector of the client Service", service, "demo-client", func() { service.Spec.Selector = map[string]string{"app": "other"} }},
		{"the selector of the client Service, by a label more", service, "demo-client", func() { service.Spec.Selector["app"] = "other" }},
		{"the target of a port of the peer Service", service, "demo-peer", func() { service.Spec.Ports[1].TargetPort = intstr.FromInt32(1234) }},
		{"the disruption budget", budget, "demo", func() { budget.Spec.MinAvailable = ptr.To(intstr.FromInt32(0)) }},
		{"the selector of the disruption budget, by a label more", budget, "demo", func() { budget.Spec.Selector.MatchLabels["app"] = "other" }},
		{"the arguments of a StatefulSet", set, "demo-0", func() {
			set.Spec.Template.Spec.Containers[0].Args = append(set.Spec.Template.Spec.Containers[0].Args[1:], "--force-new-cluster")
		}},
		{"the replicas of a StatefulSet", set, "demo-1", func() { set.Spec.Replicas = ptr.To(int32(2)) }},
		{"the labels of a StatefulSet", set, "demo-2", func() { set.Labels["app.kubernetes.io/instance"] = "other" }},
	} {
		s.eventually(edit.what+" is edited", patience, func() error {
			s.get(edit.name, edit.object)
			edit.change()
			return env.Client.Update(t.Context(), edit.object, client.FieldOwner("a-person"))
		})
		took := s.eventually(edit.what+" is set right", patience, func() error {
			now := s.snapshot()
			delete(now, "PersistentVolumeClaim data-demo-1-1") // of the second replica; nobody deletes volumes
			if diff := cmp.Diff(end, now); diff != "" {
				return fmt.Errorf("- before, + now:\n%s", diff)
			}
			return nil
		})
		t.Logf("%s was set right after %v", edit.what, took.Round(time.Millisecond))
	}
	h.forget("Pod demo-1-1", "PersistentVolumeClaim data-demo-1-1") // of the second replica
	if err := h.once(); err != nil {
		t.Errorf("a correction restarted something: %v", err)
	}

	s.get("demo-client", service)
	metav1.SetMetaDataAnnotation(&service.ObjectMeta, "other.example/annotation", "stays")
	if err := env.Client.Update(t.Context(), service, client.FieldOwner("another-controller")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	s.get("demo-client", service)
	if service.Annotations["other.example/annotation"] != "stays" {
		t.Error("what another controller added was taken away")
	}
}

// TestAPortEditedByHandIsSetRight: a port is known by its number, so that ours is added beside the edited one, whose
// name it has.
func TestAPortEditedByHandIsSetRight(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	s.running(1)
	s.sealed()
	end := s.snapshot()
	service := &corev1.Service{}
	s.get("demo-peer", service)
	service.Spec.Ports[1].Port = 1234
	if err := env.Client.Update(t.Context(), service, client.FieldOwner("a-person")); err != nil {
		t.Fatal(err)
	}
	s.ends(end)
}

func TestANameThatIsTaken(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	foreign := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "demo-client"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "other"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	s.create(foreign)
	before := foreign.ResourceVersion
	s.operate()
	s.create(s.demo(3))
	s.says("Degraded", "NameTaken", "Service", "demo-client", "does not belong")
	time.Sleep(2 * time.Second)
	s.get("demo-client", foreign)
	if foreign.ResourceVersion != before {
		t.Errorf("the foreign Service was written to: %+v", foreign)
	}
	s.delete(foreign)
	started := time.Now()
	s.settled()
	t.Logf("settled %v after the foreign Service was deleted", time.Since(started).Round(time.Millisecond))
	s.sealed()
	s.checkOneCluster()
}
