package etcd_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// startLimit is how long a member may take to come up on a busy machine.
const startLimit = 20 * time.Second

// cluster is a cluster of real etcd processes on loopback addresses. They are started with the arguments that the
// operator gives to members, save for addresses and folders.
type cluster struct {
	t       *testing.T
	binary  string
	extra   []string
	members []*member
	// login is that of the operator; nil as long as nobody asks.
	login *etcd.Login
}

type member struct {
	name                  string
	client, peer, metrics int
	folder                string
	process               *exec.Cmd
	ended                 chan struct{}
}

// newCluster prepares a cluster of one minor of etcd. Nothing runs yet.
func newCluster(t *testing.T, minor string, size int, extra ...string) *cluster {
	t.Helper()
	binary, err := filepath.Abs("../../build/bin/etcd-" + minor + "/etcd")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skipf("needs etcd %s, which is not built: run hack/build.sh etcd/%s", minor, minor)
	}
	c := &cluster{t: t, binary: binary, extra: extra}
	for n := range size {
		c.members = append(c.members, &member{
			name: fmt.Sprintf("demo-%d", n), client: freePort(t), peer: freePort(t), metrics: freePort(t), folder: t.TempDir(),
		})
	}
	return c
}

// nextPort counts up. It stays below the ports that the kernel gives to outgoing connections, or one of those could take
// the port of a member that is down.
var nextPort = func() *atomic.Int32 {
	var port atomic.Int32
	port.Store(int32(12_000 + os.Getpid()%1000*18))
	return &port
}()

func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := int(nextPort.Add(1))
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// arguments are those that the operator renders, with real addresses.
func (c *cluster) arguments(m *member, start core.Start) []string {
	spec := v1alpha1.EtcdClusterSpec{Version: "3.6.16", Repository: "etcd", Storage: v1alpha1.StorageSpec{Size: new(resource.MustParse("1Gi"))}}
	rendered := render.Cluster{
		EtcdCluster: &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo", UID: "uid"}, Spec: spec},
		Domain:      "cluster.local",
	}
	replacements := []string{
		"/var/lib/etcd", m.folder,
		fmt.Sprintf("0.0.0.0:%d", render.ClientPort), fmt.Sprintf("127.0.0.1:%d", m.client),
		fmt.Sprintf("0.0.0.0:%d", render.PlainPeerPort), fmt.Sprintf("127.0.0.1:%d", m.peer),
		fmt.Sprintf("0.0.0.0:%d", render.MetricsPort), fmt.Sprintf("127.0.0.1:%d", m.metrics),
	}
	var founders []string
	for _, other := range c.members {
		founders = append(founders, other.name)
		replacements = append(replacements,
			rendered.PeerURL(other.name), fmt.Sprintf("http://127.0.0.1:%d", other.peer),
			rendered.ClientURL(other.name), fmt.Sprintf("http://127.0.0.1:%d", other.client))
	}
	set := rendered.StatefulSet(core.ApplyMember{Member: m.name, Start: start, InitialCluster: founders})
	pod := set.Spec.Template
	initial := strings.NewReplacer("$(INITIAL_CLUSTER)", pod.Annotations[render.AnnotationInitialURLs], "$(INITIAL_CLUSTER_STATE)", pod.Annotations[render.AnnotationInitialState])
	arguments := []string{"--log-level=error", "--unsafe-no-fsync", "--heartbeat-interval=50", "--election-timeout=500"}
	for _, argument := range pod.Spec.Containers[0].Args {
		arguments = append(arguments, strings.NewReplacer(replacements...).Replace(initial.Replace(argument)))
	}
	return append(arguments, c.extra...)
}

// start starts a member. It is ended with the test.
func (c *cluster) start(m *member, start core.Start) {
	c.t.Helper()
	m.process = exec.Command(c.binary, c.arguments(m, start)...)
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.process.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended, process := make(chan struct{}), m.process
	m.ended = ended
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	c.t.Cleanup(func() {
		_ = process.Process.Kill()
		<-ended
	})
}

// found starts all members, which found the cluster, and waits until all of them serve.
func (c *cluster) found(pool *etcd.Pool) core.Etcd {
	c.t.Helper()
	for _, m := range c.members {
		c.start(m, core.StartBootstrap)
	}
	return c.await(pool, "all members serve", c.allServe)
}

func (c *cluster) kill(m *member) {
	c.t.Helper()
	if err := m.process.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	<-m.ended
}

// allServe is whether every member answers and follows the same leader, and the list could be read.
func (c *cluster) allServe(e core.Etcd) bool {
	for _, s := range e.Statuses {
		if !s.Answered || s.LeaderID == "" || s.LeaderID != e.Statuses[0].LeaderID {
			return false
		}
	}
	for _, l := range e.List.Members {
		if !l.Started {
			return false
		}
	}
	return e.List.Known && len(e.List.Members) == len(c.members)
}

// await observes until something is so.
func (c *cluster) await(pool *etcd.Pool, what string, so func(e core.Etcd) bool) core.Etcd {
	c.t.Helper()
	var last core.Etcd
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if last = pool.Observe(context.Background(), c.endpoints()); so(last) {
			return last
		}
	}
	c.t.Fatalf("not so within %s: %s; last seen: %+v", startLimit, what, last)
	return last
}

func (c *cluster) endpoints() []etcd.Endpoint {
	var all []etcd.Endpoint
	for _, m := range c.members {
		all = append(all, etcd.Endpoint{Member: m.name, Address: m.address(), Login: c.login})
	}
	return all
}

func (m *member) address() string { return fmt.Sprintf("http://127.0.0.1:%d", m.client) }

// leader is the member that leads, by its own account.
func (c *cluster) leader(e core.Etcd) (leader *member, followers []*member) {
	for i, s := range e.Statuses {
		if s.ID == s.LeaderID {
			leader = c.members[i]
		} else {
			followers = append(followers, c.members[i])
		}
	}
	return leader, followers
}

func newPool(t *testing.T) *etcd.Pool {
	t.Helper()
	pool := etcd.NewPool()
	t.Cleanup(pool.Close)
	return pool
}
