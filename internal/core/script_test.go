package core_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestScripts runs the scenarios in testdata. Each is a situation, told step by step:
//
//	decide            tells the statements below it, decides, and writes the report as the operator would
//	decide steps      the same, printing only the steps and what is being done
//	decide events     the same, printing the events as well
//	act               carries the steps of the last decision out: Kubernetes makes pods again, and marks claims
//
// Run with -rewrite to write the answers down; then read every one of them.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			for line := range strings.Lines(d.Input) {
				w.tell(line)
			}
			switch d.Cmd {
			case "decide":
				return w.decide(d)
			case "act":
				w.act()
				return ""
			}
			t.Fatalf("a scenario knows no command %s", d.Cmd)
			return ""
		})
	})
}

func (w *world) decide(d *datadriven.TestData) string {
	before := w.Cluster.Recorded
	w.decision = core.Decide(w.observe())
	w.Cluster.Recorded = w.decision.Report
	var out strings.Builder
	for _, action := range w.decision.Actions {
		fmt.Fprintln(&out, w.describe(action))
	}
	if d.HasArg("steps") {
		for _, c := range w.decision.Report.Conditions {
			if c.Type == core.Progressing {
				fmt.Fprintf(&out, "(%s: %s)\n", c.Reason, c.Message)
			}
		}
		return out.String()
	}
	if w.decision.Report.Equal(before) {
		fmt.Fprintln(&out, "nothing to report")
	}
	fmt.Fprintf(&out, "%s, %s ready", w.decision.Report.Phase, w.decision.Report.Ready)
	if leader := w.decision.Report.Leader; leader != "" {
		fmt.Fprintf(&out, ", led by %s", leader)
	}
	if w.decision.LookAgain > 0 {
		fmt.Fprintf(&out, ", look again in %s", w.decision.LookAgain)
	}
	fmt.Fprintln(&out)
	for _, c := range w.decision.Report.Conditions {
		fmt.Fprintf(&out, "%s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	if d.HasArg("events") {
		for _, event := range w.decision.Events {
			kind := "event"
			if event.Warning {
				kind = "warning"
			}
			fmt.Fprintf(&out, "%s %s: %s\n", kind, event.Reason, event.Message)
		}
	}
	return out.String()
}

var startNames = map[core.Start]string{core.StartBootstrap: "bootstrap", core.StartSealed: "sealed"}

func (w *world) describe(action core.Action) string {
	text := action.Step()
	switch step := action.(type) {
	case core.ApplyObject:
		text += " " + step.Kind + "/" + step.Name
	case core.ApplyMember:
		text += " " + step.Member + " " + startNames[step.Start]
		if step.Start == core.StartBootstrap {
			text += " with " + strings.Join(step.BootstrapMembers, " ")
		}
		if step.Retry > w.member(step.Member).Workload.Retry {
			text += ", a nudge"
		}
	case core.MarkVolumes:
		text += " " + step.Member
		for _, volume := range step.Volumes {
			text += fmt.Sprintf(" %s holds=%q", volume.Name, volume.ClusterID)
			if volume.Kept != volume.KeptWanted {
				text += fmt.Sprintf(" keep=%t", volume.KeptWanted)
			}
		}
	case core.DeleteConfig:
		text += " " + step.Config.Name
	case core.RestartMember:
		text += fmt.Sprintf(" %s (%s)", step.Member, step.PodUID)
		if step.OnlyIfDown {
			text += " only if down"
		}
		if step.OnlyIfNoneReady {
			text += " only if none is ready"
		}
		if step.Needs > 0 {
			text += fmt.Sprintf(" while %d others run", step.Needs)
		}
	case core.MoveLeader:
		text += fmt.Sprintf(" from %s to %s", step.From, step.To)
	case core.RecreateMember:
		text += " " + step.Member
		for _, volume := range step.Volumes {
			text += " " + volume.Name
		}
	}
	return text
}

func memberID(name string) string { return "id-of-" + name }

// observe is the world as the core sees it: etcd's answers follow from what runs.
func (w *world) observe() core.Observation {
	o := w.Observation
	o.Members = slices.Clone(w.Members)
	o.Etcd = core.Etcd{}
	for _, m := range o.Members {
		a := w.answers[m.Name]
		if !m.Pod.Running {
			continue
		}
		status := core.Status{Member: m.Name}
		if a.silent {
			status.Error = "connection refused"
			o.Etcd.Statuses = append(o.Etcd.Statuses, status)
			continue
		}
		leader := a.follows
		if leader == "" {
			leader = w.leader
		}
		status.Answered, status.ID, status.ClusterID = true, memberID(m.Name), "c1"
		if a.clusterID != "" {
			status.ClusterID = a.clusterID
		}
		if leader != "" {
			status.LeaderID = memberID(leader)
		}
		status.Version, status.StorageVersion, status.Alarms, status.Errors, status.Learner = a.version, a.stored, a.alarms, a.errors, a.learner
		status.DBSize, status.DBSizeInUse, status.Revision, status.RaftApplied = 1<<20, 1<<19, 100, 100_000-a.lag
		a.joined = a.joined || leader != ""
		o.Etcd.Statuses = append(o.Etcd.Statuses, status)
		o.Etcd.List.Known = o.Etcd.List.Known || w.leader != "" && !w.listHidden && a.clusterID == ""
	}
	if o.Etcd.List.Known {
		o.Etcd.List.ClusterID = "c1"
		for _, name := range w.founders() {
			if a := w.answers[name]; a == nil || !a.unlisted {
				o.Etcd.List.Members = append(o.Etcd.List.Members, core.Listed{
					ID: memberID(name), Name: name, Started: a != nil && a.joined, Learner: a != nil && a.learner,
				})
			}
		}
	}
	return o
}

// act carries the last decision out, as Kubernetes would: what is deleted comes back as its template says.
func (w *world) act() {
	for _, action := range w.decision.Actions {
		switch step := action.(type) {
		case core.ApplyObject:
			w.tellObject("object", []string{step.Kind + "/" + step.Name, "current"})
		case core.ApplyMember:
			m := w.member(step.Member)
			made := !m.Workload.Exists()
			w.tellWorkload(m, "current")
			m.Workload.MemberHash, m.Workload.Start, m.Workload.Retry = w.Cluster.Spec.MemberHash, step.Start, step.Retry
			m.Workload.BootstrapMembers = step.BootstrapMembers
			if made && len(m.Volumes) == 0 {
				w.tellVolume(m, "pending")
			}
			if made {
				w.tellPod(m, "starting")
			}
		case core.MarkVolumes:
			m := w.member(step.Member)
			for i := range m.Volumes {
				for _, marked := range step.Volumes {
					if marked.Name == m.Volumes[i].Name {
						m.Volumes[i].ClusterID, m.Volumes[i].OwnerUID = marked.ClusterID, w.Cluster.UID
						m.Volumes[i].Kept = marked.KeptWanted
					}
				}
			}
		case core.DeleteConfig:
			w.StaleConfigs = nil
		case core.RestartMember:
			m := w.member(step.Member)
			m.Pod = core.Pod{}
			w.tellPod(m, "starting")
		case core.MoveLeader:
			w.leader = step.To
		case core.RecreateMember:
			m := w.member(step.Member)
			m.Workload, m.Pod, m.Volumes = core.Workload{}, core.Pod{}, nil
		}
	}
}
