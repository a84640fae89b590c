//go:build linux

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
)

// The order in which parts are started again when some have ended.
const (
	orderProxy = iota
	orderEtcd
	orderAPIServer
	orderContainerd
	orderControlPlane
	orderKubelet
	orderKubeProxy
)

// auditPolicy records who writes what: tests count the writes of the operator.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

// corefile answers names of the cluster, which it never caches as missing: a new member of a StatefulSet has
// to be found at once. There is no other name server to ask, so any other name does not exist.
//
//nolint:dupword // The template is for any class and any type of question.
const corefile = `cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
    bind %[1]s
    errors
    health %[1]s:8080
    ready %[1]s:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig %[2]s
        pods insecure
        ttl 1
    }
    cache 1 {
        disable denial
    }
}
.:53 {
    bind %[1]s
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
`

// auditLog is where the API server records every write.
func (c *Cluster) auditLog() string { return c.path("logs", "audit.log") }

// writeControlPlaneFiles writes the configuration files of the control plane.
func (c *Cluster) writeControlPlaneFiles() error {
	files := map[string]string{
		"audit-policy.yaml": auditPolicy,
		"Corefile":          fmt.Sprintf(corefile, controlPlaneAddress, c.kubeconfigFor("coredns")),
		// For pods with dnsPolicy Default, and without the search domains of this machine.
		"resolv.conf": "nameserver " + controlPlaneAddress + "\n",
	}
	for name, content := range files {
		if err := writeFile(c.path(name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// etcdProgram prefers the etcd version that Kubernetes itself is tested with.
func (c *Cluster) etcdProgram() string {
	for _, candidate := range []string{"etcd-3.6/etcd", "etcd-3.7/etcd", "etcd-3.5/etcd", "etcd"} {
		if path := filepath.Join(c.Bin, candidate); isFile(path) {
			return path
		}
	}
	return filepath.Join(c.Bin, "etcd-3.6", "etcd")
}

// controlPlane makes the description of a process in the control plane's namespace.
func controlPlane(name string, order int, arguments ...string) process {
	return process{Name: name, Namespace: controlPlaneNamespace, Order: order, Arguments: arguments}
}

func (c *Cluster) kubernetesEtcd() process {
	return controlPlane("etcd", orderEtcd, c.etcdProgram(),
		"--name=kubernetes",
		"--data-dir="+c.path("etcd"),
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=kubernetes=http://127.0.0.1:2380",
	)
}

func (c *Cluster) apiServer() process {
	return controlPlane("kube-apiserver", orderAPIServer, filepath.Join(c.Bin, "kube-apiserver"),
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address="+controlPlaneAddress, "--secure-port=6443",
		"--service-cluster-ip-range="+serviceSubnet,
		"--tls-cert-file="+c.certificate("apiserver"), "--tls-private-key-file="+c.key("apiserver"),
		"--client-ca-file="+c.certificate("ca"),
		"--kubelet-client-certificate="+c.certificate("apiserver-kubelet-client"),
		"--kubelet-client-key="+c.key("apiserver-kubelet-client"),
		"--kubelet-certificate-authority="+c.certificate("ca"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+c.key("service-accounts"),
		"--service-account-signing-key-file="+c.key("service-accounts"),
		"--authorization-mode=Node,RBAC",
		// The default plugins, which hold PodSecurity, ResourceQuota and ValidatingAdmissionPolicy, and this one.
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--audit-policy-file="+c.path("audit-policy.yaml"),
		// One file: tests that count must not lose lines to a rotation.
		"--audit-log-path="+c.auditLog(), "--audit-log-maxsize=2000", "--audit-log-maxbackup=1",
	)
}

// controllers are the parts that only need the API server.
func (c *Cluster) controllers() []process {
	kubeconfig := func(name string) string { return "--kubeconfig=" + c.kubeconfigFor(name) }
	return []process{
		controlPlane("kube-controller-manager", orderControlPlane, filepath.Join(c.Bin, "kube-controller-manager"),
			kubeconfig("kube-controller-manager"),
			"--bind-address=127.0.0.1",
			"--leader-elect=false",
			"--use-service-account-credentials=true",
			"--service-account-private-key-file="+c.key("service-accounts"),
			"--root-ca-file="+c.certificate("ca"),
			"--cluster-signing-cert-file="+c.certificate("ca"), "--cluster-signing-key-file="+c.key("ca"),
			// Every node has a fixed subnet for its pods.
			"--allocate-node-cidrs=false",
		),
		controlPlane("kube-scheduler", orderControlPlane, filepath.Join(c.Bin, "kube-scheduler"),
			kubeconfig("kube-scheduler"), "--bind-address=127.0.0.1", "--leader-elect=false"),
		controlPlane("coredns", orderControlPlane, filepath.Join(c.Bin, "coredns"), "-conf", c.path("Corefile")),
		controlPlane("provisioner", orderControlPlane, c.Program, "provisioner",
			kubeconfig("provisioner"), "--volumes="+c.path("volumes")),
	}
}

// hostProxy connects from inside the control plane's namespace for clients on the host.
func (c *Cluster) hostProxy() process {
	p := controlPlane("api-proxy", orderProxy, c.Program, "api-proxy", "--target="+apiServerAddress, "--dns="+dnsAddress)
	p.Listen = []string{hostAPIServerAddress, hostSocksAddress}
	return p
}

// kubeProxy makes Service addresses work in a namespace: those of the nodes, and that of the control plane,
// from where the API server calls webhooks. The latter is no node, so it watches under the name of one.
func (c *Cluster) kubeProxy(owner, namespace, nodeName string) process {
	name, node := "kube-proxy", ""
	if owner != controlPlaneName {
		name, node = owner+"-kube-proxy", owner
	}
	return process{Name: name, Node: node, Namespace: namespace, Order: orderKubeProxy, Arguments: []string{
		filepath.Join(c.Bin, "kube-proxy"),
		"--kubeconfig=" + c.kubeconfigFor("kube-proxy"),
		"--hostname-override=" + nodeName,
		"--proxy-mode=iptables",
		"--cluster-cidr=10.244.0.0/16",
		"--healthz-bind-address=127.0.0.1:10256",
		// These three are settings of the whole machine; zero leaves them alone.
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
	}}
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
