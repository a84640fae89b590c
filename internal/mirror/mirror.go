// Package mirror repeats on one etcd, the target, every revision that another one, the source, makes: with the same keys, values,
// versions, revisions and leases. The target has to begin with a snapshot of the source, with the same revision, and nobody else
// may write to it.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Options say how it is mirrored.
type Options struct {
	// Cluster is what the target is called in errors: the namespace and the name of its EtcdCluster.
	Cluster string
	// PollEvery is how often both are asked for their revision, LeasesEvery how often their leases are compared, and CompactEvery
	// how often it is looked whether the source was compacted.
	PollEvery, LeasesEvery, CompactEvery time.Duration
	// Now is the clock by which the lag is told.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	set := func(value *time.Duration, otherwise time.Duration) {
		if *value == 0 {
			*value = otherwise
		}
	}
	set(&o.PollEvery, time.Second)
	set(&o.LeasesEvery, 5*time.Second)
	set(&o.CompactEvery, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Status is how far a mirror is.
type Status struct {
	// Revision is the last one that the target has, and SourceRevision the last one of the source that is known of.
	Revision, SourceRevision int64
	// Current is the moment of which it is certain that the target has all that the source had acknowledged before. With a mirror
	// that keeps up, it is never much longer ago than PollEvery, also if there is nothing new.
	Current time.Time
	// Transactions and Bytes count what was written since the mirror began: revisions, and the keys and values in them.
	Transactions, Bytes int64
	// Compacted is where the target was compacted last, as the source was; 0 if it was not yet.
	Compacted int64
	// Err is what hinders it, and is nil again when that is over.
	Err error
}

// Lag is how far the target is behind.
func (s Status) Lag(now time.Time) time.Duration { return now.Sub(s.Current) }

var (
	// ErrCompacted says that the source has compacted revisions before they were mirrored.
	ErrCompacted = errors.New("the source has compacted revisions that are not mirrored: begin again with another snapshot of it")
	// ErrDiverged says that the target has not what the source has: somebody else has written to it, leases have expired there while
	// nobody mirrored, or one of the two was set back.
	ErrDiverged = errors.New("the target has not what the source has: begin again with another snapshot of the source")
	// ErrRefused says that the target does not take what the source does.
	ErrRefused = errors.New("the target refuses a revision of the source")
)

// Final is whether an error would come again, however often it is tried.
func Final(err error) bool {
	return errors.Is(err, ErrCompacted) || errors.Is(err, ErrDiverged) || errors.Is(err, ErrRefused)
}

const (
	// retryFirst and retryLimit are how long it is waited after a failure: twice as long each time. It is never long, since leases
	// are kept alive with what is connected then.
	retryFirst = 200 * time.Millisecond
	retryLimit = 5 * time.Second
	// answerLimit is how long a request may take. etcd itself gives up after 7 s.
	answerLimit = 10 * time.Second
	// stallLimit is how long the source may send nothing although there is something.
	stallLimit = 30 * time.Second
)

// trouble is what hinders a mirror.
type trouble int

const (
	troubleFollowing trouble = iota
	troubleAsking
	troubleLeases
	troubleRenewing
	troubleCompacting
	allTroubles
)

// Mirror repeats one source on one target.
type Mirror struct {
	source, target *clientv3.Client
	options        Options
	leases         *keeper
	// sourceID is etcd's ID of the source, once it is known. compact is where the source was compacted last.
	sourceID uint64
	compact  int64

	mutex    sync.Mutex
	status   Status
	troubles [allTroubles]error
}

// New is a mirror that has not begun. Each client reaches all members of its cluster, and may read all keys; that of the target may
// write them, and send requests as large as the target takes (MaxCallSendMsgSize). It should try to connect every few seconds: leases
// of the target expire if it is back and the mirror is not.
func New(source, target *clientv3.Client, o Options) *Mirror {
	return &Mirror{source: source, target: target, options: o.withDefaults(), leases: newKeeper(target)}
}

// Status tells how far it is.
func (m *Mirror) Status() Status {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	status := m.status
	status.Err = errors.Join(m.troubles[:]...)
	return status
}

// hinders remembers what hinders it, or with nil that it does no more.
func (m *Mirror) hinders(kind trouble, err error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.troubles[kind] = err
}

func (m *Mirror) note(change func(*Status)) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	change(&m.status)
}

// Run mirrors until the context ends, and is nil then. It goes on where the target is, whoever has brought it there. Failures of
// either side are waited out, and told by Status; an error is [Final].
func (m *Mirror) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	defer m.unlock(ctx)
	working.Go(func() { m.leases.keep(ctx, m.options.LeasesEvery, func(err error) { m.hinders(troubleRenewing, err) }) })
	wait := retryFirst
	for {
		before := m.Status().Transactions
		err := m.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		err = fmt.Errorf("mirroring to %s: %w", m.options.Cluster, err)
		m.hinders(troubleFollowing, err)
		if Final(err) {
			return err
		}
		if m.Status().Transactions > before {
			wait = retryFirst
		}
		pause(ctx, wait)
		wait = min(2*wait, retryLimit)
	}
}

func pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// state is what a cluster says about itself, by a linearizable read.
type state struct {
	id       uint64
	revision int64
}

func ask(ctx context.Context, client *clientv3.Client) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	got, err := client.Get(ctx, "\x00", clientv3.WithCountOnly())
	if err != nil {
		return state{}, err
	}
	return state{got.Header.ClusterId, got.Header.Revision}, nil
}
