package act

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// DoBackup carries out the actions of a decision about an EtcdBackup, in their order, until one fails.
func (a *Actor) DoBackup(ctx context.Context, o observe.ObservedBackup, actions []backups.Action) error {
	for _, action := range actions {
		var err error
		switch step := action.(type) {
		case backups.Hold:
			err = a.setFinalizer(ctx, o.Render.EtcdBackup, true)
		case backups.Release:
			err = a.setFinalizer(ctx, o.Render.EtcdBackup, false)
		case backups.StartAgent:
			err = a.startBackupAgent(ctx, o, step.Kind)
		case backups.RemoveAgent:
			err = a.removeAgent(ctx, o.Render.Namespace, backups.JobName(o.Render.Name, step.Kind), o.Jobs[step.Kind])
		default:
			err = fmt.Errorf("no way is known to carry out %T", action)
		}
		if err != nil {
			return &StepError{Step: fmt.Sprintf("%T", action)[len("backups."):], Err: err}
		}
	}
	return nil
}

// setFinalizer adds or removes ours, unless the object has changed.
func (a *Actor) setFinalizer(ctx context.Context, object client.Object, wanted bool) error {
	before, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%T is no object", object)
	}
	changed := controllerutil.AddFinalizer
	if !wanted {
		changed = controllerutil.RemoveFinalizer
	}
	if !changed(object, render.Finalizer) {
		return nil
	}
	return a.Client.Patch(ctx, object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(render.FieldManager))
}

// startBackupAgent makes a Job, unless the EtcdBackup is gone, or going: then only its data may be removed.
func (a *Actor) startBackupAgent(ctx context.Context, o observe.ObservedBackup, kind backups.Kind) error {
	live := &v1alpha1.EtcdBackup{}
	if err := a.Live.Get(ctx, client.ObjectKeyFromObject(o.Render.EtcdBackup), live); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading EtcdBackup %s/%s: %w", o.Render.Namespace, o.Render.Name, err)
	}
	if live.UID != o.Render.UID || (live.DeletionTimestamp != nil) != (kind == backups.Delete) {
		return &StaleError{What: fmt.Sprintf("EtcdBackup %s is gone, or is being deleted", o.Render.Name)}
	}
	return a.startAgent(ctx, o.Render.Agent(kind))
}

// startAgent makes the Job of an agent.
func (a *Actor) startAgent(ctx context.Context, agent render.Agent) error {
	job, err := agent.Job()
	if err != nil {
		return err
	}
	err = a.Client.Create(ctx, job, client.FieldOwner(render.FieldManager))
	if apierrors.IsAlreadyExists(err) {
		return &StaleError{What: fmt.Sprintf("Job %s is there already", agent.Name)}
	}
	if err != nil {
		return fmt.Errorf("making Job %s/%s: %w", agent.Namespace, agent.Name, err)
	}
	return nil
}

// removeAgent deletes a Job, and its pods with it.
func (a *Actor) removeAgent(ctx context.Context, namespace, name string, uid types.UID) error {
	if uid == "" {
		return nil
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	// In the foreground the Job goes after its pods, so that what has no Job has no pods either.
	return a.deleteExactly(ctx, "Job", job, uid, client.PropagationPolicy(metav1.DeletePropagationForeground))
}
