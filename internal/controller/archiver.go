package controller

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// conditionArchived is whether all changes of a cluster are stored, as they are to be.
const conditionArchived = "Archived"

// Reasons of that condition, and of events.
const (
	reasonArchiverStarts   core.Reason = "ArchiverStarts"
	reasonArchiverNotReady core.Reason = "ArchiverNotReady"
	reasonArchiverFollows  core.Reason = "ArchiverFollows"
)

// archiverFieldManager is who writes that condition.
const archiverFieldManager = render.FieldManager + "-archiver"

// archiverPatience is how long an archiver may not keep up before people are told.
const archiverPatience = time.Minute

// ArchiverReconciler has an archiver run for each cluster whose changes are to be stored, and tells whether it keeps up.
type ArchiverReconciler struct {
	Client client.Client
	Actor  *act.Actor
	Events events.EventRecorder
	Agents render.Agents
	Domain string
	Now    func() time.Time
}

// Reconcile applies or removes the archiver of a cluster, once.
func (r *ArchiverReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.EtcdCluster{}
	if err := r.Client.Get(ctx, request.NamespacedName, cluster); apierrors.IsNotFound(err) {
		metrics.Archiver(request.Namespace, request.Name, nil)
		return ctrl.Result{}, nil // The Deployment goes with its owner.
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading EtcdCluster %s: %w", request, err)
	}
	live, err := ownDeployment(ctx, r.Client, cluster, render.ArchiverName(cluster.Name))
	if err != nil {
		return ctrl.Result{}, err
	}
	built := render.Cluster{EtcdCluster: cluster, Domain: r.Domain}
	if !built.Archives() {
		if live != nil && live.DeletionTimestamp == nil {
			if err := r.Actor.RemoveFollower(ctx, live); err != nil {
				return ctrl.Result{}, err
			}
		}
		return r.forget(ctx, cluster)
	}
	if r.Agents.Image == "" {
		return r.say(ctx, cluster, reasonArchiverNotReady, "the operator does not know the image of its agents: start it with --agent-image", 0)
	}
	if err := r.Actor.ApplyArchiver(ctx, built, r.Agents, live); err != nil {
		return passing(err)
	}
	return r.watch(ctx, cluster, live)
}

// forget is for a cluster that is to have no archiver, or not now.
func (r *ArchiverReconciler) forget(ctx context.Context, cluster *v1alpha1.EtcdCluster) (ctrl.Result, error) {
	metrics.Archiver(cluster.Namespace, cluster.Name, nil)
	if meta.FindStatusCondition(cluster.Status.Conditions, conditionArchived) == nil || !cluster.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	// What a field manager no longer says goes.
	return passing(applyStatusAs(ctx, archiverFieldManager, r.Client, cluster, "EtcdCluster", &map[string]any{}))
}

// ownDeployment is a cluster's Deployment of a name; nil if there is none.
func ownDeployment(ctx context.Context, reader client.Reader, cluster *v1alpha1.EtcdCluster, called string) (*appsv1.Deployment, error) {
	live := &appsv1.Deployment{}
	name := client.ObjectKey{Namespace: cluster.Namespace, Name: called}
	err := reader.Get(ctx, name, live)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading Deployment %s: %w", name, err)
	}
	if !metav1.IsControlledBy(live, cluster) {
		return nil, nil //nolint:nilnil // As documented.
	}
	return live, nil
}

// watch tells what has become of an archiver.
func (r *ArchiverReconciler) watch(ctx context.Context, cluster *v1alpha1.EtcdCluster, live *appsv1.Deployment) (ctrl.Result, error) {
	follows := live != nil && live.Status.ReadyReplicas > 0
	metrics.Archiver(cluster.Namespace, cluster.Name, &follows)
	if follows {
		return r.say(ctx, cluster, reasonArchiverFollows, fmt.Sprintf("all changes are stored, every %s", cluster.Spec.Backup.Continuous.FlushInterval.Duration), 0)
	}
	left := archiverPatience // Of a Deployment that is not there yet, too, it is seen how it gets on.
	if live != nil {
		left -= r.Now().Sub(notReadySince(live))
	}
	if left <= 0 {
		return r.say(ctx, cluster, reasonArchiverNotReady, fmt.Sprintf(
			"changes may not be stored: no pod of Deployment %s has kept up for %s; the events and the log of its pod say why", live.Name, archiverPatience), 0)
	}
	if meta.FindStatusCondition(cluster.Status.Conditions, conditionArchived) == nil {
		return r.say(ctx, cluster, reasonArchiverStarts, "the archiver is started", left)
	}
	return ctrl.Result{RequeueAfter: left}, nil
}

func notReadySince(live *appsv1.Deployment) time.Time {
	for _, c := range live.Status.Conditions {
		if c.Type == appsv1.DeploymentAvailable && c.Status != corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return live.CreationTimestamp.Time
}

// say writes the condition, and tells people if its reason is new, but for the start.
func (r *ArchiverReconciler) say(ctx context.Context, cluster *v1alpha1.EtcdCluster, reason core.Reason, message string, again time.Duration) (ctrl.Result, error) {
	condition := metav1.Condition{Type: conditionArchived, Status: metav1.ConditionFalse, Reason: string(reason), Message: message}
	if reason == reasonArchiverFollows {
		condition.Status = metav1.ConditionTrue
	}
	before, err := applyCondition(ctx, archiverFieldManager, r.Client, cluster, condition)
	if err != nil {
		return passing(err)
	}
	if before != string(reason) && reason != reasonArchiverStarts {
		tell(r.Events, cluster, []core.Event{{Warning: reason == reasonArchiverNotReady, Reason: reason, Message: message}})
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

// addArchiver adds the reconciler of archivers to a manager.
func addArchiver(mgr ctrl.Manager, options Options) error {
	reconciler := &ArchiverReconciler{
		Client: mgr.GetClient(), Actor: &act.Actor{Client: mgr.GetClient(), Live: mgr.GetAPIReader()},
		Events: mgr.GetEventRecorder(render.FieldManager), Agents: options.Agents, Domain: options.Domain, Now: options.clock(),
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("archiver").
		// Whom to ask, and whether there is anybody, is in the status.
		For(&v1alpha1.EtcdCluster{}).
		Owns(&appsv1.Deployment{}).
		WithOptions(options.settings()).
		Complete(reconciler)
}
