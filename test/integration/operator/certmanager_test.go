//go:build integration

package operator

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// certManager starts the cert-manager that all tests share, unless it runs.
func (s *scene) certManager() {
	s.Helper()
	if err := env.StartCertManager(); err != nil {
		s.Fatalf("start cert-manager: %v", err)
	}
	s.Cleanup(func() {
		if s.Failed() {
			s.Logf("the log of cert-manager is %s", filepath.Join(env.Logs(), "cert-manager.log"))
		}
	})
}

// certManagerObject is an object of cert-manager in the scene's namespace.
func (s *scene) certManagerObject(kind, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("cert-manager.io/v1")
	object.SetKind(kind)
	object.SetNamespace(s.namespace)
	object.SetName(name)
	return object
}

// issuer makes an Issuer, which need not be able to issue.
func (s *scene) issuer(name string, spec map[string]any) {
	s.Helper()
	issuer := s.certManagerObject("Issuer", name)
	issuer.Object["spec"] = spec
	s.create(issuer)
}

// authorityIssuer makes an Issuer with an authority of its own, whose Certificate and Secret have the Issuer's name, and waits
// until it can issue. Another Issuer's name makes it an intermediate authority of that one.
func (s *scene) authorityIssuer(name string, parent ...string) {
	s.Helper()
	if len(parent) == 0 {
		parent = []string{name + "-root"}
		s.issuer(parent[0], map[string]any{"selfSigned": map[string]any{}})
	}
	s.certify(name, parent[0], func(spec map[string]any) {
		spec["isCA"], spec["commonName"] = true, name
		delete(spec, "dnsNames")
		delete(spec, "usages")
	})
	s.issued(name)
	s.issuer(name, map[string]any{"ca": map[string]any{"secretName": name}})
	s.condition("Issuer", name, "Ready", "True KeyPairVerified (Signing CA verified)")
}

// certify asks an Issuer for a certificate for servers and clients, into a Secret with the name of the Certificate. Its private
// key is another one each time.
func (s *scene) certify(name, issuer string, changes ...func(spec map[string]any)) {
	s.Helper()
	spec := map[string]any{
		"secretName": name, "issuerRef": map[string]any{"name": issuer, "kind": "Issuer"},
		"dnsNames": []any{name + ".example.com"}, "usages": []any{"digital signature", "server auth", "client auth"},
		"privateKey": map[string]any{"algorithm": "ECDSA", "rotationPolicy": "Always"},
	}
	for _, change := range changes {
		change(spec)
	}
	certificate := s.certManagerObject("Certificate", name)
	certificate.Object["spec"] = spec
	s.create(certificate)
}

// issued waits until a Certificate is ready and nothing is being issued for it, and gives what its Secret holds.
func (s *scene) issued(name string) issued {
	s.Helper()
	certificate := s.certManagerObject("Certificate", name)
	s.eventually("Certificate "+name+" is issued", patience, func() error {
		s.get(name, certificate)
		if now := conditions(certificate); now["Issuing"] != "" || now["Ready"] != "True Ready (Certificate is up to date and has not expired)" {
			return fmt.Errorf("its conditions are %q", now)
		}
		return nil
	})
	secret, err := s.secret(name)
	if err != nil {
		s.Fatal(err)
	}
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		s.Fatalf("the pair in Secret %s: %v", name, err)
	}
	return issued{Certificate: pair.Leaf, chain: secret.Data["tls.crt"], key: secret.Data["tls.key"], authority: secret.Data["ca.crt"]}
}

// renew issues a Certificate again, as `cmctl renew` does, and waits for it. What an authority has signed before it was renewed stays
// as it is until that is renewed as well.
func (s *scene) renew(name string) issued {
	s.Helper()
	certificate := s.certManagerObject("Certificate", name)
	var before int64
	s.eventually("Certificate "+name+" is to be issued again", patience, func() error {
		s.get(name, certificate)
		before, _, _ = unstructured.NestedInt64(certificate.Object, "status", "revision")
		setCondition(certificate, "Issuing", "ManuallyTriggered", "Certificate re-issuance manually triggered")
		return env.Client.Status().Update(s.Context(), certificate)
	})
	s.eventually("Certificate "+name+" is issued again", patience, func() error {
		s.get(name, certificate)
		if now, _, _ := unstructured.NestedInt64(certificate.Object, "status", "revision"); now <= before {
			return fmt.Errorf("its conditions are %q", conditions(certificate))
		}
		return nil
	})
	return s.issued(name)
}

