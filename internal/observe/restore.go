package observe

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// ObservedRestore is the observation of an EtcdRestore, with what acting on it needs.
type ObservedRestore struct {
	restores.Observation
	Render render.Restore
	// Jobs are the UIDs of the Jobs that there are.
	Jobs map[restores.AgentKey]types.UID
}

// ObserveRestore reads all about an EtcdRestore. The object is to be read live, as is all that it decides from here about running
// members: what is moved beneath a running one is lost.
func (o *Observer) ObserveRestore(ctx context.Context, restore *v1alpha1.EtcdRestore) (ObservedRestore, error) {
	built := render.Restore{EtcdRestore: restore, Agents: o.Agents, Logs: map[string]bool{}, Reached: map[string]string{}}
	observed := ObservedRestore{Jobs: map[restores.AgentKey]types.UID{}}
	observed.Observation = restores.Observation{
		Now: o.Now(), Name: restore.Name, Generation: restore.Generation, Deleting: !restore.DeletionTimestamp.IsZero(),
		Held:       controllerutil.ContainsFinalizer(restore, render.Finalizer),
		Completion: restores.Completion(restore.Spec.Completion), SafetyWanted: restore.Spec.SafetyBackup != v1alpha1.SafetySkip,
		Claims: map[string]restores.Claim{}, Agents: map[restores.AgentKey]restores.Agent{}, Recorded: RecordedRestore(restore),
	}
	cluster := &v1alpha1.EtcdCluster{}
	switch err := o.Live.Get(ctx, client.ObjectKey{Namespace: restore.Namespace, Name: restore.Spec.ClusterRef.Name}, cluster); {
	case err == nil:
		if cluster, err = render.AsRestored(cluster); err != nil {
			return ObservedRestore{}, err
		}
		built.Cluster = render.Cluster{EtcdCluster: cluster, Domain: o.Domain, Operator: o.Operator}
		if observed.Cluster, err = o.clusterToRestore(ctx, built.Cluster); err != nil {
			return ObservedRestore{}, err
		}
	case !apierrors.IsNotFound(err):
		return ObservedRestore{}, fmt.Errorf("reading EtcdCluster %s/%s: %w", restore.Namespace, restore.Spec.ClusterRef.Name, err)
	}
	// What has nothing yet loses nothing. But all volumes have to be given the same, while there may be more by the time of each.
	observed.CheckWanted = !observed.Cluster.Begins || restore.Spec.Latest
	if err := o.backupToRestore(ctx, &built, &observed); err != nil {
		return ObservedRestore{}, err
	}
	if !restores.Begun(observed.Recorded.Phase) && !restores.Over(observed.Recorded.Phase) {
		var err error
		if observed.Ahead, err = o.ahead(ctx, restore); err != nil {
			return ObservedRestore{}, err
		}
	}
	observed.Render = built
	if err := o.restoreAgents(ctx, restore, &observed); err != nil || built.Cluster.EtcdCluster == nil {
		return observed, err
	}
	if err := o.safety(ctx, built, &observed); err != nil {
		return ObservedRestore{}, err
	}
	for _, member := range observed.Recorded.Members {
		if err := o.claimsToRestore(ctx, built, &observed, member); err != nil {
			return ObservedRestore{}, err
		}
	}
	return observed, nil
}

// ahead is another EtcdRestore into the same cluster that comes first: one that works on it, or that was made before.
func (o *Observer) ahead(ctx context.Context, restore *v1alpha1.EtcdRestore) (core.Problem, error) {
	others, err := o.restoresInto(ctx, restore.Namespace, restore.Spec.ClusterRef.Name)
	if err != nil {
		return core.Problem{}, err
	}
	for i := range others {
		other := &others[i]
		if other.Name != restore.Name && (restores.Begun(string(other.Status.Phase)) || before(other, restore)) {
			return notOver(other), nil
		}
	}
	return core.Problem{}, nil
}

// before is whether an EtcdRestore was made before another one. One that is still to be made has no time.
func before(a, b *v1alpha1.EtcdRestore) bool {
	made, other := a.CreationTimestamp, b.CreationTimestamp
	if made.Equal(&other) {
		return a.Name < b.Name
	}
	return other.IsZero() || made.Before(&other)
}

func notOver(r *v1alpha1.EtcdRestore) core.Problem {
	return core.Problem{Reason: restores.ReasonWaiting, Message: restores.NotOver(r.Name, r.Spec.ClusterRef.Name, string(r.Status.Phase))}
}

