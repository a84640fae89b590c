package schedule

import (
	"fmt"
	"slices"
	"time"
)

// failuresKept is how many of the backups that have failed, or are not what the cluster had, stay for people to see.
const failuresKept = 3

func newestFirst(backups []Backup) []Backup {
	return slices.SortedStableFunc(slices.Values(backups), func(a, b Backup) int { return b.Scheduled.Compare(a.Scheduled) })
}

// surplus are the names of the backups that nothing keeps. The newest that is complete, and the newest that was verified, always stay.
// Only what is good counts for the rules: one that was tried out and is not what the cluster had never takes the place of another.
func (o Observation) surplus() (names []string) {
	good, bad := o.sort()
	kept := o.Spec.Retention.keeps(good, o.Now, o.Spec.TimeZone)
	keepFirst(kept, good, func(Backup) bool { return true })
	keepFirst(kept, good, func(b Backup) bool { return b.Verified })
	for i, b := range bad {
		// A failure is of interest until a later backup is good, and a while after.
		if i < failuresKept || len(good) == 0 {
			kept[b.Name] = true
		}
	}
	for _, b := range slices.Concat(good, bad) {
		if !kept[b.Name] && !b.Kept && !b.Used {
			names = append(names, b.Name)
		}
	}
	return names
}

// sort tells backups that can be restored from those that cannot, the newest first. Those that are being made, or deleted, are neither.
// One that is complete, and waits to be tried out, is not bad.
func (o Observation) sort() (good, bad []Backup) {
	for _, b := range newestFirst(o.Backups) {
		switch {
		case b.Deleting:
		case b.Failed, b.Complete && b.Bad:
			bad = append(bad, b)
		case b.Complete:
			good = append(good, b)
		}
	}
	return good, bad
}

func keepFirst(kept map[string]bool, backups []Backup, fits func(Backup) bool) {
	if i := slices.IndexFunc(backups, fits); i >= 0 {
		kept[backups[i].Name] = true
	}
}

// keeps are the backups that one of the rules keeps. With no rule all are kept.
func (r Retention) keeps(backups []Backup, now time.Time, zone string) map[string]bool {
	kept := map[string]bool{}
	location, err := location(Field, zone)
	if err != nil {
		location = time.UTC // The zone was read before.
	}
	periods := []struct {
		count int
		name  func(time.Time) string
	}{
		{r.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{r.Weekly, func(t time.Time) string { year, week := t.ISOWeek(); return fmt.Sprint(year, " ", week) }},
		{r.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
	}
	for i, b := range backups {
		kept[b.Name] = r == Retention{} || i < r.Last || r.Within > 0 && now.Sub(b.Scheduled) <= r.Within
	}
	for _, period := range periods {
		seen := map[string]bool{}
		for _, b := range backups {
			if name := period.name(b.Scheduled.In(location)); !seen[name] && len(seen) < period.count {
				seen[name], kept[b.Name] = true, true
			}
		}
	}
	return kept
}
