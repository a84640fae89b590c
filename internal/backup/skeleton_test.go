package backup_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
)

// buckets is all that a database has.
func buckets(t *testing.T, data string) map[string]map[string]string {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(data, "member", "snap", "db"), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	all := map[string]map[string]string{}
	err = db.View(func(tx *bbolt.Tx) error {
		for problem := range tx.Check() {
			t.Errorf("%s: %v", data, problem)
		}
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			all[string(name)] = map[string]string{}
			return bucket.ForEach(func(k, v []byte) error {
				all[string(name)][string(k)] = string(v)
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// files are those of a data directory but the database, with their sizes: there is a time in some of them, so that they differ.
func files(t *testing.T, data string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	err := filepath.WalkDir(data, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "db" {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(data, path)
		all[inside] = info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// accounts makes a user with a role, for whom nobody is asked.
func (m member) accounts(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if _, err := m.RoleAdd(ctx, "reader"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.RoleGrantPermission(ctx, "reader", "a", "b", clientv3.PermissionType(clientv3.PermRead)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.UserAdd(ctx, "somebody", "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.UserGrantRole(ctx, "somebody", "reader"); err != nil {
		t.Fatal(err)
	}
}

// A volume that is filled has what etcdutl would have made, though that never sees the keys.
func TestFilledAsByEtcdutl(t *testing.T) {
	for _, minor := range minors {
		for _, c := range []struct {
			steps int
			bump  uint64
		}{{0, 0}, {0, 1_000}, {200, 0}, {200, 1_000_000_000}} {
			t.Run(fmt.Sprintf("%s, %d steps, %d", minor, c.steps, c.bump), func(t *testing.T) {
				s, _ := volume(t)
				source := startMember(t, minor, t.TempDir())
				source.live(t, rand.New(rand.NewPCG(27, uint64(c.steps))), c.steps)
				source.accounts(t)
				made := take(t, s, source.request("one"))
				file := filepath.Join(t.TempDir(), "saved")
				if said, err := exec.Command(source.programs+"/etcdctl", "--endpoints="+source.Endpoint, "snapshot", "save", file).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, said)
				}
				target := targets(t, source.programs)[0]
				target.BumpRevision = c.bump
				if err := backup.Fill(t.Context(), s, made, "", target); err != nil {
					t.Fatal(err)
				}
				if err := backup.Swap(t.Context(), target); err != nil {
					t.Fatal(err)
				}
				want := filepath.Join(t.TempDir(), "data")
				arguments := []string{"snapshot", "restore", file, "--data-dir", want, "--name", target.Member, "--initial-cluster-token", target.Token}
				cluster := ""
				for n := range target.InitialCluster {
					cluster += "," + n + "=" + target.InitialCluster[n][0]
				}
				arguments = append(arguments, "--initial-cluster", cluster[1:], "--initial-advertise-peer-urls", target.InitialCluster[target.Member][0])
				if c.bump > 0 {
					arguments = append(arguments, "--bump-revision", strconv.FormatUint(c.bump, 10), "--mark-compacted")
				}
				if said, err := exec.Command(source.programs+"/etcdutl", arguments...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, said)
				}
				if diff := cmp.Diff(buckets(t, want), buckets(t, target.Data)); diff != "" {
					t.Errorf("the databases differ: %s", diff)
				}
				if diff := cmp.Diff(files(t, want), files(t, target.Data)); diff != "" {
					t.Errorf("the files differ: %s", diff)
				}
			})
		}
	}
}
