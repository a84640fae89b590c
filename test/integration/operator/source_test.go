//go:build integration

package operator

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// company makes certificates for the members of a scene, and knows nothing of the operator.
type company struct {
	*scene
	clients, peers pki.Authority
}

func (s *scene) company(name string) *company {
	s.Helper()
	c := &company{scene: s}
	for plane, authority := range map[string]*pki.Authority{"clients": &c.clients, "peers": &c.peers} {
		var err error
		if *authority, err = pki.NewAuthority(name+" for "+plane, time.Now(), 24*time.Hour); err != nil {
			s.Fatal(err)
		}
	}
	return c
}

// fill writes the Secrets that are named in the spec by [given].
func (c *company) fill() {
	c.Helper()
	members := []string{fmt.Sprintf("*.demo-peer.%s.svc.cluster.local", c.namespace)}
	server := append([]string{fmt.Sprintf("demo-client.%s.svc.cluster.local", c.namespace), fmt.Sprintf("*.demo-peer.%s.svc", c.namespace)}, members...)
	c.write("given-server", c.clients, pki.Request{CommonName: "server", DNSNames: server, Server: true, Life: time.Hour})
	c.write("given-operator", c.clients, pki.Request{CommonName: "root", Life: time.Hour})
	c.write("given-member", c.peers, pki.Request{CommonName: "member", DNSNames: members, Server: true, Life: time.Hour})
}

// write writes a Secret with a certificate, and whom to trust besides who signed it.
func (c *company) write(name string, by pki.Authority, request pki.Request, others ...byte) {
	c.Helper()
	pair, err := by.Issue(request, time.Now())
	if err != nil {
		c.Fatal(err)
	}
	c.eventually("Secret "+name+" is written", patience, func() error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
		if found, err := c.secret(name); err == nil {
			secret = found
		} else if !apierrors.IsNotFound(err) {
			return err
		}
		secret.Data = map[string][]byte{
			render.KeyCertificate: pair.Certificate, render.KeyPrivate: pair.Key, render.KeyAuthority: append(others, by.Certificate...),
		}
		if secret.UID == "" {
			return env.Client.Create(c.Context(), secret)
		}
		return env.Client.Update(c.Context(), secret)
	})
}

// given takes all certificates from Secrets.
func given(spec *v1alpha1.EtcdClusterSpec) {
	name := func(name string) v1alpha1.CertificateSecret { return v1alpha1.CertificateSecret{Name: name} }
	spec.Security.TLS.Client.Source = &v1alpha1.ClientCertificateSource{Secrets: &v1alpha1.ClientCertificateSecrets{Server: name("given-server"), Operator: name("given-operator")}}
	spec.Security.TLS.Peer.Source = &v1alpha1.PeerCertificateSource{Secrets: &v1alpha1.PeerCertificateSecrets{Member: name("given-member")}}
}

// issuedBy lets cert-manager issue all certificates, those of each plane by an Issuer of its own.
func issuedBy(clients, peers string) func(*v1alpha1.EtcdClusterSpec) {
	from := func(issuer string) *v1alpha1.CertManagerSource {
		return &v1alpha1.CertManagerSource{IssuerRef: v1alpha1.IssuerReference{Name: issuer, Kind: "Issuer", Group: "cert-manager.io"}}
	}
	return func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Security.TLS.Client.Source = &v1alpha1.ClientCertificateSource{CertManager: from(clients)}
		spec.Security.TLS.Peer.Source = &v1alpha1.PeerCertificateSource{CertManager: from(peers)}
	}
}

// ours takes all certificates from the operator's own authorities.
func ours(spec *v1alpha1.EtcdClusterSpec) {
	spec.Security.TLS.Client.Source, spec.Security.TLS.Peer.Source = nil, nil
}

// overlapping gives clients time to follow.
func overlapping(d time.Duration) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Security.TLS.Certificates.Overlap = &metav1.Duration{Duration: d}
	}
}

