package observe_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
)

// asking is a cluster of two members that serve, whose etcd is to ask clients who they are.
func asking(t *testing.T) *situation {
	t.Helper()
	s := newSituation()
	s.add(s.pod("demo-0"), s.pod("demo-1"))
	s.etcd.answer.Statuses = []core.Status{
		{Member: "demo-0", Answered: true, ID: "a", LeaderID: "a", ClusterID: "c1"},
		{Member: "demo-1", Answered: true, ID: "b", LeaderID: "a", ClusterID: "c1"},
	}
	s.lists(core.Listed{ID: "a", PeerURL: s.render().PeerURL("demo-0")}, core.Listed{ID: "b", PeerURL: s.render().PeerURL("demo-1")})
	s.cluster.Spec.Security.Auth = v1alpha1.AuthSpec{
		Mode:  v1alpha1.AuthEnabled,
		Roles: []v1alpha1.AuthRole{{Name: "app", Permissions: []v1alpha1.AuthPermission{{Access: v1alpha1.AuthRead, Key: new("key")}}}},
		Users: []v1alpha1.AuthUser{
			{Name: "app", Roles: []v1alpha1.AuthName{"app"}, PasswordSecret: &v1alpha1.AuthPasswordSecret{Name: "app", Key: "word"}},
			{Name: "web"},
		},
	}
	return s
}

// secret is a Secret of the operator's own, as it makes them.
func (s *situation) secret(name, password string) *corev1.Secret {
	secret := s.render().AuthSecret(name, password)
	secret.UID = types.UID("uid-of-" + name)
	return secret
}

func word(name, key, password string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string][]byte{key: []byte(password)}}
}

// TestAuthIsLeftAloneUnlessItIsAskedFor: a cluster that has nothing to do with it costs nothing.
func TestAuthIsLeftAloneUnlessItIsAskedFor(t *testing.T) {
	s := asking(t)
	s.cluster.Spec.Security.Auth = v1alpha1.AuthSpec{}
	observed := s.observe(t)
	if a := observed.Auth; a.Wanted || a.Known || len(a.Users) > 0 || s.etcd.reads > 0 || observed.Endpoints[0].Login != nil {
		t.Errorf("%+v, asked %d times", a, s.etcd.reads)
	}
}

// TestAuthAsItIsAskedFor: users with their passwords, and by which the operator logs in.
func TestAuthAsItIsAskedFor(t *testing.T) {
	s := asking(t)
	s.add(s.secret("demo-root", "r"), s.secret("demo-operator-auth", "o"), word("app", "word", "a"))
	s.etcd.store = core.AuthStore{Enabled: true, Revision: 7}
	observed := s.observe(t)
	want := []core.AuthUser{
		{Name: "app", Roles: []string{"app"}, Login: core.LoginPassword, Password: true},
		{Name: "etcd-operator", Roles: []string{"root"}, Login: core.LoginPassword, Password: true},
		{Name: "root", Roles: []string{"root"}, Login: core.LoginPassword, Password: true},
		{Name: "web", Login: core.LoginCertificate},
	}
	same := func(a, b core.AuthUser) bool {
		return a.Name == b.Name && a.Login == b.Login && a.Password == b.Password && slices.Equal(a.Roles, b.Roles)
	}
	a := observed.Auth
	if !slices.EqualFunc(a.Users, want, same) || !a.Wanted || !a.Known || a.Store.Revision != 7 || len(a.SecretsDue) > 0 || !a.Problem.IsZero() || a.Hash == "" {
		t.Errorf("%+v", a)
	}
	if login := observed.Endpoints[0].Login; login == nil || !slices.Equal(login.Users, []etcd.UserPassword{{User: "etcd-operator", Password: "o"}, {User: "root", Password: "r"}}) {
		t.Errorf("the operator logs in as %+v", login)
	}
	for user, password := range map[string]string{"app": "a", "root": "r", "etcd-operator": "o"} {
		if observed.Passwords[user] != password || s.etcd.question.Passwords[user] != password {
			t.Errorf("the password of %s is %q, tried was %q", user, observed.Passwords[user], s.etcd.question.Passwords[user])
		}
	}
}

