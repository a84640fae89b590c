package observe_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// restoreMade is an EtcdRestore into a cluster that was made some seconds after the first one.
func restoreMade(name, cluster string, seconds int, phase v1alpha1.RestorePhase) *v1alpha1.EtcdRestore {
	r := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	r.CreationTimestamp = metav1.NewTime(now.Truncate(time.Second).Add(time.Duration(seconds) * time.Second))
	r.Spec.ClusterRef.Name, r.Status.Phase = cluster, phase
	return r
}

// TestWhoComesFirst: of several EtcdRestores into a cluster the one that has begun, else the one that was made first; all others say
// what the webhook would have said.
func TestWhoComesFirst(t *testing.T) {
	const ahead = "EtcdRestore other into EtcdCluster demo is not over "
	for name, test := range map[string]struct {
		phase v1alpha1.RestorePhase
		other *v1alpha1.EtcdRestore
		want  string
	}{
		"alone":                         {"", nil, ""},
		"made before":                   {"", restoreMade("other", "demo", 0, ""), ahead + "(Pending): wait until it is, or delete it"},
		"made before, seen":             {"Pending", restoreMade("other", "demo", 0, "Pending"), ahead + "(Pending): wait until it is, or delete it"},
		"made after":                    {"", restoreMade("other", "demo", 20, ""), ""},
		"made after, and has begun":     {"Pending", restoreMade("other", "demo", 20, "BackingUp"), ahead + "(BackingUp): wait until it is, or delete it"},
		"made in the same second":       {"", restoreMade("other", "demo", 10, ""), ahead + "(Pending): wait until it is, or delete it"},
		"made in the same second, late": {"", restoreMade("zero", "demo", 10, ""), ""},
		"not confirmed":                 {"", restoreMade("other", "demo", 0, "Restored"), ahead + "(Restored): set its spec.completion to Confirm or RollBack"},
		"over":                          {"", restoreMade("other", "demo", 0, "RolledBack"), ""},
		"of another cluster":            {"", restoreMade("other", "another", 0, "Filling"), ""},
		"has begun itself":              {"Stopping", restoreMade("other", "demo", 0, "BackingUp"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			own := restoreMade("undo", "demo", 10, test.phase)
			s := newSituation(own)
			if test.other != nil {
				s.add(test.other)
			}
			reader := s.client(t)
			o := observe.Observer{Cache: reader, Live: reader, Now: func() time.Time { return now }}
			observed, err := o.ObserveRestore(t.Context(), own)
			if err != nil || observed.Ahead.Message != test.want {
				t.Errorf("%v\ngot  %q\nwant %q", err, observed.Ahead.Message, test.want)
			}
		})
	}
}

// aGoodBackup is complete and verified.
func aGoodBackup() *v1alpha1.EtcdBackup {
	return aBackup(func(b *v1alpha1.EtcdBackup) {
		b.Status.Phase, b.Status.Version, b.Status.Path = backups.PhaseCompleted, "3.6.16", "default/demo/uid-1/nightly-b1"
		b.Status.Conditions = []metav1.Condition{
			{Type: backups.Complete, Status: metav1.ConditionTrue, Message: "it is there"},
			{Type: backups.Verified, Status: metav1.ConditionTrue, Message: "it was tried"},
		}
	})
}

func aRestore(changes ...func(*v1alpha1.EtcdRestore)) *v1alpha1.EtcdRestore {
	restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo", UID: "r1", Generation: 3}}
	restore.Spec = v1alpha1.EtcdRestoreSpec{
		ClusterRef: v1alpha1.ClusterReference{Name: "demo"}, BackupRef: v1alpha1.BackupReference{Name: "nightly"}, Completion: v1alpha1.CompleteAutomatically,
	}
	for _, change := range changes {
		change(restore)
	}
	return restore
}

func (s *situation) restore(t *testing.T, restore *v1alpha1.EtcdRestore) observe.ObservedRestore {
	t.Helper()
	observed, err := s.observer(t).ObserveRestore(context.Background(), restore)
	if err != nil {
		t.Fatal(err)
	}
	return observed
}

