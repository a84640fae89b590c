package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// defaultGracePeriod is the default of spec.podTemplate.spec.terminationGracePeriodSeconds.
const defaultGracePeriod = 30

// MemberHash stands for everything that the user asked of a running member; members with another hash are rolled.
// What the operator itself puts into a pod is not part of it, and neither are fields that have their default: a newer
// operator, or a new field with a default, rolls nothing.
func (c Cluster) MemberHash() string { return c.podHash(true) }

// RestartHash is the same without CPU and memory, which Kubernetes changes on running pods.
func (c Cluster) RestartHash() string { return c.podHash(false) }

func (c Cluster) podHash(withResources bool) string {
	pod := *c.Spec.PodTemplate.Spec.DeepCopy()
	if pod.ImagePullPolicy == corev1.PullIfNotPresent {
		pod.ImagePullPolicy = ""
	}
	if grace := pod.TerminationGracePeriodSeconds; grace != nil && *grace == defaultGracePeriod {
		pod.TerminationGracePeriodSeconds = nil
	}
	if !withResources {
		pod.Resources = nil
	}
	quota := ""
	if c.Spec.Storage.AutoGrow != nil {
		// The database may use what its volume has grown by only after a restart.
		quota = c.quota()
	}
	return hash(struct {
		Image    string                          `json:"image"`
		Config   map[string]v1alpha1.ConfigValue `json:"config,omitempty"`
		Metadata v1alpha1.PodMetadata            `json:"metadata"`
		Pod      v1alpha1.PodSpec                `json:"pod"`
		Quota    string                          `json:"quota,omitempty"`
		TLS      string                          `json:"tls,omitempty"`
	}{c.Image(), c.Spec.Config, c.Spec.PodTemplate.Metadata, pod, quota, c.tlsHash()})
}

// StorageHash stands for everything that the user asked of a member's volumes.
func (c Cluster) StorageHash() string {
	storage := c.Spec.Storage
	storage.Retention, storage.AutoGrow = v1alpha1.RetentionSpec{}, nil
	return hash(storage)
}

// hash is a short hash of a value's JSON, in which maps are sorted.
func hash(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("value of type %T cannot be written as JSON: %v", value, err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:5])
}
