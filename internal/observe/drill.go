package observe

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/drills"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// ObservedDrill is the observation of a cluster's drills, with what acting on it needs.
type ObservedDrill struct {
	drills.Observation
	Render render.Cluster
	// Live is the EtcdCluster of the drill; nil if there is none.
	Live *v1alpha1.EtcdCluster
	// Volume is the size of the largest data volume of the cluster, in bytes.
	Volume int64
}

// longestDrilled is how long the name of a cluster may be of which there are drills: that of the drill's is longer.
const longestDrilled = 34

// drillRefused is why there can be no drills of a cluster.
func drillRefused(c *v1alpha1.EtcdCluster) core.Problem {
	refused := func(format string, values ...any) core.Problem {
		return core.Problem{Reason: reasonDrillRefused, Message: fmt.Sprintf("spec.backup.drill "+format, values...)}
	}
	switch b := c.Spec.Backup; {
	case b == nil || b.Drill == nil:
	case len(c.Name) > longestDrilled:
		return refused("needs a metadata.name of at most %d characters, and %s has %d: the EtcdCluster of a drill is called %s; remove it, or try a restore by hand",
			longestDrilled, c.Name, len(c.Name), render.DrillName("<name>"))
	case c.Spec.Storage.Medium == v1alpha1.StorageMediumMemory:
		return refused("needs spec.storage.medium Disk, not Memory: the data of a backup is put on volumes before members start; remove it")
	}
	return core.Problem{}
}

// reasonDrillRefused is that of a cluster of which there can be no drills.
const reasonDrillRefused core.Reason = "DrillRefused"

