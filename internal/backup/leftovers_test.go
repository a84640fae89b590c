package backup_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
)

// uid is that of a restore.
func uid(digit string) string {
	return strings.ReplaceAll("00000000-0000-4000-8000-000000000000", "0", digit)
}

// beside are the names of what is on the volumes beside the data.
func beside(t *testing.T, target backup.Target) string {
	t.Helper()
	var names []string
	for _, mount := range mounts(target) {
		entries, err := os.ReadDir(mount)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if name := entry.Name(); name != "data" && name != "wal" {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, " ")
}

// Tries to bring a new cluster its first data leave on volumes what the next one removes. What a restore in place has moved aside is
// nobody's but its own, and neither is what others have put there.
func TestWhatOtherRestoresHaveLeft(t *testing.T) {
	s, _ := volume(t)
	source := startMember(t, "3.6", t.TempDir())
	source.live(t, rand.New(rand.NewPCG(27, 28)), 50)
	made := take(t, s, source.request("one"))
	of := targets(t, source.programs)[2]
	restore := func(digit string, first bool) backup.Target {
		one := of
		one.Restore, one.Token, one.First = uid(digit), "token-"+digit, first
		return one
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fills := func(one backup.Target) {
		t.Helper()
		must(backup.Fill(t.Context(), s, made, "", one))
		must(backup.Swap(t.Context(), one))
	}
	has := func(want ...string) {
		t.Helper()
		if got := beside(t, of); got != strings.Join(want, " ") {
			t.Errorf("beside the data there are %q, want %q", got, want)
		}
	}
	theirs := []string{"lost+found", "restore-" + uid("9") + ".old", "restore-notes"}
	for _, name := range theirs {
		must(os.Mkdir(filepath.Join(filepath.Dir(of.Data), name), 0o700))
	}

	// One that filled the volume, one that was killed while it did, and one that put the data of another aside.
	first, second, third, fourth := restore("1", true), restore("2", true), restore("3", true), restore("4", true)
	fills(first)
	killed := filepath.Join(filepath.Dir(of.Data), "restore-"+second.Restore)
	must(os.Mkdir(killed, 0o700))
	must(os.WriteFile(filepath.Join(killed, "snapshot.db"), make([]byte, 1<<20), 0o600))
	fills(third)
	has("before-"+third.Restore, theirs[0], "restore-"+third.Restore, theirs[1], theirs[2], "before-"+third.Restore, "restore-"+third.Restore)
	// A manifest that asks for more space than there is: what was left is removed all the same.
	large := made
	large.Snapshot.Size = 1 << 50
	if err := backup.Fill(t.Context(), s, large, "", fourth); err == nil || !strings.Contains(err.Error(), "enlarge the volume") {
		t.Errorf("there is no such space: %v", err)
	}
	has(theirs...)
	fills(fourth)
	must(backup.Confirm(fourth))
	has(theirs...)

	// In place, one that was never confirmed is not forgotten by the next ones.
	before := tree(t, of.Data, of.WAL)
	fifth, sixth, seventh := restore("5", false), restore("6", false), restore("7", true)
	fills(fifth)
	restored := tree(t, of.Data, of.WAL)
	fills(sixth)
	must(os.Mkdir(killed, 0o700)) // Since it was filled.
	must(backup.RollBack(t.Context(), sixth))
	if tree(t, of.Data, of.WAL) != restored || beside(t, of) == strings.Join(theirs, " ") || strings.Contains(beside(t, of), second.Restore) {
		t.Errorf("beside the data there are %q", beside(t, of))
	}
	fills(seventh)
	must(os.Mkdir(killed, 0o700))
	must(backup.Confirm(seventh))
	if strings.Contains(beside(t, of), second.Restore) {
		t.Errorf("beside the data there are %q", beside(t, of))
	}
	// One that is confirmed once more may come while another one works.
	must(os.Mkdir(killed, 0o700))
	must(backup.Confirm(seventh))
	if !strings.Contains(beside(t, of), second.Restore) {
		t.Errorf("beside the data there are %q", beside(t, of))
	}
	must(backup.RollBack(t.Context(), fifth))
	if got := tree(t, of.Data, of.WAL); got != before {
		t.Errorf("the volume has %s instead of %s", got, before)
	}
}
