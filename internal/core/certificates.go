package core

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// PlaneName is one of the planes on which etcd talks.
type PlaneName string

// The planes: between clients and members, and between members.
const (
	PlaneClient PlaneName = "client"
	PlanePeer   PlaneName = "peer"
)

// Peers is how members talk to each other.
type Peers uint8

// Between plain TCP and TLS members listen to both.
const (
	PeersPlain Peers = iota
	PeersBoth
	PeersTLS
)

// String is the name of it, as it is in hashes and reports.
func (p Peers) String() string { return [...]string{"plain", "both", "TLS"}[p] }

// Plane is what there is of the certificates of a plane that talks TLS.
type Plane struct {
	Name PlaneName
	// Version stands for all Secrets of the plane as they were seen.
	Version string
	// AuthorityDue is why an authority has to be made; empty if none has.
	AuthorityDue string
	// RequestsDue is why cert-manager has to be asked for something else; empty if it has not.
	RequestsDue string
	// Source is why the source of the certificates does not give what is asked for. What there is stays in use.
	Source Problem
	// Trust compares whom the members are to trust with the authorities that there are.
	Trust Trust
	// Next is whether there is an authority that does not sign yet.
	Next bool
	// Due are the Secrets that have to be written: with another certificate, or with whom to trust.
	Due []string
	// ClientsUntil is until when clients are given time to follow the last change of the authorities.
	ClientsUntil time.Time
	// Presented is whether every member that runs has been seen to show the newest certificate.
	Presented bool
	// Expires is when the first certificate of a member, of the operator, or of the authority expires; First is the Secret that it is in.
	Expires time.Time
	First   string
	// Expiring is whether that is soon: it ought to have been renewed long before.
	Expiring bool
	// Leaving is whether there are still Secrets of an earlier cluster of the same name, which go with that one.
	Leaving bool
	// Lost is what is gone that cannot be made again while members run; empty if nothing is.
	Lost string
	// Problem is why nothing can be done.
	Problem Problem
}

// Trust compares a set of trusted authorities with those that there are: the one that signs, and the next one.
type Trust uint8

const (
	// TrustNothing is that there is no such set yet.
	TrustNothing Trust = iota
	// TrustLacks the next authority.
	TrustLacks
	// TrustMore than there are.
	TrustMore
	// TrustExact is those that there are and no other.
	TrustExact
)

// WriteCertificates does one step for the certificates of a plane.
type WriteCertificates struct {
	Plane PlaneName
	// Version is that of the Secrets which were decided about.
	Version string
	Change  CertificateChange
}

// CertificateChange is what is done with certificates.
type CertificateChange string

// The changes.
const (
	// RequestCertificates asks cert-manager for the certificates that are wanted, and for no others.
	RequestCertificates CertificateChange = "RequestCertificates"
	// MakeAuthority makes an authority, or takes over whom the source of the certificates says is to be trusted. The first one signs at
	// once, those after it are to be trusted as well until they do.
	MakeAuthority CertificateChange = "MakeAuthority"
	// TrustAuthority adds the next authority, which someone else made, to those that are trusted.
	TrustAuthority CertificateChange = "TrustAuthority"
	// UseAuthority lets the next authority sign.
	UseAuthority CertificateChange = "UseAuthority"
	// IssueCertificates writes the Secrets that are due.
	IssueCertificates CertificateChange = "IssueCertificates"
	// DistrustOthers takes away all authorities but the one that signs.
	DistrustOthers CertificateChange = "DistrustOthers"
)

// Step names the action.
func (a WriteCertificates) Step() string { return string(a.Change) }

// Disruptive is false: members take new certificates at their next handshake, and whom they trust when they are rolled.
func (WriteCertificates) Disruptive() bool { return false }

// MovePeerURL makes etcd list another peer URL of a member, which listens to both.
type MovePeerURL struct {
	Member, ID string
	URL        string
	// Via is the member to ask, Expect the member list that was decided on.
	Via    string
	Expect []string
}

// Step names the action.
func (MovePeerURL) Step() string { return "MovePeerURL" }

// Disruptive is true: it changes the member list.
func (MovePeerURL) Disruptive() bool { return true }

// certificates come before everything that needs them. etcd reads the authorities that it trusts only when it starts, and its
// own certificate at every handshake (client/pkg/transport/tlsutil). So whoever signs has to be trusted by all members that run:
// an authority is changed in three rounds, each when the one before has reached every member: all trust the next one as well; it
// signs; the old one is trusted no more. Whoever talks to a member that is a round behind is still understood, and the old one can
// renew certificates for as long as the first round takes. Clients are given time before the second round and before the third.
func certificates(v *view) (plan, bool) {
	var p plan
	for _, plane := range v.Planes {
		change, why := v.certificateChange(plane)
		switch {
		case plane.Leaving:
			return plan{doing: Problem{ReasonCleaningUp, "waiting until the certificates of an earlier cluster of this name are deleted"}}, true
		case plane.Lost != "":
			return plan{blocked: plane.lost()}, true
		case !plane.Problem.IsZero() && plane.Trust == TrustNothing:
			return plan{blocked: plane.Problem}, true
		case change == "" && !plane.Source.IsZero() && plane.Trust == TrustNothing:
			return plan{blocked: plane.Source}, true
		case change != "":
			p.actions = append(p.actions, WriteCertificates{Plane: plane.Name, Version: plane.Version, Change: change})
			p.doing = Problem{ReasonCertificates, fmt.Sprintf("%s certificates: %s", plane.Name, why)}
		}
	}
	return p, len(p.actions) > 0
}

