package core

// Quorum is the number of voters that must agree: more than half
// (https://etcd.io/docs/v3.6/faq/#what-is-failure-tolerance).
func Quorum(voters int) int { return voters/2 + 1 }

// keepsQuorum is whether the cluster serves on while the named member is away: the voters that stay, serve and are
// caught up, make a quorum of all voters.
func (v *view) keepsQuorum(without string) bool {
	voters, staying := 0, 0
	for _, l := range v.Etcd.List.Members {
		if l.Learner {
			continue
		}
		voters++
		if m := v.byID[l.ID]; m != nil && m.Name != without && m.serves && m.caughtUp && !m.Pod.Deleting {
			staying++
		}
	}
	return v.Etcd.List.Known && voters > 0 && staying >= Quorum(voters)
}
