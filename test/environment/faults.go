package environment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// KillMember sends a signal to the processes of a pod's containers. SIGKILL ends them at once; the pod's restart policy decides
// what follows.
func (e *Environment) KillMember(namespace, pod string, signal syscall.Signal) error {
	worker, err := e.agent.worker(namespace, pod)
	if err != nil {
		return err
	}
	worker.mutex.Lock()
	var processes []Running
	for _, container := range worker.containers {
		if container.process != nil {
			processes = append(processes, container.process)
		}
	}
	worker.mutex.Unlock()
	if len(processes) == 0 {
		return fmt.Errorf("send %v to the pod %s/%s: none of its containers runs", signal, namespace, pod)
	}
	var failures []error
	for _, process := range processes {
		failures = append(failures, process.Signal(signal))
	}
	return errors.Join(failures...)
}

// PausePod stops a pod's processes in their tracks; their connections stay open. The pod stays running for the API server, until
// its probes fail.
func (e *Environment) PausePod(namespace, pod string) error {
	return e.KillMember(namespace, pod, syscall.SIGSTOP)
}

// ResumePod lets a paused pod go on.
func (e *Environment) ResumePod(namespace, pod string) error {
	return e.KillMember(namespace, pod, syscall.SIGCONT)
}

// DisconnectPod cuts a pod off the network. What is sent to it or by it is lost without an answer.
func (e *Environment) DisconnectPod(namespace, pod string) error {
	return e.connectPod(namespace, pod, false)
}

// ConnectPod ends a DisconnectPod.
func (e *Environment) ConnectPod(namespace, pod string) error {
	return e.connectPod(namespace, pod, true)
}

func (e *Environment) connectPod(namespace, pod string, connected bool) error {
	worker, err := e.agent.worker(namespace, pod)
	if err != nil {
		return err
	}
	if network := worker.podNetwork(); network != nil {
		return network.setConnected(connected)
	}
	return fmt.Errorf("change the network of the pod %s/%s: it has none yet", namespace, pod)
}

// StopNode lets a node lose its power: its pods' processes die, with what they have in memory, and nobody reports so. The node's and its pods' readiness is
// withdrawn as the node lifecycle controller does; the pods stay, those that are deleted stay terminating.
func (e *Environment) StopNode(ctx context.Context, name string) error {
	a := e.agent
	a.mutex.Lock()
	a.stopped[name] = true
	var workers []*podWorker
	for _, worker := range a.workers {
		if worker.pod.Spec.NodeName == name {
			worker.cancel()
			workers = append(workers, worker)
		}
	}
	a.mutex.Unlock()
	for _, worker := range workers {
		select {
		case <-worker.finished:
		case <-ctx.Done():
			return fmt.Errorf("stop the node %s: the pod %s/%s did not end: %w", name, worker.namespace, worker.name, ctx.Err())
		}
		if err := worker.forgetMemory(); err != nil {
			return fmt.Errorf("stop the node %s: %w", name, err)
		}
	}
	if err := a.reportNode(ctx, name, corev1.ConditionUnknown); err != nil {
		return err
	}
	return a.withdrawReadiness(ctx, name)
}

// StartNode starts a stopped node: its pods' containers start again, those of deleted pods are cleared away.
func (e *Environment) StartNode(ctx context.Context, name string) error {
	a := e.agent
	if err := a.reportNode(ctx, name, corev1.ConditionTrue); err != nil {
		return err
	}
	a.mutex.Lock()
	delete(a.stopped, name)
	pods, _ := a.pods.List(labels.Everything()) // a cache does not fail
	for _, pod := range pods {
		if pod.Spec.NodeName == name {
			a.runPod(pod)
		}
	}
	a.mutex.Unlock()
	a.queuePendingPods()
	return nil
}

// WipeVolume empties the volume of a claim.
func (e *Environment) WipeVolume(ctx context.Context, namespace, claim string) error {
	object, err := e.Clientset.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, claim, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("wipe the volume of the claim %s/%s: %w", namespace, claim, err)
	}
	folder := e.agent.volumeFolder(object.UID)
	if err := emptyFolder(folder); err != nil {
		return fmt.Errorf("wipe the volume of the claim %s/%s: %w", namespace, claim, err)
	}
	return nil
}

// WipePodVolume empties a volume that lives as long as its pod, beneath that.
func (e *Environment) WipePodVolume(namespace, pod, volume string) error {
	worker, err := e.agent.worker(namespace, pod)
	if err != nil {
		return err
	}
	if err := emptyFolder(podVolume(e.agent.folder, worker.uid, volume)); err != nil {
		return fmt.Errorf("wipe the volume %s of the pod %s/%s: %w", volume, namespace, pod, err)
	}
	return nil
}

// emptyFolder removes all that is in a folder, but not the folder: it is mounted.
func emptyFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, entry.Name())))
	}
	return err
}

// VolumeFolder is the folder that holds the content of a claim's volume.
func (e *Environment) VolumeFolder(claim *corev1.PersistentVolumeClaim) string {
	return e.agent.volumeFolder(claim.UID)
}

// worker finds the worker of a pod.
func (a *nodeAgent) worker(namespace, name string) (*podWorker, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, worker := range a.workers {
		if worker.namespace == namespace && worker.name == name && worker.current() != nil {
			return worker, nil
		}
	}
	return nil, fmt.Errorf("the pod %s/%s runs on no node", namespace, name)
}

// reportNode writes whether a node is ready, with the taints that the node lifecycle controller gives.
func (a *nodeAgent) reportNode(ctx context.Context, name string, ready corev1.ConditionStatus) error {
	nodes := a.client.CoreV1().Nodes()
	for {
		node, err := nodes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("report the node %s: %w", name, err)
		}
		node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeUnreachable })
		if ready != corev1.ConditionTrue {
			now := metav1.NewTime(time.Now())
			node.Spec.Taints = append(node.Spec.Taints,
				corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoSchedule, TimeAdded: &now},
				corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute, TimeAdded: &now})
		}
		if node, err = nodes.Update(ctx, node, metav1.UpdateOptions{}); err == nil {
			node.Status = nodeStatus(name, ready)
			_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
		}
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return fmt.Errorf("report the node %s: %w", name, err)
		}
	}
}

// withdrawReadiness marks the pods of a node as not ready.
func (a *nodeAgent) withdrawReadiness(ctx context.Context, node string) error {
	pods, err := a.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return fmt.Errorf("list the pods of the node %s: %w", node, err)
	}
	for index := range pods.Items {
		pod := &pods.Items[index]
		changed := pod.DeepCopy()
		if !hasCondition(&pod.Status, corev1.PodReady) {
			continue
		}
		setPodCondition(&changed.Status, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "NodeNotReady"})
		if _, err := patchPodStatus(ctx, a.client, pod, changed); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("mark the pod %s/%s as not ready: %w", pod.Namespace, pod.Name, err)
		}
	}
	return nil
}
