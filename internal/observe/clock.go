package observe

import (
	"sync"
	"time"
)

// clockTolerance is by how much a clock may be put right before it counts as another one.
const clockTolerance = 10 * time.Second

// watch knows since when an operator has been looking, by a clock that nobody has set meanwhile.
type watch struct {
	mutex sync.Mutex
	// started and steady are the same moment.
	started, steady time.Time
}

// look tells since when there have been looks without a jump of the clock. now is what the clock says, and steady is a time
// that no clock's setting moves.
func (w *watch) look(now, steady time.Time) time.Time {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	// Without its monotonic part: that is what does not jump.
	now = now.Round(0)
	jumped := now.Sub(w.started) - steady.Sub(w.steady)
	if w.started.IsZero() || jumped.Abs() > clockTolerance {
		w.started, w.steady = now, steady
	}
	return w.started.Truncate(time.Second)
}
