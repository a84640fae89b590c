package archive

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// BenchmarkReplay adds 256 MB in values of 1 kB, in segments of 8 MB, to an empty snapshot; what it reports are those bytes.
// The values compress to about half.
func BenchmarkReplay(b *testing.B) {
	const value, total = 1 << 10, 256 << 20
	s, err := store.NewVolume(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	c := backup.Cluster{Namespace: "default", Name: "demo", UID: "1"}
	r := Recovery{Base: backup.Manifest{Cluster: c, State: backup.State{Revision: 1}}, History: time.Now().UTC().Format(moment)}
	source := rand.NewChaCha8([32]byte{1})
	content := make([]byte, value)
	revision := int64(1)
	for written := 0; written < total; {
		w, first, until := newWriter(), revision+1, time.Now().UTC().Round(0)
		for w.size < 8<<20 {
			_, _ = source.Read(content[:value/2])
			revision++
			kv := &mvccpb.KeyValue{Key: fmt.Appendf(nil, "/registry/pods/default/pod-%d", revision%10_000), Value: content, ModRevision: revision, CreateRevision: revision, Version: 1}
			if err := w.revision(revision, until); err != nil {
				b.Fatal(err)
			}
			if err := w.write(appendRow(nil, putMark, encodeRow(nil, &mvccpb.Event{Kv: kv}))); err != nil {
				b.Fatal(err)
			}
			written += value
		}
		stored := seal(b, w, header{Cluster: c, History: r.History, First: first, Last: revision, Until: until, Events: revision - first + 1})
		seg := segment{object: segmentObject(c, r.History, first, revision, until), first: first, last: revision, until: until, size: int64(len(stored))}
		if err := s.Put(b.Context(), seg.object, bytes.NewReader(stored)); err != nil {
			b.Fatal(err)
		}
		r.segments = append(r.segments, seg)
	}
	b.SetBytes(total)
	b.ResetTimer()
	for n := range b.N {
		file := filepath.Join(b.TempDir(), fmt.Sprint(n))
		emptyDatabase(b, file)
		out, err := Replay(b.Context(), s, r, "", file)
		if err != nil || out.Revision != revision {
			b.Fatal(out, err)
		}
	}
}
