package act_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// forMembers is what a certificate of the members is for, forClients one of a client.
var (
	forMembers = pki.Request{CommonName: "members", DNSNames: []string{"*.demo-peer.default.svc.cluster.local", "demo-client.default.svc.cluster.local"}, Server: true, Life: time.Hour}
	forClients = pki.Request{CommonName: "root", Life: time.Hour}
)

func someAuthority(t *testing.T, name string) pki.Authority {
	t.Helper()
	authority, err := pki.NewAuthority(name, noon, 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// give writes a Secret with a certificate of an authority.
func (s *server) give(t *testing.T, name string, by pki.Authority, request pki.Request, trusted []byte) {
	t.Helper()
	pair, err := by.Issue(request, noon)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Data:       map[string][]byte{render.KeyCertificate: pair.Certificate, render.KeyPrivate: pair.Key, render.KeyAuthority: trusted},
	}
	if err := s.Create(t.Context(), secret); apierrors.IsAlreadyExists(err) {
		err = s.Update(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
	} else if err != nil {
		t.Fatal(err)
	}
}

// given is a cluster whose certificates for clients someone else makes.
func given() observe.Observed {
	o := secured()
	o.Render.EtcdCluster = o.Render.DeepCopy()
	o.Render.Spec.Security.TLS.Client.Source = &v1alpha1.ClientCertificateSource{Secrets: &v1alpha1.ClientCertificateSecrets{
		Server: v1alpha1.CertificateSecret{Name: "given-server"}, Operator: v1alpha1.CertificateSecret{Name: "given-operator"},
	}}
	return o
}

// TestTheSourceChanges follows the rounds from the operator's own authority to Secrets of someone else, whose authority changes then,
// and back.
func TestTheSourceChanges(t *testing.T) {
	o, s, authorities := secured(), newServer(t), map[string]string{}
	s.settle(t, o, core.PlaneClient)
	s.certificates(t, o, core.PlaneClient, authorities)
	o = given()
	if plane := s.plane(t, o, core.PlaneClient); plane.AuthorityDue != "" || len(plane.Due) > 0 || !strings.Contains(plane.Source.Message, "Secret given-server does not exist") {
		t.Errorf("without the Secrets: %+v", plane.Plane)
	}
	follow := func(o observe.Observed, secrets, before, after string) {
		t.Helper()
		both := func(by string) string {
			var words []string
			for _, secret := range strings.Fields(secrets) {
				words = append(words, secret+" by "+by)
			}
			return strings.Join(words, "; ")
		}
		pair := before + "+" + after
		for _, round := range []struct {
			change core.CertificateChange
			want   string
		}{
			{core.MakeAuthority, fmt.Sprintf("signs: %s; next: %s; %s", before, after, both(before+" trusts "+before))},
			{core.IssueCertificates, fmt.Sprintf("signs: %s; next: %s; %s", before, after, both(before+" trusts "+pair))},
			{core.UseAuthority, fmt.Sprintf("signs: %s; %s", after, both(before+" trusts "+pair))},
			{core.IssueCertificates, fmt.Sprintf("signs: %s; %s", after, both(after+" trusts "+pair))},
			{core.DistrustOthers, fmt.Sprintf("signs: %s; %s", after, both(after+" trusts "+pair))},
			{core.IssueCertificates, fmt.Sprintf("signs: %s; %s", after, both(after+" trusts "+after))},
		} {
			if err := s.change(t, o, core.PlaneClient, round.change); err != nil {
				t.Fatalf("%s: %v", round.change, err)
			}
			got := strings.ReplaceAll(s.certificates(t, o, core.PlaneClient, authorities), after+"+"+before, pair)
			if got != round.want {
				t.Errorf("%s\ngot  %s\nwant %s", round.change, got, round.want)
			}
		}
		if plane := s.plane(t, o, core.PlaneClient); plane.Trust != core.TrustExact || len(plane.Due) > 0 || plane.AuthorityDue != "" || plane.RequestsDue != "" || !plane.Source.IsZero() {
			t.Errorf("in the end: %+v", plane.Plane)
		}
	}
	theirs, later := someAuthority(t, "theirs"), someAuthority(t, "later")
	s.give(t, "given-server", theirs, forMembers, theirs.Certificate)
	s.give(t, "given-operator", theirs, forClients, theirs.Certificate)
	follow(o, "server-tls operator-tls", "A1", "A2")

	// One more of the same authority is taken at once.
	s.give(t, "given-server", theirs, forMembers, theirs.Certificate)
	if plane := s.plane(t, o, core.PlaneClient); fmt.Sprint(plane.Due) != "[demo-server-tls]" || plane.AuthorityDue != "" {
		t.Errorf("it is renewed: %+v", plane.Plane)
	}
	s.settle(t, o, core.PlaneClient)
	s.give(t, "given-server", later, forMembers, later.Certificate)
	s.give(t, "given-operator", later, forClients, later.Certificate)
	follow(o, "server-tls operator-tls", "A2", "A3")

	own := secured()
	own.Render.EtcdCluster = own.Render.DeepCopy()
	s.settle(t, own, core.PlaneClient)
	if got, want := s.certificates(t, own, core.PlaneClient, authorities), "signs: A4; "+all("by A4 trusts A4"); got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
}

// TestAFollowedSourceIsHalfway: as long as only one of the Secrets has changed, nobody is distrusted who signed the other.
func TestAFollowedSourceIsHalfway(t *testing.T) {
	o, s := given(), newServer(t)
	theirs, later := someAuthority(t, "theirs"), someAuthority(t, "later")
	s.give(t, "given-server", theirs, forMembers, theirs.Certificate)
	s.give(t, "given-operator", theirs, forClients, theirs.Certificate)
	s.settle(t, o, core.PlaneClient)
	s.give(t, "given-server", later, forMembers, later.Certificate)
	s.settle(t, o, core.PlaneClient)
	plane := s.plane(t, o, core.PlaneClient)
	if len(plane.Trusted) != 2 || plane.Trust != core.TrustExact {
		t.Errorf("trusted are %d, %+v", len(plane.Trusted), plane.Plane)
	}
	s.give(t, "given-operator", later, forClients, later.Certificate)
	s.settle(t, o, core.PlaneClient)
	if plane := s.plane(t, o, core.PlaneClient); len(plane.Trusted) != 1 || !plane.Trusted.Has(later.Bundle[0]) {
		t.Errorf("trusted are %d, %+v", len(plane.Trusted), plane.Plane)
	}
}

// TestSecretsThatCannotBeUsed: it is said which, and why; what is in use stays.
func TestSecretsThatCannotBeUsed(t *testing.T) {
	theirs, other := someAuthority(t, "theirs"), someAuthority(t, "other")
	lacking, asClient := forMembers, forMembers
	lacking.DNSNames, asClient.Server = forMembers.DNSNames[1:], false
	short := forMembers
	short.Life = time.Minute
	for name, test := range map[string]struct {
		spoil func(t *testing.T, s *server, o *observe.Observed)
		want  string
	}{
		"one is gone": {func(t *testing.T, s *server, _ *observe.Observed) {
			if err := s.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "given-operator"}}); err != nil {
				t.Fatal(err)
			}
		}, "client certificates: Secret given-operator does not exist"},
		"it does not say whom to trust": {func(t *testing.T, s *server, _ *observe.Observed) {
			s.give(t, "given-server", theirs, forMembers, nil)
		}, "client certificates: Secret given-server does not say in ca.crt whom to trust: no certificate in PEM"},
		"someone else signed it": {func(t *testing.T, s *server, _ *observe.Observed) {
			s.give(t, "given-server", other, forMembers, theirs.Certificate)
		}, "the certificate in Secret given-server cannot be used: not valid for clients: x509: certificate signed by unknown authority"},
		"it is for other names": {func(t *testing.T, s *server, _ *observe.Observed) {
			s.give(t, "given-server", theirs, lacking, theirs.Certificate)
		}, "the certificate in Secret given-server cannot be used: not for *.demo-peer.default.svc.cluster.local"},
		"it lacks a name that is asked for": {func(_ *testing.T, _ *server, o *observe.Observed) {
			o.Render.Spec.Security.TLS.Client.DNSNames = []string{"etcd.example.com"}
			o.Render.Spec.Security.TLS.Client.IPAddresses = []string{"192.0.2.1"}
		}, "cannot be used: not for etcd.example.com, 192.0.2.1"},
		"it is not for servers": {func(t *testing.T, s *server, _ *observe.Observed) {
			s.give(t, "given-server", theirs, asClient, theirs.Certificate)
		}, "not valid for servers"},
		"it has expired": {func(t *testing.T, s *server, o *observe.Observed) {
			s.give(t, "given-server", theirs, short, theirs.Certificate)
			o.Now = o.Now.Add(2 * time.Minute)
		}, "has expired or is not yet valid"},
		"it is no certificate": {func(t *testing.T, s *server, _ *observe.Observed) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "given-server"}, Data: map[string][]byte{render.KeyAuthority: theirs.Certificate}}
			if err := s.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
		}, "not a certificate with its key"},
	} {
		t.Run(name, func(t *testing.T) {
			o, s := given(), newServer(t)
			s.give(t, "given-server", theirs, forMembers, theirs.Certificate)
			s.give(t, "given-operator", theirs, forClients, theirs.Certificate)
			s.settle(t, o, core.PlaneClient)
			before := s.certificates(t, o, core.PlaneClient, map[string]string{})
			test.spoil(t, s, &o)
			plane := s.plane(t, o, core.PlaneClient)
			if plane.Source.Reason != core.ReasonSourceNotReady || !strings.Contains(plane.Source.Message, test.want) {
				t.Errorf("%s %q, want %q", plane.Source.Reason, plane.Source.Message, test.want)
			}
			if plane.AuthorityDue != "" || plane.Trust != core.TrustExact || plane.Lost != "" {
				t.Errorf("%+v", plane.Plane)
			}
			if after := s.certificates(t, o, core.PlaneClient, map[string]string{}); after != before {
				t.Errorf("\nbefore %s\nafter  %s", before, after)
			}
		})
	}
}

