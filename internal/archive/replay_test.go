package archive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

func emptyDatabase(t testing.TB, file string) {
	t.Helper()
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{backup.KeyBucket, backup.LeaseBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// putSegment stores a segment of the revisions first to last, each of which has as many rows as its number modulo 3, and one more.
func putSegment(t *testing.T, s store.Store, c backup.Cluster, history string, first, last int64, seconds int) segment {
	t.Helper()
	w := newWriter()
	h := header{Cluster: c, History: history, First: first, Last: last, Until: at(seconds)}
	for revision := first; revision <= last; revision++ {
		if err := w.revision(revision, at(seconds)); err != nil {
			t.Fatal(err)
		}
		for n := range revision%3 + 1 {
			kv := &mvccpb.KeyValue{Key: fmt.Append(nil, "key-", n), ModRevision: revision}
			if err := w.write(appendRow(nil, putMark, encodeRow(nil, &mvccpb.Event{Kv: kv}))); err != nil {
				t.Fatal(err)
			}
			h.Events++
		}
	}
	stored := seal(t, w, h)
	seg := segment{object: segmentObject(c, history, first, last, at(seconds)), first: first, last: last, until: at(seconds), size: int64(len(stored))}
	if err := s.Put(t.Context(), seg.object, bytes.NewReader(stored)); err != nil {
		t.Fatal(err)
	}
	return seg
}

// rows are the names in etcd's bucket of keys.
func rows(t *testing.T, file string) string {
	t.Helper()
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var all strings.Builder
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(backup.KeyBucket).ForEach(func(k, _ []byte) error {
			fmt.Fprintf(&all, "%d.%d ", k[7], k[16])
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// However segments overlap, each revision is added once, and none after the target.
func TestOverlappingSegments(t *testing.T) {
	c := backup.Cluster{Namespace: "default", Name: "demo", UID: "1"}
	name := at(0).Format(moment)
	random := rand.New(rand.NewPCG(3, 4))
	overlaps := 0
	for round := range 50 {
		s, err := store.NewVolume(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		h := history{name: name}
		for first, last := int64(2), int64(1); last < 40; first = max(2, last+1-random.Int64N(6)) {
			last = first + random.Int64N(10)
			h.segments = append(h.segments, putSegment(t, s, c, name, first, last, len(h.segments)+1))
		}
		chain := h.chain(base{revision: 1, lastRevision: 1})
		for n := 1; n < len(chain.segments); n++ {
			if chain.segments[n].first <= chain.segments[n-1].last {
				overlaps++
			}
		}
		target := 2 + random.Int64N(39)
		file := filepath.Join(t.TempDir(), fmt.Sprint(round))
		emptyDatabase(t, file)
		r := Target{Revision: target}.recovery(h, backup.Manifest{Cluster: c, State: backup.State{Revision: 1}}, chain)
		out, err := Replay(t.Context(), s, r, "", file)
		if err != nil || out.Revision != target {
			t.Fatalf("of %v it comes to %+v, %v", h.segments, out, err)
		}
		want := ""
		for revision := int64(2); revision <= target; revision++ {
			for n := range revision%3 + 1 {
				want += fmt.Sprintf("%d.%d ", revision, n)
			}
		}
		if got := rows(t, file); got != want {
			t.Fatalf("to revision %d it has %s", target, got)
		}
	}
	if overlaps < 20 {
		t.Errorf("only %d segments overlapped", overlaps)
	}
}

// A lease has the TTL that it was granted, a short one if it was gone, and a long one if that is not known; and it is there only
// for a key that has it in the end.
func TestLeases(t *testing.T) {
	s, err := store.NewVolume(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := backup.Cluster{Namespace: "default", Name: "demo", UID: "1"}
	w, name := newWriter(), at(0).Format(moment)
	if err := w.revision(2, at(1)); err != nil {
		t.Fatal(err)
	}
	var events []*mvccpb.Event
	for _, lease := range []int64{-5, 1, 2, 3, 4} {
		events = append(events, &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: fmt.Append(nil, lease), Lease: lease}})
	}
	events = append(events, &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("3")}}, &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("4")}})
	for n, e := range events {
		mark := byte(putMark)
		if e.Type == mvccpb.Event_DELETE {
			mark = tombstoneMark
		}
		if err := w.write(appendRow(nil, mark, encodeRow(nil, e))); err != nil {
			t.Fatal(n, err)
		}
	}
	for id, ttl := range map[int64]int64{-5: 100, 1: 0, 3: 100, 4: 100} {
		if err := w.lease(id, ttl); err != nil {
			t.Fatal(err)
		}
	}
	stored := seal(t, w, header{Cluster: c, History: name, First: 2, Last: 2, Until: at(1), Events: int64(len(events))})
	seg := segment{object: segmentObject(c, name, 2, 2, at(1)), first: 2, last: 2, until: at(1), size: int64(len(stored))}
	if err := s.Put(t.Context(), seg.object, bytes.NewReader(stored)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x")
	emptyDatabase(t, file)
	r := Recovery{History: name, Base: backup.Manifest{Cluster: c, State: backup.State{Revision: 1}}, segments: []segment{seg}}
	if _, err := Replay(t.Context(), s, r, "", file); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	got := map[int64]string{}
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(backup.LeaseBucket).ForEach(func(k, v []byte) error {
			got[int64(binary.BigEndian.Uint64(k))] = string(v)
			return nil
		})
	})
	want := map[int64]string{-5: string(encodeLease(-5, 100)), 1: string(encodeLease(1, 60)), 2: string(encodeLease(2, 3600))}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("the leases are %v, and not %v, %v", got, want, err)
	}
}

// What is no database of etcd is refused.
func TestWhatIsNoDatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Replay(t.Context(), nil, Recovery{}, "", file); err == nil || !strings.Contains(err.Error(), "it lacks its buckets") {
		t.Errorf("without buckets: %v", err)
	}
}
