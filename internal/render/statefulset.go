package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Values of AnnotationStart.
const (
	StartBootstrap = "bootstrap"
	StartSealed    = "sealed"
	StartJoin      = "join"
)

// Volumes of a member and where they are mounted.
const (
	DataVolume = "data"
	WALVolume  = "wal"
	dataMount  = "/var/lib/etcd"
	walMount   = "/var/lib/etcd-wal"
)

// StatefulSet is the workload of one member: one pod with its own claims. A pod that Kubernetes makes again comes
// back as the same member; nothing restarts when the template changes (OnDelete), that is decided elsewhere.
func (c Cluster) StatefulSet(member core.ApplyMember) *appsv1.StatefulSet {
	labels := c.MemberLabels(member.Member)
	meta := c.meta(member.Member, labels)
	meta.Annotations = map[string]string{
		AnnotationMemberHash:  c.MemberHash(),
		AnnotationStorageHash: c.StorageHash(),
		AnnotationStart:       startNames[member.Start],
	}
	if len(member.InitialCluster) > 0 {
		meta.Annotations[AnnotationInitialCluster] = strings.Join(member.InitialCluster, ",")
	}
	replicas := int32(1)
	if member.Stopped {
		replicas = 0
	}
	if member.Retry != 0 {
		meta.Annotations[AnnotationRetry] = strconv.FormatInt(member.Retry, 10)
	}
	return &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
		ObjectMeta: meta,
		Spec: appsv1.StatefulSetSpec{
			Replicas:             &replicas,
			ServiceName:          c.PeerService(),
			Selector:             &metav1.LabelSelector{MatchLabels: map[string]string{LabelCluster: c.Name, LabelMember: member.Member}},
			UpdateStrategy:       appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
			PodManagementPolicy:  appsv1.ParallelPodManagement,
			RevisionHistoryLimit: ptr.To(int32(2)),
			Template:             c.podTemplate(member),
			VolumeClaimTemplates: c.claims(member),
		},
	}
}

// Fitting is the cluster as it fits a live StatefulSet: whether a member has a volume for its log is decided when it is
// made, and its etcd has to go on looking there whatever the spec says by now.
func (c Cluster) Fitting(live *appsv1.StatefulSet) Cluster {
	for i := range live.Spec.VolumeClaimTemplates {
		if claim := &live.Spec.VolumeClaimTemplates[i]; claim.Name == WALVolume {
			return c.WithLogOn(claim)
		}
	}
	return c.WithLogOn(nil)
}

// WithLogOn is the cluster with members that have such a volume for their log, or none.
func (c Cluster) WithLogOn(claim *corev1.PersistentVolumeClaim) Cluster {
	if (claim == nil) == (c.Spec.Storage.WAL == nil) {
		return c
	}
	c.EtcdCluster = c.DeepCopy()
	c.Spec.Storage.WAL = nil
	if claim != nil {
		c.Spec.Storage.WAL = &v1alpha1.WALStorage{Size: claim.Spec.Resources.Requests.Storage(), StorageClassName: claim.Spec.StorageClassName}
	}
	return c
}

var startNames = map[core.Start]string{core.StartBootstrap: StartBootstrap, core.StartSealed: StartSealed, core.StartJoin: StartJoin}

// StartOf reads how a StatefulSet starts its member. What is not understood counts as sealed: that can found nothing.
func StartOf(live *appsv1.StatefulSet) core.Start {
	for start, name := range startNames {
		if live.Annotations[AnnotationStart] == name {
			return start
		}
	}
	return core.StartSealed
}

// args are the settings that differ from member to member, and those that belong to the operator alone.
func (c Cluster) args(member core.ApplyMember) []string {
	name := member.Member
	args := []string{
		"--name=" + name,
		"--data-dir=" + dataMount + "/data",
		"--listen-peer-urls=" + c.listenPeers(),
		"--listen-client-urls=" + c.listenClients(),
		fmt.Sprintf("--listen-metrics-urls=http://0.0.0.0:%d", MetricsPort),
		"--initial-advertise-peer-urls=" + c.startURL(member, name),
		"--advertise-client-urls=" + c.ClientURL(name),
		initialURLsFlag + reference(initialURLsVariable),
		initialStateFlag + reference(initialStateVariable),
		fmt.Sprintf("--initial-cluster-token=%s-%s-%s", c.Namespace, c.Name, c.UID),
	}
	args = append(args, c.tlsArgs()...)
	if c.Spec.Storage.WAL != nil {
		args = append(args, "--wal-dir="+walMount+"/wal")
	}
	return args
}

// claims are the volumes of a member. They name the EtcdCluster that they were made for. Claim templates are immutable: a
// StatefulSet keeps those that it was made with, see KeepStorage.
func (c Cluster) claims(member core.ApplyMember) []corev1.PersistentVolumeClaim {
	storage := c.Spec.Storage
	if storage.Medium == v1alpha1.StorageMediumMemory {
		return nil
	}
	claims := []corev1.PersistentVolumeClaim{c.claim(DataVolume, member, storage.Size, storage.StorageClassName)}
	if storage.WAL != nil {
		claims = append(claims, c.claim(WALVolume, member, storage.WAL.Size, storage.WAL.StorageClassName))
	}
	return claims
}

func (c Cluster) claim(volume string, member core.ApplyMember, size *resource.Quantity, class *string) corev1.PersistentVolumeClaim {
	// A claim that is to go with the cluster belongs to it from the beginning: the creation may be broken off. It must not
	// belong to the StatefulSet: the data has to survive whatever happens to that.
	var owners []metav1.OwnerReference
	if c.Spec.Storage.Retention.WhenDeleted == v1alpha1.RetentionDelete {
		owners = []metav1.OwnerReference{c.ClaimOwner()}
	}
	return corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name:            volume,
			Labels:          c.MemberLabels(member.Member),
			OwnerReferences: owners,
			Annotations: map[string]string{
				AnnotationOwnerUID:         string(c.UID),
				AnnotationFoundedBy:        string(c.UID),
				AnnotationBootstrapMembers: strings.Join(c.founders(member), ","),
				AnnotationStorageHash:      c.StorageHash(),
			},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: *size}},
		},
	}
}

// founders are the members that the cluster was founded with. They are recorded in the status before the first of them is
// made.
func (c Cluster) founders(member core.ApplyMember) []string {
	if recorded := c.Status.BootstrapMembers; len(recorded) > 0 {
		return recorded
	}
	return member.InitialCluster
}

// ClaimOwner is the owner reference that makes a claim go with the EtcdCluster. It is not a controller reference: the
// claim is the StatefulSet controller's to make.
func (c Cluster) ClaimOwner() metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "EtcdCluster", Name: c.Name, UID: c.UID}
}

// OwnedBy is whether an object goes with the one that has the UID.
func OwnedBy(object metav1.Object, uid types.UID) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(owner metav1.OwnerReference) bool { return owner.UID == uid })
}
