package archive

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// reader takes a content apart into records.
type reader struct {
	from *bufio.Reader
	row  []byte
}

func newReader(from io.Reader) *reader { return &reader{from: bufio.NewReaderSize(from, 64<<10)} }

// next is the next record. The end is io.EOF, and only where a record could begin.
func (r *reader) next() (record, error) {
	mark, err := r.from.ReadByte()
	if err != nil {
		return record{}, err
	}
	out := record{mark: mark}
	switch mark {
	case revisionMark:
		var revision uint64
		var received int64
		revision, err = binary.ReadUvarint(r.from)
		if err == nil {
			received, err = binary.ReadVarint(r.from)
		}
		out.revision, out.received = int64(revision), time.Unix(0, received).UTC() //nolint:gosec // Whoever reads compares it.
	case leaseMark:
		if out.lease, err = binary.ReadVarint(r.from); err == nil {
			out.ttl, err = binary.ReadVarint(r.from)
		}
	case putMark, tombstoneMark:
		out.row, err = r.readRow()
	default:
		return record{}, fmt.Errorf("it has a record of the unknown kind %q", mark)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return out, err
}

// readRow reads a row into the memory of the one before. What a length claims is taken only as it arrives.
func (r *reader) readRow() ([]byte, error) {
	length, err := binary.ReadUvarint(r.from)
	if err != nil {
		return nil, err
	}
	if length > rowLimit {
		return nil, fmt.Errorf("it has a row of %d bytes", length)
	}
	r.row = r.row[:0]
	for left := int(length); left > 0; {
		step, begin := min(left, 1<<20), len(r.row)
		if cap(r.row) < begin+step {
			r.row = append(make([]byte, 0, 2*(begin+step)), r.row...)
		}
		r.row = r.row[:begin+step]
		if _, err := io.ReadFull(r.from, r.row[begin:]); err != nil {
			return nil, err
		}
		left -= step
	}
	return r.row, nil
}

// The fields of etcd's KeyValue.
const (
	keyField            protowire.Number = 1
	createRevisionField protowire.Number = 2
	modRevisionField    protowire.Number = 3
	versionField        protowire.Number = 4
	valueField          protowire.Number = 5
	leaseField          protowire.Number = 6
)

// encodeRow is the value that etcd has in its bucket "key" for an event: the fields in their order, without those that are
// zero, on which its hash depends. That of a tombstone has the key only.
func encodeRow(to []byte, e *mvccpb.Event) []byte {
	number := func(field protowire.Number, value int64) {
		if value != 0 {
			to = protowire.AppendTag(to, field, protowire.VarintType)
			to = protowire.AppendVarint(to, uint64(value)) //nolint:gosec // As protobuf does.
		}
	}
	content := func(field protowire.Number, value []byte) {
		if len(value) > 0 {
			to = protowire.AppendTag(to, field, protowire.BytesType)
			to = protowire.AppendBytes(to, value)
		}
	}
	content(keyField, e.Kv.Key)
	if e.Type == mvccpb.Event_DELETE {
		return to
	}
	number(createRevisionField, e.Kv.CreateRevision)
	number(modRevisionField, e.Kv.ModRevision)
	number(versionField, e.Kv.Version)
	content(valueField, e.Kv.Value)
	number(leaseField, e.Kv.Lease)
	return to
}

// keyAndLease are the key of a row, and the lease that it is attached to, if any.
func keyAndLease(row []byte) (key []byte, lease int64, err error) {
	for len(row) > 0 {
		field, kind, n := protowire.ConsumeTag(row)
		if n < 0 {
			return nil, 0, protowire.ParseError(n)
		}
		row = row[n:]
		size := protowire.ConsumeFieldValue(field, kind, row)
		if size < 0 {
			return nil, 0, protowire.ParseError(size)
		}
		switch {
		case field == keyField && kind == protowire.BytesType:
			key, _ = protowire.ConsumeBytes(row)
		case field == leaseField && kind == protowire.VarintType:
			id, _ := protowire.ConsumeVarint(row)
			lease = int64(id) //nolint:gosec // As protobuf does.
		}
		row = row[size:]
	}
	if len(key) == 0 {
		return nil, 0, errors.New("it has a row without a key")
	}
	return key, lease, nil
}

// shape is a checksum of what a revision does, by which it is known again: of keys, revisions, versions, leases and lengths. It
// is stored in the clear, so values are not in it.
type shape struct{ sum hash.Hash }

func newShape() shape { return shape{sha256.New()} }

func (s shape) add(e *mvccpb.Event) {
	numbers := [...]int64{int64(e.Type), e.Kv.CreateRevision, e.Kv.ModRevision, e.Kv.Version, e.Kv.Lease, int64(len(e.Kv.Value)), int64(len(e.Kv.Key))}
	_ = binary.Write(s.sum, binary.BigEndian, numbers)
	_, _ = s.sum.Write(e.Kv.Key)
}

func (s shape) String() string { return hex.EncodeToString(s.sum.Sum(nil)[:16]) }
