package backup

import (
	"context"
	"crypto/sha1" //nolint:gosec // It is how etcd makes its IDs.
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// margin is what etcd needs on a volume beside the database: a segment of its WAL, and the one it makes in advance.
const margin = 128 << 20

// growth is by what part of itself a database may grow until what was there before is deleted.
const growth = 10

// Target is whose volumes are filled, and for which cluster. All members of it are given the same, except for the name.
type Target struct {
	// Restore tells this restore from all others, by the UID of its object.
	Restore string
	// First is whether it brings a cluster its first data: what there is on the volume by then is nobody's.
	First bool
	// Data is etcd's data directory, and WAL its folder for the WAL if that is on a volume of its own. What is prepared, and what
	// is moved aside, is kept beside them.
	Data, WAL string
	// Member is the name of the member. InitialCluster are all members with their peer URLs.
	Member         string
	InitialCluster map[string][]string
	// Token makes the IDs of the cluster and of its members differ from those of every other cluster, so that they never talk to
	// each other. It has to be new for each restore.
	Token string
	// BumpRevision is by how much the revision is raised, so that it is higher than any that clients have seen. If it is not 0, all
	// revisions before are compacted, so that those who watch find out.
	BumpRevision uint64
	// LetEverybodyIn turns authentication off in what is restored, for a cluster that is to ask nobody.
	LetEverybodyIn bool
	// Etcdutl is the program of the minor that the cluster will have.
	Etcdutl string
	// Prepare, if there is one, may change the database after it was downloaded and checked. Added is how many bytes that adds, at least.
	Prepare func(ctx context.Context, database string) error
	Added   int64
	// Progress, if there is one, is told how many bytes of a stage are done. The stages are named by the constants below.
	Progress func(stage string, done, total int64)
}

// The stages of filling a volume, in their order.
const (
	StageDownload = "download"
	StageRestore  = "restore"
	StageSync     = "sync"
)

// filled is in the marker that says that everything was prepared. It names what was prepared, so that nothing else is taken for it.
type filled struct {
	Restore        string              `json:"restore"`
	Backup         string              `json:"backup"`
	SHA256         string              `json:"sha256"`
	Member         string              `json:"member"`
	InitialCluster map[string][]string `json:"initialCluster"`
	Token          string              `json:"token"`
	BumpRevision   uint64              `json:"bumpRevision"`
	SeparateWAL    bool                `json:"separateWAL"`
	First          bool                `json:"first,omitempty"`
}

// Fill prepares a member's data directory of a backup, beside the one that is there, which is not touched. It can be repeated
// after an error, and after it was killed: what is prepared already is recognized, and what is unfinished is made anew. Before, it
// removes what earlier restores have left, which takes space.
func Fill(ctx context.Context, s store.Store, m Manifest, identities string, t Target) error {
	if err := t.check(); err != nil {
		return err
	}
	want := filled{
		Restore: t.Restore, Backup: m.Cluster.folder(m.Name), SHA256: m.Snapshot.SHA256, Member: t.Member, InitialCluster: t.InitialCluster,
		Token: t.Token, BumpRevision: t.BumpRevision, SeparateWAL: t.WAL != "", First: t.First,
	}
	there, err := t.marker()
	switch {
	case err == nil && reflect.DeepEqual(there, want):
		return nil
	case err == nil:
		return fmt.Errorf("the volume of %s was filled by the restore %s already, with other data: %+v instead of %+v; roll that restore back, or begin another one",
			t.Member, t.Restore, there, want)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := t.fill(ctx, s, m, identities); err != nil {
		for _, p := range t.places() {
			_ = os.RemoveAll(filepath.Dir(p.staged)) // What remains is removed by the next try.
		}
		return fmt.Errorf("filling the volume of %s by the restore %s: %w", t.Member, t.Restore, err)
	}
	return t.mark(want)
}

func (t Target) fill(ctx context.Context, s store.Store, m Manifest, identities string) error {
	for _, p := range t.places() {
		if exists(p.aside) {
			return fmt.Errorf("%s is there, of a restore of that name that was confirmed; begin another one", p.aside)
		}
		if err := os.RemoveAll(filepath.Dir(p.staged)); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(p.staged), 0o700); err != nil {
			return err
		}
	}
	if err := t.removeLeftovers(); err != nil {
		return err
	}
	if err := t.checkSpace(m); err != nil {
		return err
	}
	database := filepath.Join(t.staging(), "database")
	err := downloadDatabase(ctx, s, m, identities, database, func(done int64) { t.progress(StageDownload, done, m.Snapshot.Size) })
	if err != nil {
		return err
	}
	if t.Prepare != nil {
		if err := t.Prepare(ctx, database); err != nil {
			return err
		}
	}
	t.progress(StageRestore, 0, m.Snapshot.Size)
	restoration := restoration{etcdutl: t.Etcdutl, arguments: t.arguments(), letEverybodyIn: t.LetEverybodyIn}
	if err := restoration.run(ctx, database, t.places()[0].staged); err != nil {
		return fmt.Errorf("etcdutl cannot restore the backup %q: %w", m.Name, err)
	}
	t.progress(StageRestore, m.Snapshot.Size, m.Snapshot.Size)
	t.progress(StageSync, 0, m.Snapshot.Size)
	for _, p := range t.places() {
		if err := syncAll(filepath.Dir(p.staged)); err != nil {
			return err
		}
		// The staging itself has to be found again, too.
		if err := syncOne(filepath.Dir(p.live)); err != nil {
			return err
		}
	}
	t.progress(StageSync, m.Snapshot.Size, m.Snapshot.Size)
	return ctx.Err()
}

// arguments are those of etcdutl snapshot restore, but for the snapshot and the data directory.
func (t Target) arguments() []string {
	var members []string
	for _, name := range slices.Sorted(maps.Keys(t.InitialCluster)) {
		for _, url := range t.InitialCluster[name] {
			members = append(members, name+"="+url)
		}
	}
	arguments := []string{
		"--name", t.Member, "--initial-cluster", strings.Join(members, ","),
		"--initial-cluster-token", t.Token, "--initial-advertise-peer-urls", strings.Join(t.InitialCluster[t.Member], ","),
	}
	if t.WAL != "" {
		arguments = append(arguments, "--wal-dir", t.places()[1].staged)
	}
	if t.BumpRevision > 0 {
		arguments = append(arguments, "--bump-revision", strconv.FormatUint(t.BumpRevision, 10), "--mark-compacted")
	}
	return arguments
}

// restoreName is what can be part of a file's name.
var restoreName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

func (t Target) check() error {
	switch {
	case !restoreName.MatchString(t.Restore):
		return fmt.Errorf("%q cannot name a restore; give the UID of its object", t.Restore)
	case len(t.InitialCluster[t.Member]) == 0:
		return fmt.Errorf("the member %q has no peer URL in the initial cluster %v; give it one", t.Member, t.InitialCluster)
	case t.Token == "":
		return errors.New("the initial cluster has no token; give one that is new")
	case !filepath.IsAbs(t.Data) || t.WAL != "" && !filepath.IsAbs(t.WAL):
		return fmt.Errorf("the data directory %q or the folder of the WAL %q is no absolute path; give one", t.Data, t.WAL)
	case t.WAL != "" && filepath.Dir(t.WAL) == filepath.Dir(t.Data):
		return fmt.Errorf("the data directory %s and the folder of the WAL %s are in the same folder; leave the latter out, or give a mount of its own", t.Data, t.WAL)
	}
	return nil
}

func (t Target) progress(stage string, done, total int64) {
	if t.Progress != nil {
		t.Progress(stage, done, total)
	}
}

// checkSpace refuses a volume that is too small, before anything is downloaded.
func (t Target) checkSpace(m Manifest) error {
	data := m.Snapshot.Size + t.Added
	for _, p := range t.places() {
		folder, needed := filepath.Dir(p.live), int64(margin)
		if p.live == t.Data {
			needed += data + data/growth
		}
		var volume syscall.Statfs_t
		if err := syscall.Statfs(folder, &volume); err != nil {
			return fmt.Errorf("the free space of %s: %w", folder, err)
		}
		if free := int64(volume.Bavail) * volume.Bsize; free < needed { //nolint:gosec // No volume is that large.
			return fmt.Errorf("the volume of %s has %d MiB free, and %d MiB are needed: %d MiB for the data, a tenth of that to grow, and %d MiB for the WAL; enlarge the volume",
				folder, free>>20, needed>>20, data>>20, margin>>20)
		}
	}
	return nil
}

// EtcdID is what etcd will call the cluster, in hexadecimal. It is computed as etcd does: IDs of members are of their peer URLs and
// the token, and that of the cluster is of theirs (server/etcdserver/api/membership).
func (t Target) EtcdID() string {
	var members []uint64
	for _, urls := range t.InitialCluster {
		members = append(members, firstOfSHA1([]byte(strings.Join(slices.Sorted(slices.Values(urls)), "")+t.Token)))
	}
	slices.Sort(members)
	var all []byte
	for _, id := range members {
		all = binary.BigEndian.AppendUint64(all, id)
	}
	return hexID(firstOfSHA1(all))
}

func firstOfSHA1(b []byte) uint64 {
	sum := sha1.Sum(b) //nolint:gosec // As above.
	return binary.BigEndian.Uint64(sum[:8])
}

// marker tells what was prepared, or that nothing was.
func (t Target) marker() (filled, error) {
	content, err := os.ReadFile(t.markerPath())
	if err != nil {
		return filled{}, err
	}
	var there filled
	if err := json.Unmarshal(content, &there); err != nil {
		return filled{}, fmt.Errorf("%s is damaged: %w; roll the restore back, or begin another one", t.markerPath(), err)
	}
	return there, nil
}

// mark writes the marker. It is whole or not there.
func (t Target) mark(f filled) error {
	content, err := json.Marshal(f)
	if err != nil {
		return err
	}
	unfinished := t.markerPath() + ".partial"
	if err := os.WriteFile(unfinished, content, 0o600); err != nil {
		return err
	}
	if err := syncOne(unfinished); err != nil {
		return err
	}
	return move(unfinished, t.markerPath())
}

// downloadDatabase writes the database of a backup to a new file. If there is no error, it is whole.
func downloadDatabase(ctx context.Context, s store.Store, m Manifest, identities, path string, progress func(done int64)) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("the folder for restoring the backup %q: %w; give one without it", m.Name, err)
	}
	err = Read(ctx, s, m, identities, &counted{to: file, tell: progress})
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

// counted tells how much went through it.
type counted struct {
	to   io.Writer
	done int64
	tell func(done int64)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.done += int64(n)
	c.tell(c.done)
	return n, err
}