func TestARestoreIsObserved(t *testing.T) {
	s := backedUp().add(aGoodBackup())
	s.cluster.Annotations = map[string]string{render.AnnotationRestore: "other", render.AnnotationRestoredClusterID: "c0"}
	s.cluster.Status.Conditions = []metav1.Condition{{Type: core.Available, Status: metav1.ConditionTrue, Message: "all is well"}}
	o := s.restore(t, aRestore(func(r *v1alpha1.EtcdRestore) { r.Finalizers = []string{render.Finalizer} }))
	want := restores.Observation{
		Now: now, Name: "undo", Generation: 3, Held: true, Completion: restores.Automatic, CheckWanted: true, SafetyWanted: true,
		Cluster: restores.Cluster{
			Exists: true, UID: "uid-1", Holder: "other", Restored: "c0", ClusterID: "c1", Members: []string{"demo-0"}, Serves: true, Available: true, Stopped: true,
			Says: "all is well",
		},
		Safety: restores.Safety{Name: "undo-safety"}, Claims: map[string]restores.Claim{}, Agents: map[restores.AgentKey]restores.Agent{},
	}
	if diff := cmp.Diff(want, o.Observation); diff != "" {
		t.Error(diff)
	}
}

// A cluster that is to begin with a backup has the members that it will have.
func TestARestoreOfANewClusterIsObserved(t *testing.T) {
	s := backedUp().add(aGoodBackup())
	s.cluster.Status = v1alpha1.EtcdClusterStatus{}
	s.cluster.Spec.Bootstrap = &v1alpha1.BootstrapSpec{BackupRef: &v1alpha1.BackupReference{Name: "nightly"}}
	if c := s.restore(t, aRestore()).Cluster; !c.Begins || !cmp.Equal(c.Members, []string{"demo-0", "demo-1", "demo-2"}) {
		t.Errorf("%+v", c)
	}
}

// What cannot be restored is refused, or waited for, with what to do.
func TestWhatCannotBeRestored(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*situation, *v1alpha1.EtcdBackup)
		waits   string
		refuses string
	}{
		"a good one": {func(*situation, *v1alpha1.EtcdBackup) {}, "", ""},
		"none":       {func(_ *situation, b *v1alpha1.EtcdBackup) { b.Name = "other" }, "EtcdBackup nightly, which spec.backupRef names, does not exist: make it", ""},
		"one that is deleted": {func(_ *situation, b *v1alpha1.EtcdBackup) {
			b.DeletionTimestamp, b.Finalizers = new(metav1.NewTime(now)), []string{"x"}
		}, "", "EtcdBackup nightly is being deleted: choose another one"},
		"one that failed": {func(_ *situation, b *v1alpha1.EtcdBackup) {
			b.Status.Phase, b.Status.Conditions[0].Message = backups.PhaseFailed, "no room"
		}, "", "EtcdBackup nightly has failed: choose another one (no room)"},
		"one that differs": {func(_ *situation, b *v1alpha1.EtcdBackup) {
			b.Status.Conditions[1].Status, b.Status.Conditions[1].Message = metav1.ConditionFalse, "other keys"
		}, "", "EtcdBackup nightly is not what the cluster had: choose another one (other keys)"},
		"one that is not complete": {func(_ *situation, b *v1alpha1.EtcdBackup) {
			b.Status.Conditions[0].Status, b.Status.Conditions[0].Message = metav1.ConditionFalse, "an agent runs"
		}, "EtcdBackup nightly is not complete: an agent runs", ""},
		"one without a key": {func(_ *situation, b *v1alpha1.EtcdBackup) {
			b.Status.Encryption = &v1alpha1.BackupEncryption{Recipients: []string{"age1"}}
		}, "", "EtcdBackup nightly is encrypted: name a Secret with a private key in its spec.encryption.identitySecret, and make another EtcdRestore"},
		"one of a later minor": {func(_ *situation, b *v1alpha1.EtcdBackup) { b.Status.Version = "3.7.1" }, "",
			"EtcdBackup nightly was made of etcd 3.7.1, whose data etcd 3.6.16 cannot start with: it has to be of the same minor, or the next"},
		"one of the minor before": {func(_ *situation, b *v1alpha1.EtcdBackup) { b.Status.Version = "3.5.9" }, "", ""},
		"one that says nothing":   {func(_ *situation, b *v1alpha1.EtcdBackup) { b.Status.Version = "new" }, "", "EtcdBackup nightly was made of etcd new"},
		"one without its store": {func(s *situation, _ *v1alpha1.EtcdBackup) { s.cluster.Spec.Backup = nil },
			"nothing says where the backup is to be kept", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, backup := backedUp(), aGoodBackup()
			c.change(s, backup)
			o := s.add(backup).restore(t, aRestore())
			for _, side := range [][2]string{{o.Backup.Message, c.waits}, {o.Refused.Message, c.refuses}} {
				if side[1] == "" && side[0] != "" || !strings.HasPrefix(side[0], side[1]) {
					t.Errorf("it says %q, expected is %q", side[0], side[1])
				}
			}
		})
	}
}

