//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// floors are what pods need for themselves, measured on hand-written StatefulSets with the same image, flags, probes and
// volumes as the operator's. They are plain, and the operator's clusters and their clients talk TLS, as users get it.
type floors struct {
	// Ready is from the creation of one pod with an empty volume to its readiness.
	Ready time.Duration
	// Gone is from the deletion of a pod to its end, Restart to the readiness of the next one on the same volume.
	Gone, Restart time.Duration
	// Killed is from SIGKILL of etcd to the readiness of the restarted container.
	Killed time.Duration
	// Rollout is that of a StatefulSet of three, one pod at a time.
	Rollout time.Duration
	// Resize and Expand are for three pods and three volumes at once. They are 0 where nodes or volumes cannot.
	Resize, Expand time.Duration
	// Stop and Wake are those of three pods at once.
	Stop, Wake time.Duration
}

func (f floors) ready() time.Duration   { return f.Ready }
func (f floors) restart() time.Duration { return f.Restart }
func (f floors) rollout() time.Duration { return f.Rollout }

// killed is what the redundancy may be gone for after the end of a pod.
func (f floors) killed() time.Duration { return f.Restart + 5*time.Second }

// measureFloors measures all floors.
func measureFloors(k *live.Kubernetes, name string) floors {
	k.T.Helper()
	f := floors{Ready: floorReady(k, name+"-one")}
	set, services := handWritten(k, name)
	set.Spec.Template.Spec.Containers[0].Resources = *requests(fewCPU, fewMemory)
	for _, object := range append(services, set) {
		k.MustCreate(object)
	}
	waitReplicas(k, set, 3)
	var gone, restart []time.Duration
	for n := range 3 {
		g, r := deleteAndWait(k, fmt.Sprintf("%s-%d", name, n))
		gone, restart = append(gone, g), append(restart, r)
		waitReplicas(k, set, 3)
	}
	slices.Sort(gone)
	slices.Sort(restart)
	f.Gone, f.Restart = gone[1], restart[1]
	if !live.OnKind() {
		// Here a member is called like its pod.
		f.Killed = floorKilled(k, name+"-0")
		waitReplicas(k, set, 3)
	}
	f.Rollout = floorRollout(k, set)
	f.Resize, f.Expand = floorResize(k, set), floorExpand(k, set)
	f.Stop, f.Wake = floorScale(k, set, 0), floorScale(k, set, 3)
	for _, object := range append(services, set) {
		k.MustDelete(object)
	}
	waitGone(k, name)
	return f
}

// floorReady is one pod with a cluster of its own.
func floorReady(k *live.Kubernetes, name string) time.Duration {
	k.T.Helper()
	set, services := handWritten(k, name)
	one := int32(1)
	set.Spec.Replicas = &one
	args := set.Spec.Template.Spec.Containers[0].Args
	for i, arg := range args {
		if first, _, more := strings.Cut(arg, ","); more && strings.HasPrefix(arg, "--initial-cluster=") {
			args[i] = first
		}
	}
	for _, object := range services {
		k.MustCreate(object)
	}
	began := time.Now()
	k.MustCreate(set)
	waitReplicas(k, set, 1)
	took := time.Since(began)
	for _, object := range append(services, set) {
		k.MustDelete(object)
	}
	waitGone(k, name)
	return took
}

func floorKilled(k *live.Kubernetes, pod string) time.Duration {
	k.T.Helper()
	at := types.NamespacedName{Namespace: k.Namespace, Name: pod}
	began := time.Now()
	k.KillEtcd(pod)
	k.Eventually("the container of "+pod+" was restarted", operationLimit, func(ctx context.Context) error {
		now := &corev1.Pod{}
		err := k.Get(ctx, at, now)
		if err == nil && (len(now.Status.ContainerStatuses) == 0 || now.Status.ContainerStatuses[0].RestartCount == 0 || !live.Ready(now)) {
			err = fmt.Errorf("it is not, or not ready")
		}
		return err
	})
	return time.Since(began)
}

func floorRollout(k *live.Kubernetes, set *appsv1.StatefulSet) time.Duration {
	k.T.Helper()
	began := time.Now()
	patch(k, set, map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{"bench": fmt.Sprint(began.UnixNano())},
	}}}})
	waitReplicas(k, set, 3)
	return time.Since(began)
}

// floorResize is 0 if pods are not resized within half a minute.
func floorResize(k *live.Kubernetes, set *appsv1.StatefulSet) time.Duration {
	k.T.Helper()
	began := time.Now()
	for _, pod := range k.Pods(set.Name) {
		data, err := json.Marshal(map[string]any{"spec": map[string]any{"containers": []any{map[string]any{
			"name": pod.Spec.Containers[0].Name, "resources": requests(moreCPU, moreMemory),
		}}}})
		if err != nil {
			k.T.Fatal(err)
		}
		if err := k.SubResource("resize").Patch(context.Background(), &pod, client.RawPatch(types.StrategicMergePatchType, data)); err != nil {
			k.T.Logf("pod %s cannot be resized in place: %v", pod.Name, err)
			return 0
		}
	}
	err := wait.PollUntilContextTimeout(context.Background(), 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return resized(k.Pods(set.Name)) == nil, nil
	})
	if err != nil {
		k.T.Logf("pods are not resized in place: %v", resized(k.Pods(set.Name)))
		return 0
	}
	return time.Since(began)
}

func floorExpand(k *live.Kubernetes, set *appsv1.StatefulSet) time.Duration {
	k.T.Helper()
	claims, err := claimsOf(context.Background(), k, set.Name)
	if err != nil {
		k.T.Fatal(err)
	}
	began := time.Now()
	for i := range claims {
		patch(k, &claims[i], map[string]any{"spec": map[string]any{"resources": map[string]any{"requests": map[string]any{"storage": moreStorage}}}})
	}
	k.Eventually("all claims have more", operationLimit, func(ctx context.Context) error { return expanded(ctx, k, set.Name) })
	return time.Since(began)
}

// floorScale is until all pods are ready, or gone.
func floorScale(k *live.Kubernetes, set *appsv1.StatefulSet, replicas int32) time.Duration {
	k.T.Helper()
	began := time.Now()
	patch(k, set, map[string]any{"spec": map[string]any{"replicas": replicas}})
	waitReplicas(k, set, replicas)
	return time.Since(began)
}

func patch(k *live.Kubernetes, object client.Object, change map[string]any) {
	k.T.Helper()
	data, err := json.Marshal(change)
	if err != nil {
		k.T.Fatal(err)
	}
	if err := k.Patch(context.Background(), object, client.RawPatch(types.MergePatchType, data)); err != nil {
		k.T.Fatal(err)
	}
}

// waitReplicas waits until a StatefulSet has so many pods, all of its newest revision, ready and in the eyes of its
// controller.
func waitReplicas(k *live.Kubernetes, set *appsv1.StatefulSet, replicas int32) {
	k.T.Helper()
	k.Eventually(fmt.Sprintf("%s has %d pods ready", set.Name, replicas), operationLimit, func(ctx context.Context) error {
		if err := k.Get(ctx, client.ObjectKeyFromObject(set), set); err != nil {
			return err
		}
		s := set.Status
		if s.ObservedGeneration != set.Generation || s.Replicas != replicas || s.ReadyReplicas != replicas || s.UpdatedReplicas != replicas {
			return fmt.Errorf("status is %+v", s)
		}
		return nil
	})
}
