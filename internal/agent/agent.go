// Package agent carries out the tasks of agents, in their pods.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// FinalError is one that would come again, however often the task is tried.
type FinalError struct {
	Err error
	// Differs is whether the backup is not what it ought to be.
	Differs bool
}

// Error implements error.
func (e *FinalError) Error() string { return e.Err.Error() }

// Unwrap implements errors.
func (e *FinalError) Unwrap() error { return e.Err }

// Agent does one task.
type Agent struct {
	// Root is where its files are; empty in a pod.
	Root string
	// Output is where what is listed is written; in a pod it is the standard output.
	Output io.Writer
	// Listen is where it tells how it is; in a pod it is [task.Port].
	Listen string
}

// Do carries out a task.
func (a Agent) Do(ctx context.Context, t task.Task) (task.Result, error) {
	done, err := a.do(ctx, t)
	if errors.Is(err, store.ErrDenied) && t.Store.Login != "" {
		err = fmt.Errorf("the store refuses %s: %w", t.Store.Login, err)
	}
	return done, err
}

func (a Agent) do(ctx context.Context, t task.Task) (task.Result, error) {
	switch t.Kind { //nolint:exhaustive // The others need the store.
	case task.RollBack:
		return task.Result{}, backup.RollBack(ctx, a.target(t))
	case task.Confirm:
		return task.Result{}, backup.Confirm(a.target(t))
	case task.Compare:
		return a.compare(ctx, t)
	case task.Mirror:
		return task.Result{}, a.mirror(ctx, t)
	case task.CutOver:
		return a.cutOver(ctx, t)
	}
	s, err := a.store(t.Store)
	if err != nil {
		return task.Result{}, err
	}
	switch t.Kind {
	case task.Backup:
		return a.backup(ctx, s, t)
	case task.Inspect:
		m, err := load(ctx, s, t)
		return result(m, err)
	case task.Verify:
		return a.verify(ctx, s, t)
	case task.Delete:
		return task.Result{}, a.remove(ctx, s, t)
	case task.List:
		return task.Result{}, a.list(ctx, s, t)
	case task.Check:
		return a.check(ctx, s, t)
	case task.Fill:
		return a.fill(ctx, s, t)
	case task.Archive:
		return task.Result{}, a.archive(ctx, s, t)
	case task.RollBack, task.Confirm, task.Compare, task.Mirror, task.CutOver:
	}
	return task.Result{}, &FinalError{Err: fmt.Errorf("the task %q is unknown to this agent: its image and the operator are of different versions", t.Kind)}
}

// remove removes a backup, and what was left of others of its cluster that were never finished. The former is what was asked for:
// what is in the way of the latter is in the log only, and the next deletion tries again.
func (a Agent) remove(ctx context.Context, s store.Store, t task.Task) error {
	if err := backup.Delete(ctx, s, cluster(t), t.Name); err != nil {
		return err
	}
	if err := tidy(ctx, s, cluster(t), time.Now()); err != nil {
		log.Print("etcd-agent: ", err)
	}
	return nil
}

func (a Agent) path(elements ...string) string {
	return filepath.Join(append([]string{"/", a.Root}, elements...)...)
}

func cluster(t task.Task) backup.Cluster {
	return backup.Cluster{Namespace: t.Cluster.Namespace, Name: t.Cluster.Name, UID: t.Cluster.UID}
}

// load reads the manifest. Only the store's own failures are worth another try.
func load(ctx context.Context, s store.Store, t task.Task) (backup.Manifest, error) {
	m, err := backup.Load(ctx, s, cluster(t), t.Name)
	return m, judge(err)
}

// judge tells what would come again from what is worth another try.
func judge(err error) error {
	var differs *backup.DiffersError
	switch {
	case errors.Is(err, archive.ErrUnrecoverable):
		return &FinalError{Err: err}
	case errors.As(err, &differs), errors.Is(err, backup.ErrNoBackup), errors.Is(err, backup.ErrUnusable):
		return &FinalError{Err: err, Differs: true}
	case errors.Is(err, backup.ErrIdentity):
		return &FinalError{Err: err}
	}
	return err
}

func (a Agent) verify(ctx context.Context, s store.Store, t task.Task) (task.Result, error) {
	m, err := load(ctx, s, t)
	if err != nil {
		return task.Result{}, err
	}
	identities, err := a.identities(t)
	if err != nil {
		return task.Result{}, err
	}
	folder, err := os.MkdirTemp(a.path(task.Scratch), "trial-")
	if err != nil {
		return task.Result{}, fmt.Errorf("the folder for the trial: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	verified, err := backup.Verify(ctx, s, m, identities, backup.Scratch{
		Folder: folder, Etcd: a.path(task.Etcd, "etcd"), Etcdutl: a.path(task.Etcd, "etcdutl"),
	})
	done, err := result(m, judge(err))
	if err == nil {
		done.Trial = &task.Verified{Took: verified.Took}
	}
	return done, err
}

// identities are the private keys that there are.
func (a Agent) identities(t task.Task) (string, error) {
	if !t.Identity {
		return "", nil
	}
	content, err := os.ReadFile(a.path(task.Identity, task.KeyIdentity))
	if err != nil {
		return "", fmt.Errorf("the private key to decrypt the backup with: %w", err)
	}
	return string(content), nil
}

func result(m backup.Manifest, err error) (task.Result, error) {
	if err != nil {
		return task.Result{}, err
	}
	stored := describe(m)
	return task.Result{Backup: &stored}, nil
}

func describe(m backup.Manifest) task.Stored {
	return task.Stored{
		Began: m.Begun, Ended: m.Ended, Member: m.Member.Name, Version: m.Member.Version, ClusterID: m.Cluster.EtcdID,
		Revision: m.State.Revision, Keys: m.State.Keys, Hash: m.State.Hash, Size: m.Snapshot.Size, StoredSize: m.Stored.Size,
		Recipients: m.Stored.Recipients,
	}
}
