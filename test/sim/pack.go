package sim

// Key is a state in as few bits as it takes: its parts by their number in the tables of a world.
type Key struct {
	Members, Seen        [MaxMembers]uint32
	Cluster, SeenCluster uint32
	Rest                 uint32
}

// place is everything about one member.
type place struct {
	Member Member
	Node   Node
}

// rest is what a state has besides members and the EtcdCluster.
type rest struct {
	Stale, SameCluster bool
	Etcd, Earlier      Etcd
	Restore            Restore
	LateRestore        LateRestore
	Certificates       Certificates
	Next, Used         uint8
	Quota              bool
	Late               Late
	Faults, Edits      uint8
}

// table numbers values.
type table[V comparable] struct {
	numbers map[V]uint32
	values  []V
}

func (t *table[V]) number(value V) uint32 {
	if number, known := t.numbers[value]; known {
		return number
	}
	if t.numbers == nil {
		t.numbers = map[V]uint32{}
	}
	number := uint32(len(t.values))
	t.numbers[value], t.values = number, append(t.values, value)
	return number
}

type tables struct {
	places   table[place]
	members  table[Member]
	clusters table[Cluster]
	rests    table[rest]
}

// pack makes the key of a state.
func (w *World) pack(s *State) Key {
	var key Key
	for m := range s.members() {
		key.Members[m] = 1 + w.tables.places.number(place{s.Live.Members[m], s.Nodes[m]})
		if s.Stale {
			key.Seen[m] = 1 + w.tables.members.number(s.Seen.Members[m])
		}
	}
	key.Cluster, key.SeenCluster = w.tables.clusters.number(s.Live.Cluster), w.tables.clusters.number(s.Seen.Cluster)
	key.Rest = w.tables.rests.number(rest{s.Stale, s.SameCluster, s.Etcd, s.Earlier, s.Restore, s.LateRestore, s.Certificates, s.Next, s.Used, s.Quota, s.Late, s.Faults, s.Edits})
	return key
}

// unpack makes the state of a key.
func (w *World) unpack(key *Key) State {
	var s State
	for m := range MaxMembers {
		if number := key.Members[m]; number != 0 {
			place := &w.tables.places.values[number-1]
			s.Live.Members[m], s.Nodes[m] = place.Member, place.Node
		}
		if number := key.Seen[m]; number != 0 {
			s.Seen.Members[m] = w.tables.members.values[number-1]
		}
	}
	s.Live.Cluster, s.Seen.Cluster = w.tables.clusters.values[key.Cluster], w.tables.clusters.values[key.SeenCluster]
	rest := &w.tables.rests.values[key.Rest]
	s.Stale, s.SameCluster, s.Etcd, s.Next, s.Used = rest.Stale, rest.SameCluster, rest.Etcd, rest.Next, rest.Used
	s.Certificates, s.Earlier, s.Restore, s.LateRestore = rest.Certificates, rest.Earlier, rest.Restore, rest.LateRestore
	s.Quota, s.Late, s.Faults, s.Edits = rest.Quota, rest.Late, rest.Faults, rest.Edits
	return s
}
