package backup

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"syscall"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// Request is what backup is to be made.
type Request struct {
	// Name is unique among the backups of the cluster.
	Name    string
	Cluster Cluster
	// Member is whom to ask: its name, and its only endpoint in a client of its own.
	Member   string
	Endpoint string
	Client   *clientv3.Client
	// Recipients are public keys of age. With any, only who has one of the private keys can read the backup.
	Recipients []string
	// Operator is the version of who makes it.
	Operator string
	// Spec is that of the EtcdCluster, to be kept with the backup.
	Spec json.RawMessage
	// Limit is how long it may take; [Longest] if it is 0, and never longer.
	Limit time.Duration
}

// Longest is how long a backup may take. A snapshot that is older, and has no manifest, is removed some hours later: until then
// whatever request was under way has reached the store, or never will.
const Longest = 20 * time.Hour

func (r Request) limit() time.Duration {
	if r.Limit > 0 {
		return min(r.Limit, Longest)
	}
	return Longest
}

// Take makes a backup, or returns the one of that name of the cluster that there is. Memory does not grow with the size of the
// database. An error leaves no backup; a whole object may be left behind that no manifest refers to.
func Take(ctx context.Context, s store.Store, r Request) (Manifest, error) {
	m := Manifest{Format: Format, Name: r.Name, Begun: time.Now().UTC(), Operator: r.Operator, Cluster: r.Cluster, Member: Member{Name: r.Member}, Spec: r.Spec}
	// Whatever goes wrong, the stream of the member ends.
	ctx, cancel := context.WithTimeoutCause(ctx, r.limit(), fmt.Errorf("%w: %s are over", errLate, r.limit()))
	defer cancel()
	failed := func(err error) (Manifest, error) {
		if late := context.Cause(ctx); errors.Is(late, errLate) {
			err = fmt.Errorf("%w: %w", late, err)
		}
		return Manifest{}, fmt.Errorf("the backup %q of the cluster %s/%s from its member %s: %w", r.Name, r.Cluster.Namespace, r.Cluster.Name, r.Member, err)
	}
	if there, err := Load(ctx, s, r.Cluster, r.Name); err == nil {
		return there, nil
	} else if !errors.Is(err, ErrNoBackup) {
		return failed(err)
	}
	recipients, err := ParseRecipients(r.Recipients)
	if err != nil {
		return failed(err)
	}
	before, err := r.Client.Status(ctx, r.Endpoint)
	if err != nil {
		return failed(fmt.Errorf("its status: %w", err))
	}
	both, working := errgroup.WithContext(ctx)
	// The member opens the snapshot before it sends the first of it, which is waited for here.
	stream, err := r.Client.SnapshotWithVersion(working)
	if err != nil {
		return failed(fmt.Errorf("its snapshot: %w", err))
	}
	defer stream.Snapshot.Close()
	m.Cluster.EtcdID, m.Member.ID, m.Member.Version = hexID(before.Header.ClusterId), hexID(before.Header.MemberId), before.Version
	m.Stored = Stored{Object: path.Join(r.Cluster.folder(r.Name), snapshotName+rand.Text()), Compression: Zstd, Recipients: r.Recipients}
	if len(recipients) > 0 {
		m.Stored.Encryption = Age
	}
	// For the hash the member reads all keys as well, which takes about as long as the snapshot.
	both.Go(func() (err error) {
		m.State, err = state(working, r, before)
		return err
	})
	both.Go(func() error { return upload(working, s, &m, stream.Snapshot, recipients) })
	if err := both.Wait(); err != nil {
		return failed(err)
	}
	m.Ended, m.PeakMemory = time.Now().UTC(), peakMemory()
	if m, err = m.write(ctx, s); err != nil {
		return failed(err)
	}
	return m, nil
}

// errLate says that a backup was given up.
var errLate = errors.New("it takes too long; a faster store, or agents with more CPU, may help")

// state asks the member about the revision that it had before the snapshot was opened. Its answer is valid although the
// member has gone on: a revision never changes. What it has compacted is at least what the snapshot has.
func state(ctx context.Context, r Request, before *clientv3.StatusResponse) (State, error) {
	revision := before.Header.Revision
	hash, err := r.Client.HashKV(ctx, r.Endpoint, revision)
	if err != nil {
		return State{}, fmt.Errorf("its hash at revision %d: %w; if that was compacted in this moment, make another backup", revision, err)
	}
	keys, err := r.Client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly(), clientv3.WithSerializable(), clientv3.WithRev(revision))
	if err != nil {
		return State{}, fmt.Errorf("its number of keys at revision %d: %w; if that was compacted in this moment, make another backup", revision, err)
	}
	if hash.Header.MemberId != before.Header.MemberId || keys.Header.MemberId != before.Header.MemberId {
		return State{}, fmt.Errorf("several members answer at %s; give the endpoint of one", r.Endpoint)
	}
	return State{
		Revision: revision, LastRevision: keys.Header.Revision, Hash: hash.Hash, CompactRevision: hash.CompactRevision, Keys: keys.Count,
		RaftTerm: before.RaftTerm, RaftIndex: before.RaftIndex,
	}, nil
}

// upload sends the snapshot through compression and encryption to the store, and says in the manifest what arrived.
func upload(ctx context.Context, s store.Store, m *Manifest, from io.Reader, recipients []age.Recipient) error {
	reader, writer := io.Pipe()
	snapshot, stored := newTrailed(from), newMeasure()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		writer.CloseWithError(pack(io.MultiWriter(writer, stored), snapshot, recipients))
	}()
	err := s.Put(ctx, m.Stored.Object, reader)
	// A store that gave up no longer reads.
	_ = reader.CloseWithError(errors.New("the store has stopped reading"))
	<-ended
	whole := snapshot.measured()
	m.Snapshot = Snapshot{Size: whole.size, SHA256: whole.hex()}
	m.Stored.Size, m.Stored.SHA256 = stored.size, stored.hex()
	return err
}

// pack compresses and, with recipients, encrypts.
func pack(to io.Writer, from io.Reader, recipients []age.Recipient) error {
	var closers []io.Closer
	if len(recipients) > 0 {
		encrypted, err := age.Encrypt(to, recipients...)
		if err != nil {
			return err
		}
		to, closers = encrypted, []io.Closer{encrypted}
	}
	compressed, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	if _, err := io.Copy(compressed, from); err != nil {
		return err
	}
	for _, c := range append([]io.Closer{compressed}, closers...) {
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

// window is how far back the compression looks, which costs memory on both sides.
const window = 1 << 20

// ParseRecipients reads public keys of age.
func ParseRecipients(keys []string) ([]age.Recipient, error) {
	var all []age.Recipient
	for _, key := range keys {
		recipient, err := age.ParseX25519Recipient(key)
		if err != nil {
			return nil, fmt.Errorf("the recipient %q is no public key of age; give one that begins with age1, as age-keygen prints it", key)
		}
		all = append(all, recipient)
	}
	return all, nil
}

// peakMemory is how many bytes this process had at most; 0 if that is not known.
func peakMemory() int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return used.Maxrss << 10
}

func hexID(id uint64) string { return fmt.Sprintf("%x", id) }
