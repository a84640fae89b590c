package sim

import (
	"fmt"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Authorities is a set of certificate authorities, which are numbered from 1.
type Authorities uint8

func (a Authorities) has(n uint8) bool { return n != 0 && a&(1<<n) != 0 }

func (a Authorities) with(n uint8) Authorities {
	if n == 0 {
		return a
	}
	return a | 1<<n
}

// only is the set of those that there are of two.
func only(signs, next uint8) Authorities { return Authorities(0).with(signs).with(next) }

// Leaf is a Secret with a certificate: who signed it, and the authorities that it says are to be trusted.
type Leaf struct {
	Exists, Aged bool
	By           uint8
	Trusted      Authorities
}

// Certificates are the Secrets of a plane. The model has one, of members among each other, by which the operator comes to them as
// well.
type Certificates struct {
	// Authority is whether the Secret of the authorities exists, with that which signs, the next one, and whom to trust. Asked is
	// the user's wish that the newest was made for.
	Authority   bool
	Signs, Next uint8
	Trusted     Authorities
	Asked       uint8
	// Made counts the authorities.
	Made uint8
	// Members is the members' certificate, Own the operator's.
	Members, Own Leaf
}

// Known is what the Secrets of a plane say: the authority that signs, the next one, and whom members are to trust.
type Known struct {
	Signs, Next uint8
	Trusted     Authorities
	// Lost is whether members depend on what is gone.
	Lost bool
}

// known is what internal/observe makes of the Secrets. The members' one says whom to trust as well. An authority that is not
// trusted signs nothing. If something is gone that nobody can sign, all is made anew, unless members depend on it.
func (s *State) known() Known {
	c := &s.Certificates
	k := Known{Signs: c.Signs, Next: c.Next, Trusted: c.Trusted}
	if !c.Authority && c.Members.Exists {
		k.Trusted = c.Members.Trusted
	}
	if k.Signs != 0 && !k.Trusted.has(k.Signs) {
		k.Signs, k.Next = 0, k.Signs
	}
	if k.Signs == 0 && (k.Trusted == 0 || !c.Members.Exists || !c.Own.Exists) {
		return Known{Lost: s.inUse()}
	}
	return k
}

// fresh is whether a certificate need not be made again.
func (k Known) fresh(leaf Leaf) bool { return leaf.Exists && !leaf.Aged && leaf.By == k.Signs }

// due is whether a Secret has to be written, and can be.
func (k Known) due(leaf Leaf) bool {
	return k.Signs != 0 && !k.fresh(leaf) || leaf.Exists && leaf.Trusted != k.Trusted
}

// Names of Secrets.
const (
	membersSecret = "etcd-peer-tls"
	ownSecret     = "etcd-operator-tls"
)

// stage is how members are to talk to each other next, as internal/observe works it out from the member list; and whether the
// Secrets are read for that.
func (w *World) stage(v *State) (peers core.Peers, read bool) {
	if !w.Secured {
		return core.PeersPlain, false
	}
	wanted, both := core.PeersPlain, false
	if v.Live.Cluster.TLS {
		wanted = core.PeersTLS
	}
	read = v.Live.Cluster.TLS
	for m := range v.members() {
		workload, claim := &v.Live.Members[m].Workload, &v.Live.Members[m].Claim
		other := workload.Exists && workload.Want.Peers != wanted ||
			!workload.Exists && claim.Exists && claim.Marked != 0 && !claim.Removed && claim.Peers != wanted
		read = read || other
		if v.Leader == 0 {
			both = both || other
		} else if v.list().has(m) && v.TLSURLs.has(m) != v.Live.Cluster.TLS {
			both = true
		}
	}
	if both {
		wanted = core.PeersBoth
	}
	if w.Stage != nil {
		wanted = w.Stage(v.Live.Cluster.TLS, wanted)
	}
	return wanted, read
}

// byTLS is whether members that are new are to be reached by TLS, and those that found the cluster: as they were told already.
func (s *State) byTLS(stage core.Peers) (joining, founding bool) {
	joining = s.Live.Cluster.TLS != (stage == core.PeersBoth)
	if s.Leader != 0 {
		return joining, s.TLSURLs != 0
	}
	for m := range s.members() {
		if workload := &s.Live.Members[m].Workload; workload.Exists && workload.Want.Start == core.StartBootstrap {
			return joining, workload.Want.InitialTLS
		}
	}
	return joining, joining
}

// observePlane is what the operator sees of the certificates.
func (w *World) observePlane(v *State) core.Plane {
	c, k := &v.Certificates, v.known()
	plane := core.Plane{Name: core.PlanePeer, Version: "v", Next: k.Next != 0, Presented: true}
	switch {
	case k.Lost:
		plane.Lost = "all is gone"
	case k.Trusted == 0:
		plane.AuthorityDue = "there is none"
	case k.Signs == 0 && k.Next == 0:
		plane.AuthorityDue = "there is none"
	case c.Asked != v.Live.Cluster.Rotate:
		plane.AuthorityDue = "another one is asked for"
	}
	switch {
	case k.Trusted == 0:
	case k.Next != 0 && !k.Trusted.has(k.Next):
		plane.Trust = core.TrustLacks
	case k.Trusted != only(k.Signs, k.Next):
		plane.Trust = core.TrustMore
	default:
		plane.Trust = core.TrustExact
	}
	if k.due(c.Members) {
		plane.Due = append(plane.Due, membersSecret)
	}
	if k.due(c.Own) {
		plane.Due = append(plane.Due, ownSecret)
	}
	for m := range v.members() {
		pod := &v.Live.Members[m].Pod
		if pod.Exists && pod.Phase == Running && (v.Nodes[m].Unreachable || pod.Shows != c.Members.By) {
			plane.Presented = false
		}
	}
	return plane
}

// inUse is whether there is a member that talks TLS, or will as soon as its pod is made.
func (s *State) inUse() bool {
	for m := range s.members() {
		pod, workload := &s.Live.Members[m].Pod, &s.Live.Members[m].Workload
		if pod.Exists && pod.Template.Peers != core.PeersPlain || workload.Exists && !workload.Want.Stopped && workload.Want.Peers != core.PeersPlain {
			return true
		}
	}
	return false
}

// certificateWrites is of how many writes a step for certificates consists at most.
const certificateWrites = 3

// writeCertificates is internal/act's step for certificates, or as many of its writes as there are before the operator ends.
func (w *World) writeCertificates(s *State, seen Cluster, change core.CertificateChange, writes int) bool {
	c, k := &s.Certificates, s.known()
	if k.Lost && !w.Operator.Blind {
		return false
	}
	first := k.Trusted == 0
	switch change {
	case core.MakeAuthority:
		c.Made++
		k.Trusted = k.Trusted.with(c.Made)
		if k.Next = c.Made; first {
			k.Signs, k.Next = c.Made, 0
		}
	case core.TrustAuthority:
		k.Trusted = k.Trusted.with(k.Next)
	case core.UseAuthority:
		k.Signs, k.Next = k.Next, 0
	case core.DistrustOthers:
		k.Trusted = only(k.Signs, 0)
	case core.IssueCertificates, core.RequestCertificates:
	}
	if change != core.IssueCertificates {
		c.Authority, c.Signs, c.Next, c.Trusted, c.Asked = true, k.Signs, k.Next, k.Trusted, seen.Rotate
		writes--
	}
	if first || change == core.IssueCertificates {
		c.issue(k, writes)
	}
	return true
}

// issue writes the Secrets that are due, one after the other.
func (c *Certificates) issue(k Known, writes int) {
	for _, leaf := range []*Leaf{&c.Members, &c.Own} {
		if writes <= 0 {
			return
		}
		if !k.due(*leaf) {
			continue
		}
		if k.Signs != 0 && !k.fresh(*leaf) {
			leaf.Exists, leaf.Aged, leaf.By = true, false, k.Signs
		}
		leaf.Trusted = k.Trusted
		writes--
	}
}

// movePeerURL is etcd's MemberUpdate.
func (w *World) movePeerURL(s *State, a Late) bool {
	m := int(a.Member)
	if !w.Operator.Blind && (a.Expect != s.list() || !s.Voters.has(m)) || !s.list().has(m) {
		return false
	}
	s.TLSURLs &^= 1 << m
	if a.TLS {
		s.TLSURLs |= 1 << m
	}
	return true
}

// mounts is whether a pod has the certificate that it needs. What it has once it keeps; a container that starts reads what is there.
func (s *State) mounts(pod *Pod) bool {
	if pod.Template.Peers == core.PeersPlain {
		return true
	}
	if s.Certificates.Members.Exists {
		pod.Shows = s.Certificates.Members.By
	}
	return pod.Shows != 0
}

// bringCertificate is the kubelet's part when a Secret has changed.
func bringCertificate(_ *World, s *State, m int, _ *Pass) bool {
	member := &s.Live.Members[m]
	pod, newest := &member.Pod, s.Certificates.Members
	if !pod.Exists || pod.Deleting || pod.Shows == 0 || member.Node != Present || !newest.Exists || pod.Shows == newest.By {
		return false
	}
	pod.Shows = newest.By
	return true
}

// understands is whether one who shows a certificate is let in by a pod.
func (p *Pod) understands(shows uint8) bool { return p.Template.Trust.has(shows) }

// reaches is whether the operator can talk to a member.
func (s *State) reaches(m int) bool {
	pod, own := &s.Live.Members[m].Pod, &s.Certificates.Own
	if pod.Template.Peers == core.PeersPlain {
		return true
	}
	return own.Exists && pod.understands(own.By) && s.known().Trusted.has(pod.Shows)
}

// checkUnderstood checks that all members that run understand each other where etcd lists them, and that the operator is understood.
func (s *State) checkUnderstood(p *Pass) {
	lost := s.known().Lost
	for m := range s.members() {
		pod := &s.Live.Members[m].Pod
		if !s.runs(m) || !s.hasData(m) || !s.list().has(m) {
			continue
		}
		if s.Certificates.Own.Exists && !lost && !s.reaches(m) {
			p.broke(Understood, "%s does not understand the operator, or is not understood", memberName(m))
		}
		for other := range s.members() {
			to := &s.Live.Members[other].Pod
			if other == m || !s.runs(other) || !s.hasData(other) || !s.list().has(other) {
				continue
			}
			if why := dials(pod, to, s.TLSURLs.has(other)); why != "" {
				p.broke(Understood, "%s does not come to %s: %s", memberName(m), memberName(other), why)
			}
		}
	}
}

// dials says why a member does not come to another one at the URL by which that is listed.
func dials(from, to *Pod, byTLS bool) string {
	switch {
	case !byTLS && to.Template.Peers == core.PeersTLS:
		return "it is listed without TLS, and listens to nothing else"
	case !byTLS:
		return ""
	case to.Template.Peers == core.PeersPlain:
		return "it is listed with TLS, which it does not talk"
	case from.Template.Peers == core.PeersPlain:
		return "it is listed with TLS, which the other does not talk"
	case !from.understands(to.Shows):
		return fmt.Sprintf("its certificate is by authority %d", to.Shows)
	case !to.understands(from.Shows):
		return fmt.Sprintf("the other's certificate is by authority %d", from.Shows)
	}
	return ""
}

// checkSecured checks that in the end all is as the user asks.
func (w *World) checkSecured(s *State, p *Pass) {
	c, k := &s.Certificates, s.known()
	stage, _ := w.stage(s)
	switch {
	case s.list()&^s.TLSURLs != 0 && s.Live.Cluster.TLS, s.list()&s.TLSURLs != 0 && !s.Live.Cluster.TLS, stage == core.PeersBoth:
		p.broke(Delivers, "members are not listed as the spec asks: by TLS %s", join(s.TLSURLs))
	case !s.Live.Cluster.TLS:
	case k.Signs == 0 || k.Next != 0 || k.Trusted != only(k.Signs, 0) || c.Asked != s.Live.Cluster.Rotate:
		p.broke(Delivers, "the authority is not changed: %d signs, next %d, trusted %b", k.Signs, k.Next, k.Trusted)
	case k.due(c.Members), k.due(c.Own):
		p.broke(Delivers, "certificates are due still")
	}
}

// Faults and edits.

func loseAuthorities(_ *World, s *State, _ int, _ *Pass) bool {
	c := &s.Certificates
	could := c.Authority
	c.Authority, c.Signs, c.Next, c.Trusted, c.Asked = false, 0, 0, 0, 0
	return could
}

func loseLeaf(of func(c *Certificates) *Leaf) func(*World, *State, int, *Pass) bool {
	return func(_ *World, s *State, _ int, _ *Pass) bool {
		leaf := of(&s.Certificates)
		could := leaf.Exists
		*leaf = Leaf{}
		return could
	}
}

func membersLeaf(c *Certificates) *Leaf { return &c.Members }
func ownLeaf(c *Certificates) *Leaf     { return &c.Own }

func age(_ *World, s *State, _ int, _ *Pass) bool {
	c := &s.Certificates
	could := c.Members.Exists && !c.Members.Aged
	c.Members.Aged, c.Own.Aged = c.Members.Exists, c.Own.Exists
	return could
}

// putOwnAuthority replaces the authority that signs by one that someone else has made.
func putOwnAuthority(_ *World, s *State, _ int, _ *Pass) bool {
	c := &s.Certificates
	if !c.Authority {
		return false
	}
	c.Made++
	c.Signs = c.Made
	return true
}

func setTLS(on bool) func(*World, *State, int, *Pass) bool {
	return func(w *World, s *State, m int, p *Pass) bool {
		return w.Secured && edit(func(c *Cluster) { c.TLS = on })(w, s, m, p)
	}
}
