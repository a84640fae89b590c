package act_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// sized is a claim that asks for a size.
func sized(name, size string) *corev1.PersistentVolumeClaim {
	c := claim(name)
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	return c
}

func (s *server) sizeOf(t *testing.T, name string) string {
	t.Helper()
	c := claim(name)
	s.exists(t, c)
	return c.Spec.Resources.Requests.Storage().String()
}

// TestExpandVolumes: what a claim asks for only ever grows.
func TestExpandVolumes(t *testing.T) {
	to := func(name string, size int64) core.Volume {
		v := volume(name)
		v.WantedSize = size
		return v
	}
	s := newServer(t, sized("data-demo-0-0", "1Gi"), sized("wal-demo-0-0", "3Gi"))
	expand := core.ExpandVolumes{Member: "demo-0", Volumes: []core.Volume{to("gone", 2<<30), to("data-demo-0-0", 2<<30), to("wal-demo-0-0", 2<<30)}}
	for range 2 {
		if _, err := s.do(three(), expand); err != nil {
			t.Fatal(err)
		}
		if data, wal := s.sizeOf(t, "data-demo-0-0"), s.sizeOf(t, "wal-demo-0-0"); data != "2Gi" || wal != "3Gi" {
			t.Errorf("data %s, wal %s", data, wal)
		}
	}
	again := sized("data-demo-0-0", "1Gi")
	again.UID = "made-again"
	s = newServer(t, again)
	if _, err := s.do(three(), core.ExpandVolumes{Volumes: []core.Volume{to("data-demo-0-0", 2<<30)}}); !isStale(err) || len(s.writes) > 0 {
		t.Errorf("%v, written %v", err, s.writes)
	}
}

var resizeZero = core.ResizeMember{Member: "demo-0", PodUID: "pod-of-demo-0"}

// small is the pod of a member that has less CPU than is asked for by now, and a container beside etcd.
func small() *corev1.Pod {
	p := pod("demo-0")
	p.Annotations = map[string]string{render.AnnotationMemberHash: "before"}
	less := corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m")}}
	p.Spec.Containers = []corev1.Container{{Name: "sidecar", Resources: less}, {Name: render.ContainerName, Resources: less}}
	return p
}

// resized gives the pod as it is by now.
func (s *server) resized(t *testing.T) (cpu []string, hash, refused string) {
	t.Helper()
	p := pod("demo-0")
	s.exists(t, p)
	for i := range p.Spec.Containers {
		cpu = append(cpu, p.Spec.Containers[i].Resources.Requests.Cpu().String())
	}
	return cpu, p.Annotations[render.AnnotationMemberHash], p.Annotations[render.AnnotationResizeRefused]
}

// TestResize: etcd's container gets other CPU and memory; before, the pod says that it is not up to date, and then that it is.
func TestResize(t *testing.T) {
	wanted := observed().Render.MemberHash()
	s := newServer(t, small())
	for range 2 {
		if _, err := s.do(three(), resizeZero); err != nil {
			t.Fatal(err)
		}
		if cpu, hash, refused := s.resized(t); !slices.Equal(cpu, []string{"50m", "100m"}) || hash != wanted || refused != "" {
			t.Errorf("CPU %v, hash %s, refused %q", cpu, hash, refused)
		}
	}
	if !slices.Equal(s.writes[:3], []string{"patch demo-0-0", "resize demo-0-0", "patch demo-0-0"}) || slices.Contains(s.writes[3:], "resize demo-0-0") {
		t.Errorf("written %v", s.writes)
	}
	bare := small()
	bare.Annotations = nil
	s = newServer(t, bare)
	if _, err := s.do(three(), resizeZero); err != nil {
		t.Error(err)
	}
}

// TestResizeCutOff: between the resize and the note the operator ends. The pod does not say that it is what it was: the spec may
// be put back now. The next pass has only the note left to write.
func TestResizeCutOff(t *testing.T) {
	s := newServer(t, small())
	resized := false
	s.fail = func(verb string, _ client.Object) error {
		resized = resized || verb == "resize"
		if verb == "patch" && resized {
			return errBroken
		}
		return nil
	}
	if _, err := s.do(three(), resizeZero); err == nil || err.Error() != "ResizeMember: noting the resize on pod default/demo-0-0: the server is on fire" {
		t.Error(err)
	}
	if cpu, hash, _ := s.resized(t); cpu[1] != "100m" || hash != render.Resizing {
		t.Errorf("CPU %v, hash %s", cpu, hash)
	}
	s.fail, s.writes = nil, nil
	if _, err := s.do(three(), resizeZero); err != nil || !slices.Equal(s.writes, []string{"patch demo-0-0"}) {
		t.Errorf("%v, written %v", err, s.writes)
	}
	if _, hash, refused := s.resized(t); hash != observed().Render.MemberHash() || refused != "" {
		t.Errorf("hash %s, refused %q", hash, refused)
	}
}

