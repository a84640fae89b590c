package core

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// How long until the next look if nothing happens before: events of Kubernetes and of etcd come first, these are
// the fallback.
const (
	lookAgainSettled = 15 * time.Second
	lookAgainBusy    = time.Second
	lookAgainSoon    = 20 * time.Millisecond
	lookAgainBlocked = 5 * time.Second
)

// retryEvery is how often a StatefulSet whose pod cannot be made is nudged to try again.
const retryEvery = 15 * time.Second

// plan is what the rules make of a view.
type plan struct {
	actions []Action
	// doing says what is being done or waited for; empty means nothing is.
	doing Problem
	// blocked says what is in the way; the user has to act.
	blocked Problem
	// frozen plans carry out nothing: the phase says why.
	frozen string
	// auth is what follows for users and roles; nil if they were not looked at.
	auth *authPlan
}

// Decide decides what happens next. See the package comment for its laws, and docs/architecture for the rules as a
// table.
func Decide(o Observation) Decision {
	v := look(o)
	p := decide(v)
	if untouched := p.frozen == PhaseDeleting || p.frozen == PhasePaused; p.blocked.IsZero() && !untouched {
		p.blocked = o.Cluster.Spec.HeldBack
	}
	report := v.report(p)
	return Decision{
		Actions:   p.actions,
		Report:    report,
		Events:    news(o.Cluster.Recorded, report),
		LookAgain: v.lookAgain(p),
	}
}

// decide asks the rules in their order. The gates come first: while one of them is shut nothing else is done. What follows
// takes nothing from anybody. The rules in the loop take one member at a time: the first that acts, or waits for what it
// has begun, is the last that is asked.
func decide(v *view) plan {
	for _, gate := range []func(*view) (plan, bool){deleting, paused, hibernated, earlierMembers, awaitingData, earlierVolumes, hibernating, certificates} {
		if p, shut := gate(v); shut {
			return p
		}
	}
	p := plan{blocked: v.namesTaken()}
	p.actions = append(p.actions, v.applyObjects()...)
	p.actions = append(p.actions, v.applyMembers()...)
	p.actions = append(p.actions, v.sealPods()...)
	p.actions = append(p.actions, v.markVolumes()...)
	p.actions = append(p.actions, v.expandVolumes()...)
	p.actions = append(p.actions, v.retryRefused()...)
	p.actions = append(p.actions, v.deleteStaleConfigs()...)
	v.authenticate(&p)
	for _, rule := range []func(*view, *plan) bool{recreate, disarm, cleanUp, heal, abandon, promote, downgrade, rollOut, movePeers, resize} {
		if rule(v, &p) {
			break
		}
	}
	if p.doing.IsZero() && (v.clusterID == "" || v.lacksMember() || v.starting()) {
		p.doing = v.creating()
	}
	p.auth.tell(&p)
	if p.doing.IsZero() {
		p.doing = v.underWay()
	}
	return p
}

// underWay is what goes on without a step of ours.
func (v *view) underWay() Problem {
	if spec := v.Cluster.Spec; spec.Version != spec.FinalVersion && spec.FinalVersion != "" {
		return Problem{ReasonRollingOut, fmt.Sprintf("the cluster runs %s on the way to %s; waiting: %s", spec.Version, spec.FinalVersion, v.waitsFor())}
	}
	if rotating := v.rotating(); !rotating.IsZero() {
		return rotating
	}
	if m := v.toMove(); m != nil {
		return Problem{ReasonCertificates, fmt.Sprintf("members are to be reached at %s; waiting: %s", scheme(m.listed.MovesTo), v.waitsFor())}
	}
	for _, m := range v.members {
		if m.Pod.Resizing != "" {
			return Problem{ReasonRollingOut, v.resizes(m)}
		}
	}
	for _, m := range v.leftovers {
		if m.Workload.Exists() {
			return Problem{ReasonCleaningUp, fmt.Sprintf("member %s was removed from the cluster; what is left of it waits until the member list is clear", m.Name)}
		}
	}
	for _, m := range v.members {
		for _, volume := range m.Volumes {
			if volume.Growing || volume.grows() && v.ours(volume) {
				return Problem{ReasonExpanding, fmt.Sprintf("claim %s grows to %d MiB", volume.Name, max(volume.Size, volume.WantedSize)>>20)}
			}
		}
	}
	return Problem{}
}

// deleting: Kubernetes' garbage collector follows the owner references, and the retention policy is on the claims;
// there is nothing left to do that could hang.
func deleting(v *view) (plan, bool) {
	return plan{frozen: PhaseDeleting, doing: Problem{ReasonDeleting, "the cluster is being deleted"}}, v.Cluster.Deleting
}