// TestPasswordsThatAreMissing: those of the operator's own are due, those of others a problem, which is told by name.
func TestPasswordsThatAreMissing(t *testing.T) {
	other := func(s *situation, owner *metav1.OwnerReference) *corev1.Secret {
		secret := s.secret("demo-root", "r")
		secret.OwnerReferences, secret.Labels = nil, nil
		if owner != nil {
			secret.OwnerReferences = []metav1.OwnerReference{*owner}
		}
		return secret
	}
	for name, c := range map[string]struct {
		change func(s *situation)
		due    []string
		reason core.Reason
		says   string
	}{
		"all are there": {change: func(s *situation) { s.add(s.secret("demo-root", "r"), word("app", "word", "a")) }},
		"none of root's": {
			change: func(s *situation) { s.add(word("app", "word", "a")) }, due: []string{"demo-root"},
		},
		"an empty one of root's": {
			change: func(s *situation) { s.add(s.secret("demo-root", ""), word("app", "word", "a")) }, due: []string{"demo-root"},
		},
		"one that stays with the volumes": {
			change: func(s *situation) {
				s.cluster.Spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionDelete
				s.add(s.secret("demo-root", "r"), word("app", "word", "a"))
				s.cluster.Spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionRetain
			}, due: []string{"demo-root"},
		},
		"root's that is named": {
			change: func(s *situation) {
				s.cluster.Spec.Security.Auth.RootSecret = &v1alpha1.AuthSecret{Name: "mine"}
				s.add(word("app", "word", "a"))
			}, reason: core.ReasonSecretMissing, says: "the password of user root is missing: Secret mine does not exist",
		},
		"someone else's root": {
			change: func(s *situation) { s.add(other(s, nil), word("app", "word", "a")) },
			reason: core.ReasonNameTaken, says: "Secret demo-root exists but does not belong to this cluster",
		},
		"an earlier cluster's": {
			change: func(s *situation) {
				s.add(other(s, &metav1.OwnerReference{APIVersion: "etcd.etcd.io/v1alpha1", Kind: "EtcdCluster", Name: "demo", UID: "uid-0", Controller: new(true)}), word("app", "word", "a"))
			}, reason: core.ReasonCleaningUp, says: "waiting until Secret demo-root of an earlier cluster",
		},
		"a user's": {
			change: func(s *situation) { s.add(s.secret("demo-root", "r")) },
			reason: core.ReasonSecretMissing, says: "the password of user app is missing: Secret app does not exist",
		},
		"a user's key": {
			change: func(s *situation) { s.add(s.secret("demo-root", "r"), word("app", "password", "a")) },
			reason: core.ReasonSecretMissing, says: "has no password of 1 to 72 bytes under the key word",
		},
		"one that etcd cannot hash": {
			change: func(s *situation) { s.add(s.secret("demo-root", "r"), word("app", "word", strings.Repeat("x", 73))) },
			reason: core.ReasonSecretMissing, says: "1 to 72 bytes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := asking(t)
			s.add(s.secret("demo-operator-auth", "o"))
			c.change(s)
			a := s.observe(t).Auth
			if !slices.Equal(a.SecretsDue, c.due) || a.Problem.Reason != c.reason || !strings.Contains(a.Problem.Message, c.says) {
				t.Errorf("due %v, problem %+v", a.SecretsDue, a.Problem)
			}
		})
	}
}

// TestEtcdIsAskedForUsersSeldom: as long as nothing has changed, and at once when something has.
func TestEtcdIsAskedForUsersSeldom(t *testing.T) {
	s := asking(t)
	root, app := s.secret("demo-root", "r"), word("app", "word", "a")
	s.add(root, s.secret("demo-operator-auth", "o"), app)
	s.etcd.store = core.AuthStore{Enabled: true, Revision: 7}
	reader, at := s.client(t), now
	o := observe.Observer{Cache: reader, Live: reader, Etcd: &s.etcd, Domain: "cluster.local", Now: func() time.Time { return at }}
	look := func(what string, asked bool) core.Auth {
		t.Helper()
		before := s.etcd.reads
		observed, err := o.Observe(context.Background(), s.cluster)
		if err != nil {
			t.Fatal(err)
		}
		if (s.etcd.reads > before) != asked || observed.Auth.Known != (asked && s.etcd.unread == nil) {
			t.Errorf("%s: etcd is asked: %v, want %v", what, s.etcd.reads > before, asked)
		}
		return observed.Auth
	}
	hash := look("at first", true).Hash
	look("as long as all is not as declared", true)
	s.cluster.Status.Auth = &v1alpha1.AuthStatus{Mode: v1alpha1.AuthEnabled, Revision: 7, Hash: hash}
	look("once it is", false)
	at = at.Add(29 * time.Second)
	look("a while later", false)
	at = at.Add(2 * time.Second)
	look("half a minute later", true)
	if s.etcd.question.Settled != 7 {
		t.Errorf("known is revision %d", s.etcd.question.Settled)
	}
	app.Data["word"] = []byte("another")
	if err := reader.Update(context.Background(), app); err != nil {
		t.Fatal(err)
	}
	look("right after a password has changed", false)
	at = at.Add(11 * time.Second)
	if changed := look("when the Secrets are read again", true); changed.Hash == hash || s.etcd.question.Settled != 0 || s.etcd.question.Passwords["app"] != "another" {
		t.Errorf("%+v, known %d", changed, s.etcd.question.Settled)
	}
	s.cluster.Status.Auth.Hash = look("as long as the change is not made", true).Hash
	look("once it is", false)
	s.cluster.Generation++
	s.cluster.Spec.Security.Auth.Users[1].Roles = []v1alpha1.AuthName{"app"}
	look("when the spec has changed", true)
	s.etcd.unread = errors.New("timed out")
	if a := look("when it does not answer", true); a.Error != "timed out" {
		t.Errorf("%+v", a)
	}
}

