package act_test

import (
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

const leaderAddress = "http://10.0.0.1:2379"

var (
	addThree   = core.AddMember{Member: "demo-3", Via: "demo-0", Expect: []string{"a", "b", "c"}}
	removeTwo  = core.RemoveMember{Member: "demo-2", ID: "c", Via: "demo-0", Expect: []string{"a", "b", "c"}, Needs: 2}
	deleteNine = core.DeleteMember{Member: "demo-9", WorkloadUID: "w", Via: "demo-0"}
	retireNine = core.RetireVolumes{Member: "demo-9", Volumes: []core.Volume{volume("data-demo-9-0")}, Via: "demo-0"}
	dropNine   = core.DeleteVolumes{Member: "demo-9", Volumes: []core.Volume{volume("data-demo-9-0")}, Via: "demo-0"}
)

// TestWhatIsAskedOfEtcd: who is asked for what.
func TestWhatIsAskedOfEtcd(t *testing.T) {
	for want, action := range map[string]core.Action{
		"AddLearner http://10.0.0.1:2379 http://demo-3-0.demo-peer.default.svc.cluster.local:2382": addThree,
		"Remove http://10.0.0.1:2379 c":            removeTwo,
		"EnableDowngrade http://10.0.0.1:2379 3.5": core.EnableDowngrade{Target: "3.5", Via: "demo-0"},
		"CancelDowngrade http://10.0.0.1:2379":     core.CancelDowngrade{Via: "demo-0"},
		"Disarm http://10.0.0.1:2379 d CORRUPT":    core.DisarmAlarm{ID: "d", Alarm: "CORRUPT", Via: "demo-0"},
		"MoveLeader http://10.0.0.1:2379 b":        moveLeader,
	} {
		t.Run(action.Step(), func(t *testing.T) {
			s, l := newServer(t), three()
			if _, err := s.do(l, action); err != nil || !slices.Equal(l.asked, []string{want}) || len(s.writes) > 0 {
				t.Errorf("%v, asked %v, written %v", err, l.asked, s.writes)
			}
			// What etcd refuses for now is asked again, and is no failure.
			l = three()
			l.err, l.refused = errBroken, true
			if _, err := s.do(l, action); !act.IsPutOff(err) || !act.IsPassing(err) || !errors.Is(err, errBroken) || isStale(err) {
				t.Errorf("refused: %v", err)
			}
			l.refused = false
			if _, err := s.do(l, action); !errors.Is(err, errBroken) || act.IsPassing(err) {
				t.Errorf("failed: %v", err)
			}
		})
	}
}

// TestWhoIsAskedIsGone: who was to be asked does not run any more.
func TestWhoIsAskedIsGone(t *testing.T) {
	for _, action := range []core.Action{
		core.AddMember{Member: "demo-3", Via: "demo-2", Expect: []string{"a", "b", "c"}},
		core.RemoveMember{Member: "demo-2", ID: "c", Via: "demo-2", Expect: []string{"a", "b", "c"}},
		core.EnableDowngrade{Via: "demo-2"}, core.CancelDowngrade{Via: "demo-2"}, core.DisarmAlarm{Via: "demo-2"},
		core.DeleteMember{Member: "demo-9", Via: "demo-2"}, core.RetireVolumes{Member: "demo-9", Via: "demo-2"}, core.DeleteVolumes{Member: "demo-9", Via: "demo-2"},
	} {
		s, l := newServer(t), three()
		if _, err := s.do(l, action); !isStale(err) || len(l.asked)+len(s.writes) > 0 {
			t.Errorf("%s: %v, asked %v, written %v", action.Step(), err, l.asked, s.writes)
		}
	}
}

// TestMembersHaveChanged: the member list is another one than was decided on, or cannot be read.
func TestMembersHaveChanged(t *testing.T) {
	for name, change := range map[string]func(l *members){
		"one more":                func(l *members) { l.live.List.Members = append(l.live.List.Members, core.Listed{ID: "d"}) },
		"one less":                func(l *members) { l.live.List.Members = l.live.List.Members[:2] },
		"another one":             func(l *members) { l.live.List.Members[1].ID = "z" },
		"the list cannot be read": func(l *members) { l.live.List = core.MemberList{} },
	} {
		for _, action := range []core.Action{addThree, removeTwo} {
			s, l := newServer(t), three()
			change(l)
			if _, err := s.do(l, action); !isStale(err) || len(l.asked) > 0 {
				t.Errorf("%s, %s: %v, asked %v", action.Step(), name, err, l.asked)
			}
		}
	}
	// In which order they are listed does not matter.
	s, l := newServer(t), three()
	slices.Reverse(l.live.List.Members)
	if _, err := s.do(l, addThree); err != nil {
		t.Error(err)
	}
}

// TestNameIsTaken: what bears the name of a new member, and is not in any cache yet, is of an earlier member, or of someone
// else, whom no cache shows.
func TestNameIsTaken(t *testing.T) {
	for _, object := range []client.Object{
		claim("data-demo-3-0"), claim("wal-demo-3-0"),
		&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-3"}},
	} {
		var taken *act.NameTakenError
		s, l := newServer(t, object), three()
		_, err := s.do(l, addThree)
		if !errors.As(err, &taken) || taken.Name != object.GetName() || taken.Kind == "" || act.IsPassing(err) || len(l.asked) > 0 {
			t.Errorf("someone else's %s: %v, asked %v", object.GetName(), err, l.asked)
		}
		object.SetLabels(observed().Render.MemberLabels("demo-3"))
		object.SetResourceVersion("")
		s = newServer(t, object)
		if _, err := s.do(l, addThree); !isStale(err) || !strings.Contains(err.Error(), "exists already") || len(l.asked) > 0 {
			t.Errorf("our %s: %v, asked %v", object.GetName(), err, l.asked)
		}
	}
	// In another namespace it is nobody's business.
	elsewhere := claim("data-demo-3-0")
	elsewhere.Namespace = "other"
	if _, err := newServer(t, elsewhere).do(three(), addThree); err != nil {
		t.Error(err)
	}
}

// TestOthersHaveToServe: at the moment of the removal, by what the members say of themselves.
func TestOthersHaveToServe(t *testing.T) {
	for name, change := range map[string]func(s *core.Status){
		"does not answer":    func(s *core.Status) { s.Answered = false },
		"knows no leader":    func(s *core.Status) { s.LeaderID = "" },
		"has no vote":        func(s *core.Status) { s.Learner = true },
		"is of another data": func(s *core.Status) { s.ClusterID = "c9" },
		"is the one to go":   func(s *core.Status) { s.ID = "c" },
	} {
		s, l := newServer(t), three()
		change(&l.live.Statuses[1])
		if _, err := s.do(l, removeTwo); !isStale(err) || !strings.Contains(err.Error(), "only 1 other voters serve by now, 2 are needed") || len(l.asked) > 0 {
			t.Errorf("the other one %s: %v, asked %v", name, err, l.asked)
		}
		// A voter too many that was not there when it was decided: the list as it is by now counts.
		fewer := removeTwo
		fewer.Needs = 1
		if _, err := s.do(l, fewer); !isStale(err) || len(l.asked) > 0 {
			t.Errorf("the other one %s, and one was needed: %v, asked %v", name, err, l.asked)
		}
		l.live.List.Members[1].Learner = true
		if _, err := s.do(l, fewer); err != nil {
			t.Errorf("the other one %s, and is not needed: %v", name, err)
		}
	}
}

// TestOthersHaveToAgree: whose data differs may go only if that of the others is the same.
func TestOthersHaveToAgree(t *testing.T) {
	ifAgree := removeTwo
	ifAgree.IfOthersAgree = true
	l := three()
	l.live.Statuses[0].Revision, l.live.Statuses[1].Revision, l.live.Statuses[2].Revision = 9, 7, 3
	if _, err := newServer(t).do(l, ifAgree); err != nil || !slices.Equal(l.asked, []string{"Agree [demo-0 demo-1] 7", "Remove http://10.0.0.1:2379 c"}) {
		t.Errorf("%v, asked %v", err, l.asked)
	}
	l = three()
	l.difference = "members demo-0 and demo-1 hold different data"
	_, err := newServer(t).do(l, ifAgree)
	if err == nil || act.IsPassing(err) || len(l.asked) != 1 || !strings.Contains(err.Error(), l.difference) || !strings.Contains(err.Error(), render.AnnotationReplaceMembers) {
		t.Errorf("%v, asked %v", err, l.asked)
	}
	l = three()
	for i := range l.live.Statuses[:2] {
		l.live.Statuses[i].Answered = false
	}
	unneeded := ifAgree
	unneeded.Needs = 0
	if _, err = newServer(t).do(l, unneeded); !isStale(err) || len(l.asked) > 0 {
		t.Errorf("nobody is left to agree: %v, asked %v", err, l.asked)
	}
	l = three()
	l.incomparable = errBroken
	if _, err = newServer(t).do(l, ifAgree); !act.IsPutOff(err) || !errors.Is(err, errBroken) || len(l.asked) != 1 {
		t.Errorf("%v, asked %v", err, l.asked)
	}
}

// TestListedMembersAreLeftAlone: nothing of a member goes while etcd lists it, or while that is not certain.
func TestListedMembersAreLeftAlone(t *testing.T) {
	nine := "http://demo-9-0.demo-peer.default.svc.cluster.local:2382"
	for name, test := range map[string]struct {
		change func(l *members)
		stale  bool
	}{
		"it is listed": {func(l *members) { l.live.List.Members[1] = core.Listed{ID: "d", PeerURL: nine} }, true},
		"under another URL": {func(l *members) {
			l.live.List.Members[1] = core.Listed{ID: "d", Name: "demo-9", PeerURL: "http://10.0.0.9:2380"}
		}, true},
		"someone without a URL is": {func(l *members) { l.live.List.Members[1].PeerURL = "" }, true},
		"another cluster answers":  {func(l *members) { l.live.List.ClusterID = "c9" }, true},
		"nobody can tell":          {func(l *members) { l.unreadable = errBroken }, false},
	} {
		for _, action := range []core.Action{deleteNine, retireNine, dropNine} {
			s, l := newServer(t, workloadNine(), removedClaim("data-demo-9-0")), three()
			test.change(l)
			_, err := s.do(l, action)
			if isStale(err) != test.stale || !test.stale && !errors.Is(err, errBroken) || len(s.writes) > 0 {
				t.Errorf("%s, %s: %v, written %v", action.Step(), name, err, s.writes)
			}
		}
	}
}

func workloadNine() *appsv1.StatefulSet {
	return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-9", UID: "w"}}
}

// removedClaim is the claim of a member that was removed, marked as such.
func removedClaim(name string) *corev1.PersistentVolumeClaim {
	c := claim(name)
	c.Annotations = map[string]string{render.AnnotationRemoved: render.Removed, render.AnnotationOwnerUID: "uid-1"}
	return c
}

// TestDeleteMember: the StatefulSet that was decided about, once and for all.
func TestDeleteMember(t *testing.T) {
	s := newServer(t, workloadNine())
	for range 2 {
		if _, err := s.do(three(), deleteNine); err != nil {
			t.Fatal(err)
		}
	}
	if p := s.preconditions["demo-9"]; s.exists(t, workloadNine()) || p.UID == nil || *p.UID != "w" {
		t.Errorf("preconditions %+v", p)
	}
	s = newServer(t, workloadNine())
	s.fail = func(verb string, object client.Object) error {
		if verb == "delete" {
			return apierrors.NewConflict(appsv1.Resource("statefulsets"), object.GetName(), errors.New("the UID is another"))
		}
		return nil
	}
	if _, err := s.do(three(), deleteNine); !act.IsPassing(err) {
		t.Errorf("another one by now: %v", err)
	}
}

// TestRetireVolumes: claims are marked, the ones that were decided about.
func TestRetireVolumes(t *testing.T) {
	s := newServer(t, claim("data-demo-9-0"))
	retire := retireNine
	retire.Volumes = []core.Volume{volume("gone"), volume("data-demo-9-0")}
	for range 2 {
		if _, err := s.do(three(), retire); err != nil {
			t.Fatal(err)
		}
	}
	got := claim("data-demo-9-0")
	if s.exists(t, got); got.Annotations[render.AnnotationRemoved] != render.Removed {
		t.Errorf("%v", got.Annotations)
	}
	again := claim("data-demo-9-0")
	again.UID = "made-again"
	s = newServer(t, again)
	if _, err := s.do(three(), retireNine); !isStale(err) || len(s.writes) > 0 {
		t.Errorf("%v, written %v", err, s.writes)
	}
}

// TestDeleteVolumes: on condition that they are just as they were read.
func TestDeleteVolumes(t *testing.T) {
	s := newServer(t, removedClaim("data-demo-9-0"), removedClaim("wal-demo-9-0"))
	both := dropNine
	both.Volumes = []core.Volume{volume("data-demo-9-0"), volume("wal-demo-9-0")}
	for range 2 {
		if _, err := s.do(three(), both); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"delete data-demo-9-0", "delete wal-demo-9-0"}; !slices.Equal(s.writes, want) {
		t.Errorf("%v", s.writes)
	}
	if p := s.preconditions["wal-demo-9-0"]; p.UID == nil || *p.UID != "uid-of-wal-demo-9-0" || p.ResourceVersion == nil || *p.ResourceVersion == "" {
		t.Errorf("preconditions %+v", p)
	}
}

// TestOnlyVolumesOfRemovedMembersGo: any doubt, and the volume stays.
func TestOnlyVolumesOfRemovedMembersGo(t *testing.T) {
	for name, change := range map[string]func(c *corev1.PersistentVolumeClaim){
		"not marked":               func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, render.AnnotationRemoved) },
		"marked with another word": func(c *corev1.PersistentVolumeClaim) { c.Annotations[render.AnnotationRemoved] = "no" },
		"another one":              func(c *corev1.PersistentVolumeClaim) { c.UID = "made-again" },
		"another cluster's":        func(c *corev1.PersistentVolumeClaim) { c.Annotations[render.AnnotationOwnerUID] = "uid-0" },
		"nobody's":                 func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, render.AnnotationOwnerUID) },
	} {
		t.Run(name, func(t *testing.T) {
			data := removedClaim("data-demo-9-0")
			change(data)
			s := newServer(t, data)
			if _, err := s.do(three(), dropNine); !isStale(err) || len(s.writes) > 0 {
				t.Errorf("%v, written %v", err, s.writes)
			}
		})
	}
	// Its pod may still write to it, whether it runs or not.
	for _, p := range []*corev1.Pod{pod("demo-9"), down(pod("demo-9"))} {
		s := newServer(t, removedClaim("data-demo-9-0"), p)
		if _, err := s.do(three(), dropNine); !isStale(err) || len(s.writes) > 0 {
			t.Errorf("%v, written %v", err, s.writes)
		}
	}
	// Someone takes the mark away at the last moment.
	s := newServer(t, removedClaim("data-demo-9-0"))
	s.fail = func(verb string, object client.Object) error {
		if verb == "delete" {
			return apierrors.NewConflict(corev1.Resource("persistentvolumeclaims"), object.GetName(), errors.New("the resource version is another"))
		}
		return nil
	}
	if _, err := s.do(three(), dropNine); !act.IsPassing(err) || !s.exists(t, claim("data-demo-9-0")) {
		t.Error(err)
	}
}

