package observe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Plane is all that there is of the certificates of a plane.
type Plane struct {
	core.Plane
	// AuthoritySecret is that of the authorities. Authority is the one that signs, Next the one that is to; nil if there is none
	// that can be used. Their keys may be elsewhere.
	AuthoritySecret *corev1.Secret
	Authority, Next *pki.Authority
	// Trusted are whom members are to trust.
	Trusted pki.Bundle
	// Secrets are those of the certificates that are wanted, by name.
	Secrets map[string]*corev1.Secret
	// Requested is whether cert-manager has been asked for certificates.
	Requested bool
	// Shown is the certificate of the members.
	Shown *x509.Certificate
	// Source is what another source than the operator's own authority has to give; nil if there is none.
	source *source
	// usage is who talks TLS on it.
	usage Usage
	// borne is whom all members that run trust; nil if none does.
	borne pki.Bundle
}

// Usage is who talks TLS on a plane.
type Usage struct {
	// Any is whether there are members that do, or will as soon as their pods are made.
	Any bool
	// Trust are the ConfigMaps with whom the members trust that have pods.
	Trust []string
}

// ReadPlane reads the Secrets of a plane, on which members talk TLS or not. What belongs to someone else, or to an earlier cluster
// of the same name, is a problem.
func ReadPlane(ctx context.Context, live client.Reader, c render.Cluster, name core.PlaneName, usage Usage, now time.Time) (Plane, error) {
	p := Plane{Plane: core.Plane{Name: name}, Secrets: map[string]*corev1.Secret{}, usage: usage}
	wanted := c.Certificates(name)
	names := []string{c.AuthoritySecret(name)}
	for _, certificate := range wanted {
		names = append(names, certificate.Secret)
	}
	var versions []string
	for _, secret := range names {
		found := &corev1.Secret{}
		err := live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: secret}, found)
		switch {
		case apierrors.IsNotFound(err):
			versions = append(versions, "")
			continue
		case err != nil:
			return Plane{}, fmt.Errorf("reading Secret %s/%s: %w", c.Namespace, secret, err)
		case ofEarlier(found, c):
			p.Leaving = true
		case !metav1.IsControlledBy(found, c.EtcdCluster):
			p.Problem = core.Problem{Reason: core.ReasonNameTaken, Message: fmt.Sprintf("Secret %s exists but does not belong to this cluster; delete or rename it", secret)}
		}
		versions = append(versions, string(found.UID)+"/"+found.ResourceVersion)
		p.Secrets[secret] = found
	}
	p.AuthoritySecret = p.Secrets[names[0]]
	delete(p.Secrets, names[0])
	if p.AuthoritySecret != nil {
		p.Requested = p.AuthoritySecret.Annotations[render.AnnotationRequested] != ""
	}
	var err error
	if p.source, err = readSource(ctx, live, c, name, now); err != nil {
		return Plane{}, err
	}
	if p.source != nil {
		p.Source, versions = p.source.problem, append(versions, p.source.versions...)
	}
	p.Version = strings.Join(versions, " ")
	if err := p.readBorne(ctx, live, c); err != nil {
		return Plane{}, err
	}
	p.readAuthorities(wanted[0].Secret, now)
	p.lose(c, wanted, now)
	p.authorityDue(c, now)
	p.ClientsUntil = p.clientsUntil(c)
	for i, certificate := range wanted {
		leaf := p.leaf(certificate)
		if p.Renews(certificate, now) || leaf != nil && !p.tellsTrust(certificate) {
			p.Due = append(p.Due, certificate.Secret)
		}
		if leaf != nil && i == 0 {
			p.Shown = leaf
		}
		if leaf != nil {
			p.expires(leaf, certificate.Secret, now)
		}
	}
	if err := p.requestsDue(ctx, live, c); err != nil {
		return Plane{}, err
	}
	return p, nil
}

// expires takes down when the first of the certificates expires. They are renewed when a third of their life is left; half of
// that later something must be wrong.
func (p *Plane) expires(c *x509.Certificate, secret string, now time.Time) {
	if p.Expires.IsZero() || c.NotAfter.Before(p.Expires) {
		p.Expires, p.First = c.NotAfter, secret
	}
	p.Expiring = p.Expiring || p.usage.Any && now.After(pki.RenewAt(c).Add(c.NotAfter.Sub(pki.RenewAt(c))/2))
}

