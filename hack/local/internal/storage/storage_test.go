package storage

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// The path comes from an object that users can write.
func TestDeleteStaysBelowItsRoot(t *testing.T) {
	root := filepath.Join(t.TempDir(), "volumes")
	inside := filepath.Join(root, "node-1", "pvc-1")
	for _, folder := range []string{inside, filepath.Join(root, "..", "precious")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := &folders{root: root}
	for _, path := range []string{
		"/etc", root, root + "/node-1", root + "/../precious", root + "/node-1/../../precious", inside + "/deeper",
	} {
		if err := f.Delete(t.Context(), localVolume(path)); err == nil {
			t.Errorf("the path %q was accepted", path)
		}
	}
	if err := f.Delete(t.Context(), localVolume(inside)); err != nil {
		t.Errorf("removing %q: %v", inside, err)
	}
	if _, err := os.Stat(inside); !os.IsNotExist(err) {
		t.Errorf("%q is still there", inside)
	}
}

func localVolume(path string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{
		PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
	}}
}

func TestWantsMore(t *testing.T) {
	claim := func(phase corev1.PersistentVolumeClaimPhase, has, wants string) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: phase}}
		c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(has)}
		c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(wants)}
		return c
	}
	if !wantsMore(claim(corev1.ClaimBound, "1Gi", "2Gi")) {
		t.Error("a bound claim that grew is left out")
	}
	if wantsMore(claim(corev1.ClaimBound, "2Gi", "2Gi")) || wantsMore(claim(corev1.ClaimPending, "1Gi", "2Gi")) {
		t.Error("a claim that has enough, or none, is resized")
	}
}