// TestMembershipWritesThatFail: the error says what it was about.
func TestMembershipWritesThatFail(t *testing.T) {
	for want, action := range map[string]core.Action{
		"DeleteMember: deleting StatefulSet default/demo-9: the server is on fire":   deleteNine,
		"RetireVolumes: changing claim default/data-demo-9-0: the server is on fire": retireNine,
		"DeleteVolumes: deleting claim default/data-demo-9-0: the server is on fire": dropNine,
		"DeleteObject: deleting NetworkPolicy default/demo: the server is on fire":   dropPolicy,
	} {
		s := newServer(t, workloadNine(), removedClaim("data-demo-9-0"), policy())
		s.fail = func(verb string, _ client.Object) error {
			if verb == "get" {
				return nil
			}
			return errBroken
		}
		if _, err := s.do(three(), action); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// TestFlushBeforeRestart: the log is brought behind a snapshot before the pod goes, and only once it may go.
func TestFlushBeforeRestart(t *testing.T) {
	flush := core.RestartMember{Member: "demo-0", PodUID: "pod-of-demo-0", Needs: 2, FlushLog: 1100}
	s, l := newServer(t, pod("demo-0"), pod("demo-1"), pod("demo-2")), three()
	if _, err := s.do(l, flush); err != nil || !slices.Equal(l.asked, []string{"FlushLog " + leaderAddress + " 1100"}) || s.exists(t, pod("demo-0")) {
		t.Errorf("%v, asked %v", err, l.asked)
	}
	for _, refused := range []bool{true, false} {
		s, l = newServer(t, pod("demo-0"), pod("demo-1"), pod("demo-2")), three()
		l.err, l.refused = errBroken, refused
		if _, err := s.do(l, flush); !errors.Is(err, errBroken) || act.IsPutOff(err) != refused || !s.exists(t, pod("demo-0")) {
			t.Errorf("%v", err)
		}
	}
	s, l = newServer(t, pod("demo-0"), down(pod("demo-1")), pod("demo-2")), three()
	if _, err := s.do(l, flush); !isStale(err) || len(l.asked) > 0 {
		t.Errorf("%v, asked %v", err, l.asked)
	}
	// It takes a while. What allowed the restart has to be true still.
	s, l = newServer(t, pod("demo-0"), pod("demo-1"), pod("demo-2")), three()
	l.meanwhile = func() { l.live.Statuses[1].Answered = false }
	if _, err := s.do(l, flush); !isStale(err) || len(l.asked) != 1 || !s.exists(t, pod("demo-0")) {
		t.Errorf("%v, asked %v", err, l.asked)
	}
}
