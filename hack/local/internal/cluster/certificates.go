//go:build linux

package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certificateLifetime is long enough for a cluster that is thrown away.
const certificateLifetime = 365 * 24 * time.Hour

// authority signs all certificates of the cluster. Its key is kept only in memory and in the state directory.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

// identity is a certificate with its key, both in PEM.
type identity struct{ certificate, key []byte }

// newAuthority makes the authority and the key for service account tokens, and writes both.
func (c *Cluster) newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of the certificate authority: %w", err)
	}
	template := template(pkix.Name{CommonName: "local-cluster-ca"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the new certificate authority: %w", err)
	}
	a := &authority{certificate: certificate, key: key, pem: encode("CERTIFICATE", raw)}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := c.writeIdentity("ca", identity{a.pem, keyPEM}); err != nil {
		return nil, err
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key for service account tokens: %w", err)
	}
	tokensPEM, err := encodeKey(tokens)
	if err != nil {
		return nil, err
	}
	return a, writeFile(c.path("pki", "service-accounts.key"), tokensPEM, 0o600)
}

// issue makes a certificate for servers (with names) and clients alike.
func (a *authority) issue(subject pkix.Name, names []string, addresses ...string) (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, fmt.Errorf("making the key of %q: %w", subject.CommonName, err)
	}
	template := template(subject)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(names)+len(addresses) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	template.DNSNames = names
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return identity{}, fmt.Errorf("signing the certificate of %q: %w", subject.CommonName, err)
	}
	keyPEM, err := encodeKey(key)
	return identity{encode("CERTIFICATE", raw), keyPEM}, err
}

func template(subject pkix.Name) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetInt64(time.Now().UnixNano()),
		Subject:      subject,
		// An hour back, for clocks that are set right after the start of a machine.
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(certificateLifetime),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

// writeServingCertificates writes what the API server and the kubelets show to their clients.
func (c *Cluster) writeServingCertificates(a *authority) error {
	apiserver, err := a.issue(pkix.Name{CommonName: "kube-apiserver"},
		[]string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		"127.0.0.1", controlPlaneAddress, kubernetesService)
	if err != nil {
		return err
	}
	if err := c.writeIdentity("apiserver", apiserver); err != nil {
		return err
	}
	toKubelets, err := a.issue(pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: []string{administrators}}, nil)
	if err != nil {
		return err
	}
	if err := c.writeIdentity("apiserver-kubelet-client", toKubelets); err != nil {
		return err
	}
	for _, n := range c.nodes() {
		kubelet, err := a.issue(pkix.Name{CommonName: "system:node:" + n.name, Organization: []string{"system:nodes"}}, []string{n.name}, n.address())
		if err != nil {
			return err
		}
		if err := c.writeIdentity("kubelet-"+n.name, kubelet); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) certificate(name string) string { return c.path("pki", name+".crt") }
func (c *Cluster) key(name string) string         { return c.path("pki", name+".key") }

func (c *Cluster) writeIdentity(name string, i identity) error {
	if err := writeFile(c.certificate(name), i.certificate, 0o644); err != nil {
		return fmt.Errorf("writing the certificate of %s: %w", name, err)
	}
	if err := writeFile(c.key(name), i.key, 0o600); err != nil {
		return fmt.Errorf("writing the key of %s: %w", name, err)
	}
	return nil
}

func encode(kind string, raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return encode("EC PRIVATE KEY", raw), nil
}
