package sim

import "github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"

// checkEnd checks a state in which nothing happens any more.
func (w *World) checkEnd(s *State, p *Pass) {
	cluster := s.Live.Cluster.asRestored()
	if !cluster.Exists {
		return
	}
	v := w.decide(s, false)
	switch {
	case len(v.actions) > 0 || v.disruptive != nil:
		p.broke(Settles, "nothing changes any more, but the operator still acts: %v %v", v.actions, v.disruptive)
	case w.restless(s):
		p.broke(Settles, "the report changes although nothing else does")
	case v.record != cluster.Status:
		p.broke(Settles, "the status cannot be recorded")
	}
	switch {
	case cluster.Deleting && w.anyGone(s):
		// Its pod stays until the node is back or deleted.
		return
	case cluster.Deleting:
		p.broke(Settles, "the deletion never ends")
	case cluster.Paused:
	case cluster.sleeps(), cluster.Restored == unsettled:
		w.checkAsleep(s, v, p)
	case w.checkRevived(s, v, p) && !cluster.wish(Heading{}).fails():
		w.checkDelivered(s, v, p)
	}
	w.checkRestored(s, v, p)
	w.checkReport(s, v, p)
}

func conditionOf(r core.Report, kind string) core.Condition {
	for _, c := range r.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return core.Condition{}
}

// checkReport compares the status with the truth.
func (w *World) checkReport(s *State, v *verdict, p *Pass) {
	available, degraded := v.available, v.degraded
	// Without its certificate the operator cannot know.
	if unknown := s.known().Lost && available.Status != core.True; !unknown && (available.Status == core.True) != (s.Leader != 0 && s.Alarms == 0) {
		p.broke(TellsTruth, "Available is %s (%s), leader %d", available.Status, available.Message, s.Leader)
	}
	cluster := s.Live.Cluster.asRestored()
	if cluster.Rests.Waits && !cluster.Paused && !cluster.Deleting && degraded.Status != core.True {
		p.broke(TellsTruth, "what the user asks for waits for a restore, but nothing is Degraded")
	}
	if cluster.sleeps() || cluster.begins() {
		return
	}
	for m := range s.members() {
		member := &s.Live.Members[m]
		ran := member.Claim.Marked != 0 || member.Workload.Exists && member.Workload.Want.Start == core.StartSealed
		counts := s.list().has(m) || s.Formed == 0
		if ran && counts && !s.serves(m) && degraded.Status != core.True {
			p.broke(TellsTruth, "%s has run and does not serve, but nothing is Degraded", memberName(m))
		}
	}
}

// checkAsleep checks a cluster that is hibernated, or waits for its first data again: nothing runs, and nothing is lost.
func (w *World) checkAsleep(s *State, v *verdict, p *Pass) {
	for m := range s.members() {
		member := &s.Live.Members[m]
		if member.Pod.Exists && member.Node == Present && !w.blockedByVolumes(s, v) {
			p.broke(Delivers, "the cluster is hibernated, but %s has a pod", memberName(m))
		}
	}
}

// checkRevived checks that every founder, and every member with data, has a StatefulSet.
func (w *World) checkRevived(s *State, v *verdict, p *Pass) bool {
	all := true
	for m := range s.members() {
		member := &s.Live.Members[m]
		wanted := s.Formed == 0 && s.Live.Cluster.Status.Founders.has(m) || s.hasData(m) && s.list().has(m) && member.Claim.Marked != 0 && member.Node == Present
		if wanted && !member.Workload.Exists && !w.blockedByVolumes(s, v) && !w.waitsForLeaving(s) {
			p.broke(Revives, "the StatefulSet of %s is never made again", memberName(m))
			all = false
		}
	}
	return all
}

// waitsForLeaving is whether a StatefulSet of an earlier object is stuck on a node that is gone.
func (w *World) waitsForLeaving(s *State) bool {
	for m := range s.members() {
		if s.Live.Members[m].Node != Present && s.Live.Members[m].Pod.Orphan {
			return true
		}
	}
	return false
}