func paused(v *view) (plan, bool) {
	return plan{frozen: PhasePaused, doing: Problem{ReasonPaused, "spec.paused is true: nothing is changed until it is false"}}, v.Cluster.Spec.Paused
}

// hibernated: a cluster that was never made, and of which nothing is wanted.
func hibernated(v *view) (plan, bool) {
	shut := v.Cluster.Spec.Size == 0 && v.clusterID == "" && len(v.members) == 0
	return v.asleep(), shut
}

// asleep is the plan for a cluster of which no member is to run.
func (v *view) asleep() plan {
	if holder := v.Cluster.Spec.Restore; holder != "" {
		return plan{frozen: PhaseRestoring, doing: Problem{ReasonRestoring, fmt.Sprintf("EtcdRestore %s gives the cluster other data: no member runs until it is there", holder)}}
	}
	return plan{frozen: PhaseHibernated, doing: Problem{ReasonHibernated, "spec.size is 0: no member runs"}}
}

// hibernating stops the members of a cluster that has run, each once everything is recorded that its volume has to say. The
// volumes stay, and with them the members' IDs: size 0 to etcd is a cluster whose members are all down. A restore does not wait
// for what volumes have to say: it is there for clusters that are broken, too.
func hibernating(v *view) (plan, bool) {
	spec := v.Cluster.Spec
	if spec.Size != 0 {
		return plan{}, false
	}
	switch {
	case spec.InMemory && spec.Restore != "":
		return plan{blocked: Problem{ReasonRestoreRefused, fmt.Sprintf("EtcdRestore %s cannot give the cluster other data: the members keep theirs in memory", spec.Restore)}}, true
	case spec.InMemory:
		return plan{blocked: Problem{ReasonHibernationRefused, "spec.size is 0 but the members keep their data in memory and would lose it: set spec.size to what it was"}}, true
	}
	p := v.asleep()
	p.actions = v.markVolumes()
	for _, m := range slices.Concat(v.members, v.leftovers) {
		if m.Workload.Exists() && !m.Workload.Stopped && (len(v.unmarked(m)) == 0 || spec.Restore != "") {
			p.actions = append(p.actions, v.apply(m))
		}
	}
	return p, true
}

// awaitingData: a cluster that begins with the data of a backup is never founded. Until that is on its volumes there is nothing to
// do but what members will need.
func awaitingData(v *view) (plan, bool) {
	if !v.awaits() {
		return plan{}, false
	}
	if p, shut := certificates(v); shut {
		return p, true
	}
	return plan{frozen: PhaseRestoring, actions: v.applyObjects(), doing: Problem{ReasonRestoring, fmt.Sprintf("waiting for the data of EtcdBackup %s, with which it begins by spec.bootstrap", v.Cluster.Spec.Bootstrap)}}, true
}

// earlierMembers: an object that was deleted and made again at once finds the pods of the earlier one still running.
func earlierMembers(v *view) (plan, bool) {
	return plan{doing: Problem{ReasonCleaningUp, "waiting until the members of an earlier cluster of this name are gone"}}, v.earlierRuns
}

// earlierVolumes: before a cluster is formed, volumes of an earlier cluster of the same name stand in the way,
// unless all of them say that they hold the same cluster's data: then that cluster comes back. Data is never
// started over.
func earlierVolumes(v *view) (plan, bool) {
	if v.clusterID != "" {
		return plan{}, false
	}
	var data, leaving []string
	var unused plan
	for _, m := range v.Members {
		var unbound []Volume
		for _, volume := range m.Volumes {
			switch {
			case volume.OwnerUID == v.Cluster.UID && volume.ClusterID == "":
			case volume.OwnerUID != v.Cluster.UID && volume.leaves(v.Cluster.UID):
				leaving = append(leaving, volume.Name)
			case volume.Bound:
				data = append(data, volume.Name)
			default:
				unbound = append(unbound, volume)
			}
		}
		if len(unbound) > 0 && len(unused.actions) == 0 && !m.Workload.Exists() {
			unused.actions = []Action{RecreateMember{Member: m.Name, Volumes: unbound}}
		}
	}
	switch {
	case len(leaving) > 0:
		return plan{doing: Problem{ReasonCleaningUp, "waiting until the claims of an earlier cluster are deleted: " + strings.Join(leaving, ", ")}}, true
	case len(data) > 0:
		return plan{blocked: Problem{ReasonDataVolumesExist, fmt.Sprintf("the claims %s belong to an earlier cluster named %s, and do not say that they hold one cluster's data: delete them to start empty, or choose another name", strings.Join(data, ", "), v.Cluster.Name)}}, true
	case len(unused.actions) > 0:
		unused.doing = Problem{ReasonCleaningUp, "claims of an earlier cluster that never had a volume are deleted"}
		return unused, true
	}
	return plan{}, false
}

