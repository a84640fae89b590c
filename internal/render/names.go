// Package render builds the Kubernetes objects of an etcd cluster. Its functions are pure: spec in, object out. It
// knows no client and no state; what to apply, and when, is decided elsewhere.
package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Labels and annotations of the operator.
const (
	// LabelCluster names the EtcdCluster on everything that belongs to it. Caches and Services select by it.
	LabelCluster = "etcd.etcd.io/cluster"
	// LabelMember names the member on what belongs to one member.
	LabelMember = "etcd.etcd.io/member"
	// LabelPlane is, on a request for a certificate, the plane that it is for.
	LabelPlane = "etcd.etcd.io/plane"
	// AnnotationMemberHash stands for what the user asked of a member.
	AnnotationMemberHash = "etcd.etcd.io/member-hash"
	// AnnotationStorageHash stands for what the user asked of a member's volumes.
	AnnotationStorageHash = "etcd.etcd.io/storage-hash"
	// AnnotationAppliedHash stands for everything that was applied to an object, to see what was taken away.
	AnnotationAppliedHash = "etcd.etcd.io/applied-hash"
	// AnnotationStart is how the member would start on an empty volume: bootstrap or sealed.
	AnnotationStart = "etcd.etcd.io/start"
	// AnnotationRestartHash stands for what the user asked of a member, without what can be changed on a running pod.
	AnnotationRestartHash = "etcd.etcd.io/restart-hash"
	// AnnotationResizeRefused is, on a pod, the member hash whose CPU and memory it could not be given in place.
	AnnotationResizeRefused = "etcd.etcd.io/resize-refused"
	// AnnotationInitialCluster are, on a StatefulSet, the members that a member founds the cluster with, or that it joins.
	AnnotationInitialCluster = "etcd.etcd.io/initial-cluster"
	// AnnotationInitialURLs and AnnotationInitialState are, on a pod, what etcd is given as --initial-cluster and
	// --initial-cluster-state. The kubelet reads them whenever it starts the container.
	AnnotationInitialURLs  = "etcd.etcd.io/initial-cluster-urls"
	AnnotationInitialState = "etcd.etcd.io/initial-cluster-state"
	// AnnotationRemoved is, on a claim, whether its member was removed from the cluster: what it holds must never run again.
	AnnotationRemoved = "etcd.etcd.io/removed"
	// AnnotationReplaceMembers is, on an EtcdCluster, set by people: the members, separated by commas, that are to be
	// replaced by new ones whatever their state.
	AnnotationReplaceMembers = "etcd.etcd.io/replace-members"
	// AnnotationRestore is, on an EtcdCluster, the EtcdRestore that holds it: as long as it is there no member runs.
	AnnotationRestore = "etcd.etcd.io/restore"
	// AnnotationRestoreRestsOn is, on an EtcdCluster, what an EtcdRestore rests on that may still roll it back, see [Rests].
	AnnotationRestoreRestsOn = "etcd.etcd.io/restore-rests-on"
	// AnnotationRestoredClusterID is, on an EtcdCluster, etcd's ID of the cluster whose data a restore has given it. What the status
	// says of another one no longer counts.
	AnnotationRestoredClusterID = "etcd.etcd.io/restored-cluster-id"
	// AnnotationMirrors is, on an EtcdCluster, that it repeats what spec.bootstrap.source does, and that clients are kept away. It is
	// taken away at the cut-over.
	AnnotationMirrors = "etcd.etcd.io/mirrors"
	// AnnotationSafetyFor is, on an EtcdBackup, the UID of the EtcdRestore before which it is made.
	AnnotationSafetyFor = "etcd.etcd.io/safety-for"
	// AnnotationRotateAuthorities is, on an EtcdCluster, set by people: whenever its value changes the authorities of the
	// certificates are changed. On the Secret of an authority it is the value that this was made for.
	AnnotationRotateAuthorities = "etcd.etcd.io/rotate-authorities"
	// AnnotationSince is, on the Secret of a plane's authorities, since when the authorities are those that they are.
	AnnotationSince = "etcd.etcd.io/since"
	// AnnotationRequested is, on the Secret of a plane's authorities, that cert-manager has been asked for certificates.
	AnnotationRequested = "etcd.etcd.io/requested-from-cert-manager"
	// AnnotationBootstrapMembers are the members that the cluster was founded with.
	AnnotationBootstrapMembers = "etcd.etcd.io/bootstrap-members"
	// AnnotationRetry changes when a refused pod is to be tried again.
	AnnotationRetry = "etcd.etcd.io/retry"
	// AnnotationOwnerUID is, on a claim, the UID of the EtcdCluster that it was made for.
	AnnotationOwnerUID = "etcd.etcd.io/cluster-uid"
	// AnnotationFoundedBy is, on a claim, the UID of the EtcdCluster whose StatefulSet made it. It never changes.
	AnnotationFoundedBy = "etcd.etcd.io/founded-by"
	// AnnotationClusterID is, on a claim, etcd's ID of the cluster whose data it holds.
	AnnotationClusterID = "etcd.etcd.io/cluster-id"
	// AnnotationVersion is, on a claim, the etcd version that its member was last seen to run on it.
	AnnotationVersion = "etcd.etcd.io/version"
	// AnnotationPeers is, on a claim, how the members of its cluster talk to each other. Without it they talk plain TCP.
	AnnotationPeers = "etcd.etcd.io/peers"
	// AnnotationSince36 is, on a claim, the raft index that the cluster had when its member was first seen to run etcd 3.6 or
	// later on it.
	AnnotationSince36 = "etcd.etcd.io/since-3.6"
)

