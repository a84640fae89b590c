package core_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// etcdUser is a user as etcd has it. One that was made without a password never gets one.
type etcdUser struct {
	password   string
	noPassword bool
	roles      []string
}

// etcdAuth is what etcd does with its users and roles, and an operator that has to bring them to what is asked for.
type etcdAuth struct {
	enabled  bool
	revision uint64
	users    map[string]etcdUser
	roles    map[string][]core.Permission

	wanted      bool
	wantedUsers map[string]core.AuthUser
	wantedRoles []core.AuthRole
	// secrets are the passwords that are asked for, by user.
	secrets  map[string]string
	recorded core.Report
	// changes are the steps that were taken.
	changes []string
}

func newAuth() *etcdAuth {
	a := &etcdAuth{
		revision: 1, users: map[string]etcdUser{}, roles: map[string][]core.Permission{}, wanted: true,
		wantedUsers: map[string]core.AuthUser{}, secrets: map[string]string{core.RootUser: "r1", core.OperatorUser: "o1"},
	}
	for _, own := range []string{core.RootUser, core.OperatorUser} {
		a.wantedUsers[own] = core.AuthUser{Login: core.LoginPassword, Roles: []string{core.RootRole}}
	}
	return a
}

func (a *etcdAuth) want(name string, login core.Login, roles ...string) {
	a.wantedUsers[name] = core.AuthUser{Login: login, Roles: roles}
	if login == core.LoginPassword {
		a.secrets[name] = "secret of " + name
	}
}

func under(prefix string, access core.Access) core.Permission {
	return core.Permission{Key: prefix, RangeEnd: prefix[:len(prefix)-1] + "0", Access: access}
}

// observe is what is seen of it.
func (a *etcdAuth) observe() core.Observation {
	w := newWorld()
	w.tell("member demo-0..2 settled")
	w.tell("etcd leader=demo-0")
	o := w.observe()
	recorded := a.recorded
	if len(recorded.Conditions) > 0 {
		o.Cluster.Recorded = recorded
	}
	o.Auth = core.Auth{Wanted: a.wanted, Roles: a.wantedRoles, Hash: fmt.Sprint(a.wantedUsers, a.wantedRoles, a.secrets)}
	if !a.wanted && !recorded.Auth.Managed {
		return o
	}
	for _, name := range slices.Sorted(maps.Keys(a.wantedUsers)) {
		user := a.wantedUsers[name]
		user.Name = name
		_, user.Password = a.secrets[name]
		if user.Login == core.LoginPassword && !user.Password {
			o.Auth.Problem = core.Problem{Reason: core.ReasonSecretMissing, Message: "the password of user " + name + " is missing"}
		}
		o.Auth.Users = append(o.Auth.Users, user)
	}
	o.Auth.Known = true
	o.Auth.Store = core.AuthStore{Enabled: a.enabled, Revision: a.revision}
	if a.enabled && recorded.Auth.Settled(a.wanted, o.Auth.Hash) && recorded.Auth.Revision == a.revision {
		return o
	}
	o.Auth.Store.Read = true
	for _, name := range slices.Sorted(maps.Keys(a.users)) {
		o.Auth.Store.Users = append(o.Auth.Store.Users, core.AuthUser{Name: name, Roles: a.users[name].roles, Proof: a.prove(name)})
	}
	for _, name := range slices.Sorted(maps.Keys(a.roles)) {
		o.Auth.Store.Roles = append(o.Auth.Store.Roles, core.AuthRole{Name: name, Permissions: a.roles[name]})
	}
	return o
}

func (a *etcdAuth) prove(name string) core.Proof {
	password, wanted := a.secrets[name]
	switch {
	case !a.enabled || !wanted || a.wantedUsers[name].Login != core.LoginPassword:
		return core.ProofNone
	case !a.users[name].noPassword && a.users[name].password == password:
		return core.ProofTaken
	}
	return core.ProofRefused
}

