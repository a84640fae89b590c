//go:build integration

package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/application"
)

// login is a user with its password.
type login struct{ user, password string }

// rootLogin is root with the password of the Secret root-password.
var rootLogin = &login{"root", "root's own"}

// become makes all connections of the scene those of a user. The Secrets of all users are there from then on.
func (s *scene) become(l *login) {
	s.Helper()
	if s.login = l; l != nil {
		for user, password := range map[string]string{"root": rootLogin.password, "app": "the app's", "admin": "the admin's"} {
			s.setPassword(user+"-password", password)
		}
	}
}

// setPassword writes a Secret with a password.
func (s *scene) setPassword(name, password string) {
	s.Helper()
	s.eventually("the password in Secret "+name+" is set", patience, func() error {
		if secret, err := s.secret(name); err == nil {
			secret.Data = map[string][]byte{"password": []byte(password)}
			return env.Client.Update(s.Context(), secret)
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}, Data: map[string][]byte{"password": []byte(password)}}
		return env.Client.Create(s.Context(), secret)
	})
}

// under is a permission on a prefix.
func under(prefix string, access v1alpha1.AuthAccess) v1alpha1.AuthPermission {
	return v1alpha1.AuthPermission{Access: access, Prefix: &prefix}
}

// withPassword is a user with a password in the Secret <name>-password.
func withPassword(name string, roles ...v1alpha1.AuthName) v1alpha1.AuthUser {
	return v1alpha1.AuthUser{Name: v1alpha1.AuthName(name), Roles: roles, PasswordSecret: &v1alpha1.AuthPasswordSecret{Name: name + "-password"}}
}

// authOn asks etcd to ask clients who they are.
func authOn(spec *v1alpha1.EtcdClusterSpec) {
	auth := &spec.Security.Auth
	auth.Mode, auth.RootSecret = v1alpha1.AuthEnabled, &v1alpha1.AuthSecret{Name: "root-password"}
	auth.Roles = []v1alpha1.AuthRole{
		{Name: "writer", Permissions: []v1alpha1.AuthPermission{under("written/", v1alpha1.AuthReadWrite)}},
		{Name: "reader", Permissions: []v1alpha1.AuthPermission{under("", v1alpha1.AuthRead)}},
	}
	auth.Users = []v1alpha1.AuthUser{withPassword("admin", "root"), withPassword("app", "writer")}
	if spec.Security.TLS.Client.Mode != v1alpha1.ClientTLSDisabled && spec.Security.TLS.Client.Mode != "" {
		auth.Users = append(auth.Users, v1alpha1.AuthUser{Name: "web", Roles: []v1alpha1.AuthName{"reader", "writer"}})
	}
}

// declared declares users and roles before etcd asks for them.
func declared(spec *v1alpha1.EtcdClusterSpec) {
	authOn(spec)
	authOff(spec)
}

func authOff(spec *v1alpha1.EtcdClusterSpec) { spec.Security.Auth.Mode = v1alpha1.AuthDisabled }

// isAuthOn is nil once users and roles are as declared, and the cluster has settled.
func (s *scene) isAuthOn() error {
	cluster := s.cluster()
	ready := meta.FindStatusCondition(cluster.Status.Conditions, "AuthReady")
	if ready == nil || ready.Status != metav1.ConditionTrue || cluster.Status.Auth == nil || cluster.Status.Auth.Revision == 0 {
		return fmt.Errorf("users and roles are not as declared: %s", summary(cluster))
	}
	return isSettled(cluster)
}

// isAuthOff is nil once nothing is left of users and roles.
func (s *scene) isAuthOff() error {
	cluster := s.cluster()
	if cluster.Status.Auth != nil || meta.FindStatusCondition(cluster.Status.Conditions, "AuthReady") != nil {
		return fmt.Errorf("something is left of users and roles: %+v, %s", cluster.Status.Auth, summary(cluster))
	}
	return isSettled(cluster)
}

// secures waits until users and roles are as they are declared by now.
func (s *scene) secures(what string) {
	s.Helper()
	s.eventually(what, patience, s.isAuthOn)
}

// as is a connection of a user with a password; of nobody if the name is empty.
func (s *scene) as(user, password string) (*clientv3.Client, error) {
	as := *s
	as.login = nil
	if user != "" {
		as.login = &login{user, password}
	}
	connection, err := as.try(s.cluster().Status.Endpoints[1:])
	if err == nil {
		s.Cleanup(func() { _ = connection.Close() })
	}
	return connection, err
}