// Removed is the value of AnnotationRemoved.
const Removed = "true"

// Resizing is the value of [AnnotationMemberHash] on a pod whose CPU and memory are being changed.
const Resizing = "resizing"

// FieldManager is the field manager of everything that the operator applies.
const FieldManager = "etcd-operator"

// Ports of a member.
const (
	ClientPort  = 2379
	PeerPort    = 2380
	MetricsPort = 2381
)

// ContainerName is the name of the container that runs etcd.
const ContainerName = "etcd"

// Cluster is what objects are built from.
type Cluster struct {
	*v1alpha1.EtcdCluster
	// Domain is the DNS domain of the Kubernetes cluster, e.g. cluster.local.
	Domain string
	// Operator are the pods that members let in besides those of the spec.
	Operator Operator
	// VolumeSize is that of the smallest data volume there is, in bytes; 0 if there is none yet.
	VolumeSize int64
	// Voters is the number of voters that the disruption budget protects.
	Voters int
	// PeersBoth: members are on their way from plain TCP between each other to TLS, or back.
	PeersBoth bool
	// PeerURLs are those of the members that etcd lists, or of those that found the cluster.
	PeerURLs map[string]string
	// Trust are the certificates that members trust, by plane.
	Trust map[core.PlaneName]string
}

// HeldBy is the EtcdRestore that holds the cluster; empty if none does.
func (c Cluster) HeldBy() string { return c.Annotations[AnnotationRestore] }

// Begins is whether the cluster waits for the data of a backup to begin with.
func (c Cluster) Begins() bool {
	first := c.Status.ClusterID == "" && c.Annotations[AnnotationRestoredClusterID] == ""
	return c.Spec.Bootstrap != nil && (first || c.BeginsAgain())
}

// BeginsAgain is whether it was given its first data, and these have turned out to be others than those of the backup.
func (c Cluster) BeginsAgain() bool {
	return c.Annotations[AnnotationRestoredClusterID] == core.Unsettled
}

// BeginsWith is the EtcdBackup whose data the cluster begins with; empty if it begins with nothing.
func (c Cluster) BeginsWith() string {
	switch bootstrap := c.Spec.Bootstrap; {
	case bootstrap == nil:
		return ""
	case bootstrap.BackupRef != nil:
		return bootstrap.BackupRef.Name
	}
	return c.Name + "-import"
}

// Inherits is whether one of its claims was made for an earlier EtcdCluster of its name, whose data comes first.
func (c Cluster) Inherits(claims []corev1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(claims, func(claim corev1.PersistentVolumeClaim) bool {
		return claim.Annotations[AnnotationFoundedBy] != string(c.UID)
	})
}

