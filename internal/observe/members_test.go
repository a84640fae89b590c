package observe_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

func names(o observe.Observed) []string {
	var all []string
	for _, m := range o.Members {
		all = append(all, m.Name)
	}
	slices.Sort(all)
	return all
}

// TestMember: what there is of a member is joined to one.
func TestMember(t *testing.T) {
	s := newSituation()
	claim := s.claim("demo-0")
	claim.Annotations[render.AnnotationClusterID] = "c1"
	got := s.add(s.workload(t, "demo-0"), s.pod("demo-0"), claim).member(t, "demo-0")
	if w := got.Workload; w.State != core.Current || w.UID != "workload-of-demo-0" || w.Start != core.StartSealed || !w.Settled ||
		w.MemberHash != s.render().MemberHash() || w.StorageHash != s.render().StorageHash() || !slices.Equal(w.InitialCluster, []string{"demo-0", "demo-1"}) {
		t.Errorf("workload %+v", w)
	}
	if want := (core.Pod{Exists: true, UID: "pod-of-demo-0", MemberHash: "h", Start: core.StartSealed, Running: true, Ready: true}); got.Pod != want {
		t.Errorf("pod %+v", got.Pod)
	}
	want := core.Volume{Name: "data-demo-0-0", UID: "claim-of-demo-0", Bound: true, OwnerUID: "uid-1", ClusterID: "c1", Kept: true, KeptWanted: true, Size: 1 << 30, WantedSize: 1 << 30}
	if len(got.Volumes) != 1 || !reflect.DeepEqual(got.Volumes[0], want) {
		t.Errorf("volumes %+v", got.Volumes)
	}
}

// TestPodsMadeBefore: a StatefulSet is sealed; the pod that it has made before is what it is.
func TestPodsMadeBefore(t *testing.T) {
	s := newSituation()
	founds, earlier := s.pod("demo-0"), s.pod("demo-1")
	founds.Annotations[render.AnnotationInitialState] = "new"
	earlier.Spec.Containers[0].Args = []string{"--initial-cluster=demo-0=u,demo-1=u", "--initial-cluster-state=existing"}
	s.add(s.workload(t, "demo-0"), founds, s.workload(t, "demo-1"), earlier)
	if pod := s.member(t, "demo-0").Pod; pod.Start != core.StartBootstrap || pod.StartFixed {
		t.Errorf("%+v", pod)
	}
	if pod := s.member(t, "demo-1").Pod; pod.Start != core.StartJoin || !pod.StartFixed {
		t.Errorf("%+v", pod)
	}
}

// TestWhoIsAMember: members are told by name, label and owner, and never by one of these alone.
func TestWhoIsAMember(t *testing.T) {
	s := newSituation()
	stranger := s.pod("demo-2")
	stranger.OwnerReferences = nil
	replica := s.pod("demo-3")
	replica.OwnerReferences[0].Kind = "ReplicaSet"
	nextDoor := s.pod("demo-1-0") // of the cluster demo-1, with the label of ours
	unlabelled := s.pod("demo-4")
	unlabelled.Labels = nil
	elsewhere := s.pod("demo-5")
	elsewhere.Namespace = "other"
	oddClaim := s.claim("demo-x")
	oddSet := s.workload(t, "demo-0")
	oddSet.Name = "demo-x"
	s.add(s.pod("demo-0"), s.pod("demo-9"), s.pod("demo-10"), stranger, replica, nextDoor, unlabelled, elsewhere, oddClaim, oddSet)
	if got, want := names(s.observe(t)), []string{"demo-0", "demo-10", "demo-9"}; !slices.Equal(got, want) {
		t.Errorf("members %v, want %v", got, want)
	}
}

// TestNamesThatArePrefixes: a cluster demo beside a cluster demo-1. Each sees its own.
func TestNamesThatArePrefixes(t *testing.T) {
	demo, other := newSituation(), newSituation()
	other.cluster.Name, other.cluster.UID = "demo-1", "uid-9"
	claim := other.claim("demo-1-0")
	claim.Annotations[render.AnnotationOwnerUID] = "uid-9"
	demo.add(demo.workload(t, "demo-1"), demo.pod("demo-1"), demo.claim("demo-1"), other.workload(t, "demo-1-0"), other.pod("demo-1-0"), claim)
	other.objects = demo.objects
	if got := names(demo.observe(t)); !slices.Equal(got, []string{"demo-1"}) {
		t.Errorf("demo has %v", got)
	}
	if got := names(other.observe(t)); !slices.Equal(got, []string{"demo-1-0"}) {
		t.Errorf("demo-1 has %v", got)
	}
}

