//go:build integration

package operator

import (
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

func TestAnOperatorOfOneNamespaceLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	s, other := newScene(t), newScene(t)
	s.operate()
	other.create(other.demo(1))
	s.running(1)
	time.Sleep(time.Second)
	if status := other.cluster().Status; status.Phase != "" || len(other.left()) != 1 {
		t.Errorf("in the other namespace there are %v, and the status %+v", other.left(), status)
	}
}

// TestForeignObjectsAreNotCached: an operator costs no memory for what it has nothing to do with.
func TestForeignObjectsAreNotCached(t *testing.T) {
	t.Parallel()
	const many = 1000
	s, other := newScene(t), newScene(t)
	var creating sync.WaitGroup
	for worker := range 4 {
		creating.Go(func() {
			for n := worker; n < many; n += 4 {
				config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: other.namespace, Name: fmt.Sprintf("foreign-%d", n)}}
				if err := env.Client.Create(t.Context(), config); err != nil {
					t.Error(err)
				}
			}
		})
	}
	creating.Wait()
	other.create(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: other.namespace, Name: "foreign"},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"no-such": "node"},
			Containers:   []corev1.Container{{Name: "main", Image: "registry.example/nothing:v1"}},
		},
	})
	o := s.operateWith(operatorOptions{namespaces: []string{s.namespace, other.namespace}})
	s.running(1)
	for _, list := range []client.ObjectList{
		&corev1.ConfigMapList{}, &corev1.PodList{}, &corev1.ServiceList{}, &corev1.PersistentVolumeClaimList{},
	} {
		if err := o.GetClient().List(t.Context(), list, client.InNamespace(other.namespace)); err != nil {
			t.Fatal(err)
		}
		switch cached := list.(type) {
		case *corev1.ConfigMapList:
			if len(cached.Items) > 0 {
				t.Errorf("%d foreign ConfigMaps are cached", len(cached.Items))
			}
		case *corev1.PodList:
			if len(cached.Items) > 0 {
				t.Errorf("%d foreign pods are cached", len(cached.Items))
			}
		}
	}
	var clusters v1alpha1.EtcdClusterList
	var pods corev1.PodList
	if err := o.GetClient().List(t.Context(), &clusters); err != nil || len(clusters.Items) != 1 {
		t.Errorf("the clusters that are cached: %v (%v)", len(clusters.Items), err)
	}
	if err := o.GetClient().List(t.Context(), &pods); err != nil || len(pods.Items) != 1 || len(pods.Items[0].ManagedFields) != 0 {
		t.Errorf("the pods that are cached: %v (%v)", len(pods.Items), err)
	}
}
