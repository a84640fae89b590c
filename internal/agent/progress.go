package agent

import (
	"context"
	"io"
	"log"
	"sync/atomic"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// tellEvery is after what time the log says again how far an agent is.
const tellEvery = 5 * time.Second

// metered is a store that knows how much was read from it.
type metered struct {
	store.Store
	read atomic.Int64
}

// Get implements store.Store.
func (m *metered) Get(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	body, err := m.Store.Get(ctx, name, offset)
	if err != nil {
		return nil, err
	}
	return meteredBody{body, m}, nil
}

type meteredBody struct {
	io.ReadCloser
	of *metered
}

func (b meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.of.read.Add(int64(n))
	return n, err
}

// tell logs now and then, until it is stopped, how much of a size was read since.
func (m *metered) tell(size int64) (stop func()) {
	began, before := time.Now(), m.read.Load()
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(tellEvery):
				log.Printf("etcd-agent: %d of %d MiB are read after %s", (m.read.Load()-before)>>20, (size+1<<20-1)>>20, time.Since(began).Round(time.Second))
			}
		}
	}()
	return func() {
		close(done)
		log.Printf("etcd-agent: %d MiB were read in %s", (m.read.Load()-before+1<<20-1)>>20, time.Since(began).Round(time.Millisecond))
	}
}
