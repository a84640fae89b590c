package environment

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// clusterDomain ends every name of the cluster's DNS.
const clusterDomain = ".cluster.local"

// clusterRecords answers DNS questions from the pods and services of the cluster, as cluster DNS does from EndpointSlices.
// There is no kube-proxy, so that a service's name leads to its ready pods rather than to its cluster IP.
type clusterRecords struct {
	pods     corelisters.PodLister
	services corelisters.ServiceLister
	// assigned is the address of a pod whose status does not show it yet. With it a member that starts finds its own name at
	// once; etcd waits a second before it looks again.
	assigned func(types.UID) (netip.Addr, bool)
}

// records are the DNS records of the agent's pods.
func (a *nodeAgent) records() clusterRecords {
	return clusterRecords{pods: a.pods, services: a.services, assigned: a.assignedAddress}
}

// assignedAddress is the address of a pod that runs.
func (a *nodeAgent) assignedAddress(uid types.UID) (netip.Addr, bool) {
	a.mutex.Lock()
	worker := a.workers[uid]
	a.mutex.Unlock()
	if worker == nil {
		return netip.Addr{}, false
	}
	if network := worker.podNetwork(); network != nil {
		return network.address, true
	}
	return netip.Addr{}, false
}

// endpoint is a pod behind a service.
type endpoint struct {
	hostname string
	address  netip.Addr
}

// addresses are those of a name in lower case without the final dot; exists is false if the name means nothing.
func (r clusterRecords) addresses(name string) (addresses []netip.Addr, exists bool) {
	service, rest := r.serviceOf(name)
	if service == nil || len(rest) > 1 {
		return nil, false
	}
	if service.Namespace == corev1.NamespaceDefault && service.Name == "kubernetes" {
		return []netip.Addr{gatewayAddress}, len(rest) == 0
	}
	for _, endpoint := range r.endpoints(service) {
		if len(rest) == 0 || rest[0] == endpoint.hostname {
			addresses = append(addresses, endpoint.address)
		}
	}
	// A headless service without endpoints does not exist for cluster DNS; one with a cluster IP always does.
	return addresses, len(addresses) > 0 || len(rest) == 0 && !isHeadless(service)
}

// target is where an SRV record leads.
type target struct {
	name string
	port uint16
}

// targets are the SRV records of _port._protocol.service.namespace.svc.cluster.local.
func (r clusterRecords) targets(name string) []target {
	service, rest := r.serviceOf(name)
	if service == nil || len(rest) != 2 {
		return nil
	}
	var targets []target
	for _, port := range service.Spec.Ports {
		if "_"+port.Name != rest[0] || "_"+strings.ToLower(string(port.Protocol)) != rest[1] {
			continue
		}
		for _, endpoint := range r.endpoints(service) {
			targets = append(targets, target{endpoint.hostname + "." + serviceDomain(service), uint16(port.Port)})
		}
	}
	return targets
}

// names are those of the pod that has an address, in the services that list it.
func (r clusterRecords) names(address netip.Addr) (names []string) {
	services, _ := r.services.List(labels.Everything()) // a cache does not fail
	for _, service := range services {
		if !isHeadless(service) {
			continue
		}
		for _, endpoint := range r.endpoints(service) {
			if endpoint.address == address {
				names = append(names, endpoint.hostname+"."+serviceDomain(service))
			}
		}
	}
	slices.Sort(names)
	return names
}

// serviceOf finds the service of a name, and the labels in front of the service's own name.
func (r clusterRecords) serviceOf(name string) (service *corev1.Service, rest []string) {
	name, found := strings.CutSuffix(name, ".svc"+clusterDomain)
	if !found {
		return nil, nil
	}
	parts := strings.Split(name, ".")
	if len(parts) < 2 {
		return nil, nil
	}
	service, err := r.services.Services(parts[len(parts)-1]).Get(parts[len(parts)-2])
	if err != nil {
		return nil, nil
	}
	return service, parts[:len(parts)-2]
}

// endpoints are the pods of a service that are ready, or all if the service publishes unready ones, in the order of their names.
func (r clusterRecords) endpoints(service *corev1.Service) (endpoints []endpoint) {
	if len(service.Spec.Selector) == 0 {
		return nil
	}
	pods, _ := r.pods.Pods(service.Namespace).List(labels.SelectorFromSet(service.Spec.Selector)) // a cache does not fail
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for _, pod := range pods {
		address, err := netip.ParseAddr(pod.Status.PodIP)
		known := err == nil
		if !known && r.assigned != nil {
			address, known = r.assigned(pod.UID)
		}
		if !known || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		ready := hasCondition(&pod.Status, corev1.PodReady) && pod.DeletionTimestamp == nil
		if !ready && !service.Spec.PublishNotReadyAddresses {
			continue
		}
		host := strings.ReplaceAll(address.String(), ".", "-")
		if pod.Spec.Hostname != "" && pod.Spec.Subdomain == service.Name {
			host = pod.Spec.Hostname
		}
		endpoints = append(endpoints, endpoint{host, address})
	}
	return endpoints
}

func isHeadless(service *corev1.Service) bool { return service.Spec.ClusterIP == corev1.ClusterIPNone }

// serviceDomain is the full name of a service.
func serviceDomain(service *corev1.Service) string {
	return fmt.Sprintf("%s.%s.svc%s", service.Name, service.Namespace, clusterDomain)
}
