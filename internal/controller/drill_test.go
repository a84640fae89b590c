package controller_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/controller"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// drilling is a reconciler of drills, with a cluster of which one is due, and a backup.
type drilling struct {
	*situation
	reconciler *controller.DrillReconciler
}

// noon is when the reconciler looks.
var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func newDrilling(t *testing.T, objects ...client.Object) *drilling {
	t.Helper()
	cluster := demo()
	cluster.Status.ClusterID, cluster.CreationTimestamp = "c1", metav1.NewTime(noon.AddDate(0, 0, -3))
	cluster.Spec.Backup = &v1alpha1.BackupSpec{Drill: &v1alpha1.BackupDrill{Schedule: "@daily"}}
	completed := metav1.NewTime(noon.AddDate(0, 0, -1))
	backup := &v1alpha1.EtcdBackup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "newest"}}
	backup.Spec.ClusterRef.Name = "demo"
	backup.Status.Path, backup.Status.CompletedAt, backup.Status.Phase = "default/demo/uid-1/newest", &completed, "Completed"
	backup.Status.Conditions = []metav1.Condition{{Type: "Complete", Status: metav1.ConditionTrue}}
	d := &drilling{situation: newSituation(t, append(objects, cluster, backup)...)}
	d.reconciler = &controller.DrillReconciler{
		Client: d, Live: d, Observer: &observe.Observer{Cache: d, Live: d, Domain: "cluster.local", Now: func() time.Time { return noon }},
		Actor: &act.Actor{Client: d, Live: d}, Events: d.recorder,
	}
	return d
}

func (d *drilling) look() error {
	d.writes = nil
	_, err := d.reconciler.Reconcile(context.Background(), request)
	return err
}

func (d *drilling) drill() *v1alpha1.EtcdCluster {
	d.t.Helper()
	drill := &v1alpha1.EtcdCluster{}
	err := d.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: "demo-drill"}, drill)
	if client.IgnoreNotFound(err) != nil {
		d.t.Fatal(err)
	}
	return drill
}

// A drill is made, its success is written down, and only then it is deleted.
func TestADrillFromItsBeginningToItsEnd(t *testing.T) {
	d := newDrilling(t)
	if err := d.look(); err != nil {
		t.Fatal(err)
	}
	drill := d.drill()
	if !render.IsDrill(drill) || drill.Spec.Bootstrap.BackupRef.Name != "newest" || drill.OwnerReferences[0].UID != "uid-1" {
		t.Fatalf("it is %+v", drill)
	}
	// The fake server gives no times.
	drill.CreationTimestamp = metav1.NewTime(noon.Add(-time.Minute))
	if err := d.Update(context.Background(), drill); err != nil {
		t.Fatal(err)
	}
	if err := d.look(); err != nil || !strings.Contains(d.told(), "DrillBegun") || d.cluster().Status.Backup.Drill.Outcome != "Running" {
		t.Errorf("it says %+v, %v", d.cluster().Status.Backup, err)
	}
	drill.Status.Conditions = []metav1.Condition{{Type: core.Available, Status: metav1.ConditionTrue, Reason: "x", LastTransitionTime: metav1.NewTime(noon)}}
	if err := d.Status().Update(context.Background(), drill); err != nil {
		t.Fatal(err)
	}
	restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "demo-drill-bootstrap", OwnerReferences: []metav1.OwnerReference{{APIVersion: "etcd.etcd.io/v1alpha1", Kind: "EtcdCluster", Name: "demo-drill", UID: drill.UID}},
	}}
	restore.Status.Phase, restore.Status.Keys = "Completed", 7
	restore.Status.Conditions = []metav1.Condition{{Type: "Complete", Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon)}}
	if err := d.Create(context.Background(), restore); err != nil {
		t.Fatal(err)
	}
	if err := d.look(); err != nil || !slices.Equal(d.writes, []string{"report demo", "delete demo-drill"}) {
		t.Errorf("it does %v, %v", d.writes, err)
	}
	if said := d.condition("Drilled"); !strings.HasPrefix(said, "True DrillSucceeded: the EtcdBackup newest was restored") || !strings.Contains(said, "7 keys") {
		t.Errorf("it says %q", said)
	}
	if err := d.Delete(context.Background(), restore); err != nil {
		t.Fatal(err)
	}
	if err := d.look(); err != nil || len(d.writes) > 0 || d.drill().Name != "" {
		t.Errorf("once it is gone it does %v, %v", d.writes, err)
	}
}

// What a drill could not be made for is told, once.
func TestADrillThatIsRefused(t *testing.T) {
	d := newDrilling(t)
	d.failOn("create", "demo-drill", errBroken)
	for _, told := range []bool{true, false} {
		if err := d.look(); !errors.Is(err, errBroken) || strings.Contains(d.told(), "DrillWaiting") != told {
			t.Errorf("it is %v", err)
		}
		if said := d.cluster().Status.Backup; said == nil || said.DrillWaitsFor != "making EtcdCluster default/demo-drill: the server is on fire" {
			t.Errorf("it waits for %+v", said)
		}
	}
}

// A result that could not be written down ends nothing.
func TestADrillWhoseResultIsNotWritten(t *testing.T) {
	d := newDrilling(t)
	if err := d.look(); err != nil {
		t.Fatal(err)
	}
	drill := d.drill()
	drill.CreationTimestamp = metav1.NewTime(noon.AddDate(0, 0, -1)) // It has taken too long.
	if err := d.Update(context.Background(), drill); err != nil {
		t.Fatal(err)
	}
	d.failOn("report", "demo", errBroken)
	if err := d.look(); !errors.Is(err, errBroken) || slices.Contains(d.writes, "delete demo-drill") {
		t.Errorf("it does %v, %v", d.writes, err)
	}
}

// One that is another's stays, also when no drill is wanted; one of ours goes then.
func TestDrillsThatNobodyWants(t *testing.T) {
	foreign := demo()
	foreign.Name, foreign.UID = "demo-drill", "uid-2"
	d := newDrilling(t, foreign)
	if err := d.look(); err != nil || !strings.Contains(d.told(), "NameTaken") {
		t.Error(err)
	}
	cluster := d.cluster()
	cluster.Spec.Backup.Drill = nil
	if err := d.Update(context.Background(), cluster); err != nil {
		t.Fatal(err)
	}
	if err := d.look(); err != nil || d.drill().UID != "uid-2" || d.cluster().Status.Backup != nil || d.condition("Drilled") != "" {
		t.Errorf("it does %v, %v", d.writes, err)
	}
	foreign = d.drill()
	foreign.Labels, foreign.OwnerReferences = map[string]string{render.LabelDrillOf: "demo"}, []metav1.OwnerReference{(render.Cluster{EtcdCluster: cluster}).ClaimOwner()}
	if err := d.Update(context.Background(), foreign); err != nil {
		t.Fatal(err)
	}
	if err := d.look(); err != nil || d.drill().Name != "" {
		t.Errorf("it does %v, %v", d.writes, err)
	}
	if err := d.look(); err != nil || len(d.writes) > 0 {
		t.Errorf("it does %v, %v", d.writes, err)
	}
}
