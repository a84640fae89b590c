package act_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// secured is a cluster that talks TLS.
func secured() observe.Observed {
	o := observed()
	o.Now = noon
	tls := &o.Render.Spec.Security.TLS
	tls.Client.Mode, tls.Peer.Mode = v1alpha1.ClientTLSRequired, v1alpha1.PeerTLSRequired
	tls.Certificates = v1alpha1.CertificatesSpec{Duration: metav1.Duration{Duration: 90 * time.Hour}, AuthorityDuration: metav1.Duration{Duration: 1000 * time.Hour}}
	return o
}

// usage is who talks TLS on a plane.
func (s *server) usage(t *testing.T, o observe.Observed, name core.PlaneName) observe.Usage {
	t.Helper()
	var pods corev1.PodList
	if err := s.List(t.Context(), &pods, client.InNamespace(o.Render.Namespace)); err != nil {
		t.Fatal(err)
	}
	return observe.UsageOf(name, pods.Items, nil)
}

func (s *server) plane(t *testing.T, o observe.Observed, name core.PlaneName) observe.Plane {
	t.Helper()
	plane, err := observe.ReadPlane(context.Background(), s.Client, o.Render, name, s.usage(t, o, name), o.Now)
	if err != nil {
		t.Fatal(err)
	}
	return plane
}

// change does one step for the certificates of a plane as they are now.
func (s *server) change(t *testing.T, o observe.Observed, name core.PlaneName, change core.CertificateChange) error {
	t.Helper()
	actor := act.Actor{Client: s, Live: s, Etcd: three()}
	step := core.WriteCertificates{Plane: name, Version: s.plane(t, o, name).Version, Change: change}
	return actor.Do(context.Background(), o, []core.Action{step}, func(core.Action, error) {})
}

// certificates are the Secrets of a plane, in a few words: who signed, and who is trusted.
func (s *server) certificates(t *testing.T, o observe.Observed, name core.PlaneName, authorities map[string]string) string {
	t.Helper()
	known := func(text []byte) string {
		var names []string
		bundle, err := pki.ParseBundle(text)
		if err != nil {
			return "nobody"
		}
		for _, c := range bundle {
			key := string(pki.Bundle{c}.PEM())
			if authorities[key] == "" {
				authorities[key] = fmt.Sprintf("A%d", len(authorities)+1)
			}
			names = append(names, authorities[key])
		}
		return strings.Join(names, "+")
	}
	plane := s.plane(t, o, name)
	words := []string{"signs: " + known(plane.AuthoritySecret.Data[render.KeyCertificate])}
	if next := render.NextPair(plane.AuthoritySecret).Certificate; len(next) > 0 {
		words = append(words, "next: "+known(next))
	}
	for _, wanted := range o.Render.Certificates(name) {
		secret := plane.Secrets[wanted.Secret]
		if secret == nil {
			words = append(words, wanted.Secret+" missing")
			continue
		}
		leaf, err := pki.ParseLeaf(render.Pair(secret))
		if err != nil {
			t.Fatal(err)
		}
		by := "?"
		for text, authority := range authorities {
			bundle, err := pki.ParseBundle([]byte(text))
			if err == nil && pki.Signed(leaf, bundle[0]) {
				by = authority
			}
		}
		words = append(words, fmt.Sprintf("%s by %s trusts %s", strings.TrimPrefix(wanted.Secret, "demo-"), by, known(secret.Data[render.KeyAuthority])))
	}
	return strings.Join(words, "; ")
}

// settle does what is due until nothing is, as the core would if all members followed at once.
func (s *server) settle(t *testing.T, o observe.Observed, name core.PlaneName) {
	t.Helper()
	for range 10 {
		plane := s.plane(t, o, name)
		var change core.CertificateChange
		switch {
		case plane.AuthorityDue != "":
			change = core.MakeAuthority
		case plane.Trust == core.TrustLacks:
			change = core.TrustAuthority
		case len(plane.Due) > 0:
			change = core.IssueCertificates
		case plane.Plane.Next:
			change = core.UseAuthority
		case plane.Trust == core.TrustMore:
			change = core.DistrustOthers
		default:
			return
		}
		if err := s.change(t, o, name, change); err != nil {
			t.Fatalf("%s: %v", change, err)
		}
	}
	t.Fatal("it never ends")
}

