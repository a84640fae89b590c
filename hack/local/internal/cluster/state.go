//go:build linux

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// stateFile both describes the cluster and marks a directory as one that `down` may remove.
const stateFile = "cluster.json"

// state is what later commands have to know of the cluster.
type state struct {
	Nodes int    `json:"nodes"`
	Bin   string `json:"bin"`
	Boot  string `json:"boot"`
	// Complete is set once everything was seen working.
	Complete bool `json:"complete"`
	// KernelSettings are the values from before the kubelets changed them.
	KernelSettings map[string]string `json:"kernelSettings"`
}

// kernelSettings are what a kubelet sets for the whole machine. They are put back when the cluster ends.
var kernelSettings = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// load reads the state; found is false where there is none, or none that can be read.
func (c *Cluster) load() (s state, found bool) {
	content, err := os.ReadFile(c.path(stateFile))
	if err != nil || json.Unmarshal(content, &s) != nil || s.Nodes < 1 {
		return state{}, false
	}
	return s, true
}

func (c *Cluster) store(s state) error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = writeFile(c.path(stateFile), content, 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the state of the cluster: %w", err)
	}
	return nil
}

// useState takes over what the running cluster was started with.
func (c *Cluster) useState() error {
	s, found := c.load()
	if !found {
		return fmt.Errorf("there is no local cluster in %s: start one with local-cluster up", c.State)
	}
	c.Nodes, c.Bin = s.Nodes, s.Bin
	return nil
}

// checkStateDirectory refuses a directory that holds anything else than a local cluster: `down` removes it.
func (c *Cluster) checkStateDirectory() error {
	if !filepath.IsAbs(c.State) || strings.Count(filepath.Clean(c.State), "/") < 2 {
		return fmt.Errorf("the state directory %q has to be an absolute path below another directory, such as %s", c.State, DefaultState)
	}
	entries, err := os.ReadDir(c.State)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if exists(c.path(stateFile)) || exists(c.path(stateFile+".new")) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the state directory: %w", err)
	}
	return fmt.Errorf("the directory %q holds files but no %s, so it is not the state of a local cluster: name another with --state, or remove it by hand", c.State, stateFile)
}

// readKernelSettings notes the values that the kubelets are going to change.
func readKernelSettings() map[string]string {
	values := map[string]string{}
	for _, name := range kernelSettings {
		if content, err := os.ReadFile("/proc/sys/" + name); err == nil {
			values[name] = strings.TrimSpace(string(content))
		}
	}
	return values
}

// restoreKernelSettings puts them back.
func restoreKernelSettings(values map[string]string) error {
	var problems []error
	for _, name := range kernelSettings {
		value, known := values[name]
		current, err := os.ReadFile("/proc/sys/" + name)
		if !known || err != nil || strings.TrimSpace(string(current)) == value {
			continue
		}
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			problems = append(problems, fmt.Errorf("setting the kernel's %s back to %s: %w", name, value, err))
		}
	}
	return errors.Join(problems...)
}
