package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// The lives of what is made.
const (
	authorityLife = 5 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
)

// lookEvery is how often the Secret is read, and so how soon all replicas show a new certificate. lookSoon is how soon after a step.
const (
	lookEvery = 10 * time.Second
	lookSoon  = time.Second
)

// spread is how long API servers are given to hear whom they are to trust, before they are shown what that allows.
const spread = 30 * time.Second

// The keys of the Secret, beside those of the certificate that is shown: the authority that signs, the next one, and whom the API
// server is to trust.
const (
	keySigner    = "signer.crt"
	keySignerKey = "signer.key"
	keyNext      = "next.crt"
	keyNextKey   = "next.key"
	keyTrust     = "ca.crt"
)

// authorityName is the common name of the authorities.
const authorityName = "etcd-operator-webhook"

// FromFiles shows the certificate in a folder, as it is at each handshake.
func FromFiles(folder string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		shown, err := tls.LoadX509KeyPair(filepath.Join(folder, corev1.TLSCertKey), filepath.Join(folder, corev1.TLSPrivateKeyKey))
		return &shown, err
	}
}

// Keeper keeps the certificate of the webhook, which all replicas share, and what the API server trusts. Each replica has one: who
// comes second finds that what was read has changed, and looks again.
type Keeper struct {
	Client client.Client
	// Namespace is that of the operator. The Service, and the Secret of the same name, are in it.
	Namespace, Service string
	// Configuration is the ValidatingWebhookConfiguration.
	Configuration string
	Now           func() time.Time

	// shown is what this replica shows.
	shown atomic.Pointer[tls.Certificate]
	// trusted is what the configuration was seen to say, and since when. To forget it only means to wait.
	trusted []byte
	since   time.Time
}

// GetCertificate is what the server shows.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if shown := k.shown.Load(); shown != nil {
		return shown, nil
	}
	return nil, errors.New("the webhook has no certificate yet")
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: all replicas serve.
func (*Keeper) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (k *Keeper) Start(ctx context.Context) error {
	log := ctrl.Log.WithName("webhook")
	for {
		wait := lookEvery
		stepped, err := k.Look(ctx)
		switch {
		case stepped, apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
			wait = lookSoon
		case err != nil && ctx.Err() == nil:
			log.Error(err, "the webhook's certificate could not be looked after")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Look takes the next step, if one is due, and tells whether there was one. The configuration is read before the Secret, and each is
// written only if nobody else has since: so whom the configuration says to trust never becomes older. What is shown is what it trusts.
func (k *Keeper) Look(ctx context.Context) (stepped bool, err error) {
	configuration := &admissionv1.ValidatingWebhookConfiguration{}
	if err := k.Client.Get(ctx, client.ObjectKey{Name: k.Configuration}, configuration); err != nil {
		return false, fmt.Errorf("reading ValidatingWebhookConfiguration %s: %w", k.Configuration, err)
	}
	secret := &corev1.Secret{}
	err = k.Client.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: k.Service}, secret)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading Secret %s/%s: %w", k.Namespace, k.Service, err)
	}
	held, trusted := read(secret), trustedBy(configuration)
	if text := trusted.PEM(); k.since.IsZero() || !bytes.Equal(text, k.trusted) {
		k.trusted, k.since = text, k.Now()
	}
	due, err := k.due(held, trusted)
	switch {
	case err != nil:
		return false, err
	case !due.equal(held):
		return true, k.write(ctx, secret, due)
	}
	trusting := configuration.DeepCopy()
	for i := range trusting.Webhooks {
		trusting.Webhooks[i].ClientConfig.CABundle = held.trust.PEM()
	}
	if !sameTrust(trusting, configuration) {
		patch := client.StrategicMergeFrom(configuration, client.MergeFromWithOptimisticLock{})
		if err := k.Client.Patch(ctx, trusting, patch, client.FieldOwner(render.FieldManager)); err != nil {
			return false, fmt.Errorf("writing the authorities into ValidatingWebhookConfiguration %s: %w", k.Configuration, err)
		}
		return true, nil
	}
	return false, k.show(held.leaf, trusted)
}

// heard is whether all API servers have heard of whom the configuration says to trust.
func (k *Keeper) heard() bool { return k.Now().Sub(k.since) >= spread }

// show shows a certificate that the API server trusts. Who shows none, or one that has expired, has nothing to wait for.
func (k *Keeper) show(leaf pki.Pair, trusted pki.Bundle) error {
	if err := trusted.Accepts(leaf, k.request(), k.Now()); err != nil {
		return fmt.Errorf("the API server would not trust the webhook's certificate: %w", err)
	}
	before := k.shown.Load()
	if before != nil && k.Now().Before(before.Leaf.NotAfter) && !k.heard() {
		return nil
	}
	pair, err := tls.X509KeyPair(leaf.Certificate, leaf.Key)
	if err != nil {
		return err
	}
	k.shown.Store(&pair)
	metrics.WebhookShows(pair.Leaf.NotAfter)
	return nil
}

