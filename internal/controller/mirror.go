package controller

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// conditionMirrored is whether a cluster that was to repeat what an etcd outside does has all of that, so that clients are let in.
const conditionMirrored = "Mirrored"

// Reasons of it.
const (
	reasonMirrorWaits   core.Reason = "WaitingForData"
	reasonMirrorFollows core.Reason = "Following"
	reasonMirrorLags    core.Reason = "NotFollowing"
	reasonCuttingOver   core.Reason = "CuttingOver"
	reasonCutOverFailed core.Reason = "CutOverFailed"
	reasonCutOver       core.Reason = "CutOver"
	// mirrorEnds is how often it is looked whether the mirror has ended.
	mirrorEnds         = 200 * time.Millisecond
	mirrorLooksAgain   = 5 * time.Second
	betweenCutOvers    = 30 * time.Second
	mirrorFieldManager = render.FieldManager + "-mirror"
)

// MirrorReconciler has a mirror run for each cluster that is to repeat what an etcd outside does, and ends it at the cut-over.
type MirrorReconciler struct {
	Client   client.Client
	Observer *observe.Observer
	Actor    *act.Actor
	Events   events.EventRecorder
	Agents   render.Agents
}

// Reconcile applies or removes the mirror of a cluster, once.
func (r *MirrorReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.EtcdCluster{}
	if err := r.Client.Get(ctx, request.NamespacedName, cluster); apierrors.IsNotFound(err) {
		metrics.Mirror(request.Namespace, request.Name, nil)
		return ctrl.Result{}, nil // The Deployment goes with its owner.
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading EtcdCluster %s: %w", request, err)
	}
	built := render.Cluster{EtcdCluster: cluster, Domain: r.Observer.Domain, Operator: r.Observer.Operator}
	mirror, err := ownDeployment(ctx, r.Client, cluster, render.MirrorName(cluster.Name))
	if err != nil {
		return ctrl.Result{}, err
	}
	cutOver, err := r.Observer.CutOver(ctx, built)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !built.Follows() {
		metrics.Mirror(request.Namespace, request.Name, nil)
		if err := r.remove(ctx, built, mirror, cutOver); err != nil || !built.Mirrors() || !cluster.DeletionTimestamp.IsZero() {
			return ctrl.Result{}, err
		}
		return r.say(ctx, built, reasonMirrorWaits, "the cluster has not got its first data yet, or is stopped", 0)
	}
	if cutOver.Done != nil && cluster.Spec.Bootstrap.Mirror == v1alpha1.MirrorCutOver {
		return r.end(ctx, built, mirror, *cutOver.Done)
	}
	if r.Agents.Image == "" {
		return r.say(ctx, built, reasonMirrorLags, "the operator does not know the image of its agents: start it with --agent-image", 0)
	}
	if err := r.Actor.ApplyMirror(ctx, built, r.Agents, mirror); err != nil {
		return passing(err)
	}
	follows := mirror != nil && mirror.Status.ReadyReplicas > 0
	metrics.Mirror(request.Namespace, request.Name, &follows)
	if cluster.Spec.Bootstrap.Mirror == v1alpha1.MirrorCutOver {
		return r.cutOver(ctx, built, follows, cutOver)
	}
	return r.follow(ctx, built, follows)
}

// follow tells whether the mirror keeps up.
func (r *MirrorReconciler) follow(ctx context.Context, built render.Cluster, follows bool) (ctrl.Result, error) {
	if follows {
		return r.say(ctx, built, reasonMirrorFollows, "all that spec.bootstrap.source does is repeated; to end that and let clients in, stop the clients of the source, and set spec.bootstrap.mirror to CutOver", 0)
	}
	problem, err := r.Observer.MirrorProblem(ctx, built)
	if err != nil {
		return ctrl.Result{}, err
	}
	message := fmt.Sprintf("the pod of Deployment %s does not keep up with spec.bootstrap.source", render.MirrorName(built.Name))
	if problem != "" {
		message += ": " + problem
	}
	return r.say(ctx, built, reasonMirrorLags, message, mirrorLooksAgain)
}