// ofEarlier is whether an object belongs to an earlier cluster of the same name, and goes with it.
func ofEarlier(object client.Object, c render.Cluster) bool {
	owner := metav1.GetControllerOf(object)
	return owner != nil && owner.Kind == "EtcdCluster" && owner.Name == c.Name && owner.UID != c.UID
}

// readBorne reads whom the members trust that run. The ConfigMaps are named by their content, and never change.
func (p *Plane) readBorne(ctx context.Context, live client.Reader, c render.Cluster) error {
	for _, name := range p.usage.Trust {
		config := &corev1.ConfigMap{}
		if err := live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, config); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return fmt.Errorf("reading ConfigMap %s/%s: %w", c.Namespace, name, err)
		}
		bundle, err := pki.ParseBundle([]byte(config.Data[render.TrustKey(p.Name)]))
		if err != nil {
			continue // Its members do not talk TLS on this plane.
		}
		if p.borne == nil {
			p.borne = bundle
		} else {
			p.borne = slices.DeleteFunc(p.borne, func(c *x509.Certificate) bool { return !bundle.Has(c) })
		}
	}
	return nil
}

// readAuthorities reads the authorities and whom members are to trust, which the Secret of the members' certificate says as well.
// An authority that is not trusted, by what is said or by the members that run, signs nothing: someone put it there, and it is the
// next one. Until then all are trusted whom the members trust that run, whatever is said.
func (p *Plane) readAuthorities(members string, now time.Time) {
	var texts [][]byte
	if secret := p.AuthoritySecret; secret != nil {
		p.Authority = authorityOf(render.Pair(secret), now)
		p.Next = authorityOf(render.NextPair(secret), now)
		texts = append(texts, secret.Data[render.KeyAuthority])
	}
	if secret := p.Secrets[members]; secret != nil {
		texts = append(texts, secret.Data[render.KeyAuthority])
	}
	for _, text := range texts {
		if bundle, err := pki.ParseBundle(text); err == nil {
			p.Trusted = bundle
			break
		}
	}
	if p.Authority != nil && (!p.Trusted.Covers(p.Authority.Bundle) || p.borne != nil && !p.borne.Covers(p.Authority.Bundle)) {
		p.Authority, p.Next = nil, p.Authority
	}
	if p.Authority == nil {
		p.Trusted = p.Trusted.With(p.borne...)
	}
	p.Plane.Next = p.Next != nil
	p.Trust = p.compareTrust()
}

// accepts is whether whoever trusts a bundle accepts a certificate in use, as long as it is valid.
func (p *Plane) accepts(by pki.Bundle, wanted render.Certificate) bool {
	return by.Accepts(render.Pair(p.Secrets[wanted.Secret]), pki.Request{Server: wanted.Request.Server}, p.leaf(wanted).NotBefore) == nil
}

// authorityOf is the authority of a pair; nil if it cannot be used by now.
func authorityOf(pair pki.Pair, now time.Time) *pki.Authority {
	authority, err := pki.ParseAuthority(pair)
	if err != nil || slices.ContainsFunc(authority.Bundle, func(c *x509.Certificate) bool { return now.Before(c.NotBefore) }) {
		return nil
	}
	return &authority
}

func (p *Plane) compareTrust() core.Trust {
	var known pki.Bundle
	for _, authority := range []*pki.Authority{p.Authority, p.Next} {
		if authority != nil {
			known = known.With(authority.Bundle...)
		}
	}
	switch {
	case len(p.Trusted) == 0:
		return core.TrustNothing
	case p.Next != nil && !p.Trusted.Covers(p.Next.Bundle):
		return core.TrustLacks
	case !known.Covers(p.Trusted):
		return core.TrustMore
	}
	return core.TrustExact
}

