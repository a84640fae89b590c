package objectstore

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

const startLimit = 20 * time.Second

// program is where hack/build.sh puts what it builds.
func program(t testing.TB, name string) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(here), "..", "..", "build", "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs %s, which is not built: run hack/build.sh %s", name, name)
	}
	return path
}

// serve runs a server until the test ends, and returns when it listens at its address.
func serve(t testing.TB, address, program string, arguments ...string) {
	t.Helper()
	process := exec.Command(program, arguments...)
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if connection, err := net.Dial("tcp", address); err == nil {
			_ = connection.Close()
			return
		}
	}
	said, _ := os.ReadFile(log.Name())
	t.Fatalf("%s does not listen at %s within %s; it said: %s", filepath.Base(program), address, startLimit, said)
}
