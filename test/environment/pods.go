package environment

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// volumeRetry is how soon volumes that could not be made are tried again if no ConfigMap or Secret changes.
const volumeRetry = time.Second

// podWorker plays the kubelet for one pod.
type podWorker struct {
	agent           *nodeAgent
	uid             types.UID
	namespace, name string

	// context ends when the pod's processes are to be killed and left without a word, as when a node dies.
	context  context.Context
	cancel   context.CancelFunc
	finished chan struct{} // closed when nothing of the pod runs any more

	wake  chan struct{} // the pod changed
	dirty chan struct{} // the status is to be written
	stop  chan struct{} // closed when the containers are to be asked to end
	kill  chan struct{} // closed when the grace period is over

	folders map[string]string // of volumes

	mutex          sync.Mutex
	network        *podNetwork
	inputsStale    bool // a ConfigMap or Secret changed
	initContainers []*containerRun
	containers     []*containerRun

	pod     *corev1.Pod // as it was when it came to the node
	writing sync.Mutex
	written *corev1.Pod // as of the last write of the status
}

// newPodWorker makes a worker for a pod. A pod that ran before, on a node that was stopped, gets new containers.
func newPodWorker(agent *nodeAgent, pod *corev1.Pod) *podWorker {
	w := &podWorker{
		agent: agent, uid: pod.UID, namespace: pod.Namespace, name: pod.Name, pod: pod, written: pod,
		finished: make(chan struct{}), wake: make(chan struct{}, 1), dirty: make(chan struct{}, 1),
		stop: make(chan struct{}), kill: make(chan struct{}),
	}
	w.context, w.cancel = context.WithCancel(agent.context)
	for index := range pod.Spec.InitContainers {
		w.initContainers = append(w.initContainers, newContainerRun(w, &pod.Spec.InitContainers[index], pod.Status.InitContainerStatuses))
	}
	for index := range pod.Spec.Containers {
		w.containers = append(w.containers, newContainerRun(w, &pod.Spec.Containers[index], pod.Status.ContainerStatuses))
	}
	return w
}

// poke tells the worker that its pod changed.
func (w *podWorker) poke() { notify(w.wake) }

// inputChanged tells the worker that a ConfigMap or Secret of its namespace changed.
func (w *podWorker) inputChanged() {
	w.mutex.Lock()
	w.inputsStale = true
	w.mutex.Unlock()
	w.poke()
}

// notify leaves one note in a channel that holds one.
func notify(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// current is the pod as it is now, or nil if it is gone.
func (w *podWorker) current() *corev1.Pod {
	pod, err := w.agent.pods.Pods(w.namespace).Get(w.name)
	if err != nil || pod.UID != w.uid {
		return nil
	}
	return pod
}

// run runs the pod from its start to its end.
func (w *podWorker) run() {
	defer func() {
		w.cancel()
		if w.network != nil {
			w.network.close()
		}
		w.agent.forget(w)
		close(w.finished)
	}()
	network, err := w.agent.network.connect()
	if err != nil {
		w.report(err)
		return
	}
	w.mutex.Lock()
	w.network = network
	w.mutex.Unlock()
	var goroutines sync.WaitGroup
	goroutines.Go(w.writeStatuses)
	defer goroutines.Wait()
	defer w.cancel()
	if !w.waitForVolumes() {
		w.finish()
		return
	}
	ended := make(chan struct{})
	goroutines.Go(func() {
		defer close(ended)
		w.runContainers()
	})
	w.attend(ended)
	w.finish()
}

// waitForVolumes makes the pod's volumes as soon as what they need exists. It is false if the pod ended before.
func (w *podWorker) waitForVolumes() bool {
	for {
		pod := w.current()
		if pod == nil || pod.DeletionTimestamp != nil || w.context.Err() != nil {
			return false
		}
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			return w.waitForDeletion()
		}
		var err error
		if err = w.writeSystemFiles(pod); err == nil {
			w.folders, err = w.mountVolumes(w.context, w.podInputs(pod))
		}
		notify(w.dirty)
		if err == nil {
			return true
		}
		w.report(err)
		select {
		case <-w.context.Done():
			return false
		case <-w.wake:
		case <-time.After(volumeRetry):
		}
	}
}

// waitForDeletion waits for the end of a pod that has completed already. It is always false.
func (w *podWorker) waitForDeletion() bool {
	for pod := w.current(); pod != nil && pod.DeletionTimestamp == nil; pod = w.current() {
		select {
		case <-w.context.Done():
			return false
		case <-w.wake:
		}
	}
	return false
}

// podNetwork is the pod's network for other goroutines than the worker's own, or nil.
func (w *podWorker) podNetwork() *podNetwork {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.network
}

func (w *podWorker) podInputs(pod *corev1.Pod) podInputs {
	return podInputs{client: w.agent.client, pod: pod, address: w.network.address}
}

// runContainers runs the init containers one after another, then the containers all at once, to their end.
func (w *podWorker) runContainers() {
	for _, container := range w.initContainers {
		if !container.run(true) {
			return
		}
	}
	var running sync.WaitGroup
	for _, container := range w.containers {
		running.Go(func() { container.run(false) })
	}
	running.Wait()
}

