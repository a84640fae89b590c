package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// restoration makes a data directory of a database, by etcd's own program.
type restoration struct {
	// etcdutl is the program, and arguments are those of its snapshot restore, without the snapshot and the data directory.
	etcdutl   string
	arguments []string
	// letEverybodyIn turns authentication off.
	letEverybodyIn bool
}

// run makes the data directory; the database becomes part of it. etcdutl copies a snapshot, and then changes a few of its buckets. So that no
// copy is made of what is large, it is given a skeleton, which has everything but the keys and the leases, and what it has made of that is
// brought into the database. Of the keys it looks for the last revision only, and adds one if that is to be raised
// (etcdutl/snapshot/v3_snapshot.go). Nothing of it may be on the disk yet.
func (r restoration) run(ctx context.Context, database, data string) error {
	skeleton := database + ".skeleton"
	if err := r.strip(database, skeleton); err != nil {
		return err
	}
	// A skeleton has no checksum.
	arguments := append([]string{"snapshot", "restore", skeleton, "--skip-hash-check", "--data-dir", data}, r.arguments...)
	process := exec.CommandContext(ctx, r.etcdutl, arguments...) //nolint:gosec // The caller's program.
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if said, err := process.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, lastLine(said))
	}
	made := databaseOf(data)
	if err := transplant(made, database); err != nil {
		return err
	}
	if err := os.Rename(database, made); err != nil {
		return err
	}
	return os.Remove(skeleton)
}

// strip makes the skeleton of a database.
func (r restoration) strip(database, skeleton string) error {
	return both(database, skeleton, func(from, to *bbolt.Tx) error {
		for _, name := range [][]byte{KeyBucket, LeaseBucket} {
			if from.Bucket(name) == nil {
				return fmt.Errorf("%s is no database of etcd: it has no bucket %q", database, name)
			}
			if _, err := to.CreateBucket(name); err != nil {
				return err
			}
		}
		if last, row := from.Bucket(KeyBucket).Cursor().Last(); last != nil {
			if err := to.Bucket(KeyBucket).Put(last, row); err != nil {
				return err
			}
		}
		if err := replaceSmall(from, to); err != nil {
			return err
		}
		// It is one value, in a bucket that the hash of the key space does not cover (server/storage/schema/auth.go).
		if auth := to.Bucket([]byte("auth")); auth != nil && r.letEverybodyIn {
			return auth.Put([]byte("authEnabled"), []byte{0})
		}
		return nil
	})
}

// transplant brings into a database what was made of its skeleton.
func transplant(skeleton, database string) error {
	return both(skeleton, database, func(from, to *bbolt.Tx) error {
		err := from.Bucket(KeyBucket).ForEach(func(name, row []byte) error {
			if to.Bucket(KeyBucket).Get(name) != nil {
				return nil
			}
			return to.Bucket(KeyBucket).Put(name, row)
		})
		if err != nil {
			return err
		}
		return replaceSmall(from, to)
	})
}

// replaceSmall gives one database the small buckets of another one.
func replaceSmall(from, to *bbolt.Tx) error {
	return from.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		if bytes.Equal(name, KeyBucket) || bytes.Equal(name, LeaseBucket) {
			return nil
		}
		if to.Bucket(name) != nil {
			if err := to.DeleteBucket(name); err != nil {
				return err
			}
		}
		target, err := to.CreateBucket(name)
		if err != nil {
			return err
		}
		return bucket.ForEach(target.Put)
	})
}

// both reads one database and changes another one.
func both(from, to string, change func(from, to *bbolt.Tx) error) (err error) {
	source, err := bbolt.Open(from, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("%s is no database of etcd: %w", from, err)
	}
	defer func() { _ = source.Close() }()
	target, err := OpenDatabase(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	return source.View(func(reading *bbolt.Tx) error {
		return target.Update(func(writing *bbolt.Tx) error { return change(reading, writing) })
	})
}
