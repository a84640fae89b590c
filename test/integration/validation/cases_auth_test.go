//go:build integration

package validation

import (
	"fmt"
	"strings"
)

// auth is a spec with something below spec.security.auth.
func auth(fields string) string {
	return "security: {auth: {mode: Enabled, " + fields + "}}"
}

// permitting is a role with one permission.
func permitting(permission string) string {
	return auth("roles: [{name: app, permissions: [" + permission + "]}]")
}

// many lists as many items, made from a format with a number in it.
func many(count int, format string) string {
	items := make([]string, count)
	for i := range items {
		items[i] = fmt.Sprintf(format, i)
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// authRefusals are about users and roles.
var authRefusals = []refusal{
	{name: "an unknown mode", spec: "security: {auth: {mode: Required}}", want: []string{"spec.security.auth.mode", `"Required"`, `"Disabled", "Enabled"`}},
	{name: "a mode as a switch", spec: "security: {auth: {mode: true}}", want: []string{"spec.security.auth.mode"}},
	{name: "a password in the spec", spec: auth("users: [{name: app, password: secret}]"), want: []string{`unknown field "spec.security.auth.users[0].password"`}},
	{name: "a Secret of root's without a name", spec: auth("rootSecret: {}"), want: []string{"spec.security.auth.rootSecret.name", "Required"}},
	{name: "a Secret of root's with a key", spec: auth("rootSecret: {name: a, key: b}"), want: []string{`unknown field "spec.security.auth.rootSecret.key"`}},
	{name: "a Secret with an empty name", spec: auth("users: [{name: app, passwordSecret: {name: ''}}]"), want: []string{"users[0].passwordSecret.name", "at least 1"}},
	{name: "a Secret with an empty key", spec: auth("users: [{name: app, passwordSecret: {name: a, key: ''}}]"), want: []string{"users[0].passwordSecret.key", "at least 1"}},

	{name: "root among the users", spec: auth("users: [{name: root}]"), want: []string{"spec.security.auth.users[0].name", "must not have root", "belong to the operator"}},
	{name: "the operator's user", spec: auth("users: [{name: etcd-operator, roles: [root]}]"), want: []string{"must not have etcd-operator"}},
	{name: "the name of members", spec: auth("users: [{name: etcd-server}]"), want: []string{"must not have etcd-server"}},
	{name: "root among the roles", spec: auth("roles: [{name: root}]"), want: []string{"spec.security.auth.roles[0].name", "must not have root", "there by itself"}},
	{name: "a user twice", spec: auth("users: [{name: app}, {name: app}]"), want: []string{"spec.security.auth.users[1]", "Duplicate"}},
	{name: "a role twice", spec: auth("roles: [{name: app}, {name: app}]"), want: []string{"spec.security.auth.roles[1]", "Duplicate"}},
	{name: "a role of a user twice", spec: auth("roles: [{name: app}], users: [{name: a, roles: [app, app]}]"), want: []string{"users[0].roles[1]", "Duplicate"}},
	{name: "a role that is not declared", spec: auth("roles: [{name: app}], users: [{name: a, roles: [app]}, {name: b, roles: [root, ap]}]"),
		want: []string{"spec.security.auth.users", `["b"] have roles that spec.security.auth.roles does not declare`}},
	{name: "a role where none is declared", spec: auth("users: [{name: a, roles: [app]}]"), want: []string{`["a"] have roles`}},
	{name: "a user without a name", spec: auth("users: [{roles: []}]"), want: []string{"spec.security.auth.users[0].name", "Required"}},
	{name: "an empty name", spec: auth("users: [{name: ''}]"), want: []string{"spec.security.auth.users[0].name"}},
	{name: "a name with a space", spec: auth("users: [{name: a b, passwordSecret: {name: a}}]"), want: []string{"users[0].name", `"a b"`, "should match"}},
	{name: "a name with a slash", spec: auth("users: [{name: ../a, passwordSecret: {name: a}}]"), want: []string{"users[0].name", "../a", "should match"}},
	{name: "a name with a second line", spec: auth(`users: [{name: "a\nb", passwordSecret: {name: a}}]`), want: []string{"users[0].name", `a\nb`, "should match"}},
	{name: "a name with a colon", spec: auth(`users: [{name: "a:b", passwordSecret: {name: a}}]`), want: []string{"users[0].name", "a:b", "should match"}},
	{name: "an over-long name", spec: auth("users: [{name: " + strings.Repeat("a", 65) + "}]"), want: []string{"users[0].name", "may not be more than 64"}},
	{name: "a role with a space", spec: auth("roles: [{name: a b}]"), want: []string{"roles[0].name", `"a b"`, "should match"}},
	{name: "a name in upper case with a certificate", spec: auth("users: [{name: App}]"),
		want: []string{"spec.security.auth.users[0]", "name is App", "lower-case letters", "Secret of its certificate"}},
	{name: "an address with a certificate", spec: auth(`users: [{name: "me@example.com"}]`), want: []string{"name is me@example.com"}},
	{name: "an underscore with a certificate", spec: auth("users: [{name: a_b}]"), want: []string{"name is a_b"}},
	{name: "a certificate without TLS", spec: "security: {tls: {client: {mode: Disabled}}, auth: {mode: Enabled, users: [{name: a, passwordSecret: {name: a}}, {name: b}]}}",
		want: []string{"spec.security", `["b"] have no passwordSecret`, "spec.security.tls.client.mode Permissive or Required"}},
	{name: "TLS taken from certificates", from: auth("users: [{name: app}]"), spec: "security: {tls: {client: {mode: Disabled}}, auth: {mode: Enabled, users: [{name: app}]}}",
		want: []string{`["app"] have no passwordSecret`}},
	{name: "too many users", spec: auth("users: " + many(101, "{name: a%d}")), want: []string{"spec.security.auth.users", "must have at most 100"}},
	{name: "too many roles", spec: auth("roles: " + many(101, "{name: a%d}")), want: []string{"spec.security.auth.roles", "must have at most 100"}},
	{name: "too many roles of a user", spec: auth("users: [{name: a, roles: " + many(17, "r%d") + "}]"), want: []string{"users[0].roles", "must have at most 16"}},
	{name: "too many permissions", spec: auth("roles: [{name: a, permissions: " + many(101, "{access: Read, key: k%d}") + "}]"), want: []string{"roles[0].permissions", "must have at most 100"}},

	{name: "a permission on nothing", spec: permitting("{access: Read}"), want: []string{"roles[0].permissions[0]", "exactly one of key, prefix and range", `all keys are prefix ""`}},
	{name: "a permission on two things", spec: permitting("{access: Read, key: a, prefix: a}"), want: []string{"roles[0].permissions[0]", "exactly one of"}},
	{name: "a permission without access", spec: permitting("{key: a}"), want: []string{"roles[0].permissions[0].access", "Required"}},
	{name: "an unknown access", spec: permitting("{access: readwrite, key: a}"), want: []string{"permissions[0].access", `"readwrite"`, `"Read", "Write", "ReadWrite"`}},
	{name: "an empty key", spec: permitting("{access: Read, key: ''}"), want: []string{"permissions[0].key", "at least 1"}},
	{name: "an over-long key", spec: permitting("{access: Read, key: " + strings.Repeat("a", 513) + "}"), want: []string{"permissions[0].key", "may not be more than 512"}},
	{name: "an over-long prefix", spec: permitting("{access: Read, prefix: " + strings.Repeat("a", 513) + "}"), want: []string{"permissions[0].prefix", "may not be more than 512"}},
	{name: "a range without a start", spec: permitting("{access: Read, range: {end: b}}"), want: []string{"permissions[0].range.start", "Required"}},
	{name: "a range that ends where it starts", spec: permitting("{access: Read, range: {start: a, end: a}}"),
		want: []string{"permissions[0].range", "end is a, must come after start a", "in the order of their bytes"}},
	{name: "a range backwards", spec: permitting("{access: Read, range: {start: b, end: a}}"), want: []string{"end is a, must come after start b"}},
	{name: "a range to the empty key", spec: permitting("{access: Read, range: {start: a, end: ''}}"), want: []string{"permissions[0].range.end", "at least 1"}},
	{name: "a range as text", spec: permitting("{access: Read, range: 'a-b'}"), want: []string{"permissions[0].range", "object"}},
}
