package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// provisionedByAnnotation is where Kubernetes notes which provisioner a volume came from.
const provisionedByAnnotation = "pv.kubernetes.io/provisioned-by"

// resizer grants claims that ask for more: a folder has no size, so only the objects change.
type resizer struct {
	client  kubernetes.Interface
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	synced  []cache.InformerSynced
	queue   workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

func newResizer(client kubernetes.Interface, factory informers.SharedInformerFactory) (*resizer, error) {
	claims, volumes := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	r := &resizer{
		client: client, claims: claims.Lister(), volumes: volumes.Lister(),
		synced: []cache.InformerSynced{claims.Informer().HasSynced, volumes.Informer().HasSynced},
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](50*time.Millisecond, 5*time.Second)),
	}
	enqueue := func(object any) {
		if claim, ok := object.(*corev1.PersistentVolumeClaim); ok && wantsMore(claim) {
			r.queue.Add(cache.MetaObjectToName(claim))
		}
	}
	if _, err := claims.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, changed any) { enqueue(changed) },
	}); err != nil {
		return nil, fmt.Errorf("watching claims: %w", err)
	}
	return r, nil
}

// wantsMore says whether a bound claim asks for more than it has.
func wantsMore(claim *corev1.PersistentVolumeClaim) bool {
	if claim.Status.Phase != corev1.ClaimBound || claim.DeletionTimestamp != nil {
		return false
	}
	has, known := claim.Status.Capacity[corev1.ResourceStorage]
	return known && claim.Spec.Resources.Requests.Storage().Cmp(has) > 0
}

func (r *resizer) run(ctx context.Context) {
	if !cache.WaitForCacheSync(ctx.Done(), r.synced...) {
		return
	}
	go func() {
		<-ctx.Done()
		r.queue.ShutDown()
	}()
	for {
		key, ended := r.queue.Get()
		if ended {
			return
		}
		if err := r.resize(ctx, key); err != nil {
			klog.FromContext(ctx).Error(err, "resizing failed and is tried again", "claim", key)
			r.queue.AddRateLimited(key)
		} else {
			r.queue.Forget(key)
		}
		r.queue.Done(key)
	}
}

// resize raises the volume's capacity first and the claim's second, so that a claim never shows more than
// its volume has.
func (r *resizer) resize(ctx context.Context, key cache.ObjectName) error {
	claim, err := r.claims.PersistentVolumeClaims(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) || (err == nil && !wantsMore(claim)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading claim %s: %w", key, err)
	}
	volume, err := r.volumes.Get(claim.Spec.VolumeName)
	if err != nil {
		return fmt.Errorf("reading volume %q of claim %s: %w", claim.Spec.VolumeName, key, err)
	}
	if volume.Annotations[provisionedByAnnotation] != ProvisionerName {
		return nil
	}
	wanted := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if volume.Spec.Capacity.Storage().Cmp(wanted) < 0 {
		if _, err := r.client.CoreV1().PersistentVolumes().Patch(ctx, volume.Name, types.MergePatchType,
			capacityPatch("spec", wanted), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("raising the capacity of volume %s to %s: %w", volume.Name, wanted.String(), err)
		}
	}
	if _, err := r.client.CoreV1().PersistentVolumeClaims(key.Namespace).Patch(ctx, key.Name, types.MergePatchType,
		capacityPatch("status", wanted), metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("raising the capacity of claim %s to %s: %w", key, wanted.String(), err)
	}
	return nil
}

// capacityPatch sets the storage capacity in an object's spec or status, and with the status it clears the
// conditions of a resize, which is over.
func capacityPatch(part string, size resource.Quantity) []byte {
	fields := map[string]any{"capacity": map[string]string{string(corev1.ResourceStorage): size.String()}}
	if part == "status" {
		fields["conditions"] = nil
	}
	patch, err := json.Marshal(map[string]any{part: fields})
	if err != nil {
		// Maps of strings always marshal.
		panic(err)
	}
	return patch
}
