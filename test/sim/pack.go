package sim

// Key is a state in as few bits as it takes.
type Key [2*MaxMembers + 2]uint64

// packer appends bits to a word.
type packer struct {
	word uint64
	at   uint
}

func (p *packer) bits(value uint8, width uint) {
	p.word |= uint64(value) << p.at
	p.at += width
}

func (p *packer) flag(value bool) {
	if value {
		p.word |= 1 << p.at
	}
	p.at++
}

func (p *packer) template(t Template) {
	p.bits(uint8(t.Hash), 2)
	p.flag(t.Sealed)
	p.flag(t.Partial)
	p.bits(t.Token, 2)
}

func (p *packer) member(m *Member) {
	p.flag(m.Workload.Exists)
	p.flag(m.Workload.Settled)
	p.flag(m.Workload.Refused)
	p.template(m.Workload.Want)
	p.template(m.Workload.Known)
	p.bits(m.Workload.Storage, 1)
	p.bits(m.Workload.Founders, MaxMembers)
	p.flag(m.Pod.Exists)
	p.flag(m.Pod.Deleting)
	p.flag(m.Pod.Orphan)
	p.flag(m.Pod.Ready)
	p.bits(uint8(m.Pod.Phase), 2)
	p.template(m.Pod.Template)
	p.flag(m.Claim.Exists)
	p.flag(m.Claim.Deleting)
	p.flag(m.Claim.Bound)
	p.bits(m.Claim.Owner, 2)
	p.bits(m.Claim.Storage, 1)
	p.bits(m.Claim.Marked, 2)
	p.bits(m.Claim.Data, 2)
	p.bits(m.Claim.Founder, 2)
}

func (p *packer) cluster(c *Cluster) {
	p.flag(c.Exists)
	p.flag(c.Deleting)
	p.bits(c.Incarnation, 2)
	p.bits(uint8(c.Hash), 2)
	p.flag(c.Paused)
	p.bits(c.Storage, 1)
	p.bits(c.RecordedID, 2)
	p.bits(c.RecordedFounders, MaxMembers)
}

// pack makes the key of a state.
func (s *State) pack() Key {
	var key Key
	for m := range MaxMembers {
		var p packer
		p.member(&s.Live.Members[m])
		node := &s.Nodes[m]
		p.flag(node.Behind)
		p.flag(node.Unreachable)
		p.bits(node.Ran, 2)
		p.flag(node.DownByUs)
		p.bits(uint8(node.Same), 3)
		key[m] = p.word
		var seen packer
		seen.member(&s.Seen.Members[m])
		key[MaxMembers+m] = seen.word
	}
	var clusters, rest packer
	clusters.cluster(&s.Live.Cluster)
	clusters.cluster(&s.Seen.Cluster)
	clusters.flag(s.Stale)
	clusters.flag(s.SameCluster)
	rest.bits(s.Formed, 2)
	rest.bits(s.Started, MaxMembers)
	rest.bits(s.Leader, 3)
	rest.flag(s.Quota)
	rest.bits(uint8(s.Late.Kind), 2)
	rest.bits(s.Late.Member, 3)
	rest.bits(s.Late.To, 3)
	rest.bits(s.Late.Needs, 3)
	rest.flag(s.Late.OnlyIfDown)
	rest.flag(s.Late.NoneReady)
	rest.flag(s.Late.Same)
	rest.bits(s.Faults, 4)
	rest.bits(s.Edits, 4)
	key[2*MaxMembers], key[2*MaxMembers+1] = clusters.word, rest.word
	return key
}

// unpacker takes bits off a word, in the order in which they were put on.
type unpacker uint64

func (u *unpacker) bits(width uint) uint8 {
	value := uint8(uint64(*u) & (1<<width - 1))
	*u >>= width
	return value
}

func (u *unpacker) flag() bool { return u.bits(1) == 1 }

func (u *unpacker) template() Template {
	return Template{Hash: Hash(u.bits(2)), Sealed: u.flag(), Partial: u.flag(), Token: u.bits(2)}
}

func (u *unpacker) member() Member {
	return Member{
		Workload: Workload{
			Exists: u.flag(), Settled: u.flag(), Refused: u.flag(), Want: u.template(), Known: u.template(),
			Storage: u.bits(1), Founders: u.bits(MaxMembers),
		},
		Pod: Pod{
			Exists: u.flag(), Deleting: u.flag(), Orphan: u.flag(), Ready: u.flag(), Phase: Phase(u.bits(2)),
			Template: u.template(),
		},
		Claim: Claim{
			Exists: u.flag(), Deleting: u.flag(), Bound: u.flag(), Owner: u.bits(2), Storage: u.bits(1),
			Marked: u.bits(2), Data: u.bits(2), Founder: u.bits(2),
		},
	}
}

func (u *unpacker) cluster() Cluster {
	return Cluster{
		Exists: u.flag(), Deleting: u.flag(), Incarnation: u.bits(2), Hash: Hash(u.bits(2)), Paused: u.flag(),
		Storage: u.bits(1), RecordedID: u.bits(2), RecordedFounders: u.bits(MaxMembers),
	}
}

// unpack makes the state of a key.
func (k *Key) unpack() State {
	var s State
	for m := range MaxMembers {
		u, seen := unpacker(k[m]), unpacker(k[MaxMembers+m])
		s.Live.Members[m] = u.member()
		s.Nodes[m] = Node{
			Behind: u.flag(), Unreachable: u.flag(), Ran: u.bits(2), DownByUs: u.flag(), Same: Same(u.bits(3)),
		}
		s.Seen.Members[m] = seen.member()
	}
	clusters, rest := unpacker(k[2*MaxMembers]), unpacker(k[2*MaxMembers+1])
	s.Live.Cluster, s.Seen.Cluster = clusters.cluster(), clusters.cluster()
	s.Stale, s.SameCluster = clusters.flag(), clusters.flag()
	s.Formed, s.Started, s.Leader = rest.bits(2), rest.bits(MaxMembers), rest.bits(3)
	s.Quota = rest.flag()
	s.Late = Late{
		Kind: LateKind(rest.bits(2)), Member: rest.bits(3), To: rest.bits(3), Needs: rest.bits(3),
		OnlyIfDown: rest.flag(), NoneReady: rest.flag(), Same: rest.flag(),
	}
	s.Faults, s.Edits = rest.bits(4), rest.bits(4)
	return s
}
