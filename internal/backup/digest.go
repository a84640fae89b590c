package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
)

// Content stands for all keys of a cluster at a revision: with values, versions, revisions and leases.
type Content struct {
	Revision int64
	Keys     int64
	// Digest does not depend on the order of the keys: it is the sum of their hashes.
	Digest string
}

// digest adds up hashes of keys.
type digest struct {
	keys int64
	sum  [sha256.Size]byte
}

// add adds a key, with all that belongs to it.
func (d *digest) add(kv *mvccpb.KeyValue) {
	hash := sha256.New()
	var number [8]byte
	write := func(n int64) {
		binary.BigEndian.PutUint64(number[:], uint64(n)) //nolint:gosec // Only the bits count.
		hash.Write(number[:])
	}
	write(int64(len(kv.Key)))
	hash.Write(kv.Key)
	for _, n := range []int64{kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease} {
		write(n)
	}
	hash.Write(kv.Value)
	for i, b := range hash.Sum(nil) {
		d.sum[i] ^= b
	}
	d.keys++
}

func (d *digest) content(revision int64) Content {
	return Content{Revision: revision, Keys: d.keys, Digest: hex.EncodeToString(d.sum[:])}
}

// DigestFile tells what is in etcd's database of a data directory, which no etcd may have open. It remembers 8 bytes a key.
func DigestFile(data string) (Content, error) {
	path := databaseOf(data)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return Content{}, fmt.Errorf("the database %s cannot be read: %w", path, err)
	}
	defer func() { _ = db.Close() }()
	var d digest
	var last int64
	err = db.View(func(tx *bbolt.Tx) error {
		// Rows are in the order of revisions: the first that is met from the end is what became of a key.
		seed, seen := maphash.MakeSeed(), map[uint64]struct{}{}
		rows := tx.Bucket(KeyBucket).Cursor()
		for name, row := rows.Last(); name != nil; name, row = rows.Prev() {
			// 8 bytes of the revision, "_", 8 bytes of the place in it, and for a deletion "t" (server/storage/mvcc/revision.go).
			if len(name) < 17 {
				return fmt.Errorf("the database %s has a row called %x, which is no revision", path, name)
			}
			last = max(last, int64(binary.BigEndian.Uint64(name[:8]))) //nolint:gosec // It was one.
			var kv mvccpb.KeyValue
			if err := proto.Unmarshal(row, &kv); err != nil {
				return fmt.Errorf("the database %s has a row %x that is no key: %w", path, name, err)
			}
			key := maphash.Bytes(seed, kv.Key)
			if _, newer := seen[key]; newer {
				continue
			}
			seen[key] = struct{}{}
			// By a row without a key etcdutl raises the revision.
			if len(name) == 17 && len(kv.Key) > 0 {
				d.add(&kv)
			}
		}
		return nil
	})
	return d.content(last), err
}

// pageOfKeys is how many keys are asked for at once.
const pageOfKeys = 500

// DigestCluster tells what a cluster serves at a revision.
func DigestCluster(ctx context.Context, client *clientv3.Client, revision int64) (Content, error) {
	var d digest
	for from := "\x00"; ; {
		page, err := client.Get(ctx, from, clientv3.WithFromKey(), clientv3.WithRev(revision), clientv3.WithLimit(pageOfKeys))
		if err != nil {
			return Content{}, fmt.Errorf("the keys of the cluster at revision %d: %w", revision, err)
		}
		for _, kv := range page.Kvs {
			d.add(kv)
		}
		if !page.More {
			return d.content(revision), nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}
