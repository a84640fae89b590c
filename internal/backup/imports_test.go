package backup_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The manager is kept free of what only agents need: the clients of stores, compression and encryption. (What Kubernetes'
// own libraries use of it is theirs.)
func TestTheManagerMakesNoBackups(t *testing.T) {
	listed, err := exec.Command("go", "list", "-deps", "../../cmd/etcd-operator").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(listed))
	if len(packages) < 100 {
		t.Fatalf("only %d packages are listed", len(packages))
	}
	for _, p := range packages {
		for _, forbidden := range []string{
			"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup", "github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive",
			"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/mirror",
			"github.com/minio/", "filippo.io/age", "go.etcd.io/bbolt", "golang.org/x/oauth2/google", "cloud.google.com/",
		} {
			if strings.HasPrefix(p, forbidden) {
				t.Errorf("cmd/etcd-operator uses %s", p)
			}
		}
	}
}
