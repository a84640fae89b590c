//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// pollInterval is how often a condition that cannot be watched is looked at.
const pollInterval = 25 * time.Millisecond

// say prints a line.
func (c *Cluster) say(format string, arguments ...any) {
	_, _ = fmt.Fprintf(c.Output, "==> "+format+"\n", arguments...)
}

// part runs one part of the work and prints how long it took.
func (c *Cluster) part(title string, work func() error) error {
	started := time.Now()
	if err := work(); err != nil {
		return err
	}
	dots := strings.Repeat(".", max(3, 50-len(title)))
	_, _ = fmt.Fprintf(c.Output, "==> %s %s %5.1f s\n", title, dots, time.Since(started).Seconds())
	return nil
}

// waitFor looks at a condition until it holds; its last error says what was missing.
func waitFor(ctx context.Context, what string, limit time.Duration, check func(context.Context) error) error {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if caller.Err() != nil {
				return fmt.Errorf("waiting for %s was interrupted: %w", what, caller.Err())
			}
			return fmt.Errorf("waiting for %s took longer than %s: %w", what, limit, last)
		case <-time.After(pollInterval):
		}
	}
}

// fatalError ends a wait at once: waiting longer cannot help.
type fatalError struct{ cause error }

func (e *fatalError) Error() string { return e.cause.Error() }
func (e *fatalError) Unwrap() error { return e.cause }

// together runs works at the same time and joins their errors.
func together(works ...func() error) error {
	results := make(chan error, len(works))
	for _, work := range works {
		go func() { results <- work() }()
	}
	var all []error
	for range works {
		all = append(all, <-results)
	}
	return errors.Join(all...)
}

// forEach does the same work for all items at the same time.
func forEach[T any](items []T, work func(T) error) error {
	works := make([]func() error, len(items))
	for i, item := range items {
		works[i] = func() error { return work(item) }
	}
	return together(works...)
}
