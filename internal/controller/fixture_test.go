package controller_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/controller"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

var (
	request   = ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "default", Name: "demo"}}
	errBroken = errors.New("the server is on fire")
	// errRefused is how etcd protects its quorum.
	errRefused = errors.New("etcdserver: unhealthy cluster")
)

// members is an etcd, and a watcher that remembers what it was asked to watch. What is not asked here panics.
type members struct {
	act.Etcd
	answer  core.Etcd
	watched map[string][]etcd.Endpoint
	// added are the peer URLs of members that were added; refuses says that it is too early for that.
	added   []string
	refuses bool
}

func (m *members) Observe(context.Context, []etcd.Endpoint) core.Etcd { return m.answer }
func (m *members) MoveLeader(context.Context, string, string) error   { return nil }
func (m *members) IsRefusal(err error) bool                           { return errors.Is(err, errRefused) }

func (m *members) ReadAuth(context.Context, string, etcd.AuthQuestion) (core.AuthStore, error) {
	return core.AuthStore{}, nil
}

func (m *members) AddLearner(_ context.Context, _, peerURL string) error {
	if m.refuses {
		return errRefused
	}
	m.added = append(m.added, peerURL)
	return nil
}

func (m *members) Watch(cluster string, endpoints []etcd.Endpoint) { m.watched[cluster] = endpoints }

// situation is a reconciler with everything around it.
type situation struct {
	client.Client
	t          *testing.T
	reconciler *controller.EtcdClusterReconciler
	etcd       *members
	recorder   *events.FakeRecorder
	mu         sync.Mutex
	writes     []string
	// fail is asked before each write and each read of a cluster.
	fail func(verb, name string) error
}

func newSituation(t *testing.T, objects ...client.Object) *situation {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	s := &situation{t: t, etcd: &members{watched: map[string][]etcd.Endpoint{}}, recorder: events.NewFakeRecorder(100)}
	s.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.EtcdCluster{}).
		// The fake server selects by indexed fields only.
		WithIndex(&batchv1.Job{}, "metadata.name", func(job client.Object) []string { return []string{job.GetName()} }).
		WithInterceptorFuncs(interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
				if _, ok := object.(*v1alpha1.EtcdCluster); ok && s.fail != nil {
					if err := s.fail("get", key.Name); err != nil {
						return err
					}
				}
				return c.Get(ctx, key, object, options...)
			},
			Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
				if object.GetUID() == "" {
					object.SetUID(types.UID("uid-of-" + object.GetName()))
				}
				if _, is := object.(*v1alpha1.EtcdCluster); is {
					if err := s.note("create", object.GetName()); err != nil {
						return err
					}
				}
				return c.Create(ctx, object, options...)
			},
			Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
				if err := s.note("apply", object.(client.Object).GetName()); err != nil {
					return err
				}
				return c.Apply(ctx, object, options...)
			},
			Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
				if err := s.note("patch", object.GetName()); err != nil {
					return err
				}
				return c.Patch(ctx, object, patch, options...)
			},
			Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
				if err := s.note("delete", object.GetName()); err != nil {
					return err
				}
				return c.Delete(ctx, object, options...)
			},
			SubResourceApply: func(ctx context.Context, c client.Client, _ string, object runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
				if err := s.note("report", object.(client.Object).GetName()); err != nil {
					return err
				}
				return c.Status().Apply(ctx, object, options...)
			},
		}).Build()
	now := func() time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC) }
	s.reconciler = &controller.EtcdClusterReconciler{
		Client:   s,
		Observer: &observe.Observer{Cache: s, Live: s, Etcd: s.etcd, Domain: "cluster.local", Now: now},
		Actor:    &act.Actor{Client: s, Live: s, Etcd: s.etcd},
		Watcher:  s.etcd,
		Events:   s.recorder,
	}
	return s
}

