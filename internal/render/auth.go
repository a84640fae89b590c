package render

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// KeyPassword is the key of a password in a Secret.
const KeyPassword = corev1.BasicAuthPasswordKey

// OperatorAuthSecret is the name of the Secret with the password of the operator's own user.
func (c Cluster) OperatorAuthSecret() string { return c.Name + "-operator-auth" }

// RootSecret is the name of the Secret with root's password, and whether the operator makes it.
func (c Cluster) RootSecret() (name string, made bool) {
	if named := c.Spec.Security.Auth.RootSecret; named != nil {
		return named.Name, false
	}
	return c.Name + "-root", true
}

// AuthUserOf is the user whose password is in one of the operator's own Secrets.
func (c Cluster) AuthUserOf(secret string) string {
	if secret == c.OperatorAuthSecret() {
		return core.OperatorUser
	}
	return core.RootUser
}

// WantsAuth is whether etcd is to ask clients who they are.
func (c Cluster) WantsAuth() bool { return c.Spec.Security.Auth.Mode == v1alpha1.AuthEnabled }

// OwnsAuthSecrets is whether the operator's own Secrets of passwords go with the EtcdCluster. They stay where the data does, which
// nobody could reach without them.
func (c Cluster) OwnsAuthSecrets() bool {
	return c.Spec.Storage.Retention.WhenDeleted == v1alpha1.RetentionDelete
}

// AuthSecret is one of the operator's own Secrets of passwords.
func (c Cluster) AuthSecret(name, password string) *corev1.Secret {
	meta := c.meta(name, c.Labels())
	if !c.OwnsAuthSecrets() {
		meta.OwnerReferences = nil
	}
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: meta,
		Type:       corev1.SecretTypeBasicAuth,
		Data:       map[string][]byte{corev1.BasicAuthUsernameKey: []byte(c.AuthUserOf(name)), KeyPassword: []byte(password)},
	}
}

// UserSecret is the name of the Secret with the certificate of a user.
func (c Cluster) UserSecret(user string) string {
	if user == clientName {
		return c.ClientSecret()
	}
	return c.Name + "-user-" + user + "-tls"
}

// certificateUsers are the users that are known by their certificate, but for that of the ready-made one.
func (c Cluster) certificateUsers() (names []string) {
	for _, user := range c.Spec.Security.Auth.Users {
		if user.PasswordSecret == nil && user.Name != clientName {
			names = append(names, string(user.Name))
		}
	}
	slices.Sort(names)
	return names
}

// AuthRoles are the roles that are wanted.
func (c Cluster) AuthRoles() (roles []core.AuthRole) {
	for _, role := range c.Spec.Security.Auth.Roles {
		roles = append(roles, core.AuthRole{Name: string(role.Name), Permissions: permissions(role.Permissions)})
	}
	slices.SortFunc(roles, func(a, b core.AuthRole) int { return strings.Compare(a.Name, b.Name) })
	return roles
}

// AuthUsers are the users that are wanted, those of the operator among them. It is not yet known whether there are passwords.
func (c Cluster) AuthUsers() []core.AuthUser {
	users := []core.AuthUser{
		{Name: core.RootUser, Login: core.LoginPassword, Roles: []string{core.RootRole}},
		{Name: core.OperatorUser, Login: core.LoginPassword, Roles: []string{core.RootRole}},
	}
	for _, user := range c.Spec.Security.Auth.Users {
		wanted := core.AuthUser{Name: string(user.Name), Login: core.LoginCertificate}
		if user.PasswordSecret != nil {
			wanted.Login = core.LoginPassword
		}
		for _, role := range user.Roles {
			wanted.Roles = append(wanted.Roles, string(role))
		}
		users = append(users, wanted)
	}
	slices.SortFunc(users, func(a, b core.AuthUser) int { return strings.Compare(a.Name, b.Name) })
	return users
}

// permissions are those of a role as etcd writes them, each range once.
func permissions(declared []v1alpha1.AuthPermission) (all []core.Permission) {
	for _, p := range declared {
		permission := core.Permission{Access: core.Access(p.Access)}
		switch {
		case p.Key != nil:
			permission.Key = *p.Key
		case p.Prefix != nil && *p.Prefix == "":
			permission.Key, permission.RangeEnd = allKeys, allKeys
		case p.Prefix != nil:
			permission.Key, permission.RangeEnd = *p.Prefix, prefixEnd(*p.Prefix)
		case p.Range != nil && p.Range.End != nil:
			permission.Key, permission.RangeEnd = p.Range.Start, *p.Range.End
		case p.Range != nil:
			permission.Key, permission.RangeEnd = p.Range.Start, allKeys
		}
		same := func(o core.Permission) bool { return o.Key == permission.Key && o.RangeEnd == permission.RangeEnd }
		if i := slices.IndexFunc(all, same); i < 0 {
			all = append(all, permission)
		} else if all[i].Access != permission.Access {
			all[i].Access = core.ReadWrite
		}
	}
	slices.SortFunc(all, func(a, b core.Permission) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.RangeEnd, b.RangeEnd))
	})
	return all
}

// prefixEnd is the first key after all those with a prefix.
func prefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return allKeys
}

// allKeys is, as the first key, the first that there can be, and as the end of a range that there is none.
const allKeys = "\x00"
