package render

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// Objects are the supporting objects of a cluster, in the order in which they are applied.
func (c Cluster) Objects() []client.Object {
	objects := []client.Object{c.configMap(), c.peerService(), c.clientService()}
	if len(c.Planes()) > 0 {
		objects = append(objects, c.trust())
	}
	if c.Voters > 1 {
		objects = append(objects, c.disruptionBudget())
	}
	if c.isolated() {
		objects = append(objects, c.networkPolicy())
	}
	return objects
}

// Surplus are the objects that a cluster may have had, and should not have any more.
func (c Cluster) Surplus() []client.Object {
	var objects []client.Object
	if c.Voters <= 1 {
		objects = append(objects, c.disruptionBudget())
	}
	if !c.isolated() {
		objects = append(objects, c.networkPolicy())
	}
	return objects
}

// meta is the metadata of an object of the cluster. The cluster controls it, so that it goes with the cluster.
func (c Cluster) meta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:      name,
		Namespace: c.Namespace,
		Labels:    labels,
		OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(c.EtcdCluster, v1alpha1.GroupVersion.WithKind("EtcdCluster")),
		},
	}
}

// configMap holds the settings that all members share, as the environment variables that etcd reads
// (https://etcd.io/docs/v3.6/op-guide/configuration/). It is immutable and named by its content: a member keeps the
// settings that it was rolled to, also when it restarts by itself while others are rolled.
func (c Cluster) configMap() *corev1.ConfigMap {
	immutable := true
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: c.meta(c.ConfigMap(), c.Labels()),
		Immutable:  &immutable,
		Data:       c.settings(),
	}
}

// settings are the operator's defaults under the user's settings.
func (c Cluster) settings() map[string]string {
	flags := map[string]string{"quota-backend-bytes": c.quota()}
	gates := c.corruptionGates()
	if c.minor() == "3.5" {
		flags["experimental-initial-corrupt-check"] = "true"
		flags["experimental-compact-hash-check-enabled"] = "true"
	} else {
		if gates != "" {
			flags["feature-gates"] = gates
		}
		flags["max-learners"] = strconv.Itoa(learnersAtOnce)
	}
	if c.minor() == "3.6" {
		flags["snapshot-count"] = strconv.Itoa(snapshotCount)
	}
	for name, value := range c.Spec.Config {
		if !c.knows(name) {
			continue
		}
		if name == "feature-gates" && c.minor() != "3.5" {
			value = v1alpha1.ConfigValue(strings.Trim(gates+","+c.knownGates(string(value)), ","))
		}
		flags[name] = string(value)
	}
	settings := make(map[string]string, len(flags))
	for name, value := range flags {
		settings["ETCD_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = value
	}
	return settings
}

// corruptionGates switch on the checks that find corrupt data. etcd 3.6 does not start if the same is said by the older
// setting, too.
func (c Cluster) corruptionGates() string {
	var gates []string
	for _, check := range []struct{ gate, setting string }{
		{"InitialCorruptCheck", "experimental-initial-corrupt-check"},
		{"CompactHashCheck", "experimental-compact-hash-check-enabled"},
	} {
		if _, said := c.Spec.Config[check.setting]; !said || !c.knows(check.setting) {
			gates = append(gates, check.gate+"=true")
		}
	}
	return strings.Join(gates, ",")
}

// learnersAtOnce lets two members join at the same time: etcd refuses to add a member until its voters have been connected
// for five seconds, and growing from one to three would wait for that between the two.
const learnersAtOnce = 2

// MaxLearners is how many members may join at the same time. etcd 3.5 knows no setting for it.
func (c Cluster) MaxLearners() int {
	if c.minor() == "3.5" {
		return 1
	}
	if n, err := strconv.Atoi(string(c.Spec.Config["max-learners"])); err == nil && n > 0 {
		return min(n, learnersAtOnce)
	}
	return learnersAtOnce
}

// snapshotCount is the number of log entries after which a member of 3.6 writes a snapshot. etcd's own default is 10,000; a
// tenth of that costs little, since the snapshot is small from 3.6 on, and lets the log be brought behind a snapshot in a moment
// before 3.7 starts, see core.RestartMember.
const snapshotCount = 1000

// SnapshotCount is the number of log entries after which a member of 3.6 writes a snapshot.
func (c Cluster) SnapshotCount() int {
	if n, err := strconv.Atoi(string(c.Spec.Config["snapshot-count"])); err == nil {
		return n
	}
	return snapshotCount
}

// knows is whether the version to run next knows a setting. The API refuses those that the version of the spec does not
// know; on the way to it there may be versions that do not know them yet, or not any more.
func (c Cluster) knows(flag string) bool {
	switch c.minor() {
	case "3.5":
		return !slices.Contains(newIn36, flag)
	case "3.7":
		return !strings.HasPrefix(flag, "experimental-")
	}
	return true
}

// knownGates leaves out the feature gates that the version to run next does not know yet.
func (c Cluster) knownGates(gates string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(gates, ","), func(gate string) bool {
		newIn37 := strings.HasPrefix(gate, "FastLeaseKeepAlive=") || strings.HasPrefix(gate, "PriorityRequest=")
		return newIn37 && c.minor() == "3.6"
	}), ",")
}