// ObserveDrill reads all about the drills of a cluster. The object is to be read live: what was done already must be known.
func (o *Observer) ObserveDrill(ctx context.Context, cluster *v1alpha1.EtcdCluster) (ObservedDrill, error) {
	built := render.Cluster{EtcdCluster: cluster, Domain: o.Domain, Operator: o.Operator}
	observed := ObservedDrill{Render: built, Observation: drills.Observation{
		Now: o.Now(), Cluster: cluster.Name, Name: render.DrillName(cluster.Name), Since: cluster.CreationTimestamp.Time,
		Blocked: blocksDrills(built), Recorded: RecordedDrills(cluster),
	}}
	if b := cluster.Spec.Backup; b != nil && b.Drill != nil {
		observed.Spec = &drills.Spec{Schedule: b.Drill.Schedule, TimeZone: b.Drill.TimeZone, Suspended: b.Suspend}
	}
	if err := o.drill(ctx, built, &observed); err != nil || observed.Live != nil || observed.Spec == nil {
		return observed, err
	}
	if err := o.leftOfDrill(ctx, built, &observed); err != nil {
		return observed, err
	}
	held, err := claims(ctx, o.Live, built)
	if err != nil {
		return observed, err
	}
	for i := range held {
		if strings.HasPrefix(held[i].Name, render.DataVolume+"-") {
			observed.Volume = max(observed.Volume, held[i].Spec.Resources.Requests.Storage().Value())
		}
	}
	var made v1alpha1.EtcdBackupList
	if err := o.Live.List(ctx, &made, client.InNamespace(cluster.Namespace)); err != nil {
		return observed, fmt.Errorf("listing the EtcdBackups of %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	observed.Backup = newestOf(cluster, made.Items)
	return observed, nil
}

// blocksDrills is why no drill of a cluster may begin; empty if one may.
func blocksDrills(c render.Cluster) string {
	refused := drillRefused(c.EtcdCluster)
	switch {
	case !refused.IsZero():
		return refused.Message
	case c.Spec.Paused:
		return "spec.paused is true: set it to false"
	case c.HeldBy() != "":
		return fmt.Sprintf("EtcdRestore %s holds the cluster: wait until it is over, or end it", c.HeldBy())
	case c.Sleeps():
		return "the cluster hibernates: set spec.size"
	case c.Status.ClusterID == "":
		return "the cluster is not formed yet"
	}
	return ""
}

// drill reads the EtcdCluster of the name, and how far it is.
func (o *Observer) drill(ctx context.Context, c render.Cluster, observed *ObservedDrill) error {
	live := &v1alpha1.EtcdCluster{}
	name := client.ObjectKey{Namespace: c.Namespace, Name: observed.Name}
	switch err := o.Live.Get(ctx, name, live); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading EtcdCluster %s: %w", name, err)
	case live.Labels[render.LabelDrillOf] != c.Name:
		observed.Taken = core.Problem{Reason: core.ReasonNameTaken, Message: fmt.Sprintf(
			"EtcdCluster %s exists and is no drill of this cluster: it is left alone; delete it, or remove spec.backup.drill", live.Name)}
		return nil
	case !render.OwnedBy(live, c.UID):
		observed.Taken = core.Problem{Reason: drills.ReasonWaiting, Message: fmt.Sprintf(
			"EtcdCluster %s is the drill of an earlier EtcdCluster of this name: wait until it is gone, or delete it", live.Name)}
		return nil
	}
	observed.Live = live
	scheduled, err := time.Parse(time.RFC3339, live.Annotations[render.AnnotationScheduledAt])
	if err != nil {
		scheduled = live.CreationTimestamp.Time
	}
	observed.Drill = &drills.Drill{
		Scheduled: scheduled, Started: live.CreationTimestamp.Time, Leaving: !live.DeletionTimestamp.IsZero(),
		Available: meta.IsStatusConditionTrue(live.Status.Conditions, core.Available), Backup: (render.Cluster{EtcdCluster: live}).BeginsWith(),
	}
	if available := meta.FindStatusCondition(live.Status.Conditions, core.Available); available != nil {
		observed.Drill.Says = available.Message
	}
	return o.restoreOfDrill(ctx, live, observed.Drill)
}

// restoreOfDrill reads what the EtcdRestore says by which a drill's EtcdCluster gets its data.
func (o *Observer) restoreOfDrill(ctx context.Context, live *v1alpha1.EtcdCluster, drill *drills.Drill) error {
	restore := &v1alpha1.EtcdRestore{}
	name := client.ObjectKey{Namespace: live.Namespace, Name: render.BootstrapRestore(live.Name)}
	switch err := o.Live.Get(ctx, name, restore); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading EtcdRestore %s: %w", name, err)
	case !render.OwnedBy(restore, live.UID):
		drill.Says = fmt.Sprintf("EtcdRestore %s exists and is not this drill's: delete it", restore.Name)
		return nil
	}
	status := &restore.Status
	drill.Completed = string(status.Phase) == restores.Completed
	drill.Failed = restores.Over(string(status.Phase)) && !drill.Completed
	drill.Revision, drill.Keys = status.Revision, status.Keys
	if complete := meta.FindStatusCondition(status.Conditions, restores.Complete); complete != nil {
		drill.Compared, drill.Says = complete.LastTransitionTime.Time, complete.Message
	}
	return nil
}

// leftOfDrill looks for what would come before the data of the backup: volumes of the name, whosever they are. They would be deleted with
// the drill, too.
func (o *Observer) leftOfDrill(ctx context.Context, c render.Cluster, observed *ObservedDrill) error {
	if !observed.Taken.IsZero() {
		return nil
	}
	drill := render.Cluster{EtcdCluster: &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: observed.Name}}}
	left := func(kind, name string) {
		observed.Taken = core.Problem{Reason: drills.ReasonWaiting, Message: fmt.Sprintf(
			"%s %s exists: of an earlier drill it goes by itself; else it is of another cluster, and left alone: delete it if nobody wants it", kind, name)}
	}
	var held corev1.PersistentVolumeClaimList
	if err := o.Live.List(ctx, &held, client.InNamespace(c.Namespace), client.MatchingLabels(drill.Selector())); err != nil {
		return fmt.Errorf("listing the claims of %s/%s: %w", c.Namespace, drill.Name, err)
	}
	for i := range held.Items {
		left("claim", held.Items[i].Name)
		return nil
	}
	member := drill.Name + "-0"
	for _, one := range []struct {
		kind, name string
		object     client.Object
	}{
		{"claim", render.ClaimName(render.DataVolume, member), &corev1.PersistentVolumeClaim{}},
		{"claim", render.ClaimName(render.WALVolume, member), &corev1.PersistentVolumeClaim{}},
		{"EtcdRestore", render.BootstrapRestore(drill.Name), &v1alpha1.EtcdRestore{}},
	} {
		switch err := o.Live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: one.name}, one.object); {
		case apierrors.IsNotFound(err):
		case err != nil:
			return fmt.Errorf("reading %s %s/%s: %w", one.kind, c.Namespace, one.name, err)
		default:
			left(one.kind, one.name)
			return nil
		}
	}
	return nil
}

