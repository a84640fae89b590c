package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/webhook"
)

const host = "hook.operators.svc"

// replicas are those of an operator, with the API server that they write to. Time passes as the test says.
type replicas struct {
	*testing.T
	client  client.Client
	now     time.Time
	keepers []*webhook.Keeper
}

func newReplicas(t *testing.T, count int) *replicas {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	configuration := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "hook"}}
	configuration.Webhooks = []admissionv1.ValidatingWebhook{{Name: "etcdclusters.etcd.etcd.io", TimeoutSeconds: new(int32(5))}}
	r := &replicas{T: t, client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(configuration).Build(), now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	for range count {
		r.keepers = append(r.keepers, r.replica())
	}
	return r
}

func (r *replicas) replica() *webhook.Keeper {
	return &webhook.Keeper{Client: r.client, Namespace: "operators", Service: "hook", Configuration: "hook", Now: func() time.Time { return r.now }}
}

func (r *replicas) secret() *corev1.Secret {
	r.Helper()
	secret := &corev1.Secret{}
	if err := r.client.Get(context.Background(), client.ObjectKey{Namespace: "operators", Name: "hook"}, secret); err != nil {
		r.Fatal(err)
	}
	return secret
}

func (r *replicas) configuration() *admissionv1.ValidatingWebhookConfiguration {
	r.Helper()
	configuration := &admissionv1.ValidatingWebhookConfiguration{}
	if err := r.client.Get(context.Background(), client.ObjectKey{Name: "hook"}, configuration); err != nil {
		r.Fatal(err)
	}
	return configuration
}

func (r *replicas) trusted() pki.Bundle {
	trusted, _ := pki.ParseBundle(r.configuration().Webhooks[0].ClientConfig.CABundle)
	return trusted
}

// look lets a replica look, and checks that what each shows is what the API server trusts.
func (r *replicas) look(n int) (stepped bool) {
	r.Helper()
	stepped, err := r.keepers[n].Look(context.Background())
	if err != nil && !apierrors.IsConflict(err) {
		r.Errorf("replica %d: %v", n, err)
	}
	r.check()
	return stepped
}

func (r *replicas) check() {
	r.Helper()
	for n, keeper := range r.keepers {
		shown, err := keeper.GetCertificate(nil)
		if err != nil {
			continue
		}
		if _, err := shown.Leaf.Verify(x509.VerifyOptions{Roots: r.trusted().Pool(), DNSName: host, CurrentTime: r.now}); err != nil {
			r.Errorf("%v: what replica %d shows is not trusted: %v", r.now, n, err)
		}
	}
}

// settle lets all replicas look until nothing is left to do.
func (r *replicas) settle() (steps int) {
	r.Helper()
	for range 20 {
		stepped := false
		for n := range r.keepers {
			stepped = r.look(n) || stepped
		}
		if !stepped {
			return steps
		}
		steps++
	}
	r.Fatal("there is always something left to do")
	return steps
}

// pass lets time pass, up to a moment.
func (r *replicas) pass(until time.Time) {
	r.Helper()
	for r.settle(); r.now.Before(until); r.settle() {
		r.now = r.now.Add(min(20*24*time.Hour, until.Sub(r.now)))
	}
}

func (r *replicas) leaf(n int) *x509.Certificate {
	r.Helper()
	shown, err := r.keepers[n].GetCertificate(nil)
	if err != nil {
		r.Fatal(err)
	}
	return shown.Leaf
}

// TestTheFirstCertificate: all replicas show the same, and the API server trusts it. After that there is nothing to do.
func TestTheFirstCertificate(t *testing.T) {
	r := newReplicas(t, 3)
	if _, err := r.keepers[0].GetCertificate(&tls.ClientHelloInfo{}); err == nil {
		t.Error("there is a certificate before there is one")
	}
	r.settle()
	before := r.secret().ResourceVersion
	r.now = r.now.Add(24 * time.Hour)
	if r.settle() != 0 || r.secret().ResourceVersion != before {
		t.Error("there is something to do without a reason")
	}
	for n := range r.keepers {
		if !r.leaf(n).Equal(r.leaf(0)) || r.leaf(n).VerifyHostname(host) != nil {
			t.Errorf("replica %d shows %v", n, r.leaf(n).DNSNames)
		}
	}
	if r.secret().Type != corev1.SecretTypeTLS || *r.configuration().Webhooks[0].TimeoutSeconds != 5 {
		t.Errorf("%s, %+v", r.secret().Type, r.configuration().Webhooks)
	}
}

