package render

import (
	"fmt"
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Applied turns an object into what is sent to the API server: the fields that we set and no others, with their hash
// beside them.
func Applied(object client.Object) (*unstructured.Unstructured, error) {
	if untyped, is := object.(*unstructured.Unstructured); is {
		object = untyped.DeepCopy() // The converter does not copy it.
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("%T %s/%s cannot be written as JSON: %w", object, object.GetNamespace(), object.GetName(), err)
	}
	delete(content, "status")
	prune(content)
	applied := &unstructured.Unstructured{Object: content}
	annotations := applied.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationAppliedHash] = hash(changeable(applied).Object)
	applied.SetAnnotations(annotations)
	return applied, nil
}

// Empty is an empty object of the same kind, to read into. What is read into one that is not empty may keep fields of that, and
// an owner would make a foreign object look like ours.
func Empty(object client.Object) (client.Object, error) {
	if untyped, is := object.(*unstructured.Unstructured); is {
		empty := &unstructured.Unstructured{}
		empty.SetGroupVersionKind(untyped.GroupVersionKind())
		return empty, nil
	}
	empty, ok := reflect.New(reflect.TypeOf(object).Elem()).Interface().(client.Object)
	if !ok {
		return nil, fmt.Errorf("there is no empty %T to read %s/%s into", object, object.GetNamespace(), object.GetName())
	}
	return empty, nil
}

// prune removes what Go's zero values leave behind: nulls and the empty status of claim templates.
func prune(content map[string]any) {
	for key, value := range content {
		switch typed := value.(type) {
		case nil:
			delete(content, key)
		case map[string]any:
			prune(typed)
			if len(typed) == 0 && (key == "status" || key == "resources" || key == "strategy") {
				delete(content, key)
			}
		case []any:
			for _, item := range typed {
				if m, ok := item.(map[string]any); ok {
					prune(m)
				}
			}
		}
	}
}

// Holds is whether a live object still has everything that was applied: nothing of ours was changed by others (the
// live object has our fields), and nothing of it is to be taken away (the hash is that of what we would apply now).
func Holds(live client.Object, applied *unstructured.Unstructured) (bool, error) {
	if live.GetAnnotations()[AnnotationAppliedHash] != applied.GetAnnotations()[AnnotationAppliedHash] {
		return false, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return false, fmt.Errorf("%T %s/%s cannot be written as JSON: %w", live, live.GetNamespace(), live.GetName(), err)
	}
	wanted := changeable(applied).Object
	delete(wanted, "apiVersion")
	delete(wanted, "kind")
	return contains(content, wanted), nil
}

// changeable leaves out what cannot be changed on a live object: a StatefulSet keeps the claim templates that it was
// made with.
func changeable(applied *unstructured.Unstructured) *unstructured.Unstructured {
	compared := applied.DeepCopy()
	if compared.GetKind() == "StatefulSet" {
		unstructured.RemoveNestedField(compared.Object, "spec", "volumeClaimTemplates")
		unstructured.RemoveNestedField(compared.Object, "metadata", "annotations", AnnotationStorageHash)
	}
	return compared
}

// KeepStorage makes an applied StatefulSet keep the claim templates of the live one: they are immutable, so that other
// volumes need another StatefulSet.
func KeepStorage(applied *unstructured.Unstructured, live *appsv1.StatefulSet) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{VolumeClaimTemplates: live.Spec.VolumeClaimTemplates}})
	if err != nil {
		return fmt.Errorf("the claim templates of StatefulSet %s/%s cannot be written as JSON: %w", live.Namespace, live.Name, err)
	}
	prune(content)
	templates, found, err := unstructured.NestedSlice(content, "spec", "volumeClaimTemplates")
	if err != nil {
		return err
	}
	if found {
		if err := unstructured.SetNestedSlice(applied.Object, templates, "spec", "volumeClaimTemplates"); err != nil {
			return err
		}
	}
	annotations := applied.GetAnnotations()
	annotations[AnnotationStorageHash] = live.Annotations[AnnotationStorageHash]
	applied.SetAnnotations(annotations)
	return nil
}

// atomic are fields of which the API server takes all or nothing from whoever applies them. What selects must be just as it was
// applied: one label more selects other pods, and what is added to a rule changes whom it lets in.
var atomic = map[string]bool{"selector": true, "podSelector": true, "ingress": true}

// contains is whether live has everything that wanted has, and of atomic fields nothing else. Entries of lists that have a name
// are found by it, so that others may add theirs; lists without names must be equal in length and order.
func contains(live, wanted any) bool {
	switch want := wanted.(type) {
	case map[string]any:
		have, ok := live.(map[string]any)
		if !ok {
			return len(want) == 0 && live == nil
		}
		for key, value := range want {
			if !contains(have[key], value) || atomic[key] && !reflect.DeepEqual(have[key], value) {
				return false
			}
		}
		return true
	case []any:
		have, ok := live.([]any)
		return (ok || len(want) == 0) && containsItems(have, want)
	}
	return reflect.DeepEqual(live, wanted)
}

func containsItems(live, wanted []any) bool {
	if len(wanted) == 0 {
		return true
	}
	if nameOf(wanted[0]) == "" {
		if len(live) != len(wanted) {
			return false
		}
		for i := range wanted {
			if !contains(live[i], wanted[i]) {
				return false
			}
		}
		return true
	}
	byName := map[string]any{}
	for _, item := range live {
		byName[nameOf(item)] = item
	}
	for _, item := range wanted {
		if !contains(byName[nameOf(item)], item) {
			return false
		}
	}
	return true
}

func nameOf(item any) string {
	if m, ok := item.(map[string]any); ok {
		// Mounts are told apart by their path: one volume can be mounted twice.
		if path, ok := m["mountPath"].(string); ok {
			return path
		}
		if name, ok := m["name"].(string); ok {
			return name
		}
		// A claim template has its name in its metadata.
		return nameOf(m["metadata"])
	}
	return ""
}
