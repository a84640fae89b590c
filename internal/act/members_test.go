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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

var restartZero = core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0", Needs: 2}

// TestRestart: the pod goes, on condition that it is just as it was read.
func TestRestart(t *testing.T) {
	s := newServer(t, down(pod("demo-0")), pod("demo-1"), pod("demo-2"))
	if _, err := s.do(three(), core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0", OnlyIfDown: true}); err != nil {
		t.Fatal(err)
	}
	p := s.preconditions["demo-0-0"]
	if s.exists(t, pod("demo-0")) || p.UID == nil || *p.UID != "pod-of-demo-0" || p.ResourceVersion == nil || *p.ResourceVersion == "" {
		t.Errorf("preconditions %+v", p)
	}
}

// TestRestartOfAStaleDecision: what the decision rests on is asked of the API server again.
func TestRestartOfAStaleDecision(t *testing.T) {
	leaving := pod("demo-2")
	leaving.Finalizers, leaving.DeletionTimestamp = []string{"f/f"}, &metav1.Time{Time: metav1.Now().Time}
	stopping := pod("demo-0")
	stopping.Finalizers, stopping.DeletionTimestamp = leaving.Finalizers, leaving.DeletionTimestamp
	again := pod("demo-0")
	again.UID = "pod-made-again"
	elsewhere := pod("demo-2")
	elsewhere.Namespace = "other"
	stranger := pod("demo-2")
	stranger.OwnerReferences = nil
	onlyIfNoneReady := core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0", OnlyIfNoneReady: true}
	onlyIfDown := core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0", OnlyIfDown: true}
	for name, test := range map[string]struct {
		action core.RestartMember
		pods   []client.Object
		stale  bool
	}{
		"made again already":             {restartZero, []client.Object{again, pod("demo-1"), pod("demo-2")}, true},
		"being stopped already":          {restartZero, []client.Object{stopping, pod("demo-1"), pod("demo-2")}, true},
		"gone":                           {restartZero, []client.Object{pod("demo-1"), pod("demo-2")}, true},
		"another one is down":            {restartZero, []client.Object{pod("demo-0"), pod("demo-1"), down(pod("demo-2"))}, true},
		"another one is leaving":         {restartZero, []client.Object{pod("demo-0"), pod("demo-1"), leaving}, true},
		"another one is of elsewhere":    {restartZero, []client.Object{pod("demo-0"), pod("demo-1"), elsewhere}, true},
		"another one is a stranger's":    {restartZero, []client.Object{pod("demo-0"), pod("demo-1"), stranger}, true},
		"another one is ready by now":    {onlyIfNoneReady, []client.Object{pod("demo-0"), ready(pod("demo-1"))}, true},
		"it is ready itself by now":      {onlyIfNoneReady, []client.Object{ready(pod("demo-0"))}, true},
		"still none is ready":            {onlyIfNoneReady, []client.Object{pod("demo-0"), pod("demo-1")}, false},
		"it was down, and runs by now":   {onlyIfDown, []client.Object{pod("demo-0")}, true},
		"it was down, and is":            {onlyIfDown, []client.Object{down(pod("demo-0"))}, false},
		"it had no vote, and has by now": {core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0"}, []client.Object{pod("demo-0"), pod("demo-1")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, test.pods...)
			_, err := s.do(three(), test.action)
			if isStale(err) != test.stale || !test.stale && err != nil || test.stale && len(s.writes) > 0 {
				t.Errorf("%v, written: %v", err, s.writes)
			}
		})
	}
}

