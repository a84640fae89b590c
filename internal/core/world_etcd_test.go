package core_test

import (
	"slices"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

func memberID(name string) string { return "id-of-" + name }

func (w *world) founders() []string {
	if recorded := w.Cluster.Recorded.BootstrapMembers; len(recorded) > 0 {
		return recorded
	}
	return expand("demo-0.." + itoa(w.Cluster.Spec.Size-1))
}

// form makes the member list: founders, and whoever has joined since.
func (w *world) form() {
	if w.formed {
		return
	}
	w.formed = true
	for _, name := range w.founders() {
		w.list = append(w.list, &entry{name: name})
	}
	for _, m := range w.Members {
		if w.answers[m.Name].joined && w.entry(m.Name) == nil {
			w.list = append(w.list, &entry{name: m.Name})
		}
	}
}

func (w *world) entry(name string) *entry {
	for _, e := range w.list {
		if e.name == name {
			return e
		}
	}
	return nil
}

// observe is the world as the core sees it: etcd's answers follow from what runs.
func (w *world) observe() core.Observation {
	w.wish()
	if w.leader != "" {
		w.form()
	}
	o := w.Observation
	o.Members = slices.Clone(w.Members)
	o.Etcd = core.Etcd{}
	for _, m := range o.Members {
		if !m.Pod.Running {
			continue
		}
		a, s := w.answers[m.Name], w.status(m.Name)
		o.Etcd.Statuses = append(o.Etcd.Statuses, s)
		if !s.Answered {
			continue
		}
		a.joined = a.joined || s.LeaderID != ""
		o.Etcd.List.Known = o.Etcd.List.Known || w.leader != "" && !w.listHidden && a.clusterID == "" && w.entry(m.Name) != nil
	}
	if o.Etcd.List.Known {
		o.Etcd.List.ClusterID = "c1"
		for _, e := range w.list {
			a := w.answers[e.name]
			l := core.Listed{
				ID: memberID(e.name), Name: e.name, PeerURL: "http://" + e.name + "-0.demo-peer:2380",
				Started: a != nil && a.joined, Learner: e.learner,
			}
			if e.url != "" {
				l.Name, l.PeerURL, l.Started = "", e.url, true
			}
			o.Etcd.List.Members = append(o.Etcd.List.Members, l)
		}
	}
	return o
}

// status is what a member that runs says.
func (w *world) status(name string) core.Status {
	a := w.answers[name]
	s := core.Status{Member: name}
	if a.silent {
		s.Error = "connection refused"
		return s
	}
	leader := a.follows
	if leader == "" {
		leader = w.leader
	}
	s.Answered, s.ID, s.ClusterID = true, memberID(name), "c1"
	if a.clusterID != "" {
		s.ID, s.ClusterID = memberID(name)+"-in-"+a.clusterID, a.clusterID
	}
	if leader != "" && !a.leaderless {
		s.LeaderID = memberID(leader)
		if a.clusterID != "" {
			s.LeaderID += "-in-" + a.clusterID
		}
	}
	s.Version, s.StorageVersion, s.Errors, s.DowngradeTarget = a.version, a.stored, a.errors, w.downgrade
	s.Learner = w.entry(name) != nil && w.entry(name).learner
	s.DBSize, s.DBSizeInUse, s.Revision, s.RaftApplied = max(a.size, 1<<20), 1<<19, 100, 100_000-a.lag
	for _, raised := range w.alarms {
		if a.clusterID != "" {
			break
		}
		s.ClusterAlarms, s.AlarmIDs = append(s.ClusterAlarms, raised.kind), append(s.AlarmIDs, memberID(raised.member))
		if raised.member == name {
			s.Alarms = append(s.Alarms, raised.kind)
		}
	}
	return s
}

// connected is whether etcd itself can count on a member.
func (w *world) connected(e *entry) bool {
	m := w.find(e.name)
	a := w.answers[e.name]
	return e.url != "" || m != nil && m.Pod.Running && !m.Pod.Deleting && !a.silent && a.joined
}

func (w *world) find(name string) *core.Member {
	for i := range w.Members {
		if w.Members[i].Name == name {
			return &w.Members[i]
		}
	}
	return nil
}

// refusal is why etcd would refuse a change of its membership, see mayAddMember, mayRemoveMember and mayPromote in
// server/etcdserver/server.go: the cluster is run with strict-reconfig-check. Nothing that the core decides should be
// refused while nothing has changed.
func (w *world) refusal(action core.Action) string {
	voters, connected, learners := 0, 0, 0
	var ids []string
	for _, e := range w.list {
		ids = append(ids, memberID(e.name))
		switch {
		case e.learner:
			learners++
		default:
			voters++
			if w.connected(e) {
				connected++
			}
		}
	}
	slices.Sort(ids)
	switch step := action.(type) {
	case core.AddMember:
		switch {
		case w.entry(step.Member) != nil:
			return "Peer URLs already exists"
		case learners >= w.Cluster.Spec.MaxLearners:
			return "too many learner members in cluster"
		case voters > 1 && connected < core.Quorum(voters+1):
			return "unhealthy cluster"
		case !slices.Equal(step.Expect, ids):
			return "the member list is another one"
		}
	case core.PromoteMember:
		e := w.entry(step.Member)
		switch {
		case e == nil:
			return "member not found"
		case !e.learner:
			return "can only promote a learner member"
		case w.answers[e.name].lag > 10_000 || !w.connected(e):
			return "can only promote a learner member which is in sync with leader"
		case connected+1 < core.Quorum(voters+1):
			return "not enough started members"
		}
	case core.RemoveMember:
		e := w.entry(step.Member)
		switch {
		case e == nil:
			return "member not found"
		case !e.learner && !w.connected(e) && connected < core.Quorum(voters-1):
			return "not enough started members"
		case !e.learner && w.connected(e) && connected-1 < 1+(voters-1)/2:
			return "unhealthy cluster"
		case !slices.Equal(step.Expect, ids):
			return "the member list is another one"
		}
	}
	return ""
}
