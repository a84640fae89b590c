package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
)

// CutOverOptions say how long it is waited.
type CutOverOptions struct {
	// Quiet is for how long the source must not have been written to, by default a second. Limit is after what time it is given up
	// to wait for that, by default a minute. PollEvery is how often both are asked.
	Quiet, Limit, PollEvery time.Duration
}

func (o CutOverOptions) withDefaults() CutOverOptions {
	set := func(value *time.Duration, otherwise time.Duration) {
		if *value == 0 {
			*value = otherwise
		}
	}
	set(&o.Quiet, time.Second)
	set(&o.Limit, time.Minute)
	set(&o.PollEvery, 100*time.Millisecond)
	return o
}

// CutOver waits until nobody writes to the source any more and the target has all of it, while a mirror runs elsewhere, and
// compares them. It is what both have. An error is [Final] if they differ; others are worth another try.
func CutOver(ctx context.Context, source, target *clientv3.Client, o CutOverOptions) (backup.Content, error) {
	o = o.withDefaults()
	deadline := time.Now().Add(o.Limit)
	for {
		revision, err := settled(ctx, source, target, o, deadline)
		if err != nil {
			return backup.Content{}, err
		}
		here, there, err := digests(ctx, source, target, revision)
		if err != nil {
			return backup.Content{}, err
		}
		if here != there {
			return backup.Content{}, fmt.Errorf("%w: %s", ErrDiverged, differ(here, there))
		}
		// What was written while they were compared has to be compared as well.
		after, err := ask(ctx, source)
		if err != nil {
			return backup.Content{}, fmt.Errorf("the revision of the source: %w", err)
		}
		reached, err := ask(ctx, target)
		if err != nil {
			return backup.Content{}, fmt.Errorf("the revision of the target: %w", err)
		}
		if after.revision == revision && reached.revision == revision {
			return here, nil
		}
		if time.Now().After(deadline) {
			return backup.Content{}, fmt.Errorf(
				"the source is still written to: it went from revision %d to %d while it was compared. Stop its clients, and try again", revision, after.revision)
		}
	}
}

// settled waits until the source has been quiet and the target has its revision.
func settled(ctx context.Context, source, target *clientv3.Client, o CutOverOptions, deadline time.Time) (int64, error) {
	var last int64
	var since time.Time
	// Whoever does not answer must not make it last much longer.
	asking, stop := context.WithDeadline(ctx, deadline.Add(time.Second))
	defer stop()
	for {
		now := time.Now()
		var problem error
		there, err := ask(asking, target)
		if err != nil {
			problem = fmt.Errorf("the revision of the target: %w", err)
		}
		here, err := ask(asking, source)
		if err != nil {
			problem = errors.Join(problem, fmt.Errorf("the revision of the source: %w", err))
		} else if here.revision != last {
			last, since = here.revision, time.Now()
		}
		quiet := max(now.Sub(since), 0)
		switch {
		case problem != nil:
		case there.revision > here.revision:
			return 0, fmt.Errorf("%w: the target is at revision %d, and the source at %d only", ErrDiverged, there.revision, here.revision)
		case quiet < o.Quiet:
			problem = fmt.Errorf("the source is still written to: it came to revision %d %s ago, and has to be quiet for %s. Stop its clients, and try again",
				last, quiet.Round(time.Millisecond), o.Quiet)
		case there.revision < here.revision:
			problem = fmt.Errorf("the mirror is behind by %d revisions: the target is at %d, and the source at %d. Its log says what hinders it",
				here.revision-there.revision, there.revision, here.revision)
		default:
			return here.revision, nil
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("after %s: %w", o.Limit, problem)
		}
		pause(ctx, o.PollEvery)
		if ctx.Err() != nil {
			return 0, errors.Join(ctx.Err(), problem)
		}
	}
}
