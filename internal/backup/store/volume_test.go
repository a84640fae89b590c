package store_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

func partials(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), ".partial-") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestVolumeConforms(t *testing.T) {
	folder := t.TempDir()
	v, err := store.NewVolume(folder)
	if err != nil {
		t.Fatal(err)
	}
	conform(t, v, func() []string { return partials(t, folder) })
}

func TestVolumeThatIsNotMounted(t *testing.T) {
	folder := t.TempDir()
	if _, err := store.NewVolume(filepath.Join(folder, "none")); err == nil || !strings.Contains(err.Error(), "check that its volume is mounted") {
		t.Errorf("no directory: %v", err)
	}
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.NewVolume(file); err == nil || !strings.Contains(err.Error(), "is no directory") {
		t.Errorf("a file: %v", err)
	}
}

// What a writer left that was killed is no object, and in nobody's way.
func TestVolumeAfterACrash(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, ".partial-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := store.NewVolume(folder)
	if err != nil {
		t.Fatal(err)
	}
	if names := list(t, v, ""); len(names) > 0 {
		t.Errorf("listed: %v", names)
	}
	put(t, v, "a", "b")
}

func TestVolumeThatIsFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, 0) })
	v, err := store.NewVolume(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Put(t.Context(), "torn/big", bytes.NewReader(sample(2<<20))); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the error is %v", err)
	}
	nothing(t, v, func() []string { return partials(t, folder) })
	put(t, v, "small", "fits")
}
