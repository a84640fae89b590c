//go:build integration

package operator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/application"
)

// secured asks for TLS on both planes. Clients follow at once when authorities change.
func secured(spec *v1alpha1.EtcdClusterSpec) {
	spec.Security.TLS.Certificates.Overlap = &metav1.Duration{}
	spec.Security.TLS.Client.Mode, spec.Security.TLS.Peer.Mode = v1alpha1.ClientTLSRequired, v1alpha1.PeerTLSRequired
}

// unsecured asks for no TLS.
func unsecured(spec *v1alpha1.EtcdClusterSpec) {
	spec.Security.TLS.Client.Mode, spec.Security.TLS.Peer.Mode = v1alpha1.ClientTLSDisabled, v1alpha1.PeerTLSDisabled
}

// endpoint is where a member is reached by its address.
func (s *scene) endpoint(member string) string {
	s.Helper()
	pod, scheme := s.pods()[render.PodName(member)], "http"
	if render.TalksTLS(pod.Spec) {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s:2379", scheme, pod.Status.PodIP)
}

// credentials are those of an application, if the cluster talks TLS.
func (s *scene) credentials(endpoints []string) *tls.Config {
	if !application.TalkTLS(endpoints) {
		return nil
	}
	return application.Credentials(fmt.Sprintf("demo-0-0.demo-peer.%s.svc", s.namespace), func() (map[string][]byte, error) {
		secret, err := s.secret(cmp.Or(s.certificate, "demo-client-tls"))
		return secret.Data, err
	})
}

func (s *scene) secret(name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, env.Client.Get(context.Background(), s.key(name), secret)
}

// shown is the certificate that a member shows on a port.
func (s *scene) shown(member string, port int) *x509.Certificate {
	s.Helper()
	address := net.JoinHostPort(s.pods()[render.PodName(member)].Status.PodIP, fmt.Sprint(port))
	return observe.Shown(s.Context(), address, "demo-0-0.demo-peer."+s.namespace+".svc")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.5.33", "3.6.16", "3.7.3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.needs(version)
			s.operate()
			s.running(1, secured, etcdVersion(version))
			s.put("key", "value")
			s.change(func(spec *v1alpha1.EtcdClusterSpec) { three := int32(3); spec.Size = &three })
			s.tidy(longPatience)
			s.holds("key", "value")
			for _, member := range s.cluster().Status.Members {
				if s.shown(member.Name, render.ClientPort) == nil || s.shown(member.Name, render.PeerPort) == nil {
					t.Errorf("member %s does not talk TLS on both planes", member.Name)
				}
			}
			s.checkStrangers()
		})
	}
}

