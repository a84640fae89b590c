// Package objectstore starts real object stores for tests, and puts faults between them and their clients.
package objectstore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

const (
	// Bucket is there from the start.
	Bucket = "backups"
	// AccessKey and SecretKey are what the S3 server knows its only user by.
	AccessKey = "tests"
	SecretKey = "of-backups"
	// Region is the S3 server's.
	Region = "us-east-1"
)

// Gateway is an object store that runs for a test.
type Gateway struct {
	// URL is where it listens: HTTPS if it was given a certificate.
	URL string
	// Folder is where versitygw keeps the objects of the bucket, as files; empty for others.
	Folder string
}

// Start starts versitygw, an S3 server that keeps objects in a folder. It ends with the test; certificate and key are files,
// or empty for HTTP.
func Start(t testing.TB, certificate, key string) *Gateway {
	t.Helper()
	binary := program(t, "versitygw")
	folder := t.TempDir()
	for _, sub := range []string{"data/" + Bucket, "side"} {
		if err := os.MkdirAll(filepath.Join(folder, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	address := loopback.FreeAddress(t)
	g := &Gateway{URL: "http://" + address, Folder: filepath.Join(folder, "data", Bucket)}
	arguments := []string{"--access", AccessKey, "--secret", SecretKey, "--region", Region, "--port", address, "--quiet"}
	if certificate != "" {
		arguments = append(arguments, "--cert", certificate, "--key", key)
		g.URL = "https://" + address
	}
	serve(t, address, binary, append(arguments, "posix", "--sidecar", filepath.Join(folder, "side"), filepath.Join(folder, "data"))...)
	return g
}
