package observe_test

import (
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// listed is a member as etcd lists it. The name is etcd's own, which says nothing.
func (s *situation) listed(member string) core.Listed {
	return core.Listed{ID: "id-of-" + member, Name: "x", PeerURL: s.render().PeerURL(member), Started: true}
}

// TestWhoIsListed: members are told by their peer URLs; what has another one is none of ours.
func TestWhoIsListed(t *testing.T) {
	s := newSituation()
	learner, foreign, elsewhere := s.listed("demo-11"), s.listed("demo-3"), s.listed("demo-4")
	learner.Learner, foreign.PeerURL, foreign.Name = true, "http://10.0.0.9:2380", "demo-3"
	elsewhere.PeerURL = "https://demo-4-0.demo-peer.default.svc.example.org:2380"
	s.lists(s.listed("demo-10"), foreign, s.listed("demo-2"), learner, elsewhere)
	o := s.observe(t)
	var names []string
	for _, l := range o.Etcd.List.Members {
		names = append(names, l.Name)
	}
	if want := []string{"demo-10", "", "demo-2", "demo-11", "demo-4"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if s.etcd.answer.List.Members[0].Name != "x" {
		t.Error("the answer itself was changed")
	}
	// Clients are told of the voters, in their order; a learner serves nobody.
	r := o.Render
	if want := r.Endpoints([]string{"demo-2", "demo-4", "demo-10"}); !slices.Equal(o.Cluster.Spec.Endpoints, want) {
		t.Errorf("%v, want %v", o.Cluster.Spec.Endpoints, want)
	}
}

// recorded are members as they were reported before.
func recorded(version string, roles ...v1alpha1.MemberRole) (all []v1alpha1.MemberStatus) {
	for n, role := range roles {
		all = append(all, v1alpha1.MemberStatus{Name: "demo-" + string(rune('0'+n)), Role: role, Version: version})
	}
	return all
}

// joins lists two voters, and one more learner that says something of itself.
func (s *situation) joins(says core.Status) {
	list := s.etcd.answer.List.Members
	if len(list) == 0 {
		list = []core.Listed{s.listed("demo-0"), s.listed("demo-1")}
		s.etcd.answer.Statuses = []core.Status{{Member: "demo-0", Answered: true, ID: "id-of-demo-0", LeaderID: "a", RaftApplied: 10_000}}
	}
	learner := s.listed("demo-" + string(rune('0'+len(list))))
	learner.Learner = true
	says.ID = learner.ID
	s.lists(append(list, learner)...)
	s.etcd.answer.Statuses = append(s.etcd.answer.Statuses, says)
}

// TestVotersOfTheBudget: those that there may be, not those that are asked for. It has to be there before a learner is promoted:
// whoever promotes it may end right after that.
func TestVotersOfTheBudget(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(s *situation)
		want    int
	}{
		"by etcd": {func(s *situation) {
			learner := s.listed("demo-2")
			learner.Learner = true
			s.lists(s.listed("demo-0"), s.listed("demo-1"), learner)
			s.cluster.Status.Members = recorded("3.6.16", "voter")
		}, 2},
		"a learner may become a voter": {func(s *situation) { s.joins(core.Status{Answered: true, LeaderID: "a", RaftApplied: 9_500}) }, 3},
		"it is behind":                 {func(s *situation) { s.joins(core.Status{Answered: true, LeaderID: "a", RaftApplied: 5_000}) }, 2},
		"it knows no leader":           {func(s *situation) { s.joins(core.Status{Answered: true, RaftApplied: 10_000}) }, 2},
		"it does not answer":           {func(s *situation) { s.joins(core.Status{}) }, 2},
		"two learners, one at a time": {func(s *situation) {
			s.joins(core.Status{Answered: true, LeaderID: "a", RaftApplied: 10_000})
			s.joins(core.Status{Answered: true, LeaderID: "a", RaftApplied: 10_000})
		}, 3},
		"by the last report, whoever was promoted since": {func(s *situation) {
			s.cluster.Status.Members = recorded("3.6.16", "leader", "voter", "learner", "voter", "voter")
		}, 5},
		"the founders":    {func(s *situation) { s.cluster.Status.BootstrapMembers = []string{"demo-0"} }, 1},
		"those asked for": {func(*situation) {}, 3},
	} {
		s := newSituation()
		test.prepare(s)
		if got := s.observe(t).Render.Voters; got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// TestHowMembersOfKeptVolumesAreReached: where nothing but claims tells how members are listed, those that take the volumes over
// listen to both unless all claims say that the members are reached as is asked for.
func TestHowMembersOfKeptVolumesAreReached(t *testing.T) {
	secured := func(s *situation) { s.cluster.Spec.Security.TLS.Peer.Mode = v1alpha1.PeerTLSRequired }
	says := func(member, peers string) func(*situation) {
		return func(s *situation) {
			claim := s.claim(member)
			claim.Annotations[render.AnnotationClusterID], claim.Annotations[render.AnnotationPeers] = "c1", peers
			s.add(claim)
		}
	}
	empty := func(s *situation) { s.add(s.claim("demo-1")) }
	removed := func(s *situation) {
		claim := s.claim("demo-1")
		claim.Annotations[render.AnnotationClusterID], claim.Annotations[render.AnnotationRemoved] = "c1", render.Removed
		s.add(claim)
	}
	made := func(s *situation) { s.add(s.workload(t, "demo-1")) }
	known := func(s *situation) { s.lists(s.listed("demo-0"), s.listed("demo-1")) }
	for name, test := range map[string]struct {
		given []func(*situation)
		want  core.Peers
	}{
		"plain, taken over as such":         {[]func(*situation){says("demo-0", ""), says("demo-1", "")}, core.PeersPlain},
		"plain, to talk TLS":                {[]func(*situation){secured, says("demo-0", ""), says("demo-1", "")}, core.PeersBoth},
		"TLS, taken over as such":           {[]func(*situation){secured, says("demo-0", "TLS"), says("demo-1", "TLS")}, core.PeersTLS},
		"TLS, to talk plain":                {[]func(*situation){says("demo-0", "TLS"), says("demo-1", "TLS")}, core.PeersBoth},
		"on the way to TLS":                 {[]func(*situation){secured, says("demo-0", "both"), says("demo-1", "TLS")}, core.PeersBoth},
		"in words of another operator":      {[]func(*situation){says("demo-0", "quic")}, core.PeersBoth},
		"a claim that never had data":       {[]func(*situation){secured, says("demo-0", "TLS"), empty}, core.PeersTLS},
		"one of a removed member":           {[]func(*situation){secured, says("demo-0", "TLS"), removed}, core.PeersTLS},
		"its StatefulSet knows better":      {[]func(*situation){secured, says("demo-0", "TLS"), says("demo-1", ""), made}, core.PeersTLS},
		"the list knows better than claims": {[]func(*situation){secured, says("demo-0", ""), says("demo-1", ""), known}, core.PeersTLS},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			for _, given := range test.given {
				given(s)
			}
			if got := s.observe(t).Cluster.Spec.Peers; got != test.want {
				t.Errorf("members are to talk %s, not %s", got, test.want)
			}
		})
	}
}

// TestSurplusBudget: with a single voter it would make its node impossible to drain.
func TestSurplusBudget(t *testing.T) {
	surplus := func(change func(s *situation, b *policyv1.PodDisruptionBudget)) []core.Object {
		t.Helper()
		s, budget := newSituation(), &policyv1.PodDisruptionBudget{}
		applied(t, s.render().Objects()[3], budget)
		s.lists(s.listed("demo-0"))
		change(s, budget)
		var found []core.Object
		for _, object := range s.add(budget).observe(t).Objects {
			if object.Kind == "PodDisruptionBudget" {
				found = append(found, object)
			}
		}
		return found
	}
	if got := surplus(func(*situation, *policyv1.PodDisruptionBudget) {}); !slices.Equal(got, []core.Object{{Kind: "PodDisruptionBudget", Name: "demo", State: core.Surplus}}) {
		t.Errorf("%v", got)
	}
	for name, change := range map[string]func(s *situation, b *policyv1.PodDisruptionBudget){
		"someone else's": func(_ *situation, b *policyv1.PodDisruptionBudget) { b.OwnerReferences = nil },
		"an earlier cluster's": func(_ *situation, b *policyv1.PodDisruptionBudget) {
			b.OwnerReferences[0].UID = "uid-0"
		},
		"on its way out": func(_ *situation, b *policyv1.PodDisruptionBudget) {
			b.DeletionTimestamp, b.Finalizers = &metav1.Time{Time: now}, []string{"f/f"}
		},
	} {
		if got := surplus(change); len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := surplus(func(s *situation, _ *policyv1.PodDisruptionBudget) { s.lists(s.listed("demo-0"), s.listed("demo-1")) }); len(got) != 1 || got[0].State == core.Surplus {
		t.Errorf("of two voters: %v", got)
	}
	s := newSituation()
	s.lists(s.listed("demo-0"))
	s.reading(func(object client.Object) bool { _, ok := object.(*policyv1.PodDisruptionBudget); return ok })
	if _, err := s.try(t); err == nil {
		t.Error("it could not be read")
	}
}

// TestWaypoints: what is rendered is the version to run next, on the way to that of the spec.
func TestWaypoints(t *testing.T) {
	for name, test := range map[string]struct {
		spec, recorded, answers, want string
		asleep                        bool
	}{
		"nothing runs":                      {"3.7.3", "", "", "3.7.3", false},
		"a minor at a time":                 {"3.7.3", "3.5.30", "", "3.6.16", false},
		"the next minor is the last":        {"3.7.3", "3.6.16", "", "3.7.3", false},
		"what answers counts":               {"3.7.3", "3.5.30", "3.6.16", "3.7.3", false},
		"first to where it is safe":         {"3.7.3", "3.5.20", "", "3.5.33", false},
		"back":                              {"3.5.33", "3.7.3", "", "3.6.16", false},
		"asleep it keeps its minor":         {"3.7.3", "3.6.16", "", "3.6.16", true},
		"asleep, another patch of a minor":  {"3.6.17", "3.6.16", "", "3.6.17", true},
		"a patch":                           {"3.6.17", "3.6.16", "3.6.16", "3.6.17", false},
		"back to the minor before, at once": {"3.6.16", "3.7.3", "3.7.3", "3.6.16", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			s.cluster.Spec.Version = test.spec
			s.cluster.Spec.Config = map[string]v1alpha1.ConfigValue{"feature-gates": "FastLeaseKeepAlive=true", "max-learners": "1"}
			if test.recorded != "" {
				s.cluster.Status.Members = recorded(test.recorded, "leader")
				s.etcd.answer.Statuses = []core.Status{{Member: "demo-0", Answered: true, Version: test.recorded}}
			}
			if test.answers != "" {
				s.etcd.answer.Statuses = []core.Status{{Member: "demo-0", Answered: true, Version: test.answers}}
			}
			if test.asleep {
				set := s.workload(t, "demo-0")
				set.Spec.Replicas = new(int32(0))
				s.add(set)
			}
			o := s.observe(t)
			spec := o.Cluster.Spec
			if spec.Version != test.want || spec.FinalVersion != test.spec || o.Render.Image() != "etcd:v"+test.want || s.cluster.Spec.Version != test.spec {
				t.Errorf("%s on the way to %s, image %s; want %s", spec.Version, spec.FinalVersion, o.Render.Image(), test.want)
			}
			// The version to run next gets what it knows, and is what all hashes and limits are of.
			next := s.cluster.DeepCopy()
			next.Spec.Version = test.want
			want := render.Cluster{EtcdCluster: next, Domain: "cluster.local"}
			if spec.MemberHash != want.MemberHash() || spec.RestartHash != want.RestartHash() || spec.MaxLearners != want.MaxLearners() ||
				spec.SnapshotCount != want.SnapshotCount() || o.Render.ConfigMap() != want.ConfigMap() || o.Objects[0].Name != want.ConfigMap() {
				t.Errorf("%+v", spec)
			}
		})
	}
	for name, test := range map[string]struct {
		spec, recorded, template, want string
		joining                        bool
	}{
		"a member is away":                         {"3.7.3", "3.6.14", "3.6.14", "3.6.14", false},
		"a member is away, and was to move":        {"3.7.3", "3.6.14", "3.7.3", "3.7.3", false},
		"a member is away, and is to have a patch": {"3.6.16", "3.6.14", "3.6.14", "3.6.16", false},
		"members are to join, and it goes back":    {"3.5.33", "", "3.6.14", "3.6.14", true},
		"members are to join, and it goes up":      {"3.7.3", "", "3.6.14", "3.6.14", true},
		"it goes back":                             {"3.5.33", "", "3.6.14", "3.5.33", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			s.cluster.Spec.Version = test.template
			s.add(s.workload(t, "demo-1"))
			if got := s.member(t, "demo-1").Workload.Version; got != test.template {
				t.Errorf("the StatefulSet has version %q", got)
			}
			s.cluster.Spec.Version = test.spec
			s.lists(s.listed("demo-0"))
			s.cluster.Spec.Size = new(int32(1))
			if test.joining {
				s.cluster.Spec.Size = new(int32(3))
			}
			s.etcd.answer.Statuses = []core.Status{{Member: "demo-0", Answered: true, Version: "3.6.14"}}
			if test.recorded != "" {
				s.cluster.Status.Members = recorded(test.recorded, "leader", "voter")
			}
			if got := s.observe(t).Cluster.Spec.Version; got != test.want {
				t.Errorf("%s is next, want %s", got, test.want)
			}
		})
	}
	// A silent member is where it was last seen: one of 3.5 holds up the way to 3.7.
	s := newSituation()
	s.cluster.Spec.Version = "3.7.3"
	s.cluster.Status.Members = recorded("3.5.33", "leader", "voter")
	s.etcd.answer.Statuses = []core.Status{{Member: "demo-0", Answered: true, Version: "3.6.16"}, {Member: "demo-1", Version: "3.7.3"}}
	if got := s.observe(t).Cluster.Spec.Version; got != "3.6.16" {
		t.Error(got)
	}
}

