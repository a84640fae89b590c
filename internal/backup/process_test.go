package backup_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
)

var minors = []string{"3.5", "3.6", "3.7"}

var owner = backup.Cluster{Namespace: "default", Name: "demo", UID: "1b4e28ba"}

// member is a real etcd of one minor, alone in its cluster.
type member struct {
	*etcdtest.Member
	programs string
}

func startMember(t *testing.T, minor, data string) member {
	t.Helper()
	m := run(t, minor, etcdtest.Settings{Data: data})
	m.Ready(t)
	return m
}

func run(t *testing.T, minor string, settings etcdtest.Settings) member {
	t.Helper()
	return member{etcdtest.Run(t, minor, settings), etcdtest.Programs(t, minor)}
}

func (m member) request(name string, recipients ...string) backup.Request {
	return backup.Request{Name: name, Cluster: owner, Member: "demo-0", Endpoint: m.Endpoint, Client: m.Client, Recipients: recipients, Operator: "test"}
}

func (m member) scratch(t *testing.T) backup.Scratch {
	t.Helper()
	return backup.Scratch{Folder: t.TempDir(), Etcd: m.programs + "/etcd", Etcdutl: m.programs + "/etcdutl"}
}

// live makes a random history: puts, deletions, transactions, leases, compactions.
func (m member) live(t *testing.T, random *rand.Rand, steps int) {
	t.Helper()
	ctx := t.Context()
	key := func() string { return fmt.Sprintf("key-%d", random.IntN(40)) }
	value := func() string { return strings.Repeat(fmt.Sprint(random.Uint64()), random.IntN(1+random.IntN(400))) }
	for range steps {
		var err error
		switch random.IntN(12) {
		case 0, 1:
			_, err = m.Delete(ctx, key())
		case 2:
			first := random.IntN(20)
			_, err = m.Txn(ctx).Then(clientv3.OpPut(fmt.Sprintf("key-%d", first), value()), clientv3.OpPut(fmt.Sprintf("key-%d", first+20), value())).Commit()
		case 3:
			lease, failed := m.Grant(ctx, 3600)
			if failed != nil {
				t.Fatal(failed)
			}
			_, err = m.Put(ctx, key(), value(), clientv3.WithLease(lease.ID))
		case 4:
			now, failed := m.Get(ctx, "x")
			if failed != nil {
				t.Fatal(failed)
			}
			// One that is compacted already is refused, and that is no matter.
			_, _ = m.Compact(ctx, 1+random.Int64N(now.Header.Revision))
		default:
			_, err = m.Put(ctx, key(), value())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// keys are all keys with what is told of them.
func (m member) keys(t *testing.T) string {
	t.Helper()
	all, err := m.Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all.Header.Revision, all.Kvs)
}

func take(t *testing.T, s store.Store, r backup.Request) backup.Manifest {
	t.Helper()
	made, err := backup.Take(t.Context(), s, r)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func volume(t *testing.T) (store.Store, string) {
	t.Helper()
	folder := t.TempDir()
	v, err := store.NewVolume(folder)
	if err != nil {
		t.Fatal(err)
	}
	return v, folder
}
