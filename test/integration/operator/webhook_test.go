//go:build integration

package operator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// webhookSecret is the Secret, and the Service, of the webhook of an installation.
const webhookSecret = "etcd-operator-webhook"

// warnings are those that the API server gave.
type warnings struct {
	mutex sync.Mutex
	texts []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.texts = append(w.texts, text)
}

// take are those since the last time.
func (w *warnings) take() []string {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

// person is somebody who is shown the warnings of the API server.
type person struct {
	client.Client
	warnings
}

func (s *scene) person() *person {
	s.Helper()
	p := &person{}
	config := rest.CopyConfig(env.Config)
	config.WarningHandler = &p.warnings
	var err error
	if p.Client, err = client.New(config, client.Options{Scheme: env.Client.Scheme()}); err != nil {
		s.Fatal(err)
	}
	return p
}

// configuration is that of the installation's webhook.
func (i *installation) configuration() *admissionv1.ValidatingWebhookConfiguration {
	i.Helper()
	configuration := &admissionv1.ValidatingWebhookConfiguration{}
	if err := env.Client.Get(i.Context(), client.ObjectKey{Name: i.namespace + "-etcd-operator"}, configuration); err != nil {
		i.Fatal(err)
	}
	return configuration
}

// trusted is whom the API server trusts for the webhook.
func (i *installation) trusted() pki.Bundle {
	trusted, _ := pki.ParseBundle(i.configuration().Webhooks[0].ClientConfig.CABundle)
	return trusted
}

// try makes something without storing it.
func (p *person) try(ctx context.Context, cluster *v1alpha1.EtcdCluster) ([]string, error) {
	p.take()
	err := p.Create(ctx, cluster, client.DryRunAll)
	return p.take(), err
}

// answers waits until the webhook is asked, and answers: it has something to say of a class that does not exist.
func (i *installation) answers(s *scene, p *person) {
	i.Helper()
	missing := "nothing"
	i.eventually("the webhook answers", patience, func() error {
		got, err := p.try(i.Context(), s.demo(1, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.StorageClassName = &missing }))
		if err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "StorageClass nothing does not exist: make it, or set spec.storage.storageClassName to one of: ") {
			return errors.Join(fmt.Errorf("the warnings are %q", got), err)
		}
		return nil
	})
}

// loseWebhookCertificate damages the certificate of the webhook; the operator makes another one.
func (i *installation) loseWebhookCertificate() {
	i.Helper()
	secret := &corev1.Secret{}
	damaged := []byte("nonsense")
	i.eventually("the certificate of the webhook is damaged", patience, func() error {
		if err := env.Client.Get(i.Context(), i.key(webhookSecret), secret); err != nil {
			return err
		}
		secret.Data[corev1.TLSCertKey] = damaged
		return env.Client.Update(i.Context(), secret)
	})
	i.eventually("there is another one", patience, func() error {
		i.get(webhookSecret, secret)
		_, err := pki.ParseLeaf(pki.Pair{Certificate: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey]})
		return err
	})
}

// TestTheWebhook: it refuses what a cluster can never become, and warns of what there is not, in the words of conditions. Who changes
// nothing of the spec, and who deletes, hears nothing of it. When it is gone it is in nobody's way.
func TestTheWebhook(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	class := s.storageClass(false)
	i := s.install("webhook.enabled=true", "replicas=2")
	p := s.person()
	i.answers(s, p)

	s.checkWarningsAtCreation(p)
	growing := func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.StorageClassName = &class }
	s.running(1, growing)
	s.sealed()
	s.checkReviewedChanges(p, class)

	i.stop()
	missing := "nothing"
	i.eventually("a webhook that is down lets everything through", patience, func() error {
		got, err := p.try(s.Context(), s.named("other", func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.StorageClassName = &missing }))
		if err != nil || slices.ContainsFunc(got, func(text string) bool { return strings.Contains(text, "does not exist") }) {
			return errors.Join(fmt.Errorf("the warnings are %q", got), err)
		}
		return nil
	})
	cluster := s.cluster()
	cluster.Spec.Paused = true
	if err := p.Update(s.Context(), cluster); err != nil {
		t.Errorf("while the webhook is down: %v", err)
	}
}

