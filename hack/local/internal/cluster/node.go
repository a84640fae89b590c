//go:build linux

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// pauseImage holds the namespaces of every pod open.
const pauseImage = "registry.k8s.io/pause:3.10"

// containerdConfiguration gives a node a containerd with directories of its own. Only the plugins that a
// plain node uses are on: the others would look for file systems and devices of this machine.
const containerdConfiguration = `version = 2
root = "{{data}}"
state = "{{run}}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{{run}}/containerd.sock"
[ttrpc]
  address = "{{run}}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{{data}}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{pause}}"
  restrict_oom_score_adj = true
  # Keeps the namespaces of pods out of /run/netns.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{{run}}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{{plugins}}"
    conf_dir = "{{node}}/cni"
`

// cniConfiguration joins pods to their node by a routed link each. Unlike with a bridge, traffic between two
// pods of a node passes through the node's rules too, so Services work without the br_netfilter module.
const cniConfiguration = `{
  "cniVersion": "0.4.0",
  "name": "{{network}}",
  "plugins": [{
    "type": "ptp",
    "ipMasq": false,
    "ipam": {
      "type": "host-local",
      "dataDir": "{{run}}/addresses",
      "ranges": [[{"subnet": "{{subnet}}"}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`

// kubeletConfiguration keeps the kubelet's defaults, as kind does, but for: its directories, its cgroups, and
// the disk of this machine, which is not the cluster's to judge.
const kubeletConfiguration = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: "{{ca}}"}
authorization: {mode: Webhook}
tlsCertFile: "{{certificate}}"
tlsPrivateKeyFile: "{{key}}"
containerRuntimeEndpoint: "unix://{{run}}/containerd.sock"
clusterDomain: cluster.local
clusterDNS: ["{{dns}}"]
resolvConf: "{{resolv}}"
cgroupDriver: cgroupfs
cgroupRoot: "/{{cgroup}}"
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard:
  memory.available: 50Mi
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
imageGCHighThresholdPercent: 100
podLogsDir: "{{node}}/pod-logs"
volumePluginDir: "{{node}}/volume-plugins"
serializeImagePulls: false
# Changed Secrets come to pods within this time instead of a minute: most of what tests would wait for.
syncFrequency: 10s
healthzBindAddress: 127.0.0.1
`

// writeNodeFiles writes the configuration of a node's programs.
func (c *Cluster) writeNodeFiles(n node) error {
	fill := strings.NewReplacer(
		"{{node}}", c.nodePath(n), "{{data}}", c.nodePath(n, "containerd"), "{{run}}", c.nodePath(n, "run"),
		"{{pause}}", pauseImage, "{{plugins}}", networkPlugins,
		"{{network}}", cniNetwork(n), "{{subnet}}", n.podSubnet(),
		"{{ca}}", c.certificate("ca"),
		"{{certificate}}", c.certificate("kubelet-"+n.name), "{{key}}", c.key("kubelet-"+n.name),
		"{{dns}}", dnsService, "{{resolv}}", c.path("resolv.conf"), "{{cgroup}}", filepath.Join(cgroupRoot, n.name),
	)
	files := map[string]string{
		"containerd.toml":      containerdConfiguration,
		"cni/10-pods.conflist": cniConfiguration,
		"kubelet.yaml":         kubeletConfiguration,
	}
	for name, content := range files {
		if err := writeFile(c.nodePath(n, name), []byte(fill.Replace(content)), 0o644); err != nil {
			return fmt.Errorf("writing %s of %s: %w", name, n.name, err)
		}
	}
	return c.makeNodeFolders(n)
}

// makeNodeFolders makes what has to be there before a node starts, also after its `run` folder was removed.
func (c *Cluster) makeNodeFolders(n node) error {
	for _, folder := range []string{c.nodePath(n, "run"), c.nodePath(n, "pod-logs"), c.path("volumes", n.name)} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("making the folders of %s: %w", n.name, err)
		}
	}
	return nil
}

// cniNetwork is unique to a node, because the plugins keep their results of all networks in one folder.
func cniNetwork(n node) string { return namespacePrefix + n.name }

func (c *Cluster) containerd(n node) process {
	return process{Name: n.name + "-containerd", Node: n.name, Namespace: n.namespace(), Order: orderContainerd,
		Arguments: []string{tool("containerd"), "--config=" + c.nodePath(n, "containerd.toml")}}
}

func (c *Cluster) kubelet(n node) process {
	return process{Name: n.name + "-kubelet", Node: n.name, Namespace: n.namespace(), Order: orderKubelet, Arguments: []string{
		filepath.Join(c.Bin, "kubelet"),
		"--config=" + c.nodePath(n, "kubelet.yaml"),
		"--kubeconfig=" + c.kubeconfigFor("kubelet-"+n.name),
		"--root-dir=" + c.nodePath(n, "kubelet"),
		"--cert-dir=" + c.nodePath(n, "kubelet", "pki"),
		"--hostname-override=" + n.name,
		"--node-ip=" + n.address(),
		"--node-labels=topology.kubernetes.io/zone=" + n.zone() + ",topology.kubernetes.io/region=" + region,
	}}
}