// trustsOnly waits until all members show certificates of these authorities, and trust no others.
func (s *scene) trustsOnly(clients, peers []byte) {
	s.Helper()
	took := s.eventually("only the new authorities are trusted", longPatience, func() error {
		for name, want := range map[string][]byte{"demo-server-tls": clients, "demo-peer-tls": peers} {
			secret, err := s.secret(name)
			if err != nil {
				return err
			}
			if !bytes.Equal(secret.Data[render.KeyAuthority], want) {
				return fmt.Errorf("%s trusts others: %s", name, summary(s.cluster()))
			}
		}
		return nil
	})
	s.tidy(longPatience)
	s.Logf("after %v", took.Round(time.Millisecond))
	for port, authority := range map[int][]byte{render.ClientPort: clients, render.PeerPort: peers} {
		bundle, err := pki.ParseBundle(authority)
		if err != nil {
			s.Fatal(err)
		}
		for _, member := range s.cluster().Status.Members {
			if shown := s.shown(member.Name, port); shown == nil || !pki.Signed(shown, bundle[0]) {
				s.Errorf("member %s shows a certificate of someone else on port %d", member.Name, port)
			}
		}
	}
}

// authorityOf is the certificate of the operator's own authority.
func (s *scene) authorityOf(plane string) []byte {
	s.Helper()
	secret, err := s.secret("demo-" + plane + "-ca")
	if err != nil {
		s.Fatal(err)
	}
	return secret.Data[render.KeyCertificate]
}

