package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// figuresEvery is how often figures that change all the time are reported if nothing else changes.
const figuresEvery = time.Minute

// report makes the status from what was seen and what is planned. If nothing changed it is the recorded one, to the
// letter: an idle cluster is not written to.
func (v *view) report(p plan) Report {
	old := v.Cluster.Recorded
	if p.frozen == PhaseDeleting {
		// Nothing is observed any more.
		r := old
		r.Conditions = nil
		for _, c := range old.Conditions {
			if c.Type != Progressing {
				r.Conditions = append(r.Conditions, c)
			}
		}
		r.setCondition(progressing(p), old, v.Now)
		r.Phase, r.ObservedGeneration = PhaseDeleting, v.Cluster.Generation
		return r
	}
	r := Report{
		ObservedGeneration: v.Cluster.Generation,
		ClusterID:          v.clusterID,
		BootstrapMembers:   old.BootstrapMembers,
		Endpoints:          v.Cluster.Spec.Endpoints,
		Selector:           v.Cluster.Spec.Selector,
		MemberCount:        len(v.Etcd.List.Members),
		MeasuredAt:         v.Now,
	}
	if p.frozen == "" && p.blocked.Reason != ReasonDataVolumesExist {
		r.BootstrapMembers = v.founders
	}
	if r.NextOrdinal = v.nextOrdinal(); len(r.BootstrapMembers) == 0 && v.clusterID == "" {
		r.NextOrdinal = old.NextOrdinal
	}
	if !v.Etcd.List.Known {
		r.MemberCount = old.MemberCount
	}
	for _, m := range v.members {
		member := v.memberReport(m)
		r.Members = append(r.Members, member)
		if member.Healthy && member.Role != RoleLearner {
			r.ReadyMembers++
		}
		if member.Role == RoleLeader {
			r.Leader = m.Name
		}
	}
	r.Version = lowestVersion(r.Members)
	r.Ready = fmt.Sprintf("%d/%d", r.ReadyMembers, v.Cluster.Spec.Size)
	p.doing.Message += v.putOff(p)
	r.setCondition(v.available(r), old, v.Now)
	r.setCondition(progressing(p), old, v.Now)
	r.setCondition(v.degraded(p), old, v.Now)
	if len(v.Planes) > 0 {
		r.setCondition(v.valid(), old, v.Now)
	}
	if r.Auth = old.Auth; p.auth != nil {
		r.Auth = p.auth.report
	}
	if c := v.authReady(p); c.Type != "" {
		r.setCondition(c, old, v.Now)
	}
	r.Phase = v.phase(r, p)
	return r.settle(old, v.Now)
}

func (v *view) memberReport(m *memberView) MemberReport {
	r := MemberReport{Name: m.Name, Healthy: m.healthy, HealthySince: v.Now, Message: m.trouble.Message}
	if m.starting {
		r.Message = "starting for the first time"
	}
	if old, known := v.Cluster.Recorded.member(m.Name); known {
		r.ID, r.Version, r.Role = old.ID, old.Version, old.Role
		if r.Role == RoleLeader {
			r.Role = RoleVoter
		}
		if old.Healthy == m.healthy {
			r.HealthySince = old.HealthySince
		}
	}
	s := m.status
	if s == nil || !s.Answered || m.stranger || v.clusterID != "" && s.ClusterID != v.clusterID {
		return r
	}
	r.ID, r.Version, r.Role = s.ID, s.Version, RoleVoter
	switch {
	case s.Learner:
		r.Role = RoleLearner
	case m.leads:
		r.Role = RoleLeader
	}
	r.Figures = Figures{
		DBSize:      roundUp(s.DBSize),
		DBSizeInUse: roundUp(s.DBSizeInUse),
		Revision:    s.Revision,
		RaftLag:     int64(m.lag), //nolint:gosec // An index difference is far below 2^63.
	}
	return r
}

// roundUp makes sizes readable, and steady: to 64 KiB below 16 MiB, to 1 MiB above.
func roundUp(size int64) int64 {
	step := int64(64 << 10)
	if size >= 16<<20 {
		step = 1 << 20
	}
	return (size + step - 1) / step * step
}

