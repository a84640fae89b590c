package act_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestALateStepOfARestore: what was decided before the restore went on, e.g. by an operator that was paused, changes nothing any more.
func TestALateStepOfARestore(t *testing.T) {
	steps := map[string]restores.Action{
		"hold": restores.Hold{}, "settle": restores.Settle{}, "let go": restores.LetGo{ClusterID: "c2"}, "mark": restores.MarkClaims{Member: "demo-0", ClusterID: "c2"},
		"claims": restores.MakeClaims{Member: "demo-1"}, "agent": restores.StartAgent{AgentKey: restores.AgentKey{Kind: restores.Fill}, Member: "demo-0"},
	}
	for name, step := range steps {
		for _, late := range []bool{false, true} {
			if name == "agent" && !late {
				continue // It needs a backup as well.
			}
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data-demo-0-0"}}
			restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo", UID: "uid-2"}}
			s := newServer(t, observed().Render.DeepCopy(), claim, restore)
			o := observe.ObservedRestore{Render: render.Restore{EtcdRestore: &v1alpha1.EtcdRestore{}, Cluster: observed().Render}}
			for _, object := range []client.Object{o.Render.EtcdRestore, o.Render.Cluster.EtcdCluster} {
				key := client.ObjectKey{Namespace: "default", Name: "undo"}
				if object != client.Object(o.Render.EtcdRestore) {
					key.Name = "demo"
				}
				if err := s.Get(context.Background(), key, object); err != nil {
					t.Fatal(err)
				}
			}
			if late {
				live := o.Render.DeepCopy()
				live.Spec.Completion = v1alpha1.CompleteByRollBack
				if err := s.Update(context.Background(), live); err != nil {
					t.Fatal(err)
				}
			}
			s.writes = nil
			err := (&act.Actor{Client: s, Live: s}).DoRestore(context.Background(), o, []restores.Action{step})
			if late != act.IsPassing(err) || late && len(s.writes) > 0 || !late && (err != nil || len(s.writes) != 1) {
				t.Errorf("%s, late %v: %v, written %v", name, late, err, slices.Clone(s.writes))
			}
		}
	}
}

var agents = render.Agents{Image: "etcd-operator:1", Version: "1"}

func aBackup() *v1alpha1.EtcdBackup {
	backup := &v1alpha1.EtcdBackup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nightly", UID: "b1"}}
	backup.Spec.ClusterRef.Name = "demo"
	backup.Spec.Store = &v1alpha1.BackupStore{Volume: &v1alpha1.VolumeStore{ClaimName: "backups"}}
	return backup
}

func aRestore() *v1alpha1.EtcdRestore {
	restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo", UID: "r1"}}
	restore.Spec.ClusterRef.Name, restore.Spec.BackupRef.Name = "demo", "nightly"
	restore.Status.Members = []string{"demo-0", "demo-1"}
	return restore
}

// held is a cluster that the restore holds.
func held() *v1alpha1.EtcdCluster {
	cluster := observed().Render.DeepCopy()
	cluster.Annotations = map[string]string{render.AnnotationRestore: "undo"}
	return cluster
}

// backup carries out actions for the backup that is there.
func (s *server) backup(t *testing.T, jobs map[backups.Kind]types.UID, actions ...backups.Action) error {
	t.Helper()
	live := &v1alpha1.EtcdBackup{}
	if err := s.Get(context.Background(), client.ObjectKeyFromObject(aBackup()), live); err != nil {
		live = aBackup()
	}
	o := observe.ObservedBackup{Render: render.Backup{EtcdBackup: live, Cluster: observed().Render, Agents: agents}, Jobs: jobs}
	return (&act.Actor{Client: s, Live: s}).DoBackup(context.Background(), o, actions)
}

