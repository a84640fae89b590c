package live

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// For is the same cluster and namespace, for a subtest.
func (k *Kubernetes) For(t testing.TB) *Kubernetes {
	sub := *k
	sub.T = t
	return &sub
}

// Merge merges fields into an EtcdCluster.
func (k *Kubernetes) Merge(name string, fields map[string]any) {
	k.T.Helper()
	patch, err := json.Marshal(fields)
	if err != nil {
		k.T.Fatal(err)
	}
	cluster := &v1alpha1.EtcdCluster{}
	cluster.Namespace, cluster.Name = k.Namespace, name
	if err := k.Patch(context.Background(), cluster, client.RawPatch(types.MergePatchType, patch)); err != nil {
		k.T.Fatalf("patching %s with %s: %v", name, patch, err)
	}
}

// Annotate sets an annotation of an EtcdCluster.
func (k *Kubernetes) Annotate(name, annotation, value string) {
	k.T.Helper()
	k.Merge(name, map[string]any{"metadata": map[string]any{"annotations": map[string]string{annotation: value}}})
}

// Members are the members of etcd's own list, by name, from a linearizable read. One that has not started has no name.
func Members(ctx context.Context, etcd *clientv3.Client) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, err := etcd.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	members := map[string]uint64{}
	for _, m := range list.Members {
		name := m.Name
		if m.IsLearner {
			name += " (learner)"
		}
		members[name] = m.ID
	}
	return members, nil
}

// MustMembers are the members of etcd's own list.
func (k *Kubernetes) MustMembers(etcd *clientv3.Client) map[string]uint64 {
	k.T.Helper()
	var members map[string]uint64
	k.Eventually("reading the member list", time.Minute, func(ctx context.Context) (err error) {
		members, err = Members(ctx, etcd)
		return err
	})
	return members
}

// WaitReplaced waits until a member is in etcd's list no more, or has another ID, and the cluster has settled.
func (k *Kubernetes) WaitReplaced(cluster string, etcd *clientv3.Client, member string, id uint64, timeout time.Duration) {
	k.T.Helper()
	k.Eventually("member "+member+" is replaced", timeout, func(ctx context.Context) error {
		members, err := Members(ctx, etcd)
		if err == nil && members[member] == id {
			err = fmt.Errorf("members are %v", members)
		}
		return err
	})
	k.WaitSettled(cluster, timeout)
}

// WaitEndState waits until nothing is there but what a cluster of this size has: in etcd's list as many voters, all
// started, and under exactly their names the status, a StatefulSet, a ready pod and a claim each.
func (k *Kubernetes) WaitEndState(cluster string, etcd *clientv3.Client, size int, timeout time.Duration) {
	k.T.Helper()
	k.Eventually(fmt.Sprintf("%s has %d members and nothing else", cluster, size), timeout, func(ctx context.Context) error {
		listed, err := Members(ctx, etcd)
		if err != nil {
			return err
		}
		if len(listed) != size {
			return fmt.Errorf("etcd lists %v", listed)
		}
		want := slices.Sorted(maps.Keys(listed))
		found, err := k.memberNames(ctx, cluster)
		if err != nil {
			return err
		}
		for _, what := range slices.Sorted(maps.Keys(found)) {
			if slices.Sort(found[what]); !slices.Equal(found[what], want) {
				return fmt.Errorf("%s are those of %v, etcd lists %v", what, found[what], want)
			}
		}
		return nil
	})
}

// memberNames are the members that the status and the objects of a cluster name, by kind.
func (k *Kubernetes) memberNames(ctx context.Context, cluster string) (map[string][]string, error) {
	names := map[string][]string{"members of the status": nil, "StatefulSets": nil, "ready pods": nil, "claims": nil}
	found, err := k.GetCluster(ctx, cluster)
	if err != nil {
		return nil, err
	}
	for _, m := range found.Status.Members {
		names["members of the status"] = append(names["members of the status"], m.Name)
	}
	of := []client.ListOption{client.InNamespace(k.Namespace), client.MatchingLabels{"etcd.etcd.io/cluster": cluster}}
	var sets appsv1.StatefulSetList
	var pods corev1.PodList
	var claims corev1.PersistentVolumeClaimList
	for _, list := range []client.ObjectList{&sets, &pods, &claims} {
		if err := k.List(ctx, list, of...); err != nil {
			return nil, err
		}
	}
	for i := range sets.Items {
		names["StatefulSets"] = append(names["StatefulSets"], sets.Items[i].Name)
	}
	for i := range pods.Items {
		name := strings.TrimSuffix(pods.Items[i].Name, "-0")
		if !Ready(&pods.Items[i]) {
			name += " (not ready)"
		}
		names["ready pods"] = append(names["ready pods"], name)
	}
	if found.Spec.Storage.Medium == v1alpha1.StorageMediumMemory {
		delete(names, "claims")
		return names, nil
	}
	for i := range claims.Items {
		if member := claims.Items[i].Labels["etcd.etcd.io/member"]; !slices.Contains(names["claims"], member) {
			names["claims"] = append(names["claims"], member)
		}
	}
	return names, nil
}

// Leader is the member that leads, as etcd says.
func (k *Kubernetes) Leader(etcd *clientv3.Client) string {
	k.T.Helper()
	var leader string
	k.Eventually("finding the leader", time.Minute, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		list, err := etcd.MemberList(ctx)
		if err != nil {
			return err
		}
		status, err := etcd.Status(ctx, etcd.Endpoints()[0])
		if err != nil {
			return err
		}
		for _, m := range list.Members {
			if m.ID == status.Leader && m.Name != "" {
				leader = m.Name
				return nil
			}
		}
		return fmt.Errorf("leader %x is not among the members", status.Leader)
	})
	return leader
}

// MoveLeader hands the leadership to a member.
func (k *Kubernetes) MoveLeader(etcd *clientv3.Client, to string) {
	k.T.Helper()
	k.Eventually("moving the leadership to "+to, time.Minute, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		list, err := etcd.MemberList(ctx)
		if err != nil {
			return err
		}
		target := uint64(0)
		for _, m := range list.Members {
			if m.Name == to {
				target = m.ID
			}
		}
		for _, m := range list.Members {
			status, err := etcd.Status(ctx, m.ClientURLs[0])
			if err != nil {
				return err
			}
			if status.Leader == target {
				return nil
			}
			if status.Leader != m.ID {
				continue
			}
			// Only the leader hands over, so it is asked alone.
			if err := k.moveFrom(ctx, m.ClientURLs, target); err != nil {
				return err
			}
		}
		return fmt.Errorf("%s does not lead yet", to)
	})
}

func (k *Kubernetes) moveFrom(ctx context.Context, leader []string, target uint64) error {
	// https://demo-0-0.demo-peer.default.svc…
	_, peers, _ := strings.Cut(leader[0], ".")
	cluster, _, _ := strings.Cut(peers, "-peer.")
	alone, err := k.etcd(ctx, cluster+"-client", clientv3.Config{Endpoints: leader})
	if err != nil {
		return err
	}
	defer func() { _ = alone.Close() }()
	_, err = alone.MoveLeader(ctx, target)
	return err
}