// holdApprovals sees to it that no request for a certificate is approved in the scene's namespace.
func (s *scene) holdApprovals() {
	s.Helper()
	name := "no-approvals-" + s.namespace
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	policy.Spec.MatchConstraints = &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
		RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Update},
			Rule: admissionv1.Rule{
				APIGroups: []string{"cert-manager.io"}, APIVersions: []string{"v1"}, Resources: []string{"certificaterequests/status"},
			},
		},
	}}}
	policy.Spec.Validations = []admissionv1.Validation{{
		Expression: `!has(object.status.conditions) || !object.status.conditions.exists(c, c.type == "Approved")`,
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
	binding.Spec = admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
			MatchLabels: map[string]string{"kubernetes.io/metadata.name": s.namespace},
		}},
	}
	for _, object := range []client.Object{policy, binding} {
		s.create(object)
		s.Cleanup(func() { _ = env.Client.Delete(context.Background(), object) })
	}
	probe := s.certManagerObject("CertificateRequest", "probe")
	probe.Object["spec"] = map[string]any{"request": "cHJvYmU=", "issuerRef": map[string]any{"name": "nobody"}}
	s.create(probe)
	defer s.delete(probe)
	s.eventually("the API server refuses approvals", patience, func() error {
		s.get("probe", probe)
		setCondition(probe, "Approved", "Test", "")
		err := env.Client.Status().Update(s.Context(), probe, client.DryRunAll)
		if err == nil {
			return errors.New("it accepts them")
		}
		if !strings.Contains(err.Error(), name) {
			return err
		}
		return nil
	})
}

// deny denies the first request of a Certificate, as an approver does.
func (s *scene) deny(certificate, reason, message string) {
	s.Helper()
	request := s.certManagerObject("CertificateRequest", certificate+"-1")
	s.eventually("the request of "+certificate+" is denied", patience, func() error {
		if err := env.Client.Get(s.Context(), client.ObjectKeyFromObject(request), request); err != nil {
			return err
		}
		setCondition(request, "Denied", reason, message)
		return env.Client.Status().Update(s.Context(), request)
	})
}

// condition waits until a condition of an object of cert-manager is as told: STATUS REASON (MESSAGE).
func (s *scene) condition(kind, name, condition, want string) {
	s.Helper()
	object := s.certManagerObject(kind, name)
	s.eventually(fmt.Sprintf("the condition %s of %s %s is %s", condition, kind, name, want), patience, func() error {
		if err := env.Client.Get(s.Context(), s.key(name), object); err != nil {
			return err
		}
		if now := conditions(object); now[condition] != want {
			return fmt.Errorf("its conditions are %q", now)
		}
		return nil
	})
}

// conditions are those of an object of cert-manager, by type: STATUS REASON (MESSAGE).
func conditions(object *unstructured.Unstructured) map[string]string {
	found := map[string]string{}
	list, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, item := range list {
		c := item.(map[string]any)
		found[c["type"].(string)] = fmt.Sprintf("%v %v (%v)", c["status"], c["reason"], c["message"])
	}
	return found
}

// setCondition adds a condition to an object of cert-manager, or changes it.
func setCondition(object *unstructured.Unstructured, kind, reason, message string) {
	list, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	list = slices.DeleteFunc(list, func(item any) bool { return item.(map[string]any)["type"] == kind })
	list = append(list, map[string]any{
		"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
	})
	if err := unstructured.SetNestedSlice(object.Object, list, "status", "conditions"); err != nil {
		panic(err) // only values that are no JSON fail
	}
}

// issued is what a Secret of cert-manager holds.
type issued struct {
	*x509.Certificate
	chain, key, authority []byte
}

// certificates are how many certificates tls.crt holds.
func (i issued) certificates() int { return bytes.Count(i.chain, []byte("BEGIN CERTIFICATE")) }

// trustedBy is whether the certificate is one for its name, for servers and clients, to whoever trusts the authority.
func (i issued) trustedBy(authority []byte) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	between.AppendCertsFromPEM(i.chain)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := i.Verify(x509.VerifyOptions{
			DNSName: i.DNSNames[0], Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage},
		}); err != nil {
			return err
		}
	}
	return nil
}

