package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/stream"
)

// eventLimit is how long a member may take to send what a revision did. It needs about 100 ms.
const eventLimit = 2 * time.Second

// gatherer puts revisions together: one may come in several responses.
type gatherer struct{ events []*mvccpb.Event }

// take calls back for each revision that is whole.
func (g *gatherer) take(w *etcdserverpb.WatchResponse, whole func([]*mvccpb.Event) error) error {
	flush := func() error {
		events := g.events
		g.events = nil
		return whole(events)
	}
	for _, e := range w.Events {
		if len(g.events) > 0 && g.events[0].Kv.ModRevision != e.Kv.ModRevision {
			if err := flush(); err != nil {
				return err
			}
		}
		g.events = append(g.events, e)
	}
	if len(w.Events) > 0 && !w.Fragment {
		return flush()
	}
	return nil
}

// compactedError is where a watch would have had to begin at least.
type compactedError struct{ revision int64 }

func (e compactedError) Error() string {
	return fmt.Sprintf("it is compacted at revision %d", e.revision)
}

// errSeen ends a watch that has seen what it was for.
var errSeen = errors.New("it is seen")

// revisionAt is what a revision did. There may be nothing of it: not all revisions have events, and a compaction may remove them.
func revisionAt(ctx context.Context, client *clientv3.Client, revision int64) ([]*mvccpb.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, eventLimit)
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	s := stream.Open(ctx, &working, client, revision)
	var g gatherer
	var found []*mvccpb.Event
	for {
		select {
		case <-ctx.Done():
			// Nothing was sent in time: there is nothing.
			return nil, nil
		case m := <-s.Messages:
			switch {
			case m.Err != nil && ctx.Err() != nil:
				return nil, nil
			case m.Err != nil:
				return nil, m.Err
			case m.Response.CompactRevision > 0:
				return nil, compactedError{m.Response.CompactRevision}
			case m.Response.Canceled:
				return nil, errors.New("etcd has ended the watch: " + m.Response.CancelReason)
			}
			// It is no error but that it is seen.
			if err := g.take(m.Response, func(events []*mvccpb.Event) error {
				if events[0].Kv.ModRevision == revision {
					found = events
				}
				return errSeen
			}); err != nil {
				return found, nil
			}
		}
	}
}

func sameEvents(a, b []*mvccpb.Event) bool {
	return slices.EqualFunc(a, b, func(x, y *mvccpb.Event) bool { return x.Type == y.Type && proto.Equal(x.Kv, y.Kv) })
}

// alike is whether the target continues the source: their last common revision did the same. If that cannot be said, all keys are
// compared.
func (m *Mirror) alike(ctx context.Context, revision int64) error {
	var here, there []*mvccpb.Event
	var hereErr, thereErr error
	var asking sync.WaitGroup
	asking.Go(func() { here, hereErr = revisionAt(ctx, m.source, revision) })
	asking.Go(func() { there, thereErr = revisionAt(ctx, m.target, revision) })
	asking.Wait()
	var compacted compactedError
	if errors.As(hereErr, &compacted) {
		return fmt.Errorf("%w: those before %d, and the target has %d", ErrCompacted, compacted.revision, revision)
	}
	if err := errors.Join(hereErr, thereErr); err != nil {
		return fmt.Errorf("reading what revision %d did: %w", revision, err)
	}
	if len(there) > 0 && sameEvents(here, there) {
		return nil
	}
	return m.compare(ctx, revision)
}

func (m *Mirror) compare(ctx context.Context, revision int64) error {
	here, there, err := digests(ctx, m.source, m.target, revision)
	if errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("%w: %w", ErrCompacted, err)
	}
	if err == nil && here != there {
		err = fmt.Errorf("%w: %s", ErrDiverged, differ(here, there))
	}
	return err
}

// digests are what both have at a revision.
func digests(ctx context.Context, source, target *clientv3.Client, revision int64) (here, there backup.Content, err error) {
	var hereErr, thereErr error
	var reading sync.WaitGroup
	reading.Go(func() { here, hereErr = backup.DigestCluster(ctx, source, revision) })
	reading.Go(func() { there, thereErr = backup.DigestCluster(ctx, target, revision) })
	reading.Wait()
	if hereErr != nil {
		hereErr = fmt.Errorf("the source: %w", hereErr)
	}
	if thereErr != nil {
		thereErr = fmt.Errorf("the target: %w", thereErr)
	}
	return here, there, errors.Join(hereErr, thereErr)
}

func differ(here, there backup.Content) string {
	return fmt.Sprintf("at revision %d the source has %d keys with the digest %s, and the target %d with %s",
		here.Revision, here.Keys, here.Digest, there.Keys, there.Digest)
}
