package controller_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

var conflict = apierrors.NewConflict(schema.GroupResource{Group: "etcd.etcd.io", Resource: "etcdclusters"}, "demo", errBroken)

// TestFirstPass: the report is written before anything is made, then everything is.
func TestFirstPass(t *testing.T) {
	s := newSituation(t, demo())
	result, err := s.reconcile()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.writes) != 5 || s.writes[0] != "report demo" || s.writes[4] != "apply demo-0" {
		t.Errorf("written: %v", s.writes)
	}
	status := s.cluster().Status
	if !slices.Equal(status.BootstrapMembers, []string{"demo-0"}) || status.ObservedGeneration != 1 || string(status.Phase) != core.PhaseCreating {
		t.Errorf("%+v", status)
	}
	if result.RequeueAfter <= 0 || result.RequeueAfter > time.Minute {
		t.Errorf("look again in %s", result.RequeueAfter)
	}
	if told := s.told(); !strings.HasPrefix(told, "Normal Creating ") {
		t.Error(told)
	}
}

// TestFromNothingToServing: each pass goes on from what it sees; at the end nothing is written any more.
func TestFromNothingToServing(t *testing.T) {
	s := newSituation(t, demo())
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	s.told()
	s.run()
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.writes, []string{"report demo", "patch data-demo-0-0"}) {
		t.Errorf("it is recorded on the claim whose data it holds; written: %v", s.writes)
	}
	told := s.told()
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(s.writes, "apply demo-0") || s.workload().Annotations[render.AnnotationStart] != render.StartSealed {
		t.Errorf("the member is sealed once it has run and that is on its claim; written: %v", s.writes)
	}
	if !strings.Contains(told, "Normal QuorumServes 1 of 1 voters are healthy") || !strings.Contains(told, "Normal LeaderChanged member demo-0 leads") {
		t.Error(told)
	}
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	s.told()
	if endpoints := s.etcd.watched["default/demo"]; len(endpoints) != 1 || endpoints[0].Address != "http://10.0.0.1:2379" {
		t.Errorf("watched: %v", endpoints)
	}
	for range 3 {
		if _, err := s.reconcile(); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.writes) > 0 || s.told() != "" {
		t.Errorf("nothing has happened; written: %v", s.writes)
	}
	if got := s.cluster().Status; string(got.Phase) != core.PhaseRunning || got.ClusterID != "c1" || got.Leader != "demo-0" || got.Version != "3.6.16" {
		t.Errorf("%+v", got)
	}
}

// TestReportConflict: someone has changed the spec, or another operator the status. Nothing is done on what is old.
func TestReportConflict(t *testing.T) {
	s := newSituation(t, demo())
	s.failOn("report", "demo", conflict)
	result, err := s.reconcile()
	if err != nil || result.RequeueAfter <= 0 || result.RequeueAfter > time.Second {
		t.Errorf("%v, %v", result, err)
	}
	if !slices.Equal(s.writes, []string{"report demo"}) || s.told() != "" {
		t.Errorf("written: %v", s.writes)
	}
	s.failOn("report", "demo", errBroken)
	if _, err = s.reconcile(); !errors.Is(err, errBroken) || !slices.Equal(s.writes, []string{"report demo"}) {
		t.Errorf("%v, written: %v", err, s.writes)
	}
}

// TestStaleCluster: the cache still shows the cluster as it was before our own report.
func TestStaleCluster(t *testing.T) {
	s := newSituation(t, demo())
	before := s.cluster()
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	stale := newSituation(t, before)
	s.reconciler.Client = stale.Client
	if result, err := s.reconcile(); err != nil || result.RequeueAfter <= 0 || len(s.writes) > 0 {
		t.Errorf("%v, %v, written: %v", result, err, s.writes)
	}
}

// TestFailureIsReported: a step that failed stands in the status, until it works.
func TestFailureIsReported(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"anything": {errBroken, "True StepFailed: ApplyMember: applying StatefulSet default/demo-0: the server is on fire"},
		"quota":    {errors.New("exceeded quota: statefulsets"), "True QuotaExceeded: ApplyMember: applying StatefulSet default/demo-0: exceeded quota: statefulsets"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(t, demo())
			s.failOn("apply", "demo-0", test.err)
			if _, err := s.reconcile(); !errors.Is(err, test.err) {
				t.Errorf("without an error there is no back-off: %v", err)
			}
			if got := s.condition(core.Degraded); !strings.HasPrefix(got, "False") {
				t.Errorf("the report was written before: %s", got)
			}
			_, _ = s.reconcile()
			if got := s.condition(core.Degraded); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			s.fail = nil
			for range 2 {
				if _, err := s.reconcile(); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.condition(core.Degraded); !strings.HasPrefix(got, "False") {
				t.Error(got)
			}
		})
	}
}

