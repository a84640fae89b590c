package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
)

const (
	// answerLimit is how long a member may take to connect, and to say how it is.
	answerLimit = 5 * time.Second
	// requestLimit is how large a request may be that is sent: more than members take. They have the last word.
	requestLimit = 512 << 20
)

// peer is an etcd as an agent reaches it: the members of a cluster of the operator, or a source outside.
type peer struct {
	// name is what it is called in errors, and members are where it serves clients.
	name    string
	members []task.Member
	// tls and login are folders; empty if there is none.
	tls, login string
	// anonymous is whether there may be no certificate to show.
	anonymous bool
}

// members are those of the task's cluster.
func (a Agent) members(t task.Task) peer {
	p := peer{name: t.Cluster.Namespace + "/" + t.Cluster.Name, members: t.Members}
	if t.TLS {
		p.tls = a.path(task.ClientTLS)
	}
	if t.Login {
		p.login = a.path(task.Login)
	}
	return p
}

// source is the etcd outside.
func (a Agent) source(t task.Task) peer {
	p := peer{name: "the source", anonymous: true}
	for n, url := range t.Source.URLs {
		p.members = append(p.members, task.Member{Name: fmt.Sprint("endpoint-", n), URL: url})
	}
	if t.Source.TLS {
		p.tls = a.path(task.SourceTLS)
	}
	if t.Source.Login {
		p.login = a.path(task.SourceLogin)
	}
	return p
}

// connectAll is a client of all its members.
func (p peer) connectAll(ctx context.Context) (*clientv3.Client, error) {
	var urls []string
	for _, member := range p.members {
		urls = append(urls, member.URL)
	}
	client, err := p.connect(ctx, urls...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the members of %s: %w", p.name, err)
	}
	return client, nil
}

// connect is a client of some of its members.
func (p peer) connect(ctx context.Context, urls ...string) (*clientv3.Client, error) {
	config := clientv3.Config{
		Endpoints: urls, Context: ctx, DialTimeout: answerLimit, Logger: zap.NewNop(),
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: answerLimit, MaxCallSendMsgSize: requestLimit,
		// By default it is only tried every two minutes after a while. Leases may expire sooner.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: answerLimit,
		})},
	}
	if p.tls != "" {
		settings, err := p.clientTLS()
		if err != nil {
			return nil, err
		}
		config.TLS = settings
	}
	if p.login != "" {
		for name, to := range map[string]*string{"username": &config.Username, "password": &config.Password} {
			content, err := os.ReadFile(p.login + "/" + name)
			if err != nil {
				return nil, fmt.Errorf("the login of the agent: %w", err)
			}
			*to = strings.TrimSpace(string(content))
		}
	}
	return clientv3.New(config)
}

// reach is why there is no connection to where a member serves clients; nil if there is one.
func (p peer) reach(ctx context.Context, where string) error {
	at, err := url.Parse(where)
	if err != nil {
		return err
	}
	dialer := &net.Dialer{Timeout: answerLimit}
	dial := dialer.DialContext
	if p.tls != "" {
		settings, err := p.clientTLS()
		if err != nil {
			return err
		}
		dial = (&tls.Dialer{NetDialer: dialer, Config: settings}).DialContext
	}
	connection, err := dial(ctx, "tcp", at.Host)
	if err != nil {
		return err
	}
	return connection.Close()
}

func (p peer) clientTLS() (*tls.Config, error) {
	authorities, err := os.ReadFile(p.tls + "/" + task.KeyCA)
	if err != nil {
		return nil, fmt.Errorf("whom the agent trusts: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authorities) {
		return nil, errors.New("whom the agent trusts: there is no certificate in ca.crt")
	}
	settings := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if p.anonymous && missing(p.tls+"/tls.crt") && missing(p.tls+"/tls.key") {
		return settings, nil
	}
	pair, err := tls.LoadX509KeyPair(p.tls+"/tls.crt", p.tls+"/tls.key")
	if err != nil {
		return nil, fmt.Errorf("the agent's certificate: %w", err)
	}
	settings.Certificates = []tls.Certificate{pair}
	return settings, nil
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}