// cutOver ends mirroring as soon as all is there.
func (r *MirrorReconciler) cutOver(ctx context.Context, built render.Cluster, follows bool, agent observe.CutOver) (ctrl.Result, error) {
	switch {
	case agent.Foreign:
		return r.say(ctx, built, core.ReasonNameTaken, fmt.Sprintf("Job %s exists and is not this cluster's: delete it", render.CutOverName(built.Name)), mirrorLooksAgain)
	case agent.Leaving:
		return ctrl.Result{RequeueAfter: mirrorLooksAgain}, nil
	case agent.Ended:
		if err := r.Actor.RemoveCutOver(ctx, built, agent, betweenCutOvers); err != nil {
			return ctrl.Result{}, err
		}
		return r.say(ctx, built, reasonCutOverFailed, agent.Trouble+"; it is tried again", mirrorLooksAgain)
	case agent.Exists:
		message := "an agent is waiting until all is there that spec.bootstrap.source has"
		if agent.Trouble != "" {
			message += "; " + agent.Trouble
		}
		return r.say(ctx, built, reasonCuttingOver, message, mirrorLooksAgain)
	case !follows:
		return r.follow(ctx, built, false)
	}
	if err := r.Actor.StartCutOver(ctx, built, r.Agents); err != nil {
		return passing(err)
	}
	return r.say(ctx, built, reasonCuttingOver, "an agent is started to wait until all is there that spec.bootstrap.source has", mirrorLooksAgain)
}

// end lets clients in, once it is certain that the mirror will not write any more.
func (r *MirrorReconciler) end(ctx context.Context, built render.Cluster, mirror *appsv1.Deployment, has task.Content) (ctrl.Result, error) {
	if mirror != nil && mirror.DeletionTimestamp == nil {
		if err := r.Actor.RemoveFollower(ctx, mirror); err != nil {
			return ctrl.Result{}, err
		}
	}
	if runs, err := r.Observer.MirrorRuns(ctx, built); runs || err != nil {
		return ctrl.Result{RequeueAfter: mirrorEnds}, err
	}
	message := fmt.Sprintf("the cluster has all %d keys that spec.bootstrap.source had at revision %d, and they were compared: clients are let in", has.Keys, has.Revision)
	// What it means is told first: once the note is gone nobody comes back here.
	if result, err := r.say(ctx, built, reasonCutOver, message, 0); err != nil || result.RequeueAfter > 0 {
		return result, err
	}
	return ctrl.Result{}, r.Actor.EndMirror(ctx, built)
}

// say writes the condition, and tells people if its reason is new.
func (r *MirrorReconciler) say(ctx context.Context, built render.Cluster, reason core.Reason, message string, again time.Duration) (ctrl.Result, error) {
	status := metav1.ConditionFalse
	if reason == reasonCutOver {
		status = metav1.ConditionTrue
	}
	before, err := applyCondition(ctx, mirrorFieldManager, r.Client, built.EtcdCluster,
		metav1.Condition{Type: conditionMirrored, Status: status, Reason: string(reason), Message: message})
	if err != nil {
		return passing(err)
	}
	if before != string(reason) {
		warning := reason == reasonMirrorLags || reason == reasonCutOverFailed || reason == core.ReasonNameTaken
		tell(r.Events, built.EtcdCluster, []core.Event{{Warning: warning, Reason: reason, Message: message}})
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

// remove ends what runs for a cluster that mirrors no more.
func (r *MirrorReconciler) remove(ctx context.Context, built render.Cluster, mirror *appsv1.Deployment, agent observe.CutOver) error {
	if mirror != nil && mirror.DeletionTimestamp == nil {
		if err := r.Actor.RemoveFollower(ctx, mirror); err != nil {
			return err
		}
	}
	if agent.Exists && !agent.Foreign && !agent.Leaving {
		return r.Actor.RemoveCutOver(ctx, built, agent, 0)
	}
	return nil
}

// addMirror adds the reconciler of mirrors to a manager.
func addMirror(mgr ctrl.Manager, options Options) error {
	return ctrl.NewControllerManagedBy(mgr).Named("mirror").
		// Whom to ask, and whether there is anybody, is in the status.
		For(&v1alpha1.EtcdCluster{}).
		Owns(&appsv1.Deployment{}).
		Owns(&batchv1.Job{}).
		WithOptions(options.settings()).
		Complete(&MirrorReconciler{
			Client: mgr.GetClient(), Observer: options.observer(mgr),
			Actor:  &act.Actor{Client: mgr.GetClient(), Live: mgr.GetAPIReader()},
			Events: mgr.GetEventRecorder(render.FieldManager), Agents: options.Agents,
		})
}