// TestCertificatesOfOnesOwn: under writes, the source changes from the operator's own authorities to Secrets, their authority
// changes, one is spoiled, and the source changes back. The application follows in the time that it is given.
func TestCertificatesOfOnesOwn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	s.certificate = "application"
	first, second := s.company("first"), s.company("second")
	// The application trusts whom it will have to, and is known by the ready-made certificate at first.
	follow := func(from string, others ...byte) {
		t.Helper()
		secret, err := s.secret(from)
		if err != nil {
			t.Fatal(err)
		}
		secret.Data[render.KeyAuthority] = append(others, secret.Data[render.KeyAuthority]...)
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: s.certificate}, Data: secret.Data}
		if old, err := s.secret(s.certificate); err == nil {
			secret.ResourceVersion = old.ResourceVersion
			if err := env.Client.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			return
		}
		s.create(secret)
	}
	cluster := s.demo(3, secured, overlapping(15*time.Second))
	s.create(cluster)
	s.eventually("the ready-made certificate is there", patience, func() error {
		_, err := s.secret("demo-client-tls")
		return err
	})
	follow("demo-client-tls")
	s.settled()
	s.sealed()
	h := s.follow()
	w := s.write()

	stage := func(name string, change func(), clients, peers []byte, then func()) {
		t.Helper()
		begun := time.Now()
		h.mark()
		change()
		s.eventually("both authorities are to be trusted: "+name, longPatience, func() error {
			secret, err := s.secret("demo-server-tls")
			if err == nil && strings.Count(string(secret.Data[render.KeyAuthority]), "BEGIN CERTIFICATE") != 2 {
				err = errors.New("not yet")
			}
			return err
		})
		then()
		s.trustsOnly(clients, peers)
		if fewest, _ := h.since(); fewest < 2 {
			t.Errorf("%s: at some moment only %d members ran", name, fewest)
		}
		if took := time.Since(begun); took < 30*time.Second {
			t.Errorf("%s: clients were given 2 times 15 s, and it took %v", name, took)
		}
	}
	// both is a certificate of one company that trusts another as well.
	both := func(c *company, other []byte) func() {
		return func() {
			c.write(s.certificate, c.clients, pki.Request{CommonName: "application", Life: time.Hour}, other...)
		}
	}
	own := s.authorityOf("client")
	first.fill()
	stage("from the own to the first", func() { s.change(given) }, first.clients.Certificate, first.peers.Certificate, func() {
		// It is known by what it had for as long as the first round takes, and trusts both.
		follow("demo-client-tls", first.clients.Certificate...)
		s.uses("demo-server-tls", first.clients)
		both(first, own)()
	})
	stage("from the first to the second", second.fill, second.clients.Certificate, second.peers.Certificate, func() {
		both(first, second.clients.Certificate)()
		s.uses("demo-server-tls", second.clients)
		both(second, first.clients.Certificate)()
	})

	// One that cannot be used changes nothing.
	second.write("given-server", first.clients, pki.Request{CommonName: "server", Life: time.Hour})
	s.eventually("it is said what is missing", patience, func() error {
		valid := meta.FindStatusCondition(s.cluster().Status.Conditions, core.CertificatesValid)
		if valid == nil || valid.Reason != string(core.ReasonSourceNotReady) || !strings.Contains(valid.Message, "Secret given-server") {
			return fmt.Errorf("the condition is %v", valid)
		}
		return nil
	})
	s.tidy(longPatience)
	second.fill()
	s.eventually("it is right again", patience, func() error {
		if valid := meta.FindStatusCondition(s.cluster().Status.Conditions, core.CertificatesValid); valid.Status != metav1.ConditionTrue {
			return fmt.Errorf("the condition is %v", valid)
		}
		return nil
	})

	before := s.authorityOf("client")
	s.change(ours)
	s.eventually("the own authority is the next one", patience, func() error {
		secret, err := s.secret("demo-client-tls")
		if err == nil && strings.Count(string(secret.Data[render.KeyAuthority]), "BEGIN CERTIFICATE") != 2 {
			err = errors.New("not yet")
		}
		return err
	})
	next, err := s.secret("demo-client-ca")
	if err != nil {
		t.Fatal(err)
	}
	both(second, render.NextPair(next).Certificate)()
	s.eventually("the own authority signs", longPatience, func() error {
		if bytes.Equal(s.authorityOf("client"), before) {
			return errors.New("not yet")
		}
		return nil
	})
	s.eventually("there is a certificate of it for applications", patience, func() error {
		secret, err := s.secret("demo-client-tls")
		if err != nil {
			return err
		}
		bundle, err := pki.ParseBundle(s.authorityOf("client"))
		if err != nil {
			return err
		}
		leaf, err := pki.ParseLeaf(render.Pair(secret))
		if err == nil && !pki.Signed(leaf, bundle[0]) {
			err = errors.New("not yet")
		}
		return err
	})
	follow("demo-client-tls")
	s.trustsOnly(s.authorityOf("client"), s.authorityOf("peer"))
	w.finish()
}

// uses waits until a certificate in use is one of an authority.
func (s *scene) uses(name string, authority pki.Authority) {
	s.Helper()
	s.eventually("the new authority signs", longPatience, func() error {
		secret, err := s.secret(name)
		if err != nil {
			return err
		}
		leaf, err := pki.ParseLeaf(render.Pair(secret))
		if err == nil && !pki.Signed(leaf, authority.Bundle[0]) {
			err = fmt.Errorf("not yet: %s", summary(s.cluster()))
		}
		return err
	})
}

