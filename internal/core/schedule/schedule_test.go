package schedule

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func done(name, scheduled string) Backup {
	return Backup{Name: name, Scheduled: at(scheduled), Complete: true, VerifyAsked: true, Verified: true}
}

func TestWhenABackupIsMade(t *testing.T) {
	for name, c := range map[string]struct {
		schedule, zone string
		since, now     string
		backups        []Backup
		suspended      bool
		made           string
		next           string
	}{
		"not yet":                 {schedule: "0 3 * * *", since: "2026-03-01 04:00", now: "2026-03-01 12:00", next: "2026-03-02 03:00"},
		"now":                     {schedule: "0 3 * * *", since: "2026-03-01 04:00", now: "2026-03-02 03:00", made: "demo-260302-0300", next: "2026-03-03 03:00"},
		"made before":             {schedule: "0 3 * * *", since: "2026-03-01 04:00", now: "2026-03-02 03:00", backups: []Backup{done("a", "2026-03-02 03:00")}, next: "2026-03-03 03:00"},
		"missed for days":         {schedule: "0 3 * * *", since: "2026-03-01 04:00", now: "2026-03-09 12:00", backups: []Backup{done("a", "2026-03-02 03:00")}, made: "demo-260309-0300", next: "2026-03-10 03:00"},
		"missed by the minute":    {schedule: "* * * * *", since: "2024-03-01 04:00", now: "2026-03-09 12:00", made: "demo-260309-1200", next: "2026-03-09 12:01"},
		"each leap year":          {schedule: "0 0 29 2 *", since: "2020-03-01 04:00", now: "2026-03-09 12:00", made: "demo-240229-0000", next: "2028-02-29 00:00"},
		"never":                   {schedule: "0 0 30 2 *", since: "2020-03-01 04:00", now: "2026-03-09 12:00"},
		"while another is made":   {schedule: "0 3 * * *", since: "2026-03-01 04:00", now: "2026-03-03 03:00", backups: []Backup{{Name: "a", Scheduled: at("2026-03-02 03:00")}}, next: "2026-03-03 03:00"},
		"after one that failed":   {schedule: "0 3 * * *", since: "2026-03-01 04:00", now: "2026-03-03 03:00", backups: []Backup{{Name: "a", Scheduled: at("2026-03-02 03:00"), Failed: true}}, made: "demo-260303-0300", next: "2026-03-04 03:00"},
		"suspended":               {schedule: "0 3 * * *", since: "2026-03-01 04:00", now: "2026-03-09 12:00", suspended: true},
		"the clock was set back":  {schedule: "0 3 * * *", since: "2026-03-01 04:00", now: "2026-03-02 03:00", backups: []Backup{done("a", "2026-03-05 03:00")}, next: "2026-03-03 03:00"},
		"in another zone":         {schedule: "0 3 * * *", zone: "Europe/Berlin", since: "2026-01-01 00:00", now: "2026-01-01 02:00", made: "demo-260101-0200", next: "2026-01-02 02:00"},
		"when clocks go forward":  {schedule: "0 3 * * *", zone: "Europe/Berlin", since: "2026-03-28 12:00", now: "2026-03-29 01:00", made: "demo-260329-0100", next: "2026-03-30 01:00"},
		"twice when they go back": {schedule: "0 3 * * *", zone: "Europe/Berlin", since: "2026-10-24 12:00", now: "2026-10-25 02:00", made: "demo-261025-0200", next: "2026-10-26 02:00"},
		"on weekdays by name":     {schedule: "30 22 * * MON-FRI", since: "2026-03-06 23:00", now: "2026-03-09 12:00", next: "2026-03-09 22:30"},
		"by a word":               {schedule: "@weekly", since: "2026-03-06 23:00", now: "2026-03-09 12:00", made: "demo-260308-0000", next: "2026-03-15 00:00"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Decide(Observation{
				Now: at(c.now), Cluster: "demo", Since: at(c.since), Backups: c.backups,
				Spec: Spec{Schedule: c.schedule, TimeZone: c.zone, Suspended: c.suspended, VerifyEvery: 1},
			})
			if err != nil {
				t.Fatal(err)
			}
			made := ""
			if d.Make != nil {
				made = d.Make.Name
			}
			if made != c.made || len(d.Delete) > 0 {
				t.Errorf("made %q, want %q; deleted %v", made, c.made, d.Delete)
			}
			if c.next == "" && !d.Next.IsZero() || c.next != "" && !d.Next.Equal(at(c.next)) {
				t.Errorf("next %v, want %s", d.Next, c.next)
			}
		})
	}
}

