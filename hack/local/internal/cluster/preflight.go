//go:build linux

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// toolPath is where the programs of the distribution are, whatever the caller's PATH is.
const toolPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// tool returns the path of a program of the distribution, or its bare name if it is missing.
func tool(name string) string {
	for directory := range strings.SplitSeq(toolPath, ":") {
		if path := filepath.Join(directory, name); isFile(path) {
			return path
		}
	}
	return name
}

// networkPlugins is where the distribution keeps the plugins that join pods to their node.
const networkPlugins = "/usr/lib/cni"

// RequireRoot refuses users who cannot make namespaces and mounts.
func RequireRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("local-cluster has to run as root, because it makes network namespaces, cgroups and mounts: " +
			"use sudo, or use kind, which needs Docker: make kind-create")
	}
	return nil
}

// checkPrograms names everything that is missing, at once.
func (c *Cluster) checkPrograms() error {
	var missing []string
	for _, name := range []string{
		"containerd", "containerd-shim-runc-v2", "ctr", "runc", "ip", "iptables", "conntrack", "mount", "umount",
	} {
		if !filepath.IsAbs(tool(name)) {
			missing = append(missing, name)
		}
	}
	for _, plugin := range []string{"ptp", "host-local", "loopback"} {
		if !isFile(filepath.Join(networkPlugins, plugin)) {
			missing = append(missing, filepath.Join(networkPlugins, plugin))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("this machine lacks %s: run hack/local/install-packages.sh", strings.Join(missing, ", "))
	}
	for _, name := range []string{
		"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns", "pause",
	} {
		if !isFile(filepath.Join(c.Bin, name)) {
			missing = append(missing, name)
		}
	}
	if !isFile(c.etcdProgram()) {
		missing = append(missing, "etcd-3.6/etcd")
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s lacks %s: run hack/build.sh kubernetes etcd/3.6 coredns local, or name another directory "+
			"with --bin", c.Bin, strings.Join(missing, ", "))
	}
	return nil
}