func lowestVersion(members []MemberReport) string {
	var lowest *semver.Version
	for _, m := range members {
		version, err := semver.StrictNewVersion(m.Version)
		if err == nil && (lowest == nil || version.LessThan(lowest)) {
			lowest = version
		}
	}
	if lowest == nil {
		return ""
	}
	return lowest.String()
}

// available is about what clients get: a quorum that answers linearizable reads, and a member that the client
// Service leads to.
func (v *view) available(r Report) Condition {
	c := Condition{Type: Available, Status: False}
	ready := slices.ContainsFunc(v.members, func(m *memberView) bool { return m.Pod.Ready })
	switch {
	case v.Cluster.Spec.Size == 0 && !v.Etcd.List.Known:
		asleep := v.asleep().doing
		c.Reason, c.Message = asleep.Reason, asleep.Message
	case v.clusterID == "":
		c.Reason, c.Message = ReasonCreating, "the cluster has not been formed yet"
	case v.Etcd.List.Known && v.raised() != "":
		c.Reason, c.Message = ReasonAlarmRaised, fmt.Sprintf("the alarm %s is raised: writes are refused", v.raised())
	case v.Etcd.List.Known && ready:
		c.Status, c.Reason = True, ReasonQuorumServes
		c.Message = fmt.Sprintf("%d of %d voters are healthy", r.ReadyMembers, v.voters())
	case v.Etcd.List.Known:
		c.Reason, c.Message = ReasonNoReadyMember, "a quorum serves but no pod is ready, so that the client Service leads nowhere"
	case v.mayServe():
		c.Status, c.Reason = Unknown, ReasonNotAnswering
		c.Message = "enough pods are ready for a quorum, but the operator got no answer from it"
	default:
		c.Reason, c.Message = ReasonQuorumLost, v.lost()
	}
	return c
}

// raised is an alarm that some member has raised, also one that does not answer: then etcd refuses the writes of all.
func (v *view) raised() string {
	for _, alarm := range []string{alarmCorrupt, alarmNoSpace} {
		for _, m := range v.members {
			if m.status != nil && (slices.Contains(m.status.Alarms, alarm) || slices.Contains(m.status.ClusterAlarms, alarm)) {
				return alarm
			}
		}
	}
	return ""
}

// mayServe is whether the kubelets say that a quorum is ready although the operator cannot reach it.
func (v *view) mayServe() bool {
	ready := 0
	for _, m := range v.members {
		if m.Pod.Ready && !m.Pod.Deleting {
			ready++
		}
	}
	return ready >= Quorum(v.usualVoters())
}

func (v *view) lost() string {
	var why []string
	for _, m := range v.members {
		if !m.healthy {
			why = append(why, m.trouble.Message)
		}
	}
	return "no quorum: " + strings.Join(why, "; ")
}

func progressing(p plan) Condition {
	switch {
	case p.frozen != "":
		return Condition{Type: Progressing, Status: False, Reason: p.doing.Reason, Message: p.doing.Message}
	case !p.doing.IsZero():
		return Condition{Type: Progressing, Status: True, Reason: p.doing.Reason, Message: p.doing.Message}
	case !p.blocked.IsZero():
		return Condition{Type: Progressing, Status: False, Reason: p.blocked.Reason, Message: p.blocked.Message}
	}
	return Condition{Type: Progressing, Status: False, Reason: ReasonSettled, Message: "nothing is left to change"}
}

