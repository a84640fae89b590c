package etcdtest

import (
	"fmt"
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Data is what an etcd has: all keys, the leases that they have, and etcd's own hash of all that is not compacted.
type Data struct {
	Revision, Compacted int64
	Hash                uint32
	Keys, Leases        string
}

// DataOf asks a member for it.
func DataOf(t testing.TB, client *clientv3.Client, endpoint string) Data {
	t.Helper()
	all, err := client.Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	hash, err := client.HashKV(t.Context(), endpoint, all.Header.Revision)
	if err != nil {
		t.Fatal(err)
	}
	leases := map[int64]string{}
	for _, kv := range all.Kvs {
		if kv.Lease == 0 || leases[kv.Lease] != "" {
			continue
		}
		lease, err := client.TimeToLive(t.Context(), clientv3.LeaseID(kv.Lease), clientv3.WithAttachedKeys())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(lease.Keys, slices.Compare[[]byte])
		leases[kv.Lease] = fmt.Sprintf("%d %q", lease.GrantedTTL, lease.Keys)
	}
	return Data{all.Header.Revision, hash.CompactRevision, hash.Hash, fmt.Sprint(all.Kvs), fmt.Sprint(leases)}
}
