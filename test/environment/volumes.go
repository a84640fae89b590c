package environment

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

const (
	// StorageClass is the name of the storage class that a cluster has. Its volumes are folders of the node where their first
	// pod is scheduled, and can grow.
	StorageClass = "standard"
	// Provisioner is the provisioner of storage classes whose claims get a volume; a test can make more classes of it.
	Provisioner = "test.etcd-k8s-operator/folder"
	// ParameterLimited, set to "true" in a storage class, gives volumes no more room than they say: they are in memory.
	ParameterLimited = "limited"

	annotationProvisionedBy = "pv.kubernetes.io/provisioned-by"
	annotationBound         = "pv.kubernetes.io/bind-completed"
)

// createStorageClass makes the default storage class.
func (a *nodeAgent) createStorageClass(ctx context.Context) error {
	class := &storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: StorageClass, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner:          Provisioner,
		VolumeBindingMode:    ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowVolumeExpansion: ptr.To(true),
	}
	if _, err := a.client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the storage class %s: %w", StorageClass, err)
	}
	return nil
}

// classOf is the storage class that provisions a claim.
func (a *nodeAgent) classOf(claim *corev1.PersistentVolumeClaim) (*storagev1.StorageClass, error) {
	name := ptr.Deref(claim.Spec.StorageClassName, "")
	class, err := a.classes.Get(name)
	if err != nil {
		return nil, err
	}
	if class.Provisioner != Provisioner {
		return nil, fmt.Errorf("the storage class %s has the unknown provisioner %s", name, class.Provisioner)
	}
	return class, nil
}

// reconcileClaim provisions a claim whose class binds immediately, and lets a bound claim's volume grow.
func (a *nodeAgent) reconcileClaim(ctx context.Context, namespace, name string) error {
	claim, err := a.claims.PersistentVolumeClaims(namespace).Get(name)
	if err != nil {
		return ignoreNotFound(err)
	}
	if claim.DeletionTimestamp != nil {
		return nil
	}
	class, err := a.classOf(claim)
	if err != nil {
		return nil //nolint:nilerr // Without a class of ours it stays pending.
	}
	requested := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if claim.Spec.VolumeName == "" {
		if ptr.Deref(class.VolumeBindingMode, storagev1.VolumeBindingImmediate) == storagev1.VolumeBindingImmediate {
			return a.provision(ctx, claim, "")
		}
		return nil
	}
	if claim.Status.Phase == corev1.ClaimBound && requested.Cmp(claim.Status.Capacity[corev1.ResourceStorage]) <= 0 {
		return nil
	}
	return a.reportBound(ctx, claim)
}

// volumeName is the name of a claim's volume.
func volumeName(claim *corev1.PersistentVolumeClaim) string { return "pvc-" + string(claim.UID) }

// provision makes a claim's volume and binds it. An empty node means that every node reaches the volume.
func (a *nodeAgent) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim, node string) error {
	class, err := a.classOf(claim)
	if err != nil {
		return err
	}
	folder := a.volumeFolder(claim.UID)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make the volume of the claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	if class.Parameters[ParameterLimited] == "true" && !mounted(folder) {
		if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, sizeOption(claim.Spec.Resources.Requests.Storage())); err != nil {
			return fmt.Errorf("limit the volume of the claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volumeName(claim), Annotations: map[string]string{annotationProvisionedBy: Provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: ptr.Deref(class.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete),
			StorageClassName:              class.Name,
			VolumeMode:                    claim.Spec.VolumeMode,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}},
		},
	}
	if node != "" {
		volume.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
		}}}}
	}
	if _, err := a.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the volume of the claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	claim = claim.DeepCopy()
	claim.Spec.VolumeName = volume.Name
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, annotationBound, "yes")
	bound, err := a.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, claim, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("bind the claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return a.reportBound(ctx, bound)
}

// reportBound writes the claim's status, with the capacity that it asks for.
func (a *nodeAgent) reportBound(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	volume, err := a.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get the volume of the claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	capacity := volume.Spec.Capacity[corev1.ResourceStorage]
	if requested := claim.Spec.Resources.Requests[corev1.ResourceStorage]; requested.Cmp(capacity) > 0 {
		capacity = requested
		if folder := a.volumeFolder(claim.UID); mounted(folder) {
			if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT, sizeOption(&requested)); err != nil {
				return fmt.Errorf("enlarge the volume %s: %w", volume.Name, err)
			}
		}
		volume.Spec.Capacity[corev1.ResourceStorage] = requested
		if _, err := a.client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("let the volume %s grow: %w", volume.Name, err)
		}
	}
	claim = claim.DeepCopy()
	claim.Status.Phase, claim.Status.AccessModes = corev1.ClaimBound, claim.Spec.AccessModes
	claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: capacity}
	if _, err := a.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("report the claim %s/%s as bound: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// reconcileVolume keeps a volume's phase, and removes the volume of a claim that is gone, unless it is to be retained.
func (a *nodeAgent) reconcileVolume(ctx context.Context, name string) error {
	volume, err := a.volumes.Get(name)
	if err != nil {
		return ignoreNotFound(err)
	}
	if volume.Annotations[annotationProvisionedBy] != Provisioner || volume.Spec.ClaimRef == nil {
		return nil
	}
	owner := volume.Spec.ClaimRef
	claim, err := a.client.CoreV1().PersistentVolumeClaims(owner.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	phase := corev1.VolumeReleased
	if err == nil && claim.UID == owner.UID {
		phase = corev1.VolumeBound
	}
	if volume.Status.Phase != phase {
		changed := volume.DeepCopy()
		changed.Status.Phase = phase
		if _, err := a.client.CoreV1().PersistentVolumes().UpdateStatus(ctx, changed, metav1.UpdateOptions{}); err != nil {
			return ignoreNotFound(err)
		}
	}
	if phase == corev1.VolumeBound || volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return nil
	}
	if folder := a.volumeFolder(owner.UID); mounted(folder) {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount the volume %s: %w", name, err)
		}
	}
	if err := os.RemoveAll(a.volumeFolder(owner.UID)); err != nil {
		return fmt.Errorf("remove the volume %s: %w", name, err)
	}
	return ignoreNotFound(a.client.CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{}))
}

// mounted is whether a file system of its own is mounted on a folder: that of a limited volume.
func mounted(folder string) bool {
	var inside, outside syscall.Stat_t
	return syscall.Stat(folder, &inside) == nil && syscall.Stat(filepath.Dir(folder), &outside) == nil && inside.Dev != outside.Dev
}

func sizeOption(size *resource.Quantity) string { return fmt.Sprintf("size=%d", size.Value()) }

// volumeFolder is the folder of a claim's volume.
func (a *nodeAgent) volumeFolder(claim types.UID) string {
	return filepath.Join(a.folder, "volumes", string(claim))
}

// ignoreNotFound hides that an object is gone.
func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
