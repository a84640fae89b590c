package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// Options say what is archived and how.
type Options struct {
	Cluster backup.Cluster
	// Recipients are public keys of age. With any, only who has one of the private keys can read the segments.
	Recipients []string
	// Operator is the version of who archives.
	Operator string
	// Base makes a backup of the cluster on the same store, with which a recovery can begin. It is called when a history begins
	// and when the last base is due to be replaced, and may take long.
	Base func(context.Context) (backup.Manifest, error)
	// FlushEvery is after what time a revision is on the store, and FlushBytes how much is held before it is brought there at
	// once. Twice as much is the most that is held, when the store is slow; then reading waits.
	FlushEvery time.Duration
	FlushBytes int64
	// IdleEvery is how often it is stored that there was nothing new.
	IdleEvery time.Duration
	// A new base is made when the segments since the last one have BaseBytes, or when it is as old as BaseAge and there are any.
	BaseBytes int64
	BaseAge   time.Duration
}

func (o Options) withDefaults() Options {
	set := func(value *time.Duration, otherwise time.Duration) {
		if *value == 0 {
			*value = otherwise
		}
	}
	set(&o.FlushEvery, 5*time.Second)
	set(&o.IdleEvery, time.Minute)
	set(&o.BaseAge, 24*time.Hour)
	if o.FlushBytes == 0 {
		o.FlushBytes = 8 << 20
	}
	if o.BaseBytes == 0 {
		o.BaseBytes = 4 << 30
	}
	return o
}

// Status is how far an archiver is.
type Status struct {
	// History and Base are what is continued: the name of the history, and of the last backup that is a base of it.
	History, Base string
	// Revision is the last one on the store, and Current the moment of which it is certain that all that was acknowledged before is
	// on the store. With an archiver that keeps up, it is never much longer ago than FlushEvery, also if there is nothing new.
	Revision int64
	Current  time.Time
	// Flushed is when the last segment was stored; Segments and Bytes count what was stored since the archiver began.
	Flushed  time.Time
	Segments int
	Bytes    int64
	// Err is what hinders it, and is nil again when that is over. Broken is why the history began, if not for being the first.
	Err, Broken error
}

// Lag is how much would be lost if the cluster were lost now.
func (s Status) Lag(now time.Time) time.Duration { return now.Sub(s.Current) }

var (
	// ErrCompacted says that revisions were compacted before they were archived.
	ErrCompacted = errors.New("the cluster has compacted revisions that are not archived")
	// ErrDiverged says that the cluster is another one, or that it was set back: its data does not continue what is archived.
	ErrDiverged = errors.New("the cluster's data does not continue what is archived")
	// ErrGap says that etcd has left out revisions.
	ErrGap = errors.New("the cluster has left out revisions")
)

// broken is whether a history cannot be continued.
func broken(err error) bool {
	return errors.Is(err, ErrCompacted) || errors.Is(err, ErrDiverged) || errors.Is(err, ErrGap)
}

const (
	// retryFirst and retryLimit are how long it is waited after a failure: twice as long each time.
	retryFirst = 200 * time.Millisecond
	retryLimit = 30 * time.Second
	// hashLimit is how long a member may take to read all of its data.
	hashLimit = time.Minute
)

// Archiver follows one cluster.
type Archiver struct {
	client     *clientv3.Client
	store      store.Store
	options    Options
	recipients []age.Recipient

	mutex    sync.Mutex
	status   Status
	troubles map[trouble]error
}

// trouble is what hinders an archiver.
type trouble int

const (
	troubleFollowing trouble = iota
	troubleWatching
	troubleAsking
	troubleStoring
	troubleBase
	allTroubles
)

// New is an archiver that has not begun. The client reaches all members of the cluster, and may read all keys.
func New(client *clientv3.Client, s store.Store, o Options) (*Archiver, error) {
	recipients, err := backup.ParseRecipients(o.Recipients)
	if err != nil {
		return nil, fmt.Errorf("the archive of the cluster %s/%s: %w", o.Cluster.Namespace, o.Cluster.Name, err)
	}
	return &Archiver{client: client, store: s, options: o.withDefaults(), recipients: recipients, troubles: map[trouble]error{}}, nil
}

