package live

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/net/proxy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
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
	if OnKind() {
		address, err := k.forward(service)
		if err != nil {
			return nil, err
		}
		config.Endpoints = []string{address}
		return clientv3.New(config)
	}
	dialer, err := proxy.SOCKS5("tcp", socksOfLocalCluster, nil, proxy.Direct)
	if err != nil {
		return nil, err
	}
	if len(config.Endpoints) == 0 {
		var found corev1.Service
		if err := k.Get(ctx, key(k.Namespace, service), &found); err != nil {
			return nil, err
		}
		config.Endpoints = []string{fmt.Sprintf("http://%s", net.JoinHostPort(found.Spec.ClusterIP, "2379"))}
	}
	config.DialOptions = append(config.DialOptions, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		return dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	}))
	return clientv3.New(config)
}

// OnKind is whether the cluster is kind, not the local cluster.
func OnKind() bool { return os.Getenv("PROVIDER") == "kind" }

// forward forwards a local port to a ready pod behind the Service until the test ends.
func (k *Kubernetes) forward(service string) (string, error) {
	ctx := context.Background()
	var found corev1.Service
	if err := k.Get(ctx, key(k.Namespace, service), &found); err != nil {
		return "", err
	}
	pod, err := k.readyPod(ctx, found.Spec.Selector)
	if err != nil {
		return "", err
	}
	transport, upgrader, err := spdy.RoundTripperFor(k.Config)
	if err != nil {
		return "", err
	}
	url, err := k.podURL(pod, "portforward")
	if err != nil {
		return "", err
	}
	stop, readyNow := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url), []string{"0:2379"}, stop, readyNow, nil, nil)
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
	return fmt.Sprintf("http://127.0.0.1:%d", ports[0].Local), nil
}