// all are the Secrets of the plane of clients, alike.
func all(text string) string {
	return fmt.Sprintf("server-tls %[1]s; operator-tls %[1]s; client-tls %[1]s", text)
}

// TestAuthorityIsChanged follows the rounds, each of which is also cut off before every one of its writes: what is decided then
// leads to the same end.
func TestAuthorityIsChanged(t *testing.T) {
	o := secured()
	s := newServer(t)
	authorities := map[string]string{}
	if err := s.change(t, o, core.PlaneClient, core.MakeAuthority); err != nil {
		t.Fatal(err)
	}
	want := func(what, text string) {
		t.Helper()
		if got := strings.ReplaceAll(s.certificates(t, o, core.PlaneClient, authorities), "A2+A1", "A1+A2"); got != text {
			t.Errorf("%s\ngot  %s\nwant %s", what, got, text)
		}
	}
	want("first", "signs: A1; "+all("by A1 trusts A1"))
	if plane := s.plane(t, o, core.PlaneClient); plane.Trust != core.TrustExact || len(plane.Due) > 0 || plane.AuthorityDue != "" {
		t.Errorf("%+v", plane.Plane)
	}
	o.Render.Annotations = map[string]string{render.AnnotationRotateAuthorities: "1"}
	for _, round := range []struct {
		change core.CertificateChange
		want   string
	}{
		{core.MakeAuthority, "signs: A1; next: A2; " + all("by A1 trusts A1")},
		{core.IssueCertificates, "signs: A1; next: A2; " + all("by A1 trusts A1+A2")},
		{core.UseAuthority, "signs: A2; " + all("by A1 trusts A1+A2")},
		{core.IssueCertificates, "signs: A2; " + all("by A2 trusts A1+A2")},
		{core.DistrustOthers, "signs: A2; " + all("by A2 trusts A1+A2")},
		{core.IssueCertificates, "signs: A2; " + all("by A2 trusts A2")},
	} {
		// Cut off before the second and the third write. The rounds that have no more than one are done then.
		for n := range 3 {
			count := 0
			s.fail = func(verb string, _ client.Object) error {
				if verb == "get" {
					return nil
				}
				if count++; count > n {
					return errBroken
				}
				return nil
			}
			err := s.change(t, o, core.PlaneClient, round.change)
			s.fail = nil
			if err == nil {
				break
			}
		}
		if round.change == core.IssueCertificates {
			if err := s.change(t, o, core.PlaneClient, round.change); err != nil {
				t.Fatalf("%s: %v", round.change, err)
			}
		}
		want(string(round.change), round.want)
	}
	if plane := s.plane(t, o, core.PlaneClient); plane.Trust != core.TrustExact || len(plane.Due) > 0 || plane.AuthorityDue != "" || plane.Plane.Next {
		t.Errorf("%+v", plane.Plane)
	}
}

