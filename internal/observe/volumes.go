package observe

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// volume reads the claim of one of a member's volumes and compares it with what the spec asks for. database is the size of
// the cluster's largest database.
func (o *Observer) volume(ctx context.Context, c render.Cluster, claim *corev1.PersistentVolumeClaim, database int64) core.Volume {
	v := core.Volume{
		Name:        claim.Name,
		UID:         string(claim.UID),
		Deleting:    claim.DeletionTimestamp != nil,
		Bound:       claim.Status.Phase != corev1.ClaimPending && claim.Status.Phase != "" || claim.Spec.VolumeName != "",
		OwnerUID:    claim.Annotations[render.AnnotationOwnerUID],
		StorageHash: claim.Annotations[render.AnnotationStorageHash],
		FoundedBy:   claim.Annotations[render.AnnotationFoundedBy],
		ClusterID:   claim.Annotations[render.AnnotationClusterID],
		Version:     claim.Annotations[render.AnnotationVersion],
		Peers:       render.RecordedPeers(claim),
		Removed:     claim.Annotations[render.AnnotationRemoved] == render.Removed,
		KeptWanted:  c.Spec.Storage.Retention.WhenDeleted != v1alpha1.RetentionDelete,
		Size:        claim.Spec.Resources.Requests.Storage().Value(),
	}
	if founders := claim.Annotations[render.AnnotationBootstrapMembers]; founders != "" {
		v.Founders = strings.Split(founders, ",")
	}
	// What is not a number counts as not recorded.
	v.Since36, _ = strconv.ParseUint(claim.Annotations[render.AnnotationSince36], 10, 64)
	v.Kept = !slices.ContainsFunc(claim.OwnerReferences, isCluster)
	switch {
	case claim.Status.Phase == corev1.ClaimLost:
		v.Problem = core.Problem{Reason: core.ReasonVolumeLost, Message: fmt.Sprintf("claim %s has lost its volume %s", claim.Name, claim.Spec.VolumeName)}
	case v.Bound:
		v.Growing = claim.Status.Capacity.Storage().Cmp(*claim.Spec.Resources.Requests.Storage()) < 0
		o.fit(ctx, c, claim, &v, database)
	case !v.Deleting:
		v.Problem = o.claimProblem(ctx, claim)
	}
	return v
}

// fit compares a volume with what is wanted: what it lacks in size it may grow by, what else is different it cannot become.
func (o *Observer) fit(ctx context.Context, c render.Cluster, claim *corev1.PersistentVolumeClaim, v *core.Volume, database int64) {
	wanted, class := c.Spec.Storage.Size, c.Spec.Storage.StorageClassName
	if strings.HasPrefix(claim.Name, render.WALVolume+"-") {
		if c.Spec.Storage.WAL == nil {
			return
		}
		wanted, class = c.Spec.Storage.WAL.Size, c.Spec.Storage.WAL.StorageClassName
	} else {
		wanted = grown(c.Spec.Storage.AutoGrow, wanted, v.Size, database)
	}
	v.WantedSize = wanted.Value()
	has := ""
	if claim.Spec.StorageClassName != nil {
		has = *claim.Spec.StorageClassName
	}
	switch {
	case class != nil && *class != has:
		v.Misfit = fmt.Sprintf("claim %s is of StorageClass %s and %s is asked for", claim.Name, has, *class)
	case v.WantedSize < v.Size:
		v.Misfit = fmt.Sprintf("claim %s has %s and only %s is asked for", claim.Name, claim.Spec.Resources.Requests.Storage(), wanted)
	case v.WantedSize > v.Size:
		if v.Expandable = o.expandable(ctx, has); !v.Expandable {
			v.Misfit = fmt.Sprintf("claim %s has %s, %s is asked for, and its StorageClass %s does not let it grow", claim.Name, claim.Spec.Resources.Requests.Storage(), wanted, has)
		}
	default:
		v.Misfit = o.outOfReach(ctx, c, claim)
	}
}

// grown is the size that a volume should have: that of the spec; with autoGrow half as much again whenever the database has
// filled the given part of what it may use of the volume, four fifths. What has grown does not shrink.
func grown(auto *v1alpha1.AutoGrowSpec, wanted *resource.Quantity, has, database int64) *resource.Quantity {
	if auto == nil || wanted == nil {
		return wanted
	}
	size := max(wanted.Value(), has)
	if limit := auto.Limit.Value(); size < limit && database*100 >= size/5*4*int64(auto.ThresholdPercent) {
		size = min(size/2*3, limit)
	}
	return resource.NewQuantity(size, resource.BinarySI)
}

