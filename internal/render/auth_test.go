package render_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestPermissions: as etcd writes them, each range once and in order.
func TestPermissions(t *testing.T) {
	c := plain()
	of := func(access v1alpha1.AuthAccess, key, prefix *string, from ...string) v1alpha1.AuthPermission {
		p := v1alpha1.AuthPermission{Access: access, Key: key, Prefix: prefix}
		if len(from) > 0 {
			p.Range = &v1alpha1.AuthRange{Start: from[0]}
		}
		if len(from) > 1 {
			p.Range.End = &from[1]
		}
		return p
	}
	c.Spec.Security.Auth.Roles = []v1alpha1.AuthRole{
		{Name: "b", Permissions: []v1alpha1.AuthPermission{
			of(v1alpha1.AuthRead, nil, new("/app/")),
			of(v1alpha1.AuthRead, nil, new("")),
			of(v1alpha1.AuthWrite, new("/a"), nil),
			of(v1alpha1.AuthRead, nil, nil, "x"),
			of(v1alpha1.AuthRead, nil, nil, "x", "y"),
			of(v1alpha1.AuthRead, nil, new("ü")),
			// The same as /app/, and more.
			of(v1alpha1.AuthWrite, nil, nil, "/app/", "/app0"),
		}},
		{Name: "a"},
	}
	want := []core.AuthRole{{Name: "a"}, {Name: "b", Permissions: []core.Permission{
		{Key: "\x00", RangeEnd: "\x00", Access: core.Read},
		{Key: "/a", Access: core.Write},
		{Key: "/app/", RangeEnd: "/app0", Access: core.ReadWrite},
		{Key: "x", RangeEnd: "\x00", Access: core.Read},
		{Key: "x", RangeEnd: "y", Access: core.Read},
		{Key: "ü", RangeEnd: "\xc3\xbd", Access: core.Read},
	}}}
	if got := c.AuthRoles(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

// TestCertificatesOfUsers: each user without a password has a Secret of its own; the user client that which is there anyhow. None of
// them makes its holder root.
func TestCertificatesOfUsers(t *testing.T) {
	c := plain()
	c.Spec.Security.TLS.Client.Mode = v1alpha1.ClientTLSRequired
	password := &v1alpha1.AuthPasswordSecret{Name: "s"}
	c.Spec.Security.Auth.Users = []v1alpha1.AuthUser{{Name: "web"}, {Name: "app", PasswordSecret: password}, {Name: "client"}, {Name: "a.b"}}
	var got []string
	for _, certificate := range c.Certificates(core.PlaneClient) {
		got = append(got, certificate.Secret+" "+certificate.Request.CommonName)
	}
	want := []string{
		"demo-server-tls etcd-server", "demo-operator-tls root", "demo-client-tls client", "demo-user-a.b-tls a.b", "demo-user-web-tls web",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if peers := c.Certificates(core.PlanePeer); len(peers) != 1 {
		t.Errorf("%+v", peers)
	}
}

// TestAuthRestartsNobody: users and roles are etcd's affair.
func TestAuthRestartsNobody(t *testing.T) {
	before, after := plain(), plain()
	after.Spec.Security.Auth = v1alpha1.AuthSpec{Mode: v1alpha1.AuthEnabled, Users: []v1alpha1.AuthUser{{Name: "web"}}}
	if before.MemberHash() != after.MemberHash() {
		t.Error("members are restarted")
	}
}
