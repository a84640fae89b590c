package mirror

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
)

// The largest number is found, and with few questions.
func TestLongest(t *testing.T) {
	for limit := 1; limit < 70; limit++ {
		for good := 1; good <= limit; good++ {
			asked := 0
			got, err := longest(limit, func(n int) (bool, error) {
				if asked++; n < 2 || n > limit {
					t.Fatalf("of 1 to %d it asks for %d", limit, n)
				}
				return n <= good, nil
			})
			if err != nil || got != good || asked > 13 {
				t.Errorf("of 1 to %d, with %d, it is %d after %d questions: %v", limit, good, got, asked, err)
			}
		}
	}
	failed := errors.New("failed")
	for fails := range 3 {
		asked := 0
		if _, err := longest(9, func(n int) (bool, error) {
			if asked++; asked > fails {
				return false, failed
			}
			return n <= 5, nil
		}); !errors.Is(err, failed) {
			t.Errorf("after %d questions it is %v", fails, err)
		}
	}
}

func event(kind mvccpb.Event_EventType, key string) *mvccpb.Event {
	return &mvccpb.Event{Type: kind, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: 7, Version: 1}}
}

// Only deletions in their order are put together, without what is put between them or changed twice.
func TestAscending(t *testing.T) {
	for changes, want := range map[string]int{
		"-a -b -c": 3, "-b -a": 1, "+c -d": 1, "-d -e +f": 2, "-e -g +f": 1, "+f +g -f": 1, "-g -h -j +i": 2, "-g -x +x0 -x2": 2,
	} {
		var events []*mvccpb.Event
		var puts []string
		for _, change := range strings.Fields(changes) {
			kind, key := mvccpb.Event_DELETE, change[1:]
			if change[0] == '+' {
				kind, puts = mvccpb.Event_PUT, append(puts, key)
			}
			events = append(events, event(kind, key))
		}
		slices.Sort(puts)
		if got := ascending(events, puts, changedTwice(events)); got != want {
			t.Errorf("of %s the first %d are put together, and not %d", changes, got, want)
		}
	}
}

// A revision comes once, in whatever pieces.
func TestGatherer(t *testing.T) {
	var g gatherer
	var got []string
	at := func(revision int64) *mvccpb.Event {
		return &mvccpb.Event{Kv: &mvccpb.KeyValue{ModRevision: revision}}
	}
	for _, w := range []*etcdserverpb.WatchResponse{
		{Created: true}, {Events: []*mvccpb.Event{at(2), at(2), at(3)}, Fragment: true}, {Events: []*mvccpb.Event{at(3)}, Fragment: true},
		{Events: []*mvccpb.Event{at(3), at(4)}}, {}, {Events: []*mvccpb.Event{at(5)}},
	} {
		if err := g.take(w, func(events []*mvccpb.Event) error {
			got = append(got, fmt.Sprint(events[0].Kv.ModRevision, "x", len(events)))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(got) != "[2x2 3x3 4x1 5x1]" {
		t.Errorf("they are %v", got)
	}
}

// What is not known to be written may be written again: it is there once. What does not fit is not written.
func TestARevisionIsWrittenOnce(t *testing.T) {
	source := etcdtest.Cluster(t, "3.6", 1)[0]
	ctx := t.Context()
	for _, key := range []string{"a", "b", "c", "e"} {
		if _, err := source.Put(ctx, key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	target := etcdtest.Restored(t, "3.6", source.Snapshot(t), "")
	m := New(source.Client, target.Client, Options{Cluster: "default/demo"})
	last := source.Revision(t)
	for n, write := range []func() error{
		func() error { _, err := source.Put(ctx, "a", "2"); return err },
		func() error { _, err := source.Put(ctx, "new", "1"); return err },
		func() error { _, err := source.Delete(ctx, "b"); return err },
		func() error {
			_, err := source.Txn(ctx).Then(clientv3.OpDelete("c"), clientv3.OpPut("d", "1")).Commit()
			return err
		},
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
		events, err := revisionAt(ctx, source.Client, last+int64(n)+1)
		if err != nil || len(events) == 0 {
			t.Fatalf("%d events: %v", len(events), err)
		}
		for range 3 {
			if err := m.write(ctx, events); err != nil {
				t.Errorf("revision %d: %v", last+int64(n)+1, err)
			}
		}
		if is := target.Revision(t); is != last+int64(n)+1 {
			t.Fatalf("the target is at revision %d, and not %d", is, last+int64(n)+1)
		}
	}
	before := target.Revision(t)
	for _, e := range []*mvccpb.Event{
		{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("nowhere"), ModRevision: before + 1}},
		{Kv: &mvccpb.KeyValue{Key: []byte("a"), ModRevision: before + 1, Version: 2}},
		{Kv: &mvccpb.KeyValue{Key: []byte("a"), ModRevision: before + 1, Version: 4}},
		// Another one is there already.
		{Kv: &mvccpb.KeyValue{Key: []byte("a"), ModRevision: before, Version: 9}},
	} {
		if err := m.write(ctx, []*mvccpb.Event{e}); !errors.Is(err, ErrDiverged) {
			t.Errorf("%v is written: %v", e, err)
		}
	}
	if is := target.Revision(t); is != before {
		t.Errorf("the target is at revision %d, and was at %d", is, before)
	}
	// A stranger has written: what is written next has another revision.
	if _, err := target.Put(ctx, "stranger", "1"); err != nil {
		t.Fatal(err)
	}
	e := &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("a"), ModRevision: before + 1, Version: 3}}
	if err := m.write(ctx, []*mvccpb.Event{e}); !errors.Is(err, ErrDiverged) {
		t.Errorf("it is written: %v", err)
	}
}

// When a mirror was killed, another one goes on as soon as its lock has expired; nobody renews it for it.
func TestTheLockOfOneThatWasKilled(t *testing.T) {
	source := etcdtest.Cluster(t, "3.6", 1)[0]
	target := etcdtest.Restored(t, "3.6", source.Snapshot(t), "")
	killed, next := New(source.Client, target.Client, Options{}), New(source.Client, target.Client, Options{})
	if err := killed.lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next.leases.list(t.Context()); err != nil || next.leases.has(lockLease) {
		t.Fatalf("another one takes the lock for its own: %v", err)
	}
	began := time.Now()
	for next.lock(t.Context()) != nil {
		if time.Since(began) > 20*time.Second {
			t.Fatal("it does not expire")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if waited := time.Since(began); waited < (lockTTL-2)*time.Second {
		t.Errorf("it has expired after %s", waited)
	}
	if killed.leases.alive(lockLease, time.Now()) {
		t.Error("the one that was killed would write, if it was only paused")
	}
}

// Leases are renewed when a third of their time is over, those first that are next to expire.
func TestDue(t *testing.T) {
	now := time.Now()
	k := newKeeper(nil)
	k.add(1, 30, now.Add(-9*time.Second))
	k.add(2, 30, now.Add(-10*time.Second))
	k.add(3, 9, now.Add(-4*time.Second))
	k.add(4, 0, time.Time{})
	if due := fmt.Sprint(k.due(now)); due != "[4 3 2]" {
		t.Errorf("they are %s", due)
	}
	if k.alive(3, now.Add(6*time.Second)) || !k.alive(3, now) || k.alive(9, now) {
		t.Error("it does not know who is alive")
	}
}
