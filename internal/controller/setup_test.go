package controller

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestCacheHoldsOurs: of the kinds that everybody uses only what bears our label is watched.
func TestCacheHoldsOurs(t *testing.T) {
	options := CacheOptions(nil)
	var kinds []string
	for object, selected := range options.ByObject {
		gvks, _, err := clientgoscheme.Scheme.ObjectKinds(object)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, gvks[0].Kind)
		ours := labels.Set{render.LabelCluster: "demo"}
		if gvks[0].Kind == "Job" || gvks[0].Kind == "Deployment" {
			ours = labels.Set{render.LabelAgentFor: "nightly"}
		}
		if selected.Label.Matches(labels.Set{"app": "other"}) || !selected.Label.Matches(ours) {
			t.Errorf("%s: selected by %s", gvks[0].Kind, selected.Label)
		}
	}
	slices.Sort(kinds)
	if want := []string{"ConfigMap", "Deployment", "Job", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "Service", "StatefulSet"}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}}}}
	if kept, err := options.DefaultTransform(pod); err != nil || len(kept.(client.Object).GetManagedFields()) > 0 {
		t.Errorf("managed fields are kept: %v", err)
	}
	if options.DefaultNamespaces != nil {
		t.Errorf("without a choice all namespaces are meant: %v", options.DefaultNamespaces)
	}
	if two := CacheOptions([]string{"a", "b"}).DefaultNamespaces; len(two) != 2 {
		t.Errorf("%v", two)
	}
}

func TestClusterOfAnObject(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-0-0", Labels: map[string]string{render.LabelCluster: "demo"}}}
	want := []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: "default", Name: "demo"}}}
	if got := byLabel(context.Background(), pod); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// TestWhatWakesUs: the begin of a deletion changes no generation where there are finalizers of others.
func TestWhatWakesUs(t *testing.T) {
	before, after := &corev1.Pod{}, &corev1.Pod{}
	update := event.UpdateEvent{ObjectOld: before, ObjectNew: after}
	if deletionChanged().Update(update) {
		t.Error("nothing has changed")
	}
	after.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if !deletionChanged().Update(update) {
		t.Error("the deletion has begun")
	}
}

// TestNews: what etcd tells becomes a reconciliation.
func TestNews(t *testing.T) {
	n := &notifier{}
	n.notify("default/demo") // Nobody listens yet.
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	if err := n.Start(context.Background(), queue); err != nil {
		t.Fatal(err)
	}
	n.notify("default/demo")
	if got, _ := queue.Get(); got.Namespace != "default" || got.Name != "demo" || queue.Len() != 0 {
		t.Errorf("%v", got)
	}
}

func TestEverythingIsClosed(t *testing.T) {
	pool := etcd.NewPool()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (closer{etcd.NewWatcher(pool, func(string) {}), pool}).Start(ctx); err != nil {
		t.Error(err)
	}
}

// TestAdd: the controllers can be made, without any API server.
func TestAdd(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	mgr, err := ctrl.NewManager(&rest.Config{Host: "http://127.0.0.1:1"}, ctrl.Options{
		Scheme: scheme, Cache: CacheOptions(nil), Metrics: metricsserver.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
			return testrestmapper.TestOnlyStaticRESTMapper(scheme), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Add(mgr, Options{Domain: "cluster.local", Concurrency: 1}); err != nil {
		t.Error(err)
	}
	if err := Add(mgr, Options{}); err == nil {
		t.Error("two of them would work on the same clusters")
	}
}

// Whom an agent works for is woken when its pod has ended, and not before.
func TestAgentsThatEnd(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nightly-backup-x", Labels: map[string]string{render.LabelAgentFor: "nightly"}}}
	contains := func(state corev1.ContainerState) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: render.AgentContainer, State: state}}}
	}
	for name, c := range map[string]struct {
		status corev1.PodStatus
		ended  bool
	}{
		"waits":                          {corev1.PodStatus{Phase: corev1.PodPending}, false},
		"runs":                           {contains(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}), false},
		"has ended, and its pod not yet": {contains(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}), true},
		"was evicted before it started":  {corev1.PodStatus{Phase: corev1.PodFailed}, true},
	} {
		if pod.Status = c.status; observe.AgentEnded(pod) != c.ended {
			t.Errorf("an agent that %s has ended: %t", name, !c.ended)
		}
	}
	want := []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: "default", Name: "nightly"}}}
	if got := byAgent(context.Background(), pod); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// TestEveryStepIsDescribed: what stands in logs and events says what it was about.
func TestEveryStepIsDescribed(t *testing.T) {
	for want, action := range map[string]core.Action{
		"Service demo-peer":                                      core.ApplyObject{Kind: "Service", Name: "demo-peer"},
		"PodDisruptionBudget demo":                               core.DeleteObject{Kind: "PodDisruptionBudget", Name: "demo"},
		"StatefulSet demo-1":                                     core.ApplyMember{Member: "demo-1"},
		"claims of member demo-1":                                core.MarkVolumes{Member: "demo-1"},
		"claims of member demo-2":                                core.ExpandVolumes{Member: "demo-2"},
		"ConfigMap demo-config-1":                                core.DeleteConfig{Config: core.StaleConfig{Name: "demo-config-1"}},
		"member demo-1 restarts with its new template":           core.RestartMember{Member: "demo-1"},
		"member demo-1 gets other CPU and memory in place":       core.ResizeMember{Member: "demo-1"},
		"member demo-1 is made again":                            core.RecreateMember{Member: "demo-1"},
		"leadership moved from demo-1 to demo-2":                 core.MoveLeader{From: "demo-1", To: "demo-2"},
		"member demo-1 is added as a learner":                    core.AddMember{Member: "demo-1"},
		"member demo-1 (a1) has caught up and is a voter now":    core.PromoteMember{Member: "demo-1", ID: "a1"},
		"member demo-1 (a1) is removed from the cluster":         core.RemoveMember{Member: "demo-1", ID: "a1"},
		"StatefulSet of the removed member demo-1 is deleted":    core.DeleteMember{Member: "demo-1"},
		"claims of the removed member demo-1 are marked as such": core.RetireVolumes{Member: "demo-1"},
		"claims of the removed member demo-1 are deleted":        core.DeleteVolumes{Member: "demo-1"},
		"etcd is told of the downgrade to 3.5":                   core.EnableDowngrade{Target: "3.5"},
		"the downgrade of etcd is canceled":                      core.CancelDowngrade{},
		"alarm CORRUPT of the removed member a1 is cleared":      core.DisarmAlarm{ID: "a1", Alarm: "CORRUPT"},
		"Stranger": stranger{},
	} {
		if got := describe(action); got != want {
			t.Errorf("%s: %q, want %q", action.Step(), got, want)
		}
	}
}

// stranger is an action that nobody knows.
type stranger struct{}

func (stranger) Step() string     { return "Stranger" }
func (stranger) Disruptive() bool { return false }
