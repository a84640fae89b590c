package act

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// ApplyMirror has the mirror of a cluster run as it is to. The live Deployment is nil if there is none; one that is right already is
// left alone.
func (a *Actor) ApplyMirror(ctx context.Context, c render.Cluster, agents render.Agents, live *appsv1.Deployment) error {
	wanted, err := c.Mirror(agents)
	if err != nil {
		return err
	}
	return a.applyFollower(ctx, c, wanted, live)
}

// StartCutOver starts the agent that waits until a cluster has all that its source has.
func (a *Actor) StartCutOver(ctx context.Context, c render.Cluster, agents render.Agents) error {
	return a.startAgent(ctx, c.CutOver(agents))
}

// RemoveCutOver removes that agent if it has ended for some time.
func (a *Actor) RemoveCutOver(ctx context.Context, c render.Cluster, agent observe.CutOver, rest time.Duration) error {
	if time.Since(agent.EndedAt) < rest {
		return nil
	}
	return a.removeAgent(ctx, c.Namespace, render.CutOverName(c.Name), agent.UID)
}

// EndMirror takes the note away by which a cluster mirrors, unless it has changed since it was read.
func (a *Actor) EndMirror(ctx context.Context, c render.Cluster) error {
	before := c.DeepCopy()
	delete(c.Annotations, render.AnnotationMirrors)
	err := a.Client.Patch(ctx, c.EtcdCluster, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(render.FieldManager))
	if err != nil {
		return fmt.Errorf("noting on EtcdCluster %s/%s that it no longer mirrors: %w", c.Namespace, c.Name, err)
	}
	return nil
}
