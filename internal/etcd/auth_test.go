package etcd_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
)

// secrets are passwords of the tests, by user.
var secrets = map[string]string{core.RootUser: "root's", core.OperatorUser: "the operator's", "app": "the app's"}

// login is that of the operator, with the passwords that it believes in.
func login(version string, passwords ...string) *etcd.Login {
	l := &etcd.Login{Version: version}
	for i, password := range passwords {
		l.Users = append(l.Users, etcd.UserPassword{User: []string{core.OperatorUser, core.RootUser}[i], Password: password})
	}
	return l
}

// change makes changes of users and roles by one of the members.
func (c *cluster) change(pool *etcd.Pool, steps ...core.AuthStep) {
	c.t.Helper()
	for _, step := range steps {
		if err := pool.ChangeAuth(context.Background(), c.members[0].address(), step, secrets[step.User]); err != nil {
			c.t.Fatalf("%s: %v", step, err)
		}
	}
}

// turnOn makes the operator's users and one of an application, and turns authentication on.
func (c *cluster) turnOn(pool *etcd.Pool) {
	c.t.Helper()
	everything := core.Permission{Key: "app/", RangeEnd: "app0", Access: core.ReadWrite}
	c.change(pool,
		core.AuthStep{Change: core.AddRole, Role: "app"},
		core.AuthStep{Change: core.GrantPermission, Role: "app", Permission: everything},
		core.AuthStep{Change: core.AddUser, User: "app", Login: core.LoginPassword},
		core.AuthStep{Change: core.GrantRole, User: "app", Role: "app"},
		core.AuthStep{Change: core.AddUser, User: "web", Login: core.LoginCertificate},
		core.AuthStep{Change: core.AddUser, User: core.RootUser, Login: core.LoginPassword},
		core.AuthStep{Change: core.GrantRole, User: core.RootUser, Role: core.RootRole},
		core.AuthStep{Change: core.AddUser, User: core.OperatorUser, Login: core.LoginPassword},
		core.AuthStep{Change: core.GrantRole, User: core.OperatorUser, Role: core.RootRole},
		core.AuthStep{Change: core.EnableAuth},
	)
}

