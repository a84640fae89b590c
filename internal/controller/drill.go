package controller

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
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
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/drills"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// drillFieldManager applies what the status of an EtcdCluster says of drills. The rest of it has another writer.
const drillFieldManager = render.FieldManager + "-drill"

// DrillReconciler restores backups of clusters into clusters of their own when the schedule says so, and tells what has become of it.
type DrillReconciler struct {
	Client client.Client
	// Live reads from the API server: what was done already must be known.
	Live     client.Reader
	Observer *observe.Observer
	Actor    *act.Actor
	Events   events.EventRecorder
}

// Reconcile observes, decides and acts, once.
func (r *DrillReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	cluster, err := r.drilled(ctx, request.NamespacedName)
	if cluster == nil || err != nil {
		metrics.Drills(request.Namespace, request.Name, drills.Decision{})
		return ctrl.Result{}, err
	}
	observed, err := r.Observer.ObserveDrill(ctx, cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	decision, err := drills.Decide(observed.Observation)
	if err != nil {
		r.Events.Eventf(cluster, nil, corev1.EventTypeWarning, "ScheduleInvalid", "Schedule", "%s", err.Error())
		return ctrl.Result{}, nil
	}
	metrics.Drills(request.Namespace, request.Name, decision)
	// What is decided is written first: a drill that is recorded to have ended is not begun again.
	if err := r.report(ctx, cluster, decision.Report, decision.Events); err != nil {
		return passing(err)
	}
	switch {
	case decision.Begin != nil:
		log.FromContext(ctx).Info("drill begins", "backup", decision.Begin.Backup, "scheduled", decision.Begin.Scheduled)
		err = r.begin(ctx, cluster, observed, decision)
	case decision.End:
		log.FromContext(ctx).Info("the cluster of the drill is deleted", "cluster", observed.Name)
		err = r.Actor.EndDrill(ctx, observed)
	}
	if err != nil {
		return passing(err)
	}
	return ctrl.Result{RequeueAfter: decision.LookAgain}, nil
}

// begin begins a drill, and tells why that is refused.
func (r *DrillReconciler) begin(ctx context.Context, cluster *v1alpha1.EtcdCluster, observed observe.ObservedDrill, decision drills.Decision) error {
	err := r.Actor.BeginDrill(ctx, observed, *decision.Begin)
	if err == nil || act.IsPassing(err) {
		return err
	}
	report := decision.Report
	report.WaitsFor = err.Error()
	return errors.Join(err, r.report(ctx, cluster, report, []core.Event{{Warning: true, Reason: drills.ReasonWaiting, Message: "a drill is due and waits: " + err.Error()}}))
}

// report writes what is new of a report, and tells it.
func (r *DrillReconciler) report(ctx context.Context, cluster *v1alpha1.EtcdCluster, report drills.Report, news []core.Event) error {
	status := observe.DrillStatus(report, cluster.Generation)
	if equality.Semantic.DeepEqual(status, observe.DrillStatusOf(cluster)) {
		return nil
	}
	if err := applyStatusAs(ctx, drillFieldManager, r.Client, cluster, "EtcdCluster", &status); err != nil {
		return err
	}
	tell(r.Events, cluster, news)
	return nil
}

// drilled is the EtcdCluster as it is now, if drills of it are wanted, or something is left to do about them; else nil.
func (r *DrillReconciler) drilled(ctx context.Context, name client.ObjectKey) (*v1alpha1.EtcdCluster, error) {
	cluster := &v1alpha1.EtcdCluster{}
	if err := r.Client.Get(ctx, name, cluster); apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // As documented.
	} else if err != nil {
		return nil, fmt.Errorf("reading EtcdCluster %s: %w", name, err)
	}
	if !cluster.DeletionTimestamp.IsZero() || render.IsDrill(cluster) {
		return nil, nil //nolint:nilnil // What there is of a drill goes with its owner.
	}
	told := observe.DrillStatusOf(cluster)
	if wanted := cluster.Spec.Backup != nil && cluster.Spec.Backup.Drill != nil; !wanted && told.Backup == nil && len(told.Conditions) == 0 {
		drill := &v1alpha1.EtcdCluster{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: name.Namespace, Name: render.DrillName(name.Name)}, drill)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading the drill of EtcdCluster %s: %w", name, err)
		}
		if drill.Labels[render.LabelDrillOf] != name.Name {
			return nil, nil //nolint:nilnil // As documented.
		}
	}
	if err := r.Live.Get(ctx, name, cluster); apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // As documented.
	} else if err != nil {
		return nil, fmt.Errorf("reading EtcdCluster %s: %w", name, err)
	}
	if !cluster.DeletionTimestamp.IsZero() {
		return nil, nil //nolint:nilnil // As above.
	}
	return cluster, nil
}

// addDrill adds the reconciler of drills to a manager.
func addDrill(mgr ctrl.Manager, options Options) error {
	ofDrill := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
		of := object.GetLabels()[render.LabelDrillOf]
		if of == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: object.GetNamespace(), Name: of}}}
	})
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, deletionChanged())
	return ctrl.NewControllerManagedBy(mgr).Named("drill").
		For(&v1alpha1.EtcdCluster{}, builder.WithPredicates(changed)).
		Watches(&v1alpha1.EtcdCluster{}, ofDrill).
		Watches(&v1alpha1.EtcdRestore{}, ofDrill).
		WithOptions(options.settings()).
		Complete(&DrillReconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Observer: options.observer(mgr),
			Actor:  &act.Actor{Client: mgr.GetClient(), Live: mgr.GetAPIReader()},
			Events: mgr.GetEventRecorder(render.FieldManager),
		})
}