// TestWaypointsOfClaims: of members that are taken over from an earlier EtcdCluster only their claims say what they ran. They begin
// with that.
func TestWaypointsOfClaims(t *testing.T) {
	claim := func(s *situation, member string, note ...string) {
		c := s.claim(member)
		c.Annotations[render.AnnotationClusterID], c.Annotations[render.AnnotationVersion] = "c1", "3.5.20"
		for i := 0; i < len(note); i += 2 {
			c.Annotations[note[i]] = note[i+1]
		}
		s.add(c)
	}
	for name, test := range map[string]struct {
		prepare func(s *situation)
		want    string
	}{
		"an earlier one ran it":   {func(s *situation) { claim(s, "demo-0") }, "3.5.20"},
		"it does not say":         {func(s *situation) { claim(s, "demo-0", render.AnnotationVersion, "") }, "3.7.3"},
		"it says nonsense":        {func(s *situation) { claim(s, "demo-0", render.AnnotationVersion, "new") }, "3.7.3"},
		"it is of no cluster yet": {func(s *situation) { claim(s, "demo-0", render.AnnotationClusterID, "") }, "3.7.3"},
		"its member was removed":  {func(s *situation) { claim(s, "demo-0", render.AnnotationRemoved, render.Removed) }, "3.7.3"},
		"it is of another cluster": {func(s *situation) {
			claim(s, "demo-0", render.AnnotationClusterID, "c9")
			s.cluster.Status.ClusterID = "c1"
		}, "3.7.3"},
		"the newest of several": {func(s *situation) {
			claim(s, "demo-0", render.AnnotationVersion, "3.6.14")
			claim(s, "demo-1", render.AnnotationVersion, "3.5.33")
		}, "3.6.14"},
		"the member says more": {func(s *situation) {
			claim(s, "demo-0")
			s.etcd.answer.Statuses = []core.Status{{Member: "demo-0", Answered: true, Version: "3.6.16"}}
		}, "3.7.3"},
		"the status says more": {func(s *situation) {
			claim(s, "demo-0")
			s.cluster.Status.Members = recorded("3.5.33", "voter")
			s.add(s.workload(t, "demo-0"))
		}, "3.5.33"},
		"one answers, another does not yet": {func(s *situation) {
			claim(s, "demo-0")
			claim(s, "demo-1")
			s.etcd.answer.Statuses = []core.Status{{Member: "demo-0", Answered: true, Version: "3.5.20"}}
		}, "3.5.20"},
		"etcd does not list it": {func(s *situation) {
			claim(s, "demo-1")
			s.lists(s.listed("demo-0"))
			s.cluster.Spec.Size = new(int32(1))
			s.etcd.answer.Statuses = []core.Status{{Member: "demo-0", Answered: true, Version: "3.6.16"}}
		}, "3.7.3"},
	} {
		s := newSituation()
		s.cluster.Spec.Version = "3.7.3"
		test.prepare(s)
		o := s.observe(t)
		if got := o.Cluster.Spec.Version; got != test.want {
			t.Errorf("%s: %s is next, want %s", name, got, test.want)
		}
		for _, m := range o.Members {
			if len(m.Volumes) > 0 && m.Volumes[0].Version == "" && name != "it does not say" {
				t.Errorf("%s: %+v", name, m.Volumes[0])
			}
		}
	}
}