// checkStrangers checks that nobody is served who has no certificate of this cluster.
func (s *scene) checkStrangers() {
	s.Helper()
	endpoint := s.endpoint(s.cluster().Status.Leader)
	other, err := pki.NewAuthority("another", time.Now(), time.Hour)
	if err != nil {
		s.Fatal(err)
	}
	own, err := s.secret("demo-client-ca")
	if err != nil {
		s.Fatal(err)
	}
	authority, err := pki.ParseAuthority(pki.Pair{Certificate: own.Data["tls.crt"], Key: own.Data["tls.key"]})
	if err != nil {
		s.Fatal(err)
	}
	peers, err := s.secret("demo-peer-ca")
	if err != nil {
		s.Fatal(err)
	}
	peerAuthority, err := pki.ParseAuthority(pki.Pair{Certificate: peers.Data["tls.crt"], Key: peers.Data["tls.key"]})
	if err != nil {
		s.Fatal(err)
	}
	issue := func(by pki.Authority, at time.Time) *tls.Certificate {
		pair, err := by.Issue(pki.Request{CommonName: "root", Life: time.Hour}, at)
		if err != nil {
			s.Fatal(err)
		}
		certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
		if err != nil {
			s.Fatal(err)
		}
		return &certificate
	}
	for name, stranger := range map[string]struct {
		endpoint    string
		certificate *tls.Certificate
		served      bool
	}{
		"one of this cluster":                {endpoint, issue(authority, time.Now()), true},
		"without TLS":                        {strings.Replace(endpoint, "https", "http", 1), nil, false},
		"without a certificate":              {endpoint, nil, false},
		"with one of another authority":      {endpoint, issue(other, time.Now()), false},
		"with one that has expired":          {endpoint, issue(authority, time.Now().Add(-2*time.Hour)), false},
		"with one of the members' authority": {endpoint, issue(peerAuthority, time.Now()), false},
	} {
		config := clientv3.Config{Endpoints: []string{stranger.endpoint}, DialTimeout: 2 * time.Second, Logger: zap.NewNop()}
		if strings.HasPrefix(stranger.endpoint, "https") {
			config.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
			if stranger.certificate != nil {
				config.TLS.Certificates = []tls.Certificate{*stranger.certificate}
			}
		}
		connection, err := clientv3.New(config)
		if err != nil {
			s.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(s.Context(), 3*time.Second)
		_, err = connection.Get(ctx, "key")
		cancel()
		_ = connection.Close()
		if (err == nil) != stranger.served {
			s.Errorf("a client %s: served %v, want %v: %v", name, err == nil, stranger.served, err)
		}
	}
	// Whoever has no peer's certificate of this cluster is no peer, a client neither.
	host := s.pods()[render.PodName(s.cluster().Status.Leader)].Status.PodIP
	for name, certificate := range map[string]*tls.Certificate{
		"of another cluster": issue(other, time.Now()), "of a client": issue(authority, time.Now()),
	} {
		config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}, InsecureSkipVerify: true}
		if err := askMembers(net.JoinHostPort(host, fmt.Sprint(render.PeerPort)), config); err == nil {
			s.Errorf("a peer with a certificate %s was answered", name)
		}
	}
}

// askMembers asks a member for the member list as a peer does that joins.
func askMembers(address string, config *tls.Config) error {
	connection, err := tls.DialWithDialer(&net.Dialer{Timeout: 3 * time.Second}, "tcp", address, config)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := fmt.Fprintf(connection, "GET /members HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	_, err = connection.Read(make([]byte, 1))
	return err
}

// TestACertificateIsRenewed: members show a new certificate without a restart, and no write fails by that.
func TestACertificateIsRenewed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	s.running(3, secured)
	s.sealed()
	before := s.pods()
	w := s.write()
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Security.TLS.Client.DNSNames, spec.Security.TLS.Client.IPAddresses = []string{"etcd.example.com"}, []string{"192.0.2.7"}
	})
	s.eventually("all members show the new certificate", patience, func() error {
		for name := range before {
			shown := s.shown(strings.TrimSuffix(name, "-0"), render.ClientPort)
			if shown == nil || shown.VerifyHostname("etcd.example.com") != nil || shown.VerifyHostname("192.0.2.7") != nil {
				return fmt.Errorf("pod %s does not", name)
			}
		}
		return nil
	})
	s.settled()
	w.finish()
	if w.failed > 0 {
		t.Errorf("%d writes failed", w.failed)
	}
	for name, pod := range s.pods() {
		if before[name].UID != pod.UID {
			t.Errorf("pod %s was restarted", name)
		}
	}
}

// TestTheAuthoritiesAreChanged: by hand, with all members restarted twice, one at a time, and under writes.
func TestTheAuthoritiesAreChanged(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	h := s.follow()
	s.running(3, secured)
	s.sealed()
	old := map[int]*x509.Certificate{}
	for _, port := range []int{render.ClientPort, render.PeerPort} {
		old[port] = s.shown("demo-0", port)
	}
	w := s.write()
	h.mark()
	s.changeAuthorities("1")
	s.tidy(longPatience)
	fewest, stopped := h.since()
	w.finish()
	t.Logf("pods were stopped in the order %v", stopped)
	if fewest < 2 {
		t.Errorf("at some moment only %d members ran", fewest)
	}
	for port, before := range old {
		for _, member := range s.cluster().Status.Members {
			shown := s.shown(member.Name, port)
			if shown == nil || shown.Equal(before) || bytes.Equal(shown.AuthorityKeyId, before.AuthorityKeyId) {
				t.Errorf("member %s still shows a certificate of the old authority on port %d", member.Name, port)
			}
		}
	}
	s.checkStrangers()
}

