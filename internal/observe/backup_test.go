package observe_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// backedUp is a cluster that can be backed up to a volume, in a namespace that is there.
func backedUp() *situation {
	s := newSituation(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}},
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "backups"}},
	)
	s.cluster.Spec.Backup = &v1alpha1.BackupSpec{Store: v1alpha1.BackupStore{Volume: &v1alpha1.VolumeStore{ClaimName: "backups"}}}
	s.cluster.Status.ClusterID = "c1"
	s.cluster.Status.Members = []v1alpha1.MemberStatus{{Name: "demo-0", Role: core.RoleLeader, Healthy: true}}
	return s.add(s.cluster)
}

func aBackup(changes ...func(*v1alpha1.EtcdBackup)) *v1alpha1.EtcdBackup {
	backup := &v1alpha1.EtcdBackup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nightly", UID: "b1", Generation: 2}}
	backup.Spec.ClusterRef.Name = "demo"
	for _, change := range changes {
		change(backup)
	}
	return backup
}

// observer observes what there is. Without the label of agents, Jobs are in no cache.
func (s *situation) observer(t *testing.T) *observe.Observer {
	t.Helper()
	live := s.client(t)
	cached := interceptor.NewClient(live.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			err := c.Get(ctx, key, object, options...)
			if _, isJob := object.(*batchv1.Job); isJob && err == nil && object.GetLabels()[render.LabelAgentFor] == "" {
				return c.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: "none"}, object)
			}
			return err
		},
	})
	return &observe.Observer{
		Cache: cached, Live: live, Etcd: &s.etcd, Domain: "cluster.local", Agents: render.Agents{Image: "etcd-operator:1", Version: "1"}, Now: func() time.Time { return now },
	}
}

func (s *situation) backup(t *testing.T, backup *v1alpha1.EtcdBackup) observe.ObservedBackup {
	t.Helper()
	observed, err := s.observer(t).ObserveBackup(context.Background(), backup)
	if err != nil {
		t.Fatal(err)
	}
	return observed
}

// ownJob is the Job of an object, with what it has come to.
func ownJob(name, kind string, owner types.UID, ended ...batchv1.JobConditionType) *batchv1.Job {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, UID: types.UID("job-" + name), Labels: map[string]string{render.LabelAgentFor: "x"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "etcd.etcd.io/v1alpha1", Kind: kind, Name: "x", UID: owner, Controller: new(true)}},
	}}
	for _, c := range ended {
		condition := batchv1.JobCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now)}
		if c == batchv1.JobFailed {
			condition.Message = "too many failed"
		}
		job.Status.Conditions = append(job.Status.Conditions, condition)
	}
	return job
}

// podOf is a pod of a Job that has ended with a code and a message; still running with -1.
func podOf(job *batchv1.Job, name string, age time.Duration, code int32, message string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: job.Namespace, Name: name, CreationTimestamp: metav1.NewTime(now.Add(-age).Truncate(time.Second)),
		Labels: map[string]string{batchv1.JobNameLabel: job.Name, batchv1.ControllerUidLabel: string(job.UID)},
	}}
	if code >= 0 {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: render.AgentContainer, State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message, Reason: "Error"},
		}}}
	}
	return pod
}

func TestABackupIsObserved(t *testing.T) {
	o := backedUp().backup(t, aBackup(func(b *v1alpha1.EtcdBackup) { b.Finalizers = []string{render.Finalizer} }))
	want := backups.Observation{
		Now: now, Name: "nightly", Generation: 2, Held: true, Verify: true, Path: "default/demo/uid-1/nightly-b1",
		Agents: map[backups.Kind]backups.Agent{}, Recorded: backups.Report{},
	}
	if diff := cmp.Diff(want, o.Observation); diff != "" {
		t.Error(diff)
	}
}

