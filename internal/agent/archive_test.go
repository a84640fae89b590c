package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/etcdtest"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/loopback"
)

var owner = backup.Cluster{Namespace: "default", Name: "demo", UID: "1b4e28ba"}

// etcd starts a member that is alone in its cluster.
func etcd(t *testing.T) (*clientv3.Client, string) {
	t.Helper()
	m := etcdtest.Run(t, "3.6", etcdtest.Settings{})
	put(t, m.Client, "ready")
	return m.Client, m.Endpoint
}

// put writes a key and is the revision of that.
func put(t *testing.T, client *clientv3.Client, key string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done, err := client.Put(ctx, key, key)
	if err != nil {
		t.Fatalf("etcd does not serve: %v", err)
	}
	return done.Header.Revision
}

// archiver is an agent that archives, and how it is reached.
type archiver struct {
	agent.Agent
	task  task.Task
	store store.Store
	ended chan error
	end   context.CancelFunc
}

func newArchiver(t *testing.T, url string) *archiver {
	t.Helper()
	root, folder := t.TempDir(), "backups"
	for _, made := range []string{filepath.Join(task.Volume, folder), task.Login} {
		if err := os.MkdirAll(filepath.Join(root, made), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.NewVolume(filepath.Join(root, task.Volume, folder))
	if err != nil {
		t.Fatal(err)
	}
	return &archiver{
		Agent: agent.Agent{Root: root, Listen: loopback.FreeAddress(t)}, store: s,
		task: task.Task{
			Kind: task.Archive, Store: task.Store{Folder: &folder}, Cluster: task.Cluster{Namespace: owner.Namespace, Name: owner.Name, UID: owner.UID},
			Members: []task.Member{{Name: "demo-0", URL: url}},
			Archive: &task.Archiving{FlushInterval: 50 * time.Millisecond, SegmentSize: 1 << 20, KeepFor: time.Hour, BaseEvery: time.Hour},
		},
	}
}

func (a *archiver) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a.ended, a.end = make(chan error, 1), cancel
	go func() {
		_, err := a.Do(ctx, a.task)
		a.ended <- err
	}()
	t.Cleanup(cancel)
}

// ends waits for the end.
func (a *archiver) ends(t *testing.T) {
	t.Helper()
	select {
	case err := <-a.ended:
		if err != nil {
			t.Fatalf("the archiver ended with: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the archiver does not end")
	}
}

// ask is what the archiver answers; 0 if it does not.
func (a *archiver) ask(path string) (int, string) {
	answer, err := http.Get("http://" + a.Listen + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(content)
}

func (a *archiver) metric(t *testing.T, name string) float64 {
	t.Helper()
	return a.metricOf(t, "etcd_archiver_"+name)
}

func (a *archiver) metricOf(t *testing.T, name string) float64 {
	t.Helper()
	code, text := a.ask("/metrics")
	found := regexp.MustCompile(`(?m)^` + name + `\{cluster="demo",namespace="default"\} (\S+)$`).FindStringSubmatch(text)
	if code == 0 {
		return -1
	}
	if found == nil {
		t.Fatalf("there is no metric %s in %s", name, text)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("within 20 s it does not come to this: %s", what)
}

func (a *archiver) stored(t *testing.T, revision int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("revision %d is stored", revision), func() bool { return a.metric(t, "last_flushed_revision") >= float64(revision) })
}

func (a *archiver) bases(t *testing.T) []string {
	t.Helper()
	names, err := archive.Bases(t.Context(), a.store, owner)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// ownBackups are the backups that are in the store.
func (a *archiver) ownBackups(t *testing.T) (names []string) {
	t.Helper()
	all, err := backup.List(t.Context(), a.store, owner.Folder()+"/")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		names = append(names, filepath.Base(b.Path))
	}
	return names
}

// comesBack recovers a revision as a restore does, and compares it with what the cluster had.
func (a *archiver) comesBack(t *testing.T, client *clientv3.Client, revision int64) {
	t.Helper()
	want, err := backup.DigestCluster(t.Context(), client, revision)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := archive.Plan(t.Context(), a.store, owner, archive.Target{Revision: revision})
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	target := backup.Target{
		Restore: "r", Data: data, Member: "demo-0", InitialCluster: map[string][]string{"demo-0": {"http://127.0.0.1:1"}}, Token: "t", Etcdutl: etcdtest.Programs(t, "3.6") + "/etcdutl",
		Prepare: func(ctx context.Context, snapshot string) error {
			_, err := archive.Replay(ctx, a.store, plan, "", snapshot)
			return err
		},
	}
	if err := backup.Fill(t.Context(), a.store, plan.Base, "", target); err != nil {
		t.Fatal(err)
	}
	if err := backup.Swap(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	got, err := backup.DigestFile(data)
	if err != nil || got != want {
		t.Errorf("revision %d comes back as %+v and was %+v: %v", revision, got, want, err)
	}
}

// An archiver that was told to end has stored what there was, and the next one goes on where it has ended.
func TestArchive(t *testing.T) {
	client, url := etcd(t)
	a := newArchiver(t, url)
	a.start(t)
	eventually(t, "it is ready", func() bool { code, _ := a.ask("/readyz"); return code == http.StatusOK })
	var middle int64
	for n := range 20 {
		middle = put(t, client, fmt.Sprint("first-", n))
	}
	a.stored(t, middle)
	if code, _ := a.ask("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d", code)
	}
	for name, is := range map[string]func(float64) bool{
		"segments_total": func(v float64) bool { return v > 0 }, "bytes_total": func(v float64) bool { return v > 0 },
		"lag_seconds": func(v float64) bool { return v >= 0 && v < 5 }, "errors_total": func(v float64) bool { return v == 0 }, "breaks_total": func(v float64) bool { return v == 0 },
		"lag_target_seconds":        func(v float64) bool { return v == 0.1 },
		"current_timestamp_seconds": func(v float64) bool { return time.Since(time.Unix(int64(v), 0)) < 10*time.Second },
	} {
		if value := a.metric(t, name); !is(value) {
			t.Errorf("etcd_archiver_%s is %v", name, value)
		}
	}
	a.end()
	a.ends(t)
	last := put(t, client, "while nobody looked")
	a.start(t)
	a.stored(t, last)
	for n := range 20 {
		last = put(t, client, fmt.Sprint("second-", n))
	}
	a.stored(t, last)
	a.end()
	a.ends(t)
	if bases := a.bases(t); len(bases) != 1 {
		t.Errorf("the second archiver did not go on, but made another base: %v", bases)
	}
	a.comesBack(t, client, middle)
	a.comesBack(t, client, last)
}

// An archiver that does not reach the cluster is alive and not ready, and says why.
func TestArchiveOfAClusterThatIsDown(t *testing.T) {
	a := newArchiver(t, "http://"+loopback.FreeAddress(t))
	a.start(t)
	eventually(t, "it says why it is not ready", func() bool {
		code, text := a.ask("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(text, "no member of default/demo can be asked for a snapshot")
	})
	if code, _ := a.ask("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d", code)
	}
	eventually(t, "the error is counted", func() bool { return a.metric(t, "errors_total") == 1 })
	a.end()
	a.ends(t)
}

// All that an archiver tells is in the reference, and nothing else; and alerts ask for no more.
func TestMetricsOfArchiversAreDocumented(t *testing.T) {
	a := newArchiver(t, "http://"+loopback.FreeAddress(t))
	a.start(t)
	var told []string
	eventually(t, "it tells its metrics", func() bool {
		_, text := a.ask("/metrics")
		told = matches(`(?m)^# HELP (etcd_archiver_\w+) `, text)
		return len(told) > 0
	})
	a.end()
	a.ends(t)
	for file, expression := range map[string]string{
		"docs/reference/metrics.md":                          "(?m)[|,] `(etcd_archiver_\\w+)`",
		"charts/etcd-operator/templates/prometheusrule.yaml": `\b(etcd_archiver_\w+)`,
	} {
		content, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		named := matches(expression, string(content))
		if unknown := slices.DeleteFunc(slices.Clone(named), func(n string) bool { return slices.Contains(told, n) }); len(named) == 0 || len(unknown) > 0 {
			t.Errorf("%s names %v, of which no archiver tells %v", file, named, unknown)
		}
		if filepath.Ext(file) == ".md" && !slices.Equal(named, told) {
			t.Errorf("an archiver tells %v, and %s has %v", told, file, named)
		}
	}
}

// matches are all matches of the first group, each of them once.
func matches(expression, text string) (all []string) {
	for _, match := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// What is read once at the start is read again by another archiver.
func TestArchiveEndsWhenASecretChanges(t *testing.T) {
	_, url := etcd(t)
	a := newArchiver(t, url)
	password := filepath.Join(a.Root, task.Login, "password")
	write := func(content string) {
		if err := os.WriteFile(password, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	a.start(t)
	eventually(t, "it is ready", func() bool { code, _ := a.ask("/readyz"); return code == http.StatusOK })
	write("other")
	a.ends(t)
}

// What is older than it is to be kept goes: marks, segments, and the backups that the archiver has made, but no others.
func TestArchivePrunes(t *testing.T) {
	client, url := etcd(t)
	a := newArchiver(t, url)
	a.task.Archive.BaseEvery = 100 * time.Millisecond
	a.start(t)
	eventually(t, "there are three bases", func() bool { put(t, client, "again"); return len(a.bases(t)) >= 3 })
	last := put(t, client, "last")
	a.stored(t, last)
	a.end()
	a.ends(t)
	foreign := a.task
	foreign.Kind, foreign.Name = task.Backup, "base-0123456789ab"
	if _, err := a.Do(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	made := a.ownBackups(t)
	killed, beingMade := a.leave(t, "base-1234567890123456789", 25*time.Hour), a.leave(t, "base-2234567890123456789", time.Hour)
	a.task.Archive.KeepFor, a.task.Archive.BaseEvery = time.Millisecond, time.Hour
	a.start(t)
	eventually(t, "two backups are left", func() bool { return len(a.ownBackups(t)) == 2 })
	eventually(t, "what a killed archiver has left is removed", func() bool { return !a.has(t, killed) })
	if !a.has(t, beingMade) {
		t.Error("what may be made just now was removed")
	}
	a.end()
	a.ends(t)
	if len(made) < 4 {
		t.Errorf("there were %v only: the test shows nothing", made)
	}
	if left, bases := a.ownBackups(t), a.bases(t); len(bases) != 1 || left[0] != foreign.Name || left[1] != bases[0] {
		t.Errorf("of the backups %v there are left %v, and of bases %v", made, left, bases)
	}
	a.comesBack(t, client, last)
	// Whoever removes a backup does the same for the cluster, and removes no other.
	killed, foreign.Kind = a.leave(t, "killed", 25*time.Hour), task.Delete
	if _, err := a.Do(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	if left := a.ownBackups(t); a.has(t, killed) || !a.has(t, beingMade) || len(left) != 1 || left[0] == foreign.Name {
		t.Errorf("after the removal of %s there are left %v, and of what was unfinished old %v, young %v", foreign.Name, left, a.has(t, killed), a.has(t, beingMade))
	}
	a.comesBack(t, client, last)
}

// leave puts a snapshot of some age into the store that no manifest refers to, and is its name.
func (a *archiver) leave(t *testing.T, name string, age time.Duration) string {
	t.Helper()
	object := path.Join(owner.Folder(), name, "snapshot-1")
	if err := a.store.Put(t.Context(), object, strings.NewReader("unfinished")); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(filepath.Join(a.Root, task.Volume, *a.task.Store.Folder, object), at, at); err != nil {
		t.Fatal(err)
	}
	return object
}

func (a *archiver) has(t *testing.T, object string) bool {
	t.Helper()
	_, err := a.store.Stat(t.Context(), object)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// Without a base that is what was stored, nothing is restored to a revision: no volume is touched, and another try would be in vain.
func TestARestoreRefusesADamagedBase(t *testing.T) {
	client, url := etcd(t)
	a := newArchiver(t, url)
	a.start(t)
	last := put(t, client, "last")
	a.stored(t, last)
	a.end()
	a.ends(t)
	made, err := backup.Load(t.Context(), a.store, owner, a.bases(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(a.Root, task.Volume, *a.task.Store.Folder, made.Stored.Object), made.Stored.Size-1); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(a.Root, task.Data)
	if err := os.MkdirAll(data, 0o750); err != nil {
		t.Fatal(err)
	}
	fill := a.task
	fill.Kind, fill.Name = task.Fill, made.Name
	fill.Restore = &task.Restore{ID: "r", Member: "demo-0", InitialCluster: map[string]string{"demo-0": "http://127.0.0.1:1"}, Revision: last}
	_, err = a.Do(t.Context(), fill)
	var final *agent.FinalError
	if !errors.As(err, &final) || !strings.Contains(err.Error(), "bases for it are damaged: the object "+strconv.Quote(made.Stored.Object)) {
		t.Errorf("it is %v", err)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("the volume has %v, %v", left, err)
	}
}

// What is in a store is listed with the reach of the archive, and ends with a line that says so.
func TestAStoreIsListed(t *testing.T) {
	client, url := etcd(t)
	a := newArchiver(t, url)
	a.start(t)
	last := put(t, client, "archived")
	a.stored(t, last)
	a.end()
	a.ends(t)
	one := a.task
	one.Kind, one.Name = task.Backup, "one"
	if _, err := a.Do(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(a.Root, task.Volume, *a.task.Store.Folder)
	for name, content := range map[string]string{"odd/manifest.json": "{}", "none/snapshot-a": ""} {
		file := filepath.Join(folder, owner.Folder(), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(prefix string) (found []task.Found) {
		t.Helper()
		list := a.task
		list.Kind, list.Name = task.List, prefix
		var out bytes.Buffer
		a.Output = &out
		if _, err := a.Do(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			var f task.Found
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatal(err)
			}
			found = append(found, f)
		}
		return found
	}
	all := listed("")
	if len(all) != 5 || all[4].End == nil || all[4].End.Count != 4 {
		t.Fatalf("it is %+v", all)
	}
	base, archived, odd, found := all[0].Backup, all[1].Archive, all[2].Backup, all[3].Backup
	if base == nil || !strings.HasPrefix(base.Path, owner.Folder()+"/base-") || base.Problem != "" {
		t.Errorf("the base is %+v", base)
	}
	if archived == nil || archived.Last != last || archived.First > last || archived.Cluster.UID != owner.UID || archived.Until.Before(archived.From) {
		t.Errorf("the archive is %+v", archived)
	}
	if odd == nil || !strings.Contains(odd.Problem, "it has format 0") {
		t.Errorf("what is no backup is %+v", odd)
	}
	if found == nil || found.Path != owner.Folder()+"/one" || found.Stored.Revision != last || found.Stored.StoredSize == 0 {
		t.Errorf("the backup is %+v", found)
	}
	if other := listed("another/"); len(other) != 1 || other[0].End == nil || other[0].End.Count != 0 {
		t.Errorf("of another namespace there is %+v", other)
	}
}

// Before a restore all that it needs is read through: what the last archived change is, whether a segment is damaged, and whether the
// base is.
func TestWhatARestoreNeedsIsReadBefore(t *testing.T) {
	client, url := etcd(t)
	a := newArchiver(t, url)
	a.start(t)
	a.stored(t, put(t, client, "first"))
	last := put(t, client, "last")
	a.stored(t, last)
	a.end()
	a.ends(t)
	check := a.task
	check.Kind, check.Name = task.Check, a.bases(t)[0]
	folder := filepath.Join(a.Root, task.Volume, *a.task.Store.Folder)
	cut := func(object string) {
		t.Helper()
		stored, err := a.store.Stat(t.Context(), object)
		if err == nil {
			err = os.Truncate(filepath.Join(folder, object), stored.Size-1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	asks := func(restore task.Restore) (task.Result, string) {
		check.Restore = &restore
		done, err := a.Do(t.Context(), check)
		var final *agent.FinalError
		if err != nil && !errors.As(err, &final) {
			t.Errorf("it would be tried again: %v", err)
		}
		return done, fmt.Sprint(err)
	}
	for name, c := range map[string]struct {
		restore task.Restore
		target  int64
	}{
		"a backup":   {task.Restore{}, 0},
		"a revision": {task.Restore{Revision: last}, 0},
		"the latest": {task.Restore{Latest: true}, last},
	} {
		if done, said := asks(c.restore); done.Checked == nil || done.Checked.Target != c.target || said != "<nil>" {
			t.Errorf("%s: %+v, %s", name, done.Checked, said)
		}
	}
	if _, said := asks(task.Restore{Revision: last + 1}); !strings.Contains(said, "it is not archived") {
		t.Error(said)
	}
	plan, err := archive.Plan(t.Context(), a.store, owner, archive.Target{})
	if err != nil {
		t.Fatal(err)
	}
	segments, err := a.store.List(t.Context(), path.Join(owner.Folder(), "archive", plan.History, "segments")+"/")
	if err != nil || len(segments) == 0 {
		t.Fatalf("the segments are %v, %v", segments, err)
	}
	for _, object := range segments {
		cut(object.Name)
	}
	if _, said := asks(task.Restore{Latest: true}); !strings.Contains(said, "cannot be used: its content has") {
		t.Error(said)
	}
	made, err := backup.Load(t.Context(), a.store, owner, check.Name)
	if err != nil {
		t.Fatal(err)
	}
	cut(made.Stored.Object)
	if _, said := asks(task.Restore{}); !strings.Contains(said, "is not that of the backup "+strconv.Quote(made.Name)) {
		t.Error(said)
	}
	check.Restore = nil
	if _, err := a.Do(t.Context(), check); err == nil || !strings.Contains(err.Error(), "does not say what is to be restored") {
		t.Error(err)
	}
}

// A task of another version is refused for good.
func TestArchiveWithoutSettings(t *testing.T) {
	a := newArchiver(t, "http://"+loopback.FreeAddress(t))
	a.task.Archive = nil
	_, err := a.Do(t.Context(), a.task)
	if final, is := err.(*agent.FinalError); !is || !strings.Contains(final.Error(), "does not say how to archive") { //nolint:errorlint // It is not wrapped.
		t.Errorf("it is %v", err)
	}
}
