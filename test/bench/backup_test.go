//go:build bench

package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/history"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// backupLimit bounds one backup with its trial, and a restore.
const backupLimit = 10 * time.Minute

// most is how often what takes minutes is measured.
const most = 3

// TestBenchBackup times backups into an S3 server in the same Kubernetes, from the API call until they are whole and until they
// were tried out, what clients notice of it, and a new cluster that begins with one. Beside them it has etcdctl save a snapshot of the same
// member to its volume, and etcdutl restore that.
func TestBenchBackup(t *testing.T) {
	k := live.Connect(t)
	cluster := k.Cluster("demo", 3)
	cluster.Spec.Storage.Size = new(resource.MustParse("8Gi"))
	k.MustCreate(cluster)
	store := k.StartObjectStore(resource.MustParse("8Gi"))
	k.WaitSettled("demo", time.Minute)
	b := &backupBench{Kubernetes: k, store: store}
	for _, size := range []int{0, 1000} {
		fill(k, size)
		b.backUp(fmt.Sprintf("%d-mb", size))
	}
	b.restore()
	if err := WriteResults("backup", b.figures); err != nil {
		t.Fatal(err)
	}
}

type backupBench struct {
	*live.Kubernetes
	store   *live.ObjectStore
	figures []Figure
}

func (b *backupBench) figure(name, unit string, value float64) {
	b.figures = append(b.figures, Figure{Name: name, Value: value, Unit: unit})
}

// backUp times backups, and in turn etcdctl.
func (b *backupBench) backUp(name string) {
	quiet := b.StartWorkload("demo", history.Options{})
	time.Sleep(20 * time.Second)
	without := quiet.Finish().Worst()
	var saved, agent, whole, tried, trial []time.Duration
	var worst history.Figures
	for round := range min(rounds(), most) {
		saved = append(saved, b.timed("/usr/local/bin/etcdctl", "--endpoints="+b.member(), "snapshot", "save", savedFile))
		workload := b.StartWorkload("demo", history.Options{})
		backup := fmt.Sprintf("%s-%d", name, round)
		began := time.Now()
		made := b.MustBackUp(backup, "demo", b.store.Bucket(backup))
		stored := b.WaitBackup(backup, "Complete", "Stored", backupLimit).Status
		whole = append(whole, time.Since(began))
		if during := workload.Finish().Worst(); round == 0 || during.P99 > worst.P99 {
			worst = during
		}
		status := b.WaitBackup(backup, "Verified", "Restored", backupLimit).Status
		tried, trial = append(tried, time.Since(began)), append(trial, status.VerificationTook.Duration)
		took := b.store.Took(backup, stored.Path)
		agent = append(agent, took)
		b.T.Logf("%s: snapshot of %s, stored as %s: etcdctl %.2f s, the agent itself %.2f s, Complete %.2f s, Verified %.2f s, the trial itself %.2f s", backup,
			status.SnapshotSize, status.StoredSize, saved[round].Seconds(), took.Seconds(), whole[round].Seconds(), tried[round].Seconds(), trial[round].Seconds())
		if name == "0-mb" || round > 0 {
			b.DeleteAndWait(made, backupLimit) // The first one is restored.
		}
	}
	ratio := median(saved) / median(agent)
	fmt.Printf("\nbackup, %s, %d rounds       median   samples (s)\n", name, len(whole))
	for _, line := range []struct {
		what    string
		samples []time.Duration
	}{{"etcdctl snapshot save", saved}, {"the agent itself", agent}, {"Complete", whole}, {"Verified", tried}, {"trial", trial}} {
		fmt.Printf("  %-24s %6.2f s   %s\n", line.what, median(line.samples), row(line.samples))
		b.figure(name+"-"+strings.ReplaceAll(line.what, " ", "-"), "s", median(line.samples))
	}
	fmt.Printf("  throughput               %6.2f of etcdctl's\n", ratio)
	fmt.Printf("  writers' p99             %6.1f ms  without: %.1f ms\n", milliseconds(worst.P99), milliseconds(without.P99))
	fmt.Printf("  longest gap of writers   %6.2f s   without: %.2f s; %d writes failed of %d\n",
		worst.LongestGap.Seconds(), without.LongestGap.Seconds(), worst.Failed, worst.Writes+worst.Failed)
	b.figure(name+"-throughput-to-etcdctl", "ratio", ratio)
	b.figure(name+"-p99", "ms", milliseconds(worst.P99))
	b.figure(name+"-p99-without", "ms", milliseconds(without.P99))
	b.figure(name+"-longest-gap", "s", worst.LongestGap.Seconds())
	b.figure(name+"-failed-writes", "writes", float64(worst.Failed))
}