// as is a client of a user; of nobody if the password is empty.
func (c *cluster) as(user, password string) *clientv3.Client {
	c.t.Helper()
	config := clientv3.Config{Endpoints: []string{c.members[0].address()}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	if password != "" {
		config.Username, config.Password = user, password
	}
	client, err := clientv3.New(config)
	if err != nil {
		c.t.Fatalf("a client of %s: %v", user, err)
	}
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// read reads users and roles, and tries the passwords of the tests.
func (c *cluster) read(pool *etcd.Pool, known uint64) core.AuthStore {
	c.t.Helper()
	return c.ask(pool, etcd.AuthQuestion{Settled: known, Passwords: secrets})
}

func (c *cluster) ask(pool *etcd.Pool, question etcd.AuthQuestion) core.AuthStore {
	c.t.Helper()
	store, err := pool.ReadAuth(context.Background(), c.members[0].address(), question)
	if err != nil {
		c.t.Fatal(err)
	}
	return store
}

func proofOf(store core.AuthStore, user string) core.Proof {
	for _, u := range store.Users {
		if u.Name == user {
			return u.Proof
		}
	}
	return core.ProofNone
}

// TestUsersAndRoles: what is changed is read again, as it was changed; and all of it can be asked for twice.
func TestUsersAndRoles(t *testing.T) {
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			pool, c := newPool(t), newCluster(t, minor, 1)
			c.found(pool)
			if store := c.read(pool, 0); store.Enabled || !store.Read || len(store.Users)+len(store.Roles) > 0 {
				t.Errorf("at first there is %+v", store)
			}
			c.turnOn(pool)
			pool.Present(c.withLogin(login("1", secrets[core.OperatorUser])))
			store := c.read(pool, 0)
			slices.SortFunc(store.Users, func(a, b core.AuthUser) int { return strings.Compare(a.Name, b.Name) })
			want := core.AuthStore{
				Enabled: true, Revision: store.Revision, Read: true,
				Users: []core.AuthUser{
					{Name: "app", Roles: []string{"app"}, Proof: core.ProofTaken},
					{Name: core.OperatorUser, Roles: []string{core.RootRole}, Proof: core.ProofTaken},
					{Name: core.RootUser, Roles: []string{core.RootRole}, Proof: core.ProofTaken},
					{Name: "web"},
				},
				Roles: []core.AuthRole{{Name: "app", Permissions: []core.Permission{{Key: "app/", RangeEnd: "app0", Access: core.ReadWrite}}}},
			}
			if !reflect.DeepEqual(store, want) {
				t.Errorf("read was\n%+v, want\n%+v", store, want)
			}
			if again := c.read(pool, store.Revision); again.Read || !again.Enabled || again.Revision != store.Revision {
				t.Errorf("what has not changed was read again: %+v", again)
			}
			if proven := c.ask(pool, etcd.AuthQuestion{
				Passwords: map[string]string{"app": "wrong", "root": "wrong"}, Proven: map[string]core.Proof{"app": core.ProofTaken}, ProvenAt: store.Revision,
			}); proofOf(proven, "app") != core.ProofTaken || proofOf(proven, "root") != core.ProofRefused {
				t.Errorf("what is proven is tried again: %+v", proven.Users)
			}
			if proven := c.ask(pool, etcd.AuthQuestion{
				Passwords: map[string]string{"app": "wrong"}, Proven: map[string]core.Proof{"app": core.ProofTaken}, ProvenAt: store.Revision - 1,
			}); proofOf(proven, "app") != core.ProofRefused {
				t.Errorf("what was proven before the last change is not tried again: %+v", proven.Users)
			}
			twice := []core.AuthStep{
				{Change: core.AddRole, Role: "app"},
				{Change: core.GrantPermission, Role: "app", Permission: core.Permission{Key: "app/", RangeEnd: "app0", Access: core.Read}},
				{Change: core.GrantRole, User: "app", Role: "app"},
				{Change: core.RevokePermission, Role: "app", Permission: core.Permission{Key: "app/", RangeEnd: "app0"}},
				{Change: core.RevokeRole, User: "app", Role: "app"},
				{Change: core.RemoveUser, User: "web"},
				{Change: core.RemoveRole, Role: "app"},
				{Change: core.EnableAuth},
				{Change: core.SetPassword, User: "app"},
			}
			for _, step := range twice {
				c.change(pool, step, step)
			}
			if err := pool.ChangeAuth(context.Background(), c.members[0].address(), core.AuthStep{Change: core.AddUser, User: "app"}, "other"); err == nil {
				t.Error("a user was added a second time: its password is another one")
			}
			if store := c.read(pool, store.Revision); len(store.Users) != 3 || len(store.Roles) != 0 {
				t.Errorf("in the end there is %+v", store)
			}
			off := core.AuthStep{Change: core.DisableAuth}
			c.change(pool, off, off)
			if store := c.read(pool, store.Revision); store.Enabled || !store.Read {
				t.Errorf("after it was turned off there is %+v", store)
			}
		})
	}
}

func (c *cluster) withLogin(l *etcd.Login) []etcd.Endpoint {
	endpoints := c.endpoints()
	for i := range endpoints {
		endpoints[i].Login = l
	}
	return endpoints
}

// TestPasswords: one that is changed is the only one that is taken, also of a user that never had one.
func TestPasswords(t *testing.T) {
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			pool, c := newPool(t), newCluster(t, minor, 1)
			c.found(pool)
			c.turnOn(pool)
			pool.Present(c.withLogin(login("1", secrets[core.OperatorUser])))
			app := c.as("app", secrets["app"])
			put := func(client *clientv3.Client, key string) error {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				_, err := client.Put(ctx, key, "value")
				return err
			}
			if err := put(app, "app/key"); err != nil {
				t.Error(err)
			}
			if err := put(app, "other"); err == nil || !strings.Contains(err.Error(), "permission denied") {
				t.Errorf("a key of others was written: %v", err)
			}
			if err := put(c.as("", ""), "app/key"); err == nil || !strings.Contains(err.Error(), "user name is empty") {
				t.Errorf("nobody wrote: %v", err)
			}
			for user, roles := range map[string][]string{"app": {"app"}, "web": {"app"}} {
				step := core.AuthStep{Change: core.SetPassword, User: user, Roles: roles}
				if err := pool.ChangeAuth(context.Background(), c.members[0].address(), step, "new of "+user); err != nil {
					t.Fatal(err)
				}
				if err := put(c.as(user, "new of "+user), "app/key"); err != nil {
					t.Errorf("%s with its new password: %v", user, err)
				}
			}
			if err := put(app, "app/key"); err == nil || !strings.Contains(err.Error(), "authentication failed") {
				t.Errorf("the old password is taken still: %v", err)
			}
			if i := slices.IndexFunc(c.read(pool, 0).Users, func(u core.AuthUser) bool { return u.Name == "app" && u.Proof == core.ProofRefused }); i < 0 {
				t.Error("the old password is not seen to be refused")
			}
		})
	}
}

