//go:build linux

package cluster

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// removeTraces removes what the programs keep at fixed places outside the state directory.
func (c *Cluster) removeTraces() error {
	if err := removeNetworkResults(c.path("nodes")); err != nil {
		return err
	}
	// Links to the logs of containers.
	links, _ := filepath.Glob("/var/log/containers/*.log")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, c.State+"/") {
			_ = os.Remove(link)
		}
	}
	// Sockets of shims that were killed; one that any process still listens on is not ours.
	used := listeningSockets()
	sockets, _ := filepath.Glob("/run/containerd/s/*")
	for _, socket := range sockets {
		if !used[socket] {
			_ = os.Remove(socket)
		}
	}
	_ = os.Remove("/var/lib/kubelet/device-plugins/kubelet.sock")
	_ = os.Remove("/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint")
	_ = os.Remove("/var/lib/kubelet/device-plugins/DEPRECATION")
	for _, directory := range []string{
		"/var/lib/cni/results", "/var/lib/cni", "/var/log/containers", "/run/containerd/s", "/run/containerd",
		"/var/lib/kubelet/device-plugins", "/var/lib/kubelet",
	} {
		// Fails, as it should, where somebody else keeps something.
		_ = os.Remove(directory)
	}
	return nil
}

// listeningSockets lists the paths of all unix sockets that some process listens on.
func listeningSockets() map[string]bool {
	used := map[string]bool{}
	file, err := os.Open("/proc/net/unix")
	if err != nil {
		return used
	}
	defer func() { _ = file.Close() }()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if fields := strings.Fields(scanner.Text()); len(fields) == 8 {
			used[fields[7]] = true
		}
	}
	return used
}

// removeNetworkResults removes what the network plugins noted of pods whose namespaces are below a directory.
// The notes of every containerd of a machine are in one folder, under names that do not tell whose they are.
func removeNetworkResults(directory string) error {
	results, _ := filepath.Glob("/var/lib/cni/results/*")
	for _, file := range results {
		content, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(content, []byte(`"`+directory+"/")) {
			continue
		}
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("removing a result of a network plugin: %w", err)
		}
	}
	return nil
}
