package environment

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
)

// nodeAgentOptions say what a node agent works with.
type nodeAgentOptions struct {
	client              kubernetes.Interface
	network             *clusterNetwork
	images              map[string]Runner
	nodes               int
	folder, logs        string
	backOff, maxBackOff time.Duration
}

// nodeAgent plays the scheduler, the volume provisioner and the kubelet of every node.
//
// One goroutine schedules pods and provisions claims, so that the same objects in the same order get the same nodes. Each
// pod has goroutines of its own from the moment it has a node.
type nodeAgent struct {
	nodeAgentOptions
	informers informers.SharedInformerFactory
	pods      corelisters.PodLister
	claims    corelisters.PersistentVolumeClaimLister
	volumes   corelisters.PersistentVolumeLister
	nodeList  corelisters.NodeLister
	services  corelisters.ServiceLister
	classes   storagelisters.StorageClassLister
	queue     workqueue.TypedInterface[task]

	context context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mutex   sync.Mutex
	workers map[types.UID]*podWorker
	ended   map[types.UID]bool   // pods that ended and whose deletion the informer may not show yet
	stopped map[string]bool      // nodes
	assumed map[types.UID]string // nodes of pods whose binding the informer may not show yet
}

// task is a unit of work of the scheduling goroutine.
type task struct{ kind, namespace, name string }

// newNodeAgent makes an agent that does nothing yet; its records can be used already.
func newNodeAgent(options nodeAgentOptions) (*nodeAgent, error) {
	if options.backOff == 0 {
		options.backOff = 200 * time.Millisecond
	}
	if options.maxBackOff == 0 {
		options.maxBackOff = 5 * time.Second
	}
	factory := informers.NewSharedInformerFactory(options.client, 0)
	core := factory.Core().V1()
	agent := &nodeAgent{
		nodeAgentOptions: options,
		informers:        factory,
		pods:             core.Pods().Lister(),
		claims:           core.PersistentVolumeClaims().Lister(),
		volumes:          core.PersistentVolumes().Lister(),
		nodeList:         core.Nodes().Lister(),
		services:         core.Services().Lister(),
		classes:          factory.Storage().V1().StorageClasses().Lister(),
		queue:            workqueue.NewTyped[task](),
		workers:          map[types.UID]*podWorker{},
		ended:            map[types.UID]bool{},
		stopped:          map[string]bool{},
		assumed:          map[types.UID]string{},
	}
	agent.context, agent.cancel = context.WithCancel(context.Background())
	err := agent.watch()
	return agent, err
}

// watch connects the informers with the queue and the pods' workers.
func (a *nodeAgent) watch() error {
	core := a.informers.Core().V1()
	reschedule := func(any) { a.queuePendingPods() }
	handlers := []struct {
		informer cache.SharedIndexInformer
		changed  func(any)
		deleted  func(any)
	}{
		{core.Pods().Informer(), a.podChanged, a.podDeleted},
		{core.PersistentVolumeClaims().Informer(), a.claimChanged, a.claimChanged},
		{core.PersistentVolumes().Informer(), a.volumeChanged, func(any) {}},
		{core.Nodes().Informer(), reschedule, reschedule},
		{a.informers.Storage().V1().StorageClasses().Informer(), func(any) { a.queueClaims() }, func(any) {}},
		{core.Services().Informer(), func(any) {}, func(any) {}},
		{core.ConfigMaps().Informer(), a.podInputChanged, a.podInputChanged},
		{core.Secrets().Informer(), a.podInputChanged, a.podInputChanged},
	}
	for _, handler := range handlers {
		_, err := handler.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    handler.changed,
			UpdateFunc: func(_, object any) { handler.changed(object) },
			DeleteFunc: func(object any) {
				if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
					object = last.Obj
				}
				handler.deleted(object)
			},
		})
		if err != nil {
			return fmt.Errorf("watch the cluster's objects: %w", err)
		}
	}
	return nil
}

// start makes the nodes and the storage class, and begins to work.
func (a *nodeAgent) start(ctx context.Context) error {
	a.informers.Start(a.context.Done())
	if err := a.createStorageClass(ctx); err != nil {
		return err
	}
	for number := 1; number <= a.nodes; number++ {
		if err := a.createNode(ctx, fmt.Sprintf("node-%d", number), number, nil); err != nil {
			return err
		}
	}
	for kind, synced := range a.informers.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("list the cluster's objects of kind %v: %w", kind, ctx.Err())
		}
	}
	a.running.Go(a.work)
	return nil
}

// stop kills every container and waits for the agent's goroutines.
func (a *nodeAgent) stop() error {
	a.cancel()
	a.queue.ShutDown()
	a.mutex.Lock()
	workers := make([]*podWorker, 0, len(a.workers))
	for _, worker := range a.workers {
		workers = append(workers, worker)
	}
	a.mutex.Unlock()
	finished := make(chan struct{})
	go func() {
		for _, worker := range workers {
			<-worker.finished
		}
		a.running.Wait()
		a.informers.Shutdown()
		close(finished)
	}()
	select {
	case <-finished:
		return nil
	case <-time.After(20 * time.Second):
		return errors.New("stop the node agent: its goroutines did not end within 20 s")
	}
}

// work does the queue's tasks one after another. A task that failed is tried again a little later.
func (a *nodeAgent) work() {
	for {
		next, shutdown := a.queue.Get()
		if shutdown {
			return
		}
		var err error
		switch next.kind {
		case "pod":
			err = a.schedule(a.context, next.namespace, next.name)
		case "claim":
			err = a.reconcileClaim(a.context, next.namespace, next.name)
		case "volume":
			err = a.reconcileVolume(a.context, next.name)
		}
		a.queue.Done(next)
		if err != nil && a.context.Err() == nil {
			time.AfterFunc(50*time.Millisecond, func() { a.queue.Add(next) })
		}
	}
}