// TestSecretsAreLost: what is left leads back to one authority, and no certificate is made by one that is not trusted.
func TestSecretsAreLost(t *testing.T) {
	for name, test := range map[string]struct {
		// begun is whether the authority is being changed: trusted by all, not used.
		begun bool
		gone  []string
		// next is what is done first, want what is there after that.
		next core.CertificateChange
		want string
	}{
		"a member's":                     {false, []string{"server-tls"}, core.IssueCertificates, "signs: A1; " + all("by A1 trusts A1")},
		"a member's, amid a change":      {true, []string{"server-tls"}, core.IssueCertificates, "signs: A1; next: A2; " + all("by A1 trusts A1+A2")},
		"the authority":                  {false, []string{"client-ca"}, core.MakeAuthority, "signs: nobody; next: A2; " + all("by A1 trusts A1")},
		"the authority, amid a change":   {true, []string{"client-ca"}, core.MakeAuthority, "signs: nobody; next: A3; " + all("by A1 trusts A1+A2")},
		"the authority and a client's":   {false, []string{"client-ca", "client-tls"}, core.MakeAuthority, "signs: nobody; next: A2; server-tls by A1 trusts A1; operator-tls by A1 trusts A1; demo-client-tls missing"},
		"the authority and the members'": {false, []string{"client-ca", "server-tls"}, core.MakeAuthority, "signs: A2; " + all("by A2 trusts A2")},
	} {
		t.Run(name, func(t *testing.T) {
			o, s, authorities := secured(), newServer(t), map[string]string{}
			o.Render.EtcdCluster = o.Render.DeepCopy()
			s.settle(t, o, core.PlaneClient)
			s.certificates(t, o, core.PlaneClient, authorities)
			if test.begun {
				o.Render.Annotations = map[string]string{render.AnnotationRotateAuthorities: "1"}
				for _, change := range []core.CertificateChange{core.MakeAuthority, core.IssueCertificates} {
					if err := s.change(t, o, core.PlaneClient, change); err != nil {
						t.Fatal(err)
					}
				}
				s.certificates(t, o, core.PlaneClient, authorities)
			}
			for _, secret := range test.gone {
				if err := s.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-" + secret}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.change(t, o, core.PlaneClient, test.next); err != nil {
				t.Fatal(err)
			}
			got := s.certificates(t, o, core.PlaneClient, authorities)
			if strings.ReplaceAll(got, "A2+A1", "A1+A2") != test.want {
				t.Errorf("\ngot  %s\nwant %s", got, test.want)
			}
			s.settle(t, o, core.PlaneClient)
			if plane := s.plane(t, o, core.PlaneClient); len(plane.Trusted) != 1 || plane.Authority == nil {
				t.Errorf("in the end %d authorities are trusted", len(plane.Trusted))
			}
		})
	}
}

// TestLostWhileMembersRun: members that run would not understand what a new authority signs, so that none is made.
func TestLostWhileMembersRun(t *testing.T) {
	o := secured()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-0-0", Labels: o.Render.Selector()}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: render.ContainerName, Args: []string{"--listen-client-urls=https://0.0.0.0:2379", "--listen-peer-urls=http://0.0.0.0:2382"}}},
	}}
	s := newServer(t, pod)
	if err := s.change(t, o, core.PlaneClient, core.MakeAuthority); !isStale(err) {
		t.Error(err)
	}
	// Among each other they talk without.
	if err := s.change(t, o, core.PlanePeer, core.MakeAuthority); err != nil {
		t.Error(err)
	}
}

