package v1alpha1

import corev1 "k8s.io/api/core/v1"

// ServicesSpec says how clients reach the cluster.
type ServicesSpec struct {
	// Client is the Service <cluster>-client on port 2379, which leads to the voters that are ready.
	// +kubebuilder:default={}
	// +optional
	Client ClientService `json:"client,omitzero"`
}

// ClientService is the Service that clients use.
type ClientService struct {
	// Type is ClusterIP, NodePort or LoadBalancer.
	// +kubebuilder:default=ClusterIP
	// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
	// +optional
	Type corev1.ServiceType `json:"type,omitempty"`

	// Annotations are added to the Service, e.g. for a cloud's load balancer.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)`,message="spec.services.client.annotations keys must be annotation names: [prefix/]name with a name of at most 63 letters, digits, '-', '_' and '.'",messageExpression=`'spec.services.client.annotations keys must be annotation names ([prefix/]name with a name of at most 63 letters, digits, -, _ and .), not %s'.format([self.filter(k, !(k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253))])`
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !(k.startsWith('etcd.etcd.io/')))`,message="spec.services.client.annotations must not use etcd.etcd.io/: the operator owns these names",messageExpression=`'spec.services.client.annotations must not set %s: names under etcd.etcd.io/ belong to the operator'.format([self.filter(k, k.startsWith('etcd.etcd.io/'))])`
	// +optional
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}