// TestRestartNeedsVoters: pods that run are not enough, their etcd has to serve at that moment.
func TestRestartNeedsVoters(t *testing.T) {
	for name, change := range map[string]func(s *core.Status){
		"does not answer":       func(s *core.Status) { s.Answered = false },
		"knows no leader":       func(s *core.Status) { s.LeaderID = "" },
		"has no vote":           func(s *core.Status) { s.Learner = true },
		"is of another cluster": func(s *core.Status) { s.ClusterID = "c9" },
	} {
		s, l := newServer(t, pod("demo-0"), pod("demo-1"), pod("demo-2")), three()
		change(&l.live.Statuses[2])
		if _, err := s.do(l, restartZero); !isStale(err) || !strings.Contains(err.Error(), "only 1 other voters serve by now, 2 are needed") || len(s.writes) > 0 {
			t.Errorf("another one %s: %v, written: %v", name, err, s.writes)
		}
		// Who is not needed, and what the member says itself, does not matter.
		l = three()
		change(&l.live.Statuses[0])
		if _, err := s.do(l, restartZero); err != nil {
			t.Errorf("it %s itself: %v", name, err)
		}
	}
}

// TestRestartOfTheOnlyOne: there is nobody else to serve.
func TestRestartOfTheOnlyOne(t *testing.T) {
	s, l := newServer(t, pod("demo-0")), three()
	l.live.List.Members, l.live.Statuses = l.live.List.Members[:1], l.live.Statuses[:1]
	if _, err := s.do(l, core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0"}); err != nil || s.exists(t, pod("demo-0")) {
		t.Error(err)
	}
}

