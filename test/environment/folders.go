package environment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dataFolderPrefix begins the name of each data folder that Start makes; the process's id follows.
const dataFolderPrefix = "etcd-operator-test-"

// repositoryRoot is the nearest folder above the working folder that holds the project's go.mod.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository's root: %w", err)
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("find the repository's root: no go.mod in %s or above; run the tests inside the checkout", start)
		}
	}
}

// program is the path of a program under build/bin, without symbolic links.
func program(root, name string) (string, error) {
	path, err := filepath.EvalSymlinks(filepath.Join(root, "build", "bin", name))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("the program build/bin/%s is missing: run hack/build.sh kubernetes etcd/3.6 cert-manager", name)
	}
	if err != nil {
		return "", fmt.Errorf("find the program build/bin/%s: %w", name, err)
	}
	return path, nil
}

// dataFolderPattern is the pattern of this process's data folders, for os.MkdirTemp.
func dataFolderPattern() string { return fmt.Sprintf("%s%d-*", dataFolderPrefix, os.Getpid()) }

// removeStaleFolders removes the data folders of processes that ended without a Stop. Nothing can be using them:
// the processes of a cluster end with the test binary that started it.
func removeStaleFolders() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), dataFolderPrefix+"*"))
	for _, folder := range folders {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), dataFolderPrefix), "-")
		pid, err := strconv.Atoi(owner)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(folder) // best effort: another test binary may be removing it as well
		}
	}
}
