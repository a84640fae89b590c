//go:build integration

package operator

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// continuous has all changes stored, every second.
func continuous(store v1alpha1.BackupStore) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Backup = &v1alpha1.BackupSpec{Store: store, Continuous: &v1alpha1.ContinuousBackup{FlushInterval: metav1.Duration{Duration: time.Second}}}
	}
}

// archiver is the Deployment of the archiver; nil if there is none.
func (s *scene) archiver() *appsv1.Deployment {
	s.Helper()
	live := &appsv1.Deployment{}
	err := env.Client.Get(s.Context(), client.ObjectKey{Namespace: s.namespace, Name: "demo-archiver"}, live)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		s.Fatal(err)
	}
	return live
}

// keepsUp waits until a pod of the archiver is ready, as it is to be by now.
func (s *scene) keepsUp() {
	s.Helper()
	s.eventually("the archiver keeps up", patience, func() error {
		live := s.archiver()
		if live == nil || live.Status.ReadyReplicas != 1 || live.Status.UpdatedReplicas != 1 || live.Status.ObservedGeneration != live.Generation {
			return fmt.Errorf("it is %+v", live)
		}
		return nil
	})
}

// archives waits until an operator of the test's own process says so, too.
func (s *scene) archives() {
	s.Helper()
	s.keepsUp()
	s.eventually("the operator sees that", patience, func() error {
		if ready := s.metric("etcd_operator_cluster_archiver_ready"); ready != 1 {
			return fmt.Errorf("the metric says %v", ready)
		}
		return nil
	})
}

// archivesNoMore turns the archiver off.
func (s *scene) archivesNoMore() {
	s.Helper()
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup.Continuous = nil })
	s.eventually("the archiver is gone", patience, func() error {
		if live := s.archiver(); live != nil {
			return fmt.Errorf("it is %+v", live.Status)
		}
		return nil
	})
}

// archiveOf is the cluster as it is called in the store, which is opened from outside.
func (s *scene) archiveOf(at v1alpha1.BackupStore) (store.Store, backup.Cluster) {
	s.Helper()
	claim := &corev1.PersistentVolumeClaim{}
	s.get(at.Volume.ClaimName, claim)
	opened, err := store.NewVolume(filepath.Join(env.VolumeFolder(claim), string(at.Volume.Path)))
	if err != nil {
		s.Fatal(err)
	}
	return opened, backup.Cluster{Namespace: s.namespace, Name: "demo", UID: string(s.cluster().UID)}
}

// archived waits until a revision is on the store, and is how it is recovered.
func (s *scene) archived(from store.Store, c backup.Cluster, revision int64) (plan archive.Recovery) {
	s.Helper()
	s.eventually(fmt.Sprintf("revision %d is archived", revision), patience, func() (err error) {
		plan, err = archive.Plan(s.Context(), from, c, archive.Target{Revision: revision})
		return err
	})
	return plan
}

// recovers brings a revision back from the store, and compares it with what the cluster had at it.
func (s *scene) recovers(from store.Store, plan archive.Recovery) {
	s.Helper()
	want, err := backup.DigestCluster(s.Context(), s.connect(), plan.Target.Revision)
	if err != nil {
		s.Fatal(err)
	}
	programs, err := filepath.Abs("../../../build/bin/etcd-3.6")
	if err != nil {
		s.Fatal(err)
	}
	target := backup.Target{
		Restore: "r", Token: "t", Data: filepath.Join(s.TempDir(), "data"), Member: "demo-0", Etcdutl: programs + "/etcdutl",
		InitialCluster: map[string][]string{"demo-0": {"http://127.0.0.1:1"}},
		Prepare: func(ctx context.Context, snapshot string) error {
			_, err := archive.Replay(ctx, from, plan, "", snapshot)
			return err
		},
	}
	if err := errors.Join(backup.Fill(s.Context(), from, plan.Base, "", target), backup.Swap(s.Context(), target)); err != nil {
		s.Fatal(err)
	}
	if got, err := backup.DigestFile(target.Data); err != nil || got != want {
		s.Errorf("recovered is %+v, and the cluster had %+v: %v", got, want, err)
	}
}