// byCertificate is a connection of a user that is known by its certificate.
func (s *scene) byCertificate(secret string) *clientv3.Client {
	s.Helper()
	endpoints := s.cluster().Status.Endpoints[1:]
	var credentials *tls.Config
	if application.TalkTLS(endpoints) {
		credentials = application.Credentials(fmt.Sprintf("demo-0-0.demo-peer.%s.svc", s.namespace), func() (map[string][]byte, error) {
			found, err := s.secret(secret)
			return found.Data, err
		})
	}
	connection, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: credentials, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = connection.Close() })
	return connection
}

// may checks whether a connection may write, and read, a key.
func (s *scene) may(who string, connection *clientv3.Client, key string, write, read bool) {
	s.Helper()
	for what, try := range map[string]struct {
		allowed bool
		call    func(context.Context) error
	}{
		"write": {write, func(ctx context.Context) error { _, err := connection.Put(ctx, key, "value"); return err }},
		"read":  {read, func(ctx context.Context) error { _, err := connection.Get(ctx, key); return err }},
	} {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		err := try.call(ctx)
		cancel()
		if try.allowed != (err == nil) {
			s.Errorf("%s may %s %s: %v, want %v: %v", who, what, key, err == nil, try.allowed, err)
		}
		if err != nil && !slices.ContainsFunc([]string{"permission denied", "user name is empty", "user name not found"}, func(w string) bool { return strings.Contains(err.Error(), w) }) {
			s.Errorf("%s is kept from %s by something else: %v", who, key, err)
		}
	}
}

// takes waits until a password is taken, or is not any more.
func (s *scene) takes(user, password string, want bool) {
	s.Helper()
	s.eventually(fmt.Sprintf("the password %q of %s is taken: %v", password, user, want), patience, func() error {
		connection, err := s.as(user, password)
		if err == nil {
			_ = connection.Close()
		}
		if err != nil && !strings.Contains(err.Error(), "authentication failed") {
			return err
		}
		if (err == nil) != want {
			return errors.New("not yet")
		}
		return nil
	})
}

// TestAuth: authentication is turned on and off again on a cluster that is written to all the time, with users of all kinds; what
// is declared is what holds, whoever changes what.
func TestAuth(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		name, version string
		encrypted     bool
	}{{"3.6", version, false}, {"3.5 with TLS", "3.5.33", true}, {"3.7 with TLS", "3.7.3", true}} {
		if !taken(i, 2) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.needs(c.version)
			s.become(rootLogin)
			s.operate()
			s.running(3, etcdVersion(c.version), declared, func(spec *v1alpha1.EtcdClusterSpec) {
				if c.encrypted {
					secured(spec)
				}
			})
			s.sealed()
			app, err := s.as("app", "the app's")
			if err != nil {
				t.Fatal(err)
			}
			if c.encrypted {
				// Who shows a certificate is known by that as long as it has no token, which a client asks for when it is told
				// that it is nobody: one with both has to connect again.
				app = s.byCertificate("demo-user-web-tls")
			}
			w := s.writeBy(app)
			s.change(authOn)
			s.secures("it is turned on")
			w.finish()
			// What takes longer than a second is the machine's doing.
			if w.refused > 0 {
				t.Errorf("%d writes of a user were refused that had its password all the time", w.refused)
			}
			s.checkUsers(c.encrypted)
			s.checkChanges()
			w = s.writeBy(app)
			s.checkMembers()
			w.finish()
			w = s.writeBy(app)
			s.change(authOff)
			s.eventually("it is turned off", patience, s.isAuthOff)
			s.may("nobody", s.byCertificate("demo-client-tls"), "other", true, true)
			w.finish()
			if w.refused > 0 {
				t.Errorf("%d writes were refused while it was turned off", w.refused)
			}
		})
	}
}

