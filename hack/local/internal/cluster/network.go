//go:build linux

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/netns"
)

// namespacePrefix begins the names of all network namespaces of the cluster.
const namespacePrefix = "etcd-local-"

// The bridge that joins the machines of the cluster lives in a namespace too: nothing is added to the network
// of the host.
const (
	bridgeNamespace       = namespacePrefix + "bridge"
	controlPlaneNamespace = namespacePrefix + controlPlaneName
)

// startNetwork makes the namespaces, the bridge between them and the routes to the pods.
func (c *Cluster) startNetwork() error {
	machines := map[string]string{controlPlaneName: controlPlaneAddress}
	for _, n := range c.nodes() {
		machines[n.name] = n.address()
	}
	setup := []string{"netns add " + bridgeNamespace}
	bridge := []string{"link set lo up", "link add br0 type bridge", "link set br0 up"}
	for name := range machines {
		namespace := namespacePrefix + name
		setup = append(setup, "netns add "+namespace,
			// Both ends are made right inside their namespaces.
			fmt.Sprintf("link add eth0 netns %s type veth peer name %s netns %s", namespace, name, bridgeNamespace))
		bridge = append(bridge, "link set "+name+" master br0", "link set "+name+" up")
	}
	if err := ip("", setup); err != nil {
		return err
	}
	if err := ip(bridgeNamespace, bridge); err != nil {
		return err
	}
	for name, address := range machines {
		commands := []string{"link set lo up", "link set eth0 up", "address add " + address + "/24 dev eth0",
			// kube-proxy rewrites the destination of a local process only after a route was found for it.
			"route add " + serviceSubnet + " dev eth0"}
		for _, n := range c.nodes() {
			if n.name != name {
				commands = append(commands, fmt.Sprintf("route add %s via %s", n.podSubnet(), n.address()))
			}
		}
		if err := ip(namespacePrefix+name, commands); err != nil {
			return err
		}
		if err := netns.Do(namespacePrefix+name, allowForwarding); err != nil {
			return fmt.Errorf("letting %s forward packets to its pods: %w", name, err)
		}
	}
	return nil
}

// allowForwarding makes the namespace of the calling thread a router for its pods.
func allowForwarding() error {
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// setLink plugs or unplugs the network cable of a node. It acts on the bridge's end: the node keeps its
// addresses and routes, as with a real cable.
func setLink(n node, state string) error {
	return ip(bridgeNamespace, []string{"link set " + n.name + " " + state})
}

// ip runs commands of iproute2 inside a namespace; an empty name means that of the host.
func ip(namespace string, commands []string) error {
	arguments := []string{"-batch", "-"}
	if namespace != "" {
		arguments = append([]string{"-n", namespace}, arguments...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, tool("ip"), arguments...)
	command.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s with %q: %w: %s", strings.Join(arguments, " "), commands, err, bytes.TrimSpace(output))
	}
	return nil
}

// namespaces lists the network namespaces of the cluster that exist.
func namespaces() []string {
	found, _ := filepath.Glob(filepath.Join(netns.Dir, namespacePrefix+"*"))
	for i, path := range found {
		found[i] = filepath.Base(path)
	}
	return found
}

// removeNetwork removes the namespaces, and with them all that is inside. It uses no program, so that it
// works on a machine from which iproute2 was removed.
func removeNetwork() error {
	for _, name := range namespaces() {
		path := filepath.Join(netns.Dir, name)
		// After an unclean stop this may be a plain file, which is not mounted.
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return fmt.Errorf("unmounting network namespace %q: %w", path, err)
		}
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("removing network namespace %q: %w", path, err)
		}
	}
	removeIfEmpty(netns.Dir)
	return nil
}

// removeIfEmpty takes away a directory that may be a mount of itself, unless somebody keeps something there.
func removeIfEmpty(directory string) {
	if entries, err := os.ReadDir(directory); err != nil || len(entries) > 0 {
		return
	}
	_ = unix.Unmount(directory, unix.MNT_DETACH)
	_ = os.Remove(directory)
}
