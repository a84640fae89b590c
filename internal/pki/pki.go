// Package pki makes certificates and reads them. It knows no Kubernetes and no etcd; whoever uses it says for what names a
// certificate is, when it is made, and by whom it is signed.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// backdated is how far a certificate reaches back, for clocks that go late.
const backdated = 5 * time.Minute

// The types of PEM blocks.
const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
)

// Pair is a certificate with its key, both as PEM.
type Pair struct{ Certificate, Key []byte }

// Authority signs certificates, here or elsewhere.
type Authority struct {
	Pair
	// Bundle are its certificates: one if it signs here.
	Bundle Bundle
	// signer is nil if its key is elsewhere.
	signer crypto.Signer
}

// Elsewhere is an authority whose key is elsewhere: known is whom to trust for what it signs.
func Elsewhere(known Bundle) Authority {
	return Authority{Pair: Pair{Certificate: known.PEM()}, Bundle: known}
}

// Signs is whether the authority signs here.
func (a Authority) Signs() bool { return a.signer != nil }

// NewAuthority makes an authority that signs itself. It signs leaves only.
func NewAuthority(name string, now time.Time, life time.Duration) (Authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
	}
	pair, err := sign(template, nil, now, life)
	if err != nil {
		return Authority{}, fmt.Errorf("making the certificate authority %q: %w", name, err)
	}
	return ParseAuthority(pair)
}

// ParseAuthority reads an authority. Without a key it is one whose key is elsewhere.
func ParseAuthority(pair Pair) (Authority, error) {
	if len(pair.Key) == 0 {
		known, err := ParseBundle(pair.Certificate)
		if err != nil {
			return Authority{}, err
		}
		return Elsewhere(known), nil
	}
	key, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return Authority{}, fmt.Errorf("not a certificate with its key: %w", err)
	}
	signer, is := key.PrivateKey.(crypto.Signer)
	if !is || !key.Leaf.IsCA || key.Leaf.KeyUsage != 0 && key.Leaf.KeyUsage&x509.KeyUsageCertSign == 0 {
		return Authority{}, fmt.Errorf("the certificate of %q is not that of an authority", key.Leaf.Subject.CommonName)
	}
	return Authority{Pair: pair, Bundle: Bundle{key.Leaf}, signer: signer}, nil
}

// Request is what a certificate is to say.
type Request struct {
	CommonName  string
	DNSNames    []string
	IPAddresses []net.IP
	// Server certificates are for members, which are clients of each other and, by etcd's gateway, of themselves
	// (https://etcd.io/docs/v3.6/op-guide/security/). The others are for clients alone.
	Server bool
	Life   time.Duration
}

// Issue signs a certificate for a new key. It does not outlive the authority, which has to sign here.
func (a Authority) Issue(r Request, now time.Time) (Pair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: r.CommonName},
		DNSNames:    r.DNSNames,
		IPAddresses: r.IPAddresses,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if r.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	pair, err := sign(template, &a, now, min(r.Life, a.Bundle[0].NotAfter.Sub(now)))
	if err != nil {
		return Pair{}, fmt.Errorf("signing a certificate for %q: %w", r.CommonName, err)
	}
	return pair, nil
}

func sign(template *x509.Certificate, by *Authority, now time.Time, life time.Duration) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	template.NotBefore, template.NotAfter = now.Add(-backdated), now.Add(life)
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return Pair{}, err
	}
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.Bundle[0], by.signer
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: certificate}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: encoded}),
	}, nil
}

// ParseLeaf reads a certificate with its key.
func ParseLeaf(pair Pair) (*x509.Certificate, error) {
	key, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("not a certificate with its key: %w", err)
	}
	return key.Leaf, nil
}

// RenewAt is when a certificate is to be made again: when two thirds of its life are over.
func RenewAt(c *x509.Certificate) time.Time {
	begin := c.NotBefore.Add(backdated)
	return begin.Add(c.NotAfter.Sub(begin) / 3 * 2)
}

