package observe

import (
	"context"
	"fmt"

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

// reasonRestoreInFlight is that of what an EtcdRestore stands in the way of.
const reasonRestoreInFlight core.Reason = "RestoreInFlight"

// rolledBackTo is whether a restore in a phase may still give the cluster other data, its earlier ones included.
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

// restedOn are the fields of a spec on which a restore rests from its beginning until nothing can be rolled back any more: which
// members it fills, with what of their volumes, by which programs, and how they reach each other and are asked. What is not here
// makes a restore neither wrong nor vain: the pods' template may even be what lets it go on.
func restedOn(before, wanted *v1alpha1.EtcdClusterSpec) []change {
	storage := func(spec *v1alpha1.EtcdClusterSpec) v1alpha1.StorageSpec {
		s := spec.Storage
		s.Retention = v1alpha1.RetentionSpec{} // It is about deletions.
		return s
	}
	return []change{
		{"spec.size", ptr.Deref(before.Size, 0), ptr.Deref(wanted.Size, 0), true},
		{"spec.version", before.Version, wanted.Version, true},
		{"spec.storage", storage(before), storage(wanted), false},
		{"spec.security.tls", before.Security.TLS, wanted.Security.TLS, false},
		{"spec.security.auth", before.Security.Auth, wanted.Security.Auth, false},
	}
}

// reviewRestored refuses what an EtcdRestore that works on the cluster cannot stand.
func (o *Observer) reviewRestored(ctx context.Context, before, wanted *v1alpha1.EtcdCluster, r *Review) {
	for _, c := range restedOn(&before.Spec, &wanted.Spec) {
		if equality.Semantic.DeepEqual(c.was, c.wanted) {
			continue
		}
		others, err := o.restoresInto(ctx, wanted.Namespace, wanted.Name)
		if err != nil {
			r.failed(err)
			return
		}
		for i := range others {
			if !rolledBackTo(string(others[i].Status.Phase)) {
				continue
			}
			values := ""
			if c.shown {
				values = fmt.Sprintf(" from %v to %v", c.was, c.wanted)
			}
			r.refuse(core.Problem{Reason: reasonRestoreInFlight, Message: fmt.Sprintf("%s cannot be changed%s: %s", c.field, values, notOver(&others[i]).Message)})
			return
		}
		return
	}
}

// ReviewNotes looks at a change, by somebody other than the operator, of what restores note on an EtcdCluster; before is nil if that
// is to be made.
func (o *Observer) ReviewNotes(ctx context.Context, before, wanted *v1alpha1.EtcdCluster) *Review {
	r := &Review{}
	refuse := func(annotation, format string, values ...any) {
		r.refuse(core.Problem{Reason: reasonRestoreInFlight, Message: fmt.Sprintf("metadata.annotations[%s] ", annotation) + fmt.Sprintf(format, values...)})
	}
	if before == nil {
		before = &v1alpha1.EtcdCluster{}
		if id := wanted.Annotations[render.AnnotationRestoredClusterID]; id != "" {
			r.warn(core.Problem{Reason: reasonRestoreInFlight, Message: fmt.Sprintf("metadata.annotations[%s] says that volumes have the data of etcd cluster %s: if there are none, EtcdCluster %s never starts; leave the annotation out", render.AnnotationRestoredClusterID, id, wanted.Name)})
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
		r.refuse(core.Problem{Reason: reasonRestoreInFlight, Message: fmt.Sprintf("EtcdCluster %s cannot be deleted while its volumes, which stay, may have the data of two clusters: %s", cluster.Name, notOver(by).Message)})
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
