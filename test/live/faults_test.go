package live

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcd is one member on this machine, with a folder that is corrupted here.
type etcd struct {
	t      *testing.T
	folder string
	ports  int
	run    *exec.Cmd
	said   strings.Builder
}

func startEtcd(t *testing.T, folder string, ports int) *etcd {
	t.Helper()
	binary, err := filepath.Abs("../../build/bin/etcd-3.6/etcd")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skip("needs etcd 3.6, which is not built: run hack/build.sh etcd/3.6")
	}
	e := &etcd{t: t, folder: folder, ports: ports}
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports+1)
	e.run = exec.Command(binary, "--name=m", "--data-dir="+folder, "--initial-cluster=m="+peer, "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--listen-client-urls="+e.url(), "--advertise-client-urls="+e.url())
	e.run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	e.run.Stderr = &e.said
	if err := e.run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.kill)
	return e
}

func (e *etcd) url() string { return fmt.Sprintf("http://127.0.0.1:%d", e.ports) }

func (e *etcd) kill() {
	_ = e.run.Process.Kill()
	_ = e.run.Wait()
}

// do uses a client, as soon as etcd serves.
func (e *etcd) do(use func(context.Context, *clientv3.Client) error) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 20*time.Second)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{e.url()}, Logger: zap.NewNop()})
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if err := use(ctx, client); err != nil {
		e.t.Fatal(err)
	}
}

func TestEtcdDoesNotStartWithACorruptLog(t *testing.T) {
	ports, folder := 21300+os.Getpid()%500*2, t.TempDir()
	e := startEtcd(t, folder, ports)
	e.do(func(ctx context.Context, client *clientv3.Client) error {
		for n := range 50 {
			if _, err := client.Put(ctx, fmt.Sprint("key", n), "value"); err != nil {
				return err
			}
		}
		return nil
	})
	if err := CorruptLog(folder); err != nil {
		t.Fatal(err)
	}
	e.kill()
	again := startEtcd(t, folder, ports)
	ended := make(chan error, 1)
	go func() { ended <- again.run.Wait() }()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(again.said.String(), "crc mismatch") {
			t.Fatalf("etcd ended with %v and does not say why:\n%s", err, again.said.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("etcd runs on a corrupt log")
	}
}

func TestEtcdReadsACorruptDatabase(t *testing.T) {
	ports, folder := 22300+os.Getpid()%500*2, t.TempDir()
	e := startEtcd(t, folder, ports)
	const value, other = "value-that-is-right", "value-that-is-wrong"
	e.do(func(ctx context.Context, client *clientv3.Client) error {
		if _, err := client.Put(ctx, "key", value); err != nil {
			return err
		}
		// A defragmentation brings everything from the write buffer to the file.
		_, err := client.Defragment(ctx, e.url())
		return err
	})
	if err := CorruptDatabase(folder, "no-such-value", "no-such-value"); err == nil {
		t.Error("a value that is not there was changed")
	}
	if err := CorruptDatabase(folder, value, other); err != nil {
		t.Fatal(err)
	}
	e.do(func(ctx context.Context, client *clientv3.Client) error {
		got, err := client.Get(ctx, "key")
		if err == nil && string(got.Kvs[0].Value) != other {
			err = fmt.Errorf("the value is %s: what runs does not see the change", got.Kvs[0].Value)
		}
		return err
	})
}
