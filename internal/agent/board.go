package agent

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
)

// board is where others see how an agent is that goes on until it is told to end. S is what it says about itself.
type board[S any] struct {
	status  func() S
	prefix  string
	of      prometheus.Labels
	metrics *prometheus.Registry
	errors  prometheus.Counter
	// hindered is what hindered it at the last look.
	hindered error
}

// newBoard has the metrics that all have. Their names begin with a prefix, and what is counted is called who.
func newBoard[S any](t task.Task, prefix, who string, status func() S) *board[S] {
	b := &board[S]{
		status: status, prefix: prefix, metrics: prometheus.NewRegistry(),
		of: prometheus.Labels{"namespace": t.Cluster.Namespace, "cluster": t.Cluster.Name},
	}
	b.errors = b.counted("errors_total", "How often something began to hinder "+who+".")
	return b
}

func (b *board[S]) options(name, help string) prometheus.Opts {
	return prometheus.Opts{Name: b.prefix + name, Help: help, ConstLabels: b.of}
}

func (b *board[S]) gauge(name, help string, value func(S) float64) {
	b.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(b.options(name, help)), func() float64 { return value(b.status()) }))
}

func (b *board[S]) counter(name, help string, value func(S) float64) {
	b.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(b.options(name, help)), func() float64 { return value(b.status()) }))
}

func (b *board[S]) counted(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts(b.options(name, help)))
	b.metrics.MustRegister(c)
	return c
}

// currency has the metrics of how far it is behind. Current is the moment before which all is done; zero before that is known.
func (b *board[S]) currency(current func(S) time.Time, timestampHelp, lagHelp string) {
	began := time.Now()
	b.gauge("current_timestamp_seconds", timestampHelp, func(s S) float64 {
		if current(s).IsZero() {
			return 0
		}
		return float64(current(s).UnixMilli()) / 1000
	})
	b.gauge("lag_seconds", lagHelp, func(s S) float64 {
		if current(s).IsZero() {
			return time.Since(began).Seconds()
		}
		return time.Since(current(s)).Seconds()
	})
}

// hinders tells what hinders it, and counts when that begins. It is called at each look, by one.
func (b *board[S]) hinders(now error) {
	before := b.hindered
	b.hindered = now
	switch {
	case now != nil && before == nil:
		b.failed(now)
	case now == nil && before != nil:
		log.Print("etcd-agent: nothing hinders any more")
	case now != nil && now.Error() != before.Error():
		log.Print("etcd-agent: ", now)
	}
}

// failed tells and counts an error.
func (b *board[S]) failed(err error) {
	b.errors.Inc()
	log.Print("etcd-agent: ", err)
}

// serve answers requests until it is stopped. Ready is why it does not keep up, if it does not.
func (b *board[S]) serve(ctx context.Context, address string, ready func(time.Time) error) (stop func(), err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.Handle("/metrics", promhttp.HandlerFor(b.metrics, promhttp.HandlerOpts{}))
	if stop, err = listen(ctx, address, mux); err != nil {
		return nil, fmt.Errorf("serving metrics: %w", err)
	}
	return stop, nil
}

// listen answers requests until it is stopped; in a pod at [task.Port].
func listen(ctx context.Context, address string, handler http.Handler) (stop func(), err error) {
	address = cmp.Or(address, fmt.Sprintf(":%d", task.Port))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening at %s: %w", address, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	return func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(ending)
		_ = server.Close()
		serving.Wait()
	}, nil
}
