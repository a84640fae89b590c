package archive_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
)

var owner = backup.Cluster{Namespace: "default", Name: "demo", UID: "1b4e28ba"}

// member is a real etcd of one minor.
type member struct{ *etcdtest.Member }

// newMember starts a member that is alone in its cluster.
func newMember(t testing.TB, minor string) *member {
	t.Helper()
	m := &member{etcdtest.Run(t, minor, etcdtest.Settings{})}
	m.Ready(t)
	return m
}

func (m *member) request(c *clientv3.Client, name string, recipients []string) backup.Request {
	return backup.Request{Name: name, Cluster: owner, Member: "demo-0", Endpoint: m.Endpoint, Client: c, Recipients: recipients, Operator: "test"}
}

// options archive quickly, with bases that are backups of this member.
func (m *member) options(s store.Store, recipients ...string) archive.Options {
	return archive.Options{
		Cluster: owner, Recipients: recipients, Operator: "test", FlushEvery: 50 * time.Millisecond, IdleEvery: 200 * time.Millisecond,
		Base: func(ctx context.Context) (backup.Manifest, error) {
			return backup.Take(ctx, s, m.request(m.Client, fmt.Sprintf("base-%d", time.Now().UnixNano()), recipients))
		},
	}
}

// follow runs an archiver until it is stopped, which waits for its end, or until the end of the test.
func follow(t testing.TB, c *clientv3.Client, s store.Store, o archive.Options) (a *archive.Archiver, stop func()) {
	t.Helper()
	a, err := archive.New(c, s, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.Follow(ctx)
	}()
	stop = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Error("the archiver does not end")
		}
	}
	t.Cleanup(stop)
	return a, stop
}

// until waits for what an archiver has to come to.
func until(t testing.TB, a *archive.Archiver, what string, is func(archive.Status) bool) archive.Status {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if s := a.Status(); is(s) {
			return s
		}
	}
	t.Fatalf("within 30 s it does not come to this: %s; it is at %+v", what, a.Status())
	return archive.Status{}
}

// archived waits until all that the cluster has is on the store.
func (m *member) archived(t testing.TB, a *archive.Archiver) {
	t.Helper()
	want := m.Revision(t)
	until(t, a, fmt.Sprintf("revision %d is stored", want), func(s archive.Status) bool { return s.Revision >= want })
}

// recovered replays a target and starts etcd on it.
func (m *member) recovered(t testing.TB, s store.Store, minor string, target archive.Target, identities string) (*member, archive.Replayed) {
	t.Helper()
	folder := t.TempDir()
	plan, err := archive.Plan(t.Context(), s, owner, target)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "snapshot.db")
	replayed, err := replay(t.Context(), s, plan, identities, path)
	if err != nil {
		t.Fatal(err)
	}
	return &member{etcdtest.Restored(t, minor, path, "")}, replayed
}

func replay(ctx context.Context, s store.Store, plan archive.Recovery, identities, path string) (archive.Replayed, error) {
	file, err := os.Create(path)
	if err != nil {
		return archive.Replayed{}, err
	}
	if err := errors.Join(backup.Read(ctx, s, plan.Base, identities, file), file.Close()); err != nil {
		return archive.Replayed{}, err
	}
	return archive.Replay(ctx, s, plan, identities, path)
}

func volume(t testing.TB) (store.Store, string) {
	t.Helper()
	folder := t.TempDir()
	v, err := store.NewVolume(folder)
	if err != nil {
		t.Fatal(err)
	}
	return v, folder
}

// helper is what an archiver of its own process is told, to be killed at any time.
type helper struct{ Folder, Endpoint string }

const helperVariable = "ARCHIVER_OF_TEST"

func (h helper) start(t *testing.T) *exec.Cmd {
	t.Helper()
	told, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	process := exec.Command(os.Args[0], "-test.run=^TestMain$")
	process.Env = append(os.Environ(), helperVariable+"="+string(told))
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	process.Stderr = os.Stderr
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	return process
}

func TestMain(m *testing.M) {
	told := os.Getenv(helperVariable)
	if told == "" {
		os.Exit(m.Run())
	}
	var h helper
	if err := json.Unmarshal([]byte(told), &h); err != nil {
		panic(err)
	}
	s, err := store.NewVolume(h.Folder)
	if err != nil {
		panic(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{h.Endpoint}, Logger: zap.NewNop()})
	if err != nil {
		panic(err)
	}
	a, err := archive.New(c, s, (&member{&etcdtest.Member{Client: c, Endpoint: h.Endpoint}}).options(s))
	if err != nil {
		panic(err)
	}
	a.Follow(context.Background())
}
