// Package etcdtest runs real etcds for tests, of each minor.
package etcdtest

import (
	"cmp"
	"context"
	"crypto/tls"
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

// Minors are those that there are programs of.
var Minors = []string{"3.5", "3.6", "3.7"}

// Programs is the folder with etcd, etcdctl and etcdutl of a minor. Without them the test is skipped.
func Programs(t testing.TB, minor string) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("the test runs outside of the repository")
		}
		root = filepath.Dir(root)
	}
	folder := filepath.Join(root, "build/bin/etcd-"+minor)
	if _, err := os.Stat(folder + "/etcd"); err != nil {
		t.Skipf("needs etcd %s, which is not built: run hack/build.sh etcd/%s", minor, minor)
	}
	return folder
}

// Member is a real etcd, and a client of it alone.
type Member struct {
	*clientv3.Client
	Name, Endpoint, Peer string
	// TLS is that of the client; nil if members serve without certificates.
	TLS       *tls.Config
	arguments []string
	program   string
	process   *exec.Cmd
}

// Settings are how a member is started. What is left out is chosen: it is alone in its cluster, in a folder of the test.
type Settings struct {
	Name, Data, Peer string
	// Cluster is what etcd is told of all members, as in --initial-cluster.
	Cluster string
	// Client is the TLS of clients, if members serve with certificates.
	Client *tls.Config
	Flags  []string
}

// Run starts a member, which serves after a while, see [Member.Ready].
func Run(t testing.TB, minor string, s Settings) *Member {
	t.Helper()
	m := &Member{
		Name: cmp.Or(s.Name, "alone"), Endpoint: "http://" + loopback.FreeAddress(t), Peer: s.Peer, TLS: s.Client, program: Programs(t, minor) + "/etcd",
	}
	if m.Peer == "" {
		m.Peer = "http://" + loopback.FreeAddress(t)
	}
	if s.Data == "" {
		s.Data = t.TempDir()
	}
	if s.Client != nil {
		m.Endpoint = strings.Replace(m.Endpoint, "http:", "https:", 1)
	}
	m.arguments = append([]string{
		"--name=" + m.Name, "--data-dir=" + s.Data, "--listen-client-urls=" + m.Endpoint, "--advertise-client-urls=" + m.Endpoint, "--listen-peer-urls=" + m.Peer,
		"--initial-advertise-peer-urls=" + m.Peer, "--initial-cluster=" + cmp.Or(s.Cluster, m.Name+"="+m.Peer), "--log-level=fatal", "--unsafe-no-fsync",
	}, s.Flags...)
	m.Start(t)
	t.Cleanup(m.Kill)
	m.Client = connect(t, s.Client, m.Endpoint)
	return m
}

// Cluster starts members that are one cluster, with further flags for each.
func Cluster(t testing.TB, minor string, size int, flags ...string) []*Member {
	t.Helper()
	var all []*Member
	var peers, cluster []string
	for n := range size {
		peers = append(peers, "http://"+loopback.FreeAddress(t))
		cluster = append(cluster, fmt.Sprintf("member-%d=%s", n, peers[n]))
	}
	for n := range size {
		all = append(all, Run(t, minor, Settings{Name: fmt.Sprint("member-", n), Peer: peers[n], Cluster: strings.Join(cluster, ","), Flags: flags}))
	}
	for _, m := range all {
		m.Ready(t)
	}
	return all
}

// Secured starts a member, alone in its cluster, that serves clients by TLS. With flags it may ask them for a certificate.
func Secured(t testing.TB, minor, certificate, key string, client *tls.Config, flags ...string) *Member {
	t.Helper()
	m := Run(t, minor, Settings{Client: client, Flags: append([]string{"--cert-file=" + certificate, "--key-file=" + key}, flags...)})
	m.Ready(t)
	return m
}

// Restored starts a member, alone in its cluster, with what a snapshot has, whose checksum is not looked at. Its peers' URL is what etcd makes the ID of the cluster from;
// without one it is another cluster than any before.
func Restored(t testing.TB, minor, snapshot, peer string, flags ...string) *Member {
	t.Helper()
	token := "etcd-cluster" // as etcd has it
	if peer == "" {
		peer = "http://" + loopback.FreeAddress(t)
		token = peer
	}
	data := filepath.Join(t.TempDir(), "data")
	if said, err := exec.Command(Programs(t, minor)+"/etcdutl", "snapshot", "restore", snapshot, "--skip-hash-check", "--data-dir", data, "--name=alone",
		"--initial-cluster=alone="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster-token="+token).CombinedOutput(); err != nil {
		t.Fatalf("etcdutl %s: %v: %s", minor, err, said)
	}
	m := Run(t, minor, Settings{Data: data, Peer: peer, Flags: flags})
	m.Ready(t)
	return m
}

// Connect is a client that ends with the test.
func Connect(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	return connect(t, nil, endpoints...)
}

func connect(t testing.TB, settings *tls.Config, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: settings, Logger: zap.NewNop(), DialTimeout: 5 * time.Second, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		MaxCallSendMsgSize: 64 << 20,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}, MinConnectTimeout: 5 * time.Second,
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Endpoints are where members serve clients.
func Endpoints(members []*Member) (all []string) {
	for _, m := range members {
		all = append(all, m.Endpoint)
	}
	return all
}

// Start starts the process, for the first time or again.
func (m *Member) Start(t testing.TB) {
	t.Helper()
	m.process = exec.Command(m.program, m.arguments...)
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.process.Start(); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the process at once.
func (m *Member) Kill() {
	if m.process != nil && m.process.Process != nil {
		_ = m.process.Process.Kill()
		_ = m.process.Wait()
	}
}

// PID is the process's.
func (m *Member) PID() int { return m.process.Process.Pid }

// Ready waits until the member has a leader and answers.
func (m *Member) Ready(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := m.Get(ctx, "ready"); err != nil {
		t.Fatalf("%s of %s does not serve: %v", m.Name, m.program, err)
	}
}

// Revision is the cluster's.
func (m *Member) Revision(t testing.TB) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	now, err := m.Get(ctx, "x", clientv3.WithCountOnly())
	if err != nil {
		t.Fatalf("%s of %s does not serve: %v", m.Name, m.program, err)
	}
	return now.Header.Revision
}

// Snapshot writes one into a file, and is its path.
func (m *Member) Snapshot(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	from, err := m.Client.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	to, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if _, err := to.ReadFrom(from); err != nil {
		t.Fatal(err)
	}
	return path
}
