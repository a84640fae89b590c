package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// A snapshot passes, however it is cut into reads; anything else ends with an error instead of the end.
func TestTheSnapshotsOwnChecksum(t *testing.T) {
	pages := bytes.Repeat([]byte("0123456789abcdef"), 2*4096/16)
	sum := sha256.Sum256(pages)
	whole := append(bytes.Clone(pages), sum[:]...)
	flipped := bytes.Clone(whole)
	flipped[5000] ^= 1
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"whole":                  {whole, nil},
		"a bit is wrong":         {flipped, errTrailer},
		"without its checksum":   {pages, errTrailer},
		"without its last byte":  {whole[:len(whole)-1], errTrailer},
		"with a byte more":       {append(bytes.Clone(whole), 0), errTrailer},
		"cut off after a page":   {whole[:4096], errTrailer},
		"cut off where it could": {whole[:4096+sha256.Size], errTrailer},
		"shorter than a sum":     {whole[:5], errTrailer},
		"empty":                  {nil, errTrailer},
	} {
		for reads, source := range map[string]io.Reader{
			"at once": bytes.NewReader(c.content), "byte by byte": iotest.OneByteReader(bytes.NewReader(c.content)),
			"in halves": iotest.HalfReader(bytes.NewReader(c.content)), "the end with the data": iotest.DataErrReader(bytes.NewReader(c.content)),
		} {
			got, err := io.ReadAll(newTrailed(source))
			if !errors.Is(err, c.want) || !bytes.Equal(got, c.content) {
				t.Errorf("%s, %s: %d bytes, %v", name, reads, len(got), err)
			}
		}
	}
	if _, err := io.ReadAll(newTrailed(io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(io.ErrUnexpectedEOF)))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken source: %v", err)
	}
}
