package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// Listed is a backup that is in a store.
type Listed struct {
	// Path is <namespace>/<cluster>/<uid>/<name>, as ParsePath takes it.
	Path     string
	Manifest Manifest
	// Err is why the manifest cannot be used, if it cannot.
	Err error
}

// List tells all backups of a store whose path begins with a prefix, in the order of their paths. One that cannot be used is
// listed with the reason. Only the store's own failures end the listing.
func List(ctx context.Context, s store.Store, prefix string) ([]Listed, error) {
	objects, err := s.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var all []Listed
	for _, object := range objects {
		folder, base := path.Split(object.Name)
		cluster, name, err := ParsePath(strings.TrimSuffix(folder, "/"))
		if base != manifestName || err != nil {
			continue // It is not ours.
		}
		m, err := Load(ctx, s, cluster, name)
		switch {
		case errors.Is(err, ErrNoBackup):
			continue // Deleted in the meantime.
		case err != nil && !errors.Is(err, ErrUnusable):
			return nil, err
		}
		all = append(all, Listed{Path: cluster.folder(name), Manifest: m, Err: err})
	}
	slices.SortFunc(all, func(a, b Listed) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// ParsePath tells whose a backup is, and its name, from where it is in its store.
func ParsePath(location string) (Cluster, string, error) {
	elements := strings.Split(location, "/")
	if len(elements) != 4 || slices.ContainsFunc(elements, func(e string) bool { return e == "" || e == "." || e == ".." }) {
		return Cluster{}, "", fmt.Errorf("%q is not the path of a backup; give <namespace>/<cluster>/<uid>/<name>, "+
			"where the UID is that of the EtcdCluster that the backup was made of", location)
	}
	return Cluster{Namespace: elements[0], Name: elements[1], UID: elements[2]}, elements[3], nil
}

// abandonedAfter is how old a snapshot without a manifest is before it is taken for one that nobody will finish. [Take] gives up some
// hours earlier, so that none is removed whose manifest may be about to be written.
const abandonedAfter = 24 * time.Hour

// Unfinished tells which snapshots under a prefix no manifest refers to, of those that are more than a day older than what was stored
// last under the prefix: all of these times are the store's. They are left by tries that failed or were killed, and by deletions that
// did not come to their end, and can be removed. Nothing is told that is less than a day old by our own clock, now: what was stored
// while the store's was wrong may seem newer than all else. What belongs to a manifest that cannot be used is not told.
func Unfinished(ctx context.Context, s store.Store, prefix string, now time.Time) ([]store.Object, error) {
	left, _, err := unfinished(ctx, s, prefix, now)
	return left, err
}

// unfinished also tells before what time something has to have been written for that.
func unfinished(ctx context.Context, s store.Store, prefix string, now time.Time) (left []store.Object, before time.Time, err error) {
	objects, err := s.List(ctx, prefix)
	if err != nil {
		return nil, before, err
	}
	var last time.Time
	for _, object := range objects {
		if object.Modified.After(last) {
			last = object.Modified
		}
	}
	if now.Before(last) {
		last = now
	}
	before = last.Add(-abandonedAfter)
	for _, object := range objects {
		folder, base := path.Split(object.Name)
		cluster, name, err := ParsePath(strings.TrimSuffix(folder, "/"))
		if err != nil || !strings.HasPrefix(base, snapshotName) || !object.Modified.Before(before) {
			continue
		}
		m, err := Load(ctx, s, cluster, name)
		switch {
		case errors.Is(err, ErrNoBackup), err == nil && m.Stored.Object != object.Name:
			left = append(left, object)
		case err != nil && !errors.Is(err, ErrUnusable):
			return nil, before, err
		}
	}
	return left, before, nil
}

// RemoveUnfinished removes what [Unfinished] tells of a cluster and, of stores that can do so, what is as old and never became an object,
// and returns how much that was. What the store was told to keep is
// left to the next time. After an error the rest is there still, and it can be repeated.
func RemoveUnfinished(ctx context.Context, s store.Store, c Cluster, now time.Time) (removed int, err error) {
	prefix := c.Folder() + "/"
	left, before, err := unfinished(ctx, s, prefix, now)
	if err != nil {
		return 0, fmt.Errorf("looking for unfinished backups of the cluster %s/%s: %w", c.Namespace, c.Name, err)
	}
	for _, object := range left {
		switch err := s.Delete(ctx, object.Name); {
		case errors.Is(err, store.ErrRetained):
		case err != nil:
			return removed, fmt.Errorf("removing an unfinished backup of the cluster %s/%s: %w", c.Namespace, c.Name, err)
		default:
			removed++
		}
	}
	tidier, can := s.(store.Tidier)
	if !can {
		return removed, nil
	}
	partial, err := tidier.RemovePartial(ctx, prefix, before)
	if err != nil {
		err = fmt.Errorf("removing unfinished objects of the cluster %s/%s: %w", c.Namespace, c.Name, err)
	}
	return removed + partial, err
}
