package agent_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

// TestWhyThereIsNoConnection: it is told why an etcd outside cannot be reached, and not only that time is over.
func TestWhyThereIsNoConnection(t *testing.T) {
	authority := func(name string) pki.Authority {
		made, err := pki.NewAuthority(name, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	theirs, ours := authority("theirs"), authority("ours")
	issued, err := theirs.Issue(pki.Request{CommonName: "old", DNSNames: []string{"localhost"}, Server: true, Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(issued.Certificate, issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_ = connection.(*tls.Conn).Handshake()
			_ = connection.Close()
		}
	}()
	_, port, _ := strings.Cut(listener.Addr().String(), ":")
	for name, c := range map[string]struct {
		url   string
		trust []byte
		want  string
	}{
		"nobody is there":   {"http://" + loopback.FreeAddress(t), nil, "connection refused"},
		"another authority": {"https://localhost:" + port, ours.Certificate, "certificate signed by unknown authority"},
		"another name":      {"https://127.0.0.1:" + port, theirs.Certificate, "doesn't contain any IP SANs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, folder := range []string{task.SourceTLS, task.Volume} {
				if err := os.MkdirAll(filepath.Join(root, folder), 0o750); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(root, task.SourceTLS, task.KeyCA), c.trust, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := agent.Agent{Root: root}.Do(t.Context(), task.Task{
				Kind: task.Backup, Name: "import", Cluster: task.Cluster{Namespace: "default", Name: "demo", UID: "1b4e28ba"},
				Store: task.Store{Folder: new("")}, Source: &task.Source{URLs: []string{c.url}, TLS: c.trust != nil},
			})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.url) {
				t.Errorf("the error is %v, without %q", err, c.want)
			}
		})
	}
}
