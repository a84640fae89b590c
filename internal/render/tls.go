package render

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
)

// PlainPeerPort is where members listen to each other without TLS. With it they listen on [PeerPort]: etcd cannot do both on
// one port, and between the two a cluster does both.
const PlainPeerPort = 2382

// Volumes of certificates, and where they are mounted. The certificates of authorities are in a ConfigMap that is named by its
// content: etcd reads them only when it starts, and a member keeps those that it was rolled to. The others it reads at every
// handshake, so that a Secret that changes is all that a new one takes.
const (
	TrustVolume  = "trust"
	serverVolume = "server-tls"
	peerVolume   = "peer-tls"
	tlsMount     = "/var/lib/etcd-tls"
)

// Keys of a Secret with a certificate. That of the authorities has the next one as well: the one that does not sign yet.
const (
	KeyAuthority   = "ca.crt"
	KeyCertificate = corev1.TLSCertKey
	KeyPrivate     = corev1.TLSPrivateKeyKey

	keyNextCertificate = "next.crt"
	keyNextPrivate     = "next.key"
)

// Names of users in certificates. etcd takes the common name for that of the user, once it asks who they are: the ready-made
// certificate is for a user who may do nothing unless it is declared.
const (
	serverName   = "etcd-server"
	peerName     = "etcd-peer"
	operatorName = core.RootUser
	clientName   = "client"
)

// Planes are the planes that talk TLS, or are to.
func (c Cluster) Planes() []core.PlaneName {
	var planes []core.PlaneName
	if c.Spec.Security.TLS.Client.Mode == v1alpha1.ClientTLSPermissive || c.Spec.Security.TLS.Client.Mode == v1alpha1.ClientTLSRequired {
		planes = append(planes, core.PlaneClient)
	}
	if c.Peers() != core.PeersPlain {
		planes = append(planes, core.PlanePeer)
	}
	return planes
}

// WantedPeers is how members are to talk to each other in the end.
func (c Cluster) WantedPeers() core.Peers {
	if c.Spec.Security.TLS.Peer.Mode == v1alpha1.PeerTLSRequired {
		return core.PeersTLS
	}
	return core.PeersPlain
}

// Peers is how members are to talk to each other next.
func (c Cluster) Peers() core.Peers {
	if c.PeersBoth {
		return core.PeersBoth
	}
	return c.WantedPeers()
}

func (c Cluster) talksTLS(plane core.PlaneName) bool { return slices.Contains(c.Planes(), plane) }

// AuthoritySecret is the name of the Secret with the authorities of a plane, and their keys.
func (c Cluster) AuthoritySecret(plane core.PlaneName) string {
	return fmt.Sprintf("%s-%s-ca", c.Name, plane)
}

// Secrets of certificates.
func (c Cluster) serverSecret() string { return c.Name + "-server-tls" }
func (c Cluster) peerSecret() string   { return c.Name + "-peer-tls" }

// OperatorSecret is the name of the Secret with the operator's own certificate.
func (c Cluster) OperatorSecret() string { return c.Name + "-operator-tls" }

// ClientSecret is the name of the Secret with a certificate for applications.
func (c Cluster) ClientSecret() string { return c.Name + "-client-tls" }

// Certificate is one that is wanted.
type Certificate struct {
	Secret  string
	Request pki.Request
	// From is the Secret that its source fills; empty if the operator's own authority signs it.
	From string
	// Needs is what it has to be for at least, wherever it comes from: all names that someone dials.
	Needs pki.Request
}

// Certificates are those of a plane. The first one is that of the members.
func (c Cluster) Certificates(plane core.PlaneName) []Certificate {
	if plane == core.PlanePeer {
		return c.sourced(plane, c.peerCertificate())
	}
	life := c.Spec.Security.TLS.Certificates.Duration.Duration
	certificates := []Certificate{c.serverCertificate()}
	for _, client := range []struct{ secret, user string }{{c.OperatorSecret(), operatorName}, {c.ClientSecret(), clientName}} {
		certificates = append(certificates, Certificate{Secret: client.secret, Request: pki.Request{CommonName: client.user, Life: life}})
	}
	for _, user := range c.certificateUsers() {
		certificates = append(certificates, Certificate{Secret: c.UserSecret(user), Request: pki.Request{CommonName: user, Life: life}})
	}
	return c.sourced(plane, certificates...)
}

func (c Cluster) peerCertificate() Certificate {
	names := []string{"localhost"}
	for _, domain := range []string{"svc." + c.Domain, "svc"} {
		names = append(names, fmt.Sprintf("*.%s.%s.%s", c.PeerService(), c.Namespace, domain))
	}
	life := c.Spec.Security.TLS.Certificates.Duration.Duration
	return Certificate{
		Secret:  c.peerSecret(),
		Request: pki.Request{CommonName: peerName, DNSNames: names, Server: true, Life: life},
		Needs:   pki.Request{DNSNames: names[1:2], Server: true},
	}
}

