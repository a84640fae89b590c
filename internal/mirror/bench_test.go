package mirror_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/heap"
)

// memoryLimit is what a mirror may hold in memory, however much it has to catch up.
const memoryLimit = 128 << 20

// A backlog is mirrored by one transaction after the other, in bounded memory. It prints how fast.
func TestABacklog(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: fills databases")
	}
	for _, size := range []int{100, 10 << 10, 200 << 10} {
		revisions := min(4000, 128<<20/size)
		source := etcdtest.Cluster(t, "3.6", 1)[0]
		target := etcdtest.Restored(t, "3.6", source.Snapshot(t), "")
		var writing sync.WaitGroup
		value := strings.Repeat("x", size)
		for writer := range 8 {
			writing.Go(func() {
				for n := range revisions / 8 {
					if _, err := source.Put(t.Context(), fmt.Sprintf("key-%d-%d", writer, n%10), value); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		writing.Wait()
		last := source.Revision(t)
		most := heap.Peak(func() {
			began := time.Now()
			r := start(t, source.Client, target.Client)
			r.reaches(t, last)
			took := time.Since(began)
			r.stop(t)
			status := r.Status()
			t.Logf("values of %d bytes: %.0f revisions/s, %.1f MB/s, %d µs each", size,
				float64(status.Transactions)/took.Seconds(), float64(status.Bytes)/1e6/took.Seconds(), took.Microseconds()/status.Transactions)
		})
		t.Logf("with a heap of at most %d MiB", most>>20)
		if most > memoryLimit {
			t.Errorf("the heap had %d bytes; the limit is %d", most, memoryLimit)
		}
	}
}
