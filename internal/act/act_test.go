package act_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

var (
	applyZero   = core.ApplyMember{Member: "demo-0", Start: core.StartSealed, InitialCluster: []string{"demo-0"}}
	applyPeer   = core.ApplyObject{Kind: "Service", Name: "demo-peer"}
	applyClient = core.ApplyObject{Kind: "Service", Name: "demo-client"}
	moveLeader  = core.MoveLeader{From: "demo-0", FromID: "a", To: "demo-1", ToID: "b"}
)

// TestOrder: supporting objects before members, members before what disrupts.
func TestOrder(t *testing.T) {
	s, l := newServer(t), &members{}
	ended, err := s.do(l, moveLeader, applyZero, applyClient, applyPeer)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ApplyObject done", "ApplyObject done", "ApplyMember done", "MoveLeader done"}; !slices.Equal(ended, want) {
		t.Errorf("%v", ended)
	}
	if len(s.writes) != 3 || s.writes[2] != "apply demo-0" {
		t.Errorf("%v", s.writes)
	}
	if want := []string{"MoveLeader http://10.0.0.1:2379 b"}; !slices.Equal(l.asked, want) {
		t.Errorf("the leader itself has to be asked: %v", l.asked)
	}
	set := &appsv1.StatefulSet{}
	if err := s.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: "demo-0"}, set); err != nil {
		t.Fatal(err)
	}
	if owner := metav1.GetControllerOf(set); owner == nil || owner.UID != "uid-1" {
		t.Errorf("owned by %v", owner)
	}
}

// TestFailureEndsThePass: what comes after a step that failed rests on it. What is beside it is carried out all the same.
func TestFailureEndsThePass(t *testing.T) {
	for failing, want := range map[string][]string{
		"demo-peer": {"ApplyObject failed", "ApplyObject done"},
		"demo-0":    {"ApplyObject done", "ApplyObject done", "ApplyMember failed"},
	} {
		s, l := newServer(t), &members{}
		s.fail = func(verb string, object client.Object) error {
			if verb == "apply" && object.GetName() == failing {
				return errBroken
			}
			return nil
		}
		ended, err := s.do(l, applyPeer, applyClient, applyZero, moveLeader)
		var step *act.StepError
		if !errors.Is(err, errBroken) || !errors.As(err, &step) || !strings.HasPrefix(step.Error(), step.Step+": ") || act.IsPassing(err) {
			t.Errorf("%v", err)
		}
		if !slices.Equal(ended, want) || len(l.asked) > 0 {
			t.Errorf("%s fails: %v, %v", failing, ended, l.asked)
		}
	}
}

// TestApplyTwice: a pass that was cut off is done again.
func TestApplyTwice(t *testing.T) {
	s := newServer(t)
	for range 2 {
		if _, err := s.do(&members{}, applyPeer, applyZero); err != nil {
			t.Fatal(err)
		}
	}
}

func TestApplyOnlyWhatIsOurs(t *testing.T) {
	owner := func(uid types.UID, kind, name string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: "etcd.etcd.io/v1alpha1", Kind: kind, Name: name, UID: uid, Controller: new(true)}}
	}
	for name, test := range map[string]struct {
		service      corev1.Service
		taken, stale bool
	}{
		"nobody's":             {corev1.Service{}, true, false},
		"another controller's": {corev1.Service{ObjectMeta: metav1.ObjectMeta{OwnerReferences: owner("x", "Other", "demo")}}, true, false},
		"another cluster's":    {corev1.Service{ObjectMeta: metav1.ObjectMeta{OwnerReferences: owner("x", "EtcdCluster", "other")}}, true, false},
		"an earlier cluster's": {corev1.Service{ObjectMeta: metav1.ObjectMeta{OwnerReferences: owner("uid-0", "EtcdCluster", "demo")}}, false, true},
		"ours, on its way out": {corev1.Service{ObjectMeta: metav1.ObjectMeta{OwnerReferences: owner("uid-1", "EtcdCluster", "demo"), Finalizers: []string{"f/f"}, DeletionTimestamp: &metav1.Time{Time: metav1.Now().Time}}}, false, true},
		"ours":                 {corev1.Service{ObjectMeta: metav1.ObjectMeta{OwnerReferences: owner("uid-1", "EtcdCluster", "demo")}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			test.service.Namespace, test.service.Name = "default", "demo-peer"
			s := newServer(t, &test.service)
			_, err := s.do(&members{}, applyPeer)
			var taken *act.NameTakenError
			if errors.As(err, &taken) != test.taken || isStale(err) != test.stale {
				t.Errorf("%v", err)
			}
			if test.taken && (act.IsPassing(err) || !strings.Contains(err.Error(), "Service demo-peer exists but does not belong to this cluster")) {
				t.Errorf("%v", err)
			}
			if wrote := len(s.writes) > 0; wrote != (err == nil) {
				t.Errorf("written: %v", s.writes)
			}
		})
	}
}

