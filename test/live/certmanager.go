package live

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// StartCertManager runs cert-manager's controllers on this machine, for all namespaces of the cluster and until the test ends; then
// its definitions go too, with all objects of theirs. One test at a time can use it.
func (k *Kubernetes) StartCertManager() {
	k.T.Helper()
	program, err := filepath.Abs("../../build/bin/cert-manager")
	if err != nil {
		k.T.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		k.T.Fatalf("cert-manager is not built (%v): run hack/build.sh cert-manager", err)
	}
	definitions := envtest.CRDInstallOptions{
		Paths: []string{program + "-crds"}, ErrorIfPathMissing: true, MaxTime: time.Minute, PollInterval: 100 * time.Millisecond,
	}
	k.T.Cleanup(func() {
		if err := envtest.UninstallCRDs(k.Config, definitions); err != nil {
			k.T.Errorf("deleting the definitions of cert-manager: %v", err)
		}
	})
	if _, err := envtest.InstallCRDs(k.Config, definitions); err != nil {
		k.T.Fatalf("installing the definitions of cert-manager: %v", err)
	}
	var said bytes.Buffer
	run := exec.Command(program, "--kubeconfig="+os.Getenv("KUBECONFIG"), "-v=2")
	run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	run.Stdout, run.Stderr = &said, &said
	if err := run.Start(); err != nil {
		k.T.Fatalf("starting cert-manager: %v", err)
	}
	k.T.Cleanup(func() {
		// Nothing of it is used again.
		_ = run.Process.Kill()
		_ = run.Wait()
		if k.T.Failed() {
			k.T.Logf("cert-manager said:\n%s", &said)
		}
	})
}
