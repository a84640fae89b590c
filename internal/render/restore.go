package render

import (
	"cmp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
)

// Restore is what the agents of an EtcdRestore are built from. Its EtcdCluster, and the EtcdBackup, are nil if there are none.
type Restore struct {
	*v1alpha1.EtcdRestore
	Cluster Cluster
	Backup  Backup
	Agents  Agents
	// Logs are the members whose log has a volume of its own.
	Logs map[string]bool
	// Reached are the members' peer URLs.
	Reached map[string]string
}

// SafetyBackup is the name of the EtcdBackup that is made before.
func (r Restore) SafetyBackup() string { return r.Name[:min(len(r.Name), 45)] + "-safety" }

// RestsOn is what of the spec of the cluster it rests on.
func (r Restore) RestsOn() Rests {
	rests := RestsOf(r.Name, &r.Cluster.Spec)
	if rests.Size > 0 {
		rests.Size = int32(len(r.Status.Members)) //nolint:gosec // At most 32 members.
	}
	return rests
}

// BootstrapRestore is the name of the EtcdRestore that a cluster begins with.
func BootstrapRestore(cluster string) string { return cluster + "-bootstrap" }

// Version is that of the programs that restore: what the members run, or are to run.
func (r Restore) Version() string { return cmp.Or(r.Cluster.Status.Version, r.Cluster.Spec.Version) }

// Claims are the claims of a member that a restore makes, as its StatefulSet would.
func (r Restore) Claims(member string) []corev1.PersistentVolumeClaim {
	claims := r.Cluster.claims(core.ApplyMember{Member: member, InitialCluster: r.Status.Members})
	for i := range claims {
		claim := &claims[i]
		claim.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
		claim.Namespace, claim.Name = r.Namespace, ClaimName(claim.Name, member)
		RecordPeers(claim, r.Cluster.WantedPeers())
	}
	return claims
}

// Mark notes on a member's claim whose data it holds, and what ran on that, unless it is unsettled. What was noted of the data before is
// no longer so: neither that the member was removed.
func (r Restore) Mark(claim *corev1.PersistentVolumeClaim, clusterID string) {
	delete(claim.Annotations, AnnotationRemoved)
	note := func(name, value string) { metav1.SetMetaDataAnnotation(&claim.ObjectMeta, name, value) }
	note(AnnotationClusterID, clusterID)
	if clusterID == core.Unsettled {
		return
	}
	note(AnnotationVersion, r.Version())
	note(AnnotationBootstrapMembers, strings.Join(r.Status.Members, ","))
	delete(claim.Annotations, AnnotationSince36)
}

// Agent is the agent of one kind, for a member or for the whole cluster.
func (r Restore) Agent(key restores.AgentKey, member string) Agent {
	agent := Agent{
		Owner: *metav1.NewControllerRef(r.EtcdRestore, v1alpha1.GroupVersion.WithKind("EtcdRestore")), Namespace: r.Namespace,
		Name: restores.JobName(r.Name, key), Spec: r.agentSpec(), Image: r.Agents.Image,
		PullSecrets: r.Cluster.Spec.PodTemplate.Spec.ImagePullSecrets,
	}
	agent.Owner.BlockOwnerDeletion = nil // Nobody waits for a Job.
	agent.Task = task.Task{Kind: task.Kind(key.Kind), OperatorVersion: r.Agents.Version, Restore: &task.Restore{
		ID: string(r.UID), Member: member, InitialCluster: r.Reached, WAL: r.Logs[member], BumpRevision: uint64(max(ptr.Deref(r.Spec.BumpRevision, 0), 0)),
	}}
	agent.Task.Cluster = task.Cluster{Namespace: r.Namespace, Name: r.Cluster.Name, UID: string(r.Cluster.UID)}
	if key.Kind == restores.Compare {
		r.Cluster.asks(&agent)
		agent.Task.Restore.Expected = &task.Content{Revision: r.Status.Revision, Keys: r.Status.Keys, Digest: r.Status.Digest}
		return agent
	}
	if key.Kind == restores.Check {
		r.reads(&agent)
		return agent
	}
	agent.Volumes = &MemberVolumes{Data: ClaimName(DataVolume, member), Security: r.Cluster.Spec.PodTemplate.Spec.SecurityContext}
	if r.Logs[member] {
		agent.Volumes.WAL = ClaimName(WALVolume, member)
	}
	switch key.Kind {
	case restores.Fill:
		r.fills(&agent)
	case restores.Confirm:
		agent.Volumes.Affinity = besides(r.Cluster.MemberLabels(member))
	case restores.RollBack, restores.Check, restores.Compare:
	}
	return agent
}

