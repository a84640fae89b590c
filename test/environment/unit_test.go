package environment

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
)

func TestExpand(t *testing.T) {
	variables := map[string]string{"A": "1", "B_C": "two"}
	for text, want := range map[string]string{
		"$(A)": "1", "x$(B_C)y$(A)": "xtwoy1", "$(MISSING)": "$(MISSING)", "$$(A)": "$(A)", "$A $": "$A $", "$(A": "$(A", "": "",
	} {
		if got := expand(text, variables); got != want {
			t.Errorf("expand(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", Labels: map[string]string{"app": "x"}}}
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "n"}, Data: map[string]string{"KEY": "v"}})
	inputs := podInputs{client: client, pod: pod, address: netip.MustParseAddr("10.245.1.1")}
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	container := &corev1.Container{
		EnvFrom: []corev1.EnvFromSource{{Prefix: "P_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}}},
		Env: []corev1.EnvVar{
			{Name: "POD", ValueFrom: field("metadata.name")}, {Name: "IP", ValueFrom: field("status.podIP")},
			{Name: "LABEL", ValueFrom: field("metadata.labels['app']")}, {Name: "URL", Value: "http://$(POD).$(P_KEY):1"},
			{Name: "CPU", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
		},
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}},
	}
	got, err := inputs.environment(t.Context(), container)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"POD": "p", "IP": "10.245.1.1", "LABEL": "x", "URL": "http://p.v:1", "CPU": "2", "P_KEY": "v"} {
		if got[name] != want {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}
	container.EnvFrom[0].ConfigMapRef.Name = "missing"
	if _, err := inputs.environment(t.Context(), container); err == nil || err.Error() != `configmap "missing" not found` {
		t.Errorf("a missing ConfigMap gives the error %v", err)
	}
	container.EnvFrom[0].ConfigMapRef.Optional = ptr.To(true)
	if _, err := inputs.environment(t.Context(), container); err != nil {
		t.Errorf("an optional ConfigMap that is missing gives the error %v", err)
	}
}

func TestWriteAtomically(t *testing.T) {
	folder := t.TempDir()
	for _, content := range []string{"one", "two"} {
		if err := writeAtomically(folder, map[string]volumeFile{"a": {[]byte(content), 0o600}, "b/c": {[]byte("x"), 0o644}}, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(folder, "a")); err != nil || string(got) != content {
			t.Fatalf("a = %q, %v, want %q", got, err, content)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 4 { // a, b, ..data and one version
		t.Errorf("the folder has %v (%v), want 4 entries", entries, err)
	}
}

func TestFindImage(t *testing.T) {
	binaries := t.TempDir()
	if err := os.MkdirAll(filepath.Join(binaries, "etcd-3.6", "etcd"), 0o755); err != nil {
		t.Fatal(err)
	}
	images := map[string]Runner{"etcd": etcdImage(binaries, 0)}
	for reference, known := range map[string]bool{
		"registry.example:5000/team/etcd:v3.6.16": true, "etcd:v3.6.1@sha256:00": true,
		"registry.example/etcd:v3.9.1": false, "registry.example/etcd:v3.6.999": false, "registry.example:5000/etcd": false, "other:v3.6.16": false,
	} {
		if _, _, err := findImage(images, reference); (err == nil) != known {
			t.Errorf("findImage(%q) gives the error %v, want known=%v", reference, err, known)
		}
	}
}

func TestRecords(t *testing.T) {
	pods := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	services := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	selector := map[string]string{"app": "etcd"}
	addService := func(name, clusterIP string, unready bool) {
		_ = services.Add(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, Spec: corev1.ServiceSpec{
			Selector: selector, ClusterIP: clusterIP, PublishNotReadyAddresses: unready,
			Ports: []corev1.ServicePort{{Name: "peer", Protocol: corev1.ProtocolTCP, Port: 2380}},
		}})
	}
	addService("peers", corev1.ClusterIPNone, true)
	addService("client", "10.96.0.7", false)
	for name, ready := range map[string]corev1.ConditionStatus{"e-0": corev1.ConditionTrue, "e-1": corev1.ConditionFalse} {
		address := map[string]string{"e-0": "10.245.1.0", "e-1": "10.245.1.1"}[name]
		_ = pods.Add(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: selector}, Spec: corev1.PodSpec{Hostname: name, Subdomain: "peers"},
			Status: corev1.PodStatus{PodIP: address, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		})
	}
	records := clusterRecords{pods: corelisters.NewPodLister(pods), services: corelisters.NewServiceLister(services)}
	for name, want := range map[string][]string{
		"peers.n.svc.cluster.local": {"10.245.1.0", "10.245.1.1"}, "e-1.peers.n.svc.cluster.local": {"10.245.1.1"},
		"client.n.svc.cluster.local": {"10.245.1.0"}, "e-2.peers.n.svc.cluster.local": nil, "other.n.svc.cluster.local": nil,
		"peers.n.svc": nil, "a.e-1.peers.n.svc.cluster.local": nil,
	} {
		addresses, exists := records.addresses(name)
		var got []string
		for _, address := range addresses {
			got = append(got, address.String())
		}
		if !slices.Equal(got, want) || exists != (want != nil) {
			t.Errorf("%s leads to %v (exists: %v), want %v", name, got, exists, want)
		}
	}
	if got := records.names(netip.MustParseAddr("10.245.1.1")); !slices.Equal(got, []string{"e-1.peers.n.svc.cluster.local"}) {
		t.Errorf("the reverse name is %v", got)
	}
	if got := records.targets("_peer._tcp.peers.n.svc.cluster.local"); len(got) != 2 || got[0] != (target{"e-0.peers.n.svc.cluster.local", 2380}) {
		t.Errorf("the SRV targets are %v", got)
	}
}

func TestPodPhase(t *testing.T) {
	state := func(waiting, running bool, code int32) corev1.ContainerStatus {
		switch {
		case waiting:
			return corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}
		case running:
			return corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
		}
		return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
	}
	for _, test := range []struct {
		policy corev1.RestartPolicy
		status corev1.ContainerStatus
		want   corev1.PodPhase
	}{
		{corev1.RestartPolicyAlways, state(true, false, 0), corev1.PodPending},
		{corev1.RestartPolicyAlways, state(false, true, 0), corev1.PodRunning},
		{corev1.RestartPolicyAlways, state(false, false, 1), corev1.PodRunning},
		{corev1.RestartPolicyNever, state(false, false, 1), corev1.PodFailed},
		{corev1.RestartPolicyNever, state(false, false, 0), corev1.PodSucceeded},
		{corev1.RestartPolicyOnFailure, state(false, false, 1), corev1.PodRunning},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: test.policy}}
		if got := podPhase(pod, nil, []corev1.ContainerStatus{test.status}); got != test.want {
			t.Errorf("podPhase(%s, %+v) = %s, want %s", test.policy, test.status.State, got, test.want)
		}
	}
}
