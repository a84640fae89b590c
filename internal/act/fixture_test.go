package act_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// server is an API server that keeps a list of what was written to it.
type server struct {
	client.Client
	mu     sync.Mutex
	writes []string
	// preconditions are those of the deletions, by kind and name.
	preconditions map[string]client.Preconditions
	// fail is asked before each write, and before each read.
	fail func(verb string, object client.Object) error
	// before is called before each write; the world may change there.
	before func(verb string, object client.Object)
}

func newServer(t *testing.T, objects ...client.Object) *server {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	s := &server{preconditions: map[string]client.Preconditions{}}
	if !slices.ContainsFunc(objects, func(o client.Object) bool { _, is := o.(*v1alpha1.EtcdCluster); return is }) {
		objects = append(slices.Clip(objects), observed().Render.DeepCopy())
	}
	s.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if s.fail != nil {
				if err := s.fail("get", object); err != nil {
					return err
				}
			}
			return c.Get(ctx, key, object, options...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			if err := s.note("apply", object.(client.Object)); err != nil {
				return err
			}
			return c.Apply(ctx, object, options...)
		},
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			if err := s.note("create", object); err != nil {
				return err
			}
			return c.Create(ctx, object, options...)
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.UpdateOption) error {
			if err := s.note("update", object); err != nil {
				return err
			}
			return c.Update(ctx, object, options...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			if err := s.note("patch", object); err != nil {
				return err
			}
			return c.Patch(ctx, object, patch, options...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, resource string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			if err := s.note(resource, object); err != nil {
				return err
			}
			return c.SubResource(resource).Patch(ctx, object, patch, options...)
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, resource string, object, made client.Object, options ...client.SubResourceCreateOption) error {
			if eviction, ok := made.(*policyv1.Eviction); ok && eviction.Name == object.GetName() && eviction.DeleteOptions.Preconditions != nil {
				s.mu.Lock()
				s.preconditions["evicted "+object.GetName()] = client.Preconditions{UID: eviction.DeleteOptions.Preconditions.UID, ResourceVersion: eviction.DeleteOptions.Preconditions.ResourceVersion}
				s.mu.Unlock()
			}
			if err := s.note(resource, object); err != nil {
				return err
			}
			return c.SubResource(resource).Create(ctx, object, made, options...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			all := client.DeleteOptions{}
			all.ApplyOptions(options)
			if all.Preconditions != nil {
				s.mu.Lock()
				s.preconditions[object.GetName()] = client.Preconditions{UID: all.Preconditions.UID, ResourceVersion: all.Preconditions.ResourceVersion}
				s.mu.Unlock()
			}
			if err := s.note("delete", object); err != nil {
				return err
			}
			return c.Delete(ctx, object, options...)
		},
	}).Build()
	return s
}

func (s *server) note(verb string, object client.Object) error {
	if s.before != nil {
		s.before(verb, object)
	}
	if s.fail != nil {
		if err := s.fail(verb, object); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, verb+" "+object.GetName())
	return nil
}

// members is an etcd that keeps a list of what was asked of it.
type members struct {
	mu    sync.Mutex
	asked []string
	// live is what it says of itself.
	live core.Etcd
	// err is the answer to whatever is asked, refused whether that only means that it is too early; unreadable is the
	// answer to a look at the member list.
	err, unreadable error
	refused         bool
	// fails is what is answered with an error.
	fails string
	// meanwhile is what happens while something is asked.
	meanwhile func()
	// difference is what the members differ in, incomparable why that cannot be told.
	difference   string
	incomparable error
	// enabled and revision are the status of authentication, unasked why it cannot be asked for.
	enabled  bool
	revision uint64
	unasked  error
}

func (m *members) ask(what, address string, more ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meanwhile != nil {
		m.meanwhile()
	}
	asked := strings.TrimSpace(fmt.Sprintln(append([]any{what, address}, more...)...))
	m.asked = append(m.asked, asked)
	if asked == m.fails {
		return errBroken
	}
	return m.err
}

func (m *members) Observe(context.Context, []etcd.Endpoint) core.Etcd { return m.live }

func (m *members) MemberList(context.Context, string) (core.MemberList, error) {
	return m.live.List, m.unreadable
}

func (m *members) MoveLeader(_ context.Context, address, to string) error {
	return m.ask("MoveLeader", address, to)
}

func (m *members) AddLearner(_ context.Context, address, peerURL string) error {
	return m.ask("AddLearner", address, peerURL)
}

func (m *members) Promote(_ context.Context, address, id string) error {
	return m.ask("Promote", address, id)
}

func (m *members) Remove(_ context.Context, address, id string) error {
	return m.ask("Remove", address, id)
}

