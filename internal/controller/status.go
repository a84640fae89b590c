package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// applyStatus writes the status of an object, unless that has changed since it was read. The object gets its new resource version.
func applyStatus(ctx context.Context, writer client.Client, object client.Object, kind string, status any) error {
	return applyStatusAs(ctx, render.FieldManager, writer, object, kind, status)
}

// applyStatusAs writes what one of the field managers says of an object; the others' stays.
func applyStatusAs(ctx context.Context, manager string, writer client.Client, object client.Object, kind string, status any) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return fmt.Errorf("the status of %s %s/%s cannot be written as JSON: %w", kind, object.GetNamespace(), object.GetName(), err)
	}
	applied := &unstructured.Unstructured{Object: map[string]any{"status": content}}
	applied.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	applied.SetNamespace(object.GetNamespace())
	applied.SetName(object.GetName())
	applied.SetUID(object.GetUID())
	applied.SetResourceVersion(object.GetResourceVersion())
	err = writer.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(manager), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("writing the status of %s %s/%s: %w", kind, object.GetNamespace(), object.GetName(), err)
	}
	object.SetResourceVersion(applied.GetResourceVersion())
	return nil
}

// applyCondition writes one condition of an EtcdCluster, with the name of the field manager that says nothing else. It is the reason
// that it had before, empty if it had none.
func applyCondition(ctx context.Context, manager string, writer client.Client, cluster *v1alpha1.EtcdCluster, condition metav1.Condition) (string, error) {
	condition.ObservedGeneration = cluster.Generation
	before, known := meta.FindStatusCondition(cluster.Status.Conditions, condition.Type), []metav1.Condition{}
	if before != nil {
		known = append(known, *before)
	}
	meta.SetStatusCondition(&known, condition)
	if before != nil && equality.Semantic.DeepEqual(known[0], *before) {
		return before.Reason, nil
	}
	reason := ""
	if before != nil {
		reason = before.Reason
	}
	return reason, applyStatusAs(ctx, manager, writer, cluster, "EtcdCluster", &map[string]any{"conditions": known})
}

// tell makes events about an object.
func tell(recorder events.EventRecorder, object client.Object, news []core.Event) {
	for _, event := range news {
		kind := corev1.EventTypeNormal
		if event.Warning {
			kind = corev1.EventTypeWarning
		}
		// Events about different members would be counted as one without it.
		var member runtime.Object
		if event.Member != "" {
			member = &corev1.ObjectReference{APIVersion: "apps/v1", Kind: "StatefulSet", Namespace: object.GetNamespace(), Name: event.Member}
		}
		recorder.Eventf(object, member, kind, string(event.Reason), "Observe", "%s", event.Message)
	}
}
