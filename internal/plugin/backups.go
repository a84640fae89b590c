package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/backups"
)

func backupsCommand(access *access) *cobra.Command {
	group := &cobra.Command{Use: "backups", Short: "Finds backups in their store, and makes them known to Kubernetes"}
	group.AddCommand(listCommand(access), adoptCommand(access))
	return group
}

// place is where backups are.
type place struct {
	cluster, file, image, account string
	timeout                       time.Duration
}

func (p *place) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&p.cluster, "cluster", "", "the EtcdCluster whose spec.backup says where")
	flags.StringVar(&p.file, "store", "", "a file with what spec.backup.store of an EtcdCluster has, as YAML; its Secrets are in the namespace")
	flags.StringVar(&p.account, "service-account", "", "the ServiceAccount of pods that reach the store, where it tells them apart by that")
	flags.DurationVar(&p.timeout, "timeout", 10*time.Minute, "how long to wait")
	command.MarkFlagsOneRequired("cluster", "store")
	command.MarkFlagsMutuallyExclusive("cluster", "store")
}

// backup is an EtcdBackup in that place, with the settings of the cluster.
func (p *place) backup(ctx context.Context, k *kube, name string) (*v1alpha1.EtcdBackup, error) {
	backup := &v1alpha1.EtcdBackup{ObjectMeta: metav1.ObjectMeta{Namespace: k.namespace, Name: name}}
	if p.file != "" {
		content, err := os.ReadFile(p.file)
		if err != nil {
			return nil, err
		}
		backup.Spec.Store = &v1alpha1.BackupStore{}
		if err := yaml.UnmarshalStrict(content, backup.Spec.Store); err != nil {
			return nil, fmt.Errorf("%s is to have what spec.backup.store of an EtcdCluster has: %w", p.file, err)
		}
		if p.account != "" {
			backup.Spec.Agent = &v1alpha1.AgentSpec{ServiceAccountName: p.account}
		}
		return backup, nil
	}
	cluster := &v1alpha1.EtcdCluster{}
	if err := k.Get(ctx, client.ObjectKey{Namespace: k.namespace, Name: p.cluster}, cluster); err != nil {
		return nil, err
	}
	if cluster.Spec.Backup == nil {
		return nil, fmt.Errorf("EtcdCluster %s/%s has no spec.backup: say with --store where its backups are", k.namespace, p.cluster)
	}
	backup.Spec.Store, backup.Spec.Encryption, backup.Spec.Agent = &cluster.Spec.Backup.Store, cluster.Spec.Backup.Encryption, cluster.Spec.Backup.Agent
	if p.account != "" {
		backup.Spec.Agent = ptr.To(ptr.Deref(backup.Spec.Agent, v1alpha1.AgentSpec{}))
		backup.Spec.Agent.ServiceAccountName = p.account
	}
	return backup, nil
}

func listCommand(access *access) *cobra.Command {
	var from place
	var prefix, output string
	command := &cobra.Command{
		Use:   "list (--cluster NAME | --store FILE)",
		Short: "Lists what is in a store, whether Kubernetes knows of it or not",
		Long: "Lists the backups in a store, of all clusters, and how far back continuous archives reach. A pod in the namespace reads them, " +
			"with the Secrets that the store names; it is removed afterwards. Nothing is changed in the store.",
		Example: "  kubectl etcd backups list --cluster demo\n  kubectl etcd backups list --store store.yaml --prefix default/demo/",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("--output is %q: json, or left out", output)
			}
			ctx, cancel := context.WithTimeoutCause(command.Context(), from.timeout, fmt.Errorf("--timeout of %s is over", from.timeout))
			defer cancel()
			k, err := access.connect()
			if err != nil {
				return err
			}
			found, store, err := list(ctx, k, &from, prefix)
			if err != nil {
				return err
			}
			if output == "json" {
				encoder := json.NewEncoder(command.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(found)
			}
			known, err := knownAs(ctx, k, store)
			if err != nil {
				return err
			}
			return printFound(command.OutOrStdout(), found, known)
		},
	}
	from.flags(command)
	command.Flags().StringVar(&from.image, "image", "", "the operator's image, instead of that of the operator which is installed")
	command.Flags().StringVar(&prefix, "prefix", "", "only what is below this, such as <namespace>/<cluster>/")
	command.Flags().StringVarP(&output, "output", "o", "", "json for all that is known")
	return command
}

