package live

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/net/proxy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/application"
)

// socksOfLocalCluster is where the local cluster lets the host reach pods and Services.
const socksOfLocalCluster = "127.0.0.1:16080"

// Etcd connects to the client Service of a cluster from outside: through the local cluster's proxy, or, on kind, by
// forwarding a port of one member.
func (k *Kubernetes) Etcd(ctx context.Context, service string) (*clientv3.Client, error) {
	// A Service that leads nowhere yet is tried again at once, not after gRPC's second.
	impatient := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.2, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second}
	return k.etcd(ctx, service, clientv3.Config{DialTimeout: 5 * time.Second, DialOptions: []grpc.DialOption{grpc.WithConnectParams(impatient)}})
}

// etcd makes a client, of the Service if the configuration names no endpoints.
func (k *Kubernetes) etcd(ctx context.Context, service string, config clientv3.Config) (*clientv3.Client, error) {
	config.Logger = zap.NewNop()
	var err error
	if config.TLS, err = k.credentials(ctx, service); err != nil {
		return nil, err
	}
	if OnKind() {
		pod, err := k.podBehind(ctx, service)
		if err != nil {
			return nil, err
		}
		address, err := k.forward(pod, 2379)
		if err != nil {
			return nil, err
		}
		config.Endpoints = []string{address}
		return clientv3.New(config)
	}
	if len(config.Endpoints) == 0 {
		var found corev1.Service
		if err := k.Get(ctx, key(k.Namespace, service), &found); err != nil {
			return nil, err
		}
		// With credentials etcd's client talks TLS to whatever has no scheme.
		config.Endpoints = []string{net.JoinHostPort(found.Spec.ClusterIP, "2379")}
	}
	config.DialOptions = append(config.DialOptions, grpc.WithContextDialer(dialLocalCluster))
	return clientv3.New(config)
}

// dialLocalCluster connects to an address that is one in the local cluster.
func dialLocalCluster(ctx context.Context, address string) (net.Conn, error) {
	dialer, err := proxy.SOCKS5("tcp", socksOfLocalCluster, nil, proxy.Direct)
	if err != nil {
		return nil, err
	}
	return dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
}

// credentials are those of the cluster that a client Service leads to; none if it talks plain TCP or is no EtcdCluster's.
func (k *Kubernetes) credentials(ctx context.Context, service string) (*tls.Config, error) {
	cluster := strings.TrimSuffix(service, "-client")
	found, err := k.GetCluster(ctx, cluster)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // There is nothing to say, and nothing wrong.
	case err != nil:
		return nil, err
	case found.Spec.Security.TLS.Client.Mode != v1alpha1.ClientTLSRequired && found.Spec.Security.TLS.Client.Mode != v1alpha1.ClientTLSPermissive:
		return nil, nil //nolint:nilnil // As above.
	}
	return application.Credentials(service+"."+k.Namespace+".svc", func() (map[string][]byte, error) {
		var secret corev1.Secret
		err := k.Get(context.Background(), key(k.Namespace, cluster+"-client-tls"), &secret)
		return secret.Data, err
	}), nil
}

// OnKind is whether the cluster is kind, not the local cluster.
func OnKind() bool { return os.Getenv("PROVIDER") == "kind" }

// podBehind is the name of a ready pod behind a Service.
func (k *Kubernetes) podBehind(ctx context.Context, service string) (string, error) {
	var found corev1.Service
	if err := k.Get(ctx, key(k.Namespace, service), &found); err != nil {
		return "", err
	}
	return k.readyPod(ctx, found.Spec.Selector)
}

// forward forwards a local port to one of a pod until the test ends.
func (k *Kubernetes) forward(pod string, port int) (string, error) {
	transport, upgrader, err := spdy.RoundTripperFor(k.Config)
	if err != nil {
		return "", err
	}
	url, err := k.podURL(pod, "portforward")
	if err != nil {
		return "", err
	}
	stop, readyNow := make(chan struct{}), make(chan struct{})
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	forwarder, err := portforward.New(dialer, []string{fmt.Sprintf("0:%d", port)}, stop, readyNow, nil, nil)
	if err != nil {
		return "", err
	}
	k.T.Cleanup(func() { close(stop) })
	failed := make(chan error, 1)
	go func() { failed <- forwarder.ForwardPorts() }()
	select {
	case err := <-failed:
		return "", err
	case <-readyNow:
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0].Local), nil
}