// TestRemnants: what is left of a member counts, each for itself.
func TestRemnants(t *testing.T) {
	s := newSituation()
	pod := s.pod("demo-0")
	pod.DeletionTimestamp, pod.Finalizers = &metav1.Time{Time: now}, []string{"example.com/wait"}
	leaving := s.claim("demo-1")
	leaving.DeletionTimestamp, leaving.Finalizers = &metav1.Time{Time: now}, []string{"kubernetes.io/pvc-protection"}
	lost := s.claim("demo-2")
	lost.Spec.VolumeName, lost.Status.Phase = "", corev1.ClaimLost
	owned := s.claim("demo-3")
	owned.OwnerReferences = []metav1.OwnerReference{s.render().ClaimOwner()}
	s.add(pod, leaving, lost, owned)

	if got := s.member(t, "demo-0"); !got.Pod.Deleting || got.Workload.Exists() {
		t.Errorf("a pod without its StatefulSet: %+v", got)
	}
	if got := s.member(t, "demo-1").Volumes[0]; !got.Deleting || !got.Bound {
		t.Errorf("a claim that is on its way out: %+v", got)
	}
	if got := s.member(t, "demo-2").Volumes[0]; !got.Bound {
		t.Errorf("a claim whose volume was lost had one: %+v", got)
	}
	if got := s.member(t, "demo-3").Volumes[0]; got.Kept || !got.KeptWanted {
		t.Errorf("a claim that goes with the cluster: %+v", got)
	}
	s.cluster.Spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionDelete
	if got := s.member(t, "demo-3").Volumes[0]; got.KeptWanted {
		t.Errorf("it is to go with the cluster: %+v", got)
	}
}

