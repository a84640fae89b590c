package observe

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// node finds out whether the node of a pod is gone. It is asked only for pods that are not ready, and what cannot be read
// counts as there: only certainty lets a member be replaced.
func (o *Observer) node(ctx context.Context, pod *corev1.Pod, claims []corev1.PersistentVolumeClaim) core.Node {
	if ObservePod(pod).Ready {
		return core.Node{}
	}
	if pod.Spec.NodeName != "" {
		return o.nodeByName(ctx, pod.Spec.NodeName)
	}
	// A pod that waits for a node may be bound to one by its volume.
	for i := range claims {
		if claims[i].Name != render.ClaimName(render.DataVolume, memberOf(pod)) && claims[i].Name != render.ClaimName(render.WALVolume, memberOf(pod)) {
			continue
		}
		if node := o.onlyNode(ctx, &claims[i]); node.Gone {
			return node
		}
	}
	return core.Node{}
}

func (o *Observer) nodeByName(ctx context.Context, name string) core.Node {
	var node corev1.Node
	err := o.Live.Get(ctx, client.ObjectKey{Name: name}, &node)
	if apierrors.IsNotFound(err) {
		return core.Node{Name: name, Gone: true}
	}
	if err != nil {
		return core.Node{Name: name}
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return core.Node{Name: name, Gone: true, Since: condition.LastTransitionTime.Time}
		}
	}
	return core.Node{Name: name}
}

// onlyNode is the node that a volume can only be reached from, if all such nodes are gone.
func (o *Observer) onlyNode(ctx context.Context, claim *corev1.PersistentVolumeClaim) core.Node {
	var gone core.Node
	for _, term := range o.reachableFrom(ctx, claim) {
		i := slices.IndexFunc(term.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
			return r.Key == corev1.LabelHostname && r.Operator == corev1.NodeSelectorOpIn
		})
		if i < 0 {
			return core.Node{}
		}
		for _, name := range term.MatchExpressions[i].Values {
			node := o.nodeByName(ctx, name)
			if !node.Gone {
				return core.Node{}
			}
			if !gone.Gone || node.Since.After(gone.Since) {
				gone = node
			}
		}
	}
	return gone
}
