package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

const (
	// goneLeaseTTL is that of a lease which was gone when it was asked for: its keys were about to be deleted. If the cluster
	// could not be asked, its keys may be needed for long: unknownLeaseTTL is the time to notice.
	goneLeaseTTL    = 60
	unknownLeaseTTL = 3600
	// batchBytes and batchRows are how much is written to the database at once.
	batchBytes = 16 << 20
	batchRows  = 20_000
)

// Replayed is what a recovery has come to.
type Replayed struct {
	// Revision is that of the outcome, and Received when the archiver got it; if the base has it already, that is not known.
	Revision int64
	Received time.Time
	// Next is when it got the following one, if it is in what was read.
	Next time.Time
	// Rows and Bytes are what was added to the base.
	Rows, Bytes int64
}

// Replay makes of the database of the recovery's base, in a file as backup.Read writes it, the one that the cluster would have had at the
// target. It is good only if there is no error, and may not be on the disk yet. Identities are private keys of age, one a line.
func Replay(ctx context.Context, s store.Store, r Recovery, identities, file string) (Replayed, error) {
	out, err := replay(ctx, s, r, identities, file)
	if err != nil {
		c := r.Base.Cluster
		return Replayed{}, fmt.Errorf("recovering the cluster %s/%s to %s from its backup %q: %w", c.Namespace, c.Name, r.Target, r.Base.Name, err)
	}
	return out, nil
}

func replay(ctx context.Context, s store.Store, r Recovery, identities, file string) (Replayed, error) {
	d, err := openDatabase(file, r.Base.State.Revision)
	if err != nil {
		return Replayed{}, err
	}
	p := &player{database: d, target: r.Target, out: Replayed{Revision: d.revision}}
	err = p.play(ctx, s, r, identities)
	if err == nil {
		err = d.finish()
	}
	if closed := d.close(); err == nil {
		err = closed
	}
	if err != nil {
		return Replayed{}, err
	}
	return p.out, nil
}

// Check reads all that a recovery adds to its base through, as Replay does, and changes nothing.
func Check(ctx context.Context, s store.Store, r Recovery, identities string) error {
	for _, seg := range r.segments {
		h, content, err := fetch(ctx, s, r.Base.Cluster, r.History, seg)
		if err == nil {
			err = h.read(content, identities, func(record) error { return nil })
			if err != nil {
				err = refused(s, seg.object, err)
			}
			if err != nil && !errors.Is(err, errNoKey) {
				err = &backup.DiffersError{Err: err}
			}
		}
		if err != nil {
			c := r.Base.Cluster
			return fmt.Errorf("recovering the cluster %s/%s to %s from its backup %q: %w", c.Namespace, c.Name, r.Target, r.Base.Name, err)
		}
	}
	return nil
}

// player reads records and adds to the database what belongs to it.
type player struct {
	database *database
	target   Target
	out      Replayed
	// adding is whether the rows that follow are to be added.
	adding, enough bool
}

func (p *player) play(ctx context.Context, s store.Store, r Recovery, identities string) error {
	for _, seg := range r.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, content, err := fetch(ctx, s, r.Base.Cluster, r.History, seg)
		if err != nil {
			return err
		}
		p.adding = false
		if err := h.read(content, identities, p.visit); err != nil {
			return refused(s, seg.object, err)
		}
	}
	if r.Target.Revision != 0 && p.out.Revision != r.Target.Revision {
		return fmt.Errorf("it comes to revision %d; choose another target", p.out.Revision)
	}
	return nil
}

func (p *player) visit(r record) error {
	switch r.mark {
	case leaseMark:
		p.database.granted[r.lease] = r.ttl
	case revisionMark:
		beyond := p.target.Revision != 0 && r.revision > p.target.Revision || !p.target.Time.IsZero() && r.received.After(p.target.Time)
		if beyond && p.out.Next.IsZero() && r.revision == p.out.Revision+1 {
			p.out.Next = r.received
		}
		p.enough = p.enough || beyond
		// What the base has, or a segment that overlaps with this one, is not added again.
		p.adding = !p.enough && r.revision > p.out.Revision
		if p.adding {
			if r.revision != p.out.Revision+1 {
				return fmt.Errorf("it continues with revision %d, and %d was the last", r.revision, p.out.Revision)
			}
			p.out.Revision = r.revision
		}
		if r.revision == p.out.Revision && p.out.Received.IsZero() || p.adding {
			p.out.Received = r.received
		}
		p.database.sub = 0
	case putMark, tombstoneMark:
		if !p.adding {
			return nil
		}
		p.out.Rows++
		p.out.Bytes += int64(len(r.row))
		return p.database.add(p.out.Revision, r.mark == tombstoneMark, r.row)
	}
	return nil
}

