//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"
)

// Limits of the waits. They are far above what a slow machine needs.
const (
	apiServerLimit = 90 * time.Second
	nodesLimit     = 90 * time.Second
	servicesLimit  = 60 * time.Second
)

// Up starts the cluster, or makes sure that the one that is there works. Wanted is the number of nodes; zero
// leaves it to what is there, or to the default.
func (c *Cluster) Up(ctx context.Context, wanted int) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := errors.Join(c.checkStateDirectory(), c.claimMachine()); err != nil {
		return err
	}
	started := time.Now()
	known, found := c.load()
	if found && known.Complete && wanted != 0 && wanted != known.Nodes && known.Boot == bootID() {
		return fmt.Errorf("a cluster with %d nodes is up, and %d were asked for: end it first with local-cluster down", known.Nodes, wanted)
	}
	if found && c.usable(known) {
		err := c.resume(ctx, known)
		if err == nil {
			c.say("Kubernetes is up and was reused (%.1f s); kubeconfig: %s", time.Since(started).Seconds(), c.Kubeconfig())
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		c.say("what is left of the cluster does not work, so it is started anew: %v", err)
	}
	if c.Nodes = wanted; wanted == 0 {
		c.Nodes = 3
	}
	if err := c.checkPrograms(); err != nil {
		return err
	}
	if exists(c.State) || len(namespaces()) > 0 {
		if err := c.part("remove what an earlier cluster left", c.remove); err != nil {
			return err
		}
	}
	if err := c.create(ctx); err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	c.say("Kubernetes with %d nodes is up after %.1f s; kubeconfig: %s", c.Nodes, time.Since(started).Seconds(), c.Kubeconfig())
	return nil
}

// usable says whether a cluster is worth resuming: it was complete once, in this boot, and its network is
// still there.
func (c *Cluster) usable(known state) bool {
	if !known.Complete || known.Boot != bootID() {
		return false
	}
	existing := namespaces()
	c.Nodes = known.Nodes
	for _, n := range c.nodes() {
		if !slices.Contains(existing, n.namespace()) {
			return false
		}
	}
	return slices.Contains(existing, bridgeNamespace) && slices.Contains(existing, controlPlaneNamespace)
}

// resume starts what has ended, and waits until everything works again.
func (c *Cluster) resume(ctx context.Context, known state) error {
	c.Nodes, c.Bin = known.Nodes, known.Bin
	for _, n := range c.nodes() {
		if err := errors.Join(setLink(n, "up"), c.makeNodeFolders(n)); err != nil {
			return err
		}
	}
	if err := c.startEnded(ctx, func(record) bool { return true }); err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	if err := c.waitAPIServer(ctx, client, apiServerLimit); err != nil {
		return err
	}
	if err := c.waitNodes(ctx, client, nodesLimit); err != nil {
		return err
	}
	return c.waitServices(ctx, client, servicesLimit)
}

