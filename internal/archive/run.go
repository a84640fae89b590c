package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/stream"
)

const (
	// askLimit is how long a member may take to tell its revision.
	askLimit = 5 * time.Second
	// stallLimit is how long a member may send nothing although there is something.
	stallLimit = 30 * time.Second
	// endLimit is how long what is left may take to be stored at the end.
	endLimit = 10 * time.Second
	// maxAnswers and maxLeases bound what is remembered.
	maxAnswers = 64
	maxLeases  = 1 << 16
)

// run archives one history. Its loop alone has its fields; what takes time is done elsewhere and sends it the outcome.
type run struct {
	a       *Archiver
	history string
	cluster backup.Cluster
	base    base
	// sinceBase is how much is stored after the base.
	sinceBase int64

	// position is the last revision that was received, in whole. Until it is verified on a new stream, that may be another
	// cluster's.
	position position
	verified bool
	pending  pending
	scratch  []byte
	// seen are the leases whose TTL is stored, or about to be; unknown those of which the cluster could not tell yet.
	seen    map[int64]bool
	unknown []int64
	batch   *batch

	// flushed is the last revision on the store, stored the time that the last segment says, and idle that segment if it is an
	// empty one. Fresh is a history without any segment. Current
	// is the moment before which all that was acknowledged is on the store.
	flushed   int64
	stored    time.Time
	idle      string
	fresh     bool
	current   time.Time
	answers   []answer
	confirmed time.Time

	asking, uploading, basing, due bool
	nextBase                       *backup.Manifest
	baseAfter                      time.Time
	baseWait                       *backoff

	stream      *stream.Stream
	streamWait  *backoff
	reopen      <-chan time.Time
	lastMessage time.Time

	asked    chan answer
	uploads  chan uploaded
	bases    chan made
	work     context.Context //nolint:containedctx // That of all that the loop starts.
	storing  context.Context //nolint:containedctx // As above; it goes on a little longer.
	starting sync.WaitGroup
}

// position is a revision and by what it is known again.
type position struct {
	revision int64
	shape    string
	term     uint64
	received time.Time
}

// answer is what the cluster said about its revision: none that was acknowledged before it was asked is later.
type answer struct {
	at       time.Time
	after    int64
	revision int64
	term     uint64
	cluster  string
	err      error
}

type uploaded struct {
	batch *batch
	size  int64
	// unknown are leases of which the cluster could not tell.
	unknown []int64
	object  string
	err     error
}

type made struct {
	manifest backup.Manifest
	err      error
}

// run follows the cluster until the context ends, or the history cannot be continued. What was received is stored in any case.
func (r *run) run(ctx context.Context) error {
	var stop, stopStoring context.CancelFunc
	r.work, stop = context.WithCancel(ctx)
	r.storing, stopStoring = context.WithCancel(context.WithoutCancel(ctx))
	defer r.starting.Wait()
	defer stopStoring()
	defer stop()
	r.asked, r.uploads, r.bases = make(chan answer, 1), make(chan uploaded, 1), make(chan made, 1)
	r.streamWait, r.baseWait, r.seen = newBackoff(), newBackoff(), map[int64]bool{}
	for _, kind := range []trouble{troubleWatching, troubleAsking, troubleStoring, troubleBase} {
		r.a.hinders(kind, nil)
	}
	ticker := time.NewTicker(r.a.options.FlushEvery)
	defer ticker.Stop()
	r.open()
	r.ask()
	for {
		var messages <-chan stream.Message
		if r.stream != nil && !r.full() {
			messages = r.stream.Messages
		}
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-r.reopen:
			r.open()
		case m := <-messages:
			err = r.take(m)
		case at := <-ticker.C:
			r.tick(at)
		case answer := <-r.asked:
			err = r.learn(answer)
		case u := <-r.uploads:
			err = r.uploaded(u)
		case m := <-r.bases:
			err = r.based(m)
		}
		if err != nil {
			stop()
			r.end()
			return err
		}
		r.flush()
	}
}