func (v *view) certificateChange(plane Plane) (CertificateChange, string) {
	switch {
	case !plane.Problem.IsZero(), plane.Leaving, plane.Lost != "":
	case plane.RequestsDue != "":
		return RequestCertificates, plane.RequestsDue
	case plane.AuthorityDue != "":
		return MakeAuthority, "members are to trust another authority, since " + plane.AuthorityDue
	case plane.Trust == TrustLacks:
		return TrustAuthority, "members are to trust another authority as well"
	case len(plane.Due) > 0:
		return IssueCertificates, "written again: " + strings.Join(plane.Due, ", ")
	case v.Now.Before(plane.ClientsUntil):
	case plane.Next && v.allCurrent():
		return UseAuthority, "all members trust the next authority, which signs from now on"
	case !plane.Next && plane.Trust == TrustMore && v.allCurrent() && plane.Presented:
		return DistrustOthers, "members are to trust the old authority no more"
	}
	return "", ""
}

// lost says what a person has to do: members that run trust an authority whose key is gone, and none of them would be understood
// by the others with another certificate. All of them have to stop first.
func (plane Plane) lost() Problem {
	if plane.Lost == "" {
		return plane.Problem
	}
	return Problem{ReasonCertificatesLost, fmt.Sprintf("%s certificates: %s; members run on with what they have, but none that stops comes back: restore the Secrets, or set spec.size to 0 and then back to have all members start with new ones", plane.Name, plane.Lost)}
}

// allCurrent is whether every member runs as is asked for now.
func (v *view) allCurrent() bool {
	return !slices.ContainsFunc(v.members, func(m *memberView) bool {
		return !m.Workload.Exists() || m.outdated(v.Cluster.Spec.MemberHash) || !m.Pod.Running || m.Pod.Deleting
	})
}

// waitsForClients is whether nothing is waited for but clients that follow a change of an authority.
func (v *view) waitsForClients() bool {
	return v.allCurrent() && slices.ContainsFunc(v.Planes, func(plane Plane) bool {
		return (plane.Next || plane.Trust == TrustMore) && v.Now.Before(plane.ClientsUntil)
	})
}

// rotating says what the change of an authority waits for.
func (v *view) rotating() Problem {
	for _, plane := range v.Planes {
		switch {
		case !plane.Next && plane.Trust != TrustMore:
		case v.Now.Before(plane.ClientsUntil) && v.allCurrent():
			return Problem{ReasonCertificates, fmt.Sprintf("%s certificates: the authority changes; clients are given until %s to follow (spec.security.tls.certificates.overlap)", plane.Name, plane.ClientsUntil.UTC().Format(time.RFC3339))}
		case plane.Next || !v.allCurrent():
			return Problem{ReasonCertificates, fmt.Sprintf("%s certificates: the authority changes; waiting until all members have been restarted", plane.Name)}
		default:
			return Problem{ReasonCertificates, fmt.Sprintf("%s certificates: the authority changes; waiting until all members show their new certificate", plane.Name)}
		}
	}
	return Problem{}
}

// valid says until when the certificates are valid.
func (v *view) valid() Condition {
	c := Condition{Type: CertificatesValid, Status: True, Reason: ReasonValid}
	var until []string
	for _, plane := range v.Planes {
		text := fmt.Sprintf("%s: there are none yet", plane.Name)
		if !plane.Expires.IsZero() {
			text = fmt.Sprintf("%s: until %s (Secret %s)", plane.Name, plane.Expires.UTC().Format(time.RFC3339), plane.First)
		}
		until = append(until, text)
		switch {
		case !plane.lost().IsZero():
			c.Status, c.Reason, until = False, plane.lost().Reason, []string{plane.lost().Message}
		case !plane.Source.IsZero() && c.Status == True:
			c.Status, c.Reason, until = False, plane.Source.Reason, append(until, plane.Source.Message)
		case plane.Expiring && c.Status == True:
			c.Status, c.Reason = False, ReasonCertificateExpiring
		}
	}
	c.Message = strings.Join(until, "; ")
	return c
}

// movePeers makes etcd list where members are to be reached, one member after the other, once all of them listen there and
// can dial it. Until then members may come and go: those that are new are reached as all are that have not been moved.
func movePeers(v *view, p *plan) bool {
	m := v.toMove()
	if m == nil || v.waitsFor() != "" || !v.allCurrent() || v.leader() == nil {
		return false
	}
	p.doing = Problem{ReasonCertificates, fmt.Sprintf("members are to be reached at %s; next: %s", scheme(m.listed.MovesTo), m.Name)}
	p.actions = append(p.actions, MovePeerURL{Member: m.Name, ID: m.listed.ID, URL: m.listed.MovesTo, Via: v.leader().Name, Expect: v.listedIDs()})
	return true
}

// toMove is the first member that is to be reached at another URL.
func (v *view) toMove() *memberView {
	for _, m := range v.members {
		if v.Cluster.Spec.Peers == PeersBoth && m.listed != nil && m.listed.MovesTo != "" {
			return m
		}
	}
	return nil
}

func scheme(url string) string {
	name, _, _ := strings.Cut(url, "://")
	return name + " URLs"
}
