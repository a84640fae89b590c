package environment

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
	"os"
	"path/filepath"
	"time"
)

// apiServerFiles are the keys and certificates that the API server is started with.
type apiServerFiles struct {
	authority                   []byte
	authorityFile               string
	certificateFile, keyFile    string
	serviceAccountKeyFile       string
	tokenFile, token            string
	kubeconfig, controllerToken string
}

// writeAPIServerFiles makes fresh keys and certificates in a folder.
func writeAPIServerFiles(folder string) (*apiServerFiles, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for certificates: %w", err)
	}
	files := &apiServerFiles{
		authorityFile:         filepath.Join(folder, "ca.crt"),
		certificateFile:       filepath.Join(folder, "apiserver.crt"),
		keyFile:               filepath.Join(folder, "apiserver.key"),
		serviceAccountKeyFile: filepath.Join(folder, "service-account.key"),
		tokenFile:             filepath.Join(folder, "tokens.csv"),
		kubeconfig:            filepath.Join(folder, "kubeconfig"),
		token:                 rand.Text(),
		controllerToken:       rand.Text(),
	}
	authorityKey, authority, err := signCertificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test-cluster"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, nil, nil)
	if err != nil {
		return nil, err
	}
	key, certificate, err := signCertificate(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		DNSNames:    []string{"localhost", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), gatewayAddress.AsSlice(), net.IPv4(10, 96, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, authorityKey)
	if err != nil {
		return nil, err
	}
	serviceAccountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the service accounts' key: %w", err)
	}
	files.authority = encode("CERTIFICATE", authority.Raw)
	tokens := fmt.Sprintf("%s,admin,admin,system:masters\n%s,system:kube-controller-manager,kube-controller-manager,system:masters\n",
		files.token, files.controllerToken)
	for path, content := range map[string][]byte{
		files.authorityFile: files.authority, files.certificateFile: encode("CERTIFICATE", certificate.Raw),
		files.keyFile: encodeKey(key), files.serviceAccountKeyFile: encodeKey(serviceAccountKey), files.tokenFile: []byte(tokens),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
	}
	return files, nil
}

// signCertificate makes a key and its certificate, signed by the given authority or by itself.
func signCertificate(template, authority *x509.Certificate, authorityKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of %s: %w", template.Subject.CommonName, err)
	}
	if authority == nil {
		authority, authorityKey = template, key
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(7*24*time.Hour)
	raw, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), authorityKey)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", template.Subject.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(raw)
	return key, certificate, err
}

func encode(kind string, raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
}

func encodeKey(key *ecdsa.PrivateKey) []byte {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		panic(err) // only an unknown curve fails
	}
	return encode("EC PRIVATE KEY", raw)
}
