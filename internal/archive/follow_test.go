package archive_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
)

// writing puts keys, and now and then does other things, until it is stopped.
func (m *member) writing(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("busy-%d-%d", w, n%50)
				if n%7 == 6 {
					_, _ = m.Delete(ctx, key)
					continue
				}
				_, _ = m.Put(ctx, key, strings.Repeat("x", n%1000))
				select {
				case <-time.After(time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	stop = func() {
		cancel()
		writers.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// historiesOf are the names of the histories on the store.
func historiesOf(t testing.TB, s store.Store) map[string]int {
	t.Helper()
	objects, err := s.List(t.Context(), "default/demo/1b4e28ba/archive/")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for _, o := range objects {
		names[strings.Split(o.Name, "/")[4]]++
	}
	return names
}

// An archiver that is killed at any time leaves nothing that the next one could not go on from.
func TestKilledArchivers(t *testing.T) {
	s, folder := volume(t)
	m := newMember(t, "3.6")
	first, stop := follow(t, m.Client, s, m.options(s))
	if _, err := m.Put(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	m.archived(t, first)
	stop()
	stopWriting := m.writing(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		archiver := helper{folder, m.Endpoint}.start(t)
		time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond)
		_ = archiver.Process.Kill()
		_ = archiver.Wait()
	}
	last, stop := follow(t, m.Client, s, m.options(s))
	until(t, last, "it has begun", func(s archive.Status) bool { return s.Revision > 0 })
	stopWriting()
	m.archived(t, last)
	stop()
	if all := historiesOf(t, s); len(all) != 1 {
		t.Errorf("there is more than one history: %v", all)
	}
	want := m.state(t)
	recovered, _ := m.recovered(t, s, "3.6", archive.Target{}, "")
	recovered.same(t, want)
}

// Two archivers say the same twice.
func TestTwoArchivers(t *testing.T) {
	s, _ := volume(t)
	m := newMember(t, "3.6")
	one, stopOne := follow(t, m.Client, s, m.options(s))
	if _, err := m.Put(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	m.archived(t, one)
	two, stopTwo := follow(t, m.Client, s, m.options(s))
	stopWriting := m.writing(t)
	time.Sleep(time.Second)
	stopWriting()
	m.archived(t, one)
	m.archived(t, two)
	stopOne()
	stopTwo()
	if a, b := one.Status(), two.Status(); a.History != b.History || a.Broken != nil || b.Broken != nil || a.Segments < 5 || b.Segments < 5 {
		t.Errorf("they are at %+v and %+v", a, b)
	}
	want := m.state(t)
	for _, target := range []archive.Target{{}, {Revision: want.Revision}} {
		recovered, _ := m.recovered(t, s, "3.6", target, "")
		recovered.same(t, want)
	}
}

// A member that restarts is waited for, and followed where it was left.
func TestAMemberThatRestarts(t *testing.T) {
	s, _ := volume(t)
	m := newMember(t, "3.6")
	a, stop := follow(t, m.Client, s, m.options(s))
	if _, err := m.Put(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	m.archived(t, a)
	for range 3 {
		stopWriting := m.writing(t)
		time.Sleep(300 * time.Millisecond)
		m.Kill()
		until(t, a, "it says that the cluster does not answer", func(s archive.Status) bool { return s.Err != nil })
		m.Start(t)
		m.Ready(t)
		stopWriting()
		m.archived(t, a)
		until(t, a, "nothing hinders it", func(s archive.Status) bool { return s.Err == nil })
	}
	stop()
	if status := a.Status(); status.Broken != nil {
		t.Errorf("the history was broken: %v", status.Broken)
	}
	want := m.state(t)
	recovered, _ := m.recovered(t, s, "3.6", archive.Target{}, "")
	recovered.same(t, want)
}

// What was compacted before it was archived begins another history, with a new base, and says so.
func TestCompactionBeyondTheArchive(t *testing.T) {
	s, _ := volume(t)
	m := newMember(t, "3.6")
	a, stop := follow(t, m.Client, s, m.options(s))
	put := func(key string) int64 {
		t.Helper()
		done, err := m.Put(t.Context(), key, "value")
		if err != nil {
			t.Fatal(err)
		}
		return done.Header.Revision
	}
	put("a")
	m.archived(t, a)
	before := m.state(t)
	stop()
	first := put("lost")
	put("lost")
	if _, err := m.Compact(t.Context(), put("c")); err != nil {
		t.Fatal(err)
	}
	a, stop = follow(t, m.Client, s, m.options(s))
	until(t, a, "it has a new history", func(s archive.Status) bool { return errors.Is(s.Broken, archive.ErrCompacted) && s.Revision >= 4 })
	put("d")
	m.archived(t, a)
	stop()
	if all := historiesOf(t, s); len(all) != 2 {
		t.Errorf("the histories are %v", all)
	}
	want := m.state(t)
	recovered, _ := m.recovered(t, s, "3.6", archive.Target{}, "")
	recovered.same(t, want)
	recovered, _ = m.recovered(t, s, "3.6", archive.Target{Revision: before.Revision}, "")
	recovered.same(t, before)
	_, err := archive.Plan(t.Context(), s, owner, archive.Target{Revision: first})
	if !errors.Is(err, archive.ErrUnrecoverable) || !strings.Contains(err.Error(), fmt.Sprintf("to %d (", before.Revision)) {
		t.Errorf("what was lost: %v", err)
	}
}

// A cluster that was set back to a backup goes on with other data under the same revisions: that is another history, also if
// etcd calls the cluster the same, and whether it has come less far or farther in the meantime.
func TestAClusterThatWasSetBack(t *testing.T) {
	for _, since := range []int{10, 30} {
		t.Run(fmt.Sprint(since), func(t *testing.T) {
			s, _ := volume(t)
			m := newMember(t, "3.6")
			a, stop := follow(t, m.Client, s, m.options(s))
			put := func(n int, m *member, value string) {
				t.Helper()
				for i := range n {
					if _, err := m.Put(t.Context(), fmt.Sprint(value, i%3), value); err != nil {
						t.Fatal(err)
					}
				}
			}
			until(t, a, "it has begun", func(s archive.Status) bool { return s.Revision > 0 })
			put(5, m, "common")
			m.archived(t, a)
			back := m.state(t)
			put(20, m, "forgotten")
			m.archived(t, a)
			stop()
			forgotten, first := m.state(t), a.Status().History
			m.Kill()
			path := filepath.Join(t.TempDir(), "snapshot.db")
			plan, err := archive.Plan(t.Context(), s, owner, archive.Target{Revision: back.Revision})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := replay(t.Context(), s, plan, "", path); err != nil {
				t.Fatal(err)
			}
			again := &member{etcdtest.Restored(t, "3.6", path, m.Peer)}
			if status, err := again.Status(t.Context(), again.Endpoint); err != nil || fmt.Sprintf("%x", status.Header.ClusterId) != plan.Base.Cluster.EtcdID {
				t.Fatalf("etcd calls it %x, and it was %s, %v", status.Header.ClusterId, plan.Base.Cluster.EtcdID, err)
			}
			put(since, again, "new")
			a, stop = follow(t, again.Client, s, again.options(s))
			until(t, a, "it sees that this is another history", func(s archive.Status) bool { return errors.Is(s.Broken, archive.ErrDiverged) && s.History != first })
			put(1, again, "last")
			again.archived(t, a)
			stop()
			want := again.state(t)
			for target, want := range map[archive.Target]state{{}: want, {Revision: back.Revision}: back, {Revision: max(forgotten.Revision, want.Revision)}: later(forgotten, want)} {
				recovered, _ := again.recovered(t, s, "3.6", target, "")
				recovered.same(t, want)
			}
		})
	}
}

func later(a, b state) state {
	if a.Revision > b.Revision {
		return a
	}
	return b
}

// A store that fails now and then, also after it did what it was asked, leaves no gap; one that fails for a while is waited for.
func TestAStoreThatFails(t *testing.T) {
	good, _ := volume(t)
	s := &faulty{Store: good, random: rand.New(rand.NewPCG(5, 6)), share: 30}
	m := newMember(t, "3.6")
	o := m.options(good)
	a, stop := follow(t, m.Client, s, o)
	stopWriting := m.writing(t)
	for n := 0; n < 3 || s.faults() < 10 && n < 20; n++ {
		time.Sleep(400 * time.Millisecond)
		s.set(100)
		until(t, a, "it says that the store fails", func(s archive.Status) bool { return errors.Is(s.Err, errFault) })
		time.Sleep(300 * time.Millisecond)
		if lag := a.Status().Lag(time.Now()); lag < 200*time.Millisecond {
			t.Errorf("nothing is stored, and it says that it lags by %s", lag)
		}
		s.set(30)
	}
	stopWriting()
	s.set(0)
	m.archived(t, a)
	until(t, a, "nothing hinders it", func(s archive.Status) bool { return s.Err == nil })
	stop()
	if s.faults() < 10 || a.Status().Broken != nil {
		t.Errorf("%d requests failed, and the history is broken: %v", s.faults(), a.Status().Broken)
	}
	want := m.state(t)
	recovered, _ := m.recovered(t, good, "3.6", archive.Target{}, "")
	recovered.same(t, want)
}

// Nobody has to write for it to be known that nothing is lost.
func TestAnIdleCluster(t *testing.T) {
	s, _ := volume(t)
	m := newMember(t, "3.6")
	if _, err := m.Put(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	o := m.options(s)
	a, stop := follow(t, m.Client, s, o)
	until(t, a, "it stores that there is nothing new", func(s archive.Status) bool { return s.Segments >= 5 })
	for range 20 {
		now := time.Now()
		if lag := a.Status().Lag(now); lag > 20*o.FlushEvery {
			t.Errorf("an idle cluster lags by %s", lag)
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	objects, err := s.List(t.Context(), "default/demo/1b4e28ba/archive/")
	if err != nil || len(objects) > 3 {
		t.Errorf("the idle time has left %v, %v", objects, err)
	}
	want := m.state(t)
	recovered, _ := m.recovered(t, s, "3.6", archive.Target{Time: a.Status().Current.Add(-o.IdleEvery * 2)}, "")
	recovered.same(t, want)
	// The next archiver goes on, although there was never a revision after the base.
	a, stop = follow(t, m.Client, s, o)
	if _, err := m.Put(t.Context(), "a", "c"); err != nil {
		t.Fatal(err)
	}
	m.archived(t, a)
	stop()
	if all := historiesOf(t, s); len(all) != 1 {
		t.Errorf("the histories are %v", all)
	}
}

// The leader may be killed, and the member that is asked: the others go on, and no revision is missing.
func TestAClusterThatLosesMembers(t *testing.T) {
	s, _ := volume(t)
	members := etcdtest.Cluster(t, "3.6", 3)
	first, last := &member{members[0]}, &member{members[2]}
	all := etcdtest.Connect(t, etcdtest.Endpoints(members)...)
	o := first.options(s)
	o.Base = func(ctx context.Context) (backup.Manifest, error) {
		return backup.Take(ctx, s, last.request(last.Client, fmt.Sprintf("base-%d", time.Now().UnixNano()), nil))
	}
	a, stop := follow(t, all, s, o)
	until(t, a, "it has begun", func(s archive.Status) bool { return s.Revision > 0 })
	stopWriting := (&member{&etcdtest.Member{Client: all}}).writing(t)
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		for _, m := range members {
			if status, err := m.Status(t.Context(), m.Endpoint); err == nil && status.Leader == status.Header.MemberId {
				m.Kill()
				time.Sleep(300 * time.Millisecond)
				m.Start(t)
				break
			}
		}
		for _, m := range members {
			m.Ready(t)
		}
	}
	stopWriting()
	first.archived(t, a)
	stop()
	if status := a.Status(); status.Broken != nil {
		t.Errorf("the history was broken: %v", status.Broken)
	}
	want := first.state(t)
	recovered, _ := first.recovered(t, s, "3.6", archive.Target{}, "")
	recovered.same(t, want)
}
