package render

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
)

// etcdRepository is where etcd's images are unless something says otherwise.
const etcdRepository = "gcr.io/etcd-development/etcd"

// Agents are what is the same for all agents of an operator.
type Agents struct {
	// Image is the operator's own, which has the agent's program.
	Image string
	// Version is the operator's.
	Version string
}

// Backup is what the agents of an EtcdBackup are built from.
type Backup struct {
	*v1alpha1.EtcdBackup
	// Cluster is whose backup it is; its EtcdCluster is nil if there is none any more.
	Cluster Cluster
	Agents  Agents
}

// Store is where it is, or is to be; nil if nothing says so.
func (b Backup) Store() *v1alpha1.BackupStore {
	switch {
	case b.Status.Store != nil:
		return b.Status.Store
	case b.Spec.Store != nil:
		return b.Spec.Store
	case b.Cluster.EtcdCluster != nil && b.Cluster.Spec.Backup != nil:
		return &b.Cluster.Spec.Backup.Store
	}
	return nil
}

// Encryption is how it is to be encrypted; nil if it is not.
func (b Backup) Encryption() *v1alpha1.BackupEncryption {
	if b.Spec.Encryption == nil && b.Spec.Store == nil && b.Cluster.EtcdCluster != nil && b.Cluster.Spec.Backup != nil {
		return b.Cluster.Spec.Backup.Encryption
	}
	return b.Spec.Encryption
}

// Identity is the Secret with a private key to read it; empty if there is none.
func (b Backup) Identity() string {
	for _, encryption := range []*v1alpha1.BackupEncryption{b.Encryption(), b.Status.Encryption} {
		if encryption != nil && encryption.IdentitySecret != nil {
			return encryption.IdentitySecret.Name
		}
	}
	return ""
}

// AgentSpec is how its agents run.
func (b Backup) AgentSpec() v1alpha1.AgentSpec {
	switch {
	case b.Spec.Agent != nil:
		return *b.Spec.Agent
	case b.Cluster.EtcdCluster != nil && b.Cluster.Spec.Backup != nil:
		return ptr.Deref(b.Cluster.Spec.Backup.Agent, v1alpha1.AgentSpec{})
	}
	return v1alpha1.AgentSpec{}
}

// Taken is whether it is in the store.
func (b Backup) Taken() bool { return b.Status.CompletedAt != nil }

// Keep is whether its data stays when the object is deleted.
func (b Backup) Keep() bool {
	return b.Spec.DeletionPolicy == v1alpha1.BackupRetain || b.Spec.DeletionPolicy == "" && b.Spec.Path != ""
}

// Path is where it is, or is to be, in the store. Its own name alone would not do: an earlier EtcdBackup may have had it, whose data
// stayed.
func (b Backup) Path() string {
	switch {
	case b.Status.Path != "":
		return b.Status.Path
	case b.Spec.Path != "":
		return b.Spec.Path
	}
	cluster := b.UID // An etcd outside has none of its own.
	switch {
	case b.Cluster.EtcdCluster != nil:
		cluster = b.Cluster.UID
	case b.Spec.Source == nil:
		return ""
	}
	own := strings.ReplaceAll(string(b.UID), "-", "")
	return fmt.Sprintf("%s/%s/%s/%s-%s", b.Namespace, b.Spec.ClusterRef.Name, cluster, b.Name, own[:min(len(own), 12)])
}