// TestCertificatesFromCertManager: under writes, the source changes from the operator's own authorities to cert-manager, a certificate
// is renewed, the authority of an Issuer changes, and the source changes back.
func TestCertificatesFromCertManager(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.certManager()
	s.operate()
	s.authorityIssuer("clients")
	s.authorityIssuer("peers")
	s.running(3, secured)
	s.sealed()
	h := s.follow()
	w := s.write()
	h.mark()
	s.change(issuedBy("clients", "peers"))
	clients, peers := s.issued("clients"), s.issued("peers")
	s.trustsOnly(clients.chain, peers.chain)

	// Members show one that is renewed without a restart.
	before := s.pods()
	renewed := s.renew("demo-server-tls")
	s.eventually("all members show the new certificate", patience, func() error {
		for _, member := range s.members() {
			if shown := s.shown(member, render.ClientPort); shown == nil || !shown.Equal(renewed.Certificate) {
				return fmt.Errorf("member %s does not", member)
			}
		}
		return nil
	})
	for name, pod := range s.pods() {
		if before[name] == nil || before[name].UID != pod.UID {
			t.Errorf("pod %s was restarted for a certificate", name)
		}
	}

	// What the Issuer has signed with another authority comes one after the other, as it is renewed.
	clients = s.renew("clients")
	for _, name := range []string{"demo-client-tls", "demo-server-tls", "demo-operator-tls"} {
		s.renew(name)
		time.Sleep(3 * time.Second)
	}
	s.trustsOnly(clients.chain, peers.chain)

	s.change(ours)
	s.asksNothing()
	s.trustsOnly(s.authorityOf("client"), s.authorityOf("peer"))
	if fewest, _ := h.since(); fewest < 2 {
		t.Errorf("at some moment only %d members ran", fewest)
	}
	w.finish()
}

// certificatesAsked are the names of the Certificates that are made for the cluster.
func (s *scene) certificatesAsked() (names []string) {
	s.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(render.CertManagerCertificate)
	if err := env.Client.List(s.Context(), list, client.InNamespace(s.namespace), client.MatchingLabels{render.LabelCluster: "demo"}); err != nil {
		s.Fatal(err)
	}
	for i := range list.Items {
		names = append(names, list.Items[i].GetName())
	}
	return names
}

// asksNothing waits until cert-manager is asked for nothing any more.
func (s *scene) asksNothing() {
	s.Helper()
	s.eventually("cert-manager is asked for nothing any more", longPatience, func() error {
		if left := s.certificatesAsked(); len(left) > 0 {
			return fmt.Errorf("there are the Certificates %v", left)
		}
		return nil
	})
}

// TestAClusterWaitsForCertManager, and says what cert-manager says. Then it runs.
func TestAClusterWaitsForCertManager(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.certManager()
	s.operate()
	s.create(s.demo(1, secured, issuedBy("clients", "peers")))
	s.says("Degraded", "CertificateSourceNotReady", "Secret demo-server-tls-issued does not exist; cert-manager says of CertificateRequest demo-server-tls-1 that",
		`Ready is False: Referenced "Issuer" not found: issuer.cert-manager.io "clients" not found`)
	s.authorityIssuer("clients")
	s.authorityIssuer("peers")
	s.settled()
	s.put("key", "value")
	s.holds("key", "value")
	s.delete(s.cluster())
	s.asksNothing()
}

// TestAnAuthorityOfOnesOwnGrowsOld: under writes, members come to trust an authority that someone puts into the Secret, it signs, and
// when two thirds of its life are over the operator changes to one of its own making.
func TestAnAuthorityOfOnesOwnGrowsOld(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	s.running(3, secured)
	s.sealed()
	h := s.follow()
	w := s.write()
	h.mark()
	const age, left = 40 * time.Hour, 75 * time.Second
	own, err := pki.NewAuthority("one's own", time.Now().Add(-age), (age+left)*3/2)
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("an authority is put into the Secret", patience, func() error {
		secret, err := s.secret("demo-client-ca")
		if err != nil {
			return err
		}
		secret.Data[render.KeyCertificate], secret.Data[render.KeyPrivate] = own.Certificate, own.Key
		return env.Client.Update(t.Context(), secret)
	})
	s.uses("demo-server-tls", own)
	s.eventually("it is changed for its age", longPatience, func() error {
		if now := s.authorityOf("client"); bytes.Equal(now, own.Certificate) {
			return errors.New("not yet")
		}
		return nil
	})
	s.trustsOnly(s.authorityOf("client"), s.authorityOf("peer"))
	if fewest, _ := h.since(); fewest < 2 {
		t.Errorf("at some moment only %d members ran", fewest)
	}
	w.finish()
}
