//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// lockFile is outside the state directory, which comes and goes. It holds the path of that directory, because
// a machine has room for one local cluster: its namespaces and ports have fixed names.
const lockFile = "/run/etcd-operator-local.lock"

// lock keeps other local-cluster commands that change something away, until the returned function is called
// or this program ends.
func (c *Cluster) lock(ctx context.Context) (unlock func(), err error) {
	file, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	said := false
	err = waitFor(ctx, "the lock "+lockFile, 3*time.Minute, func(context.Context) error {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) && !said {
			said = true
			c.say("another local-cluster command is at work; waiting for it")
		}
		return err
	})
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil
}

// claimMachine fails while a cluster with another state directory is on this machine.
func (c *Cluster) claimMachine() error {
	content, _ := os.ReadFile(lockFile)
	other := strings.TrimSpace(string(content))
	if other != "" && other != c.State && exists(other) {
		return fmt.Errorf("a local cluster with the state directory %s is on this machine, which has room "+
			"for one: use it with --state %s, or end it with: local-cluster down --state %s", other, other, other)
	}
	if err := os.WriteFile(lockFile, []byte(c.State+"\n"), 0o600); err != nil {
		return fmt.Errorf("noting the state directory in the lock file: %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
