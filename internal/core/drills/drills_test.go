package drills

import (
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

// observed is a cluster of the first of March whose backups are tried each night at three, on the second at noon.
func observed(changes ...func(*Observation)) Observation {
	o := Observation{
		Now: at("2026-03-02 12:00"), Cluster: "demo", Name: "demo-drill", Since: at("2026-03-01 12:00"), Backup: "demo-260302-0100",
		Spec: &Spec{Schedule: "0 3 * * *"},
	}
	for _, change := range changes {
		change(&o)
	}
	return o
}

// ended is a drill of a night that has come to its end.
func ended(night, outcome string) *Run {
	return &Run{Outcome: outcome, Scheduled: at(night + " 03:00"), Ended: at(night + " 03:05")}
}

func decide(t *testing.T, o Observation) Decision {
	t.Helper()
	d, err := Decide(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWhenADrillBegins(t *testing.T) {
	taken := core.Problem{Reason: core.ReasonNameTaken, Message: "it is another's"}
	for name, c := range map[string]struct {
		change func(*Observation)
		begins bool
		waits  string
		next   string
		event  core.Reason
	}{
		"due":                       {change: func(*Observation) {}, begins: true, next: "2026-03-03 03:00"},
		"not yet":                   {change: func(o *Observation) { o.Now = at("2026-03-02 02:59") }, next: "2026-03-02 03:00"},
		"done":                      {change: func(o *Observation) { o.Recorded.Last = ended("2026-03-02", Succeeded) }, next: "2026-03-03 03:00"},
		"failed":                    {change: func(o *Observation) { o.Recorded.Last = ended("2026-03-02", Failed) }, next: "2026-03-03 03:00"},
		"missed for days":           {change: func(o *Observation) { o.Now, o.Recorded.Last = at("2026-03-09 12:00"), ended("2026-03-02", Failed) }, begins: true, next: "2026-03-10 03:00"},
		"suspended":                 {change: func(o *Observation) { o.Spec.Suspended = true }},
		"never":                     {change: func(o *Observation) { o.Spec.Schedule = "0 0 30 2 *" }},
		"blocked":                   {change: func(o *Observation) { o.Blocked = "it is paused" }, waits: "it is paused", next: "2026-03-02 03:00", event: ReasonWaiting},
		"blocked, and not due":      {change: func(o *Observation) { o.Blocked, o.Now = "it is paused", at("2026-03-02 02:00") }, next: "2026-03-02 03:00"},
		"blocked as before":         {change: func(o *Observation) { o.Blocked, o.Recorded.WaitsFor = "it is paused", "it is paused" }, waits: "it is paused", next: "2026-03-02 03:00"},
		"without a backup":          {change: func(o *Observation) { o.Backup = "" }, waits: "there is no complete EtcdBackup", next: "2026-03-02 03:00", event: ReasonWaiting},
		"its name is another's":     {change: func(o *Observation) { o.Taken = taken }, waits: "it is another's", next: "2026-03-02 03:00", event: core.ReasonNameTaken},
		"it waited for what is now": {change: func(o *Observation) { o.Recorded.WaitsFor = "it is paused" }, begins: true, waits: "it is paused", next: "2026-03-03 03:00"},
		"in another zone":           {change: func(o *Observation) { o.Spec.TimeZone, o.Now = "Europe/Berlin", at("2026-03-02 02:00") }, begins: true, next: "2026-03-03 02:00"},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(t, observed(c.change))
			if (d.Begin != nil) != c.begins || d.End || !strings.HasPrefix(d.Report.WaitsFor, c.waits) || c.waits == "" && d.Report.WaitsFor != "" {
				t.Errorf("it begins %+v, ends %v, waits for %q", d.Begin, d.End, d.Report.WaitsFor)
			}
			if c.begins && d.Begin.Backup != "demo-260302-0100" {
				t.Errorf("it begins with %s", d.Begin.Backup)
			}
			if c.next == "" != d.Next.IsZero() || c.next != "" && !d.Next.Equal(at(c.next)) {
				t.Errorf("the next is due at %v, want %s", d.Next, c.next)
			}
			if c.event == "" && len(d.Events) > 0 || c.event != "" && (len(d.Events) != 1 || d.Events[0].Reason != c.event || d.Events[0].Warning != (c.event == core.ReasonNameTaken)) {
				t.Errorf("it tells %+v, want %s", d.Events, c.event)
			}
		})
	}
}

func TestWhatBecomesOfADrill(t *testing.T) {
	drill := func(change func(*Drill)) func(*Observation) {
		return func(o *Observation) {
			o.Drill = &Drill{Scheduled: at("2026-03-02 03:00"), Started: at("2026-03-02 11:00"), Backup: "demo-260302-0100", Says: "the volumes are filled"}
			change(o.Drill)
		}
	}
	restored := drill(func(d *Drill) {
		d.Completed, d.Available, d.Compared, d.Revision, d.Keys = true, true, at("2026-03-02 11:02"), 42, 7
	})
	last := func(outcome string) func(*Observation) {
		return func(o *Observation) {
			o.Recorded.Last = &Run{Outcome: outcome, Scheduled: at("2026-03-02 03:00"), Backup: "demo-260302-0100"}
		}
	}
	for name, c := range map[string]struct {
		changes []func(*Observation)
		outcome string
		says    string
		end     bool
		event   core.Reason
	}{
		"it was made":           {[]func(*Observation){drill(func(*Drill) {})}, Running, "is restored into the EtcdCluster demo-drill", false, ReasonBegun},
		"it runs":               {[]func(*Observation){drill(func(*Drill) {}), last(Running)}, Running, "", false, ""},
		"nothing is said yet":   {[]func(*Observation){drill(func(d *Drill) { d.Says = "" })}, Running, "is restored into", false, ReasonBegun},
		"all is there":          {[]func(*Observation){restored, last(Running)}, Succeeded, "within 2m0s: 7 keys at revision 42", true, ReasonSucceeded},
		"all is there, at once": {[]func(*Observation){restored}, Succeeded, "within 2m0s", true, ReasonSucceeded},
		"it does not serve":     {[]func(*Observation){restored, func(o *Observation) { o.Drill.Available = false }, last(Running)}, Running, "", false, ""},
		"it cannot be restored": {[]func(*Observation){drill(func(d *Drill) { d.Failed, d.Says = true, "it is damaged" }), last(Running)}, Failed, "could not be restored: it is damaged", true, ReasonFailed},
		"it takes too long":     {[]func(*Observation){drill(func(*Drill) {}), last(Running), func(o *Observation) { o.Drill.Started = at("2026-03-02 07:59") }}, Failed, "was not restored within 4h0m0s: the volumes are filled", true, ReasonFailed},
		"all is there, late":    {[]func(*Observation){restored, last(Running), func(o *Observation) { o.Drill.Started = at("2026-03-02 07:00") }}, Succeeded, "within 4h2m0s", true, ReasonSucceeded},
		"somebody deletes it":   {[]func(*Observation){drill(func(d *Drill) { d.Leaving = true }), last(Running)}, Failed, "was deleted before the drill had ended", false, ReasonFailed},
		"somebody deleted it":   {[]func(*Observation){last(Running)}, Failed, "was deleted before the drill had ended", false, ReasonFailed},
		"it has ended":          {[]func(*Observation){restored, last(Succeeded)}, Succeeded, "", true, ""},
		"it has failed":         {[]func(*Observation){restored, last(Failed)}, Failed, "", true, ""},
		"the schedule is none":  {[]func(*Observation){restored, last(Running), func(o *Observation) { o.Spec.Schedule = "never" }}, Succeeded, "within 2m0s", true, ReasonSucceeded},
		"it goes":               {[]func(*Observation){restored, last(Succeeded), func(o *Observation) { o.Drill.Leaving = true }}, Succeeded, "", false, ""},
		"suspended meanwhile":   {[]func(*Observation){restored, last(Running), func(o *Observation) { o.Spec.Suspended = true }}, Succeeded, "within 2m0s", true, ReasonSucceeded},
		"paused meanwhile":      {[]func(*Observation){drill(func(*Drill) {}), last(Running), func(o *Observation) { o.Blocked = "it is paused" }}, Running, "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(t, observed(c.changes...))
			if got := d.Report.Last; got.Outcome != c.outcome || d.End != c.end || d.Begin != nil {
				t.Errorf("it is %+v, ends %v, begins %+v", got, d.End, d.Begin)
			}
			if len(d.Events) > 0 && !strings.Contains(d.Events[0].Message, c.says) {
				t.Errorf("it tells %+v, without %q", d.Events, c.says)
			}
			if c.event == "" && len(d.Events) > 0 || c.event != "" && (len(d.Events) != 1 || d.Events[0].Reason != c.event || d.Events[0].Warning != (c.event == ReasonFailed)) {
				t.Errorf("it tells %+v, want %s", d.Events, c.event)
			}
			if d.Report.WaitsFor != "" || d.LookAgain <= 0 {
				t.Error("nobody looks again")
			}
		})
	}
}

