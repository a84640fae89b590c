package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// Reasons of events about archivers.
const (
	reasonArchiverNotReady core.Reason = "ArchiverNotReady"
	reasonArchiverFollows  core.Reason = "ArchiverFollows"
)

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

	// states are what was seen of archivers, by the cluster's name. After a restart it is not told again that one follows.
	states sync.Map
}

// archiverState is what was seen of an archiver, and told.
type archiverState string

const (
	archiverWaits   archiverState = "waits"
	archiverMissed  archiverState = "missed"
	archiverFollows archiverState = "follows"
)

// Reconcile applies or removes the archiver of a cluster, once.
func (r *ArchiverReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.EtcdCluster{}
	if err := r.Client.Get(ctx, request.NamespacedName, cluster); apierrors.IsNotFound(err) {
		r.forget(request.NamespacedName)
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
		r.forget(request.NamespacedName)
		if live == nil || live.DeletionTimestamp != nil {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, r.Actor.RemoveFollower(ctx, live)
	}
	if r.Agents.Image == "" {
		r.report(cluster, false, "the operator does not know the image of its agents: start it with --agent-image")
		return ctrl.Result{}, nil
	}
	if err := r.Actor.ApplyArchiver(ctx, built, r.Agents, live); err != nil {
		return passing(err)
	}
	return ctrl.Result{RequeueAfter: r.watch(cluster, live)}, nil
}

// forget is for a cluster that has no archiver any more.
func (r *ArchiverReconciler) forget(name client.ObjectKey) {
	r.states.Delete(name)
	metrics.Archiver(name.Namespace, name.Name, nil)
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

// watch tells what has become of an archiver, and after what time to look again.
func (r *ArchiverReconciler) watch(cluster *v1alpha1.EtcdCluster, live *appsv1.Deployment) time.Duration {
	if live == nil {
		metrics.Archiver(cluster.Namespace, cluster.Name, new(false))
		r.states.LoadOrStore(client.ObjectKeyFromObject(cluster), archiverWaits)
		return 0 // Its Deployment is watched.
	}
	if live.Status.ReadyReplicas > 0 {
		r.report(cluster, true, "all changes are stored")
		return 0
	}
	metrics.Archiver(cluster.Namespace, cluster.Name, new(false))
	since := live.CreationTimestamp.Time
	for _, c := range live.Status.Conditions {
		if c.Type == appsv1.DeploymentAvailable && c.Status != corev1.ConditionTrue {
			since = c.LastTransitionTime.Time
		}
	}
	if left := archiverPatience - r.Now().Sub(since); left > 0 {
		r.states.LoadOrStore(client.ObjectKeyFromObject(cluster), archiverWaits)
		return left
	}
	r.report(cluster, false, fmt.Sprintf(
		"changes may not be stored: no pod of Deployment %s has kept up for %s; the events and the log of its pod say why", live.Name, archiverPatience))
	return 0
}

// report publishes whether an archiver keeps up, and tells people if that is new.
func (r *ArchiverReconciler) report(cluster *v1alpha1.EtcdCluster, follows bool, message string) {
	metrics.Archiver(cluster.Namespace, cluster.Name, &follows)
	state, event := archiverFollows, core.Event{Reason: reasonArchiverFollows, Message: message}
	if !follows {
		state, event = archiverMissed, core.Event{Warning: true, Reason: reasonArchiverNotReady, Message: message}
	}
	before, known := r.states.Swap(client.ObjectKeyFromObject(cluster), state)
	if before != state && (known || !follows) {
		tell(r.Events, cluster, []core.Event{event})
	}
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
