package act

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// applyMember applies the StatefulSet of a member. One that the decision saw is not made again if it is gone by now. Members are
// stopped only if none is to run still, and none is let run whose data a restore is about to replace: its etcd would write into
// what is moved away beneath it.
func (a *Actor) applyMember(ctx context.Context, c render.Cluster, step core.ApplyMember) error {
	cluster := render.Cluster{EtcdCluster: &v1alpha1.EtcdCluster{}}
	err := a.Live.Get(ctx, client.ObjectKeyFromObject(c.EtcdCluster), cluster.EtcdCluster)
	switch {
	case err != nil:
		return fmt.Errorf("reading EtcdCluster %s/%s: %w", c.Namespace, c.Name, err)
	case step.Stopped && !cluster.Sleeps():
		return &StaleError{What: "members of the cluster are to run again"}
	case !step.Stopped && cluster.HeldBy() != "":
		return &StaleError{What: fmt.Sprintf("EtcdRestore %s holds the cluster by now", cluster.HeldBy())}
	case cluster.Annotations[render.AnnotationRestoredClusterID] != c.Annotations[render.AnnotationRestoredClusterID]:
		return &StaleError{What: "the cluster has been given other data"}
	}
	live := &appsv1.StatefulSet{}
	err = a.Live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: step.Member}, live)
	switch {
	case apierrors.IsNotFound(err) && step.Made:
		return &StaleError{What: fmt.Sprintf("StatefulSet %s is gone", step.Member)}
	case err == nil:
		c = c.Fitting(live)
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("reading StatefulSet %s/%s: %w", c.Namespace, step.Member, err)
	case step.Start == core.StartSealed:
		if c, err = a.onItsVolumes(ctx, c, step.Member); err != nil {
			return err
		}
	}
	return a.apply(ctx, c, c.StatefulSet(step))
}

// onItsVolumes is the cluster as it fits the volumes of a member that has run: whether its log is on one of its own was decided
// when they were made, and its etcd has to go on looking there whatever the spec says by now.
func (a *Actor) onItsVolumes(ctx context.Context, c render.Cluster, member string) (render.Cluster, error) {
	claims := map[string]*corev1.PersistentVolumeClaim{}
	for _, volume := range []string{render.DataVolume, render.WALVolume} {
		claim := &corev1.PersistentVolumeClaim{}
		name := client.ObjectKey{Namespace: c.Namespace, Name: render.ClaimName(volume, member)}
		if err := a.Live.Get(ctx, name, claim); err == nil {
			claims[volume] = claim
		} else if !apierrors.IsNotFound(err) {
			return c, fmt.Errorf("reading claim %s: %w", name, err)
		}
	}
	if claims[render.DataVolume] == nil {
		return c, nil
	}
	return c.WithLogOn(claims[render.WALVolume]), nil
}

// restartMember deletes a member's pod, if it is still the one that was decided about and if what allowed that is
// still true of the live pods, and of etcd. One that the others can spare is evicted: so the API server sees to it that a
// drain does not take another one at the same moment.
func (a *Actor) restartMember(ctx context.Context, o observe.Observed, step core.RestartMember) error {
	target, needs, err := a.mayRestart(ctx, o, step)
	if err == nil && step.FlushLog > 0 {
		err = a.flushLog(ctx, o, step.Member, step.FlushLog)
		if err == nil {
			target, needs, err = a.mayRestart(ctx, o, step)
		}
	}
	if err != nil {
		return err
	}
	if needs > 0 {
		if done, err := a.evict(ctx, target); done || err != nil {
			return err
		}
	}
	// With the resource version the pod is deleted only if it is just as it was read.
	preconditions := client.Preconditions{UID: &target.UID, ResourceVersion: &target.ResourceVersion}
	if err := a.Client.Delete(ctx, target, preconditions); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting pod %s/%s: %w", target.Namespace, target.Name, err)
	}
	return nil
}

// flushLog brings the log of a member behind a snapshot.
func (a *Actor) flushLog(ctx context.Context, o observe.Observed, member string, entries int) error {
	return a.ask(o, member, func(address string) error { return a.Etcd.FlushLog(ctx, address, entries) })
}