// checkDelivered checks that the members are those that the spec asks for, and run as it asks.
func (w *World) checkDelivered(s *State, v *verdict, p *Pass) {
	cluster := s.Live.Cluster.asRestored()
	waits := false
	for m := range s.members() {
		claim := &s.Live.Members[m].Claim
		if claim.Exists && !claim.Bound && (s.Formed == 0 || s.list().has(m)) && claim.Storage != cluster.Storage && !w.blockedByVolumes(s, v) {
			waits = true
			p.broke(Follows, "the claim of %s waits for a volume that the spec does not ask for", memberName(m))
		}
	}
	if s.Formed == 0 {
		if !waits && !w.excused(s, v) && !w.anyGone(s) {
			p.broke(Delivers, "the cluster was never formed: %s", v.degraded.Message)
		}
		return
	}
	if w.Minor != 0 && s.stranded() || s.recoverable() < s.quorum() || w.blockedByVolumes(s, v) || w.excused(s, v) || w.waitsForLeaving(s) {
		return
	}
	if cluster.Status.ID != s.Formed {
		p.broke(Delivers, "cluster %d is not recorded", s.Formed)
	}
	if s.Voters.size() != int(cluster.Size) || s.Learners != 0 || s.Leader == 0 {
		p.broke(Delivers, "there are %d voters and %d learners (leader %d) instead of %d: %s; %s; %s", s.Voters.size(), s.Learners.size(),
			s.Leader, cluster.Size, v.available.Message, v.progressing.Message, v.degraded.Message)
		return
	}
	w.checkSecured(s, p)
	for m := range s.members() {
		if s.list().has(m) {
			w.checkMember(s, m, p)
		} else {
			w.checkGone(s, m, p)
		}
	}
	if s.Version != cluster.Minor || s.Downgrade != 0 {
		p.broke(Delivers, "the cluster version is %s and the downgrade to %q is enabled, but spec.version is %s", s.Version, s.Downgrade.data(), cluster.Minor)
	}
	if s.Alarms != 0 {
		p.broke(Delivers, "an alarm is raised for %s", join(s.Alarms))
	}
}

// final is what members are to run in the end.
func (w *World) final(s *State) Heading {
	next := w.heading(s)
	next.Minor = s.Live.Cluster.Minor
	return next
}

// checkMember checks a member that is in the list.
func (w *World) checkMember(s *State, m int, p *Pass) {
	cluster, member := s.Live.Cluster.asRestored(), &s.Live.Members[m]
	want := cluster.wish(w.final(s))
	switch {
	case !s.serves(m) || member.Claim.Old:
		p.broke(Delivers, "%s does not serve", memberName(m))
	case member.Workload.Want.Wish != want || member.Pod.Template.Wish != want || member.Pod.Resize != Given:
		p.broke(Delivers, "%s does not run what the spec asks", memberName(m))
	case member.Claim.Marked != s.Formed || member.Claim.Owner != cluster.Incarnation || member.Claim.Removed:
		p.broke(Delivers, "%s is not marked", memberName(m))
	case member.Workload.Want.Start != core.StartSealed || member.Pod.Template.Start != core.StartSealed:
		p.broke(Delivers, "%s is not sealed", memberName(m))
	case member.Claim.Storage != cluster.Storage || member.Claim.Growing:
		p.broke(Delivers, "%s has a volume that the spec does not ask for", memberName(m))
	case cluster.Replace.has(m):
		p.broke(Delivers, "%s is not replaced", memberName(m))
	}
}

// checkGone checks that nothing is left of a member that is not in the list.
func (w *World) checkGone(s *State, m int, p *Pass) {
	member := &s.Live.Members[m]
	if member.Node != Present {
		// Its pod stays until the node is back or deleted, and with it its claim.
		return
	}
	// What holds the data of another cluster, from before a restore, is left to the user.
	other := w.Restores > 0 && member.Claim.Marked != 0 && member.Claim.Marked != s.Formed
	kept := other || (w.Retain || s.Live.Cluster.Rests.By != 0) && member.Claim.Removed || member.Claim.Owner != s.Live.Cluster.Incarnation
	if member.Workload.Exists || member.Pod.Exists || member.Claim.Exists && !kept {
		p.broke(CleansUp, "%s was removed, but something is left of it", memberName(m))
	}
}

func (w *World) anyGone(s *State) bool {
	for m := range s.members() {
		if s.Live.Members[m].Node != Present {
			return true
		}
	}
	return false
}

// blockedByVolumes is whether volumes of an earlier object of the same name, that do not say whose data they hold,
// or that a restore has left half done, are in the way, and reported. A person has to decide.
func (w *World) blockedByVolumes(s *State, v *verdict) bool {
	blocked, marked := false, false
	if v.degraded.Reason != core.ReasonDataVolumesExist {
		return false
	}
	for m := range s.members() {
		claim := &s.Live.Members[m].Claim
		if claim.Marked == unsettled {
			return true
		}
		marked = marked || claim.Marked != 0
		blocked = blocked || claim.Bound && claim.Owner != s.Live.Cluster.Incarnation
	}
	return blocked && !marked
}

// excused is whether there is a reason why no cluster has formed, or no member can be made.
func (w *World) excused(s *State, v *verdict) bool {
	if s.known().Lost || s.Live.Cluster.begins() || w.blockedByVolumes(s, v) || w.ClassMissing && s.Live.Cluster.Storage.Class == 0 {
		return true
	}
	for m := range s.members() {
		workload := &s.Live.Members[m].Workload
		if w.ClassMissing && workload.Exists && workload.Storage != s.Live.Cluster.Storage {
			return true
		}
	}
	return false
}
