//go:build e2e

// Package e2e tests the operator as users have it: a pod, installed by its Helm chart, on real kubelets, with real
// volumes and real DNS.
package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// patience is how long anything may take here, on a slow machine under load.
const patience = 90 * time.Second

func TestThreeMembersOnThreeNodes(t *testing.T) {
	t.Parallel()
	k := live.Connect(t)
	k.MustCreate(k.Cluster("demo", 3))
	cluster := k.WaitSettled("demo", patience)

	nodes := map[string]bool{}
	for name, pod := range k.Pods("demo") {
		nodes[pod.Spec.NodeName] = true
		if user := pod.Spec.SecurityContext.RunAsUser; user == nil || *user == 0 {
			t.Errorf("pod %s runs as %v, want a user that is not root", name, user)
		}
	}
	if len(nodes) != 3 {
		t.Errorf("the members are on %d nodes, want 3", len(nodes))
	}
	s := cluster.Status
	if s.Ready != "3/3" || s.Leader == "" || s.ClusterID == "" || s.Version != live.EtcdVersion() || s.DBSize.IsZero() || len(s.Members) != 3 {
		t.Errorf("status is incomplete: %+v", s)
	}
	if len(s.Endpoints) != 4 {
		t.Errorf("endpoints are %v, want the Service and three members", s.Endpoints)
	}
	k.Put("demo", "demo-0-0", "key", "value")
	k.WantValue("demo", "demo-2-0", "key", "value")

	budget := &policyv1.PodDisruptionBudget{}
	key := client.ObjectKey{Namespace: k.Namespace, Name: "demo"}
	k.Eventually("the disruption budget counts the voters", patience, func(ctx context.Context) error {
		if err := k.Get(ctx, key, budget); err != nil {
			return err
		}
		if budget.Status.DisruptionsAllowed != 1 || budget.Status.DesiredHealthy != 2 {
			return fmt.Errorf("it allows %d disruptions and wants %d healthy", budget.Status.DisruptionsAllowed, budget.Status.DesiredHealthy)
		}
		return nil
	})
	k.Eventually("events tell the story", patience, func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := k.List(ctx, &events, client.InNamespace(k.Namespace)); err != nil {
			return err
		}
		seen := map[string]bool{}
		for i := range events.Items {
			if events.Items[i].Regarding.Kind == "EtcdCluster" {
				seen[events.Items[i].Reason] = true
			}
		}
		for _, reason := range []string{"Creating", "QuorumServes", "LeaderChanged"} {
			if !seen[reason] {
				return fmt.Errorf("no event %s among %v", reason, seen)
			}
		}
		return nil
	})
}

func TestSingleMember(t *testing.T) {
	t.Parallel()
	k := live.Connect(t)
	k.MustCreate(k.Cluster("one", 1))
	k.WaitSettled("one", patience)
	k.Put("one", "one-0-0", "key", "value")
	pods := k.Pods("one")
	pod := pods["one-0-0"]
	k.MustDelete(&pod)
	k.Eventually("the pod is another one", patience, func(context.Context) error {
		if now := k.Pods("one")["one-0-0"]; now.UID == "" || now.UID == pod.UID || now.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("pod is %s, %s", now.UID, now.Status.Phase)
		}
		return nil
	})
	k.WaitSettled("one", patience)
	k.WantValue("one", "one-0-0", "key", "value")
}

func TestAnIdleClusterIsNotWrittenTo(t *testing.T) {
	k := live.Connect(t)
	k.MustCreate(k.Cluster("idle", 3))
	k.WaitSettled("idle", patience)
	// What follows from the creation comes to rest first: endpoint slices, the last report.
	versions := k.ResourceVersionsAtRest(5 * time.Second)
	const quiet = 25 * time.Second
	time.Sleep(quiet)
	for name, before := range versions {
		if now := k.ResourceVersions()[name]; now != before {
			t.Errorf("%s was written to while the cluster was idle: resource version %s, then %s", name, before, now)
		}
	}
}