// observeRestore is the restore that is there, and its cluster.
func (s *server) observeRestore(t *testing.T) observe.ObservedRestore {
	t.Helper()
	restore, cluster := &v1alpha1.EtcdRestore{}, &v1alpha1.EtcdCluster{}
	if err := errors.Join(s.Get(context.Background(), client.ObjectKeyFromObject(aRestore()), restore), s.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: "demo"}, cluster)); err != nil {
		t.Fatal(err)
	}
	built := render.Restore{EtcdRestore: restore, Agents: agents, Logs: map[string]bool{}, Reached: map[string]string{}}
	built.Cluster, built.Backup = render.Cluster{EtcdCluster: cluster, Domain: "cluster.local"}, render.Backup{EtcdBackup: aBackup(), Agents: agents}
	return observe.ObservedRestore{Render: built, Jobs: map[restores.AgentKey]types.UID{}}
}

func (s *server) restore(o observe.ObservedRestore, actions ...restores.Action) error {
	return (&act.Actor{Client: s, Live: s}).DoRestore(context.Background(), o, actions)
}

func (s *server) read(t *testing.T, name string, into client.Object) {
	t.Helper()
	if err := s.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: name}, into); err != nil {
		t.Fatal(err)
	}
}

func TestTheFinalizerOfABackup(t *testing.T) {
	s := newServer(t, aBackup())
	for range 2 { // Once is enough.
		if err := s.backup(t, nil, backups.Hold{}); err != nil {
			t.Fatal(err)
		}
	}
	now := &v1alpha1.EtcdBackup{}
	if s.read(t, "nightly", now); !slices.Equal(now.Finalizers, []string{render.Finalizer}) {
		t.Errorf("the finalizers are %v", now.Finalizers)
	}
	if err := s.backup(t, nil, backups.Release{}); err != nil {
		t.Fatal(err)
	}
	if s.read(t, "nightly", now); len(now.Finalizers) > 0 || !slices.Equal(s.writes, []string{"patch nightly", "patch nightly"}) {
		t.Errorf("the finalizers are %v after %v", now.Finalizers, s.writes)
	}
	// What has changed meanwhile is looked at again first.
	s.before = func(string, client.Object) {
		s.before = nil
		changed := now.DeepCopy()
		changed.Labels = map[string]string{"a": "b"}
		if err := s.Update(context.Background(), changed); err != nil {
			t.Error(err)
		}
	}
	if err := s.backup(t, nil, backups.Hold{}); !apierrors.IsConflict(err) {
		t.Errorf("an object that has changed is held: %v", err)
	}
}

// An agent is started for an object that is there; for one that is going only to remove its data.
func TestStartOfABackupsAgents(t *testing.T) {
	going := aBackup()
	going.DeletionTimestamp, going.Finalizers = new(metav1.Now()), []string{render.Finalizer}
	other := aBackup()
	other.UID = "b2"
	for name, c := range map[string]struct {
		live  *v1alpha1.EtcdBackup
		kind  backups.Kind
		stale bool
	}{
		"there":            {aBackup(), backups.Backup, false},
		"there, to delete": {aBackup(), backups.Delete, true},
		"going":            {going, backups.Verify, true},
		"going, to delete": {going, backups.Delete, false},
		"another one":      {other, backups.Backup, true},
	} {
		s := newServer(t, c.live)
		o := observe.ObservedBackup{Render: render.Backup{EtcdBackup: aBackup(), Cluster: observed().Render, Agents: agents}}
		err := (&act.Actor{Client: s, Live: s}).DoBackup(context.Background(), o, []backups.Action{backups.StartAgent{Kind: c.kind}})
		made := s.exists(t, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: backups.JobName("nightly", c.kind)}})
		if isStale(err) != c.stale || made == c.stale || !c.stale && err != nil {
			t.Errorf("%s: %v, made %v", name, err, made)
		}
	}
	theirs := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nightly-backup", UID: "theirs"}}
	s := newServer(t, aBackup(), theirs)
	if err := s.backup(t, nil, backups.StartAgent{Kind: backups.Backup}); !isStale(err) || !strings.Contains(err.Error(), "Job nightly-backup is there already") {
		t.Errorf("the name is taken: %v", err)
	}
}

