package act_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// madeZero is a StatefulSet of ours as it is on the API server.
func madeZero(start core.Start) *appsv1.StatefulSet {
	return observed().Render.StatefulSet(core.ApplyMember{Member: "demo-0", Start: start, InitialCluster: []string{"demo-0"}})
}

// TestMadeOnce: a StatefulSet that was there when it was decided on, and is gone by now, is not made anew by that.
func TestMadeOnce(t *testing.T) {
	made := applyZero
	made.Made = true
	s := newServer(t)
	if _, err := s.do(three(), made); !isStale(err) || len(s.writes) > 0 {
		t.Errorf("%v, written %v", err, s.writes)
	}
	s = newServer(t, madeZero(core.StartSealed))
	if _, err := s.do(three(), made); err != nil {
		t.Error(err)
	}
}

// TestSealedStaysSealed: who would have a member found, or join, has not seen yet that it has run.
func TestSealedStaysSealed(t *testing.T) {
	for _, start := range []core.Start{core.StartBootstrap, core.StartJoin} {
		s := newServer(t, madeZero(core.StartSealed))
		action := core.ApplyMember{Member: "demo-0", Start: start, InitialCluster: []string{"demo-0"}}
		if _, err := s.do(three(), action); !isStale(err) || len(s.writes) > 0 {
			t.Errorf("%d: %v, written %v", start, err, s.writes)
		}
		s = newServer(t, madeZero(start))
		if _, err := s.do(three(), applyZero); err != nil {
			t.Errorf("sealing %d: %v", start, err)
		}
	}
}

// TestStopOnlyToHibernate: the size is read again, since stopped members serve nobody.
func TestStopOnlyToHibernate(t *testing.T) {
	stop := applyZero
	stop.Stopped, stop.Made = true, true
	cluster := func(size *int32) *v1alpha1.EtcdCluster {
		c := observed().Render.DeepCopy()
		c.Spec.Size = size
		return c
	}
	for name, test := range map[string]struct {
		size    *int32
		stopped bool
	}{"to be hibernated": {new(int32(0)), true}, "awake again": {new(int32(3)), false}, "without a size": {nil, false}} {
		s := newServer(t, cluster(test.size), madeZero(core.StartSealed))
		_, err := s.do(three(), stop)
		if isStale(err) == test.stopped || test.stopped && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		live := madeZero(core.StartSealed)
		if s.exists(t, live); (*live.Spec.Replicas == 0) != test.stopped {
			t.Errorf("%s: %d replicas", name, *live.Spec.Replicas)
		}
	}
	gone := newServer(t, madeZero(core.StartSealed))
	if err := gone.Delete(t.Context(), cluster(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.do(three(), stop); err == nil || act.IsPassing(err) {
		t.Errorf("the cluster cannot be read: %v", err)
	}
}

// TestHeldMembersDoNotRun: who has not seen yet that a restore holds the cluster, or that it has other data since, starts no member.
func TestHeldMembersDoNotRun(t *testing.T) {
	stop := applyZero
	stop.Stopped, stop.Made = true, true
	for name, test := range map[string]struct {
		step        core.ApplyMember
		annotations map[string]string
		done        bool
	}{
		"started":             {applyZero, nil, true},
		"started, held":       {applyZero, map[string]string{render.AnnotationRestore: "undo"}, false},
		"stopped, held":       {stop, map[string]string{render.AnnotationRestore: "undo"}, true},
		"started, other data": {applyZero, map[string]string{render.AnnotationRestoredClusterID: "abc"}, false},
	} {
		live := observed().Render.DeepCopy()
		live.Annotations = test.annotations
		s := newServer(t, live, madeZero(core.StartSealed))
		if _, err := s.do(three(), test.step); test.done && err != nil || !test.done && (!isStale(err) || len(s.writes) > 0) {
			t.Errorf("%s: %v, written %v", name, err, s.writes)
		}
	}
}

// TestLogStaysWhereItIs: a member that was made with a volume for its log goes on looking there, and one without does not
// begin to.
func TestLogStaysWhereItIs(t *testing.T) {
	withLog := observed().Render
	withLog.Spec.Storage.WAL = &v1alpha1.WALStorage{Size: new(resource.MustParse("2Gi"))}
	s := newServer(t, withLog.StatefulSet(applyZero))
	if _, err := s.do(three(), applyZero); err != nil {
		t.Fatal(err)
	}
	live := &appsv1.StatefulSet{}
	if err := s.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: "demo-0"}, live); err != nil {
		t.Fatal(err)
	}
	etcd := live.Spec.Template.Spec.Containers[0]
	if !slices.Contains(etcd.Args, "--wal-dir=/var/lib/etcd-wal/wal") || len(etcd.VolumeMounts) != 2 || len(live.Spec.VolumeClaimTemplates) != 2 {
		t.Errorf("%v, %v", etcd.Args, etcd.VolumeMounts)
	}
}