func TestWhatDoesNotFit(t *testing.T) {
	for name, action := range map[string]core.Action{
		"an object of an earlier spec": core.ApplyObject{Kind: "ConfigMap", Name: "demo-config-of-yesterday"},
		"a leader that does not run":   core.MoveLeader{From: "demo-2", To: "demo-1"},
		"a pod that is not there":      core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0"},
	} {
		s := newServer(t)
		if _, err := s.do(&members{}, action); !isStale(err) || !act.IsPassing(err) || len(s.writes) > 0 {
			t.Errorf("%s: %v, written: %v", name, err, s.writes)
		}
	}
	if _, err := newServer(t).do(&members{}, stranger{}); err == nil || act.IsPassing(err) {
		t.Errorf("an action that nobody knows: %v", err)
	}
}

// stranger is an action that nobody knows.
type stranger struct{}

func (stranger) Step() string     { return "Stranger" }
func (stranger) Disruptive() bool { return false }

// TestConflictsPass: someone else was faster; that is no failure.
func TestConflictsPass(t *testing.T) {
	s := newServer(t)
	s.fail = func(verb string, _ client.Object) error {
		if verb == "apply" {
			return apierrors.NewConflict(schema.GroupResource{Resource: "services"}, "demo-peer", errBroken)
		}
		return nil
	}
	if _, err := s.do(&members{}, applyPeer); !act.IsPassing(err) {
		t.Error(err)
	}
}

// TestFailureBesideConflict: a failure does not pass because something else has changed meanwhile.
func TestFailureBesideConflict(t *testing.T) {
	s := newServer(t)
	s.fail = func(verb string, object client.Object) error {
		switch {
		case verb == "apply" && object.GetName() == "demo-peer":
			return apierrors.NewConflict(schema.GroupResource{Resource: "services"}, "demo-peer", errors.New("another version"))
		case verb == "apply":
			return errBroken
		}
		return nil
	}
	if _, err := s.do(&members{}, applyPeer, applyClient); act.IsPassing(err) || !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

// TestApplyKeepsStorage: claim templates are immutable; a StatefulSet that exists keeps its own.
func TestApplyKeepsStorage(t *testing.T) {
	s := newServer(t)
	before := observed().Render
	before.EtcdCluster = before.DeepCopy()
	before.Spec.Storage.Size = new(resource.MustParse("5Gi"))
	live := before.StatefulSet(applyZero)
	if err := s.Create(context.Background(), live); err != nil {
		t.Fatal(err)
	}
	if _, err := s.do(&members{}, applyZero); err != nil {
		t.Fatal(err)
	}
	if err := s.Get(context.Background(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Fatal(err)
	}
	size := live.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().String()
	if size != "5Gi" || live.Annotations[render.AnnotationStorageHash] != before.StorageHash() {
		t.Errorf("%s, storage hash %s", size, live.Annotations[render.AnnotationStorageHash])
	}
}

// TestReadsThatFail: what cannot be checked is not done.
func TestReadsThatFail(t *testing.T) {
	for _, action := range []core.Action{
		applyPeer,
		core.MarkVolumes{Member: "demo-0", Volumes: []core.Volume{volume("c")}},
		core.RecreateMember{Member: "demo-0", WorkloadUID: "w", Volumes: []core.Volume{volume("c")}},
		addThree, retireNine, dropNine, resizeZero, dropPolicy,
		core.ExpandVolumes{Member: "demo-0", Volumes: []core.Volume{volume("c")}},
	} {
		s, l := newServer(t), three()
		s.fail = func(verb string, _ client.Object) error {
			if verb == "get" {
				return errBroken
			}
			return nil
		}
		if _, err := s.do(l, action); !errors.Is(err, errBroken) || len(s.writes)+len(l.asked) > 0 {
			t.Errorf("%s: %v, written: %v, asked: %v", action.Step(), err, s.writes, l.asked)
		}
	}
}
