package environment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	schedulinghelpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// Reasons why a node does not take a pod, in the real scheduler's words.
const (
	reasonAffinity      = "node(s) didn't match Pod's node affinity/selector"
	reasonUnschedulable = "node(s) were unschedulable"
	reasonTaint         = "node(s) had untolerated taint(s)"
	reasonAntiAffinity  = "node(s) didn't match pod anti-affinity rules"
	reasonVolume        = "node(s) didn't match PersistentVolume's node affinity"
)

// schedule finds a node for a pod, provisions the claims that waited for it, and binds the pod to the node.
func (a *nodeAgent) schedule(ctx context.Context, namespace, name string) error {
	pod, err := a.pods.Pods(namespace).Get(name)
	if err != nil {
		return ignoreNotFound(err)
	}
	if pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil || len(pod.Spec.SchedulingGates) > 0 {
		return nil
	}
	a.mutex.Lock()
	assumed := a.assumed[pod.UID]
	a.mutex.Unlock()
	if assumed != "" || (pod.Spec.SchedulerName != "" && pod.Spec.SchedulerName != corev1.DefaultSchedulerName) {
		return nil
	}
	claims, problem := a.podClaims(pod)
	if problem != "" {
		return a.reportUnschedulable(ctx, pod, fmt.Sprintf("0/%d nodes are available: %s", a.nodeCount(), problem))
	}
	node, message := a.chooseNode(pod, claims)
	if node == nil {
		return a.reportUnschedulable(ctx, pod, message)
	}
	for _, claim := range claims {
		if claim.Spec.VolumeName == "" {
			if err := a.provision(ctx, claim, node.Name); err != nil {
				return err
			}
		}
	}
	a.mutex.Lock()
	a.assumed[pod.UID] = node.Name
	a.mutex.Unlock()
	err = a.client.CoreV1().Pods(namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node.Name},
	}, metav1.CreateOptions{})
	if err != nil {
		a.mutex.Lock()
		delete(a.assumed, pod.UID)
		a.mutex.Unlock()
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil // deleted or replaced meanwhile
		}
	}
	return err
}

// podClaims are the claims that a pod uses. The problem says why the pod cannot run on any node for now.
func (a *nodeAgent) podClaims(pod *corev1.Pod) (claims []*corev1.PersistentVolumeClaim, problem string) {
	for _, volume := range pod.Spec.Volumes {
		if volume.PersistentVolumeClaim == nil {
			continue
		}
		name := volume.PersistentVolumeClaim.ClaimName
		claim, err := a.claims.PersistentVolumeClaims(pod.Namespace).Get(name)
		if err != nil {
			return nil, fmt.Sprintf("persistentvolumeclaim %q not found", name)
		}
		if claim.DeletionTimestamp != nil {
			return nil, fmt.Sprintf("persistentvolumeclaim %q is being deleted", name)
		}
		if claim.Spec.VolumeName == "" {
			if _, err := a.classOf(claim); err != nil {
				return nil, "pod has unbound immediate PersistentVolumeClaims"
			}
		}
		claims = append(claims, claim)
	}
	return claims, ""
}

// chooseNode is the best node for a pod, or nil and the scheduler's message.
func (a *nodeAgent) chooseNode(pod *corev1.Pod, claims []*corev1.PersistentVolumeClaim) (*corev1.Node, string) {
	nodes, _ := a.nodeList.List(labels.Everything()) // a cache does not fail
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].Name < nodes[j].Name })
	placed := a.placedPods()
	reasons := map[string]int{}
	var best *corev1.Node
	var bestScore []int
	for _, node := range nodes {
		if reason := a.reject(pod, node, nodes, placed, claims); reason != "" {
			reasons[reason]++
			continue
		}
		if score := placementScore(pod, node, nodes, placed); best == nil || slices.Compare(score, bestScore) < 0 {
			best, bestScore = node, score
		}
	}
	if best != nil {
		return best, ""
	}
	return nil, unschedulableMessage(len(nodes), reasons)
}

// unschedulableMessage is worded as the real scheduler's.
func unschedulableMessage(nodes int, reasons map[string]int) string {
	if nodes == 0 {
		return "no nodes available to schedule pods"
	}
	var parts []string
	for reason, count := range reasons {
		parts = append(parts, fmt.Sprintf("%d %s", count, reason))
	}
	sort.Strings(parts)
	return fmt.Sprintf("0/%d nodes are available: %s. preemption: 0/%d nodes are available: %d Preemption is not helpful for scheduling.",
		nodes, strings.Join(parts, ", "), nodes, nodes)
}

