package controller

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// EtcdRestoreReconciler gives clusters the data of backups.
type EtcdRestoreReconciler struct {
	Client client.Client
	// Live reads from the API server: what was done already must be known.
	Live     client.Reader
	Observer *observe.Observer
	Actor    *act.Actor
	Events   events.EventRecorder
}

// Reconcile observes, decides and acts, once.
func (r *EtcdRestoreReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	restore := &v1alpha1.EtcdRestore{}
	if err := r.Live.Get(ctx, request.NamespacedName, restore); apierrors.IsNotFound(err) {
		metrics.ForgetRestore(request.Namespace, request.Name)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading EtcdRestore %s: %w", request, err)
	}
	observed, err := r.Observer.ObserveRestore(ctx, restore)
	if err != nil {
		return ctrl.Result{}, err
	}
	decision := restores.Decide(observed.Observation)
	if status := observe.RestoreStatus(decision.Report); !equality.Semantic.DeepEqual(status, restore.Status) {
		if err := applyStatus(ctx, r.Client, restore, "EtcdRestore", &status); err != nil {
			return passing(err)
		}
		tell(r.Events, restore, decision.Events)
	}
	if !render.IsDrill(restore) {
		metrics.Restore(restore, decision.Report) // Of a drill it is told that it has failed.
	}
	if err := r.Actor.DoRestore(ctx, observed, decision.Actions); err != nil {
		return passing(err)
	}
	if len(decision.Actions) > 0 {
		log.FromContext(ctx).Info("steps done", "steps", fmt.Sprintf("%T %+v", decision.Actions, decision.Actions), "phase", decision.Report.Phase)
	}
	return ctrl.Result{RequeueAfter: decision.LookAgain}, nil
}

// addEtcdRestore adds the reconcilers of EtcdRestores to a manager.
func addEtcdRestore(mgr ctrl.Manager, options Options) error {
	reconciler := &EtcdRestoreReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(),
		Observer: options.observer(mgr),
		Actor:    &act.Actor{Client: mgr.GetClient(), Live: mgr.GetAPIReader()},
		Events:   mgr.GetEventRecorder(render.FieldManager),
	}
	concerned := func(concerns func(*v1alpha1.EtcdRestore, client.Object) bool) handler.EventHandler {
		return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) (requests []reconcile.Request) {
			var all v1alpha1.EtcdRestoreList
			if err := mgr.GetClient().List(ctx, &all, client.InNamespace(object.GetNamespace())); err != nil {
				return nil // What is waited for is looked at again in any case.
			}
			for i := range all.Items {
				if concerns(&all.Items[i], object) {
					requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
				}
			}
			return requests
		})
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.EtcdRestore{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, deletionChanged()))).
		Owns(&batchv1.Job{}).
		WatchesRawSource(options.agentsEnd()).
		Watches(&v1alpha1.EtcdCluster{}, concerned(func(r *v1alpha1.EtcdRestore, cluster client.Object) bool {
			return r.Spec.ClusterRef.Name == cluster.GetName() && !restores.Over(string(r.Status.Phase))
		})).
		Watches(&v1alpha1.EtcdBackup{}, concerned(func(r *v1alpha1.EtcdRestore, backup client.Object) bool {
			return (r.Spec.BackupRef.Name == backup.GetName() || r.Status.SafetyBackup == backup.GetName()) && !restores.Over(string(r.Status.Phase))
		})).
		WithOptions(options.settings()).
		Complete(reconciler)
}