// Members have stopped when their StatefulSets are to have no pod, their controller has seen that, and there is none.
func TestWhetherMembersHaveStopped(t *testing.T) {
	set := func(change func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-0", Generation: 2, Labels: map[string]string{render.LabelCluster: "demo"}}}
		set.Spec.Replicas, set.Status.ObservedGeneration = new(int32(0)), 2
		change(set)
		return set
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "demo-0-0", Labels: map[string]string{render.LabelCluster: "demo"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "demo-0", Controller: new(true)}},
	}}
	stopped := set(func(*appsv1.StatefulSet) {})
	for name, c := range map[string]struct {
		objects []client.Object
		stopped bool
	}{
		"stopped":             {[]client.Object{stopped}, true},
		"runs":                {[]client.Object{set(func(s *appsv1.StatefulSet) { s.Spec.Replicas = new(int32(1)) })}, false},
		"by default":          {[]client.Object{set(func(s *appsv1.StatefulSet) { s.Spec.Replicas = nil })}, false},
		"not seen":            {[]client.Object{set(func(s *appsv1.StatefulSet) { s.Status.ObservedGeneration = 1 })}, false},
		"a pod is counted":    {[]client.Object{set(func(s *appsv1.StatefulSet) { s.Status.Replicas = 1 })}, false},
		"a pod is there":      {[]client.Object{stopped, pod}, false},
		"nothing was made":    {nil, true},
		"somebody else's pod": {[]client.Object{stopped, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "other"}}}, true},
	} {
		if got := backedUp().add(c.objects...).restore(t, aRestore()).Cluster.Stopped; got != c.stopped {
			t.Errorf("%s: stopped is %v", name, got)
		}
	}
}

// The claims say whose data they hold, whether the log is elsewhere, and how the member was reached.
func TestClaimsToRestore(t *testing.T) {
	claim := func(volume, id string, notes map[string]string) *corev1.PersistentVolumeClaim {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: render.ClaimName(volume, "demo-0"), Annotations: map[string]string{}}}
		for key, value := range notes {
			claim.Annotations[key] = value
		}
		if id != "" {
			claim.Annotations[render.AnnotationClusterID] = id
		}
		return claim
	}
	leaving := claim(render.DataVolume, "c1", nil)
	leaving.DeletionTimestamp, leaving.Finalizers = new(metav1.NewTime(now)), []string{"x"}
	overTLS := claim(render.DataVolume, "c1", nil)
	render.RecordPeers(overTLS, core.PeersTLS)
	for name, c := range map[string]struct {
		objects []client.Object
		want    restores.Claim
		log     bool
		reached string
	}{
		"none":          {nil, restores.Claim{Missing: true}, false, "http://"},
		"one":           {[]client.Object{claim(render.DataVolume, "c1", nil)}, restores.Claim{ClusterID: "c1"}, false, "http://"},
		"over TLS":      {[]client.Object{overTLS}, restores.Claim{ClusterID: "c1"}, false, "https://"},
		"two":           {[]client.Object{claim(render.DataVolume, "c1", nil), claim(render.WALVolume, "c1", nil)}, restores.Claim{ClusterID: "c1"}, true, "http://"},
		"half marked":   {[]client.Object{claim(render.DataVolume, "c2", nil), claim(render.WALVolume, "c1", nil)}, restores.Claim{}, true, "http://"},
		"being made":    {[]client.Object{claim(render.DataVolume, "", nil)}, restores.Claim{}, false, "http://"},
		"being deleted": {[]client.Object{leaving}, restores.Claim{ClusterID: "c1", Leaving: true}, false, "http://"},
	} {
		o := backedUp().add(c.objects...).restore(t, aRestore(func(r *v1alpha1.EtcdRestore) { r.Status.Members = []string{"demo-0"} }))
		if o.Claims["demo-0"] != c.want || o.Render.Logs["demo-0"] != c.log || !strings.HasPrefix(o.Render.Reached["demo-0"], c.reached) {
			t.Errorf("%s: %+v, log %v, reached at %s", name, o.Claims["demo-0"], o.Render.Logs["demo-0"], o.Render.Reached["demo-0"])
		}
	}
}

