package backup_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

// targets are the volumes of three members of a new cluster. The WAL of the last is on a volume of its own.
func targets(t *testing.T, programs string) []backup.Target {
	t.Helper()
	var all []backup.Target
	cluster := map[string][]string{}
	for n := range 3 {
		name := fmt.Sprintf("demo-%d", n)
		cluster[name] = []string{"http://" + loopback.FreeAddress(t)}
		all = append(all, backup.Target{
			Restore: "r1", Data: filepath.Join(t.TempDir(), "data"), Member: name, InitialCluster: cluster, Token: "token-r1",
			Etcdutl: programs + "/etcdutl",
		})
	}
	all[2].WAL = filepath.Join(t.TempDir(), "wal")
	return all
}

func startFilled(t *testing.T, minor string, all []backup.Target) []member {
	t.Helper()
	var members []member
	for _, target := range all {
		peer := target.InitialCluster[target.Member][0]
		settings := etcdtest.Settings{Name: target.Member, Data: target.Data, Peer: peer}
		if target.WAL != "" {
			settings.Flags = append(settings.Flags, "--wal-dir="+target.WAL)
		}
		members = append(members, run(t, minor, settings))
	}
	for _, m := range members {
		m.Ready(t)
	}
	return members
}

// tree is all that is in a folder, with the content.
func tree(t *testing.T, folders ...string) string {
	t.Helper()
	var all []string
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				all = append(all, path)
				return err
			}
			content, err := os.ReadFile(path)
			all = append(all, fmt.Sprintf("%s %d %d", path, len(content), crc(content)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(all, "\n")
}

func mounts(target backup.Target) []string {
	all := []string{filepath.Dir(target.Data)}
	if target.WAL != "" {
		all = append(all, filepath.Dir(target.WAL))
	}
	return all
}

// Volumes that are filled each on its own become one cluster, which has what the backup has.
func TestFilledVolumesBecomeOneCluster(t *testing.T) {
	for _, minor := range minors {
		for _, bump := range []uint64{0, 1_000_000_000} {
			t.Run(fmt.Sprintf("%s, %d", minor, bump), func(t *testing.T) {
				s, _ := volume(t)
				source := startMember(t, minor, t.TempDir())
				source.live(t, rand.New(rand.NewPCG(15, bump)), 100)
				key := identity(t)
				made := take(t, s, source.request("one", key.Recipient().String()))
				want := source.values(t)
				all := targets(t, source.programs)
				for n := range all {
					all[n].BumpRevision = bump
					if err := errors.Join(backup.Fill(t.Context(), s, made, key.String(), all[n]), backup.Swap(t.Context(), all[n]), backup.Confirm(all[n])); err != nil {
						t.Fatal(err)
					}
					if left, _ := os.ReadDir(filepath.Dir(all[n].Data)); len(left) != 1 {
						t.Errorf("beside the data directory, there is something left: %v", left)
					}
				}
				members := startFilled(t, minor, all)
				var hashes []uint32
				for _, m := range members {
					if got := m.values(t); got != want {
						t.Errorf("the values are %s, and were %s", got, want)
					}
					status, err := m.Status(t.Context(), m.Endpoint)
					if err != nil {
						t.Fatal(err)
					}
					if id := fmt.Sprintf("%x", status.Header.ClusterId); id != all[0].EtcdID() || id == made.Cluster.EtcdID {
						t.Errorf("the cluster's ID is %s, predicted was %s", id, all[0].EtcdID())
					}
					if status.Header.Revision != made.State.Revision+int64(bump) {
						t.Errorf("the revision is %d, after %d", status.Header.Revision, made.State.Revision)
					}
					hash, err := m.HashKV(t.Context(), m.Endpoint, 0)
					if err != nil {
						t.Fatal(err)
					}
					hashes = append(hashes, hash.Hash)
				}
				if slices.Max(hashes) != slices.Min(hashes) {
					t.Errorf("the hashes differ: %v", hashes)
				}
				list, err := members[0].MemberList(t.Context())
				if err != nil || len(list.Members) != 3 {
					t.Errorf("the members are %v, %v", list, err)
				}
				if bump > 0 {
					event := <-members[1].Watch(t.Context(), "key-1", clientv3.WithRev(made.State.Revision))
					if !errors.Is(event.Err(), rpctypes.ErrCompacted) || event.CompactRevision != made.State.Revision+int64(bump) {
						t.Errorf("who watches from before is told %+v, %v", event, event.Err())
					}
				}
				if _, err := members[2].Put(t.Context(), "after", "it"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// values are all keys with their values.
func (m member) values(t *testing.T) string {
	t.Helper()
	all, err := m.Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all.Kvs)
}

// One process is killed while it fills a volume, at one of several points, and another one does it again.
func TestFillingThatIsKilled(t *testing.T) {
	s, folder := volume(t)
	source := startMember(t, "3.6", t.TempDir())
	source.live(t, rand.New(rand.NewPCG(17, 18)), 100)
	made := take(t, s, source.request("one"))
	for _, point := range []string{"download 0", "prepare", "restore 0", "restore 1", "sync 0", "sync 1"} {
		t.Run(point, func(t *testing.T) {
			target := targets(t, source.programs)[2]
			old := startMember(t, "3.6", target.Data)
			old.Kill()
			before := tree(t, target.Data)
			child := exec.Command(os.Args[0], "-test.run=^TestFillUntilKilled$")
			child.Env = append(os.Environ(), "FILL_UNTIL="+point, "FILL_STORE="+folder, "FILL_DATA="+target.Data, "FILL_WAL="+target.WAL, "FILL_ETCDUTL="+target.Etcdutl)
			said, err := child.CombinedOutput()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("it was not killed: %v %s", err, said)
			}
			if err := backup.Swap(t.Context(), target); err == nil || !strings.Contains(err.Error(), "fill it first") {
				t.Errorf("what is unfinished is swapped: %v", err)
			}
			if got := tree(t, target.Data); got != before {
				t.Errorf("the data is touched: %s instead of %s", got, before)
			}
			if err := backup.Fill(t.Context(), s, made, "", target); err != nil {
				t.Fatal(err)
			}
			finished := tree(t, mounts(target)...)
			// Once more, nothing is done: not even the store is needed.
			if err := backup.Fill(t.Context(), nil, made, "", target); err != nil || tree(t, mounts(target)...) != finished {
				t.Errorf("it is not recognized: %v", err)
			}
			other := target
			other.Token = "another"
			if err := backup.Fill(t.Context(), s, made, "", other); err == nil || !strings.Contains(err.Error(), "with other data") {
				t.Errorf("another cluster's is recognized: %v", err)
			}
			if err := backup.RollBack(t.Context(), target); err != nil || tree(t, mounts(target)[0]) != filepath.Dir(target.Data)+"\n"+before {
				t.Errorf("rolled back, %v: %s", err, tree(t, mounts(target)...))
			}
		})
	}
}

// TestFillUntilKilled is the process that is killed.
func TestFillUntilKilled(t *testing.T) {
	until := os.Getenv("FILL_UNTIL")
	if until == "" {
		t.Skip("it is run by TestFillingThatIsKilled")
	}
	die := func(point string) {
		if point == until {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	s, err := store.NewVolume(os.Getenv("FILL_STORE"))
	if err != nil {
		t.Fatal(err)
	}
	made, err := backup.Load(t.Context(), s, owner, "one")
	if err != nil {
		t.Fatal(err)
	}
	target := backup.Target{
		Restore: "r1", Data: os.Getenv("FILL_DATA"), WAL: os.Getenv("FILL_WAL"), Member: "demo-2",
		InitialCluster: map[string][]string{"demo-2": {"http://127.0.0.1:1"}}, Token: "token", Etcdutl: os.Getenv("FILL_ETCDUTL"),
		Prepare: func(context.Context, string) error { die("prepare"); return nil },
		Progress: func(stage string, done, total int64) {
			if done < total {
				die(stage + " 0")
			}
			die(stage + " 1")
		},
	}
	t.Fatal("it was to be killed: ", backup.Fill(t.Context(), s, made, "", target))
}

// What cannot be restored is refused, with nothing left on the volume.
func TestFillingThatIsRefused(t *testing.T) {
	s, folder := volume(t)
	source := startMember(t, "3.6", t.TempDir())
	source.live(t, rand.New(rand.NewPCG(19, 20)), 100)
	made := take(t, s, source.request("one"))
	target := targets(t, source.programs)[2]
	if err := os.MkdirAll(target.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(target.Data, "old"), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, mounts(target)...)
	snapshot := filepath.Join(folder, made.Stored.Object)
	for situation, c := range map[string]struct {
		spoil func(*testing.T, *backup.Manifest, *backup.Target)
		want  string
	}{
		"cut off": {func(t *testing.T, _ *backup.Manifest, _ *backup.Target) {
			rewrite(t, snapshot, func(b []byte) []byte { return b[:len(b)/2] })
		}, "choose another backup"},
		"damaged": {func(t *testing.T, _ *backup.Manifest, _ *backup.Target) {
			rewrite(t, snapshot, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, "choose another backup"},
		"another's": {func(_ *testing.T, m *backup.Manifest, _ *backup.Target) { m.Snapshot.SHA256 = strings.Repeat("0", 64) }, "choose another backup"},
		"gone":      {func(t *testing.T, _ *backup.Manifest, _ *backup.Target) { remove(t, snapshot) }, "there is no such object"},
		"no space":  {func(_ *testing.T, m *backup.Manifest, _ *backup.Target) { m.Snapshot.Size = 1 << 50 }, "1181116134 MiB are needed: 1073741824 MiB for the data, a tenth of that to grow, and 128 MiB for the WAL; enlarge the volume"},
		"a bad URL": {func(_ *testing.T, _ *backup.Manifest, t *backup.Target) {
			t.InitialCluster = map[string][]string{t.Member: {"x"}}
		}, "etcdutl cannot restore"},
		"no member": {func(_ *testing.T, _ *backup.Manifest, t *backup.Target) { t.Member = "x" }, `the member "x" has no peer URL`},
		"no token":  {func(_ *testing.T, _ *backup.Manifest, t *backup.Target) { t.Token = "" }, "has no token"},
		"a path":    {func(_ *testing.T, _ *backup.Manifest, t *backup.Target) { t.Restore = "../x" }, `"../x" cannot name a restore`},
		"one mount": {func(_ *testing.T, _ *backup.Manifest, t *backup.Target) { t.WAL = t.Data + "-wal" }, "are in the same folder"},
		"preparation": {func(_ *testing.T, _ *backup.Manifest, t *backup.Target) {
			t.Prepare = func(context.Context, string) error { return errors.New("no way") }
		}, "no way"},
	} {
		t.Run(situation, func(t *testing.T) {
			m, to := made, target
			c.spoil(t, &m, &to)
			if err := backup.Fill(t.Context(), s, m, "", to); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, without %q", err, c.want)
			}
			if got := tree(t, mounts(target)...); got != before {
				t.Errorf("the volume has %s", got)
			}
		})
	}
}
