package observe

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// rolledBackTo is whether an EtcdRestore in a phase may still give the cluster other data, its earlier ones included.
func rolledBackTo(phase string) bool {
	return restores.Begun(phase) && phase != restores.Confirming
}

// change is a field of the spec that a restore rests on.
type change struct {
	field       string
	was, wanted any
	// shown is whether the values are short enough for a message.
	shown bool
}

// changes are the fields on which a restore rests that differ between two specs.
func changes(before, wanted *v1alpha1.EtcdClusterSpec) []change {
	was, is := render.RestsOf("", before), render.RestsOf("", wanted)
	return slices.DeleteFunc([]change{
		{"spec.size", was.Size, is.Size, true},
		{"spec.version", was.Version, is.Version, true},
		{"spec.storage", was.Storage, is.Storage, false},
		{"spec.security.tls", was.TLS, is.TLS, false},
		{"spec.security.auth", was.Auth, is.Auth, false},
	}, func(c change) bool { return equality.Semantic.DeepEqual(c.was, c.wanted) })
}

// cannot says that a field cannot be changed.
func (c change) cannot() string {
	if !c.shown {
		return c.field + " cannot be changed"
	}
	return fmt.Sprintf("%s cannot be changed from %v to %v", c.field, c.was, c.wanted)
}

// reviewRestored refuses what an EtcdRestore that works on the cluster cannot stand.
func (o *Observer) reviewRestored(ctx context.Context, before, wanted *v1alpha1.EtcdCluster, r *Review) {
	changed := changes(&before.Spec, &wanted.Spec)
	if len(changed) == 0 {
		return
	}
	others, err := o.restoresInto(ctx, wanted.Namespace, wanted.Name)
	if err != nil {
		r.failed(err)
	}
	for i := range others {
		if rolledBackTo(string(others[i].Status.Phase)) {
			r.refuse(core.Problem{Reason: core.ReasonRestoreInFlight, Message: changed[0].cannot() + ": " + notOver(&others[i]).Message})
		}
	}
}

// heldBack is the EtcdCluster as an EtcdRestore has found it that may still roll it back, and what of its spec waits until that is over,
// in the words in which the webhook refuses it.
func (o *Observer) heldBack(ctx context.Context, cluster *v1alpha1.EtcdCluster) (core.Problem, *v1alpha1.EtcdCluster, error) {
	found, err := render.AsRestored(cluster)
	if err != nil {
		return core.Problem{}, nil, err
	}
	var cannot []string
	for _, c := range changes(&found.Spec, &cluster.Spec) {
		cannot = append(cannot, c.cannot())
	}
	if len(cannot) == 0 {
		return core.Problem{}, found, nil
	}
	name := render.Cluster{EtcdCluster: cluster}.RestsFor()
	restore, why := &v1alpha1.EtcdRestore{}, ""
	switch err := o.Cache.Get(ctx, client.ObjectKey{Namespace: cluster.Namespace, Name: name}, restore); {
	case apierrors.IsNotFound(err):
		why = fmt.Sprintf("EtcdRestore %s, which rests on it, is gone: if nothing is to be rolled back, remove metadata.annotations[%s] from EtcdCluster %s", name, render.AnnotationRestoreRestsOn, cluster.Name)
	case err != nil:
		return core.Problem{}, nil, fmt.Errorf("reading EtcdRestore %s/%s: %w", cluster.Namespace, name, err)
	default:
		why = notOver(restore).Message
	}
	return core.Problem{Reason: core.ReasonRestoreInFlight, Message: strings.Join(cannot, ", ") + ": " + why}, found, nil
}