// list has an agent list a store, and is what that is.
func list(ctx context.Context, k *kube, from *place, prefix string) ([]task.Found, *v1alpha1.BackupStore, error) {
	backup, err := from.backup(ctx, k, "list")
	if err != nil {
		return nil, nil, err
	}
	image, err := k.agentImage(ctx, from.image)
	if err != nil {
		return nil, nil, err
	}
	found, err := k.runAgent(ctx, backup, image, prefix)
	return found, backup.Spec.Store, err
}

// parseFound reads what an agent has listed, which has to be all of it. Libraries of the agent may write into the same log: what is no
// thing that was found is passed over, and the end tells how many there are.
func parseFound(lines []byte) ([]task.Found, error) {
	all, passed := []task.Found{}, ""
	for line := range strings.Lines(string(lines)) {
		var found task.Found
		if err := json.Unmarshal([]byte(line), &found); err != nil || found == (task.Found{}) {
			passed = strings.TrimSpace(line)
			continue
		}
		if end := found.End; end != nil && end.Count == len(all) {
			return all, nil
		} else if end != nil {
			return nil, fmt.Errorf("of %d things that the agent has found, %d came through: try again, or list less with --prefix", end.Count, len(all))
		}
		all = append(all, found)
	}
	if passed != "" {
		return nil, fmt.Errorf("the end of the agent's list is missing; it has written %q: try again, with a plugin of the version of its image", passed)
	}
	return nil, errors.New("the end of the agent's list is missing: try again")
}

// knownAs are the EtcdBackups of the namespace that stand for what is in a store, in words, by their paths.
func knownAs(ctx context.Context, k *kube, store *v1alpha1.BackupStore) (map[string]string, error) {
	var all v1alpha1.EtcdBackupList
	if err := k.List(ctx, &all, client.InNamespace(k.namespace)); err != nil {
		return nil, err
	}
	known := map[string]string{}
	for i := range all.Items {
		if backup := &all.Items[i]; samePlace(backup.Status.Store, store) {
			known[backup.Status.Path] = strings.TrimPrefix(known[backup.Status.Path]+", "+described(backup), ", ")
		}
	}
	return known, nil
}

// samePlace is whether two stores are one, whatever the Secrets are by which they are reached.
func samePlace(a, b *v1alpha1.BackupStore) bool {
	if a == nil || b == nil {
		return false
	}
	plain := func(s *v1alpha1.BackupStore) *v1alpha1.BackupStore {
		s = s.DeepCopy()
		if s.S3 != nil {
			s.S3.CredentialsSecret, s.S3.CASecret = nil, nil
		}
		if s.GCS != nil {
			s.GCS.CredentialsSecret, s.GCS.CASecret = nil, nil
		}
		if s.Azure != nil {
			s.Azure.CredentialsSecret, s.Azure.CASecret = nil, nil
		}
		return s
	}
	return equality.Semantic.DeepEqual(plain(a), plain(b))
}

// printFound prints two tables, of which an empty one is left out.
func printFound(to io.Writer, all []task.Found, known map[string]string) error {
	out := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	var rows, archives, problems []string
	for _, found := range all {
		switch b, a := found.Backup, found.Archive; {
		case b != nil && b.Problem != "":
			problems = append(problems, fmt.Sprintf("%s cannot be used: %s", b.Path, b.Problem))
		case b != nil:
			rows = append(rows, fmt.Sprintf("%s\t%s\t%d\t%d\t%s\t%s\t%s", b.Path, b.Stored.Ended.UTC().Format(time.RFC3339), b.Stored.Revision, b.Stored.Keys,
				size(b.Stored.StoredSize), yes(len(b.Stored.Recipients) > 0), cmp.Or(known[b.Path], "-")))
		case a != nil:
			archives = append(archives, fmt.Sprintf("%s/%s/%s\t%d\t%d\t%s\t%s\t%d", a.Cluster.Namespace, a.Cluster.Name, a.Cluster.UID, a.First, a.Last,
				a.From.UTC().Format(time.RFC3339), a.Until.UTC().Format(time.RFC3339), a.Missing))
		}
	}
	table := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintln(out, title+"\n"+strings.Join(lines, "\n"))
		}
	}
	table("BACKUP\tCOMPLETED\tREVISION\tKEYS\tSTORED\tENCRYPTED\tKNOWN AS", rows)
	if len(rows) > 0 && len(archives) > 0 {
		fmt.Fprintln(out)
	}
	table("ARCHIVE\tFROM REVISION\tTO\tFROM\tUNTIL\tTHEN MISSING", archives)
	if len(all) == 0 {
		fmt.Fprintln(out, "There is nothing.")
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, problem := range problems {
		if _, err := fmt.Fprintln(to, problem); err != nil {
			return err
		}
	}
	return nil
}

