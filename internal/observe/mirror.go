package observe

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// CutOver is the agent that waits until a cluster has all that its source has, with what has become of it.
type CutOver struct {
	UID types.UID
	// Foreign is one of the name of ours that is not ours.
	Exists, Foreign, Leaving bool
	// Ended is whether it will not run again, without having come to its end.
	Ended   bool
	EndedAt time.Time
	// Trouble is why it does not get on, or failed.
	Trouble string
	// Done is what both have; nil until that was compared.
	Done *task.Content
}

// CutOver reads it.
func (o *Observer) CutOver(ctx context.Context, c render.Cluster) (CutOver, error) {
	job, err := o.job(ctx, client.ObjectKey{Namespace: c.Namespace, Name: render.CutOverName(c.Name)}, c.UID, c.Follows() && c.Spec.Bootstrap.Mirror == v1alpha1.MirrorCutOver)
	if err != nil {
		return CutOver{}, err
	}
	seen := CutOver{UID: job.uid, Exists: job.exists, Foreign: job.foreign, Leaving: job.leaving, EndedAt: job.endedAt, Trouble: job.trouble}
	if job.result.Problem == "" && !job.failed {
		// The pod says so before Kubernetes calls its Job complete.
		seen.Done = job.result.CutOver
	}
	seen.Ended = job.ended && seen.Done == nil
	if seen.Ended && seen.Trouble == "" {
		seen.Trouble = "what the agent found out is lost with its pod"
	}
	return seen, nil
}

// mirrorPods are those of a cluster's mirror.
func (o *Observer) mirrorPods(ctx context.Context, c render.Cluster) ([]corev1.Pod, error) {
	var pods corev1.PodList
	its := client.MatchingLabels{render.LabelAgentOf: c.Name, render.LabelApp: render.MirrorApp}
	if err := o.Live.List(ctx, &pods, client.InNamespace(c.Namespace), its); err != nil {
		return nil, fmt.Errorf("listing the pods of Deployment %s/%s: %w", c.Namespace, render.MirrorName(c.Name), err)
	}
	return pods.Items, nil
}

// MirrorRuns is whether a mirror of the cluster may still write. Its Deployment goes after all that it has made.
func (o *Observer) MirrorRuns(ctx context.Context, c render.Cluster) (bool, error) {
	pods, err := o.mirrorPods(ctx, c)
	if err != nil || len(pods) > 0 {
		return true, err
	}
	err = o.Live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: render.MirrorName(c.Name)}, &appsv1.Deployment{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return true, err
}

// MirrorProblem is why the mirror of a cluster does not keep up, as its pod has said; empty if it has said nothing.
func (o *Observer) MirrorProblem(ctx context.Context, c render.Cluster) (string, error) {
	pods, err := o.mirrorPods(ctx, c)
	if err != nil {
		return "", err
	}
	for i := range pods {
		pod := &pods[i]
		for _, status := range pod.Status.ContainerStatuses {
			for _, ended := range []*corev1.ContainerStateTerminated{status.State.Terminated, status.LastTerminationState.Terminated} {
				if ended == nil || status.State.Running != nil && status.Ready {
					continue
				}
				if result := task.Decode(ended.Message); result.Problem != "" {
					return result.Problem, nil
				}
			}
		}
		if problem := agentProblem(pod); problem.Message != "" {
			return problem.Message, nil
		}
	}
	return "", nil
}