// newestOf is the newest backup of a cluster that can be restored; empty if there is none. Those of an etcd outside, or of an earlier
// EtcdCluster of the name, prove nothing about this one.
func newestOf(cluster *v1alpha1.EtcdCluster, made []v1alpha1.EtcdBackup) string {
	folder := fmt.Sprintf("%s/%s/%s/", cluster.Namespace, cluster.Name, cluster.UID)
	var newest *v1alpha1.EtcdBackup
	for i := range made {
		b := &made[i]
		ours := b.Spec.ClusterRef.Name == cluster.Name && b.Spec.Source == nil && strings.HasPrefix(b.Status.Path, folder)
		recorded := RecordedBackup(b)
		good := recorded.Condition(backups.Complete).Status == core.True && recorded.Condition(backups.Verified).Status != core.False
		if !ours || !good || recorded.Phase == backups.PhaseFailed || !b.DeletionTimestamp.IsZero() || b.Status.CompletedAt == nil {
			continue
		}
		if newest == nil || newest.Status.CompletedAt.Before(b.Status.CompletedAt) {
			newest = b
		}
	}
	if newest == nil {
		return ""
	}
	return newest.Name
}

// RecordedDrills reads the report that was last written.
func RecordedDrills(cluster *v1alpha1.EtcdCluster) drills.Report {
	report := drills.Report{}
	if c := meta.FindStatusCondition(cluster.Status.Conditions, drills.Drilled); c != nil {
		report.Condition = readCondition(*c)
	}
	if b := cluster.Status.Backup; b != nil {
		report.WaitsFor = b.DrillWaitsFor
		if last := b.Drill; last != nil {
			report.Last = &drills.Run{Outcome: string(last.Outcome), Backup: last.Backup, Scheduled: timeOf(last.ScheduledAt), Ended: timeOf(last.EndedAt)}
		}
		if b.DrillSucceededAt != nil {
			report.Good = &drills.Success{Ended: b.DrillSucceededAt.Time, Revision: b.DrillRevision}
			if b.DrillTook != nil {
				report.Good.Took = b.DrillTook.Duration
			}
		}
	}
	return report
}

// DrillsStatus is what of the status of an EtcdCluster is about drills.
type DrillsStatus struct {
	Conditions []metav1.Condition     `json:"conditions,omitempty"`
	Backup     *v1alpha1.BackupStatus `json:"backup,omitempty"`
}

// DrillStatus writes a report as that.
func DrillStatus(report drills.Report, generation int64) DrillsStatus {
	status := DrillsStatus{}
	if c := report.Condition; c.Type != "" {
		writeCondition(&status.Conditions, c, generation)
	}
	if report.Last != nil || report.Good != nil || report.WaitsFor != "" {
		status.Backup = &v1alpha1.BackupStatus{DrillWaitsFor: report.WaitsFor}
	}
	if last := report.Last; last != nil {
		status.Backup.Drill = &v1alpha1.DrillStatus{
			Outcome: v1alpha1.DrillOutcome(last.Outcome), Backup: last.Backup, ScheduledAt: timeTo(last.Scheduled), EndedAt: timeTo(last.Ended),
		}
	}
	if good := report.Good; good != nil {
		status.Backup.DrillSucceededAt, status.Backup.DrillRevision = timeTo(good.Ended), good.Revision
		status.Backup.DrillTook = &metav1.Duration{Duration: good.Took}
	}
	return status
}

// DrillStatusOf is what is written there.
func DrillStatusOf(cluster *v1alpha1.EtcdCluster) DrillsStatus {
	status := DrillsStatus{Backup: cluster.Status.Backup}
	if c := meta.FindStatusCondition(cluster.Status.Conditions, drills.Drilled); c != nil {
		status.Conditions = append(status.Conditions, *c)
	}
	return status
}