// changeAuthorities asks for other authorities, and waits until the old ones are trusted no more.
func (s *scene) changeAuthorities(value string) {
	s.Helper()
	planes := map[string]string{"demo-client-ca": "demo-server-tls", "demo-peer-ca": "demo-peer-tls"}
	before := map[string][]byte{}
	for name := range planes {
		authority, err := s.secret(name)
		if err != nil {
			s.Fatal(err)
		}
		before[name] = authority.Data["tls.crt"]
	}
	s.rotate(value)
	s.eventually("only the new authorities are trusted", longPatience, func() error {
		for name, members := range planes {
			authority, err := s.secret(name)
			if err != nil {
				return err
			}
			shown, err := s.secret(members)
			if err != nil {
				return err
			}
			if now := authority.Data["tls.crt"]; bytes.Equal(now, before[name]) || !bytes.Equal(shown.Data["ca.crt"], now) {
				return fmt.Errorf("that of %s is not there yet: %s", name, summary(s.cluster()))
			}
		}
		return nil
	})
}

// rotate asks for other authorities.
func (s *scene) rotate(value string) {
	s.Helper()
	s.eventually("other authorities are asked for", patience, func() error {
		cluster := s.cluster()
		cluster.Annotations = map[string]string{render.AnnotationRotateAuthorities: value}
		return env.Client.Update(s.Context(), cluster)
	})
}

// TestTLSOutlivesItsSecretsAndItsCluster: Secrets that someone deletes are made again, a cluster sleeps and wakes, also if all of them
// are gone, and one that is made again with the volumes of the last comes back with its data and other authorities.
func TestTLSOutlivesItsSecretsAndItsCluster(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	keep := func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionRetain }
	id := s.running(3, secured, keep).Status.ClusterID
	s.sealed()
	w := s.write()
	for _, name := range []string{"demo-server-tls", "demo-peer-tls", "demo-client-tls", "demo-operator-tls", "demo-peer-ca"} {
		s.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}})
		s.eventually(name+" is made again", patience, func() error {
			_, err := s.secret(name)
			return err
		})
	}
	s.tidy(longPatience)
	s.put("key", "value")
	// Without any of them nothing can be signed that members trust which run: they run on, and all start anew after they slept.
	if err := env.Client.DeleteAllOf(s.Context(), &corev1.Secret{}, client.InNamespace(s.namespace)); err != nil {
		t.Fatal(err)
	}
	s.eventually("it is reported that they are lost", patience, func() error {
		degraded := meta.FindStatusCondition(s.cluster().Status.Conditions, core.Degraded)
		if degraded == nil || degraded.Reason != string(core.ReasonCertificatesLost) {
			return fmt.Errorf("the condition is %v", degraded)
		}
		return nil
	})
	w.finish()
	size := func(n int32) func(*v1alpha1.EtcdClusterSpec) {
		return func(spec *v1alpha1.EtcdClusterSpec) { spec.Size = &n }
	}
	s.change(size(0))
	s.eventually("no member runs", patience, func() error {
		if n := len(s.pods()); n > 0 {
			return fmt.Errorf("there are %d pods", n)
		}
		return nil
	})
	s.change(size(3))
	s.tidy(longPatience)
	s.holds("key", "value")
	authority, err := s.secret("demo-client-ca")
	if err != nil {
		t.Fatal(err)
	}
	s.delete(s.cluster())
	s.create(s.demo(3, secured, keep))
	s.tidy(longPatience)
	s.holds("key", "value")
	again, err := s.secret("demo-client-ca")
	if err != nil {
		t.Fatal(err)
	}
	other := !bytes.Equal(again.Data["tls.crt"], authority.Data["tls.crt"])
	if now := s.cluster().Status.ClusterID; now != id || !other {
		t.Errorf("the cluster was %s and is %s; the authority is another one: %v", id, now, other)
	}
}

