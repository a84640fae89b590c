package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// authTimeout bounds a call that makes etcd hash a password, which is slow by intention.
const authTimeout = 10 * time.Second

// readers is how many users or roles are asked for at once, and provers how many passwords are tried, for proveFor at most: the
// rest is tried at the next look.
const (
	readers  = 8
	provers  = 2
	proveFor = 3 * time.Second
)

// AuthQuestion is what is known before users and roles are read.
type AuthQuestion struct {
	// Settled is the revision as of which all was as asked for: nothing is read if it is still that.
	Settled uint64
	// Passwords are those that users are to have.
	Passwords map[string]string
	// Proven is of whom it is known, as of a revision, whether etcd takes them.
	Proven   map[string]core.Proof
	ProvenAt uint64
}

// AuthStatus is whether etcd asks clients who they are, and how often its users and roles have changed. The question goes through
// the raft log, as all about users and roles do.
func (p *Pool) AuthStatus(ctx context.Context, address string) (enabled bool, revision uint64, err error) {
	err = p.call(ctx, address, "the status of authentication", callTimeout, func(ctx context.Context, c *clientv3.Client) error {
		answer, err := c.AuthStatus(ctx)
		if err == nil {
			enabled, revision = answer.Enabled, answer.AuthRevision
		}
		return err
	})
	return enabled, revision, err
}

// ReadAuth reads users and roles, unless etcd asks clients who they are and nothing has changed. It tries the passwords of users that
// are there.
func (p *Pool) ReadAuth(ctx context.Context, address string, question AuthQuestion) (core.AuthStore, error) {
	var store core.AuthStore
	var err error
	if store.Enabled, store.Revision, err = p.AuthStatus(ctx, address); err != nil {
		return core.AuthStore{}, err
	}
	if store.Enabled && store.Revision == question.Settled {
		return store, nil
	}
	if store.Users, err = p.users(ctx, address); err != nil {
		return core.AuthStore{}, err
	}
	if store.Roles, err = p.roles(ctx, address); err != nil {
		return core.AuthStore{}, err
	}
	store.Read = true
	if !store.Enabled {
		return store, nil
	}
	return store, p.prove(ctx, address, store, question)
}

// prove tries the passwords of users.
func (p *Pool) prove(ctx context.Context, address string, store core.AuthStore, question AuthQuestion) error {
	until := time.Now().Add(proveFor)
	return all(provers, len(store.Users), func(i int) (err error) {
		user := &store.Users[i]
		password, wanted := question.Passwords[user.Name]
		proof, known := question.Proven[user.Name]
		switch {
		case !wanted:
		case known && question.ProvenAt == store.Revision:
			user.Proof = proof
		case time.Now().Before(until):
			user.Proof, err = p.logsIn(ctx, address, user.Name, password)
		}
		return err
	})
}

// logsIn is whether etcd takes a password. What else it may say proves nothing.
func (p *Pool) logsIn(ctx context.Context, address, user, password string) (proof core.Proof, err error) {
	err = p.call(ctx, address, "logging in as "+user, authTimeout, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Authenticate(ctx, user, password)
		return err
	})
	switch {
	case err == nil:
		return core.ProofTaken, nil
	case says(err, unknown):
		return core.ProofRefused, nil
	}
	return core.ProofNone, err
}

func (p *Pool) users(ctx context.Context, address string) (users []core.AuthUser, err error) {
	err = p.call(ctx, address, "reading the users", authTimeout, func(ctx context.Context, c *clientv3.Client) error {
		list, err := c.UserList(ctx)
		if err != nil {
			return err
		}
		users = make([]core.AuthUser, len(list.Users))
		return all(readers, len(users), func(i int) error {
			answer, err := c.UserGet(ctx, list.Users[i])
			if err == nil {
				users[i] = core.AuthUser{Name: list.Users[i], Roles: answer.Roles}
			}
			return err
		})
	})
	return users, err
}

func (p *Pool) roles(ctx context.Context, address string) (roles []core.AuthRole, err error) {
	err = p.call(ctx, address, "reading the roles", authTimeout, func(ctx context.Context, c *clientv3.Client) error {
		list, err := c.RoleList(ctx)
		if err != nil {
			return err
		}
		roles = make([]core.AuthRole, len(list.Roles))
		return all(readers, len(roles), func(i int) error {
			answer, err := c.RoleGet(ctx, list.Roles[i])
			if err != nil {
				return err
			}
			roles[i].Name = list.Roles[i]
			for _, permission := range answer.Perm {
				roles[i].Permissions = append(roles[i].Permissions, core.Permission{
					Key: string(permission.Key), RangeEnd: string(permission.RangeEnd), Access: accessOf(permission.PermType),
				})
			}
			return nil
		})
	})
	return roles, err
}