// restoresInto are the EtcdRestores into a cluster that are not over, by their names.
func (o *Observer) restoresInto(ctx context.Context, namespace, cluster string) (unfinished []v1alpha1.EtcdRestore, err error) {
	var all v1alpha1.EtcdRestoreList
	if err := o.Live.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing the EtcdRestores of namespace %s: %w", namespace, err)
	}
	for i := range all.Items {
		if r := &all.Items[i]; r.Spec.ClusterRef.Name == cluster && !restores.Over(string(r.Status.Phase)) {
			unfinished = append(unfinished, *r)
		}
	}
	slices.SortFunc(unfinished, func(a, b v1alpha1.EtcdRestore) int { return strings.Compare(a.Name, b.Name) })
	return unfinished, nil
}

// clusterToRestore is what the EtcdCluster is like.
func (o *Observer) clusterToRestore(ctx context.Context, c render.Cluster) (restores.Cluster, error) {
	status := &c.Status
	seen := restores.Cluster{
		Exists: true, UID: string(c.UID), Deleting: !c.DeletionTimestamp.IsZero(), Paused: c.Spec.Paused, InMemory: c.Spec.Storage.Medium == v1alpha1.StorageMediumMemory,
		Holder: c.HeldBy(), Rests: c.RestsFor(), Restored: c.Annotations[render.AnnotationRestoredClusterID], ClusterID: status.ClusterID,
		Available: meta.IsStatusConditionTrue(status.Conditions, core.Available),
	}
	var err error
	if seen.Begins, err = o.begins(ctx, c); err != nil {
		return seen, err
	}
	for i := range status.Members {
		m := &status.Members[i]
		seen.Members = append(seen.Members, m.Name)
		seen.Serves = seen.Serves || m.Healthy && m.Role != core.RoleLearner
	}
	if seen.Begins {
		seen.Members = c.FirstMembers()
	}
	if available := meta.FindStatusCondition(status.Conditions, core.Available); available != nil {
		seen.Says = available.Message
	}
	seen.Stopped, err = o.stopped(ctx, c)
	return seen, err
}

// begins is whether a cluster waits for its first data. One that was made again does not, although its status is as empty: what an
// earlier one of its name has left comes first. What its first data have left does not.
func (o *Observer) begins(ctx context.Context, c render.Cluster) (bool, error) {
	if !c.Begins() || c.BeginsAgain() {
		return c.Begins(), nil
	}
	claims, err := claims(ctx, o.Live, c)
	if err != nil || c.Inherits(claims) {
		return false, err
	}
	var workloads appsv1.StatefulSetList
	if err := o.Live.List(ctx, &workloads, client.InNamespace(c.Namespace), client.MatchingLabels(c.Selector())); err != nil {
		return false, fmt.Errorf("listing the StatefulSets of %s/%s: %w", c.Namespace, c.Name, err)
	}
	return len(workloads.Items) == 0, nil
}

// stopped is whether it is certain that no member runs, nor will: the controller of their StatefulSets has seen that there is to be none,
// and there is none.
func (o *Observer) stopped(ctx context.Context, c render.Cluster) (bool, error) {
	ours := []client.ListOption{client.InNamespace(c.Namespace), client.MatchingLabels(c.Selector())}
	var workloads appsv1.StatefulSetList
	if err := o.Live.List(ctx, &workloads, ours...); err != nil {
		return false, fmt.Errorf("listing the StatefulSets of %s/%s: %w", c.Namespace, c.Name, err)
	}
	for i := range workloads.Items {
		w := &workloads.Items[i]
		if w.Spec.Replicas == nil || *w.Spec.Replicas != 0 || w.Status.ObservedGeneration < w.Generation || w.Status.Replicas != 0 {
			return false, nil
		}
	}
	var pods corev1.PodList
	if err := o.Live.List(ctx, &pods, ours...); err != nil {
		return false, fmt.Errorf("listing the pods of %s/%s: %w", c.Namespace, c.Name, err)
	}
	for i := range pods.Items {
		if IsMemberPod(c, &pods.Items[i]) {
			return false, nil
		}
	}
	return true, nil
}

