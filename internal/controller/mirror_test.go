package controller_test

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/controller"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// mirroring is a reconciler of mirrors, with a cluster that has its first data.
type mirroring struct {
	*situation
	reconciler *controller.MirrorReconciler
}

func newMirroring(t *testing.T, changes ...func(*v1alpha1.EtcdCluster)) *mirroring {
	t.Helper()
	cluster := demo()
	cluster.Spec.Bootstrap = &v1alpha1.BootstrapSpec{Source: &v1alpha1.ExternalEtcd{Endpoints: []v1alpha1.EtcdEndpoint{"http://old:2379"}}, Mirror: v1alpha1.MirrorFollow}
	cluster.Annotations = map[string]string{render.AnnotationMirrors: "true"}
	cluster.Status.ClusterID = "c1"
	for _, change := range changes {
		change(cluster)
	}
	m := &mirroring{situation: newSituation(t, cluster)}
	m.reconciler = &controller.MirrorReconciler{
		Client: m, Observer: &observe.Observer{Cache: m, Live: m, Domain: "cluster.local", Now: time.Now}, Actor: &act.Actor{Client: m, Live: m},
		Events: m.recorder, Agents: render.Agents{Image: "etcd-operator:1"},
	}
	return m
}

func (m *mirroring) look() time.Duration {
	m.t.Helper()
	m.writes = nil
	result, err := m.reconciler.Reconcile(context.Background(), request)
	if err != nil {
		m.t.Fatal(err)
	}
	return result.RequeueAfter
}

// says checks the condition.
func (m *mirroring) says(words ...string) {
	m.t.Helper()
	said := m.condition("Mirrored")
	for _, word := range words {
		if !strings.Contains(said, word) {
			m.t.Errorf("it says %q, without %q", said, word)
		}
	}
}

func (m *mirroring) has(name string, object client.Object) bool {
	m.t.Helper()
	err := m.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: name}, object)
	if client.IgnoreNotFound(err) != nil {
		m.t.Fatal(err)
	}
	return err == nil
}

// follows gives the Deployment a pod that keeps up.
func (m *mirroring) follows() {
	m.t.Helper()
	live := &appsv1.Deployment{}
	if !m.has("demo-mirror", live) {
		m.t.Fatal("there is no Deployment")
	}
	live.Status.ReadyReplicas = 1
	if err := m.Status().Update(context.Background(), live); err != nil {
		m.t.Fatal(err)
	}
}

// pod makes one of the mirror, or of the Job if there is one, with what it has left.
func (m *mirroring) pod(name string, job *batchv1.Job, code int32, left task.Result) *corev1.Pod {
	m.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{
		render.LabelAgentOf: "demo", render.LabelApp: render.MirrorApp,
	}}}
	if job != nil {
		pod.Labels = map[string]string{batchv1.JobNameLabel: job.Name, batchv1.ControllerUidLabel: string(job.UID)}
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: render.AgentContainer, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: string(left.Encode())},
	}}}
	if err := m.Create(context.Background(), pod); err != nil {
		m.t.Fatal(err)
	}
	return pod
}

func (m *mirroring) change(change func(*v1alpha1.EtcdCluster)) {
	m.t.Helper()
	cluster := m.cluster()
	change(cluster)
	if err := m.Update(context.Background(), cluster); err != nil {
		m.t.Fatal(err)
	}
}

func cutOver(c *v1alpha1.EtcdCluster) { c.Spec.Bootstrap.Mirror = v1alpha1.MirrorCutOver }

// A mirror runs as soon as the cluster has its data, and what hinders it is told.
func TestMirrorFollows(t *testing.T) {
	m := newMirroring(t, func(c *v1alpha1.EtcdCluster) { c.Status.ClusterID = "" })
	m.look()
	m.says("False WaitingForData")
	if m.has("demo-mirror", &appsv1.Deployment{}) {
		t.Error("a mirror runs, and there is nothing to go on with")
	}
	cluster := m.cluster()
	cluster.Status.ClusterID = "c1"
	if err := m.Status().Update(context.Background(), cluster); err != nil {
		t.Fatal(err)
	}
	m.look()
	m.says("False NotFollowing", "Deployment demo-mirror does not keep up")
	m.pod("demo-mirror-1", nil, task.ExitFinal, task.Result{Problem: "the source has compacted revisions"})
	m.look()
	m.says("False NotFollowing", "the source has compacted revisions")
	m.follows()
	m.look()
	m.says("False Following", "set spec.bootstrap.mirror to CutOver")
	m.told()
	if m.look(); len(m.writes) > 0 || m.told() != "" {
		t.Errorf("it is told again, or done: %v", m.writes)
	}
	// A restore in place ends it: what the cluster has then is not what the source had.
	m.change(func(c *v1alpha1.EtcdCluster) { c.Annotations[render.AnnotationRestore] = "undo" })
	m.look()
	if m.has("demo-mirror", &appsv1.Deployment{}) {
		t.Error("a mirror runs during a restore")
	}
}

