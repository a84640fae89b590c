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
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/netns"
)

// listenersVariable tells the program, after it executed itself anew, which descriptors are its listeners.
const listenersVariable = "LOCAL_CLUSTER_PROXY_LISTENERS"

// Options says where the proxy listens and what it reaches.
type Options struct {
	// Listen is the loopback address that is forwarded to Target, the API server.
	Listen, Target string
	// Socks is the loopback address of the SOCKS5 server.
	Socks string
	// Namespace is the network namespace that connections are made from.
	Namespace string
	// DNS is the cluster's name server, asked for names in SOCKS requests.
	DNS string
}

// Run serves until the context ends or a listener fails.
func Run(ctx context.Context, options Options) error {
	handed := os.Getenv(listenersVariable)
	if handed == "" {
		return listenAndEnter(ctx, options)
	}
	listeners, err := adopt(handed)
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

// listenAndEnter opens the listeners in the host's namespace and then executes this program again from
// inside the cluster's namespace: from there every thread of it connects from within, while the listeners
// stay where they were opened.
func listenAndEnter(ctx context.Context, options Options) error {
	descriptors := make([]string, 0, 2)
	for _, address := range []string{options.Listen, options.Socks} {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listening on %s: %w (end the process that uses this port: ss -ltnp)", address, err)
		}
		tcp, ok := listener.(*net.TCPListener)
		if !ok {
			return fmt.Errorf("the listener %s is a %T and not one of TCP", address, listener)
		}
		file, err := tcp.File()
		if err != nil {
			return fmt.Errorf("taking the descriptor of the listener %s: %w", address, err)
		}
		if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keeping the listener %s over exec: %w", address, err)
		}
		descriptors = append(descriptors, strconv.Itoa(int(file.Fd())))
	}
	runtime.LockOSThread()
	if err := netns.Enter(options.Namespace); err != nil {
		return err
	}
	environment := append(os.Environ(), listenersVariable+"="+strings.Join(descriptors, ","))
	return fmt.Errorf("executing /proc/self/exe again: %w", syscall.Exec("/proc/self/exe", os.Args, environment))
}

// adopt turns the inherited descriptors into listeners.
func adopt(handed string) ([]net.Listener, error) {
	var listeners []net.Listener
	for text := range strings.SplitSeq(handed, ",") {
		descriptor, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%s holds %q, which is not a list of descriptors: %w", listenersVariable, handed, err)
		}
		listener, err := net.FileListener(os.NewFile(uintptr(descriptor), "listener"))
		if err != nil {
			return nil, fmt.Errorf("using inherited descriptor %d as a listener: %w", descriptor, err)
		}
		listeners = append(listeners, listener)
	}
	if len(listeners) != 2 {
		return nil, fmt.Errorf("%s holds %q; two descriptors are expected", listenersVariable, handed)
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
