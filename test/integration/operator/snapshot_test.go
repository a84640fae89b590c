//go:build integration

package operator

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// snapshot is everything that there is of the cluster demo, by kind and name, without what differs between two
// clusters with the same spec: identities, times, places. It is how the ends of two stories are compared.
func (s *scene) snapshot() map[string]string {
	s.Helper()
	cluster := s.cluster()
	identities := strings.NewReplacer(string(cluster.UID), "<uid>", s.namespace, "<namespace>", orNone(cluster.Status.ClusterID), "<cluster ID>")
	snapshot := map[string]string{}
	for _, list := range []client.ObjectList{
		&appsv1.StatefulSetList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{}, &corev1.PodList{},
		&corev1.PersistentVolumeClaimList{}, &policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{},
	} {
		s.list(list)
		_ = meta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			kind, _ := strings.CutPrefix(fmt.Sprintf("%T", object), "*v1.")
			snapshot[kind+" "+object.GetName()] = identities.Replace(essence(object))
			return nil
		})
	}
	status := cluster.Status
	var conditions []string
	for _, c := range status.Conditions {
		conditions = append(conditions, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
	}
	snapshot["status"] = identities.Replace(fmt.Sprint(status.Phase, conditions, status.BootstrapMembers, status.Version, status.MemberCount, status.Ready, status.Endpoints, status.Selector))
	return snapshot
}

func orNone(text string) string {
	if text == "" {
		return "<no cluster ID>"
	}
	return text
}

// essence is an object as JSON, without what the API server, nodes and other controllers put into it.
func essence(object client.Object) string {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err.Error()
	}
	delete(content, "status")
	metadata := content["metadata"].(map[string]any)
	for _, name := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "generateName", "finalizers"} {
		delete(metadata, name)
	}
	if owners, ok := metadata["ownerReferences"].([]any); ok {
		for _, owner := range owners {
			delete(owner.(map[string]any), "uid")
		}
	}
	if annotations, ok := metadata["annotations"].(map[string]any); ok {
		// The applied hash covers the UID; a retry is left over from a refusal.
		for _, name := range []string{render.AnnotationAppliedHash, render.AnnotationRetry, "pv.kubernetes.io/bind-completed"} {
			delete(annotations, name)
		}
		if _, recorded := annotations[render.AnnotationSince36]; recorded {
			annotations[render.AnnotationSince36] = "<raft index>"
		}
	}
	if labels, ok := metadata["labels"].(map[string]any); ok {
		for _, name := range []string{"controller-revision-hash", "topology.kubernetes.io/zone", "topology.kubernetes.io/region"} {
			delete(labels, name)
		}
	}
	if spec, ok := content["spec"].(map[string]any); ok {
		for _, name := range []string{"clusterIP", "clusterIPs", "nodeName", "volumeName"} {
			delete(spec, name)
		}
	}
	data, err := json.MarshalIndent(content, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// ends waits until the cluster is as another one was in the end.
func (s *scene) ends(like map[string]string) {
	s.Helper()
	s.eventually("everything is as after an undisturbed run", 20*time.Second, func() error {
		if diff := cmp.Diff(like, s.snapshot()); diff != "" {
			return fmt.Errorf("- undisturbed, + here:\n%s", diff)
		}
		return nil
	})
}