// running makes a pod of a member that trusts whom members of the plane are to trust now.
func (s *server) running(t *testing.T, o observe.Observed, plane core.PlaneName, member string) {
	t.Helper()
	name := "demo-trust-" + member
	trusted := string(s.plane(t, o, plane).Trusted.PEM())
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string]string{render.TrustKey(plane): trusted}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: member + "-0", Labels: o.Render.Selector()}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: render.ContainerName, Args: []string{"--listen-client-urls=https://0.0.0.0:2379", "--listen-peer-urls=https://0.0.0.0:2380"}}},
		Volumes: []corev1.Volume{{Name: render.TrustVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name},
		}}}},
	}}
	for _, object := range []client.Object{config, pod} {
		_ = s.Delete(t.Context(), object)
		object.SetResourceVersion("")
		if err := s.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnOldCopyIsPutBack: what the Secret of an authority says counts for nothing against whom the members trust that run. What was
// put back is trusted by all of them before it signs, and nobody is distrusted who signed what is in use.
func TestAnOldCopyIsPutBack(t *testing.T) {
	o, s, authorities := secured(), newServer(t), map[string]string{}
	o.Render.EtcdCluster = o.Render.DeepCopy()
	s.settle(t, o, core.PlanePeer)
	old := s.plane(t, o, core.PlanePeer).AuthoritySecret.DeepCopy()
	s.certificates(t, o, core.PlanePeer, authorities)
	o.Render.Annotations = map[string]string{render.AnnotationRotateAuthorities: "1"}
	s.settle(t, o, core.PlanePeer)
	s.certificates(t, o, core.PlanePeer, authorities)
	for _, member := range []string{"demo-0", "demo-1"} {
		s.running(t, o, core.PlanePeer, member)
	}
	present := s.plane(t, o, core.PlanePeer).AuthoritySecret
	present.Data = old.Data
	if err := s.Update(t.Context(), present); err != nil {
		t.Fatal(err)
	}
	plane := s.plane(t, o, core.PlanePeer)
	if plane.Authority != nil || !plane.Plane.Next || plane.Trust != core.TrustMore || len(plane.Trusted) != 2 || plane.AuthorityDue != "" || fmt.Sprint(plane.Due) != "[demo-peer-tls]" {
		t.Fatalf("trusted are %d: %+v", len(plane.Trusted), plane.Plane)
	}
	if err := s.change(t, o, core.PlanePeer, core.IssueCertificates); err != nil {
		t.Fatal(err)
	}
	if got, want := s.certificates(t, o, core.PlanePeer, authorities), "signs: A1; peer-tls by A2 trusts A1+A2"; strings.ReplaceAll(got, "A2+A1", "A1+A2") != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	// The first member follows, then the other.
	s.running(t, o, core.PlanePeer, "demo-0")
	if plane := s.plane(t, o, core.PlanePeer); plane.Authority != nil || len(plane.Trusted) != 2 {
		t.Errorf("halfway: %+v", plane.Plane)
	}
	s.running(t, o, core.PlanePeer, "demo-1")
	s.settle(t, o, core.PlanePeer)
	if got, want := s.certificates(t, o, core.PlanePeer, authorities), "signs: A1; peer-tls by A1 trusts A1"; got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
}

// TestAnExpiredAuthority signs nothing. Members that run cannot be helped by another one; if none does, all is made anew.
func TestAnExpiredAuthority(t *testing.T) {
	o, s := secured(), newServer(t)
	s.settle(t, o, core.PlanePeer)
	s.running(t, o, core.PlanePeer, "demo-0")
	o.Now = o.Now.Add(1001 * time.Hour)
	if plane := s.plane(t, o, core.PlanePeer); plane.Lost == "" || !strings.Contains(plane.Lost, "demo-peer-tls") || len(plane.Due) > 0 {
		t.Errorf("%+v", plane.Plane)
	}
	if err := s.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-0-0"}}); err != nil {
		t.Fatal(err)
	}
	s.settle(t, o, core.PlanePeer)
	if plane := s.plane(t, o, core.PlanePeer); plane.Lost != "" || plane.Trust != core.TrustExact || len(plane.Due) > 0 || o.Now.After(plane.Expires) {
		t.Errorf("%+v", plane.Plane)
	}
}

// TestAnAuthorityOfOnesOwn: one that someone puts into the Secret is trusted before it signs.
func TestAnAuthorityOfOnesOwn(t *testing.T) {
	o, s, authorities := secured(), newServer(t), map[string]string{}
	s.settle(t, o, core.PlanePeer)
	s.certificates(t, o, core.PlanePeer, authorities)
	own, err := pki.NewAuthority("own", o.Now, time.Hour*1000)
	if err != nil {
		t.Fatal(err)
	}
	secret := s.plane(t, o, core.PlanePeer).AuthoritySecret
	secret.Data[render.KeyCertificate], secret.Data[render.KeyPrivate] = own.Certificate, own.Key
	if err := s.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	plane := s.plane(t, o, core.PlanePeer)
	if plane.Trust != core.TrustLacks || plane.Authority != nil || !plane.Plane.Next || len(plane.Due) > 0 {
		t.Fatalf("%+v", plane.Plane)
	}
	if err := s.change(t, o, core.PlanePeer, core.TrustAuthority); err != nil {
		t.Fatal(err)
	}
	if got, want := s.certificates(t, o, core.PlanePeer, authorities), "signs: nobody; next: A2; peer-tls by A1 trusts A1"; got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	s.settle(t, o, core.PlanePeer)
	if got, want := s.certificates(t, o, core.PlanePeer, authorities), "signs: A2; peer-tls by A2 trusts A2"; got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
}

