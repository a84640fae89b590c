package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// watchAgents watches the pods of agents, in a cache of their own: the manager's has those of members, and one selector for pods. Kubernetes
// takes some seconds more to call a Job complete.
func watchAgents(mgr ctrl.Manager, namespaces []string) (cache.Cache, error) {
	options := CacheOptions(namespaces)
	options.HTTPClient, options.Scheme, options.Mapper = mgr.GetHTTPClient(), mgr.GetScheme(), mgr.GetRESTMapper()
	options.ByObject = map[client.Object]cache.ByObject{&corev1.Pod{}: bearing(render.LabelAgentFor)}
	pods, err := cache.New(mgr.GetConfig(), options)
	if err != nil {
		return nil, fmt.Errorf("watching the pods of agents: %w", err)
	}
	return pods, mgr.Add(pods)
}

// agentsEnd asks for a reconciliation of the object that an agent works for when its pod has ended.
func (o Options) agentsEnd() source.Source {
	return source.Kind(o.agentPods, &corev1.Pod{}, handler.TypedEnqueueRequestsFromMapFunc(byAgent), predicate.NewTypedPredicateFuncs(observe.AgentEnded))
}

// byAgent finds that object by the pod's label. There may be one of each kind that has the name.
func byAgent(_ context.Context, pod *corev1.Pod) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.Namespace, Name: pod.Labels[render.LabelAgentFor]}}}
}