// Two runs in a row without a good backup are too many, whatever became of them.
func TestWhenABackupIsOverdue(t *testing.T) {
	failed := Backup{Name: "b", Scheduled: at("2026-03-03 03:00"), Failed: true}
	for name, c := range map[string]struct {
		schedule  string
		backups   []Backup
		suspended bool
		want      string
	}{
		"none yet":                   {want: "2026-03-03 03:00"},
		"one is good":                {backups: []Backup{done("a", "2026-03-02 03:00")}, want: "2026-03-04 03:00"},
		"another has failed since":   {backups: []Backup{done("a", "2026-03-02 03:00"), failed}, want: "2026-03-04 03:00"},
		"another is being made":      {backups: []Backup{done("a", "2026-03-02 03:00"), {Name: "b", Scheduled: at("2026-03-03 03:00")}}, want: "2026-03-04 03:00"},
		"another is not what it was": {backups: []Backup{done("a", "2026-03-02 03:00"), {Name: "b", Scheduled: at("2026-03-03 03:00"), Complete: true, Bad: true}}, want: "2026-03-04 03:00"},
		"one is good again":          {backups: []Backup{failed, done("c", "2026-03-04 03:00")}, want: "2026-03-06 03:00"},
		"one of an earlier cluster":  {backups: []Backup{done("a", "2026-02-02 03:00")}, want: "2026-03-03 03:00"},
		"on weekdays":                {schedule: "0 3 * * MON-FRI", backups: []Backup{done("a", "2026-03-05 03:00")}, want: "2026-03-09 03:00"},
		"suspended":                  {suspended: true},
		"never due":                  {schedule: "0 0 30 2 *"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Decide(Observation{
				Now: at("2026-03-04 12:00"), Cluster: "demo", Since: at("2026-03-01 04:00"), Backups: c.backups,
				Spec: Spec{Schedule: cmp.Or(c.schedule, "0 3 * * *"), Suspended: c.suspended},
			})
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" && !d.Overdue.IsZero() || c.want != "" && !d.Overdue.Equal(at(c.want)) {
				t.Errorf("overdue at %v, want %s", d.Overdue, c.want)
			}
		})
	}
}

func TestNamesFit(t *testing.T) {
	if name := Name(strings.Repeat("x", 40), at("2026-03-01 04:00")); len(name) != 52 {
		t.Errorf("%s has %d characters", name, len(name))
	}
}

