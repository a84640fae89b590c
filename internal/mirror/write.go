package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// transaction is a revision as it is written to the target. Its guards hold right before that revision, and not after it: so it is
// not written twice if it is not known what has become of the first time.
//
// There is one hole that etcd's comparisons cannot close. A revision that makes a key, and is still on its way when a later one has
// deleted that key, finds nothing that tells it so. The lock keeps other mirrors off, and what comes of it is seen at once, since the
// target has one revision too many then.
type transaction struct {
	guards []clientv3.Cmp
	ops    []clientv3.Op
	// deletes are how many keys each operation has to delete; -1 where that is not looked at.
	deletes []int64
	// size is about that of the request, in bytes.
	size int
}

// write makes a revision on the target with one transaction.
func (m *Mirror) write(ctx context.Context, events []*mvccpb.Event) error {
	t := exactly(events)
	refused, err := m.commit(ctx, t, events)
	if refused == nil {
		return err
	}
	// It may have been a deletion of many keys.
	together, err := m.together(ctx, events)
	if err != nil {
		return err
	}
	if len(together.ops) < len(t.ops) {
		if refused, err = m.commit(ctx, together, events); refused == nil {
			return err
		}
		t = together
	}
	return refusal(refused, m.options.Cluster, len(events), t)
}

// refusal says what to do about a transaction that the target does not take.
func refusal(refused error, cluster string, changes int, t transaction) error {
	switch {
	case errors.Is(refused, rpctypes.ErrTooManyOps):
		return fmt.Errorf(
			"%w: its %d changes need %d operations in one transaction. Set spec.config.max-txn-ops of the EtcdCluster %s to at least %d (etcd's default is 128), and mirror on: %w",
			ErrRefused, changes, len(t.ops), cluster, len(t.ops)+1, refused)
	case errors.Is(refused, rpctypes.ErrDuplicateKey):
		return fmt.Errorf("%w: it changes one key in a way in which no single transaction can: %w", ErrRefused, refused)
	}
	return fmt.Errorf(
		"%w: its %d changes make a request of %d bytes. Set spec.config.max-request-bytes of the EtcdCluster %s to at least %d (etcd's default is 1572864), and mirror on: %w",
		ErrRefused, changes, t.size, cluster, t.size+t.size/8, refused)
}

// isRefusal is whether the target will never take such a request.
func isRefusal(err error) bool {
	return errors.Is(err, rpctypes.ErrTooManyOps) || errors.Is(err, rpctypes.ErrRequestTooLarge) || errors.Is(err, rpctypes.ErrDuplicateKey) ||
		status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max")
}

// commit writes a transaction. It was refused, or failed in another way, or neither.
func (m *Mirror) commit(ctx context.Context, t transaction, events []*mvccpb.Event) (refused, err error) {
	revision := events[0].Kv.ModRevision
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	done, err := m.target.Txn(limited).If(t.guards...).Then(t.ops...).Commit()
	switch {
	case err != nil && isRefusal(err):
		return err, nil
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		// It was revoked or has expired. It is granted again when this is tried again.
		for _, e := range events {
			if e.Kv.Lease != 0 {
				m.leases.drop(e.Kv.Lease)
			}
		}
		return nil, err
	case err != nil:
		return nil, err
	case !done.Succeeded && done.Header.Revision >= revision:
		return nil, m.already(ctx, events)
	case !done.Succeeded:
		return nil, fmt.Errorf("%w: the target is at revision %d, and its keys are not as those of the source are before %d; one of them is %q",
			ErrDiverged, done.Header.Revision, revision, events[0].Kv.Key)
	case done.Header.Revision != revision:
		return nil, fmt.Errorf("%w: what is revision %d of the source has become %d of the target, so somebody else writes to it", ErrDiverged, revision, done.Header.Revision)
	}
	for i, want := range t.deletes {
		if want < 0 {
			continue
		}
		if got := done.Responses[i].GetResponseDeleteRange().GetDeleted(); got != want {
			return nil, fmt.Errorf("%w: revision %d deletes %d keys on the target where it deletes %d on the source", ErrDiverged, revision, got, want)
		}
	}
	return nil, nil
}

// already is for a revision that the target has: it was written by an earlier try, or by another mirror.
func (m *Mirror) already(ctx context.Context, events []*mvccpb.Event) error {
	revision := events[0].Kv.ModRevision
	there, err := revisionAt(ctx, m.target, revision)
	if err != nil {
		return fmt.Errorf("reading what the target has of it: %w", err)
	}
	if !sameEvents(there, events) {
		return fmt.Errorf("%w: the target has another revision %d than the source, so somebody else writes to it, or leases have expired there", ErrDiverged, revision)
	}
	return nil
}

// exactly has one operation for each change.
func exactly(events []*mvccpb.Event) transaction {
	var t transaction
	twice := changedTwice(events)
	for _, e := range events {
		t.change(e, twice)
	}
	return t
}

