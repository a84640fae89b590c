//go:build integration

package operator

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/drills"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// drillIs waits until a drill has ended, and the condition says all the words.
func (s *scene) drillIs(outcome v1alpha1.DrillOutcome, words ...string) *v1alpha1.BackupStatus {
	s.Helper()
	var status *v1alpha1.BackupStatus
	s.eventually(fmt.Sprintf("the drill has %s", outcome), longPatience, func() error {
		cluster := s.cluster()
		said := meta.FindStatusCondition(cluster.Status.Conditions, drills.Drilled)
		status = cluster.Status.Backup
		if status == nil || status.Drill == nil || said == nil || status.Drill.Outcome != outcome {
			return fmt.Errorf("it is %+v, %+v", status, said)
		}
		for _, word := range words {
			if !strings.Contains(said.Message, word) {
				return fmt.Errorf("%q lacks %q", said.Message, word)
			}
		}
		return nil
	})
	return status
}

// noDrill waits until nothing is left of a drill.
func (s *scene) noDrill() {
	s.Helper()
	s.eventually("nothing is left of the drill", patience, func() error {
		for _, object := range []client.Object{&v1alpha1.EtcdCluster{}, &v1alpha1.EtcdRestore{}} {
			name := map[bool]string{true: "demo-drill", false: "demo-drill-bootstrap"}[fmt.Sprintf("%T", object) == "*v1alpha1.EtcdCluster"]
			if err := env.Client.Get(s.Context(), s.key(name), object); !apierrors.IsNotFound(err) {
				return fmt.Errorf("there is %s: %w", name, err)
			}
		}
		for _, list := range []client.ObjectList{&corev1.PersistentVolumeClaimList{}, &corev1.PodList{}} {
			if err := env.Client.List(s.Context(), list, client.InNamespace(s.namespace), client.MatchingLabels{render.LabelCluster: "demo-drill"}); err != nil {
				return err
			}
			if left := meta.LenList(list); left > 0 {
				return fmt.Errorf("there are %d of %T", left, list)
			}
		}
		return nil
	})
}

// A backup is restored into a cluster of its own when that is due, with all that was archived since, and the cluster goes when it serves all
// of that. What fails is told, and goes as well.
func TestDrills(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var hours atomic.Int64
	s.operateWith(operatorOptions{now: func() time.Time { return time.Now().Add(time.Duration(hours.Load()) * time.Hour) }})
	store := s.store()
	s.create(s.demo(1, continuous(store), func(spec *v1alpha1.EtcdClusterSpec) {
		spec.PodTemplate.Metadata.Labels = map[string]v1alpha1.LabelValue{"app": "store"}
	}))
	s.settled()
	s.keepsUp()
	for i := range 20 {
		s.put(fmt.Sprint("key-", i), "value")
	}
	s.backup("newest")
	s.becomes("newest", "Completed", "Complete", metav1.ConditionTrue)
	s.put("since", "value")
	last := s.revision()
	from, archived := s.archiveOf(store)
	s.archived(from, archived, last)

	hours.Store(1)
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { // The clock of the API server is another one.
		spec.Backup.Drill = &v1alpha1.BackupDrill{Schedule: "@hourly"}
	})
	drill := &v1alpha1.EtcdCluster{}
	s.eventually("the drill has begun", patience, func() error { return env.Client.Get(t.Context(), s.key("demo-drill"), drill) })
	if b := drill.Spec.Bootstrap; b == nil || b.BackupRef.Name != "newest" || !b.Latest || *drill.Spec.Size != 1 || len(drill.Spec.PodTemplate.Metadata.Labels) > 0 {
		t.Errorf("its spec is %+v", drill.Spec)
	}
	s.eventually("its Service leads to nobody", patience, func() error {
		service := &corev1.Service{}
		if err := env.Client.Get(t.Context(), s.key("demo-drill-client"), service); err != nil {
			return err
		}
		if service.Spec.Selector[render.LabelDrillOf] != "nobody" {
			return fmt.Errorf("it leads to %v", service.Spec.Selector)
		}
		return nil
	})
	done := s.drillIs(v1alpha1.DrillOutcome(drills.Succeeded), "EtcdBackup newest", "21 keys", fmt.Sprintf("at revision %d", last))
	if done.DrillSucceededAt == nil || done.DrillTook == nil || done.DrillTook.Duration <= 0 || done.Drill.Backup != "newest" || done.DrillRevision != last {
		t.Errorf("it says %+v", done)
	}
	s.noDrill()
	s.tells("DrillBegun")
	s.tells("DrillSucceeded")
	s.eventually("it is measured", patience, func() error {
		took, failing := s.metric("etcd_operator_drill_last_success_seconds"), s.metric("etcd_operator_drill_failing")
		if took != done.DrillTook.Seconds() || failing != 0 {
			return fmt.Errorf("it took %v, and failing is %v", took, failing)
		}
		return nil
	})
	s.settled()
	s.holds("since", "value")

	// The next one is not in the way of a cluster that is another's, nor of its volumes, and waits while this one is paused.
	foreign := s.demo(0)
	foreign.Name = "demo-drill"
	s.create(foreign)
	hours.Store(2)
	pause := func(value bool) { s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = value }) }
	waits := func(word string) {
		t.Helper()
		s.eventually("the drill waits", patience, func() error {
			if status := s.cluster().Status.Backup; !strings.Contains(status.DrillWaitsFor, word) {
				return fmt.Errorf("it waits for %q, and not for %s", status.DrillWaitsFor, word)
			}
			return nil
		})
	}
	pause(true)
	waits("EtcdCluster demo-drill exists and is no drill of this cluster")
	s.get("demo-drill", foreign)
	if render.IsDrill(foreign) || *foreign.Spec.Size != 0 {
		t.Errorf("it was touched: %+v", foreign)
	}
	s.delete(foreign)
	s.gone(foreign)
	s.annotate("look", "again")
	waits("spec.paused is true")

	// What cannot be restored is a failure.
	backup := &v1alpha1.EtcdBackup{}
	s.get("newest", backup)
	if err := from.Delete(t.Context(), backup.Status.Path+"/manifest.json"); err != nil {
		t.Fatal(err)
	}
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup.Continuous = nil })
	pause(false)
	failed := s.drillIs(v1alpha1.DrillOutcome(drills.Failed), "EtcdBackup newest could not be restored", "without its manifest it is no backup")
	if failed.DrillSucceededAt == nil || failed.DrillRevision != last {
		t.Errorf("it says %+v", failed)
	}
	s.noDrill()
	s.tells("DrillFailed")
	s.eventually("the failure is measured", patience, func() error {
		if failing := s.metric("etcd_operator_drill_failing"); failing != 1 {
			return fmt.Errorf("failing is %v", failing)
		}
		return nil
	})

	// Nothing is told of drills that nobody wants.
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup.Drill = nil })
	s.eventually("nothing is told of them", patience, func() error {
		status := s.cluster().Status
		if status.Backup != nil || meta.FindStatusCondition(status.Conditions, drills.Drilled) != nil {
			return fmt.Errorf("it says %+v", status)
		}
		if _, of := s.series("etcd_operator_drill_failing"); of > 0 {
			return errors.New("there is the metric still")
		}
		return nil
	})
	s.settled()
}
