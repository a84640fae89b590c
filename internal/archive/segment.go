package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

const (
	// Format is that of the segments that are written here. Another one is a number for what older programs must not read.
	Format = 1

	// window is how far back the compression looks, which costs memory on both sides.
	window = 1 << 20
	// headerLimit and rowLimit are more than what is ever written: etcd refuses such requests.
	headerLimit = 64 << 10
	rowLimit    = 512 << 20
	// tries is how often an object is read that cannot be read whole.
	tries = 5
)

// header is the first line of a segment, in JSON; the second is its sha256, and the rest is the content. The header is not
// encrypted. It has no keys or values, but a checksum in which keys are.
type header struct {
	Format   int            `json:"format"`
	Operator string         `json:"operatorVersion"`
	Cluster  backup.Cluster `json:"cluster"`
	History  string         `json:"history"`
	First    int64          `json:"first"`
	Last     int64          `json:"last"`
	Until    time.Time      `json:"until"`
	// RaftTerm and Shape are by what an archiver that goes on from here knows the data again: the term at the end, and the
	// shape of the last revision.
	RaftTerm uint64 `json:"raftTerm"`
	Shape    string `json:"shape"`
	Events   int64  `json:"events"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	// Compression, Encryption and Recipients are as in the manifest of a backup.
	Compression string   `json:"compression"`
	Encryption  string   `json:"encryption,omitempty"`
	Recipients  []string `json:"recipients,omitempty"`
}

// What a content is made of. A revision comes before its rows; leases are anywhere.
const (
	revisionMark  = 'R' // the revision, and when it was received in nanoseconds since 1970
	putMark       = 'P' // a row of etcd's bucket "key", as etcd has it
	tombstoneMark = 'D' // the same for a deletion
	leaseMark     = 'L' // the ID of a lease, and the TTL that it was granted with in seconds
)

// record is one part of a content. Row is valid until the next one.
type record struct {
	mark     byte
	revision int64
	received time.Time
	row      []byte
	lease    int64
	ttl      int64
}

// writer makes a content: compressed as it comes, so that only that is held.
type writer struct {
	compressed bytes.Buffer
	encoder    *zstd.Encoder
	scratch    []byte
	// size is that before compression.
	size int64
}

func newWriter() *writer {
	w := &writer{}
	encoder, err := zstd.NewWriter(&w.compressed, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err) // Only options that contradict each other are refused.
	}
	w.encoder = encoder
	return w
}

func (w *writer) write(p []byte) error {
	w.size += int64(len(p))
	_, err := w.encoder.Write(p)
	return err
}

func (w *writer) revision(revision int64, received time.Time) error {
	w.scratch = append(w.scratch[:0], revisionMark)
	w.scratch = binary.AppendUvarint(w.scratch, uint64(revision)) //nolint:gosec // Revisions are positive.
	w.scratch = binary.AppendVarint(w.scratch, received.UnixNano())
	return w.write(w.scratch)
}

func (w *writer) lease(id, ttl int64) error {
	w.scratch = append(w.scratch[:0], leaseMark)
	w.scratch = binary.AppendVarint(w.scratch, id)
	w.scratch = binary.AppendVarint(w.scratch, ttl)
	return w.write(w.scratch)
}

// appendRow encodes a row, so that many of them can be written at once.
func appendRow(to []byte, mark byte, row []byte) []byte {
	to = append(to, mark)
	to = binary.AppendUvarint(to, uint64(len(row)))
	return append(to, row...)
}

// seal encrypts the content if there are recipients, and tells what comes before it.
func (w *writer) seal(h header, recipients []age.Recipient) (head, content []byte, err error) {
	if err := w.encoder.Close(); err != nil {
		return nil, nil, err
	}
	h.Format, h.Compression = Format, backup.Zstd
	if len(recipients) > 0 {
		h.Encryption = backup.Age
		if err := w.encrypt(recipients); err != nil {
			return nil, nil, err
		}
	}
	content = w.compressed.Bytes()
	h.Size, h.SHA256 = int64(len(content)), checksum(content)
	line, err := json.Marshal(h)
	if err != nil {
		return nil, nil, err
	}
	return bytes.Join([][]byte{line, []byte(checksum(line)), nil}, []byte("\n")), content, nil
}

func (w *writer) encrypt(recipients []age.Recipient) error {
	var sealed bytes.Buffer
	// It gets longer by 16 bytes for each 64 KiB, and by a header.
	sealed.Grow(w.compressed.Len() + w.compressed.Len()>>11 + headerLimit)
	to, err := age.Encrypt(&sealed, recipients...)
	if err != nil {
		return err
	}
	if _, err := to.Write(w.compressed.Bytes()); err != nil {
		return err
	}
	if err := to.Close(); err != nil {
		return err
	}
	w.compressed = sealed
	return nil
}

func checksum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// parse takes a stored segment apart, and refuses one that is damaged or of a later format.
func parse(stored []byte) (header, []byte, error) {
	var h header
	line, rest, whole := bytes.Cut(stored[:min(len(stored), headerLimit)], []byte("\n"))
	sum, _, also := bytes.Cut(rest, []byte("\n"))
	if !whole || !also {
		return header{}, nil, errors.New("it has no header: it is no segment, or cut off")
	}
	if checksum(line) != string(sum) {
		return header{}, nil, errors.New("its header does not match the checksum of it: it is no segment, or damaged")
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return header{}, nil, fmt.Errorf("its header is no JSON: %w", err)
	}
	if h.Format != Format {
		return header{}, nil, fmt.Errorf("it has format %d, and this version of the operator reads %d; use the operator that made it, version %q, or a later one", h.Format, Format, h.Operator)
	}
	if h.Compression != backup.Zstd || (h.Encryption != "" && h.Encryption != backup.Age) {
		return header{}, nil, fmt.Errorf("its compression %q or its encryption %q is unknown; use the operator that made it, version %q", h.Compression, h.Encryption, h.Operator)
	}
	return h, stored[len(line)+len(sum)+2:], nil
}

// whole says how a content differs from what the header says, or nothing.
func (h header) whole(content []byte) error {
	if int64(len(content)) != h.Size {
		return fmt.Errorf("its content has %d bytes, its header says %d", len(content), h.Size)
	}
	if sum := checksum(content); sum != h.SHA256 {
		return fmt.Errorf("the sha256 of its content is %s, its header says %s", sum, h.SHA256)
	}
	return nil
}

// errNoKey says that a segment is good, as far as can be seen, but cannot be read with what was given.
var errNoKey = fmt.Errorf("%w: the private key for it was not given", backup.ErrIdentity)

// read goes through the records of a content, which has to be what the header says.
func (h header) read(content []byte, identities string, visit func(record) error) error {
	if err := h.whole(content); err != nil {
		return err
	}
	var plain io.Reader = bytes.NewReader(content)
	if h.Encryption != "" {
		keys, err := age.ParseIdentities(strings.NewReader(identities))
		if err == nil {
			plain, err = age.Decrypt(plain, keys...)
		}
		var nobody *age.NoIdentityMatchError
		if errors.As(err, &nobody) || len(keys) == 0 {
			return fmt.Errorf("it is encrypted for %s: %w; give one that begins with AGE-SECRET-KEY-", strings.Join(h.Recipients, ", "), errNoKey)
		}
		if err != nil {
			return err
		}
	}
	decoder, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8*window))
	if err != nil {
		return err
	}
	defer decoder.Close()
	return h.records(newReader(decoder), visit)
}

// records checks that the records are of the revisions that the header says, all of them and in order.
func (h header) records(r *reader, visit func(record) error) error {
	at, events := h.First-1, int64(0)
	for {
		next, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch next.mark {
		case revisionMark:
			if next.revision != at+1 {
				return fmt.Errorf("revision %d follows revision %d in it", next.revision, at)
			}
			at++
		case putMark, tombstoneMark:
			if at < h.First {
				return errors.New("it has a row before the first revision")
			}
			events++
		}
		if err := visit(next); err != nil {
			return err
		}
	}
	if at != h.Last || events != h.Events {
		return fmt.Errorf("it has %d rows up to revision %d, its header says %d up to %d", events, at, h.Events, h.Last)
	}
	return nil
}

// fetch reads a stored segment, and refuses one that is not what its name says or is of another cluster or history.
func fetch(ctx context.Context, s store.Store, c backup.Cluster, history string, seg segment) (h header, content []byte, err error) {
	stored, err := get(ctx, s, seg.object, seg.size)
	if err != nil {
		return header{}, nil, err
	}
	h, content, err = parse(stored)
	switch {
	case err != nil:
	case h.Cluster.Folder() != c.Folder() || h.Cluster.EtcdID != c.EtcdID || h.History != history:
		err = fmt.Errorf("it is of the history %q of %q with etcd's ID %s: segments cannot be moved", h.History, h.Cluster.Folder(), h.Cluster.EtcdID)
	case h.First != seg.first || h.Last != seg.last || !h.Until.Equal(seg.until):
		err = fmt.Errorf("it says that it has the revisions %d to %d, until %s: segments cannot be renamed", h.First, h.Last, h.Until.Format(time.RFC3339Nano))
	default:
		err = h.whole(content)
	}
	if err != nil {
		return header{}, nil, &backup.DiffersError{Err: refused(s, seg.object, err)}
	}
	return h, content, nil
}

func refused(s store.Store, object string, err error) error {
	return fmt.Errorf("the segment %q in %s cannot be used: %w", object, s, err)
}

// get reads a small object whole, again from its beginning if the connection breaks.
func get(ctx context.Context, s store.Store, object string, size int64) (content []byte, err error) {
	for range tries {
		var body io.ReadCloser
		if body, err = s.Get(ctx, object, 0); err == nil {
			content, err = io.ReadAll(io.LimitReader(body, size+1))
			_ = body.Close()
		}
		if err == nil {
			return content, nil
		}
		if ctx.Err() != nil || errors.Is(err, store.ErrNotFound) {
			break
		}
	}
	return nil, fmt.Errorf("reading %q in %s: %w", object, s, err)
}
