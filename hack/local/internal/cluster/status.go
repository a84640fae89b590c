//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"
)

// errNotHealthy makes `status` end with a failure, for scripts.
var errNotHealthy = errors.New("the local cluster is not healthy: local-cluster up starts what has ended")

// runs says whether a process is alive.
func (c *Cluster) runs(name string) bool {
	for _, r := range c.records() {
		if r.Name == name {
			return r.alive()
		}
	}
	return false
}

// Status prints what runs.
func (c *Cluster) Status(ctx context.Context) error {
	if err := c.useState(); err != nil {
		return err
	}
	healthy := true
	table := tabwriter.NewWriter(c.Output, 0, 0, 2, ' ', 0)
	for _, r := range c.records() {
		state := "runs"
		if !r.alive() {
			state, healthy = "has ended", false
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\tpid %d\t%s\n", r.Name, state, r.PID, c.logFile(r.Name))
	}
	_ = table.Flush()
	client, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.checkNodes(ctx, client); err != nil {
		c.say("nodes: %v", err)
		healthy = false
	} else {
		c.say("all %d nodes are ready", c.Nodes)
	}
	c.say("kubeconfig %s; API server https://%s; SOCKS5 proxy to pods and Services %s", c.Kubeconfig(), hostAPIServerAddress, hostSocksAddress)
	if !healthy {
		return errNotHealthy
	}
	return nil
}
