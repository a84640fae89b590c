package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/objectstore"
)

func bucket(t *testing.T, endpoint string) store.Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", objectstore.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", objectstore.SecretKey)
	s, err := store.NewS3(store.S3Options{Endpoint: endpoint, Region: objectstore.Region, Bucket: objectstore.Bucket, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	i, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Whatever a cluster has lived through, its backup is verified and has the same keys, with their revisions and leases.
func TestARandomHistoryComesBack(t *testing.T) {
	s := bucket(t, objectstore.Start(t, "", "").URL)
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			m := startMember(t, minor, t.TempDir())
			random := rand.New(rand.NewPCG(1, 2))
			for round := range 3 {
				m.live(t, random, random.IntN(150))
				key := identity(t)
				var recipients []string
				if round != 0 {
					recipients = []string{identity(t).Recipient().String(), key.Recipient().String()}
				}
				name := fmt.Sprintf("%s-%d", minor, round)
				made := take(t, s, m.request(name, recipients...))
				want := m.keys(t)
				loaded, err := backup.Load(t.Context(), s, owner, name)
				if err != nil || !reflect.DeepEqual(loaded, made) {
					t.Fatalf("the manifest is %+v and comes back as %+v, %v", made, loaded, err)
				}
				scratch := m.scratch(t)
				verified, err := backup.Verify(t.Context(), s, loaded, key.String(), scratch)
				if err != nil {
					t.Fatal(err)
				}
				if verified.Revision != made.State.Revision || verified.Keys != made.State.Keys || verified.Hash != made.State.Hash || verified.Took <= 0 {
					t.Errorf("verified %+v of %+v", verified, made.State)
				}
				if got := startMember(t, minor, filepath.Join(scratch.Folder, "data")).keys(t); got != want {
					t.Errorf("the keys are %s, and were %s", got, want)
				}
			}
		})
	}
}

// Writes and compactions that go on do not make a backup worse.
func TestABackupOfABusyCluster(t *testing.T) {
	s, _ := volume(t)
	m := startMember(t, "3.6", t.TempDir())
	m.live(t, rand.New(rand.NewPCG(3, 4)), 100)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				put, err := m.Put(ctx, fmt.Sprintf("busy-%d-%d", w, n%100), strings.Repeat("x", 100))
				if err == nil && n%50 == 49 {
					_, _ = m.Compact(ctx, put.Header.Revision-100)
				}
			}
		})
	}
	var made []backup.Manifest
	moved := false
	for n := range 5 {
		b := take(t, s, m.request(fmt.Sprint(n)))
		made, moved = append(made, b), moved || b.State.LastRevision > b.State.Revision
	}
	stop()
	writers.Wait()
	if !moved {
		t.Error("the cluster was not busy: no backup saw a write")
	}
	for _, b := range made {
		if _, err := backup.Verify(t.Context(), s, b, "", m.scratch(t)); err != nil {
			t.Error(err)
		}
	}
}

