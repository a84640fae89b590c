package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// watchedKey is a key that nobody writes: the watch on it is there to be cut off. etcd ends it when the member stops
// and, with a leader required, when the member loses its leader.
const watchedKey = "\x00etcd-operator"

// rewatchEvery is how soon a watch that ended is made again.
const rewatchEvery = 250 * time.Millisecond

// Watcher tells when something happens to a member: that it begins to serve with a leader, and that it stops to.
type Watcher struct {
	pool   *Pool
	notify func(cluster string)
	mu     sync.Mutex
	// watches are by cluster, then by address.
	watches map[string]map[string]context.CancelFunc
	closed  bool
	wg      sync.WaitGroup
}

// NewWatcher makes a watcher that calls notify with the cluster's key. notify must not block.
func NewWatcher(pool *Pool, notify func(cluster string)) *Watcher {
	return &Watcher{pool: pool, notify: notify, watches: map[string]map[string]context.CancelFunc{}}
}

// Watch watches exactly these endpoints of a cluster from now on. With none the cluster is forgotten.
func (w *Watcher) Watch(cluster string, endpoints []Endpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.pool.Present(endpoints)
	current := w.watches[cluster]
	wanted := make(map[string]context.CancelFunc, len(endpoints))
	for _, endpoint := range endpoints {
		if cancel, ok := current[endpoint.Address]; ok {
			wanted[endpoint.Address] = cancel
			delete(current, endpoint.Address)
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		wanted[endpoint.Address] = cancel
		w.wg.Go(func() { w.follow(ctx, cluster, endpoint.Address) })
	}
	for address, cancel := range current {
		cancel()
		w.pool.Forget(address)
	}
	w.watches[cluster] = wanted
	if len(wanted) == 0 {
		delete(w.watches, cluster)
	}
}

// Close ends all watches and waits for them. There are no new ones afterwards.
func (w *Watcher) Close() {
	w.mu.Lock()
	for _, watches := range w.watches {
		for _, cancel := range watches {
			cancel()
		}
	}
	w.watches, w.closed = map[string]map[string]context.CancelFunc{}, true
	w.mu.Unlock()
	w.wg.Wait()
}

// follow keeps one watch up and tells of its beginning and its end.
func (w *Watcher) follow(ctx context.Context, cluster, address string) {
	up := false
	for ctx.Err() == nil {
		client, err := w.pool.client(address)
		if err == nil {
			w.stream(ctx, address, client, func() {
				up = true
				w.notify(cluster)
			})
		}
		if up && ctx.Err() == nil {
			w.notify(cluster)
		}
		up = false
		select {
		case <-ctx.Done():
		case <-time.After(rewatchEvery):
		}
	}
}

// stream returns when the watch ends. It speaks the protocol itself: etcd's client would hide a lost connection by
// making the watch again.
func (w *Watcher) stream(ctx context.Context, address string, client *clientv3.Client, created func()) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	token := w.pool.token(address)
	stream, err := etcdserverpb.NewWatchClient(client.ActiveConnection()).Watch(ctx)
	if err != nil {
		return
	}
	create := &etcdserverpb.WatchCreateRequest{Key: []byte(watchedKey)}
	if stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: create}}) != nil {
		return
	}
	for {
		answer, err := stream.Recv()
		if err != nil || answer.Canceled {
			if reason := answer.GetCancelReason(); isAboutLogin(errors.New(reason)) {
				w.pool.refresh(ctx, address, token)
			}
			return
		}
		if answer.Created {
			created()
		}
	}
}
