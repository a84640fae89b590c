//go:build linux

// Package cluster runs a real Kubernetes with several nodes on one machine, from plain programs: every node
// is a network namespace with a containerd, a kubelet and a kube-proxy of its own.
package cluster

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// DefaultState is fixed, so that every clone of the repository sees the one local cluster of a machine.
const DefaultState = "/var/lib/etcd-operator-local"

// The addresses of the cluster. None of them exists in the network of the host.
const (
	controlPlaneName     = "control-plane"
	controlPlaneAddress  = "172.31.0.2"
	serviceSubnet        = "10.96.0.0/16"
	kubernetesService    = "10.96.0.1"
	dnsService           = "10.96.0.10"
	dnsAddress           = controlPlaneAddress + ":53"
	apiServerAddress     = controlPlaneAddress + ":6443"
	hostAPIServerAddress = "127.0.0.1:16443"
	hostSocksAddress     = "127.0.0.1:16080"
	region               = "local"
)

// MaximumNodes is what the addressing has room for and a machine can carry.
const MaximumNodes = 9

// Cluster is the local cluster of this machine.
type Cluster struct {
	// State is the directory of everything that the cluster writes.
	State string
	// Bin is the directory of the Kubernetes, etcd and CoreDNS programs.
	Bin string
	// Nodes is how many nodes there are.
	Nodes int
	// Program is this very program, which also serves as the provisioner and as the proxy.
	Program string
	// Output is where progress goes.
	Output io.Writer
}

// node is one machine of the cluster.
type node struct {
	name  string
	index int
}

func (c *Cluster) nodes() []node {
	nodes := make([]node, c.Nodes)
	for i := range nodes {
		nodes[i] = node{name: fmt.Sprintf("node-%d", i+1), index: i + 1}
	}
	return nodes
}

// node finds a node by its name.
func (c *Cluster) node(name string) (node, error) {
	nodes := c.nodes()
	if at := slices.IndexFunc(nodes, func(n node) bool { return n.name == name }); at >= 0 {
		return nodes[at], nil
	}
	return node{}, fmt.Errorf("there is no node %q: the cluster has node-1 to node-%d", name, c.Nodes)
}

func (n node) address() string   { return fmt.Sprintf("172.31.0.%d", 10+n.index) }
func (n node) podSubnet() string { return fmt.Sprintf("10.244.%d.0/24", n.index) }
func (n node) namespace() string { return namespacePrefix + n.name }

// zone spreads the nodes over three zones.
func (n node) zone() string { return "zone-" + string(rune('a'+(n.index-1)%3)) }

func (c *Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.State}, elements...)...)
}

func (c *Cluster) nodePath(n node, elements ...string) string {
	return c.path(append([]string{"nodes", n.name}, elements...)...)
}

func (c *Cluster) logFile(process string) string { return c.path("logs", process+".log") }
func (c *Cluster) containerdSocket(n node) string {
	return c.nodePath(n, "run", "containerd.sock")
}

// Kubeconfig is the administrator's kubeconfig, for use on the host.
func (c *Cluster) Kubeconfig() string { return c.path("kubeconfig") }
