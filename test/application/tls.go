// Package application plays the part of a cluster's clients.
package application

import (
	"crypto/tls"
	"slices"
	"strings"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Credentials are those of an application that reads its Secret at every handshake, as one does that follows the files of its
// mounted Secret. Servers have to prove that they bear the name.
func Credentials(name string, secret func() (map[string][]byte, error)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			data, err := secret()
			if err != nil {
				return nil, err
			}
			pair, err := tls.X509KeyPair(data[render.KeyCertificate], data[render.KeyPrivate])
			return &pair, err
		},
		// VerifyConnection verifies, by what is trusted at that moment.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			data, err := secret()
			if err != nil {
				return err
			}
			bundle, err := pki.ParseBundle(data[render.KeyAuthority])
			if err != nil {
				return err
			}
			return bundle.Verify(state, name)
		},
	}
}

// TalkTLS is whether endpoints are those of a cluster that talks TLS.
func TalkTLS(endpoints []string) bool {
	return slices.ContainsFunc(endpoints, func(e string) bool { return strings.HasPrefix(e, "https://") })
}