func (m *members) MovePeerURL(_ context.Context, address, id, peerURL string) error {
	return m.ask("MovePeerURL", address, id, peerURL)
}

func (m *members) Disarm(_ context.Context, address, id, alarm string) error {
	return m.ask("Disarm", address, id, alarm)
}

func (m *members) EnableDowngrade(_ context.Context, address, target string) error {
	return m.ask("EnableDowngrade", address, target)
}

func (m *members) CancelDowngrade(_ context.Context, address string) error {
	return m.ask("CancelDowngrade", address)
}

func (m *members) FlushLog(_ context.Context, address string, entries int) error {
	return m.ask("FlushLog", address, entries)
}

func (m *members) AuthStatus(context.Context, string) (bool, uint64, error) {
	return m.enabled, m.revision, m.unasked
}

func (m *members) ChangeAuth(_ context.Context, address string, step core.AuthStep, password string) error {
	return m.ask(string(step.Change), address, step.User+step.Role, password)
}

func (m *members) Agree(_ context.Context, endpoints []etcd.Endpoint, revision int64) (string, error) {
	var names []string
	for _, endpoint := range endpoints {
		names = append(names, endpoint.Member)
	}
	m.asked = append(m.asked, fmt.Sprintf("Agree %v %d", names, revision))
	return m.difference, m.incomparable
}

func (m *members) IsRefusal(err error) bool { return m.refused && errors.Is(err, errBroken) }

// three is an etcd of three voters that serve, the first of which leads.
func three() *members {
	m := &members{}
	m.live.List = core.MemberList{Known: true, ClusterID: "c1"}
	for n, id := range []string{"a", "b", "c"} {
		name := fmt.Sprintf("demo-%d", n)
		m.live.List.Members = append(m.live.List.Members, core.Listed{ID: id, Name: name, PeerURL: observed().Render.PeerURL(name), Started: true})
		m.live.Statuses = append(m.live.Statuses, core.Status{Member: name, Answered: true, ID: id, LeaderID: "a", ClusterID: "c1"})
	}
	return m
}

func observed() observe.Observed {
	cluster := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo", UID: "uid-1"}}
	cluster.Spec = v1alpha1.EtcdClusterSpec{
		Size: new(int32(3)), Version: "3.6.16", Repository: "etcd",
		Storage: v1alpha1.StorageSpec{Medium: v1alpha1.StorageMediumDisk, Size: new(resource.MustParse("1Gi"))},
	}
	var seen core.Observation
	seen.Etcd.List = core.MemberList{Known: true, ClusterID: "c1"}
	return observe.Observed{
		Observation: seen,
		Render:      render.Cluster{EtcdCluster: cluster, Domain: "cluster.local", Voters: 3},
		Endpoints:   []etcd.Endpoint{{Member: "demo-0", Address: "http://10.0.0.1:2379"}, {Member: "demo-1", Address: "http://10.0.0.2:2379"}},
	}
}

// do carries out actions, and tells how each of them ended.
func (s *server) do(l act.Etcd, actions ...core.Action) (ended []string, err error) {
	return s.doFor(observed(), l, actions...)
}

// doFor carries out actions for a cluster that was observed as it is said.
func (s *server) doFor(o observe.Observed, l act.Etcd, actions ...core.Action) (ended []string, err error) {
	actor := act.Actor{Client: s, Live: s, Etcd: l}
	err = actor.Do(context.Background(), o, actions, func(action core.Action, err error) {
		outcome := "done"
		if err != nil {
			outcome = "failed"
		}
		ended = append(ended, action.Step()+" "+outcome)
	})
	return ended, err
}

func isStale(err error) bool {
	var stale *act.StaleError
	return errors.As(err, &stale)
}

// pod is the pod of a member; it runs.
func pod(member string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: render.PodName(member), UID: types.UID("pod-of-" + member), Labels: observed().Render.MemberLabels(member),
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: member, UID: "w", Controller: new(true)}},
	}}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: render.ContainerName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	return p
}

func down(p *corev1.Pod) *corev1.Pod {
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	return p
}

func ready(p *corev1.Pod) *corev1.Pod {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return p
}

func claim(name string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-of-" + name)},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
	}
}

func volume(name string) core.Volume {
	return core.Volume{Name: name, UID: "uid-of-" + name, KeptWanted: true}
}

// exists is whether an object is still there.
func (s *server) exists(t *testing.T, object client.Object) bool {
	t.Helper()
	err := s.Get(context.Background(), client.ObjectKeyFromObject(object), object)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return err == nil
}

var errBroken = fmt.Errorf("the server is on fire")