// TestTheOperatorIsLetIn: with a password it sees all members and changes the membership as before, learners among them, members
// that have just started, and when its own user is broken.
func TestTheOperatorIsLetIn(t *testing.T) {
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			pool, c := newPool(t), newCluster(t, minor, 3)
			c.found(pool)
			c.turnOn(pool)
			e := pool.Observe(context.Background(), c.endpoints())
			if e.List.Known || !e.Statuses[0].Refused || !strings.Contains(e.Statuses[0].Error, "user name is empty") {
				t.Errorf("without a login: %+v", e)
			}
			wrong := pool.Observe(context.Background(), c.withLogin(login("wrong", "wrong")))
			if wrong.List.Known || !wrong.Statuses[1].Refused || !strings.Contains(wrong.Statuses[1].Error, "authentication failed") {
				t.Errorf("with a wrong password: %+v", wrong)
			}
			right := login("right", secrets[core.OperatorUser], secrets[core.RootUser])
			c.login = right
			c.await(pool, "all members serve", c.allServe)
			c.restartsAndJoins(pool, minor)
			// Its own user may do nothing any more; root may.
			c.change(pool, core.AuthStep{Change: core.RevokeRole, User: core.OperatorUser, Role: core.RootRole})
			c.change(pool, core.AuthStep{Change: core.GrantRole, User: core.OperatorUser, Role: core.RootRole})
			c.login = login("root only", "wrong", secrets[core.RootUser])
			c.await(pool, "all members serve", c.allServe)
			e = c.await(pool, "all members serve", c.allServe)
			leader, _ := c.leader(e)
			if _, err := pool.MemberList(context.Background(), leader.address()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestATokenIsGoodForAllMembers: also at the moment after one of them has given it.
func TestATokenIsGoodForAllMembers(t *testing.T) {
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			pool, c := newPool(t), newCluster(t, minor, 3)
			c.found(pool)
			c.turnOn(pool)
			c.login = login("first", secrets[core.OperatorUser])
			c.await(pool, "all members serve", c.allServe)
			for n := range 50 {
				c.login = login(fmt.Sprint(n), secrets[core.OperatorUser])
				for _, s := range pool.Observe(context.Background(), c.endpoints()).Statuses {
					if !s.Answered {
						t.Errorf("with login %d member %s says: %s", n, s.Member, s.Error)
					}
				}
			}
		})
	}
}

// restartsAndJoins lets a member start again, which forgets who is logged in, and another one join.
func (c *cluster) restartsAndJoins(pool *etcd.Pool, minor string) {
	c.t.Helper()
	e := c.await(pool, "all members serve", c.allServe)
	leader, followers := c.leader(e)
	c.kill(followers[0])
	c.start(followers[0], core.StartSealed)
	c.await(pool, "the member that started again serves", c.allServe)
	fourth := c.newcomer()
	persist(c.t, pool, "adding a learner", func() error {
		return pool.AddLearner(context.Background(), leader.address(), fourth.peerURL())
	})
	c.members = append(c.members, fourth)
	c.start(fourth, core.StartJoin)
	e = c.await(pool, "the learner answers", func(e core.Etcd) bool { return e.Statuses[3].Answered && e.Statuses[3].Learner })
	id := idOf(c.t, e, fourth)
	persist(c.t, pool, "promoting it", func() error { return pool.Promote(context.Background(), leader.address(), id) })
	e = c.await(pool, fmt.Sprintf("four members of %s serve", minor), c.allServe)
	leader, followers = c.leader(e)
	moved := idOf(c.t, e, followers[0])
	if err := pool.MoveLeader(context.Background(), leader.address(), moved); err != nil {
		c.t.Error(err)
	}
	e = c.await(pool, "the leadership has moved", func(e core.Etcd) bool { return c.allServe(e) && e.Statuses[0].LeaderID == moved })
	if difference, err := pool.Agree(context.Background(), c.withLogin(c.login), e.Statuses[0].Revision); err != nil || difference != "" {
		c.t.Errorf("hashes: %q %v", difference, err)
	}
	if err := pool.FlushLog(context.Background(), c.members[0].address(), 3); err != nil {
		c.t.Error(err)
	}
}
