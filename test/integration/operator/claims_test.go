//go:build integration

package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

func retain(spec *v1alpha1.EtcdClusterSpec) {
	spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionRetain
}

// left is what there is in the scene that bears the cluster's label.
func (s *scene) left() []string {
	s.Helper()
	var names []string
	for _, list := range []client.ObjectList{
		&v1alpha1.EtcdClusterList{}, &appsv1.StatefulSetList{}, &corev1.PodList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{},
		&policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{}, &corev1.PersistentVolumeClaimList{},
	} {
		if err := env.Client.List(s.Context(), list, client.InNamespace(s.namespace)); err != nil {
			s.Fatal(err)
		}
		_ = meta.EachListItem(list, func(item runtime.Object) error {
			if name := item.(client.Object).GetName(); name != "kube-root-ca.crt" {
				kind, _ := strings.CutPrefix(fmt.Sprintf("%T", item), "*v1.")
				names = append(names, kind+" "+name)
			}
			return nil
		})
	}
	slices.Sort(names)
	return names
}

// nothingLeft waits until there is nothing in the scene but these.
func (s *scene) nothingLeft(except ...string) {
	s.Helper()
	s.eventually("nothing is left behind", patience, func() error {
		if left := s.left(); !slices.Equal(left, except) {
			return fmt.Errorf("there are %v, expected are %v", left, except)
		}
		return nil
	})
}

var claimsOfThree = []string{"PersistentVolumeClaim data-demo-0-0", "PersistentVolumeClaim data-demo-1-0", "PersistentVolumeClaim data-demo-2-0"}

// TestAWipedVolumeIsNeverStartedOver: the member refuses to start over, and is replaced under another name.
func TestAWipedVolumeIsNeverStartedOver(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3)
	if err := env.WipeVolume(t.Context(), s.namespace, "data-demo-1-0"); err != nil {
		t.Fatal(err)
	}
	s.delete(s.pods()["demo-1-0"])
	s.replaced("demo-1")
	if names := l.finish(); !slices.Equal(names, []string{"demo-0", "demo-2", "demo-3"}) {
		t.Errorf("the members are %v", names)
	}
}

func TestALostStatusIsRecordedAgain(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("operator running %v", running), func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			o := s.operate()
			h := s.follow()
			before := s.running(3)
			s.sealed()
			s.put("key", "value")
			if !running {
				o.stop()
			}
			s.eventually("the status is wiped", patience, func() error {
				cluster := s.cluster()
				cluster.Status = v1alpha1.EtcdClusterStatus{}
				return env.Client.Status().Update(t.Context(), cluster)
			})
			if running {
				// A change of the status wakes nobody; one of the spec's annotations does.
				s.eventually("the operator is woken", patience, func() error {
					cluster := s.cluster()
					metav1.SetMetaDataAnnotation(&cluster.ObjectMeta, "test/woken", "yes")
					return env.Client.Update(t.Context(), cluster)
				})
			} else {
				s.operate()
			}
			after := s.settled()
			if after.Status.ClusterID != before.Status.ClusterID || !slices.Equal(after.Status.BootstrapMembers, before.Status.BootstrapMembers) {
				t.Errorf("recorded is %s of %v, it was %s of %v", after.Status.ClusterID, after.Status.BootstrapMembers, before.Status.ClusterID, before.Status.BootstrapMembers)
			}
			if err := h.once(); err != nil {
				t.Error(err)
			}
			s.holds("key", "value")
		})
	}
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	t.Run("with the claims", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.operate()
		cluster := s.running(3)
		s.sealed()
		s.delete(cluster)
		s.nothingLeft()
	})
	t.Run("with the claims, while it is being made", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.operate()
		cluster := s.demo(3)
		s.create(cluster)
		s.eventually("there are claims", patience, func() error {
			if len(s.claims()) == 0 {
				return fmt.Errorf("there are none")
			}
			return nil
		})
		s.delete(cluster)
		s.nothingLeft()
	})
	t.Run("without the claims, which come back to life", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.operate()
		before := s.running(3, retain)
		s.sealed()
		s.put("key", "value")
		s.delete(before)
		s.nothingLeft(claimsOfThree...)
		after := s.running(3, retain)
		if after.UID == before.UID || after.Status.ClusterID != before.Status.ClusterID {
			t.Errorf("the volumes hold cluster %s, what came back is %s", before.Status.ClusterID, after.Status.ClusterID)
		}
		s.holds("key", "value")
		s.sealed()
		s.checkOneCluster()
		// The new object owns them by now, and its policy counts.
		s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionDelete })
		s.eventually("the claims go with the cluster", patience, func() error {
			for _, claim := range s.claims() {
				if !slices.ContainsFunc(claim.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == after.UID }) {
					return fmt.Errorf("claim %s is owned by %v", claim.Name, claim.OwnerReferences)
				}
			}
			return nil
		})
		s.delete(after)
		s.nothingLeft()
	})
}

func TestClaimsOfAnotherClusterAreNotTouched(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	before := s.running(3, retain)
	s.sealed()
	s.put("key", "value")
	s.delete(before)
	s.nothingLeft(claimsOfThree...)
	o.stop()
	// Nothing says any more whose data they hold.
	for _, claim := range s.claims() {
		delete(claim.Annotations, render.AnnotationClusterID)
		if err := env.Client.Update(t.Context(), &claim); err != nil {
			t.Fatal(err)
		}
	}
	versions := map[string]string{}
	for _, claim := range s.claims() {
		versions[claim.Name] = claim.ResourceVersion
	}
	s.operate()
	s.create(s.demo(3, retain))
	s.says("Degraded", "DataVolumesExist", "data-demo-0-0", "data-demo-2-0")
	s.says("Progressing", "DataVolumesExist")
	time.Sleep(2 * time.Second)
	if left := s.left(); !slices.Equal(left, append([]string{"*v1alpha1.EtcdCluster demo"}, claimsOfThree...)) {
		t.Errorf("something was made: %v", left)
	}
	for _, claim := range s.claims() {
		if versions[claim.Name] != claim.ResourceVersion {
			t.Errorf("claim %s was written to", claim.Name)
		}
	}
	// Deleting them is how a user says that their data may go.
	for _, claim := range s.claims() {
		s.delete(&claim)
	}
	after := s.settled()
	if after.Status.ClusterID == before.Status.ClusterID {
		t.Errorf("the new cluster has the ID %s of the old one", after.Status.ClusterID)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if answer, err := s.connect().Get(ctx, "key"); err != nil || len(answer.Kvs) != 0 {
		t.Errorf("the new cluster has data of the old one: %v (%v)", answer, err)
	}
}
