package observe

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Reasons for which an agent is not started yet.
const (
	reasonClusterNotFound    core.Reason = "ClusterNotFound"
	reasonClusterUnavailable core.Reason = "ClusterUnavailable"
	reasonStoreMissing       core.Reason = "StoreMissing"
	reasonSourceMissing      core.Reason = "SourceMissing"
	reasonNoAgents           core.Reason = "NoAgentImage"
)

// ObservedBackup is the observation of an EtcdBackup, with what acting on it needs.
type ObservedBackup struct {
	backups.Observation
	Render render.Backup
	// Jobs are the UIDs of the Jobs that there are.
	Jobs map[backups.Kind]types.UID
}

// ObserveBackup reads all about an EtcdBackup. The object is to be read live: its status says what was done already.
func (o *Observer) ObserveBackup(ctx context.Context, backup *v1alpha1.EtcdBackup) (ObservedBackup, error) {
	built := render.Backup{EtcdBackup: backup, Agents: o.Agents}
	cluster := &v1alpha1.EtcdCluster{}
	switch err := o.Cache.Get(ctx, client.ObjectKey{Namespace: backup.Namespace, Name: backup.Spec.ClusterRef.Name}, cluster); {
	case err == nil:
		built.Cluster = render.Cluster{EtcdCluster: cluster, Domain: o.Domain, Operator: o.Operator}
	case !apierrors.IsNotFound(err):
		return ObservedBackup{}, fmt.Errorf("reading EtcdCluster %s/%s: %w", backup.Namespace, backup.Spec.ClusterRef.Name, err)
	}
	observed := ObservedBackup{Render: built, Jobs: map[backups.Kind]types.UID{}}
	observed.Observation = backups.Observation{
		Now: o.Now(), Name: backup.Name, Generation: backup.Generation,
		Deleting: !backup.DeletionTimestamp.IsZero(), Held: controllerutil.ContainsFinalizer(backup, render.Finalizer),
		Adopted: backup.Spec.Path != "", Verify: backup.Spec.Verification != v1alpha1.VerifyNever, Keep: built.Keep(), Path: built.Path(),
		Encrypted: backup.Status.Encryption != nil, Readable: built.Identity() != "",
		Agents: map[backups.Kind]backups.Agent{}, Recorded: RecordedBackup(backup),
	}
	for _, kind := range backups.Kinds {
		name := client.ObjectKey{Namespace: backup.Namespace, Name: backups.JobName(backup.Name, kind)}
		job, err := o.job(ctx, name, backup.UID, due(observed.Observation, kind))
		if err != nil {
			return ObservedBackup{}, err
		}
		if job.exists {
			observed.Agents[kind], observed.Jobs[kind] = backupAgent(job), job.uid
		}
	}
	observed.Cluster = clusterProblem(backup, built.Cluster)
	observed.Store = o.storeProblem(ctx, built)
	if o.Agents.Image == "" {
		observed.Store = core.Problem{Reason: reasonNoAgents, Message: "the operator does not know the image of its agents: start it with --agent-image"}
	}
	if observed.Deleting && observed.Held {
		ends, err := o.namespaceEnds(ctx, backup.Namespace)
		observed.NamespaceEnds = ends
		return observed, err
	}
	return observed, nil
}

// due is whether an agent of a kind is the next one.
func due(o backups.Observation, kind backups.Kind) bool {
	complete := o.Recorded.Condition(backups.Complete).Status == core.True
	switch kind {
	case backups.Delete:
		return o.Deleting
	case backups.Verify:
		return !o.Deleting && complete
	case backups.Backup, backups.Inspect:
		return !o.Deleting && !complete && o.Adopted == (kind == backups.Inspect)
	}
	return false
}

