package core

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The users that the operator has for itself, and the role that permits everything. Where members talk TLS the operator's
// certificate makes it root; elsewhere it logs in as a user of its own, whose password nobody else changes.
const (
	RootUser     = "root"
	RootRole     = "root"
	OperatorUser = "etcd-operator"
)

// stepsAtOnce is how many changes of users and roles are made before the next look, and passwordsAtOnce how many of them may be
// about passwords, which etcd hashes slowly: meanwhile nothing else is done for the cluster.
const (
	stepsAtOnce     = 40
	passwordsAtOnce = 10
)

// Auth is what there is of etcd's users and roles, and what is asked for. It is empty of a cluster that never had to do with them.
type Auth struct {
	// Wanted is whether etcd is to ask clients who they are.
	Wanted bool
	// Known is whether etcd was asked, and said how it is; Error is why it did not.
	Known bool
	Error string
	// Store is what it said.
	Store AuthStore
	// Hash stands for what is asked for, and for the Secrets of passwords as they are now.
	Hash string
	// Users and Roles are those that are asked for, those of the operator among the users.
	Users []AuthUser
	Roles []AuthRole
	// SecretsDue are the operator's own Secrets of passwords that have to be written.
	SecretsDue []string
	// Problem is what cannot be done as asked.
	Problem Problem
}

// AuthStore is what etcd says of its users and roles.
type AuthStore struct {
	// Enabled is whether it asks clients who they are.
	Enabled bool
	// Revision counts the changes.
	Revision uint64
	// Read is whether users and roles were read. They are not if nothing has changed since all was as asked for.
	Read  bool
	Users []AuthUser
	Roles []AuthRole
}

// Login is how a user proves who it is.
type Login string

// The ways.
const (
	LoginPassword    Login = "Password"
	LoginCertificate Login = "Certificate"
)

// Proof is whether etcd takes a user's password.
type Proof uint8

// A password is not tried of users without one, and cannot be as long as etcd does not ask for any.
const (
	ProofNone Proof = iota
	ProofTaken
	ProofRefused
)

// AuthUser is a user.
type AuthUser struct {
	Name  string
	Roles []string
	// Login is how it is to prove who it is.
	Login Login
	// Password is whether the password is known that it is to have.
	Password bool
	// Proof is whether etcd takes that one.
	Proof Proof
}

// AuthRole is a role.
type AuthRole struct {
	Name        string
	Permissions []Permission
}

// Permission permits access to a key, or to a range of keys as etcd writes it.
type Permission struct {
	Key, RangeEnd string
	Access        Access
}

// Access is what is permitted.
type Access string

// What is permitted.
const (
	Read      Access = "Read"
	Write     Access = "Write"
	ReadWrite Access = "ReadWrite"
)

// AuthReport is what the operator has made, or is about to make.
type AuthReport struct {
	// Managed is whether it has to do with users and roles at all.
	Managed bool
	Enabled bool
	// Revision and Hash are those of the last time that all was as asked for; 0 if it is not.
	Revision uint64
	Hash     string
	// Users and Roles are those that it made, or is about to make. No others are removed.
	Users []AuthUserReport
	Roles []string
}

// AuthUserReport is a user that the operator made.
type AuthUserReport struct {
	Name  string
	Login Login
}

// Equal is whether two reports say the same.
func (r AuthReport) Equal(o AuthReport) bool {
	return r.Managed == o.Managed && r.Enabled == o.Enabled && r.Revision == o.Revision && r.Hash == o.Hash &&
		slices.Equal(r.Users, o.Users) && slices.Equal(r.Roles, o.Roles)
}

// Settled is whether all was as asked for, when etcd was asked last.
func (r AuthReport) Settled(wanted bool, hash string) bool {
	return r.Managed && wanted && r.Enabled && r.Revision != 0 && r.Hash == hash
}

// WriteAuthSecret writes a Secret of the operator's own with a password, which is made if it has none.
type WriteAuthSecret struct{ Name string }

// Step names the action.
func (WriteAuthSecret) Step() string { return "WriteAuthSecret" }

// Disruptive is false.
func (WriteAuthSecret) Disruptive() bool { return false }