// The last result stays until there is another one, and the last success whatever comes after it.
func TestWhatIsTold(t *testing.T) {
	o := observed()
	o.Spec.Suspended = true
	d := decide(t, o)
	if c := d.Report.Condition; c.Type != Drilled || c.Status != core.Unknown || c.Reason != ReasonPending {
		t.Errorf("before the first it is %+v", c)
	}
	o = observed(func(o *Observation) {
		o.Drill = &Drill{Scheduled: at("2026-03-02 03:00"), Started: at("2026-03-02 11:00"), Completed: true, Available: true, Compared: at("2026-03-02 11:01")}
	})
	good := decide(t, o).Report
	if good.Condition.Status != core.True || good.Good == nil || good.Good.Took != time.Minute || !good.Condition.Since.Equal(o.Now) {
		t.Errorf("after a success it is %+v", good)
	}
	o.Recorded, o.Now = good, at("2026-03-03 12:00")
	o.Drill = &Drill{Scheduled: at("2026-03-03 03:00"), Started: at("2026-03-03 11:00")}
	running := decide(t, o).Report
	if running.Condition != good.Condition || running.Last.Outcome != Running {
		t.Errorf("while another runs it is %+v", running)
	}
	o.Recorded, o.Drill.Failed, o.Drill.Says = running, true, "no"
	bad := decide(t, o).Report
	if bad.Condition.Status != core.False || bad.Good != good.Good || bad.Last.Outcome != Failed || !bad.Condition.Since.Equal(o.Now) {
		t.Errorf("after a failure it is %+v", bad)
	}
	o.Recorded, o.Now = bad, at("2026-03-04 12:00")
	o.Drill = &Drill{Scheduled: at("2026-03-04 03:00"), Started: at("2026-03-04 11:00"), Failed: true}
	if again := decide(t, o).Report.Condition; !again.Since.Equal(bad.Condition.Since) {
		t.Errorf("it has failed since %v, and still is", again.Since)
	}
}