// largestDatabase is the size of the largest database that a member reports, in bytes.
func largestDatabase(etcd core.Etcd) int64 {
	var largest int64
	for _, s := range etcd.Statuses {
		largest = max(largest, s.DBSize)
	}
	return largest
}

// expandable is whether volumes of a class grow in place; unknown counts as yes: the API server has the last word.
func (o *Observer) expandable(ctx context.Context, name string) bool {
	var class storagev1.StorageClass
	if err := o.Live.Get(ctx, client.ObjectKey{Name: name}, &class); err != nil {
		return !apierrors.IsNotFound(err)
	}
	return class.AllowVolumeExpansion != nil && *class.AllowVolumeExpansion
}

// misfit says of a member's first volume what no single volume shows: that there should be one more, or one less.
func misfit(c render.Cluster, m *core.Member) {
	if len(m.Volumes) == 0 || c.Spec.Storage.Medium == v1alpha1.StorageMediumMemory {
		return
	}
	wal := slices.ContainsFunc(m.Volumes, func(v core.Volume) bool { return v.Name == render.ClaimName(render.WALVolume, m.Name) })
	switch {
	case wal && c.Spec.Storage.WAL == nil:
		m.Volumes[0].Misfit = "it has a volume for its log, and spec.storage.wal asks for none"
	case !wal && c.Spec.Storage.WAL != nil && m.Volumes[0].Bound:
		m.Volumes[0].Misfit = "it has no volume for its log, and spec.storage.wal asks for one"
	}
}

// outOfReach says that a volume can only be reached from nodes that the spec's node selector excludes, e.g. those of another
// zone: a pod would not find a node any more.
func (o *Observer) outOfReach(ctx context.Context, c render.Cluster, claim *corev1.PersistentVolumeClaim) string {
	selector := c.Spec.PodTemplate.Spec.NodeSelector
	if len(selector) == 0 {
		return ""
	}
	terms := o.reachableFrom(ctx, claim)
	if len(terms) == 0 || slices.ContainsFunc(terms, func(term corev1.NodeSelectorTerm) bool { return !o.excludes(ctx, selector, term) }) {
		return ""
	}
	return fmt.Sprintf("claim %s cannot be reached from the nodes that spec.podTemplate.spec.nodeSelector asks for", claim.Name)
}

// excludes is whether no node that a volume can be reached from by one of its terms is asked for: by a label that both speak
// of, or by the labels of the nodes that the term names, as those of volumes that are a node's own do.
func (o *Observer) excludes(ctx context.Context, selector map[string]v1alpha1.LabelValue, term corev1.NodeSelectorTerm) bool {
	return slices.ContainsFunc(term.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
		if r.Operator != corev1.NodeSelectorOpIn {
			return false
		}
		if value, asked := selector[r.Key]; asked && !slices.Contains(r.Values, string(value)) {
			return true
		}
		return r.Key == corev1.LabelHostname && !slices.ContainsFunc(r.Values, func(node string) bool { return o.fitsNode(ctx, selector, node) })
	})
}

// fitsNode is whether a node has the labels that are asked for. One that cannot be read may have them.
func (o *Observer) fitsNode(ctx context.Context, selector map[string]v1alpha1.LabelValue, name string) bool {
	var node corev1.Node
	if err := o.Live.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
		return true
	}
	for label, value := range selector {
		if node.Labels[label] != string(value) {
			return false
		}
	}
	return true
}

// reachableFrom are the nodes that a claim's volume can be reached from; nothing if that is not restricted, or not known.
func (o *Observer) reachableFrom(ctx context.Context, claim *corev1.PersistentVolumeClaim) []corev1.NodeSelectorTerm {
	if claim.Spec.VolumeName == "" {
		return nil
	}
	// What a volume can be reached from does not change.
	if known, ok := o.reach.Load(claim.Spec.VolumeName); ok {
		terms, _ := known.([]corev1.NodeSelectorTerm)
		return terms
	}
	var volume corev1.PersistentVolume
	if err := o.Live.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &volume); err != nil {
		return nil
	}
	var terms []corev1.NodeSelectorTerm
	if affinity := volume.Spec.NodeAffinity; affinity != nil && affinity.Required != nil {
		terms = affinity.Required.NodeSelectorTerms
	}
	o.reach.Store(claim.Spec.VolumeName, terms)
	return terms
}
