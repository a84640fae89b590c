//go:build integration

package operator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// outage cuts an operator off from the API server: requests fail, and those under way, watches too, end.
type outage struct {
	mutex sync.Mutex
	// under is the context of what is under way; nil during the outage.
	under  context.Context
	cancel context.CancelFunc
}

var errOutage = errors.New("the API server cannot be reached")

func newOutage() *outage {
	o := &outage{}
	o.end()
	return o
}

func (o *outage) begin() {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.cancel()
	o.under = nil
}

func (o *outage) end() {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.under, o.cancel = context.WithCancel(context.Background())
}

// wrap stands between a client and its connections.
func (o *outage) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		o.mutex.Lock()
		under := o.under
		o.mutex.Unlock()
		if under == nil {
			return nil, errOutage
		}
		ctx, cancel := context.WithCancel(request.Context())
		stop := context.AfterFunc(under, cancel)
		answer, err := next.RoundTrip(request.WithContext(ctx))
		if err != nil {
			stop()
			cancel()
			return nil, err
		}
		answer.Body = body{answer.Body, func() { stop(); cancel() }}
		return answer, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// body does something when it is closed.
type body struct {
	io.ReadCloser
	closed func()
}

func (b body) Close() error {
	defer b.closed()
	return b.ReadCloser.Close()
}

// outageTime is how long the API server is away; OUTAGE=60s for longer.
func outageTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("OUTAGE")
	if text == "" {
		return 15 * time.Second
	}
	away, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("OUTAGE=%q is not a time", text)
	}
	return away
}

// TestTheAPIServerIsAway: the operator is cut off right after it has added a member to etcd, and again right after it has
// stopped one for a roll. Meanwhile the cluster serves, a member that ends comes back, and afterwards all goes on.
func TestTheAPIServerIsAway(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]struct {
		during string
		change func(*scene)
	}{
		"while a member joins": {"add ", func(s *scene) { s.change(size(5)) }},
		"during a roll":        {"evict *v1.Pod ", func(s *scene) { s.change(settings("77")) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			api := newOutage()
			w := &writes{}
			began := make(chan struct{})
			begin := sync.OnceFunc(func() {
				api.begin()
				close(began)
			})
			s.operateWith(operatorOptions{writes: w, outage: api})
			l := s.inhabit(3)
			before := s.pods()
			w.reacts(func(what string, made bool) {
				if made && strings.HasPrefix(what, story.during) {
					begin()
				}
			})
			story.change(s)
			select {
			case <-began:
			case <-time.After(patience):
				t.Fatal("what was waited for did not happen")
			}
			acknowledged := l.writer.count.Load()
			if err := env.KillMember(s.namespace, s.unchanged(before), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			time.Sleep(outageTime(t))
			if now := l.writer.count.Load(); now == acknowledged {
				t.Error("nothing was written during the outage")
			}
			api.end()
			l.finish()
		})
	}
}

// unchanged is a pod of those that is the same still and does not stop.
func (s *scene) unchanged(before map[string]*corev1.Pod) string {
	s.Helper()
	for name, pod := range s.pods() {
		if old := before[name]; old != nil && old.UID == pod.UID && pod.DeletionTimestamp == nil {
			return name
		}
	}
	s.Fatal("every pod is another one")
	return ""
}