// TestRestartAmongMoreVoters: who decided may have stood still while voters were added. The list as it is by now counts.
func TestRestartAmongMoreVoters(t *testing.T) {
	for name, change := range map[string]func(l *members){
		"two are more, and are down": func(l *members) {
			l.live.List.Members = append(l.live.List.Members, core.Listed{ID: "d"}, core.Listed{ID: "e"})
		},
		"the list cannot be read": func(l *members) { l.live.List = core.MemberList{} },
		"another cluster answers": func(l *members) {
			l.live.List.ClusterID = "c9"
			for i := range l.live.Statuses {
				l.live.Statuses[i].ClusterID = "c9"
			}
		},
	} {
		s, l := newServer(t, pod("demo-0"), pod("demo-1"), pod("demo-2")), three()
		change(l)
		if _, err := s.do(l, restartZero); !isStale(err) || !s.exists(t, pod("demo-0")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRestartWhilePodChanges: between the check and the deletion the kubelet writes something.
func TestRestartWhilePodChanges(t *testing.T) {
	onlyIfDown := core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0", OnlyIfDown: true}
	for verb, action := range map[string]core.Action{"delete": onlyIfDown, "eviction": restartZero} {
		zero := pod("demo-0")
		if verb == "delete" {
			zero = down(zero)
		}
		s := newServer(t, zero, pod("demo-1"), pod("demo-2"))
		s.fail = func(does string, object client.Object) error {
			if does == verb {
				return apierrors.NewConflict(corev1.Resource("pods"), object.GetName(), errors.New("it is another one"))
			}
			return nil
		}
		if _, err := s.do(three(), action); !apierrors.IsConflict(err) || !act.IsPassing(err) || !s.exists(t, pod("demo-0")) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// TestRecreate: StatefulSet and claims go, each only if it is the one that was decided about.
func TestRecreate(t *testing.T) {
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-0", UID: "w"}}
	data, wal := claim("data-demo-0-0"), claim("wal-demo-0-0")
	s := newServer(t, set, data, wal)
	recreate := core.RecreateMember{Member: "demo-0", WorkloadUID: "w", Volumes: []core.Volume{volume(data.Name), volume(wal.Name), volume("gone")}}
	if _, err := s.do(&members{}, recreate); err != nil {
		t.Fatal(err)
	}
	if want := []string{"delete data-demo-0-0", "delete wal-demo-0-0", "delete demo-0"}; !slices.Equal(s.writes, want) {
		t.Errorf("%v", s.writes)
	}
	if p := s.preconditions["demo-0"]; p.UID == nil || *p.UID != "w" {
		t.Errorf("StatefulSet: %+v", p)
	}
	if p := s.preconditions["wal-demo-0-0"]; p.UID == nil || *p.UID != "uid-of-wal-demo-0-0" || p.ResourceVersion == nil {
		t.Errorf("claim: %+v", p)
	}
	// Done already: nothing is left to do, which is no failure.
	if _, err := s.do(&members{}, recreate); err != nil {
		t.Error(err)
	}
}

// TestNoVolumeIsEverDeleted: any sign of a volume on any of the claims, and nothing is touched.
func TestNoVolumeIsEverDeleted(t *testing.T) {
	for name, change := range map[string]func(c *corev1.PersistentVolumeClaim){
		"bound":              func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimBound },
		"its volume is lost": func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimLost },
		"about to be bound":  func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "pv-7" },
		"another one":        func(c *corev1.PersistentVolumeClaim) { c.UID = "made-again" },
	} {
		t.Run(name, func(t *testing.T) {
			set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-0", UID: "w"}}
			data, wal := claim("data-demo-0-0"), claim("wal-demo-0-0")
			change(wal)
			s := newServer(t, set, data, wal)
			_, err := s.do(&members{}, core.RecreateMember{Member: "demo-0", WorkloadUID: "w", Volumes: []core.Volume{volume(data.Name), volume(wal.Name)}})
			if !isStale(err) || len(s.writes) > 0 {
				t.Errorf("%v, written: %v", err, s.writes)
			}
		})
	}
}

// TestClaimBoundMeanwhile: it gets its volume between the check and the deletion. The resource version holds it.
func TestClaimBoundMeanwhile(t *testing.T) {
	s := newServer(t, claim("data-demo-0-0"))
	s.fail = func(verb string, object client.Object) error {
		if verb == "delete" {
			return apierrors.NewConflict(corev1.Resource("persistentvolumeclaims"), object.GetName(), errors.New("the resource version is another"))
		}
		return nil
	}
	_, err := s.do(&members{}, core.RecreateMember{Member: "demo-0", Volumes: []core.Volume{volume("data-demo-0-0")}})
	if !act.IsPassing(err) || !s.exists(t, claim("data-demo-0-0")) {
		t.Error(err)
	}
}

// TestMark: claims say whose data they hold, and go with the cluster or do not.
func TestMark(t *testing.T) {
	data := claim("data-demo-0-0")
	data.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Other", Name: "o", UID: "o"}}
	s := newServer(t, data)
	version, since, peers := "", uint64(0), core.PeersPlain
	mark := func(id string, kept bool) *corev1.PersistentVolumeClaim {
		t.Helper()
		v := volume("data-demo-0-0")
		v.ClusterID, v.KeptWanted, v.Version, v.Since36, v.Peers = id, kept, version, since, peers
		if _, err := s.do(&members{}, core.MarkVolumes{Member: "demo-0", ClusterID: id, Volumes: []core.Volume{v, volume("gone")}}); err != nil {
			t.Fatal(err)
		}
		got := claim("data-demo-0-0")
		s.exists(t, got)
		return got
	}
	got := mark("", true)
	if _, marked := got.Annotations[render.AnnotationClusterID]; marked || got.Annotations[render.AnnotationOwnerUID] != "uid-1" || len(got.OwnerReferences) != 1 {
		t.Errorf("before the cluster is formed: %v, %v", got.Annotations, got.OwnerReferences)
	}
	got = mark("c1", false)
	if got.Annotations[render.AnnotationClusterID] != "c1" || len(got.OwnerReferences) != 2 || got.OwnerReferences[1].UID != "uid-1" || got.OwnerReferences[0].Kind != "Other" {
		t.Errorf("to go with the cluster: %v, %v", got.Annotations, got.OwnerReferences)
	}
	got = mark("c1", true)
	if len(got.OwnerReferences) != 1 || got.OwnerReferences[0].Kind != "Other" {
		t.Errorf("to be kept: %v", got.OwnerReferences)
	}
	for _, version = range []string{"3.5.33", "3.6.16"} {
		if got = mark("c1", true); got.Annotations[render.AnnotationVersion] != version {
			t.Errorf("with %s: %v", version, got.Annotations)
		}
	}
	for i, want := range map[uint64]string{0: "", 1234: "1234"} {
		since = i
		if got = mark("c1", true); got.Annotations[render.AnnotationSince36] != want {
			t.Errorf("since %d: %v", since, got.Annotations)
		}
	}
	for _, peers = range []core.Peers{core.PeersTLS, core.PeersBoth, core.PeersPlain} {
		if got = mark("c1", true); render.RecordedPeers(got) != peers {
			t.Errorf("members that talk %s: %v", peers, got.Annotations)
		}
	}
	version = ""
	if got = mark("", true); got.Annotations[render.AnnotationClusterID] != "c1" || got.Annotations[render.AnnotationVersion] != "3.6.16" {
		t.Error("the mark was taken away")
	}
}

// TestMarkOfAStaleDecision: the claim is another one, or was changed by someone meanwhile.
func TestMarkOfAStaleDecision(t *testing.T) {
	again := claim("data-demo-0-0")
	again.UID = "made-again"
	s := newServer(t, again)
	action := core.MarkVolumes{Member: "demo-0", ClusterID: "c1", Volumes: []core.Volume{volume("data-demo-0-0")}}
	if _, err := s.do(&members{}, action); !isStale(err) || len(s.writes) > 0 {
		t.Errorf("%v, written: %v", err, s.writes)
	}
	s = newServer(t, claim("data-demo-0-0"))
	raced := false
	s.before = func(verb string, _ client.Object) {
		if verb != "patch" || raced {
			return
		}
		raced = true
		other := claim("data-demo-0-0")
		s.exists(t, other)
		other.Labels = map[string]string{"someone": "else"}
		if err := s.Update(context.Background(), other); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.do(&members{}, action); !act.IsPassing(err) {
		t.Errorf("a patch over someone else's: %v", err)
	}
}

func TestDeleteConfig(t *testing.T) {
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-config-0", UID: "u"}}
	s := newServer(t, config)
	action := core.DeleteConfig{Config: core.StaleConfig{Name: "demo-config-0", UID: "u"}}
	for range 2 {
		if _, err := s.do(&members{}, action); err != nil {
			t.Fatal(err)
		}
	}
	if p := s.preconditions["demo-config-0"]; p.UID == nil || *p.UID != "u" {
		t.Errorf("%+v", p)
	}
}

// TestWritesThatFail: the error says what it was about.
func TestWritesThatFail(t *testing.T) {
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-0", UID: "w"}}
	for want, action := range map[string]core.Action{
		"RestartMember: deleting pod default/demo-0-0: the server is on fire":           core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0", OnlyIfNoneReady: true},
		"RecreateMember: deleting StatefulSet default/demo-0: the server is on fire":    core.RecreateMember{Member: "demo-0", WorkloadUID: "w"},
		"RecreateMember: deleting claim default/data-demo-0-0: the server is on fire":   core.RecreateMember{Member: "demo-0", Volumes: []core.Volume{volume("data-demo-0-0")}},
		"MarkVolumes: changing claim default/data-demo-0-0: the server is on fire":      core.MarkVolumes{Volumes: []core.Volume{volume("data-demo-0-0")}},
		"DeleteConfig: deleting ConfigMap default/demo-config-0: the server is on fire": core.DeleteConfig{Config: core.StaleConfig{Name: "demo-config-0"}},
		"ApplyObject: applying Service default/demo-peer: the server is on fire":        applyPeer,
	} {
		s := newServer(t, pod("demo-0"), set.DeepCopy(), claim("data-demo-0-0"))
		s.fail = func(verb string, _ client.Object) error {
			if verb == "get" {
				return nil
			}
			return errBroken
		}
		if _, err := s.do(&members{}, action); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
