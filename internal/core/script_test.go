package core_test

import (
	"fmt"
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
//	act               carries the steps of the last decision out, and says what etcd refuses
//	wake              does so again and again, while members start one after the other, and says in which order
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
				return w.act()
			case "wake":
				return w.wake()
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

// wake carries decisions out until no member is left to be started. What was started is seen alive before the next decision.
func (w *world) wake() string {
	for order := ""; ; {
		var started []string
		for _, action := range w.decision.Actions {
			if apply, is := action.(core.ApplyMember); is && !w.member(apply.Member).Pod.Exists {
				started = append(started, apply.Member)
			}
		}
		if refused := w.act(); refused != "" || len(started) == 0 {
			return order + refused
		}
		order += "started " + strings.Join(started, " and ") + "\n"
		for _, name := range started {
			w.tellPod(w.member(name), "running")
		}
		w.decision = core.Decide(w.observe())
		w.Cluster.Recorded = w.decision.Report
	}
}

var startNames = map[core.Start]string{core.StartBootstrap: "bootstrap", core.StartSealed: "sealed", core.StartJoin: "joining"}

func (w *world) describe(action core.Action) string {
	text := action.Step()
	switch step := action.(type) {
	case core.ApplyObject:
		text += " " + step.Kind + "/" + step.Name
	case core.ApplyMember:
		text += " " + step.Member + " " + startNames[step.Start]
		if len(step.InitialCluster) > 0 {
			text += " with " + strings.Join(step.InitialCluster, " ")
		}
		if spec := w.Cluster.Spec; spec.Version != spec.FinalVersion {
			text += " of " + spec.Version
		}
		if step.Stopped {
			text += ", stopped"
		}
		if step.Retry > w.member(step.Member).Workload.Retry {
			text += ", a nudge"
		}
		if step.FlushLog > 0 {
			text += fmt.Sprintf(" after %d entries", step.FlushLog)
		}
	case core.SealPod:
		text += fmt.Sprintf(" %s (%s)", step.Member, step.PodUID)
	case core.MarkVolumes:
		text += " " + step.Member
		for _, volume := range step.Volumes {
			text += fmt.Sprintf(" %s holds=%q", volume.Name, volume.ClusterID)
			if volume.Version != w.recordedOn(step.Member, volume.Name).Version {
				text += " ran=" + volume.Version
			}
			if volume.Since36 != w.recordedOn(step.Member, volume.Name).Since36 {
				text += fmt.Sprintf(" since36=%d", volume.Since36)
			}
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
		if step.FlushLog > 0 {
			text += fmt.Sprintf(" after %d entries", step.FlushLog)
		}
	case core.MoveLeader:
		text += fmt.Sprintf(" from %s to %s", step.From, step.To)
	case core.RecreateMember:
		text += " " + step.Member + claims(step.Volumes)
	default:
		text += w.describeChange(action)
	}
	return text
}

// describeChange is for the steps that change which members there are, and what they have.
func (w *world) describeChange(action core.Action) string {
	switch step := action.(type) {
	case core.DeleteObject:
		return " " + step.Kind + "/" + step.Name
	case core.AddMember:
		text := fmt.Sprintf(" %s via %s", step.Member, step.Via)
		if step.EndDowngrade {
			text += " after the end of any downgrade"
		}
		return text
	case core.PromoteMember:
		return fmt.Sprintf(" %s via %s", step.Member, step.Via)
	case core.RemoveMember:
		text := fmt.Sprintf(" %s via %s while %d others serve", step.Member, step.Via, step.Needs)
		if step.IfOthersAgree {
			text += " and agree"
		}
		return text
	case core.DeleteMember:
		return " " + step.Member
	case core.RetireVolumes:
		return " " + step.Member + claims(step.Volumes)
	case core.DeleteVolumes:
		return " " + step.Member + claims(step.Volumes)
	case core.ExpandVolumes:
		text := " " + step.Member
		for _, volume := range step.Volumes {
			text += fmt.Sprintf(" %s from %dGi to %dGi", volume.Name, volume.Size>>30, volume.WantedSize>>30)
		}
		return text
	case core.ResizeMember:
		return fmt.Sprintf(" %s (%s)", step.Member, step.PodUID)
	case core.EnableDowngrade:
		return fmt.Sprintf(" to %s via %s", step.Target, step.Via)
	case core.CancelDowngrade:
		return " via " + step.Via
	case core.DisarmAlarm:
		return fmt.Sprintf(" %s of %s via %s", step.Alarm, step.ID, step.Via)
	}
	panic("a scenario cannot describe " + action.Step())
}

// recordedOn is what is recorded on a claim.
func (w *world) recordedOn(member, claim string) core.Volume {
	for _, volume := range w.member(member).Volumes {
		if volume.Name == claim {
			return volume
		}
	}
	return core.Volume{}
}

func claims(volumes []core.Volume) string {
	text := ""
	for _, volume := range volumes {
		text += " " + volume.Name
	}
	return text
}
