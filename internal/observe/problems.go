package observe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// defaultClassAnnotations mark the StorageClass that claims without a class get; Kubernetes honors the older one too.
var defaultClassAnnotations = []string{"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"}

// The fields that name StorageClasses.
const (
	classField    = "spec.storage.storageClassName"
	walClassField = "spec.storage.wal.storageClassName"
)

// longestMessage bounds what is quoted from elsewhere.
const longestMessage = 400

// ObservePod reads what there is to know about the pod of a member.
func ObservePod(pod *corev1.Pod) core.Pod {
	observed := core.Pod{
		Exists:      true,
		UID:         string(pod.UID),
		Created:     pod.CreationTimestamp.Time,
		Deleting:    pod.DeletionTimestamp != nil,
		MemberHash:  pod.Annotations[render.AnnotationMemberHash],
		RestartHash: pod.Annotations[render.AnnotationRestartHash],
		Problem:     podProblem(pod),
		Resizing:    resizing(pod),
	}
	observed.Start, observed.StartFixed = render.PodStart(pod)
	for _, condition := range pod.Status.Conditions {
		switch condition.Type { //nolint:exhaustive // Others say nothing that decisions depend on.
		case corev1.PodReady:
			observed.Ready = condition.Status == corev1.ConditionTrue
		case corev1.PodResizePending:
			observed.ResizeRefused = condition.Status == corev1.ConditionTrue && condition.Reason == corev1.PodReasonInfeasible && !unseen(pod)
		}
	}
	for i := range pod.Status.ContainerStatuses {
		status := &pod.Status.ContainerStatuses[i]
		if status.Name == render.ContainerName {
			observed.Running = status.State.Running != nil
			observed.Started = status.Started != nil && *status.Started
		}
	}
	return observed
}

// resizing says what a change of a pod's CPU and memory waits for. What the node puts off, or never has, is told apart from that.
func resizing(pod *corev1.Pod) string {
	wait := ""
	if unseen(pod) {
		return "the kubelet has not begun"
	}
	for _, condition := range pod.Status.Conditions {
		switch {
		case condition.Status != corev1.ConditionTrue:
		case condition.Type == corev1.PodResizePending && (condition.Reason == corev1.PodReasonDeferred || condition.Reason == corev1.PodReasonInfeasible):
			return ""
		case condition.Type == corev1.PodResizePending, condition.Type == corev1.PodResizeInProgress:
			wait = shorten(cmp.Or(condition.Message, "the kubelet is at it"))
		}
	}
	if wait == "" && pod.Status.ObservedGeneration == 0 && !given(pod) {
		wait = "the kubelet has not done it"
	}
	return wait
}

// unseen is whether the kubelet has not seen yet what is asked of a pod. Before Kubernetes 1.34 it does not say.
func unseen(pod *corev1.Pod) bool {
	return pod.Status.ObservedGeneration > 0 && pod.Status.ObservedGeneration < pod.Generation
}

// given is whether a container has what its pod asks for.
func given(pod *corev1.Pod) bool {
	for _, container := range pod.Spec.Containers {
		for i := range pod.Status.ContainerStatuses {
			status := &pod.Status.ContainerStatuses[i]
			if status.Name == render.ContainerName && container.Name == status.Name && status.Resources != nil {
				return covers(status.Resources.Requests, container.Resources.Requests) && covers(status.Resources.Limits, container.Resources.Limits)
			}
		}
	}
	return true
}

// covers is whether a list of resources has the CPU and memory of another one.
func covers(has, asked corev1.ResourceList) bool {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if want, ok := asked[name]; ok && want.Cmp(has[name]) != 0 {
			return false
		}
	}
	return true
}

// podProblem says why a pod's etcd does not run, if that would not mend itself.
func podProblem(pod *corev1.Pod) core.Problem {
	if problem := unschedulable(pod); !problem.IsZero() {
		return problem
	}
	for i := range pod.Status.ContainerStatuses {
		if status := &pod.Status.ContainerStatuses[i]; status.Name == render.ContainerName {
			return containerProblem(pod.Name, status)
		}
	}
	return core.Problem{}
}

// agentProblem says why no container of an agent runs.
func agentProblem(pod *corev1.Pod) core.Problem {
	if problem := unschedulable(pod); !problem.IsZero() {
		return problem
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range statuses {
			if problem := waitingProblem(pod.Name, &statuses[i]); !problem.IsZero() {
				return problem
			}
		}
	}
	return core.Problem{}
}

func unschedulable(pod *corev1.Pod) core.Problem {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable {
			return core.Problem{Reason: core.ReasonUnschedulable, Message: fmt.Sprintf("pod %s cannot be scheduled: %s", pod.Name, shorten(condition.Message))}
		}
	}
	return core.Problem{}
}

// waitingProblem says why a container has not been made.
func waitingProblem(pod string, status *corev1.ContainerStatus) core.Problem {
	if waiting := status.State.Waiting; waiting != nil {
		switch waiting.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable":
			return core.Problem{Reason: core.ReasonImagePullFailed, Message: fmt.Sprintf("pod %s: image %s cannot be pulled: %s", pod, status.Image, pullMessage(waiting))}
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return core.Problem{Reason: core.ReasonContainerConfig, Message: fmt.Sprintf("pod %s: %s: %s", pod, waiting.Reason, shorten(waiting.Message))}
		}
	}
	return core.Problem{}
}