// attend watches over the pod until its containers have ended and it is to be deleted, or it is gone.
func (w *podWorker) attend(ended <-chan struct{}) {
	var deadline <-chan time.Time
	var allowed time.Duration
	stopping := false
	generation := w.pod.Generation
	for {
		pod := w.current()
		if pod != nil && pod.Generation != generation {
			generation = pod.Generation
			notify(w.dirty) // e.g. after a resize
		}
		switch {
		case pod == nil:
			w.cancel()
		case pod.DeletionTimestamp != nil:
			grace := time.Duration(ptr.Deref(pod.DeletionGracePeriodSeconds, 30)) * time.Second
			if !stopping {
				stopping = true
				close(w.stop)
			}
			if deadline == nil || grace < allowed {
				deadline, allowed = time.After(grace), grace
			}
		default:
			w.refreshVolumes(pod)
		}
		wake, over := w.wake, ended
		if !stopping && w.context.Err() == nil {
			over = nil // a completed pod stays until it is deleted
		}
		select {
		case <-over:
			return
		case <-wake:
		case <-deadline:
			close(w.kill)
			<-ended
			return
		case <-w.context.Done():
			<-ended
			return
		}
	}
}

// refreshVolumes brings volumes up to date after a ConfigMap or Secret changed.
func (w *podWorker) refreshVolumes(pod *corev1.Pod) {
	w.mutex.Lock()
	stale := w.inputsStale
	w.inputsStale = false
	w.mutex.Unlock()
	if stale {
		if err := w.writeVolumes(w.context, w.podInputs(pod), w.folders); err != nil {
			w.report(err)
		}
	}
}

// finish tells the API server that the pod has ended, and removes what it had on the node. After the death of
// its node the pod and its folder stay.
func (w *podWorker) finish() {
	pod := w.current()
	if pod == nil {
		w.agent.markEnded(w.uid)
		removePodFolder(w.agent.folder, w.uid)
		return
	}
	if w.context.Err() != nil || pod.DeletionTimestamp == nil {
		return
	}
	w.writeStatus()
	w.agent.markEnded(w.uid)
	removePodFolder(w.agent.folder, w.uid)
	err := w.agent.client.CoreV1().Pods(w.namespace).Delete(w.context, w.name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To(int64(0)), Preconditions: &metav1.Preconditions{UID: &w.uid},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		w.report(fmt.Errorf("delete the pod: %w", err))
	}
}

// writeStatuses writes the pod's status whenever it changed, until the worker ends.
func (w *podWorker) writeStatuses() {
	for {
		select {
		case <-w.context.Done():
			return
		case <-w.dirty:
			w.writeStatus()
		}
	}
}

// writeStatus writes the pod's status now.
func (w *podWorker) writeStatus() {
	w.writing.Lock()
	defer w.writing.Unlock()
	before := w.written.DeepCopy()
	pod := w.current()
	if pod == nil {
		return
	}
	for _, condition := range pod.Status.Conditions {
		if !ownCondition(condition.Type) {
			setPodCondition(&before.Status, condition)
		}
	}
	before.Generation, before.DeletionTimestamp = pod.Generation, pod.DeletionTimestamp
	after := before.DeepCopy()
	w.mutex.Lock()
	initStatuses, statuses := snapshot(w.initContainers), snapshot(w.containers)
	w.mutex.Unlock()
	reportResources(pod, statuses)
	after.Status = podStatus(before, w.network.address.String(), initStatuses, statuses)
	written, err := patchPodStatus(w.context, w.agent.client, before, after)
	switch {
	case err == nil:
		w.written = written
	case apierrors.IsNotFound(err), apierrors.IsConflict(err), w.context.Err() != nil: // gone or replaced
	default:
		w.report(fmt.Errorf("write the pod's status: %w", err))
		time.AfterFunc(100*time.Millisecond, func() { notify(w.dirty) })
	}
}

// ownCondition tells whether the kubelet writes a condition itself.
func ownCondition(kind corev1.PodConditionType) bool {
	return kind == corev1.PodReady || kind == corev1.ContainersReady || kind == corev1.PodInitialized
}

// snapshot copies the containers' statuses. The caller holds the worker's mutex.
func snapshot(containers []*containerRun) []corev1.ContainerStatus {
	statuses := make([]corev1.ContainerStatus, 0, len(containers))
	for _, container := range containers {
		statuses = append(statuses, *container.status.DeepCopy())
	}
	return statuses
}

// writeSystemFiles writes the files in /etc that a kubelet gives each container.
func (w *podWorker) writeSystemFiles(pod *corev1.Pod) error {
	folder := w.systemFolder()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make the pod's folder: %w", err)
	}
	name := hostname(pod)
	hosts := fmt.Sprintf("127.0.0.1\tlocalhost\n%s\t%s\n", w.network.address, name)
	if pod.Spec.Subdomain != "" {
		hosts = fmt.Sprintf("127.0.0.1\tlocalhost\n%s\t%s.%s.%s.svc.cluster.local\t%s\n", w.network.address, name, pod.Spec.Subdomain, pod.Namespace, name)
	}
	for file, text := range map[string]string{
		"hosts":       hosts,
		"hostname":    name + "\n",
		"resolv.conf": fmt.Sprintf("search %s.svc.cluster.local svc.cluster.local cluster.local\nnameserver %s\noptions ndots:5\n", pod.Namespace, gatewayAddress),
	} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the pod's %s: %w", file, err)
		}
	}
	return nil
}

func (w *podWorker) systemFolder() string {
	return filepath.Join(podFolder(w.agent.folder, w.uid), "etc")
}

// report writes what the worker could not do to the agent's log.
func (w *podWorker) report(err error) {
	if w.context.Err() != nil {
		return
	}
	file, openErr := os.OpenFile(filepath.Join(w.agent.logs, "node-agent.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if openErr != nil {
		return
	}
	_, _ = fmt.Fprintf(file, "%s pod %s/%s: %v\n", time.Now().Format(time.RFC3339Nano), w.namespace, w.name, err)
	_ = file.Close()
}