// TestResizeRefused: what Kubernetes does not do in place is noted on the pod. The pod is not up to date then.
func TestResizeRefused(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for name, test := range map[string]struct {
		err              error
		noted, isPassing bool
	}{
		"another class of service":    {apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "demo-0-0", nil), true, false},
		"Kubernetes knows no resize":  {apierrors.NewNotFound(pods, "demo-0-0"), true, false},
		"nor its verb":                {apierrors.NewMethodNotSupported(pods, "patch"), true, false},
		"the operator may not":        {apierrors.NewForbidden(pods, "demo-0-0", errors.New("no")), true, false},
		"a quota: it may be raised":   {apierrors.NewForbidden(pods, "demo-0-0", errors.New("exceeded quota: cpu")), false, false},
		"the kubelet was faster":      {apierrors.NewConflict(pods, "demo-0-0", errors.New("another version")), false, true},
		"something else, for a while": {errBroken, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, small())
			s.fail = func(verb string, _ client.Object) error {
				if verb == "resize" {
					return test.err
				}
				return nil
			}
			for range 2 {
				_, err := s.do(three(), resizeZero)
				if (err == nil) != test.noted || err != nil && (!errors.Is(err, test.err) || act.IsPassing(err) != test.isPassing) {
					t.Errorf("%v", err)
				}
				cpu, hash, refused := s.resized(t)
				if (refused == observed().Render.MemberHash()) != test.noted || cpu[1] != "50m" || hash != render.Resizing {
					t.Errorf("CPU %v, hash %s, refused %q", cpu, hash, refused)
				}
			}
		})
	}
}

// TestResizeOfAStaleDecision: the pod is gone, or another one.
func TestResizeOfAStaleDecision(t *testing.T) {
	again := small()
	again.UID = "made-again"
	for name, objects := range map[string][]client.Object{"gone": nil, "another one": {again}} {
		s := newServer(t, objects...)
		if _, err := s.do(three(), resizeZero); !isStale(err) || len(s.writes) > 0 {
			t.Errorf("%s: %v, written %v", name, err, s.writes)
		}
	}
	// The kubelet writes its status between the reading and the resize.
	s := newServer(t, small())
	raced := false
	s.before = func(verb string, _ client.Object) {
		if verb != "resize" || raced {
			return
		}
		raced = true
		other := small()
		s.exists(t, other)
		other.Labels = map[string]string{"someone": "else"}
		if err := s.Update(context.Background(), other); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.do(three(), resizeZero); !act.IsPassing(err) {
		t.Errorf("over someone else's write: %v", err)
	}
	if _, hash, refused := s.resized(t); hash != render.Resizing || refused != "" {
		t.Errorf("hash %s, refused %q", hash, refused)
	}
}

var (
	dropBudget = core.DeleteObject{Kind: "PodDisruptionBudget", Name: "demo"}
	dropPolicy = core.DeleteObject{Kind: "NetworkPolicy", Name: "demo"}
)

// ours is the metadata of a supporting object that is called as the cluster.
func ours() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "default", Name: "demo", UID: "b",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "etcd.etcd.io/v1alpha1", Kind: "EtcdCluster", Name: "demo", UID: "uid-1", Controller: new(true)}},
	}
}

func policy() *networkingv1.NetworkPolicy { return &networkingv1.NetworkPolicy{ObjectMeta: ours()} }