// revision is the cluster's.
func (s *scene) revision() int64 {
	s.Helper()
	now, err := s.connect().Get(s.Context(), "x")
	if err != nil {
		s.Fatal(err)
	}
	return now.Header.Revision
}

// All changes are stored, also those of a time without a leader or without an archiver, and each revision can be recovered.
func TestArchiver(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	if _, err := buildOperator(); err != nil {
		t.Fatal(err)
	}
	at := s.store()
	s.create(s.demo(3, byDefault, continuous(at)))
	s.settled()
	s.archives()
	s.tells("ArchiverFollows")
	s.says("Archived", "ArchiverFollows", "every ")
	from, c := s.archiveOf(at)
	w := s.write()
	written := func(more int64) {
		want := w.count.Load() + more
		s.eventually("there are writes", patience, func() error {
			if has := w.count.Load(); has < want {
				return fmt.Errorf("there are %d, and not %d", has, want)
			}
			return nil
		})
	}
	written(20)
	first := s.revision()
	if err := env.KillMember(s.namespace, s.cluster().Status.Leader+"-0", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	written(20)
	var pods corev1.PodList
	if err := env.Client.List(t.Context(), &pods, client.InNamespace(s.namespace), client.MatchingLabels(s.archiver().Spec.Selector.MatchLabels)); err != nil || len(pods.Items) != 1 {
		t.Fatalf("there are the pods %v: %v", pods.Items, err)
	}
	pod := &pods.Items[0]
	if err := env.KillMember(s.namespace, pod.Name, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.eventually("it has ended well, and runs again", patience, func() error {
		s.get(pod.Name, pod)
		status := pod.Status.ContainerStatuses[0]
		if ended := status.LastTerminationState.Terminated; ended == nil || ended.ExitCode != 0 || !status.Ready {
			return fmt.Errorf("it is %+v", status)
		}
		return nil
	})
	written(20)
	s.delete(pod)
	s.gone(pod)
	s.archives()
	s.settled()
	w.finish()
	last := s.revision()
	plan := s.archived(from, c, last)
	if bases, err := archive.Bases(t.Context(), from, c); err != nil || len(bases) != 1 || plan.Base.Name != bases[0] {
		t.Errorf("the archive was not continued: there are the bases %v: %v", bases, err)
	}
	s.recovers(from, plan)
	s.recovers(from, s.archived(from, c, first))

	if live := s.archiver(); live.Generation != 1 {
		t.Errorf("the Deployment was changed %d times", live.Generation-1)
	}
	s.archivesNoMore()
	s.eventually("the operator says nothing of it", patience, func() error {
		if _, count := s.series("etcd_operator_cluster_archiver_ready"); count != 0 {
			return errors.New("there is the metric still")
		}
		if meta.FindStatusCondition(s.cluster().Status.Conditions, "Archived") != nil {
			return errors.New("there is the condition still")
		}
		return nil
	})
}

// What a restore has made of a cluster is another history: it does not continue what was archived before, which stays.
func TestArchiverAfterARestore(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	if _, err := buildOperator(); err != nil {
		t.Fatal(err)
	}
	at := s.store()
	s.running(1, continuous(at))
	s.archives()
	from, c := s.archiveOf(at)
	s.put("key", "before")
	s.backup("good")
	s.becomes("good", "Completed", "Complete", metav1.ConditionTrue)
	s.put("key", "after")
	late := s.revision()
	before := s.archived(from, c, late)
	s.restore("undo", "good", func(spec *v1alpha1.EtcdRestoreSpec) { spec.SafetyBackup = v1alpha1.SafetySkip })
	s.restoreIs("undo", "Completed")
	s.settled()
	s.archives()
	s.put("another", "life")
	now := s.archived(from, c, s.revision())
	if now.History == before.History || now.Base.Cluster.EtcdID == before.Base.Cluster.EtcdID || now.Base.Cluster.EtcdID != s.cluster().Status.ClusterID {
		t.Errorf("the history %s of %s was continued by %s of %s", before.History, before.Base.Cluster.EtcdID, now.History, now.Base.Cluster.EtcdID)
	}
	s.recovers(from, now)
	if again := s.archived(from, c, late); again.History != before.History {
		t.Errorf("revision %d is that of the history %s, and was %s", late, again.History, before.History)
	}
}
