package act

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// DoRestore carries out the actions of a decision about an EtcdRestore, in their order, until one fails.
func (a *Actor) DoRestore(ctx context.Context, o observe.ObservedRestore, actions []restores.Action) error {
	for _, action := range actions {
		if err := a.doRestore(ctx, o, action); err != nil {
			return &StepError{Step: fmt.Sprintf("%T", action)[len("restores."):], Err: err}
		}
	}
	return nil
}

func (a *Actor) doRestore(ctx context.Context, o observe.ObservedRestore, action restores.Action) error {
	if touches(action) {
		if err := a.stands(ctx, o); err != nil {
			return err
		}
	}
	switch step := action.(type) {
	case restores.Keep:
		return a.setFinalizer(ctx, o.Render.EtcdRestore, true)
	case restores.Release:
		return a.setFinalizer(ctx, o.Render.EtcdRestore, false)
	case restores.BackUp:
		return a.makeSafetyBackup(ctx, o)
	case restores.Hold:
		return a.noteOnCluster(ctx, o, func(notes map[string]string) error {
			notes[render.AnnotationRestore] = o.Render.Name
			return o.Render.RestsOn().Note(notes)
		})
	case restores.Settle:
		return a.noteOnCluster(ctx, o, func(notes map[string]string) error {
			delete(notes, render.AnnotationRestoreRestsOn)
			return nil
		})
	case restores.LetGo:
		return a.noteOnCluster(ctx, o, func(notes map[string]string) error {
			notes[render.AnnotationRestoredClusterID] = step.ClusterID
			if notes[render.AnnotationRestore] == o.Render.Name {
				delete(notes, render.AnnotationRestore)
			}
			if step.Rests {
				return o.Render.RestsOn().Note(notes)
			}
			delete(notes, render.AnnotationRestoreRestsOn)
			return nil
		})
	case restores.MakeClaims:
		return a.makeClaims(ctx, o, step.Member)
	case restores.MarkClaims:
		return a.markRestored(ctx, o, step)
	case restores.StartAgent:
		return a.startRestoreAgent(ctx, o, step)
	case restores.RemoveAgent:
		return a.removeAgent(ctx, o.Render.Namespace, restores.JobName(o.Render.Name, step.AgentKey), o.Jobs[step.AgentKey])
	}
	return fmt.Errorf("no way is known to carry out %T", action)
}

// touches is whether a step is about the cluster or its volumes. One that comes late, as that of an operator which was paused right before
// it, could undo what was decided since: the cluster may be as it was, and the restore be rolled back.
func touches(action restores.Action) bool {
	switch action.(type) {
	case restores.Hold, restores.LetGo, restores.Settle, restores.MakeClaims, restores.MarkClaims, restores.StartAgent:
		return true
	}
	return false
}

// stands is whether the EtcdRestore is the one that was decided about, and nothing was decided about it since.
func (a *Actor) stands(ctx context.Context, o observe.ObservedRestore) error {
	live := &v1alpha1.EtcdRestore{}
	if err := a.Live.Get(ctx, client.ObjectKeyFromObject(o.Render.EtcdRestore), live); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading EtcdRestore %s/%s: %w", o.Render.Namespace, o.Render.Name, err)
	}
	if live.UID != o.Render.UID || live.ResourceVersion != o.Render.ResourceVersion {
		return &StaleError{What: fmt.Sprintf("EtcdRestore %s has changed, or is gone", o.Render.Name)}
	}
	return nil
}

