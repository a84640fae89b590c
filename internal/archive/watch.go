package archive

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/stream"
)

// pending is a revision of which there may be more to come.
type pending struct {
	revision int64
	rows     []byte
	events   int64
	shape    shape
	leases   []int64
}

// take adds what came over the stream. An error says that the history cannot be continued.
func (r *run) take(m stream.Message) error {
	if m.Err != nil {
		r.lost(m.Err)
		return nil //nolint:nilerr // It is told by the status, and tried again.
	}
	w := m.Response
	r.lastMessage = m.Received
	if id := fmt.Sprintf("%x", w.Header.GetClusterId()); id != r.cluster.EtcdID {
		return fmt.Errorf("%w: it has etcd's ID %s, and not %s", ErrDiverged, id, r.cluster.EtcdID)
	}
	if w.CompactRevision > 0 {
		return fmt.Errorf("%w: those before %d, of which %d and later ones are needed", ErrCompacted, w.CompactRevision, r.position.revision)
	}
	if w.Canceled {
		r.lost(errors.New("etcd has ended the watch: " + w.CancelReason))
		return nil
	}
	for _, e := range w.Events {
		if err := r.event(e, m.Received); err != nil {
			return err
		}
	}
	if len(w.Events) > 0 && !w.Fragment {
		if err := r.complete(m.Received); err != nil {
			return err
		}
	}
	r.streamWait = newBackoff()
	r.a.hinders(troubleWatching, nil)
	return nil
}

func (r *run) event(e *mvccpb.Event, received time.Time) error {
	revision := e.Kv.ModRevision
	if r.pending.revision != 0 && r.pending.revision != revision {
		if err := r.complete(received); err != nil {
			return err
		}
	}
	first := r.position.revision + 1
	if r.position.shape == "" || !r.verified {
		first--
	}
	switch {
	case revision < first && r.pending.revision == 0:
		return nil
	case !r.verified && revision > r.position.revision:
		return fmt.Errorf("%w: it has no revision %d, which is archived", ErrDiverged, r.position.revision)
	case revision > r.position.revision+1:
		return fmt.Errorf("%w: %d comes after %d", ErrGap, revision, r.position.revision)
	}
	mark := byte(putMark)
	if e.Type == mvccpb.Event_DELETE {
		mark = tombstoneMark
	}
	p := &r.pending
	if p.revision == 0 {
		p.revision, p.shape = revision, newShape()
	}
	r.scratch = encodeRow(r.scratch[:0], e)
	p.rows = appendRow(p.rows, mark, r.scratch)
	p.shape.add(e)
	p.events++
	if id := e.Kv.Lease; id != 0 && !r.seen[id] {
		p.leases = append(p.leases, id)
	}
	return nil
}

// complete takes a whole revision: that of the position, by which it is known again, or the next one.
func (r *run) complete(received time.Time) error {
	p := r.pending
	if p.revision == 0 {
		return nil
	}
	r.pending = pending{}
	if cap(p.rows) <= 1<<20 {
		r.pending.rows = p.rows[:0]
	}
	shape := p.shape.String()
	if p.revision == r.position.revision {
		if !r.verified && r.position.shape != shape {
			return fmt.Errorf("%w: its revision %d is not what is archived", ErrDiverged, p.revision)
		}
		r.position.shape, r.verified = shape, true
		r.settle()
		return nil
	}
	if r.batch == nil {
		r.batch = r.newBatch()
	}
	if received.Before(r.position.received) {
		received = r.position.received
	}
	r.position = position{revision: p.revision, shape: shape, term: r.position.term, received: received}
	for _, id := range p.leases {
		if r.seen[id] {
			continue
		}
		if len(r.seen) == maxLeases {
			clear(r.seen)
		}
		r.seen[id] = true
		r.batch.leases = append(r.batch.leases, id)
	}
	return r.batch.add(p, received)
}
