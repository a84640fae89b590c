package archive

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
)

var received = time.Unix(1700000000, 5).UTC()

// sealed is a segment of three revisions, one of them of two rows, and a lease.
func sealed(t testing.TB, recipients ...age.Recipient) []byte {
	t.Helper()
	w := newWriter()
	row := func(kind mvccpb.Event_EventType, key string) []byte {
		mark := byte(putMark)
		if kind == mvccpb.Event_DELETE {
			mark = tombstoneMark
		}
		e := &mvccpb.Event{Type: kind, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte("value"), Version: 1, Lease: -7}}
		return appendRow(nil, mark, encodeRow(nil, e))
	}
	for n, rows := range [][]byte{row(mvccpb.Event_PUT, "a"), append(row(mvccpb.Event_DELETE, "a"), row(mvccpb.Event_PUT, "b")...), row(mvccpb.Event_PUT, "c")} {
		if err := w.revision(int64(10+n), received); err != nil {
			t.Fatal(err)
		}
		if err := w.write(rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.lease(-7, 60); err != nil {
		t.Fatal(err)
	}
	h := header{Operator: "test", Cluster: backup.Cluster{Namespace: "default", Name: "demo", UID: "1"}, History: "h", First: 10, Last: 12, Until: received, Events: 4}
	return seal(t, w, h, recipients...)
}

func seal(t testing.TB, w *writer, h header, recipients ...age.Recipient) []byte {
	t.Helper()
	head, content, err := w.seal(h, recipients)
	if err != nil {
		t.Fatal(err)
	}
	return append(head, content...)
}

// records are all that a stored segment has, or why it is refused.
func records(stored []byte, identities string) (all []record, err error) {
	h, content, err := parse(stored)
	if err != nil {
		return nil, err
	}
	err = h.read(content, identities, func(r record) error {
		r.row = bytes.Clone(r.row)
		all = append(all, r)
		return nil
	})
	return all, err
}

func TestASegmentComesBack(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, stored := range [][]byte{sealed(t), sealed(t, key.Recipient())} {
		all, err := records(stored, key.String())
		if err != nil {
			t.Fatal(err)
		}
		marks := ""
		for _, r := range all {
			marks += string(r.mark)
		}
		if marks != "RPRDPRPL" || all[2].revision != 11 || !all[2].received.Equal(received) || all[7].lease != -7 || all[7].ttl != 60 {
			t.Errorf("it is %+v", all)
		}
		for n, want := range map[int]string{1: "a", 3: "a", 4: "b", 6: "c"} {
			name, lease, err := keyAndLease(all[n].row)
			wantLease := int64(-7)
			if all[n].mark == tombstoneMark {
				wantLease = 0
			}
			if err != nil || string(name) != want || lease != wantLease {
				t.Errorf("row %d is of the key %q with the lease %d, %v", n, name, lease, err)
			}
		}
	}
	if stored := sealed(t, key.Recipient()); bytes.Contains(stored, []byte("value")) {
		t.Error("it is not encrypted")
	}
}

// Not one bit of a segment can be different.
func TestADamagedSegmentIsRefused(t *testing.T) {
	stored := sealed(t)
	for n := range stored {
		damaged := bytes.Clone(stored)
		damaged[n] ^= 1 << (n % 8)
		if _, err := records(damaged, ""); err == nil {
			t.Errorf("with a wrong bit in byte %d of %d it is accepted", n, len(stored))
		}
		if _, err := records(stored[:n], ""); err == nil {
			t.Errorf("cut off after %d bytes of %d it is accepted", n, len(stored))
		}
	}
	if _, err := records(append(bytes.Clone(stored), 0), ""); err == nil {
		t.Error("with something added it is accepted")
	}
}

// A header may be consistent in itself and still not that of the content, or of another format.
func TestAHeaderThatIsWrong(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	change := func(do func(*header)) []byte {
		stored := sealed(t)
		h, content, err := parse(stored)
		if err != nil {
			t.Fatal(err)
		}
		do(&h)
		line, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Join([][]byte{line, []byte(checksum(line)), content}, []byte("\n"))
	}
	for want, stored := range map[string][]byte{
		"it has format 2, and this version of the operator reads 1": change(func(h *header) { h.Format = 2 }),
		`its compression "lzma"`:                                    change(func(h *header) { h.Compression = "lzma" }),
		"revision 10 follows revision 10":                           change(func(h *header) { h.First = 11 }),
		"revision 10 follows revision 8":                            change(func(h *header) { h.First = 9 }),
		"it has 4 rows up to revision 12":                           change(func(h *header) { h.Last = 13 }),
		"its header says 5 up to 12":                                change(func(h *header) { h.Events = 5 }),
		"it is encrypted for age1":                                  encryptedFor(t, key),
		"it has no header: it is no segment":                        []byte("something else"),
		"its header does not match the checksum of it":              []byte("{}\n123\n"),
	} {
		if _, err := records(stored, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, without %q", err, want)
		}
	}
}

func encryptedFor(t *testing.T, key *age.X25519Identity) []byte {
	t.Helper()
	return seal(t, newWriter(), header{First: 1, Last: 0, Recipients: []string{key.Recipient().String()}}, key.Recipient())
}

// Whatever is on the store, it is refused or read, and never more is taken for it than is there.
func FuzzSegment(f *testing.F) {
	f.Add(sealed(f))
	w := newWriter()
	if err := w.write([]byte{putMark, 0xff, 0xff, 0xff, 0x7f}); err != nil {
		f.Fatal(err)
	}
	f.Add(seal(f, w, header{First: 1, Last: 1}))
	f.Add([]byte("RPDL"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		_, _ = records(stored, "")
		// What is behind checksums is not found by chance.
		h := header{First: 1, Last: 3}
		at := int64(0)
		_ = h.records(newReader(bytes.NewReader(stored)), func(r record) error {
			switch r.mark {
			case revisionMark:
				if r.revision != at+1 {
					t.Errorf("revision %d follows %d", r.revision, at)
				}
				at = r.revision
			case putMark, tombstoneMark:
				if len(r.row) > len(stored) {
					t.Errorf("a row of %d bytes in %d", len(r.row), len(stored))
				}
				_, _, _ = keyAndLease(r.row)
			}
			return nil
		})
	})
}