// Whose a safety backup is, is on it: one of the name may be somebody else's.
func TestTheSafetyBackup(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha1.EtcdBackup)
		want   restores.Safety
	}{
		"complete": {func(*v1alpha1.EtcdBackup) {}, restores.Safety{Exists: true, Complete: true, Says: "it is there"}},
		"failed": {func(b *v1alpha1.EtcdBackup) {
			b.Status.Phase, b.Status.Conditions[0].Status = backups.PhaseFailed, metav1.ConditionFalse
		}, restores.Safety{Exists: true, Failed: true, Says: "it is there"}},
		"not ours":                   {func(b *v1alpha1.EtcdBackup) { b.Annotations = nil }, restores.Safety{Exists: true, Complete: true, Foreign: true, Says: "it is there"}},
		"that of an earlier restore": {func(b *v1alpha1.EtcdBackup) { b.Annotations[render.AnnotationSafetyFor] = "r0" }, restores.Safety{Exists: true, Complete: true, Foreign: true, Says: "it is there"}},
	} {
		safety := aGoodBackup()
		safety.Name, safety.Annotations = "undo-safety", map[string]string{render.AnnotationSafetyFor: "r1"}
		c.change(safety)
		c.want.Name = "undo-safety"
		if got := backedUp().add(safety).restore(t, aRestore()).Safety; got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Agents are known also when the cluster is gone: they are to be removed. What filled a volume says what it has; a Job of somebody else
// without the label of agents is found in the phase in which its name is needed.
func TestTheAgentsOfARestore(t *testing.T) {
	filled := ownJob("undo-fill-0", "EtcdRestore", "r1", batchv1.JobComplete)
	theirs := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo-fill-1", UID: "theirs"}}
	message := `{"filled":{"clusterID":"c2","content":{"revision":42,"keys":7,"digest":"d"}}}`
	restore := aRestore(func(r *v1alpha1.EtcdRestore) {
		r.Status.Phase, r.Status.Members = restores.Filling, []string{"demo-0", "demo-1"}
	})
	checked := ownJob("undo-check-0", "EtcdRestore", "r1", batchv1.JobComplete)
	ours := restores.Agent{Exists: true, Ended: true, Filled: &restores.Filled{ClusterID: "c2", Revision: 42, Keys: 7, Digest: "d"}}
	first, second := restores.AgentKey{Kind: restores.Fill}, restores.AgentKey{Kind: restores.Fill, Index: 1}
	for name, s := range map[string]*situation{"with the cluster": backedUp(), "without": newSituation()} {
		s.add(filled, podOf(filled, "a", 0, 0, message), theirs, checked, podOf(checked, "b", 0, 0, `{"checked":{"target":41}}`))
		o := s.restore(t, restore)
		if diff := cmp.Diff(map[restores.AgentKey]restores.Agent{
			first: ours, second: {Exists: true, Foreign: true}, {Kind: restores.Check}: {Exists: true, Ended: true, Checked: &restores.Checked{Target: 41}},
		}, o.Agents); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if o.Jobs[first] != filled.UID {
			t.Errorf("%s: the Jobs are %v", name, o.Jobs)
		}
	}
	restore.Status.Phase = restores.Starting
	if agents := backedUp().add(theirs).restore(t, restore).Agents; len(agents) > 0 {
		t.Errorf("%+v", agents)
	}
}

func TestReadsOfRestoresThatFail(t *testing.T) {
	broken := errors.New("broken")
	for name, fails := range map[string]func(any) bool{
		"reading EtcdCluster":      func(o any) bool { _, is := o.(*v1alpha1.EtcdCluster); return is },
		"reading EtcdBackup":       func(o any) bool { _, is := o.(*v1alpha1.EtcdBackup); return is },
		"reading claim":            func(o any) bool { _, is := o.(*corev1.PersistentVolumeClaim); return is },
		"reading Job":              func(o any) bool { _, is := o.(*batchv1.Job); return is },
		"listing the StatefulSets": func(o any) bool { _, is := o.(*appsv1.StatefulSetList); return is },
		"listing the pods":         func(o any) bool { _, is := o.(*corev1.PodList); return is },
	} {
		s := backedUp()
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
		restore := aRestore(func(r *v1alpha1.EtcdRestore) { r.Status.Members = []string{"demo-0"} })
		if _, err := s.observer(t).ObserveRestore(context.Background(), restore); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is reported is what is read again.
func TestRestoreStatusIsReadAsItIsWritten(t *testing.T) {
	at := now.Truncate(time.Second).UTC()
	report := restores.Report{
		ObservedGeneration: 3, Phase: restores.Completed, ClusterUID: "uid-1", Members: []string{"demo-0"}, EarlierID: "c1", ClusterID: "c2", SafetyBackup: "undo-safety",
		Target: 41, Revision: 42, Keys: 7, Digest: "d", Read: 7 << 20, Total: 9 << 20, StartedAt: at, StoppedAt: at, AvailableAt: at, CompletedAt: at,
		Condition: core.Condition{Type: restores.Complete, Status: core.True, Reason: restores.ReasonCompleted, Message: "all is there", Since: at},
	}
	restore := aRestore()
	restore.Status = observe.RestoreStatus(report)
	if diff := cmp.Diff(report, observe.RecordedRestore(restore)); diff != "" {
		t.Error(diff)
	}
}

// TestWhatIsHeldBack: what a restore rests on is as it has found it, and the condition says what waits and for whom, as the webhook does.
func TestWhatIsHeldBack(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *situation)
		says   string
	}{
		"nothing is asked for":               {func(*situation) {}, ""},
		"something that it does not rest on": {func(s *situation) { s.cluster.Spec.PodTemplate.Spec.PriorityClassName = "high" }, ""},
		"another size and version": {func(s *situation) {
			s.cluster.Spec.Size, s.cluster.Spec.Version = new(int32(1)), "3.7.3"
		}, "spec.size cannot be changed from 3 to 1, spec.version cannot be changed from 3.6.16 to 3.7.3: EtcdRestore undo into EtcdCluster demo is not over (Restored): set its spec.completion to Confirm or RollBack"},
		"users": {func(s *situation) { s.cluster.Spec.Security.Auth.Mode = v1alpha1.AuthEnabled },
			"spec.security.auth cannot be changed: EtcdRestore undo into EtcdCluster demo is not over (Restored): set its spec.completion to Confirm or RollBack"},
		"of one that is gone": {func(s *situation) {
			s.cluster.Spec.Size = new(int32(5))
			s.cluster.Annotations[render.AnnotationRestoreRestsOn] = strings.ReplaceAll(s.cluster.Annotations[render.AnnotationRestoreRestsOn], "undo", "gone")
		}, "spec.size cannot be changed from 3 to 5: EtcdRestore gone, which rests on it, is gone: if nothing is to be rolled back, remove metadata.annotations[etcd.etcd.io/restore-rests-on] from EtcdCluster demo"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			s.cluster.Spec.Size, s.cluster.Spec.Version, s.cluster.Annotations = new(int32(3)), "3.6.16", map[string]string{}
			if err := render.RestsOf("undo", &s.cluster.Spec).Note(s.cluster.Annotations); err != nil {
				t.Fatal(err)
			}
			restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo", UID: "uid-2"}}
			restore.Spec.ClusterRef.Name, restore.Status.Phase = "demo", restores.Restored
			s.add(restore)
			test.change(s)
			seen := s.observe(t)
			spec := seen.Cluster.Spec
			if spec.HeldBack.Message != test.says || spec.Size != 3 || spec.FinalVersion != "3.6.16" || spec.Rests == "" || seen.Render.WantsAuth() {
				t.Errorf("%q, size %d, version %s, rests %q", spec.HeldBack.Message, spec.Size, spec.FinalVersion, spec.Rests)
			}
		})
	}
	s := newSituation()
	s.cluster.Annotations = map[string]string{render.AnnotationRestoreRestsOn: "{"}
	if _, err := s.try(t); err == nil || !strings.Contains(err.Error(), "is not what the operator has written") {
		t.Errorf("what cannot be read: %v", err)
	}
}

