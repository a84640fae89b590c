package history

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Figures are what one client saw.
type Figures struct {
	// Writes were acknowledged; Failed were not: refused, or without an answer before their deadline. The client's own
	// retries are inside one write.
	Writes, Failed int
	// Errors are the errors of failed writes and how often each came.
	Errors map[string]int
	// LongestGap is the longest time without an acknowledged write, and GapAt when it began.
	LongestGap, GapAt time.Duration
	// P50, P99 and Max are how long acknowledged writes took.
	P50, P99, Max time.Duration
}

// Result is what a run saw.
type Result struct {
	// Clients are the figures by the client's name.
	Clients map[string]Figures
	// Operations is the number of operations of all kinds, and Duration how long the run was.
	Operations int
	Duration   time.Duration
	// Elections is by how much the raft term rose: leaderships that were handed over or newly elected.
	Elections int
	// Stall is by how much this process itself was late to write: gaps shorter than it say nothing of the cluster.
	Stall time.Duration
}

// Stop ends the workload, when the operations that were begun have ended, and gives its figures.
func (r *Run) Stop() Result {
	r.cancel()
	if r.stopped.IsZero() {
		r.stopped = time.Now()
	}
	r.running.Wait()
	result := Result{
		Clients: map[string]Figures{}, Duration: r.stopped.Sub(r.started), Elections: int(r.highest - r.lowest),
		Stall: time.Duration(r.stall.Load()),
	}
	for n, client := range r.clients {
		result.Clients[client.Name] = figures(r.beats[n], r.operations[n], result.Duration)
		result.Operations += len(r.beats[n]) + len(r.operations[n])
	}
	return result
}

// Worst are the worst figures of any client.
func (r Result) Worst() Figures {
	worst := Figures{Errors: map[string]int{}}
	for _, f := range r.Clients {
		worst.Writes += f.Writes
		worst.Failed += f.Failed
		for text, n := range f.Errors {
			worst.Errors[text] += n
		}
		if f.LongestGap > worst.LongestGap {
			worst.LongestGap, worst.GapAt = f.LongestGap, f.GapAt
		}
		worst.P50, worst.P99, worst.Max = max(worst.P50, f.P50), max(worst.P99, f.P99), max(worst.Max, f.Max)
	}
	return worst
}

func (r Result) String() string {
	var lines []string
	for name, f := range r.Clients {
		line := fmt.Sprintf("client %s: %d writes, %d failed, longest gap %v (after %v), p50 %v, p99 %v, longest %v", name, f.Writes, f.Failed,
			f.LongestGap.Round(time.Millisecond), f.GapAt.Round(time.Millisecond), f.P50.Round(10*time.Microsecond),
			f.P99.Round(10*time.Microsecond), f.Max.Round(time.Millisecond))
		for text, n := range f.Errors {
			line += fmt.Sprintf("\n  %d times: %s", n, text)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return fmt.Sprintf("%d operations in %v, %d elections, writer late by %v at most\n%s", r.Operations, r.Duration.Round(time.Millisecond),
		r.Elections, r.Stall.Round(time.Millisecond), strings.Join(lines, "\n"))
}

// figures counts the writes of one client. Gaps and latencies are those of its heartbeats.
func figures(beats, operations []Operation, duration time.Duration) Figures {
	f := Figures{Errors: map[string]int{}}
	for _, o := range slices.Concat(beats, operations) {
		switch {
		case o.Writes():
			f.Writes++
		case o.Kind != Get && o.Outcome != OK:
			f.Failed++
			f.Errors[o.Error]++
		}
	}
	var ends, took []time.Duration
	for _, o := range beats {
		if o.Outcome == OK {
			ends, took = append(ends, min(o.Return, duration)), append(took, o.Return-o.Call)
		}
	}
	slices.Sort(ends)
	slices.Sort(took)
	last := time.Duration(0)
	for _, end := range append(ends, duration) {
		if end-last > f.LongestGap {
			f.LongestGap, f.GapAt = end-last, last
		}
		last = end
	}
	if n := len(took); n > 0 {
		f.P50, f.P99, f.Max = took[n/2], took[n*99/100], took[n-1]
	}
	return f
}

// Check reads all keys after Stop and says what the cluster did wrong: see Verify. Any of its clients may read.
func (r *Run) Check(ctx context.Context) error {
	if len(r.clusters) > 1 {
		return fmt.Errorf("%d clusters answered: %x", len(r.clusters), slices.Sorted(maps.Keys(r.clusters)))
	}
	if took := r.stopped.Sub(r.started); took > r.options.MaxDuration {
		return fmt.Errorf("the limit of %v was reached, the run took %v: what came later was not tested", r.options.MaxDuration, took)
	}
	if r.count.Load() > int64(r.options.MaxOperations) {
		return fmt.Errorf("the limit of %d operations was reached: what came later was not tested", r.options.MaxOperations)
	}
	operations := slices.Concat(append(r.operations, r.beats...)...)
	final, reads, err := r.readAll(ctx, operations)
	if err != nil {
		return fmt.Errorf("reading all keys at the end: %w", err)
	}
	return Verify(append(operations, reads...), final)
}

// readAll reads every key of the run at one revision. Each is a read of the history too.
func (r *Run) readAll(ctx context.Context, operations []Operation) (map[string]Final, []Operation, error) {
	var response *clientv3.GetResponse
	var err error
	call := time.Since(r.started)
	for try := range 30 {
		reading, cancel := context.WithTimeout(ctx, 5*time.Second)
		response, err = r.clients[try%len(r.clients)].Get(reading, r.prefix, clientv3.WithPrefix())
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
		pause(ctx, time.Second)
	}
	if err != nil {
		return nil, nil, err
	}
	final := map[string]Final{}
	for _, kv := range response.Kvs {
		final[string(kv.Key)] = Final{Value: string(kv.Value), Revision: kv.ModRevision}
	}
	keys := map[string]bool{}
	var reads []Operation
	for _, o := range operations {
		if !keys[o.Key] {
			keys[o.Key] = true
			reads = append(reads, Operation{
				Kind: Get, Key: o.Key, Value: final[o.Key].Value, Revision: response.Header.Revision, Call: call, Return: time.Since(r.started),
			})
		}
	}
	slices.SortFunc(reads, func(a, b Operation) int { return cmp.Compare(a.Key, b.Key) })
	return final, reads, nil
}

// only is the value of the one key that there is, or "".
func only(kvs []*mvccpb.KeyValue) string {
	if len(kvs) == 0 {
		return ""
	}
	return string(kvs[0].Value)
}

func pause(ctx context.Context, length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