// ChangeAuth changes etcd's users and roles, step by step, if they are still those that were decided about.
type ChangeAuth struct {
	Via      string
	Enabled  bool
	Revision uint64
	Steps    []AuthStep
}

// Step names the action.
func (ChangeAuth) Step() string { return "ChangeAuth" }

// Disruptive is false: it takes nothing from a member, and does not wait until all of them are well.
func (ChangeAuth) Disruptive() bool { return false }

// AuthStep is one change of etcd's users and roles. What is the case already is no error.
type AuthStep struct {
	Change AuthChange
	User   string
	Role   string
	// Roles are those of a user whose password is set: it may have to be made again.
	Roles      []string
	Permission Permission
	Login      Login
}

// AuthChange is what is changed.
type AuthChange string

// The changes.
const (
	AddRole          AuthChange = "AddRole"
	RemoveRole       AuthChange = "RemoveRole"
	GrantPermission  AuthChange = "GrantPermission"
	RevokePermission AuthChange = "RevokePermission"
	AddUser          AuthChange = "AddUser"
	RemoveUser       AuthChange = "RemoveUser"
	SetPassword      AuthChange = "SetPassword"
	GrantRole        AuthChange = "GrantRole"
	RevokeRole       AuthChange = "RevokeRole"
	EnableAuth       AuthChange = "EnableAuth"
	DisableAuth      AuthChange = "DisableAuth"
)

// String is the step for a person to read.
func (s AuthStep) String() string {
	switch s.Change {
	case AddRole:
		return "role " + s.Role + " is added"
	case RemoveRole:
		return "role " + s.Role + " is removed"
	case GrantPermission:
		return fmt.Sprintf("role %s permits %s of %s", s.Role, s.Permission.Access, s.Permission.keys())
	case RevokePermission:
		return fmt.Sprintf("role %s permits nothing of %s any more", s.Role, s.Permission.keys())
	case AddUser:
		return "user " + s.User + " is added"
	case RemoveUser:
		return "user " + s.User + " is removed"
	case SetPassword:
		return "user " + s.User + " gets its password"
	case GrantRole:
		return fmt.Sprintf("user %s gets role %s", s.User, s.Role)
	case RevokeRole:
		return fmt.Sprintf("user %s loses role %s", s.User, s.Role)
	case EnableAuth:
		return "authentication is turned on"
	case DisableAuth:
		return "authentication is turned off"
	}
	return string(s.Change)
}

func (p Permission) keys() string {
	if p.RangeEnd == "" {
		return fmt.Sprintf("%q", p.Key)
	}
	return fmt.Sprintf("%q to %q", p.Key, p.RangeEnd)
}

// authPlan is what follows for users and roles.
type authPlan struct {
	steps     []AuthStep
	report    AuthReport
	condition Condition
	// untried is whether there are users whose password has yet to be tried.
	untried bool
	// undeclared are the users and roles that nobody asked for and the operator did not make.
	undeclared []string
}

// authenticate brings etcd's users and roles to what is asked for. It goes on whatever else is waited for: who is to lose access
// must not keep it because a member does not start.
func (v *view) authenticate(p *plan) {
	old := v.Cluster.Recorded.Auth
	known, _ := v.Cluster.Recorded.condition(AuthReady)
	p.auth = &authPlan{report: old, condition: known}
	switch refused := v.loginRefused(); {
	case !v.Auth.Wanted && !old.Managed:
		p.auth.condition = v.unmanaged()
	case refused != "":
		p.auth.say(False, ReasonLoginRefused, refused)
	case len(v.Auth.SecretsDue) > 0:
		for _, name := range v.Auth.SecretsDue {
			p.actions = append(p.actions, WriteAuthSecret{Name: name})
		}
		p.auth.say(False, ReasonChangingAuth, "passwords are made: "+strings.Join(v.Auth.SecretsDue, ", "))
	case !v.Auth.Known && !old.Settled(v.Auth.Wanted, v.Auth.Hash):
		p.auth.say(False, ReasonChangingAuth, "waiting until etcd says which users and roles it has"+colon(v.Auth.Error))
	case v.Auth.Known && v.asked() != nil:
		v.changeAuth(p)
	}
}

