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
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// EtcdBackupReconciler makes backups, has them tried out, and removes their data.
type EtcdBackupReconciler struct {
	Client client.Client
	// Live reads from the API server: what was done already must be known.
	Live     client.Reader
	Observer *observe.Observer
	Actor    *act.Actor
	Events   events.EventRecorder
}

// Reconcile observes, decides and acts, once.
func (r *EtcdBackupReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	backup := &v1alpha1.EtcdBackup{}
	if err := r.Live.Get(ctx, request.NamespacedName, backup); apierrors.IsNotFound(err) {
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading EtcdBackup %s: %w", request, err)
	}
	observed, err := r.Observer.ObserveBackup(ctx, backup)
	if err != nil {
		return ctrl.Result{}, err
	}
	decision := backups.Decide(observed.Observation)
	if err := r.report(ctx, observed, decision); err != nil {
		return passing(err)
	}
	if err := r.Actor.DoBackup(ctx, observed, decision.Actions); err != nil {
		return passing(err)
	}
	if len(decision.Actions) > 0 {
		log.FromContext(ctx).Info("steps done", "steps", fmt.Sprintf("%+v", decision.Actions), "phase", decision.Report.Phase)
	}
	return ctrl.Result{RequeueAfter: decision.LookAgain}, nil
}

// report writes the status if it has changed, and tells people what is new.
func (r *EtcdBackupReconciler) report(ctx context.Context, o observe.ObservedBackup, decision backups.Decision) error {
	status := observe.BackupStatus(o.Render, decision.Report)
	if equality.Semantic.DeepEqual(status, o.Render.Status) {
		return nil
	}
	if err := applyStatus(ctx, r.Client, o.Render.EtcdBackup, "EtcdBackup", &status); err != nil {
		return err
	}
	tell(r.Events, o.Render.EtcdBackup, decision.Events)
	return nil
}

// addEtcdBackup adds the reconciler of EtcdBackups to a manager.
func addEtcdBackup(mgr ctrl.Manager, options Options) error {
	reconciler := &EtcdBackupReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(),
		Observer: options.observer(mgr),
		Actor:    &act.Actor{Client: mgr.GetClient(), Live: mgr.GetAPIReader()},
		Events:   mgr.GetEventRecorder(render.FieldManager),
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.EtcdBackup{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, deletionChanged()))).
		Owns(&batchv1.Job{}).
		WatchesRawSource(options.agentsEnd()).
		WithOptions(options.settings()).
		Complete(reconciler)
}