func TestRefusedSchedules(t *testing.T) {
	for c, want := range map[[2]string]string{
		{"61 * * * *", ""}:                `spec.backup.schedule is "61 * * * *", which is no schedule`,
		{"* * * *", ""}:                   "use five fields",
		{"TZ=UTC * * * * *", ""}:          "name the time zone in spec.backup.timeZone",
		{"@daily", "Mars/Olympus"}:        `spec.backup.timeZone is "Mars/Olympus", which is no time zone`,
		{"@daily", "Local"}:               `spec.backup.timeZone is "Local"`,
		{"@daily", "../../etc/passwd"}:    "which is no time zone",
		{"0 0 * * MON-XYZ", "Asia/Tokyo"}: "which is no schedule",
	} {
		if _, err := Decide(Observation{Now: at("2026-03-01 04:00"), Spec: Spec{Schedule: c[0], TimeZone: c[1]}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", c, err, want)
		}
	}
}

func TestOneOfEveryFewIsTriedOut(t *testing.T) {
	for every, want := range map[int]string{0: "......", 1: "vvvvvv", 3: "v..v..", 5: "v....v"} {
		o := Observation{Cluster: "demo", Since: at("2026-03-01 00:00"), Spec: Spec{Schedule: "0 3 * * *", VerifyEvery: every}}
		got := ""
		for day := range 6 {
			o.Now = at("2026-03-02 03:00").AddDate(0, 0, day)
			d, err := Decide(o)
			if err != nil || d.Make == nil {
				t.Fatal(d, err)
			}
			got += map[bool]string{true: "v", false: "."}[d.Make.Verify]
			o.Backups = append(o.Backups, Backup{Name: d.Make.Name, Scheduled: d.Make.Scheduled, Complete: true, VerifyAsked: d.Make.Verify})
		}
		if got != want {
			t.Errorf("every %d: %s, want %s", every, got, want)
		}
	}
}

// kept are the days of March of which the backups are kept, of one each day.
func kept(t *testing.T, r Retention, change func([]Backup)) string {
	t.Helper()
	var all []Backup
	for day := 1; day <= 31; day++ {
		all = append(all, done(fmt.Sprint(day), fmt.Sprintf("2026-03-%02d 03:00", day)))
	}
	if change != nil {
		change(all)
	}
	gone := Observation{Now: at("2026-03-31 04:00"), Backups: all, Spec: Spec{Retention: r}}.surplus()
	var left []string
	for _, b := range all {
		if !slices.Contains(gone, b.Name) {
			left = append(left, b.Name)
		}
	}
	return strings.Join(left, " ")
}

func TestRetention(t *testing.T) {
	if got := kept(t, Retention{}, nil); !strings.HasPrefix(got, "1 2 3") {
		t.Errorf("without a rule %s are kept", got)
	}
	for name, c := range map[string]struct {
		rules  Retention
		change func([]Backup)
		want   string
	}{
		"the last three":        {Retention{Last: 3}, nil, "29 30 31"},
		"those of two days":     {Retention{Within: 49 * time.Hour}, nil, "29 30 31"},
		"one a week":            {Retention{Weekly: 3}, nil, "22 29 31"},
		"one a month":           {Retention{Monthly: 12}, nil, "31"},
		"several rules":         {Retention{Last: 2, Weekly: 2}, nil, "29 30 31"},
		"what people want":      {Retention{Last: 1}, func(b []Backup) { b[4].Kept = true }, "5 31"},
		"what a restore reads":  {Retention{Last: 1}, func(b []Backup) { b[4].Used = true }, "5 31"},
		"the last verified":     {Retention{Last: 2}, func(b []Backup) { b[30].Verified, b[29].Verified, b[28].Verified = false, false, false }, "28 30 31"},
		"not what is bad":       {Retention{Last: 2}, func(b []Backup) { b[30].Verified, b[30].Bad = false, true }, "29 30 31"},
		"the newest of all":     {Retention{Within: time.Second}, nil, "31"},
		"the last few failures": {Retention{Last: 1}, func(b []Backup) { fail(b[:30]) }, "28 29 30 31"},
		"all that is left":      {Retention{Last: 1}, func(b []Backup) { fail(b) }, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31"},
		"not what goes already": {Retention{Last: 1}, func(b []Backup) { b[30].Deleting = true }, "30 31"},
		"what is being made":    {Retention{Last: 1}, func(b []Backup) { b[0].Complete, b[0].Verified = false, false }, "1 31"},
	} {
		if got := kept(t, c.rules, c.change); got != c.want {
			t.Errorf("%s: %s are kept, want %s", name, got, c.want)
		}
	}
}

func fail(backups []Backup) {
	for i := range backups {
		backups[i] = Backup{Name: backups[i].Name, Scheduled: backups[i].Scheduled, Failed: true}
	}
}

// Whatever the backups and the rules are: the newest that can be restored stays, and the newest that was verified, and what a person or
// a restore needs.
func TestTheLastGoodOneStays(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		flip := func() bool { return r.IntN(3) == 0 }
		o := Observation{Now: at("2026-03-31 04:00"), Spec: Spec{Retention: Retention{
			Last: r.IntN(4), Daily: r.IntN(3), Weekly: r.IntN(3), Monthly: r.IntN(3), Within: time.Duration(r.IntN(100)) * time.Hour,
		}}}
		for i := range r.IntN(20) {
			b := Backup{Name: fmt.Sprint(i), Scheduled: o.Now.Add(-time.Duration(r.IntN(2000)) * time.Hour), Kept: r.IntN(9) == 0, Used: r.IntN(9) == 0, Deleting: flip()}
			switch r.IntN(3) {
			case 0:
				b.Failed = true
			case 1:
				b.Complete, b.Verified = true, flip()
				b.Bad = !b.Verified && flip()
			}
			o.Backups = append(o.Backups, b)
		}
		gone := o.surplus()
		var newest, verified string
		for _, b := range newestFirst(o.Backups) {
			good := b.Complete && !b.Bad && !b.Deleting
			if good && newest == "" {
				newest = b.Name
			}
			if good && b.Verified && verified == "" {
				verified = b.Name
			}
			if slices.Contains(gone, b.Name) && (b.Kept || b.Used || b.Deleting || !b.Complete && !b.Failed) {
				t.Errorf("seed %d: %+v is removed", seed, b)
			}
		}
		if newest != "" && slices.Contains(gone, newest) || verified != "" && slices.Contains(gone, verified) {
			t.Fatalf("seed %d: of %+v, %v are removed", seed, o.Backups, gone)
		}
	}
}

// FuzzSchedule: no text makes the parser, or the search for the last time, fail other than by an error.
func FuzzSchedule(f *testing.F) {
	for _, seed := range []string{"0 3 * * *", "*/5 1-3,7 ? JAN-MAR SUN", "@daily", "60 0 0 0 0", "* * * * * *", "0 0 31 2 *"} {
		f.Add(seed, "Europe/Berlin")
	}
	f.Fuzz(func(t *testing.T, schedule, zone string) {
		d, err := Decide(Observation{Now: at("2026-03-31 04:00"), Since: at("2020-01-01 00:00"), Cluster: "demo", Spec: Spec{Schedule: schedule, TimeZone: zone}})
		if err == nil && d.Make != nil && d.Make.Scheduled.After(at("2026-03-31 04:00")) {
			t.Errorf("%q in %q: made for %s, which is to come", schedule, zone, d.Make.Scheduled)
		}
	})
}