// asked is the member that is asked for changes: one that serves, a follower if there is one, since passwords are hashed by whoever
// is asked.
func (v *view) asked() *memberView {
	var asked *memberView
	for _, m := range v.members {
		if m.serves && m.listed != nil && !m.listed.Learner && (asked == nil || asked.leads) {
			asked = m
		}
	}
	return asked
}

// tell makes it known what is being done, or is in the way, if nothing else is.
func (a *authPlan) tell(p *plan) {
	c := Problem{a.condition.Reason, a.condition.Message}
	switch {
	case a.condition.Status != False:
	case passes(c.Reason):
		if p.doing.IsZero() {
			p.doing = c
		}
	case c.Reason != ReasonAuthNotManaged && p.blocked.IsZero():
		p.blocked = c
	}
}

// passes is whether users and roles are as asked for soon, without anybody having to do something about it.
func passes(reason Reason) bool { return reason == ReasonChangingAuth || reason == ReasonCleaningUp }

// authReady is the condition; as it was if users and roles were not looked at.
func (v *view) authReady(p plan) Condition {
	if p.auth != nil {
		return p.auth.condition
	}
	known, _ := v.Cluster.Recorded.condition(AuthReady)
	return known
}

func colon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

func (a *authPlan) say(status Truth, reason Reason, message string) {
	a.condition = Condition{Type: AuthReady, Status: status, Reason: reason, Message: message}
}

// unmanaged tells of authentication that the operator has not turned on, and does not turn off.
func (v *view) unmanaged() Condition {
	if !v.Auth.Known || !v.Auth.Store.Enabled {
		return Condition{}
	}
	return Condition{Type: AuthReady, Status: False, Reason: ReasonAuthNotManaged, Message: "etcd asks clients who they are, which was turned on by others than the operator: set spec.security.auth.mode to Enabled; from then on Disabled turns it off"}
}

// loginRefused is why etcd does not let the operator in.
func (v *view) loginRefused() string {
	for _, m := range v.members {
		if m.status != nil && m.status.Refused && !v.Etcd.List.Known {
			return loginRefusedMessage(m)
		}
	}
	return ""
}

func loginRefusedMessage(m *memberView) string {
	return fmt.Sprintf("member %s does not let the operator in: %s; put root's password into the Secret that spec.security.auth.rootSecret names", m.Name, m.status.Error)
}

func (v *view) changeAuth(p *plan) {
	a := p.auth
	switch {
	case !v.Auth.Wanted && (v.Auth.Store.Enabled || v.Auth.Store.Read):
		a.withdraw(v.Auth.Store)
	case v.Auth.Wanted && v.Auth.Store.Read:
		a.reconcile(v.Auth)
	}
	if len(a.steps) > 0 {
		a.steps = firstSteps(a.steps)
		p.actions = append(p.actions, ChangeAuth{Via: v.asked().Name, Enabled: v.Auth.Store.Enabled, Revision: v.Auth.Store.Revision, Steps: a.steps})
		a.say(False, ReasonChangingAuth, describeSteps(a.steps))
		return
	}
	switch {
	case !a.report.Managed:
		a.condition = Condition{}
	case a.untried:
		a.say(False, ReasonChangingAuth, "passwords are tried")
	case !v.Auth.Problem.IsZero():
		a.say(False, v.Auth.Problem.Reason, v.Auth.Problem.Message)
	case v.Auth.Store.Read && v.Auth.Store.Enabled:
		a.report.Revision, a.report.Hash = v.Auth.Store.Revision, v.Auth.Hash
		a.say(True, ReasonAuthEnabled, a.summary(v.Auth))
	}
}

// firstSteps are those that are taken before the next look.
func firstSteps(steps []AuthStep) []AuthStep {
	passwords := 0
	for i, step := range steps {
		if step.Change == SetPassword || step.Change == AddUser && step.Login == LoginPassword {
			passwords++
		}
		if i == stepsAtOnce || passwords > passwordsAtOnce {
			return steps[:i]
		}
	}
	return steps
}

func (a *authPlan) summary(auth Auth) string {
	declared := slices.DeleteFunc(slices.Clone(auth.Users), func(u AuthUser) bool { return isOwn(u.Name) })
	message := fmt.Sprintf("etcd asks clients who they are: %d users and %d roles are as declared", len(declared), len(auth.Roles))
	if len(a.undeclared) > 0 {
		message += "; not declared, and left alone: " + strings.Join(a.undeclared[:min(len(a.undeclared), 10)], ", ")
	}
	return message
}

