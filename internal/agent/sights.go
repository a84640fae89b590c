package agent

import (
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
)

// behind is how many flush intervals an archiver that is ready lags at most.
const behind = 10

// target is how many flush intervals an archiver lags at most while nothing is in the way: one is collected while another is stored.
const target = 2

// sights are what others see of an archiver.
type sights struct {
	*board[archive.Status]
	allowed time.Duration
	breaks  prometheus.Counter
	last    archive.Status
}

func newSights(t task.Task, status func() archive.Status) *sights {
	s := &sights{board: newBoard(t, "etcd_archiver_", "the archiver", status), allowed: behind * t.Archive.FlushInterval}
	s.gauge("last_flushed_revision", "The last revision that is on the store.", func(s archive.Status) float64 { return float64(s.Revision) })
	s.currency(func(s archive.Status) time.Time { return s.Current },
		"The moment before which all that was acknowledged is on the store, in seconds since 1970; 0 before that is known.",
		"How much would be lost if the cluster were lost now; before that is known, for how long it has not been.")
	s.gauge("lag_target_seconds", "How much that is at most while nothing is in the way.", func(archive.Status) float64 { return target * t.Archive.FlushInterval.Seconds() })
	s.counter("segments_total", "Segments stored since the archiver was started.", func(s archive.Status) float64 { return float64(s.Segments) })
	s.counter("bytes_total", "Bytes of segments stored since the archiver was started.", func(s archive.Status) float64 { return float64(s.Bytes) })
	s.breaks = s.counted("breaks_total", "How often the archive could not be continued, so that another history with another base was begun.")
	return s
}

// look tells and counts what has changed since the last look.
func (s *sights) look() {
	before, now := s.last, s.status()
	s.last = now
	if now.History != before.History {
		log.Printf("etcd-agent: archiving the history %s, with the base %s, from revision %d on", now.History, now.Base, now.Revision)
	}
	// Each break is an error of its own.
	if now.Broken != before.Broken { //nolint:errorlint // As above.
		s.breaks.Inc()
		log.Print("etcd-agent: another history was begun: ", now.Broken)
	}
	s.hinders(now.Err)
}

// ready is why the archiver does not keep up, if it does not.
func (s *sights) ready(now time.Time) error {
	status := s.status()
	switch {
	case status.Current.IsZero():
		return errors.Join(errors.New("it does not follow the cluster yet"), status.Err)
	case status.Lag(now) > s.allowed:
		return errors.Join(fmt.Errorf("it lags by %s, and %s are allowed", status.Lag(now).Round(time.Millisecond), s.allowed), status.Err)
	}
	return nil
}
