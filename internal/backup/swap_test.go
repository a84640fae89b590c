package backup_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
)

func crc(content []byte) uint32 { return crc32.ChecksumIEEE(content) }

// ending ends after some looks at it: before each rename there is one.
type ending struct {
	context.Context
	left *int
}

func endAfter(t *testing.T, looks int) context.Context { return ending{t.Context(), &looks} }

func (e ending) Err() error {
	if *e.left == 0 {
		return context.Canceled
	}
	*e.left--
	return nil
}

// However a restore is interrupted between two renames, going on leads to the new data, and going back to the old.
func TestSwappingThatIsInterrupted(t *testing.T) {
	s, _ := volume(t)
	source := startMember(t, "3.6", t.TempDir())
	source.live(t, rand.New(rand.NewPCG(21, 22)), 50)
	made := take(t, s, source.request("one"))
	filledVolumes := func(t *testing.T, old bool) backup.Target {
		target := targets(t, source.programs)[2]
		if old {
			for _, folder := range []string{target.Data, target.WAL} {
				if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "old"), []byte(folder), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
		}
		return target
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, old := range []bool{true, false} {
		renames := 4
		if !old {
			renames = 2
		}
		for n := range renames {
			t.Run(fmt.Sprintf("old data %v, swap stops before rename %d", old, n), func(t *testing.T) {
				target := filledVolumes(t, old)
				before := tree(t, mounts(target)...)
				interrupted := func() {
					must(t, backup.Fill(t.Context(), s, made, "", target))
					if err := backup.Swap(endAfter(t, n), target); !errors.Is(err, context.Canceled) {
						t.Fatalf("it was not interrupted: %v", err)
					}
				}
				for back := range 5 {
					interrupted()
					// Going back is interrupted, too; the last one is not.
					_ = backup.RollBack(endAfter(t, back), target)
					must(t, backup.RollBack(t.Context(), target))
					must(t, backup.RollBack(t.Context(), target))
					if got := tree(t, mounts(target)...); got != before {
						t.Fatalf("rolled back, the volume has %s instead of %s", got, before)
					}
				}
				interrupted()
				if err := backup.Confirm(target); err == nil || !strings.Contains(err.Error(), "is not in its place yet") {
					t.Errorf("confirmed too early: %v", err)
				}
				for range 2 {
					must(t, backup.Swap(t.Context(), target))
				}
				swapped := tree(t, target.Data, target.WAL)
				if strings.Contains(swapped, "/old ") || !strings.Contains(swapped, "/data/member/snap/db") || !strings.Contains(swapped, "0000000000000000-0000000000000000.wal") {
					t.Errorf("swapped is %s", swapped)
				}
				for range 2 {
					must(t, backup.Confirm(target))
					if got := tree(t, mounts(target)...); len(strings.Split(got, "\n")) != 2+len(strings.Split(swapped, "\n")) || tree(t, target.Data, target.WAL) != swapped {
						t.Errorf("confirmed, the volume has %s", got)
					}
				}
				if err := backup.Swap(t.Context(), target); err == nil {
					t.Error("what is confirmed is swapped again")
				}
			})
		}
	}
}

// What runs is not pulled from under its etcd, and after a restore that is rolled back the old cluster goes on.
func TestTheOldClusterComesBack(t *testing.T) {
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			s, _ := volume(t)
			folder := t.TempDir()
			old := startMember(t, minor, filepath.Join(folder, "data"))
			old.live(t, rand.New(rand.NewPCG(23, 24)), 50)
			made := take(t, s, old.request("one"))
			old.live(t, rand.New(rand.NewPCG(25, 26)), 50)
			want := old.keys(t)
			target := targets(t, old.programs)[0]
			target.Data = filepath.Join(folder, "data")
			target.InitialCluster = map[string][]string{target.Member: target.InitialCluster[target.Member]}
			if err := backup.Fill(t.Context(), s, made, "", target); err != nil {
				t.Fatal(err)
			}
			inUse := func(err error) {
				t.Helper()
				if err == nil || !strings.Contains(err.Error(), "is in use") || !strings.Contains(err.Error(), "stop etcd of demo-0 first") {
					t.Errorf("while etcd runs: %v", err)
				}
			}
			inUse(backup.Swap(t.Context(), target))
			old.Kill()
			if err := backup.Swap(t.Context(), target); err != nil {
				t.Fatal(err)
			}
			restored := startFilled(t, minor, []backup.Target{target})[0]
			if got := restored.keys(t); got == want {
				t.Error("it has what was written after the backup")
			}
			if err := backup.Swap(t.Context(), target); err != nil {
				t.Errorf("swapped already: %v", err)
			}
			inUse(backup.RollBack(t.Context(), target))
			restored.Kill()
			if err := backup.RollBack(t.Context(), target); err != nil {
				t.Fatal(err)
			}
			if got := startMember(t, minor, target.Data).keys(t); got != want {
				t.Errorf("the keys are %s, and were %s", got, want)
			}
		})
	}
}

// An etcd that was started between two renames has founded a cluster, which nobody may lose unasked.
func TestSomethingStartedBetweenTwoRenames(t *testing.T) {
	s, _ := volume(t)
	source := startMember(t, "3.6", t.TempDir())
	made := take(t, s, source.request("one"))
	target := targets(t, source.programs)[0]
	if err := errors.Join(os.Mkdir(target.Data, 0o700), backup.Fill(t.Context(), s, made, "", target)); err != nil {
		t.Fatal(err)
	}
	if err := backup.Swap(endAfter(t, 1), target); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := os.Mkdir(target.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	before := tree(t, mounts(target)...)
	for _, err := range []error{backup.Swap(t.Context(), target), backup.RollBack(t.Context(), target)} {
		if err == nil || !strings.Contains(err.Error(), "something was started during the restore") {
			t.Error(err)
		}
	}
	if got := tree(t, mounts(target)...); got != before {
		t.Errorf("the volume has %s instead of %s", got, before)
	}
}