// apply does what etcd does, and what the operator's step does with it.
func (a *etcdAuth) apply(t *testing.T, s core.AuthStep) {
	t.Helper()
	a.changes = append(a.changes, s.String())
	user := a.users[s.User]
	if s.Change != core.EnableAuth {
		a.revision++
	}
	without := func(p core.Permission) []core.Permission {
		return slices.DeleteFunc(slices.Clone(a.roles[s.Role]), func(o core.Permission) bool { return o.Key == p.Key && o.RangeEnd == p.RangeEnd })
	}
	switch s.Change {
	case core.AddRole:
		a.roles[s.Role] = nil
	case core.RemoveRole:
		delete(a.roles, s.Role)
		for name, u := range a.users {
			u.roles = slices.DeleteFunc(slices.Clone(u.roles), func(r string) bool { return r == s.Role })
			a.users[name] = u
		}
	case core.GrantPermission:
		a.roles[s.Role] = append(without(s.Permission), s.Permission)
	case core.RevokePermission:
		a.roles[s.Role] = without(s.Permission)
	case core.AddUser:
		if _, there := a.users[s.User]; there {
			t.Errorf("user %s is added though it is there", s.User)
		}
		a.users[s.User] = etcdUser{password: a.secrets[s.User], noPassword: s.Login == core.LoginCertificate}
	case core.RemoveUser:
		if a.enabled && s.User == core.RootUser {
			t.Error("root cannot be removed while etcd asks who is there")
		}
		delete(a.users, s.User)
	case core.SetPassword:
		roles := user.roles
		if user.noPassword {
			roles = s.Roles
		}
		a.users[s.User] = etcdUser{password: a.secrets[s.User], roles: roles}
	case core.GrantRole:
		if _, there := a.roles[s.Role]; !there && s.Role != core.RootRole {
			t.Errorf("user %s gets role %s, which there is not", s.User, s.Role)
		}
		if !slices.Contains(user.roles, s.Role) {
			user.roles = append(slices.Clone(user.roles), s.Role)
		}
		a.users[s.User] = user
	case core.RevokeRole:
		user.roles = slices.DeleteFunc(slices.Clone(user.roles), func(r string) bool { return r == s.Role })
		a.users[s.User] = user
	case core.EnableAuth:
		if !slices.Contains(a.users[core.RootUser].roles, core.RootRole) {
			t.Error("there is no root that may do everything: etcd refuses to be turned on")
		}
		for name, want := range a.wantedUsers {
			_, known := a.secrets[name]
			if _, there := a.users[name]; !there && (known || want.Login == core.LoginCertificate) {
				t.Errorf("it is turned on before user %s is there", name)
			}
		}
		a.enabled = true
	case core.DisableAuth:
		a.enabled = false
	}
	if a.enabled && !a.letsIn(core.RootUser) && !a.letsIn(core.OperatorUser) {
		t.Errorf("the operator has locked itself out by: %s", s)
	}
}

// letsIn is whether the operator gets in as a user, and may do everything.
func (a *etcdAuth) letsIn(user string) bool {
	u, there := a.users[user]
	return there && !u.noPassword && u.password == a.secrets[user] && slices.Contains(u.roles, core.RootRole)
}

// round decides once, and takes so many of the steps: then the operator ends. It tells how many are left to take.
func (a *etcdAuth) round(t *testing.T, most int) (left int, done bool) {
	t.Helper()
	d := core.Decide(a.observe())
	same := d.Report.Equal(a.recorded)
	a.recorded = d.Report
	var steps []core.AuthStep
	for _, action := range d.Actions {
		if change, is := action.(core.ChangeAuth); is {
			steps = change.Steps
			if passwords := countPasswords(steps); len(steps) > 40 || passwords > 10 {
				t.Errorf("%d changes at once, %d of them about passwords", len(steps), passwords)
			}
			if change.Enabled != a.enabled || change.Revision != a.revision || change.Via == "demo-0" {
				t.Errorf("%+v at revision %d, by the leader", change, a.revision)
			}
		}
	}
	for _, step := range steps[:min(most, len(steps))] {
		a.apply(t, step)
	}
	return most - len(steps), same && len(steps) == 0
}