// A backup is refused that is not what was stored, and the message says which object and what to do.
func TestWhatIsNotTheBackupIsRefused(t *testing.T) {
	m := startMember(t, "3.6", t.TempDir())
	m.live(t, rand.New(rand.NewPCG(5, 6)), 300)
	key := identity(t)
	s, folder := volume(t)
	objects := map[string]string{}
	for _, name := range []string{"plain", "other"} {
		objects[name] = take(t, s, m.request(name)).Stored.Object
		m.live(t, rand.New(rand.NewPCG(7, 8)), 10)
	}
	objects["secret"] = take(t, s, m.request("secret", key.Recipient().String())).Stored.Object
	path := func(name, object string) string {
		if object == "snapshot" {
			return filepath.Join(folder, objects[name])
		}
		return filepath.Join(folder, "default", "demo", "1b4e28ba", name, object)
	}
	edit := func(name string, change func([]byte) []byte) func(*testing.T) {
		return func(t *testing.T) { rewrite(t, path(name, "snapshot"), change) }
	}
	manifest := func(from, to string) func(*testing.T) {
		return func(t *testing.T) {
			rewrite(t, path("plain", "manifest.json"), func(b []byte) []byte { return bytes.Replace(b, []byte(from), []byte(to), 1) })
		}
	}
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	more := func(b []byte) []byte { return append(b, 0) }
	damaged := func(name string) string {
		return fmt.Sprintf("the object %q in directory %s is not that of the backup %q: ", objects[name], folder, name)
	}
	for situation, c := range map[string]struct {
		backup, identity string
		damage           func(*testing.T)
		want             []string
	}{
		"cut off":              {"plain", "", edit("plain", cut), []string{damaged("plain"), "; choose another backup"}},
		"empty":                {"plain", "", edit("plain", func([]byte) []byte { return nil }), []string{damaged("plain"), "; choose another backup"}},
		"a bit is wrong":       {"plain", "", edit("plain", flip), []string{damaged("plain"), "; choose another backup"}},
		"something is added":   {"plain", "", edit("plain", more), []string{damaged("plain"), "; choose another backup"}},
		"encrypted, cut off":   {"secret", key.String(), edit("secret", cut), []string{damaged("secret"), "; choose another backup"}},
		"encrypted, a bit":     {"secret", key.String(), edit("secret", flip), []string{damaged("secret"), "; choose another backup"}},
		"the wrong key":        {"secret", identity(t).String(), nil, []string{"encrypted for " + key.Recipient().String() + ", of none of which the private key was given; give one of them"}},
		"no key":               {"secret", "", nil, []string{"encrypted for " + key.Recipient().String(), "give one that begins with AGE-SECRET-KEY-"}},
		"another's content":    {"plain", "", func(t *testing.T) { replace(t, path("other", "snapshot"), path("plain", "snapshot")) }, []string{damaged("plain"), "; choose another backup"}},
		"another's manifest":   {"plain", "", func(t *testing.T) { replace(t, path("other", "manifest.json"), path("plain", "manifest.json")) }, []string{`it is that of "default/demo/1b4e28ba/other": backups cannot be moved`}},
		"no manifest":          {"plain", "", func(t *testing.T) { remove(t, path("plain", "manifest.json")) }, []string{backup.ErrNoBackup.Error()}},
		"no snapshot":          {"plain", "", func(t *testing.T) { remove(t, path("plain", "snapshot")) }, []string{objects["plain"], store.ErrNotFound.Error()}},
		"no JSON":              {"plain", "", manifest("{", "["), []string{"is no manifest: ", "choose another backup"}},
		"a later format":       {"plain", "", manifest(`"format": 1`, `"format": 2`), []string{`it has format 2, and this version of the operator reads 1; use the operator that made it, version "test", or a later one`}},
		"another compression":  {"plain", "", manifest(`"zstd"`, `"lzma"`), []string{`its compression "lzma" is unknown`}},
		"another object":       {"plain", "", manifest(objects["plain"], objects["other"]), []string{"which is not its own"}},
		"no revision":          {"plain", "", manifest(`"revision"`, `"version"`), []string{"it lacks a revision or a size"}},
		"other data than then": {"plain", "", manifest(`"hashKV": `, `"hashKV": 1, "was": `), []string{"its hash at revision", "the cluster's was"}},
		"fewer keys than then": {"plain", "", manifest(`"keys": `, `"keys": 1`), []string{"keys at revision", "the cluster had 1"}},
		"an earlier revision": {"plain", "", func(t *testing.T) {
			manifest(`"revision": `, `"revision": 1`)(t)
			manifest(`"lastRevision": `, `"lastRevision": 1`)(t)
		}, []string{"its revision is", "as the cluster's was"}},
	} {
		t.Run(situation, func(t *testing.T) {
			if c.damage != nil {
				c.damage(t)
			}
			loaded, err := backup.Load(t.Context(), s, owner, c.backup)
			if err == nil {
				_, err = backup.Verify(t.Context(), s, loaded, c.identity, m.scratch(t))
			}
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %v, without %q", err, want)
				}
			}
		})
	}
	// All of that was put back, and is good.
	for _, name := range []string{"plain", "secret"} {
		loaded, err := backup.Load(t.Context(), s, owner, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Verify(t.Context(), s, loaded, key.String(), m.scratch(t)); err != nil {
			t.Error(err)
		}
	}
}