// TestVolumesAreTakenOverByOneThatTalksOtherwise: a cluster is deleted and made again with its volumes, in which members are listed
// at URLs that the new one does not ask for. They find each other, and are moved.
func TestVolumesAreTakenOverByOneThatTalksOtherwise(t *testing.T) {
	t.Parallel()
	for name, modes := range map[string][2]func(*v1alpha1.EtcdClusterSpec){"plain, then TLS": {unsecured, secured}, "TLS, then plain": {secured, unsecured}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.operate()
			id := s.running(3, modes[0], retain).Status.ClusterID
			s.put("key", "value")
			s.sealed()
			s.tidy(longPatience)
			s.delete(s.cluster())
			s.create(s.demo(3, modes[1], retain))
			s.tidy(longPatience)
			s.eventually("members are reached as is asked for", longPatience, func() error { return s.peersTalk(s.cluster().Spec.Security.TLS.Peer.Mode) })
			s.tidy(longPatience)
			s.holds("key", "value")
			if now := s.cluster().Status.ClusterID; now != id {
				t.Errorf("the cluster was %s and is %s", id, now)
			}
		})
	}
}

// TestTLSIsTurnedOnAndOff: on a cluster that is written to all the time, clients change while both is possible.
func TestTLSIsTurnedOnAndOff(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	h := s.follow()
	id := s.running(3).Status.ClusterID
	s.sealed()
	for _, step := range []struct {
		client v1alpha1.ClientTLSMode
		peer   v1alpha1.PeerTLSMode
	}{
		{v1alpha1.ClientTLSPermissive, v1alpha1.PeerTLSRequired},
		{v1alpha1.ClientTLSRequired, v1alpha1.PeerTLSRequired},
		{v1alpha1.ClientTLSPermissive, v1alpha1.PeerTLSDisabled},
		{v1alpha1.ClientTLSDisabled, v1alpha1.PeerTLSDisabled},
	} {
		// While both is possible clients change to what comes next.
		w := s.write(s.endpointsFor(step.client)...)
		h.mark()
		s.change(func(spec *v1alpha1.EtcdClusterSpec) {
			spec.Security.TLS.Client.Mode, spec.Security.TLS.Peer.Mode = step.client, step.peer
		})
		s.tidy(longPatience)
		s.eventually("members are reached as is asked for", longPatience, func() error { return s.peersTalk(step.peer) })
		s.tidy(longPatience)
		w.finish()
		fewest, stopped := h.since()
		t.Logf("client %s, peer %s: %d members ran at the worst moment, stopped: %v", step.client, step.peer, fewest, stopped)
		if now := s.cluster().Status.ClusterID; fewest < 2 || now != id {
			t.Errorf("client %s, peer %s: only %d members ran at some moment; the cluster was %s and is %s", step.client, step.peer, fewest, id, now)
		}
	}
}

// endpointsFor are the members as clients reach them who are ready for what comes next.
func (s *scene) endpointsFor(next v1alpha1.ClientTLSMode) []string {
	var endpoints []string
	for _, endpoint := range s.cluster().Status.Endpoints[1:] {
		if next == v1alpha1.ClientTLSDisabled {
			endpoint = strings.Replace(endpoint, "https://", "http://", 1)
		}
		endpoints = append(endpoints, endpoint)
	}
	return endpoints
}

// peersTalk checks how etcd lists the members, and on which ports they listen.
func (s *scene) peersTalk(mode v1alpha1.PeerTLSMode) error {
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
	defer cancel()
	list, err := s.connect().MemberList(ctx)
	if err != nil {
		return err
	}
	want := map[v1alpha1.PeerTLSMode]string{v1alpha1.PeerTLSDisabled: "http://", v1alpha1.PeerTLSRequired: "https://"}[mode]
	for _, m := range list.Members {
		if len(m.PeerURLs) != 1 || !strings.HasPrefix(m.PeerURLs[0], want) {
			return fmt.Errorf("member %s is reached at %v", m.Name, m.PeerURLs)
		}
		for port, open := range map[int]bool{render.PeerPort: mode == v1alpha1.PeerTLSRequired, render.PlainPeerPort: mode == v1alpha1.PeerTLSDisabled} {
			address := net.JoinHostPort(s.pods()[render.PodName(m.Name)].Status.PodIP, fmt.Sprint(port))
			connection, err := net.DialTimeout("tcp", address, time.Second)
			if err == nil {
				_ = connection.Close()
			}
			if (err == nil) != open {
				return fmt.Errorf("port %d of member %s: open %v, want %v", port, m.Name, err == nil, open)
			}
		}
	}
	return nil
}
