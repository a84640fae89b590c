package history

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

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

// processes are a cluster of real etcd processes.
type processes struct {
	t               *testing.T
	binary, initial string
	members         []*process
}

type process struct {
	name, client, peer, folder string
	command                    *exec.Cmd
}

func newProcesses(t *testing.T, size int) *processes {
	t.Helper()
	binary, err := filepath.Abs("../../build/bin/etcd-3.6/etcd")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skip("needs etcd 3.6, which is not built: run hack/build.sh etcd/3.6")
	}
	p := &processes{t: t, binary: binary}
	var initial []string
	for n := range size {
		m := &process{name: fmt.Sprintf("m%d", n), client: "http://" + loopback.FreeAddress(t), peer: "http://" + loopback.FreeAddress(t), folder: t.TempDir()}
		p.members = append(p.members, m)
		initial = append(initial, m.name+"="+m.peer)
	}
	p.initial = strings.Join(initial, ",")
	for _, m := range p.members {
		p.start(m)
	}
	t.Cleanup(func() {
		for _, m := range p.members {
			p.kill(m)
		}
	})
	return p
}

func (p *processes) start(m *process) {
	p.t.Helper()
	m.command = exec.Command(p.binary, "--name="+m.name, "--data-dir="+m.folder, "--initial-cluster="+p.initial, "--log-level=error",
		"--listen-client-urls="+m.client, "--advertise-client-urls="+m.client, "--listen-peer-urls="+m.peer, "--initial-advertise-peer-urls="+m.peer)
	m.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.command.Start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *processes) kill(m *process) {
	_ = m.command.Process.Kill()
	_ = m.command.Wait()
}

// connect waits until the cluster serves, and gives clients as applications have them.
func (p *processes) connect(count int) []Client {
	p.t.Helper()
	var urls []string
	for _, m := range p.members {
		urls = append(urls, m.client)
	}
	var clients []Client
	for n := range count {
		client, err := clientv3.New(clientv3.Config{Endpoints: urls, Logger: zap.NewNop()})
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { _ = client.Close() })
		clients = append(clients, Client{fmt.Sprintf("c%d", n), client})
	}
	p.serves(clients[0])
	return clients
}

func (p *processes) serves(client Client) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		trying, done := context.WithTimeout(ctx, time.Second)
		_, err := client.Put(trying, "serves", "")
		done()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			p.t.Fatalf("etcd does not serve: %v", err)
		}
	}
}

func (p *processes) leader(client Client) *process {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, m := range p.members {
		if status, err := client.Status(ctx, m.client); err == nil && status.Leader == status.Header.MemberId {
			return m
		}
	}
	p.t.Fatal("there is no leader")
	return nil
}

func TestARunThroughTheDeathOfTheLeader(t *testing.T) {
	p := newProcesses(t, 3)
	clients := p.connect(2)
	run := Start(t.Context(), clients, Options{Keys: 8})
	pause(t.Context(), 2*time.Second)
	leader := p.leader(clients[0])
	p.kill(leader)
	pause(t.Context(), 3*time.Second)
	p.start(leader)
	pause(t.Context(), 2*time.Second)
	result := run.Stop()
	t.Log(result)
	if err := run.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if result.Elections < 1 {
		t.Errorf("%d elections are seen, there was one at least", result.Elections)
	}
	worst := result.Worst()
	if worst.Writes < 300 || worst.LongestGap < 100*time.Millisecond || worst.LongestGap > 6*time.Second || worst.P50 == 0 {
		t.Errorf("figures are %+v: an election takes about a second", worst)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := HashKV(ctx, clients[0].Client); err != nil {
		t.Error(err)
	}
}

// What the checks are for: a cluster that lost its data and goes on is found out, also when it looks healthy.
func TestARunThroughTheLossOfAllData(t *testing.T) {
	p := newProcesses(t, 1)
	clients := p.connect(1)
	only := p.members[0]
	run := Start(t.Context(), clients, Options{Keys: 8})
	pause(t.Context(), time.Second)
	p.kill(only)
	if err := os.RemoveAll(filepath.Join(only.folder, "member")); err != nil {
		t.Fatal(err)
	}
	p.start(only)
	p.serves(clients[0])
	pause(t.Context(), time.Second)
	t.Log(run.Stop())
	if err := run.Check(t.Context()); err == nil {
		t.Fatal("a cluster that lost all its data is found good")
	} else {
		t.Logf("found: %.300v", err)
	}
}

func TestHashKVFindsAMemberThatDiffers(t *testing.T) {
	// Two clusters stand for two members that differ: the list names a member of another cluster.
	p, q := newProcesses(t, 1), newProcesses(t, 1)
	client := p.connect(1)[0]
	other := q.connect(1)[0]
	if _, err := other.Put(t.Context(), "serves", "differs"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := client.Put(t.Context(), "more", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Put(t.Context(), "else", ""); err != nil {
			t.Fatal(err)
		}
	}
	members, err := client.MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	differ, err := compare(t.Context(), client.Client, 3, map[string]string{"m0": members.Members[0].ClientURLs[0], "m1": q.members[0].client})
	if differ == nil || err != nil {
		t.Fatalf("found %v, %v; want that the data differs", differ, err)
	}
}
