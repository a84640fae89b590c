package environment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// podFolder holds what a pod has on its node: folders of its volumes and the roots of its containers.
func podFolder(folder string, uid types.UID) string {
	return filepath.Join(folder, "pods", string(uid))
}

// removePodFolder removes what a pod had on its node. Mounts are in the containers' own namespaces, so that nothing else is reached.
func removePodFolder(folder string, uid types.UID) { _ = os.RemoveAll(podFolder(folder, uid)) }

// podVolume is the folder of a volume that lives as long as its pod.
func podVolume(folder string, uid types.UID, volume string) string {
	return filepath.Join(podFolder(folder, uid), "volumes", volume)
}

// forgetMemory empties the volumes that are in memory, as the loss of a node's power does.
func (w *podWorker) forgetMemory() error {
	for index := range w.pod.Spec.Volumes {
		volume := &w.pod.Spec.Volumes[index]
		if volume.EmptyDir == nil || volume.EmptyDir.Medium != corev1.StorageMediumMemory {
			continue
		}
		if err := emptyFolder(podVolume(w.agent.folder, w.uid, volume.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("empty the volume %s of the pod %s/%s: %w", volume.Name, w.namespace, w.name, err)
		}
	}
	return nil
}

// mountVolumes makes the pod's volumes and returns the host's folder of each.
func (w *podWorker) mountVolumes(ctx context.Context, inputs podInputs) (map[string]string, error) {
	folders := map[string]string{}
	for index := range inputs.pod.Spec.Volumes {
		volume := &inputs.pod.Spec.Volumes[index]
		folder := podVolume(w.agent.folder, w.uid, volume.Name)
		if source := volume.PersistentVolumeClaim; source != nil {
			claim, err := w.agent.claims.PersistentVolumeClaims(w.namespace).Get(source.ClaimName)
			if err != nil {
				return nil, fmt.Errorf("persistentvolumeclaim %q not found", source.ClaimName)
			}
			folder = w.agent.volumeFolder(claim.UID)
		} else if err := os.MkdirAll(folder, 0o777); err != nil {
			return nil, err
		}
		if err := shareWithGroup(folder, inputs.pod.Spec.SecurityContext); err != nil {
			return nil, fmt.Errorf("let the pod's group use the volume %s: %w", volume.Name, err)
		}
		folders[volume.Name] = folder
	}
	return folders, w.writeVolumes(ctx, inputs, folders)
}

// writeVolumes brings the files of ConfigMap, Secret, downward API and projected volumes up to date.
func (w *podWorker) writeVolumes(ctx context.Context, inputs podInputs, folders map[string]string) error {
	for index := range inputs.pod.Spec.Volumes {
		volume := &inputs.pod.Spec.Volumes[index]
		files, managed, err := inputs.volumeFiles(ctx, &volume.VolumeSource)
		if err != nil {
			return fmt.Errorf("MountVolume.SetUp failed for volume %q: %w", volume.Name, err)
		}
		if managed {
			if err := writeAtomically(folders[volume.Name], files, inputs.pod.Spec.SecurityContext); err != nil {
				return fmt.Errorf("write the volume %q: %w", volume.Name, err)
			}
		}
	}
	return nil
}

// volumeFile is a file of a volume that the kubelet writes.
type volumeFile struct {
	content []byte
	mode    fs.FileMode
}

// volumeFiles are the files of a volume; managed is false if the pod itself writes the volume.
func (i podInputs) volumeFiles(ctx context.Context, source *corev1.VolumeSource) (files map[string]volumeFile, managed bool, err error) {
	files = map[string]volumeFile{}
	switch {
	case source.EmptyDir != nil, source.PersistentVolumeClaim != nil:
		return nil, false, nil
	case source.ConfigMap != nil:
		from := source.ConfigMap
		return files, true, i.addKeys(ctx, files, "configmap", from.Name, from.Items, from.DefaultMode, from.Optional)
	case source.Secret != nil:
		from := source.Secret
		return files, true, i.addKeys(ctx, files, "secret", from.SecretName, from.Items, from.DefaultMode, from.Optional)
	case source.DownwardAPI != nil:
		return files, true, i.addFields(files, source.DownwardAPI.Items, source.DownwardAPI.DefaultMode)
	case source.Projected != nil:
		for _, part := range source.Projected.Sources {
			mode := source.Projected.DefaultMode
			switch {
			case part.ConfigMap != nil:
				err = i.addKeys(ctx, files, "configmap", part.ConfigMap.Name, part.ConfigMap.Items, mode, part.ConfigMap.Optional)
			case part.Secret != nil:
				err = i.addKeys(ctx, files, "secret", part.Secret.Name, part.Secret.Items, mode, part.Secret.Optional)
			case part.DownwardAPI != nil:
				err = i.addFields(files, part.DownwardAPI.Items, mode)
			default:
				err = errors.New("the test node agent does not know the source of the projected volume")
			}
			if err != nil {
				return nil, true, err
			}
		}
		return files, true, nil
	}
	return nil, false, errors.New("the test node agent does not know the kind of the volume")
}

// addKeys adds the keys of a ConfigMap or Secret: the given ones, or all.
func (i podInputs) addKeys(ctx context.Context, files map[string]volumeFile, kind, name string, items []corev1.KeyToPath, mode *int32, optional *bool) error {
	data, err := i.data(ctx, kind, name, optional)
	if err != nil {
		return err
	}
	defaultMode := fs.FileMode(ptr.Deref(mode, 0o644))
	if len(items) == 0 {
		for key, value := range data {
			files[key] = volumeFile{value, defaultMode}
		}
	}
	for _, item := range items {
		value, found := data[item.Key]
		if !found && !ptr.Deref(optional, false) {
			return fmt.Errorf("references non-existent %s key: %s", kind, item.Key)
		}
		if found {
			files[item.Path] = volumeFile{value, fs.FileMode(ptr.Deref(item.Mode, int32(defaultMode)))}
		}
	}
	return nil
}

// addFields adds fields of the pod.
func (i podInputs) addFields(files map[string]volumeFile, items []corev1.DownwardAPIVolumeFile, mode *int32) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return errors.New("the test node agent knows only fieldRef in downward API volumes")
		}
		value, err := i.field(item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		files[item.Path] = volumeFile{[]byte(value), fs.FileMode(ptr.Deref(item.Mode, ptr.Deref(mode, 0o644)))}
	}
	return nil
}

