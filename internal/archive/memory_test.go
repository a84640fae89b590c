package archive_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/heap"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

// memoryLimit is what an archiver may hold in memory, however much it has to catch up and however slow the store is.
const memoryLimit = 128 << 20

// An archiver that comes back has to read much at once, faster than the store takes it.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: fills a database with 200 MB")
	}
	proxy := objectstore.NewProxy(t, objectstore.Start(t, "", ""))
	s := bucket(t, proxy.URL)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	m := newMember(t, "3.6")
	o := m.options(s, key.Recipient().String())
	a, stop := follow(t, m.Client, s, o)
	until(t, a, "it has begun", func(s archive.Status) bool { return s.Revision > 0 })
	stop()
	value := make([]byte, 1<<20)
	source := rand.NewChaCha8([32]byte{3})
	for n := range 200 {
		_, _ = source.Read(value)
		if _, err := m.Put(t.Context(), fmt.Sprintf("big-%d", n), string(value)); err != nil {
			t.Fatal(err)
		}
	}
	proxy.Tell(func(*http.Request) objectstore.Fault { return objectstore.Fault{Delay: 50 * time.Millisecond} })
	o.FlushEvery, o.BaseBytes = time.Second, 1<<40
	most := heap.Peak(func() {
		began := time.Now()
		a, stop := follow(t, m.Client, s, o)
		m.archived(t, a)
		stop()
		t.Logf("%d MB were archived in %s", a.Status().Bytes/1_000_000, time.Since(began))
	})
	t.Logf("with a heap of at most %d MiB", most>>20)
	if most > memoryLimit {
		t.Errorf("the heap had %d bytes; the limit is %d", most, memoryLimit)
	}
}
