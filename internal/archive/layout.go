// Package archive keeps every revision of an etcd cluster on the store of its backups, and brings the cluster back as it was
// at any of them. It runs in agents, never in the manager: see docs/architecture/backup.md for what is on the store and what
// is guaranteed.
package archive

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

const (
	rootName     = "archive"
	basesName    = "bases"
	segmentsName = "segments"
	// moment is how times are written in names: they sort as they follow each other.
	moment = "20060102T150405.000000000Z"
)

// segment is what the name of a stored segment says: it has the revisions first to last, and nothing that was acknowledged
// before the time until is missing after them. A segment of a cluster that had nothing new has first = last+1.
type segment struct {
	object      string
	first, last int64
	until       time.Time
	size        int64
}

func (s segment) empty() bool { return s.last < s.first }

// base is a backup that a recovery can begin with, as the name of its mark says.
type base struct {
	object                 string
	revision, lastRevision int64
	ended                  time.Time
	backup                 string
}

// history is one unbroken life of a cluster: bases, and the segments that continue them. Another one begins when it is not
// certain that the cluster's data continues what is archived.
type history struct {
	name     string
	bases    []base
	segments []segment
}

func root(c backup.Cluster) string { return path.Join(c.Folder(), rootName) }

func baseObject(c backup.Cluster, history string, m backup.Manifest) string {
	name := fmt.Sprintf("%020d-%020d-%s-%s", m.State.Revision, m.State.LastRevision, m.Ended.UTC().Format(moment), m.Name)
	return path.Join(root(c), history, basesName, name)
}

func segmentObject(c backup.Cluster, history string, first, last int64, until time.Time) string {
	return path.Join(root(c), history, segmentsName, fmt.Sprintf("%020d-%020d-%s", first, last, until.UTC().Format(moment)))
}

// parseName takes the name of a mark or a segment apart; rest is what comes after the time.
func parseName(name string) (first, last int64, at time.Time, rest string, ok bool) {
	parts := strings.SplitN(name, "-", 4)
	if len(parts) < 3 || len(parts[0]) != 20 || len(parts[1]) != 20 {
		return 0, 0, time.Time{}, "", false
	}
	first, firstErr := strconv.ParseInt(parts[0], 10, 64)
	last, lastErr := strconv.ParseInt(parts[1], 10, 64)
	at, atErr := time.Parse(moment, parts[2])
	if len(parts) == 4 {
		rest = parts[3]
	}
	ok = firstErr == nil && lastErr == nil && atErr == nil && first > 0 && last >= first-1
	return first, last, at, rest, ok
}

// list tells the histories of a cluster, the oldest first, their bases by age and their segments by revision. What has
// another name than a mark or a segment is nobody's business.
func list(ctx context.Context, s store.Store, c backup.Cluster) ([]history, error) {
	prefix := root(c) + "/"
	objects, err := s.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("the archive of the cluster %s/%s: %w", c.Namespace, c.Name, err)
	}
	var all []history
	for _, o := range objects {
		parts := strings.Split(strings.TrimPrefix(o.Name, prefix), "/")
		if len(parts) != 3 {
			continue
		}
		if _, err := time.Parse(moment, parts[0]); err != nil {
			continue
		}
		first, last, at, rest, ok := parseName(parts[2])
		if !ok {
			continue
		}
		if len(all) == 0 || all[len(all)-1].name != parts[0] {
			all = append(all, history{name: parts[0]})
		}
		h := &all[len(all)-1]
		switch {
		case parts[1] == basesName && rest != "" && last >= first:
			h.bases = append(h.bases, base{object: o.Name, revision: first, lastRevision: last, ended: at, backup: rest})
		case parts[1] == segmentsName && rest == "":
			h.segments = append(h.segments, segment{object: o.Name, first: first, last: last, until: at, size: o.Size})
		}
	}
	for _, h := range all {
		slices.SortStableFunc(h.bases, func(a, b base) int { return a.ended.Compare(b.ended) })
		slices.SortStableFunc(h.segments, func(a, b segment) int { return cmp.Or(cmp.Compare(a.first, b.first), a.until.Compare(b.until)) })
	}
	return all, nil
}

// chain are the segments that continue a base without a gap, each of them from the revision after that of the one before.
// Segments of two archivers may overlap, and say the same: of those, whichever leads further is taken.
type chain struct {
	segments []segment
	// last is the revision that they lead to, and until the time until which there was nothing after it.
	last  int64
	until time.Time
	// next is the first revision that is archived after a gap, if there is one.
	next int64
}

func (h history) chain(b base) chain {
	c := chain{last: b.revision, until: b.ended}
	var best segment
	take := func() {
		c.segments, c.last, c.until = append(c.segments, best), best.last, best.until
		best = segment{}
	}
	for _, s := range h.segments {
		if s.first > c.last+1 && best.last > c.last {
			take()
		}
		switch {
		case s.first > c.last+1:
			if c.next == 0 && !s.empty() {
				c.next = s.first
			}
		case s.last > c.last && s.last > best.last:
			best = s
		}
	}
	if best.last > c.last {
		take()
	}
	for _, s := range h.segments {
		if s.last == c.last && s.until.After(c.until) {
			c.until = s.until
		}
	}
	return c
}
