package archive_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
)

var (
	histories = flag.Int("histories", 1, "how many random histories are recovered for each minor of etcd")
	seed      = flag.Uint64("seed", 0, "that of the first random history; by default the time")
)

var minors = []string{"3.5", "3.6", "3.7"}

// life is a random history of a member.
type life struct {
	*member
	random *rand.Rand
	leases []clientv3.LeaseID
}

func (l *life) key() string { return fmt.Sprintf("key-%02d", l.random.IntN(40)) }

func (l *life) value() string {
	return strings.Repeat(fmt.Sprint(l.random.Uint64()), l.random.IntN(1+l.random.IntN(300)))
}

// step does something. Nothing after the limit is compacted.
func (l *life) step(t *testing.T, limit int64) {
	t.Helper()
	ctx, random := t.Context(), l.random
	var err error
	switch random.IntN(14) {
	case 0, 1:
		_, err = l.Delete(ctx, l.key())
	case 2:
		first := random.IntN(40)
		_, err = l.Delete(ctx, fmt.Sprintf("key-%02d", first), clientv3.WithRange(fmt.Sprintf("key-%02d", first+random.IntN(8))))
	case 3, 4:
		// Puts and deletions of several keys, in any order, in one revision.
		ops := []clientv3.Op{
			clientv3.OpPut(fmt.Sprintf("key-%02d", random.IntN(10)), l.value()), clientv3.OpPut(fmt.Sprintf("key-%02d", 10+random.IntN(10)), l.value()),
			clientv3.OpDelete(fmt.Sprintf("key-%02d", 20+random.IntN(10))), clientv3.OpDelete("key-30", clientv3.WithRange(fmt.Sprintf("key-%02d", 30+random.IntN(10)))),
		}
		random.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
		_, err = l.Txn(ctx).Then(ops...).Commit()
	case 5:
		lease, failed := l.Grant(ctx, 1000+random.Int64N(1000))
		if failed != nil {
			t.Fatal(failed)
		}
		l.leases = append(l.leases, lease.ID)
		_, err = l.Put(ctx, l.key(), l.value(), clientv3.WithLease(lease.ID))
	case 6:
		if len(l.leases) > 0 {
			_, err = l.Put(ctx, l.key(), l.value(), clientv3.WithLease(l.leases[random.IntN(len(l.leases))]))
		}
	case 7:
		if n := len(l.leases); n > 3 {
			n = random.IntN(n)
			_, err = l.Revoke(ctx, l.leases[n])
			l.leases = slices.Delete(l.leases, n, n+1)
		}
	case 8:
		if limit > 1 && random.IntN(4) == 0 {
			// One that is compacted already is refused, and that is no matter.
			_, _ = l.Compact(ctx, 1+random.Int64N(limit))
		}
	default:
		_, err = l.Put(ctx, l.key(), l.value())
	}
	if err != nil {
		t.Fatal(err)
	}
}

type state = etcdtest.Data

// state is what the member has.
func (m *member) state(t testing.TB) etcdtest.Data {
	t.Helper()
	return etcdtest.DataOf(t, m.Client, m.Endpoint)
}

// same compares a recovered member with what the original was, compacted alike: the hash depends on that.
func (m *member) same(t testing.TB, want etcdtest.Data) {
	t.Helper()
	got := m.state(t)
	if got.Compacted < want.Compacted {
		if _, err := m.Compact(t.Context(), want.Compacted, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
		got = m.state(t)
	}
	if got != want {
		t.Errorf("what is recovered is\n%+v\nand was\n%+v", got, want)
	}
}

// Whatever a cluster has lived through, it comes back as it was at any revision and at any moment.
func TestARandomHistoryComesBack(t *testing.T) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	for n := range *histories {
		for _, minor := range minors {
			t.Run(fmt.Sprintf("%s-%d", minor, n), func(t *testing.T) { aRandomHistory(t, minor, first+uint64(n)) })
		}
	}
}

func aRandomHistory(t *testing.T, minor string, seed uint64) {
	t.Logf("the seed is %d", seed)
	s, _ := volume(t)
	m := newMember(t, minor)
	l := &life{member: m, random: rand.New(rand.NewPCG(seed, 1))}
	for range l.random.IntN(100) {
		l.step(t, m.Revision(t))
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var recipients []string
	if l.random.IntN(2) == 0 {
		recipients = append(recipients, key.Recipient().String())
	}
	o := m.options(s, recipients...)
	o.BaseBytes, o.FlushBytes = 3<<10, 8<<10
	a, stop := follow(t, m.Client, s, o)
	m.archived(t, a)
	type point struct {
		state
		at time.Time
	}
	var points []point
	for range 4 {
		for range 20 + l.random.IntN(100) {
			l.step(t, a.Status().Revision)
		}
		was := m.state(t)
		m.archived(t, a)
		at := time.Now()
		until(t, a, "all before this moment is stored", func(s archive.Status) bool { return s.Current.After(at) })
		points = append(points, point{was, at})
	}
	for range 20 {
		l.step(t, a.Status().Revision)
	}
	m.archived(t, a)
	points = append(points, point{m.state(t), time.Time{}})
	stop()
	if status := a.Status(); status.Broken != nil || status.Err != nil {
		t.Fatalf("the history was broken: %+v", status)
	}
	bases, err := s.List(t.Context(), "default/demo/1b4e28ba/base-")
	if err != nil || len(bases) < 4 {
		t.Errorf("there is one base only, or none: %v, %v", bases, err)
	}
	for n, p := range points {
		target := archive.Target{Revision: p.Revision}
		switch {
		case p.at.IsZero():
			target = archive.Target{}
		case n%2 == 0:
			target = archive.Target{Time: p.at}
		}
		restored, replayed := m.recovered(t, s, minor, target, key.String())
		if replayed.Revision != p.Revision {
			t.Errorf("%s is recovered as revision %d, and was %d", target, replayed.Revision, p.Revision)
		}
		restored.same(t, p.state)
		restored.Kill()
	}
}