// pods are all that bear the labels of a cluster, as they are now.
func (a *Actor) pods(ctx context.Context, c render.Cluster) ([]corev1.Pod, error) {
	var pods corev1.PodList
	if err := a.Live.List(ctx, &pods, client.InNamespace(c.Namespace), client.MatchingLabels(c.Selector())); err != nil {
		return nil, fmt.Errorf("listing the pods of %s/%s: %w", c.Namespace, c.Name, err)
	}
	return pods.Items, nil
}

// mayRestart finds the pod to restart, and checks what allowed that. It says how many others have to serve meanwhile.
func (a *Actor) mayRestart(ctx context.Context, o observe.Observed, step core.RestartMember) (target *corev1.Pod, needs int, err error) {
	c := o.Render
	pods, err := a.pods(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	ready, targetRuns, running := 0, false, map[string]bool{}
	for i := range pods {
		pod := &pods[i]
		if !observe.IsMemberPod(c, pod) {
			continue
		}
		seen := observe.ObservePod(pod)
		if seen.Ready {
			ready++
		}
		if pod.Name == render.PodName(step.Member) {
			target, targetRuns = pod, seen.Running
		} else if seen.Running && !seen.Deleting {
			running[pod.Name] = true
		}
	}
	switch {
	case target == nil || string(target.UID) != step.PodUID:
		return nil, 0, &StaleError{What: fmt.Sprintf("pod %s is another one by now", render.PodName(step.Member))}
	case target.DeletionTimestamp != nil:
		return nil, 0, &StaleError{What: fmt.Sprintf("pod %s is being stopped already", target.Name)}
	case step.OnlyIfDown && targetRuns:
		return nil, 0, &StaleError{What: fmt.Sprintf("pod %s runs by now", target.Name)}
	case step.OnlyIfNoneReady && ready > 0:
		return nil, 0, &StaleError{What: fmt.Sprintf("%d members are ready by now", ready)}
	}
	if !step.OnlyIfDown && !step.OnlyIfNoneReady {
		if needs, err = a.spared(ctx, o, step, running); err != nil {
			return nil, 0, err
		}
	}
	return target, needs, nil
}

// spared makes certain that the others serve on without a member: as many voters as it was decided, or as there have to be by
// the list as it is by now. They run, answer, know a leader and belong to this cluster: an address may be someone else's by now.
func (a *Actor) spared(ctx context.Context, o observe.Observed, step core.RestartMember, running map[string]bool) (needs int, err error) {
	live := a.Etcd.Observe(ctx, o.Endpoints)
	if !live.List.Known || live.List.ClusterID != o.Etcd.List.ClusterID {
		return 0, &StaleError{What: "the member list cannot be read any more"}
	}
	needs, count := step.Needs, voters(live.List)
	voting := slices.ContainsFunc(live.List.Members, func(l core.Listed) bool {
		return !l.Learner && o.Render.MemberOf(l.PeerURL) == step.Member
	})
	if voting && count > 1 {
		needs = max(needs, core.Quorum(count))
	}
	others := 0
	for _, s := range servingVoters(live, "") {
		if running[render.PodName(s.Member)] {
			others++
		}
	}
	if others < needs {
		return 0, &StaleError{What: fmt.Sprintf("only %d other voters serve by now, %d are needed", others, needs)}
	}
	return needs, nil
}

// recreateMember deletes a member none of whose claims has ever had a volume; that is asked of the API server again
// for each claim.
func (a *Actor) recreateMember(ctx context.Context, c render.Cluster, step core.RecreateMember) error {
	var claims []*corev1.PersistentVolumeClaim
	for _, volume := range step.Volumes {
		claim := &corev1.PersistentVolumeClaim{}
		err := a.Live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: volume.Name}, claim)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading claim %s/%s: %w", c.Namespace, volume.Name, err)
		}
		if string(claim.UID) != volume.UID || claim.Spec.VolumeName != "" || claim.Status.Phase == corev1.ClaimBound || claim.Status.Phase == corev1.ClaimLost {
			return &StaleError{What: fmt.Sprintf("claim %s has a volume by now", claim.Name)}
		}
		claims = append(claims, claim)
	}
	if len(step.Volumes) == 0 {
		var made corev1.PersistentVolumeClaimList
		labels := client.MatchingLabels{render.LabelCluster: c.Name, render.LabelMember: step.Member}
		if err := a.Live.List(ctx, &made, client.InNamespace(c.Namespace), labels); err != nil {
			return fmt.Errorf("listing the claims of member %s/%s: %w", c.Namespace, step.Member, err)
		}
		if len(made.Items) > 0 {
			return &StaleError{What: fmt.Sprintf("member %s has claims by now", step.Member)}
		}
	}
	// The claims first: if this is cut off, the StatefulSet still says that the member is to be made again. A claim stays
	// until the pod that waits for it is gone.
	for _, claim := range claims {
		err := a.Client.Delete(ctx, claim, client.Preconditions{UID: &claim.UID, ResourceVersion: &claim.ResourceVersion})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
	}
	if step.WorkloadUID != "" {
		return a.deleteWorkload(ctx, c, step.Member, step.WorkloadUID)
	}
	return nil
}