func (s *situation) note(verb, name string) error {
	s.mu.Lock()
	s.writes = append(s.writes, verb+" "+name)
	s.mu.Unlock()
	if s.fail != nil {
		return s.fail(verb, name)
	}
	return nil
}

// failOn makes one write fail.
func (s *situation) failOn(verb, name string, err error) {
	s.fail = func(v, n string) error {
		if v == verb && n == name {
			return err
		}
		return nil
	}
}

// reconcile does one pass, and gives what was written and what was told by it.
func (s *situation) reconcile() (ctrl.Result, error) {
	s.writes = nil
	return s.reconciler.Reconcile(context.Background(), request)
}

func (s *situation) told() string {
	var all []string
	for {
		select {
		case event := <-s.recorder.Events:
			all = append(all, event)
		default:
			return strings.Join(all, "\n")
		}
	}
}

func (s *situation) cluster() *v1alpha1.EtcdCluster {
	s.t.Helper()
	cluster := &v1alpha1.EtcdCluster{}
	if err := s.Get(context.Background(), request.NamespacedName, cluster); err != nil {
		s.t.Fatal(err)
	}
	return cluster
}

// condition is one condition of the status, as "Status Reason: message".
func (s *situation) condition(kind string) string {
	s.t.Helper()
	for _, c := range s.cluster().Status.Conditions {
		if c.Type == kind {
			return string(c.Status) + " " + c.Reason + ": " + c.Message
		}
	}
	return ""
}

func demo() *v1alpha1.EtcdCluster {
	cluster := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo", UID: "uid-1", Generation: 1}}
	cluster.Spec = v1alpha1.EtcdClusterSpec{
		Size: new(int32(1)), Version: "3.6.16", Repository: "etcd",
		Storage: v1alpha1.StorageSpec{Medium: v1alpha1.StorageMediumDisk, Size: new(resource.MustParse("1Gi"))},
	}
	return cluster
}

// peerURL is that of a member.
func peerURL(member string) string {
	return render.Cluster{EtcdCluster: demo(), Domain: "cluster.local"}.PeerURL(member)
}

// run makes the pod of the only member run on its volume, and etcd answer.
func (s *situation) run() {
	s.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "demo-0-0", UID: "pod-1", Labels: map[string]string{render.LabelCluster: "demo", render.LabelMember: "demo-0"},
		Annotations:     map[string]string{render.AnnotationMemberHash: render.Cluster{EtcdCluster: demo()}.MemberHash()},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "demo-0", UID: "w", Controller: new(true)}},
	}}
	pod.Status.PodIP = "10.0.0.1"
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: render.ContainerName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "data-demo-0-0", UID: "claim-1", Labels: pod.Labels,
		Annotations: map[string]string{render.AnnotationOwnerUID: "uid-1", render.AnnotationFoundedBy: "uid-1", render.AnnotationBootstrapMembers: "demo-0"},
	}}
	claim.Spec.VolumeName, claim.Status.Phase = "pv-1", corev1.ClaimBound
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *demo().Spec.Storage.Size}
	claim.Status.Capacity = claim.Spec.Resources.Requests
	for _, object := range []client.Object{claim, pod} {
		if err := s.Create(context.Background(), object); err != nil {
			s.t.Fatal(err)
		}
	}
	s.etcd.answer = core.Etcd{
		List:     core.MemberList{Known: true, ClusterID: "c1", Members: []core.Listed{{ID: "a", PeerURL: peerURL("demo-0"), Started: true}}},
		Statuses: []core.Status{{Member: "demo-0", Answered: true, ID: "a", LeaderID: "a", ClusterID: "c1", Version: "3.6.16", DBSize: 1 << 20, RaftApplied: 5}},
	}
}

// workload is the StatefulSet of the only member.
func (s *situation) workload() *appsv1.StatefulSet {
	s.t.Helper()
	set := &appsv1.StatefulSet{}
	if err := s.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: "demo-0"}, set); err != nil {
		s.t.Fatal(err)
	}
	return set
}