// change adds one change, with its guard.
func (t *transaction) change(e *mvccpb.Event, twice map[string]bool) {
	key := string(e.Kv.Key)
	op, guard := clientv3.OpDelete(key), clientv3.Compare(clientv3.Version(key), ">", 0)
	if e.Type == mvccpb.Event_PUT {
		op = clientv3.OpPut(key, string(e.Kv.Value), clientv3.WithLease(clientv3.LeaseID(e.Kv.Lease)))
		guard = clientv3.Compare(clientv3.Version(key), "=", e.Kv.Version-1)
	}
	again := twice[key] && e.Type == mvccpb.Event_DELETE
	if twice[key] {
		// Only in transactions of its own, within this one, may etcd change a key again.
		op = clientv3.OpTxn(nil, []clientv3.Op{op}, nil)
	}
	if !again {
		t.guards = append(t.guards, guard)
	}
	t.add(op, -1, 2*len(key)+len(e.Kv.Value))
}

func (t *transaction) add(op clientv3.Op, deletes int64, size int) {
	t.ops, t.deletes, t.size = append(t.ops, op), append(t.deletes, deletes), t.size+size+overhead
}

// overhead is about what an operation and its guard have around their keys and values, in bytes.
const overhead = 40

// changedTwice are the keys that a revision first puts and then deletes: etcd does that for transactions in transactions. The other
// way round, and more than that, it refuses.
func changedTwice(events []*mvccpb.Event) map[string]bool {
	seen, twice := make(map[string]bool, len(events)), map[string]bool{}
	for _, e := range events {
		key := string(e.Kv.Key)
		if seen[key] {
			twice[key] = true
		}
		seen[key] = true
	}
	return twice
}

// together deletes ranges instead of keys, where there is nothing else between them on the target. That is counted before: nobody
// else writes to it, and how many keys were deleted is compared afterwards.
func (m *Mirror) together(ctx context.Context, events []*mvccpb.Event) (transaction, error) {
	var t transaction
	twice := changedTwice(events)
	var puts []string
	for _, e := range events {
		if e.Type == mvccpb.Event_PUT {
			puts = append(puts, string(e.Kv.Key))
		}
	}
	slices.Sort(puts)
	for len(events) > 0 {
		n, err := longest(ascending(events, puts, twice), func(n int) (bool, error) {
			return m.nothingElse(ctx, events[0].Kv.Key, events[n-1].Kv.Key, int64(n))
		})
		if err != nil {
			return transaction{}, err
		}
		if n < 2 {
			t.change(events[0], twice)
		} else {
			first, end := string(events[0].Kv.Key), string(events[n-1].Kv.Key)+"\x00"
			t.guards = append(t.guards, clientv3.Compare(clientv3.Version(first), ">", 0).WithRange(end))
			t.add(clientv3.OpDelete(first, clientv3.WithRange(end)), int64(n), 2*(len(first)+len(end)))
		}
		events = events[n:]
	}
	return t, nil
}

// ascending is how many of the first events delete keys in their order, with none between the first and the last that is put. It is at
// least one.
func ascending(events []*mvccpb.Event, puts []string, twice map[string]bool) int {
	single := func(e *mvccpb.Event) bool { return e.Type == mvccpb.Event_DELETE && !twice[string(e.Kv.Key)] }
	if !single(events[0]) {
		return 1
	}
	next, _ := slices.BinarySearch(puts, string(events[0].Kv.Key))
	n := 1
	for n < len(events) && single(events[n]) && bytes.Compare(events[n-1].Kv.Key, events[n].Kv.Key) < 0 &&
		(next == len(puts) || string(events[n].Kv.Key) < puts[next]) {
		n++
	}
	return n
}

// longest is the largest number from 1 to a limit for which something holds, that holds for all smaller ones as well, and for 1. It asks
// for one if that is it, and else for about twice the logarithm of the number.
func longest(limit int, holds func(int) (bool, error)) (int, error) {
	if limit > 1 {
		// Most deletions are of a whole range.
		if all, err := holds(limit); err != nil || all {
			return limit, err
		}
	}
	good, bad := 1, limit
	for step := 1; good+step < bad; step *= 2 {
		yes, err := holds(good + step)
		if err != nil {
			return 0, err
		}
		if !yes {
			bad = good + step
			break
		}
		good += step
	}
	for good+1 < bad {
		middle := good + (bad-good)/2
		yes, err := holds(middle)
		if err != nil {
			return 0, err
		}
		if yes {
			good = middle
		} else {
			bad = middle
		}
	}
	return good, nil
}

// nothingElse is whether the target has just so many keys from the first to the last.
func (m *Mirror) nothingElse(ctx context.Context, first, last []byte, keys int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	got, err := m.target.Get(ctx, string(first), clientv3.WithRange(string(last)+"\x00"), clientv3.WithCountOnly())
	if err != nil {
		return false, fmt.Errorf("counting the keys of the target from %q to %q: %w", first, last, err)
	}
	return got.Count == keys, nil
}
