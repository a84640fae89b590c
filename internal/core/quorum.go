package core

// Quorum is the number of voters that must agree: more than half
// (https://etcd.io/docs/v3.6/faq/#what-is-failure-tolerance).
func Quorum(voters int) int { return voters/2 + 1 }

// keepsQuorum is whether the cluster serves on while the named member is away: the voters that stay, serve and are
// caught up, make a quorum of all voters.
func (v *view) keepsQuorum(without string) bool {
	return v.Etcd.List.Known && v.voters() > 0 && v.staying(without) >= Quorum(v.voters())
}

// voters counts the members in the list that are no learners.
func (v *view) voters() int {
	voters := 0
	for _, l := range v.Etcd.List.Members {
		if !l.Learner {
			voters++
		}
	}
	return voters
}

// servingVoters counts the voters that serve and are caught up.
func (v *view) servingVoters() int { return v.staying("") }

// staying counts the voters that serve and are caught up, without the named one.
func (v *view) staying(without string) int {
	staying := 0
	for _, l := range v.Etcd.List.Members {
		if m := v.byID[l.ID]; m != nil && !l.Learner && m.Name != without && m.serves && m.caughtUp && !m.Pod.Deleting {
			staying++
		}
	}
	return staying
}

// usualVoters is the number of voters as far as it is known without a member list.
func (v *view) usualVoters() int {
	if v.Etcd.List.Known {
		return v.voters()
	}
	return max(v.Cluster.Recorded.MemberCount, len(v.members))
}
