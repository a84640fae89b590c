package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// HashKV checks that all members have the same data: that their hashes of the key space, with all its history, are equal
// at one revision (https://etcd.io/docs/v3.6/op-guide/data_corruption/). It tries until the context ends, because a
// member may lag, and hashes compare only between members that have compacted to the same revision.
func HashKV(ctx context.Context, client *clientv3.Client) error {
	last := errors.New("no time was left to ask")
	for ctx.Err() == nil {
		differ, err := hashOnce(ctx, client)
		if differ != nil || err == nil {
			return differ
		}
		if ctx.Err() == nil {
			last = err
		}
		pause(ctx, 200*time.Millisecond)
	}
	return fmt.Errorf("the members' hashes could not be compared: %w", last)
}

// hashOnce gives how members differ, or why they could not be compared.
func hashOnce(ctx context.Context, client *clientv3.Client) (differ, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list, err := client.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	now, err := client.Get(ctx, "history/revision")
	if err != nil {
		return nil, err
	}
	urls := map[string]string{}
	for _, member := range list.Members {
		if len(member.ClientURLs) == 0 {
			return nil, fmt.Errorf("member %x has not started", member.ID)
		}
		// Without its scheme a member is asked as the client asks others, by TLS or not.
		_, urls[member.Name], _ = strings.Cut(member.ClientURLs[0], "://")
	}
	return compare(ctx, client, now.Header.Revision, urls)
}

// compare compares the hashes of members, by their client URLs, at one revision.
func compare(ctx context.Context, client *clientv3.Client, revision int64, urls map[string]string) (differ, err error) {
	var first *clientv3.HashKVResponse
	var of string
	for _, name := range slices.Sorted(maps.Keys(urls)) {
		hash, err := client.HashKV(ctx, urls[name], revision)
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", name, err)
		}
		switch {
		case first == nil:
			first, of = hash, name
		case hash.CompactRevision != first.CompactRevision:
			return nil, fmt.Errorf("member %s has compacted to revision %d, %s to %d", name, hash.CompactRevision, of, first.CompactRevision)
		case hash.Hash != first.Hash:
			return fmt.Errorf("at revision %d member %s has the hash %08x, %s has %08x: their data differs", revision, name, hash.Hash, of, first.Hash), nil
		}
	}
	return nil, nil
}
