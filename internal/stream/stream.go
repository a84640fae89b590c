// Package stream watches all keys of an etcd, and holds no more of it than one response.
package stream

import (
	"context"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// responseLimit is more than what etcd ever sends at once: it refuses requests, and splits responses, that are far smaller.
const responseLimit = 512 << 20

// Message is what came over a stream and when, or why it ended.
type Message struct {
	Response *etcdserverpb.WatchResponse
	Received time.Time
	Err      error
}

// Stream is a watch of all keys. It is etcd's own and not that of the client's library, which keeps in memory whatever is
// not taken from it, and puts responses together again that etcd has split: here nothing is read before it is asked for.
type Stream struct {
	// Messages are what comes, in the order of revisions. After one with an error there are no more.
	Messages chan Message
	cancel   context.CancelFunc
}

// Open begins a stream at a revision. It ends with the context or when it is closed; what it has started is added to the group.
func Open(ctx context.Context, starting *sync.WaitGroup, client *clientv3.Client, from int64) *Stream {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	s := &Stream{Messages: make(chan Message), cancel: cancel}
	starting.Go(func() {
		defer cancel()
		err := s.receive(ctx, client, from)
		s.send(ctx, Message{Err: err})
	})
	return s
}

// Close ends the stream.
func (s *Stream) Close() { s.cancel() }

func (s *Stream) send(ctx context.Context, m Message) bool {
	select {
	case s.Messages <- m:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Stream) receive(ctx context.Context, client *clientv3.Client, from int64) error {
	wire, err := etcdserverpb.NewWatchClient(client.ActiveConnection()).Watch(ctx, grpc.MaxCallRecvMsgSize(responseLimit))
	if err != nil {
		return err
	}
	all := []byte{0}
	create := &etcdserverpb.WatchCreateRequest{Key: all, RangeEnd: all, StartRevision: from, Fragment: true}
	if err := wire.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		return err
	}
	for {
		response, err := wire.Recv()
		if err != nil {
			return err
		}
		if !s.send(ctx, Message{Response: response, Received: time.Now()}) {
			return ctx.Err()
		}
	}
}