// noteOnCluster changes the annotations of the EtcdCluster, unless it has changed since it was observed.
func (a *Actor) noteOnCluster(ctx context.Context, o observe.ObservedRestore, change func(map[string]string) error) error {
	cluster := o.Render.Cluster.DeepCopy()
	before := cluster.DeepCopy()
	if cluster.Annotations == nil {
		cluster.Annotations = map[string]string{}
	}
	if err := change(cluster.Annotations); err != nil {
		return fmt.Errorf("noting on EtcdCluster %s/%s what a restore rests on: %w", cluster.Namespace, cluster.Name, err)
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := a.Client.Patch(ctx, cluster, patch, client.FieldOwner(render.FieldManager)); err != nil {
		return fmt.Errorf("noting on EtcdCluster %s/%s that it is restored: %w", cluster.Namespace, cluster.Name, err)
	}
	return nil
}

// makeSafetyBackup makes the EtcdBackup. It is nobody's: it outlives the restore, and its data outlives it.
func (a *Actor) makeSafetyBackup(ctx context.Context, o observe.ObservedRestore) error {
	backup := &v1alpha1.EtcdBackup{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.Render.Namespace, Name: o.Render.SafetyBackup(),
			Annotations: map[string]string{render.AnnotationSafetyFor: string(o.Render.UID)},
		},
		Spec: v1alpha1.EtcdBackupSpec{ClusterRef: o.Render.Spec.ClusterRef, DeletionPolicy: v1alpha1.BackupRetain, Verification: v1alpha1.VerifyNever, Agent: o.Render.Spec.Agent},
	}
	if o.Render.Cluster.Spec.Backup == nil {
		// To where the restored one is.
		backup.Spec.Store, backup.Spec.Encryption = o.Render.Backup.Store(), o.Render.Backup.Status.Encryption
	}
	err := a.Client.Create(ctx, backup, client.FieldOwner(render.FieldManager))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making EtcdBackup %s/%s: %w", backup.Namespace, backup.Name, err)
	}
	return nil
}

// makeClaims makes the claims of a member that there are not.
func (a *Actor) makeClaims(ctx context.Context, o observe.ObservedRestore, member string) error {
	for _, claim := range o.Render.Claims(member) {
		if err := a.Client.Create(ctx, &claim, client.FieldOwner(render.FieldManager)); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("making claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
	}
	return nil
}

// markRestored notes on a member's claims whose data they hold.
func (a *Actor) markRestored(ctx context.Context, o observe.ObservedRestore, step restores.MarkClaims) error {
	for _, volume := range []string{render.DataVolume, render.WALVolume} {
		claim := &corev1.PersistentVolumeClaim{}
		name := client.ObjectKey{Namespace: o.Render.Namespace, Name: render.ClaimName(volume, step.Member)}
		if err := a.Live.Get(ctx, name, claim); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return fmt.Errorf("reading claim %s: %w", name, err)
		}
		before := claim.DeepCopy()
		o.Render.Mark(claim, step.ClusterID)
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := a.Client.Patch(ctx, claim, patch, client.FieldOwner(render.FieldManager)); err != nil {
			return fmt.Errorf("noting on claim %s whose data it holds: %w", name, err)
		}
	}
	return nil
}

// startRestoreAgent makes a Job, unless the cluster is no longer its own to work on: no agent may touch the volume of a member that may
// run.
func (a *Actor) startRestoreAgent(ctx context.Context, o observe.ObservedRestore, step restores.StartAgent) error {
	cluster := render.Cluster{EtcdCluster: &v1alpha1.EtcdCluster{}}
	if err := a.Live.Get(ctx, client.ObjectKeyFromObject(o.Render.Cluster.EtcdCluster), cluster.EtcdCluster); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading EtcdCluster %s/%s: %w", o.Render.Namespace, o.Render.Cluster.Name, err)
	}
	moves := step.Kind == restores.Fill || step.Kind == restores.RollBack
	switch {
	case cluster.UID != o.Render.Cluster.UID:
		return &StaleError{What: fmt.Sprintf("EtcdCluster %s is another one", o.Render.Cluster.Name)}
	case moves && !cluster.Begins() && cluster.HeldBy() != o.Render.Name:
		return &StaleError{What: fmt.Sprintf("EtcdCluster %s is not held by this restore", cluster.Name)}
	}
	return a.startAgent(ctx, o.Render.Agent(step.AgentKey, step.Member))
}