// podChanged queues a pod without a node, and gives one with a node to its worker.
func (a *nodeAgent) podChanged(object any) {
	pod := object.(*corev1.Pod)
	if pod.Spec.NodeName == "" {
		a.queue.Add(task{"pod", pod.Namespace, pod.Name})
		return
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		a.queuePendingPods()
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	delete(a.assumed, pod.UID)
	a.runPod(pod)
}

// runPod makes sure that a pod on a running node has a worker that knows of the latest change. The caller holds the mutex.
func (a *nodeAgent) runPod(pod *corev1.Pod) {
	worker := a.workers[pod.UID]
	if worker == nil {
		if a.stopped[pod.Spec.NodeName] || a.ended[pod.UID] || a.context.Err() != nil {
			return
		}
		worker = newPodWorker(a, pod)
		a.workers[pod.UID] = worker
		go worker.run()
	}
	worker.poke()
}

// podDeleted tells the worker of a pod that is gone, and lets waiting pods have its place.
func (a *nodeAgent) podDeleted(object any) {
	pod := object.(*corev1.Pod)
	a.mutex.Lock()
	delete(a.assumed, pod.UID)
	delete(a.ended, pod.UID)
	if worker := a.workers[pod.UID]; worker != nil {
		worker.poke()
	} else {
		removePodFolder(a.folder, pod.UID)
	}
	a.mutex.Unlock()
	a.queuePendingPods()
}

// forget removes a worker that has ended.
func (a *nodeAgent) forget(worker *podWorker) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.workers[worker.uid] == worker {
		delete(a.workers, worker.uid)
	}
}

// markEnded keeps a pod that ended from being started again by a late event.
func (a *nodeAgent) markEnded(uid types.UID) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.ended[uid] = true
}

// podInputChanged tells the workers of a namespace that a ConfigMap or Secret changed.
func (a *nodeAgent) podInputChanged(object any) {
	namespace := object.(metav1.Object).GetNamespace()
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, worker := range a.workers {
		if worker.namespace == namespace {
			worker.inputChanged()
		}
	}
}

func (a *nodeAgent) claimChanged(object any) {
	claim := object.(*corev1.PersistentVolumeClaim)
	a.queue.Add(task{"claim", claim.Namespace, claim.Name})
	// Also a claim that is not bound yet: its volume may just have been made.
	a.queue.Add(task{kind: "volume", name: volumeName(claim)})
	a.queuePendingPods()
}

func (a *nodeAgent) volumeChanged(object any) {
	a.queue.Add(task{kind: "volume", name: object.(*corev1.PersistentVolume).Name})
}

// queuePendingPods lets the scheduler look again at the pods without a node.
func (a *nodeAgent) queuePendingPods() {
	pods, _ := a.pods.List(labels.Everything()) // a cache does not fail
	for _, pod := range pods {
		if pod.Spec.NodeName == "" {
			a.queue.Add(task{"pod", pod.Namespace, pod.Name})
		}
	}
}

// queueClaims looks again at every claim.
func (a *nodeAgent) queueClaims() {
	claims, _ := a.claims.List(labels.Everything()) // a cache does not fail
	for _, claim := range claims {
		a.claimChanged(claim)
	}
}

// emptyNamespace deletes what makes pods, then them and the claims by force, and waits until they are gone.
func (a *nodeAgent) emptyNamespace(ctx context.Context, name string) error {
	now, all := *metav1.NewDeleteOptions(0), metav1.ListOptions{}
	apps, core := a.client.AppsV1(), a.client.CoreV1()
	background := metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)}
	failed := errors.Join(
		apps.Deployments(name).DeleteCollection(ctx, background, all), apps.ReplicaSets(name).DeleteCollection(ctx, background, all),
		apps.StatefulSets(name).DeleteCollection(ctx, background, all), a.client.BatchV1().Jobs(name).DeleteCollection(ctx, background, all))
	for failed == nil && ctx.Err() == nil {
		failed = errors.Join(core.Pods(name).DeleteCollection(ctx, now, all), core.PersistentVolumeClaims(name).DeleteCollection(ctx, now, all))
		if a.isEmpty(name) {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(150 * time.Millisecond):
		}
	}
	return fmt.Errorf("wait until the namespace %s has no pods and volumes: %w", name, errors.Join(failed, ctx.Err()))
}

// isEmpty tells whether no pod, process, claim or volume of a namespace is left.
func (a *nodeAgent) isEmpty(namespace string) bool {
	a.mutex.Lock()
	for _, worker := range a.workers {
		if worker.namespace == namespace {
			a.mutex.Unlock()
			return false
		}
	}
	a.mutex.Unlock()
	pods, _ := a.pods.Pods(namespace).List(labels.Everything())
	claims, _ := a.claims.PersistentVolumeClaims(namespace).List(labels.Everything())
	volumes, _ := a.volumes.List(labels.Everything())
	for _, volume := range volumes {
		if volume.Spec.ClaimRef != nil && volume.Spec.ClaimRef.Namespace == namespace {
			return false
		}
	}
	return len(pods) == 0 && len(claims) == 0
}

// podLogs is the folder of a pod's logs.
func (a *nodeAgent) podLogs(namespace, name string) string {
	return filepath.Join(a.logs, namespace, name)
}
