package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T, name string) pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority(name, noon, 100*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a pki.Authority, r pki.Request, at time.Time) *x509.Certificate {
	t.Helper()
	pair, err := a.Issue(r, at)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := pki.ParseLeaf(pair)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestIssue(t *testing.T) {
	a, b := authority(t, "a"), authority(t, "b")
	server := pki.Request{CommonName: "etcd-server", DNSNames: []string{"*.peers", "b"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Life: 3 * time.Hour}
	client := pki.Request{CommonName: "root", Life: 3 * time.Hour}
	leaf := issue(t, a, server, noon)
	for name, usage := range map[string]x509.ExtKeyUsage{"server": x509.ExtKeyUsageServerAuth, "client": x509.ExtKeyUsageClientAuth} {
		verify := func(r pki.Request, by pki.Authority, at time.Time) error {
			_, err := issue(t, a, r, noon).Verify(x509.VerifyOptions{Roots: pki.Bundle{by.Bundle[0]}.Pool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}})
			return err
		}
		if err := verify(server, a, noon); err != nil {
			t.Errorf("a member's as a %s's: %v", name, err)
		}
		if err := verify(client, a, noon); (err == nil) != (name == "client") {
			t.Errorf("a client's as a %s's: %v", name, err)
		}
		if verify(server, b, noon) == nil || verify(server, a, noon.Add(4*time.Hour)) == nil {
			t.Error("trusted by another authority, or after its time")
		}
	}
	if leaf.VerifyHostname("demo-0-0.peers") != nil || leaf.VerifyHostname("127.0.0.1") != nil || leaf.VerifyHostname("other") == nil {
		t.Errorf("it is for %v and %v", leaf.DNSNames, leaf.IPAddresses)
	}
	if !pki.Signed(leaf, a.Bundle[0]) || pki.Signed(leaf, b.Bundle[0]) {
		t.Error("who signed it is not told")
	}
	if renew := pki.RenewAt(leaf); !renew.Equal(noon.Add(2 * time.Hour)) {
		t.Errorf("it is renewed at %v", renew)
	}
	// A certificate does not outlive its authority.
	if late := issue(t, a, server, noon.Add(99*time.Hour)); late.NotAfter.After(a.Bundle[0].NotAfter) {
		t.Errorf("it is valid until %v, its authority until %v", late.NotAfter, a.Bundle[0].NotAfter)
	}
}

func TestSays(t *testing.T) {
	a := authority(t, "a")
	base := pki.Request{CommonName: "x", DNSNames: []string{"b", "a"}, IPAddresses: []net.IP{net.IPv6loopback}, Server: true, Life: time.Hour}
	leaf := issue(t, a, base, noon)
	for name, change := range map[string]func(*pki.Request){
		"another name":      func(r *pki.Request) { r.CommonName = "y" },
		"fewer DNS names":   func(r *pki.Request) { r.DNSNames = r.DNSNames[:1] },
		"another DNS name":  func(r *pki.Request) { r.DNSNames = []string{"a", "c"} },
		"another address":   func(r *pki.Request) { r.IPAddresses = []net.IP{net.IPv4(1, 2, 3, 4)} },
		"another usage":     func(r *pki.Request) { r.Server = false },
		"another DNS order": func(r *pki.Request) { r.DNSNames = []string{"a", "b"} },
		"another life":      func(r *pki.Request) { r.Life = 2 * time.Hour },
	} {
		wanted := base
		wanted.DNSNames = slices.Clone(base.DNSNames)
		change(&wanted)
		same := name == "another DNS order" || name == "another life"
		if wanted.Says(leaf) != same {
			t.Errorf("%s: says the same: %v, want %v", name, !same, same)
		}
	}
}

func TestBundle(t *testing.T) {
	a, b := authority(t, "a"), authority(t, "b")
	both := pki.Bundle{a.Bundle[0]}.With(b.Bundle[0]).With(a.Bundle[0])
	if len(both) != 2 || !bytes.Equal(both.PEM(), pki.Bundle{b.Bundle[0], a.Bundle[0]}.PEM()) {
		t.Errorf("%d certificates", len(both))
	}
	again, err := pki.ParseBundle(both.PEM())
	if err != nil || len(again) != 2 || !again.Has(a.Bundle[0]) || !again.Has(b.Bundle[0]) || (pki.Bundle{a.Bundle[0]}).Has(b.Bundle[0]) {
		t.Errorf("%v, %v", again, err)
	}
	for name, text := range map[string]string{
		"nothing": "", "no PEM": "hello", "a key": string(a.Key), "a broken one": strings.Replace(string(a.Certificate), "M", "!", 1),
	} {
		if _, err := pki.ParseBundle([]byte(text)); err == nil {
			t.Errorf("%s is taken for a bundle", name)
		}
	}
}

func TestParse(t *testing.T) {
	a, b := authority(t, "a"), authority(t, "b")
	if _, err := pki.ParseAuthority(a.Pair); err != nil {
		t.Error(err)
	}
	leaf, err := a.Issue(pki.Request{CommonName: "x", Life: time.Hour}, noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string]pki.Pair{
		"another's key": {Certificate: a.Certificate, Key: b.Key}, "no authority": leaf, "nothing": {}, "one that may not sign": mute(t),
	} {
		if _, err := pki.ParseAuthority(pair); err == nil {
			t.Errorf("%s is taken for an authority", name)
		}
	}
	if _, err := pki.ParseLeaf(pki.Pair{Certificate: leaf.Certificate, Key: a.Key}); err == nil {
		t.Error("a certificate with another's key is taken for one")
	}
}

func FuzzParseBundle(f *testing.F) {
	a, err := pki.NewAuthority("a", noon, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.Certificate)
	f.Add(append(slices.Clone(a.Certificate), a.Key...))
	f.Fuzz(func(t *testing.T, text []byte) {
		bundle, err := pki.ParseBundle(text)
		if err != nil {
			return
		}
		again, err := pki.ParseBundle(bundle.PEM())
		if err != nil || len(again) != len(bundle) {
			t.Errorf("%d certificates, written and read again %d, %v", len(bundle), len(again), err)
		}
	})
}

// FuzzAccepts: whatever someone puts into a Secret, it is accepted only if it can be read, and parsed as what it is.
func FuzzAccepts(f *testing.F) {
	a, err := pki.NewAuthority("a", noon, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	pair, err := a.Issue(pki.Request{CommonName: "x", DNSNames: []string{"a"}, Server: true, Life: time.Hour}, noon)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pair.Certificate, pair.Key)
	f.Add(append(slices.Clone(pair.Certificate), a.Certificate...), pair.Key)
	f.Add(a.Certificate, a.Key)
	f.Fuzz(func(t *testing.T, certificate, key []byte) {
		pair := pki.Pair{Certificate: certificate, Key: key}
		if authority, err := pki.ParseAuthority(pair); err == nil && len(authority.Bundle) == 0 {
			t.Error("an authority without a certificate")
		}
		err := a.Bundle.Accepts(pair, pki.Request{DNSNames: []string{"a"}, Server: true}, noon)
		if leaf, unread := pki.ParseLeaf(pair); err == nil && (unread != nil || !pki.Signed(leaf, a.Bundle[0])) {
			t.Errorf("accepted, but %v", unread)
		}
	})
}

// intermediate is an authority that another one signed.
func intermediate(t *testing.T, by pki.Authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	root, err := tls.X509KeyPair(by.Certificate, by.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "intermediate"}, SerialNumber: big.NewInt(7), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: noon, NotAfter: noon.Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, by.Bundle[0], key.Public(), root.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

// TestAccepts: what another source made has to be for all that is asked of it.
func TestAccepts(t *testing.T) {
	a, b := authority(t, "a"), authority(t, "b")
	needs := pki.Request{DNSNames: []string{"*.peers.example.com", "service.example.com"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, Server: true}
	full := needs
	full.Life = time.Hour
	pair := func(by pki.Authority, change func(r *pki.Request)) pki.Pair {
		request := full
		change(&request)
		pair, err := by.Issue(request, noon)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	same := func(*pki.Request) {}
	for name, test := range map[string]struct {
		pair pki.Pair
		at   time.Time
		want string
	}{
		"all of it":        {pair(a, same), noon, ""},
		"more of it":       {pair(a, func(r *pki.Request) { r.DNSNames = append([]string{"more"}, r.DNSNames...) }), noon, ""},
		"another's":        {pair(b, same), noon, "unknown authority"},
		"a name less":      {pair(a, func(r *pki.Request) { r.DNSNames = r.DNSNames[1:] }), noon, "not for *.peers.example.com"},
		"one peer alone":   {pair(a, func(r *pki.Request) { r.DNSNames = []string{"one.peers.example.com", "service.example.com"} }), noon, "not for *.peers.example.com"},
		"an address less":  {pair(a, func(r *pki.Request) { r.IPAddresses = nil }), noon, "not for 192.0.2.1"},
		"for clients only": {pair(a, func(r *pki.Request) { r.Server = false }), noon, "not valid for servers"},
		"too late":         {pair(a, same), noon.Add(2 * time.Hour), "expired"},
		"too early":        {pair(a, same), noon.Add(-time.Hour), "not yet valid"},
		"without its key":  {pki.Pair{Certificate: pair(a, same).Certificate, Key: pair(a, same).Key}, noon, "not a certificate with its key"},
		"nothing":          {pki.Pair{}, noon, "not a certificate with its key"},
	} {
		err := a.Bundle.Accepts(test.pair, needs, test.at)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestAcceptsAChain: the intermediate authority comes with the certificate, and only the root is trusted.
func TestAcceptsAChain(t *testing.T) {
	a := authority(t, "a")
	between, signer := intermediate(t, authority(t, "other"))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain := func(between *x509.Certificate, signer *ecdsa.PrivateKey, alone bool) pki.Pair {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(8), NotBefore: noon, NotAfter: noon.Add(time.Hour), DNSNames: []string{"a"},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		}
		raw, err := x509.CreateCertificate(rand.Reader, template, between, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
		if !alone {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: between.Raw})...)
		}
		return pki.Pair{Certificate: text, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})}
	}
	needs := pki.Request{DNSNames: []string{"a"}, Server: true}
	if err := a.Bundle.Accepts(chain(between, signer, false), needs, noon); err == nil {
		t.Error("another's chain is accepted")
	}
	// An authority of ours signs leaves only: its chain is too long.
	between, signer = intermediate(t, a)
	if err := a.Bundle.Accepts(chain(between, signer, false), needs, noon); err == nil {
		t.Error("an intermediate authority is accepted that there must not be")
	}
	if err := (pki.Bundle{between}).Accepts(chain(between, signer, true), needs, noon); err != nil {
		t.Errorf("the intermediate authority itself is trusted: %v", err)
	}
	root := rootOf(t)
	between, signer = intermediate(t, root)
	if err := root.Bundle.Accepts(chain(between, signer, false), needs, noon); err != nil {
		t.Error(err)
	}
	if err := root.Bundle.Accepts(chain(between, signer, true), needs, noon); err == nil {
		t.Error("it is accepted without what is between")
	}
}

// rootOf is an authority that signs others.
func rootOf(t *testing.T) pki.Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "root"}, SerialNumber: big.NewInt(6), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: noon, NotAfter: noon.Add(time.Hour),
	}
	root, err := pki.ParseAuthority(selfSigned(t, template, key))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestAnAuthorityElsewhere: it is known, and signs nothing here.
func TestAnAuthorityElsewhere(t *testing.T) {
	a, b := authority(t, "a"), authority(t, "b")
	both := a.Bundle.With(b.Bundle...)
	read, err := pki.ParseAuthority(pki.Elsewhere(both).Pair)
	if err != nil || read.Signs() || !read.Bundle.Covers(both) || !both.Covers(read.Bundle) {
		t.Errorf("%v, %v", read, err)
	}
	if !a.Signs() || a.Bundle.Covers(both) {
		t.Errorf("a signs: %v", a.Signs())
	}
}

// mute is an authority that may not sign certificates.
func mute(t *testing.T) pki.Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(5), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: noon, NotAfter: noon.Add(time.Hour),
	}
	return selfSigned(t, template, key)
}

func selfSigned(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) pki.Pair {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pki.Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
	}
}