// TestCertManagerIssuesAgain: what is lost comes back with another key; what an authority has signed before it was renewed stays
// as it is, with the authority of then beside it, until it is renewed as well.
func TestCertManagerIssuesAgain(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.certManager()
	s.authorityIssuer("authority")
	s.certify("leaf", "authority")
	first, authority := s.issued("leaf"), s.issued("authority")
	if err := first.trustedBy(first.authority); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(first.authority, authority.chain) || first.certificates() != 1 {
		t.Errorf("the Secret holds %d certificates and the authority\n%s\nwant one and\n%s", first.certificates(), first.authority, authority.chain)
	}

	s.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "leaf"}})
	s.eventually("the Secret comes back", patience, func() error { _, err := s.secret("leaf"); return err })
	second := s.issued("leaf")
	if err := second.trustedBy(authority.chain); err != nil || bytes.Equal(second.key, first.key) {
		t.Errorf("the Secret came back with the same key: %v; with a certificate that is trusted: %v", bytes.Equal(second.key, first.key), err)
	}

	renewed := s.renew("authority")
	if bytes.Equal(renewed.key, authority.key) {
		t.Error("the authority was renewed with its old key")
	}
	s.certify("later", "authority")
	if err := s.issued("later").trustedBy(renewed.chain); err != nil {
		t.Error(err)
	}
	if now := s.issued("leaf"); !now.Equal(second.Certificate) || !bytes.Equal(now.authority, authority.chain) {
		t.Error("the leaf was issued again, or has another authority beside it, because its authority was renewed")
	}
	third := s.renew("leaf")
	if err := third.trustedBy(renewed.chain); err != nil || !bytes.Equal(third.authority, renewed.chain) {
		t.Errorf("the leaf was renewed, and is trusted by those who trust its renewed authority: %v", err)
	}
	if third.trustedBy(authority.chain) == nil {
		t.Error("the leaf was renewed, and is still trusted by those who trust the old authority")
	}
}

// TestCertManagerChains: beside a certificate of an intermediate authority lies the root, and the intermediate in its chain; beside
// one that signed itself lies that one.
func TestCertManagerChains(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.certManager()
	s.authorityIssuer("root")
	s.authorityIssuer("intermediate", "root")
	s.certify("leaf", "intermediate")
	leaf, root := s.issued("leaf"), s.issued("root")
	if err := leaf.trustedBy(root.chain); err != nil || !bytes.Equal(leaf.authority, root.chain) || leaf.certificates() != 2 {
		t.Errorf("the Secret holds %d certificates, trusted: %v, and the authority\n%s\nwant two and\n%s", leaf.certificates(), err, leaf.authority, root.chain)
	}
	s.certify("alone", "root-root", func(spec map[string]any) { spec["commonName"] = "alone" })
	if alone := s.issued("alone"); !bytes.Equal(alone.authority, alone.chain) || alone.trustedBy(alone.chain) != nil {
		t.Errorf("the Secret holds the authority\n%s\nwant\n%s", alone.authority, alone.chain)
	}
}

// TestCertManagerWaits: a Certificate says that it is being issued, and only its request says what it waits for, which ends by
// itself; but a Certificate says that its request was denied.
func TestCertManagerWaits(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.certManager()
	const missing = "DoesNotExist (Issuing certificate as Secret does not exist)"
	s.issuer("unready", map[string]any{"ca": map[string]any{"secretName": "nothing"}})
	s.condition("Issuer", "unready", "Ready", `False ErrGetKeyPair (Error getting keypair for CA issuer: secrets "nothing" not found)`)
	for issuer, request := range map[string]string{
		"nobody":  `False Pending (Referenced "Issuer" not found: issuer.cert-manager.io "nobody" not found)`,
		"unready": "False Pending (Referenced issuer does not have a Ready status condition)",
	} {
		s.certify("for-"+issuer, issuer)
		s.condition("CertificateRequest", "for-"+issuer+"-1", "Ready", request)
		s.condition("Certificate", "for-"+issuer, "Issuing", "True "+missing)
		s.condition("Certificate", "for-"+issuer, "Ready", "False "+missing)
	}

	s.authorityIssuer("nobody")
	s.authorityIssuer("nothing")
	s.issued("for-nobody")
	s.issued("for-unready")

	s.holdApprovals()
	s.certify("unwanted", "nobody")
	s.deny("unwanted", "Policy", "Nobody may have this name")
	s.condition("CertificateRequest", "unwanted-1", "Ready", "False Denied (The CertificateRequest was denied by an approval controller)")
	s.condition("Certificate", "unwanted", "Issuing", "False Policy (The certificate request has failed to complete and will be retried: Nobody may have this name)")
	s.condition("Certificate", "unwanted", "Ready", "False "+missing)
}
