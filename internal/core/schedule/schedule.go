// Package schedule decides when the next backup of a cluster is made, and which of the earlier ones are removed. Like the core of
// clusters it is pure: what there is goes in, and what is to be done comes out.
package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Spec is what is asked for.
type Spec struct {
	// Schedule has five fields, or is @daily and the like; TimeZone is UTC if it is empty.
	Schedule, TimeZone string
	Suspended          bool
	// VerifyEvery is of how many backups one is tried out: 1 means all, 0 none.
	VerifyEvery int
	Retention   Retention
}

// Retention is which backups are kept: those that any of its rules keeps. With none of them all are.
type Retention struct {
	Last                   int
	Within                 time.Duration
	Daily, Weekly, Monthly int
}

// Backup is one that was made by the schedule.
type Backup struct {
	Name      string
	Scheduled time.Time
	// Complete ones are in the store; Failed ones never will be; others are being made.
	Complete, Failed bool
	// VerifyAsked is whether it is to be tried out, Verified whether that ended well, and Bad whether it ended otherwise.
	VerifyAsked, Verified, Bad bool
	// Kept is whether a person wants it to stay, and Used whether a restore reads it, or is about to.
	Kept, Used bool
	Deleting   bool
}

// Observation is all that a decision is made from.
type Observation struct {
	Now     time.Time
	Cluster string
	// Since is when the cluster was made: there is nothing to be caught up from before.
	Since   time.Time
	Spec    Spec
	Backups []Backup
}

// Decision is what to do.
type Decision struct {
	// Make is the backup to be made now; nil if there is none.
	Make *Make
	// Delete are the names of those to be removed.
	Delete []string
	// Next is when the schedule comes round again. If that is past, something still is in the way.
	Next time.Time
	// Overdue is when two runs in a row will have brought nothing good: that of the second run after the last good backup.
	Overdue time.Time
	// LookAgain is when to look again.
	LookAgain time.Duration
}

// Make is a backup to be made.
type Make struct {
	Name      string
	Scheduled time.Time
	Verify    bool
}

// Field is the part of the spec that a schedule of backups is in.
const Field = "spec.backup"

// whileRunning is when to look again while a backup is being made: its end is also heard of.
const whileRunning = time.Minute

// Parse reads a schedule in a time zone. The message names the fields, which are those of a part of the spec.
func Parse(part, schedule, zone string) (cron.Schedule, error) {
	location, err := location(part, zone)
	if err != nil {
		return nil, err
	}
	if strings.Contains(schedule, "=") {
		return nil, fmt.Errorf("%s.schedule is %q: name the time zone in %s.timeZone", part, schedule, part)
	}
	parsed, err := cron.ParseStandard("CRON_TZ=" + location.String() + " " + schedule)
	if err != nil {
		return nil, fmt.Errorf("%s.schedule is %q, which is no schedule: %w; use five fields (minute hour day-of-month month day-of-week), such as 15 3 * * *", part, schedule, err)
	}
	return parsed, nil
}

func location(part, zone string) (*time.Location, error) {
	if zone == "Local" {
		return nil, fmt.Errorf("%s.timeZone is %q: name a time zone such as Europe/Berlin", part, zone)
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("%s.timeZone is %q, which is no time zone: use a name such as Europe/Berlin", part, zone)
	}
	return location, nil
}

// Decide decides what happens next.
func Decide(o Observation) (Decision, error) {
	parsed, err := Parse(Field, o.Spec.Schedule, o.Spec.TimeZone)
	if err != nil || o.Spec.Suspended {
		return Decision{}, err
	}
	d := Decision{Delete: o.surplus(), Overdue: o.overdue(parsed)}
	last, running := o.Since, false
	for _, b := range o.Backups {
		if b.Scheduled.After(last) {
			last = b.Scheduled
		}
		running = running || !b.Complete && !b.Failed && !b.Deleting
	}
	due := Latest(parsed, o.Now)
	d.Next = parsed.Next(o.Now)
	switch missed := due.After(last); {
	case missed && running:
		// One after the other: two would only slow each other down.
		d.Next, d.LookAgain = due, whileRunning
	case missed:
		d.Make = &Make{Name: Name(o.Cluster, due), Scheduled: due, Verify: o.verifies()}
		d.LookAgain = time.Second
	case !d.Next.IsZero():
		d.LookAgain = max(d.Next.Sub(o.Now), time.Second)
	}
	return d, nil
}

// overdue is when the second run after the last good backup is due, or after the cluster was made if there is none.
func (o Observation) overdue(schedule cron.Schedule) time.Time {
	last := o.Since
	good, _ := o.sort()
	if len(good) > 0 && good[0].Scheduled.After(last) {
		last = good[0].Scheduled
	}
	return schedule.Next(schedule.Next(last))
}

// Name is that of the backup of a cluster for a time: the same however often it is asked for, so that it is made once. It has at most
// 52 characters.
func Name(cluster string, scheduled time.Time) string {
	return cluster + "-" + scheduled.UTC().Format("060102-1504")
}

// Latest is the last time of a schedule that is not after now; zero if there was none for four years. Of all that were missed it is the
// only one to be caught up.
func Latest(schedule cron.Schedule, now time.Time) time.Time {
	for _, back := range []time.Duration{time.Minute, time.Hour, 25 * time.Hour, 32 * 24 * time.Hour, 367 * 24 * time.Hour, 4 * 367 * 24 * time.Hour} {
		var found time.Time
		for next := schedule.Next(now.Add(-back)); !next.IsZero() && !next.After(now); next = schedule.Next(next) {
			found = next
		}
		if !found.IsZero() {
			return found
		}
	}
	return time.Time{}
}

// verifies is whether the next backup is tried out: none of the last few is.
func (o Observation) verifies() bool {
	since := 0
	for _, b := range newestFirst(o.Backups) {
		if b.VerifyAsked {
			break
		}
		since++
	}
	asked := since < len(o.Backups)
	return o.Spec.VerifyEvery > 0 && (!asked || since >= o.Spec.VerifyEvery-1)
}
