package mirror_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/mirror"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
)

// Each kind of change is repeated as it was, in each minor.
func TestEveryKindOfChange(t *testing.T) {
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			source, target := pair(t, minor, func(m *etcdtest.Member) {
				for n := range 300 {
					put(t, m, fmt.Sprintf("many-%03d", n), "x")
				}
				put(t, m, "other", "x")
			})
			r := start(t, source.Client, target.Client)
			ctx := t.Context()
			txn := func(ops ...clientv3.Op) {
				t.Helper()
				if _, err := source.Txn(ctx).Then(ops...).Commit(); err != nil {
					t.Fatal(err)
				}
			}
			put(t, source, "a", "1")
			put(t, source, "a", "2")
			put(t, source, "empty", "")
			put(t, source, "binary \x00\xff", "\x00\xfe")
			txn(clientv3.OpPut("b", "1"), clientv3.OpDelete("a"), clientv3.OpPut("c", "1"))
			// The same key, twice.
			txn(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("twice", "1")}, nil), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete("twice")}, nil), clientv3.OpPut("d", "1"))
			// A revision of many keys, with some between that stay, or that it puts.
			txn(clientv3.OpDelete("many-000", clientv3.WithRange("many-100")), clientv3.OpPut("many-100-x", "between"),
				clientv3.OpDelete("many-101", clientv3.WithRange("many-290")), clientv3.OpPut("z", "1"))
			lease, err := source.Grant(ctx, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 200 {
				put(t, source, fmt.Sprintf("leased-%03d", n), "1", clientv3.WithLease(lease.ID))
			}
			put(t, source, "leased-100-between", "1")
			r.reaches(t, source.Revision(t))
			same(t, source, target)
			// One revision that deletes 200 keys that have another one between them.
			if _, err := source.Revoke(ctx, lease.ID); err != nil {
				t.Fatal(err)
			}
			// None at all.
			before := source.Revision(t)
			if _, err := source.Delete(ctx, "is not there"); err != nil || source.Revision(t) != before {
				t.Fatalf("etcd counts what changes nothing: %v", err)
			}
			r.reaches(t, source.Revision(t))
			same(t, source, target)
			eventually(t, "the lease is gone from the target", func() bool {
				left, err := target.TimeToLive(ctx, lease.ID)
				return err == nil && left.TTL == -1
			})
			if got, err := mirror.CutOver(ctx, source.Client, target.Client, mirror.CutOverOptions{}); err != nil || got.Revision != source.Revision(t) {
				t.Errorf("it cannot be cut over: %+v, %v", got, err)
			}
			if status := r.Status(); status.Err != nil || status.Transactions == 0 || status.Bytes == 0 || status.SourceRevision != status.Revision || status.Lag(time.Now()) > 5*time.Second {
				t.Errorf("the status is %+v", status)
			}
			r.stop(t)
		})
	}
}

// A target of another minor has the same.
func TestAcrossMinors(t *testing.T) {
	source := etcdtest.Cluster(t, "3.5", 1)[0]
	put(t, source, "a", "1")
	target := etcdtest.Restored(t, "3.6", source.Snapshot(t), "")
	r := start(t, source.Client, target.Client)
	for n := range 50 {
		put(t, source, fmt.Sprint("key-", n%7), fmt.Sprint(n))
	}
	r.reaches(t, source.Revision(t))
	same(t, source, target)
}

// Whoever else writes to the target is found out: at once, also if nothing happens on the source, and after the mirror was away.
func TestAStrangerIsFoundOut(t *testing.T) {
	write := map[string]func(source, target *etcdtest.Member){
		"before a revision": func(source, target *etcdtest.Member) { put(t, target, "stranger", "1"); put(t, source, "a", "2") },
		"idle":              func(_, target *etcdtest.Member) { put(t, target, "stranger", "1") },
		"the same key":      func(source, target *etcdtest.Member) { put(t, target, "a", "9"); put(t, source, "a", "2") },
		"the key of one that is written alone": func(source, target *etcdtest.Member) {
			if _, err := target.Delete(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			put(t, source, "other", "2")
		},
	}
	for name, write := range write {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/away=", away), func(t *testing.T) {
				source, target := pair(t, "3.6", func(m *etcdtest.Member) { put(t, m, "a", "1") })
				r := start(t, source.Client, target.Client)
				r.reaches(t, put(t, source, "b", "1"))
				if away {
					r.stop(t)
				}
				write(source, target)
				if away {
					r = start(t, source.Client, target.Client)
				}
				if err := r.fails(t); !errors.Is(err, mirror.ErrDiverged) {
					t.Errorf("it is told as: %v", err)
				}
			})
		}
	}
}