// newIn36 are the settings that etcd 3.5 does not know.
var newIn36 = []string{
	"bootstrap-defrag-threshold-megabytes", "compact-hash-check-time", "compaction-batch-limit", "compaction-sleep-interval",
	"corrupt-check-time", "distributed-tracing-address", "distributed-tracing-instance-id", "distributed-tracing-sampling-rate",
	"distributed-tracing-service-name", "downgrade-check-time", "enable-distributed-tracing",
	"experimental-warning-unary-request-duration", "feature-gates", "max-learners", "memory-mlock", "snapshot-catchup-entries",
	"warning-apply-duration", "warning-unary-request-duration", "watch-progress-notify-interval",
}

// quota leaves a fifth of the smallest volume to the log and to snapshots, and is at most 8 GiB, etcd's suggested maximum
// (https://etcd.io/docs/v3.6/dev-guide/limit/#storage-size-limit).
func (c Cluster) quota() string {
	const suggestedMaximum = 8 << 30
	size := c.Spec.Storage.Size.Value()
	if c.VolumeSize > 0 {
		size = min(size, c.VolumeSize)
	}
	return fmt.Sprint(min(size/5*4, suggestedMaximum))
}

func (c Cluster) minor() string {
	parts := strings.SplitN(c.Spec.Version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// peerService gives every member its DNS name, also before it is ready: members find each other by it to become
// ready.
func (c Cluster) peerService() *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: c.meta(c.PeerService(), c.Labels()),
		Spec: corev1.ServiceSpec{
			Type:                     corev1.ServiceTypeClusterIP,
			ClusterIP:                corev1.ClusterIPNone,
			PublishNotReadyAddresses: true,
			Selector:                 c.Selector(),
			Ports: []corev1.ServicePort{
				servicePort("client", ClientPort), servicePort("peer", PeerPort), servicePort("plain-peer", PlainPeerPort),
				servicePort("metrics", MetricsPort),
			},
		},
	}
}

// clientService leads to the pods that are ready. A learner never is (etcd's /readyz), so these are the voters that
// serve.
func (c Cluster) clientService() *corev1.Service {
	service := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: c.meta(c.ClientService(), c.Labels()),
		Spec: corev1.ServiceSpec{
			Type:     c.Spec.Services.Client.Type,
			Selector: c.Selector(),
			Ports:    []corev1.ServicePort{servicePort("client", ClientPort)},
		},
	}
	if c.Mirrors() {
		// No pod has it: clients wait until the cluster has all that the source has.
		service.Spec.Selector = maps.Clone(service.Spec.Selector)
		service.Spec.Selector[AnnotationMirrors] = "ended"
	}
	if IsDrill(c) {
		// Nobody is to write there.
		service.Spec.Selector = maps.Clone(service.Spec.Selector)
		service.Spec.Selector[LabelDrillOf] = "nobody"
	}
	if len(c.Spec.Services.Client.Annotations) > 0 {
		service.Annotations = map[string]string{}
		for name, value := range c.Spec.Services.Client.Annotations {
			service.Annotations[name] = string(value)
		}
	}
	return service
}

func servicePort(name string, port int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: port, TargetPort: intstr.FromString(name), Protocol: corev1.ProtocolTCP}
}

// disruptionBudget lets evictions take no more voters than the quorum can spare. Pods that are not ready may always
// be evicted: they serve nobody, and must not hold up the drain of a broken node. A single member has no budget: it
// would make its node impossible to drain.
func (c Cluster) disruptionBudget() *policyv1.PodDisruptionBudget {
	quorum := intstr.FromInt32(int32(core.Quorum(c.Voters))) //nolint:gosec // At most 9 voters.
	always := policyv1.AlwaysAllow
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: c.meta(c.Name, c.Labels()),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable:               &quorum,
			Selector:                   &metav1.LabelSelector{MatchLabels: maps.Clone(c.Selector())},
			UnhealthyPodEvictionPolicy: &always,
		},
	}
}