// What is stored is compared with its manifest without a key, encrypted or not.
func TestCheck(t *testing.T) {
	m := startMember(t, "3.6", t.TempDir())
	m.live(t, rand.New(rand.NewPCG(5, 6)), 50)
	s, folder := volume(t)
	for _, made := range []backup.Manifest{take(t, s, m.request("plain")), take(t, s, m.request("secret", identity(t).Recipient().String()))} {
		if err := backup.Check(t.Context(), s, made); err != nil {
			t.Error(err)
		}
		for situation, change := range map[string]func([]byte) []byte{
			"cut off":            func(b []byte) []byte { return b[:len(b)-1] },
			"empty":              func([]byte) []byte { return nil },
			"a bit is wrong":     func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			"something is added": func(b []byte) []byte { return append(b, make([]byte, 100)...) },
		} {
			t.Run(made.Name+" "+situation, func(t *testing.T) {
				rewrite(t, filepath.Join(folder, made.Stored.Object), change)
				var differs *backup.DiffersError
				if err := backup.Check(t.Context(), s, made); !errors.As(err, &differs) || !strings.Contains(err.Error(), made.Stored.Object) {
					t.Errorf("it is %v", err)
				}
			})
		}
		if err := s.Delete(t.Context(), made.Stored.Object); err != nil {
			t.Fatal(err)
		}
		var differs *backup.DiffersError
		if err := backup.Check(t.Context(), s, made); !errors.As(err, &differs) || !errors.Is(err, store.ErrNotFound) {
			t.Errorf("without it: %v", err)
		}
	}
}

// rewrite changes a file until the end of the test.
func rewrite(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(path, before, 0o600) })
	if err := os.WriteFile(path, change(bytes.Clone(before)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, from, path string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, func([]byte) []byte { return content })
}

func remove(t *testing.T, path string) {
	t.Helper()
	rewrite(t, path, bytes.Clone)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// A download goes on where the connection was cut; one that gets nowhere ends, and is not called damaged.
func TestReadingOverABadConnection(t *testing.T) {
	proxy := objectstore.NewProxy(t, objectstore.Start(t, "", ""))
	s := bucket(t, proxy.URL)
	m := startMember(t, "3.6", t.TempDir())
	m.live(t, rand.New(rand.NewPCG(9, 10)), 200)
	made := take(t, s, m.request("one"))
	proxy.Tell(func(r *http.Request) objectstore.Fault {
		if r.Method != http.MethodGet {
			return objectstore.Fault{}
		}
		return objectstore.Fault{CutResponse: made.Stored.Size / 4}
	})
	if err := backup.Read(t.Context(), s, made, "", io.Discard); err != nil || proxy.Faults() < 4 {
		t.Errorf("after %d cuts: %v", proxy.Faults(), err)
	}
	proxy.Tell(func(*http.Request) objectstore.Fault { return objectstore.Fault{Status: 403, Code: "AccessDenied"} })
	err := backup.Read(t.Context(), s, made, "", io.Discard)
	if err == nil || strings.Contains(err.Error(), "is not that of the backup") || !strings.Contains(err.Error(), `reading "`+made.Stored.Object) {
		t.Errorf("without access: %v", err)
	}
}

// A store that fails leaves no backup, and the cluster's stream ends.
func TestABackupThatCannotBeStored(t *testing.T) {
	proxy := objectstore.NewProxy(t, objectstore.Start(t, "", ""))
	s := bucket(t, proxy.URL)
	m := startMember(t, "3.6", t.TempDir())
	for _, object := range []string{"snapshot-", "manifest.json"} {
		proxy.Tell(func(r *http.Request) objectstore.Fault {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/"+object) {
				return objectstore.Fault{Status: 507, Code: "QuotaExceeded"}
			}
			return objectstore.Fault{}
		})
		_, err := backup.Take(t.Context(), s, m.request("without-"+object))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the backup %q of the cluster default/demo from its member demo-0: writing", "without-"+object)) {
			t.Errorf("%s: %v", object, err)
		}
		if _, err := backup.Load(t.Context(), s, owner, "without-"+object); !errors.Is(err, backup.ErrNoBackup) {
			t.Errorf("%s: there is a backup: %v", object, err)
		}
	}
	// The answer to the manifest is lost: it is found there, and the backup is good.
	proxy.Tell(func(r *http.Request) objectstore.Fault {
		if proxy.Faulted == 0 && r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "manifest.json") {
			return objectstore.Fault{LoseAnswer: true}
		}
		return objectstore.Fault{}
	})
	made := take(t, s, m.request("answer-lost"))
	if proxy.Faults() != 1 {
		t.Error("the answer was not lost")
	}
	if _, err := backup.Verify(t.Context(), s, made, "", m.scratch(t)); err != nil {
		t.Error(err)
	}
}