// What is in the way of a backup is named with the field and what to do.
func TestWhatIsInTheWayOfABackup(t *testing.T) {
	s3 := func(b *v1alpha1.EtcdBackup) {
		b.Spec.Store = &v1alpha1.BackupStore{S3: &v1alpha1.S3Store{Bucket: "b", CredentialsSecret: &v1alpha1.SecretName{Name: "s3"}}}
	}
	for name, c := range map[string]struct {
		change  func(*situation, *v1alpha1.EtcdBackup)
		cluster string
		store   string
	}{
		"no cluster": {func(_ *situation, b *v1alpha1.EtcdBackup) { b.Spec.ClusterRef.Name = "other" },
			"EtcdCluster other, which spec.clusterRef names, does not exist in namespace default", "set spec.store here, or spec.backup.store of EtcdCluster other"},
		"a cluster that goes": {func(s *situation, _ *v1alpha1.EtcdBackup) {
			s.cluster.DeletionTimestamp, s.cluster.Finalizers = new(metav1.NewTime(now)), []string{"x"}
		}, "EtcdCluster demo is being deleted", ""},
		"a restore holds it": {func(s *situation, _ *v1alpha1.EtcdBackup) {
			s.cluster.Annotations = map[string]string{render.AnnotationRestore: "undo"}
		}, "EtcdRestore undo holds EtcdCluster demo: a backup is made as soon as a voter serves again", ""},
		"no quorum":      {func(s *situation, _ *v1alpha1.EtcdBackup) { s.cluster.Status.Members[0].Healthy = false }, "no voter of EtcdCluster demo serves", ""},
		"a learner only": {func(s *situation, _ *v1alpha1.EtcdBackup) { s.cluster.Status.Members[0].Role = core.RoleLearner }, "no voter of EtcdCluster demo serves", ""},
		"no store":       {func(s *situation, _ *v1alpha1.EtcdBackup) { s.cluster.Spec.Backup = nil }, "", "nothing says where the backup is to be kept"},
		"no credentials": {func(_ *situation, b *v1alpha1.EtcdBackup) { s3(b) }, "", "Secret s3, which store.s3.credentialsSecret names, does not exist"},
		"half credentials": {func(s *situation, b *v1alpha1.EtcdBackup) {
			s3(b)
			s.add(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s3"}, Data: map[string][]byte{"access-key-id": nil}})
		}, "", "Secret s3 has no key secret-access-key"},
		"no private key": {func(_ *situation, b *v1alpha1.EtcdBackup) {
			b.Spec.Encryption = &v1alpha1.BackupEncryption{IdentitySecret: &v1alpha1.SecretName{Name: "key"}}
		}, "", "Secret key, which encryption.identitySecret names, does not exist"},
		"no authority": {func(_ *situation, b *v1alpha1.EtcdBackup) {
			b.Spec.Store = &v1alpha1.BackupStore{Azure: &v1alpha1.AzureStore{Account: "a", Container: "c", CASecret: &v1alpha1.SecretName{Name: "ca"}}}
		}, "", "Secret ca, which store.azure.caSecret names, does not exist"},
		"no volume": {func(s *situation, _ *v1alpha1.EtcdBackup) {
			s.cluster.Spec.Backup.Store.Volume.ClaimName = "other"
		}, "", "PersistentVolumeClaim other, which store.volume.claimName names, does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			s, backup := backedUp(), aBackup()
			c.change(s, backup)
			o := s.backup(t, backup)
			for _, side := range [][2]string{{o.Cluster.Message, c.cluster}, {o.Store.Message, c.store}} {
				if side[1] == "" && side[0] != "" || !strings.Contains(side[0], side[1]) {
					t.Errorf("%q is in the way, expected is %q", side[0], side[1])
				}
			}
		})
	}
}

