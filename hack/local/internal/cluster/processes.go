//go:build linux

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/netns"
)

// stateVariable marks every process of the cluster in its environment. It is how processes are found whose
// record is missing, such as the shims that containerd starts.
const stateVariable = "ETCD_OPERATOR_LOCAL_STATE"

// nodeVariable tells in the same way which node a process belongs to.
const nodeVariable = "ETCD_OPERATOR_LOCAL_NODE"

// process describes a long-running program of the cluster.
type process struct {
	// Name is unique: it names the record and the log file.
	Name string `json:"name"`
	// Node is the node that the process belongs to; empty for the control plane.
	Node string `json:"node,omitempty"`
	// Namespace is the network namespace it runs in; empty for that of the host.
	Namespace string `json:"namespace,omitempty"`
	// Listen are addresses of the host that are opened for the process and handed to it.
	Listen []string `json:"listen,omitempty"`
	// Order says what is started before what when a stopped part is started again.
	Order int `json:"order"`
	// Arguments begin with the program's path.
	Arguments []string `json:"arguments"`
}

// record is a process that was started. The start time and the boot tell it from a later process that was
// given the same number.
type record struct {
	process
	PID        int    `json:"pid"`
	StartTicks uint64 `json:"startTicks"`
	Boot       string `json:"boot"`
	// Started is the same moment on the clock of the wall, to compare with what Kubernetes notes.
	Started time.Time `json:"started"`
}

// start starts a process that outlives this program, and records it.
func (c *Cluster) start(p process) error {
	output, err := os.OpenFile(c.logFile(p.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.Name, err)
	}
	defer func() { _ = output.Close() }()
	command := exec.CommandContext(context.Background(), p.Arguments[0], p.Arguments[1:]...)
	command.Dir = "/"
	command.Stdout, command.Stderr = output, output
	// A fixed environment: a proxy variable of the caller, for one, would break the programs' connections.
	command.Env = []string{
		"PATH=" + toolPath, "HOME=/root", stateVariable + "=" + c.State, nodeVariable + "=" + p.Node,
	}
	// A session of its own keeps the terminal's interrupt away.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	defer func() {
		for _, listener := range command.ExtraFiles {
			_ = listener.Close()
		}
	}()
	for _, address := range p.Listen {
		listener, err := listen(address)
		if err != nil {
			return err
		}
		command.ExtraFiles = append(command.ExtraFiles, listener)
	}
	if err := netns.Do(p.Namespace, command.Start); err != nil {
		return fmt.Errorf("starting %s (%s): %w", p.Name, p.Arguments[0], err)
	}
	started := record{process: p, PID: command.Process.Pid, Boot: bootID(), Started: time.Now()}
	if started.StartTicks, _, err = processStat(started.PID); err != nil {
		return fmt.Errorf("%s ended at once: read %s", p.Name, c.logFile(p.Name))
	}
	// Collects the process if it ends while this program runs, so that it is not taken for alive.
	go func() { _ = command.Wait() }()
	return c.save(started)
}

// listen opens a port of the host.
func listen(address string) (*os.File, error) {
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reading the address %q: %w", address, err)
	}
	listener, err := net.ListenTCP("tcp", resolved)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w: end the process that uses this port (ss -ltnp shows it)", address, err)
	}
	// The file is a descriptor of its own.
	defer func() { _ = listener.Close() }()
	return listener.File()
}

func (c *Cluster) save(r record) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = writeFile(c.path("processes", r.Name+".json"), content, 0o644)
	}
	if err != nil {
		return fmt.Errorf("recording process %s (pid %d): %w", r.Name, r.PID, err)
	}
	return nil
}

// records returns what was started, in starting order. A record that cannot be read is left out: the search
// by environment finds its process.
func (c *Cluster) records() []record {
	files, _ := filepath.Glob(c.path("processes", "*.json"))
	var records []record
	for _, file := range files {
		var r record
		content, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(content, &r) != nil || len(r.Arguments) == 0 {
			continue
		}
		records = append(records, r)
	}
	slices.SortStableFunc(records, func(a, b record) int { return a.Order - b.Order })
	return records
}

// alive says whether exactly the recorded process runs.
func (r record) alive() bool {
	ticks, state, err := processStat(r.PID)
	return err == nil && r.PID > 0 && ticks == r.StartTicks && state != 'Z' && r.Boot == bootID()
}

// diedError tells where to read why a process ended.
func (c *Cluster) diedError(r record) error {
	file := c.logFile(r.Name)
	return &fatalError{fmt.Errorf("%s (pid %d) ended: read %s, which ends with:\n%s", r.Name, r.PID, file, lastLines(file, 5))}
}

// checkAlive fails when one of the recorded processes has ended.
func (c *Cluster) checkAlive() error {
	for _, r := range c.records() {
		if !r.alive() {
			return c.diedError(r)
		}
	}
	return nil
}

// processStat returns the start time, in clock ticks since boot, and the state of a process.
func processStat(pid int) (startTicks uint64, state byte, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	return parseStat(string(content))
}

func parseStat(stat string) (startTicks uint64, state byte, err error) {
	// The second field is the name, in parentheses; it may itself hold spaces and parentheses.
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, 0, fmt.Errorf("process status %q has no name", stat)
	}
	fields := strings.Fields(stat[end+1:])
	// Counted from the third field, the start time is the twentieth.
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("process status %q is too short", stat)
	}
	startTicks, err = strconv.ParseUint(fields[19], 10, 64)
	return startTicks, fields[0][0], err
}

func bootID() string {
	content, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(content))
}

// kill ends a process if it still is the one that started at the given time.
func kill(pid int, startTicks uint64) {
	// The handle is taken before the check: from then on the number cannot come to mean another process.
	handle, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	defer func() { _ = handle.Release() }()
	if ticks, _, err := processStat(pid); err == nil && ticks == startTicks {
		_ = handle.Signal(syscall.SIGKILL)
	}
}

// killAll ends all processes that find returns, and waits until it returns none.
func killAll(find func() []int) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		found := find()
		if len(found) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end although they were killed: see /proc/PID/stack for what holds them", found)
		}
		for _, pid := range found {
			ticks, _, err := processStat(pid)
			// Looked up once more after its start time was read: still ours means that time is ours.
			if err == nil && slices.Contains(find(), pid) {
				kill(pid, ticks)
			}
		}
		<-time.After(10 * time.Millisecond)
	}
}

// lastLines returns the end of a file, for error messages.
func lastLines(file string, count int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return "  (no log: " + err.Error() + ")"
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-count):], "\n  ")
}

// writeFile writes a whole file or none, making its directory if needed.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary := path + ".new"
	return errors.Join(os.WriteFile(temporary, content, mode), os.Rename(temporary, path))
}