func countPasswords(steps []core.AuthStep) (count int) {
	for _, step := range steps {
		if step.Change == core.SetPassword || step.Change == core.AddUser && step.Login == core.LoginPassword {
			count++
		}
	}
	return count
}

// settle goes on until nothing is left to do. After so many steps the operator ends, once.
func (a *etcdAuth) settle(t *testing.T, endAfter int) (steps int) {
	t.Helper()
	before := len(a.changes)
	for range 100 {
		left, done := a.round(t, endAfter)
		if done {
			return len(a.changes) - before
		}
		if endAfter = left; left < 0 {
			endAfter = 1_000_000
		}
	}
	t.Fatalf("it never settles; the last changes: %v", a.changes[max(0, len(a.changes)-20):])
	return 0
}

// check compares what there is with what is asked for.
func (a *etcdAuth) check(t *testing.T, foreignUsers, foreignRoles []string) {
	t.Helper()
	var users, roles []string
	if a.wanted {
		users = slices.DeleteFunc(slices.Collect(maps.Keys(a.wantedUsers)), func(name string) bool {
			_, known := a.secrets[name]
			return a.wantedUsers[name].Login == core.LoginPassword && !known && a.users[name].password == ""
		})
		for _, role := range a.wantedRoles {
			roles = append(roles, role.Name)
		}
	}
	same := func(a, b []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	if got := slices.Collect(maps.Keys(a.users)); !same(got, append(users, foreignUsers...)) {
		t.Errorf("users are %v, want %v and %v", got, users, foreignUsers)
	}
	if got := slices.Collect(maps.Keys(a.roles)); !same(got, append(roles, foreignRoles...)) {
		t.Errorf("roles are %v, want %v and %v", got, roles, foreignRoles)
	}
	if a.enabled != a.wanted || a.recorded.Auth.Managed != a.wanted {
		t.Errorf("on: %v, want %v; recorded: %+v", a.enabled, a.wanted, a.recorded.Auth)
	}
	for _, name := range users {
		u, want := a.users[name], a.wantedUsers[name]
		if !same(u.roles, want.Roles) {
			t.Errorf("user %s has roles %v, want %v", name, u.roles, want.Roles)
		}
		if secret, known := a.secrets[name]; u.noPassword != (want.Login == core.LoginCertificate) || known && want.Login == core.LoginPassword && u.password != secret {
			t.Errorf("user %s is %+v, want %+v with %q", name, u, want, secret)
		}
	}
	if !a.wanted {
		return
	}
	for _, want := range a.wantedRoles {
		for _, p := range want.Permissions {
			if !slices.Contains(a.roles[want.Name], p) || len(a.roles[want.Name]) != len(want.Permissions) {
				t.Errorf("role %s permits %v, want %v", want.Name, a.roles[want.Name], want.Permissions)
			}
		}
	}
}

// said is the condition.
func (a *etcdAuth) said() core.Condition {
	for _, c := range a.recorded.Conditions {
		if c.Type == core.AuthReady {
			return c
		}
	}
	return core.Condition{}
}

// declared is etcd with authentication as it is usually asked for.
func declared() *etcdAuth {
	a := newAuth()
	a.wantedRoles = []core.AuthRole{
		{Name: "app", Permissions: []core.Permission{under("/app/", core.ReadWrite), under("/conf/", core.Read)}},
		{Name: "watch", Permissions: []core.Permission{under("/", core.Read)}},
	}
	a.want("app", core.LoginPassword, "app")
	a.want("web", core.LoginCertificate, "app", "watch")
	a.want("admin", core.LoginCertificate, core.RootRole)
	return a
}

// authCases are situations, and what changes in them.
var authCases = []struct {
	name string
	// begin is what there is before anything is asked for.
	begin func(*etcdAuth)
	// change is made once all is as was asked for.
	change func(*etcdAuth)
	// users and roles are others' that are there in the end.
	users, roles []string
	says         string
}{
	{name: "nothing changes"},
	{name: "what others made before is taken over, or left alone", begin: func(a *etcdAuth) {
		a.roles["app"] = []core.Permission{under("/app/", core.Read), under("/old/", core.ReadWrite)}
		a.roles["theirs"] = []core.Permission{under("/theirs/", core.Read)}
		a.users["root"] = etcdUser{noPassword: true}
		a.users["app"] = etcdUser{password: "other", roles: []string{"theirs"}}
		a.users["web"] = etcdUser{password: "other", roles: []string{"app"}}
		a.users["them"] = etcdUser{password: "other", roles: []string{"theirs"}}
	}, users: []string{"them"}, roles: []string{"theirs"}, says: "not declared, and left alone: user them, role theirs"},
	{name: "it was turned on before, and root's password is known", begin: func(a *etcdAuth) {
		a.users["root"] = etcdUser{password: "r1", roles: []string{"root"}}
		a.users["app"] = etcdUser{noPassword: true}
		a.enabled = true
	}},
	{name: "a role changes", change: func(a *etcdAuth) {
		a.wantedRoles = []core.AuthRole{{Name: "app", Permissions: []core.Permission{under("/conf/", core.ReadWrite), under("/new/", core.Write)}}, a.wantedRoles[1]}
	}},
	{name: "a user's roles change", change: func(a *etcdAuth) { a.want("web", core.LoginCertificate, "watch") }},
	{name: "a user and a role go", change: func(a *etcdAuth) {
		delete(a.wantedUsers, "web")
		a.wantedRoles = a.wantedRoles[:1]
	}},
	{name: "passwords change", change: func(a *etcdAuth) { a.secrets["app"], a.secrets["root"] = "another", "another" }},
	{name: "the operator's own password is made again", change: func(a *etcdAuth) { a.secrets[core.OperatorUser] = "another" }},
	{name: "a user with a certificate gets a password", change: func(a *etcdAuth) { a.want("web", core.LoginPassword, "app") }},
	{name: "a user with a password gets a certificate", change: func(a *etcdAuth) {
		a.want("app", core.LoginCertificate, "app")
		delete(a.secrets, "app")
	}},
	{name: "a password is lost", change: func(a *etcdAuth) { delete(a.secrets, "app") }, says: "the password of user app is missing"},
	{name: "a password was never there", begin: func(a *etcdAuth) { delete(a.secrets, "app") }, says: "the password of user app is missing"},
	{name: "others change what is declared", change: func(a *etcdAuth) {
		a.revision += 5
		a.roles["app"] = append(a.roles["app"], under("/more/", core.Write))
		a.users["web"] = etcdUser{noPassword: true, roles: []string{"root"}}
		a.users["app"] = etcdUser{password: "theirs", roles: a.users["app"].roles}
		delete(a.users, "admin")
		delete(a.roles, "watch")
		a.users["them"] = etcdUser{password: "x"}
	}, users: []string{"them"}},
	{name: "others make a user again without a password", change: func(a *etcdAuth) {
		a.revision += 2
		a.users["app"] = etcdUser{noPassword: true}
	}},
	{name: "others turn it off", change: func(a *etcdAuth) { a.enabled, a.revision = false, a.revision+1 }},
	{name: "others turn it off, and make root another", change: func(a *etcdAuth) {
		a.enabled, a.revision = false, a.revision+3
		a.users["root"] = etcdUser{noPassword: true, roles: []string{"root"}}
		delete(a.users, core.OperatorUser)
	}},
	{name: "others break the operator's user", change: func(a *etcdAuth) {
		a.revision++
		a.users[core.OperatorUser] = etcdUser{password: "theirs"}
	}},
	{name: "the status is lost", change: func(a *etcdAuth) { a.recorded = core.Report{} }},
	{name: "it is turned off", change: func(a *etcdAuth) { a.wanted = false }},
	{name: "it is turned off beside others'", begin: func(a *etcdAuth) {
		a.users["them"], a.roles["theirs"] = etcdUser{password: "x"}, nil
	}, change: func(a *etcdAuth) { a.wanted = false }, users: []string{"them"}, roles: []string{"theirs"}},
	{name: "many are declared", begin: func(a *etcdAuth) {
		for n := range 90 {
			a.want(fmt.Sprint("user-", n), core.LoginPassword, "app", "watch")
		}
	}, change: func(a *etcdAuth) { a.wanted = false }},
}

// TestAuthSettles: whatever there is, and wherever the operator ends on the way, users and roles become what is asked for. It never
// locks itself out, and never touches what others made.
func TestAuthSettles(t *testing.T) {
	for _, c := range authCases {
		t.Run(c.name, func(t *testing.T) {
			// As often as there are steps, with the operator ending at another one.
			for end, total := 0, 0; end <= total && !t.Failed(); end++ {
				a := declared()
				if c.begin != nil {
					c.begin(a)
				}
				first := a.settle(t, end)
				if c.change != nil {
					c.change(a)
				}
				total = max(total, min(first+a.settle(t, end), 40))
				a.check(t, c.users, c.roles)
				if said := a.said(); a.wanted != (said.Type != "") || !strings.Contains(said.Message, c.says) || (said.Status == core.True) != (a.wanted && !strings.Contains(said.Message, "missing")) {
					t.Errorf("it says %+v, want %q", said, c.says)
				}
			}
		})
	}
}

// TestNobodyLosesAccessInBetween: who may do something before and after a change may do it all the time.
func TestNobodyLosesAccessInBetween(t *testing.T) {
	a := declared()
	a.settle(t, 1000)
	conf, wide := under("/conf/", core.Read), under("/", core.Read)
	a.wantedRoles = []core.AuthRole{{Name: "all", Permissions: []core.Permission{conf, wide, under("/app/", core.ReadWrite)}}}
	a.want("web", core.LoginCertificate, "all")
	a.want("app", core.LoginPassword, "all")
	may := func(user string, p core.Permission) bool {
		return slices.ContainsFunc(a.users[user].roles, func(role string) bool { return slices.Contains(a.roles[role], p) })
	}
	for range 50 {
		for user, p := range map[string]core.Permission{"web": wide, "app": conf} {
			if !may(user, p) {
				t.Fatalf("user %s lost %v after %v", user, p, a.changes)
			}
		}
		d := core.Decide(a.observe())
		a.recorded = d.Report
		for _, action := range d.Actions {
			if change, is := action.(core.ChangeAuth); is {
				a.apply(t, change.Steps[0])
			}
		}
	}
	a.check(t, nil, nil)
}

// TestAuthWaits: nothing is changed of what is not known, or as long as a password of the operator's is missing.
func TestAuthWaits(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*core.Observation)
		says   string
		reason core.Reason
		writes []string
	}{
		{"etcd does not say", func(o *core.Observation) { o.Auth.Known, o.Auth.Error = false, "timed out" }, "which users and roles it has: timed out", core.ReasonChangingAuth, nil},
		{"there are no Secrets", func(o *core.Observation) { o.Auth.SecretsDue = []string{"demo-root"} }, "passwords are made: demo-root", core.ReasonChangingAuth, []string{"demo-root"}},
		{"a password was not tried yet", func(o *core.Observation) {
			o.Auth.Store.Enabled, o.Auth.Store.Roles = true, o.Auth.Roles
			for _, user := range o.Auth.Users {
				found := core.AuthUser{Name: user.Name, Roles: user.Roles, Proof: core.ProofTaken}
				if user.Name == "app" {
					found.Proof = core.ProofNone
				}
				o.Auth.Store.Users = append(o.Auth.Store.Users, found)
				o.Cluster.Recorded.Auth.Users = append(o.Cluster.Recorded.Auth.Users, core.AuthUserReport{Name: user.Name, Login: user.Login})
			}
		}, "passwords are tried", core.ReasonChangingAuth, nil},
		{"root's Secret is missing", func(o *core.Observation) {
			o.Auth.Users[slices.IndexFunc(o.Auth.Users, func(u core.AuthUser) bool { return u.Name == "root" })].Password = false
			o.Auth.Users, o.Auth.Roles = slices.DeleteFunc(o.Auth.Users, func(u core.AuthUser) bool { return u.Name != "root" && u.Name != core.OperatorUser }), nil
			o.Auth.Problem = core.Problem{Reason: core.ReasonSecretMissing, Message: "there is no Secret of root's"}
		}, "no Secret of root's", core.ReasonSecretMissing, nil},
		{"the operator is not let in", func(o *core.Observation) {
			o.Etcd.List, o.Auth.Known = core.MemberList{}, false
			for i := range o.Etcd.Statuses {
				o.Etcd.Statuses[i] = core.Status{Member: o.Etcd.Statuses[i].Member, Error: "authentication failed", Refused: true}
			}
		}, "does not let the operator in: authentication failed", core.ReasonLoginRefused, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := declared().observe()
			c.change(&o)
			d := core.Decide(o)
			var writes []string
			for _, action := range d.Actions {
				switch step := action.(type) {
				case core.ChangeAuth:
					t.Errorf("%v", step)
				case core.WriteAuthSecret:
					writes = append(writes, step.Name)
				}
			}
			i := slices.IndexFunc(d.Report.Conditions, func(c core.Condition) bool { return c.Type == core.AuthReady })
			if i < 0 || d.Report.Conditions[i].Status != core.False || d.Report.Conditions[i].Reason != c.reason || !strings.Contains(d.Report.Conditions[i].Message, c.says) {
				t.Errorf("%+v", d.Report.Conditions)
			}
			if !slices.Equal(writes, c.writes) {
				t.Errorf("Secrets %v are written, want %v", writes, c.writes)
			}
		})
	}
}