// Clients are let in when all was compared and no mirror can write any more, not before.
func TestCutOver(t *testing.T) {
	m := newMirroring(t, cutOver)
	m.look()
	m.says("False NotFollowing")
	if m.has("demo-cutover", &batchv1.Job{}) {
		t.Error("it is waited for what no mirror brings")
	}
	m.follows()
	m.look()
	m.says("False CuttingOver")
	job := &batchv1.Job{}
	if !m.has("demo-cutover", job) {
		t.Fatal("there is no Job")
	}
	mirror := m.pod("demo-mirror-1", nil, 0, task.Result{})
	m.pod("demo-cutover-1", job, 0, task.Result{CutOver: &task.Content{Revision: 7, Keys: 3, Digest: "d"}})
	if again := m.look(); again == 0 || again > time.Second || m.has("demo-mirror", &appsv1.Deployment{}) {
		t.Errorf("the mirror is there; it is looked again after %s", again)
	}
	m.says("False CuttingOver")
	if m.cluster().Annotations[render.AnnotationMirrors] == "" {
		t.Fatal("clients are let in while a pod of the mirror is there")
	}
	if err := m.Delete(context.Background(), mirror); err != nil {
		t.Fatal(err)
	}
	m.look()
	m.says("True CutOver", "all 3 keys", "revision 7")
	if m.cluster().Annotations[render.AnnotationMirrors] != "" {
		t.Error("clients are kept away")
	}
	m.look()
	if m.has("demo-cutover", job) {
		t.Error("the Job stays")
	}
	m.says("True CutOver")
	if m.look(); len(m.writes) > 0 {
		t.Errorf("there is something left to do: %v", m.writes)
	}
}

// A cut-over that fails is tried again after some rest, and clients wait.
func TestCutOverThatFails(t *testing.T) {
	m := newMirroring(t, cutOver)
	m.look()
	m.follows()
	m.look()
	job := &batchv1.Job{}
	if !m.has("demo-cutover", job) {
		t.Fatal("there is no Job")
	}
	m.pod("demo-cutover-1", job, task.ExitFinal, task.Result{Problem: "the source is still written to"})
	ends := func(ago time.Duration) {
		job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().Add(-ago))}}
		if err := m.Status().Update(context.Background(), job); err != nil {
			t.Fatal(err)
		}
	}
	ends(time.Second)
	m.look()
	m.says("False CutOverFailed", "the source is still written to", "tried again")
	if !m.has("demo-cutover", job) {
		t.Fatal("there is no rest between two tries")
	}
	ends(time.Minute)
	m.look()
	if m.has("demo-cutover", job) || m.cluster().Annotations[render.AnnotationMirrors] == "" {
		t.Error("it is not tried again, or clients are let in")
	}
	m.look()
	m.says("False CuttingOver")
}

// Whoever takes the note away lets clients in without a comparison.
func TestMirrorEndsByHand(t *testing.T) {
	m := newMirroring(t)
	m.look()
	m.follows()
	m.look()
	m.change(func(c *v1alpha1.EtcdCluster) { c.Annotations = nil })
	m.look()
	if m.has("demo-mirror", &appsv1.Deployment{}) {
		t.Error("the mirror runs on")
	}
}

// A Job that somebody else has made is not taken for ours, nor touched.
func TestCutOverTakesNothingOver(t *testing.T) {
	m := newMirroring(t, cutOver)
	m.look()
	m.follows()
	if err := m.Create(context.Background(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-cutover"}}); err != nil {
		t.Fatal(err)
	}
	m.look()
	m.says("False NameTaken", "Job demo-cutover exists and is not this cluster's")
	m.change(func(c *v1alpha1.EtcdCluster) { c.Annotations = nil })
	if m.look(); !m.has("demo-cutover", &batchv1.Job{}) {
		t.Error("it is gone")
	}
}