// What a Job has come to is read from its conditions and what its last pod has left.
func TestAgentsAreObserved(t *testing.T) {
	stored := `{"backup":{"revision":42,"keys":7,"hash":9,"version":"3.6.16"}}`
	job := ownJob("nightly-backup", "EtcdBackup", "b1")
	ended, failed := ownJob("nightly-backup", "EtcdBackup", "b1", batchv1.JobComplete), ownJob("nightly-backup", "EtcdBackup", "b1", batchv1.JobFailed)
	finished := podOf(job, "b", 0, 0, stored)
	finished.Status.Phase, finished.Status.ContainerStatuses[0].State.Terminated.FinishedAt = corev1.PodRunning, metav1.NewTime(now)
	waits := podOf(job, "a", 0, -1, "")
	waits.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: render.AgentContainer, Image: "etcd-operator:1", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"},
	}}}
	install := podOf(job, "a", 0, -1, "")
	install.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "program", State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "no room"},
	}}}
	foreign := ownJob("nightly-backup", "EtcdBackup", "b1")
	foreign.Labels, foreign.OwnerReferences = nil, nil
	for name, c := range map[string]struct {
		objects []client.Object
		want    backups.Agent
	}{
		"runs":             {[]client.Object{job, podOf(job, "a", 0, -1, "")}, backups.Agent{Exists: true}},
		"has no pod":       {[]client.Object{job}, backups.Agent{Exists: true}},
		"has no image":     {[]client.Object{job, waits}, backups.Agent{Exists: true, Trouble: "pod a: image etcd-operator:1 cannot be pulled: no such image"}},
		"is not installed": {[]client.Object{job, install}, backups.Agent{Exists: true, Trouble: "the last try failed, and there will be another: no room"}},
		"tries again": {[]client.Object{job, podOf(job, "a", time.Minute, 1, `{"problem":"the bucket is away"}`)},
			backups.Agent{Exists: true, Trouble: "the last try failed, and there will be another: the bucket is away"}},
		"has ended": {[]client.Object{ended, podOf(job, "b", 0, 0, stored), podOf(job, "a", time.Minute, 1, "{}")},
			backups.Agent{Exists: true, Ended: true, EndedAt: now, Stored: &backups.Stored{Revision: 42, Keys: 7, Hash: 9, Version: "3.6.16"}}},
		"has ended, its pod is gone": {[]client.Object{ended}, backups.Agent{Exists: true, Ended: true, EndedAt: now}},
		"has ended, and its Job does not say so yet": {[]client.Object{job, finished, podOf(job, "a", time.Minute, 1, "{}")},
			backups.Agent{Exists: true, Ended: true, EndedAt: now, Stored: &backups.Stored{Revision: 42, Keys: 7, Hash: 9, Version: "3.6.16"}}},
		"has ended, and there is another pod": {[]client.Object{job, podOf(job, "a", -time.Minute, -1, ""), finished},
			backups.Agent{Exists: true, Ended: true, EndedAt: now, Stored: &backups.Stored{Revision: 42, Keys: 7, Hash: 9, Version: "3.6.16"}}},
		"has failed": {[]client.Object{failed, podOf(job, "a", 0, 3, `{"problem":"it differs","differs":true}`)},
			backups.Agent{Exists: true, Ended: true, Failed: true, Differs: true, EndedAt: now, Trouble: "it differs"}},
		"has failed, its pod is gone": {[]client.Object{failed}, backups.Agent{Exists: true, Ended: true, Failed: true, EndedAt: now, Trouble: "too many failed"}},
		"was killed": {[]client.Object{failed, podOf(job, "a", 0, 137, "{}")},
			backups.Agent{Exists: true, Ended: true, Failed: true, EndedAt: now, Trouble: "the agent ended with exit code 137 (Error)"}},
		"of somebody else":          {[]client.Object{foreign}, backups.Agent{Exists: true, Foreign: true}},
		"of an earlier EtcdBackup":  {[]client.Object{ownJob("nightly-backup", "EtcdBackup", "b0")}, backups.Agent{Exists: true, Leaving: true}},
		"of another kind of object": {[]client.Object{ownJob("nightly-backup", "CronJob", "b0")}, backups.Agent{Exists: true, Foreign: true}},
	} {
		t.Run(name, func(t *testing.T) {
			got := backedUp().add(c.objects...).backup(t, aBackup()).Agents[backups.Backup]
			got.EndedAt = got.EndedAt.UTC()
			if c.want.EndedAt.Equal(now) {
				c.want.EndedAt = now.Truncate(time.Second) // as Kubernetes keeps it
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Somebody else's Job without the label of agents is in no cache. It is found when its name is needed, and not before.
func TestJobsOfSomebodyElse(t *testing.T) {
	somebodys := func(name string) *batchv1.Job {
		return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "theirs"}}
	}
	complete := func(b *v1alpha1.EtcdBackup) {
		b.Status.Conditions = []metav1.Condition{{Type: backups.Complete, Status: metav1.ConditionTrue}}
	}
	deleting := func(b *v1alpha1.EtcdBackup) { b.DeletionTimestamp = new(metav1.NewTime(now)) }
	adopted := func(b *v1alpha1.EtcdBackup) { b.Spec.Path = "a/b/c/d" }
	for name, c := range map[string]struct {
		backup *v1alpha1.EtcdBackup
		finds  backups.Kind
	}{
		"to be made":     {aBackup(), backups.Backup},
		"to be adopted":  {aBackup(adopted), backups.Inspect},
		"to be tried":    {aBackup(complete), backups.Verify},
		"to be deleted":  {aBackup(deleting), backups.Delete},
		"gone with data": {aBackup(complete, deleting), backups.Delete},
	} {
		s := backedUp()
		for _, kind := range backups.Kinds {
			s.add(somebodys(backups.JobName("nightly", kind)))
		}
		o := s.backup(t, c.backup)
		if want := map[backups.Kind]backups.Agent{c.finds: {Exists: true, Foreign: true}}; !cmp.Equal(want, o.Agents) {
			t.Errorf("%s: %+v", name, o.Agents)
		}
	}
}

func TestTheNamespaceOfABackup(t *testing.T) {
	s := backedUp()
	going := aBackup(func(b *v1alpha1.EtcdBackup) {
		b.DeletionTimestamp, b.Finalizers = new(metav1.NewTime(now)), []string{render.Finalizer}
	})
	if s.backup(t, going).NamespaceEnds {
		t.Error("the namespace is there")
	}
	namespace := s.objects[0].(*corev1.Namespace)
	namespace.DeletionTimestamp, namespace.Finalizers = going.DeletionTimestamp, []string{"x"}
	if !s.backup(t, going).NamespaceEnds {
		t.Error("the namespace is being deleted")
	}
}

// Reads that fail end the round: nothing is decided from what is not known.
func TestReadsOfBackupsThatFail(t *testing.T) {
	broken := errors.New("broken")
	for name, fails := range map[string]func(client.Object) bool{
		"EtcdCluster": func(o client.Object) bool { _, is := o.(*v1alpha1.EtcdCluster); return is },
		"Job":         func(o client.Object) bool { _, is := o.(*batchv1.Job); return is },
		"namespace":   func(o client.Object) bool { _, is := o.(*corev1.Namespace); return is },
	} {
		s := backedUp()
		s.fail.Get = func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if fails(object) {
				return broken
			}
			return c.Get(ctx, key, object, options...)
		}
		backup := aBackup(func(b *v1alpha1.EtcdBackup) {
			b.DeletionTimestamp, b.Finalizers = new(metav1.NewTime(now)), []string{render.Finalizer}
		})
		if _, err := s.observer(t).ObserveBackup(context.Background(), backup); !errors.Is(err, broken) || !strings.Contains(err.Error(), "reading "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, list := range map[string]client.ObjectList{"looking for Job": &batchv1.JobList{}, "listing the pods": &corev1.PodList{}} {
		s := backedUp().add(ownJob("nightly-verify", "EtcdBackup", "b1"))
		s.fail.List = func(ctx context.Context, c client.WithWatch, into client.ObjectList, options ...client.ListOption) error {
			if cmp.Equal(into, list) {
				return broken
			}
			return c.List(ctx, into, options...)
		}
		if _, err := s.observer(t).ObserveBackup(context.Background(), aBackup()); !errors.Is(err, broken) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is reported is what is read again.
func TestBackupStatusIsReadAsItIsWritten(t *testing.T) {
	at := now.Truncate(time.Second).UTC()
	report := backups.Report{
		ObservedGeneration: 2, Phase: backups.PhaseCompleted, Path: "default/demo/uid-1/nightly-b1", StartedAt: at, VerifiedAt: at, Took: 1500 * time.Millisecond,
		Conditions: []core.Condition{
			{Type: backups.Complete, Status: core.True, Reason: backups.ReasonStored, Message: "it is there", Since: at},
			{Type: backups.Verified, Status: core.Unknown, Reason: backups.ReasonRunning, Message: "not yet", Since: at},
		},
		Stored: &backups.Stored{Ended: at, Member: "demo-0", Version: "3.6.16", ClusterID: "c1", Revision: 42, Keys: 7, Hash: 1 << 31, Size: 3 << 20, StoredSize: 1 << 20, Recipients: []string{"age1"}},
	}
	backup := aBackup(func(b *v1alpha1.EtcdBackup) {
		b.Spec.Encryption = &v1alpha1.BackupEncryption{IdentitySecret: &v1alpha1.SecretName{Name: "key"}}
	})
	o := backedUp().backup(t, backup)
	backup.Status = observe.BackupStatus(o.Render, report)
	if backup.Status.Store == nil || backup.Status.Encryption.IdentitySecret.Name != "key" {
		t.Errorf("%+v", backup.Status)
	}
	if diff := cmp.Diff(report, observe.RecordedBackup(backup)); diff != "" {
		t.Error(diff)
	}
}
