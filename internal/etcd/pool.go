// Package etcd talks to the members of etcd clusters: it asks, and it carries out what was decided elsewhere. It
// knows addresses and etcd's API; it knows nothing of Kubernetes.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// callTimeout bounds every call: a member that does not answer within it is unknown until the next look.
const callTimeout = 2 * time.Second

// Endpoint is where a member is reached.
type Endpoint struct {
	// Member is the member's name.
	Member string
	// Address is the client URL, by IP address: names of new members take a while to resolve.
	Address string
	// Credentials are for members that talk TLS.
	Credentials *Credentials
	// Login is for those that do not know the operator for root by its certificate, if they ask who is there.
	Login *Login
}

// Credentials are those by which a member is talked to.
type Credentials struct {
	// Version tells them apart from earlier ones.
	Version string
	TLS     *tls.Config
}

// Pool holds one connection per member.
type Pool struct {
	mu      sync.Mutex
	clients map[string]*clientv3.Client
	// credentials are the newest of each address.
	credentials map[string]*Credentials
	// sessions are those of the addresses that the operator logs in to.
	sessions map[string]*session
	closed   bool
}

// errClosed is what is left of a pool that is closed.
var errClosed = errors.New("the operator is stopping")

// NewPool makes an empty pool.
func NewPool() *Pool {
	return &Pool{clients: map[string]*clientv3.Client{}, credentials: map[string]*Credentials{}, sessions: map[string]*session{}}
}

// Present makes the pool use the credentials of endpoints from now on. Where they have changed, the connection is made anew.
func (p *Pool) Present(endpoints []Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.presentLogins(endpoints)
	for _, endpoint := range endpoints {
		before := p.credentials[endpoint.Address]
		if endpoint.Credentials == nil || before != nil && before.Version == endpoint.Credentials.Version {
			continue
		}
		p.credentials[endpoint.Address] = endpoint.Credentials
		if c := p.clients[endpoint.Address]; c != nil && before != nil {
			delete(p.clients, endpoint.Address)
			// Whoever is using it at this moment is cut off, and asks again.
			_ = c.Close()
		}
	}
}

// client gives the connection to an address, which is made at the first call and re-made by itself.
func (p *Pool) client(address string) (*clientv3.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if c := p.clients[address]; c != nil {
		return c, nil
	}
	var secured *tls.Config
	if credentials := p.credentials[address]; credentials != nil {
		secured = credentials.TLS
	}
	bearer := bearer{p, address}
	c, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{address},
		TLS:                  secured,
		DialTimeout:          callTimeout,
		DialKeepAliveTime:    5 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		MaxUnaryRetries:      1,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			// A member that restarts is back within a fraction of a second; gRPC's own back-off grows to two minutes.
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}), grpc.WithPerRPCCredentials(bearer), grpc.WithChainUnaryInterceptor(bearer.loggedIn)},
	})
	if err != nil {
		return nil, fmt.Errorf("no etcd client for %s: %w", address, err)
	}
	p.clients[address] = c
	return c, nil
}

// Forget closes the connection to an address that is no member's any more.
func (p *Pool) Forget(address string) {
	p.mu.Lock()
	c := p.clients[address]
	delete(p.clients, address)
	delete(p.credentials, address)
	delete(p.sessions, address)
	p.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

// Close closes all connections. There are no new ones afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	clients := p.clients
	p.closed = true
	p.clients = map[string]*clientv3.Client{}
	p.mu.Unlock()
	for _, c := range clients {
		_ = c.Close()
	}
}

// Observe asks every member for its status, all at once, and one of those that know a leader for the member list.
func (p *Pool) Observe(ctx context.Context, endpoints []Endpoint) core.Etcd {
	p.Present(endpoints)
	statuses := make([]core.Status, len(endpoints))
	var wg sync.WaitGroup
	for i, endpoint := range endpoints {
		wg.Go(func() { statuses[i] = p.status(ctx, endpoint) })
	}
	wg.Wait()
	observed := core.Etcd{Statuses: statuses}
	most := commonClusterID(statuses)
	for i, s := range statuses {
		// Without a leader a linearizable read only waits for its timeout.
		if !s.Answered || s.LeaderID == "" || s.Learner || s.ClusterID != most {
			continue
		}
		if list, err := p.MemberList(ctx, endpoints[i].Address); err == nil {
			observed.List = list
			break
		}
	}
	return observed
}

// commonClusterID is the cluster that most of the members belong to: a volume that was mixed up makes a member answer
// for another one.
func commonClusterID(statuses []core.Status) string {
	count, most := map[string]int{}, ""
	for _, s := range statuses {
		count[s.ClusterID]++
		if s.Answered && (most == "" || count[s.ClusterID] > count[most]) {
			most = s.ClusterID
		}
	}
	return most
}

