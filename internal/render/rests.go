package render

import (
	"encoding/json"
	"fmt"

	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// Rests is what an EtcdRestore rests on until nothing can be rolled back any more: which members it has filled, with what of their
// volumes, by which programs, and how they reach each other and are asked. What is not here makes a restore neither wrong nor vain: the
// pods' template may even be what lets it go on.
type Rests struct {
	// Restore is its name.
	Restore string `json:"restore"`
	// Size is the number of members that it has filled. It is left out of a cluster that hibernates, which has to wake to be restored.
	Size    int32                `json:"size,omitempty"`
	Version string               `json:"version"`
	Storage v1alpha1.StorageSpec `json:"storage"`
	TLS     v1alpha1.TLSSpec     `json:"tls"`
	Auth    v1alpha1.AuthSpec    `json:"auth"`
}

// RestsOf is what a restore rests on in a spec.
func RestsOf(restore string, spec *v1alpha1.EtcdClusterSpec) Rests {
	r := Rests{Restore: restore, Size: ptr.Deref(spec.Size, 0), Version: spec.Version, Storage: spec.Storage, TLS: spec.Security.TLS, Auth: spec.Security.Auth}
	r.Storage.Retention = v1alpha1.RetentionSpec{} // It is about deletions.
	return r
}

// Note notes it on an EtcdCluster. What was noted before for the same restore counts, but for the size: members come and go until they
// have stopped.
func (r Rests) Note(notes map[string]string) error {
	if before, err := rests(notes); err == nil && before.Restore == r.Restore {
		before.Size = r.Size
		r = before
	}
	content, err := json.Marshal(r)
	notes[AnnotationRestoreRestsOn] = string(content)
	return err
}

// RestsFor is the EtcdRestore that may still roll the cluster back; empty if none may.
func (c Cluster) RestsFor() string {
	r, _ := rests(c.Annotations)
	return r.Restore
}

// AsRestored is the EtcdCluster as a restore that may still roll it back has found it: what that rests on is held back, and carried out
// once it is over.
func AsRestored(cluster *v1alpha1.EtcdCluster) (*v1alpha1.EtcdCluster, error) {
	r, err := rests(cluster.Annotations)
	switch {
	case err != nil:
		return nil, fmt.Errorf("metadata.annotations[%s] of EtcdCluster %s/%s is not what the operator has written: %w; set it back, or remove it if no EtcdRestore can be rolled back any more",
			AnnotationRestoreRestsOn, cluster.Namespace, cluster.Name, err)
	case r.Restore == "":
		return cluster, nil
	}
	cluster = cluster.DeepCopy()
	spec := &cluster.Spec
	r.Storage.Retention = spec.Storage.Retention
	spec.Version, spec.Storage, spec.Security.TLS, spec.Security.Auth = r.Version, r.Storage, r.TLS, r.Auth
	if r.Size > 0 {
		spec.Size = &r.Size
	}
	return cluster, nil
}

func rests(notes map[string]string) (r Rests, err error) {
	if noted := notes[AnnotationRestoreRestsOn]; noted != "" {
		err = json.Unmarshal([]byte(noted), &r)
	}
	return r, err
}
