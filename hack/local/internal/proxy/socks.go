//go:build linux

package proxy

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// The few values of SOCKS5 (RFC 1928) that a CONNECT without authentication needs.
const (
	socksVersion        = 5
	socksConnect        = 1
	socksIPv4           = 1
	socksDomain         = 3
	socksIPv6           = 4
	socksSucceeded      = 0
	socksUnreachable    = 4
	socksNotSupported   = 7
	socksHandshakeLimit = 10 * time.Second
)

// serveSocks answers one SOCKS5 client.
func serveSocks(ctx context.Context, client net.Conn, resolver *net.Resolver) error {
	_ = client.SetDeadline(time.Now().Add(socksHandshakeLimit))
	header := make([]byte, 2)
	if _, err := io.ReadFull(client, header); err != nil {
		return fmt.Errorf("reading a SOCKS greeting: %w", err)
	}
	if header[0] != socksVersion {
		return fmt.Errorf("a client speaks SOCKS version %d; use socks5:// or socks5h://", header[0])
	}
	if _, err := io.ReadFull(client, make([]byte, header[1])); err != nil {
		return fmt.Errorf("reading the SOCKS authentication methods: %w", err)
	}
	if _, err := client.Write([]byte{socksVersion, 0}); err != nil {
		return fmt.Errorf("answering a SOCKS greeting: %w", err)
	}
	command, host, port, err := readRequest(client)
	if err != nil {
		return err
	}
	if command != socksConnect {
		return answer(client, socksNotSupported)
	}
	server, err := connect(ctx, resolver, host, port)
	if err != nil {
		_ = answer(client, socksUnreachable)
		return err
	}
	if err := answer(client, socksSucceeded); err != nil {
		_ = server.Close()
		return err
	}
	_ = client.SetDeadline(time.Time{})
	join(client, server)
	return nil
}

// readRequest returns the command, the wanted host (an IP or a name) and the port.
func readRequest(client io.Reader) (command byte, host, port string, err error) {
	fail := func(err error) (byte, string, string, error) {
		return 0, "", "", fmt.Errorf("reading a SOCKS request: %w", err)
	}
	header := make([]byte, 4)
	if _, err := io.ReadFull(client, header); err != nil {
		return fail(err)
	}
	size := map[byte]int{socksIPv4: net.IPv4len, socksIPv6: net.IPv6len}[header[3]]
	if header[3] == socksDomain {
		length := make([]byte, 1)
		if _, err := io.ReadFull(client, length); err != nil {
			return fail(err)
		}
		size = int(length[0])
	}
	if size == 0 {
		return fail(fmt.Errorf("address type %d is unknown", header[3]))
	}
	rest := make([]byte, size+2)
	if _, err := io.ReadFull(client, rest); err != nil {
		return fail(err)
	}
	host = string(rest[:size])
	if header[3] != socksDomain {
		host = net.IP(rest[:size]).String()
	}
	return header[1], host, strconv.Itoa(int(binary.BigEndian.Uint16(rest[size:]))), nil
}

func connect(ctx context.Context, resolver *net.Resolver, host, port string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, socksHandshakeLimit)
	defer cancel()
	dialer := net.Dialer{Resolver: resolver}
	server, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("connecting to %s port %s: %w", host, port, err)
	}
	return server, nil
}

func answer(client io.Writer, code byte) error {
	// The bound address is of no use to a client of CONNECT: zeros are allowed.
	if _, err := client.Write([]byte{socksVersion, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0}); err != nil {
		return fmt.Errorf("answering a SOCKS request: %w", err)
	}
	return nil
}
