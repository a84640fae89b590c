// Package storage is the cluster's dynamic volume provisioner: a volume is a folder of the node that the
// scheduler chose.
package storage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// ProvisionerName is what a StorageClass names to have its volumes made here.
const ProvisionerName = "etcd-operator.local/folder"

// folders makes and removes the folders below root.
type folders struct{ root string }

// Run provisions, removes and resizes volumes until the context ends.
func Run(ctx context.Context, kubeconfig, root string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("reading kubeconfig %q: %w", kubeconfig, err)
	}
	// A test that creates many claims at once must not wait for the default of five requests a second.
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client from kubeconfig %q: %w", kubeconfig, err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	resizer, err := newResizer(client, factory)
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	go resizer.run(ctx)
	provisioner := controller.NewProvisionController(ctx, client, ProvisionerName, &folders{root: root},
		controller.LeaderElection(false),
		// The library retries after 15 s by default; a folder that could not be made is worth a sooner try.
		controller.RateLimiter(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 5*time.Second)),
		controller.ExponentialBackOffOnError(true),
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
		controller.CreateProvisionedPVInterval(100*time.Millisecond),
		controller.Threadiness(8),
	)
	provisioner.Run(ctx)
	return nil
}

// Provision makes the folder of a new volume.
func (f *folders) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	fail := func(format string, arguments ...any) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
		return nil, controller.ProvisioningFinished, fmt.Errorf(format, arguments...)
	}
	node := options.SelectedNodeName
	if node == "" {
		return fail("claim %s/%s has no selected node: its StorageClass %q needs WaitForFirstConsumer",
			options.PVC.Namespace, options.PVC.Name, options.StorageClass.Name)
	}
	if mode := options.PVC.Spec.VolumeMode; mode != nil && *mode == corev1.PersistentVolumeBlock {
		return fail("claim %s/%s asks for a block volume; %s makes file systems only",
			options.PVC.Namespace, options.PVC.Name, ProvisionerName)
	}
	path := filepath.Join(f.root, node, options.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return fail("making the folder of volume %s: %w", options.PVName, err)
	}
	// Open to all users whatever the umask, as the usual local provisioners do: pods without an fsGroup write too.
	if err := os.Chmod(path, 0o777); err != nil {
		return fail("opening the folder of volume %s to all users: %w", options.PVName, err)
	}
	return volume(options, node, path), controller.ProvisioningFinished, nil
}

// volume describes a folder as a volume of kind local, for which the kubelet applies a pod's fsGroup.
func volume(options controller.ProvisionOptions, node, path string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			VolumeMode:                    options.PVC.Spec.VolumeMode,
			Capacity: corev1.ResourceList{
				corev1.ResourceStorage: options.PVC.Spec.Resources.Requests[corev1.ResourceStorage],
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{
						Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
					}},
				}},
			}},
		},
	}
}

// Delete removes the folder of a released volume.
func (f *folders) Delete(_ context.Context, volume *corev1.PersistentVolume) error {
	if volume.Spec.Local == nil {
		return fmt.Errorf("volume %s is not of kind local: it was not made by %s", volume.Name, ProvisionerName)
	}
	path := filepath.Clean(volume.Spec.Local.Path)
	// The path comes from an object that users can write: never remove anything outside.
	if relative, err := filepath.Rel(f.root, path); err != nil || strings.Count(relative, "/") != 1 || strings.HasPrefix(relative, "..") {
		return fmt.Errorf("volume %s has the path %q, which is not a folder NODE/VOLUME below %s: remove the volume by hand", volume.Name, path, f.root)
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("removing the folder of volume %s: %w", volume.Name, err)
	}
	return nil
}
