package observe_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/drills"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// drilled is a cluster whose backups are to be tried.
func drilled() *situation {
	s := backedUp()
	s.cluster.Spec.Backup = &v1alpha1.BackupSpec{Drill: &v1alpha1.BackupDrill{Schedule: "@daily"}}
	return s
}

func (s *situation) drill(t *testing.T) observe.ObservedDrill {
	t.Helper()
	observed, err := s.observer(t).ObserveDrill(context.Background(), s.cluster)
	if err != nil {
		t.Fatal(err)
	}
	return observed
}

// theDrill is the EtcdCluster of a drill, made an hour ago.
func theDrill(changes ...func(*v1alpha1.EtcdCluster)) *v1alpha1.EtcdCluster {
	of := drilled().render()
	drill := of.Drill(now.Add(-2*time.Hour), "nightly", 1<<30)
	drill.UID, drill.CreationTimestamp = "d1", metav1.NewTime(now.Add(-time.Hour).Truncate(time.Second))
	for _, change := range changes {
		change(drill)
	}
	return drill
}

// itsRestore is the EtcdRestore by which it gets its data.
func itsRestore(phase v1alpha1.RestorePhase, owner string) *v1alpha1.EtcdRestore {
	restore := aRestore(func(r *v1alpha1.EtcdRestore) {
		r.Name, r.OwnerReferences = "demo-drill-bootstrap", []metav1.OwnerReference{{APIVersion: "etcd.etcd.io/v1alpha1", Kind: "EtcdCluster", Name: "demo-drill", UID: "d1"}}
		r.OwnerReferences[0].UID = theDrill().UID
		if owner != "" {
			r.OwnerReferences[0].Name, r.OwnerReferences[0].UID = owner, "d0"
		}
		r.Status.Phase, r.Status.Revision, r.Status.Keys = phase, 42, 7
		r.Status.Conditions = []metav1.Condition{{
			Type: restores.Complete, Status: metav1.ConditionTrue, Message: "all was compared", LastTransitionTime: metav1.NewTime(now.Add(-time.Minute).Truncate(time.Second)),
		}}
	})
	return restore
}

func TestADrillIsObserved(t *testing.T) {
	serves := theDrill(func(c *v1alpha1.EtcdCluster) {
		c.Status.Conditions = []metav1.Condition{{Type: core.Available, Status: metav1.ConditionTrue, Message: "it serves"}}
	})
	made := drills.Drill{Scheduled: now.Add(-2 * time.Hour).Truncate(time.Second), Started: now.Add(-time.Hour).Truncate(time.Second), Backup: "nightly"}
	for name, c := range map[string]struct {
		objects []client.Object
		change  func(*drills.Drill)
	}{
		"it was made":        {[]client.Object{theDrill()}, func(*drills.Drill) {}},
		"it waits":           {[]client.Object{serves}, func(d *drills.Drill) { d.Available, d.Says = true, "it serves" }},
		"its restore runs":   {[]client.Object{theDrill(), itsRestore("Filling", "")}, func(d *drills.Drill) { d.Says = "all was compared" }},
		"it is completed":    {[]client.Object{serves, itsRestore("Completed", "")}, func(d *drills.Drill) { d.Available, d.Completed, d.Says = true, true, "all was compared" }},
		"it has failed":      {[]client.Object{theDrill(), itsRestore("Failed", "")}, func(d *drills.Drill) { d.Failed, d.Says = true, "all was compared" }},
		"it was rolled back": {[]client.Object{theDrill(), itsRestore("RolledBack", "")}, func(d *drills.Drill) { d.Failed, d.Says = true, "all was compared" }},
		"another's restore": {[]client.Object{theDrill(), itsRestore("Completed", "other")}, func(d *drills.Drill) {
			d.Says = "EtcdRestore demo-drill-bootstrap exists and is not this drill's: delete it"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := made
			c.change(&want)
			o := drilled().add(c.objects...).drill(t)
			got := *o.Drill
			got.Scheduled, got.Started = got.Scheduled.UTC(), got.Started.UTC()
			if got.Completed || got.Failed {
				if !got.Compared.Equal(now.Add(-time.Minute).Truncate(time.Second)) || got.Revision != 42 || got.Keys != 7 {
					t.Errorf("it is %+v", got)
				}
			}
			got.Compared, got.Revision, got.Keys = time.Time{}, 0, 0
			if diff := cmp.Diff(want, got); diff != "" || o.Live == nil || !o.Taken.IsZero() {
				t.Error(diff)
			}
		})
	}
}