// checkUsers checks what everybody may do.
func (s *scene) checkUsers(encrypted bool) {
	s.Helper()
	s.may("nobody", s.byCertificate("demo-client-tls"), "written/x", false, false)
	for user, c := range map[string]struct {
		password           string
		own, others, reads bool
	}{"root": {rootLogin.password, true, true, true}, "admin": {"the admin's", true, true, true}, "app": {"the app's", true, false, false}} {
		connection, err := s.as(user, c.password)
		if err != nil {
			s.Fatalf("%s: %v", user, err)
		}
		s.may(user, connection, "written/x", c.own, true)
		s.may(user, connection, "other", c.others, c.reads)
		if _, err := s.as(user, "wrong"); err == nil || !strings.Contains(err.Error(), "authentication failed") {
			s.Errorf("a wrong password of %s is taken: %v", user, err)
		}
	}
	if encrypted {
		s.may("web", s.byCertificate("demo-user-web-tls"), "other", false, true)
	}
}

// checkChanges changes what is declared, and what is not, and checks what comes of it.
func (s *scene) checkChanges() {
	s.Helper()
	s.setPassword("app-password", "the app's new one")
	s.takes("app", "the app's new one", true)
	s.takes("app", "the app's", false)
	s.setPassword("app-password", "the app's")
	s.takes("app", "the app's", true)
	s.setPassword("root-password", "root's new one")
	s.takes("root", "root's new one", true)
	s.setPassword("root-password", rootLogin.password)
	s.takes("root", rootLogin.password, true)
	s.secures("passwords are as declared")
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		auth := &spec.Security.Auth
		auth.Roles[0].Permissions = append(auth.Roles[0].Permissions, under("other", v1alpha1.AuthRead))
		auth.Users = slices.DeleteFunc(auth.Users, func(u v1alpha1.AuthUser) bool { return u.Name == "admin" })
	})
	s.secures("a role permits more, and a user is gone")
	app, err := s.as("app", "the app's")
	if err != nil {
		s.Fatal(err)
	}
	s.may("app", app, "other", false, true)
	s.takes("admin", "the admin's", false)
	root := s.connect()
	for what, change := range map[string]func(context.Context) error{
		"a user more":         func(ctx context.Context) error { _, err := root.UserAdd(ctx, "theirs", "password"); return err },
		"a role for everyone": func(ctx context.Context) error { _, err := root.UserGrantRole(ctx, "app", "root"); return err },
		"another permission": func(ctx context.Context) error {
			_, err := root.RoleGrantPermission(ctx, "writer", "secret", "", clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		"another password": func(ctx context.Context) error { _, err := root.UserChangePassword(ctx, "app", "theirs"); return err },
	} {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		if err := change(ctx); err != nil {
			s.Fatalf("%s: %v", what, err)
		}
		cancel()
	}
	s.eventually("what was changed by hand is set back", 2*patience, func() error {
		if err := s.isAuthOn(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		defer cancel()
		user, err := root.UserGet(ctx, "app")
		if err != nil || !slices.Equal(user.Roles, []string{"writer"}) {
			return fmt.Errorf("%+v %w", user, err)
		}
		role, err := root.RoleGet(ctx, "writer")
		if err != nil || len(role.Perm) != 2 {
			return fmt.Errorf("%+v %w", role, err)
		}
		return nil
	})
	s.takes("app", "the app's", true)
	s.says("AuthReady", "AuthEnabled", "user theirs")
	s.takes("theirs", "password", true)
}

// checkMembers lets members come and go, and be restarted, while etcd asks who is there.
func (s *scene) checkMembers() {
	s.Helper()
	s.change(size(5))
	s.tidy(longPatience)
	before := s.pods()
	s.change(settings("77"))
	s.rolled(before)
	s.change(size(3))
	s.tidy(longPatience)
	s.secures("all is as declared")
}

// TestAuthOutlivesTLS: whether members know the operator by its certificate or by a password, it is let in, and also while some of
// them do this and some that.
func TestAuthOutlivesTLS(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.become(rootLogin)
	s.operate()
	mode := func(mode v1alpha1.ClientTLSMode) func(*v1alpha1.EtcdClusterSpec) {
		return func(spec *v1alpha1.EtcdClusterSpec) { spec.Security.TLS.Client.Mode = mode }
	}
	s.running(3, authOn)
	s.secures("it is turned on")
	for _, to := range []v1alpha1.ClientTLSMode{v1alpha1.ClientTLSPermissive, v1alpha1.ClientTLSRequired, v1alpha1.ClientTLSPermissive, v1alpha1.ClientTLSDisabled} {
		w := s.write(s.endpointsFor(to)...)
		s.change(mode(to))
		s.tidy(longPatience)
		s.secures(fmt.Sprintf("all is as declared with TLS %s", to))
		w.finish()
	}
	s.checkUsers(false)
}

// TestAuthIsAskedSeldom: a settled cluster is not written to, and its raft log grows by the question whether something was changed by
// hand alone.
func TestAuthIsAskedSeldom(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.become(rootLogin)
	o := s.operate()
	s.running(3, authOn)
	s.secures("it is turned on")
	s.sealed()
	time.Sleep(12 * time.Second)
	for range 3 {
		writes, _ := s.requests(o.agent)
		// Each member that is asked for its index is asked by someone who logs in, which goes through the log too.
		term, before := s.raft()
		time.Sleep(20 * time.Second)
		termAfter, after := s.raft()
		if term != termAfter {
			continue
		}
		if writesAfter, _ := s.requests(o.agent); len(writesAfter) != len(writes) {
			t.Errorf("the operator wrote while there was nothing to do: %v", writesAfter[len(writes):])
		}
		for member, index := range after {
			if grown := index - before[member]; grown > 5 {
				t.Errorf("the raft log of %s grew by %d", member, grown)
			}
		}
		return
	}
	t.Error("there were elections all the time")
}

// TestAuthOfKeptVolumes: who deletes a cluster whose volumes stay, and makes it again, has the passwords still; also without asking
// for authentication.
func TestAuthOfKeptVolumes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.become(rootLogin)
	s.operate()
	keep := func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionRetain }
	id := s.running(1, authOn, keep).Status.ClusterID
	s.secures("it is turned on")
	s.sealed()
	s.put("key", "value")
	again := func(changes ...func(*v1alpha1.EtcdClusterSpec)) {
		old := s.cluster()
		s.delete(old)
		s.gone(old)
		s.create(s.demo(1, append(changes, keep)...))
	}
	again(authOn)
	s.secures("it is on again")
	s.holds("key", "value")
	again(authOff)
	s.says("AuthReady", "AuthNotManaged", "set spec.security.auth.mode to Enabled")
	s.settled()
	s.holds("key", "value")
	s.change(authOn)
	s.secures("it is the operator's again")
	s.change(authOff)
	s.eventually("it is turned off", patience, s.isAuthOff)
	s.holds("key", "value")
	if now := s.cluster().Status.ClusterID; now != id {
		t.Errorf("the cluster was %s and is %s", id, now)
	}
}

