package live

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

// Exec runs a command in the etcd container of a pod and gives what it printed.
func (k *Kubernetes) Exec(ctx context.Context, pod string, command ...string) (string, error) {
	clients, err := kubernetes.NewForConfig(k.Config)
	if err != nil {
		return "", err
	}
	request := clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(k.Namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: "etcd", Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(k.Config, "GET", request.URL().String())
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr}); err != nil {
		return stdout.String(), fmt.Errorf("%s in pod %s: %w: %s", strings.Join(command, " "), pod, err, stderr.String())
	}
	return stdout.String(), nil
}

// Etcdctl runs etcdctl in a pod of the cluster, against the client Service.
func (k *Kubernetes) Etcdctl(ctx context.Context, cluster, pod string, args ...string) (string, error) {
	endpoint := fmt.Sprintf("http://%s-client.%s.svc:2379", cluster, k.Namespace)
	return k.Exec(ctx, pod, append([]string{"/usr/local/bin/etcdctl", "--endpoints=" + endpoint}, args...)...)
}

// Put writes a key through the client Service; it tries for a while, as a client would.
func (k *Kubernetes) Put(cluster, pod, key, value string) {
	k.T.Helper()
	k.Eventually("writing "+key, 15*time.Second, func(ctx context.Context) error {
		_, err := k.Etcdctl(ctx, cluster, pod, "put", key, value)
		return err
	})
}

// Get reads a key through the client Service and fails the test if it has another value.
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