// What has the name of a drill, or would be taken for its data, is somebody's: nothing begins then.
func TestWhatIsNoDrill(t *testing.T) {
	labeled := func(name string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{render.LabelCluster: "demo-drill"}}}
	}
	foreign := theDrill(func(c *v1alpha1.EtcdCluster) { c.Labels = nil })
	earlier := theDrill(func(c *v1alpha1.EtcdCluster) { c.OwnerReferences[0].UID = "uid-0" })
	unlabeled := labeled("data-demo-drill-0-0")
	unlabeled.Labels = nil
	for name, c := range map[string]struct {
		object client.Object
		says   string
		reason core.Reason
	}{
		"nothing":                       {nil, "", ""},
		"a cluster of somebody else":    {foreign, "EtcdCluster demo-drill exists and is no drill of this cluster: it is left alone", core.ReasonNameTaken},
		"the drill of an earlier one":   {earlier, "EtcdCluster demo-drill is the drill of an earlier EtcdCluster", drills.ReasonWaiting},
		"a volume":                      {labeled("data-demo-drill-5-0"), "claim data-demo-drill-5-0 exists: of an earlier drill it goes by itself", drills.ReasonWaiting},
		"a volume without a label":      {unlabeled, "claim data-demo-drill-0-0 exists", drills.ReasonWaiting},
		"a restore":                     {itsRestore("Completed", "other"), "EtcdRestore demo-drill-bootstrap exists", drills.ReasonWaiting},
		"a volume of another cluster's": {&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data-other-0-0"}}, "", ""},
	} {
		s := drilled()
		if c.object != nil {
			s.add(c.object)
		}
		o := s.drill(t)
		if !strings.HasPrefix(o.Taken.Message, c.says) || (c.says == "") != o.Taken.IsZero() || o.Taken.Reason != c.reason || o.Drill != nil || o.Live != nil {
			t.Errorf("%s: %+v, %+v", name, o.Taken, o.Drill)
		}
	}
}

func TestWhatBlocksDrills(t *testing.T) {
	for says, change := range map[string]func(*v1alpha1.EtcdCluster){
		"": func(*v1alpha1.EtcdCluster) {},
		"spec.backup.drill needs spec.storage.medium Disk":                                                             func(c *v1alpha1.EtcdCluster) { c.Spec.Storage.Medium = v1alpha1.StorageMediumMemory },
		"spec.backup.drill needs a metadata.name of at most 34 characters, and " + strings.Repeat("a", 35) + " has 35": func(c *v1alpha1.EtcdCluster) { c.Name = strings.Repeat("a", 35) },
		"spec.paused is true":       func(c *v1alpha1.EtcdCluster) { c.Spec.Paused = true },
		"EtcdRestore undo holds":    func(c *v1alpha1.EtcdCluster) { c.Annotations = map[string]string{render.AnnotationRestore: "undo"} },
		"the cluster hibernates":    func(c *v1alpha1.EtcdCluster) { c.Spec.Size = new(int32(0)) },
		"the cluster is not formed": func(c *v1alpha1.EtcdCluster) { c.Status.ClusterID = "" },
	} {
		s := drilled()
		change(s.cluster)
		if got := s.drill(t).Blocked; !strings.HasPrefix(got, says) || says == "" && got != "" {
			t.Errorf("it says %q, want %q", got, says)
		}
	}
}

