package render

import (
	"cmp"
	"encoding/json"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
)

const (
	// LabelApp says, of the pods of agents, what kind they are.
	LabelApp = "app.kubernetes.io/name"
	// archiverApp is the name of archivers among the agents. Their Deployments select by it.
	archiverApp = "etcd-archiver"
	// followerGrace is how long an archiver has to store what it still holds. It gives up after 10 seconds itself.
	followerGrace = 30
)

// ArchiverName is the name of the Deployment that stores all changes of a cluster.
func ArchiverName(cluster string) string { return cluster + "-archiver" }

// Archives is whether an archiver is to run: it needs a cluster that was founded, serves, and is not about to get other data.
func (c Cluster) Archives() bool {
	return c.Spec.Backup != nil && c.Spec.Backup.Continuous != nil && c.DeletionTimestamp.IsZero() && c.Status.ClusterID != "" && !c.Sleeps()
}

// Archiver is the Deployment that stores all changes of the cluster.
func (c Cluster) Archiver(agents Agents) (*appsv1.Deployment, error) {
	spec, continuous := c.Spec.Backup, c.Spec.Backup.Continuous
	agent := c.agent(agents, ArchiverName(c.Name))
	agent.Store, agent.Task.Kind = spec.Store, task.Archive
	agent.Task.Archive = &task.Archiving{
		FlushInterval: continuous.FlushInterval.Duration, SegmentSize: continuous.SegmentSize.Value(),
		KeepFor: continuous.KeepFor.Duration, BaseEvery: continuous.BaseEvery.Duration,
	}
	if spec.Encryption != nil {
		agent.Task.Recipients = spec.Encryption.Recipients
	}
	// It was read from JSON.
	agent.Task.Spec, _ = json.Marshal(c.Spec) //nolint:errchkjson // As above.
	return c.follower(agent, archiverApp)
}

// agent is one that talks to members as long as the cluster is there.
func (c Cluster) agent(agents Agents, name string) Agent {
	agent := Agent{
		Owner: *metav1.NewControllerRef(c.EtcdCluster, v1alpha1.GroupVersion.WithKind("EtcdCluster")), Namespace: c.Namespace, Name: name,
		Image: agents.Image, PullSecrets: c.Spec.PodTemplate.Spec.ImagePullSecrets,
	}
	agent.Owner.BlockOwnerDeletion = nil // Nobody waits for it.
	if c.Spec.Backup != nil {
		agent.Spec = ptr.Deref(c.Spec.Backup.Agent, v1alpha1.AgentSpec{})
	}
	if agent.Spec.Resources == nil {
		agent.Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
		}}
	}
	agent.Task = task.Task{OperatorVersion: agents.Version, Cluster: task.Cluster{Namespace: c.Namespace, Name: c.Name, UID: string(c.UID)}}
	c.asks(&agent)
	// It is started again when they change, not when they are told in another order.
	slices.SortFunc(agent.Task.Members, func(a, b task.Member) int { return cmp.Compare(a.Name, b.Name) })
	return agent
}

// follower is the Deployment of an agent that follows the cluster, or another one, for good.
func (c Cluster) follower(agent Agent, app string) (*appsv1.Deployment, error) {
	order, err := agent.order()
	if err != nil {
		return nil, err
	}
	labels := agent.labels(app)
	pod := agent.pod(order)
	pod.RestartPolicy, pod.TerminationGracePeriodSeconds = corev1.RestartPolicyAlways, ptr.To[int64](followerGrace)
	probe := func(path string, every, failures int32) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(task.Port), Scheme: corev1.URISchemeHTTP}},
			PeriodSeconds: every, TimeoutSeconds: 5, FailureThreshold: failures, SuccessThreshold: 1,
		}
	}
	container := &pod.Containers[0]
	container.Ports = []corev1.ContainerPort{{Name: "metrics", ContainerPort: task.Port, Protocol: corev1.ProtocolTCP}}
	container.LivenessProbe, container.ReadinessProbe = probe("/healthz", 10, 6), probe("/readyz", 5, 2)
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: agent.Namespace, Name: agent.Name, Labels: labels, OwnerReferences: []metav1.OwnerReference{agent.Owner}},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1),
			// Two at once would do everything twice.
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{LabelAgentOf: c.Name, LabelApp: app}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	}, nil
}