// ReviewNotes looks at a change, by somebody other than the operator, of what restores note on an EtcdCluster; before is nil if that
// is to be made.
func (o *Observer) ReviewNotes(ctx context.Context, before, wanted *v1alpha1.EtcdCluster) *Review {
	r := &Review{}
	refuse := func(annotation, format string, values ...any) {
		r.refuse(core.Problem{Reason: core.ReasonRestoreInFlight, Message: fmt.Sprintf("metadata.annotations[%s] ", annotation) + fmt.Sprintf(format, values...)})
	}
	if before == nil {
		before = &v1alpha1.EtcdCluster{}
		if id := wanted.Annotations[render.AnnotationRestoredClusterID]; id != "" {
			r.warn(core.Problem{Reason: core.ReasonRestoreInFlight, Message: fmt.Sprintf("metadata.annotations[%s] says that volumes have the data of etcd cluster %s: if there are none, EtcdCluster %s never starts; leave the annotation out", render.AnnotationRestoredClusterID, id, wanted.Name)})
			before.Annotations = map[string]string{render.AnnotationRestoredClusterID: id}
		}
	}
	held, holder := render.Cluster{EtcdCluster: before}.HeldBy(), render.Cluster{EtcdCluster: wanted}.HeldBy()
	switch {
	case holder == held:
	case holder != "":
		refuse(render.AnnotationRestore, "is set by the operator only, and not to %q: to give EtcdCluster %s other data make an EtcdRestore, else leave the annotation as it is", holder, wanted.Name)
	default:
		if by := o.unfinished(ctx, wanted, held, r); by != nil {
			refuse(render.AnnotationRestore, "is taken away by the operator only: %s", notOver(by).Message)
		}
	}
	rests, on := (render.Cluster{EtcdCluster: before}).RestsFor(), wanted.Annotations[render.AnnotationRestoreRestsOn]
	switch {
	case on == before.Annotations[render.AnnotationRestoreRestsOn]:
	case on != "":
		refuse(render.AnnotationRestoreRestsOn, "of EtcdCluster %s is the operator's: leave it as it is", wanted.Name)
	default:
		if by := o.unfinished(ctx, wanted, rests, r); by != nil {
			refuse(render.AnnotationRestoreRestsOn, "is taken away by the operator only: %s", notOver(by).Message)
		}
	}
	given, id := before.Annotations[render.AnnotationRestoredClusterID], wanted.Annotations[render.AnnotationRestoredClusterID]
	switch {
	case id == given:
	case id == "" && before.Status.ClusterID == given: // The status knows it as well.
	default:
		refuse(render.AnnotationRestoredClusterID, "of EtcdCluster %s is the operator's, and cannot be changed from %q to %q: leave it as it is", wanted.Name, given, id)
	}
	return r
}

// unfinished is the EtcdRestore of a name into a cluster; nil if it is over or does not exist.
func (o *Observer) unfinished(ctx context.Context, cluster *v1alpha1.EtcdCluster, name string, r *Review) *v1alpha1.EtcdRestore {
	others, err := o.restoresInto(ctx, cluster.Namespace, cluster.Name)
	if err != nil {
		r.failed(err)
		return nil
	}
	for i := range others {
		if others[i].Name == name {
			return &others[i]
		}
	}
	return nil
}

// ReviewDeletion looks at the deletion of an EtcdCluster. One that is held has volumes of which some may have the new data and some the
// earlier; if they outlive it, the next EtcdCluster of its name would begin with a mixture. A namespace that goes takes them along.
func (o *Observer) ReviewDeletion(ctx context.Context, cluster *v1alpha1.EtcdCluster) *Review {
	r := &Review{}
	holder := render.Cluster{EtcdCluster: cluster}.HeldBy()
	if holder == "" || cluster.Spec.Storage.Retention.WhenDeleted == v1alpha1.RetentionDelete {
		return r
	}
	by := o.unfinished(ctx, cluster, holder, r)
	if by == nil {
		return r
	}
	namespace := &corev1.Namespace{}
	switch err := o.Live.Get(ctx, client.ObjectKey{Name: cluster.Namespace}, namespace); {
	case err != nil:
		r.failed(client.IgnoreNotFound(err))
	case namespace.DeletionTimestamp.IsZero():
		r.refuse(core.Problem{Reason: core.ReasonRestoreInFlight, Message: fmt.Sprintf("EtcdCluster %s cannot be deleted while its volumes, which stay, may have the data of two clusters: %s", cluster.Name, notOver(by).Message)})
	}
	return r
}

// ReviewRestore looks at an EtcdRestore that is to be made. What it names need not be there: it waits for that, and its condition says so.
func (o *Observer) ReviewRestore(ctx context.Context, wanted *v1alpha1.EtcdRestore) *Review {
	r := &Review{}
	others, err := o.restoresInto(ctx, wanted.Namespace, wanted.Spec.ClusterRef.Name)
	if err != nil {
		r.failed(err)
	}
	for i := range others {
		if others[i].Name != wanted.Name {
			r.refuse(notOver(&others[i]))
		}
	}
	return r
}

// Scaled is the EtcdCluster of a name with another size, and as it is.
func (o *Observer) Scaled(ctx context.Context, key client.ObjectKey, size int32) (before, wanted *v1alpha1.EtcdCluster, err error) {
	before = &v1alpha1.EtcdCluster{}
	if err := o.Live.Get(ctx, key, before); apierrors.IsNotFound(err) {
		return nil, nil, nil // Somebody else says so.
	} else if err != nil {
		return nil, nil, fmt.Errorf("reading EtcdCluster %s: %w", key, err)
	}
	wanted = before.DeepCopy()
	wanted.Spec.Size = ptr.To(size)
	return before, wanted, nil
}