// describeSteps names the first steps.
func describeSteps(steps []AuthStep) string {
	var texts []string
	for _, step := range steps[:min(len(steps), 5)] {
		texts = append(texts, step.String())
	}
	if more := len(steps) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}

// withdraw turns authentication off, and then removes what the operator made.
func (a *authPlan) withdraw(store AuthStore) {
	old := a.report
	a.report = AuthReport{Managed: true, Enabled: store.Enabled, Users: old.Users, Roles: old.Roles}
	if store.Enabled {
		a.add(AuthStep{Change: DisableAuth})
		return
	}
	a.report.Users, a.report.Roles = nil, nil
	for _, made := range old.Users {
		if findUser(store.Users, made.Name) != nil {
			a.report.Users = append(a.report.Users, made)
			a.add(AuthStep{Change: RemoveUser, User: made.Name})
		}
	}
	for _, made := range old.Roles {
		if findRole(store.Roles, made) != nil {
			a.report.Roles = append(a.report.Roles, made)
			a.add(AuthStep{Change: RemoveRole, Role: made})
		}
	}
	a.report.Managed = len(a.steps) > 0
}

// reconcile brings what etcd has to what is asked for. What adds comes before what takes away, so that nobody is without access
// in between, and authentication is turned on when all else is there. The names of what is made are recorded before it is.
func (a *authPlan) reconcile(auth Auth) {
	store, old := auth.Store, a.report
	a.report = AuthReport{Managed: true, Enabled: store.Enabled}
	var later []AuthStep
	for _, wanted := range auth.Roles {
		later = append(later, a.role(wanted, findRole(store.Roles, wanted.Name))...)
	}
	for _, wanted := range auth.Users {
		if store.Enabled || !isOwn(wanted.Name) {
			later = append(later, a.user(wanted, findUser(store.Users, wanted.Name), loginOf(old, wanted.Name), store.Enabled)...)
		}
	}
	a.add(later...)
	a.removeOthers(auth, old)
	if len(a.steps) == 0 && !store.Enabled {
		a.enable(auth)
	}
	for _, name := range []string{RootUser, OperatorUser} {
		a.made(name, LoginPassword)
	}
	slices.SortFunc(a.report.Users, func(x, y AuthUserReport) int { return cmp.Compare(x.Name, y.Name) })
	slices.Sort(a.report.Roles)
}

func isOwn(user string) bool { return user == RootUser || user == OperatorUser }

func (a *authPlan) add(steps ...AuthStep) { a.steps = append(a.steps, steps...) }

// made records a user as the operator's.
func (a *authPlan) made(name string, login Login) {
	if !slices.ContainsFunc(a.report.Users, func(u AuthUserReport) bool { return u.Name == name }) {
		a.report.Users = append(a.report.Users, AuthUserReport{name, login})
	}
}

// role makes a role, and gives it what it lacks. It returns what takes away.
func (a *authPlan) role(wanted AuthRole, found *AuthRole) (later []AuthStep) {
	a.report.Roles = append(a.report.Roles, wanted.Name)
	if found == nil {
		a.add(AuthStep{Change: AddRole, Role: wanted.Name})
		found = &AuthRole{}
	}
	for _, permission := range wanted.Permissions {
		if !slices.Contains(found.Permissions, permission) {
			a.add(AuthStep{Change: GrantPermission, Role: wanted.Name, Permission: permission})
		}
	}
	for _, permission := range found.Permissions {
		// To grant the same range again replaces what is permitted.
		if !slices.ContainsFunc(wanted.Permissions, permission.sameRange) {
			later = append(later, AuthStep{Change: RevokePermission, Role: wanted.Name, Permission: permission})
		}
	}
	return later
}

func (p Permission) sameRange(o Permission) bool { return p.Key == o.Key && p.RangeEnd == o.RangeEnd }