func size(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// described is what stands for a backup, and whether it was proven good.
func described(known *v1alpha1.EtcdBackup) string {
	if meta.IsStatusConditionTrue(known.Status.Conditions, backups.Verified) {
		return known.Name + " (verified)"
	}
	return known.Name
}

func adoptCommand(access *access) *cobra.Command {
	var from place
	var name, identity string
	var recipients []string
	var wait bool
	command := &cobra.Command{
		Use:     "adopt PATH --as NAME (--cluster NAME | --store FILE)",
		Short:   "Makes an EtcdBackup that stands for what is in a store, by its path in the list",
		Long:    "Makes an EtcdBackup that stands for a backup in a store. It is tried out, and can be restored. What is in the store stays when the EtcdBackup is deleted.",
		Example: "  kubectl etcd backups adopt default/demo/1b4e28ba-2fa1-11d2-883f-0016d3cca427/demo-260301-0315-0d8f7a6b5c4d --as last --store store.yaml --wait",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeoutCause(command.Context(), from.timeout, fmt.Errorf("--timeout of %s is over", from.timeout))
			defer cancel()
			k, err := access.connect()
			if err != nil {
				return err
			}
			backup, err := from.backup(ctx, k, name)
			if err != nil {
				return err
			}
			backup.Spec.Path = args[0]
			if parts := strings.Split(args[0], "/"); len(parts) > 1 {
				backup.Spec.ClusterRef.Name = parts[1]
			}
			if identity != "" {
				backup.Spec.Encryption = &v1alpha1.BackupEncryption{Recipients: recipients, IdentitySecret: &v1alpha1.SecretName{Name: identity}}
			}
			if err := k.Create(ctx, backup); err != nil {
				return err
			}
			fmt.Fprintf(command.OutOrStdout(), "etcdbackup/%s created\n", name)
			if !wait {
				return nil
			}
			said, err := verified(ctx, k, backup)
			if err == nil {
				fmt.Fprintln(command.OutOrStdout(), said)
			}
			return err
		},
	}
	from.flags(command)
	command.Flags().StringVar(&name, "as", "", "the name of the EtcdBackup")
	command.Flags().StringVar(&identity, "identity-secret", "", "a Secret with identity.txt, a private key of age, if the backup is encrypted")
	command.Flags().StringSliceVar(&recipients, "recipients", nil, "the public keys of age that it is encrypted for, of which the Secret has a private one")
	command.MarkFlagsRequiredTogether("identity-secret", "recipients")
	command.Flags().BoolVar(&wait, "wait", false, "wait until it was tried out")
	if err := command.MarkFlagRequired("as"); err != nil {
		panic(err) // It was defined above.
	}
	return command
}

// verified waits until a backup was tried out, and tells what came of it.
func verified(ctx context.Context, k *kube, backup *v1alpha1.EtcdBackup) (string, error) {
	for {
		if err := k.Get(ctx, client.ObjectKeyFromObject(backup), backup); err != nil {
			return "", orCause(ctx, err)
		}
		complete := meta.FindStatusCondition(backup.Status.Conditions, backups.Complete)
		tried := meta.FindStatusCondition(backup.Status.Conditions, backups.Verified)
		switch phase := string(backup.Status.Phase); {
		case phase == backups.PhaseFailed && complete != nil:
			return "", fmt.Errorf("EtcdBackup %s: %s", backup.Name, complete.Message)
		case phase == backups.PhaseCompleted && tried != nil && tried.Status == metav1.ConditionTrue:
			return tried.Message, nil
		case phase == backups.PhaseCompleted && tried != nil:
			return "", fmt.Errorf("EtcdBackup %s is not verified: %s", backup.Name, tried.Message)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("EtcdBackup %s is %s: %w", backup.Name, backup.Status.Phase, context.Cause(ctx))
		case <-time.After(time.Second):
		}
	}
}

// orCause is why a context ended, if that is why something failed.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
