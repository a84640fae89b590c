package controller_test

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/controller"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// archiving is a reconciler of archivers, with a cluster whose changes are to be stored.
type archiving struct {
	*situation
	reconciler *controller.ArchiverReconciler
	now        time.Time
}

func newArchiving(t *testing.T) *archiving {
	t.Helper()
	cluster := demo()
	cluster.Spec.Backup = &v1alpha1.BackupSpec{
		Store:      v1alpha1.BackupStore{Volume: &v1alpha1.VolumeStore{ClaimName: "backups"}},
		Continuous: &v1alpha1.ContinuousBackup{SegmentSize: new(resource.MustParse("8Mi"))},
	}
	cluster.Status.ClusterID = "c1"
	a := &archiving{situation: newSituation(t, cluster), now: time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)}
	a.restart()
	return a
}

// restart is an operator that has seen nothing yet.
func (a *archiving) restart() {
	a.reconciler = &controller.ArchiverReconciler{
		Client: a, Actor: &act.Actor{Client: a, Live: a}, Events: a.recorder, Agents: render.Agents{Image: "etcd-operator:1"}, Domain: "cluster.local",
		Now: func() time.Time { return a.now },
	}
}

// look reconciles, and is after what time it is looked again.
func (a *archiving) look() time.Duration {
	a.t.Helper()
	a.writes = nil
	result, err := a.reconciler.Reconcile(context.Background(), request)
	if err != nil {
		a.t.Fatal(err)
	}
	return result.RequeueAfter
}

func (a *archiving) deployment() *appsv1.Deployment {
	a.t.Helper()
	live := &appsv1.Deployment{}
	err := a.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: "demo-archiver"}, live)
	if client.IgnoreNotFound(err) != nil {
		a.t.Fatal(err)
	}
	return live
}

// is gives the Deployment a status.
func (a *archiving) is(ready int32, since time.Time) {
	a.t.Helper()
	live := a.deployment()
	available := corev1.ConditionFalse
	if ready > 0 {
		available = corev1.ConditionTrue
	}
	live.Status.ReadyReplicas = ready
	live.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Status: available, LastTransitionTime: metav1.NewTime(since)}}
	if err := a.Status().Update(context.Background(), live); err != nil {
		a.t.Fatal(err)
	}
}

func (a *archiving) change(change func(*v1alpha1.EtcdCluster)) {
	a.t.Helper()
	cluster := a.cluster()
	change(cluster)
	if err := a.Update(context.Background(), cluster); err != nil {
		a.t.Fatal(err)
	}
}

// People are told when an archiver has not kept up for a minute, and when it does again, once each.
func TestArchiverIsReported(t *testing.T) {
	a := newArchiving(t)
	a.look()
	a.is(0, a.now)
	if again := a.look(); again != time.Minute || a.told() != "" {
		t.Errorf("it is looked again after %s", again)
	}
	a.says("False", "ArchiverStarts")
	a.now = a.now.Add(time.Minute)
	a.look()
	a.says("False", "ArchiverNotReady")
	a.look()
	if told := a.told(); strings.Count(told, "ArchiverNotReady") != 1 || !strings.Contains(told, "no pod of Deployment demo-archiver has kept up for 1m0s") {
		t.Errorf("people are told %q", told)
	}
	a.is(1, a.now)
	a.look()
	a.says("True", "ArchiverFollows")
	a.look()
	if told := a.told(); strings.Count(told, "ArchiverFollows") != 1 {
		t.Errorf("people are told %q", told)
	}
	a.restart()
	if a.look(); a.told() != "" || len(a.writes) != 0 {
		t.Errorf("after a restart it is told again, or done: %v", a.writes)
	}
	// A short break is none of people's business.
	a.is(0, a.now)
	if again := a.look(); again != time.Minute || a.told() != "" {
		t.Errorf("it is looked again after %s", again)
	}
	a.says("True", "ArchiverFollows")
}

// says checks the condition; without a status there is to be none.
func (a *archiving) says(status metav1.ConditionStatus, reason string) {
	a.t.Helper()
	said := meta.FindStatusCondition(a.cluster().Status.Conditions, "Archived")
	if status == "" && said != nil || status != "" && (said == nil || said.Status != status || said.Reason != reason) {
		a.t.Errorf("the condition is %+v, want %s %s", said, status, reason)
	}
}

// The Deployment goes while a restore holds the cluster, and is as it is to be otherwise.
func TestArchiverComesAndGoes(t *testing.T) {
	a := newArchiving(t)
	a.look()
	if a.deployment().UID == "" && a.deployment().Name == "" {
		t.Fatal("there is no Deployment")
	}
	a.change(func(c *v1alpha1.EtcdCluster) { c.Spec.Backup.Continuous.KeepFor = metav1.Duration{Duration: time.Hour} })
	a.look()
	if order := a.deployment().Spec.Template.Spec.Containers[0].Env[0].Value; !strings.Contains(order, `"keepFor":3600000000000`) {
		t.Errorf("the archiver is told %s", order)
	}
	a.change(func(c *v1alpha1.EtcdCluster) { c.Annotations = map[string]string{render.AnnotationRestore: "undo"} })
	a.look()
	if a.deployment().Name != "" {
		t.Error("there is an archiver during a restore")
	}
	a.says("", "")
	a.look()
	a.change(func(c *v1alpha1.EtcdCluster) { c.Annotations = nil })
	a.look()
	if a.deployment().Name == "" {
		t.Error("there is none after it")
	}
}

// A Deployment that somebody else has made is not touched.
func TestArchiverTakesNothingOver(t *testing.T) {
	a := newArchiving(t)
	foreign := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-archiver", Labels: map[string]string{"app": "other"}}}
	if err := a.Create(context.Background(), foreign); err != nil {
		t.Fatal(err)
	}
	_, err := a.reconciler.Reconcile(context.Background(), request)
	if err == nil || !strings.Contains(err.Error(), "demo-archiver") {
		t.Errorf("it is %v", err)
	}
	a.change(func(c *v1alpha1.EtcdCluster) { c.Spec.Backup = nil })
	a.look()
	if a.deployment().Labels["app"] != "other" {
		t.Error("it is gone, or ours")
	}
}

// Without an image nothing can run, and people are told so.
func TestArchiverWithoutAnImage(t *testing.T) {
	a := newArchiving(t)
	a.reconciler.Agents.Image = ""
	a.look()
	a.look()
	if told := a.told(); strings.Count(told, "--agent-image") != 1 || a.deployment().Name != "" {
		t.Errorf("people are told %q", told)
	}
}
