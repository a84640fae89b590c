package agent

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
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

// tell logs now and then, until it is stopped, how much of a size was read since, and answers whoever asks for that.
func (a Agent) tell(ctx context.Context, m *metered, size int64) (stop func()) {
	began, before := time.Now(), m.read.Load()
	mux := http.NewServeMux()
	mux.HandleFunc(task.ProgressPath, func(w http.ResponseWriter, _ *http.Request) {
		// What is read again after a failure counts once.
		_ = json.NewEncoder(w).Encode(task.Progress{Read: min(m.read.Load()-before, size), Total: size})
	})
	unlisten, err := listen(ctx, a.Listen, mux)
	if err != nil {
		log.Print("etcd-agent: nobody will see how far this is: ", err)
		unlisten = func() {}
	}
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
		unlisten()
		log.Printf("etcd-agent: %d MiB were read in %s", (m.read.Load()-before+1<<20-1)>>20, time.Since(began).Round(time.Millisecond))
	}
}
