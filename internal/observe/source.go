package observe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// source is what the source of a plane's certificates has to give, if it is not the operator's own authority.
type source struct {
	// offered are the certificates that can be used, by the Secret that they are for.
	offered map[string]pki.Pair
	// known is whom the source says is to be trusted.
	known pki.Bundle
	// versions are those of what was read.
	versions []string
	problem  core.Problem
}

// readSource reads the Secrets that the source of a plane's certificates has filled. nil means that there is no other source than the
// operator's own authority.
func readSource(ctx context.Context, live client.Reader, c render.Cluster, plane core.PlaneName, now time.Time) (*source, error) {
	wanted := c.Certificates(plane)
	if wanted[0].From == "" {
		return nil, nil
	}
	s := &source{offered: map[string]pki.Pair{}}
	for _, certificate := range wanted {
		secret := &corev1.Secret{}
		err := live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: certificate.From}, secret)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("reading Secret %s/%s: %w", c.Namespace, certificate.From, err)
		}
		s.versions = append(s.versions, string(secret.UID)+"/"+secret.ResourceVersion)
		problem := s.take(certificate, secret, now)
		if problem != "" && c.AsksCertManager(plane) {
			problem = strings.TrimSuffix(problem+"; "+answer(ctx, live, c, certificate.Secret), "; ")
		}
		if problem != "" && s.problem.IsZero() {
			s.problem = core.Problem{Reason: core.ReasonSourceNotReady, Message: fmt.Sprintf("%s certificates: %s", plane, problem)}
		}
	}
	return s, nil
}

// take takes the certificate of a Secret down if it can be used; else it says why not.
func (s *source) take(wanted render.Certificate, secret *corev1.Secret, now time.Time) string {
	if secret.Name == "" {
		return fmt.Sprintf("Secret %s does not exist", wanted.From)
	}
	known, err := pki.ParseBundle(secret.Data[render.KeyAuthority])
	if err != nil {
		return fmt.Sprintf("Secret %s does not say in %s whom to trust: %v", wanted.From, render.KeyAuthority, err)
	}
	pair := render.Pair(secret)
	if err := known.Accepts(pair, wanted.Needs, now); err != nil {
		return fmt.Sprintf("the certificate in Secret %s cannot be used: %v", wanted.From, err)
	}
	s.offered[wanted.Secret], s.known = pair, s.known.With(known...)
	return ""
}

// answer is what cert-manager says about a certificate that it has been asked for: why it waits is on the request that it has made
// of it.
func answer(ctx context.Context, live client.Reader, c render.Cluster, name string) string {
	certificate := &unstructured.Unstructured{}
	certificate.SetGroupVersionKind(render.CertManagerCertificate)
	err := live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, certificate)
	if meta.IsNoMatchError(err) {
		return "cert-manager is not installed: there is no kind Certificate of " + render.CertManagerCertificate.GroupVersion().String()
	}
	issued, _, _ := unstructured.NestedInt64(certificate.Object, "status", "revision")
	request := &unstructured.Unstructured{}
	request.SetGroupVersionKind(render.CertManagerCertificate.GroupVersion().WithKind("CertificateRequest"))
	request.SetName(fmt.Sprintf("%s-%d", name, issued+1))
	_ = live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: request.GetName()}, request)
	for _, object := range []*unstructured.Unstructured{request, certificate} {
		if words := conditions(object); words != "" {
			return fmt.Sprintf("cert-manager says of %s %s that %s", object.GetKind(), object.GetName(), words)
		}
	}
	return fmt.Sprintf("cert-manager has not answered Certificate %s yet", name)
}

// conditions are those of an object of cert-manager that have a message.
func conditions(object *unstructured.Unstructured) string {
	list, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	var words []string
	for _, condition := range list {
		if c, is := condition.(map[string]any); is && c["message"] != nil {
			words = append(words, fmt.Sprintf("%v is %v: %v", c["type"], c["status"], c["message"]))
		}
	}
	return strings.Join(words, ", ")
}

// requestsDue compares what cert-manager has been asked for with what is wanted. Once it is not the source any more, and all
// certificates are others', it is asked for nothing.
func (p *Plane) requestsDue(ctx context.Context, live client.Reader, c render.Cluster) error {
	asks := c.AsksCertManager(p.Name)
	changing := p.Plane.Next || p.Trust != core.TrustExact || p.AuthorityDue != "" || len(p.Due) > 0
	if !asks && (!p.Requested || changing) {
		return nil
	}
	apply, withdraw, err := Requests(ctx, live, c, p.Name)
	switch {
	case meta.IsNoMatchError(err):
		// Without cert-manager the source has a problem, or nothing is left of what it was asked for.
		if !asks {
			p.RequestsDue = "cert-manager is no more"
		}
		return nil
	case err != nil:
		return err
	}
	var names []string
	for _, request := range slices.Concat(apply, withdraw) {
		names = append(names, request.GetName())
	}
	switch {
	case asks && (len(names) > 0 || !p.Requested):
		p.RequestsDue = "cert-manager is asked for what has changed: " + strings.Join(names, ", ")
	case !asks:
		p.RequestsDue = "cert-manager is asked for nothing any more"
	}
	return nil
}

// Requests are the objects that ask cert-manager for certificates of a plane: those that have to be applied, and those that have to
// go.
func Requests(ctx context.Context, live client.Reader, c render.Cluster, plane core.PlaneName) (apply, withdraw []*unstructured.Unstructured, err error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(render.CertManagerCertificate)
	if err := live.List(ctx, list, client.InNamespace(c.Namespace), client.MatchingLabels(c.RequestLabels(plane))); err != nil {
		return nil, nil, fmt.Errorf("listing the Certificates of %s/%s: %w", c.Namespace, c.Name, err)
	}
	there := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], c.EtcdCluster) {
			there[list.Items[i].GetName()] = &list.Items[i]
		}
	}
	for _, request := range c.Requests(plane) {
		applied, err := render.Applied(request)
		if err != nil {
			return nil, nil, err
		}
		if found := there[request.GetName()]; found != nil {
			holds, err := render.Holds(found, applied)
			if err != nil {
				return nil, nil, err
			}
			if holds {
				delete(there, request.GetName())
				continue
			}
		}
		delete(there, request.GetName())
		apply = append(apply, request)
	}
	for _, left := range there {
		if left.GetDeletionTimestamp() == nil {
			withdraw = append(withdraw, left)
		}
	}
	slices.SortFunc(withdraw, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return apply, withdraw, nil
}
