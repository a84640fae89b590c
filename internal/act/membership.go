package act

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// addMember adds a member, if the member list is still the one that was decided on, and if nothing in Kubernetes bears its
// name: the caches may not show yet what an earlier member of that name left.
func (a *Actor) addMember(ctx context.Context, o observe.Observed, step core.AddMember) error {
	if err := a.unused(ctx, o.Render, step.Member); err != nil {
		return err
	}
	if _, err := a.unchanged(ctx, o, step.Expect); err != nil {
		return err
	}
	return a.ask(o, step.Via, func(address string) error {
		if step.EndDowngrade {
			if err := a.Etcd.CancelDowngrade(ctx, address); err != nil {
				return err
			}
		}
		return a.Etcd.AddLearner(ctx, address, o.Render.PeerURL(step.Member))
	})
}

// unused makes certain that nothing bears the names of what a new member is to have.
func (a *Actor) unused(ctx context.Context, c render.Cluster, member string) error {
	for _, volume := range []string{render.DataVolume, render.WALVolume} {
		name := client.ObjectKey{Namespace: c.Namespace, Name: render.ClaimName(volume, member)}
		if err := a.free(ctx, c, name, &corev1.PersistentVolumeClaim{}); err != nil {
			return err
		}
	}
	return a.free(ctx, c, client.ObjectKey{Namespace: c.Namespace, Name: member}, &appsv1.StatefulSet{})
}

// free makes certain that nothing bears a name that a new member is to have. What is ours the next observation shows.
func (a *Actor) free(ctx context.Context, c render.Cluster, name client.ObjectKey, object client.Object) error {
	err := a.absent(ctx, name, object)
	var stale *StaleError
	if errors.As(err, &stale) && object.GetLabels()[render.LabelCluster] != c.Name {
		kind := "PersistentVolumeClaim"
		if _, ok := object.(*appsv1.StatefulSet); ok {
			kind = "StatefulSet"
		}
		return &NameTakenError{Kind: kind, Namespace: name.Namespace, Name: name.Name}
	}
	return err
}

func (a *Actor) absent(ctx context.Context, name client.ObjectKey, object client.Object) error {
	err := a.Live.Get(ctx, name, object)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading %T %s: %w", object, name, err)
	}
	return &StaleError{What: fmt.Sprintf("%T %s exists already", object, name)}
}

// removeMember removes a member, if the member list is still the one that was decided on and enough of the other voters
// serve at this moment.
func (a *Actor) removeMember(ctx context.Context, o observe.Observed, step core.RemoveMember) error {
	live, err := a.unchanged(ctx, o, step.Expect)
	if err != nil {
		return err
	}
	needs := step.Needs
	if votes(live.List, step.ID) {
		// A learner may have become a voter meanwhile, it or another one.
		needs = max(needs, core.Quorum(voters(live.List)-1))
	}
	serving := servingVoters(live, step.ID)
	if len(serving) < needs {
		return &StaleError{What: fmt.Sprintf("only %d other voters serve by now, %d are needed", len(serving), needs)}
	}
	if step.IfOthersAgree {
		if err := a.agree(ctx, o, step.Member, serving); err != nil {
			return err
		}
	}
	return a.ask(o, step.Via, func(address string) error { return a.Etcd.Remove(ctx, address, step.ID) })
}

// promoteMember makes a learner a voter, if the member list is still the one that was decided on, if it serves at this moment,
// and if enough voters do: from then on its vote is needed.
func (a *Actor) promoteMember(ctx context.Context, o observe.Observed, step core.PromoteMember) error {
	live, err := a.unchanged(ctx, o, step.Expect)
	if err != nil {
		return err
	}
	needs := max(step.Needs, core.Quorum(voters(live.List)+1)-1)
	serving := len(servingVoters(live, step.ID))
	switch {
	case votes(live.List, step.ID):
		return nil
	case serving < needs:
		return &StaleError{What: fmt.Sprintf("only %d voters serve by now, %d are needed", serving, needs)}
	case !slices.ContainsFunc(live.Statuses, func(s core.Status) bool { return s.ID == step.ID && serves(s, live.List) }):
		return &StaleError{What: fmt.Sprintf("member %s does not serve any more", step.Member)}
	}
	return a.ask(o, step.Via, func(address string) error { return a.Etcd.Promote(ctx, address, step.ID) })
}

// serves is whether a member answers, knows a leader, and belongs to the cluster that has the list.
func serves(s core.Status, list core.MemberList) bool {
	return s.Answered && s.LeaderID != "" && s.ClusterID == list.ClusterID
}

// servingVoters are the voters that serve at this moment, without one.
func servingVoters(live core.Etcd, without string) []core.Status {
	var serving []core.Status
	for _, s := range live.Statuses {
		if serves(s, live.List) && !s.Learner && s.ID != without {
			serving = append(serving, s)
		}
	}
	return serving
}

// votes is whether a member is listed as a voter.
func votes(list core.MemberList, id string) bool {
	return slices.ContainsFunc(list.Members, func(l core.Listed) bool { return l.ID == id && !l.Learner })
}

// voters counts the voters that are listed.
func voters(list core.MemberList) int {
	count := 0
	for _, l := range list.Members {
		if !l.Learner {
			count++
		}
	}
	return count
}