// named is an EtcdCluster of another name.
func (s *scene) named(name string, changes ...func(*v1alpha1.EtcdClusterSpec)) *v1alpha1.EtcdCluster {
	cluster := s.demo(1, changes...)
	cluster.Name = name
	return cluster
}

func (s *scene) checkWarningsAtCreation(p *person) {
	s.Helper()
	s.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "taken-client"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}},
	})
	got, err := p.try(s.Context(), s.named("taken", func(spec *v1alpha1.EtcdClusterSpec) {
		spec.PodTemplate.Spec.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "gone"}, Key: "a",
		}}}}
		spec.PodTemplate.Spec.Volumes = []v1alpha1.Volume{{Name: "files", ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "lost"}}}}
		spec.Security.Auth = v1alpha1.AuthSpec{Mode: v1alpha1.AuthEnabled, Users: []v1alpha1.AuthUser{{Name: "a", PasswordSecret: &v1alpha1.AuthPasswordSecret{Name: "nowhere", Key: "password"}}}}
		spec.Security.TLS.Peer = v1alpha1.PeerTLS{Mode: v1alpha1.PeerTLSRequired, Source: &v1alpha1.PeerCertificateSource{
			Secrets: &v1alpha1.PeerCertificateSecrets{Member: v1alpha1.CertificateSecret{Name: "given"}},
		}}
	}))
	want := []string{
		"Service taken-client exists but does not belong to this cluster: delete or rename it, or choose another name for the cluster",
		"Secret gone, which spec.podTemplate.spec.env names, does not exist: make it",
		"ConfigMap lost, which spec.podTemplate.spec.volumes names, does not exist: make it",
		"the password of user a is missing: Secret nowhere does not exist",
		"peer certificates: Secret given does not exist",
	}
	if err != nil || !slices.Equal(got, want) {
		s.Errorf("a cluster with nothing that it needs: %v\ngot  %q\nwant %q", err, got, want)
	}
}

// checkReviewedChanges changes a cluster that runs.
func (s *scene) checkReviewedChanges(p *person, class string) {
	s.Helper()
	change := func(change func(*v1alpha1.EtcdCluster), options ...client.UpdateOption) (got []string, err error) {
		s.eventually("the change is decided", patience, func() error {
			cluster := s.cluster()
			change(cluster)
			p.take()
			if err = p.Update(s.Context(), cluster, options...); err != nil && strings.Contains(err.Error(), "the object has been modified") {
				return err
			}
			got = p.take()
			return nil
		})
		return got, err
	}
	got, err := change(func(c *v1alpha1.EtcdCluster) { c.Spec.Storage.Size = new(resource.MustParse("2Gi")) }, client.DryRunAll)
	want := "1 members are exchanged one by one, demo-0 first: claim data-demo-0-0 has 1Gi, 2Gi is asked for, and its StorageClass " + class + " does not let it grow"
	if err != nil || !slices.Equal(got, []string{want}) {
		s.Errorf("a size that volumes cannot grow to: %v\ngot  %q\nwant %q", err, got, want)
	}
	// The definition compares with the spec before, which is not what runs.
	if got, err := change(func(c *v1alpha1.EtcdCluster) { c.Spec.Paused = true }); err != nil || len(got) > 0 {
		s.Errorf("a pause: %q, %v", got, err)
	}
	if got, err := change(func(c *v1alpha1.EtcdCluster) { c.Spec.Version = "3.5.33" }); err != nil || len(got) > 0 {
		s.Errorf("a downgrade: %q, %v", got, err)
	}
	const refused = "spec.version is 3.5.20 but a member runs 3.6.16, from which etcd goes back to 3.5.26 or a later 3.5 only; set it to one of these"
	if _, err := change(func(c *v1alpha1.EtcdCluster) { c.Spec.Version = "3.5.20" }); err == nil || !strings.Contains(err.Error(), refused) {
		s.Errorf("a downgrade that is too far, amid another: %v, want %s", err, refused)
	}
	if got, err := change(func(c *v1alpha1.EtcdCluster) { c.Spec.Version, c.Spec.Paused = version, false }); err != nil || len(got) > 0 {
		s.Errorf("back: %q, %v", got, err)
	}
	s.settled()
	if got, err := change(func(c *v1alpha1.EtcdCluster) { c.Labels = map[string]string{"a": "b"} }); err != nil || len(got) > 0 {
		s.Errorf("a label: %q, %v", got, err)
	}
}