// full is whether no more is held: there is a whole segment, and another one is being stored.
func (r *run) full() bool {
	return r.uploading && r.batch != nil && r.batch.writer.size >= r.a.options.FlushBytes
}

// open begins to watch at the position itself, by which it is seen whether the cluster's data continues it.
func (r *run) open() {
	r.reopen, r.pending = nil, pending{}
	// Whatever follows a base directly is taken for its continuation.
	r.verified = r.position.shape == ""
	r.lastMessage = time.Now()
	r.stream = stream.Open(r.work, &r.starting, r.a.client, r.position.revision)
}

// lost has the stream opened again after a while.
func (r *run) lost(err error) {
	r.stream.Close()
	r.stream, r.pending = nil, pending{}
	r.reopen = time.After(r.streamWait.step())
	r.a.hinders(troubleWatching, fmt.Errorf("watching the cluster %s/%s from revision %d: %w", r.cluster.Namespace, r.cluster.Name, r.position.revision, err))
}

func (r *run) tick(now time.Time) {
	r.due = r.batch != nil
	r.ask()
	// Without any segment, an archiver could not go on from here.
	idle := r.confirmed.Sub(r.stored) >= r.a.options.IdleEvery || r.fresh && r.position.shape != ""
	if idle && r.batch == nil && !r.uploading && r.pending.revision == 0 && r.verified {
		r.batch, r.due = r.newBatch(), true
	}
	if r.wantsBase(now) {
		r.basing = true
		r.starting.Go(func() {
			m, err := r.a.makeBase(r.work)
			r.bases <- made{m, err}
		})
	}
	if r.nextBase != nil {
		r.adoptNext()
	}
	if r.stream != nil && r.stalled(now) {
		r.lost(fmt.Errorf("it has revision %d and does not send what comes after %d", r.answers[0].revision, r.position.revision))
	}
}

// wantsBase is whether the last base is too old, or there is too much after it.
func (r *run) wantsBase(now time.Time) bool {
	o := r.a.options
	old := r.flushed > r.base.lastRevision && now.Sub(r.base.ended) >= o.BaseAge
	return (old || r.sinceBase >= o.BaseBytes) && !r.basing && r.nextBase == nil && !now.Before(r.baseAfter)
}

// stalled is whether the stream sends nothing, although it is known that there is something.
func (r *run) stalled(now time.Time) bool {
	return len(r.answers) > 0 && r.answers[0].revision > r.position.revision && now.Sub(r.answers[0].at) > stallLimit &&
		now.Sub(r.lastMessage) > stallLimit && !r.full()
}

// ask has the cluster tell its revision: a linearizable read knows all that was acknowledged before.
func (r *run) ask() {
	if r.asking {
		return
	}
	r.asking = true
	after := r.position.revision
	r.starting.Go(func() {
		ctx, cancel := context.WithTimeout(r.work, askLimit)
		defer cancel()
		out := answer{at: time.Now(), after: after}
		got, err := r.a.client.Get(ctx, "\x00", clientv3.WithCountOnly())
		if out.err = err; err == nil {
			out.revision, out.term, out.cluster = got.Header.Revision, got.Header.RaftTerm, fmt.Sprintf("%x", got.Header.ClusterId)
		}
		r.asked <- out
	})
}

func (r *run) learn(a answer) error {
	r.asking = false
	r.a.hinders(troubleAsking, a.err)
	switch {
	case a.err != nil:
		return nil //nolint:nilerr // It is told by the status, and asked again.
	case a.cluster != r.cluster.EtcdID:
		return fmt.Errorf("%w: it has etcd's ID %s, and not %s", ErrDiverged, a.cluster, r.cluster.EtcdID)
	case a.revision < a.after:
		return fmt.Errorf("%w: it is at revision %d, and %d is archived", ErrDiverged, a.revision, a.after)
	case a.term < r.position.term:
		return fmt.Errorf("%w: it is in the term %d, and was in %d", ErrDiverged, a.term, r.position.term)
	}
	r.position.term = a.term
	if len(r.answers) == maxAnswers {
		r.answers = r.answers[:maxAnswers-1]
	}
	r.answers = append(r.answers, a)
	r.settle()
	return nil
}

