package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/schedule"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// BackupScheduleReconciler makes EtcdBackups of clusters when their schedule says so, and removes those that are not kept.
type BackupScheduleReconciler struct {
	Client client.Client
	Live   client.Reader
	Events events.EventRecorder
	Now    func() time.Time
}

// Reconcile observes, decides and acts, once.
func (r *BackupScheduleReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.EtcdCluster{}
	if err := r.Client.Get(ctx, request.NamespacedName, cluster); apierrors.IsNotFound(err) {
		metrics.ForgetBackups(request.Namespace, request.Name)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading EtcdCluster %s: %w", request, err)
	}
	if cluster.Spec.Backup == nil || cluster.Spec.Backup.Schedule == "" || cluster.DeletionTimestamp != nil {
		metrics.ForgetBackups(request.Namespace, request.Name)
		return ctrl.Result{}, nil
	}
	made, err := r.scheduled(ctx, cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	observed := observe.Schedule(cluster, made, r.Now())
	if observed.Backups, err = r.used(ctx, cluster.Namespace, observed.Backups); err != nil {
		return ctrl.Result{}, err
	}
	decision, err := schedule.Decide(observed)
	if err != nil {
		r.Events.Eventf(cluster, nil, corev1.EventTypeWarning, "ScheduleInvalid", "Schedule", "%s", err.Error())
		return ctrl.Result{}, nil
	}
	metrics.Backups(cluster, made, decision)
	if err := r.carryOut(ctx, cluster, made, decision); err != nil {
		return passing(err)
	}
	return ctrl.Result{RequeueAfter: decision.LookAgain}, nil
}

// scheduled are the EtcdBackups that the schedule has made.
func (r *BackupScheduleReconciler) scheduled(ctx context.Context, cluster *v1alpha1.EtcdCluster) ([]v1alpha1.EtcdBackup, error) {
	var list v1alpha1.EtcdBackupList
	// Live: one that was made a moment ago must be known.
	ours := client.MatchingLabels{render.LabelScheduledFor: cluster.Name}
	if err := r.Live.List(ctx, &list, client.InNamespace(cluster.Namespace), ours); err != nil {
		return nil, fmt.Errorf("listing the EtcdBackups of %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	return list.Items, nil
}

// used notes which backups are read by a restore, or are about to be.
func (r *BackupScheduleReconciler) used(ctx context.Context, namespace string, made []schedule.Backup) ([]schedule.Backup, error) {
	users := map[string]bool{}
	var all v1alpha1.EtcdRestoreList
	if err := r.Live.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing the EtcdRestores of %s: %w", namespace, err)
	}
	for i := range all.Items {
		if r := &all.Items[i]; !restores.Over(string(r.Status.Phase)) {
			users[r.Spec.BackupRef.Name] = true
		}
	}
	var clusters v1alpha1.EtcdClusterList
	if err := r.Client.List(ctx, &clusters, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing the EtcdClusters of %s: %w", namespace, err)
	}
	for i := range clusters.Items {
		if c := (render.Cluster{EtcdCluster: &clusters.Items[i]}); c.Spec.Bootstrap != nil && c.Status.ClusterID == "" {
			users[c.BeginsWith()] = true
		}
	}
	for i := range made {
		made[i].Used = users[made[i].Name]
	}
	return made, nil
}

// carryOut makes the one that is due, and removes what is not kept.
func (r *BackupScheduleReconciler) carryOut(ctx context.Context, cluster *v1alpha1.EtcdCluster, made []v1alpha1.EtcdBackup, d schedule.Decision) error {
	if d.Make != nil {
		backup := render.ScheduledBackup(cluster, d.Make.Name, d.Make.Scheduled, d.Make.Verify)
		err := r.Client.Create(ctx, backup, client.FieldOwner(render.FieldManager))
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("making EtcdBackup %s/%s: %w", backup.Namespace, backup.Name, err)
		}
		log.FromContext(ctx).Info("backup made", "backup", backup.Name, "scheduled", d.Make.Scheduled)
	}
	for i := range made {
		backup := &made[i]
		for _, name := range d.Delete {
			if backup.Name != name {
				continue
			}
			if err := r.Client.Delete(ctx, backup, client.Preconditions{UID: &backup.UID}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("deleting EtcdBackup %s/%s: %w", backup.Namespace, backup.Name, err)
			}
			log.FromContext(ctx).Info("backup is not kept any longer", "backup", backup.Name)
		}
	}
	return nil
}

// addBackupSchedule adds the reconciler of schedules to a manager.
func addBackupSchedule(mgr ctrl.Manager, options Options) error {
	// One that has ended can make room for the next, and displace others.
	ended := func(object client.Object) bool {
		backup, is := object.(*v1alpha1.EtcdBackup)
		return is && (meta.IsStatusConditionTrue(backup.Status.Conditions, backups.Complete) || backup.Status.Phase == v1alpha1.BackupPhase(backups.PhaseFailed))
	}
	toCluster := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
		name := object.GetLabels()[render.LabelScheduledFor]
		if name == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: object.GetNamespace(), Name: name}}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("backupschedule").
		For(&v1alpha1.EtcdCluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.EtcdBackup{}, toCluster, builder.WithPredicates(predicate.NewPredicateFuncs(ended))).
		WithOptions(controller.Options{MaxConcurrentReconciles: options.Concurrency}).
		Complete(&BackupScheduleReconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder(render.FieldManager), Now: options.clock(),
		})
}
