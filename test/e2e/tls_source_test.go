//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// TestLifeTLSSourceChanges: certificates come from cert-manager, or from Secrets, and then from the operator's own authorities again,
// while clients write that follow the ready-made certificate.
func TestLifeTLSSourceChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		source func(l *life) func(*v1alpha1.EtcdClusterSpec)
		// changed are the Secrets of the authorities that change by that.
		changed []string
	}{
		{"cert-manager", (*life).certManager, []string{"demo-client-ca", "demo-peer-ca"}},
		{"Secrets between members", (*life).givenMember, []string{"demo-peer-ca"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := beginLife(t, 3, atOnce)
			source := test.source(l)
			before := l.authorities()
			l.Change("demo", source)
			l.authoritiesAreOthers(before, test.changed...)
			t.Logf("from the own authorities to %s: %s", test.name, l.finish(3))
			before = l.authorities()
			l.workload = l.StartWorkload("demo", gently)
			l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Security.TLS.Client.Source, s.Security.TLS.Peer.Source = nil, nil })
			l.authoritiesAreOthers(before, test.changed...)
			t.Logf("from %s to own authorities: %s", test.name, l.finish(3))
		})
	}
}

// certManager starts cert-manager, with an Issuer for each plane.
func (l *life) certManager() func(*v1alpha1.EtcdClusterSpec) {
	l.T.Helper()
	l.StartCertManager()
	object := func(kind, name string, spec map[string]any) {
		made := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
		made.SetAPIVersion("cert-manager.io/v1")
		made.SetKind(kind)
		made.SetNamespace(l.Namespace)
		made.SetName(name)
		l.MustCreate(made)
	}
	object("Issuer", "root", map[string]any{"selfSigned": map[string]any{}})
	from := func(plane string) *v1alpha1.CertManagerSource {
		object("Certificate", plane, map[string]any{
			"isCA": true, "commonName": plane, "secretName": plane, "issuerRef": map[string]any{"name": "root"},
			"privateKey": map[string]any{"algorithm": "ECDSA", "rotationPolicy": "Always"},
		})
		object("Issuer", plane, map[string]any{"ca": map[string]any{"secretName": plane}})
		return &v1alpha1.CertManagerSource{IssuerRef: v1alpha1.IssuerReference{Name: plane, Kind: "Issuer", Group: "cert-manager.io"}}
	}
	clients, peers := from("clients"), from("peers")
	return func(s *v1alpha1.EtcdClusterSpec) {
		s.Security.TLS.Client.Source = &v1alpha1.ClientCertificateSource{CertManager: clients}
		s.Security.TLS.Peer.Source = &v1alpha1.PeerCertificateSource{CertManager: peers}
	}
}

// givenMember makes a Secret with a certificate for members.
func (l *life) givenMember() func(*v1alpha1.EtcdClusterSpec) {
	l.T.Helper()
	authority, err := pki.NewAuthority("someone else", time.Now(), 24*time.Hour)
	if err != nil {
		l.T.Fatal(err)
	}
	names := []string{fmt.Sprintf("*.demo-peer.%s.svc.cluster.local", l.Namespace)}
	pair, err := authority.Issue(pki.Request{CommonName: "member", DNSNames: names, Server: true, Life: time.Hour}, time.Now())
	if err != nil {
		l.T.Fatal(err)
	}
	l.MustCreate(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: "given"}, Data: map[string][]byte{
		render.KeyCertificate: pair.Certificate, render.KeyPrivate: pair.Key, render.KeyAuthority: authority.Certificate,
	}})
	return func(s *v1alpha1.EtcdClusterSpec) {
		s.Security.TLS.Peer.Source = &v1alpha1.PeerCertificateSource{Secrets: &v1alpha1.PeerCertificateSecrets{Member: v1alpha1.CertificateSecret{Name: "given"}}}
	}
}