// TestAnOperatorThatIsLockedOut says so, changes nothing, and is let in by root's password.
func TestAnOperatorThatIsLockedOut(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.become(rootLogin)
	s.operate()
	s.running(3, authOn)
	s.secures("it is turned on")
	s.sealed()
	before := s.pods()
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = true })
	s.says("Progressing", "Paused")
	s.setPassword("root-password", "not root's")
	own, err := s.secret("demo-operator-auth")
	if err != nil {
		t.Fatal(err)
	}
	s.delete(own)
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = false })
	s.says("Degraded", "LoginRefused", "does not let the operator in", "spec.security.auth.rootSecret")
	s.says("AuthReady", "LoginRefused")
	s.setPassword("root-password", rootLogin.password)
	s.secures("it is let in again")
	s.takes("root", rootLogin.password, true)
	for name, pod := range s.pods() {
		if before[name].UID != pod.UID {
			t.Errorf("pod %s was restarted", name)
		}
	}
}

// TestAuthOutlivesVersionsAndSleep: it is on all the way from the oldest minor to the newest and back, and after a sleep that no member
// remembers a login over.
func TestAuthOutlivesVersionsAndSleep(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.needs("3.5.33")
	s.needs("3.7.3")
	s.become(rootLogin)
	s.operate()
	s.running(3, authOn, etcdVersion("3.5.33"))
	s.secures("it is turned on")
	w := s.write()
	for _, version := range []string{"3.7.3", "3.5.33"} {
		s.change(etcdVersion(version))
		s.tidy(2 * longPatience)
		s.secures("all is as declared by " + version)
	}
	w.finish()
	s.put("key", "value")
	s.change(size(0))
	s.eventually("no member runs", patience, func() error { return atLeast("pods less than one", 1-len(s.pods()), 1) })
	s.change(size(3))
	s.tidy(longPatience)
	s.secures("all is as declared after the sleep")
	s.holds("key", "value")
	s.checkUsers(false)
}
