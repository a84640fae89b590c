package render

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
)

// Labels of agents. They have none of the members', by which Services would send clients to them.
const (
	// LabelAgentFor names the object that an agent works for. Caches select Jobs by it.
	LabelAgentFor = "etcd.etcd.io/agent-for"
	// LabelAgentOf names the EtcdCluster that an agent works with. Members let those in that have it.
	LabelAgentOf = "etcd.etcd.io/agent-of"
)

// AgentContainer is the name of the container that does an agent's work.
const AgentContainer = "agent"

// Finalizer is on objects that have data in a store.
const Finalizer = "etcd.etcd.io/data"

// agentTries is how often the pod of an agent is made again after a failure that may pass. Kubernetes waits between them, from 10
// seconds to 6 minutes.
const agentTries = 5

// Agent is a Job whose pod carries out a task.
type Agent struct {
	// Owner is the object that it works for, and Name that of the Job.
	Owner           metav1.OwnerReference
	Namespace, Name string
	Task            task.Task
	Store           v1alpha1.BackupStore
	Spec            v1alpha1.AgentSpec
	// Image is the operator's, which has the agent's program.
	Image string
	// EtcdImage is one with etcd's programs, for tasks that need them.
	EtcdImage string
	// PullSecrets are for both images.
	PullSecrets []corev1.LocalObjectReference
	// Secrets with the certificate and the login for members, and a private key of age; empty without.
	TLSSecret, LoginSecret, IdentitySecret string
	// SourceTLSSecret and SourceLoginSecret are for an etcd outside; empty without.
	SourceTLSSecret, SourceLoginSecret string
	// Volumes are those of a member that it works on; nil without.
	Volumes *MemberVolumes
}

// MemberVolumes are the volumes of a member, and what a pod has to be like that works on them.
type MemberVolumes struct {
	// Data and WAL are the claims; WAL is empty if the log has no volume of its own.
	Data, WAL string
	// Security is that of the member's pod: files belong to its user.
	Security *corev1.PodSecurityContext
	// Affinity and Spread say on which nodes the pod may be.
	Affinity *corev1.Affinity
	Spread   []corev1.TopologySpreadConstraint
}

// Job builds it.
func (a Agent) Job() (*batchv1.Job, error) {
	order, err := a.order()
	if err != nil {
		return nil, err
	}
	labels := a.labels("etcd-agent")
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Name, Labels: labels, OwnerReferences: []metav1.OwnerReference{a.Owner}},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](agentTries),
			PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
				{Action: batchv1.PodFailurePolicyActionFailJob, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
					ContainerName: ptr.To(AgentContainer), Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{task.ExitFinal},
				}},
				// A drained node is no failure of the agent.
				{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
					{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
				}},
			}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: a.pod(order)},
		},
	}, nil
}

// order is the task as the agent is told it.
func (a Agent) order() (string, error) {
	a.Task.Store = agentStore(a.Store)
	a.Task.Store.Login = a.login()
	a.Task.TLS, a.Task.Login, a.Task.Identity = a.TLSSecret != "", a.LoginSecret != "", a.IdentitySecret != ""
	order, err := json.Marshal(a.Task)
	if err != nil {
		return "", fmt.Errorf("the task of the agent %s/%s cannot be written as JSON: %w", a.Namespace, a.Name, err)
	}
	// Kubernetes takes $(NAME) and $$ in a variable for something else; JSON can do without.
	return strings.ReplaceAll(string(order), "$", `\u0024`), nil
}

func (a Agent) labels(app string) map[string]string {
	return map[string]string{
		LabelAgentFor: a.Owner.Name, LabelAgentOf: a.Task.Cluster.Name,
		LabelApp: app, "app.kubernetes.io/instance": a.Owner.Name, "app.kubernetes.io/managed-by": "etcd-operator",
	}
}

func (a Agent) pod(order string) corev1.PodSpec {
	volumes, mounts := a.volumes()
	security := &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	container := corev1.Container{
		Name: AgentContainer, Image: a.Image, Command: []string{task.Etcd + "/etcd-agent", "run"},
		Env:                      []corev1.EnvVar{{Name: task.Variable, Value: order}},
		VolumeMounts:             mounts,
		Resources:                a.resources(),
		SecurityContext:          security,
		TerminationMessagePath:   task.Message,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	pod := corev1.PodSpec{
		RestartPolicy:                corev1.RestartPolicyNever,
		ServiceAccountName:           a.Spec.ServiceAccountName,
		AutomountServiceAccountToken: ptr.To(false),
		EnableServiceLinks:           ptr.To(false),
		NodeSelector:                 plain(a.Spec.NodeSelector),
		Tolerations:                  a.Spec.Tolerations,
		ImagePullSecrets:             a.PullSecrets,
		SecurityContext:              podSecurity(nil),
		Volumes:                      volumes,
	}
	if a.EtcdImage != "" {
		// etcd's image has etcd, the operator's the agent: it is copied, for neither has a shell or the other's programs.
		program := corev1.VolumeMount{Name: "program", MountPath: task.Programs}
		pod.Volumes = append(pod.Volumes, emptyDir("program"), emptyDir("scratch"))
		pod.InitContainers = []corev1.Container{{
			Name: "program", Image: a.Image, Command: []string{task.Etcd + "/etcd-agent", "install", task.Programs + "/etcd-agent"},
			VolumeMounts: []corev1.VolumeMount{program}, Resources: container.Resources, SecurityContext: security,
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		}}
		container.Image, container.Command = a.EtcdImage, []string{task.Programs + "/etcd-agent", "run"}
		container.VolumeMounts = append(container.VolumeMounts, program, corev1.VolumeMount{Name: "scratch", MountPath: task.Scratch})
	}
	if v := a.Volumes; v != nil {
		pod.SecurityContext, pod.Affinity, pod.TopologySpreadConstraints = podSecurity(v.Security), v.Affinity, v.Spread
	}
	pod.Containers = []corev1.Container{container}
	return pod
}

func emptyDir(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

func (a Agent) resources() corev1.ResourceRequirements {
	if a.Spec.Resources != nil {
		return *a.Spec.Resources
	}
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
	}}
}