// Status tells how far it is.
func (a *Archiver) Status() Status {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	status := a.status
	var errs []error
	for kind := range allTroubles {
		errs = append(errs, a.troubles[kind])
	}
	status.Err = errors.Join(errs...)
	return status
}

// hinders remembers what hinders it, or with nil that it does no more.
func (a *Archiver) hinders(kind trouble, err error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.troubles[kind] = err
}

func (a *Archiver) note(change func(*Status)) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	change(&a.status)
}

// Follow archives until the context ends, and then stores what it still has. It goes on where the newest history ends if the
// cluster's data continues it, and begins another one if not. Failures of the cluster and of the store are waited out, and
// told by Status.
func (a *Archiver) Follow(ctx context.Context) {
	wait := newBackoff()
	resume := true
	for ctx.Err() == nil {
		began := time.Now()
		r, err := a.begin(ctx, resume)
		a.hinders(troubleFollowing, err)
		if err == nil {
			err = r.run(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if resume = !broken(err); !resume {
			a.note(func(s *Status) { s.Broken = err })
		}
		if time.Since(began) > retryLimit {
			wait = newBackoff()
		}
		wait.pause(ctx)
	}
}

// begin continues the newest history, or begins one with a new base.
func (a *Archiver) begin(ctx context.Context, resume bool) (*run, error) {
	if resume {
		r, err := a.resume(ctx)
		if r != nil || err != nil {
			return r, err
		}
	}
	m, err := a.makeBase(ctx)
	if err != nil {
		return nil, err
	}
	name, err := a.newHistory(ctx, m.Ended)
	if err != nil {
		return nil, err
	}
	r := a.continueBase(name, m)
	if err := r.adopt(ctx, m); err != nil {
		return nil, err
	}
	r.publish()
	return r, nil
}

// continueBase is a history that has nothing but a base.
func (a *Archiver) continueBase(history string, m backup.Manifest) *run {
	r := &run{a: a, history: history, cluster: a.options.Cluster, flushed: m.State.Revision, current: m.Begun, stored: m.Ended, fresh: true}
	r.cluster.EtcdID = m.Cluster.EtcdID
	r.position = position{revision: m.State.Revision, term: m.State.RaftTerm, received: m.Ended}
	return r
}

// newHistory is the name of a history that comes after all that are there, also if the clock was set back.
func (a *Archiver) newHistory(ctx context.Context, began time.Time) (string, error) {
	all, err := list(ctx, a.store, a.options.Cluster)
	if err != nil {
		return "", err
	}
	if len(all) > 0 {
		if newest, err := time.Parse(moment, all[len(all)-1].name); err == nil && !began.After(newest) {
			began = newest.Add(1)
		}
	}
	return began.UTC().Format(moment), nil
}

func (a *Archiver) makeBase(ctx context.Context) (backup.Manifest, error) {
	m, err := a.options.Base(ctx)
	if err == nil && (m.Cluster.Folder() != a.options.Cluster.Folder() || m.Name == "" || strings.Contains(m.Name, "/")) {
		err = fmt.Errorf("it is the backup %q of %q; give one of %q", m.Name, m.Cluster.Folder(), a.options.Cluster.Folder())
	}
	if err == nil {
		// Nobody restores it on trial. What the store has not kept as it was sent is found out while the cluster can be asked again.
		err = backup.Check(ctx, a.store, m)
	}
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("a base for the archive of the cluster %s/%s: %w", a.options.Cluster.Namespace, a.options.Cluster.Name, err)
	}
	return m, nil
}

// resume finds where the newest history ends. It returns nothing if there is none yet.
func (a *Archiver) resume(ctx context.Context) (*run, error) {
	all, err := list(ctx, a.store, a.options.Cluster)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	h := all[len(all)-1]
	if len(h.bases) == 0 {
		return nil, fmt.Errorf("%w: the history %s in %s has no base", ErrDiverged, h.name, a.store)
	}
	newest := h.bases[len(h.bases)-1]
	if len(h.segments) == 0 {
		return a.resumeBase(ctx, h.name, newest)
	}
	c := h.chain(newest)
	if c.next != 0 {
		return nil, fmt.Errorf("%w: the history %s in %s lacks the revisions %d to %d", ErrGap, h.name, a.store, c.last+1, c.next-1)
	}
	end, ok := h.end(c)
	if !ok {
		return nil, fmt.Errorf("%w: the history %s in %s has no segment by which the cluster could be known again", ErrDiverged, h.name, a.store)
	}
	head, err := a.peek(ctx, end)
	if err != nil {
		return nil, err
	}
	if head.Cluster.Folder() != a.options.Cluster.Folder() || head.History != h.name || head.Last != c.last || head.Shape == "" {
		return nil, fmt.Errorf("%w: the segment %q in %s does not say what its name does, or cannot be known again", ErrDiverged, end.object, a.store)
	}
	r := &run{a: a, history: h.name, cluster: head.Cluster, base: newest, flushed: c.last, current: c.until, stored: c.until}
	r.position = position{revision: c.last, shape: head.Shape, term: head.RaftTerm, received: c.until}
	for _, s := range c.segments {
		r.sinceBase += s.size
	}
	r.publish()
	return r, nil
}

// resumeBase continues a base that has no segments yet, if the cluster has the same data at its revision.
func (a *Archiver) resumeBase(ctx context.Context, history string, b base) (*run, error) {
	m, err := backup.Load(ctx, a.store, a.options.Cluster, b.backup)
	if errors.Is(err, backup.ErrNoBackup) {
		return nil, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	if err != nil {
		return nil, err
	}
	hash, err := a.hash(ctx, m.State.Revision)
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil, fmt.Errorf("%w: those up to %d, which the backup %q has", ErrCompacted, m.State.Revision, m.Name)
	}
	if err != nil {
		return nil, err
	}
	if hash.Hash != m.State.Hash || hash.CompactRevision != m.State.CompactRevision {
		return nil, fmt.Errorf("%w: its hash at revision %d is %d, compacted at %d; in the backup %q it was %d, compacted at %d",
			ErrDiverged, m.State.Revision, hash.Hash, hash.CompactRevision, m.Name, m.State.Hash, m.State.CompactRevision)
	}
	r := a.continueBase(history, m)
	r.base = b
	r.publish()
	return r, nil
}

// hash is that of any member which tells it.
func (a *Archiver) hash(ctx context.Context, revision int64) (hash *clientv3.HashKVResponse, err error) {
	for _, endpoint := range a.client.Endpoints() {
		ctx, cancel := context.WithTimeout(ctx, hashLimit)
		hash, err = a.client.HashKV(ctx, endpoint, revision)
		cancel()
		if err == nil || errors.Is(err, rpctypes.ErrCompacted) {
			break
		}
	}
	return hash, err
}

// end is the segment that a chain ends with: also one that says that there was nothing more.
func (h history) end(c chain) (end segment, ok bool) {
	for _, s := range h.segments {
		if s.last == c.last && (!ok || s.until.After(end.until)) {
			end, ok = s, true
		}
	}
	return end, ok
}

// peek reads the header of a segment, which is not encrypted.
func (a *Archiver) peek(ctx context.Context, seg segment) (header, error) {
	content, err := get(ctx, a.store, seg.object, seg.size)
	if err != nil {
		return header{}, err
	}
	h, rest, err := parse(content)
	if err == nil {
		err = h.whole(rest)
	}
	if err != nil {
		return header{}, fmt.Errorf("%w: %w", ErrDiverged, refused(a.store, seg.object, err))
	}
	return h, nil
}

// backoff waits longer after each failure.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: retryFirst} }

func (b *backoff) step() time.Duration {
	now := b.next
	b.next = min(2*b.next, retryLimit)
	return now
}

func (b *backoff) pause(ctx context.Context) {
	timer := time.NewTimer(b.step())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
