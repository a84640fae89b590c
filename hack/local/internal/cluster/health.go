//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/netns"
)

// get fails unless an HTTP address inside a namespace answers with success.
func get(ctx context.Context, namespace, url string) error {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return netns.Dial(ctx, namespace, network, address)
		},
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("asking %s in namespace %s: %w", url, namespace, err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s in namespace %s answers %s", url, namespace, response.Status)
	}
	return nil
}

// waitAPIServer waits until the API server is ready, seen from the host.
func (c *Cluster) waitAPIServer(ctx context.Context, client kubernetes.Interface, limit time.Duration) error {
	return waitFor(ctx, "the API server", limit, func(ctx context.Context) error {
		if err := c.checkAlive(); err != nil {
			return err
		}
		return c.apiServerReady(ctx, client)
	})
}

// apiServerReady asks once, and not for long: a request to a server that starts may never be answered.
func (c *Cluster) apiServerReady(ctx context.Context, client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return fmt.Errorf("%w (read %s)", err, c.logFile("kube-apiserver"))
	}
	return nil
}

// waitNodes waits until pods can be started on every node.
func (c *Cluster) waitNodes(ctx context.Context, client kubernetes.Interface, limit time.Duration) error {
	return waitFor(ctx, "the nodes", limit, func(ctx context.Context) error {
		return errors.Join(c.checkAlive(), c.checkNodes(ctx, client))
	})
}

// waitServices waits until names and Service addresses work everywhere, and a first pod can be made.
func (c *Cluster) waitServices(ctx context.Context, client kubernetes.Interface, limit time.Duration) error {
	namespaces := []string{controlPlaneNamespace}
	for _, n := range c.nodes() {
		namespaces = append(namespaces, n.namespace())
	}
	return waitFor(ctx, "DNS and Services", limit, func(ctx context.Context) error {
		if err := c.checkAlive(); err != nil {
			return err
		}
		if err := get(ctx, controlPlaneNamespace, "http://"+controlPlaneAddress+":8181/ready"); err != nil {
			return fmt.Errorf("%w (read %s)", err, c.logFile("coredns"))
		}
		if _, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{}); err != nil {
			return fmt.Errorf("the default service account: %w (read %s)", err, c.logFile("kube-controller-manager"))
		}
		for _, namespace := range namespaces {
			if err := get(ctx, namespace, "http://127.0.0.1:10256/healthz"); err != nil {
				return fmt.Errorf("kube-proxy: %w (read its log in %s)", err, c.path("logs"))
			}
			// Proof that the rules for Services are in place: the name server's own address answers.
			connection, err := netns.Dial(ctx, namespace, "tcp", net.JoinHostPort(dnsService, "53"))
			if err != nil {
				return fmt.Errorf("the DNS Service from %s: %w", namespace, err)
			}
			_ = connection.Close()
		}
		return nil
	})
}
