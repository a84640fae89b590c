package archive

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// Pruned is what was deleted.
type Pruned struct {
	// Bases are the backups that are no bases any more. They themselves are left to who keeps backups.
	Bases    []string
	Segments int
	Bytes    int64
}

// Bases are the names of the backups that recoveries of a cluster can begin with.
func Bases(ctx context.Context, s store.Store, c backup.Cluster) ([]string, error) {
	all, err := list(ctx, s, c)
	var names []string
	for _, h := range all {
		for _, b := range h.bases {
			names = append(names, b.backup)
		}
	}
	return names, err
}

// Prune deletes what is not needed to recover a cluster to any moment from keepFrom on. The newest history always keeps its
// newest base. Marks of bases go first and then segments, oldest first, so that whatever is left at any time is unbroken
// after each base that is left.
func Prune(ctx context.Context, s store.Store, c backup.Cluster, keepFrom time.Time) (Pruned, error) {
	var out Pruned
	all, err := list(ctx, s, c)
	if err != nil {
		return out, err
	}
	for number, h := range all {
		from, err := h.keepFrom(ctx, s, c, keepFrom, number == len(all)-1)
		if err != nil {
			return out, err
		}
		for _, b := range h.bases {
			if from != nil && !b.ended.Before(from.ended) {
				break
			}
			if err := s.Delete(ctx, b.object); err != nil {
				return out, err
			}
			out.Bases = append(out.Bases, b.backup)
		}
		latest := h.latest()
		for n, seg := range h.segments {
			if from != nil && (n == latest || seg.last > from.revision && !seg.empty()) {
				continue
			}
			if err := s.Delete(ctx, seg.object); err != nil {
				return out, err
			}
			out.Segments, out.Bytes = out.Segments+1, out.Bytes+seg.size
		}
	}
	return out, nil
}

// keepFrom is the base from which on a history is needed, or nothing if it is not needed at all.
func (h history) keepFrom(ctx context.Context, s store.Store, c backup.Cluster, moment time.Time, newest bool) (*base, error) {
	if len(h.bases) == 0 || !newest && h.newest().Before(moment) {
		return nil, nil //nolint:nilnil // Nothing is needed.
	}
	for _, b := range slices.Backward(h.bases) {
		if b.ended.After(moment) {
			continue
		}
		_, err := backup.Load(ctx, s, c, b.backup)
		if err == nil {
			return &b, nil
		}
		if !errors.Is(err, backup.ErrNoBackup) {
			return nil, err
		}
	}
	return &h.bases[0], nil
}

// latest is the segment from which an archiver goes on.
func (h history) latest() int {
	at := 0
	for n, s := range h.segments {
		if s.until.After(h.segments[at].until) {
			at = n
		}
	}
	return at
}

// newest is the last moment that a history knows of.
func (h history) newest() (last time.Time) {
	for _, s := range h.segments {
		if s.until.After(last) {
			last = s.until
		}
	}
	for _, b := range h.bases {
		if b.ended.After(last) {
			last = b.ended
		}
	}
	return last
}
