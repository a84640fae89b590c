package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"path/filepath"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// target is the volume that a task is about.
func (a Agent) target(t task.Task) backup.Target {
	if t.Restore == nil {
		return backup.Target{}
	}
	target := backup.Target{
		Restore: t.Restore.ID, First: t.Restore.First, Data: a.path(task.Data, "data"), Member: t.Restore.Member, InitialCluster: map[string][]string{},
		// The cluster is another one than before, and than any that another restore makes.
		Token: t.Restore.ID, BumpRevision: t.Restore.BumpRevision, LetEverybodyIn: t.Restore.LetEverybodyIn, Etcdutl: a.path(task.Etcd, "etcdutl"),
	}
	for member, url := range t.Restore.InitialCluster {
		target.InitialCluster[member] = []string{url}
	}
	if t.Restore.WAL {
		target.WAL = a.path(task.WAL, "wal")
	}
	return target
}

var errNoRestore = errors.New("the task does not say what is to be restored: its image and the operator are of different versions")

// check reads all that fill will need through, and tells what the last change is that is archived, if that is wanted.
func (a Agent) check(ctx context.Context, s store.Store, t task.Task) (task.Result, error) {
	from, err := a.restores(ctx, s, t)
	if err != nil {
		return task.Result{}, err
	}
	defer a.tell(ctx, from.store, from.size())()
	if err := backup.Read(ctx, from.store, from.base, from.identities, io.Discard); err != nil {
		return task.Result{}, judge(err)
	}
	checked := &task.Checked{}
	if from.since != nil {
		if err := archive.Check(ctx, from.store, *from.since, from.identities); err != nil {
			return task.Result{}, judge(err)
		}
		if t.Restore.Latest {
			checked.Target = from.since.Last
		}
	}
	return task.Result{Checked: checked}, nil
}

// fill gives a volume the data of a backup, up to a revision or a moment if that is asked for, and puts it in place.
func (a Agent) fill(ctx context.Context, s store.Store, t task.Task) (task.Result, error) {
	from, err := a.restores(ctx, s, t)
	if err != nil {
		return task.Result{}, err
	}
	defer a.tell(ctx, from.store, from.size())()
	target := a.target(t)
	if from.since != nil {
		target.Added = from.since.Bytes
		target.Prepare = func(ctx context.Context, database string) error {
			_, err := archive.Replay(ctx, from.store, *from.since, from.identities, database)
			return err
		}
	}
	// Filled and swapped before, and not reported: then there is nothing left of it to fill.
	if err := backup.Fill(ctx, from.store, from.base, from.identities, target); err != nil {
		return task.Result{}, judge(err)
	}
	if err := backup.Swap(ctx, target); err != nil {
		return task.Result{}, err
	}
	content, err := backup.DigestFile(filepath.Clean(target.Data))
	if err != nil {
		return task.Result{}, err
	}
	return task.Result{Filled: &task.Filled{ClusterID: target.EtcdID(), Content: task.Content(content)}}, nil
}

// restored is what a restore reads: a backup, and what was archived since if that is added to it.
type restored struct {
	store      *metered
	base       backup.Manifest
	since      *archive.Recovery
	identities string
}

// size is how much that is.
func (r restored) size() int64 {
	if r.since == nil {
		return r.base.Stored.Size
	}
	return r.base.Stored.Size + r.since.Bytes
}

// restores finds what a task is to restore.
func (a Agent) restores(ctx context.Context, s store.Store, t task.Task) (r restored, err error) {
	if t.Restore == nil {
		return r, &FinalError{Err: errNoRestore}
	}
	r.store = &metered{Store: s}
	if r.identities, err = a.identities(t); err != nil {
		return r, err
	}
	r.base, r.since, err = base(ctx, s, t)
	return r, judge(err)
}

// base is the backup to begin with. With a revision or a moment to recover to, it is the last one before, and the recovery says what was
// archived since.
func base(ctx context.Context, s store.Store, t task.Task) (backup.Manifest, *archive.Recovery, error) {
	if t.Restore.Revision == 0 && t.Restore.Moment.IsZero() && !t.Restore.Latest {
		m, err := load(ctx, s, t)
		return m, nil, err
	}
	recovery, err := archive.Plan(ctx, s, cluster(t), archive.Target{Revision: t.Restore.Revision, Time: t.Restore.Moment})
	if err != nil {
		return backup.Manifest{}, nil, err
	}
	for _, passed := range recovery.Passed {
		log.Printf("etcd-agent: an earlier base is taken: %s", passed)
	}
	if t.Restore.Latest {
		named, err := backup.Load(ctx, s, cluster(t), t.Name)
		if err == nil {
			err = outdated(named, recovery, time.Now())
		}
		// One that is gone is no longer needed.
		if err != nil && !errors.Is(err, backup.ErrNoBackup) {
			return backup.Manifest{}, nil, err
		}
	}
	return recovery.Base, &recovery, nil
}

// archivedWithin is after what time all that a backup has is archived as well, by an archiver that works.
const archivedWithin = 5 * time.Minute

// outdated refuses an archive that ends before the backup which is named beside it was made: the latest that there is would be lost.
func outdated(named backup.Manifest, archived archive.Recovery, now time.Time) error {
	newer := named.Begun.After(archived.Base.Begun)
	if named.Cluster.EtcdID == archived.Base.Cluster.EtcdID {
		newer = named.State.Revision > archived.Last
	}
	if !newer {
		return nil
	}
	err := fmt.Errorf("the backup %q has revision %d of the etcd cluster %s, and the archive ends with revision %d of %s",
		named.Name, named.State.Revision, named.Cluster.EtcdID, archived.Last, archived.Base.Cluster.EtcdID)
	if now.Sub(named.Ended) < archivedWithin {
		return err // It may be archived soon: there is another try.
	}
	return fmt.Errorf("%w: %w; leave latest out to restore the backup", archive.ErrUnrecoverable, err)
}

// compare compares what a restored cluster serves with what its volumes were filled with.
func (a Agent) compare(ctx context.Context, t task.Task) (task.Result, error) {
	if t.Restore == nil || t.Restore.Expected == nil {
		return task.Result{}, &FinalError{Err: errors.New("the task does not say what the cluster is to have: its image and the operator are of different versions")}
	}
	member, client, err := a.members(t).choose(ctx)
	if err != nil {
		return task.Result{}, err
	}
	defer func() { _ = client.Close() }()
	want := *t.Restore.Expected
	has, err := backup.DigestCluster(ctx, client, want.Revision)
	if err != nil {
		return task.Result{}, err
	}
	if task.Content(has) != want {
		return task.Result{}, &FinalError{Differs: true, Err: fmt.Errorf(
			"the restored cluster has %d keys with the digest %s at revision %d, says member %s; its volumes were filled with %d, with the digest %s",
			has.Keys, has.Digest, want.Revision, member.Name, want.Keys, want.Digest)}
	}
	return task.Result{}, nil
}
