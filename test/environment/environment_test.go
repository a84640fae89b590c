//go:build integration

package environment_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/environment"
)

const image = "registry.example/etcd:v3.6.16"

var cluster *environment.Environment

func TestMain(m *testing.M) {
	environment.Isolate()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	started := time.Now()
	var err error
	if cluster, err = environment.Start(ctx, environment.Options{ElectionTimeout: 500 * time.Millisecond}); err != nil {
		fmt.Fprintln(os.Stderr, "start the environment:", err)
		return 1
	}
	fmt.Printf("the environment started in %v\n", time.Since(started))
	code := m.Run()
	stopping := time.Now()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the environment:", err)
		return 1
	}
	fmt.Printf("the environment stopped in %v\n", time.Since(stopping))
	return code
}

// eventually polls a condition that describes what is missing.
func eventually(t *testing.T, limit time.Duration, condition func() error) time.Duration {
	t.Helper()
	started := time.Now()
	for {
		err := condition()
		if err == nil {
			return time.Since(started)
		}
		if time.Since(started) > limit {
			t.Fatalf("after %v: %v", limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := cluster.Client.Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

func getPod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, pod); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return pod
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

// etcdCluster is a hand-written cluster of three members that find each other by their DNS names.
func etcdCluster(namespace string) (*corev1.Service, *appsv1.StatefulSet) {
	labels := map[string]string{"app": "etcd"}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "peers"},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, Selector: labels, PublishNotReadyAddresses: true,
			Ports: []corev1.ServicePort{{Name: "client", Port: 2379}, {Name: "peer", Port: 2380}},
		},
	}
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 5, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("metrics")},
		}}
	}
	var members []string
	for index := range 3 {
		members = append(members, fmt.Sprintf("etcd-%d=http://etcd-%d.peers.%s.svc.cluster.local:2380", index, index, namespace))
	}
	container := corev1.Container{
		Name: "etcd", Image: image, Command: []string{"/usr/local/bin/etcd"},
		Args: []string{
			"--name=$(POD_NAME)", "--data-dir=/var/lib/etcd/data",
			"--listen-client-urls=http://0.0.0.0:2379", "--listen-peer-urls=http://0.0.0.0:2380", "--listen-metrics-urls=http://0.0.0.0:2381",
			"--advertise-client-urls=http://$(POD_NAME).peers.$(NAMESPACE).svc.cluster.local:2379",
			"--initial-advertise-peer-urls=http://$(POD_NAME).peers.$(NAMESPACE).svc.cluster.local:2380",
			"--initial-cluster=" + strings.Join(members, ","), "--initial-cluster-state=new",
		},
		Env: []corev1.EnvVar{
			{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
			{Name: "NAMESPACE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}},
		},
		Ports:          []corev1.ContainerPort{{Name: "metrics", ContainerPort: 2381}},
		ReadinessProbe: probe("/readyz"), LivenessProbe: probe("/livez"),
		VolumeMounts:    []corev1.VolumeMount{{Name: "data", MountPath: "/var/lib/etcd"}},
		SecurityContext: &corev1.SecurityContext{ReadOnlyRootFilesystem: ptr.To(true), RunAsUser: ptr.To(int64(1000))},
	}
	return service, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "etcd"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To(int32(3)), ServiceName: "peers", PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{container}, SecurityContext: &corev1.PodSecurityContext{FSGroup: ptr.To(int64(1000))}},
			},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
				ObjectMeta: metav1.ObjectMeta{Name: "data"},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
				},
			}},
		},
	}
}

// startCluster creates a cluster and waits for its members.
func startCluster(t *testing.T) (namespace string) {
	t.Helper()
	namespace = cluster.NewNamespace(t)
	service, set := etcdCluster(namespace)
	create(t, service, set)
	t.Logf("three members were ready after %v", waitForMembers(t, namespace))
	return namespace
}

func waitForMembers(t *testing.T, namespace string) time.Duration {
	t.Helper()
	return eventually(t, 20*time.Second, func() error {
		set := &appsv1.StatefulSet{}
		if err := cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "etcd"}, set); err != nil {
			return err
		}
		if set.Status.ReadyReplicas != 3 {
			return fmt.Errorf("%d of 3 members are ready", set.Status.ReadyReplicas)
		}
		return nil
	})
}