// TestSideJobsBlockNothing: a budget or a policy that cannot be made, or a volume that cannot grow, does not keep a member from
// being replaced. It is a failure all the same.
func TestSideJobsBlockNothing(t *testing.T) {
	grow := core.ExpandVolumes{Member: "demo-0", Volumes: []core.Volume{{Name: "data-demo-0-0", UID: "uid-of-data-demo-0-0", WantedSize: 2 << 30}}}
	for _, side := range []core.Action{
		core.ApplyObject{Kind: "PodDisruptionBudget", Name: "demo"}, core.ApplyObject{Kind: "NetworkPolicy", Name: "demo"}, grow, dropPolicy,
		core.DeleteConfig{Config: core.StaleConfig{Name: "demo-config-0"}},
	} {
		s, l, o := newServer(t, sized("data-demo-0-0", "1Gi"), policy()), three(), observed()
		if _, applies := side.(core.ApplyObject); applies {
			o.Render.Spec.Security.NetworkPolicy.Mode = v1alpha1.NetworkPolicyEnabled
		}
		s.fail = func(verb string, _ client.Object) error {
			if verb == "get" {
				return nil
			}
			return errBroken
		}
		ended, err := s.doFor(o, l, side, removeTwo)
		if !errors.Is(err, errBroken) || act.IsPassing(err) || !slices.Equal(ended, []string{side.Step() + " failed", "RemoveMember done"}) {
			t.Errorf("%v, %v", err, ended)
		}
	}
}

// TestPortsChangedByHand: an apply alone would leave ours beside the changed one, which is refused.
func TestPortsChangedByHand(t *testing.T) {
	live, ok := observed().Render.Objects()[1].(*corev1.Service)
	if !ok {
		t.Fatal("not a Service")
	}
	live.UID = "s"
	live.Spec.Ports[0].Port = 9999
	s := newServer(t, live)
	applies := 0
	s.fail = func(verb string, _ client.Object) error {
		if verb != "apply" {
			return nil
		}
		if applies++; applies == 1 {
			return apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "demo-peer", nil)
		}
		return nil
	}
	if _, err := s.do(three(), applyPeer); err != nil || !slices.Equal(s.writes, []string{"patch demo-peer", "apply demo-peer"}) {
		t.Errorf("%v, written %v", err, s.writes)
	}
	got := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-peer"}}
	if s.exists(t, got); got.Spec.Ports[0].Port != render.ClientPort {
		t.Errorf("%v", got.Spec.Ports)
	}
}

// TestMadeAgainOnItsVolumes: the StatefulSet of a member that has run is gone, its claims are not, and spec.storage.wal is another
// by now. It is made with the volumes that its data is on, or etcd would look for its log where it is not, and take it for lost.
func TestMadeAgainOnItsVolumes(t *testing.T) {
	bound := func(name string) *corev1.PersistentVolumeClaim {
		c := claim(name)
		c.Spec.VolumeName, c.Status.Phase = "pv-"+name, corev1.ClaimBound
		c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}
		return c
	}
	data, log := bound("data-demo-0-0"), bound("wal-demo-0-0")
	for name, test := range map[string]struct {
		asked  bool
		start  core.Start
		claims []client.Object
		want   bool
	}{
		"it has one, none is asked for":          {false, core.StartSealed, []client.Object{data, log}, true},
		"it has none, one is asked for":          {true, core.StartSealed, []client.Object{data}, false},
		"it has one, and one is asked for":       {true, core.StartSealed, []client.Object{data, log}, true},
		"it has lost all":                        {true, core.StartSealed, nil, true},
		"it has never run, and one is left":      {false, core.StartJoin, []client.Object{log}, false},
		"it has never run, and one is asked for": {true, core.StartJoin, []client.Object{data}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var objects []client.Object
			for _, c := range test.claims {
				objects = append(objects, c.DeepCopyObject().(client.Object))
			}
			s, o := newServer(t, objects...), observed()
			if test.asked {
				o.Render.Spec.Storage.WAL = &v1alpha1.WALStorage{Size: new(resource.MustParse("1Gi"))}
			}
			actor := act.Actor{Client: s, Live: s, Etcd: three()}
			action := core.ApplyMember{Member: "demo-0", Start: test.start, InitialCluster: []string{"demo-0"}}
			if err := actor.Do(context.Background(), o, []core.Action{action}, func(core.Action, error) {}); err != nil {
				t.Fatal(err)
			}
			set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-0"}}
			s.exists(t, set)
			looks := slices.Contains(set.Spec.Template.Spec.Containers[0].Args, "--wal-dir=/var/lib/etcd-wal/wal")
			if has := len(set.Spec.VolumeClaimTemplates) == 2; has != test.want || looks != test.want {
				t.Errorf("a volume for the log: %t, and it looks there: %t", has, looks)
			}
		})
	}
}