// namesTaken reports supporting objects that bear our names but belong to someone else.
func (v *view) namesTaken() Problem {
	for _, object := range v.Objects {
		if object.State == Foreign {
			return NameTaken(object.Kind, object.Name)
		}
	}
	for _, m := range v.members {
		if m.Workload.State == Foreign {
			return NameTaken("StatefulSet", m.Name)
		}
	}
	return Problem{}
}

// NameTaken tells that an object that a cluster needs is someone else's.
func NameTaken(kind, name string) Problem {
	return Problem{ReasonNameTaken, fmt.Sprintf("%s %s exists but does not belong to this cluster: delete or rename it, or choose another name for the cluster", kind, name)}
}

// applyObjects applies the supporting objects that are missing or drifted, and deletes those that should not exist.
func (v *view) applyObjects() []Action {
	var actions []Action
	for _, object := range v.Objects {
		switch object.State {
		case Missing, Drifted:
			actions = append(actions, ApplyObject{Kind: object.Kind, Name: object.Name})
		case Surplus:
			actions = append(actions, DeleteObject{Kind: object.Kind, Name: object.Name})
		case Current, Foreign, Leaving:
		}
	}
	return actions
}

// deleteStaleConfigs removes the configurations that no member refers to, once nothing else is going on.
func (v *view) deleteStaleConfigs() []Action {
	var actions []Action
	for _, m := range v.members {
		if m.outdated(v.Cluster.Spec.MemberHash) || !m.Pod.Exists {
			return nil
		}
	}
	for _, config := range v.StaleConfigs {
		actions = append(actions, DeleteConfig{Config: config})
	}
	return actions
}

// creating says what the creation waits for, if that is not just the usual course of things.
func (v *view) creating() Problem {
	reason, message := ReasonCreating, fmt.Sprintf("%d members are being made", len(v.members))
	if v.waking() {
		reason, message = ReasonWaking, fmt.Sprintf("%d members start again", len(v.members))
	}
	for _, m := range v.members {
		if !m.healthy && !passing(m.trouble.Reason) {
			return Problem{reason, message + "; waiting: " + m.trouble.Message}
		}
	}
	return Problem{reason, message}
}

// lacksMember is whether a member that should exist has no StatefulSet.
func (v *view) lacksMember() bool {
	return slices.ContainsFunc(v.members, func(m *memberView) bool { return !m.Workload.Exists() })
}

// starting is whether a member has yet to run for the first time, or to be sealed after that.
func (v *view) starting() bool {
	return slices.ContainsFunc(v.members, func(m *memberView) bool {
		return m.starting || m.Workload.Exists() && (m.Workload.Start != StartSealed || m.Workload.Stopped) || v.sealsPod(m)
	})
}

// lookAgain is the fallback to events.
func (v *view) lookAgain(p plan) time.Duration {
	switch {
	case p.frozen == PhaseDeleting || p.frozen == PhaseHibernated && len(v.members) == 0:
		return 0
	case p.frozen != "" && len(p.actions) > 0:
		return lookAgainBusy
	case p.frozen != "":
		return lookAgainSettled
	case !p.blocked.IsZero() && p.doing.IsZero():
		return lookAgainBlocked
	case slices.ContainsFunc(p.actions, changesEtcd):
		return lookAgainSoon
	case len(p.actions) > 0 || !p.doing.IsZero():
		return v.patience()
	}
	for _, m := range v.members {
		if !m.healthy {
			return lookAgainBlocked
		}
	}
	return lookAgainSettled
}

// changesEtcd is whether an action changes etcd alone, or what is not watched: no event of Kubernetes tells of that.
func changesEtcd(action Action) bool {
	switch action.(type) {
	case MoveLeader, AddMember, PromoteMember, RemoveMember, DisarmAlarm, EnableDowngrade, CancelDowngrade, MovePeerURL, WriteCertificates, ChangeAuth, WriteAuthSecret:
		return true
	}
	return false
}

// patience is how soon to look while something is under way: seldom if a person, or a client, has to act first.
func (v *view) patience() time.Duration {
	if v.waitsForClients() {
		return lookAgainBlocked
	}
	for _, m := range v.members {
		if !m.Pod.Problem.IsZero() || !m.Workload.Problem.IsZero() || m.trouble.Reason == ReasonStorageClassMissing {
			return lookAgainBlocked
		}
	}
	return lookAgainBusy
}
