package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// errTrailer says that a snapshot is not what the member sent.
var errTrailer = errors.New("the snapshot does not match etcd's own checksum at its end: it is cut off or damaged")

// trailed reads a snapshot through to its end, where it compares the content with etcd's checksum. A mismatch is an error
// instead of the end.
type trailed struct {
	from io.Reader
	sum  hash.Hash
	// held are the last bytes so far: at the end, the checksum.
	held []byte
	size int64
}

func newTrailed(from io.Reader) *trailed {
	return &trailed{from: from, sum: sha256.New(), held: make([]byte, 0, 2*sha256.Size)}
}

func (t *trailed) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	t.size += int64(n)
	t.hold(p[:n])
	if err == io.EOF {
		// The database is made of pages, whose size is a multiple of 512.
		if t.size%512 != sha256.Size || !bytes.Equal(t.sum.Sum(nil), t.held) {
			return n, errTrailer
		}
	}
	return n, err
}

// hold hashes all but the last bytes.
func (t *trailed) hold(p []byte) {
	if len(p) >= sha256.Size {
		t.sum.Write(t.held)
		t.sum.Write(p[:len(p)-sha256.Size])
		t.held = append(t.held[:0], p[len(p)-sha256.Size:]...)
		return
	}
	t.held = append(t.held, p...)
	if early := len(t.held) - sha256.Size; early > 0 {
		t.sum.Write(t.held[:early])
		t.held = append(t.held[:0], t.held[early:]...)
	}
}

// measured is what was read in all, with the checksum. It ends the reading.
func (t *trailed) measured() *measure {
	t.sum.Write(t.held)
	return &measure{sum: t.sum, size: t.size}
}

// measure counts and hashes what goes through it.
type measure struct {
	sum  hash.Hash
	size int64
}

func newMeasure() *measure { return &measure{sum: sha256.New()} }

func (m *measure) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	return m.sum.Write(p)
}

func (m *measure) hex() string { return hex.EncodeToString(m.sum.Sum(nil)) }

// differs says how what went through differs from what is expected, or nothing.
func (m *measure) differs(size int64, sum string) error {
	if m.size != size {
		return fmt.Errorf("it has %d bytes, the manifest says %d", m.size, size)
	}
	if m.hex() != sum {
		return fmt.Errorf("its sha256 is %s, the manifest says %s", m.hex(), sum)
	}
	return nil
}