// agree makes certain that the members that stay hold the same data: whoever differs from them is the one that is wrong.
func (a *Actor) agree(ctx context.Context, o observe.Observed, member string, others []core.Status) error {
	if len(others) == 0 {
		return &StaleError{What: "no other member serves by now"}
	}
	var endpoints []etcd.Endpoint
	revision := others[0].Revision
	for _, s := range others {
		revision = min(revision, s.Revision)
		for _, endpoint := range o.Endpoints {
			if endpoint.Member == s.Member {
				endpoints = append(endpoints, endpoint)
			}
		}
	}
	difference, err := a.Etcd.Agree(ctx, endpoints, revision)
	if err != nil {
		return &PutOffError{Err: err}
	}
	if difference != "" {
		return fmt.Errorf("member %s differs from the others, and these among themselves: %s; find out which data is right, and name the members to be replaced in the annotation %s of EtcdCluster %s/%s", member, difference, render.AnnotationReplaceMembers, o.Render.Namespace, o.Render.Name)
	}
	return nil
}

// unchanged reads the member list linearizably and compares it with the IDs that a decision was made from.
func (a *Actor) unchanged(ctx context.Context, o observe.Observed, expect []string) (core.Etcd, error) {
	live := a.Etcd.Observe(ctx, o.Endpoints)
	if !live.List.Known {
		return live, &StaleError{What: "the member list cannot be read any more"}
	}
	var ids []string
	for _, l := range live.List.Members {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	if !slices.Equal(ids, expect) {
		return live, &StaleError{What: "the members have changed"}
	}
	return live, nil
}

// unlisted makes certain, by a linearizable read, that a member is not in the list of this cluster.
func (a *Actor) unlisted(ctx context.Context, o observe.Observed, via, member string) error {
	return a.ask(o, via, func(address string) error {
		list, err := a.Etcd.MemberList(ctx, address)
		if err != nil {
			return err
		}
		if list.ClusterID != o.Etcd.List.ClusterID {
			return &StaleError{What: "another cluster answers"}
		}
		for _, l := range list.Members {
			// etcd's own name counts too: a peer URL may have been changed by hand.
			if o.Render.MemberOf(l.PeerURL) == member || l.Name == member || l.PeerURL == "" {
				return &StaleError{What: fmt.Sprintf("member %s is in the member list", member)}
			}
		}
		return nil
	})
}

// ask finds the address of the member that is to be asked. What etcd refuses for now is put off.
func (a *Actor) ask(o observe.Observed, via string, call func(address string) error) error {
	for _, endpoint := range o.Endpoints {
		if endpoint.Member == via {
			err := call(endpoint.Address)
			if err != nil && a.Etcd.IsRefusal(err) {
				return &PutOffError{Err: err}
			}
			return err
		}
	}
	return &StaleError{What: fmt.Sprintf("member %s does not run any more", via)}
}

// deleteMember deletes the StatefulSet of a member that is not in the member list, and with it the pod.
func (a *Actor) deleteMember(ctx context.Context, o observe.Observed, step core.DeleteMember) error {
	if err := a.unlisted(ctx, o, step.Via, step.Member); err != nil {
		return err
	}
	return a.deleteWorkload(ctx, o.Render, step.Member, step.WorkloadUID)
}

// deleteWorkload deletes the StatefulSet of a member.
func (a *Actor) deleteWorkload(ctx context.Context, c render.Cluster, member, uid string) error {
	workload := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: member}}
	return a.deleteExactly(ctx, "StatefulSet", workload, types.UID(uid), client.PropagationPolicy(metav1.DeletePropagationBackground))
}

// retireVolumes records on the claims of a removed member that what they hold must never run again.
func (a *Actor) retireVolumes(ctx context.Context, o observe.Observed, step core.RetireVolumes) error {
	if err := a.unlisted(ctx, o, step.Via, step.Member); err != nil {
		return err
	}
	for _, volume := range step.Volumes {
		err := a.patchClaim(ctx, o.Render, volume, func(claim *corev1.PersistentVolumeClaim) {
			claim.Annotations[render.AnnotationRemoved] = render.Removed
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteVolumes deletes the claims of a removed member, once its pod is gone and the claims say what they are.
func (a *Actor) deleteVolumes(ctx context.Context, o observe.Observed, step core.DeleteVolumes) error {
	if err := a.unlisted(ctx, o, step.Via, step.Member); err != nil {
		return err
	}
	pod := client.ObjectKey{Namespace: o.Render.Namespace, Name: render.PodName(step.Member)}
	if err := a.absent(ctx, pod, &corev1.Pod{}); err != nil {
		return err
	}
	for _, volume := range step.Volumes {
		claim := &corev1.PersistentVolumeClaim{}
		err := a.Live.Get(ctx, client.ObjectKey{Namespace: o.Render.Namespace, Name: volume.Name}, claim)
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return fmt.Errorf("reading claim %s/%s: %w", o.Render.Namespace, volume.Name, err)
		case string(claim.UID) != volume.UID, claim.Annotations[render.AnnotationRemoved] != render.Removed, claim.Annotations[render.AnnotationOwnerUID] != string(o.Render.UID):
			return &StaleError{What: fmt.Sprintf("claim %s is not that of a removed member", claim.Name)}
		}
		err = a.Client.Delete(ctx, claim, client.Preconditions{UID: &claim.UID, ResourceVersion: &claim.ResourceVersion})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
	}
	return nil
}