// Sleeps is whether no member is to run: the size is 0, or a restore holds the cluster.
func (c Cluster) Sleeps() bool { return c.HeldBy() != "" || c.Spec.Size != nil && *c.Spec.Size == 0 }

// PeerService is the name of the headless Service that gives every member its DNS name.
func (c Cluster) PeerService() string { return c.Name + "-peer" }

// ClientService is the name of the Service that clients use.
func (c Cluster) ClientService() string { return c.Name + "-client" }

// ConfigMap is the name of the settings that members are started with. It changes with their content, so that a
// member keeps its settings until it is rolled.
func (c Cluster) ConfigMap() string {
	return fmt.Sprintf("%s-config-%s", c.Name, hash(c.settings()))
}

// PodName is the name of the pod of a member.
func PodName(member string) string { return member + "-0" }

// ClaimName is the name of the claim of one of a member's volumes.
func ClaimName(volume, member string) string { return volume + "-" + PodName(member) }

// Host is the DNS name of a member.
func (c Cluster) Host(member string) string {
	return fmt.Sprintf("%s.%s.%s.svc.%s", PodName(member), c.PeerService(), c.Namespace, c.Domain)
}

// PeerURL is where other members reach a member: what etcd lists for it. One that is new is reached as all are that have not
// changed yet.
func (c Cluster) PeerURL(member string) string {
	if url := c.PeerURLs[member]; url != "" {
		return url
	}
	encrypted := c.WantedPeers() == core.PeersTLS
	if c.PeersBoth {
		encrypted = !encrypted
	}
	return c.peerURL(member, encrypted)
}

// WantedPeerURL is where other members are to reach a member in the end.
func (c Cluster) WantedPeerURL(member string) string {
	return c.peerURL(member, c.WantedPeers() == core.PeersTLS)
}

func (c Cluster) peerURL(member string, encrypted bool) string {
	if encrypted {
		return fmt.Sprintf("https://%s:%d", c.Host(member), PeerPort)
	}
	return fmt.Sprintf("http://%s:%d", c.Host(member), PlainPeerPort)
}

// MemberOf is the member that has a peer URL; empty if that is none of ours. The DNS domain does not count: it may have
// been written differently when the member was added.
func (c Cluster) MemberOf(peerURL string) string {
	_, host, _ := strings.Cut(peerURL, "://")
	pod, rest, _ := strings.Cut(host, ".")
	member := strings.TrimSuffix(pod, "-0")
	if _, ours := c.Ordinal(member); !ours || pod != PodName(member) || !strings.HasPrefix(rest, c.PeerService()+"."+c.Namespace+".svc") {
		return ""
	}
	return member
}

// ClientURL is where clients reach a member.
func (c Cluster) ClientURL(member string) string {
	return fmt.Sprintf("%s://%s:%d", c.clientScheme(), c.Host(member), ClientPort)
}

// Endpoints are the client URLs to publish: that of the Service, then those of the members.
func (c Cluster) Endpoints(members []string) []string {
	endpoints := []string{fmt.Sprintf("%s://%s.%s.svc.%s:%d", c.clientScheme(), c.ClientService(), c.Namespace, c.Domain, ClientPort)}
	for _, member := range members {
		endpoints = append(endpoints, c.ClientURL(member))
	}
	return endpoints
}

// Ordinal is the number at the end of a member's name, and whether the name is one of this cluster's.
func (c Cluster) Ordinal(member string) (int, bool) {
	rest, ok := strings.CutPrefix(member, c.Name+"-")
	n, err := strconv.Atoi(rest)
	return n, ok && err == nil && n >= 0 && strconv.Itoa(n) == rest
}

// Labels are on every object of the cluster.
func (c Cluster) Labels() map[string]string {
	return map[string]string{
		LabelCluster:                   c.Name,
		"app.kubernetes.io/name":       "etcd",
		"app.kubernetes.io/instance":   c.Name,
		"app.kubernetes.io/managed-by": "etcd-operator",
	}
}

// MemberLabels are on every object of a member.
func (c Cluster) MemberLabels(member string) map[string]string {
	labels := c.Labels()
	labels[LabelMember] = member
	return labels
}

// Selector selects the pods of the cluster.
func (c Cluster) Selector() map[string]string { return map[string]string{LabelCluster: c.Name} }
