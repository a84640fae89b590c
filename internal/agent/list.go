package agent

import (
	"context"
	"encoding/json"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// list tells all backups whose paths begin with the name of the task, and how far the archives of their clusters reach.
func (a Agent) list(ctx context.Context, s store.Store, t task.Task) error {
	all, err := backup.List(ctx, s, t.Name)
	if err != nil {
		return err
	}
	out, count := json.NewEncoder(a.Output), 0
	write := func(found task.Found) error {
		count++
		return out.Encode(found)
	}
	seen := map[backup.Cluster]bool{}
	for _, found := range all {
		described := &task.FoundBackup{Path: found.Path, Stored: describe(found.Manifest)}
		if found.Err != nil {
			described.Problem = found.Err.Error()
		}
		if err := write(task.Found{Backup: described}); err != nil {
			return err
		}
		// Bases are backups as well: there is no archive without one.
		c, _, err := backup.ParsePath(found.Path)
		if err != nil || seen[c] {
			continue
		}
		seen[c] = true
		stretches, err := archive.Reach(ctx, s, c)
		if err != nil {
			return err
		}
		for _, r := range stretches {
			if err := write(task.Found{Archive: &task.FoundArchive{
				Cluster: task.Cluster{Namespace: c.Namespace, Name: c.Name, UID: c.UID}, First: r.First, Last: r.Last, From: r.From, Until: r.Until, Missing: r.Missing,
			}}); err != nil {
				return err
			}
		}
	}
	return out.Encode(task.Found{End: &task.FoundEnd{Count: count}})
}
