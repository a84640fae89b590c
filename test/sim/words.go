package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// writes counts the points at which a pass can be cut off.
func writes(v *verdict, reports bool) int {
	n := 0
	for _, action := range v.actions {
		n += parts(action)
	}
	if reports {
		n++
	}
	if v.disruptive != nil {
		n++
	}
	return n
}

func isRecreate(action core.Action) bool { _, is := action.(core.RecreateMember); return is }

// hasMiddle is whether an action consists of several writes.
func hasMiddle(action core.Action) bool {
	return isRecreate(action)
}

func isResize(action core.Action) bool { _, is := action.(core.ResizeMember); return is }

// parts is of how many writes an action consists that is not the last of a pass.
func parts(action core.Action) int {
	switch action.(type) {
	case core.ResizeMember:
		return resizeWrites
	case core.WriteCertificates:
		return certificateWrites
	}
	return 1
}

func isAdd(action core.Action) bool    { _, is := action.(core.AddMember); return is }
func isRemove(action core.Action) bool { _, is := action.(core.RemoveMember); return is }

// String says what is recorded.
func (r Record) String() string {
	return fmt.Sprintf("cluster %q of %s, founders %s, next %d, %d listed", clusterID(r.ID), join(r.Members), join(r.Founders), r.Next, r.Count)
}

// join is a set in few words: the ordinals.
func join(set Set) string {
	return strings.ReplaceAll("{"+strings.Join(spelled(set), ",")+"}", "etcd-", "")
}

func describe(action core.Action, done bool) string {
	words := action.Step()
	switch a := action.(type) {
	case core.ApplyMember:
		words = describeApply(a)
	case core.MarkVolumes:
		words = fmt.Sprintf("marks the claim of %s with %q", a.Member, slices.MaxFunc(a.Volumes, byID).ClusterID)
	case core.RestartMember:
		words = fmt.Sprintf("restarts %s (needs %d others)", a.Member, a.Needs)
		if a.FlushLog > 0 {
			words += " once the log is flushed"
		}
	case core.MoveLeader:
		words = fmt.Sprintf("moves the leadership from %s to %s", a.From, a.To)
	case core.ExpandVolumes:
		words = "asks for a larger volume of " + a.Member
	case core.ResizeMember:
		words = "changes CPU and memory of the pod of " + a.Member
	case core.WriteCertificates:
		words = "does for certificates: " + string(a.Change)
	case core.MovePeerURL:
		words = "lists " + a.Member + " at " + a.URL
	case core.SealPod:
		words = "seals the pod of " + a.Member
	case core.RecreateMember:
		words = "deletes StatefulSet and claim of " + a.Member
	case core.AddMember:
		words = "adds " + a.Member + " to the member list"
	case core.PromoteMember:
		words = "promotes " + a.Member
	case core.RemoveMember:
		words = fmt.Sprintf("removes %s from the member list (needs %d others)", a.Member, a.Needs)
	case core.DeleteMember:
		words = "deletes the StatefulSet of " + a.Member
	case core.RetireVolumes:
		words = "marks the claim of " + a.Member + " as removed"
	case core.DeleteVolumes:
		words = "deletes the claim of " + a.Member
	case core.EnableDowngrade:
		words = "tells etcd to go back to " + a.Target
	case core.CancelDowngrade:
		words = "tells etcd not to go back"
	case core.DisarmAlarm:
		words = "clears the alarm of " + a.ID
	}
	if !done {
		words += " (refused)"
	}
	return words
}

func describeApply(a core.ApplyMember) string {
	words := fmt.Sprintf("applies %s to found a cluster of %s", a.Member, join(mask(a.InitialCluster)))
	switch a.Start {
	case core.StartSealed:
		words = "applies " + a.Member + " sealed"
	case core.StartJoin:
		words = fmt.Sprintf("applies %s to join %s", a.Member, join(mask(a.InitialCluster)))
	case core.StartBootstrap:
	}
	if a.Stopped {
		words += " and stopped"
	}
	if a.Retry != 0 {
		words += " and nudges it"
	}
	return words
}

func byID(a, b core.Volume) int { return strings.Compare(a.ClusterID, b.ClusterID) }
