package act

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// expandVolumes raises what the claims of a member ask for. Nothing shrinks.
func (a *Actor) expandVolumes(ctx context.Context, c render.Cluster, step core.ExpandVolumes) error {
	for _, volume := range step.Volumes {
		size := resource.NewQuantity(volume.WantedSize, resource.BinarySI)
		err := a.patchClaim(ctx, c, volume, func(claim *corev1.PersistentVolumeClaim) {
			if claim.Spec.Resources.Requests.Storage().Cmp(*size) < 0 {
				claim.Spec.Resources.Requests[corev1.ResourceStorage] = *size
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// resizeMember changes the CPU and memory of a member's running pod. What Kubernetes does not do in place is recorded on
// the pod: the member is then restarted instead. Once the change is accepted the pod says that it is up to date; before it is
// asked for, that it is not: should this end in between, nobody takes the pod for what it was.
func (a *Actor) resizeMember(ctx context.Context, c render.Cluster, step core.ResizeMember) error {
	pod, err := a.livePod(ctx, c, step.Member, step.PodUID)
	if err != nil {
		return err
	}
	name := client.ObjectKeyFromObject(pod)
	note := map[string]string{render.AnnotationMemberHash: c.MemberHash()}
	if resized := withResources(pod, c.Resources()); !equality.Semantic.DeepEqual(pod.Spec.Containers, resized.Spec.Containers) {
		if pod, err = a.annotate(ctx, pod, map[string]string{render.AnnotationMemberHash: render.Resizing}); err != nil {
			return fmt.Errorf("noting that pod %s is resized: %w", name, err)
		}
		resized = withResources(pod, c.Resources())
		patch := client.MergeFromWithOptions(pod, client.MergeFromWithOptimisticLock{})
		err := a.Client.SubResource("resize").Patch(ctx, resized, patch, client.FieldOwner(render.FieldManager))
		switch {
		case apierrors.IsInvalid(err), apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err),
			apierrors.IsForbidden(err) && !strings.Contains(err.Error(), "exceeded quota"):
			note = map[string]string{render.AnnotationResizeRefused: c.MemberHash()}
		case err != nil:
			return fmt.Errorf("resizing pod %s: %w", name, err)
		default:
			pod = resized
		}
	}
	if _, err := a.annotate(ctx, pod, note); err != nil {
		return fmt.Errorf("noting the resize on pod %s: %w", name, err)
	}
	return nil
}

// withResources is a pod whose etcd has other CPU and memory.
func withResources(pod *corev1.Pod, resources corev1.ResourceRequirements) *corev1.Pod {
	changed := pod.DeepCopy()
	for i := range changed.Spec.Containers {
		if changed.Spec.Containers[i].Name == render.ContainerName {
			changed.Spec.Containers[i].Resources = resources
		}
	}
	return changed
}

// sealPod seals the pod of a member, if it is still the one that was decided about.
func (a *Actor) sealPod(ctx context.Context, c render.Cluster, step core.SealPod) error {
	pod, err := a.livePod(ctx, c, step.Member, step.PodUID)
	if err != nil {
		return err
	}
	switch start, fixed := render.PodStart(pod); {
	case start == core.StartSealed:
		return nil
	case fixed || pod.DeletionTimestamp != nil:
		return &StaleError{What: fmt.Sprintf("pod %s cannot be sealed", pod.Name)}
	}
	sealed := c.StartAnnotations(core.ApplyMember{Member: step.Member, Start: core.StartSealed})
	if _, err := a.annotate(ctx, pod, sealed); err != nil {
		return fmt.Errorf("sealing pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// livePod reads the pod of a member, if it is still the one with that UID.
func (a *Actor) livePod(ctx context.Context, c render.Cluster, member, uid string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	name := client.ObjectKey{Namespace: c.Namespace, Name: render.PodName(member)}
	err := a.Live.Get(ctx, name, pod)
	switch {
	case apierrors.IsNotFound(err):
		return nil, &StaleError{What: fmt.Sprintf("pod %s is gone", name.Name)}
	case err != nil:
		return nil, fmt.Errorf("reading pod %s: %w", name, err)
	case string(pod.UID) != uid:
		return nil, &StaleError{What: fmt.Sprintf("pod %s is another one by now", name.Name)}
	}
	return pod, nil
}

// annotate writes annotations on a pod, if it is just as it was read, and returns what has come of it.
func (a *Actor) annotate(ctx context.Context, pod *corev1.Pod, annotations map[string]string) (*corev1.Pod, error) {
	changed := pod.DeepCopy()
	for key, value := range annotations {
		metav1.SetMetaDataAnnotation(&changed.ObjectMeta, key, value)
	}
	patch := client.MergeFromWithOptions(pod, client.MergeFromWithOptimisticLock{})
	if err := a.Client.Patch(ctx, changed, patch, client.FieldOwner(render.FieldManager)); err != nil {
		return nil, err
	}
	return changed, nil
}
