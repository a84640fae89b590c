package plugin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// leftFor is how long the Job of a plugin stays that was killed before it removed it.
const leftFor = 10 * time.Minute

// A pod and its log are looked at after this time again, a log at most so many times until it has its end.
const (
	pollInterval = 500 * time.Millisecond
	logTries     = 20
)

// agentImage is the image of the operator that is installed, which has the agent's program, unless another one is given.
func (k *kube) agentImage(ctx context.Context, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	var all appsv1.DeploymentList
	if err := k.List(ctx, &all, client.MatchingLabels{"app.kubernetes.io/part-of": "etcd-k8s-operator", "app.kubernetes.io/component": "manager"}); err != nil {
		return "", fmt.Errorf("looking for the operator's image: %w; or give it with --image", err)
	}
	for i := range all.Items {
		return all.Items[i].Spec.Template.Spec.Containers[0].Image, nil
	}
	return "", errors.New("no operator is installed by its chart, whose image could be used: give it with --image")
}

// runAgent has an agent list the store of a backup, and is what it has found.
func (k *kube) runAgent(ctx context.Context, backup *v1alpha1.EtcdBackup, image, prefix string) ([]task.Found, error) {
	name := "etcd-list-" + strings.ToLower(rand.Text()[:8])
	built := render.Agent{
		Owner: metav1.OwnerReference{Name: name}, Namespace: k.namespace, Name: name, Image: image,
		Store: *backup.Spec.Store, Spec: ptr.Deref(backup.Spec.Agent, v1alpha1.AgentSpec{}), Task: task.Task{Kind: task.List, Name: prefix},
	}
	job, err := built.Job()
	if err != nil {
		return nil, err
	}
	job.OwnerReferences = nil
	job.Spec.BackoffLimit, job.Spec.PodFailurePolicy = ptr.To[int32](0), nil
	job.Spec.TTLSecondsAfterFinished = ptr.To(int32(leftFor.Seconds()))
	if err := k.Create(ctx, job); err != nil {
		return nil, err
	}
	defer k.remove(ctx, job)
	pod, err := k.ended(ctx, job)
	if err != nil {
		return nil, err
	}
	if state := pod.Status.ContainerStatuses[0].State.Terminated; state.ExitCode != 0 {
		return nil, errors.New(cmp.Or(task.Decode(state.Message).Problem, state.Reason))
	}
	return k.written(ctx, pod)
}

// written is what an agent has written before it ended. The end of a log may be there only some time after the container has ended.
func (k *kube) written(ctx context.Context, pod *corev1.Pod) ([]task.Found, error) {
	for try := 1; ; try++ {
		found, err := k.readLog(ctx, pod)
		if err == nil || try == logTries {
			return found, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pollInterval):
		}
	}
}

func (k *kube) readLog(ctx context.Context, pod *corev1.Pod) ([]task.Found, error) {
	lines, err := k.set.CoreV1().Pods(k.namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: render.AgentContainer}).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what pod %s/%s has written: %w", pod.Namespace, pod.Name, orCause(ctx, err))
	}
	return parseFound(lines)
}

// remove removes a Job with its pods, also if the plugin was told to stop.
func (k *kube) remove(ctx context.Context, job *batchv1.Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	// If it cannot be, it goes by itself after a while.
	_ = k.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground))
}

// ended waits until the pod of a Job has ended, and tells what is in the way if that takes too long.
func (k *kube) ended(ctx context.Context, job *batchv1.Job) (*corev1.Pod, error) {
	doing := "its pod is not there yet"
	for {
		var pods corev1.PodList
		if err := k.List(ctx, &pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
			return nil, orCause(ctx, err)
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if s := pod.Status.ContainerStatuses; len(s) > 0 && s[0].State.Terminated != nil {
				return pod, nil
			}
			if pod.Status.Phase == corev1.PodFailed {
				return nil, fmt.Errorf("pod %s/%s has failed: %s", pod.Namespace, pod.Name, strings.TrimSuffix(pod.Status.Reason+": "+pod.Status.Message, ": "))
			}
			doing = waitsFor(pod)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the agent %s/%s has not ended: %w; %s", job.Namespace, job.Name, context.Cause(ctx), doing)
		case <-time.After(pollInterval):
		}
	}
}

// waitsFor is what a pod says that keeps it from ending.
func waitsFor(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
	}
	if i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse
	}); i >= 0 {
		return "it is not scheduled: " + pod.Status.Conditions[i].Message
	}
	return "it is " + string(pod.Status.Phase)
}
