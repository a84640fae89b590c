package backup_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

var gigabyte = flag.Bool("gigabyte", false, "run the tests that need 1 GB")

// TestTakeAgainstEtcdctl stores 1 GB on an S3 server, and beside that has etcdctl save it to a file: three times each, in turn. It only
// prints what they take, for this depends on what else the machine does.
func TestTakeAgainstEtcdctl(t *testing.T) {
	if testing.Short() || !*gigabyte {
		t.Skip("slow: fills a database with 1 GB; run it with -gigabyte")
	}
	s := bucket(t, objectstore.Start(t, "", "").URL)
	m := startMember(t, "3.6", t.TempDir())
	m.fill(t, 1000)
	var saved, taken time.Duration
	for round := range 3 {
		began := time.Now()
		file := filepath.Join(t.TempDir(), fmt.Sprint("saved-", round))
		if out, err := exec.Command(m.programs+"/etcdctl", "--endpoints="+m.Endpoint, "snapshot", "save", file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		save := time.Since(began)
		began = time.Now()
		made := take(t, s, m.request(fmt.Sprint("big-", round)))
		took := time.Since(began)
		t.Logf("round %d: etcdctl saves in %.2f s, %d MB are stored in %.2f s", round, save.Seconds(), made.Snapshot.Size/1_000_000, took.Seconds())
		saved, taken = saved+save, taken+took
	}
	t.Logf("throughput is %.2f of etcdctl's", saved.Seconds()/taken.Seconds())
}

// fill writes so many megabytes. Half of each value can be compressed.
func (m member) fill(t *testing.T, megabytes int) {
	t.Helper()
	value := make([]byte, 1_000_000)
	source := rand.NewChaCha8([32]byte{3})
	for n := range megabytes {
		_, _ = source.Read(value[:len(value)/2])
		if _, err := m.Put(t.Context(), fmt.Sprintf("big-%d", n), string(value)); err != nil {
			t.Fatal(err)
		}
	}
}
