package objectstore

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

// StartGCS starts fake-gcs-server, which speaks the JSON API of Google Cloud Storage and lets everybody in. It ends with the
// test; certificate and key are files, or empty for HTTP.
func StartGCS(t testing.TB, certificate, key string) *Gateway {
	t.Helper()
	binary := program(t, "fake-gcs-server")
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, Bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	address := loopback.FreeAddress(t)
	host, port, _ := net.SplitHostPort(address)
	arguments := []string{"-host", host, "-port", port, "-public-host", address, "-backend", "memory", "-data", folder, "-log-level", "error"}
	if certificate == "" {
		serve(t, address, binary, append(arguments, "-scheme", "http")...)
		return &Gateway{URL: "http://" + address}
	}
	serve(t, address, binary, append(arguments, "-scheme", "https", "-cert-location", certificate, "-private-key-location", key)...)
	return &Gateway{URL: "https://" + address}
}
