package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// tries is how often a download is taken up again without getting any further.
const tries = 5

// DiffersError is a backup that is not what it ought to be: not whole, not what the cluster had, or not there. It will not become
// that by another try.
type DiffersError struct{ Err error }

// Error implements error.
func (e *DiffersError) Error() string { return e.Err.Error() }

// Unwrap implements errors.
func (e *DiffersError) Unwrap() error { return e.Err }

// ErrIdentity says that what was given to decrypt a backup does not.
var ErrIdentity = errors.New("it cannot be decrypted")

// Read writes the database that a backup has to a file, say: its snapshot without etcd's checksum at the end, with which it was compared. What
// is written is good only if there is no error. Identities are private keys of age, one a line; they are needed for encrypted backups only.
func Read(ctx context.Context, s store.Store, m Manifest, identities string, to io.Writer) error {
	refused := func(err error, advice string) error {
		return &DiffersError{fmt.Errorf("the object %q in %s is not that of the backup %q: %w; %s", m.Stored.Object, s, m.Name, err, advice)}
	}
	const another = "choose another backup"
	download := &download{ctx: ctx, store: s, object: m.Stored.Object}
	defer download.close()
	stored := newMeasure()
	raw := io.TeeReader(download, stored)
	plain := raw
	if m.Stored.Encryption != "" {
		keys, err := age.ParseIdentities(strings.NewReader(identities))
		if err != nil {
			return fmt.Errorf("%w: the backup %q is encrypted for %s, and what was given to decrypt it is no private key of age: %w; give one that begins with AGE-SECRET-KEY-",
				ErrIdentity, m.Name, strings.Join(m.Stored.Recipients, ", "), err)
		}
		plain, err = age.Decrypt(raw, keys...)
		var nobody *age.NoIdentityMatchError
		if errors.As(err, &nobody) {
			return fmt.Errorf("%w: the backup %q is encrypted for %s, of none of which the private key was given; give one of them", ErrIdentity, m.Name, strings.Join(m.Stored.Recipients, ", "))
		}
		if err != nil {
			return download.or(refused(err, another))
		}
	}
	unpacked, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8*window))
	if err != nil {
		return download.or(refused(err, another))
	}
	defer unpacked.Close()
	sink := &sink{to: to, left: m.Snapshot.Size - sha256.Size}
	// No more is written than there can be.
	snapshot := newTrailed(io.LimitReader(unpacked, m.Snapshot.Size+1))
	if _, err := io.Copy(sink, snapshot); err != nil {
		if sink.err != nil {
			return fmt.Errorf("writing the snapshot of the backup %q: %w", m.Name, sink.err)
		}
		return download.or(refused(err, another))
	}
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return download.or(refused(err, another))
	}
	if err := stored.differs(m.Stored.Size, m.Stored.SHA256); err != nil {
		return refused(err, another)
	}
	if err := snapshot.measured().differs(m.Snapshot.Size, m.Snapshot.SHA256); err != nil {
		return refused(fmt.Errorf("the snapshot in it: %w", err), another)
	}
	return nil
}

// Check reads what is stored of a backup through, and compares it with the manifest. It needs no private key, and does not look into
// it: what was good when it was stored is good still.
func Check(ctx context.Context, s store.Store, m Manifest) error {
	download := &download{ctx: ctx, store: s, object: m.Stored.Object}
	defer download.close()
	stored := newMeasure()
	// No more is read than is needed to see that there is more.
	if _, err := io.Copy(stored, io.LimitReader(download, m.Stored.Size+1)); err != nil {
		return err
	}
	if err := stored.differs(m.Stored.Size, m.Stored.SHA256); err != nil {
		return &DiffersError{fmt.Errorf("the object %q in %s is not that of the backup %q: %w", m.Stored.Object, s, m.Name, err)}
	}
	return nil
}

// sink writes what is left to be written, and drops the rest. It remembers that writing failed, rather than reading.
type sink struct {
	to   io.Writer
	left int64
	err  error
}

func (s *sink) Write(p []byte) (int, error) {
	wanted := p[:max(0, min(int64(len(p)), s.left))]
	n, err := s.to.Write(wanted)
	s.left -= int64(n)
	if err != nil {
		s.err = err
		return n, err
	}
	return len(p), nil
}

// download reads an object, and takes it up again where the connection broke.
type download struct {
	ctx    context.Context
	store  store.Store
	object string
	body   io.ReadCloser
	offset int64
	failed int
	err    error
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.err != nil {
			return 0, d.err
		}
		n, err := d.next(p)
		if n > 0 {
			d.offset, d.failed = d.offset+int64(n), 0
			return n, nil
		}
		if err == io.EOF { //nolint:errorlint // Only the bare value is the end.
			return 0, io.EOF
		}
		if err == nil {
			continue
		}
		d.close()
		if d.failed++; d.failed >= tries || d.ctx.Err() != nil || errors.Is(err, store.ErrNotFound) {
			d.err = fmt.Errorf("reading %q in %s from byte %d: %w", d.object, d.store, d.offset, err)
			if errors.Is(err, store.ErrNotFound) {
				d.err = &DiffersError{d.err}
			}
		}
	}
}

func (d *download) next(p []byte) (int, error) {
	if d.body == nil {
		body, err := d.store.Get(d.ctx, d.object, d.offset)
		if err != nil {
			return 0, err
		}
		d.body = body
	}
	return d.body.Read(p)
}

func (d *download) close() {
	if d.body != nil {
		_ = d.body.Close()
		d.body = nil
	}
}

// or is the download's own error, if it has one: what could not be read is not damaged.
func (d *download) or(err error) error {
	if d.err != nil {
		return d.err
	}
	return err
}
