package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/stream"
)

// maxAnswers bounds what is remembered.
const maxAnswers = 64

// session follows the source with one watch. Its loop alone has its fields.
type session struct {
	*Mirror
	// position is the last revision that the target has. watched is whether the stream has answered.
	position int64
	watched  bool
	gatherer gatherer
	// answers are what the source said of its revision, as long as the target does not have it.
	answers     []answer
	asking      bool
	asked       chan answer
	lastMessage time.Time
	leasesDue   time.Time
	compactDue  time.Time
}

// answer is what the source said of its revision: none that was acknowledged before it was asked is later.
type answer struct {
	at  time.Time
	now state
	err error
}

// follow mirrors from where the target is, until something hinders it.
func (m *Mirror) follow(ctx context.Context) error {
	position, err := m.begin(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	s := &session{Mirror: m, position: position, asked: make(chan answer, 1), lastMessage: time.Now()}
	// From the position itself: so the next revision cannot have been compacted.
	source := stream.Open(ctx, &working, m.source, position)
	poll := time.NewTicker(m.options.PollEvery)
	defer poll.Stop()
	s.ask(ctx, &working)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case message := <-source.Messages:
			err = s.take(ctx, message)
		case a := <-s.asked:
			err = s.learn(a)
		case <-poll.C:
			s.ask(ctx, &working)
			err = s.look(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// begin sees to it that nobody else writes to the target, and that it continues the source. It is the target's revision.
func (m *Mirror) begin(ctx context.Context) (int64, error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	// The target first: it cannot have what the source does not have later.
	there, err := ask(ctx, m.target)
	if err != nil {
		return 0, fmt.Errorf("the revision of the target: %w", err)
	}
	here, err := ask(ctx, m.source)
	if err != nil {
		return 0, fmt.Errorf("the revision of the source: %w", err)
	}
	switch {
	case here.id == there.id:
		return 0, fmt.Errorf("%w: both have etcd's ID %x, so they are the same cluster", ErrDiverged, here.id)
	case m.sourceID != 0 && m.sourceID != here.id:
		return 0, fmt.Errorf("%w: the source has etcd's ID %x, and had %x", ErrDiverged, here.id, m.sourceID)
	case here.revision < there.revision:
		return 0, fmt.Errorf("%w: the target is at revision %d, and the source at %d only", ErrDiverged, there.revision, here.revision)
	}
	m.sourceID = here.id
	if err := m.alike(ctx, there.revision); err != nil {
		return 0, err
	}
	m.note(func(s *Status) {
		s.Revision, s.SourceRevision = there.revision, max(s.SourceRevision, here.revision)
	})
	return there.revision, nil
}

// take repeats what came over the stream.
func (s *session) take(ctx context.Context, m stream.Message) error {
	if m.Err != nil {
		return fmt.Errorf("watching the source from revision %d: %w", s.position, m.Err)
	}
	w := m.Response
	s.lastMessage = m.Received
	switch {
	case w.Header.GetClusterId() != s.sourceID:
		return fmt.Errorf("%w: the source has etcd's ID %x, and had %x", ErrDiverged, w.Header.GetClusterId(), s.sourceID)
	case w.CompactRevision > 0:
		return fmt.Errorf("%w: those before %d, and the target has %d", ErrCompacted, w.CompactRevision, s.position)
	case w.Canceled:
		return fmt.Errorf("watching the source from revision %d: etcd has ended the watch: %s", s.position, w.CancelReason)
	}
	if !s.watched {
		s.watched = true
		s.hinders(troubleFollowing, nil)
	}
	return s.gatherer.take(w, func(events []*mvccpb.Event) error { return s.repeat(ctx, events) })
}

// repeat makes a revision on the target.
func (s *session) repeat(ctx context.Context, events []*mvccpb.Event) error {
	revision := events[0].Kv.ModRevision
	switch {
	case revision <= s.position:
		return nil
	case revision > s.position+1:
		return fmt.Errorf("%w: the source has left out revisions: %d comes after %d", ErrDiverged, revision, s.position)
	}
	if !s.leases.alive(lockLease, time.Now()) {
		return errLocked
	}
	if err := s.grantFor(ctx, events); err != nil {
		return err
	}
	if err := s.write(ctx, events); err != nil {
		return fmt.Errorf("writing revision %d: %w", revision, err)
	}
	s.position = revision
	// Nothing was read meanwhile.
	s.lastMessage = time.Now()
	s.note(func(status *Status) {
		status.Revision, status.SourceRevision = revision, max(status.SourceRevision, revision)
		status.Transactions++
		for _, e := range events {
			status.Bytes += int64(len(e.Kv.Key) + len(e.Kv.Value))
		}
	})
	s.settle()
	return nil
}

// ask has the source tell its revision.
func (s *session) ask(ctx context.Context, working *sync.WaitGroup) {
	if s.asking {
		return
	}
	s.asking = true
	working.Go(func() {
		out := answer{at: s.options.Now()}
		out.now, out.err = ask(ctx, s.source)
		s.asked <- out
	})
}

func (s *session) learn(a answer) error {
	s.asking = false
	switch {
	case a.err != nil:
		s.hinders(troubleAsking, fmt.Errorf("the revision of the source: %w", a.err))
		return nil //nolint:nilerr // It is told by the status, and asked again.
	case a.now.id != s.sourceID:
		return fmt.Errorf("%w: the source has etcd's ID %x, and had %x", ErrDiverged, a.now.id, s.sourceID)
	}
	s.hinders(troubleAsking, nil)
	s.note(func(status *Status) { status.SourceRevision = max(status.SourceRevision, a.now.revision) })
	if len(s.answers) == maxAnswers {
		s.answers = s.answers[:maxAnswers-1]
	}
	s.answers = append(s.answers, a)
	s.settle()
	if len(s.answers) > 0 && time.Since(s.lastMessage) > stallLimit {
		return fmt.Errorf("the source has revision %d and has sent nothing that comes after %d for %s", a.now.revision, s.position, stallLimit)
	}
	return nil
}

// settle looks which answers the target has come up to.
func (s *session) settle() {
	done := 0
	for done < len(s.answers) && s.answers[done].now.revision <= s.position {
		done++
	}
	if done == 0 {
		return
	}
	current := s.answers[done-1].at
	s.answers = s.answers[done:]
	s.note(func(status *Status) { status.Current = current })
}

// look does what is done now and then: it sees whether somebody else has written to the target, and repeats what has no revision.
func (s *session) look(ctx context.Context) error {
	there, err := ask(ctx, s.target)
	if err != nil {
		return fmt.Errorf("the revision of the target: %w", err)
	}
	if there.revision != s.position {
		return fmt.Errorf("the target is at revision %d, and was brought to %d", there.revision, s.position)
	}
	now := time.Now()
	if !now.Before(s.leasesDue) {
		more, err := s.alignLeases(ctx)
		if !more {
			s.leasesDue = now.Add(s.options.LeasesEvery)
		}
		s.hinders(troubleLeases, err)
	}
	if !now.Before(s.compactDue) {
		s.compactDue = now.Add(s.options.CompactEvery)
		err := s.alignCompaction(ctx)
		if err != nil {
			err = fmt.Errorf("compacting the target as the source: %w", err)
		}
		s.hinders(troubleCompacting, err)
	}
	return nil
}

// alignCompaction compacts the target as the source, as soon as the target is that far.
func (s *session) alignCompaction(ctx context.Context) error {
	done := s.Status().Compacted
	if s.compact <= done {
		where, err := compactedAt(ctx, s.source, max(done, 1))
		if err != nil || where == 0 {
			return err
		}
		s.compact = where
	}
	if s.compact > s.position {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if _, err := s.target.Compact(ctx, s.compact); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	s.note(func(status *Status) { status.Compacted = s.compact })
	return nil
}

// compactedAt is where a cluster was compacted, if later than at a revision; 0 if it was not. Only who watches is told where.
func compactedAt(ctx context.Context, client *clientv3.Client, after int64) (int64, error) {
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	_, err := client.Get(limited, "\x00", clientv3.WithCountOnly(), clientv3.WithRev(after))
	if !errors.Is(err, rpctypes.ErrCompacted) {
		return 0, err
	}
	_, err = revisionAt(ctx, client, after)
	var compacted compactedError
	if errors.As(err, &compacted) {
		return compacted.revision, nil
	}
	return 0, err
}
