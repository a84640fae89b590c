package agent_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

// newMirror is an agent that mirrors a source on a target.
func newMirror(t *testing.T, source, target string) *archiver {
	t.Helper()
	root := t.TempDir()
	for _, made := range []string{task.SourceTLS, task.SourceLogin} {
		if err := os.MkdirAll(filepath.Join(root, made), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	return &archiver{
		Agent: agent.Agent{Root: root, Listen: loopback.FreeAddress(t)},
		task: task.Task{
			Kind: task.Mirror, Cluster: task.Cluster{Namespace: owner.Namespace, Name: owner.Name, UID: owner.UID},
			Members: []task.Member{{Name: "demo-0", URL: target}}, Source: &task.Source{URLs: []string{source}},
		},
	}
}

// mount writes a file of a Secret.
func (a *archiver) mount(t *testing.T, folder, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.Root, folder, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *archiver) isReady(t *testing.T) {
	t.Helper()
	eventually(t, "it is ready", func() bool { code, _ := a.ask("/readyz"); return code == http.StatusOK })
}

// fails waits for an end that is final.
func (a *archiver) fails(t *testing.T) *agent.FinalError {
	t.Helper()
	select {
	case err := <-a.ended:
		var final *agent.FinalError
		if !errors.As(err, &final) {
			t.Fatalf("it ended with: %v", err)
		}
		return final
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
	return nil
}

// certificates are those of a source and of its clients.
type certificates struct {
	authority      pki.Authority
	server, client pki.Pair
}

func newCertificates(t *testing.T) certificates {
	t.Helper()
	authority, err := pki.NewAuthority("of the test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(r pki.Request) pki.Pair {
		r.Life = time.Hour
		pair, err := authority.Issue(r, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	return certificates{
		authority, issue(pki.Request{CommonName: "source", IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true}), issue(pki.Request{CommonName: "client"}),
	}
}

// start starts a source with them.
func (c certificates) start(t *testing.T, flags ...string) *etcdtest.Member {
	t.Helper()
	folder := t.TempDir()
	for name, content := range map[string][]byte{"ca.crt": c.authority.Certificate, "tls.crt": c.server.Certificate, "tls.key": c.server.Key} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(c.client.Certificate, c.client.Key)
	if err != nil {
		t.Fatal(err)
	}
	for i, flag := range flags {
		flags[i] = strings.ReplaceAll(flag, "FOLDER", folder)
	}
	return etcdtest.Secured(t, "3.6", folder+"/tls.crt", folder+"/tls.key", &tls.Config{RootCAs: c.authority.Bundle.Pool(), Certificates: []tls.Certificate{pair}}, flags...)
}

// A source that asks for certificates is mirrored; the cut-over says what both have.
func TestMirror(t *testing.T) {
	c := newCertificates(t)
	source := c.start(t, "--client-cert-auth", "--trusted-ca-file=FOLDER/ca.crt")
	put(t, source.Client, "before")
	target := etcdtest.Restored(t, "3.6", source.Snapshot(t), "")
	a := newMirror(t, source.Endpoint, target.Endpoint)
	a.task.Source.TLS = true
	a.mount(t, task.SourceTLS, "ca.crt", c.authority.Certificate)
	a.start(t)
	eventually(t, "it says that the source does not let it in", func() bool {
		code, text := a.ask("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(text, "it does not follow the source yet")
	})

	// One after the other, as the kubelet brings them.
	a.mount(t, task.SourceTLS, "tls.crt", c.client.Certificate)
	a.mount(t, task.SourceTLS, "tls.key", c.client.Key)
	a.ends(t)
	a.start(t)
	a.isReady(t)
	var last int64
	for n := range 20 {
		last = put(t, source.Client, fmt.Sprint("key-", n))
	}
	eventually(t, "all is mirrored", func() bool { return a.metricOf(t, "etcd_mirror_revision") == float64(last) })
	eventually(t, "the lag is small", func() bool { return a.metricOf(t, "etcd_mirror_lag_seconds") < 5 })
	for name, is := range map[string]func(float64) bool{
		"source_revision": func(v float64) bool { return v == float64(last) }, "transactions_total": func(v float64) bool { return v == 20 },
		"bytes_total": func(v float64) bool { return v > 0 }, "errors_total": func(v float64) bool { return v == 0 }, "compacted_revision": func(v float64) bool { return v == 0 },
		"current_timestamp_seconds": func(v float64) bool { return time.Since(time.Unix(int64(v), 0)) < 10*time.Second },
	} {
		if value := a.metricOf(t, "etcd_mirror_"+name); !is(value) {
			t.Errorf("etcd_mirror_%s is %v", name, value)
		}
	}
	if code, _ := a.ask("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d", code)
	}
	over := a.task
	over.Kind = task.CutOver
	done, err := a.Do(t.Context(), over)
	if err != nil || done.CutOver == nil || done.CutOver.Revision != last || done.CutOver.Keys != 21 || done.CutOver.Digest == "" {
		t.Errorf("the cut-over says %+v: %v", done.CutOver, err)
	}
	a.end()
	a.ends(t)
}

// A mirror that cannot go on ends for good, and so does a cut-over.
func TestMirrorOfAClusterThatIsWrittenTo(t *testing.T) {
	source := etcdtest.Cluster(t, "3.6", 1)[0]
	put(t, source.Client, "before")
	target := etcdtest.Restored(t, "3.6", source.Snapshot(t), "")
	a := newMirror(t, source.Endpoint, target.Endpoint)
	a.start(t)
	a.isReady(t)
	put(t, target.Client, "stranger")
	if final := a.fails(t); !final.Differs || !strings.Contains(final.Error(), "mirroring to default/demo: the target has not what the source has") {
		t.Errorf("it is %+v", final)
	}
	a.task.Kind = task.CutOver
	_, err := a.Do(t.Context(), a.task)
	var final *agent.FinalError
	if !errors.As(err, &final) || !final.Differs || !strings.Contains(err.Error(), "cutting over to default/demo: ") {
		t.Errorf("it is %v", err)
	}
}

// A mirror that does not reach the source is alive and not ready, also if it has to log in, and goes on when it does.
func TestMirrorOfASourceThatIsDown(t *testing.T) {
	for _, login := range []bool{false, true} {
		source := etcdtest.Cluster(t, "3.6", 1)[0]
		put(t, source.Client, "before")
		target := etcdtest.Restored(t, "3.6", source.Snapshot(t), "")
		a := newMirror(t, source.Endpoint, target.Endpoint)
		if a.task.Source.Login = login; login {
			withUsers(t, source)
			a.mount(t, task.SourceLogin, "username", []byte("root"))
			a.mount(t, task.SourceLogin, "password", []byte("secret\n"))
		}
		source.Kill()
		a.start(t)
		eventually(t, "it says why it is not ready", func() bool {
			code, text := a.ask("/readyz")
			return code == http.StatusServiceUnavailable && strings.Contains(text, "context deadline exceeded")
		})
		if code, _ := a.ask("/healthz"); code != http.StatusOK {
			t.Errorf("/healthz answers %d", code)
		}
		eventually(t, "the error is counted", func() bool { return a.metricOf(t, "etcd_mirror_errors_total") > 0 })
		source.Start(t)
		a.isReady(t)
		a.end()
		a.ends(t)
	}
}

// withUsers has a source ask who is there.
func withUsers(t *testing.T, m *etcdtest.Member) {
	t.Helper()
	if _, err := m.UserAdd(t.Context(), "root", "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.UserGrantRole(t.Context(), "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.AuthEnable(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A backup of a source is one as any other, made of a follower.
func TestBackupOfASource(t *testing.T) {
	members := etcdtest.Cluster(t, "3.6", 3)
	put(t, members[0].Client, "a")
	status, err := members[0].Status(t.Context(), members[0].Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[int]uint64{}
	for n, m := range members {
		own, err := m.Status(t.Context(), m.Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		ids[n] = own.Header.MemberId
	}
	withUsers(t, members[0])
	a := newArchiver(t, "http://127.0.0.1:1")
	a.task.Kind, a.task.Archive, a.task.Name = task.Backup, nil, "of-the-source"
	a.task.Source = &task.Source{URLs: etcdtest.Endpoints(members), Login: true}
	if err := os.MkdirAll(filepath.Join(a.Root, task.SourceLogin), 0o750); err != nil {
		t.Fatal(err)
	}
	a.mount(t, task.SourceLogin, "username", []byte("root"))
	a.mount(t, task.SourceLogin, "password", []byte("secret"))
	done, err := a.Do(t.Context(), a.task)
	if err != nil || done.Backup == nil || done.Backup.Keys != 1 {
		t.Fatalf("it is %+v: %v", done.Backup, err)
	}
	leads := -1
	for n, id := range ids {
		if id == status.Leader {
			leads = n
		}
	}
	if made := done.Backup.Member; !strings.HasPrefix(made, "endpoint-") || made == fmt.Sprint("endpoint-", leads) {
		t.Errorf("it was made of %q, and endpoint-%d leads", made, leads)
	}
}

// The source is known by its authority; the agent may have nothing to show, or a certificate with its key.
func TestSourceTLS(t *testing.T) {
	c := newCertificates(t)
	source := c.start(t)
	put(t, source.Client, "a")
	for name, test := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"authority only": {files: map[string][]byte{"ca.crt": c.authority.Certificate}},
		"all":            {files: map[string][]byte{"ca.crt": c.authority.Certificate, "tls.crt": c.client.Certificate, "tls.key": c.client.Key}},
		"nothing":        {want: "whom the agent trusts: "},
		"no authority":   {files: map[string][]byte{"ca.crt": []byte("none")}, want: "whom the agent trusts: there is no certificate in ca.crt"},
		"no key":         {files: map[string][]byte{"ca.crt": c.authority.Certificate, "tls.crt": c.client.Certificate}, want: "the agent's certificate: "},
		"no certificate": {files: map[string][]byte{"ca.crt": c.authority.Certificate, "tls.key": c.client.Key}, want: "the agent's certificate: "},
		"another":        {files: map[string][]byte{"ca.crt": newCertificates(t).authority.Certificate}, want: "endpoint-0 at https://"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArchiver(t, "http://127.0.0.1:1")
			a.task.Kind, a.task.Archive, a.task.Name = task.Backup, nil, "of-the-source"
			a.task.Source = &task.Source{URLs: []string{source.Endpoint}, TLS: true}
			if err := os.MkdirAll(filepath.Join(a.Root, task.SourceTLS), 0o750); err != nil {
				t.Fatal(err)
			}
			for file, content := range test.files {
				a.mount(t, task.SourceTLS, file, content)
			}
			_, err := a.Do(t.Context(), a.task)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("it is %v", err)
			}
		})
	}
}

// A task of another version is refused for good.
func TestMirrorWithoutASource(t *testing.T) {
	for _, kind := range []task.Kind{task.Mirror, task.CutOver} {
		a := newMirror(t, "http://127.0.0.1:1", "http://127.0.0.1:1")
		a.task.Kind, a.task.Source = kind, nil
		_, err := a.Do(context.Background(), a.task)
		var final *agent.FinalError
		if !errors.As(err, &final) || !strings.Contains(final.Error(), "does not say what is mirrored by which members of default/demo") {
			t.Errorf("it is %v", err)
		}
	}
}
