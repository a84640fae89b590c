package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// lockLease is a lease of the target that only one mirror can have: granting an ID that is there already is refused, and no
	// lease raises the revision. It is "mirror" in ASCII.
	lockLease = 0x6d6972726f72
	// lockTTL is after how many seconds another mirror goes on when one was killed.
	lockTTL = 5
	// orphanTTL is that of a lease which the source had revoked before it was asked for it: its keys are about to be deleted.
	orphanTTL = 60
	// leasesAtOnce is how many leases are granted or revoked at most before revisions are looked at again.
	leasesAtOnce = 200
	// renewAtOnce is how many leases are renewed with one stream, and renewLimit how long that may take.
	renewAtOnce = 1000
	renewLimit  = 5 * time.Second
	// renewEvery is how often it is looked whether leases have to be renewed.
	renewEvery = 200 * time.Millisecond
)

// keeper keeps the target's leases alive. Whether they expire is up to the source: its keys are deleted then, and the target's as well.
type keeper struct {
	client *clientv3.Client

	mutex sync.Mutex
	held  map[int64]renewed
}

// renewed is a lease and when it was renewed last: not later than the target thinks.
type renewed struct {
	ttl time.Duration
	at  time.Time
}

func newKeeper(client *clientv3.Client) *keeper {
	return &keeper{client: client, held: map[int64]renewed{}}
}

// keep renews leases until the context ends: those that it is told of, and those that the target lists.
func (k *keeper) keep(ctx context.Context, listEvery time.Duration, note func(error)) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	var listed time.Time
	for {
		var err error
		if time.Since(listed) >= listEvery {
			if err = k.list(ctx); err == nil {
				listed = time.Now()
			}
		}
		for chunk := range slices.Chunk(k.due(time.Now()), renewAtOnce) {
			err = errors.Join(err, k.renew(ctx, chunk))
		}
		if err != nil {
			err = fmt.Errorf("keeping the target's leases alive: %w", err)
		}
		note(err)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// list adds what the target has. The lock is not among it: only who has it renews it.
func (k *keeper) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	all, err := leases(ctx, k.client)
	if err != nil {
		return err
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for id := range all {
		if _, has := k.held[id]; !has {
			k.held[id] = renewed{}
		}
	}
	return nil
}

func (k *keeper) add(id, ttl int64, at time.Time) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.held[id] = renewed{time.Duration(ttl) * time.Second, at}
}

func (k *keeper) drop(id int64) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	delete(k.held, id)
}

func (k *keeper) has(id int64) bool {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	_, has := k.held[id]
	return has
}

// alive is whether a lease is there, and cannot have expired since it was renewed.
func (k *keeper) alive(id int64, now time.Time) bool {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	held, has := k.held[id]
	return has && now.Sub(held.at) < held.ttl
}

// due are the leases of which a third is over, those that are next to expire first.
func (k *keeper) due(now time.Time) []int64 {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	expires := map[int64]time.Time{}
	for id, held := range k.held {
		if now.Sub(held.at) >= held.ttl/3 {
			expires[id] = held.at.Add(held.ttl)
		}
	}
	return slices.SortedFunc(maps.Keys(expires), func(a, b int64) int { return expires[a].Compare(expires[b]) })
}

// renew renews leases with a stream of its own. Those that the target does not have are dropped.
func (k *keeper) renew(ctx context.Context, ids []int64) error {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), renewLimit)
	defer cancel()
	wire, err := etcdserverpb.NewLeaseClient(k.client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for _, id := range ids {
			if wire.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: id}) != nil {
				return // Why is told to who receives.
			}
		}
		_ = wire.CloseSend()
	})
	for range ids {
		answer, err := wire.Recv()
		if err != nil {
			cancel()
			return err
		}
		if answer.TTL > 0 {
			k.add(answer.ID, answer.TTL, began)
		} else {
			k.drop(answer.ID)
		}
	}
	return nil
}

// leases are those of a cluster, without any mirror's lock.
func leases(ctx context.Context, client *clientv3.Client) (map[int64]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	all, err := client.Leases(ctx)
	if err != nil {
		return nil, err
	}
	ids := map[int64]bool{}
	for _, lease := range all.Leases {
		if lease.ID != lockLease {
			ids[int64(lease.ID)] = true
		}
	}
	return ids, nil
}

