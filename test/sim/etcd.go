package sim

import (
	"math/bits"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// start starts etcd. On a volume with data it resumes. On an empty one it founds the cluster, joins it, or refuses.
func start(w *World, s *State, m int, p *Pass) bool {
	member := &s.Live.Members[m]
	pod, claim := &member.Pod, &member.Claim
	if !pod.Exists || pod.Deleting || pod.Phase == Running || !claim.Bound || pod.Template.Hash == Bad || member.Node != Present {
		return false
	}
	if !s.mounts(pod) {
		return false
	}
	if failure := w.refuses(s, m); failure != Running {
		failed := pod.Phase != failure
		pod.Phase = failure
		return failed
	}
	if w.Restores > 0 {
		s.checkResumes(m, p)
		s.comesBack(claim.Data)
	}
	if claim.Data == 0 {
		if pod.Template.Start == core.StartBootstrap && s.withData() == 0 {
			s.Alarms = 0
		}
		w.checkFounding(s, m, p)
		claim.Data = pod.Template.Token + 1
		if pod.Template.Start == core.StartJoin {
			claim.Data = s.Formed
		}
		// What was written before it came it does not have.
		claim.Old = s.Formed == claim.Data && s.Leader != 0
		s.copied(m)
	}
	if claim.Log == Covered {
		claim.Log = NewLog
	}
	pod.Phase = Running
	form(s, m, claim.Data, p)
	return true
}

// refuses says how a start fails, or that it succeeds.
func (w *World) refuses(s *State, m int) Phase {
	member := &s.Live.Members[m]
	template, claim := member.Pod.Template, &member.Claim
	id := template.Token + 1
	switch {
	case claim.Data != 0 && claim.Harm == Unreadable:
		return FailingCorrupt
	case claim.Data != 0 && claim.Data == s.Formed && !s.list().has(m) && s.Leader != 0:
		return FailingRemoved
	case s.unfit(m, template.Minor) != "", member.Pod.fails():
		return Failing
	case claim.Data != 0:
		return Running
	case template.Start == core.StartSealed:
		return FailingEmpty
	case template.Start == core.StartJoin:
		// etcd asks a member for the list, which has to be the one that it was started with. A learner that has lost a log
		// that the leader counts on panics; a voter may as well take part as if nothing had been.
		again := s.Started.has(m) && s.Learners.has(m)
		switch {
		case s.Leader == 0 || template.Initial != s.list() || !s.list().has(m):
			return Failing
		case again:
			return FailingCorrupt
		}
	case s.Formed == id && !s.list().has(m):
		return Failing
	case s.Formed == id && w.alreadyBootstrapped(s, m):
		return FailingEmpty
	}
	return Running
}

// alreadyBootstrapped is etcd's own guard: a running peer says that this member has started before.
func (w *World) alreadyBootstrapped(s *State, m int) bool {
	if !s.Started.has(m) {
		return false
	}
	for other := range s.members() {
		if other != m && s.serves(other) {
			return true
		}
	}
	return false
}

// form is the moment at which a majority of the initial cluster runs.
func form(s *State, m int, id uint8, p *Pass) {
	initial := s.Live.Members[m].Pod.Template.Initial
	if s.Formed == id || s.Live.Members[m].Pod.Template.Start != core.StartBootstrap {
		return
	}
	running := 0
	for other := range s.members() {
		if initial.has(other) && s.runs(other) && s.Live.Members[other].Claim.Data == id {
			running++
		}
	}
	if running >= quorum(initial.size()) {
		s.checkForming(id, p)
		s.Etcd = Etcd{Formed: id, Founders: initial, Voters: initial}
		if s.Live.Members[m].Pod.Template.InitialTLS {
			s.TLSURLs, s.ByTLS = initial, true
		}
		// Founders of which nothing was made yet are listed as well.
		s.Next = max(s.Next, uint8(bits.Len16(uint16(initial))))
	}
}

// elect: whoever has all acknowledged writes can win, if a quorum votes.
func elect(_ *World, s *State, m int, _ *Pass) bool {
	if s.Leader != 0 || !s.serves(m) || !s.Voters.has(m) || s.serving() < s.quorum() || s.Live.Members[m].Claim.Old {
		return false
	}
	s.Leader = uint8(m + 1)
	return true
}

func publish(_ *World, s *State, m int, _ *Pass) bool {
	if s.Leader == 0 || !s.serves(m) || s.Started.has(m) {
		return false
	}
	s.Started |= 1 << m
	return true
}

func catchUp(_ *World, s *State, m int, _ *Pass) bool {
	could := s.Leader != 0 && s.serves(m) && s.Live.Members[m].Claim.Old
	if could {
		s.Live.Members[m].Claim.Old = false
	}
	return could
}

func leaderMoves(_ *World, s *State, m int, _ *Pass) bool {
	// An etcd that is being stopped gives leadership away.
	member := &s.Live.Members[m]
	if s.Leader == 0 || int(s.Leader) == m+1 || !s.serves(m) || !s.Voters.has(m) || member.Claim.Old || member.Pod.Deleting {
		return false
	}
	s.Leader = uint8(m + 1)
	return true
}

// endRemoved: the others tell a removed member, and it ends.
func endRemoved(_ *World, s *State, m int, _ *Pass) bool {
	could := s.runs(m) && s.hasData(m) && !s.list().has(m) && s.Leader != 0
	if could {
		s.Live.Members[m].Pod.Phase = FailingRemoved
	}
	return could
}

// addMember is etcd's MemberAdd of a learner: too few voters that are connected, or too many learners, and it refuses.
func (w *World) addMember(s *State, m int) bool {
	voters := s.Voters.size()
	switch {
	case s.Leader == 0, s.Learners.size() >= max(w.MaxLearners, 1), voters > 1 && s.serving() < quorum(voters+1), s.list().has(m):
		return false
	}
	s.Learners |= 1 << m
	return true
}

// promoteMember is etcd's MemberPromote.
func (w *World) promoteMember(s *State, m int) bool {
	started := (s.Started & s.Voters).size() + 1
	ready := s.serves(m) && !s.Live.Members[m].Claim.Old && started >= quorum(s.Voters.size()+1)
	if s.Leader == 0 || !s.Learners.has(m) || !ready {
		return false
	}
	s.Learners &^= 1 << m
	s.Voters |= 1 << m
	return true
}

// removeMember is etcd's MemberRemove: a voter that is down may go if those that have started are a quorum, one that is
// connected only if the others that are connected are.
func (w *World) removeMember(s *State, m int) bool {
	if s.Leader == 0 || !s.list().has(m) {
		return false
	}
	if s.Voters.has(m) {
		others := s.Voters &^ (1 << m)
		started := (s.Started & others).size()
		if others == 0 || started < quorum(others.size()) {
			return false
		}
		if s.serves(m) && s.serving()-1 < quorum(others.size()) {
			return false
		}
	}
	s.Voters &^= 1 << m
	s.Learners &^= 1 << m
	s.Started &^= 1 << m
	s.TLSURLs &^= 1 << m
	return true
}