// backupToRestore is whether the backup can be restored.
func (o *Observer) backupToRestore(ctx context.Context, built *render.Restore, observed *ObservedRestore) error {
	name := built.Spec.BackupRef.Name
	backup := &v1alpha1.EtcdBackup{}
	switch err := o.Live.Get(ctx, client.ObjectKey{Namespace: built.Namespace, Name: name}, backup); {
	case apierrors.IsNotFound(err):
		observed.Backup = core.Problem{Reason: restores.ReasonWaiting, Message: fmt.Sprintf("EtcdBackup %s, which spec.backupRef names, does not exist: make it", name)}
		return nil
	case err != nil:
		return fmt.Errorf("reading EtcdBackup %s/%s: %w", built.Namespace, name, err)
	}
	built.Backup = render.Backup{EtcdBackup: backup, Agents: o.Agents}
	own := &v1alpha1.EtcdCluster{}
	if err := o.Cache.Get(ctx, client.ObjectKey{Namespace: built.Namespace, Name: backup.Spec.ClusterRef.Name}, own); err == nil {
		built.Backup.Cluster = render.Cluster{EtcdCluster: own, Domain: o.Domain, Operator: o.Operator}
	}
	recorded := RecordedBackup(backup)
	observed.TrialTook = recorded.Took
	complete, verified := recorded.Condition(backups.Complete), recorded.Condition(backups.Verified)
	refuse := func(format string, values ...any) {
		observed.Refused = core.Problem{Reason: restores.ReasonRefused, Message: fmt.Sprintf("EtcdBackup %s ", name) + fmt.Sprintf(format, values...)}
	}
	switch {
	case !backup.DeletionTimestamp.IsZero():
		refuse("is being deleted: choose another one")
	case recorded.Phase == backups.PhaseFailed:
		refuse("has failed: choose another one (%s)", complete.Message)
	case verified.Status == core.False:
		refuse("is not what the cluster had: choose another one (%s)", verified.Message)
	case complete.Status != core.True:
		observed.Backup = core.Problem{Reason: restores.ReasonWaiting, Message: fmt.Sprintf("EtcdBackup %s is not complete: %s", name, complete.Message)}
	case backup.Status.Encryption != nil && built.Backup.Identity() == "":
		refuse("is encrypted: name a Secret with a private key in its spec.encryption.identitySecret, and make another EtcdRestore")
	case built.Cluster.EtcdCluster != nil && !follows(backup.Status.Version, built.Version()):
		refuse("was made of etcd %s, whose data etcd %s cannot start with: it has to be of the same minor, or the next", backup.Status.Version, built.Version())
	default:
		observed.Backup = o.storeProblem(ctx, built.Backup)
	}
	return nil
}

// follows is whether a version is of the same minor as another, or of the next one.
func follows(before, version string) bool {
	minor := func(version string) int {
		parts := strings.Split(version, ".")
		if len(parts) < 2 || parts[0] != "3" {
			return -10
		}
		n, err := strconv.Atoi(parts[1])
		if err != nil {
			return -10
		}
		return n
	}
	step := minor(version) - minor(before)
	return minor(before) >= 0 && (step == 0 || step == 1)
}

// safety is what has become of the backup that is made before.
func (o *Observer) safety(ctx context.Context, built render.Restore, observed *ObservedRestore) error {
	observed.Safety.Name = built.SafetyBackup()
	backup := &v1alpha1.EtcdBackup{}
	switch err := o.Live.Get(ctx, client.ObjectKey{Namespace: built.Namespace, Name: observed.Safety.Name}, backup); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading EtcdBackup %s/%s: %w", built.Namespace, observed.Safety.Name, err)
	}
	recorded := RecordedBackup(backup)
	complete := recorded.Condition(backups.Complete)
	s := &observed.Safety
	s.Exists, s.Foreign, s.Says = true, backup.Annotations[render.AnnotationSafetyFor] != string(built.UID), complete.Message
	s.Complete, s.Failed = complete.Status == core.True, recorded.Phase == backups.PhaseFailed
	return nil
}

// claimsToRestore reads the claims of a member.
func (o *Observer) claimsToRestore(ctx context.Context, built render.Restore, observed *ObservedRestore, member string) error {
	known, first := restores.Claim{}, true
	for _, volume := range []string{render.DataVolume, render.WALVolume} {
		claim := &corev1.PersistentVolumeClaim{}
		name := client.ObjectKey{Namespace: built.Namespace, Name: render.ClaimName(volume, member)}
		switch err := o.Live.Get(ctx, name, claim); {
		case apierrors.IsNotFound(err):
			// Whether the log has a volume of its own was decided when the member was made.
			known.Missing = known.Missing || volume == render.DataVolume
			if volume == render.WALVolume {
				built.Logs[member] = known.Missing && built.Cluster.Spec.Storage.WAL != nil
			}
			continue
		case err != nil:
			return fmt.Errorf("reading claim %s: %w", name, err)
		}
		if volume == render.WALVolume {
			built.Logs[member] = true
		} else {
			built.Reached[member] = built.Cluster.ReachedAs(member, claim)
		}
		known.Leaving = known.Leaving || claim.DeletionTimestamp != nil
		if mark := claim.Annotations[render.AnnotationClusterID]; first {
			known.ClusterID, first = mark, false
		} else if mark != known.ClusterID {
			known.ClusterID = ""
		}
	}
	if built.Reached[member] == "" {
		built.Reached[member] = built.Cluster.ReachedAs(member, nil)
	}
	observed.Claims[member] = known
	return nil
}

