package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

const (
	// pruneEvery is how often it is looked for what is not to be kept any longer.
	pruneEvery = time.Hour
	// lookEvery is how often it is looked whether Secrets have changed, and what hinders an archiver or a mirror.
	lookEvery = time.Second
)

// ownBase are the backups that archivers make. Those of EtcdBackups are called otherwise.
var ownBase = regexp.MustCompile(`^base-[0-9]{19}$`)

// archiver is an archiver with what is done around it.
type archiver struct {
	agent  Agent
	task   task.Task
	store  store.Store
	follow *archive.Archiver
	seen   *sights
}

// archive stores all changes of a cluster until the context ends, or what was mounted for it has changed: then the pod's container
// is started again, and reads that anew.
func (a Agent) archive(ctx context.Context, s store.Store, t task.Task) error {
	if t.Archive == nil {
		return &FinalError{Err: errors.New("the task does not say how to archive: its image and the operator are of different versions")}
	}
	mounted, err := a.mounted()
	if err != nil {
		return err
	}
	client, err := a.members(t).connectAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	r := archiver{agent: a, task: t, store: s}
	r.follow, err = archive.New(client, s, archive.Options{
		Cluster: cluster(t), Recipients: t.Recipients, Operator: t.OperatorVersion, Base: r.base,
		FlushEvery: t.Archive.FlushInterval, FlushBytes: t.Archive.SegmentSize, BaseAge: t.Archive.BaseEvery,
	})
	if err != nil {
		return &FinalError{Err: err}
	}
	r.seen = newSights(t, r.follow.Status)
	stop, err := r.seen.serve(ctx, a.Listen, r.seen.ready)
	if err != nil {
		return err
	}
	defer stop()
	return r.run(ctx, mounted)
}

// run follows the cluster, prunes and looks around, and returns when all of that has ended.
func (r archiver) run(ctx context.Context, mounted []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { r.follow.Follow(ctx) })
	working.Go(func() { r.pruneOften(ctx) })
	r.agent.untilChanged(ctx, mounted, r.seen.look)
	cancel()
	return nil
}

// untilChanged looks around until the context ends, or what was mounted has changed.
func (a Agent) untilChanged(ctx context.Context, mounted []byte, around func()) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		around()
		// Files are exchanged one after the other: what cannot be read now can be read soon.
		if now, err := a.mounted(); err == nil && !bytes.Equal(now, mounted) {
			log.Print("etcd-agent: a mounted Secret has changed: starting again with it")
			return
		}
	}
}

// mounted tells the files apart that are read once, at the start.
func (a Agent) mounted() ([]byte, error) {
	digest := sha256.New()
	for _, folder := range []string{task.ClientTLS, task.Login, task.SourceTLS, task.SourceLogin, task.StoreCA} {
		files, err := filepath.Glob(filepath.Join(a.path(folder), "[^.]*"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			content, err := os.ReadFile(filepath.Clean(file))
			if err != nil {
				return nil, fmt.Errorf("a mounted Secret: %w", err)
			}
			_, _ = fmt.Fprintf(digest, "%s %d\n", file, len(content))
			_, _ = digest.Write(content)
		}
	}
	return digest.Sum(nil), nil
}

// base makes a backup that recoveries can begin with.
func (r archiver) base(ctx context.Context) (backup.Manifest, error) {
	member, client, err := r.agent.members(r.task).choose(ctx)
	if err != nil {
		return backup.Manifest{}, err
	}
	defer func() { _ = client.Close() }()
	return backup.Take(ctx, r.store, backup.Request{
		Name: fmt.Sprintf("base-%019d", time.Now().UnixNano()), Cluster: cluster(r.task), Member: member.Name, Endpoint: member.URL, Client: client,
		Recipients: r.task.Recipients, Operator: r.task.OperatorVersion, Spec: r.task.Spec,
	})
}

// pruneOften removes what is not to be kept any longer. What could not be removed is removed the next time.
func (r archiver) pruneOften(ctx context.Context) {
	often := time.NewTicker(pruneEvery)
	defer often.Stop()
	for {
		if err := r.prune(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.seen.failed(fmt.Errorf("removing what is older than %s, or unfinished: %w", r.task.Archive.KeepFor, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-often.C:
		}
	}
}

// prune removes what only older moments need: first segments and marks of bases, and then the archiver's own backups that are marked
// no more, or never were. At last it removes what agents that were killed have left, archivers among them.
func (r archiver) prune(ctx context.Context, now time.Time) error {
	c, keepFrom := cluster(r.task), now.Add(-r.task.Archive.KeepFor)
	if _, err := archive.Prune(ctx, r.store, c, keepFrom); err != nil {
		return err
	}
	own, err := backup.List(ctx, r.store, path.Join(c.Folder(), "base-"))
	if err != nil {
		return err
	}
	// After the backups: one that is marked in between is one that is listed.
	bases, err := archive.Bases(ctx, r.store, c)
	if err != nil {
		return err
	}
	for _, b := range own {
		name := path.Base(b.Path)
		if !ownBase.MatchString(name) || slices.Contains(bases, name) || b.Err != nil || !b.Manifest.Ended.Before(keepFrom) {
			continue
		}
		if err := backup.Delete(ctx, r.store, c, name); err != nil {
			return err
		}
	}
	return tidy(ctx, r.store, c, now)
}

// tidy removes what agents that were killed have left of backups of a cluster.
func tidy(ctx context.Context, s store.Store, c backup.Cluster, now time.Time) error {
	removed, err := backup.RemoveUnfinished(ctx, s, c, now)
	if removed > 0 {
		log.Printf("etcd-agent: %d uploads were removed that are more than a day old and were never finished", removed)
	}
	return err
}