// authorityDue is why there has to be another authority: for the age of the newest, since a person asked for it, or since the
// source of the certificates has another one.
func (p *Plane) authorityDue(c render.Cluster, now time.Time) {
	newest := cmp.Or(p.Next, p.Authority)
	if newest != nil {
		for _, certificate := range newest.Bundle {
			p.expires(certificate, c.AuthoritySecret(p.Name), now)
		}
	}
	if p.source != nil {
		if p.source.problem.IsZero() && (newest == nil || p.Trust == core.TrustNothing || !sameBundle(newest.Bundle, p.source.known)) {
			p.AuthorityDue = "the source of the certificates has another one"
		}
		return
	}
	asked := c.Annotations[render.AnnotationRotateAuthorities]
	switch {
	case newest == nil:
		p.AuthorityDue = "there is none"
	case p.Trust == core.TrustNothing:
		p.AuthorityDue = "none is trusted yet"
	case !newest.Signs():
		p.AuthorityDue = "the present one does not sign here"
	case p.AuthoritySecret.Annotations[render.AnnotationRotateAuthorities] != asked:
		p.AuthorityDue = fmt.Sprintf("the annotation %s asks for another one", render.AnnotationRotateAuthorities)
	case !now.Before(pki.RenewAt(newest.Bundle[0])):
		p.AuthorityDue = "two thirds of the life of the present one are over"
	}
}

// clientsUntil is until when clients are given time to follow the last change of the authorities. Members need none.
func (p *Plane) clientsUntil(c render.Cluster) time.Time {
	overlap := c.Spec.Security.TLS.Certificates.Overlap
	if p.Name != core.PlaneClient || p.AuthoritySecret == nil || overlap == nil {
		return time.Time{}
	}
	since, err := time.Parse(time.RFC3339, p.AuthoritySecret.Annotations[render.AnnotationSince])
	if err != nil {
		return time.Time{}
	}
	return since.Add(overlap.Duration)
}

func sameBundle(a, b pki.Bundle) bool { return a.Covers(b) && b.Covers(a) }

func (p *Plane) leaf(wanted render.Certificate) *x509.Certificate {
	secret := p.Secrets[wanted.Secret]
	if secret == nil {
		return nil
	}
	leaf, err := pki.ParseLeaf(render.Pair(secret))
	if err != nil {
		return nil
	}
	return leaf
}

// Renews is whether a certificate has to be made, and can be: it is missing or too old, it says something else than is asked for,
// or someone else signed it. What a source offers is taken once members trust whoever signed it.
func (p *Plane) Renews(wanted render.Certificate, now time.Time) bool {
	leaf := p.leaf(wanted)
	if pair, offered := p.offer(wanted, now); offered {
		return leaf == nil || !bytes.Equal(pair.Certificate, render.Pair(p.Secrets[wanted.Secret]).Certificate)
	}
	if p.Authority == nil || !p.Authority.Signs() || !now.Before(p.Authority.Bundle[0].NotAfter) {
		return false
	}
	return leaf == nil || !wanted.Request.Says(leaf) || !pki.Signed(leaf, p.Authority.Bundle[0]) || !now.Before(pki.RenewAt(leaf))
}

// Renew makes a certificate that has to be made.
func (p *Plane) Renew(wanted render.Certificate, now time.Time) (pki.Pair, error) {
	if pair, offered := p.offer(wanted, now); offered {
		return pair, nil
	}
	return p.Authority.Issue(wanted.Request, now)
}

// offer is what the source offers for a certificate, if members trust whoever signed it.
func (p *Plane) offer(wanted render.Certificate, now time.Time) (pki.Pair, bool) {
	if p.source == nil || p.Authority == nil {
		return pki.Pair{}, false
	}
	pair, offered := p.source.offered[wanted.Secret]
	return pair, offered && p.Authority.Bundle.Accepts(pair, wanted.Needs, now) == nil
}

// Take makes the authority of the source the next one; false if there is no other source than the operator's own authority.
func (p *Plane) Take() (pki.Authority, bool) {
	if p.source == nil {
		return pki.Authority{}, false
	}
	return pki.Elsewhere(p.source.known), true
}

// tellsTrust is whether the Secret of a certificate says whom to trust.
func (p *Plane) tellsTrust(wanted render.Certificate) bool {
	bundle, err := pki.ParseBundle(p.Secrets[wanted.Secret].Data[render.KeyAuthority])
	return err == nil && slices.Equal(bundle.PEM(), p.Trusted.PEM())
}