func containerProblem(pod string, status *corev1.ContainerStatus) core.Problem {
	if problem := waitingProblem(pod, status); !problem.IsZero() {
		return problem
	}
	ended := status.State.Terminated
	if ended == nil {
		ended = status.LastTerminationState.Terminated
	}
	if status.State.Running == nil && ended != nil && (status.RestartCount > 0 || ended.ExitCode != 0) {
		reason := core.ReasonCrashLooping
		if found := dataProblem(ended.Message); found != "" {
			reason = found
		}
		if how := diskFull(ended.Message); how != "" {
			return core.Problem{Reason: core.ReasonDiskFull, Message: fmt.Sprintf("pod %s: etcd ended since its volume is full: raise spec.storage.size, or spec.storage.wal.size if the log has a volume of its own (%s)", pod, how)}
		}
		return core.Problem{Reason: reason, Message: fmt.Sprintf("pod %s: etcd ended with exit code %d (%s): %s", pod, ended.ExitCode, ended.Reason, shorten(lastLine(ended.Message)))}
	}
	return core.Problem{}
}

// pullMessage is the same while the kubelet alternates between trying and waiting.
func pullMessage(waiting *corev1.ContainerStateWaiting) string {
	if _, cause, ok := strings.Cut(waiting.Message, "ErrImagePull: "); ok {
		return shorten(cause)
	}
	return shorten(waiting.Message)
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func shorten(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > longestMessage {
		return strings.ToValidUTF8(text[:longestMessage], "") + "…"
	}
	return text
}

// claimProblem says why a claim gets no volume.
func (o *Observer) claimProblem(ctx context.Context, claim *corev1.PersistentVolumeClaim) core.Problem {
	field := classField
	if strings.HasPrefix(claim.Name, render.WALVolume+"-") {
		field = walClassField
	}
	if problem := o.classMissing(ctx, field, claim.Spec.StorageClassName); !problem.IsZero() {
		problem.Message = fmt.Sprintf("claim %s gets no volume: %s", claim.Name, problem.Message)
		return problem
	}
	if message := o.warning(ctx, claim.Namespace, string(claim.UID), "ProvisioningFailed"); message != "" {
		return core.Problem{Reason: core.ReasonVolumePending, Message: fmt.Sprintf("claim %s gets no volume: %s", claim.Name, message)}
	}
	return core.Problem{}
}

// classMissing says that there is no StorageClass as a field of the spec asks for it.
func (o *Observer) classMissing(ctx context.Context, field string, class *string) core.Problem {
	switch {
	case class == nil:
		if o.noDefaultClass(ctx) {
			return core.Problem{Reason: core.ReasonStorageClassMissing, Message: fmt.Sprintf("there is no default StorageClass: set %s to one of: %s", field, o.classes(ctx))}
		}
	case *class != "" && apierrors.IsNotFound(o.Live.Get(ctx, client.ObjectKey{Name: *class}, &storagev1.StorageClass{})):
		return core.Problem{Reason: core.ReasonStorageClassMissing, Message: fmt.Sprintf("StorageClass %s does not exist: make it, or set %s to one of: %s", *class, field, o.classes(ctx))}
	}
	return core.Problem{}
}

// classes lists the StorageClasses, for a message. Installed for single namespaces the operator may not read them.
func (o *Observer) classes(ctx context.Context) string {
	var list storagev1.StorageClassList
	if err := o.Live.List(ctx, &list); err != nil {
		return "(the operator may not list them)"
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	if len(names) == 0 {
		return "(there are none)"
	}
	return strings.Join(names, ", ")
}

func (o *Observer) noDefaultClass(ctx context.Context) bool {
	var list storagev1.StorageClassList
	if err := o.Live.List(ctx, &list); err != nil {
		return false
	}
	return !slices.ContainsFunc(list.Items, func(class storagev1.StorageClass) bool {
		return slices.ContainsFunc(defaultClassAnnotations, func(name string) bool { return class.Annotations[name] == "true" })
	})
}

// explainMissingPod finds out why a StatefulSet has no pod. Its controller says that in events only.
func (o *Observer) explainMissingPod(ctx context.Context, c render.Cluster, m *core.Member) {
	if m.Pod.Exists || !m.Workload.Exists() {
		return
	}
	message := o.warning(ctx, c.Namespace, m.Workload.UID, "FailedCreate")
	switch {
	case message == "":
	case strings.Contains(message, "exceeded quota"):
		m.Workload.Problem = core.Problem{Reason: core.ReasonQuotaExceeded, Message: fmt.Sprintf("member %s: %s", m.Name, message)}
	default:
		m.Workload.Problem = core.Problem{Reason: core.ReasonPodRefused, Message: fmt.Sprintf("member %s: %s", m.Name, message)}
	}
}

// warning is the newest warning about an object with the given reason, of the last minutes.
func (o *Observer) warning(ctx context.Context, namespace, uid, reason string) string {
	const recent = 20 * time.Minute
	var list corev1.EventList
	selector := fields.Set{"involvedObject.uid": uid, "reason": reason, "type": corev1.EventTypeWarning}.AsSelector()
	if err := o.Live.List(ctx, &list, client.InNamespace(namespace), client.MatchingFieldsSelector{Selector: selector}); err != nil {
		return ""
	}
	newest, message := o.Now().Add(-recent), ""
	for i := range list.Items {
		if at := lastSeen(&list.Items[i]); at.After(newest) {
			newest, message = at, list.Items[i].Message
		}
	}
	return shorten(message)
}

func lastSeen(event *corev1.Event) time.Time {
	at := event.LastTimestamp.Time
	if event.Series != nil && event.Series.LastObservedTime.After(at) {
		at = event.Series.LastObservedTime.Time
	}
	if event.EventTime.After(at) {
		at = event.EventTime.Time
	}
	return at
}
