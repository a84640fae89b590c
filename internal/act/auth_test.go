package act_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
)

// as carries out one action for a cluster that was observed.
func (s *server) as(o observe.Observed, l act.Etcd, action core.Action) error {
	actor := act.Actor{Client: s, Live: s, Etcd: l}
	return actor.Do(context.Background(), o, []core.Action{action}, func(core.Action, error) {})
}

func (s *server) authSecret(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	if !s.exists(t, secret) {
		t.Fatalf("there is no Secret %s", name)
	}
	return secret
}

// TestPasswordsAreMade: each another one, and for the user that it is for. One that is there is kept.
func TestPasswordsAreMade(t *testing.T) {
	s := newServer(t)
	seen := map[string]bool{}
	for name, user := range map[string]string{"demo-root": "root", "demo-operator-auth": "etcd-operator"} {
		if err := s.as(observed(), three(), core.WriteAuthSecret{Name: name}); err != nil {
			t.Fatal(err)
		}
		secret := s.authSecret(t, name)
		password := string(secret.Data["password"])
		if seen[password] || len(password) < 40 || len(password) > 72 || string(secret.Data["username"]) != user || secret.Type != corev1.SecretTypeBasicAuth {
			t.Errorf("%s is for %s of type %s, with %d bytes", name, secret.Data["username"], secret.Type, len(password))
		}
		if seen[password] = true; len(secret.OwnerReferences) > 0 {
			t.Errorf("%s goes with the cluster, whose volumes stay", name)
		}
		if err := s.as(observed(), three(), core.WriteAuthSecret{Name: name}); !isStale(err) {
			t.Errorf("it was written a second time: %v", err)
		}
	}
	o := observed()
	o.Render.Spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionDelete
	before := s.authSecret(t, "demo-root")
	if err := s.as(o, three(), core.WriteAuthSecret{Name: "demo-root"}); err != nil {
		t.Fatal(err)
	}
	now := s.authSecret(t, "demo-root")
	if kept := bytes.Equal(now.Data["password"], before.Data["password"]); !metav1.IsControlledBy(now, o.Render.EtcdCluster) || !kept {
		t.Errorf("it is %+v, with the same password: %v", now.OwnerReferences, kept)
	}
}

// TestNobodysSecretIsOverwritten: one of someone else's name stays as it is.
func TestNobodysSecretIsOverwritten(t *testing.T) {
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-root"}, Data: map[string][]byte{"a": []byte("b")}}
	s := newServer(t, theirs)
	if err := s.as(observed(), three(), core.WriteAuthSecret{Name: "demo-root"}); !isStale(err) {
		t.Errorf("%v", err)
	}
	if now := s.authSecret(t, "demo-root"); len(s.writes) > 0 || string(now.Data["a"]) != "b" {
		t.Errorf("%v, %v", s.writes, now.Data)
	}
}

// TestUsersAndRolesAreChanged: step by step, with the passwords that were read, and not at all if others have changed them meanwhile.
func TestUsersAndRolesAreChanged(t *testing.T) {
	steps := []core.AuthStep{
		{Change: core.AddRole, Role: "app"},
		{Change: core.AddUser, User: "app"},
		{Change: core.RemoveUser, User: "old"},
	}
	step := core.ChangeAuth{Via: "demo-1", Enabled: true, Revision: 7, Steps: steps}
	o := observed()
	o.Passwords = map[string]string{"app": "secret"}
	address := o.Endpoints[1].Address
	all := []string{"AddRole " + address + " app", "AddUser " + address + " app secret", "RemoveUser " + address + " old"}
	for name, c := range map[string]struct {
		change func(m *members)
		want   []string
		stale  bool
		fails  bool
	}{
		"as decided":           {want: all},
		"changed meanwhile":    {change: func(m *members) { m.revision = 8 }, stale: true},
		"turned off meanwhile": {change: func(m *members) { m.enabled = false }, stale: true},
		"it does not answer":   {change: func(m *members) { m.unasked = errBroken }, fails: true},
		"one fails":            {change: func(m *members) { m.fails = all[1] }, want: all[:2], fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := three()
			m.enabled, m.revision = true, 7
			if c.change != nil {
				c.change(m)
			}
			err := newServer(t).as(o, m, step)
			if !slices.Equal(m.asked, c.want) || isStale(err) != c.stale || (err != nil && !isStale(err)) != c.fails {
				t.Errorf("asked %q, %v", m.asked, err)
			}
		})
	}
}

// TestAUserThatCannotBeAddedHoldsNothingUp: what disrupts comes all the same.
func TestAUserThatCannotBeAddedHoldsNothingUp(t *testing.T) {
	m := three()
	m.unasked = errBroken
	ended, err := newServer(t).do(m, core.ChangeAuth{Via: "demo-0"}, core.WriteAuthSecret{Name: "demo-root"}, core.DisarmAlarm{ID: "d", Alarm: "NOSPACE", Via: "demo-0"})
	if err == nil || !slices.Contains(ended, "DisarmAlarm done") || !slices.Contains(ended, "ChangeAuth failed") {
		t.Errorf("%v, %v", ended, err)
	}
}