// lose finds out whether members depend on what nobody can make again: without the key of an authority that they trust there is no
// certificate with which one that starts, or the operator, would be understood. If no member does, all is made anew.
func (p *Plane) lose(c render.Cluster, wanted []render.Certificate, now time.Time) {
	var gone []string
	if p.Authority == nil {
		gone = append(gone, c.AuthoritySecret(p.Name))
	}
	needed := 0
	for i, certificate := range wanted {
		leaf := p.leaf(certificate)
		dead := leaf == nil || now.After(leaf.NotAfter)
		if depends := i == 0 || certificate.Secret == c.OperatorSecret(); depends && dead && !p.Renews(certificate, now) {
			gone = append(gone, certificate.Secret)
			needed++
		}
	}
	switch {
	case needed == 0 && p.Trust != core.TrustNothing:
	case p.usage.Any:
		p.Lost = "the Secrets " + strings.Join(gone, ", ") + " are gone, or hold no certificates with their keys that are valid"
	default:
		p.Authority, p.Next, p.Plane.Next, p.Trusted, p.Trust = nil, nil, false, nil, core.TrustNothing
	}
}

// UsageOf finds out who talks TLS on a plane.
func UsageOf(plane core.PlaneName, pods []corev1.Pod, workloads []appsv1.StatefulSet) Usage {
	talks := func(spec corev1.PodSpec) bool {
		if plane == core.PlanePeer {
			return render.PeersOf(spec) != core.PeersPlain
		}
		return render.TalksTLS(spec)
	}
	var usage Usage
	for i := range pods {
		if talks(pods[i].Spec) {
			usage.Any = true
			usage.Trust = append(usage.Trust, trustOf(pods[i].Spec)...)
		}
	}
	usage.Any = usage.Any || slices.ContainsFunc(workloads, func(w appsv1.StatefulSet) bool {
		return ptr.Deref(w.Spec.Replicas, 1) > 0 && talks(w.Spec.Template.Spec)
	})
	slices.Sort(usage.Trust)
	usage.Trust = slices.Compact(usage.Trust)
	return usage
}

// planes reads the certificates of all planes that talk TLS, are to, or still do.
func (o *Observer) planes(ctx context.Context, c render.Cluster, held holdings) ([]Plane, error) {
	c.PeersBoth = peersBoth(c, held, core.MemberList{})
	var planes []Plane
	for _, name := range []core.PlaneName{core.PlaneClient, core.PlanePeer} {
		usage := UsageOf(name, held.pods, held.workloads)
		if !usage.Any && !slices.Contains(c.Planes(), name) {
			continue
		}
		plane, err := ReadPlane(ctx, o.Live, c, name, usage, o.Now())
		if err != nil {
			return nil, err
		}
		planes = append(planes, plane)
	}
	return planes, nil
}

// trust is whom members are to trust, by plane.
func trust(c render.Cluster, planes []Plane) map[core.PlaneName]string {
	trusted := map[core.PlaneName]string{}
	for i := range planes {
		if slices.Contains(c.Planes(), planes[i].Name) {
			trusted[planes[i].Name] = string(planes[i].Trusted.PEM())
		}
	}
	return trusted
}

// secured are the credentials by which the operator talks to members.
type secured struct {
	own     tls.Certificate
	trusted pki.Bundle
}

// root is whether etcd takes the operator for root: by the common name of its certificate.
func (s *secured) root() bool { return s.own.Leaf.Subject.CommonName == core.RootUser }

// credentials are those by which the operator talks to members; nil if it has none.
func credentials(c render.Cluster, planes []Plane) *secured {
	for i := range planes {
		secret := planes[i].Secrets[c.OperatorSecret()]
		if secret == nil || planes[i].Trusted == nil {
			continue
		}
		pair := render.Pair(secret)
		if own, err := tls.X509KeyPair(pair.Certificate, pair.Key); err == nil {
			return &secured{own, planes[i].Trusted}
		}
	}
	return nil
}

// of gives the credentials for one member, which has to prove that it bears a name of the cluster's.
// It is dialed by its address.
func (s *secured) of(host string) *etcd.Credentials {
	version := sha256.New()
	version.Write(s.own.Certificate[0])
	version.Write(s.trusted.PEM())
	return &etcd.Credentials{Version: hex.EncodeToString(version.Sum([]byte(host))), TLS: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		Certificates:       []tls.Certificate{s.own},
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it.
		VerifyConnection:   func(state tls.ConnectionState) error { return s.trusted.Verify(state, host) },
	}}
}

