package observe

import (
	"testing"
	"time"
)

// TestSinceWhenAnOperatorHasBeenLooking: since its first look, or since its clock jumped last.
func TestSinceWhenAnOperatorHasBeenLooking(t *testing.T) {
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	var w watch
	for _, look := range []struct {
		what                string
		now, steady, expect time.Duration
	}{
		{"the first look", 0, 0, 0},
		{"a minute later", time.Minute, time.Minute, 0},
		{"a second was put right", time.Hour + time.Second, time.Hour, 0},
		{"forward", 3 * time.Hour, 2 * time.Hour, 3 * time.Hour},
		{"and on", 4 * time.Hour, 3 * time.Hour, 3 * time.Hour},
		{"back", 3*time.Hour + time.Minute, 3*time.Hour + time.Minute, 3*time.Hour + time.Minute},
		{"an hour without a look", 5 * time.Hour, 5 * time.Hour, 3*time.Hour + time.Minute},
		{"in small steps", 5*time.Hour + 6*time.Second, 5 * time.Hour, 3*time.Hour + time.Minute},
		{"and another one", 5*time.Hour + 12*time.Second, 5 * time.Hour, 5*time.Hour + 12*time.Second},
	} {
		if got := w.look(noon.Add(look.now), noon.Add(look.steady)); !got.Equal(noon.Add(look.expect)) {
			t.Errorf("%s: since %v, want %v", look.what, got.Sub(noon), look.expect)
		}
	}
}