// degraded names the first thing that a person should look at: what blocks a change first, then what keeps a member
// from serving.
func (v *view) degraded(p plan) Condition {
	c := Condition{Type: Degraded, Status: True}
	var why []string
	if !p.blocked.IsZero() {
		c.Reason, why = p.blocked.Reason, append(why, p.blocked.Message)
	}
	if failed := v.Failure.Problem; v.tries(p) && v.Failure.PutOffSince.IsZero() {
		why = append(why, failed.Message)
		if c.Reason == "" {
			c.Reason = failed.Reason
		}
	}
	for _, m := range v.members {
		if m.healthy || m.starting || v.planned(p, m) || p.frozen == PhaseHibernated || p.frozen == PhaseRestoring {
			continue
		}
		if c.Reason == "" || passing(c.Reason) && !passing(m.trouble.Reason) {
			c.Reason = m.trouble.Reason
		}
		if !slices.Contains(why, m.trouble.Message) {
			why = append(why, m.trouble.Message)
		}
	}
	if foreign := v.foreign(); foreign != "" {
		why = append(why, foreign)
		if c.Reason == "" {
			c.Reason = ReasonForeignMember
		}
	}
	if alarm := v.raised(); alarm != "" && len(why) == 0 {
		c.Reason, why = ReasonAlarmRaised, append(why, fmt.Sprintf("the alarm %s is raised", alarm))
	}
	if len(why) == 0 {
		return Condition{Type: Degraded, Status: False, Reason: ReasonAllHealthy, Message: "nothing is wrong"}
	}
	c.Message = strings.Join(why, "; ")
	return c
}

// tries is whether what failed last is to be tried again.
func (v *view) tries(p plan) bool {
	return slices.ContainsFunc(p.actions, func(a Action) bool { return a.Step() == v.Failure.Step })
}

// putOffPatience is for how long a step has to be put off until that is told.
const putOffPatience = 5 * time.Second

// HeldBack is whether the last step has been put off for long.
func (o Observation) HeldBack() bool {
	since := o.Failure.PutOffSince
	return !since.IsZero() && o.Now.Sub(since) >= putOffPatience
}

// putOff says why a step that is to be taken has been put off for long.
func (v *view) putOff(p plan) string {
	if !v.tries(p) || !v.HeldBack() {
		return ""
	}
	return "; put off: " + v.Failure.Problem.Message
}

// planned is whether a member is away because the rollout restarts it, it alone, and the others serve.
func (v *view) planned(p plan, m *memberView) bool {
	rolling := p.doing.Reason == ReasonRollingOut || p.doing.Reason == ReasonLeaderMoving || p.doing.Reason == ReasonDowngrading
	away := 0
	for _, other := range v.members {
		if !other.healthy {
			away++
		}
	}
	return rolling && away == 1 && v.Etcd.List.Known && v.restarting(m) && m.Workload.MemberHash == v.Cluster.Spec.MemberHash
}

// passing reasons belong to every start of a member; they are no trouble while a cluster is made.
func passing(reason Reason) bool {
	return reason == ReasonMemberDown || reason == ReasonNotAnswering || reason == ReasonMemberUnhealthy || reason == ReasonVolumePending
}

func (v *view) phase(r Report, p plan) string {
	if p.frozen != "" {
		return p.frozen
	}
	availability, _ := r.condition(Available)
	degradation, _ := r.condition(Degraded)
	switch {
	case v.clusterID == "" && !p.blocked.IsZero():
		return PhasePending
	case v.clusterID == "":
		return PhaseCreating
	case availability.Status == False:
		return PhaseUnavailable
	case !p.doing.IsZero() && p.blocked.IsZero():
		return PhaseUpdating
	case degradation.Status == True:
		return PhaseDegraded
	}
	return PhaseRunning
}

// setCondition adds a condition; Since moves only when Status does, as Kubernetes asks.
func (r *Report) setCondition(c Condition, old Report, now time.Time) {
	c.Since = now
	if before, ok := old.condition(c.Type); ok && before.Status == c.Status {
		c.Since = before.Since
	}
	r.Conditions = append(r.Conditions, c)
}

// settle keeps the figures of the old report if they are all that changed, unless they are old.
func (r Report) settle(old Report, now time.Time) Report {
	quiet := r.withFiguresOf(old)
	changed := !quiet.Equal(old)
	figuresChanged := !r.withMeasuredAt(old.MeasuredAt).Equal(old)
	// A clock that was ahead may have measured at a time that is yet to come.
	age := now.Sub(old.MeasuredAt)
	if !changed && (!figuresChanged || age >= 0 && age < figuresEvery) {
		return old
	}
	return r
}