func TestWorkloads(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *situation, w *appsv1.StatefulSet)
		check  func(w core.Workload) bool
	}{
		"changed by someone": {func(_ *situation, w *appsv1.StatefulSet) { w.Spec.Replicas = new(int32(0)) }, func(w core.Workload) bool { return w.State == core.Drifted }},
		"scaled, and of another release": {func(_ *situation, w *appsv1.StatefulSet) {
			w.Spec.Replicas, w.Annotations[render.AnnotationAppliedHash] = new(int32(0)), "other"
		}, func(w core.Workload) bool { return w.State == core.Drifted }},
		"of someone else":       {func(_ *situation, w *appsv1.StatefulSet) { w.OwnerReferences = nil }, func(w core.Workload) bool { return w.State == core.Foreign }},
		"of an earlier cluster": {func(_ *situation, w *appsv1.StatefulSet) { w.OwnerReferences[0].UID = "uid-0" }, func(w core.Workload) bool { return w.State == core.Leaving }},
		"on its way out": {func(_ *situation, w *appsv1.StatefulSet) {
			w.DeletionTimestamp, w.Finalizers = &metav1.Time{Time: now}, []string{"f/f"}
		}, func(w core.Workload) bool { return w.State == core.Leaving }},
		"not seen by its controller": {func(_ *situation, w *appsv1.StatefulSet) { w.Generation, w.Status.ObservedGeneration = 2, 1 }, func(w core.Workload) bool { return !w.Settled }},
		"that founds":                {func(_ *situation, w *appsv1.StatefulSet) { w.Annotations[render.AnnotationStart] = "bootstrap" }, func(w core.Workload) bool { return w.Start == core.StartBootstrap }},
		"without a word on it":       {func(_ *situation, w *appsv1.StatefulSet) { delete(w.Annotations, render.AnnotationStart) }, func(w core.Workload) bool { return w.Start == core.StartSealed }},
		"that was nudged":            {func(_ *situation, w *appsv1.StatefulSet) { w.Annotations[render.AnnotationRetry] = "17" }, func(w core.Workload) bool { return w.Retry == 17 }},
		// Applied by an earlier release, or before the spec was changed: that reaches the member when it is rolled.
		"of an earlier spec": {func(s *situation, _ *appsv1.StatefulSet) { s.cluster.Spec.Version = "3.6.17" }, func(w core.Workload) bool { return w.State == core.Current }},
		"of another release": {func(_ *situation, w *appsv1.StatefulSet) { w.Annotations[render.AnnotationAppliedHash] = "other" }, func(w core.Workload) bool { return w.State == core.Current }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			set := s.workload(t, "demo-0")
			test.change(s, set)
			if got := s.add(set).member(t, "demo-0").Workload; !test.check(got) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestEndpoints: who runs is asked, by IP address, ordered by name.
func TestEndpoints(t *testing.T) {
	s := newSituation()
	six, unready, starting, down, stopping := s.pod("demo-0"), s.pod("demo-1"), s.pod("demo-2"), s.pod("demo-3"), s.pod("demo-4")
	six.Status.PodIP = "fd00::1"
	unready.Status.Conditions[0].Status = corev1.ConditionFalse
	starting.Status.PodIP = ""
	setContainer(down, waiting("CrashLoopBackOff", ""))
	stopping.DeletionTimestamp, stopping.Finalizers = &metav1.Time{Time: now}, []string{"example.com/wait"}
	o := s.add(unready, six, starting, down, stopping).observe(t)
	want := []etcd.Endpoint{{Member: "demo-0", Address: "http://[fd00::1]:2379"}, {Member: "demo-1", Address: "http://10.0.0.1:2379"}}
	if !slices.Equal(o.Endpoints, want) || !slices.Equal(s.etcd.asked, want) {
		t.Errorf("endpoints %v, asked %v", o.Endpoints, s.etcd.asked)
	}
}

// TestCluster: the cluster itself, as far as decisions depend on it.
func TestCluster(t *testing.T) {
	s := newSituation()
	s.cluster.Spec.Paused = true
	s.cluster.Status.BootstrapMembers = []string{"demo-0"}
	o := s.observe(t)
	if !o.Now.Equal(now.Truncate(time.Second)) || o.Cluster.Generation != 4 || o.Cluster.UID != "uid-1" || o.Cluster.Deleting {
		t.Errorf("%+v at %s", o.Cluster, o.Now)
	}
	if spec := o.Cluster.Spec; spec.Size != 3 || !spec.Paused || spec.Version != "3.6.16" || spec.Selector != "etcd.etcd.io/cluster=demo" || len(spec.Endpoints) != 2 {
		t.Errorf("%+v", spec)
	}
	if o.Render.Voters != 1 {
		t.Errorf("the budget is for %d voters: the founders count, not what the size is by now", o.Render.Voters)
	}
}

// TestDeletedCluster: of a cluster that goes nothing is read, so that nothing can hold it up.
func TestDeletedCluster(t *testing.T) {
	s := newSituation()
	s.cluster.DeletionTimestamp = &metav1.Time{Time: now}
	o := s.add(s.pod("demo-0")).observe(t)
	if !o.Cluster.Deleting || len(o.Objects)+len(o.Members) > 0 || s.etcd.asked != nil {
		t.Errorf("%+v", o)
	}
}

// TestReadsThatFail: half an observation is none.
func TestReadsThatFail(t *testing.T) {
	for kind, is := range map[string]func(list any) bool{
		"StatefulSets": func(list any) bool { _, ok := list.(*appsv1.StatefulSetList); return ok },
		"pods":         func(list any) bool { _, ok := list.(*corev1.PodList); return ok },
		"claims":       func(list any) bool { _, ok := list.(*corev1.PersistentVolumeClaimList); return ok },
		"ConfigMaps":   func(list any) bool { _, ok := list.(*corev1.ConfigMapList); return ok },
		"Service":      func(object any) bool { _, ok := object.(*corev1.Service); return ok },
	} {
		t.Run(kind, func(t *testing.T) {
			broken := errors.New("the server is on fire")
			s := newSituation()
			s.fail.List = func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				if is(list) {
					return broken
				}
				return c.List(ctx, list, options...)
			}
			s.fail.Get = func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
				if is(object) {
					return broken
				}
				return c.Get(ctx, key, object, options...)
			}
			if _, err := s.try(t); !errors.Is(err, broken) {
				t.Errorf("%v", err)
			}
		})
	}
}
