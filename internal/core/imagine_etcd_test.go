package core_test

import (
	"slices"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// etcd makes up what the members that run answer.
func (d dice) etcd(members []core.Member, c cast, calm bool) core.Etcd {
	var e core.Etcd
	leader := ""
	for _, m := range members {
		voter := slices.Contains(c.listed, m.Name) && !slices.Contains(c.learners, m.Name) && m.Name != c.unstarted
		if m.Pod.Running && voter && (leader == "" || d.oneIn(2)) {
			leader = m.Name
		}
	}
	if d.oneIn(8) {
		leader = ""
	}
	downgrade := choose(d, "", "", "", "3.5", "3.5.0", "3.6")
	stored := choose(d, "", "3.5.0", "3.6.0", "3.6.0")
	for _, m := range members {
		if !m.Pod.Running {
			continue
		}
		s := d.status(m.Name, leader, calm)
		if s.Answered {
			s.Learner = slices.Contains(c.learners, m.Name)
			s.DowngradeTarget, s.StorageVersion = downgrade, stored
			if d.oneIn(10) {
				s.StorageVersion = choose(d, "", "3.5.0", "3.6.0")
			}
			if d.oneIn(15) {
				gone := "id-" + choose(d, append([]string{"demo-77"}, c.listed...)...)
				s.ClusterAlarms, s.AlarmIDs = append(s.ClusterAlarms, "NOSPACE"), append(s.AlarmIDs, gone)
			}
		}
		e.Statuses = append(e.Statuses, s)
		e.List.Known = e.List.Known || s.Answered && leader != "" && s.LeaderID != "" && !d.oneIn(10)
	}
	if !e.List.Known {
		return e
	}
	e.List.ClusterID = "c1"
	for _, name := range c.listed {
		e.List.Members = append(e.List.Members, core.Listed{
			ID: "id-" + name, Name: name, PeerURL: "http://" + name, Started: name != c.unstarted, Learner: slices.Contains(c.learners, name),
		})
	}
	if d.oneIn(30) {
		// Somebody changed its peer URL.
		l := &e.List.Members[d.IntN(len(e.List.Members))]
		l.Name, l.PeerURL = "", "http://somewhere-else"
	}
	if c.foreign {
		e.List.Members = append(e.List.Members, core.Listed{ID: "id-stranger", PeerURL: "http://stranger", Started: true, Learner: d.oneIn(3)})
	}
	return e
}

func (d dice) status(name, leader string, calm bool) core.Status {
	if !calm && d.oneIn(12) {
		return core.Status{Member: name, Error: "connection refused"}
	}
	s := core.Status{
		Member: name, Answered: true, ID: "id-" + name, ClusterID: "c1",
		Version: choose(d, "3.6.16", "3.6.16", "3.6.16", "3.5.30"), DBSize: choose[int64](d, 1<<20, 1<<30), RaftApplied: 50_000 + uint64(d.IntN(500)),
	}
	if calm {
		s.Version = "3.6.16"
	}
	if leader != "" && (calm || !d.oneIn(20)) {
		s.LeaderID = "id-" + leader
	}
	if calm && !d.oneIn(8) {
		return s
	}
	if d.oneIn(15) {
		s.RaftApplied -= 20_000
	}
	if d.oneIn(15) {
		s.Alarms = []string{choose(d, "NOSPACE", "CORRUPT")}
		s.ClusterAlarms, s.AlarmIDs = s.Alarms, []string{s.ID}
	}
	if d.oneIn(30) {
		s.Errors = []string{"it complains"}
	}
	if d.oneIn(40) {
		s.ClusterID, s.ID = "c9", "id-of-another"
	}
	return s
}