// connect dials members by their addresses.
func connect(t *testing.T, namespace string, pods ...string) *clientv3.Client {
	t.Helper()
	var endpoints []string
	for _, pod := range pods {
		endpoints = append(endpoints, "http://"+getPod(t, namespace, pod).Status.PodIP+":2379")
	}
	connection, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func expectValue(t *testing.T, namespace, pod, key, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	response, err := connect(t, namespace, pod).Get(ctx, key)
	if err != nil || len(response.Kvs) != 1 || string(response.Kvs[0].Value) != want {
		t.Fatalf("%s answers %v (%v) for %s, want %s", pod, response, err, key, want)
	}
}

func put(t *testing.T, namespace, pod, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := connect(t, namespace, pod).Put(ctx, key, value); err != nil {
		t.Fatalf("put %s at %s: %v", key, pod, err)
	}
}

func TestMembersServeAndSurvive(t *testing.T) {
	namespace := startCluster(t)
	put(t, namespace, "etcd-0", "key", "value")
	expectValue(t, namespace, "etcd-2", "key", "value")

	before := getPod(t, namespace, "etcd-1")
	if err := cluster.KillMember(namespace, "etcd-1", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, 10*time.Second, func() error {
		pod := getPod(t, namespace, "etcd-1")
		if pod.Status.ContainerStatuses[0].RestartCount != 1 || !isReady(pod) {
			return fmt.Errorf("the killed member is not back: %+v", pod.Status)
		}
		return nil
	})
	t.Logf("the killed member was ready again after %v", took)
	after := getPod(t, namespace, "etcd-1")
	if ended := after.Status.ContainerStatuses[0].LastTerminationState.Terminated; ended == nil || ended.ExitCode != 137 {
		t.Errorf("the killed member's last state is %+v, want the exit code 137", ended)
	}
	if after.Status.PodIP != before.Status.PodIP {
		t.Errorf("the address changed with the container's restart from %s to %s", before.Status.PodIP, after.Status.PodIP)
	}
	expectValue(t, namespace, "etcd-1", "key", "value")

	started := time.Now()
	if err := cluster.Client.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	eventually(t, 15*time.Second, func() error {
		if pod := getPod(t, namespace, "etcd-1"); pod.UID == before.UID || !isReady(pod) {
			return fmt.Errorf("the deleted member is not back: %+v", pod.Status)
		}
		return nil
	})
	t.Logf("the deleted member was ready again after %v", time.Since(started))
	replaced := getPod(t, namespace, "etcd-1")
	if replaced.Spec.NodeName != before.Spec.NodeName || replaced.Status.PodIP == before.Status.PodIP {
		t.Errorf("the new pod has the node %s and the address %s, the old one had %s and %s",
			replaced.Spec.NodeName, replaced.Status.PodIP, before.Spec.NodeName, before.Status.PodIP)
	}
	expectValue(t, namespace, "etcd-1", "key", "value")
}

func TestPodsSpreadAndAreFound(t *testing.T) {
	namespace := startCluster(t)
	nodes := map[string]bool{}
	for index := range 3 {
		nodes[getPod(t, namespace, fmt.Sprintf("etcd-%d", index)).Spec.NodeName] = true
	}
	if len(nodes) != 3 {
		t.Errorf("the members run on %v, want three nodes", nodes)
	}
	eventually(t, 5*time.Second, func() error {
		slices := &discoveryv1.EndpointSliceList{}
		if err := cluster.Client.List(t.Context(), slices, client.InNamespace(namespace)); err != nil {
			return err
		}
		if len(slices.Items) != 1 || len(slices.Items[0].Endpoints) != 3 {
			return fmt.Errorf("the service has the slices %+v, want one with three endpoints", slices.Items)
		}
		return nil
	})
	// The test's own process finds members by their names as well.
	connection, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://etcd-0.peers." + namespace + ".svc:2379"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if members, err := connection.MemberList(ctx); err != nil || len(members.Members) != 3 {
		t.Errorf("the member list is %v (%v)", members, err)
	}
}

func TestFaults(t *testing.T) {
	namespace := startCluster(t)
	put(t, namespace, "etcd-0", "key", "value")
	node := getPod(t, namespace, "etcd-2").Spec.NodeName
	if err := cluster.StopNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	stopped := getPod(t, namespace, "etcd-2")
	if isReady(stopped) {
		t.Error("the pod of a stopped node is ready")
	}
	if err := cluster.Client.Delete(t.Context(), stopped, client.GracePeriodSeconds(1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond) // longer than the grace period
	if pod := getPod(t, namespace, "etcd-2"); pod.UID != stopped.UID || pod.DeletionTimestamp == nil {
		t.Error("the deleted pod of a stopped node is not terminating")
	}
	expectValue(t, namespace, "etcd-0", "key", "value")
	if err := cluster.StartNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	eventually(t, 15*time.Second, func() error {
		if pod := getPod(t, namespace, "etcd-2"); pod.UID == stopped.UID || !isReady(pod) {
			return fmt.Errorf("the member is not back: %+v", pod.Status)
		}
		return nil
	})
	expectValue(t, namespace, "etcd-2", "key", "value")

	for name, fault := range map[string][2]func(string, string) error{
		"pause": {cluster.PausePod, cluster.ResumePod}, "disconnect": {cluster.DisconnectPod, cluster.ConnectPod},
	} {
		connection := connect(t, namespace, "etcd-0")
		if err := fault[0](namespace, "etcd-0"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if _, err := connection.Get(ctx, "key"); err == nil {
			t.Errorf("%s: the member still answers", name)
		}
		cancel()
		if err := fault[1](namespace, "etcd-0"); err != nil {
			t.Fatal(err)
		}
		expectValue(t, namespace, "etcd-0", "key", "value")
	}
}
