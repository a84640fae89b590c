package environment

import (
	"context"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// startProbes begins to probe a running container. The returned function ends the probes and waits for them.
func (c *containerRun) startProbes(process Running) (end func()) {
	ctx, cancel := context.WithCancel(c.worker.context)
	started := time.Now()
	address := c.worker.network.address
	var probes sync.WaitGroup
	afterStartup := func() {
		if readiness := newProber(c.spec.ReadinessProbe, address, c.spec.Ports); readiness != nil {
			probes.Go(func() { readiness.run(ctx, started, true, c.setReady) })
		}
		if liveness := newProber(c.spec.LivenessProbe, address, c.spec.Ports); liveness != nil {
			probes.Go(func() {
				liveness.run(ctx, started, false, func(healthy bool, cause error) {
					if !healthy {
						c.endUnhealthy(ctx, process, c.spec.LivenessProbe, cause)
					}
				})
			})
		}
	}
	if startup := newProber(c.spec.StartupProbe, address, c.spec.Ports); startup != nil {
		probes.Go(func() {
			startupContext, passed := context.WithCancel(ctx)
			startup.run(startupContext, started, true, func(healthy bool, cause error) {
				if !healthy {
					c.endUnhealthy(ctx, process, c.spec.StartupProbe, cause)
					return
				}
				c.change(func() {
					c.status.Started, c.status.Ready = ptr.To(true), c.spec.ReadinessProbe == nil
				})
				passed()
			})
			passed()
			if ctx.Err() == nil {
				afterStartup()
			}
		})
	} else {
		afterStartup()
	}
	return func() {
		cancel()
		probes.Wait()
	}
}

// setReady reports the verdict of the readiness probe.
func (c *containerRun) setReady(ready bool, _ error) {
	c.change(func() { c.status.Ready = ready })
}

// endUnhealthy ends a container whose liveness or startup probe failed; its restart follows as after any exit.
func (c *containerRun) endUnhealthy(ctx context.Context, process Running, probe *corev1.Probe, cause error) {
	if c.ending() {
		return
	}
	c.worker.report(cause)
	grace := ptr.Deref(c.worker.pod.Spec.TerminationGracePeriodSeconds, 30)
	grace = ptr.Deref(probe.TerminationGracePeriodSeconds, grace)
	c.signal(process, syscall.SIGTERM)
	timer := time.NewTimer(time.Duration(grace) * time.Second)
	defer timer.Stop()
	select {
	case <-process.Done():
	case <-ctx.Done():
	case <-timer.C:
		c.signal(process, syscall.SIGKILL)
	}
}
