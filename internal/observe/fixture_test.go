package observe_test

import (
	"context"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 123_456, time.UTC)

// members is an etcd of which no member answers, unless something else is said; it remembers who was asked.
type members struct {
	asked  []etcd.Endpoint
	answer core.Etcd
	// store are its users and roles, unread why they cannot be read, and question what was asked last.
	store    core.AuthStore
	unread   error
	reads    int
	question etcd.AuthQuestion
	// closed lets nobody in without a login.
	closed bool
}

func (m *members) Observe(_ context.Context, endpoints []etcd.Endpoint) core.Etcd {
	m.asked = endpoints
	answer := m.answer
	if m.closed && (len(endpoints) == 0 || endpoints[0].Login == nil) {
		return core.Etcd{Statuses: []core.Status{{Member: "demo-0", Error: "etcdserver: user name is empty", Refused: true}}}
	}
	answer.List.Members = slices.Clone(answer.List.Members)
	return answer
}

func (m *members) ReadAuth(_ context.Context, _ string, question etcd.AuthQuestion) (core.AuthStore, error) {
	m.reads++
	m.question = question
	return m.store, m.unread
}

// lists makes etcd list members by their peer URLs.
func (s *situation) lists(listed ...core.Listed) {
	s.etcd.answer.List = core.MemberList{Known: true, ClusterID: "c1", Members: listed}
}

// situation is what there is in Kubernetes.
type situation struct {
	cluster *v1alpha1.EtcdCluster
	objects []client.Object
	etcd    members
	// operator are the pods of the operator that observes.
	operator render.Operator
	// fail makes reads fail.
	fail interceptor.Funcs
}

func newSituation(objects ...client.Object) *situation {
	s := &situation{objects: objects}
	s.cluster = &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo", UID: "uid-1", Generation: 4}}
	s.cluster.Spec = v1alpha1.EtcdClusterSpec{
		Size: new(int32(3)), Version: "3.6.16", Repository: "etcd",
		Storage: v1alpha1.StorageSpec{Medium: v1alpha1.StorageMediumDisk, Size: new(resource.MustParse("1Gi"))},
	}
	return s
}

func (s *situation) render() render.Cluster {
	return render.Cluster{EtcdCluster: s.cluster, Domain: "cluster.local", Voters: 3}
}

func (s *situation) add(objects ...client.Object) *situation {
	s.objects = append(s.objects, objects...)
	return s
}

func (s *situation) client(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	event := func(get func(e *corev1.Event) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{get(o.(*corev1.Event))} }
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(s.objects...).WithInterceptorFuncs(s.fail).
		WithIndex(&batchv1.Job{}, metav1.ObjectNameField, func(o client.Object) []string { return []string{o.GetName()} }).
		WithIndex(&corev1.Event{}, "involvedObject.uid", event(func(e *corev1.Event) string { return string(e.InvolvedObject.UID) })).
		WithIndex(&corev1.Event{}, "reason", event(func(e *corev1.Event) string { return e.Reason })).
		WithIndex(&corev1.Event{}, "type", event(func(e *corev1.Event) string { return e.Type })).
		Build()
}

func (s *situation) try(t *testing.T) (observe.Observed, error) {
	t.Helper()
	reader := s.client(t)
	o := observe.Observer{Cache: reader, Live: reader, Etcd: &s.etcd, Domain: "cluster.local", Operator: s.operator, Now: func() time.Time { return now }}
	return o.Observe(context.Background(), s.cluster)
}

func (s *situation) observe(t *testing.T) observe.Observed {
	t.Helper()
	observed, err := s.try(t)
	if err != nil {
		t.Fatal(err)
	}
	return observed
}

// member observes, and gives what was observed of one member.
func (s *situation) member(t *testing.T, name string) core.Member {
	t.Helper()
	for _, m := range s.observe(t).Members {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("there is no member %s", name)
	return core.Member{}
}

// workload is the StatefulSet of a member, as it was applied.
func (s *situation) workload(t *testing.T, name string) *appsv1.StatefulSet {
	t.Helper()
	set := &appsv1.StatefulSet{}
	applied(t, s.render().StatefulSet(core.ApplyMember{Member: name, Start: core.StartSealed, InitialCluster: []string{"demo-0", "demo-1"}}), set)
	set.UID = types.UID("workload-of-" + name)
	return set
}

// applied writes an object as it is after it was applied.
func applied(t *testing.T, wanted, live client.Object) {
	t.Helper()
	content, err := render.Applied(wanted)
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content.Object, live); err != nil {
		t.Fatal(err)
	}
}

// pod is the pod of a member. It runs and is ready.
func (s *situation) pod(name string) *corev1.Pod {
	made := s.render().StatefulSet(core.ApplyMember{Member: name, Start: core.StartSealed}).Spec.Template
	made.Annotations[render.AnnotationMemberHash], made.Annotations[render.AnnotationRestartHash] = "h", ""
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: render.PodName(name), UID: types.UID("pod-of-" + name), Labels: s.render().MemberLabels(name),
		Annotations:     made.Annotations,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: name, UID: "w", Controller: new(true)}},
	}}
	pod.Spec.Containers = []corev1.Container{{Name: render.ContainerName, Args: made.Spec.Containers[0].Args}}
	pod.Status.PodIP = "10.0.0.1"
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	setContainer(pod, corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
	return pod
}

func setContainer(pod *corev1.Pod, status corev1.ContainerStatus) {
	status.Name, status.Image = render.ContainerName, "etcd:v3.6.16"
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "sidecar"}, status}
}

// claim is the bound claim of a member's data volume.
func (s *situation) claim(name string) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: render.ClaimName(render.DataVolume, name), UID: types.UID("claim-of-" + name),
		Labels: s.render().MemberLabels(name), Annotations: map[string]string{render.AnnotationOwnerUID: "uid-1"},
	}}
	claim.Spec.VolumeName, claim.Status.Phase = "pv-"+name, corev1.ClaimBound
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *s.cluster.Spec.Storage.Size}
	claim.Status.Capacity = claim.Spec.Resources.Requests
	return claim
}

func (s *situation) pendingClaim(name string, class *string) *corev1.PersistentVolumeClaim {
	claim := s.claim(name)
	claim.Spec.VolumeName, claim.Spec.StorageClassName, claim.Status.Phase = "", class, corev1.ClaimPending
	return claim
}

func class(name string, isDefault bool) *storagev1.StorageClass {
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if isDefault {
		c.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	}
	return c
}

// warning is an event about an object.
func warning(name string, about types.UID, reason, message string, ago time.Duration) *corev1.Event {
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, InvolvedObject: corev1.ObjectReference{UID: about},
		Type: corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: metav1.NewTime(now.Add(-ago)),
	}
}