func (c Cluster) serverCertificate() Certificate {
	certificate := c.peerCertificate()
	certificate.Secret, certificate.Request.CommonName = c.serverSecret(), serverName
	service := c.ClientService() + "." + c.Namespace + ".svc." + c.Domain
	asked, addresses := c.Spec.Security.TLS.Client.DNSNames, []net.IP{}
	for _, address := range c.Spec.Security.TLS.Client.IPAddresses {
		addresses = append(addresses, net.ParseIP(address))
	}
	request, needs := &certificate.Request, &certificate.Needs
	request.DNSNames = slices.Concat(request.DNSNames, []string{c.ClientService(), c.ClientService() + "." + c.Namespace, c.ClientService() + "." + c.Namespace + ".svc", service}, asked)
	request.IPAddresses = append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, addresses...)
	needs.DNSNames, needs.IPAddresses = slices.Concat(needs.DNSNames, []string{service}, asked), addresses
	return certificate
}

// AuthorityName is what the authority of a plane calls itself.
func (c Cluster) AuthorityName(plane core.PlaneName) string {
	return fmt.Sprintf("etcd %s authority of %s/%s", plane, c.Namespace, c.Name)
}

// Secret is a Secret with a certificate and whom to trust.
func (c Cluster) Secret(name string, pair pki.Pair, trusted []byte) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: c.meta(name, c.Labels()),
		Type:       corev1.SecretTypeTLS,
		// Kubernetes wants both keys, empty as they may be.
		Data: map[string][]byte{
			KeyCertificate: slices.Concat(pair.Certificate), KeyPrivate: slices.Concat(pair.Key), KeyAuthority: trusted,
		},
	}
}

// Authorities is the Secret with the authority of a plane that signs, the next one, and whom to trust. Either may be nil, and have
// no key here. It notes since when that is so, and whether cert-manager has been asked.
func (c Cluster) Authorities(plane core.PlaneName, signs, next *pki.Authority, trusted []byte, since time.Time, requested bool) *corev1.Secret {
	var pair pki.Pair
	if signs != nil {
		pair = signs.Pair
	}
	secret := c.Secret(c.AuthoritySecret(plane), pair, trusted)
	if next != nil {
		secret.Data[keyNextCertificate], secret.Data[keyNextPrivate] = next.Certificate, next.Key
	}
	if asked := c.Annotations[AnnotationRotateAuthorities]; asked != "" {
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, AnnotationRotateAuthorities, asked)
	}
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, AnnotationSince, since.UTC().Format(time.RFC3339))
	if requested {
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, AnnotationRequested, "true")
	}
	return secret
}

// Pair is the certificate that a Secret of ours holds.
func Pair(secret *corev1.Secret) pki.Pair {
	return pki.Pair{Certificate: secret.Data[KeyCertificate], Key: secret.Data[KeyPrivate]}
}

// NextPair is the next authority that a Secret of authorities holds.
func NextPair(secret *corev1.Secret) pki.Pair {
	return pki.Pair{Certificate: secret.Data[keyNextCertificate], Key: secret.Data[keyNextPrivate]}
}

// TrustConfigMap is the name of the ConfigMap with the certificates that members trust.
func (c Cluster) TrustConfigMap() string { return fmt.Sprintf("%s-trust-%s", c.Name, hash(c.Trust)) }

// TrustKey is the key of the certificates that members trust on a plane.
func TrustKey(plane core.PlaneName) string { return string(plane) + ".crt" }

func (c Cluster) trust() *corev1.ConfigMap {
	data := map[string]string{}
	for plane, text := range c.Trust {
		data[TrustKey(plane)] = text
	}
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: c.meta(c.TrustConfigMap(), c.Labels()),
		Immutable:  ptr.To(true),
		Data:       data,
	}
}

// tlsHash stands for what members have to restart for: the modes, and whom they trust. It is empty without TLS.
func (c Cluster) tlsHash() string {
	if len(c.Planes()) == 0 {
		return ""
	}
	return fmt.Sprintf("client %s, peers %s, trust %s", c.Spec.Security.TLS.Client.Mode, c.Peers(), hash(c.Trust))
}

// tlsVolumes are the volumes of certificates, with where they are mounted.
func (c Cluster) tlsVolumes() ([]corev1.Volume, []corev1.VolumeMount) {
	var volumes []corev1.Volume
	var mounts []corev1.VolumeMount
	mode := ptr.To[int32](0o440)
	add := func(name string, source corev1.VolumeSource) {
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: source})
		mounts = append(mounts, corev1.VolumeMount{Name: name, MountPath: tlsMount + "/" + name, ReadOnly: true})
	}
	secret := func(name string) corev1.VolumeSource {
		// Without the trusted certificates: those come from the ConfigMap alone.
		items := []corev1.KeyToPath{{Key: KeyCertificate, Path: KeyCertificate}, {Key: KeyPrivate, Path: KeyPrivate}}
		return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, Items: items, DefaultMode: mode}}
	}
	if len(c.Planes()) > 0 {
		name := corev1.LocalObjectReference{Name: c.TrustConfigMap()}
		add(TrustVolume, corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: name, DefaultMode: mode}})
	}
	if c.talksTLS(core.PlaneClient) {
		add(serverVolume, secret(c.serverSecret()))
	}
	if c.talksTLS(core.PlanePeer) {
		add(peerVolume, secret(c.peerSecret()))
	}
	return volumes, mounts
}

