//go:build linux

// Package proxy lets the host, whose own network is left untouched, reach into the cluster's network: the
// API server on a loopback port, and any pod or Service address through SOCKS5.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// firstListener is the descriptor of the first listener that this program is started with; the second follows.
// They were opened in the network of the host, while the program itself runs inside the cluster's network: so
// it accepts there and connects here without changing namespaces.
const firstListener = 3

// Options says what the proxy reaches.
type Options struct {
	// Target is the API server, to which connections to the first listener are forwarded.
	Target string
	// DNS is the cluster's name server, asked for names in requests to the second listener, which speaks SOCKS5.
	DNS string
}

// Run serves until the context ends or a listener fails.
func Run(ctx context.Context, options Options) error {
	listeners, err := adopt()
	if err != nil {
		return err
	}
	failed := make(chan error, len(listeners))
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, options.DNS)
	}}
	go func() {
		failed <- serve(listeners[0], func(client net.Conn) error { return forward(ctx, client, options.Target) })
	}()
	go func() {
		failed <- serve(listeners[1], func(client net.Conn) error { return serveSocks(ctx, client, resolver) })
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// adopt turns the inherited descriptors into listeners.
func adopt() ([2]net.Listener, error) {
	var listeners [2]net.Listener
	for i := range listeners {
		descriptor := firstListener + i
		file := os.NewFile(uintptr(descriptor), "listener")
		listener, err := net.FileListener(file)
		_ = file.Close()
		if err != nil {
			return listeners, fmt.Errorf("using descriptor %d as a listener: %w (local-cluster up starts this program with two)",
				descriptor, err)
		}
		listeners[i] = listener
	}
	return listeners, nil
}

func serve(listener net.Listener, handle func(net.Conn) error) error {
	for {
		client, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accepting on %s: %w", listener.Addr(), err)
		}
		go func() {
			defer func() { _ = client.Close() }()
			if err := handle(client); err != nil {
				fmt.Fprintf(os.Stderr, "%s %s: %v\n", time.Now().Format(time.RFC3339), listener.Addr(), err)
			}
		}()
	}
}

func forward(ctx context.Context, client net.Conn, target string) error {
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", target)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", target, err)
	}
	join(client, server)
	return nil
}

// join copies both ways until both sides have finished sending.
func join(client, server net.Conn) {
	defer func() { _ = server.Close() }()
	done := make(chan struct{}, 2)
	oneWay := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if half, ok := to.(*net.TCPConn); ok && (err == nil || errors.Is(err, io.EOF)) {
			_ = half.CloseWrite()
		} else {
			// A broken side ends the other as well, otherwise its peer would wait for ever.
			_ = to.Close()
			_ = from.Close()
		}
		done <- struct{}{}
	}
	go oneWay(server, client)
	go oneWay(client, server)
	<-done
	<-done
}
