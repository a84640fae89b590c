package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// leaseLimit is how long the cluster may take to tell of the leases of a segment.
const leaseLimit = 5 * time.Second

// batch is a segment that is not stored yet.
type batch struct {
	first, last int64
	until       time.Time
	term        uint64
	shape       string
	events      int64
	leases      []int64
	writer      *writer
}

func (b *batch) empty() bool { return b.last < b.first }

// newBatch also asks again for the leases of which the cluster could not tell.
func (r *run) newBatch() *batch {
	b := &batch{first: r.position.revision + 1, leases: r.unknown, writer: newWriter()}
	r.unknown = nil
	return b
}

// add takes a whole revision.
func (b *batch) add(p pending, received time.Time) error {
	b.events += p.events
	if err := b.writer.revision(p.revision, received); err != nil {
		return err
	}
	return b.writer.write(p.rows)
}

// seal says what it ends with.
func (b *batch) seal(at position, confirmed time.Time) {
	b.last, b.shape, b.term, b.until = at.revision, at.shape, at.term, at.received
	if confirmed.After(b.until) {
		b.until = confirmed
	}
	b.until = b.until.UTC().Round(0)
}

// upload stores a segment, and tries again until the context ends.
func (r *run) upload(ctx context.Context, b *batch) uploaded {
	out := uploaded{batch: b, object: segmentObject(r.cluster, r.history, b.first, b.last, b.until)}
	out.unknown, out.err = r.writeLeases(ctx, b)
	if out.err != nil {
		return out
	}
	head, content, err := b.writer.seal(header{
		Operator: r.a.options.Operator, Cluster: r.cluster, History: r.history, First: b.first, Last: b.last, Until: b.until,
		RaftTerm: b.term, Shape: b.shape, Events: b.events, Recipients: r.a.options.Recipients,
	}, r.a.recipients)
	if err != nil {
		out.err = err
		return out
	}
	out.size = int64(len(head) + len(content))
	wait := newBackoff()
	for {
		out.err = r.a.store.Put(ctx, out.object, io.MultiReader(bytes.NewReader(head), bytes.NewReader(content)))
		if errors.Is(out.err, store.ErrExists) {
			// The answer to an earlier try may have been lost.
			there, err := r.a.store.Stat(ctx, out.object)
			switch {
			case err != nil:
				out.err = err
			case there.Size == out.size:
				out.err = nil
			default:
				out.err = fmt.Errorf("%w: %w, and it is another one", ErrDiverged, out.err)
				return out
			}
		}
		r.a.hinders(troubleStoring, out.err)
		if out.err == nil || ctx.Err() != nil {
			return out
		}
		wait.pause(ctx)
	}
}

// writeLeases asks for the TTL of the leases that were first seen in a segment. That of one which is gone by now is 0.
func (r *run) writeLeases(ctx context.Context, b *batch) (unknown []int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseLimit)
	defer cancel()
	for n, id := range b.leases {
		lease, err := r.a.client.TimeToLive(ctx, clientv3.LeaseID(id))
		if err != nil {
			unknown = append(unknown, id)
			if ctx.Err() != nil {
				return append(unknown, b.leases[n+1:]...), nil
			}
			continue
		}
		if err := b.writer.lease(id, lease.GrantedTTL); err != nil {
			return nil, err
		}
	}
	return unknown, nil
}