func (r Restore) agentSpec() v1alpha1.AgentSpec {
	spec := v1alpha1.AgentSpec{}
	switch {
	case r.Spec.Agent != nil:
		spec = *r.Spec.Agent
	case r.Cluster.Spec.Backup != nil && r.Cluster.Spec.Backup.Agent != nil:
		spec = *r.Cluster.Spec.Backup.Agent
	}
	// Volumes may have to be where members are.
	pod := r.Cluster.Spec.PodTemplate.Spec
	if spec.NodeSelector == nil {
		spec.NodeSelector = pod.NodeSelector
	}
	if spec.Tolerations == nil {
		spec.Tolerations = pod.Tolerations
	}
	return spec
}

// reads adds what an agent needs that reads what is restored.
func (r Restore) reads(agent *Agent) {
	from := r.Backup.Agent("")
	agent.Store, agent.Task.Cluster, agent.Task.Name = from.Store, from.Task.Cluster, from.Task.Name
	if r.Backup.Status.Encryption != nil {
		agent.IdentitySecret = r.Backup.Identity()
	}
	if r.Spec.PointInTime != nil {
		agent.Task.Restore.Moment = r.Spec.PointInTime.Time
	}
	agent.Task.Restore.Revision = cmp.Or(r.Spec.Revision, r.Status.TargetRevision)
	agent.Task.Restore.Latest = r.Spec.Latest && agent.Task.Restore.Revision == 0
}

// fills adds what an agent needs that fills a volume: the backup, and a node that no other member's is on, if it has yet to get one.
func (r Restore) fills(agent *Agent) {
	r.reads(agent)
	agent.Task.Restore.First, agent.Task.Restore.LetEverybodyIn = r.Status.EarlierClusterID == "", !r.Cluster.WantsAuth()
	agent.EtcdImage = cmp.Or(agent.Spec.Repository, r.Cluster.Spec.Repository) + ":v" + r.Version()
	others := &metav1.LabelSelector{MatchLabels: map[string]string{LabelAgentFor: r.Name}}
	agent.Volumes.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{
			{Weight: 100, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: corev1.LabelHostname, LabelSelector: others}},
		},
	}}
	if wanted := r.Cluster.Spec.PodTemplate.Spec.Affinity; wanted != nil {
		agent.Volumes.Affinity.NodeAffinity = wanted.NodeAffinity
	}
	for _, key := range []string{corev1.LabelTopologyZone, corev1.LabelHostname} {
		agent.Volumes.Spread = append(agent.Volumes.Spread, corev1.TopologySpreadConstraint{
			MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: others,
		})
	}
}

// besides is the affinity of a pod that has to be on the node of another one: a volume is mounted on one node only.
func besides(labels map[string]string) *corev1.Affinity {
	return &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
			LabelCluster: labels[LabelCluster], LabelMember: labels[LabelMember],
		}}},
	}}}
}

// ReachedAs is where others reach a member after a restore: as they did before, as far as its claim says so.
func (c Cluster) ReachedAs(member string, claim *corev1.PersistentVolumeClaim) string {
	if claim != nil {
		switch RecordedPeers(claim) {
		case core.PeersTLS:
			return c.peerURL(member, true)
		case core.PeersPlain:
			return c.peerURL(member, false)
		case core.PeersBoth:
		}
	}
	return c.WantedPeerURL(member)
}

// FirstMembers are those that a new cluster begins with.
func (c Cluster) FirstMembers() (names []string) {
	for n := range ptr.Deref(c.Spec.Size, 0) {
		names = append(names, c.Name+"-"+strconv.Itoa(int(n)))
	}
	return names
}
