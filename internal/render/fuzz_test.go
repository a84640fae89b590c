package render_test

import (
	"strings"
	"testing"
)

// FuzzMemberOf: whatever etcd lists as a peer URL, it is that of one of our members or of nobody.
func FuzzMemberOf(f *testing.F) {
	c := plain()
	f.Add(c.PeerURL("demo-0"))
	f.Add("https://demo-12-0.demo-peer.default.svc.example.org:2380")
	f.Add("http://10.9.8.7:2380")
	f.Add("http://demo--1-0.demo-peer.default.svc:2380")
	f.Fuzz(func(t *testing.T, url string) {
		member := c.MemberOf(url)
		if member == "" {
			return
		}
		if _, ours := c.Ordinal(member); !ours || c.MemberOf(c.PeerURL(member)) != member || !strings.Contains(url, member+"-0.demo-peer.default.svc") {
			t.Errorf("%q is taken for that of %q", url, member)
		}
	})
}
