package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// bootstrapLooksAgain is after what time it is looked whether what was in the way is gone.
const bootstrapLooksAgain = 5 * time.Second

// BootstrapReconciler makes the EtcdRestore by which a cluster gets its first data, and before that the EtcdBackup if the data are
// those of an etcd outside.
type BootstrapReconciler struct {
	Client client.Client
	Live   client.Reader
	Events events.EventRecorder
}

// Reconcile makes them if there are none, unless volumes of an earlier cluster of the name are there: their data comes first.
func (r *BootstrapReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.EtcdCluster{}
	if err := r.Client.Get(ctx, request.NamespacedName, cluster); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	built := render.Cluster{EtcdCluster: cluster}
	if !built.Begins() || cluster.DeletionTimestamp != nil || built.Sleeps() {
		return ctrl.Result{}, nil
	}
	var claims corev1.PersistentVolumeClaimList
	if err := r.Live.List(ctx, &claims, client.InNamespace(cluster.Namespace), client.MatchingLabels(built.Selector())); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing the claims of %s: %w", request, err)
	}
	if built.Inherits(claims.Items) {
		return ctrl.Result{RequeueAfter: bootstrapLooksAgain}, nil
	}
	if cluster.Spec.Bootstrap.Source != nil {
		if ours, err := r.imports(ctx, built); !ours || err != nil {
			return ctrl.Result{RequeueAfter: bootstrapLooksAgain}, err
		}
	}
	restore := &v1alpha1.EtcdRestore{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cluster.Namespace, Name: render.BootstrapRestore(cluster.Name),
			OwnerReferences: []metav1.OwnerReference{built.ClaimOwner()},
		},
		Spec: v1alpha1.EtcdRestoreSpec{
			ClusterRef: v1alpha1.ClusterReference{Name: cluster.Name}, BackupRef: v1alpha1.BackupReference{Name: built.BeginsWith()},
			// Nobody has seen a revision of it yet, and there is nothing to be saved.
			BumpRevision: ptr.To[int64](0), SafetyBackup: v1alpha1.SafetySkip,
			Revision: cluster.Spec.Bootstrap.Revision, PointInTime: cluster.Spec.Bootstrap.PointInTime, Latest: cluster.Spec.Bootstrap.Latest,
		},
	}
	if of := cluster.Labels[render.LabelDrillOf]; of != "" {
		restore.Labels = map[string]string{render.LabelDrillOf: of}
	}
	err := r.Client.Create(ctx, restore, client.FieldOwner(render.FieldManager))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return ctrl.Result{}, fmt.Errorf("making EtcdRestore %s/%s: %w", restore.Namespace, restore.Name, err)
	}
	return ctrl.Result{}, nil
}

// imports makes the backup of the etcd outside, and keeps clients away if the cluster is to repeat what that does from then on. It
// tells whether the EtcdBackup is there, and is this cluster's.
func (r *BootstrapReconciler) imports(ctx context.Context, built render.Cluster) (bool, error) {
	if _, noted := built.Annotations[render.AnnotationMirrors]; !noted && built.Spec.Bootstrap.Mirror != "" {
		before := built.DeepCopy()
		metav1.SetMetaDataAnnotation(&built.ObjectMeta, render.AnnotationMirrors, "true")
		err := r.Client.Patch(ctx, built.EtcdCluster, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(render.FieldManager))
		if err != nil {
			return false, fmt.Errorf("noting on EtcdCluster %s/%s that it mirrors: %w", built.Namespace, built.Name, err)
		}
	}
	backup := &v1alpha1.EtcdBackup{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: built.Namespace, Name: built.BeginsWith(),
			OwnerReferences: []metav1.OwnerReference{built.ClaimOwner()},
		},
		Spec: v1alpha1.EtcdBackupSpec{
			ClusterRef: v1alpha1.ClusterReference{Name: built.Name}, Source: built.Spec.Bootstrap.Source,
			Verification: v1alpha1.VerifyAlways,
		},
	}
	err := r.Client.Create(ctx, backup, client.FieldOwner(render.FieldManager))
	if err == nil {
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("making EtcdBackup %s/%s: %w", backup.Namespace, backup.Name, err)
	}
	live := &v1alpha1.EtcdBackup{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(backup), live); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if render.OwnedBy(live, built.UID) {
		return live.DeletionTimestamp == nil, nil
	}
	tell(r.Events, built.EtcdCluster, []core.Event{{Warning: true, Reason: core.ReasonNameTaken, Message: fmt.Sprintf(
		"EtcdBackup %s exists but does not belong to this cluster: delete it, or let the cluster begin with it by spec.bootstrap.backupRef", backup.Name)}})
	return false, nil
}

// addBootstrap adds the reconciler of what clusters begin with to a manager.
func addBootstrap(mgr ctrl.Manager, options Options) error {
	deletions := builder.WithPredicates(predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, UpdateFunc: func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	})
	return ctrl.NewControllerManagedBy(mgr).Named("bootstrap").
		For(&v1alpha1.EtcdCluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		// One that is deleted is made again, if the cluster waits for it still.
		Owns(&v1alpha1.EtcdBackup{}, builder.MatchEveryOwner, deletions).
		Owns(&v1alpha1.EtcdRestore{}, builder.MatchEveryOwner, deletions).
		WithOptions(options.settings()).
		Complete(&BootstrapReconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder(render.FieldManager)})
}