// settle looks which answers are fulfilled by what was received and by what is stored.
func (r *run) settle() {
	if !r.verified {
		return
	}
	done := 0
	for n, a := range r.answers {
		if a.revision <= r.position.revision {
			r.confirmed = a.at
		}
		if a.revision <= r.flushed {
			r.current, done = a.at, n+1
		}
	}
	r.answers = r.answers[done:]
	r.publish()
}

func (r *run) publish() {
	r.a.note(func(s *Status) {
		s.History, s.Base, s.Revision, s.Current = r.history, r.base.backup, r.flushed, r.current
	})
}

// flush hands a segment over to be stored, if it is time for it and no other one is. What is pending is not in it.
func (r *run) flush() {
	b := r.batch
	if b == nil || r.uploading || (!r.due && b.writer.size < r.a.options.FlushBytes) {
		return
	}
	b.seal(r.position, r.confirmed)
	r.batch, r.due, r.uploading = nil, false, true
	r.starting.Go(func() { r.uploads <- r.upload(r.storing, b) })
}

func (r *run) uploaded(u uploaded) error {
	r.uploading = false
	if u.err != nil {
		return u.err
	}
	r.unknown = u.unknown
	if r.idle != "" {
		// What it says is said by the new one as well. It does no harm if it stays.
		_ = r.a.store.Delete(r.storing, r.idle)
	}
	r.idle = ""
	if u.batch.empty() {
		r.idle = u.object
	}
	now := time.Now()
	r.flushed, r.stored, r.fresh = u.batch.last, u.batch.until, false
	r.sinceBase += u.size
	// Nothing may have been read in the meantime.
	r.lastMessage = now
	r.a.note(func(s *Status) {
		s.Flushed, s.Segments, s.Bytes = now, s.Segments+1, s.Bytes+u.size
	})
	r.settle()
	if r.nextBase != nil {
		r.adoptNext()
	}
	return nil
}

// based keeps a new base until the segments have come as far.
func (r *run) based(m made) error {
	r.basing = false
	r.a.hinders(troubleBase, m.err)
	if m.err != nil {
		r.baseAfter = time.Now().Add(r.baseWait.step())
		return nil //nolint:nilerr // It is told by the status, and tried again.
	}
	if m.manifest.Cluster.EtcdID != r.cluster.EtcdID {
		return fmt.Errorf("%w: the backup %q was made of etcd's ID %s, and not %s", ErrDiverged, m.manifest.Name, m.manifest.Cluster.EtcdID, r.cluster.EtcdID)
	}
	r.nextBase, r.baseWait = &m.manifest, newBackoff()
	r.adoptNext()
	return nil
}

func (r *run) adoptNext() {
	if r.flushed < r.nextBase.State.LastRevision || !r.verified {
		return
	}
	before := r.sinceBase
	if err := r.adopt(r.work, *r.nextBase); err != nil {
		r.sinceBase = before
		r.a.hinders(troubleBase, err)
		return
	}
	r.a.hinders(troubleBase, nil)
	r.nextBase = nil
	r.publish()
}

// adopt marks a backup as a base of the history.
func (r *run) adopt(ctx context.Context, m backup.Manifest) error {
	object := baseObject(r.cluster, r.history, m)
	if err := r.a.store.Put(ctx, object, strings.NewReader("")); err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	r.base = base{object: object, revision: m.State.Revision, lastRevision: m.State.LastRevision, ended: m.Ended, backup: m.Name}
	r.sinceBase = 0
	return nil
}

// end stores what was received, for as long as that may take.
func (r *run) end() {
	limit := time.NewTimer(endLimit)
	defer limit.Stop()
	r.pending, r.nextBase, r.due = pending{}, nil, true
	for r.uploading || r.batch != nil {
		r.flush()
		select {
		case u := <-r.uploads:
			if r.uploaded(u) != nil {
				return
			}
		case <-limit.C:
			return
		}
		r.due = true
	}
}
