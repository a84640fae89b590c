package backup_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/heap"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

// memoryLimit is what a backup may hold in memory, whatever the size of the database.
const memoryLimit = 64 << 20

func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: fills a database with 200 MB")
	}
	s := bucket(t, objectstore.Start(t, "", "").URL)
	m := startMember(t, "3.6", t.TempDir())
	value := make([]byte, 1<<20)
	source := rand.NewChaCha8([32]byte{3})
	for n := range 200 {
		_, _ = source.Read(value)
		if _, err := m.Put(t.Context(), fmt.Sprintf("big-%d", n), string(value)); err != nil {
			t.Fatal(err)
		}
	}
	key := identity(t)
	began := time.Now()
	var size int64
	written := heap.Peak(func() { size = take(t, s, m.request("big", key.Recipient().String())).Snapshot.Size })
	t.Logf("%d MB were stored in %s with a heap of at most %d MiB", size/1_000_000, time.Since(began), written>>20)
	made, err := backup.Load(t.Context(), s, owner, "big")
	if err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	read := heap.Peak(func() {
		if err := backup.Read(t.Context(), s, made, key.String(), io.Discard); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("and read back in %s with at most %d MiB", time.Since(began), read>>20)
	if size < 200<<20 || written > memoryLimit || read > memoryLimit {
		t.Errorf("a snapshot of %d bytes needs %d bytes to be written and %d to be read; the limit is %d", size, written, read, memoryLimit)
	}
}
