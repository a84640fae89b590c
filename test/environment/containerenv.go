package environment

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// podInputs reads what a pod's containers are configured from.
type podInputs struct {
	client  kubernetes.Interface
	pod     *corev1.Pod
	address netip.Addr
}

// data reads the content of a ConfigMap or Secret. A missing one that is optional has no content.
func (i podInputs) data(ctx context.Context, kind, name string, optional *bool) (map[string][]byte, error) {
	data := map[string][]byte{}
	var err error
	if kind == "secret" {
		var secret *corev1.Secret
		if secret, err = i.client.CoreV1().Secrets(i.pod.Namespace).Get(ctx, name, metav1.GetOptions{}); err == nil {
			data = secret.Data
		}
	} else {
		var configMap *corev1.ConfigMap
		if configMap, err = i.client.CoreV1().ConfigMaps(i.pod.Namespace).Get(ctx, name, metav1.GetOptions{}); err == nil {
			for key, value := range configMap.Data {
				data[key] = []byte(value)
			}
			for key, value := range configMap.BinaryData {
				data[key] = value
			}
		}
	}
	if apierrors.IsNotFound(err) {
		if ptr.Deref(optional, false) {
			return nil, nil
		}
		return nil, fmt.Errorf("%s %q not found", kind, name)
	}
	return data, err
}

// environment resolves a container's environment variables as a kubelet does.
func (i podInputs) environment(ctx context.Context, container *corev1.Container) (map[string]string, error) {
	variables := map[string]string{
		"KUBERNETES_SERVICE_HOST": gatewayAddress.String(), "KUBERNETES_SERVICE_PORT": strconv.Itoa(apiServerPort),
		"HOSTNAME": hostname(i.pod),
	}
	for _, source := range container.EnvFrom {
		var data map[string][]byte
		var err error
		switch {
		case source.ConfigMapRef != nil:
			data, err = i.data(ctx, "configmap", source.ConfigMapRef.Name, source.ConfigMapRef.Optional)
		case source.SecretRef != nil:
			data, err = i.data(ctx, "secret", source.SecretRef.Name, source.SecretRef.Optional)
		}
		if err != nil {
			return nil, err
		}
		for key, value := range data {
			variables[source.Prefix+key] = string(value)
		}
	}
	for _, variable := range container.Env {
		if variable.ValueFrom == nil {
			variables[variable.Name] = expand(variable.Value, variables)
			continue
		}
		value, found, err := i.valueFrom(ctx, container, variable.ValueFrom)
		if err != nil {
			return nil, err
		}
		if found {
			variables[variable.Name] = value
		}
	}
	return variables, nil
}

// valueFrom resolves the source of one variable; found is false for an optional source that is missing.
func (i podInputs) valueFrom(ctx context.Context, container *corev1.Container, source *corev1.EnvVarSource) (value string, found bool, err error) {
	fromKey := func(kind, name, key string, optional *bool) (string, bool, error) {
		data, err := i.data(ctx, kind, name, optional)
		if err != nil {
			return "", false, err
		}
		value, found := data[key]
		if !found && !ptr.Deref(optional, false) {
			return "", false, fmt.Errorf("couldn't find key %v in %s %v/%v", key, kind, i.pod.Namespace, name)
		}
		return string(value), found, nil
	}
	switch {
	case source.ConfigMapKeyRef != nil:
		return fromKey("configmap", source.ConfigMapKeyRef.Name, source.ConfigMapKeyRef.Key, source.ConfigMapKeyRef.Optional)
	case source.SecretKeyRef != nil:
		return fromKey("secret", source.SecretKeyRef.Name, source.SecretKeyRef.Key, source.SecretKeyRef.Optional)
	case source.FieldRef != nil:
		value, err = i.field(source.FieldRef.FieldPath)
		return value, err == nil, err
	case source.ResourceFieldRef != nil:
		value, err = resourceField(container, source.ResourceFieldRef)
		return value, err == nil, err
	}
	return "", false, fmt.Errorf("the test node agent does not know the source of the variable: %v", source)
}

// field is a field of the pod, as the downward API gives it.
func (i podInputs) field(path string) (string, error) {
	if kind, key, found := strings.Cut(strings.TrimSuffix(path, "']"), "['"); found {
		switch kind {
		case "metadata.labels":
			return i.pod.Labels[key], nil
		case "metadata.annotations":
			return i.pod.Annotations[key], nil
		}
	}
	fields := map[string]string{
		"metadata.name": i.pod.Name, "metadata.namespace": i.pod.Namespace, "metadata.uid": string(i.pod.UID),
		"metadata.labels": formatMap(i.pod.Labels), "metadata.annotations": formatMap(i.pod.Annotations),
		"spec.nodeName": i.pod.Spec.NodeName, "spec.serviceAccountName": i.pod.Spec.ServiceAccountName,
		"status.podIP": i.address.String(), "status.podIPs": i.address.String(),
		"status.hostIP": gatewayAddress.String(), "status.hostIPs": gatewayAddress.String(),
	}
	value, found := fields[path]
	if !found {
		return "", fmt.Errorf("unsupported fieldPath: %s", path)
	}
	return value, nil
}

// formatMap is the downward API's form of labels and annotations.
func formatMap(values map[string]string) string {
	var lines []string
	for key, value := range values {
		lines = append(lines, fmt.Sprintf("%s=%q", key, value))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// resourceField is a request or limit of the container, in units of the divisor and rounded up.
func resourceField(container *corev1.Container, reference *corev1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(reference.Resource, ".")
	list, unset := container.Resources.Limits, corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("16"), corev1.ResourceMemory: resource.MustParse("64Gi"),
	}
	if kind == "requests" {
		list, unset = container.Resources.Requests, corev1.ResourceList{}
	}
	quantity, found := list[corev1.ResourceName(name)]
	if !found {
		quantity = unset[corev1.ResourceName(name)]
	}
	divisor := reference.Divisor.AsApproximateFloat64()
	if divisor == 0 {
		divisor = 1
	}
	return strconv.FormatInt(int64(math.Ceil(quantity.AsApproximateFloat64()/divisor)), 10), nil
}

// expand replaces $(NAME) by the variable's value, keeps unknown references, and turns $$ into $.
func expand(text string, variables map[string]string) string {
	var result strings.Builder
	for index := 0; index < len(text); index++ {
		if text[index] != '$' || index+1 == len(text) {
			result.WriteByte(text[index])
			continue
		}
		switch text[index+1] {
		case '$':
			result.WriteByte('$')
			index++
		case '(':
			end := strings.IndexByte(text[index:], ')')
			if end < 0 {
				result.WriteByte('$')
				continue
			}
			reference := text[index : index+end+1]
			if value, found := variables[reference[2:len(reference)-1]]; found {
				reference = value
			}
			result.WriteString(reference)
			index += end
		default:
			result.WriteByte('$')
		}
	}
	return result.String()
}

// expandAll expands each element.
func expandAll(texts []string, variables map[string]string) []string {
	expanded := make([]string, 0, len(texts))
	for _, text := range texts {
		expanded = append(expanded, expand(text, variables))
	}
	return expanded
}

// hostname is the pod's host name.
func hostname(pod *corev1.Pod) string {
	if pod.Spec.Hostname != "" {
		return pod.Spec.Hostname
	}
	return pod.Name
}