// Agent is the agent of one kind. The EtcdCluster has to be there for one that makes a backup of it.
func (b Backup) Agent(kind backups.Kind) Agent {
	agent := Agent{
		Owner: *metav1.NewControllerRef(b.EtcdBackup, v1alpha1.GroupVersion.WithKind("EtcdBackup")), Namespace: b.Namespace,
		Name: backups.JobName(b.Name, kind), Store: ptr.Deref(b.Store(), v1alpha1.BackupStore{}), Spec: b.AgentSpec(), Image: b.Agents.Image,
	}
	agent.Owner.BlockOwnerDeletion = nil // Nobody waits for a Job.
	parts := append(strings.Split(b.Path(), "/"), "", "", "")
	agent.Task = task.Task{
		Kind: task.Kind(kind), OperatorVersion: b.Agents.Version, Name: parts[3],
		Cluster: task.Cluster{Namespace: parts[0], Name: parts[1], UID: parts[2]},
	}
	repository := etcdRepository
	if b.Cluster.EtcdCluster != nil {
		agent.PullSecrets, repository = b.Cluster.Spec.PodTemplate.Spec.ImagePullSecrets, b.Cluster.Spec.Repository
	}
	switch kind {
	case backups.Backup:
		b.takes(&agent)
	case backups.Verify:
		agent.EtcdImage = cmp.Or(agent.Spec.Repository, repository) + ":v" + b.Status.Version
		if b.Status.Encryption != nil {
			agent.IdentitySecret = b.Identity()
		}
	case backups.Inspect, backups.Delete:
	}
	return agent
}

// takes adds what an agent needs that makes a backup.
func (b Backup) takes(agent *Agent) {
	if encryption := b.Encryption(); encryption != nil {
		agent.Task.Recipients = encryption.Recipients
	}
	if b.Spec.Source != nil {
		agent.from(b.Spec.Source)
		return
	}
	b.Cluster.asks(agent)
	// It was read from JSON.
	agent.Task.Spec, _ = json.Marshal(b.Cluster.Spec) //nolint:errchkjson // As above.
}

// from adds what an agent needs that talks to an etcd outside.
func (a *Agent) from(source *v1alpha1.ExternalEtcd) {
	a.SourceTLSSecret, a.SourceLoginSecret = nameOfSecret(source.TLSSecret), nameOfSecret(source.CredentialsSecret)
	a.Task.Source = &task.Source{TLS: source.TLSSecret != nil, Login: source.CredentialsSecret != nil}
	for _, endpoint := range source.Endpoints {
		a.Task.Source.URLs = append(a.Task.Source.URLs, string(endpoint))
	}
}

// asks adds what an agent needs that talks to members: whom to ask, and how.
func (c Cluster) asks(agent *Agent) {
	for _, m := range c.Status.Members {
		if m.Role != core.RoleLearner {
			agent.Task.Members = append(agent.Task.Members, task.Member{Name: m.Name, URL: c.ClientURL(m.Name)})
		}
	}
	if c.talksTLS(core.PlaneClient) {
		agent.TLSSecret = c.OperatorSecret()
	}
	if c.WantsAuth() || c.Status.Auth != nil {
		agent.LoginSecret = c.OperatorAuthSecret()
	}
}

// Labels and annotations of EtcdBackups that a schedule makes.
const (
	// LabelScheduledFor names the EtcdCluster.
	LabelScheduledFor = "etcd.etcd.io/scheduled-for"
	// AnnotationScheduledAt is when it was due.
	AnnotationScheduledAt = "etcd.etcd.io/scheduled-at"
	// AnnotationKeep is set by people: "true" for one that is to stay.
	AnnotationKeep = "etcd.etcd.io/keep"
)

// ScheduledBackup is the EtcdBackup of a cluster for a time of its schedule. It does not belong to the EtcdCluster, which it outlives.
func ScheduledBackup(cluster *v1alpha1.EtcdCluster, name string, at time.Time, verify bool) *v1alpha1.EtcdBackup {
	backup := &v1alpha1.EtcdBackup{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cluster.Namespace, Name: name,
			Labels:      map[string]string{LabelScheduledFor: cluster.Name},
			Annotations: map[string]string{AnnotationScheduledAt: at.UTC().Format(time.RFC3339)},
		},
		Spec: v1alpha1.EtcdBackupSpec{ClusterRef: v1alpha1.ClusterReference{Name: cluster.Name}, Verification: v1alpha1.VerifyAlways},
	}
	if !verify {
		backup.Spec.Verification = v1alpha1.VerifyNever
	}
	return backup
}
