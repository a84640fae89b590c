package observe

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// job is an agent's Job, with what has become of it.
type job struct {
	uid                      types.UID
	exists, foreign, leaving bool
	// ended is whether it will not run again, and failed whether it did not do what it was to.
	ended, failed bool
	endedAt       time.Time
	// trouble is why it does not get on, or failed.
	trouble string
	// result is what its last pod has left.
	result task.Result
	// address is where its pod is reached, while it runs.
	address string
}

// job reads a Job of an owner. Due is whether it is about to be made, if there is none.
func (o *Observer) job(ctx context.Context, name client.ObjectKey, owner types.UID, due bool) (job, error) {
	live, err := o.findJob(ctx, name, due)
	if live == nil || err != nil {
		return job{}, err
	}
	seen := job{uid: live.UID, exists: true, leaving: live.DeletionTimestamp != nil}
	if controller := metav1.GetControllerOf(live); controller == nil || controller.UID != owner {
		// That of an object of the same name that is gone will go too.
		seen.foreign = controller == nil || !slices.Contains([]string{"EtcdBackup", "EtcdRestore", "EtcdCluster"}, controller.Kind)
		seen.leaving = !seen.foreign
		return seen, nil
	}
	for _, c := range live.Status.Conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
			seen.ended, seen.failed, seen.endedAt, seen.trouble = true, c.Type == batchv1.JobFailed, c.LastTransitionTime.Time, c.Message
		}
	}
	var pods corev1.PodList
	// Pods of agents are in no cache: they are few, and short-lived.
	its := client.MatchingLabels{batchv1.JobNameLabel: name.Name, batchv1.ControllerUidLabel: string(live.UID)}
	if err := o.Live.List(ctx, &pods, client.InNamespace(name.Namespace), its); err != nil {
		return job{}, fmt.Errorf("listing the pods of Job %s: %w", name, err)
	}
	seen.readPods(pods.Items)
	return seen, nil
}

// findJob finds a Job; nil if there is none. The cache has those of agents only, and is late: whether a name is free is asked live.
func (o *Observer) findJob(ctx context.Context, name client.ObjectKey, due bool) (*batchv1.Job, error) {
	cached := &batchv1.Job{}
	err := o.Cache.Get(ctx, name, cached)
	switch {
	case err == nil:
		return cached, nil
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading Job %s: %w", name, err)
	case !due:
		return nil, nil
	}
	var live batchv1.JobList
	if err := o.Live.List(ctx, &live, client.InNamespace(name.Namespace), client.MatchingFields{metav1.ObjectNameField: name.Name}); err != nil {
		return nil, fmt.Errorf("looking for Job %s: %w", name, err)
	}
	if len(live.Items) == 0 {
		return nil, nil
	}
	return &live.Items[0], nil
}

// readPods reads what the last pod of a Job has left, or the one that has done the task, or why none runs.
func (j *job) readPods(pods []corev1.Pod) {
	var last *corev1.Pod
	for i := range pods {
		if pod := &pods[i]; last == nil || done(pod) || !done(last) && last.CreationTimestamp.Before(&pod.CreationTimestamp) {
			last = pod
		}
	}
	if last == nil {
		return
	}
	ended := endOf(last)
	if ended == nil {
		if !j.ended {
			j.trouble = agentProblem(last).Message
		}
		if last.Status.Phase == corev1.PodRunning {
			j.address = last.Status.PodIP
		}
		return
	}
	if j.result = task.Decode(ended.Message); ended.ExitCode == 0 {
		// The task is done. The kubelet takes a second more to call the pod succeeded, and Kubernetes another one to call the Job complete. If the
		// node is lost before, there may be another pod, which finds all done.
		if !j.ended {
			j.ended, j.endedAt = true, ended.FinishedAt.Time
		}
		return
	}
	if j.trouble = j.result.Problem; j.trouble == "" {
		j.trouble = fmt.Sprintf("the agent ended with exit code %d (%s)", ended.ExitCode, ended.Reason)
	}
	if !j.ended {
		j.trouble = "the last try failed, and there will be another: " + j.trouble
	}
}

// AgentEnded is whether an agent's pod has done its task, or has failed to.
func AgentEnded(pod *corev1.Pod) bool {
	return endOf(pod) != nil || pod.Status.Phase == corev1.PodFailed
}

// done is whether an agent has done its task.
func done(pod *corev1.Pod) bool {
	ended := endOf(pod)
	return ended != nil && ended.ExitCode == 0
}

// endOf is how an agent's container ended, or the one before it; nil if none did.
func endOf(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == render.AgentContainer && c.State.Terminated != nil {
			return c.State.Terminated
		}
	}
	for _, c := range pod.Status.InitContainerStatuses {
		if ended := c.State.Terminated; ended != nil && ended.ExitCode != 0 {
			return ended
		}
	}
	return nil
}
