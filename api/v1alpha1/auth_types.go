package v1alpha1

// AuthMode says whether etcd asks clients who they are.
//
// +kubebuilder:validation:Enum=Disabled;Enabled
type AuthMode string

// Modes of etcd's authentication.
const (
	// AuthDisabled lets everybody do everything who reaches a member.
	AuthDisabled AuthMode = "Disabled"
	// AuthEnabled lets users do what their roles permit.
	AuthEnabled AuthMode = "Enabled"
)

// AuthSpec says who may do what: etcd's users and roles (https://etcd.io/docs/v3.6/op-guide/authentication/rbac/). What is
// declared here is set back when it is changed by hand. Users and roles that are not declared stay as they are, unless they were
// declared before.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.users) || self.users.all(u, !has(u.roles) || u.roles.all(r, r == 'root' || has(self.roles) && self.roles.exists(d, d.name == r)))`,message="spec.security.auth.users have roles that spec.security.auth.roles does not declare",messageExpression=`'spec.security.auth.users: %s have roles that spec.security.auth.roles does not declare; declare them (root is there by itself)'.format([self.users.filter(u, has(u.roles) && !u.roles.all(r, r == 'root' || has(self.roles) && self.roles.exists(d, d.name == r))).map(u, u.name)])`
type AuthSpec struct {
	// Mode is Disabled (everybody may do everything who reaches a member) or Enabled. It can be changed while the cluster runs. When
	// it is turned off the operator removes the users and roles that it made.
	// +kubebuilder:default=Disabled
	// +optional
	Mode AuthMode `json:"mode,omitempty"`

	// RootSecret has root's password under the key password. Without it the operator makes the Secret <cluster>-root. When the
	// password in it changes, that of root changes.
	// +optional
	RootSecret *AuthSecret `json:"rootSecret,omitempty"`

	// Roles are sets of permissions. The role root, which permits everything, is there by itself.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	// +optional
	Roles []AuthRole `json:"roles,omitempty"`

	// Users besides root.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	// +optional
	Users []AuthUser `json:"users,omitempty"`
}

// AuthSecret names a Secret of the same namespace with a password under the key password.
type AuthSecret struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
}

// AuthName is the name of a user or of a role.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9._@]*[A-Za-z0-9])?$`
type AuthName string

// AuthRole is a set of permissions.
type AuthRole struct {
	// Name of the role.
	// +kubebuilder:validation:XValidation:rule=`self != 'root'`,message="spec.security.auth.roles must not have root: it permits everything and is there by itself; give it to users by its name"
	// +required
	Name AuthName `json:"name"`

	// Permissions on keys. Nothing else is permitted.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +optional
	Permissions []AuthPermission `json:"permissions,omitempty"`
}

// AuthAccess is what a permission permits.
//
// +kubebuilder:validation:Enum=Read;Write;ReadWrite
type AuthAccess string

// What a permission permits.
const (
	AuthRead      AuthAccess = "Read"
	AuthWrite     AuthAccess = "Write"
	AuthReadWrite AuthAccess = "ReadWrite"
)

// AuthPermission permits access to keys.
//
// +kubebuilder:validation:XValidation:rule=`[has(self.key), has(self.prefix), has(self.range)].filter(x, x).size() == 1`,message="spec.security.auth.roles[].permissions must each have exactly one of key, prefix and range; all keys are prefix \"\""
type AuthPermission struct {
	// Access is Read, Write (which deletes, too) or ReadWrite.
	// +required
	Access AuthAccess `json:"access"`

	// Key is one key.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Key *string `json:"key,omitempty"`

	// Prefix is that of all keys that begin with it. An empty one is that of all keys.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Prefix *string `json:"prefix,omitempty"`

	// Range is all keys between two.
	// +optional
	Range *AuthRange `json:"range,omitempty"`
}

// AuthRange is all keys between two, in the order of their bytes.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.end) || self.start < self.end`,message="spec.security.auth.roles[].permissions[].range.end must come after start, in the order of their bytes",messageExpression=`'spec.security.auth.roles[].permissions[].range.end is %s, must come after start %s, in the order of their bytes'.format([self.end, self.start])`
type AuthRange struct {
	// Start is the first of the keys.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +required
	Start string `json:"start"`

	// End is the first key that is not in the range any more. Without it all keys from the start on are.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	End *string `json:"end,omitempty"`
}

// AuthUser is a user of etcd. One without a password is known by its certificate: by the common name.
//
// +kubebuilder:validation:XValidation:rule=`has(self.passwordSecret) || self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')`,message="spec.security.auth.users[].name of a user without passwordSecret must be lower-case letters, digits, - and .: its certificate's Secret is named by it",messageExpression=`'spec.security.auth.users[].name is %s, must be lower-case letters, digits, - and . without passwordSecret: the Secret of its certificate is named by it'.format([self.name])`
type AuthUser struct {
	// Name of the user.
	// +kubebuilder:validation:XValidation:rule=`!(self in ['root', 'etcd-operator', 'etcd-server'])`,message="spec.security.auth.users must not have root, etcd-operator and etcd-server",messageExpression=`'spec.security.auth.users must not have %s: root, etcd-operator and etcd-server belong to the operator'.format([self])`
	// +required
	Name AuthName `json:"name"`

	// Roles that the user has: of spec.security.auth.roles, or root.
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Roles []AuthName `json:"roles,omitempty"`

	// PasswordSecret has the user's password. When it changes there, it changes in etcd. Without it the user is known by a
	// certificate, for which the operator makes the Secret <cluster>-user-<name>-tls; that of the user client is
	// <cluster>-client-tls.
	// +optional
	PasswordSecret *AuthPasswordSecret `json:"passwordSecret,omitempty"`
}

// AuthPasswordSecret names a password in a Secret of the same namespace.
type AuthPasswordSecret struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`

	// Key of the password in the Secret.
	// +kubebuilder:default=password
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Key string `json:"key,omitempty"`
}