// due is what the Secret is to hold by now.
//
// An authority is followed by another one in two steps: first it is trusted as well, then, once all API servers have had the time to
// hear of that, it signs. One that has signed is trusted until it expires, and its key is forgotten: some replica may still show what it
// has signed.
func (k *Keeper) due(h held, trusted pki.Bundle) (held, error) {
	now := k.Now()
	var err error
	switch {
	case !signs(h.signer, now):
		h.next, h.trust = pki.Authority{}, h.trust.With(trusted...)
		if h.signer, err = pki.NewAuthority(authorityName, now, authorityLife); err != nil {
			return h, err
		}
	case now.Before(pki.RenewAt(h.signer.Bundle[0])):
	case !signs(h.next, now):
		if h.next, err = pki.NewAuthority(authorityName, now, authorityLife); err != nil {
			return h, err
		}
	case trusted.Covers(h.next.Bundle) && k.heard():
		h.signer, h.next = h.next, pki.Authority{}
	}
	h.trust = alive(h.trust.With(h.signer.Bundle...).With(h.next.Bundle...), now)
	leaf, err := pki.ParseLeaf(h.leaf)
	if err == nil && now.Before(pki.RenewAt(leaf)) && k.request().Says(leaf) && pki.Signed(leaf, h.signer.Bundle[0]) {
		return h, nil
	}
	h.leaf, err = h.signer.Issue(k.request(), now)
	return h, err
}

// request is what the certificate is to say: the name by which the API server knows the Service.
func (k *Keeper) request() pki.Request {
	name := k.Service + "." + k.Namespace + ".svc"
	return pki.Request{CommonName: k.Service, DNSNames: []string{name}, Server: true, Life: leafLife}
}

func (k *Keeper) write(ctx context.Context, read *corev1.Secret, due held) error {
	secret := read.DeepCopy()
	secret.Data = due.data()
	if read.ResourceVersion != "" {
		if err := k.Client.Update(ctx, secret, client.FieldOwner(render.FieldManager)); err != nil {
			return fmt.Errorf("writing Secret %s/%s: %w", k.Namespace, k.Service, err)
		}
		return nil
	}
	secret.ObjectMeta = metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Service}
	secret.Type = corev1.SecretTypeTLS
	if err := k.Client.Create(ctx, secret, client.FieldOwner(render.FieldManager)); err != nil {
		return fmt.Errorf("making Secret %s/%s: %w", k.Namespace, k.Service, err)
	}
	return nil
}

// held is what the Secret holds. What cannot be used is as if it were not there.
type held struct {
	signer, next pki.Authority
	leaf         pki.Pair
	trust        pki.Bundle
}

func read(secret *corev1.Secret) (h held) {
	of := func(certificate, key string) pki.Pair {
		return pki.Pair{Certificate: secret.Data[certificate], Key: secret.Data[key]}
	}
	h.signer, _ = pki.ParseAuthority(of(keySigner, keySignerKey))
	h.next, _ = pki.ParseAuthority(of(keyNext, keyNextKey))
	h.trust, _ = pki.ParseBundle(secret.Data[keyTrust])
	h.leaf = of(corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	return h
}

func (h held) data() map[string][]byte {
	data := map[string][]byte{
		corev1.TLSCertKey: h.leaf.Certificate, corev1.TLSPrivateKeyKey: h.leaf.Key, keyTrust: h.trust.PEM(),
		keySigner: h.signer.Certificate, keySignerKey: h.signer.Key,
	}
	if h.next.Signs() {
		data[keyNext], data[keyNextKey] = h.next.Certificate, h.next.Key
	}
	return data
}

func (h held) equal(other held) bool {
	mine, others := h.data(), other.data()
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey, keyTrust, keySigner, keySignerKey, keyNext, keyNextKey} {
		if !bytes.Equal(mine[key], others[key]) {
			return false
		}
	}
	return true
}

// signs is whether an authority can sign.
func signs(a pki.Authority, now time.Time) bool { return a.Signs() && now.Before(a.Bundle[0].NotAfter) }

// alive are the certificates of a bundle that have not expired.
func alive(bundle pki.Bundle, now time.Time) pki.Bundle {
	return slices.DeleteFunc(slices.Clone(bundle), func(c *x509.Certificate) bool { return !now.Before(c.NotAfter) })
}

// trustedBy is whom the API server trusts for all webhooks of a configuration.
func trustedBy(configuration *admissionv1.ValidatingWebhookConfiguration) pki.Bundle {
	if len(configuration.Webhooks) == 0 {
		return nil
	}
	trusted, _ := pki.ParseBundle(configuration.Webhooks[0].ClientConfig.CABundle)
	return trusted
}

func sameTrust(a, b *admissionv1.ValidatingWebhookConfiguration) bool {
	return slices.EqualFunc(a.Webhooks, b.Webhooks, func(x, y admissionv1.ValidatingWebhook) bool {
		return bytes.Equal(x.ClientConfig.CABundle, y.ClientConfig.CABundle)
	})
}