// TestDeleteObject: a disruption budget and a NetworkPolicy go, if they are ours and the cluster should have none.
func TestDeleteObject(t *testing.T) {
	lone := observed()
	lone.Render.Voters = 1
	for action, object := range map[core.DeleteObject]client.Object{
		dropBudget: &policyv1.PodDisruptionBudget{ObjectMeta: ours()},
		dropPolicy: policy(),
	} {
		s := newServer(t, object)
		for range 2 {
			if _, err := s.doFor(lone, three(), action); err != nil {
				t.Fatal(err)
			}
		}
		if p := s.preconditions["demo"]; s.exists(t, object) || p.UID == nil || *p.UID != "b" {
			t.Errorf("%s: preconditions %+v", action.Kind, p)
		}
		for what, owners := range map[string][]metav1.OwnerReference{"an earlier cluster's": ours().OwnerReferences, "someone's": nil} {
			for i := range owners {
				owners[i].UID = "uid-0"
			}
			object.SetOwnerReferences(owners)
			object.SetResourceVersion("")
			s = newServer(t, object)
			if _, err := s.doFor(lone, three(), action); !isStale(err) || len(s.writes) > 0 {
				t.Errorf("%s %s: %v, written %v", what, action.Kind, err, s.writes)
			}
		}
	}
	s := newServer(t)
	for _, action := range []core.DeleteObject{{Kind: "Service", Name: "demo-client"}, {Kind: "NetworkPolicy", Name: "demo-0"}, dropBudget} {
		if _, err := s.do(three(), action); err == nil || act.IsPassing(err) || len(s.writes) > 0 {
			t.Errorf("%s %s is never to be deleted of three members: %v", action.Kind, action.Name, err)
		}
	}
}

var sealZero = core.SealPod{Member: "demo-0", PodUID: "pod-of-demo-0"}

// founding is the pod of a member that founds the cluster if it starts on an empty volume.
func founding() *corev1.Pod {
	p := pod("demo-0")
	made := observed().Render.StatefulSet(core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: []string{"demo-0", "demo-1"}})
	p.Annotations, p.Spec = made.Spec.Template.Annotations, made.Spec.Template.Spec
	return p
}

// TestSealPod: a pod is sealed by its annotations, once. Nothing else of it changes, and what it is compared by least of all.
func TestSealPod(t *testing.T) {
	s := newServer(t, founding())
	for range 2 {
		if _, err := s.do(three(), sealZero); err != nil {
			t.Fatal(err)
		}
	}
	got, before := pod("demo-0"), founding()
	s.exists(t, got)
	if start, fixed := render.PodStart(got); start != core.StartSealed || fixed || !slices.Equal(s.writes, []string{"patch demo-0-0"}) {
		t.Errorf("it starts as %d, fixed: %t; written %v", start, fixed, s.writes)
	}
	for _, hash := range []string{render.AnnotationMemberHash, render.AnnotationRestartHash} {
		if got.Annotations[hash] == "" || got.Annotations[hash] != before.Annotations[hash] {
			t.Errorf("%s has become %q", hash, got.Annotations[hash])
		}
	}
	if !equality.Semantic.DeepEqual(got.Spec, before.Spec) {
		t.Errorf("%+v", got.Spec)
	}
}

// TestSealPodNoMore: the pod is another one by now, or cannot be sealed, or changes at that very moment.
func TestSealPodNoMore(t *testing.T) {
	again, fixed, stopping := founding(), founding(), founding()
	again.UID = "made-again"
	fixed.Spec.Containers[0].Args = []string{"--initial-cluster=demo-0=u,demo-1=u", "--initial-cluster-state=new"}
	stopping.DeletionTimestamp, stopping.Finalizers = new(metav1.Now()), []string{"test/stays"}
	for name, objects := range map[string][]client.Object{"again": {again}, "fixed": {fixed}, "stopping": {stopping}, "gone": nil} {
		s := newServer(t, objects...)
		if _, err := s.do(three(), sealZero); !isStale(err) || len(s.writes) > 0 {
			t.Errorf("%s: %v, written %v", name, err, s.writes)
		}
	}
	s := newServer(t, founding())
	s.before = func(string, client.Object) {
		s.before = nil
		changed := pod("demo-0")
		s.exists(t, changed)
		metav1.SetMetaDataAnnotation(&changed.ObjectMeta, "test/changed", "meanwhile")
		if err := s.Update(context.Background(), changed); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.do(three(), sealZero); !apierrors.IsConflict(err) || !act.IsPassing(err) {
		t.Error(err)
	}
}

// TestSealPodRefused: that is said, and keeps nobody from being replaced.
func TestSealPodRefused(t *testing.T) {
	for _, verb := range []string{"get", "patch"} {
		s, l := newServer(t, founding()), three()
		s.fail = func(what string, object client.Object) error {
			if _, isPod := object.(*corev1.Pod); isPod && what == verb {
				return errBroken
			}
			return nil
		}
		ended, err := s.do(l, sealZero, core.MoveLeader{From: "demo-0", ToID: "b"})
		if !errors.Is(err, errBroken) || !slices.Equal(ended, []string{"SealPod failed", "MoveLeader done"}) {
			t.Errorf("%s: %v, %v", verb, ended, err)
		}
	}
}