// TestItIsTurnedOffRightAfterItWasTurnedOn: nothing is left of what was made last.
func TestItIsTurnedOffRightAfterItWasTurnedOn(t *testing.T) {
	a := declared()
	for range 10 {
		if a.round(t, 1000); a.enabled {
			break
		}
	}
	a.wanted = false
	a.settle(t, 1000)
	a.check(t, nil, nil)
}

// TestWhatWasNotReadIsNotGone: as long as it is not known who is there the operator does not take it that nobody is.
func TestWhatWasNotReadIsNotGone(t *testing.T) {
	a := declared()
	a.settle(t, 1000)
	a.wanted, a.enabled = false, false
	o := a.observe()
	o.Auth.Store = core.AuthStore{Revision: a.revision}
	if d := core.Decide(o); !d.Report.Auth.Managed || len(d.Report.Auth.Users) == 0 {
		t.Errorf("%+v", d.Report.Auth)
	}
}

// TestAuthOfOthersIsLeftAlone: what was turned on by others is told, and not turned off.
func TestAuthOfOthersIsLeftAlone(t *testing.T) {
	a := newAuth()
	a.wanted, a.enabled = false, true
	o := a.observe()
	o.Auth.Known, o.Auth.Store = true, core.AuthStore{Enabled: true, Revision: 7, Read: true, Users: []core.AuthUser{{Name: "root"}}}
	d := core.Decide(o)
	if len(d.Actions) > 0 || d.Report.Auth.Managed {
		t.Errorf("%v %+v", d.Actions, d.Report.Auth)
	}
	a.recorded = d.Report
	if said := a.said(); said.Reason != core.ReasonAuthNotManaged || said.Status != core.False {
		t.Errorf("%+v", said)
	}
}

// TestUsersAreRemovedWhateverElseIsWaitedFor: a member that does not come back keeps nobody's access.
func TestUsersAreRemovedWhateverElseIsWaitedFor(t *testing.T) {
	a := declared()
	a.settle(t, 1000)
	delete(a.wantedUsers, "web")
	o := a.observe()
	o.Members[1].Pod.Running, o.Members[1].Pod.Ready = false, false
	o.Etcd.Statuses = slices.DeleteFunc(o.Etcd.Statuses, func(s core.Status) bool { return s.Member == "demo-1" })
	o.Cluster.Spec.MemberHash = "another"
	var removed bool
	for _, action := range core.Decide(o).Actions {
		if change, is := action.(core.ChangeAuth); is {
			removed = slices.ContainsFunc(change.Steps, func(s core.AuthStep) bool { return s.Change == core.RemoveUser && s.User == "web" })
		}
	}
	if !removed {
		t.Error("the user is not removed")
	}
}
