package render

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// LabelDrillOf names, on the EtcdCluster of a drill and on what it begins with, the EtcdCluster whose backup is restored.
const LabelDrillOf = "etcd.etcd.io/drill-of"

// DrillName is the name of the EtcdCluster that a backup of another one is restored into, to see that it can be.
func DrillName(cluster string) string { return cluster + "-drill" }

// IsDrill is whether an EtcdCluster, or what it begins with, is there for a drill only.
func IsDrill(object metav1.Object) bool { return object.GetLabels()[LabelDrillOf] != "" }

// Drill is the EtcdCluster of a drill of a backup. Its pods are as those of the cluster are, with volumes of at least a size; but nothing
// leads clients to it, as what they wrote there would be lost.
func (c Cluster) Drill(scheduled time.Time, backup string, volume int64) *v1alpha1.EtcdCluster {
	of := c.Spec.DeepCopy()
	drill := &v1alpha1.EtcdCluster{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: DrillName(c.Name),
			Labels:          map[string]string{LabelDrillOf: c.Name},
			Annotations:     map[string]string{AnnotationScheduledAt: scheduled.UTC().Format(time.RFC3339)},
			OwnerReferences: []metav1.OwnerReference{c.ClaimOwner()},
		},
		Spec: v1alpha1.EtcdClusterSpec{
			Size: ptr.To[int32](1), Version: cmp.Or(c.Status.Version, of.Version), Repository: of.Repository,
			Storage: of.Storage, Config: of.Config, PodTemplate: of.PodTemplate, Healing: of.Healing,
			// How agents run, and where from: nothing is backed up.
			Backup: &v1alpha1.BackupSpec{Store: of.Backup.Store, Agent: of.Backup.Agent},
			Bootstrap: &v1alpha1.BootstrapSpec{
				BackupRef: &v1alpha1.BackupReference{Name: backup}, Latest: of.Backup.Continuous != nil,
			},
			Security: c.drillSecurity(of.Security),
		},
	}
	storage := &drill.Spec.Storage
	storage.Retention = v1alpha1.RetentionSpec{WhenDeleted: v1alpha1.RetentionDelete, WhenScaled: v1alpha1.RetentionDelete}
	if storage.Size == nil || storage.Size.Value() < volume {
		// Volumes may have grown by themselves.
		storage.Size = resource.NewQuantity(volume, resource.BinarySI)
	}
	// Services of others select by labels; and a drill is to displace nobody.
	drill.Spec.PodTemplate.Metadata.Labels, drill.Spec.PodTemplate.Spec.PriorityClassName = nil, ""
	drill.Spec.Config = Cluster{EtcdCluster: drill}.knownConfig()
	return drill
}

// knownConfig are the settings of the spec that its version knows. Members that are on their way to another version run one that is not
// the spec's.
func (c Cluster) knownConfig() map[string]v1alpha1.ConfigValue {
	known := map[string]v1alpha1.ConfigValue{}
	for name, value := range c.Spec.Config {
		if name == "feature-gates" {
			value = v1alpha1.ConfigValue(c.knownGates(string(value)))
		}
		if c.knows(name) && value != "" {
			known[name] = value
		}
	}
	return known
}

// drillSecurity is who may connect to the cluster of a drill, and how: nobody but agents and the operator. Its certificates are its own,
// since those of others are for other names. Users are those of the backup; root logs in as in the cluster.
func (c Cluster) drillSecurity(of v1alpha1.SecuritySpec) v1alpha1.SecuritySpec {
	made := v1alpha1.SecuritySpec{TLS: v1alpha1.TLSSpec{
		Client: v1alpha1.ClientTLS{Mode: of.TLS.Client.Mode}, Peer: v1alpha1.PeerTLS{Mode: of.TLS.Peer.Mode}, Certificates: of.TLS.Certificates,
	}}
	if made.TLS.Client.Mode == v1alpha1.ClientTLSPermissive {
		made.TLS.Client.Mode = v1alpha1.ClientTLSRequired
	}
	if c.WantsAuth() {
		root, _ := c.RootSecret()
		made.Auth = v1alpha1.AuthSpec{Mode: v1alpha1.AuthEnabled, RootSecret: &v1alpha1.AuthSecret{Name: root}}
	}
	if c.Operator.Namespace != "" {
		made.NetworkPolicy = v1alpha1.NetworkPolicySpec{
			Mode: v1alpha1.NetworkPolicyEnabled, Clients: []v1alpha1.NetworkPeer{}, Metrics: []v1alpha1.NetworkPeer{},
		}
	}
	return made
}
