package act

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// ApplyArchiver has the archiver of a cluster run as it is to. The live Deployment is nil if there is none; one that is right already
// is left alone.
func (a *Actor) ApplyArchiver(ctx context.Context, c render.Cluster, agents render.Agents, live *appsv1.Deployment) error {
	wanted, err := c.Archiver(agents)
	if err != nil {
		return err
	}
	return a.applyFollower(ctx, c, wanted, live)
}

func (a *Actor) applyFollower(ctx context.Context, c render.Cluster, wanted, live *appsv1.Deployment) error {
	if live != nil {
		applied, err := render.Applied(wanted)
		if err != nil {
			return err
		}
		if holds, err := render.Holds(live, applied); holds || err != nil {
			return err
		}
	}
	return a.apply(ctx, c, wanted)
}

// RemoveFollower ends an agent that follows a cluster. An archiver stores what it still has.
func (a *Actor) RemoveFollower(ctx context.Context, live *appsv1.Deployment) error {
	// In the foreground it goes after its pods.
	return a.deleteExactly(ctx, "Deployment", live, live.UID, client.PropagationPolicy(metav1.DeletePropagationForeground))
}