// Says is whether a certificate says what is asked for.
func (r Request) Says(c *x509.Certificate) bool {
	ip := func(a net.IP) string { return a.String() }
	return c.Subject.CommonName == r.CommonName && sameSet(c.DNSNames, r.DNSNames) &&
		sameSet(mapped(c.IPAddresses, ip), mapped(r.IPAddresses, ip)) && slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) == r.Server
}

func mapped[A, B any](list []A, f func(A) B) []B {
	var all []B
	for _, a := range list {
		all = append(all, f(a))
	}
	return all
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// Bundle is a set of certificates that are trusted.
type Bundle []*x509.Certificate

// ParseBundle reads one or more certificates, one after the other.
func ParseBundle(text []byte) (Bundle, error) {
	var bundle Bundle
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != blockCertificate {
			return nil, fmt.Errorf("a %s among the certificates", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		bundle = bundle.With(c)
	}
	if len(bundle) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return bundle, nil
}

// Has is whether a certificate is one of a bundle.
func (b Bundle) Has(c *x509.Certificate) bool {
	return slices.ContainsFunc(b, func(other *x509.Certificate) bool { return bytes.Equal(other.Raw, c.Raw) })
}

// Covers is whether all certificates of another bundle are in a bundle.
func (b Bundle) Covers(other Bundle) bool {
	return !slices.ContainsFunc(other, func(c *x509.Certificate) bool { return !b.Has(c) })
}

// With is the bundle with further certificates.
func (b Bundle) With(others ...*x509.Certificate) Bundle {
	for _, c := range others {
		if !b.Has(c) {
			b = append(slices.Clip(b), c)
		}
	}
	return b
}

// PEM is the bundle as text. The same set is the same text.
func (b Bundle) PEM() []byte {
	sorted := slices.SortedFunc(slices.Values(b), func(a, c *x509.Certificate) int { return bytes.Compare(a.Raw, c.Raw) })
	var text []byte
	for _, c := range sorted {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: c.Raw})...)
	}
	return text
}

// Pool is the bundle as Go's TLS takes it.
func (b Bundle) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range b {
		pool.AddCert(c)
	}
	return pool
}

// Signed is whether an authority signed a certificate.
func Signed(c, authority *x509.Certificate) bool {
	return c.CheckSignatureFrom(authority) == nil
}

// Accepts is nil if whoever trusts the bundle accepts a certificate for what is asked of it, at a moment: with the intermediate
// authorities that come with it, for all names, and for both sides of a connection if it is for servers.
func (b Bundle) Accepts(pair Pair, r Request, now time.Time) error {
	key, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return fmt.Errorf("not a certificate with its key: %w", err)
	}
	options := x509.VerifyOptions{Roots: b.Pool(), Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, raw := range key.Certificate[1:] {
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return fmt.Errorf("not a chain of certificates: %w", err)
		}
		options.Intermediates.AddCert(c)
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if r.Server {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	for _, usage := range usages {
		options.KeyUsages = []x509.ExtKeyUsage{usage}
		if _, err := key.Leaf.Verify(options); err != nil {
			return fmt.Errorf("not valid for %s: %w", map[x509.ExtKeyUsage]string{x509.ExtKeyUsageClientAuth: "clients", x509.ExtKeyUsageServerAuth: "servers"}[usage], err)
		}
	}
	if lacks := r.lacks(key.Leaf); len(lacks) > 0 {
		return fmt.Errorf("not for %s", strings.Join(lacks, ", "))
	}
	return nil
}

// lacks are the names and addresses that a certificate is not for.
func (r Request) lacks(c *x509.Certificate) (names []string) {
	for _, name := range r.DNSNames {
		// Of all the names that *.domain stands for, one.
		if c.VerifyHostname(strings.Replace(name, "*", "any", 1)) != nil {
			names = append(names, name)
		}
	}
	for _, address := range r.IPAddresses {
		if c.VerifyHostname(address.String()) != nil {
			names = append(names, address.String())
		}
	}
	return names
}

// Verify checks that a server shows a certificate of the bundle for a name, which need not be that by which it was dialed.
func (b Bundle) Verify(state tls.ConnectionState, name string) error {
	intermediates := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: b.Pool(), Intermediates: intermediates, DNSName: name})
	return err
}
