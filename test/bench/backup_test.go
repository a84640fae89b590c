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
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/history"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// backupLimit bounds one backup with its trial, and a restore.
const backupLimit = 10 * time.Minute

// agentMemory is how much memory an agent that makes a backup may have.
const agentMemory = 64 << 20

// most is how often what takes minutes is measured.
const most = 3

// TestBenchBackup times backups into an S3 server in the same Kubernetes, from the API call until they are whole and until they
// were tried out, what clients notice of it, and a new cluster that begins with one. Under the same conditions it has etcdctl save a snapshot of
// the same member to its volume, and etcdutl restore that.
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

// backUp times backups, and in turn etcdctl, while nobody else asks anything of the cluster; and then one of either while clients write.
func (b *backupBench) backUp(name string) {
	var saved []time.Duration
	var took samples
	for round := range min(rounds(), most) {
		saved = append(saved, b.save())
		// The first one is restored.
		took.add(b.backUpOnce(fmt.Sprintf("%s-%d", name, round), round > 0))
	}
	without := b.during(func() { time.Sleep(20 * time.Second) })
	var savedBusy, busy time.Duration
	savesBusy := b.during(func() { savedBusy = b.save() })
	with := b.during(func() {
		made := b.complete(name+"-busy", func(spec *v1alpha1.EtcdBackupSpec) { spec.Verification = v1alpha1.VerifyNever })
		busy = made.Ended.Sub(made.Begun)
	})
	ratio := median(saved) / median(took.agent)
	fmt.Printf("\nbackup, %s, %d rounds       median   samples (s)\n", name, len(saved))
	for _, line := range []struct {
		what    string
		samples []time.Duration
	}{{"etcdctl snapshot save", saved}, {"the agent itself", took.agent}, {"Complete", took.complete}, {"Verified", took.verified}, {"trial", took.trial}} {
		fmt.Printf("  %-24s %6.2f s   %s\n", line.what, median(line.samples), row(line.samples))
		b.figure(name+"-"+strings.ReplaceAll(line.what, " ", "-"), "s", median(line.samples))
	}
	fmt.Printf("  throughput               %6.2f of etcdctl's\n", ratio)
	b.figure(name+"-throughput-to-etcdctl", "ratio", ratio)
	fmt.Printf("  the agent's peak memory  %6.1f MiB\n", float64(took.memory)/(1<<20))
	b.figure(name+"-agent-peak-memory", "bytes", float64(took.memory))
	if took.memory > agentMemory {
		b.T.Errorf("an agent had %d bytes of memory; at most %d are wanted, whatever the size of the database", took.memory, agentMemory)
	}
	fmt.Printf("while two clients write      time      p99   longest gap   failed\n")
	for _, line := range []struct {
		what, key string
		took      time.Duration
		writers   history.Figures
	}{{"neither", "without", 0, without}, {"etcdctl snapshot save", "etcdctl", savedBusy, savesBusy}, {"the agent itself", "agent", busy, with}} {
		w := line.writers
		fmt.Printf("  %-24s %6.2f s %6.1f ms %6.2f s %6d of %d\n", line.what, line.took.Seconds(), milliseconds(w.P99), w.LongestGap.Seconds(), w.Failed, w.Writes+w.Failed)
		b.figure(name+"-busy-"+line.key, "s", line.took.Seconds())
		b.figure(name+"-busy-"+line.key+"-p99", "ms", milliseconds(w.P99))
		b.figure(name+"-busy-"+line.key+"-longest-gap", "s", w.LongestGap.Seconds())
		b.figure(name+"-busy-"+line.key+"-failed-writes", "writes", float64(w.Failed))
	}
}

// times are those of one backup: of the agent's work, until the object says that it is complete and verified, and of the trial. Memory is what
// the agent had at most, in bytes.
type times struct {
	agent, complete, verified, trial time.Duration
	memory                           int64
}

type samples struct {
	agent, complete, verified, trial []time.Duration
	memory                           int64
}

func (s *samples) add(t times) {
	s.memory = max(s.memory, t.memory)
	s.agent, s.complete = append(s.agent, t.agent), append(s.complete, t.complete)
	s.verified, s.trial = append(s.verified, t.verified), append(s.trial, t.trial)
}

func (b *backupBench) backUpOnce(name string, remove bool) times {
	b.T.Helper()
	began := time.Now()
	stored := b.complete(name)
	took := times{agent: stored.Ended.Sub(stored.Begun), complete: time.Since(began), memory: stored.PeakMemory}
	made := b.WaitBackup(name, "Verified", "Restored", backupLimit)
	took.verified, took.trial = time.Since(began), made.Status.VerificationTook.Duration
	b.T.Logf("%s: snapshot of %s, stored as %s: the agent itself %.2f s, Complete %.2f s, Verified %.2f s, the trial itself %.2f s", name,
		made.Status.SnapshotSize, made.Status.StoredSize, took.agent.Seconds(), took.complete.Seconds(), took.verified.Seconds(), took.trial.Seconds())
	if remove {
		b.DeleteAndWait(made, backupLimit)
	}
	return took
}

// complete makes a backup.
func (b *backupBench) complete(name string, changes ...func(*v1alpha1.EtcdBackupSpec)) backup.Manifest {
	b.T.Helper()
	b.MustBackUp(name, "demo", b.store.Bucket(name), changes...)
	return b.store.Manifest(name, b.WaitBackup(name, "Complete", "Stored", backupLimit).Status.Path)
}

// save has etcdctl save a snapshot of a member to its volume.
func (b *backupBench) save() time.Duration {
	b.T.Helper()
	return b.timed("/usr/local/bin/etcdctl", "--endpoints="+b.member(), "snapshot", "save", savedFile)
}

// during is what the worse off of two clients notices that write meanwhile.
func (b *backupBench) during(what func()) history.Figures {
	b.T.Helper()
	workload := b.StartWorkload("demo", history.Options{})
	what()
	return workload.Finish().Worst()
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