// markVolumes patches what the operator records on claims. Claims are the StatefulSet controller's objects: they are
// patched, not applied, so that an owner reference can be taken away again.
func (a *Actor) markVolumes(ctx context.Context, c render.Cluster, step core.MarkVolumes) error {
	for _, volume := range step.Volumes {
		err := a.patchClaim(ctx, c, volume, func(claim *corev1.PersistentVolumeClaim) {
			claim.Annotations[render.AnnotationOwnerUID] = string(c.UID)
			if volume.ClusterID != "" {
				claim.Annotations[render.AnnotationClusterID] = volume.ClusterID
			}
			if volume.Version != "" {
				claim.Annotations[render.AnnotationVersion] = volume.Version
			}
			if volume.Since36 > 0 {
				claim.Annotations[render.AnnotationSince36] = strconv.FormatUint(volume.Since36, 10)
			} else {
				delete(claim.Annotations, render.AnnotationSince36)
			}
			render.RecordPeers(claim, volume.Peers)
			setKept(claim, c, volume.KeptWanted)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// patchClaim changes the claim of a volume, if it is still the one that was decided about.
func (a *Actor) patchClaim(ctx context.Context, c render.Cluster, volume core.Volume, change func(*corev1.PersistentVolumeClaim)) error {
	claim := &corev1.PersistentVolumeClaim{}
	err := a.Live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: volume.Name}, claim)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading claim %s/%s: %w", c.Namespace, volume.Name, err)
	case string(claim.UID) != volume.UID:
		return &StaleError{What: fmt.Sprintf("claim %s is another one by now", claim.Name)}
	}
	before := claim.DeepCopy()
	if claim.Annotations == nil {
		claim.Annotations = map[string]string{}
	}
	change(claim)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := a.Client.Patch(ctx, claim, patch, client.FieldOwner(render.FieldManager)); err != nil {
		return fmt.Errorf("changing claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// setKept makes a claim outlive its EtcdCluster, or go with it.
func setKept(claim *corev1.PersistentVolumeClaim, c render.Cluster, kept bool) {
	var owners []metav1.OwnerReference
	for _, owner := range claim.OwnerReferences {
		if owner.Kind != "EtcdCluster" {
			owners = append(owners, owner)
		}
	}
	if !kept {
		owners = append(owners, c.ClaimOwner())
	}
	claim.OwnerReferences = owners
}

func (a *Actor) deleteConfig(ctx context.Context, c render.Cluster, step core.DeleteConfig) error {
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: step.Config.Name}}
	return a.deleteExactly(ctx, "ConfigMap", config, types.UID(step.Config.UID))
}

// deleteObject deletes a supporting object of ours that should not exist any more.
func (a *Actor) deleteObject(ctx context.Context, c render.Cluster, step core.DeleteObject) error {
	surplus := c.Surplus()
	i := slices.IndexFunc(surplus, func(object client.Object) bool {
		return object.GetObjectKind().GroupVersionKind().Kind == step.Kind && object.GetName() == step.Name
	})
	if i < 0 {
		return fmt.Errorf("%s %s/%s is none that a cluster may have too many of", step.Kind, c.Namespace, step.Name)
	}
	live, err := render.Empty(surplus[i])
	if err != nil {
		return err
	}
	switch err := a.Live.Get(ctx, client.ObjectKeyFromObject(surplus[i]), live); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading %s %s/%s: %w", step.Kind, c.Namespace, step.Name, err)
	case !metav1.IsControlledBy(live, c.EtcdCluster):
		return &StaleError{What: fmt.Sprintf("%s %s is not ours", step.Kind, step.Name)}
	}
	return a.deleteExactly(ctx, step.Kind, live, live.GetUID())
}
