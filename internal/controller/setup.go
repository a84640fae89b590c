package controller

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Options of the controllers.
type Options struct {
	// Domain is the DNS domain of the Kubernetes cluster.
	Domain string
	// Operator are the operator's own pods.
	Operator render.Operator
	// Agents are what is the same for all agents.
	Agents render.Agents
	// Namespaces are those that are watched; none means all.
	Namespaces []string
	// Concurrency is the number of clusters that are worked on at the same time.
	Concurrency int
	// Now is the clock; nil means the real one.
	Now func() time.Time
	// WrapEtcd, if set, stands between what is carried out and the members, so that tests can cut it off anywhere.
	WrapEtcd func(act.Etcd) act.Etcd

	agentPods cache.Cache
}

// Add adds all reconcilers to a manager.
func Add(mgr ctrl.Manager, options Options) error {
	var err error
	if options.agentPods, err = watchAgents(mgr, options.Namespaces); err != nil {
		return err
	}
	for _, add := range []func(ctrl.Manager, Options) error{
		addEtcdCluster, addEtcdBackup, addBackupSchedule, addEtcdRestore, addBootstrap, addArchiver, addMirror, addDrill,
	} {
		if err := add(mgr, options); err != nil {
			return err
		}
	}
	return nil
}

// clock is the one that times are told by.
func (o Options) clock() func() time.Time {
	if o.Now == nil {
		return time.Now
	}
	return o.Now
}

// observer reads for the reconcilers of what agents work on.
func (o Options) observer(mgr ctrl.Manager) *observe.Observer {
	return &observe.Observer{
		Cache: mgr.GetClient(), Live: mgr.GetAPIReader(), Domain: o.Domain, Operator: o.Operator, Agents: o.Agents, Now: o.clock(), Progress: observe.AskProgress,
	}
}

// settings are those of every controller.
func (o Options) settings() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: o.Concurrency,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, longestBackoff),
	}
}

// longestBackoff is how long a failing cluster waits for its next try at most.
const longestBackoff = 30 * time.Second

// CacheOptions keep foreign objects out of the caches: of the kinds that everybody uses, only those that bear our
// label are watched, and nothing is kept that is not read.
func CacheOptions(namespaces []string) cache.Options {
	selected, agents := bearing(render.LabelCluster), bearing(render.LabelAgentFor)
	options := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&appsv1.StatefulSet{}:           selected,
			&corev1.Pod{}:                   selected,
			&corev1.PersistentVolumeClaim{}: selected,
			&corev1.Service{}:               selected,
			&corev1.ConfigMap{}:             selected,
			&policyv1.PodDisruptionBudget{}: selected,
			&networkingv1.NetworkPolicy{}:   selected,
			&batchv1.Job{}:                  agents,
			&appsv1.Deployment{}:            agents,
		},
	}
	if len(namespaces) > 0 {
		options.DefaultNamespaces = map[string]cache.Config{}
		for _, namespace := range namespaces {
			options.DefaultNamespaces[namespace] = cache.Config{}
		}
	}
	return options
}

// bearing selects the objects that have a label.
func bearing(label string) cache.ByObject {
	exists, err := labels.NewRequirement(label, selection.Exists, nil)
	if err != nil {
		panic(err) // The label's name is a constant.
	}
	return cache.ByObject{Label: labels.NewSelector().Add(*exists)}
}

// addEtcdCluster adds the reconciler of EtcdClusters to a manager.
func addEtcdCluster(mgr ctrl.Manager, options Options) error {
	pool := etcd.NewPool()
	var members act.Etcd = pool
	if options.WrapEtcd != nil {
		members = options.WrapEtcd(pool)
	}
	queue := &notifier{}
	watcher := etcd.NewWatcher(pool, queue.notify)
	reconciler := &EtcdClusterReconciler{
		Client: mgr.GetClient(),
		Observer: &observe.Observer{
			Cache: mgr.GetClient(), Live: mgr.GetAPIReader(), Etcd: pool, Domain: options.Domain, Operator: options.Operator, Now: options.clock(),
		},
		Actor:   &act.Actor{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Etcd: members},
		Watcher: watcher,
		Events:  mgr.GetEventRecorder(render.FieldManager),
	}
	if err := mgr.Add(closer{watcher, pool}); err != nil {
		return err
	}
	// Reports of our own must not wake us; a change of the spec, of an annotation, or a deletion does.
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, deletionChanged())
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.EtcdCluster{}, builder.WithPredicates(changed)).
		Owns(&appsv1.StatefulSet{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&policyv1.PodDisruptionBudget{}).
		Owns(&networkingv1.NetworkPolicy{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(byLabel)).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(byLabel)).
		WatchesRawSource(queue).
		WithOptions(options.settings()).
		Complete(reconciler)
}

func deletionChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
	}}
}

// byLabel finds the cluster of an object by its label: pods and claims belong to StatefulSets, not to us.
func byLabel(_ context.Context, object client.Object) []reconcile.Request {
	name := object.GetLabels()[render.LabelCluster]
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: name}}}
}

// notifier is a source of reconciliations that etcd itself gives rise to.
type notifier struct {
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]
}

// Start implements source.Source.
func (n *notifier) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	n.queue.Store(&queue)
	return nil
}

// notify asks for a reconciliation of the cluster "namespace/name". Watches begin in reconciliations, so that there
// is a queue by then.
func (n *notifier) notify(cluster string) {
	namespace, name, _ := strings.Cut(cluster, "/")
	if queue := n.queue.Load(); queue != nil {
		(*queue).Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
}

// closer closes connections when the manager stops.
type closer struct {
	watcher *etcd.Watcher
	pool    *etcd.Pool
}

// Start implements manager.Runnable.
func (c closer) Start(ctx context.Context) error {
	<-ctx.Done()
	c.watcher.Close()
	c.pool.Close()
	return nil
}

var _ source.Source = &notifier{}
