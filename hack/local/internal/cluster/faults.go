//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// faultAction does something to one node while no other command works on the cluster.
func (c *Cluster) faultAction(ctx context.Context, name string, action func(node) error) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.useState(); err != nil {
		return err
	}
	n, err := c.node(name)
	if err != nil {
		return err
	}
	return action(n)
}

// StopNode makes a node stop as if its machine had lost power: its peers get no answer from one moment to the
// next, nothing on it ends in order, and what it held in memory is gone. Its images and volumes stay.
func (c *Cluster) StopNode(ctx context.Context, name string) error {
	return c.faultAction(ctx, name, func(n node) error {
		return c.part("stop "+name, func() error {
			// The cable first: no process gets to tell its peers that it ends.
			if err := setLink(n, "down"); err != nil {
				return err
			}
			if err := killAll(func() []int { return c.ours(n.name) }); err != nil {
				return err
			}
			if err := errors.Join(unmountBelow(c.nodePath(n)), removeCgroups(n.name)); err != nil {
				return err
			}
			if err := os.RemoveAll(c.nodePath(n, "run")); err != nil {
				return fmt.Errorf("emptying the run folder of %s: %w", n.name, err)
			}
			// With these, its network plugins would try to undo what is no longer there.
			return removeNetworkResults(c.nodePath(n))
		})
	})
}

// StartNode starts a node that was stopped, and connects it.
func (c *Cluster) StartNode(ctx context.Context, name string) error {
	return c.faultAction(ctx, name, func(n node) error {
		return c.part("start "+name, func() error {
			if err := errors.Join(makeCgroup(n), c.makeNodeFolders(n), setLink(n, "up")); err != nil {
				return err
			}
			return c.startEnded(ctx, func(r record) bool { return r.Node == n.name })
		})
	})
}

// DisconnectNode unplugs a node's network cable; its pods go on running.
func (c *Cluster) DisconnectNode(ctx context.Context, name string) error {
	return c.faultAction(ctx, name, func(n node) error {
		return c.part("disconnect "+name, func() error { return setLink(n, "down") })
	})
}

// ConnectNode plugs it in again.
func (c *Cluster) ConnectNode(ctx context.Context, name string) error {
	return c.faultAction(ctx, name, func(n node) error {
		return c.part("connect "+name, func() error { return setLink(n, "up") })
	})
}
