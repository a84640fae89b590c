// Package loopback finds addresses for the processes of tests.
package loopback

import (
	"net"
	"testing"
)

// FreeAddress is an address on 127.0.0.1, with a port that nobody listens to.
func FreeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
