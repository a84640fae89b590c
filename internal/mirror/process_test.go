package mirror_test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/mirror"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
)

// running is a mirror that runs.
type running struct {
	*mirror.Mirror
	ended chan error
	end   context.CancelFunc
}

var quick = mirror.Options{Cluster: "default/demo", PollEvery: 50 * time.Millisecond, LeasesEvery: 300 * time.Millisecond, CompactEvery: 100 * time.Millisecond}

// start runs a mirror until it is stopped or the test ends.
func start(t testing.TB, source, target *clientv3.Client) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Mirror: mirror.New(source, target, quick), ended: make(chan error, 1), end: cancel}
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(cancel)
	return r
}

// stop ends a mirror, which has to be nothing special for it.
func (r *running) stop(t testing.TB) {
	t.Helper()
	r.end()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Fatalf("the mirror ended with: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the mirror does not end")
	}
}

// fails waits for what a mirror ends with by itself.
func (r *running) fails(t testing.TB) error {
	t.Helper()
	select {
	case err := <-r.ended:
		if err == nil || !mirror.Final(err) {
			t.Fatalf("the mirror ended with %v, which is not final", err)
		}
		return err
	case <-time.After(30 * time.Second):
		t.Fatalf("the mirror goes on: %+v", r.Status())
	}
	return nil
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("within 60 s it does not come to this: %s", what)
}

// reaches waits until the target has a revision.
func (r *running) reaches(t testing.TB, revision int64) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); r.Status().Revision < revision; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("within 60 s the target does not have revision %d: %+v", revision, r.Status())
		}
		select {
		case err := <-r.ended:
			t.Fatalf("the mirror ended before revision %d: %v", revision, err)
		default:
		}
	}
}

// pair is a source and a target that begins with a snapshot of it.
func pair(t testing.TB, minor string, before func(*etcdtest.Member), targetFlags ...string) (source, target *etcdtest.Member) {
	t.Helper()
	source = etcdtest.Cluster(t, minor, 1, "--max-txn-ops=100000", "--max-request-bytes=10485760")[0]
	if before != nil {
		before(source)
	}
	return source, etcdtest.Restored(t, minor, source.Snapshot(t), "", targetFlags...)
}

func put(t testing.TB, m *etcdtest.Member, key, value string, options ...clientv3.OpOption) int64 {
	t.Helper()
	done, err := m.Put(t.Context(), key, value, options...)
	if err != nil {
		t.Fatal(err)
	}
	return done.Header.Revision
}

// same compares a target with its source.
func same(t testing.TB, source, target *etcdtest.Member) {
	t.Helper()
	if want, got := etcdtest.DataOf(t, source.Client, source.Endpoint), etcdtest.DataOf(t, target.Client, target.Endpoint); got != want {
		t.Errorf("the target has\n%+v\nand the source\n%+v", got, want)
	}
}
