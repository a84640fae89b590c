package environment

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
)

// patchPodStatus writes what differs between two states of a pod's status, as a kubelet does: conditions of others
// stay, and a pod that was replaced by another of its name is refused as a conflict. It returns the pod as it is then.
func patchPodStatus(ctx context.Context, client kubernetes.Interface, before, after *corev1.Pod) (*corev1.Pod, error) {
	encodedBefore, err := json.Marshal(corev1.Pod{Status: before.Status})
	if err != nil {
		return nil, fmt.Errorf("encode the pod %s/%s: %w", before.Namespace, before.Name, err)
	}
	encodedAfter, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: before.UID}, Status: after.Status})
	if err != nil {
		return nil, fmt.Errorf("encode the pod %s/%s: %w", before.Namespace, before.Name, err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(encodedBefore, encodedAfter, corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare the states of the pod %s/%s: %w", before.Namespace, before.Name, err)
	}
	return client.CoreV1().Pods(before.Namespace).Patch(ctx, before.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
}

// setPodCondition adds or replaces a condition, and tells whether anything changed.
func setPodCondition(status *corev1.PodStatus, condition corev1.PodCondition) bool {
	for index := range status.Conditions {
		current := &status.Conditions[index]
		if current.Type != condition.Type {
			continue
		}
		condition.LastTransitionTime, condition.LastProbeTime = current.LastTransitionTime, current.LastProbeTime
		if condition == *current {
			return false
		}
		if condition.Status != current.Status {
			condition.LastTransitionTime = metav1.Now()
		}
		*current = condition
		return true
	}
	condition.LastTransitionTime = metav1.Now()
	status.Conditions = append(status.Conditions, condition)
	return true
}

// podStatus is the status of a pod whose containers are in the given states.
func podStatus(pod *corev1.Pod, podIP string, initContainers, containers []corev1.ContainerStatus) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.InitContainerStatuses, status.ContainerStatuses = initContainers, containers
	status.HostIP, status.HostIPs = gatewayAddress.String(), []corev1.HostIP{{IP: gatewayAddress.String()}}
	if podIP != "" {
		status.PodIP, status.PodIPs = podIP, []corev1.PodIP{{IP: podIP}}
	}
	if status.StartTime == nil {
		now := metav1.Now()
		status.StartTime = &now
	}
	status.ObservedGeneration = pod.Generation
	status.Phase = podPhase(pod, initContainers, containers)
	initialized := condition(corev1.PodInitialized, areInitialized(initContainers), "ContainersNotInitialized", "init containers are not complete")
	var unready []string
	for _, container := range containers {
		if !container.Ready {
			unready = append(unready, container.Name)
		}
	}
	message := fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	ready := len(unready) == 0
	podReady := condition(corev1.PodReady, ready, "ContainersNotReady", message)
	for _, gate := range pod.Spec.ReadinessGates {
		if ready && !hasCondition(&status, gate.ConditionType) {
			podReady = condition(corev1.PodReady, false, "ReadinessGatesNotReady",
				fmt.Sprintf("the status of pod readiness gate %q is not \"True\"", gate.ConditionType))
		}
	}
	containersReady := condition(corev1.ContainersReady, ready, "ContainersNotReady", message)
	if status.Phase == corev1.PodSucceeded {
		containersReady = condition(corev1.ContainersReady, false, "PodCompleted", "")
		podReady = condition(corev1.PodReady, false, "PodCompleted", "")
	}
	for _, condition := range []corev1.PodCondition{initialized, podReady, containersReady} {
		setPodCondition(&status, condition)
	}
	return status
}

// reportResources reports of each container the resources that its spec asks for by now: a resize in place takes no time here.
func reportResources(pod *corev1.Pod, statuses []corev1.ContainerStatus) {
	for index := range statuses {
		for _, container := range pod.Spec.Containers {
			if container.Name == statuses[index].Name {
				statuses[index].Resources = container.Resources.DeepCopy()
				statuses[index].AllocatedResources = container.Resources.Requests.DeepCopy()
			}
		}
	}
}

// condition is a condition whose reason and message are there only if it is false.
func condition(kind corev1.PodConditionType, holds bool, reason, message string) corev1.PodCondition {
	if holds {
		return corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue}
	}
	return corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message}
}

func hasCondition(status *corev1.PodStatus, kind corev1.PodConditionType) bool {
	for _, condition := range status.Conditions {
		if condition.Type == kind {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// areInitialized tells whether every init container completed.
func areInitialized(statuses []corev1.ContainerStatus) bool {
	for _, status := range statuses {
		if status.State.Terminated == nil || status.State.Terminated.ExitCode != 0 {
			return false
		}
	}
	return true
}

// podPhase follows the kubelet's rules.
func podPhase(pod *corev1.Pod, initContainers, containers []corev1.ContainerStatus) corev1.PodPhase {
	if pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
		for _, status := range initContainers {
			if status.State.Terminated != nil && status.State.Terminated.ExitCode != 0 {
				return corev1.PodFailed
			}
		}
	}
	if !areInitialized(initContainers) {
		return corev1.PodPending
	}
	var waiting, running, failed, succeeded int
	for _, status := range containers {
		ended := status.State.Terminated
		switch {
		case status.State.Running != nil:
			running++
		case ended != nil && ended.ExitCode == 0:
			succeeded++
		case ended != nil:
			failed++
		case status.LastTerminationState.Terminated != nil:
			running++ // waits for its restart
		default:
			waiting++
		}
	}
	switch {
	case waiting > 0:
		return corev1.PodPending
	case running > 0, pod.DeletionTimestamp == nil && pod.Spec.RestartPolicy == corev1.RestartPolicyAlways:
		return corev1.PodRunning
	case failed > 0 && pod.DeletionTimestamp == nil && pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure:
		return corev1.PodRunning
	case failed > 0:
		return corev1.PodFailed
	case succeeded > 0:
		return corev1.PodSucceeded
	}
	return corev1.PodPending
}

// nodeStatus is the status of a node that is ready, or whose state is unknown.
func nodeStatus(name string, ready corev1.ConditionStatus) corev1.NodeStatus {
	resources := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("16"), corev1.ResourceMemory: resource.MustParse("64Gi"), corev1.ResourcePods: resource.MustParse("1000"),
	}
	reason, message := "KubeletReady", "kubelet is posting ready status"
	if ready != corev1.ConditionTrue {
		reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
	}
	return corev1.NodeStatus{
		Capacity: resources, Allocatable: resources,
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: gatewayAddress.String()}, {Type: corev1.NodeHostName, Address: name},
		},
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: ready, Reason: reason, Message: message,
			LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
		}},
	}
}
