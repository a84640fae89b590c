package act

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/drills"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// BeginDrill makes the EtcdCluster of a drill. One that is there by now is left as it is.
func (a *Actor) BeginDrill(ctx context.Context, o observe.ObservedDrill, step drills.Begin) error {
	drill := o.Render.Drill(step.Scheduled, step.Backup, o.Volume)
	if err := a.Client.Create(ctx, drill, client.FieldOwner(render.FieldManager)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making EtcdCluster %s/%s: %w", drill.Namespace, drill.Name, err)
	}
	return nil
}

// EndDrill deletes the EtcdCluster of a drill. Its volume goes with it.
func (a *Actor) EndDrill(ctx context.Context, o observe.ObservedDrill) error {
	return a.deleteExactly(ctx, "EtcdCluster", o.Live, o.Live.UID)
}
