package render

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// CertManagerCertificate is the kind of objects by which cert-manager is asked for certificates
// (https://cert-manager.io/docs/reference/api-docs/#cert-manager.io/v1.Certificate).
var CertManagerCertificate = schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"}

// issuer is that of cert-manager for a plane; nil if another source is asked for.
func (c Cluster) issuer(plane core.PlaneName) *v1alpha1.IssuerReference {
	tls := c.Spec.Security.TLS
	switch {
	case plane == core.PlaneClient && tls.Client.Source != nil && tls.Client.Source.CertManager != nil:
		return &tls.Client.Source.CertManager.IssuerRef
	case plane == core.PlanePeer && tls.Peer.Source != nil && tls.Peer.Source.CertManager != nil:
		return &tls.Peer.Source.CertManager.IssuerRef
	}
	return nil
}

// AsksCertManager is whether cert-manager is to issue the certificates of a plane.
func (c Cluster) AsksCertManager(plane core.PlaneName) bool { return c.issuer(plane) != nil }

// given are the Secrets with certificates that someone else makes for a plane, by those that they are for; nil if another source is
// asked for.
func (c Cluster) given(plane core.PlaneName) map[string]string {
	tls := c.Spec.Security.TLS
	switch {
	case plane == core.PlaneClient && tls.Client.Source != nil && tls.Client.Source.Secrets != nil:
		secrets := tls.Client.Source.Secrets
		return map[string]string{c.serverSecret(): secrets.Server.Name, c.OperatorSecret(): secrets.Operator.Name}
	case plane == core.PlanePeer && tls.Peer.Source != nil && tls.Peer.Source.Secrets != nil:
		return map[string]string{c.peerSecret(): tls.Peer.Source.Secrets.Member.Name}
	}
	return nil
}

// sourced says of certificates where they come from. Members never mount what a source fills, but a copy: it is used once all of
// them trust whoever signed it.
func (c Cluster) sourced(plane core.PlaneName, certificates ...Certificate) []Certificate {
	if given := c.given(plane); given != nil {
		certificates = slices.DeleteFunc(certificates, func(wanted Certificate) bool { return given[wanted.Secret] == "" })
		for i := range certificates {
			certificates[i].From = given[certificates[i].Secret]
		}
	}
	if c.issuer(plane) != nil {
		for i := range certificates {
			certificates[i].From = certificates[i].Secret + "-issued"
		}
	}
	return certificates
}

// Requests are the objects that ask cert-manager for the certificates of a plane; none if another source is asked for.
func (c Cluster) Requests(plane core.PlaneName) (requests []*unstructured.Unstructured) {
	issuer := c.issuer(plane)
	if issuer == nil {
		return nil
	}
	for _, wanted := range c.Certificates(plane) {
		usages := []any{"digital signature", "client auth"}
		if wanted.Request.Server {
			usages = append(usages, "server auth")
		}
		spec := map[string]any{
			"secretName":     wanted.From,
			"secretTemplate": map[string]any{"labels": texts(c.Labels())},
			"commonName":     wanted.Request.CommonName,
			"duration":       wanted.Request.Life.String(),
			"usages":         usages,
			"privateKey":     map[string]any{"algorithm": "ECDSA", "size": int64(256), "encoding": "PKCS8", "rotationPolicy": "Always"},
			"issuerRef":      map[string]any{"name": issuer.Name, "kind": issuer.Kind, "group": issuer.Group},
		}
		var names, addresses []any
		for _, name := range wanted.Request.DNSNames {
			names = append(names, name)
		}
		for _, address := range wanted.Request.IPAddresses {
			addresses = append(addresses, address.String())
		}
		if len(names) > 0 {
			spec["dnsNames"] = names
		}
		if len(addresses) > 0 {
			spec["ipAddresses"] = addresses
		}
		meta := c.meta(wanted.Secret, c.RequestLabels(plane))
		request := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
		request.SetGroupVersionKind(CertManagerCertificate)
		request.SetNamespace(meta.Namespace)
		request.SetName(meta.Name)
		request.SetLabels(meta.Labels)
		request.SetOwnerReferences(meta.OwnerReferences)
		requests = append(requests, request)
	}
	return requests
}

// RequestLabels are on the objects that ask cert-manager for the certificates of a plane.
func (c Cluster) RequestLabels(plane core.PlaneName) map[string]string {
	labels := c.Labels()
	labels[LabelPlane] = string(plane)
	return labels
}

func texts(labels map[string]string) map[string]any {
	all := map[string]any{}
	for key, value := range labels {
		all[key] = value
	}
	return all
}