// TestSpec: the part of the spec that decisions depend on.
func TestSpec(t *testing.T) {
	s := newSituation()
	if spec := s.observe(t).Cluster.Spec; spec.Replace != nil || spec.KeepRemoved || spec.InMemory || spec.MaxLearners != 2 {
		t.Errorf("%+v", spec)
	}
	s.cluster.Annotations = map[string]string{render.AnnotationReplaceMembers: " demo-1, ,demo-2,\n"}
	s.cluster.Spec.Healing.MemberUnhealthyAfter = metav1.Duration{Duration: 3 * time.Minute}
	s.cluster.Spec.Storage.Retention.WhenScaled = v1alpha1.RetentionRetain
	s.cluster.Spec.Storage.Medium = v1alpha1.StorageMediumMemory
	spec := s.observe(t).Cluster.Spec
	if !slices.Equal(spec.Replace, []string{"demo-1", "demo-2"}) || spec.UnhealthyAfter != 3*time.Minute || !spec.KeepRemoved || !spec.InMemory {
		t.Errorf("%+v", spec)
	}
}

// TestHibernated: a member that is stopped as it should be has not drifted, and one that is not, has.
func TestHibernated(t *testing.T) {
	for name, test := range map[string]struct {
		size, replicas int32
		state          core.ObjectState
		stopped        bool
	}{
		"awake":           {3, 1, core.Current, false},
		"asleep":          {0, 0, core.Current, true},
		"to be put aside": {0, 1, core.Drifted, false},
		"to be woken":     {3, 0, core.Drifted, true},
	} {
		s := newSituation()
		s.cluster.Spec.Size = new(test.size)
		set := s.workload(t, "demo-0")
		set.Spec.Replicas = new(test.replicas)
		if got := s.add(set).member(t, "demo-0").Workload; got.State != test.state || got.Stopped != test.stopped {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestJoining: how a member that joins was told to start.
func TestJoining(t *testing.T) {
	s := newSituation()
	set := &appsv1.StatefulSet{}
	applied(t, s.render().StatefulSet(core.ApplyMember{Member: "demo-7", Start: core.StartJoin, InitialCluster: []string{"demo-2", "demo-7"}}), set)
	if got := s.add(set).member(t, "demo-7").Workload; got.State != core.Current || got.Start != core.StartJoin || !slices.Equal(got.InitialCluster, []string{"demo-2", "demo-7"}) {
		t.Errorf("%+v", got)
	}
}

// TestLogIsNoDrift: whether there is a volume for the log is decided when a member is made.
func TestLogIsNoDrift(t *testing.T) {
	s := newSituation()
	s.cluster.Spec.Storage.WAL = &v1alpha1.WALStorage{Size: new(resource.MustParse("2Gi"))}
	with := s.workload(t, "demo-0")
	s.cluster.Spec.Storage.WAL = nil
	without := s.workload(t, "demo-1")
	s.add(with, without)
	for _, asked := range []*v1alpha1.WALStorage{nil, {Size: new(resource.MustParse("2Gi"))}} {
		s.cluster.Spec.Storage.WAL = asked
		for _, name := range []string{"demo-0", "demo-1"} {
			if got := s.member(t, name).Workload.State; got != core.Current {
				t.Errorf("%s with %v asked for: %d", name, asked, got)
			}
		}
	}
}

// pending is a change of CPU and memory in place that is not done, as the kubelet says it.
func pending(p *corev1.Pod, kind corev1.PodConditionType, reason string) {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason})
}

// TestResizes: how a change of CPU and memory in place went.
func TestResizes(t *testing.T) {
	noted := func(s *situation, p *corev1.Pod) {
		p.Annotations[render.AnnotationMemberHash] = s.render().MemberHash()
	}
	for name, test := range map[string]struct {
		change  func(s *situation, p *corev1.Pod)
		refused bool
		waits   string
	}{
		"never tried": {func(*situation, *corev1.Pod) {}, false, ""},
		"refused": {func(s *situation, p *corev1.Pod) {
			p.Annotations[render.AnnotationResizeRefused] = s.render().MemberHash()
		}, true, ""},
		"refused, for another wish": {func(_ *situation, p *corev1.Pod) { p.Annotations[render.AnnotationResizeRefused] = "before" }, false, ""},
		"infeasible": {func(s *situation, p *corev1.Pod) {
			noted(s, p)
			pending(p, corev1.PodResizePending, corev1.PodReasonInfeasible)
		}, true, ""},
		"infeasible, for another wish": {func(_ *situation, p *corev1.Pod) { pending(p, corev1.PodResizePending, corev1.PodReasonInfeasible) }, false, ""},
		"infeasible before the kubelet saw the last wish": {func(s *situation, p *corev1.Pod) {
			noted(s, p)
			pending(p, corev1.PodResizePending, corev1.PodReasonInfeasible)
			p.Generation, p.Status.ObservedGeneration = 3, 2
		}, false, "the kubelet has not begun"},
		"infeasible before": {func(s *situation, p *corev1.Pod) {
			noted(s, p)
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodResizePending, Status: corev1.ConditionFalse, Reason: corev1.PodReasonInfeasible})
		}, false, ""},
		"deferred": {func(s *situation, p *corev1.Pod) {
			noted(s, p)
			give(p, "1Gi", "2Gi")
			pending(p, corev1.PodResizePending, corev1.PodReasonDeferred)
		}, false, ""},
		"pending":     {func(s *situation, p *corev1.Pod) { pending(p, corev1.PodResizePending, "") }, false, "the kubelet is at it"},
		"in progress": {func(s *situation, p *corev1.Pod) { pending(p, corev1.PodResizeInProgress, "") }, false, "the kubelet is at it"},
		"in progress, with an error": {func(s *situation, p *corev1.Pod) {
			pending(p, corev1.PodResizeInProgress, corev1.PodReasonError)
			p.Status.Conditions[len(p.Status.Conditions)-1].Message = "less than is in use"
		}, false, "less than is in use"},
		"not seen by the kubelet": {func(s *situation, p *corev1.Pod) {
			noted(s, p)
			p.Generation, p.Status.ObservedGeneration = 2, 1
		}, false, "the kubelet has not begun"},
		"seen by the kubelet": {func(s *situation, p *corev1.Pod) {
			give(p, "1Gi", "2Gi")
			p.Generation, p.Status.ObservedGeneration = 2, 2
		}, false, ""},
		"by a kubelet that does not say, not given": {func(s *situation, p *corev1.Pod) { give(p, "1Gi", "2Gi") }, false, "the kubelet has not done it"},
		"by a kubelet that does not say, given":     {func(s *situation, p *corev1.Pod) { give(p, "2Gi", "2048Mi") }, false, ""},
	} {
		s := newSituation()
		pod := s.pod("demo-0")
		pod.Annotations[render.AnnotationRestartHash] = "r"
		test.change(s, pod)
		got := s.add(pod).member(t, "demo-0").Pod
		if got.ResizeRefused != test.refused || got.Resizing != test.waits || got.RestartHash != "r" {
			t.Errorf("%s: %+v", name, got)
		}
		// What cannot be given in place is not up to date, whatever was noted when it was asked for.
		if upToDate := got.MemberHash == s.render().MemberHash(); upToDate && got.ResizeRefused {
			t.Errorf("%s: it is up to date", name)
		}
	}
}

// give says what memory a pod has, and what it asks for.
func give(p *corev1.Pod, has, asks string) {
	memory := func(size string) corev1.ResourceRequirements {
		list := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(size)}
		return corev1.ResourceRequirements{Requests: list, Limits: list}
	}
	p.Spec.Containers[0].Resources = memory(asks)
	resources := memory(has)
	p.Status.ContainerStatuses[1].Resources = &resources
}