// TestWhatIsDue: certificates are made again when they are old, when they are gone, and when they are to say something else.
func TestWhatIsDue(t *testing.T) {
	for name, test := range map[string]struct {
		change func(t *testing.T, s *server, o *observe.Observed)
		due    string
	}{
		"nothing":    {func(*testing.T, *server, *observe.Observed) {}, "[]"},
		"almost old": {func(_ *testing.T, _ *server, o *observe.Observed) { o.Now = noon.Add(59 * time.Hour) }, "[]"},
		"old":        {func(_ *testing.T, _ *server, o *observe.Observed) { o.Now = noon.Add(61 * time.Hour) }, "[demo-server-tls demo-operator-tls demo-client-tls]"},
		"another name": {func(_ *testing.T, _ *server, o *observe.Observed) {
			o.Render.Spec.Security.TLS.Client.DNSNames = []string{"a"}
		}, "[demo-server-tls]"},
		"another address": {func(_ *testing.T, _ *server, o *observe.Observed) {
			o.Render.Spec.Security.TLS.Client.IPAddresses = []string{"192.0.2.1"}
		}, "[demo-server-tls]"},
		"one is gone": {func(t *testing.T, s *server, o *observe.Observed) {
			if err := s.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-client-tls"}}); err != nil {
				t.Fatal(err)
			}
		}, "[demo-client-tls]"},
		"one is not readable": {func(t *testing.T, s *server, o *observe.Observed) {
			secret := s.plane(t, *o, core.PlaneClient).Secrets["demo-operator-tls"]
			secret.Data[render.KeyPrivate] = []byte("nonsense")
			if err := s.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
		}, "[demo-operator-tls]"},
	} {
		t.Run(name, func(t *testing.T) {
			o, s := secured(), newServer(t)
			o.Render.EtcdCluster = o.Render.DeepCopy()
			if err := s.change(t, o, core.PlaneClient, core.MakeAuthority); err != nil {
				t.Fatal(err)
			}
			test.change(t, s, &o)
			plane := s.plane(t, o, core.PlaneClient)
			if got := fmt.Sprint(plane.Due); got != test.due {
				t.Errorf("due: %s, want %s", got, test.due)
			}
			if len(plane.Due) == 0 {
				return
			}
			if err := s.change(t, o, core.PlaneClient, core.IssueCertificates); err != nil {
				t.Fatal(err)
			}
			if plane = s.plane(t, o, core.PlaneClient); len(plane.Due) > 0 || plane.Trust != core.TrustExact {
				t.Errorf("afterwards %v are due, trust %v", plane.Due, plane.Trust)
			}
		})
	}
}

// TestCertificatesOfAStaleDecision: Secrets that have changed since are left alone, and so are another's.
func TestCertificatesOfAStaleDecision(t *testing.T) {
	o, s := secured(), newServer(t)
	actor := act.Actor{Client: s, Live: s, Etcd: three()}
	step := core.WriteCertificates{Plane: core.PlanePeer, Version: "another", Change: core.MakeAuthority}
	if err := actor.Do(t.Context(), o, []core.Action{step}, func(core.Action, error) {}); !isStale(err) {
		t.Error(err)
	}
	s = newServer(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-peer-tls"}})
	earlier := o.Render.Secret("demo-peer-ca", pki.Pair{}, nil)
	earlier.OwnerReferences[0].UID = "uid-0"
	if plane := newServer(t, earlier).plane(t, o, core.PlanePeer); !plane.Leaving || !plane.Problem.IsZero() {
		t.Errorf("of an earlier cluster: leaving %v, %v", plane.Leaving, plane.Problem)
	}
	if plane := s.plane(t, o, core.PlanePeer); plane.Leaving || plane.Problem.Reason != core.ReasonNameTaken || !strings.Contains(plane.Problem.Message, "demo-peer-tls") {
		t.Errorf("%v", plane.Problem)
	}
}

func TestPeerURLMoves(t *testing.T) {
	l := three()
	l.live.List.Members[0].MovesTo = "https://x:2380"
	step := core.MovePeerURL{Member: "demo-0", ID: "a", URL: "https://x:2380", Via: "demo-0", Expect: []string{"a", "b", "c"}}
	if _, err := newServer(t).do(l, step); err != nil || len(l.asked) != 1 || l.asked[0] != "MovePeerURL http://10.0.0.1:2379 a https://x:2380" {
		t.Errorf("%v, asked %v", err, l.asked)
	}
	l = three()
	l.live.List.Members[0].Learner = true
	if _, err := newServer(t).do(l, step); !isStale(err) || len(l.asked) > 0 {
		t.Errorf("of a learner: %v, asked %v", err, l.asked)
	}
	step.Expect = []string{"a", "b"}
	if _, err := newServer(t).do(l, step); !isStale(err) {
		t.Error(err)
	}
}
