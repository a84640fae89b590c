//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

func inNamespace(name string) client.ListOption { return client.InNamespace(name) }

func TestLifeLostVolume(t *testing.T) {
	t.Parallel()
	for name, leads := range map[string]bool{"of the leader": true, "of a follower": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := beginLife(t, 3, nil)
			member, id := l.member(leads)
			l.LoseVolume(member)
			l.WaitReplaced("demo", l.workload.Client(), member, id, 4*patience)
			l.finish(3)
		})
	}
}

func TestLifeCorruptLog(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, nil)
	l.RequireLocal("corrupting a disk")
	member, id := l.member(false)
	if err := live.CorruptLog(l.DataFolder(member)); err != nil {
		t.Fatal(err)
	}
	l.restart(member)
	l.WaitReplaced("demo", l.workload.Client(), member, id, 4*patience)
	l.finish(3)
}

// A value that changes on one disk is found when the member starts (InitialCorruptCheck), or by the leader after a
// compaction (CompactHashCheck), which raises the alarm CORRUPT; until that is disarmed etcd refuses all requests.
func TestLifeCorruptDatabase(t *testing.T) {
	t.Parallel()
	for name, found := range map[string]func(*life, string){
		"found at a start":         func(l *life, member string) { l.restart(member) },
		"found after a compaction": (*life).compactUntilFound,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := beginLife(t, 3, func(s *v1alpha1.EtcdClusterSpec) {
				s.Config = map[string]v1alpha1.ConfigValue{"compact-hash-check-time": "5s"}
			})
			l.RequireLocal("corrupting a disk")
			member, id := l.member(false)
			l.Put("demo", member+"-0", "marker", "value-that-is-right")
			l.leaveBehind("marker", 1000)
			l.Eventually("the value is on the disk", patience, func(context.Context) error {
				return live.CorruptDatabase(l.DataFolder(member), "value-that-is-right", "value-that-is-wrong")
			})
			found(l, member)
			l.WaitReplaced("demo", l.workload.Client(), member, id, 4*patience)
			l.finish(3)
			l.WantValue("demo", l.anyPod(), "marker", "value-that-is-right")
			l.wantNoAlarm()
		})
	}
}

// leaveBehind waits for so many writes after that of a key. The page with the latest ones is written anew with each of them, with
// what is right in it.
func (l *life) leaveBehind(key string, writes int64) {
	l.T.Helper()
	l.Eventually("other keys have been written", patience, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		found, err := l.workload.Client().Get(ctx, key)
		if err != nil {
			return err
		}
		if since := found.Header.Revision - found.Kvs[0].ModRevision; since < writes {
			return fmt.Errorf("there were %d", since)
		}
		return nil
	})
}

// compactUntilFound compacts until the leader has noticed. The page of the value may be written anew between two looks at the
// disk, with what is right in it, so that it is made wrong again, too.
func (l *life) compactUntilFound(member string) {
	l.T.Helper()
	l.Eventually("the leader finds the difference", 4*patience, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		now, err := l.workload.Client().Get(ctx, "marker")
		if errors.Is(err, rpctypes.ErrCorrupt) {
			return nil
		}
		if err != nil {
			return err
		}
		// Not there to be changed: then it is wrong already, or the member is being replaced.
		_ = live.CorruptDatabase(l.DataFolder(member), "value-that-is-right", "value-that-is-wrong")
		if _, err := l.workload.Client().Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(7 * time.Second):
		}
		alarms, err := l.workload.Client().AlarmList(ctx)
		if err == nil && len(alarms.Alarms) == 0 && slices.Contains(l.memberNames(), member) {
			err = errors.New("no alarm is raised yet")
		}
		return err
	})
}

// memberNames are the members in etcd's list.
func (l *life) memberNames() []string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := l.workload.Client().MemberList(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, m := range list.Members {
		names = append(names, m.Name)
	}
	return names
}

func (l *life) wantNoAlarm() {
	l.T.Helper()
	l.Eventually("no alarm is raised", patience, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		alarms, err := l.workload.Client().AlarmList(ctx)
		if err == nil && len(alarms.Alarms) > 0 {
			err = fmt.Errorf("there are %v", alarms.Alarms)
		}
		return err
	})
}

func (l *life) anyPod() string {
	l.T.Helper()
	for name := range l.Pods("demo") {
		return name
	}
	l.T.Fatal("there is no pod")
	return ""
}

// restart deletes the pod of a member.
func (l *life) restart(member string) {
	l.T.Helper()
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = l.Namespace, member+"-0"
	l.MustDelete(pod)
}

// No test runs beside one that takes a node away.
func TestLifeDeadNode(t *testing.T) {
	l := beginLife(t, 3, nil)
	l.RequireLocal("stopping a node")
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) {
		s.Healing.MemberUnhealthyAfter = metav1.Duration{Duration: 30 * time.Second}
	})
	l.settled(3)
	member, node := l.MemberAwayFromOperator("demo")
	id := l.MustMembers(l.workload.Client())[member]
	mend := l.FailNode("stop", node)
	l.WaitReplaced("demo", l.workload.Client(), member, id, 6*patience)
	mend()
	l.finish(3)
}

// The leader's node is cut off for a moment, shorter than what makes a member be given up: nothing is replaced.
func TestLifeLeaderCutOffForAMoment(t *testing.T) {
	l := beginLife(t, 3, nil)
	l.RequireLocal("cutting off a node")
	leader, node := l.MemberAwayFromOperator("demo")
	l.MoveLeader(l.workload.Client(), leader)
	mend := l.FailNode("disconnect", node)
	l.Eventually("another member leads", patience, func(ctx context.Context) error {
		now, err := l.GetCluster(ctx, "demo")
		if err == nil && (now.Status.Leader == "" || now.Status.Leader == leader) {
			err = fmt.Errorf("%q leads", now.Status.Leader)
		}
		return err
	})
	mend()
	l.finish(3)
	if len(l.ids) != 3 {
		t.Errorf("members were %v, want the same three", l.ids)
	}
}