// TestNameTaken: someone else's object is in the way, which no cache of ours shows.
func TestNameTaken(t *testing.T) {
	taken := render.Cluster{EtcdCluster: demo()}.StatefulSet(core.ApplyMember{Member: "demo-0"})
	taken.OwnerReferences, taken.Labels = nil, nil
	s := newSituation(t, demo(), taken)
	for range 2 {
		if _, err := s.reconcile(); err == nil {
			t.Error("without an error there is no back-off")
		}
	}
	want := "True NameTaken: StatefulSet demo-0 exists but does not belong to this cluster: delete or rename it, or choose another name for the cluster"
	if got := s.condition(core.Degraded); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestConflictOfAStep: it is looked at again, and nobody is told.
func TestConflictOfAStep(t *testing.T) {
	s := newSituation(t, demo())
	s.failOn("apply", "demo-0", conflict)
	for range 2 {
		if result, err := s.reconcile(); err != nil || result.RequeueAfter <= 0 || result.RequeueAfter > time.Second {
			t.Errorf("%v, %v", result, err)
		}
	}
	if got := s.condition(core.Degraded); !strings.HasPrefix(got, "False") {
		t.Error(got)
	}
}

// TestPutOff: etcd refuses to change its members for now. It is asked again soon, and nothing is wrong.
func TestPutOff(t *testing.T) {
	s := newSituation(t, demo())
	_, _ = s.reconcile()
	s.run()
	for range 3 {
		if _, err := s.reconcile(); err != nil {
			t.Fatal(err)
		}
	}
	cluster := s.cluster()
	cluster.Spec.Size, cluster.Generation = new(int32(3)), 2
	if err := s.Update(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	s.told()
	s.etcd.refuses = true
	for range 3 {
		if result, err := s.reconcile(); err != nil || result.RequeueAfter < 100*time.Millisecond || result.RequeueAfter > time.Second {
			t.Errorf("%v, %v", result, err)
		}
	}
	if got := s.condition(core.Degraded); !strings.HasPrefix(got, "False") || !strings.Contains(s.condition(core.Progressing), "ScalingOut") {
		t.Errorf("%s; %s", got, s.condition(core.Progressing))
	}
	if told := s.told(); strings.Contains(told, "AddMember") {
		t.Error(told)
	}
	s.etcd.refuses = false
	if _, err := s.reconcile(); err != nil || !slices.Equal(s.etcd.added, []string{peerURL("demo-1")}) {
		t.Errorf("%v, added %v", err, s.etcd.added)
	}
	if told := s.told(); !strings.Contains(told, "Normal AddMember member demo-1 is added as a learner") {
		t.Error(told)
	}
}

// TestHeldBack: a disruption budget does not allow a restart for now. That is asked again soon; if it lasts it stands in the status,
// is asked less often, and is no failure.
func TestHeldBack(t *testing.T) {
	s := newSituation(t, demo())
	_, _ = s.reconcile()
	s.run()
	_, _ = s.reconcile()
	cluster := s.cluster()
	cluster.Spec.Version, cluster.Generation = "3.6.17", 2
	if err := s.Update(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	s.failOn("delete", "demo-0-0", &act.PutOffError{Err: errors.New("it would violate the budget")})
	start := s.reconciler.Observer.Now()
	for _, pass := range []struct {
		after, again time.Duration
		said         bool
	}{{0, 0, false}, {time.Second, 300 * time.Millisecond, false}, {5 * time.Second, 300 * time.Millisecond, false}, {6 * time.Second, time.Second, true}, {time.Minute, time.Second, true}} {
		s.reconciler.Observer.Now = func() time.Time { return start.Add(pass.after) }
		result, err := s.reconcile()
		if err != nil || pass.again > 0 && result.RequeueAfter != pass.again {
			t.Errorf("after %s: %v, %v", pass.after, result, err)
		}
		if got := s.condition(core.Progressing); strings.HasSuffix(got, "; put off: it would violate the budget") != pass.said {
			t.Errorf("after %s: %s", pass.after, got)
		}
	}
	if got := s.condition(core.Degraded); !strings.HasPrefix(got, "False") {
		t.Error(got)
	}
	s.fail = nil
	if _, err := s.reconcile(); err != nil || !slices.Contains(s.writes, "delete demo-0-0") {
		t.Errorf("%v, written: %v", err, s.writes)
	}
}

// TestDisruptionIsTold: a restart stands in the events, with the member.
func TestDisruptionIsTold(t *testing.T) {
	s := newSituation(t, demo())
	_, _ = s.reconcile()
	s.run()
	_, _ = s.reconcile()
	s.told()
	cluster := s.cluster()
	cluster.Spec.Version, cluster.Generation = "3.6.17", 2
	if err := s.Update(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.reconcile(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Contains(s.writes, "delete demo-0-0") {
		t.Errorf("written: %v", s.writes)
	}
	told := s.told()
	if !strings.Contains(told, "Normal RollingOut ") || !strings.Contains(told, "Normal RestartMember member demo-0 restarts with its new template") {
		t.Error(told)
	}
}

// TestForget: of a cluster that is gone nothing is kept.
func TestForget(t *testing.T) {
	s := newSituation(t)
	s.etcd.watched["default/demo"] = nil
	if result, err := s.reconcile(); err != nil || result.RequeueAfter != 0 || len(s.writes) > 0 {
		t.Errorf("%v, %v", result, err)
	}
	if endpoints, ok := s.etcd.watched["default/demo"]; !ok || endpoints != nil {
		t.Errorf("watched: %v", endpoints)
	}
}

func TestDeletingIsLeftAlone(t *testing.T) {
	cluster := demo()
	cluster.Finalizers, cluster.DeletionTimestamp = []string{"f/f"}, &metav1.Time{Time: time.Now()}
	s := newSituation(t, cluster)
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.writes, []string{"report demo"}) || string(s.cluster().Status.Phase) != core.PhaseDeleting {
		t.Errorf("written: %v", s.writes)
	}
}

func TestReadsThatFail(t *testing.T) {
	s := newSituation(t, demo())
	s.failOn("get", "demo", errBroken)
	if _, err := s.reconcile(); !errors.Is(err, errBroken) || len(s.writes) > 0 {
		t.Errorf("%v", err)
	}
}
