package render

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// nonRoot is the user and group that members run as.
const nonRoot int64 = 65532

// Image is the etcd image.
func (c Cluster) Image() string { return c.Spec.Repository + ":v" + c.Spec.Version }

func (c Cluster) podTemplate(member core.ApplyMember) corev1.PodTemplateSpec {
	labels := map[string]string{}
	for name, value := range c.Spec.PodTemplate.Metadata.Labels {
		labels[name] = string(value)
	}
	maps.Copy(labels, c.MemberLabels(member.Member))
	annotations := c.StartAnnotations(member)
	annotations[AnnotationMemberHash], annotations[AnnotationRestartHash] = c.MemberHash(), c.RestartHash()
	for name, value := range c.Spec.PodTemplate.Metadata.Annotations {
		annotations[name] = string(value)
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
		Spec:       c.podSpec(member),
	}
}

func (c Cluster) podSpec(member core.ApplyMember) corev1.PodSpec {
	want := c.Spec.PodTemplate.Spec
	return corev1.PodSpec{
		Containers:                    []corev1.Container{c.container(member)},
		Volumes:                       c.volumes(),
		Affinity:                      c.affinity(),
		TopologySpreadConstraints:     c.spread(),
		NodeSelector:                  plain(want.NodeSelector),
		Tolerations:                   want.Tolerations,
		PriorityClassName:             want.PriorityClassName,
		SchedulerName:                 want.SchedulerName,
		ServiceAccountName:            want.ServiceAccountName,
		ImagePullSecrets:              want.ImagePullSecrets,
		TerminationGracePeriodSeconds: want.TerminationGracePeriodSeconds,
		SecurityContext:               podSecurity(want.SecurityContext),
		AutomountServiceAccountToken:  ptr.To(false),
		// Variables such as ETCD_PORT, made from a Service that is called etcd, would be read as settings.
		EnableServiceLinks: ptr.To(false),
	}
}

func plain(values map[string]v1alpha1.LabelValue) map[string]string {
	if len(values) == 0 {
		return nil
	}
	texts := make(map[string]string, len(values))
	for name, value := range values {
		texts[name] = string(value)
	}
	return texts
}

func (c Cluster) container(member core.ApplyMember) corev1.Container {
	want := c.Spec.PodTemplate.Spec
	container := corev1.Container{
		Name:            ContainerName,
		Image:           c.Image(),
		ImagePullPolicy: want.ImagePullPolicy,
		Command:         []string{"/usr/local/bin/etcd"},
		Args:            c.args(member),
		Env:             slices.Concat(want.Env, startVariables(), c.etcdctlVariables()),
		EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: c.ConfigMap()},
		}}},
		Ports: []corev1.ContainerPort{
			{Name: "client", ContainerPort: ClientPort, Protocol: corev1.ProtocolTCP},
			{Name: "peer", ContainerPort: PeerPort, Protocol: corev1.ProtocolTCP},
			{Name: "plain-peer", ContainerPort: PlainPeerPort, Protocol: corev1.ProtocolTCP},
			{Name: "metrics", ContainerPort: MetricsPort, Protocol: corev1.ProtocolTCP},
		},
		VolumeMounts:             append([]corev1.VolumeMount{{Name: DataVolume, MountPath: dataMount}}, c.extraMounts()...),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		Resources: c.Resources(),
	}
	setProbes(&container)
	container.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: farewell}}}
	return container
}

// etcdctlVariables are where etcdctl finds a certificate when somebody runs it in a member's pod: that of the member, which etcd
// uses as a client itself. What the user sets stays. It is not told where to connect: etcdctl refuses a flag that is a variable
// as well, and the member's own address is its default.
func (c Cluster) etcdctlVariables() []corev1.EnvVar {
	if !c.talksTLS(core.PlaneClient) {
		return nil
	}
	variables := []corev1.EnvVar{
		{Name: "ETCDCTL_CACERT", Value: tlsMount + "/" + TrustVolume + "/" + string(core.PlaneClient) + ".crt"},
		{Name: "ETCDCTL_CERT", Value: tlsMount + "/" + serverVolume + "/" + KeyCertificate},
		{Name: "ETCDCTL_KEY", Value: tlsMount + "/" + serverVolume + "/" + KeyPrivate},
	}
	return slices.DeleteFunc(variables, func(v corev1.EnvVar) bool {
		return slices.ContainsFunc(c.Spec.PodTemplate.Spec.Env, func(own corev1.EnvVar) bool { return own.Name == v.Name })
	})
}

// farewell is for how many seconds a member that is to stop still serves. Until the Services have forgotten it a client that
// it has sent away could come back to it, and one that is refused waits for a second before it tries another member
// (https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md).
const farewell = 2

// Resources are the CPU and memory of a member.
func (c Cluster) Resources() corev1.ResourceRequirements {
	if want := c.Spec.PodTemplate.Spec.Resources; want != nil {
		return *want
	}
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
	}}
}