// peersBoth is whether members are to listen to each other by TLS and without: as long as etcd lists one that is not reached as
// is wanted. Without the list it is not known who is: a member that is made from such a template listens to both for longer, and
// where only claims are left, as those of an earlier EtcdCluster, these say how their members were reached.
func peersBoth(c render.Cluster, held holdings, list core.MemberList) bool {
	wanted := c.WantedPeers()
	if list.Known {
		return slices.ContainsFunc(list.Members, func(l core.Listed) bool { return l.Name != "" && movesTo(c, l) != "" })
	}
	has := map[string]bool{}
	for i := range held.workloads {
		w := &held.workloads[i]
		has[w.Name] = true
		if render.PeersOf(w.Spec.Template.Spec) != wanted {
			return true
		}
	}
	return slices.ContainsFunc(held.claims, func(claim corev1.PersistentVolumeClaim) bool {
		data := claim.Annotations[render.AnnotationClusterID] != "" && claim.Annotations[render.AnnotationRemoved] != render.Removed
		return data && !has[claim.Labels[render.LabelMember]] && render.RecordedPeers(&claim) != wanted
	})
}

// movesTo is the peer URL that a member is to have if that is another one.
func movesTo(c render.Cluster, l core.Listed) string {
	wanted := c.WantedPeerURL(l.Name)
	scheme, _, _ := strings.Cut(wanted, "://")
	if strings.HasPrefix(l.PeerURL, scheme+"://") {
		return ""
	}
	return wanted
}

func moves(c render.Cluster, list core.MemberList) {
	for i := range list.Members {
		if l := &list.Members[i]; l.Name != "" {
			l.MovesTo = movesTo(c, *l)
		}
	}
}

// presented asks, while an authority is being changed, every member that runs for its certificate.
func (o *Observer) presented(ctx context.Context, c render.Cluster, planes []Plane, endpoints []etcd.Endpoint) []core.Plane {
	var all []core.Plane
	for i := range planes {
		plane := planes[i].Plane
		if !planes[i].usage.Any && !slices.Contains(c.Planes(), plane.Name) {
			continue
		}
		if plane.Trust == core.TrustMore && !plane.Next && len(plane.Due) == 0 && planes[i].Shown != nil && planes[i].signedByAuthority(c) {
			plane.Presented = o.shown(ctx, c, plane.Name, planes[i].Shown, endpoints)
		}
		all = append(all, plane)
	}
	return all
}

// signedByAuthority is whether none of the certificates in use is one of an earlier authority than the one that signs.
func (p *Plane) signedByAuthority(c render.Cluster) bool {
	return p.Authority != nil && !slices.ContainsFunc(c.Certificates(p.Name), func(wanted render.Certificate) bool {
		return p.leaf(wanted) == nil || !p.accepts(p.Authority.Bundle, wanted)
	})
}

// handshakeTimeout bounds the handshake with a member that is asked for its certificate.
const handshakeTimeout = 2 * time.Second

// shown is whether all members that run show a certificate. Nobody is trusted by that: it is only looked at.
func (o *Observer) shown(ctx context.Context, c render.Cluster, plane core.PlaneName, want *x509.Certificate, endpoints []etcd.Endpoint) bool {
	port := render.ClientPort
	if plane == core.PlanePeer {
		port = render.PeerPort
	}
	for _, endpoint := range endpoints {
		location, err := url.Parse(endpoint.Address)
		if err != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		found := Shown(ctx, net.JoinHostPort(location.Hostname(), strconv.Itoa(port)), c.Host(endpoint.Member))
		cancel()
		if found == nil || !found.Equal(want) {
			return false
		}
	}
	return len(endpoints) > 0
}

// Shown is the certificate that a server shows; nil if it shows none.
func Shown(ctx context.Context, address, name string) *x509.Certificate {
	var found *x509.Certificate
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         name,
		InsecureSkipVerify: true, //nolint:gosec // It is looked at and not trusted.
		VerifyConnection: func(state tls.ConnectionState) error {
			found = state.PeerCertificates[0]
			return nil
		},
	}}
	if connection, err := dialer.DialContext(ctx, "tcp", address); err == nil {
		_ = connection.Close()
	}
	return found
}
