package etcd

import (
	"context"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// Login is how the operator makes itself known to members that do not know it by a certificate: it asks for a token by a password.
type Login struct {
	// Version tells it apart from earlier ones, and from those of other clusters.
	Version string
	// Users are tried one after the other.
	Users []UserPassword
}

// UserPassword is a user's password.
type UserPassword struct{ User, Password string }

// session is that of one login with the members of one cluster. A token that one voter gives is good for all members, since it
// goes through the raft log: also for learners, which give none. A member that has started since may not know it.
type session struct {
	login *Login

	// renewing is held by who asks for another token: what is asked meanwhile goes by the one that there is.
	renewing sync.Mutex

	mu        sync.Mutex
	addresses []string
	token     string
	// user is the one of the login's that the token is for.
	user int
}

func (s *session) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// presentLogins makes the pool log in as the endpoints say from now on. What there is stays if it is the same login.
func (p *Pool) presentLogins(endpoints []Endpoint) {
	var all []string
	known := map[string]*session{}
	for _, endpoint := range endpoints {
		all = append(all, endpoint.Address)
		if s := p.sessions[endpoint.Address]; s != nil {
			known[s.login.Version] = s
		}
	}
	for _, endpoint := range endpoints {
		if endpoint.Login == nil {
			delete(p.sessions, endpoint.Address)
			continue
		}
		s := known[endpoint.Login.Version]
		if s == nil {
			s = &session{login: endpoint.Login}
			known[endpoint.Login.Version] = s
		}
		s.mu.Lock()
		s.addresses = all
		s.mu.Unlock()
		p.sessions[endpoint.Address] = s
	}
}

func (p *Pool) session(address string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions[address]
}

// token is that of the session with an address; empty if there is none.
func (p *Pool) token(address string) string {
	if s := p.session(address); s != nil {
		return s.current()
	}
	return ""
}

// refresh gets another token for an address where this one is no good. Whoever needs it finds out.
func (p *Pool) refresh(ctx context.Context, address, stale string) {
	if s := p.session(address); s != nil {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		_ = p.logIn(ctx, s, stale, false)
	}
}

// bearer gives calls to one address the token of its session.
type bearer struct {
	pool    *Pool
	address string
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if token := b.pool.token(b.address); token != "" {
		return map[string]string{rpctypes.TokenFieldNameGRPC: token}, nil
	}
	return nil, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Without TLS a token is as visible as all that is read by it.
func (bearer) RequireTransportSecurity() bool { return false }

// loggedIn makes a call again with a new token if it was refused for want of one.
func (b bearer) loggedIn(ctx context.Context, method string, request, answer any, connection *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption) error {
	s := b.pool.session(b.address)
	if s == nil || method == etcdserverpb.Auth_Authenticate_FullMethodName {
		return call(ctx, method, request, answer, connection, options...)
	}
	token := s.current()
	err := call(ctx, method, request, answer, connection, options...)
	if !isAboutLogin(err) {
		return err
	}
	if err := b.pool.logIn(ctx, s, token, says(err, denied)); err != nil {
		return err
	}
	// A member that is asked right after another one gave the token may not know it for a moment: it waits for the log entry
	// before the one that the token is in (https://github.com/etcd-io/etcd/issues/18437).
	for wait := shortestWait; ; wait *= 2 {
		err = call(ctx, method, request, answer, connection, options...)
		if !says(err, expired) || wait > longestWait {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// For how long a member is given to hear of a token before it is asked again: at first, and at last.
const (
	shortestWait = 5 * time.Millisecond
	longestWait  = 160 * time.Millisecond
)

// What members say of those whom they do not let in. Some versions of etcd say it in other words to gRPC than to its client.
const (
	nobody  = "user name is empty"
	expired = "invalid auth token"
	denied  = "permission denied"
	unknown = "authentication failed"
	absent  = "user name not found"
)

func says(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

func isAboutLogin(err error) bool {
	return says(err, nobody) || says(err, expired) || says(err, denied) || says(err, absent)
}

// isRefused is whether a member does not let the operator in, whatever it waits for.
func isRefused(err error) bool { return isAboutLogin(err) && !says(err, expired) || says(err, unknown) }

// logIn gets another token than the one that is no good: for another user if this one may not do what was asked for.
func (p *Pool) logIn(ctx context.Context, s *session, stale string, another bool) error {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	if s.current() != stale {
		return nil
	}
	s.mu.Lock()
	addresses, first := s.addresses, 0
	if another {
		first = s.user + 1
	}
	s.mu.Unlock()
	var failed error
	for _, address := range addresses {
		token, user, err := p.tryLogins(ctx, s.login.Users, first, address)
		if err == nil {
			s.mu.Lock()
			s.token, s.user = token, user
			s.mu.Unlock()
			return nil
		}
		// The passwords are the same on all members.
		if failed = err; says(err, unknown) {
			break
		}
	}
	return failed
}

// tryLogins asks a member for a token, for one user after the other until it takes the password of one.
func (p *Pool) tryLogins(ctx context.Context, users []UserPassword, first int, address string) (token string, user int, err error) {
	for i := range users {
		user = (first + i) % len(users)
		token, err = p.authenticate(ctx, address, users[user])
		if err == nil || says(err, "authentication is not enabled") {
			return token, user, nil
		}
		if !says(err, unknown) {
			break
		}
	}
	return "", 0, err
}

// authenticate asks a member for a token.
func (p *Pool) authenticate(ctx context.Context, address string, as UserPassword) (string, error) {
	c, err := p.client(address)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout/2)
	defer cancel()
	request := &etcdserverpb.AuthenticateRequest{Name: as.User, Password: as.Password}
	answer, err := etcdserverpb.NewAuthClient(c.ActiveConnection()).Authenticate(ctx, request, grpc.WaitForReady(false))
	if err != nil {
		return "", rpctypes.Error(err)
	}
	return answer.Token, nil
}