// TestWhoMayChangeWhatARestoreRestsOn: the operator, and once the restore is over, or gone, everybody who takes it away.
func TestWhoMayChangeWhatARestoreRestsOn(t *testing.T) {
	for phase, allowed := range map[v1alpha1.RestorePhase]bool{restores.Restored: false, restores.Completed: true} {
		s := newSituation()
		restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "undo", UID: "uid-2"}}
		restore.Spec.ClusterRef.Name, restore.Status.Phase = "demo", phase
		s.add(restore)
		s.cluster.Annotations = map[string]string{}
		if err := render.RestsOf("undo", &s.cluster.Spec).Note(s.cluster.Annotations); err != nil {
			t.Fatal(err)
		}
		reader := s.client(t)
		o := observe.Observer{Cache: reader, Live: reader, Now: func() time.Time { return now }}
		taken, changed := s.cluster.DeepCopy(), s.cluster.DeepCopy()
		delete(taken.Annotations, render.AnnotationRestoreRestsOn)
		changed.Annotations[render.AnnotationRestoreRestsOn] = "{}"
		if refused := o.ReviewNotes(t.Context(), s.cluster, taken).Refused; (len(refused) == 0) != allowed {
			t.Errorf("in %s it is taken away: %v", phase, refused)
		}
		if refused := o.ReviewNotes(t.Context(), s.cluster, changed).Refused; len(refused) != 1 || !strings.Contains(refused[0].Message, "leave it as it is") {
			t.Errorf("in %s it is changed: %v", phase, refused)
		}
	}
}