// The newest backup of the cluster itself is tried that is complete, and as far as known good.
func TestWhichBackupIsTried(t *testing.T) {
	backup := func(name string, day int, changes ...func(*v1alpha1.EtcdBackup)) *v1alpha1.EtcdBackup {
		b := aGoodBackup()
		at := metav1.NewTime(now.AddDate(0, 0, -day).Truncate(time.Second))
		b.Name, b.UID, b.Status.CompletedAt = name, "", &at
		for _, change := range changes {
			change(b)
		}
		return b
	}
	s := drilled()
	if got := s.drill(t).Backup; got != "" {
		t.Errorf("without backups it is %s", got)
	}
	s.add(backup("oldest", 9), backup("good", 8), backup("elsewhere", 7, func(b *v1alpha1.EtcdBackup) { b.Status.Path = "default/demo/uid-0/a" }),
		backup("outside", 6, func(b *v1alpha1.EtcdBackup) { b.Spec.Source = &v1alpha1.ExternalEtcd{} }),
		backup("anothers", 5, func(b *v1alpha1.EtcdBackup) { b.Spec.ClusterRef.Name = "other" }),
		backup("bad", 4, func(b *v1alpha1.EtcdBackup) { b.Status.Conditions[1].Status = metav1.ConditionFalse }),
		backup("failed", 3, func(b *v1alpha1.EtcdBackup) {
			b.Status.Phase, b.Status.Conditions[0].Status = backups.PhaseFailed, metav1.ConditionFalse
		}),
		backup("going", 2, func(b *v1alpha1.EtcdBackup) { b.DeletionTimestamp, b.Finalizers = b.Status.CompletedAt, []string{"x"} }),
		backup("made", 1, func(b *v1alpha1.EtcdBackup) { b.Status.CompletedAt, b.Status.Conditions = nil, nil }),
		&corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data-demo-0-0", Labels: s.render().MemberLabels("demo-0")},
			Spec:       corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}}},
		})
	if o := s.drill(t); o.Backup != "good" || o.Volume != 3<<30 {
		t.Errorf("it is %s, on a volume of %d", o.Backup, o.Volume)
	}
}

func TestDrillStatusIsReadAsItIsWritten(t *testing.T) {
	at := now.Truncate(time.Second).UTC()
	good := &drills.Success{Ended: at, Took: 42 * time.Second, Revision: 7}
	report := drills.Report{
		Last: &drills.Run{Outcome: drills.Running, Scheduled: at, Backup: "c"}, Good: good, WaitsFor: "something",
		Condition: core.Condition{Type: drills.Drilled, Status: core.True, Reason: drills.ReasonSucceeded, Message: "well", Since: at},
	}
	cluster := drilled().cluster
	status := observe.DrillStatus(report, 4)
	cluster.Status.Backup, cluster.Status.Conditions = status.Backup, append(cluster.Status.Conditions, status.Conditions...)
	if diff := cmp.Diff(report, observe.RecordedDrills(cluster)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(status, observe.DrillStatusOf(cluster)); diff != "" {
		t.Error(diff)
	}
	if empty := observe.DrillStatus(drills.Report{}, 4); empty.Backup != nil || empty.Conditions != nil {
		t.Errorf("of nothing it is %+v", empty)
	}
}

func TestReadsOfDrillsThatFail(t *testing.T) {
	broken := errors.New("broken")
	for name, fails := range map[string]func(any) bool{
		"reading EtcdCluster":     func(o any) bool { _, is := o.(*v1alpha1.EtcdCluster); return is },
		"reading EtcdRestore":     func(o any) bool { _, is := o.(*v1alpha1.EtcdRestore); return is },
		"reading claim":           func(o any) bool { _, is := o.(*corev1.PersistentVolumeClaim); return is },
		"listing the claims":      func(o any) bool { _, is := o.(*corev1.PersistentVolumeClaimList); return is },
		"listing the EtcdBackups": func(o any) bool { _, is := o.(*v1alpha1.EtcdBackupList); return is },
	} {
		s := drilled()
		s.fail.Get = func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if fails(object) {
				return broken
			}
			return c.Get(ctx, key, object, options...)
		}
		s.fail.List = func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if fails(list) {
				return broken
			}
			return c.List(ctx, list, options...)
		}
		if _, err := s.observer(t).ObserveDrill(context.Background(), s.cluster); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
