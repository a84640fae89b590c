//go:build integration

package operator

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// The tests of this file are bugs that other operators had when a write failed, or they ended after it.

// only counts the writes of one kind, by a part of what they are told as.
func only(part string) func(what string) (skip bool) {
	return func(what string) bool { return !strings.Contains(what, part) }
}

// strikes waits until an operator has met its end, and stops what is left of it.
func (s *scene) strikes(o *operator, w *writes) {
	s.Helper()
	select {
	case <-w.died:
	case <-time.After(patience):
		s.Fatalf("the operator did not come to the write that was to end it, but to %q", w.all())
	}
	o.stop()
}

// TestBugGhostMember: coreos/etcd-operator#2148. Every MemberAdd is made, and is said to have timed out: each new member is found by
// its peer URL, and none is added twice or left over.
func TestBugGhostMember(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	l := s.inhabit(1)
	o.stop()
	var added atomic.Int64
	w := &writes{skip: only("add http"), after: func(int) error {
		added.Add(1)
		return refusals["service unavailable"]
	}}
	s.operateWith(operatorOptions{writes: w})
	s.change(size(3))
	if names := l.finish(); !slices.Equal(names, []string{"demo-0", "demo-1", "demo-2"}) {
		t.Errorf("the members are %v", names)
	}
	if added.Load() != 2 {
		t.Errorf("%d members were added, expected are 2: %q", added.Load(), w.all())
	}
}

// TestBugHalfDoneResize: rabbitmq/cluster-operator#782. The new size of the volumes is written down, and the operator ends when one
// of them has been told: the others grow all the same.
func TestBugHalfDoneResize(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	h := s.follow()
	o := s.operate()
	l := s.inhabit(3)
	o.stop()
	w := crash(1, true)
	w.skip = only("PersistentVolumeClaim")
	w.before = func(n int) error {
		if n > 1 { // they are written at once
			<-w.died
			return errDead
		}
		return nil
	}
	first := s.operateWith(operatorOptions{writes: w})
	s.change(volumeSize("2Gi"))
	s.strikes(first, w)
	want := resource.MustParse("2Gi")
	behind := 0
	for _, claim := range s.claims() {
		if has := claim.Spec.Resources.Requests[corev1.ResourceStorage]; has.Cmp(want) != 0 {
			behind++
		}
	}
	if behind != 2 {
		t.Fatalf("%d of 3 claims ask for the old size: the resize was not cut off after the first", behind)
	}
	s.operate()
	s.eventually("all volumes have grown", patience, func() error {
		for _, claim := range s.claims() {
			if has := claim.Status.Capacity[corev1.ResourceStorage]; has.Cmp(want) != 0 {
				return fmt.Errorf("claim %s has %s", claim.Name, &has)
			}
		}
		return nil
	})
	l.finish()
	if err := h.once(); err != nil {
		t.Error(err)
	}
}

// TestBugConflictLeavesMembersBehind: Altinity/clickhouse-operator#1990. Of the writes that stop the members every other one meets a
// conflict, and of those that wake them: none is left as it was.
func TestBugConflictLeavesMembersBehind(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	l := s.inhabit(3)
	o.stop()
	before := s.cluster().Status.Members
	var conflicts atomic.Int64
	w := &writes{skip: only("StatefulSet"), before: func(n int) error {
		if n%2 == 0 {
			return nil
		}
		conflicts.Add(1)
		return refusals["conflict"]
	}}
	s.operateWith(operatorOptions{writes: w})
	s.change(size(0))
	s.eventually("the cluster hibernates", patience, func() error {
		if cluster := s.cluster(); cluster.Status.Phase != "Hibernated" || len(s.pods()) > 0 {
			return fmt.Errorf("phase %s, %d pods: %s", cluster.Status.Phase, len(s.pods()), summary(cluster))
		}
		return nil
	})
	if conflicts.Load() == 0 {
		t.Error("there was no conflict")
	}
	s.change(size(3))
	l.finish()
	for i, m := range s.cluster().Status.Members {
		if m.ID != before[i].ID {
			t.Errorf("member %s was %s and is %s", m.Name, before[i].ID, m.ID)
		}
	}
}

// TestBugOldSettingsAfterACrash: casskop#370, nifikop#49. The operator ends before each step of a change of the settings: etcd has the
// new ones all the same.
func TestBugOldSettingsAfterACrash(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	s.running(1)
	s.sealed()
	o.stop()
	crashes := 0
	for n, died := 1, true; died; n++ {
		before := s.pods()
		w := crash(n, false)
		w.skip = isReport
		first := s.operateWith(operatorOptions{writes: w})
		s.change(settings(fmt.Sprint(100 + n)))
		if died = s.diesOrSettles(w); died {
			crashes++
		}
		first.stop()
		second := s.operate()
		s.rolled(before)
		s.checkTransactionLimit(100 + n)
		second.stop()
	}
	if crashes < 3 {
		t.Errorf("there were %d steps; settings are written, handed out, and the member restarts", crashes)
	}
	s.checkOneCluster()
}

// TestBugMissedDeletion: Orange cassandra-operator#398. Nobody sees how the pod of a removed member stops: its claim goes later, and
// the next member has another name and disk.
func TestBugMissedDeletion(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	o := s.operate()
	l := s.inhabit(3)
	o.stop()
	w := crash(1, true)
	w.skip = only("delete *v1.StatefulSet")
	first := s.operateWith(operatorOptions{writes: w})
	s.change(size(1))
	s.strikes(first, w)
	claim := s.retired()
	victim := claim.Labels[render.LabelMember]
	s.gone(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: render.PodName(victim)}})
	s.get(claim.Name, claim)
	s.change(size(3))
	s.operate()
	s.gone(claim)
	if names := l.finish(); slices.Contains(names, victim) || !slices.Contains(names, "demo-3") {
		t.Errorf("%s was removed, and the members are %v", victim, names)
	}
}

// retired is the claim of a removed member.
func (s *scene) retired() *corev1.PersistentVolumeClaim {
	s.Helper()
	claims := slices.DeleteFunc(s.claims(), func(c corev1.PersistentVolumeClaim) bool { return c.Annotations[render.AnnotationRemoved] == "" })
	if len(claims) != 1 {
		s.Fatalf("there are %d claims of removed members", len(claims))
	}
	return &claims[0]
}