// Two mirrors at once write nothing twice, and the second goes on when the first has ended.
func TestTwoMirrors(t *testing.T) {
	source, target := pair(t, "3.6", nil)
	first, second := start(t, source.Client, target.Client), start(t, source.Client, target.Client)
	for n := range 100 {
		put(t, source, fmt.Sprint("key-", n%5), "1")
		if _, err := source.Delete(t.Context(), fmt.Sprint("key-", (n+1)%5)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "one has mirrored all", func() bool { return max(first.Status().Revision, second.Status().Revision) == source.Revision(t) })
	if second.Status().Transactions > 0 {
		first, second = second, first
	}
	if n := second.Status().Transactions; n != 0 {
		t.Errorf("both write: the second has written %d revisions", n)
	}
	eventually(t, "the second says what it waits for", func() bool {
		err := second.Status().Err
		return err != nil && strings.Contains(err.Error(), "another mirror writes to the target")
	})
	first.stop(t)
	second.reaches(t, put(t, source, "again", "1"))
	same(t, source, target)
	if err := second.Status().Err; err != nil {
		t.Errorf("it still says: %v", err)
	}
}

// What the source has compacted cannot be mirrored.
func TestTheSourceIsCompacted(t *testing.T) {
	source, target := pair(t, "3.6", func(m *etcdtest.Member) { put(t, m, "a", "1") })
	for n := range 10 {
		put(t, source, "a", fmt.Sprint(n))
	}
	if _, err := source.Compact(t.Context(), source.Revision(t)); err != nil {
		t.Fatal(err)
	}
	if err := start(t, source.Client, target.Client).fails(t); !errors.Is(err, mirror.ErrCompacted) || !strings.Contains(err.Error(), "begin again with another snapshot") {
		t.Errorf("it is told as: %v", err)
	}
}

// What the target does not take is refused with what to do, and can be mirrored on after that is done.
func TestRevisionsThatAreTooLarge(t *testing.T) {
	source, target := pair(t, "3.6", nil)
	var ops []clientv3.Op
	for n := range 200 {
		ops = append(ops, clientv3.OpPut(fmt.Sprint("key-", n), "1"))
	}
	if _, err := source.Txn(t.Context()).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
	err := start(t, source.Client, target.Client).fails(t)
	if !errors.Is(err, mirror.ErrRefused) || !strings.Contains(err.Error(), "Set spec.config.max-txn-ops of the EtcdCluster default/demo to at least 201") {
		t.Errorf("it is told as: %v", err)
	}

	for _, size := range []int{1600 << 10, 5 << 20} {
		source, target = pair(t, "3.6", nil)
		put(t, source, "large", strings.Repeat("x", size))
		err = start(t, source.Client, target.Client).fails(t)
		if !errors.Is(err, mirror.ErrRefused) || !strings.Contains(err.Error(), "Set spec.config.max-request-bytes of the EtcdCluster default/demo to at least") {
			t.Errorf("it is told as: %v", err)
		}
	}

	source, target = pair(t, "3.6", nil, "--max-txn-ops=201", "--max-request-bytes=10485760")
	put(t, source, "large", strings.Repeat("x", 5<<20))
	if _, err := source.Txn(t.Context()).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
	start(t, source.Client, target.Client).reaches(t, source.Revision(t))
	same(t, source, target)
}

// A deletion of more keys than a transaction may have operations is one range, or some.
func TestADeletionOfManyKeys(t *testing.T) {
	source, target := pair(t, "3.6", func(m *etcdtest.Member) {
		for n := 0; n < 5000; n += 100 {
			var ops []clientv3.Op
			for k := range 100 {
				ops = append(ops, clientv3.OpPut(fmt.Sprintf("key-%04d", n+k), "1"))
			}
			if _, err := m.Txn(t.Context()).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
		}
	})
	r := start(t, source.Client, target.Client)
	if _, err := source.Delete(t.Context(), "key-", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	r.reaches(t, source.Revision(t))
	same(t, source, target)
}

// Leases do not expire on the target, whoever keeps them alive on the source, and expire with those of the source.
func TestLeasesLiveAsOnTheSource(t *testing.T) {
	var brought *clientv3.LeaseGrantResponse
	source, target := pair(t, "3.6", func(m *etcdtest.Member) {
		var err error
		if brought, err = m.Grant(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		put(t, m, "brought", "1", clientv3.WithLease(brought.ID))
		if _, err := m.KeepAlive(t.Context(), brought.ID); err != nil {
			t.Fatal(err)
		}
	})
	r := start(t, source.Client, target.Client)
	// By then the other one would have expired twice.
	made, err := source.Grant(t.Context(), 9)
	if err != nil {
		t.Fatal(err)
	}
	put(t, source, "made", "1", clientv3.WithLease(made.ID))
	empty, err := source.Grant(t.Context(), 900)
	if err != nil {
		t.Fatal(err)
	}
	// The one that nobody keeps alive expires on the source, and the other one does not on the target.
	eventually(t, "the lease expires", func() bool {
		got, err := target.Get(t.Context(), "made")
		return err == nil && got.Count == 0
	})
	eventually(t, "the lease is gone, and one without keys is there", func() bool {
		left, err := target.TimeToLive(t.Context(), made.ID)
		has, failed := target.TimeToLive(t.Context(), empty.ID)
		return err == nil && left.TTL == -1 && failed == nil && has.GrantedTTL == empty.TTL
	})
	r.reaches(t, source.Revision(t))
	same(t, source, target)
	if got, err := target.Get(t.Context(), "brought"); err != nil || got.Count != 1 {
		t.Errorf("a lease of the snapshot has expired on the target: %v", err)
	}
}

// A source that is no continuation of the target, and a mirror of a cluster to itself.
func TestAnotherSource(t *testing.T) {
	source, target := pair(t, "3.6", func(m *etcdtest.Member) { put(t, m, "a", "1") })
	for name, other := range map[string]*etcdtest.Member{"itself": target, "another": etcdtest.Cluster(t, "3.6", 1)[0]} {
		if name == "another" {
			for range 5 {
				put(t, other, "b", "1")
			}
		}
		if err := start(t, other.Client, target.Client).fails(t); !errors.Is(err, mirror.ErrDiverged) {
			t.Errorf("%s is told as: %v", name, err)
		}
	}
	start(t, source.Client, target.Client).reaches(t, put(t, source, "a", "2"))
}

// A cluster without any key is a beginning, too.
func TestEmptyClusters(t *testing.T) {
	source, target := pair(t, "3.6", nil)
	r := start(t, source.Client, target.Client)
	eventually(t, "it follows", func() bool { return !r.Status().Current.IsZero() })
	r.reaches(t, put(t, source, "a", "1"))
	same(t, source, target)
}