// One that nobody wants any more ends, and nothing is told of any.
func TestNoDrillsAnyMore(t *testing.T) {
	o := observed(func(o *Observation) {
		o.Spec, o.Drill, o.Recorded.Last = nil, &Drill{Started: o.Now}, ended("2026-03-01", Succeeded)
	})
	if d := decide(t, o); !d.End || d.Report != (Report{}) || d.Begin != nil || len(d.Events) > 0 {
		t.Errorf("it is %+v", d)
	}
	o.Drill.Leaving = true
	if d := decide(t, o); d.End {
		t.Error("it is deleted twice")
	}
}

// Two in a row without a success are too many, with the time that a drill has.
func TestWhenDrillsAreOverdue(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Observation)
		want   string
	}{
		"none yet":           {func(*Observation) {}, "2026-03-03 07:00"},
		"one was good":       {func(o *Observation) { o.Recorded.Good = &Success{Ended: at("2026-03-02 03:05")} }, "2026-03-04 07:00"},
		"one has failed":     {func(o *Observation) { o.Recorded.Last = ended("2026-03-02", Failed) }, "2026-03-03 07:00"},
		"of another cluster": {func(o *Observation) { o.Recorded.Good = &Success{Ended: at("2026-02-02 03:05")} }, "2026-03-03 07:00"},
		"suspended":          {func(o *Observation) { o.Spec.Suspended = true }, ""},
		"never":              {func(o *Observation) { o.Spec.Schedule = "0 0 30 2 *" }, ""},
		"one runs, of an old cluster": {func(o *Observation) {
			o.Since, o.Drill = at("2025-03-01 12:00"), &Drill{Scheduled: at("2026-03-02 03:00"), Started: at("2026-03-02 12:00")}
		}, "2026-03-02 16:00"},
	} {
		d := decide(t, observed(c.change))
		if c.want == "" != d.Overdue.IsZero() || c.want != "" && !d.Overdue.Equal(at(c.want)) {
			t.Errorf("%s: it is overdue at %v, want %s", name, d.Overdue, c.want)
		}
	}
}

func TestSchedulesOfDrillsThatAreNone(t *testing.T) {
	for want, spec := range map[string]Spec{
		`spec.backup.drill.schedule is "61 * * * *", which is no schedule`: {Schedule: "61 * * * *"},
		`spec.backup.drill.timeZone is "Mars", which is no time zone`:      {Schedule: "@daily", TimeZone: "Mars"},
		"name the time zone in spec.backup.drill.timeZone":                 {Schedule: "TZ=UTC 1 * * * *"},
	} {
		o := observed(func(o *Observation) { o.Spec = &spec })
		if _, err := Decide(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
}
