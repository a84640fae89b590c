//go:build linux

package cluster

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func testCluster(t *testing.T) *Cluster {
	t.Helper()
	return &Cluster{State: t.TempDir(), Bin: "/bin", Nodes: 3, Output: io.Discard}
}

func TestParseStat(t *testing.T) {
	line := "42 (a (strange) name) S 1 42 42 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 9 0 98765 1000 200\n"
	ticks, state, err := parseStat(line)
	if err != nil || ticks != 98765 || state != 'S' {
		t.Errorf("parseStat(%q) = %d, %c, %v; want 98765, S, no error", line, ticks, state, err)
	}
	for _, broken := range []string{"", "42 (name", "42 (name) S 1 2"} {
		if _, _, err := parseStat(broken); err == nil {
			t.Errorf("parseStat(%q) gives no error", broken)
		}
	}
}

func TestParseMounts(t *testing.T) {
	table := "36 35 98:0 / /state/a\\040b rw,noatime shared:1 - tmpfs none rw\nbroken\n37 35 0:3 / /sys/fs/cgroup rw - cgroup2 none rw\n"
	want := []mount{{"/state/a b", "tmpfs"}, {"/sys/fs/cgroup", "cgroup2"}}
	if got := parseMounts(table); !slices.Equal(got, want) {
		t.Errorf("parseMounts gives %v, want %v", got, want)
	}
}

// A number that was given to another process must never be taken for ours.
func TestRecycledProcessNumberIsNotKilled(t *testing.T) {
	command := exec.Command("sleep", "60")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	ticks, _, err := processStat(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ours := record{PID: command.Process.Pid, StartTicks: ticks, Boot: bootID()}
	if !ours.alive() {
		t.Error("a living process is taken for ended")
	}
	for name, change := range map[string]func(*record){
		"start time": func(r *record) { r.StartTicks++ },
		"boot":       func(r *record) { r.Boot = "another" },
	} {
		other := ours
		if change(&other); other.alive() {
			t.Errorf("a process with another %s is taken for ours", name)
		}
	}
	kill(ours.PID, ticks+1)
	select {
	case <-ended:
		t.Fatal("a process with another start time was killed")
	case <-time.After(50 * time.Millisecond):
	}
	kill(ours.PID, ticks)
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the process was not killed")
	}
}

func TestNodeFilesAreComplete(t *testing.T) {
	c := testCluster(t)
	for _, n := range c.nodes() {
		if err := c.writeNodeFiles(n); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"containerd.toml", "kubelet.yaml", "cni/10-pods.conflist"} {
			content, err := os.ReadFile(c.nodePath(n, name))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(content), "{{") {
				t.Errorf("%s of %s has a part that was not filled in:\n%s", name, n.name, content)
			}
		}
	}
}

func TestStateDirectoryOfOthersIsRefused(t *testing.T) {
	c := testCluster(t)
	if err := c.checkStateDirectory(); err != nil {
		t.Errorf("an empty directory is refused: %v", err)
	}
	if err := os.WriteFile(filepath.Join(c.State, "thesis.tex"), []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.checkStateDirectory(); err == nil {
		t.Error("a directory with somebody's files would be removed")
	}
	if err := c.store(state{Nodes: 3}); err != nil {
		t.Fatal(err)
	}
	if err := c.checkStateDirectory(); err != nil {
		t.Errorf("the state of a cluster is refused: %v", err)
	}
	for _, path := range []string{"/", "/var", "relative/path"} {
		if err := (&Cluster{State: path}).checkStateDirectory(); err == nil {
			t.Errorf("the path %q is accepted", path)
		}
	}
}

func TestWaitForEndsEarlyAndNamesTheCause(t *testing.T) {
	cause := errors.New("not yet")
	err := waitFor(t.Context(), "a thing", 60*time.Millisecond, func(context.Context) error { return cause })
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "a thing") {
		t.Errorf("a wait that runs out gives %v", err)
	}
	tries := 0
	err = waitFor(t.Context(), "a thing", time.Minute, func(context.Context) error {
		tries++
		return errors.Join(nil, &fatalError{cause})
	})
	if !errors.Is(err, cause) || tries != 1 {
		t.Errorf("a hopeless wait gives %v after %d tries; want one", err, tries)
	}
}