// placedPods are the running pods by node.
func (a *nodeAgent) placedPods() map[string][]*corev1.Pod {
	pods, _ := a.pods.List(labels.Everything()) // a cache does not fail
	a.mutex.Lock()
	defer a.mutex.Unlock()
	placed := map[string][]*corev1.Pod{}
	for _, pod := range pods {
		node := pod.Spec.NodeName
		if node == "" {
			node = a.assumed[pod.UID]
		}
		if node != "" && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			placed[node] = append(placed[node], pod)
		}
	}
	return placed
}

// reject is the reason why a node does not take a pod, or "".
func (a *nodeAgent) reject(pod *corev1.Pod, node *corev1.Node, nodes []*corev1.Node, placed map[string][]*corev1.Pod,
	claims []*corev1.PersistentVolumeClaim) string {
	if matches, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node); err != nil || !matches {
		return reasonAffinity
	}
	if node.Spec.Unschedulable {
		return reasonUnschedulable
	}
	_, tainted := schedulinghelpers.FindMatchingUntoleratedTaint(klog.Background(), node.Spec.Taints, pod.Spec.Tolerations, func(taint *corev1.Taint) bool {
		return taint.Effect != corev1.TaintEffectPreferNoSchedule
	}, false)
	if tainted || a.isStopped(node.Name) {
		return reasonTaint
	}
	for _, claim := range claims {
		if volume, err := a.volumes.Get(claim.Spec.VolumeName); err == nil && !volumeReaches(volume, node) {
			return reasonVolume
		}
	}
	if violatesAntiAffinity(pod, node, nodes, placed) {
		return reasonAntiAffinity
	}
	return ""
}

// volumeReaches tells whether a node can use a volume.
func volumeReaches(volume *corev1.PersistentVolume, node *corev1.Node) bool {
	if volume.Spec.NodeAffinity == nil || volume.Spec.NodeAffinity.Required == nil {
		return true
	}
	selector, err := nodeaffinity.NewNodeSelector(volume.Spec.NodeAffinity.Required)
	return err == nil && selector.Match(node)
}

// violatesAntiAffinity checks the pod's own required anti-affinity, within its namespace.
func violatesAntiAffinity(pod *corev1.Pod, node *corev1.Node, nodes []*corev1.Node, placed map[string][]*corev1.Pod) bool {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.PodAntiAffinity == nil {
		return false
	}
	for _, term := range pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		selector, err := metav1.LabelSelectorAsSelector(term.LabelSelector)
		if err != nil {
			return true
		}
		for _, neighbor := range nodes {
			if neighbor.Labels[term.TopologyKey] != node.Labels[term.TopologyKey] {
				continue
			}
			for _, other := range placed[neighbor.Name] {
				if other.Namespace == pod.Namespace && selector.Matches(labels.Set(other.Labels)) {
					return true
				}
			}
		}
	}
	return false
}

// placementScore is lower for better nodes: few pods of the same owner in the zone, then on the node, then few pods at all.
func placementScore(pod *corev1.Pod, node *corev1.Node, nodes []*corev1.Node, placed map[string][]*corev1.Pod) []int {
	owner := metav1.GetControllerOf(pod)
	siblings := func(node string) (count int) {
		for _, other := range placed[node] {
			if otherOwner := metav1.GetControllerOf(other); owner != nil && otherOwner != nil && owner.UID == otherOwner.UID {
				count++
			}
		}
		return count
	}
	inZone := 0
	for _, neighbor := range nodes {
		if neighbor.Labels[corev1.LabelTopologyZone] == node.Labels[corev1.LabelTopologyZone] {
			inZone += siblings(neighbor.Name)
		}
	}
	return []int{inZone, siblings(node.Name), len(placed[node.Name])}
}

// reportUnschedulable writes the condition that the scheduler writes.
func (a *nodeAgent) reportUnschedulable(ctx context.Context, pod *corev1.Pod, message string) error {
	changed := pod.DeepCopy()
	if !setPodCondition(&changed.Status, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message,
	}) {
		return nil
	}
	_, err := patchPodStatus(ctx, a.client, pod, changed)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return errors.Join(fmt.Errorf("report the pod %s/%s as unschedulable: %w", pod.Namespace, pod.Name, err))
	}
	return nil
}

func (a *nodeAgent) nodeCount() int {
	nodes, _ := a.nodeList.List(labels.Everything()) // a cache does not fail
	return len(nodes)
}

func (a *nodeAgent) isStopped(node string) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.stopped[node]
}