// database is one of etcd that revisions are added to.
type database struct {
	bolt *bolt.DB
	// revision is the last one that it had itself.
	revision int64
	sub      int64
	tx       *bolt.Tx
	keys     *bolt.Bucket
	rows     int
	bytes    int
	// leased is which lease the keys have that got one, and granted the TTLs of leases: 0 for one that was gone.
	leased  map[string]int64
	granted map[int64]int64
}

func openDatabase(file string, revision int64) (*database, error) {
	db, err := backup.OpenDatabase(file)
	if err != nil {
		return nil, err
	}
	d := &database{bolt: db, revision: revision, leased: map[string]int64{}, granted: map[int64]int64{}}
	err = db.View(func(tx *bolt.Tx) error {
		keys := tx.Bucket(backup.KeyBucket)
		if keys == nil || tx.Bucket(backup.LeaseBucket) == nil {
			return fmt.Errorf("%s is no database of etcd: it lacks its buckets", file)
		}
		if last, _ := keys.Cursor().Last(); len(last) >= 8 {
			d.revision = max(d.revision, int64(binary.BigEndian.Uint64(last))) //nolint:gosec // Revisions are positive.
		}
		return nil
	})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return d, nil
}

// add puts a row after all others: etcd's name of it is its revision and its place in it.
func (d *database) add(revision int64, tombstone bool, row []byte) error {
	key, lease, err := keyAndLease(row)
	if err != nil {
		return err
	}
	if lease != 0 {
		d.leased[string(key)] = lease
	} else if len(d.leased) > 0 {
		delete(d.leased, string(key))
	}
	if d.tx == nil {
		if d.tx, err = d.bolt.Begin(true); err != nil {
			return err
		}
		d.keys = d.tx.Bucket(backup.KeyBucket)
		d.keys.FillPercent = 0.9
	}
	name := binary.BigEndian.AppendUint64(make([]byte, 0, 18), uint64(revision)) //nolint:gosec // As above.
	name = append(name, '_')
	name = binary.BigEndian.AppendUint64(name, uint64(d.sub)) //nolint:gosec // As above.
	if tombstone {
		name = append(name, 't')
	}
	d.sub++
	if err := d.keys.Put(name, append(make([]byte, 0, len(row)), row...)); err != nil {
		return err
	}
	d.rows, d.bytes = d.rows+1, d.bytes+len(row)
	if d.rows >= batchRows || d.bytes >= batchBytes {
		return d.commit()
	}
	return nil
}

func (d *database) commit() error {
	if d.tx == nil {
		return nil
	}
	tx := d.tx
	d.tx, d.rows, d.bytes = nil, 0, 0
	return tx.Commit()
}

// finish adds the leases of the keys.
func (d *database) finish() error {
	if err := d.commit(); err != nil {
		return err
	}
	return d.bolt.Update(func(tx *bolt.Tx) error {
		leases := tx.Bucket(backup.LeaseBucket)
		for _, id := range d.leased {
			name := binary.BigEndian.AppendUint64(nil, uint64(id)) //nolint:gosec // As etcd does.
			if leases.Get(name) != nil {
				continue
			}
			ttl, known := d.granted[id]
			switch {
			case !known:
				ttl = unknownLeaseTTL
			case ttl <= 0:
				ttl = goneLeaseTTL
			}
			if err := leases.Put(name, encodeLease(id, ttl)); err != nil {
				return err
			}
		}
		return nil
	})
}

// close drops what is not committed, without which the database would wait for it.
func (d *database) close() error {
	if d.tx != nil {
		_ = d.tx.Rollback()
	}
	return d.bolt.Close()
}

// encodeLease is etcd's message leasepb.Lease.
func encodeLease(id, ttl int64) []byte {
	out := protowire.AppendTag(nil, 1, protowire.VarintType)
	out = protowire.AppendVarint(out, uint64(id)) //nolint:gosec // As protobuf does.
	out = protowire.AppendTag(out, 2, protowire.VarintType)
	return protowire.AppendVarint(out, uint64(ttl)) //nolint:gosec // As above.
}