// TestTheWebhookAmidARestore: one restore at a time; what it rests on stays as it is, and so does what it notes. All of it is free again
// once it is over. What an EtcdRestore names need not be there.
func TestTheWebhookAmidARestore(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	i := s.install("webhook.enabled=true")
	p := s.person()
	store := s.store()
	i.answers(s, p)
	s.running(1, func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Backup, spec.Storage.Retention.WhenDeleted = &v1alpha1.BackupSpec{Store: store}, v1alpha1.RetentionRetain
	})
	s.sealed()
	s.put("key", "before")
	s.backup("good")
	s.becomes("good", "Completed", "Verified", metav1.ConditionTrue)
	s.put("key", "after")

	waits := s.restore("waits", "nothing")
	s.restoreIs("waits", "Pending", "EtcdBackup nothing, which spec.backupRef names, does not exist: make it")
	s.isRefused("a second restore", func() error { return p.Create(s.Context(), s.undo("second", "good")) },
		"EtcdRestore waits into EtcdCluster demo is not over (Pending): wait until it is, or delete it")
	if err := s.changed(p, size(3), client.DryRunAll); err != nil {
		t.Errorf("before the restore begins: %v", err)
	}
	s.delete(waits)
	s.gone(waits)

	// It never ends by itself: nobody has the image of its agents.
	undo := s.undo("undo", "good")
	undo.Spec.Agent = &v1alpha1.AgentSpec{Repository: "example.com/nowhere"}
	s.create(undo)
	s.restoreIs("undo", "Filling")
	s.checkAmidARestore(p)

	// Without the webhook a second one waits, and says the same. The operator is told nothing.
	operator, err := client.New(access(i.token), client.Options{Scheme: env.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.Create(s.Context(), s.undo("second", "good")); err != nil {
		t.Fatal(err)
	}
	s.restoreIs("second", "Pending", inFlight)
	s.delete(undo)
	s.gone(undo)
	s.restoreIs("second", "Completed", "1 keys")
	s.settled()
	s.holds("key", "before")
	if err := s.changed(p, size(3), client.DryRunAll); err != nil {
		t.Errorf("after the restore: %v", err)
	}
}

const inFlight = "EtcdRestore undo into EtcdCluster demo is not over (Filling): wait until it is, or delete it"

// undo is an EtcdRestore of the cluster that makes no safety backup.
func (s *scene) undo(name, backup string) *v1alpha1.EtcdRestore {
	restore := &v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	restore.Spec.ClusterRef.Name, restore.Spec.BackupRef.Name, restore.Spec.SafetyBackup = "demo", backup, v1alpha1.SafetySkip
	return restore
}

// changed changes the cluster's spec, as somebody does.
func (s *scene) changed(p *person, change func(*v1alpha1.EtcdClusterSpec), options ...client.UpdateOption) error {
	return s.rewritten(p, func(c *v1alpha1.EtcdCluster) { change(&c.Spec) }, options...)
}

// rewritten changes the cluster, as somebody does, and is what that is refused with.
func (s *scene) rewritten(p *person, change func(*v1alpha1.EtcdCluster), options ...client.UpdateOption) (refused error) {
	s.Helper()
	s.eventually("the change is decided", patience, func() error {
		cluster := s.cluster()
		change(cluster)
		if refused = p.Update(s.Context(), cluster, options...); apierrors.IsConflict(refused) {
			return refused
		}
		return nil
	})
	return refused
}

// isRefused checks that something is refused with these words.
func (s *scene) isRefused(what string, do func() error, words string) {
	s.Helper()
	if err := do(); err == nil || !strings.Contains(err.Error(), words) {
		s.Errorf("%s: %v\nwant %s", what, err, words)
	}
}

// checkAmidARestore tries what the restore undo, which fills the volumes, cannot stand.
func (s *scene) checkAmidARestore(p *person) {
	s.Helper()
	for what, test := range map[string]struct {
		do    func() error
		words string
	}{
		"another size":    {func() error { return s.changed(p, size(3)) }, "spec.size cannot be changed from 1 to 3: " + inFlight},
		"another version": {func() error { return s.changed(p, func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.7.3" }) }, "spec.version cannot be changed from " + version + " to 3.7.3: " + inFlight},
		"kubectl scale": {func() error {
			scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 3}}
			return p.SubResource("scale").Update(s.Context(), s.cluster(), client.WithSubResourceBody(scale))
		}, "spec.size cannot be changed from 1 to 3: " + inFlight},
		"a hold that is taken": {func() error {
			return s.rewritten(p, func(c *v1alpha1.EtcdCluster) { delete(c.Annotations, render.AnnotationRestore) })
		}, "metadata.annotations[etcd.etcd.io/restore] is taken away by the operator only: " + inFlight},
		"what it rests on": {func() error {
			return s.rewritten(p, func(c *v1alpha1.EtcdCluster) { delete(c.Annotations, render.AnnotationRestoreRestsOn) })
		}, "metadata.annotations[etcd.etcd.io/restore-rests-on] is taken away by the operator only: " + inFlight},
		"data that is claimed": {func() error {
			return s.rewritten(p, func(c *v1alpha1.EtcdCluster) { c.Annotations[render.AnnotationRestoredClusterID] = "aaaa" })
		}, `cannot be changed from "" to "aaaa": leave it as it is`},
		"a deletion":       {func() error { return p.Delete(s.Context(), s.cluster()) }, "EtcdCluster demo cannot be deleted while its volumes, which stay, may have the data of two clusters: " + inFlight},
		"a second restore": {func() error { return p.Create(s.Context(), s.undo("second", "good")) }, inFlight},
		"a hold from the beginning": {func() error {
			held := s.named("held")
			held.Annotations = map[string]string{render.AnnotationRestore: "mine"}
			return p.Create(s.Context(), held, client.DryRunAll)
		}, "metadata.annotations[etcd.etcd.io/restore] is set by the operator only"},
	} {
		s.isRefused(what, test.do, test.words)
	}
	// Neither wrong nor vain.
	if err := s.rewritten(p, func(c *v1alpha1.EtcdCluster) {
		c.Labels, c.Spec.Services.Client.Annotations = map[string]string{"a": "b"}, nil
	}); err != nil {
		s.Errorf("a label: %v", err)
	}
	for _, pause := range []bool{true, false} {
		if err := s.changed(p, func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = pause }); err != nil {
			s.Errorf("a pause: %v", err)
		}
	}
}

// TestTheWebhooksCertificate is renewed, and so is its authority, while the API server asks and while others connect: nobody is left
// without an answer, and nobody is shown what the configuration does not say to trust.
func TestTheWebhooksCertificate(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	i := s.install("webhook.enabled=true", "replicas=2")
	p := s.person()
	i.answers(s, p)
	i.eventually("both replicas serve", patience, func() error {
		if addresses := i.addresses(); len(addresses) != 2 {
			return fmt.Errorf("the addresses are %v", addresses)
		}
		_, err := i.shown()
		return err
	})
	stop := i.asks(s, p)
	defer stop()

	// A certificate that was made when it is due by now.
	first := i.signer()
	worn, err := first.Issue(pki.Request{
		CommonName: webhookSecret, DNSNames: []string{webhookSecret + "." + i.namespace + ".svc"}, Server: true, Life: 3 * time.Hour,
	}, time.Now().Add(-2*time.Hour-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	before, err := i.shown()
	if err != nil {
		t.Fatal(err)
	}
	i.changeSecret(map[string][]byte{corev1.TLSCertKey: worn.Certificate, corev1.TLSPrivateKeyKey: worn.Key})
	i.eventually("both replicas show a new certificate of the same authority", patience, func() error {
		shown, err := i.shown()
		if err == nil && (shown.Equal(before) || shown.NotAfter.Before(time.Now().Add(24*time.Hour)) || !pki.Signed(shown, first.Bundle[0])) {
			err = fmt.Errorf("they show number %d, valid until %v", shown.SerialNumber, shown.NotAfter)
		}
		return err
	})

	// An authority that is to be followed by another one.
	due, err := pki.NewAuthority("etcd-operator-webhook", time.Now().Add(-9*time.Hour), 12*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	i.changeSecret(map[string][]byte{
		"signer.crt": due.Certificate, "signer.key": due.Key, "ca.crt": first.Bundle.With(due.Bundle...).PEM(),
	})
	i.eventually("both replicas show a certificate of the next authority", longPatience, func() error {
		shown, err := i.shown()
		if err == nil && (pki.Signed(shown, first.Bundle[0]) || pki.Signed(shown, due.Bundle[0])) {
			err = fmt.Errorf("it is signed by an earlier one; %d are trusted", len(i.trusted()))
		}
		return err
	})
	stop()
	if trusted := i.trusted(); len(trusted) != 3 || !trusted.Covers(first.Bundle) || !trusted.Covers(due.Bundle) {
		t.Errorf("%d authorities are trusted", len(trusted))
	}
}

// addresses are those of the replicas.
func (i *installation) addresses() (addresses []string) {
	i.Helper()
	var pods corev1.PodList
	if err := env.Client.List(i.Context(), &pods, client.InNamespace(i.namespace)); err != nil {
		i.Fatal(err)
	}
	for n := range pods.Items {
		if ip := pods.Items[n].Status.PodIP; ip != "" {
			addresses = append(addresses, net.JoinHostPort(ip, "9443"))
		}
	}
	return addresses
}

// shown is the certificate that all replicas show, to whoever trusts whom the configuration says.
func (i *installation) shown() (*x509.Certificate, error) {
	var shown *x509.Certificate
	for _, address := range i.addresses() {
		dialer := tls.Dialer{Config: &tls.Config{
			RootCAs: i.trusted().Pool(), ServerName: webhookSecret + "." + i.namespace + ".svc", MinVersion: tls.VersionTLS12,
		}}
		connection, err := dialer.DialContext(i.Context(), "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("replica %s: %w", address, err)
		}
		leaf := connection.(*tls.Conn).ConnectionState().PeerCertificates[0]
		_ = connection.Close()
		if shown != nil && !shown.Equal(leaf) {
			return nil, errors.New("the replicas show different certificates")
		}
		shown = leaf
	}
	return shown, nil
}

// signer is the authority that signs.
func (i *installation) signer() pki.Authority {
	i.Helper()
	secret := &corev1.Secret{}
	i.get(webhookSecret, secret)
	signer, err := pki.ParseAuthority(pki.Pair{Certificate: secret.Data["signer.crt"], Key: secret.Data["signer.key"]})
	if err != nil {
		i.Fatal(err)
	}
	return signer
}

// changeSecret changes the Secret of the webhook.
func (i *installation) changeSecret(data map[string][]byte) {
	i.Helper()
	i.eventually("the Secret of the webhook is changed", patience, func() error {
		secret := &corev1.Secret{}
		i.get(webhookSecret, secret)
		maps.Copy(secret.Data, data)
		return env.Client.Update(i.Context(), secret)
	})
}

// asks keeps asking the webhook, by way of the API server, and connects to the replicas.
func (i *installation) asks(s *scene, p *person) (stop func()) {
	ctx, cancel := context.WithCancel(i.Context())
	var asking sync.WaitGroup
	asked, connected := 0, 0
	missing := "nothing"
	cluster := s.demo(1, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.StorageClassName = &missing })
	each := func(do func()) {
		asking.Go(func() {
			for ticker := time.NewTicker(100 * time.Millisecond); ; {
				select {
				case <-ctx.Done():
					ticker.Stop()
					return
				case <-ticker.C:
					do()
				}
			}
		})
	}
	each(func() {
		asked++
		if got, err := p.try(i.Context(), cluster.DeepCopy()); err != nil || len(got) != 1 {
			i.Errorf("request %d: warnings %q, error %v", asked, got, err)
		}
	})
	each(func() {
		connected++
		if _, err := i.shown(); err != nil && !strings.Contains(err.Error(), "different certificates") {
			i.Errorf("connection %d: %v", connected, err)
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		asking.Wait()
		i.Logf("%d requests, %d rounds of connections", asked, connected)
	})
}