// Who comes second to a name gets what is there, and leaves nothing behind.
func TestTheFirstOfANameCounts(t *testing.T) {
	s, folder := volume(t)
	m := startMember(t, "3.6", t.TempDir())
	first := take(t, s, m.request("one"))
	m.live(t, rand.New(rand.NewPCG(11, 12)), 10)
	if again := take(t, s, m.request("one")); again.Stored.Object != first.Stored.Object || again.State.Revision != first.State.Revision {
		t.Errorf("asked again: %+v", again)
	}
	// Two begin before either ends: the second finds out at the end only.
	manifest := filepath.Join(folder, "default", "demo", "1b4e28ba", "two", "manifest.json")
	slow := hooked{s, func(object string) {
		if strings.HasSuffix(object, "manifest.json") {
			take(t, s, m.request("two"))
		}
	}}
	second := take(t, slow, m.request("two"))
	content, err := os.ReadFile(manifest)
	if err != nil || !strings.Contains(string(content), second.Stored.Object) {
		t.Errorf("the manifest does not name %s: %v", second.Stored.Object, err)
	}
	if objects, err := s.List(t.Context(), "default/demo/1b4e28ba/two/"); err != nil || len(objects) != 2 {
		t.Errorf("there are %v, %v", objects, err)
	}
	if _, err := backup.Verify(t.Context(), s, second, "", m.scratch(t)); err != nil {
		t.Error(err)
	}
}

// hooked is a store that tells of what is about to be written.
type hooked struct {
	store.Store
	before func(object string)
}

func (h hooked) Put(ctx context.Context, name string, content io.Reader) error {
	h.before(name)
	return h.Store.Put(ctx, name, content)
}

func TestDelete(t *testing.T) {
	s, _ := volume(t)
	m := startMember(t, "3.6", t.TempDir())
	for _, name := range []string{"one", "one-more"} {
		take(t, s, m.request(name))
	}
	for range 2 {
		if err := backup.Delete(t.Context(), s, owner, "one"); err != nil {
			t.Fatal(err)
		}
	}
	if objects, err := s.List(t.Context(), "default/demo/1b4e28ba/one/"); err != nil || len(objects) != 0 {
		t.Errorf("there are %v, %v", objects, err)
	}
	if _, err := backup.Load(t.Context(), s, owner, "one-more"); err != nil {
		t.Errorf("another one: %v", err)
	}
}

// A trial needs no password, though the cluster asks for one.
func TestAClusterThatAsksWhoIsThere(t *testing.T) {
	s, _ := volume(t)
	for _, minor := range minors {
		m := startMember(t, minor, t.TempDir())
		m.live(t, rand.New(rand.NewPCG(13, 14)), 20)
		for _, step := range []func() error{
			func() error { _, err := m.RoleAdd(t.Context(), "root"); return err },
			func() error { _, err := m.UserAdd(t.Context(), "root", "secret"); return err },
			func() error { _, err := m.UserGrantRole(t.Context(), "root", "root"); return err },
			func() error { _, err := m.AuthEnable(t.Context()); return err },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Endpoint}, Username: "root", Password: "secret", Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		request := m.request("auth-" + minor)
		request.Client = client
		if _, err := backup.Verify(t.Context(), s, take(t, s, request), "", m.scratch(t)); err != nil {
			t.Errorf("etcd %s: %v", minor, err)
		}
	}
}

func TestARecipientThatIsNone(t *testing.T) {
	s, _ := volume(t)
	m := startMember(t, "3.6", t.TempDir())
	_, err := backup.Take(t.Context(), s, m.request("x", "ssh-rsa AAAA"))
	if err == nil || !strings.Contains(err.Error(), `the recipient "ssh-rsa AAAA" is no public key of age; give one that begins with age1`) {
		t.Error(err)
	}
}