// startEnded starts the processes among the chosen ones that have ended, in order.
func (c *Cluster) startEnded(ctx context.Context, chosen func(record) bool) error {
	for _, r := range c.records() {
		if !chosen(r) || r.alive() {
			continue
		}
		c.say("starting %s again: it had ended", r.Name)
		if err := c.start(r.process); err != nil {
			return err
		}
		// The parts behind these two give up when they find nobody.
		if r.Order == orderAPIServer {
			client, err := c.client()
			if err != nil {
				return err
			}
			if err := waitFor(ctx, "the API server", apiServerLimit, func(ctx context.Context) error {
				return c.apiServerReady(ctx, client)
			}); err != nil {
				return err
			}
		}
		if r.Order == orderContainerd {
			if err := c.waitContainerd(ctx, r.Node); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Cluster) waitContainerd(ctx context.Context, name string) error {
	n, err := c.node(name)
	if err != nil {
		return err
	}
	return waitFor(ctx, "containerd of "+name, 30*time.Second, func(ctx context.Context) error {
		if !exists(c.containerdSocket(n)) {
			return fmt.Errorf("%s is missing: read %s", c.containerdSocket(n), c.logFile(name+"-containerd"))
		}
		_, err := c.ctr(ctx, n, "version")
		return err
	})
}

// create starts a cluster from nothing.
func (c *Cluster) create(ctx context.Context) error {
	known := state{Nodes: c.Nodes, Bin: c.Bin, Boot: bootID(), KernelSettings: readKernelSettings()}
	// Written before anything else is made, so that `down` knows what it removes.
	if err := c.store(known); err != nil {
		return err
	}
	for _, folder := range []string{"logs", "processes"} {
		if err := os.MkdirAll(c.path(folder), 0o755); err != nil {
			return fmt.Errorf("making the state directory: %w", err)
		}
	}
	if err := c.part("network, certificates and configuration", func() error {
		return together(c.startNetwork, c.writeConfiguration)
	}); err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	if err := together(
		func() error {
			return c.part("etcd and API server", func() error { return c.startAPIServer(ctx, client) })
		},
		func() error {
			return c.part("containerd and the pause image on all nodes", func() error { return c.startRuntimes(ctx) })
		},
	); err != nil {
		return err
	}
	if err := c.part("controllers, CoreDNS, provisioner and kubelets", func() error { return c.startRest(ctx, client) }); err != nil {
		return err
	}
	if err := c.part("all nodes ready", func() error { return c.waitNodes(ctx, client, nodesLimit) }); err != nil {
		return err
	}
	if err := c.part("DNS and Services work", func() error { return c.waitServices(ctx, client, servicesLimit) }); err != nil {
		return err
	}
	known.Complete = true
	return c.store(known)
}

func (c *Cluster) writeConfiguration() error {
	a, err := c.newAuthority()
	if err != nil {
		return err
	}
	err = errors.Join(c.writeServingCertificates(a), c.writeKubeconfigs(a), c.writeControlPlaneFiles())
	if err != nil {
		return err
	}
	for _, n := range c.nodes() {
		if err := errors.Join(c.writeNodeFiles(n), makeCgroup(n)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startAPIServer(ctx context.Context, client kubernetes.Interface) error {
	for _, p := range []process{c.hostProxy(), c.kubernetesEtcd(), c.apiServer()} {
		if err := c.start(p); err != nil {
			return err
		}
	}
	return c.waitAPIServer(ctx, client, apiServerLimit)
}

func (c *Cluster) startRuntimes(ctx context.Context) error {
	for _, n := range c.nodes() {
		if err := c.start(c.containerd(n)); err != nil {
			return err
		}
	}
	archive, err := c.makePauseImage()
	if err != nil {
		return err
	}
	return forEach(c.nodes(), func(n node) error {
		if err := c.waitContainerd(ctx, n.name); err != nil {
			return err
		}
		_, err := c.ctr(ctx, n, "images", "import", archive)
		return err
	})
}

// startRest starts everything that needs the API server.
func (c *Cluster) startRest(ctx context.Context, client kubernetes.Interface) error {
	processes := c.controllers()
	for _, n := range c.nodes() {
		processes = append(processes, c.kubelet(n))
	}
	for _, p := range processes {
		if err := c.start(p); err != nil {
			return err
		}
	}
	if err := applyObjects(ctx, client); err != nil {
		return err
	}
	// kube-proxy looks for its node when it starts and tries again only after a second or more.
	if err := c.waitRegistered(ctx, client); err != nil {
		return err
	}
	proxies := []process{c.kubeProxy(controlPlaneName, controlPlaneNamespace, c.nodes()[0].name)}
	for _, n := range c.nodes() {
		proxies = append(proxies, c.kubeProxy(n.name, n.namespace(), n.name))
	}
	for _, p := range proxies {
		if err := c.start(p); err != nil {
			return err
		}
	}
	return nil
}
