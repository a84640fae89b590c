//go:build linux

package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/storage"
)

// applyObjects makes the few objects that a new cluster has: the default StorageClass and the DNS Service.
func applyObjects(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.StorageV1().StorageClasses().Create(ctx, storageClass(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the default StorageClass: %w", err)
	}
	_, err = client.CoreV1().Services(metav1.NamespaceSystem).Create(ctx, dnsServiceObject(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the DNS Service: %w", err)
	}
	slices := client.DiscoveryV1().EndpointSlices(metav1.NamespaceSystem)
	_, err = slices.Create(ctx, dnsEndpoints(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the endpoints of the DNS Service: %w", err)
	}
	return nil
}

func storageClass() *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name: "standard", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner:          storage.ProvisionerName,
		ReclaimPolicy:        new(corev1.PersistentVolumeReclaimDelete),
		VolumeBindingMode:    new(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowVolumeExpansion: new(true),
	}
}

// The name server is a process and no pod, so its Service has no selector and its endpoints are written here.
func dnsServiceObject() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-dns", Labels: map[string]string{"k8s-app": "kube-dns"}},
		Spec: corev1.ServiceSpec{ClusterIP: dnsService, Ports: []corev1.ServicePort{
			{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
			{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP},
		}},
	}
}

func dnsEndpoints() *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-dns", Labels: map[string]string{
			discoveryv1.LabelServiceName: "kube-dns", discoveryv1.LabelManagedBy: "local-cluster",
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{controlPlaneAddress}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
		}},
		Ports: []discoveryv1.EndpointPort{
			{Name: new("dns"), Protocol: new(corev1.ProtocolUDP), Port: new(int32(53))},
			{Name: new("dns-tcp"), Protocol: new(corev1.ProtocolTCP), Port: new(int32(53))},
		},
	}
}

// checkNodes fails while a node is missing, not ready, or closed to new pods.
func (c *Cluster) checkNodes(ctx context.Context, client kubernetes.Interface) error {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	problems := map[string]string{}
	for _, n := range c.nodes() {
		problems[n.name] = "is not registered"
	}
	started := map[string]time.Time{}
	for _, r := range c.records() {
		if r.Order == orderKubelet {
			started[r.Node] = r.Started
		}
	}
	for i := range list.Items {
		if problem := nodeProblem(&list.Items[i], started[list.Items[i].Name]); problem != "" {
			problems[list.Items[i].Name] = problem
		} else {
			delete(problems, list.Items[i].Name)
		}
	}
	var texts []string
	for _, n := range c.nodes() {
		if problem := problems[n.name]; problem != "" {
			texts = append(texts, fmt.Sprintf("%s %s (read %s)", n.name, problem, c.logFile(n.name+"-kubelet")))
		}
	}
	if len(texts) > 0 {
		return fmt.Errorf("%s", strings.Join(texts, "; "))
	}
	return nil
}

// nodeProblem says in words why pods cannot run on a node; empty if they can. What the node reported before
// its kubelet was started does not count.
func nodeProblem(n *corev1.Node, started time.Time) string {
	for _, condition := range n.Status.Conditions {
		ready := condition.Type == corev1.NodeReady
		if ready && condition.LastHeartbeatTime.Time.Before(started.Truncate(time.Second)) {
			return "has not reported since its kubelet was started"
		}
		if ready && condition.Status != corev1.ConditionTrue {
			return "is not ready: " + condition.Message
		}
	}
	if len(n.Status.Conditions) == 0 {
		return "has not reported"
	}
	for _, taint := range n.Spec.Taints {
		// A taint of the user is no problem of the cluster; these two follow the node's condition.
		if taint.Key == corev1.TaintNodeNotReady || taint.Key == corev1.TaintNodeUnreachable {
			return "is still marked " + taint.Key
		}
	}
	return ""
}

// waitRegistered waits until every node has an object with an address.
func (c *Cluster) waitRegistered(ctx context.Context, client kubernetes.Interface) error {
	return waitFor(ctx, "the nodes to register", nodesLimit, func(ctx context.Context) error {
		if err := c.checkAlive(); err != nil {
			return err
		}
		for _, n := range c.nodes() {
			object, err := client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
			if err == nil && len(object.Status.Addresses) == 0 {
				err = fmt.Errorf("it has no address yet")
			}
			if err != nil {
				return fmt.Errorf("%s: %w (read %s)", n.name, err, c.logFile(n.name+"-kubelet"))
			}
		}
		return nil
	})
}