// requests are the names of what cert-manager is asked for.
func (s *server) requests(t *testing.T) (names []string) {
	t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(render.CertManagerCertificate)
	if err := s.List(t.Context(), list, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		names = append(names, list.Items[i].GetName())
	}
	return names
}

// TestCertManagerIsAsked for what is wanted, for what is wanted then, and for nothing any more.
func TestCertManagerIsAsked(t *testing.T) {
	o, s := secured(), newServer(t)
	o.Render.EtcdCluster = o.Render.DeepCopy()
	source := &v1alpha1.PeerCertificateSource{CertManager: &v1alpha1.CertManagerSource{IssuerRef: v1alpha1.IssuerReference{Name: "team", Kind: "Issuer", Group: "cert-manager.io"}}}
	o.Render.Spec.Security.TLS.Peer.Source = source
	o.Render.Spec.Security.TLS.Client.Source = &v1alpha1.ClientCertificateSource{CertManager: source.CertManager}
	for _, plane := range []core.PlaneName{core.PlaneClient, core.PlanePeer} {
		if due := s.plane(t, o, plane).RequestsDue; due == "" {
			t.Errorf("nothing is due on the plane %s", plane)
		}
		if err := s.change(t, o, plane, core.RequestCertificates); err != nil {
			t.Fatal(err)
		}
		if due := s.plane(t, o, plane).RequestsDue; due != "" {
			t.Errorf("asked on the plane %s: %s", plane, due)
		}
	}
	if got, want := fmt.Sprint(s.requests(t)), "[demo-client-tls demo-operator-tls demo-peer-tls demo-server-tls]"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	if plane := s.plane(t, o, core.PlanePeer); plane.AuthorityDue != "" || !strings.Contains(plane.Source.Message, "Secret demo-peer-tls-issued does not exist; cert-manager has not answered Certificate demo-peer-tls yet") {
		t.Errorf("not issued yet: %+v", plane.Plane)
	}
	// A user more, and then fewer.
	o.Render.Spec.Security.Auth.Users = []v1alpha1.AuthUser{{Name: "web"}}
	if due := s.plane(t, o, core.PlaneClient).RequestsDue; !strings.Contains(due, "demo-user-web-tls") {
		t.Errorf("for a user: %q", due)
	}
	if err := s.change(t, o, core.PlaneClient, core.RequestCertificates); err != nil {
		t.Fatal(err)
	}
	o.Render.Spec.Security.Auth.Users = nil
	if err := s.change(t, o, core.PlaneClient, core.RequestCertificates); err != nil {
		t.Fatal(err)
	}
	if got := s.requests(t); len(got) != 4 {
		t.Errorf("asked for %v", got)
	}

	theirs := someAuthority(t, "theirs")
	s.give(t, "demo-peer-tls-issued", theirs, forMembers, theirs.Certificate)
	s.settle(t, o, core.PlanePeer)
	if got, want := s.certificates(t, o, core.PlanePeer, map[string]string{}), "signs: A1; peer-tls by A1 trusts A1"; got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	// Without it as a source it is asked until the operator's own authority is in use.
	o.Render.Spec.Security.TLS.Peer.Source = nil
	if due := s.plane(t, o, core.PlanePeer).RequestsDue; due != "" {
		t.Errorf("amid the change: %s", due)
	}
	s.settle(t, o, core.PlanePeer)
	if due := s.plane(t, o, core.PlanePeer).RequestsDue; due == "" {
		t.Error("it is asked for ever")
	}
	if err := s.change(t, o, core.PlanePeer, core.RequestCertificates); err != nil {
		t.Fatal(err)
	}
	if plane := s.plane(t, o, core.PlanePeer); plane.RequestsDue != "" || plane.Requested {
		t.Errorf("in the end: %+v", plane.Plane)
	}
	if got, want := fmt.Sprint(s.requests(t)), "[demo-client-tls demo-operator-tls demo-server-tls]"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
}
