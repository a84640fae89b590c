//go:build integration

package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// connect connects to the members as users do: by the endpoints of the status, or to those given.
func (s *scene) connect(endpoints ...string) *clientv3.Client {
	s.Helper()
	if len(endpoints) == 0 {
		s.eventually("the status has endpoints", patience, func() error {
			if endpoints = s.cluster().Status.Endpoints; len(endpoints) < 2 {
				return fmt.Errorf("they are %v", endpoints)
			}
			return nil
		})
		// The first is that of the Service, and nothing here plays kube-proxy.
		endpoints = endpoints[1:]
	}
	connection, err := s.try(endpoints)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = connection.Close() })
	return connection
}

// try connects, as a user if the scene has one.
func (s *scene) try(endpoints []string) (*clientv3.Client, error) {
	config := clientv3.Config{Endpoints: endpoints, TLS: s.credentials(endpoints), DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	if s.login != nil {
		config.Username, config.Password = s.login.user, s.login.password
	}
	return clientv3.New(config)
}

func (s *scene) put(key, value string) {
	s.Helper()
	connection := s.connect()
	s.eventually("put "+key, patience, func() error {
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		_, err := connection.Put(ctx, key, value)
		return err
	})
}

// holds checks that the cluster has a value.
func (s *scene) holds(key, value string) {
	s.Helper()
	connection := s.connect()
	s.eventually("get "+key, patience, func() error {
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		answer, err := connection.Get(ctx, key)
		if err == nil && (len(answer.Kvs) != 1 || string(answer.Kvs[0].Value) != value) {
			s.Fatalf("%s is %v, want %s: data is lost", key, answer.Kvs, value)
		}
		return err
	})
}

// member asks one member for its status.
func (s *scene) member(name string) *clientv3.StatusResponse {
	s.Helper()
	endpoint := s.endpoint(name)
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	answer, err := s.connect(endpoint).Status(ctx, endpoint)
	if err != nil {
		s.Fatalf("the status of member %s: %v", name, err)
	}
	return answer
}

// writerRests is how long a writer rests between two writes: a short gap is seen, and the processors are left to others.
const writerRests = 40 * time.Millisecond

// writer writes all the time, one key after another, each with a deadline of a second.
type writer struct {
	scene      *scene
	connection *clientv3.Client
	cancel     context.CancelFunc
	done       sync.WaitGroup

	acknowledged []string
	// count is how many that are, for those who look while it writes.
	count  atomic.Int64
	failed int
	// refused are those of them that were not allowed.
	refused int
	gap     time.Duration
}

func (s *scene) write(endpoints ...string) *writer {
	s.Helper()
	return s.writeBy(s.connect(endpoints...))
}

// writeBy writes by a connection.
func (s *scene) writeBy(connection *clientv3.Client) *writer {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{scene: s, connection: connection, cancel: cancel}
	w.done.Go(func() { w.run(ctx) })
	s.Cleanup(func() {
		cancel()
		w.done.Wait()
	})
	return w
}

func (w *writer) run(ctx context.Context) {
	last := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("written/%07d", n)
		once, cancel := context.WithTimeout(ctx, time.Second)
		_, err := w.connection.Put(once, key, "value")
		cancel()
		switch now := time.Now(); {
		case err == nil:
			w.acknowledged = append(w.acknowledged, key)
			w.count.Add(1)
			w.gap = max(w.gap, now.Sub(last))
			last = now
		case ctx.Err() == nil:
			w.failed++
			var answer rpctypes.EtcdError
			if errors.As(err, &answer) && slices.Contains([]codes.Code{codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.FailedPrecondition}, answer.Code()) {
				w.refused++
			}
			w.follow(ctx)
		}
		time.Sleep(writerRests)
	}
}

// follow connects to the members that there are by now, as a client does that syncs its endpoints. Whether it talks TLS it
// does not change.
func (w *writer) follow(ctx context.Context) {
	cluster := &v1alpha1.EtcdCluster{}
	if err := env.Client.Get(ctx, w.scene.key("demo"), cluster); err != nil || len(cluster.Status.Endpoints) < 2 {
		return
	}
	scheme, _, _ := strings.Cut(w.connection.Endpoints()[0], "://")
	var endpoints []string
	for _, endpoint := range cluster.Status.Endpoints[1:] {
		_, host, _ := strings.Cut(endpoint, "://")
		endpoints = append(endpoints, scheme+"://"+host)
	}
	w.connection.SetEndpoints(endpoints...)
}

// finish ends the writer, and fails the test if a write is missing that was acknowledged.
func (w *writer) finish() {
	s := w.scene
	s.Helper()
	w.cancel()
	w.done.Wait()
	w.follow(s.Context())
	present := map[string]bool{}
	s.eventually("what was written is read", patience, func() error {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		defer cancel()
		answer, err := w.connection.Get(ctx, "written/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		for _, pair := range answer.Kvs {
			present[string(pair.Key)] = true
		}
		return nil
	})
	var missing []string
	for _, key := range w.acknowledged {
		if !present[key] {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		s.Errorf("%d of %d acknowledged writes are missing: %s", len(missing), len(w.acknowledged), strings.Join(missing[:min(5, len(missing))], ", "))
	}
	if len(w.acknowledged) == 0 {
		s.Error(errors.New("not one write was acknowledged"))
	}
	s.Logf("%d writes acknowledged, %d failed, longest gap between two acknowledged ones %v", len(w.acknowledged), w.failed, w.gap.Round(time.Millisecond))
}