func (r Report) withMeasuredAt(at time.Time) Report {
	r.MeasuredAt = at
	return r
}

// withFiguresOf is the report with the figures of another one.
func (r Report) withFiguresOf(other Report) Report {
	r.MeasuredAt = other.MeasuredAt
	r.Members = slices.Clone(r.Members)
	for i := range r.Members {
		if m, known := other.member(r.Members[i].Name); known {
			r.Members[i].Figures = m.Figures
		}
	}
	return r
}

// Equal is whether two reports say the same.
func (r Report) Equal(o Report) bool {
	return r.ObservedGeneration == o.ObservedGeneration && r.Phase == o.Phase && r.ClusterID == o.ClusterID &&
		r.Version == o.Version && r.Leader == o.Leader && r.MemberCount == o.MemberCount &&
		r.ReadyMembers == o.ReadyMembers && r.NextOrdinal == o.NextOrdinal && r.Ready == o.Ready && r.Selector == o.Selector &&
		r.MeasuredAt.Equal(o.MeasuredAt) && slices.Equal(r.BootstrapMembers, o.BootstrapMembers) &&
		slices.Equal(r.Endpoints, o.Endpoints) && r.Auth.Equal(o.Auth) &&
		slices.EqualFunc(r.Conditions, o.Conditions, Condition.equal) &&
		slices.EqualFunc(r.Members, o.Members, func(a, b MemberReport) bool {
			same := a.HealthySince.Equal(b.HealthySince)
			a.HealthySince = b.HealthySince
			return same && a == b
		})
}

func (c Condition) equal(o Condition) bool {
	return c.Type == o.Type && c.Status == o.Status && c.Reason == o.Reason && c.Message == o.Message && c.Since.Equal(o.Since)
}

// news tells what changed from one report to the next, for a person to read.
func news(old, now Report) []Event {
	events := append(conditionNews(old, now), recoveries(old, now)...)
	if old.Leader != now.Leader && now.Leader != "" {
		events = append(events, Event{Reason: ReasonLeaderChanged, Message: fmt.Sprintf("member %s leads", now.Leader)})
	}
	return events
}

// conditionNews tells of the conditions that changed. What two of them say in the same words is told once.
func conditionNews(old, now Report) []Event {
	var events []Event
	for _, c := range now.Conditions {
		if !c.isNews(old) {
			continue
		}
		if twin := slices.IndexFunc(events, func(e Event) bool { return e.Reason == c.Reason && e.Message == c.Message }); twin >= 0 {
			events[twin].Warning = events[twin].Warning || c.isBad()
			continue
		}
		events = append(events, Event{Warning: c.isBad(), Reason: c.Reason, Message: c.Message})
	}
	return events
}

// isNews is whether a condition says something else than in the old report. A new cluster is not available and not
// degraded, which goes without saying; and why a cluster is or is not available may change without being told.
func (c Condition) isNews(old Report) bool {
	before, known := old.condition(c.Type)
	if !known && c.Type != Progressing && (c.Type == Available || !c.isBad()) {
		return false
	}
	return before.Status != c.Status || before.Reason != c.Reason && c.Type != Available
}

// isBad is whether a condition is something to warn of.
func (c Condition) isBad() bool {
	return c.Type == Degraded && c.Status == True || c.Type == CertificatesValid && c.Status == False ||
		c.Type == AuthReady && c.Status == False && !passes(c.Reason) ||
		c.Type == Available && c.Status != True && c.Reason != ReasonHibernated && c.Reason != ReasonRestoring
}

// recoveries tells of the members that have become healthy. Why others no longer are, the conditions tell.
func recoveries(old, now Report) []Event {
	var events []Event
	for _, m := range now.Members {
		if before, known := old.member(m.Name); known && !before.Healthy && m.Healthy {
			events = append(events, Event{Member: m.Name, Reason: ReasonMemberHealthy, Message: fmt.Sprintf("member %s is healthy", m.Name)})
		}
	}
	return events
}
