package observe

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// reference is a Secret, a ConfigMap or a claim that pods cannot start without, by the field of the spec that names it.
type reference struct {
	field, kind, name string
	// keys are those that are needed of it.
	keys []string
}

// references are those of variables and volumes that spec.podTemplate has added to a pod. The operator's own are not among them.
func references(c render.Cluster, variables []corev1.EnvVar, volumes []corev1.Volume) (all []reference) {
	add := func(field, kind, name string, optional *bool, keys ...string) {
		if optional == nil || !*optional {
			all = append(all, reference{"spec.podTemplate.spec." + field, kind, name, keys})
		}
	}
	for _, variable := range variables {
		switch from := variable.ValueFrom; {
		case from == nil:
		case from.SecretKeyRef != nil:
			add("env", "Secret", from.SecretKeyRef.Name, from.SecretKeyRef.Optional, from.SecretKeyRef.Key)
		case from.ConfigMapKeyRef != nil:
			add("env", "ConfigMap", from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional, from.ConfigMapKeyRef.Key)
		}
	}
	for i := range volumes {
		volume := &volumes[i]
		if !c.AddsVolume(volume.Name) {
			continue
		}
		var parts []corev1.VolumeProjection
		if volume.Projected != nil {
			parts = volume.Projected.Sources
		}
		if from := volume.Secret; from != nil {
			add("volumes", "Secret", from.SecretName, from.Optional, keysOf(from.Items)...)
		}
		if from := volume.ConfigMap; from != nil {
			add("volumes", "ConfigMap", from.Name, from.Optional, keysOf(from.Items)...)
		}
		for _, part := range parts {
			if from := part.Secret; from != nil {
				add("volumes", "Secret", from.Name, from.Optional, keysOf(from.Items)...)
			}
			if from := part.ConfigMap; from != nil {
				add("volumes", "ConfigMap", from.Name, from.Optional, keysOf(from.Items)...)
			}
		}
	}
	return all
}

func keysOf(items []corev1.KeyToPath) (keys []string) {
	for _, item := range items {
		keys = append(keys, item.Key)
	}
	return keys
}

// missing says of references what there is not, each once. What cannot be read may be there.
func (o *Observer) missing(ctx context.Context, namespace string, all []reference) (problems []core.Problem) {
	known := map[[2]string]map[string]bool{}
	for _, r := range all {
		id := [2]string{r.kind, r.name}
		if _, read := known[id]; !read {
			keys, err := o.keys(ctx, r.kind, client.ObjectKey{Namespace: namespace, Name: r.name})
			if err != nil {
				continue
			}
			known[id] = keys
		}
		message := ""
		lacks := slices.IndexFunc(r.keys, func(key string) bool { return !known[id][key] })
		switch {
		case known[id] == nil:
			message = fmt.Sprintf("%s %s, which %s names, does not exist: make it", r.kind, r.name, r.field)
		case lacks >= 0:
			message = fmt.Sprintf("%s %s has no key %s, which %s names: add it", r.kind, r.name, r.keys[lacks], r.field)
		}
		problem := core.Problem{Reason: core.ReasonContainerConfig, Message: message}
		if message != "" && !slices.Contains(problems, problem) {
			problems = append(problems, problem)
		}
	}
	return problems
}

// keys are those of a Secret or a ConfigMap, and none of a claim; nil if there is no such object.
func (o *Observer) keys(ctx context.Context, kind string, name client.ObjectKey) (map[string]bool, error) {
	secret, config := &corev1.Secret{}, &corev1.ConfigMap{}
	var err error
	switch kind {
	case "Secret":
		err = o.Live.Get(ctx, name, secret)
	case "PersistentVolumeClaim":
		err = o.Live.Get(ctx, name, &corev1.PersistentVolumeClaim{})
	default:
		err = o.Live.Get(ctx, name, config)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading %s %s: %w", kind, name, err)
	}
	keys := map[string]bool{}
	for _, key := range slices.Concat(slices.Collect(maps.Keys(secret.Data)), slices.Collect(maps.Keys(config.Data)), slices.Collect(maps.Keys(config.BinaryData))) {
		keys[key] = true
	}
	return keys, nil
}

// explainWaitingPod finds out what a pod's container waits for. Of volumes the kubelet says that in events only.
func (o *Observer) explainWaitingPod(ctx context.Context, c render.Cluster, pod *corev1.Pod, observed *core.Pod) {
	for i := range pod.Status.ContainerStatuses {
		status := &pod.Status.ContainerStatuses[i]
		waits := status.State.Waiting
		if status.Name != render.ContainerName || waits == nil || waits.Reason != "ContainerCreating" && waits.Reason != "CreateContainerConfigError" {
			continue
		}
		for _, container := range pod.Spec.Containers {
			if container.Name != render.ContainerName {
				continue
			}
			if problems := o.missing(ctx, pod.Namespace, references(c, container.Env, pod.Spec.Volumes)); len(problems) > 0 {
				observed.Problem = problems[0]
				observed.Problem.Message = fmt.Sprintf("pod %s: %s", pod.Name, problems[0].Message)
			}
		}
	}
}