// user makes a user, sets its password, and gives it the roles that it lacks. It returns what takes away. How a user that is there
// proves who it is etcd does not say: that is known of those whose password it takes, and of those that the operator made. Any
// other is removed, to be made as it should be at the next look.
func (a *authPlan) user(wanted AuthUser, found *AuthUser, login Login, enabled bool) (later []AuthStep) {
	switch {
	case found == nil && wanted.Login == LoginPassword && !wanted.Password:
		return nil
	case found == nil:
		a.made(wanted.Name, wanted.Login)
		a.add(AuthStep{Change: AddUser, User: wanted.Name, Login: wanted.Login})
		found = &AuthUser{}
	case wanted.Login == LoginPassword && found.Proof == ProofTaken:
		a.made(wanted.Name, LoginPassword)
	case wanted.Login == LoginPassword && found.Proof == ProofRefused:
		a.made(wanted.Name, cmp.Or(login, LoginPassword))
		a.add(AuthStep{Change: SetPassword, User: wanted.Name, Roles: wanted.Roles})
	case wanted.Login == LoginPassword && (enabled || !wanted.Password) || login == wanted.Login:
		a.untried = a.untried || wanted.Login == LoginPassword && enabled && wanted.Password
		a.made(wanted.Name, cmp.Or(login, wanted.Login))
	default:
		a.made(wanted.Name, login)
		return []AuthStep{{Change: RemoveUser, User: wanted.Name}}
	}
	return a.grants(wanted, found)
}

// grants gives a user the roles that it lacks. It returns what takes others away.
func (a *authPlan) grants(wanted AuthUser, found *AuthUser) (later []AuthStep) {
	for _, role := range wanted.Roles {
		if !slices.Contains(found.Roles, role) {
			a.add(AuthStep{Change: GrantRole, User: wanted.Name, Role: role})
		}
	}
	for _, role := range found.Roles {
		if !slices.Contains(wanted.Roles, role) {
			later = append(later, AuthStep{Change: RevokeRole, User: wanted.Name, Role: role})
		}
	}
	return later
}

// removeOthers removes the users and roles that the operator made and that nobody asks for any more.
func (a *authPlan) removeOthers(auth Auth, old AuthReport) {
	for _, found := range auth.Store.Users {
		switch {
		case isOwn(found.Name) || findUser(auth.Users, found.Name) != nil:
		case loginOf(old, found.Name) != "":
			a.made(found.Name, loginOf(old, found.Name))
			a.add(AuthStep{Change: RemoveUser, User: found.Name})
		default:
			a.undeclared = append(a.undeclared, "user "+found.Name)
		}
	}
	for _, found := range auth.Store.Roles {
		switch {
		case found.Name == RootRole || findRole(auth.Roles, found.Name) != nil:
		case slices.Contains(old.Roles, found.Name):
			a.report.Roles = append(a.report.Roles, found.Name)
			a.add(AuthStep{Change: RemoveRole, Role: found.Name})
		default:
			a.undeclared = append(a.undeclared, "role "+found.Name)
		}
	}
}

// enable makes the operator's users, whatever there is of them, and turns authentication on: from then on nobody gets in who has
// no password. As long as it is off nobody needs them.
func (a *authPlan) enable(auth Auth) {
	for _, wanted := range auth.Users {
		if !isOwn(wanted.Name) {
			continue
		}
		if !wanted.Password {
			a.steps = nil
			return
		}
		if findUser(auth.Store.Users, wanted.Name) != nil {
			a.add(AuthStep{Change: RemoveUser, User: wanted.Name})
		}
		a.add(AuthStep{Change: AddUser, User: wanted.Name, Login: LoginPassword}, AuthStep{Change: GrantRole, User: wanted.Name, Role: RootRole})
	}
	a.add(AuthStep{Change: EnableAuth})
}

func findUser(users []AuthUser, name string) *AuthUser {
	if i := slices.IndexFunc(users, func(u AuthUser) bool { return u.Name == name }); i >= 0 {
		return &users[i]
	}
	return nil
}

func findRole(roles []AuthRole, name string) *AuthRole {
	if i := slices.IndexFunc(roles, func(r AuthRole) bool { return r.Name == name }); i >= 0 {
		return &roles[i]
	}
	return nil
}

// loginOf is how a user proves who it is that the operator made; empty if it did not.
func loginOf(r AuthReport, user string) Login {
	for _, made := range r.Users {
		if made.Name == user {
			return made.Login
		}
	}
	return ""
}
