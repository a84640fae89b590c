//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// TestLifeAuthIsTurnedOnAndOff: clients that show the ready-made certificate go on as the user client, while members are rolled too.
func TestLifeAuthIsTurnedOnAndOff(t *testing.T) {
	t.Parallel()
	l := beginLife(t, 3, func(s *v1alpha1.EtcdClusterSpec) {
		// The workload compares the members' data, which root alone may do.
		s.Security.Auth.Users = []v1alpha1.AuthUser{{Name: "client", Roles: []v1alpha1.AuthName{"root"}}, {Name: "nobody"}}
	})
	mode := func(mode v1alpha1.AuthMode) func(*v1alpha1.EtcdClusterSpec) {
		return func(s *v1alpha1.EtcdClusterSpec) { s.Security.Auth.Mode = mode }
	}
	l.Change("demo", mode(v1alpha1.AuthEnabled))
	l.WaitCondition("demo", "AuthReady", "AuthEnabled", patience, "2 users")
	if _, err := l.Exec(context.Background(), l.anyPod(), "/usr/local/bin/etcdctl", "--endpoints=http://127.0.0.1:2379", "--command-timeout=3s", "get", "x"); err == nil {
		t.Error("who shows no certificate is served")
	}
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Config = map[string]v1alpha1.ConfigValue{"max-txn-ops": "256"} })
	l.settled(3)
	l.Change("demo", mode(v1alpha1.AuthDisabled))
	l.Eventually("nothing is left of users", patience, func(ctx context.Context) error {
		cluster, err := l.GetCluster(ctx, "demo")
		if err == nil && cluster.Status.Auth != nil {
			err = fmt.Errorf("there is %+v", *cluster.Status.Auth)
		}
		return err
	})
	t.Logf("authentication was turned on and off: %s", l.finish(3))
}
