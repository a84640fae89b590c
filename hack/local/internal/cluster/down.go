//go:build linux

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Down ends the cluster and removes all of it, whatever state it is in.
func (c *Cluster) Down(ctx context.Context) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := errors.Join(c.checkStateDirectory(), c.claimMachine()); err != nil {
		return err
	}
	if !exists(c.State) && len(namespaces()) == 0 && len(c.ours("")) == 0 {
		c.say("there is no local cluster in %s", c.State)
	} else if err := c.part("end and remove the local cluster", c.remove); err != nil {
		return fmt.Errorf("removing the local cluster: %w (what is left can be removed by running down again)", err)
	}
	// Those who wait for the lock hold the same file open and go on with it.
	if err := os.Truncate(lockFile, 0); err != nil {
		return fmt.Errorf("emptying the lock file: %w", err)
	}
	return nil
}

// remove takes everything away in the order in which it depends on each other.
func (c *Cluster) remove() error {
	known, _ := c.load()
	if err := killAll(func() []int { return c.ours("") }); err != nil {
		return err
	}
	if err := unmountBelow(c.State); err != nil {
		return err
	}
	if err := errors.Join(removeNetwork(), removeCgroups(""), restoreKernelSettings(known.KernelSettings), c.removeTraces()); err != nil {
		return err
	}
	// Last, so that an interrupted removal is known to be one.
	if err := removeStateDirectory(c.State); err != nil {
		return fmt.Errorf("removing the state directory: %w", err)
	}
	return nil
}

// removeStateDirectory keeps the file that marks the directory until all else is gone.
func removeStateDirectory(directory string) error {
	entries, err := os.ReadDir(directory)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == stateFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(directory, entry.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(directory)
}

// ours lists the living processes of the cluster, or of one node: those that are recorded, those that carry
// our mark, and all in our cgroups.
func (c *Cluster) ours(node string) []int {
	found := cgroupProcesses(node)
	for _, r := range c.records() {
		if (node == "" || r.Node == node) && r.alive() {
			found = append(found, r.PID)
		}
	}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err == nil && pid != os.Getpid() && c.marked(pid, node) {
			found = append(found, pid)
		}
	}
	// A process which has ended but was not collected by its parent cannot be killed again.
	found = slices.DeleteFunc(found, func(pid int) bool {
		_, state, err := processStat(pid)
		return err != nil || state == 'Z'
	})
	slices.Sort(found)
	return slices.Compact(found)
}

// marked says whether a process carries our mark in its environment.
func (c *Cluster) marked(pid int, node string) bool {
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	variables := bytes.Split(environment, []byte{0})
	has := func(name, value string) bool {
		return slices.ContainsFunc(variables, func(v []byte) bool { return string(v) == name+"="+value })
	}
	return has(stateVariable, c.State) && (node == "" || has(nodeVariable, node))
}
