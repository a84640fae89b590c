package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// Target is what a cluster is to be recovered to: a revision, a moment, or with neither the last revision that is archived.
type Target struct {
	Revision int64
	// Time is that of the archiver, which received all of the outcome until then.
	Time time.Time
}

func (t Target) String() string {
	switch {
	case t.Revision != 0:
		return fmt.Sprintf("revision %d", t.Revision)
	case !t.Time.IsZero():
		return t.Time.UTC().Format(time.RFC3339Nano)
	}
	return "the last revision"
}

// Recovery is a base and the segments by which it becomes what the target asks for.
type Recovery struct {
	Target  Target
	History string
	Base    backup.Manifest
	// Segments is how many have to be read, Bytes how much that is, and Last the last revision that they have.
	Segments int
	Bytes    int64
	Last     int64
	// Passed says which later bases would have done and why they do not: the store has not kept them as they were.
	Passed []string

	segments []segment
}

// ErrUnrecoverable says that what is on the store does not reach the target.
var ErrUnrecoverable = errors.New("it is not archived")

// Plan finds how to recover a cluster to a target. Of several histories that have a revision, it is the newest one's, and of its bases
// the last that is whole: its snapshot is read through and compared with its manifest, before anything is done to the cluster.
func Plan(ctx context.Context, s store.Store, c backup.Cluster, t Target) (Recovery, error) {
	r, err := plan(ctx, s, c, t)
	if err != nil {
		return Recovery{}, fmt.Errorf("recovering the cluster %s/%s to %s from %s: %w", c.Namespace, c.Name, t, s, err)
	}
	return r, nil
}

func plan(ctx context.Context, s store.Store, c backup.Cluster, t Target) (Recovery, error) {
	if t.Revision < 0 || t.Revision != 0 && !t.Time.IsZero() {
		return Recovery{}, errors.New("a target is either a revision of at least 1 or a moment; give one of them")
	}
	all, err := list(ctx, s, c)
	if err != nil {
		return Recovery{}, err
	}
	var lost, damaged []string
	for _, h := range slices.Backward(all) {
		for _, b := range slices.Backward(h.bases) {
			chain := h.chain(b)
			if !t.reachable(b, chain) {
				continue
			}
			m, err := backup.Load(ctx, s, c, b.backup)
			if errors.Is(err, backup.ErrNoBackup) {
				lost = append(lost, b.backup)
				continue
			}
			if err != nil {
				return Recovery{}, err
			}
			var differs *backup.DiffersError
			if err := backup.Check(ctx, s, m); errors.As(err, &differs) {
				damaged = append(damaged, err.Error())
				continue
			} else if err != nil {
				return Recovery{}, err
			}
			found := t.recovery(h, m, chain)
			found.Passed = damaged
			return found, nil
		}
		if t == (Target{}) && len(h.bases) > 0 {
			break // An older history is not what is asked for.
		}
	}
	reason := "there is " + available(all)
	if len(lost) > 0 {
		reason += fmt.Sprintf("; the backups %s, which were bases for it, are not there any more", strings.Join(lost, ", "))
	}
	if len(damaged) > 0 {
		reason += "; bases for it are damaged: " + strings.Join(damaged, ", ")
	}
	return Recovery{}, fmt.Errorf("%w: %s; choose what is there, or an ordinary backup", ErrUnrecoverable, reason)
}

// reachable is whether a base and what continues it lead to the target. Not even the base may have more than that.
func (t Target) reachable(b base, c chain) bool {
	switch {
	case t.Revision != 0:
		return b.lastRevision <= t.Revision && t.Revision <= c.last
	case !t.Time.IsZero():
		return !b.ended.After(t.Time) && !t.Time.After(c.until) && c.last >= b.lastRevision
	}
	return c.next == 0 && c.last >= b.lastRevision
}

func (t Target) recovery(h history, m backup.Manifest, c chain) Recovery {
	r := Recovery{Target: t, History: h.name, Base: m, Last: m.State.Revision}
	for _, s := range c.segments {
		if t.Revision != 0 && r.Last >= t.Revision {
			break
		}
		r.segments = append(r.segments, s)
		r.Segments, r.Bytes, r.Last = r.Segments+1, r.Bytes+s.size, s.last
		if !t.Time.IsZero() && s.until.After(t.Time) {
			break
		}
	}
	return r
}

// Stretch is a part of a cluster's life that any revision and any moment of can be recovered.
type Stretch struct {
	First, Last int64
	From, Until time.Time
	// Missing is how many revisions are missing after it, before others are archived.
	Missing int64
}

// String says from where to where it reaches, and what is missing after it.
func (s Stretch) String() string {
	said := fmt.Sprintf("revision %d (%s) to %d (%s)", s.First, s.From.Format(time.RFC3339Nano), s.Last, s.Until.Format(time.RFC3339Nano))
	if s.Missing != 0 {
		said += fmt.Sprintf(", after which the revisions %d to %d are missing", s.Last+1, s.Last+s.Missing)
	}
	return said
}

// Reach tells what is archived of a cluster, the oldest first, by the names of what there is: nothing is read.
func Reach(ctx context.Context, s store.Store, c backup.Cluster) ([]Stretch, error) {
	all, err := list(ctx, s, c)
	return reach(all), err
}

func reach(all []history) (stretches []Stretch) {
	for _, h := range all {
		for n, b := range h.bases {
			c := h.chain(b)
			if n == 0 || b.revision > stretches[len(stretches)-1].Last {
				stretches = append(stretches, Stretch{First: b.lastRevision, From: b.ended})
			}
			s := &stretches[len(stretches)-1]
			s.Last, s.Until, s.Missing = c.last, c.until, 0
			if c.next != 0 {
				s.Missing = c.next - c.last - 1
			}
		}
	}
	return stretches
}

// available says what can be chosen.
func available(all []history) string {
	var said []string
	for _, stretch := range reach(all) {
		said = append(said, stretch.String())
	}
	if len(said) == 0 {
		return "nothing"
	}
	return strings.Join(said, ", and ")
}
