package archive_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

// put makes revisions, one by one on the store.
func (m *member) put(t testing.TB, a *archive.Archiver, n int) {
	t.Helper()
	for i := range n {
		if _, err := m.Put(t.Context(), fmt.Sprintf("key-%d", i%3), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		m.archived(t, a)
	}
}

// paths are the files of segments with content, by their first revision.
func paths(t testing.TB, folder string) (all []string) {
	t.Helper()
	found, err := filepath.Glob(folder + "/default/demo/1b4e28ba/archive/*/segments/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		var first, last int64
		if _, err := fmt.Sscanf(filepath.Base(path), "%d-%d-", &first, &last); err != nil {
			t.Fatal(err)
		}
		if last >= first {
			all = append(all, path)
		}
	}
	return all
}

// A recovery refuses segments that are not what was stored, and says which and why.
func TestWhatIsNotTheSegmentIsRefused(t *testing.T) {
	s, folder := volume(t)
	m := newMember(t, "3.6")
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	a, stop := follow(t, m.Client, s, m.options(s, key.Recipient().String()))
	until(t, a, "it has begun", func(s archive.Status) bool { return s.Revision > 0 })
	m.put(t, a, 6)
	stop()
	all := paths(t, folder)
	if len(all) < 5 {
		t.Fatalf("the segments are %v", all)
	}
	victim := all[len(all)/2]
	good, err := os.ReadFile(victim)
	if err != nil {
		t.Fatal(err)
	}
	another, err := os.ReadFile(all[len(all)/2-1])
	if err != nil {
		t.Fatal(err)
	}
	for situation, c := range map[string]struct {
		content    []byte
		identities string
		want       string
	}{
		"cut off":       {good[:len(good)-3], key.String(), fmt.Sprintf("its content has %d bytes, its header says", len(good)-len(header(good))-3)},
		"cut off early": {good[:40], key.String(), "it has no header: it is no segment, or cut off"},
		"empty":         {nil, key.String(), "it has no header"},
		"a wrong bit":   {flipped(good), key.String(), "the sha256 of its content is"},
		"another's":     {another, key.String(), "segments cannot be renamed"},
		"the wrong key": {good, other.String(), "the segment"},
		"no key":        {good, "", "give one that begins with AGE-SECRET-KEY-"},
	} {
		t.Run(situation, func(t *testing.T) {
			if err := os.WriteFile(victim, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			plan, err := archive.Plan(t.Context(), s, owner, archive.Target{})
			if err != nil {
				t.Fatal(err)
			}
			// The base can be read in any case: it is about the segment.
			path := filepath.Join(t.TempDir(), "snapshot.db")
			file, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(backup.Read(t.Context(), s, plan.Base, key.String(), file), file.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err = archive.Replay(t.Context(), s, plan, c.identities, path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "the segment") {
				t.Errorf("the error is %v, without %q", err, c.want)
			}
		})
	}
	if err := os.WriteFile(victim, good, 0o600); err != nil {
		t.Fatal(err)
	}
	// What was put back is good.
	want := m.state(t)
	recovered, _ := m.recovered(t, s, "3.6", archive.Target{}, key.String())
	recovered.same(t, want)
}

// header are the first two lines.
func header(segment []byte) []byte {
	line := strings.IndexByte(string(segment), '\n')
	return segment[:line+1+64+1]
}

func flipped(segment []byte) []byte {
	out := append([]byte{}, segment...)
	out[len(out)-5] ^= 4
	return out
}

// What is asked for and is not there is refused with what there is; what is there is found with no more than it needs.
func TestPlans(t *testing.T) {
	s, folder := volume(t)
	_, err := archive.Plan(t.Context(), s, owner, archive.Target{})
	if !errors.Is(err, archive.ErrUnrecoverable) || !strings.Contains(err.Error(), "recovering the cluster default/demo to the last revision from directory "+folder) ||
		!strings.Contains(err.Error(), "there is nothing") {
		t.Errorf("without an archive: %v", err)
	}
	if _, err := archive.Plan(t.Context(), s, owner, archive.Target{Revision: 1, Time: time.Now()}); err == nil || !strings.Contains(err.Error(), "give one of them") {
		t.Errorf("a revision and a moment: %v", err)
	}
	m := newMember(t, "3.6")
	began := time.Now()
	a, stop := follow(t, m.Client, s, m.options(s))
	until(t, a, "it has begun", func(s archive.Status) bool { return s.Revision > 0 })
	m.put(t, a, 12)
	stop()
	last := a.Status().Revision
	first, err := archive.Plan(t.Context(), s, owner, archive.Target{Revision: 3})
	if err != nil || first.Last != 3 || first.Segments > 2 {
		t.Errorf("for revision 3 it takes %+v, %v", first, err)
	}
	refused := func(target archive.Target, want string) {
		t.Helper()
		_, err := archive.Plan(t.Context(), s, owner, target)
		if !errors.Is(err, archive.ErrUnrecoverable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, without %q", target, err, want)
		}
	}
	refused(archive.Target{Revision: last + 1}, fmt.Sprintf("there is revision 1 (%s) to %d (", first.Base.Ended.Format(time.RFC3339Nano), last))
	refused(archive.Target{Time: began}, "there is revision 1 (")
	refused(archive.Target{Time: time.Now()}, fmt.Sprintf("to %d (", last))
	// With a gap, what is before it can be recovered, and the end is refused.
	all := paths(t, folder)
	victim := all[len(all)/2]
	var from, to int64
	if _, err := fmt.Sscanf(filepath.Base(victim), "%d-%d-", &from, &to); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(victim); err != nil {
		t.Fatal(err)
	}
	refused(archive.Target{}, fmt.Sprintf("after which the revisions %d to %d are missing", from, to))
	refused(archive.Target{Revision: to}, fmt.Sprintf("to %d (", from-1))
	if _, err := archive.Plan(t.Context(), s, owner, archive.Target{Revision: from - 1}); err != nil {
		t.Errorf("before the gap: %v", err)
	}
	// An archiver does not continue what has a gap.
	b, stop := follow(t, m.Client, s, m.options(s))
	until(t, b, "it has a new history", func(s archive.Status) bool { return errors.Is(s.Broken, archive.ErrGap) && s.Revision >= last })
	stop()
	// Without its base, a history is nothing.
	if err := os.Remove(filepath.Join(folder, "default", "demo", "1b4e28ba", first.Base.Name, "manifest.json")); err != nil {
		t.Fatal(err)
	}
	refused(archive.Target{Revision: from - 1}, "the backups "+first.Base.Name+", which were bases for it, are not there any more")
}

// Whatever is deleted, and wherever that ends, all that has to be kept can be recovered.
// A base whose snapshot is not what was stored is passed over for an earlier one, and without one the recovery is refused.
func TestDamagedBases(t *testing.T) {
	s, folder := volume(t)
	m := newMember(t, "3.6")
	o := m.options(s)
	o.BaseAge = 100 * time.Millisecond
	a, stop := follow(t, m.Client, s, o)
	bases := func() []string {
		all, err := archive.Bases(t.Context(), s, owner)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	until(t, a, "there are two bases", func(s archive.Status) bool { m.put(t, a, 1); return len(bases()) >= 2 })
	m.put(t, a, 3)
	stop()
	last, want := m.Revision(t), m.state(t)
	plan := func() archive.Recovery {
		found, err := archive.Plan(t.Context(), s, owner, archive.Target{Revision: last})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	newest := plan()
	if len(newest.Passed) > 0 {
		t.Errorf("passed over are %v", newest.Passed)
	}
	all := bases()
	path := filepath.Join(folder, newest.Base.Stored.Object)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	earlier, err := backup.Load(t.Context(), s, owner, all[0])
	if err != nil {
		t.Fatal(err)
	}
	another, err := os.ReadFile(filepath.Join(folder, earlier.Stored.Object))
	if err != nil {
		t.Fatal(err)
	}
	object := fmt.Sprintf("the object %q in directory %s is not that of the backup %q: ", newest.Base.Stored.Object, folder, newest.Base.Name)
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"cut off":         {whole[:len(whole)/2], object + fmt.Sprintf("it has %d bytes", len(whole)/2)},
		"a bit is wrong":  {flipped(whole), object + "its sha256 is "},
		"another's":       {another, object},
		"more":            {append(slices.Clone(whole), 0), object + fmt.Sprintf("it has %d bytes", len(whole)+1)},
		"it is not there": {nil, store.ErrNotFound.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if c.content != nil {
				if err := os.WriteFile(path, c.content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			defer func() { _ = os.WriteFile(path, whole, 0o600) }()
			if found := plan(); found.Base.Name == newest.Base.Name || len(found.Passed) != 1 || !strings.Contains(found.Passed[0], c.says) {
				t.Errorf("it takes %s, and has passed over %v, without %q", found.Base.Name, found.Passed, c.says)
			}
		})
	}
	if err := os.WriteFile(path, flipped(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	recovered, _ := m.recovered(t, s, "3.6", archive.Target{Revision: last}, "")
	recovered.same(t, want)
	for _, name := range all {
		b, err := backup.Load(t.Context(), s, owner, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(folder, b.Stored.Object), 1); err != nil {
			t.Fatal(err)
		}
	}
	_, err = archive.Plan(t.Context(), s, owner, archive.Target{Revision: last})
	if !errors.Is(err, archive.ErrUnrecoverable) || !strings.Contains(err.Error(), "bases for it are damaged: "+object) || !strings.Contains(err.Error(), "or an ordinary backup") {
		t.Errorf("without a good base: %v", err)
	}
}

// A backup that the store has not kept as it was sent becomes no base: it is said, and another one is made.
func TestABaseThatTheStoreDamages(t *testing.T) {
	s, folder := volume(t)
	m := newMember(t, "3.6")
	o := m.options(s)
	var made []string
	var broken atomic.Bool
	broken.Store(true)
	good := o.Base
	o.Base = func(ctx context.Context) (backup.Manifest, error) {
		b, err := good(ctx)
		if err == nil && broken.Load() {
			made = append(made, b.Name)
			path := filepath.Join(folder, b.Stored.Object)
			content, failed := os.ReadFile(path)
			if err = failed; err == nil {
				err = os.WriteFile(path, flipped(content), 0o600)
			}
		}
		return b, err
	}
	a, stop := follow(t, m.Client, s, o)
	until(t, a, "it says that the base is damaged", func(s archive.Status) bool {
		return s.Err != nil && strings.Contains(s.Err.Error(), "a base for the archive of the cluster default/demo: ") && strings.Contains(s.Err.Error(), "its sha256 is")
	})
	broken.Store(false)
	m.put(t, a, 1)
	until(t, a, "nothing hinders any more", func(s archive.Status) bool { return s.Err == nil })
	stop()
	bases, err := archive.Bases(t.Context(), s, owner)
	if err != nil || len(bases) != 1 || slices.Contains(made, bases[0]) {
		t.Errorf("the bases are %v, of which %v are damaged: %v", bases, made, err)
	}
}

func TestPrune(t *testing.T) {
	s, _ := volume(t)
	m := newMember(t, "3.6")
	o := m.options(s)
	o.BaseBytes = 4 << 10
	a, stop := follow(t, m.Client, s, o)
	until(t, a, "it has begun", func(s archive.Status) bool { return s.Revision > 0 })
	bases := map[string]bool{}
	var keep time.Time
	var kept state
	for len(bases) < 4 {
		m.put(t, a, 1)
		bases[a.Status().Base] = true
		if len(bases) == 3 && keep.IsZero() {
			kept = m.state(t)
			keep = time.Now()
			until(t, a, "all of it is stored", func(s archive.Status) bool { return s.Current.After(keep) })
		}
	}
	m.put(t, a, 3)
	stop()
	want := m.state(t)
	before, err := s.List(t.Context(), "default/demo/1b4e28ba/archive/")
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		for _, target := range []archive.Target{{}, {Time: keep}, {Revision: kept.Revision}} {
			if _, err := archive.Plan(t.Context(), s, owner, target); err != nil {
				t.Fatal(err)
			}
		}
	}
	// It is stopped after each deletion, as by a crash.
	deletions := 0
	for ; ; deletions++ {
		limited := &limitedStore{Store: s, left: 1}
		_, err := archive.Prune(t.Context(), limited, owner, keep)
		check()
		if err == nil {
			break
		}
		if !errors.Is(err, errFault) || deletions > len(before) {
			t.Fatal(err)
		}
	}
	after, err := s.List(t.Context(), "default/demo/1b4e28ba/archive/")
	if err != nil || deletions < 5 || len(after) > len(before)-deletions {
		t.Errorf("%d objects of %d are left after %d deletions, %v", len(after), len(before), deletions, err)
	}
	for target, want := range map[archive.Target]state{{}: want, {Time: keep}: kept, {Revision: kept.Revision}: kept} {
		recovered, _ := m.recovered(t, s, "3.6", target, "")
		recovered.same(t, want)
	}
	if _, err := archive.Plan(t.Context(), s, owner, archive.Target{Revision: 3}); !errors.Is(err, archive.ErrUnrecoverable) {
		t.Errorf("what was deleted: %v", err)
	}
	// Everything older than a new base can be deleted but the last segment, which says until when there was nothing new; and the
	// archiver goes on.
	o.BaseBytes, o.BaseAge = 1<<40, time.Millisecond
	a, stop = follow(t, m.Client, s, o)
	until(t, a, "it has a base of this moment", func(s archive.Status) bool { return s.Base != "" && !bases[s.Base] })
	stop()
	said := latest(t, s)
	if _, err := archive.Prune(t.Context(), s, owner, time.Now()); err != nil {
		t.Fatal(err)
	}
	if now := latest(t, s); now != said {
		t.Errorf("the last segment was %s, and is %s", said, now)
	}
	o.BaseAge = time.Hour
	a, stop = follow(t, m.Client, s, o)
	until(t, a, "it has begun", func(s archive.Status) bool { return s.Revision > 0 })
	m.put(t, a, 3)
	stop()
	want = m.state(t)
	if a.Status().Broken != nil {
		t.Errorf("the history was broken: %v", a.Status().Broken)
	}
	recovered, _ := m.recovered(t, s, "3.6", archive.Target{}, "")
	recovered.same(t, want)
}

// latest is the greatest time that a segment says.
func latest(t *testing.T, s store.Store) (last string) {
	t.Helper()
	objects, err := s.List(t.Context(), "default/demo/1b4e28ba/archive/")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if strings.Contains(o.Name, "/segments/") {
			last = max(last, o.Name[strings.LastIndexByte(o.Name, '-')+1:])
		}
	}
	return last
}

// On S3 it is the same.
func TestAnArchiveInABucket(t *testing.T) {
	s := bucket(t, objectstore.Start(t, "", "").URL)
	m := newMember(t, "3.7")
	a, stop := follow(t, m.Client, s, m.options(s))
	until(t, a, "it has begun", func(s archive.Status) bool { return s.Revision > 0 })
	stopWriting := m.writing(t)
	time.Sleep(time.Second)
	stopWriting()
	m.archived(t, a)
	stop()
	want := m.state(t)
	recovered, _ := m.recovered(t, s, "3.7", archive.Target{}, "")
	recovered.same(t, want)
	if _, err := archive.Prune(t.Context(), s, owner, time.Now()); err != nil {
		t.Fatal(err)
	}
	recovered, _ = m.recovered(t, s, "3.7", archive.Target{}, "")
	recovered.same(t, want)
}

func bucket(t testing.TB, endpoint string) store.Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", objectstore.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", objectstore.SecretKey)
	s, err := store.NewS3(store.S3Options{Endpoint: endpoint, Region: objectstore.Region, Bucket: objectstore.Bucket, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