// setProbes uses etcd's own health endpoints on the metrics port (https://etcd.io/docs/v3.6/op-guide/monitoring/):
// /livez fails only if the member itself is broken, so that lost quorum restarts nothing; /readyz fails without quorum
// and for a learner. A member may take long to start: to read its log, or to receive a snapshot.
func setProbes(container *corev1.Container) {
	container.StartupProbe = probe("/livez", 1, 2, 1800)
	container.LivenessProbe = probe("/livez", 5, 5, 6)
	container.ReadinessProbe = probe("/readyz", 1, 2, 3)
}

func probe(path string, period, timeout, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("metrics"), Scheme: corev1.URISchemeHTTP}},
		PeriodSeconds:    period,
		TimeoutSeconds:   timeout,
		FailureThreshold: failures,
		SuccessThreshold: 1,
	}
}

func (c Cluster) extraMounts() []corev1.VolumeMount {
	var mounts []corev1.VolumeMount
	if c.Spec.Storage.WAL != nil {
		mounts = append(mounts, corev1.VolumeMount{Name: WALVolume, MountPath: walMount})
	}
	_, certificates := c.tlsVolumes()
	mounts = append(mounts, certificates...)
	return append(mounts, c.Spec.PodTemplate.Spec.VolumeMounts...)
}

func (c Cluster) volumes() []corev1.Volume {
	var volumes []corev1.Volume
	if c.Spec.Storage.Medium == v1alpha1.StorageMediumMemory {
		volumes = append(volumes, corev1.Volume{Name: DataVolume, VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: c.Spec.Storage.Size},
		}})
	}
	certificates, _ := c.tlsVolumes()
	volumes = append(volumes, certificates...)
	return append(volumes, c.AddedVolumes()...)
}

// AddedVolumes are those that the spec adds to the pods.
func (c Cluster) AddedVolumes() (volumes []corev1.Volume) {
	for _, v := range c.Spec.PodTemplate.Spec.Volumes {
		volumes = append(volumes, corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{
			ConfigMap: v.ConfigMap, Secret: v.Secret, EmptyDir: v.EmptyDir, Projected: v.Projected, PersistentVolumeClaim: v.PersistentVolumeClaim,
		}})
	}
	return volumes
}

// AddsVolume is whether the spec adds a volume of a name to the pods.
func (c Cluster) AddsVolume(name string) bool {
	return slices.ContainsFunc(c.Spec.PodTemplate.Spec.Volumes, func(v v1alpha1.Volume) bool { return v.Name == name })
}

// affinity prefers another host for every member. It is soft: three members on two hosts are better than two.
func (c Cluster) affinity() *corev1.Affinity {
	if c.Spec.PodTemplate.Spec.Affinity != nil {
		return c.Spec.PodTemplate.Spec.Affinity
	}
	return &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
			Weight: 100,
			PodAffinityTerm: corev1.PodAffinityTerm{
				TopologyKey:   corev1.LabelHostname,
				LabelSelector: &metav1.LabelSelector{MatchLabels: c.Selector()},
			},
		}},
	}}
}

// spread prefers zones, then hosts, that have the fewest members.
func (c Cluster) spread() []corev1.TopologySpreadConstraint {
	if wanted := c.Spec.PodTemplate.Spec.TopologySpreadConstraints; len(wanted) > 0 {
		constraints := make([]corev1.TopologySpreadConstraint, len(wanted))
		for i := range wanted {
			constraints[i] = *wanted[i].DeepCopy()
			if constraints[i].LabelSelector == nil {
				constraints[i].LabelSelector = &metav1.LabelSelector{MatchLabels: c.Selector()}
			}
		}
		return constraints
	}
	var constraints []corev1.TopologySpreadConstraint
	for _, key := range []string{corev1.LabelTopologyZone, corev1.LabelHostname} {
		constraints = append(constraints, corev1.TopologySpreadConstraint{
			MaxSkew:           1,
			TopologyKey:       key,
			WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector:     &metav1.LabelSelector{MatchLabels: c.Selector()},
		})
	}
	return constraints
}

// podSecurity is the "restricted" pod security standard
// (https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted) under the user's own choices.
func podSecurity(want *corev1.PodSecurityContext) *corev1.PodSecurityContext {
	security := &corev1.PodSecurityContext{}
	if want != nil {
		security = want.DeepCopy()
	}
	setDefault(&security.RunAsNonRoot, true)
	setDefault(&security.RunAsUser, nonRoot)
	setDefault(&security.RunAsGroup, nonRoot)
	setDefault(&security.FSGroup, nonRoot)
	setDefault(&security.FSGroupChangePolicy, corev1.FSGroupChangeOnRootMismatch)
	setDefault(&security.SeccompProfile, corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault})
	return security
}

func setDefault[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}
