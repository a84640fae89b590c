package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Options are how much is asked of a cluster. What is zero gets its default.
type Options struct {
	// Workers read, write and swap a few shared keys, each of them Keys-wide at random and every Pause.
	Workers int
	Keys    int
	Pause   time.Duration
	// Heartbeat is the time between two writes of each client by which gaps are measured.
	Heartbeat time.Duration
	// Deadline is that of every operation.
	Deadline time.Duration
	// MaxDuration and MaxOperations end the run, if Stop does not.
	MaxDuration   time.Duration
	MaxOperations int
}

func (o Options) withDefaults() Options {
	setDefault(&o.Workers, 4)
	setDefault(&o.Keys, 32)
	setDefault(&o.Pause, 25*time.Millisecond)
	setDefault(&o.Heartbeat, 10*time.Millisecond)
	setDefault(&o.Deadline, time.Second)
	setDefault(&o.MaxDuration, 30*time.Minute)
	setDefault(&o.MaxOperations, 1_000_000)
	return o
}

func setDefault[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
}

// Client is one application's connection to the cluster.
type Client struct {
	// Name says how it reaches the cluster.
	Name string
	*clientv3.Client
}

// Run is a workload that runs.
type Run struct {
	clients []Client
	options Options
	prefix  string
	started time.Time
	stopped time.Time
	cancel  context.CancelFunc
	running sync.WaitGroup
	// count is the number of operations begun.
	count atomic.Int64
	// stall is the longest time by which a heartbeat was late because of this process itself.
	stall atomic.Int64

	mutex      sync.Mutex
	operations [][]Operation
	beats      [][]Operation
	// latest is a value that each key had a moment ago, for swaps to expect.
	latest map[string]string
	// clusters are the cluster IDs that answered; lowest and highest are the raft terms.
	clusters        map[uint64]bool
	lowest, highest uint64
}

// Start begins to write and read by all clients at once, below a prefix of its own. It ends with Stop, with the context, or
// at a limit of the options.
func Start(ctx context.Context, clients []Client, options Options) *Run {
	r := &Run{
		clients: clients, options: options.withDefaults(), started: time.Now(),
		prefix:     fmt.Sprintf("history/%016x/", rand.Uint64()),
		operations: make([][]Operation, len(clients)), beats: make([][]Operation, len(clients)),
		latest: map[string]string{}, clusters: map[uint64]bool{},
	}
	ctx, r.cancel = context.WithTimeout(ctx, r.options.MaxDuration)
	for n := range clients {
		r.running.Go(func() { r.beat(ctx, n) })
	}
	for worker := range r.options.Workers {
		r.running.Go(func() { r.work(ctx, worker) })
	}
	return r
}

// begin counts an operation, and says whether it is still wanted.
func (r *Run) begin(ctx context.Context) (int64, bool) {
	n := r.count.Add(1)
	return n, ctx.Err() == nil && n <= int64(r.options.MaxOperations)
}

// generation is how many operations fall to each key before others are used: the search for a linearization grows with
// the square of the length of a key's history.
const generation = 200

// work is one worker: get, put and swap of keys at random.
func (r *Run) work(ctx context.Context, worker int) {
	client := worker % len(r.clients)
	ticker := time.NewTicker(r.options.Pause)
	defer ticker.Stop()
	for begun := 0; ; begun++ {
		n, more := r.begin(ctx)
		if !more {
			return
		}
		o := Operation{
			Key:   fmt.Sprintf("%skey/%04d/%02d", r.prefix, begun*r.options.Workers/(generation*r.options.Keys), rand.IntN(r.options.Keys)),
			Value: fmt.Sprintf("w%d-%d", worker, n),
			Kind:  [...]Kind{Get, Get, Put, Put, Swap}[rand.IntN(5)],
		}
		if o.Kind == Swap {
			r.mutex.Lock()
			o.Expect = r.latest[o.Key]
			r.mutex.Unlock()
		}
		r.do(client, &o)
		r.mutex.Lock()
		r.operations[client] = append(r.operations[client], o)
		if value, ok := o.observed(); o.Writes() {
			r.latest[o.Key] = o.Value
		} else if ok {
			r.latest[o.Key] = value
		}
		r.mutex.Unlock()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// slots is the number of keys that heartbeats take turns with: so many that a key is written again only after the deadline
// of its last write.
const slots = 512

// beat writes at a steady rate, whatever becomes of earlier writes: a client that waited for a slow one would hide the
// moment at which the cluster serves again.
func (r *Run) beat(ctx context.Context, client int) {
	var writes sync.WaitGroup
	defer writes.Wait()
	busy := make([]atomic.Bool, slots)
	ticker := time.NewTicker(r.options.Heartbeat)
	defer ticker.Stop()
	due := time.Now()
	for beat := 0; ; beat++ {
		if late := time.Since(due); late > time.Duration(r.stall.Load()) {
			r.stall.Store(int64(late))
		}
		n, more := r.begin(ctx)
		if !more {
			return
		}
		if slot := &busy[beat%slots]; slot.CompareAndSwap(false, true) {
			writes.Go(func() {
				defer slot.Store(false)
				o := Operation{Kind: Put, Key: fmt.Sprintf("%sbeat/%d/%03d", r.prefix, client, beat%slots), Value: fmt.Sprintf("b%d-%d", client, n)}
				r.do(client, &o)
				r.mutex.Lock()
				defer r.mutex.Unlock()
				r.beats[client] = append(r.beats[client], o)
			})
		}
		due = time.Now().Add(r.options.Heartbeat)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// do does an operation and fills in what came of it. It has a deadline of its own, and is not cut short by the end of the
// run: that would leave its outcome open.
func (r *Run) do(client int, o *Operation) {
	ctx, cancel := context.WithTimeout(context.Background(), r.options.Deadline)
	defer cancel()
	o.Call = time.Since(r.started)
	header, err := perform(ctx, r.clients[client].Client, o)
	o.Return = time.Since(r.started)
	if o.Outcome = outcome(err); err != nil {
		o.Error = err.Error()
		return
	}
	o.Revision = header.Revision
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.clusters[header.ClusterId] = true
	if r.lowest == 0 || header.RaftTerm < r.lowest {
		r.lowest = header.RaftTerm
	}
	r.highest = max(r.highest, header.RaftTerm)
}

// perform asks etcd for an operation.
func perform(ctx context.Context, client clientv3.KV, o *Operation) (*pb.ResponseHeader, error) {
	switch o.Kind { //nolint:exhaustive // The rest is a swap.
	case Put:
		response, err := client.Put(ctx, o.Key, o.Value)
		if err != nil {
			return nil, err
		}
		return response.Header, nil
	case Get:
		o.Value = ""
		response, err := client.Get(ctx, o.Key)
		if err != nil {
			return nil, err
		}
		o.Value = only(response.Kvs)
		return response.Header, nil
	}
	// A comparison of values fails for a key that does not exist.
	expected := clientv3.Compare(clientv3.Value(o.Key), "=", o.Expect)
	if o.Expect == "" {
		expected = clientv3.Compare(clientv3.CreateRevision(o.Key), "=", 0)
	}
	response, err := client.Txn(ctx).If(expected).Then(clientv3.OpPut(o.Key, o.Value)).Else(clientv3.OpGet(o.Key)).Commit()
	if err != nil {
		return nil, err
	}
	if o.Swapped = response.Succeeded; !o.Swapped {
		o.Found = only(response.Responses[0].GetResponseRange().Kvs)
	}
	return response.Header, nil
}
