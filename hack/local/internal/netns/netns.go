//go:build linux

// Package netns runs code inside a named network namespace.
package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is where `ip netns` keeps its named namespaces.
const Dir = "/run/netns"

// Do runs work on an operating system thread which is inside the named network namespace. An empty name
// means the namespace of the caller. Work must not start goroutines that open sockets: they would run on
// other threads.
func Do(name string, work func() error) error {
	if name == "" {
		return work()
	}
	result := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with this goroutine, so no other code ever runs on a
		// thread that was left in the wrong namespace.
		runtime.LockOSThread()
		if err := Enter(name); err != nil {
			result <- err
			return
		}
		result <- work()
	}()
	return <-result
}

// Enter moves the calling thread into the named network namespace. The caller has locked its thread.
func Enter(name string) error {
	path := filepath.Join(Dir, name)
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening network namespace %q: %w (is the local cluster up?)", name, err)
	}
	defer func() { _ = file.Close() }()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering network namespace %q (%s): %w", name, path, err)
	}
	return nil
}

// Dial connects to an address (with a literal IP) from inside the named namespace.
func Dial(ctx context.Context, name, network, address string) (net.Conn, error) {
	var connection net.Conn
	err := Do(name, func() error {
		dialer := net.Dialer{Timeout: 5 * time.Second}
		var err error
		connection, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return connection, err
}