// grant makes a lease on the target by the ID that it has on the source. It is not an error if it is there already.
func (m *Mirror) grant(ctx context.Context, id, ttl int64) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	began := time.Now()
	_, err := clientv3.RetryLeaseClient(m.target).LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{ID: id, TTL: ttl})
	switch err = rpctypes.Error(err); {
	case err == nil:
		m.leases.add(id, ttl, began)
		return nil
	case errors.Is(err, rpctypes.ErrLeaseExist) && id != lockLease:
		// When it was renewed is not known.
		m.leases.add(id, 0, time.Time{})
		return nil
	}
	return err
}

// lock sees to it that no other mirror writes to the target.
func (m *Mirror) lock(ctx context.Context) error {
	now := time.Now()
	switch {
	case m.leases.alive(lockLease, now):
		return nil
	case m.leases.has(lockLease):
		return errLocked
	}
	err := m.grant(ctx, lockLease, lockTTL)
	if errors.Is(err, rpctypes.ErrLeaseExist) {
		return fmt.Errorf("another mirror writes to the target, or was killed less than %d s ago: %w", lockTTL, err)
	}
	return err
}

// errLocked says that the lease by which other mirrors are kept off may have expired.
var errLocked = errors.New("the lease by which other mirrors are kept off could not be renewed in time")

// unlock lets another mirror go on at once.
func (m *Mirror) unlock(ctx context.Context) {
	if !m.leases.has(lockLease) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	// If it fails, it expires.
	_, _ = m.target.Revoke(ctx, lockLease)
	m.leases.drop(lockLease)
}

// grantFor makes the leases that keys of a revision are attached to.
func (m *Mirror) grantFor(ctx context.Context, events []*mvccpb.Event) error {
	for _, e := range events {
		id := e.Kv.Lease
		if id == 0 || m.leases.has(id) {
			continue
		}
		ttl, err := grantedTTL(ctx, m.source, id)
		if err != nil {
			return fmt.Errorf("the TTL of the source's lease %x: %w", id, err)
		}
		if ttl == 0 {
			ttl = orphanTTL
		}
		if err := m.grant(ctx, id, ttl); err != nil {
			return fmt.Errorf("granting the lease %x on the target: %w", id, err)
		}
	}
	return nil
}

// grantedTTL is in seconds; 0 if there is no such lease.
func grantedTTL(ctx context.Context, client *clientv3.Client, id int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	lease, err := client.TimeToLive(ctx, clientv3.LeaseID(id))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return max(lease.GrantedTTL, 0), nil
}

// alignLeases grants on the target what the source has, also without any key, and revokes what it does not have any more. It must
// not run while a revision is written. The target is asked first: what it has was on the source before that is asked. More is whether
// there is more to do than is done at once.
func (m *Mirror) alignLeases(ctx context.Context) (more bool, err error) {
	there, err := leases(ctx, m.target)
	if err != nil {
		return false, fmt.Errorf("the leases of the target: %w", err)
	}
	here, err := leases(ctx, m.source)
	if err != nil {
		return false, fmt.Errorf("the leases of the source: %w", err)
	}
	left := leasesAtOnce
	for id := range here {
		if there[id] {
			continue
		}
		if left--; left < 0 {
			return true, nil
		}
		ttl, err := grantedTTL(ctx, m.source, id)
		if err == nil && ttl > 0 {
			err = m.grant(ctx, id, ttl)
		}
		if err != nil {
			return false, fmt.Errorf("granting the lease %x on the target: %w", id, err)
		}
	}
	for id := range there {
		if here[id] {
			continue
		}
		if left--; left < 0 {
			return true, nil
		}
		if err := m.revoke(ctx, id); err != nil {
			return false, fmt.Errorf("revoking the lease %x on the target: %w", id, err)
		}
	}
	return false, nil
}

// revoke removes a lease that the source does not have, unless it has keys: their deletion has not been mirrored yet, and would be
// another revision if it was done by this.
func (m *Mirror) revoke(ctx context.Context, id int64) error {
	// The list is that of a member which may lag; this one is the leader's.
	if ttl, err := grantedTTL(ctx, m.source, id); err != nil || ttl > 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	lease, err := m.target.TimeToLive(ctx, clientv3.LeaseID(id), clientv3.WithAttachedKeys())
	if err == nil && len(lease.Keys) > 0 {
		return nil
	}
	if err == nil {
		_, err = m.target.Revoke(ctx, clientv3.LeaseID(id))
	}
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return err
	}
	m.leases.drop(id)
	return nil
}
