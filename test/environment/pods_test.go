//go:build integration

package environment_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// singlePod is a pod of one etcd container, changed as a test needs it.
func singlePod(namespace string, change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pod"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "etcd", Image: image, Command: []string{"etcd"}}}},
	}
	change(pod)
	return pod
}

// waitForReason waits until a container waits for a reason.
func waitForReason(t *testing.T, namespace, reason string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	eventually(t, 10*time.Second, func() error {
		pod = getPod(t, namespace, "pod")
		for _, status := range pod.Status.ContainerStatuses {
			if status.State.Waiting != nil && status.State.Waiting.Reason == reason {
				return nil
			}
		}
		return fmt.Errorf("no container waits for %s: %+v", reason, pod.Status)
	})
	return pod
}

func TestPodsThatCannotRun(t *testing.T) {
	t.Run("unknown image", func(t *testing.T) {
		namespace := cluster.NewNamespace(t)
		create(t, singlePod(namespace, func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "registry.example/etcd:v9.9.9" }))
		if pod := waitForReason(t, namespace, "ImagePullBackOff"); pod.Status.Phase != corev1.PodPending {
			t.Errorf("the pod's phase is %s, want Pending", pod.Status.Phase)
		}
	})
	t.Run("missing ConfigMap", func(t *testing.T) {
		namespace := cluster.NewNamespace(t)
		create(t, singlePod(namespace, func(pod *corev1.Pod) {
			pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
		}))
		waitForReason(t, namespace, "CreateContainerConfigError")
		create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "settings"}})
		eventually(t, 10*time.Second, func() error {
			if pod := getPod(t, namespace, "pod"); !isReady(pod) {
				return fmt.Errorf("the pod is not ready: %+v", pod.Status)
			}
			return nil
		})
	})
	t.Run("crash loop", func(t *testing.T) {
		namespace := cluster.NewNamespace(t)
		create(t, singlePod(namespace, func(pod *corev1.Pod) { pod.Spec.Containers[0].Args = []string{"--no-such-flag"} }))
		pod := waitForReason(t, namespace, "CrashLoopBackOff")
		if last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode == 0 {
			t.Errorf("the last state is %+v, want a failure", last)
		}
	})
	t.Run("no node", func(t *testing.T) {
		namespace := cluster.NewNamespace(t)
		create(t, singlePod(namespace, func(pod *corev1.Pod) { pod.Spec.NodeSelector = map[string]string{"disk": "fast"} }))
		eventually(t, 5*time.Second, func() error {
			pod := getPod(t, namespace, "pod")
			for _, condition := range pod.Status.Conditions {
				if condition.Type == corev1.PodScheduled && condition.Reason == corev1.PodReasonUnschedulable &&
					strings.Contains(condition.Message, "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector") {
					return nil
				}
			}
			return fmt.Errorf("the pod is not reported as unschedulable: %+v", pod.Status)
		})
	})
	t.Run("unknown storage class", func(t *testing.T) {
		namespace := cluster.NewNamespace(t)
		claim := &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "claim"},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: ptr.To("unknown"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		}
		create(t, claim, singlePod(namespace, func(pod *corev1.Pod) {
			pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"},
			}}}
		}))
		eventually(t, 5*time.Second, func() error {
			if conditions := getPod(t, namespace, "pod").Status.Conditions; len(conditions) == 0 || conditions[0].Reason != corev1.PodReasonUnschedulable {
				return fmt.Errorf("the pod's conditions are %+v", conditions)
			}
			return nil
		})
	})
}

func TestNamespaceIsEmptied(t *testing.T) {
	var folders []string
	t.Run("cluster", func(t *testing.T) {
		namespace := startCluster(t)
		claims := &corev1.PersistentVolumeClaimList{}
		if err := cluster.Client.List(t.Context(), claims, client.InNamespace(namespace)); err != nil || len(claims.Items) != 3 {
			t.Fatalf("the claims are %+v (%v), want three", claims.Items, err)
		}
		for index := range claims.Items {
			folder := cluster.VolumeFolder(&claims.Items[index])
			if _, err := os.Stat(filepath.Join(folder, "data")); err != nil {
				t.Errorf("the volume has no data: %v", err)
			}
			folders = append(folders, folder)
		}
		started := time.Now()
		if err := cluster.EmptyNamespace(t.Context(), namespace); err != nil {
			t.Error(err)
		}
		pods := &corev1.PodList{}
		for _, list := range []client.ObjectList{pods, claims} {
			if err := cluster.Client.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
				t.Fatal(err)
			}
		}
		if len(pods.Items)+len(claims.Items) > 0 {
			t.Errorf("there are still %d pods and %d claims", len(pods.Items), len(claims.Items))
		}
		t.Logf("the namespace was empty after %v", time.Since(started))
	})
	for _, folder := range folders {
		if _, err := os.Stat(folder); !os.IsNotExist(err) {
			t.Errorf("the volume %s is still there (%v)", folder, err)
		}
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range commands {
		if command, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(command), "/usr/local/bin/etcd\x00--name=etcd-") {
			t.Errorf("the process %s is still there: %q", file, command)
		}
	}
}

// TestAnnotationsReachTheNextStart: a variable from an annotation has the value that the annotation has when the container
// starts, not when the pod was made.
func TestAnnotationsReachTheNextStart(t *testing.T) {
	namespace := cluster.NewNamespace(t)
	create(t, singlePod(namespace, func(pod *corev1.Pod) {
		pod.Annotations = map[string]string{"test/name": namespace + "-before"}
		pod.Spec.Containers[0].Args = []string{"--name=$(NAME)", "--initial-cluster=$(NAME)=http://localhost:2380", "--data-dir=/tmp/$(NAME)"}
		pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['test/name']"}}}}
	}))
	running := func(starts int32) func() error {
		return func() error {
			pod := getPod(t, namespace, "pod")
			if !isReady(pod) || pod.Status.ContainerStatuses[0].RestartCount != starts {
				return fmt.Errorf("the pod does not run: %+v", pod.Status)
			}
			return nil
		}
	}
	named := func(name string) bool {
		commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		return slices.ContainsFunc(commands, func(file string) bool {
			command, _ := os.ReadFile(file) // It may have ended.
			return strings.Contains(string(command), "--data-dir=/tmp/"+name+"\x00")
		})
	}
	name := func(suffix string) string { return namespace + "-" + suffix }
	annotate := func(value string) {
		t.Helper()
		pod := getPod(t, namespace, "pod")
		changed := pod.DeepCopy()
		changed.Annotations["test/name"] = value
		if err := cluster.Client.Patch(t.Context(), changed, client.MergeFrom(pod)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 10*time.Second, running(0))
	if !named(name("before")) {
		t.Error("the container has not started with the annotation")
	}
	annotate(name("after"))
	if named(name("after")) {
		t.Error("the container has started again by the annotation")
	}
	// The kubelet hears of it a moment later.
	for starts := int32(1); !named(name("after")); starts++ {
		if starts > 3 {
			t.Fatal("the container does not start with the annotation as it is by now")
		}
		if err := cluster.KillMember(namespace, "pod", syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, running(starts))
	}
}
