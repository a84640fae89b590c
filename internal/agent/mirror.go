package agent

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/mirror"
)

const (
	// mirrorLag is how far a mirror that is ready lags at most.
	mirrorLag = 5 * time.Second
	// connectEvery is how often it is tried to log in. It must not take long: nobody keeps the target's leases alive meanwhile.
	connectEvery = time.Second
)

// mirror repeats on members what the source does, until the context ends, or what was mounted for it has changed.
func (a Agent) mirror(ctx context.Context, t task.Task) error {
	if err := a.hasBoth(t); err != nil {
		return err
	}
	mounted, err := a.mounted()
	if err != nil {
		return err
	}
	r := &mirrorer{agent: a, task: t}
	r.board = newBoard(t, "etcd_mirror_", "the mirror", r.status)
	r.register()
	stop, err := r.board.serve(ctx, a.Listen, r.ready)
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- r.run(ctx)
	}()
	a.untilChanged(ctx, mounted, r.look)
	cancel()
	err = <-ended
	r.look()
	return judgeMirror(err)
}

// hasBoth is an error if a task lacks one side.
func (a Agent) hasBoth(t task.Task) error {
	if t.Source == nil || len(t.Source.URLs) == 0 || len(t.Members) == 0 {
		return &FinalError{Err: fmt.Errorf(
			"the task does not say what is mirrored by which members of %s/%s: its image and the operator are of different versions", t.Cluster.Namespace, t.Cluster.Name)}
	}
	return nil
}

// judgeMirror tells what would come again from what is worth another try.
func judgeMirror(err error) error {
	if mirror.Final(err) {
		return &FinalError{Err: err, Differs: errors.Is(err, mirror.ErrDiverged)}
	}
	return err
}

// mirrorer is a mirror with what is around it.
type mirrorer struct {
	agent Agent
	task  task.Task
	board *board[mirror.Status]
	last  mirror.Status

	mutex sync.Mutex
	// mirror is nil until both are connected to; connecting is what hinders that.
	mirror     *mirror.Mirror
	connecting error
}

func (r *mirrorer) status() mirror.Status {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.mirror == nil {
		return mirror.Status{Err: r.connecting}
	}
	return r.mirror.Status()
}

// run connects to both, and mirrors.
func (r *mirrorer) run(ctx context.Context) error {
	// The target comes last: nothing keeps a connection to it waiting.
	source, err := r.connect(ctx, r.agent.source(r.task))
	if err != nil || source == nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := r.connect(ctx, r.agent.members(r.task))
	if err != nil || target == nil {
		return err
	}
	defer func() { _ = target.Close() }()
	m := mirror.New(source, target, mirror.Options{Cluster: r.task.Cluster.Namespace + "/" + r.task.Cluster.Name})
	r.mutex.Lock()
	r.mirror = m
	r.mutex.Unlock()
	return m.Run(ctx)
}

// connect tries until it succeeds or the context ends; then there is neither a client nor an error. With a login it needs an answer.
func (r *mirrorer) connect(ctx context.Context, p peer) (*clientv3.Client, error) {
	again := time.NewTicker(connectEvery)
	defer again.Stop()
	for {
		// What it connects with outlives the context: who ends wants to tidy up.
		client, err := p.connectAll(context.WithoutCancel(ctx))
		r.mutex.Lock()
		r.connecting = err
		r.mutex.Unlock()
		if err == nil {
			return client, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-again.C:
		}
	}
}

func (r *mirrorer) register() {
	b := r.board
	b.gauge("revision", "The last revision that the cluster has of the source.", func(s mirror.Status) float64 { return float64(s.Revision) })
	b.gauge("source_revision", "The last revision of the source that is known of.", func(s mirror.Status) float64 { return float64(s.SourceRevision) })
	b.gauge("compacted_revision", "Where the cluster was compacted last as the source was; 0 if it was not since the mirror was started.",
		func(s mirror.Status) float64 { return float64(s.Compacted) })
	b.currency(func(s mirror.Status) time.Time { return s.Current },
		"The moment before which all that the source had acknowledged is on the cluster, in seconds since 1970; 0 before that is known.",
		"How far the cluster is behind the source; before that is known, for how long it has not been.")
	b.counter("transactions_total", "Revisions written since the mirror was started.", func(s mirror.Status) float64 { return float64(s.Transactions) })
	b.counter("bytes_total", "Bytes of keys and values written since the mirror was started.", func(s mirror.Status) float64 { return float64(s.Bytes) })
}

// look tells and counts what has changed since the last look.
func (r *mirrorer) look() {
	before, now := r.last, r.status()
	r.last = now
	if before.Revision == 0 && now.Revision != 0 {
		log.Printf("etcd-agent: mirroring from revision %d on; the source is at %d", now.Revision, now.SourceRevision)
	}
	if before.Current.IsZero() && !now.Current.IsZero() {
		log.Printf("etcd-agent: the cluster has all that the source has, at revision %d", now.Revision)
	}
	r.board.hinders(now.Err)
}

// ready is why the mirror does not keep up, if it does not.
func (r *mirrorer) ready(now time.Time) error {
	status := r.status()
	switch {
	case status.Current.IsZero():
		return errors.Join(errors.New("it does not follow the source yet"), status.Err)
	case status.Lag(now) > mirrorLag:
		return errors.Join(fmt.Errorf("it lags by %s, and %s are allowed: the cluster is at revision %d, and the source at %d",
			status.Lag(now).Round(time.Millisecond), mirrorLag, status.Revision, status.SourceRevision), status.Err)
	}
	return nil
}

// cutOver waits until members have all that the source has, and compares it.
func (a Agent) cutOver(ctx context.Context, t task.Task) (task.Result, error) {
	if err := a.hasBoth(t); err != nil {
		return task.Result{}, err
	}
	source, err := a.source(t).connectAll(ctx)
	if err != nil {
		return task.Result{}, err
	}
	defer func() { _ = source.Close() }()
	target, err := a.members(t).connectAll(ctx)
	if err != nil {
		return task.Result{}, err
	}
	defer func() { _ = target.Close() }()
	both, err := mirror.CutOver(ctx, source, target, mirror.CutOverOptions{})
	if err != nil {
		return task.Result{}, judgeMirror(fmt.Errorf("cutting over to %s/%s: %w", t.Cluster.Namespace, t.Cluster.Name, err))
	}
	return task.Result{CutOver: new(task.Content(both))}, nil
}