// namespaceEnds is whether a namespace is being deleted, so that nothing can be made in it.
func (o *Observer) namespaceEnds(ctx context.Context, name string) (bool, error) {
	var namespace corev1.Namespace
	if err := o.Live.Get(ctx, client.ObjectKey{Name: name}, &namespace); err != nil {
		return false, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	return namespace.DeletionTimestamp != nil, nil
}

// clusterProblem is why a cluster cannot be asked for a snapshot.
func clusterProblem(backup *v1alpha1.EtcdBackup, c render.Cluster) core.Problem {
	name := backup.Spec.ClusterRef.Name
	switch {
	case backup.Spec.Source != nil:
		return core.Problem{} // Its agent finds out.
	case c.EtcdCluster == nil:
		return core.Problem{Reason: reasonClusterNotFound, Message: fmt.Sprintf("EtcdCluster %s, which spec.clusterRef names, does not exist in namespace %s: make it, or delete this object", name, backup.Namespace)}
	case !c.DeletionTimestamp.IsZero():
		return core.Problem{Reason: reasonClusterUnavailable, Message: fmt.Sprintf("EtcdCluster %s is being deleted", name)}
	case c.HeldBy() != "":
		return core.Problem{Reason: reasonClusterUnavailable, Message: fmt.Sprintf("EtcdRestore %s holds EtcdCluster %s: a backup is made as soon as a voter serves again", c.HeldBy(), name)}
	}
	for i := range c.Status.Members {
		if m := &c.Status.Members[i]; m.Healthy && m.Role != core.RoleLearner {
			return core.Problem{}
		}
	}
	return core.Problem{Reason: reasonClusterUnavailable, Message: fmt.Sprintf("no voter of EtcdCluster %s serves: a backup is made as soon as one does", name)}
}

// storeProblem is why agents cannot use the store.
func (o *Observer) storeProblem(ctx context.Context, b render.Backup) core.Problem {
	s := b.Store()
	if s == nil {
		return core.Problem{Reason: reasonStoreMissing, Message: fmt.Sprintf(
			"nothing says where the backup is to be kept: set spec.store here, or spec.backup.store of EtcdCluster %s", b.Spec.ClusterRef.Name)}
	}
	var needs []reference
	add := func(field, kind string, name string, keys ...string) {
		needs = append(needs, reference{field, kind, name, keys})
	}
	field, credentials, authority := render.StoreSecrets(*s)
	switch {
	case credentials == nil:
	case s.S3 != nil:
		add(field+".credentialsSecret", "Secret", credentials.Name, "access-key-id", "secret-access-key")
	case s.GCS != nil:
		add(field+".credentialsSecret", "Secret", credentials.Name, "service-account.json")
	default:
		add(field+".credentialsSecret", "Secret", credentials.Name)
	}
	if authority != nil {
		add(field+".caSecret", "Secret", authority.Name, task.KeyCA)
	}
	if s.Volume != nil {
		add("store.volume.claimName", "PersistentVolumeClaim", s.Volume.ClaimName)
	}
	if source := b.Spec.Source; source != nil && !b.Taken() {
		for _, problem := range o.missing(ctx, b.Namespace, sourceReferences("spec.source", source)) {
			return core.Problem{Reason: reasonSourceMissing, Message: problem.Message}
		}
	}
	if identity := b.Identity(); identity != "" {
		add("encryption.identitySecret", "Secret", identity, task.KeyIdentity)
	}
	for _, problem := range o.missing(ctx, b.Namespace, needs) {
		return core.Problem{Reason: reasonStoreMissing, Message: problem.Message}
	}
	return core.Problem{}
}

// sourceReferences are the Secrets that an agent needs to talk to an etcd outside.
func sourceReferences(field string, source *v1alpha1.ExternalEtcd) (all []reference) {
	if source.TLSSecret != nil {
		all = append(all, reference{field + ".tlsSecret", "Secret", source.TLSSecret.Name, []string{task.KeyCA}})
	}
	if source.CredentialsSecret != nil {
		all = append(all, reference{field + ".credentialsSecret", "Secret", source.CredentialsSecret.Name, []string{"username", "password"}})
	}
	return all
}

// backupAgent is what a Job means to a backup.
func backupAgent(j job) backups.Agent {
	agent := backups.Agent{
		Exists: j.exists, Foreign: j.foreign, Leaving: j.leaving, Ended: j.ended, Failed: j.failed, EndedAt: j.endedAt,
		Trouble: j.trouble, Differs: j.result.Differs,
	}
	if j.result.Backup != nil {
		stored := backups.Stored(*j.result.Backup)
		agent.Stored = &stored
	}
	if j.result.Trial != nil {
		agent.Took = j.result.Trial.Took
	}
	return agent
}