// writeAtomically replaces a volume's files all at once: they are links into a folder that one more link names.
func writeAtomically(folder string, files map[string]volumeFile, security *corev1.PodSecurityContext) error {
	version := ".." + strconv.FormatInt(time.Now().UnixNano(), 10)
	for path, file := range files {
		target := filepath.Join(folder, version, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, file.content, file.mode); err != nil {
			return err
		}
		if err := os.Chmod(target, file.mode); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, version), 0o755); err != nil {
		return err
	}
	if err := shareWithGroup(filepath.Join(folder, version), security); err != nil {
		return err
	}
	previous, _ := os.Readlink(filepath.Join(folder, "..data")) // none at first
	if err := os.Symlink(version, filepath.Join(folder, "..next")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(folder, "..next"), filepath.Join(folder, "..data")); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(folder, version))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		err := os.Symlink(filepath.Join("..data", entry.Name()), filepath.Join(folder, entry.Name()))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if previous != "" {
		return os.RemoveAll(filepath.Join(folder, previous))
	}
	return nil
}

// shareWithGroup gives a folder to the pod's fsGroup, if it has one.
func shareWithGroup(folder string, security *corev1.PodSecurityContext) error {
	if security == nil || security.FSGroup == nil {
		return nil
	}
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		information, err := entry.Info()
		if err != nil {
			return err
		}
		mode := information.Mode().Perm() | 0o060
		if entry.IsDir() {
			mode |= 0o010 | fs.ModeSetgid
		}
		if err := os.Lchown(path, -1, int(*security.FSGroup)); err != nil {
			return err
		}
		return os.Chmod(path, mode)
	})
}

// credential is the user that a container runs as; nil is root.
func credential(pod *corev1.PodSecurityContext, container *corev1.SecurityContext) *syscall.Credential {
	user, group := int64(0), int64(0)
	result := &syscall.Credential{}
	if pod != nil {
		user, group = ptr.Deref(pod.RunAsUser, 0), ptr.Deref(pod.RunAsGroup, 0)
		for _, supplemental := range pod.SupplementalGroups {
			result.Groups = append(result.Groups, uint32(supplemental))
		}
		if pod.FSGroup != nil {
			result.Groups = append(result.Groups, uint32(*pod.FSGroup))
		}
	}
	if container != nil {
		user, group = ptr.Deref(container.RunAsUser, user), ptr.Deref(container.RunAsGroup, group)
	}
	result.Uid, result.Gid = uint32(user), uint32(group)
	return result
}