// volumes are what the agent reads, and the store if that is one.
func (a Agent) volumes() (volumes []corev1.Volume, mounts []corev1.VolumeMount) {
	secret := func(volume, name, path string) {
		if name == "" {
			return
		}
		volumes = append(volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: name, DefaultMode: ptr.To[int32](0o440)},
		}})
		mounts = append(mounts, corev1.VolumeMount{Name: volume, MountPath: path, ReadOnly: true})
	}
	secret("client-tls", a.TLSSecret, task.ClientTLS)
	secret("login", a.LoginSecret, task.Login)
	secret("source-tls", a.SourceTLSSecret, task.SourceTLS)
	secret("source-login", a.SourceLoginSecret, task.SourceLogin)
	secret("identity", a.IdentitySecret, task.Identity)
	_, credentials, authority := StoreSecrets(a.Store)
	secret("store-credentials", nameOfSecret(credentials), task.StoreCredentials)
	secret("store-ca", nameOfSecret(authority), task.StoreCA)
	claim := func(volume, name, path string) {
		if name == "" {
			return
		}
		volumes = append(volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}})
		mounts = append(mounts, corev1.VolumeMount{Name: volume, MountPath: path})
	}
	if volume := a.Store.Volume; volume != nil {
		claim("store", volume.ClaimName, task.Volume)
	}
	if v := a.Volumes; v != nil {
		claim(DataVolume, v.Data, task.Data)
		claim(WALVolume, v.WAL, task.WAL)
	}
	return volumes, mounts
}

func nameOfSecret(secret *v1alpha1.SecretName) string {
	if secret == nil {
		return ""
	}
	return secret.Name
}

// StoreSecrets are the Secrets with the credentials for a store, and whom to trust for its certificate; nil without. They are named
// by fields of the given one.
func StoreSecrets(s v1alpha1.BackupStore) (field string, credentials, authority *v1alpha1.SecretName) {
	switch {
	case s.S3 != nil:
		return "store.s3", s.S3.CredentialsSecret, s.S3.CASecret
	case s.GCS != nil:
		return "store.gcs", s.GCS.CredentialsSecret, s.GCS.CASecret
	case s.Azure != nil:
		return "store.azure", s.Azure.CredentialsSecret, s.Azure.CASecret
	}
	return "store", nil, nil
}

// login says whose rights the agent has towards the store, for messages.
func (a Agent) login() string {
	field, credentials, _ := StoreSecrets(a.Store)
	switch {
	case a.Store.Volume != nil:
		return ""
	case credentials != nil:
		return fmt.Sprintf("the credentials of Secret %s, which %s.credentialsSecret names", credentials.Name, field)
	}
	return fmt.Sprintf("the service account %s of the agent (%s.credentialsSecret is not set)", cmp.Or(a.Spec.ServiceAccountName, "default"), field)
}

// agentStore is a store as it is described to an agent.
func agentStore(s v1alpha1.BackupStore) task.Store {
	_, credentials, authority := StoreSecrets(s)
	described := task.Store{Credentials: credentials != nil, CA: authority != nil}
	switch {
	case s.Volume != nil:
		described.Folder = ptr.To(string(s.Volume.Path))
	case s.S3 != nil:
		endpoint := string(s.S3.Endpoint)
		if endpoint == "" {
			endpoint = fmt.Sprintf("https://s3.%s.amazonaws.com", s.S3.Region)
		}
		described.S3 = &task.S3{
			Endpoint: endpoint, Region: s.S3.Region, Bucket: s.S3.Bucket, Prefix: string(s.S3.Prefix), PathStyle: s.S3.PathStyle,
			Encryption: s.S3.ServerSideEncryption, KMSKey: s.S3.KMSKeyID,
		}
	case s.GCS != nil:
		described.GCS = &task.GCS{Endpoint: string(s.GCS.Endpoint), Bucket: s.GCS.Bucket, Prefix: string(s.GCS.Prefix), KMSKey: s.GCS.KMSKeyName}
	case s.Azure != nil:
		described.Azure = &task.Azure{
			Endpoint: string(s.Azure.Endpoint), Account: s.Azure.Account, Container: s.Azure.Container, Prefix: string(s.Azure.Prefix),
			EncryptionScope: s.Azure.EncryptionScope,
		}
	}
	return described
}