// savedFile is where etcdctl saves on the volume of a member, outside of its data.
const savedFile = "/var/lib/etcd/saved.db"

// member is where one that does not lead serves clients.
func (b *backupBench) member() string {
	b.T.Helper()
	cluster, err := b.GetCluster(context.Background(), "demo")
	if err != nil {
		b.T.Fatal(err)
	}
	return cluster.Status.Endpoints[1]
}

// timed runs a program in the pod of that member.
func (b *backupBench) timed(command ...string) time.Duration {
	b.T.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), backupLimit)
	defer cancel()
	if out, err := b.Exec(ctx, "demo-0-0", command...); err != nil {
		b.T.Fatalf("%v: %v: %s", command, err, out)
	}
	return time.Since(began)
}

// restore times an empty cluster, what etcdutl takes, and a cluster that begins with the backup.
func (b *backupBench) restore() {
	available := func(cluster *v1alpha1.EtcdCluster) time.Duration {
		began := time.Now()
		b.MustCreate(cluster)
		b.WaitCondition(cluster.Name, "Available", "QuorumServes", backupLimit)
		return time.Since(began)
	}
	var empty, etcdutl, restored []time.Duration
	for round := range min(rounds(), most) {
		plain := b.Cluster(fmt.Sprint("empty-", round), 3)
		empty = append(empty, available(plain))
		b.DeleteAndWait(plain, time.Minute)
		etcdutl = append(etcdutl, b.timed("/usr/local/bin/etcdutl", "snapshot", "restore", savedFile, "--data-dir", fmt.Sprint("/var/lib/etcd/restored-", round)))
		twin := b.Cluster(fmt.Sprint("twin-", round), 3)
		twin.Spec.Storage.Size = new(resource.MustParse("8Gi"))
		twin.Spec.Bootstrap = &v1alpha1.BootstrapSpec{BackupRef: &v1alpha1.BackupReference{Name: "1000-mb-0"}}
		restored = append(restored, available(twin))
		b.DeleteAndWait(twin, time.Minute)
	}
	ratio := median(restored) / (median(etcdutl) + median(empty))
	fmt.Printf("\nrestore of 1000 MB, %d rounds  median   samples (s)\n", len(restored))
	fmt.Printf("  an empty cluster         %6.2f s   %s\n  etcdutl snapshot restore %6.2f s   %s\n  a cluster with the data  %6.2f s   %s\n  to both                  %6.2f\n",
		median(empty), row(empty), median(etcdutl), row(etcdutl), median(restored), row(restored), ratio)
	b.figure("restore-empty-cluster", "s", median(empty))
	b.figure("restore-etcdutl", "s", median(etcdutl))
	b.figure("restore-available", "s", median(restored))
	b.figure("restore-to-etcdutl-and-create", "ratio", ratio)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// fill writes so many megabytes. Half of each value can be compressed.
func fill(k *live.Kubernetes, megabytes int) {
	k.T.Helper()
	client, err := k.Etcd(context.Background(), "demo-client")
	if err != nil {
		k.T.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	value := make([]byte, 100_000)
	for n := range megabytes * 10 {
		// It never fails.
		_, _ = rand.Read(value[:len(value)/2])
		k.Eventually("filling the cluster", time.Minute, func(ctx context.Context) error {
			trying, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, err := client.Put(trying, fmt.Sprintf("filling/%d", n), string(value))
			return err
		})
	}
}