// A Job is removed by its UID: what has taken its name is left alone.
func TestRemovalOfAgents(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nightly-backup", UID: "job-1"}}
	s := newServer(t, aBackup(), job)
	remove := backups.RemoveAgent{Kind: backups.Backup}
	if err := s.backup(t, map[backups.Kind]types.UID{}, remove); err != nil || !s.exists(t, job.DeepCopy()) {
		t.Errorf("one that was not seen is removed: %v", err)
	}
	if err := s.backup(t, map[backups.Kind]types.UID{backups.Backup: "job-1"}, remove, remove); err != nil || s.exists(t, job.DeepCopy()) {
		t.Errorf("it is there, or is missed when it is gone: %v", err)
	}
	if uid := s.preconditions["nightly-backup"].UID; uid == nil || *uid != "job-1" {
		t.Errorf("it is deleted whatever its UID is: %v", uid)
	}
	s = newServer(t, aRestore(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo-fill-1", UID: "job-2"}})
	o := s.observeRestore(t)
	o.Jobs[restores.AgentKey{Kind: restores.Fill, Index: 1}] = "job-2"
	if err := s.restore(o, restores.RemoveAgent{AgentKey: restores.AgentKey{Kind: restores.Fill, Index: 1}}); err != nil || !slices.Equal(s.writes, []string{"delete undo-fill-1"}) {
		t.Errorf("%v: %v", s.writes, err)
	}
}

// The cluster is held, and let go with the data that it has then. Another restore's hold stays.
func TestTheHoldOfACluster(t *testing.T) {
	s := newServer(t, aRestore())
	notes := func() map[string]string {
		cluster := &v1alpha1.EtcdCluster{}
		s.read(t, "demo", cluster)
		return cluster.Annotations
	}
	if err := s.restore(s.observeRestore(t), restores.Hold{}); err != nil || notes()[render.AnnotationRestore] != "undo" {
		t.Errorf("%v: %v", notes(), err)
	}
	stale := s.observeRestore(t)
	if err := s.restore(s.observeRestore(t), restores.LetGo{ClusterID: "c2"}); err != nil {
		t.Error(err)
	}
	if has := notes(); has[render.AnnotationRestoredClusterID] != "c2" || has[render.AnnotationRestore] != "" {
		t.Errorf("%v", has)
	}
	if err := s.restore(stale, restores.Hold{}); err != nil && !apierrors.IsConflict(err) || notes()[render.AnnotationRestore] != "" {
		t.Errorf("a cluster that has changed is held: %v", err)
	}
	other := held()
	other.Annotations[render.AnnotationRestore] = "other"
	s = newServer(t, aRestore(), other)
	if err := s.restore(s.observeRestore(t), restores.LetGo{ClusterID: "c2"}); err != nil || notes()[render.AnnotationRestore] != "other" {
		t.Errorf("another restore's hold is %v: %v", notes(), err)
	}
}

// What the restore rests on is noted while it can be rolled back, and what was noted first counts.
func TestWhatARestoreRestsOn(t *testing.T) {
	s := newServer(t, aRestore())
	notes := func() string {
		cluster := &v1alpha1.EtcdCluster{}
		s.read(t, "demo", cluster)
		return cluster.Annotations[render.AnnotationRestoreRestsOn]
	}
	var noted string
	for _, step := range []struct {
		action restores.Action
		rests  bool
	}{
		{restores.Hold{}, true},
		{restores.LetGo{ClusterID: "c2", Rests: true}, true},
		{restores.Hold{}, true},
		{restores.LetGo{ClusterID: "c1"}, false},
		{restores.LetGo{ClusterID: "c2", Rests: true}, true},
		{restores.Settle{}, false},
	} {
		o := s.observeRestore(t)
		if noted != "" {
			o.Render.Cluster.Spec.Version = "3.7.3"
		}
		if err := s.restore(o, step.action); err != nil {
			t.Fatal(err)
		}
		switch has := notes(); {
		case (has != "") != step.rests:
			t.Errorf("after %T %+v: %q", step.action, step.action, has)
		case noted == "":
			noted = has
		case !step.rests:
			noted = ""
		case has != noted:
			t.Errorf("after %T: %s instead of %s", step.action, has, noted)
		}
	}
}

// The safety backup outlives the restore, and its data outlives it. It is where the cluster's backups are, or else where the restored one is.
func TestTheSafetyBackup(t *testing.T) {
	for name, has := range map[string]bool{"the cluster's store": true, "the backup's": false} {
		cluster := observed().Render.DeepCopy()
		if has {
			cluster.Spec.Backup = &v1alpha1.BackupSpec{Store: v1alpha1.BackupStore{Volume: &v1alpha1.VolumeStore{ClaimName: "others"}}}
		}
		s := newServer(t, aRestore(), cluster)
		for range 2 { // Once is enough.
			if err := s.restore(s.observeRestore(t), restores.BackUp{}); err != nil {
				t.Fatal(err)
			}
		}
		made := &v1alpha1.EtcdBackup{}
		s.read(t, "undo-safety", made)
		if len(made.OwnerReferences) > 0 || made.Spec.DeletionPolicy != v1alpha1.BackupRetain || made.Annotations[render.AnnotationSafetyFor] != "r1" {
			t.Errorf("%s: %+v", name, made)
		}
		if (made.Spec.Store == nil) != has || !has && made.Spec.Store.Volume.ClaimName != "backups" {
			t.Errorf("%s: the store is %+v", name, made.Spec.Store)
		}
	}
}

// Claims are made as the member's StatefulSet would, and marked with whose data they hold: both, if the log has a volume of its own.
func TestClaimsOfARestore(t *testing.T) {
	cluster := held()
	cluster.Spec.Storage.WAL = &v1alpha1.WALStorage{Size: cluster.Spec.Storage.Size}
	s := newServer(t, aRestore(), cluster)
	for range 2 {
		if err := s.restore(s.observeRestore(t), restores.MakeClaims{Member: "demo-1"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.restore(s.observeRestore(t), restores.MarkClaims{Member: "demo-1", ClusterID: "c2"}, restores.MarkClaims{Member: "demo-0", ClusterID: "c2"}); err != nil {
		t.Fatal(err)
	}
	for _, volume := range []string{render.DataVolume, render.WALVolume} {
		claim := &corev1.PersistentVolumeClaim{}
		s.read(t, render.ClaimName(volume, "demo-1"), claim)
		if note := claim.Annotations; note[render.AnnotationClusterID] != "c2" || note[render.AnnotationVersion] != "3.6.16" || note[render.AnnotationBootstrapMembers] != "demo-0,demo-1" {
			t.Errorf("%s is marked with %v", claim.Name, note)
		}
	}
}

// No agent touches the volume of a member that may run, nor works for a restore that is not the one that was decided about.
func TestStartOfARestoresAgents(t *testing.T) {
	fill, compare := restores.AgentKey{Kind: restores.Fill}, restores.AgentKey{Kind: restores.Compare}
	begins := observed().Render.DeepCopy()
	begins.Spec.Bootstrap = &v1alpha1.BootstrapSpec{}
	other := held()
	other.Annotations[render.AnnotationRestore] = "other"
	for name, c := range map[string]struct {
		cluster *v1alpha1.EtcdCluster
		key     restores.AgentKey
		// meanwhile is what happens after the decision.
		meanwhile func(*server, observe.ObservedRestore) error
		says      string
	}{
		"held":                   {held(), fill, nil, ""},
		"held, to roll back":     {held(), restores.AgentKey{Kind: restores.RollBack}, nil, ""},
		"begins":                 {begins, fill, nil, ""},
		"not held":               {observed().Render.DeepCopy(), fill, nil, "EtcdCluster demo is not held by this restore"},
		"not held, to roll back": {observed().Render.DeepCopy(), restores.AgentKey{Kind: restores.RollBack}, nil, "EtcdCluster demo is not held by this restore"},
		"not held, to compare":   {observed().Render.DeepCopy(), compare, nil, ""},
		"not held, to confirm":   {observed().Render.DeepCopy(), restores.AgentKey{Kind: restores.Confirm}, nil, ""},
		"held by another one":    {other, fill, nil, "EtcdCluster demo is not held by this restore"},
		"the restore is gone": {held(), fill, func(s *server, o observe.ObservedRestore) error {
			return s.Delete(context.Background(), o.Render.DeepCopy())
		}, "EtcdRestore undo has changed, or is gone"},
		"the restore has changed": {held(), fill, func(s *server, o observe.ObservedRestore) error {
			return s.Update(context.Background(), o.Render.DeepCopy())
		}, "EtcdRestore undo has changed, or is gone"},
		"the cluster is gone": {held(), fill, func(s *server, _ observe.ObservedRestore) error { return s.Delete(context.Background(), held()) }, "EtcdCluster demo is another one"},
		"it is let go in this moment": {held(), fill, func(s *server, o observe.ObservedRestore) error {
			return s.restore(o, restores.LetGo{ClusterID: "c2"})
		}, "EtcdCluster demo is not held by this restore"},
	} {
		s := newServer(t, aRestore(), c.cluster)
		o := s.observeRestore(t)
		if c.meanwhile != nil {
			if err := c.meanwhile(s, o); err != nil {
				t.Fatal(err)
			}
		}
		err := s.restore(o, restores.StartAgent{AgentKey: c.key, Member: "demo-0"})
		made := s.exists(t, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: restores.JobName("undo", c.key)}})
		if made != (c.says == "") || made && err != nil || !made && (!isStale(err) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: made %v, %v", name, made, err)
		}
	}
}

// A step that fails is named, and ends the round.
func TestFailedStepsOfRestores(t *testing.T) {
	for step, action := range map[string]restores.Action{
		"Keep": restores.Keep{}, "BackUp": restores.BackUp{}, "Hold": restores.Hold{}, "LetGo": restores.LetGo{}, "MakeClaims": restores.MakeClaims{Member: "demo-1"},
		"MarkClaims": restores.MarkClaims{Member: "demo-0"}, "StartAgent": restores.StartAgent{}, "RemoveAgent": restores.RemoveAgent{},
	} {
		s := newServer(t, aRestore(), held(), claim(render.ClaimName(render.DataVolume, "demo-0")))
		o := s.observeRestore(t)
		o.Jobs[restores.AgentKey{}] = "job"
		s.fail = func(verb string, _ client.Object) error {
			if verb == "get" {
				return nil
			}
			return errBroken
		}
		err := s.restore(o, action, restores.Hold{})
		var failed *act.StepError
		if !errors.As(err, &failed) || failed.Step != step || !errors.Is(err, errBroken) || len(s.writes) > 0 {
			t.Errorf("%s: %v", step, err)
		}
	}
	// Without a look nothing is done.
	for step, action := range map[string]restores.Action{"MarkClaims": restores.MarkClaims{Member: "demo-0"}, "StartAgent": restores.StartAgent{}} {
		s := newServer(t, aRestore(), held())
		o := s.observeRestore(t)
		s.fail = func(string, client.Object) error { return errBroken }
		if err := s.restore(o, action); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", step, err)
		}
	}
	s := newServer(t, aBackup())
	s.fail = func(string, client.Object) error { return errBroken }
	o := observe.ObservedBackup{Render: render.Backup{EtcdBackup: aBackup(), Cluster: observed().Render, Agents: agents}}
	err := (&act.Actor{Client: s, Live: s}).DoBackup(context.Background(), o, []backups.Action{backups.StartAgent{Kind: backups.Backup}})
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "StartAgent") {
		t.Error(err)
	}
}
