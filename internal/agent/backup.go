package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// collectAt is by how many percent of what is in use the heap of an agent grows that makes a backup. What is in use are buffers: with Go's 100
// the process would have twice of them, and more than the 64 MiB that it is to have at most.
const collectAt = 50

func (a Agent) backup(ctx context.Context, s store.Store, t task.Task) (task.Result, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(collectAt))
	from := a.members(t)
	if t.Source != nil {
		from = a.source(t)
	}
	member, client, err := from.choose(ctx)
	if err != nil {
		return task.Result{}, err
	}
	defer func() { _ = client.Close() }()
	return result(backup.Take(ctx, s, backup.Request{
		Name: t.Name, Cluster: cluster(t), Member: member.Name, Endpoint: member.URL, Client: client,
		Recipients: t.Recipients, Operator: t.OperatorVersion, Spec: t.Spec,
	}))
}

// candidate is a member that answers.
type candidate struct {
	member task.Member
	client *clientv3.Client
	status *clientv3.StatusResponse
}

// choose connects to the member to ask for a snapshot: rather a follower than the leader, which has enough to do, and of those the
// one that is furthest.
func (p peer) choose(ctx context.Context) (task.Member, *clientv3.Client, error) {
	var there []candidate
	var failed []error
	for _, member := range p.members {
		found, err := p.ask(ctx, member)
		if err != nil {
			failed = append(failed, fmt.Errorf("member %s at %s: %w", member.Name, member.URL, err))
			continue
		}
		there = append(there, found)
	}
	if len(there) == 0 {
		return task.Member{}, nil, fmt.Errorf("no member of %s can be asked for a snapshot: %w", p.name, errors.Join(failed...))
	}
	slices.SortStableFunc(there, func(x, y candidate) int {
		if leads := func(c candidate) bool { return c.status.Leader == c.status.Header.MemberId }; leads(x) != leads(y) {
			if leads(x) {
				return 1
			}
			return -1
		}
		return int(y.status.Header.Revision - x.status.Header.Revision)
	})
	for _, other := range there[1:] {
		_ = other.client.Close()
	}
	return there[0].member, there[0].client, nil
}

// ask connects to one member, which has to be a voter that knows its leader.
func (p peer) ask(ctx context.Context, member task.Member) (candidate, error) {
	client, err := p.connect(ctx, member.URL)
	if err != nil {
		return candidate{}, err
	}
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	status, err := client.Status(limited, member.URL)
	switch {
	case err != nil:
		// The client's library only says that time is over.
		if reason := p.reach(ctx, member.URL); reason != nil {
			err = reason
		}
	case status.IsLearner:
		err = errors.New("it is a learner")
	case status.Leader == 0:
		err = errors.New("it knows no leader")
	default:
		return candidate{member, client, status}, nil
	}
	_ = client.Close()
	return candidate{}, err
}
