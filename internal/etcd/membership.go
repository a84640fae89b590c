package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// flushTimeout bounds the writing of a whole raft log's length of entries, flushCallers is how many write at once.
const (
	flushTimeout = time.Minute
	flushCallers = 64
)

// refusals are the answers by which etcd protects its quorum, or says that it is not ready yet. Nothing is wrong then: the
// same is asked again a little later
// (https://etcd.io/docs/v3.6/op-guide/runtime-configuration/#strict-reconfiguration-check-mode--strict-reconfig-check).
var refusals = []error{
	rpctypes.ErrUnhealthy, rpctypes.ErrMemberNotEnoughStarted, rpctypes.ErrMemberLearnerNotReady, rpctypes.ErrTooManyLearners,
	rpctypes.ErrNoLeader, rpctypes.ErrLeaderChanged, rpctypes.ErrNotLeader, rpctypes.ErrTimeoutDueToLeaderFail,
	rpctypes.ErrClusterVersionUnavailable, rpctypes.ErrInvalidDowngradeTargetVersion, rpctypes.ErrDowngradeInProcess,
}

// IsRefusal is whether etcd refused for now what would have endangered its quorum.
func (p *Pool) IsRefusal(err error) bool {
	for _, refusal := range refusals {
		var want rpctypes.EtcdError
		var got rpctypes.EtcdError
		if errors.As(refusal, &want) && errors.As(err, &got) && want.Error() == got.Error() {
			return true
		}
	}
	return false
}

// call asks one member for something that changes the cluster.
func (p *Pool) call(ctx context.Context, address, what string, timeout time.Duration, ask func(context.Context, *clientv3.Client) error) error {
	c, err := p.client(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := ask(ctx, c); err != nil {
		return fmt.Errorf("%s, asked of %s: %w", what, address, rpctypes.Error(err))
	}
	return nil
}

// AddLearner adds a member with the peer URL as a learner. One that is there already is fine: the URL says which it is.
func (p *Pool) AddLearner(ctx context.Context, address, peerURL string) error {
	return p.call(ctx, address, "adding the member "+peerURL, 5*callTimeout, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.MemberAddAsLearner(ctx, []string{peerURL})
		// IDs are made of the URL and the second: within one it is the ID that exists already.
		return unless(unless(err, rpctypes.ErrPeerURLExist), rpctypes.ErrMemberExist)
	})
}

// Promote makes a learner a voter.
func (p *Pool) Promote(ctx context.Context, address, id string) error {
	return p.ofMember(ctx, address, "promoting", id, func(ctx context.Context, c *clientv3.Client, id uint64) error {
		_, err := c.MemberPromote(ctx, id)
		return unless(err, rpctypes.ErrMemberNotLearner)
	})
}

// Remove removes a member.
func (p *Pool) Remove(ctx context.Context, address, id string) error {
	return p.ofMember(ctx, address, "removing", id, func(ctx context.Context, c *clientv3.Client, id uint64) error {
		_, err := c.MemberRemove(ctx, id)
		return unless(err, rpctypes.ErrMemberNotFound)
	})
}

// MovePeerURL makes etcd list another peer URL of a member.
func (p *Pool) MovePeerURL(ctx context.Context, address, id, peerURL string) error {
	return p.ofMember(ctx, address, "moving the peer URL of", id, func(ctx context.Context, c *clientv3.Client, id uint64) error {
		_, err := c.MemberUpdate(ctx, id, []string{peerURL})
		return err
	})
}

// Disarm clears an alarm that was raised for a member.
func (p *Pool) Disarm(ctx context.Context, address, id, alarm string) error {
	kind, known := etcdserverpb.AlarmType_value[alarm]
	if !known {
		return fmt.Errorf("%q is no alarm of etcd", alarm)
	}
	return p.ofMember(ctx, address, "disarming "+alarm+" of", id, func(ctx context.Context, c *clientv3.Client, id uint64) error {
		_, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: id, Alarm: etcdserverpb.AlarmType(kind)})
		return err
	})
}

func (p *Pool) ofMember(ctx context.Context, address, what, id string, ask func(context.Context, *clientv3.Client, uint64) error) error {
	var number uint64
	if _, err := fmt.Sscanf(id, "%x", &number); err != nil {
		return fmt.Errorf("%q is not a member ID: %w", id, err)
	}
	return p.call(ctx, address, what+" member "+id, 5*callTimeout, func(ctx context.Context, c *clientv3.Client) error {
		return ask(ctx, c, number)
	})
}

// unless forgets an error that says that what was asked for is the case already.
func unless(err, done error) error {
	var got, want rpctypes.EtcdError
	if errors.As(rpctypes.Error(err), &got) && errors.As(done, &want) && got.Error() == want.Error() {
		return nil
	}
	return err
}

// EnableDowngrade tells etcd that it will be downgraded to a minor, MAJOR.MINOR, after asking whether that is possible.
func (p *Pool) EnableDowngrade(ctx context.Context, address, target string) error {
	return p.call(ctx, address, "enabling the downgrade to "+target, 5*callTimeout, func(ctx context.Context, c *clientv3.Client) error {
		if _, err := c.Downgrade(ctx, clientv3.DowngradeValidate, target+".0"); err != nil {
			return err
		}
		_, err := c.Downgrade(ctx, clientv3.DowngradeEnable, target+".0")
		return err
	})
}

// CancelDowngrade takes that back.
func (p *Pool) CancelDowngrade(ctx context.Context, address string) error {
	return p.call(ctx, address, "canceling the downgrade", 5*callTimeout, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Downgrade(ctx, clientv3.DowngradeCancel, "")
		return unless(err, rpctypes.ErrNoInflightDowngrade)
	})
}

// FlushLog writes entries to the raft log that change nothing, so that members write a snapshot and need not read older
// entries when they start. Asking for the alarms goes through the log.
func (p *Pool) FlushLog(ctx context.Context, address string, entries int) error {
	what := fmt.Sprintf("writing %d entries to the log", entries)
	return p.call(ctx, address, what, flushTimeout, func(ctx context.Context, c *clientv3.Client) error {
		var wg sync.WaitGroup
		errs := make([]error, flushCallers)
		for i := range flushCallers {
			wg.Go(func() {
				for n := i; n < entries && errs[i] == nil; n += flushCallers {
					_, errs[i] = c.AlarmList(ctx)
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
}

// Agree compares the hashes of the key space of members at one revision, that of the member furthest behind. It says which
// two differ, or nothing. Members that have compacted differently cannot be compared, which is an error that passes
// (https://etcd.io/docs/v3.6/op-guide/data_corruption/).
func (p *Pool) Agree(ctx context.Context, endpoints []Endpoint, revision int64) (string, error) {
	var first *clientv3.HashKVResponse
	for _, endpoint := range endpoints {
		var answer *clientv3.HashKVResponse
		err := p.call(ctx, endpoint.Address, "hashing the keys", 30*time.Second, func(ctx context.Context, c *clientv3.Client) (err error) {
			answer, err = c.HashKV(ctx, endpoint.Address, revision)
			return err
		})
		switch {
		case err != nil:
			return "", err
		case first == nil:
			first = answer
		case first.CompactRevision != answer.CompactRevision:
			return "", fmt.Errorf("members %s and %s have compacted differently", endpoints[0].Member, endpoint.Member)
		case first.Hash != answer.Hash:
			return fmt.Sprintf("members %s and %s hold different data at revision %d", endpoints[0].Member, endpoint.Member, revision), nil
		}
	}
	return "", nil
}
