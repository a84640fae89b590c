package backup_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

// What is in a store is told, also what cannot be used; what is left of tries is told apart from it, and from what may become a
// backup yet.
func TestWhatIsInAStore(t *testing.T) {
	s, folder := volume(t)
	m := startMember(t, "3.6", t.TempDir())
	place := func(elements ...string) string {
		return filepath.Join(append([]string{folder, "default", "demo", owner.UID}, elements...)...)
	}
	for _, name := range []string{"b", "a", "damaged"} {
		take(t, s, m.request(name))
	}
	other := m.request("c")
	other.Cluster = backup.Cluster{Namespace: "other", Name: "demo", UID: "2"}
	take(t, s, other)
	rewrite(t, place("damaged", "manifest.json"), func([]byte) []byte { return []byte("[") })
	now := time.Now()
	long := now.Add(-25 * time.Hour)
	leave := func(elements ...string) string {
		path := place(elements...)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte("x"), 0o600), os.Chtimes(path, long, long)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	killed, second := leave("killed", "snapshot-1"), leave("a", "snapshot-2")
	leave("damaged", "snapshot-3")
	leave("killed", "something-else")
	if err := os.WriteFile(place("killed", "snapshot-just-now"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "manifest.json"), []byte("somebody else's"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The snapshots of whole backups are as old.
	for _, name := range []string{"a", "b"} {
		made, err := backup.Load(t.Context(), s, owner, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(folder, made.Stored.Object), long, long); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(prefix string) string {
		all, err := backup.List(t.Context(), s, prefix)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, l := range all {
			cluster, name, err := backup.ParsePath(l.Path)
			if err != nil {
				t.Error(err)
			}
			if l.Err == nil && (l.Manifest.Name != name || l.Manifest.Cluster.UID != cluster.UID) {
				t.Errorf("%s has the manifest %+v", l.Path, l.Manifest)
			}
			if l.Err != nil {
				name += ": " + l.Err.Error()
			}
			told = append(told, name)
		}
		return strings.Join(told, "\n")
	}
	if got := listed("default/demo/"); !strings.HasPrefix(got, "a\nb\ndamaged: the backup cannot be used") {
		t.Errorf("listed are %s", got)
	}
	if got := listed(""); !strings.HasSuffix(got, "\nc") {
		t.Errorf("listed are %s", got)
	}
	left, err := backup.Unfinished(t.Context(), s, "", now)
	if err != nil || len(left) != 2 || filepath.Join(folder, left[0].Name) != second || filepath.Join(folder, left[1].Name) != killed {
		t.Errorf("left behind are %v, %v", left, err)
	}
	// Clocks that are wrong make nothing older than it is.
	if left, err := backup.Unfinished(t.Context(), s, "", now.Add(-2*time.Hour)); err != nil || len(left) != 0 {
		t.Errorf("by a clock that is late, left behind are %v, %v", left, err)
	}
	if left, err := backup.Unfinished(t.Context(), s, "", now.AddDate(1, 0, 0)); err != nil || len(left) != 2 {
		t.Errorf("by a clock that is a year ahead, left behind are %v, %v", left, err)
	}
}

// What killed agents have left is removed after a day, and nothing else ever: not what manifests name, be it as old, nor what is
// another cluster's, nor what may become a backup yet.
func TestRemoveUnfinished(t *testing.T) {
	onVolume, folder := volume(t)
	gateway := objectstore.Start(t, "", "")
	for kind, c := range map[string]struct {
		store  store.Store
		folder string
	}{"volume": {onVolume, folder}, "s3": {bucket(t, gateway.URL), gateway.Folder}} {
		t.Run(kind, func(t *testing.T) {
			s, m, now := c.store, startMember(t, "3.6", t.TempDir()), time.Now()
			age := func(name string, by time.Duration) {
				at := now.Add(-by)
				if err := os.Chtimes(filepath.Join(c.folder, name), at, at); err != nil {
					t.Fatal(err)
				}
			}
			put := func(name string, by time.Duration) string {
				if err := s.Put(t.Context(), name, strings.NewReader(name)); err != nil {
					t.Fatal(err)
				}
				age(name, by)
				return name
			}
			old, last := take(t, s, m.request("old")), take(t, s, m.request("new"))
			prefix := owner.Folder() + "/"
			const aged = 48 * time.Hour
			age(old.Stored.Object, aged)
			stays := []string{
				old.Stored.Object, prefix + "old/manifest.json", last.Stored.Object, prefix + "new/manifest.json",
				put(prefix+"being-made/snapshot-1", 23*time.Hour), put(prefix+"unusable/manifest.json", aged), put(prefix+"unusable/snapshot-1", aged),
				put("default/demo/another/killed/snapshot-1", aged), put(prefix+"archive/x/segments/1", aged),
			}
			gone, want := []string{}, []int{3, 0}
			if kind == "volume" {
				// What never became an object has no name in the store.
				gone, want = []string{prefix + "killed/.partial-1", prefix + "archive/x/segments/.partial-2"}, []int{5, 0}
				kept := []string{prefix + "being-made/.partial-3", "default/demo/another/killed/.partial-4"}
				for _, name := range slices.Concat(gone, kept) {
					file := filepath.Join(c.folder, name)
					if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte("half"), 0o600)); err != nil {
						t.Fatal(err)
					}
					age(name, aged)
				}
				age(kept[0], 23*time.Hour)
				defer func() {
					for _, name := range kept {
						if _, err := os.Stat(filepath.Join(c.folder, name)); err != nil {
							t.Error(err)
						}
					}
				}()
			}
			put(prefix+"old/snapshot-of-an-earlier-try", aged)
			put(prefix+"base-1234567890123456789/snapshot-1", aged)
			put(prefix+"killed/snapshot-1", 25*time.Hour)
			for _, want := range want {
				if removed, err := backup.RemoveUnfinished(t.Context(), s, owner, now); err != nil || removed != want {
					t.Errorf("%d are removed, want %d: %v", removed, want, err)
				}
			}
			for _, name := range gone {
				if _, err := os.Stat(filepath.Join(c.folder, name)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is there: %v", name, err)
				}
			}
			objects, err := s.List(t.Context(), "default/")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, object := range objects {
				names = append(names, object.Name)
			}
			slices.Sort(stays)
			if !slices.Equal(names, stays) {
				t.Errorf("there are left %v, want %v", names, stays)
			}
			for _, made := range []backup.Manifest{old, last} {
				if err := backup.Read(t.Context(), s, made, "", io.Discard); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What the store is told to keep is left, and a store that fails says so.
func TestWhatCannotBeRemoved(t *testing.T) {
	s, folder := volume(t)
	for _, name := range []string{"a/snapshot-1", "b/snapshot-1", "c/snapshot-1"} {
		name = owner.Folder() + "/" + name
		if err := s.Put(t.Context(), name, strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
		if at := time.Now().Add(-48 * time.Hour); !strings.Contains(name, "/c/") {
			if err := os.Chtimes(filepath.Join(folder, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	refusing := &refusing{Store: s, err: store.ErrRetained}
	if removed, err := backup.RemoveUnfinished(t.Context(), refusing, owner, time.Now()); err != nil || removed != 0 || refusing.asked != 2 {
		t.Errorf("retained: %d of %d, %v", removed, refusing.asked, err)
	}
	refusing.err = store.ErrDenied
	_, err := backup.RemoveUnfinished(t.Context(), refusing, owner, time.Now())
	if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "removing an unfinished backup of the cluster default/demo: ") {
		t.Errorf("denied: %v", err)
	}
}

// refusing is a store that deletes nothing.
type refusing struct {
	store.Store
	err   error
	asked int
}

func (r *refusing) Delete(context.Context, string) error {
	r.asked++
	return r.err
}

// A backup that takes too long is given up, long before what it has stored is removed.
func TestABackupThatTakesTooLong(t *testing.T) {
	s, _ := volume(t)
	m := startMember(t, "3.6", t.TempDir())
	slow := hooked{s, func(object string) {
		if strings.HasSuffix(object, "manifest.json") {
			time.Sleep(time.Second)
		}
	}}
	r := m.request("late")
	r.Limit = 500 * time.Millisecond
	_, err := backup.Take(t.Context(), slow, r)
	if err == nil || !strings.Contains(err.Error(), "it takes too long") || !strings.Contains(err.Error(), "500ms are over") {
		t.Errorf("it is %v", err)
	}
	if _, err := backup.Load(t.Context(), s, owner, "late"); !errors.Is(err, backup.ErrNoBackup) {
		t.Errorf("there is a backup: %v", err)
	}
}

func TestParsePath(t *testing.T) {
	for _, wrong := range []string{"", "a/b/c", "a/b/c/d/e", "a//c/d", "a/b/../d", "/a/b/c"} {
		_, _, err := backup.ParsePath(wrong)
		if err == nil || !strings.Contains(err.Error(), "give <namespace>/<cluster>/<uid>/<name>") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	cluster, name, err := backup.ParsePath("default/demo/1b4e28ba/nightly")
	if err != nil || cluster != owner || name != "nightly" {
		t.Errorf("%+v %q %v", cluster, name, err)
	}
}