// TestRenewals: over nine years nothing is ever shown that is not trusted, certificates are renewed at two thirds of their lives, and
// what has expired is trusted no more. Replicas look one after the other, and each now and then does not.
func TestRenewals(t *testing.T) {
	r := newReplicas(t, 3)
	r.settle()
	leaves, authorities, most := map[string]bool{}, map[string]bool{}, 0
	for tick, end := 0, r.now.AddDate(9, 0, 0); r.now.Before(end); tick++ {
		for n := range r.keepers {
			if tick%7 != n {
				r.look(n)
			}
		}
		if age := r.now.Sub(r.leaf(2).NotBefore); age > 63*24*time.Hour {
			t.Fatalf("a certificate is %v old", age)
		}
		leaves[r.leaf(0).SerialNumber.String()] = true
		for _, authority := range r.trusted() {
			authorities[authority.SerialNumber.String()] = true
			if r.now.After(authority.NotAfter.Add(24 * time.Hour)) {
				t.Fatalf("an authority is trusted that has expired at %v", authority.NotAfter)
			}
		}
		most = max(most, len(r.trusted()))
		// Between two changes of the authority nothing happens within hours.
		wait := 24 * time.Hour
		if len(r.secret().Data["next.crt"]) > 0 {
			wait = 10 * time.Second
		}
		r.now = r.now.Add(wait)
		r.check()
	}
	if len(leaves) < 50 || len(authorities) != 3 || most != 2 {
		t.Errorf("%d certificates, %d authorities, %d at a time", len(leaves), len(authorities), most)
	}
}

// TestANewAuthorityWaits: before it signs it is trusted, and has been for long enough that every API server knows.
func TestANewAuthorityWaits(t *testing.T) {
	r := newReplicas(t, 1)
	r.settle()
	first := r.trusted()
	r.pass(pki.RenewAt(first[0]))
	if trusted := r.trusted(); len(trusted) != 2 || !trusted.Covers(first) {
		t.Fatalf("%d are trusted", len(trusted))
	}
	if !pki.Signed(r.leaf(0), first[0]) {
		t.Error("the new authority has signed at once")
	}
	// Somebody takes it out of the configuration.
	configuration := r.configuration()
	configuration.Webhooks[0].ClientConfig.CABundle = first.PEM()
	if err := r.client.Update(context.Background(), configuration); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(time.Minute)
	if !r.look(0) || !pki.Signed(r.leaf(0), first[0]) || len(r.trusted()) != 2 {
		t.Error("an authority signs that nobody trusts")
	}
	r.settle()
	if !pki.Signed(r.leaf(0), first[0]) {
		t.Error("the new authority signs as soon as it is trusted again")
	}
	r.pass(r.now.Add(time.Minute))
	if pki.Signed(r.leaf(0), first[0]) || !r.trusted().Covers(first) {
		t.Error("the new authority does not sign, or the old one is trusted no more while a replica may show what it signed")
	}
	if len(r.secret().Data["next.key"]) > 0 {
		t.Error("there is one more authority")
	}
}

// TestWhatIsLost: whatever becomes of the Secret, it is made anew, and whoever shows the old certificate meanwhile is trusted.
func TestWhatIsLost(t *testing.T) {
	for name, spoil := range map[string]func(r *replicas, secret *corev1.Secret) error{
		"the Secret": func(r *replicas, secret *corev1.Secret) error { return r.client.Delete(context.Background(), secret) },
		"all in it": func(r *replicas, secret *corev1.Secret) error {
			secret.Data = nil
			return r.client.Update(context.Background(), secret)
		},
		"the certificate": func(r *replicas, secret *corev1.Secret) error {
			secret.Data[corev1.TLSCertKey] = []byte("nonsense")
			return r.client.Update(context.Background(), secret)
		},
		"whom to trust": func(r *replicas, secret *corev1.Secret) error {
			delete(secret.Data, "ca.crt")
			return r.client.Update(context.Background(), secret)
		},
		"the key of the authority": func(r *replicas, secret *corev1.Secret) error {
			delete(secret.Data, "signer.key")
			return r.client.Update(context.Background(), secret)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplicas(t, 2)
			r.settle()
			if err := spoil(r, r.secret()); err != nil {
				t.Fatal(err)
			}
			if r.settle() == 0 {
				t.Error("nothing was done")
			}
			r.pass(r.now.Add(time.Minute))
			if !r.leaf(0).Equal(r.leaf(1)) {
				t.Error("replicas show different certificates")
			}
			// One that starts now, and knows nothing, shows it as well.
			r.keepers = append(r.keepers, r.replica())
			r.settle()
			if !r.leaf(2).Equal(r.leaf(0)) {
				t.Error("a new replica shows another certificate")
			}
		})
	}
}

// TestAReplicaThatIsLate writes nothing that is older than what is there.
func TestAReplicaThatIsLate(t *testing.T) {
	r := newReplicas(t, 2)
	r.settle()
	r.pass(pki.RenewAt(r.trusted()[0]).Add(-time.Hour))
	r.now = r.now.Add(time.Hour)
	overtaken := &overtaking{Client: r.client, overtake: func() { _, _ = r.keepers[0].Look(context.Background()) }}
	r.keepers[1].Client = overtaken
	for range 3 {
		if _, err := r.keepers[1].Look(context.Background()); err != nil && !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
		r.check()
	}
	if overtaken.refused == 0 {
		t.Error("what was decided about something older was written")
	}
}

// overtaking lets somebody else go first right before each write.
type overtaking struct {
	client.Client
	overtake func()
	refused  int
}

func (o *overtaking) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	o.overtake()
	return o.count(o.Client.Update(ctx, object, options...))
}

func (o *overtaking) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	o.overtake()
	return o.count(o.Client.Patch(ctx, object, patch, options...))
}

func (o *overtaking) count(err error) error {
	if apierrors.IsConflict(err) {
		o.refused++
	}
	return err
}
