package archive_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
)

var cost = flag.Bool("cost", false, "measure what archiving costs a member, which takes a minute")

// TestWhatArchivingCostsAMember writes 1,000 keys a second, with an archiver and without, in turn. It only prints what processor time
// the member takes, for this depends on what else the machine does.
func TestWhatArchivingCostsAMember(t *testing.T) {
	if testing.Short() || !*cost {
		t.Skip("takes a minute: run it with -cost")
	}
	const round = 15 * time.Second
	m := newMember(t, "3.6")
	s, _ := volume(t)
	var with, without []float64
	for n := range 4 {
		stop := func() {}
		options := m.options(s)
		options.FlushEvery, options.IdleEvery = 5*time.Second, 0
		if n%2 == 1 {
			var a *archive.Archiver
			a, stop = follow(t, m.Client, s, options)
			m.archived(t, a)
		}
		before := m.processorTime(t)
		written := m.writesFor(t, round, 1000)
		took := (m.processorTime(t) - before).Seconds() / round.Seconds() * 100
		stop()
		t.Logf("archiver: %t; %d writes a second; the member takes %.1f %% of a processor", n%2 == 1, written/int(round.Seconds()), took)
		if n%2 == 1 {
			with = append(with, took)
		} else {
			without = append(without, took)
		}
	}
	t.Logf("the archiver costs it %.1f %% of a processor", (with[0]+with[1]-without[0]-without[1])/2)
}

// writesFor writes as many keys a second as it is told for some time, and is how many those were.
func (m *member) writesFor(t *testing.T, long time.Duration, perSecond int) int {
	const writers = 20
	var all sync.WaitGroup
	var written atomic.Int64
	value := strings.Repeat("x", 500)
	for w := range writers {
		all.Go(func() {
			ticker := time.NewTicker(writers * time.Second / time.Duration(perSecond))
			defer ticker.Stop()
			for end := time.Now().Add(long); time.Now().Before(end); <-ticker.C {
				if _, err := m.Put(t.Context(), fmt.Sprintf("cost/%d/%d", w, written.Add(1)%1000), value); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	return int(written.Load())
}

// processorTime is what the member's process has taken so far, in hundredths of a second (proc_pid_stat(5): utime and stime).
func (m *member) processorTime(t *testing.T) time.Duration {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.PID()))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
	var took time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		took += time.Duration(n) * 10 * time.Millisecond
	}
	return took
}