// tlsArgs are etcd's settings for TLS (https://etcd.io/docs/v3.6/op-guide/security/). Who has a peer's key is a peer: its
// address is not compared with the names in its certificate, which would make connections depend on DNS
// (client/pkg/transport/listener_tls.go).
func (c Cluster) tlsArgs() []string {
	file := func(volume, key string) string { return tlsMount + "/" + volume + "/" + key }
	var args []string
	if c.talksTLS(core.PlaneClient) {
		args = append(args,
			"--cert-file="+file(serverVolume, KeyCertificate), "--key-file="+file(serverVolume, KeyPrivate),
			"--trusted-ca-file="+file(TrustVolume, TrustKey(core.PlaneClient)), "--client-cert-auth=true")
	}
	if c.talksTLS(core.PlanePeer) {
		skip := "--peer-skip-client-san-verification=true"
		if c.minor() == "3.5" {
			skip = "--experimental-peer-skip-client-san-verification=true"
		}
		args = append(args,
			"--peer-cert-file="+file(peerVolume, KeyCertificate), "--peer-key-file="+file(peerVolume, KeyPrivate),
			"--peer-trusted-ca-file="+file(TrustVolume, TrustKey(core.PlanePeer)), "--peer-client-cert-auth=true", skip)
	}
	return args
}

// listenClients are the URLs on which a member listens to clients. etcd tells both apart on one port.
func (c Cluster) listenClients() string {
	plain, encrypted := fmt.Sprintf("http://0.0.0.0:%d", ClientPort), fmt.Sprintf("https://0.0.0.0:%d", ClientPort)
	switch c.Spec.Security.TLS.Client.Mode {
	case v1alpha1.ClientTLSRequired:
		return encrypted
	case v1alpha1.ClientTLSPermissive:
		return plain + "," + encrypted
	case v1alpha1.ClientTLSDisabled:
	}
	return plain
}

// listenPeers are the URLs on which a member listens to other members.
func (c Cluster) listenPeers() string {
	plain, encrypted := fmt.Sprintf("http://0.0.0.0:%d", PlainPeerPort), fmt.Sprintf("https://0.0.0.0:%d", PeerPort)
	switch c.Peers() {
	case core.PeersTLS:
		return encrypted
	case core.PeersBoth:
		return plain + "," + encrypted
	case core.PeersPlain:
	}
	return plain
}

func (c Cluster) clientScheme() string {
	if c.talksTLS(core.PlaneClient) {
		return "https"
	}
	return "http"
}

// TalksTLS is whether the members that are made from a template offer TLS to clients.
func TalksTLS(pod corev1.PodSpec) bool {
	return slices.ContainsFunc(args(pod), func(arg string) bool {
		return strings.HasPrefix(arg, "--listen-client-urls=") && strings.Contains(arg, "https://")
	})
}

// PeersOf is how the members that are made from a template talk to each other.
func PeersOf(pod corev1.PodSpec) core.Peers {
	for _, arg := range args(pod) {
		if urls, is := strings.CutPrefix(arg, "--listen-peer-urls="); is {
			switch plain, encrypted := strings.Contains(urls, "http://"), strings.Contains(urls, "https://"); {
			case plain && encrypted:
				return core.PeersBoth
			case encrypted:
				return core.PeersTLS
			}
		}
	}
	return core.PeersPlain
}

// RecordPeers writes on a claim how the members of its cluster talk to each other.
func RecordPeers(claim *corev1.PersistentVolumeClaim, peers core.Peers) {
	if peers == core.PeersPlain {
		delete(claim.Annotations, AnnotationPeers)
		return
	}
	claim.Annotations[AnnotationPeers] = peers.String()
}

// RecordedPeers is how the members of a claim's cluster talk to each other. What is not understood may be either.
func RecordedPeers(claim *corev1.PersistentVolumeClaim) core.Peers {
	switch claim.Annotations[AnnotationPeers] {
	case "", core.PeersPlain.String():
		return core.PeersPlain
	case core.PeersTLS.String():
		return core.PeersTLS
	}
	return core.PeersBoth
}

func args(pod corev1.PodSpec) []string {
	for i := range pod.Containers {
		if pod.Containers[i].Name == ContainerName {
			return pod.Containers[i].Args
		}
	}
	return nil
}
