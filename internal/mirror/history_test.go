package mirror_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/mirror"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
)

var (
	histories = flag.Int("histories", 1, "how many random histories are mirrored for each minor of etcd")
	seed      = flag.Uint64("seed", 0, "that of the first random history; by default the time")
)

// life is a random history of a source.
type life struct {
	*clientv3.Client
	random *rand.Rand
	leases []clientv3.LeaseID
}

func (l *life) key() string { return fmt.Sprintf("key-%02d", l.random.IntN(40)) }

func (l *life) value() string {
	return strings.Repeat(fmt.Sprint(l.random.Uint64()), l.random.IntN(1+l.random.IntN(300)))
}

// step does something. Nothing after the limit is compacted. What fails, since a member is down, may be done or not.
func (l *life) step(ctx context.Context, limit int64) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	random := l.random
	switch random.IntN(16) {
	case 0, 1:
		_, _ = l.Delete(ctx, l.key())
	case 2:
		first := random.IntN(40)
		_, _ = l.Delete(ctx, fmt.Sprintf("key-%02d", first), clientv3.WithRange(fmt.Sprintf("key-%02d", first+random.IntN(8))))
	case 3, 4:
		// Puts and deletions of several keys, in any order, in one revision.
		ops := []clientv3.Op{
			clientv3.OpPut(fmt.Sprintf("key-%02d", random.IntN(10)), l.value()), clientv3.OpPut(fmt.Sprintf("key-%02d", 10+random.IntN(10)), l.value()),
			clientv3.OpDelete(fmt.Sprintf("key-%02d", 20+random.IntN(10))), clientv3.OpDelete("key-30", clientv3.WithRange(fmt.Sprintf("key-%02d", 30+random.IntN(10)))),
		}
		random.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
		_, _ = l.Txn(ctx).Then(ops...).Commit()
	case 5:
		// One key twice, in one revision.
		key := l.key()
		_, _ = l.Txn(ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(key, l.value())}, nil), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete(key)}, nil)).Commit()
	case 6, 7:
		// Some expire soon, unless they are renewed.
		ttl := 1000 + random.Int64N(1000)
		if random.IntN(3) == 0 {
			ttl = 10
		}
		if lease, err := l.Grant(ctx, ttl); err == nil {
			l.leases = append(l.leases, lease.ID)
			_, _ = l.Put(ctx, l.key(), l.value(), clientv3.WithLease(lease.ID))
		}
	case 8:
		if len(l.leases) > 0 {
			_, _ = l.Put(ctx, l.key(), l.value(), clientv3.WithLease(l.leases[random.IntN(len(l.leases))]))
		}
	case 9:
		if len(l.leases) > 0 {
			_, _ = l.KeepAliveOnce(ctx, l.leases[random.IntN(len(l.leases))])
		}
	case 10:
		if n := len(l.leases); n > 3 {
			n = random.IntN(n)
			_, _ = l.Revoke(ctx, l.leases[n])
			l.leases = slices.Delete(l.leases, n, n+1)
		}
	case 11:
		if limit > 1 && random.IntN(4) == 0 {
			_, _ = l.Compact(ctx, 1+random.Int64N(limit))
		}
	default:
		_, _ = l.Put(ctx, l.key(), l.value())
	}
}

// Whatever a source lives through, and whatever interrupts the mirror, the target has the same.
func TestARandomHistoryIsMirrored(t *testing.T) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	for n := range *histories {
		for _, minor := range etcdtest.Minors {
			t.Run(fmt.Sprintf("%s-%d", minor, n), func(t *testing.T) { aRandomHistory(t, minor, first+uint64(n)) })
		}
	}
}

func aRandomHistory(t *testing.T, minor string, seed uint64) {
	t.Logf("the seed is %d", seed)
	source := etcdtest.Cluster(t, minor, 3)
	l := &life{Client: etcdtest.Connect(t, etcdtest.Endpoints(source)...), random: rand.New(rand.NewPCG(seed, 1))}
	for range l.random.IntN(100) {
		l.step(t.Context(), source[0].Revision(t))
	}
	target := etcdtest.Restored(t, minor, source[0].Snapshot(t), "")
	from := etcdtest.Connect(t, etcdtest.Endpoints(source)...)
	r := start(t, from, target.Client)
	reached := target.Revision(t)
	for range 8 {
		for range 10 + l.random.IntN(40) {
			l.step(t.Context(), reached)
			reached = max(reached, r.Status().Revision)
		}
		switch l.random.IntN(4) {
		case 0:
			r.stop(t)
			for range l.random.IntN(20) {
				l.step(t.Context(), reached)
			}
			r = start(t, from, target.Client)
		case 1:
			target.Kill()
			for range l.random.IntN(20) {
				l.step(t.Context(), reached)
			}
			target.Start(t)
		case 2:
			killed := source[l.random.IntN(3)]
			killed.Kill()
			for range l.random.IntN(20) {
				l.step(t.Context(), reached)
			}
			killed.Start(t)
		}
	}
	for _, m := range source {
		m.Ready(t)
	}
	target.Ready(t)
	// Leases may expire meanwhile.
	got, err := mirror.CutOver(t.Context(), from, target.Client, mirror.CutOverOptions{Quiet: 300 * time.Millisecond})
	if err != nil {
		t.Fatalf("it cannot be cut over: %v; the mirror is at %+v", err, r.Status())
	}
	want, is := etcdtest.Data{}, etcdtest.Data{Revision: -1}
	eventually(t, "the target is compacted as the source", func() bool {
		want, is = etcdtest.DataOf(t, source[0].Client, source[0].Endpoint), etcdtest.DataOf(t, target.Client, target.Endpoint)
		return want.Compacted == is.Compacted && want.Revision == is.Revision
	})
	if want != is {
		t.Errorf("the target has\n%+v\nand the source\n%+v", is, want)
	}
	if got.Revision > want.Revision || got.Keys == 0 {
		t.Errorf("the cut-over says %+v, and the revision is %d", got, want.Revision)
	}
	select {
	case err := <-r.ended:
		t.Errorf("the mirror has ended: %v", err)
	default:
	}
	r.stop(t)
	t.Logf("%d revisions, compacted at %d", want.Revision, want.Compacted)
}