// TestWhoIsAskedForUsers: a follower that serves, and nobody as long as the list is not known.
func TestWhoIsAskedForUsers(t *testing.T) {
	s := asking(t)
	s.add(s.secret("demo-root", "r"), s.secret("demo-operator-auth", "o"), word("app", "word", "a"))
	s.etcd.answer.List = core.MemberList{}
	if a := s.observe(t).Auth; a.Known || s.etcd.reads > 0 {
		t.Errorf("%+v", a)
	}
}

// TestAClosedEtcdIsOpenedByThePasswordsThatThereAre: the volumes of an earlier cluster ask for a login that the spec says nothing of.
func TestAClosedEtcdIsOpenedByThePasswordsThatThereAre(t *testing.T) {
	s := asking(t)
	s.cluster.Spec.Security.Auth = v1alpha1.AuthSpec{}
	s.etcd.closed, s.etcd.store = true, core.AuthStore{Enabled: true, Revision: 7}
	if observed := s.observe(t); observed.Etcd.List.Known || observed.Auth.Known {
		t.Errorf("there is no password, but it is let in: %+v", observed.Etcd)
	}
	s.add(s.secret("demo-operator-auth", "o"))
	observed := s.observe(t)
	if !observed.Etcd.List.Known || !observed.Auth.Known || !observed.Auth.Store.Enabled || observed.Auth.Wanted || len(observed.Auth.SecretsDue) > 0 {
		t.Errorf("%+v", observed.Auth)
	}
	if login := observed.Endpoints[0].Login; login == nil || len(login.Users) != 1 || login.Users[0].User != "etcd-operator" {
		t.Errorf("%+v", login)
	}
}

// TestAProvenPasswordIsNotTriedAgain: as long as it is the same, and etcd's users are. What etcd hashes takes time.
func TestAProvenPasswordIsNotTriedAgain(t *testing.T) {
	s := asking(t)
	root, app := s.secret("demo-root", "r"), word("app", "word", "a")
	s.add(root, s.secret("demo-operator-auth", "o"), app)
	s.etcd.store = core.AuthStore{Enabled: true, Revision: 7, Read: true, Users: []core.AuthUser{
		{Name: "app", Proof: core.ProofTaken}, {Name: "root", Proof: core.ProofRefused}, {Name: "etcd-operator"},
	}}
	reader := s.client(t)
	o := observe.Observer{Cache: reader, Live: reader, Etcd: &s.etcd, Domain: "cluster.local", Now: func() time.Time { return now }}
	look := func(want map[string]core.Proof) {
		t.Helper()
		if _, err := o.Observe(context.Background(), s.cluster); err != nil {
			t.Fatal(err)
		}
		if got := s.etcd.question; !maps.Equal(got.Proven, want) || len(want) > 0 && got.ProvenAt != 7 {
			t.Errorf("proven are %v at %d, want %v", got.Proven, got.ProvenAt, want)
		}
	}
	look(nil)
	look(map[string]core.Proof{"app": core.ProofTaken, "root": core.ProofRefused})
	app.Data["word"] = []byte("another")
	if err := reader.Update(context.Background(), app); err != nil {
		t.Fatal(err)
	}
	look(map[string]core.Proof{"root": core.ProofRefused})
}