// all does something for each of so many, several at once.
func all(atOnce, count int, do func(i int) error) error {
	errs := make([]error, count)
	var wg sync.WaitGroup
	for first := range min(atOnce, count) {
		wg.Go(func() {
			for i := first; i < count; i += atOnce {
				errs[i] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var accesses = map[core.Access]authpb.Permission_Type{
	core.Read: authpb.Permission_READ, core.Write: authpb.Permission_WRITE, core.ReadWrite: authpb.Permission_READWRITE,
}

func accessOf(kind authpb.Permission_Type) core.Access {
	for access, known := range accesses {
		if known == kind {
			return access
		}
	}
	return core.Access(kind.String())
}

// ChangeAuth makes one change of users and roles. What is the case already is fine, but for a user that is to be added: nobody
// knows its password.
func (p *Pool) ChangeAuth(ctx context.Context, address string, step core.AuthStep, password string) error {
	return p.call(ctx, address, step.String(), authTimeout, func(ctx context.Context, c *clientv3.Client) (err error) {
		switch step.Change {
		case core.AddRole:
			_, err = c.RoleAdd(ctx, step.Role)
			return unless(err, rpctypes.ErrRoleAlreadyExist)
		case core.RemoveRole:
			_, err = c.RoleDelete(ctx, step.Role)
			return unless(err, rpctypes.ErrRoleNotFound)
		case core.GrantPermission:
			kind := clientv3.PermissionType(accesses[step.Permission.Access])
			_, err = c.RoleGrantPermission(ctx, step.Role, step.Permission.Key, step.Permission.RangeEnd, kind)
		case core.RevokePermission:
			_, err = c.RoleRevokePermission(ctx, step.Role, step.Permission.Key, step.Permission.RangeEnd)
			return unless(err, rpctypes.ErrPermissionNotGranted)
		case core.EnableAuth:
			_, err = c.AuthEnable(ctx)
		case core.DisableAuth:
			_, err = c.AuthDisable(ctx)
		default:
			return changeUser(ctx, c, step, password)
		}
		return err
	})
}

func changeUser(ctx context.Context, c *clientv3.Client, step core.AuthStep, password string) (err error) {
	switch step.Change {
	case core.AddUser:
		return addUser(ctx, c, step, password)
	case core.RemoveUser:
		_, err = c.UserDelete(ctx, step.User)
		return unless(err, rpctypes.ErrUserNotFound)
	case core.SetPassword:
		return setPassword(ctx, c, step, password)
	case core.GrantRole:
		_, err = c.UserGrantRole(ctx, step.User, step.Role)
	case core.RevokeRole:
		_, err = c.UserRevokeRole(ctx, step.User, step.Role)
		return unless(err, rpctypes.ErrRoleNotGranted)
	default:
		return fmt.Errorf("no way is known to carry out %s", step.Change)
	}
	return err
}

func addUser(ctx context.Context, c *clientv3.Client, step core.AuthStep, password string) (err error) {
	switch {
	case step.Login == core.LoginCertificate:
		_, err = c.UserAddWithOptions(ctx, step.User, "", &clientv3.UserAddOptions{NoPassword: true})
	case password == "":
		return fmt.Errorf("the password of user %s is not known", step.User)
	default:
		_, err = c.UserAdd(ctx, step.User, password)
	}
	return err
}

// setPassword changes a password, and makes the user again if etcd still does not take it: one that was made without a password
// never gets one.
func setPassword(ctx context.Context, c *clientv3.Client, step core.AuthStep, password string) error {
	if password == "" {
		return fmt.Errorf("the password of user %s is not known", step.User)
	}
	if _, err := c.UserChangePassword(ctx, step.User, password); err != nil {
		return err
	}
	if _, err := c.Authenticate(ctx, step.User, password); !says(err, unknown) {
		return err
	}
	if _, err := c.UserDelete(ctx, step.User); err != nil {
		return err
	}
	if _, err := c.UserAdd(ctx, step.User, password); err != nil {
		return err
	}
	for _, role := range slices.Sorted(slices.Values(step.Roles)) {
		if _, err := c.UserGrantRole(ctx, step.User, role); err != nil {
			return err
		}
	}
	return nil
}