func (p *Pool) status(ctx context.Context, endpoint Endpoint) core.Status {
	status := core.Status{Member: endpoint.Member}
	c, err := p.client(endpoint.Address)
	if err != nil {
		status.Error = err.Error()
		return status
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// Etcd's own client would wait out the timeout for a member that refuses connections.
	answer, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Status(ctx, &etcdserverpb.StatusRequest{}, grpc.WaitForReady(false))
	if err != nil {
		status.Error, status.Refused = plainError(err), isRefused(err)
		return status
	}
	status.Answered = true
	status.ClusterID, status.ID = ID(answer.Header.ClusterId), ID(answer.Header.MemberId)
	if answer.Leader != 0 {
		status.LeaderID = ID(answer.Leader)
	}
	status.Learner, status.Version, status.StorageVersion = answer.IsLearner, answer.Version, answer.StorageVersion
	status.DBSize, status.DBSizeInUse = answer.DbSize, answer.DbSizeInUse
	status.Revision, status.RaftApplied = answer.Header.Revision, answer.RaftAppliedIndex
	if downgrade := answer.DowngradeInfo; downgrade.GetEnabled() {
		status.DowngradeTarget = downgrade.GetTargetVersion()
	}
	splitErrors(&status, answer.Errors, answer.Header.MemberId)
	return status
}

// splitErrors tells a member's alarms from its other complaints. etcd puts the alarms of all members into the errors
// of each one's status, as "memberID:123 alarm:NOSPACE"; asking for them by the Alarm call would write to the raft log.
func splitErrors(status *core.Status, errors []string, self uint64) {
	for _, text := range errors {
		var member uint64
		var alarm string
		if n, _ := fmt.Sscanf(text, "memberID:%d alarm:%s", &member, &alarm); n == 2 {
			status.ClusterAlarms, status.AlarmIDs = append(status.ClusterAlarms, alarm), append(status.AlarmIDs, ID(member))
			if member == self {
				status.Alarms = append(status.Alarms, alarm)
			}
			continue
		}
		// An alarm that is raised for no member in particular.
		if alarm, ok := strings.CutPrefix(text, "alarm:"); ok {
			status.ClusterAlarms, status.AlarmIDs = append(status.ClusterAlarms, strings.TrimSpace(alarm)), append(status.AlarmIDs, ID(0))
			continue
		}
		if !strings.Contains(text, "no leader") {
			status.Errors = append(status.Errors, text)
		}
	}
}

// MemberList reads the member list linearizably: an answer proves that a quorum agrees on it.
func (p *Pool) MemberList(ctx context.Context, address string) (core.MemberList, error) {
	c, err := p.client(address)
	if err != nil {
		return core.MemberList{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request := &etcdserverpb.MemberListRequest{Linearizable: true}
	answer, err := etcdserverpb.NewClusterClient(c.ActiveConnection()).MemberList(ctx, request, grpc.WaitForReady(false))
	if err != nil {
		return core.MemberList{}, fmt.Errorf("member list from %s: %w", address, rpctypes.Error(err))
	}
	list := core.MemberList{Known: true, ClusterID: ID(answer.Header.ClusterId)}
	for _, m := range answer.Members {
		listed := core.Listed{ID: ID(m.ID), Name: m.Name, Learner: m.IsLearner, Started: len(m.ClientURLs) > 0}
		if len(m.PeerURLs) > 0 {
			listed.PeerURL = m.PeerURLs[0]
		}
		list.Members = append(list.Members, listed)
	}
	return list, nil
}

// MoveLeader hands the leadership from the member at the address to another one.
func (p *Pool) MoveLeader(ctx context.Context, address, to string) error {
	c, err := p.client(address)
	if err != nil {
		return err
	}
	var target uint64
	if _, err := fmt.Sscanf(to, "%x", &target); err != nil {
		return fmt.Errorf("%q is not a member ID: %w", to, err)
	}
	// etcd itself waits for an election timeout at most.
	ctx, cancel := context.WithTimeout(ctx, 5*callTimeout)
	defer cancel()
	if _, err := c.MoveLeader(ctx, target); err != nil {
		return fmt.Errorf("moving the leadership from %s to member %s: %w", address, to, err)
	}
	return nil
}

// ID writes an ID of etcd as etcdctl does.
func ID(id uint64) string { return fmt.Sprintf("%x", id) }

// plainError shortens gRPC's errors to what a person needs, without parts that change from call to call.
func plainError(err error) string {
	text := err.Error()
	for _, known := range []string{"connection refused", "no route to host", "i/o timeout", "connection reset by peer", "context deadline exceeded", "certificate"} {
		if strings.Contains(text, known) {
			return known
		}
	}
	return rpctypes.ErrorDesc(err)
}
