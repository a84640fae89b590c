package live

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Exec runs a command in the etcd container of a pod and gives what it printed.
func (k *Kubernetes) Exec(ctx context.Context, pod string, command ...string) (string, error) {
	options := &corev1.PodExecOptions{Container: "etcd", Command: command, Stdout: true, Stderr: true}
	url, err := k.podURL(pod, "exec", options)
	if err != nil {
		return "", err
	}
	executor, err := remotecommand.NewWebSocketExecutor(k.Config, "GET", url.String())
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr}); err != nil {
		return stdout.String(), fmt.Errorf("%s in pod %s: %w: %s", strings.Join(command, " "), pod, err, stderr.String())
	}
	return stdout.String(), nil
}

// podURL is the address of a subresource of a pod.
func (k *Kubernetes) podURL(pod, subresource string, options ...runtime.Object) (*url.URL, error) {
	clients, err := kubernetes.NewForConfig(k.Config)
	if err != nil {
		return nil, err
	}
	request := clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(k.Namespace).Name(pod).SubResource(subresource)
	for _, option := range options {
		request = request.VersionedParams(option, scheme.ParameterCodec)
	}
	return request.URL(), nil
}

// readyPod is the name of a pod that is ready.
func (k *Kubernetes) readyPod(ctx context.Context, selector map[string]string) (string, error) {
	var pods corev1.PodList
	if err := k.List(ctx, &pods, client.InNamespace(k.Namespace), client.MatchingLabels(selector)); err != nil {
		return "", err
	}
	for i := range pods.Items {
		if Ready(&pods.Items[i]) {
			return pods.Items[i].Name, nil
		}
	}
	return "", fmt.Errorf("none of %d pods with labels %v is ready", len(pods.Items), selector)
}

// Ready is whether a pod is ready.
func Ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func key(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

// Etcdctl runs etcdctl in a pod of the cluster, against the client Service. If that talks TLS the pod has variables with a
// certificate.
func (k *Kubernetes) Etcdctl(ctx context.Context, cluster, pod string, args ...string) (string, error) {
	command := []string{"/usr/local/bin/etcdctl", fmt.Sprintf("--endpoints=%s-client.%s.svc:2379", cluster, k.Namespace)}
	return k.Exec(ctx, pod, append(command, args...)...)
}

// Put writes a key through the client Service; it tries for a while, as a client would.
func (k *Kubernetes) Put(cluster, pod, key, value string) {
	k.T.Helper()
	k.Eventually("writing "+key, 15*time.Second, func(ctx context.Context) error {
		_, err := k.Etcdctl(ctx, cluster, pod, "put", key, value)
		return err
	})
}

// WantValue reads a key through the client Service and fails the test if it has another value.
func (k *Kubernetes) WantValue(cluster, pod, key, value string) {
	k.T.Helper()
	k.Eventually("reading "+key, 15*time.Second, func(ctx context.Context) error {
		got, err := k.Etcdctl(ctx, cluster, pod, "get", "--print-value-only", key)
		if err == nil && strings.TrimSpace(got) != value {
			k.T.Fatalf("key %s is %q, want %q: an acknowledged write is lost", key, strings.TrimSpace(got), value)
		}
		return err
	})
}
