//go:build linux

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroupRoot is the parent of one cgroup per node. The kubelets would otherwise end each other's pods, which
// they take for orphans.
const cgroupRoot = "etcd-operator-local"

// hierarchies lists where cgroups are mounted: one place with cgroup v2, several with v1.
func hierarchies() []string {
	var found []string
	for _, mount := range mounts() {
		if mount.kind == "cgroup" || mount.kind == "cgroup2" {
			found = append(found, mount.target)
		}
	}
	return found
}

// makeCgroup makes the cgroup of a node in every hierarchy.
func makeCgroup(n node) error {
	for _, hierarchy := range hierarchies() {
		parent, child := filepath.Join(hierarchy, cgroupRoot), filepath.Join(hierarchy, cgroupRoot, n.name)
		if err := os.MkdirAll(child, 0o755); err != nil {
			return fmt.Errorf("making cgroup %q: %w", child, err)
		}
		for _, step := range [][2]string{{hierarchy, parent}, {parent, child}} {
			if err := prepareCgroup(step[0], step[1]); err != nil {
				return fmt.Errorf("preparing cgroup %q: %w", step[1], err)
			}
		}
	}
	return nil
}

// prepareCgroup gives a cgroup what it does not inherit by itself: its processors and memory nodes with v1,
// its controllers with v2.
func prepareCgroup(parent, child string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		content, err := os.ReadFile(filepath.Join(parent, file))
		// With v2 the file may exist too, but an empty value there means that of the parent.
		if err != nil || len(bytes.TrimSpace(content)) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(child, file), content, 0o644); err != nil {
			return err
		}
	}
	// This file is there with v2 only.
	controllers, _ := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	for controller := range strings.FieldsSeq(string(controllers)) {
		// A controller that cannot be passed on is missed by the kubelet, which names it.
		_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		_ = os.WriteFile(filepath.Join(child, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
	return nil
}

// cgroupProcesses lists the processes in a cgroup of ours and below; name is a node, or empty for all nodes.
func cgroupProcesses(name string) []int {
	var found []int
	for _, hierarchy := range hierarchies() {
		for _, directory := range cgroupTree(filepath.Join(hierarchy, cgroupRoot, name)) {
			content, _ := os.ReadFile(filepath.Join(directory, "cgroup.procs"))
			for field := range strings.FieldsSeq(string(content)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					found = append(found, pid)
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// removeCgroups removes our cgroups; their processes have ended before.
func removeCgroups(name string) error {
	var problems []error
	for _, hierarchy := range hierarchies() {
		problems = append(problems, removeCgroup(filepath.Join(hierarchy, cgroupRoot, name)))
	}
	return errors.Join(problems...)
}

// cgroupTree lists a cgroup and all below it, parents first. One that goes away meanwhile is left out.
func cgroupTree(directory string) []string {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil
	}
	directories := []string{directory}
	for _, entry := range entries {
		if entry.IsDir() {
			directories = append(directories, cgroupTree(filepath.Join(directory, entry.Name()))...)
		}
	}
	return directories
}

// removeCgroup removes a cgroup from its leaves up.
func removeCgroup(directory string) error {
	deadline := time.Now().Add(5 * time.Second)
	for _, path := range slices.Backward(cgroupTree(directory)) {
		for {
			err := os.Remove(path)
			if err == nil || os.IsNotExist(err) {
				break
			}
			// The kernel lets go of a cgroup a moment after its last process has ended.
			if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("removing cgroup %q: %w (see its cgroup.procs for who is inside)", path, err)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	return nil
}