// restoreAgents reads the Jobs.
func (o *Observer) restoreAgents(ctx context.Context, restore *v1alpha1.EtcdRestore, observed *ObservedRestore) error {
	keys := []restores.AgentKey{{Kind: restores.Check}, {Kind: restores.Compare}}
	for i := range observed.Recorded.Members {
		for _, kind := range []restores.Kind{restores.Fill, restores.RollBack, restores.Confirm} {
			keys = append(keys, restores.AgentKey{Kind: kind, Index: i})
		}
	}
	next := map[string]restores.Kind{
		restores.Checking: restores.Check, restores.Filling: restores.Fill,
		restores.Comparing: restores.Compare, restores.Confirming: restores.Confirm, restores.RollingBack: restores.RollBack,
	}[observed.Recorded.Phase]
	addresses := map[restores.AgentKey]string{}
	for _, key := range keys {
		j, err := o.job(ctx, client.ObjectKey{Namespace: restore.Namespace, Name: restores.JobName(restore.Name, key)}, restore.UID, key.Kind == next)
		if err != nil {
			return err
		}
		if !j.exists {
			continue
		}
		seen := restores.Agent{
			Exists: true, Foreign: j.foreign, Leaving: j.leaving, Ended: j.ended, Failed: j.failed, Differs: j.failed && j.result.Differs, Trouble: j.trouble,
		}
		if checked := j.result.Checked; checked != nil {
			seen.Checked = &restores.Checked{Target: checked.Target}
		}
		if filled := j.result.Filled; filled != nil {
			seen.Filled = &restores.Filled{ClusterID: filled.ClusterID, Revision: filled.Content.Revision, Keys: filled.Content.Keys, Digest: filled.Content.Digest}
		}
		observed.Agents[key], observed.Jobs[key] = seen, j.uid
		if j.address != "" && key.Kind == next && (next == restores.Check || next == restores.Fill) {
			addresses[key] = j.address
		}
	}
	o.progress(ctx, addresses, observed.Agents)
	return nil
}

// RecordedRestore reads the report that was last written.
func RecordedRestore(restore *v1alpha1.EtcdRestore) restores.Report {
	status := &restore.Status
	report := restores.Report{
		ObservedGeneration: status.ObservedGeneration, Phase: string(status.Phase), ClusterUID: status.ClusterUID, Members: status.Members,
		EarlierID: status.EarlierClusterID, ClusterID: status.ClusterID, SafetyBackup: status.SafetyBackup,
		Target: status.TargetRevision, Revision: status.Revision, Keys: status.Keys, Digest: status.Digest,
		StartedAt: timeOf(status.StartedAt), StoppedAt: timeOf(status.StoppedAt),
		AvailableAt: timeOf(status.AvailableAt), CompletedAt: timeOf(status.CompletedAt),
	}
	if p := status.Progress; p != nil {
		report.Read, report.Total = p.Read.Value(), p.Total.Value()
	}
	if c := meta.FindStatusCondition(status.Conditions, restores.Complete); c != nil {
		report.Condition = readCondition(*c)
	}
	return report
}

// RestoreStatus writes a report as the status of an EtcdRestore.
func RestoreStatus(report restores.Report) v1alpha1.EtcdRestoreStatus {
	status := v1alpha1.EtcdRestoreStatus{
		ObservedGeneration: report.ObservedGeneration, Phase: v1alpha1.RestorePhase(report.Phase), ClusterUID: report.ClusterUID, Members: report.Members,
		EarlierClusterID: report.EarlierID, ClusterID: report.ClusterID, SafetyBackup: report.SafetyBackup,
		TargetRevision: report.Target, Revision: report.Revision, Keys: report.Keys, Digest: report.Digest,
		StartedAt: timeTo(report.StartedAt), StoppedAt: timeTo(report.StoppedAt),
		AvailableAt: timeTo(report.AvailableAt), CompletedAt: timeTo(report.CompletedAt),
	}
	if report.Total > 0 {
		status.Progress = &v1alpha1.RestoreProgress{
			Read: *resource.NewQuantity(report.Read, resource.BinarySI), Total: *resource.NewQuantity(report.Total, resource.BinarySI),
		}
	}
	if c := report.Condition; c.Type != "" {
		writeCondition(&status.Conditions, c, report.ObservedGeneration)
	}
	return status
}
