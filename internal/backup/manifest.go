// Package backup makes backups of etcd clusters in a store, reads them back and proves them good. It runs in agents, never
// in the manager: see docs/architecture/backup.md for what is on the store, and what makes a backup whole.
package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

const (
	// Format is that of the manifests that are written here. Another one is a number for what older programs must not read.
	Format = 1
	// Zstd is the only compression there is.
	Zstd = "zstd"
	// Age is the only encryption there is.
	Age = "age"

	manifestName  = "manifest.json"
	snapshotName  = "snapshot-"
	manifestLimit = 1 << 20
)

// Manifest says what a backup is, and what it has to be after it was restored. It is written last: without it there is no
// backup.
type Manifest struct {
	Format   int       `json:"format"`
	Name     string    `json:"name"`
	Begun    time.Time `json:"begun"`
	Ended    time.Time `json:"ended"`
	Operator string    `json:"operatorVersion"`
	Cluster  Cluster   `json:"cluster"`
	Member   Member    `json:"member"`
	State    State     `json:"state"`
	Snapshot Snapshot  `json:"snapshot"`
	Stored   Stored    `json:"stored"`
	// PeakMemory is how many bytes of memory the agent that made it had at most, as Linux counts them (getrusage(2), ru_maxrss).
	PeakMemory int64 `json:"peakMemory,omitempty"`
	// Spec is that of the EtcdCluster, by which it can be made again.
	Spec json.RawMessage `json:"spec,omitempty"`
}

// Cluster is whose data it is.
type Cluster struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// EtcdID is what etcd calls the cluster, in hexadecimal.
	EtcdID string `json:"etcdID"`
}

// Member is whom it was taken from.
type Member struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Version string `json:"version"`
}

// State is what the member said of its data while the snapshot was taken.
type State struct {
	// Revision is the last one that the member had applied before it was asked for the snapshot, which therefore has it. Hash
	// and Keys are of this revision.
	Revision int64 `json:"revision"`
	// LastRevision is that after the snapshot had begun: the snapshot's own lies between the two, and is equal to both unless
	// there were writes in that moment.
	LastRevision int64 `json:"lastRevision"`
	// Hash is etcd's HashKV, which depends upon what is compacted.
	Hash            uint32 `json:"hashKV"`
	CompactRevision int64  `json:"compactRevision"`
	Keys            int64  `json:"keys"`
	RaftTerm        uint64 `json:"raftTerm"`
	RaftIndex       uint64 `json:"raftIndex"`
}

// Snapshot is the file that etcdutl restores, with etcd's own checksum at its end.
type Snapshot struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Stored is what the store has of it.
type Stored struct {
	Object      string   `json:"object"`
	Size        int64    `json:"size"`
	SHA256      string   `json:"sha256"`
	Compression string   `json:"compression"`
	Encryption  string   `json:"encryption,omitempty"`
	Recipients  []string `json:"recipients,omitempty"`
}

// Folder is where everything of a cluster is on the store.
func (c Cluster) Folder() string { return path.Join(c.Namespace, c.Name, c.UID) }

// folder is where the backup called name of a cluster is.
func (c Cluster) folder(name string) string { return path.Join(c.Folder(), name) }

// write makes a backup out of what is stored already, unless there is one of that name. Then that one counts: the answer to an
// earlier try may have been lost, or two try at once.
func (m Manifest) write(ctx context.Context, s store.Store) (Manifest, error) {
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return Manifest{}, err
	}
	err = s.Put(ctx, path.Join(m.Cluster.folder(m.Name), manifestName), bytes.NewReader(content))
	if !errors.Is(err, store.ErrExists) {
		return m, err
	}
	first, err := Load(ctx, s, m.Cluster, m.Name)
	if err == nil && first.Stored.Object != m.Stored.Object {
		// What is left of this try is no part of any backup.
		err = s.Delete(ctx, m.Stored.Object)
	}
	return first, err
}

// Delete removes a backup: first its manifest, by which it ends to be one. It can be repeated, and is no error if there is
// nothing.
func Delete(ctx context.Context, s store.Store, c Cluster, name string) error {
	folder := c.folder(name)
	if err := s.Delete(ctx, path.Join(folder, manifestName)); err != nil {
		return err
	}
	objects, err := s.List(ctx, folder+"/")
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := s.Delete(ctx, object.Name); err != nil {
			return err
		}
	}
	return nil
}

// ErrNoBackup says that there is no manifest, and so no backup.
var ErrNoBackup = errors.New("without its manifest it is no backup: it was never finished, or it was deleted; choose another one")

// ErrUnusable says that a manifest is not one that this program can use.
var ErrUnusable = errors.New("the backup cannot be used")

// Load reads the manifest of the backup called name, and refuses what this program does not understand or what was made of
// another cluster.
func Load(ctx context.Context, s store.Store, c Cluster, name string) (Manifest, error) {
	object := path.Join(c.folder(name), manifestName)
	content, err := readManifest(ctx, s, object)
	if errors.Is(err, store.ErrNotFound) {
		return Manifest{}, fmt.Errorf("%w: %w", err, ErrNoBackup)
	}
	if err != nil {
		return Manifest{}, err
	}
	var m Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %q in %s is no manifest: %w; choose another backup", ErrUnusable, object, s, err)
	}
	problem := ""
	switch {
	case m.Format != Format:
		problem = fmt.Sprintf("it has format %d, and this version of the operator reads %d; use the operator that made it, version %q, or a later one", m.Format, Format, m.Operator)
	case m.Name != name || m.Cluster.folder(name) != c.folder(name):
		problem = fmt.Sprintf("it is that of %q: backups cannot be moved; choose it where it was made", m.Cluster.folder(m.Name))
	case path.Dir(m.Stored.Object) != c.folder(name) || !strings.HasPrefix(path.Base(m.Stored.Object), snapshotName):
		problem = fmt.Sprintf("it refers to the object %q, which is not its own; choose another backup", m.Stored.Object)
	case m.Stored.Compression != Zstd:
		problem = fmt.Sprintf("its compression %q is unknown; use the operator that made it, version %q", m.Stored.Compression, m.Operator)
	case m.Stored.Encryption != "" && m.Stored.Encryption != Age:
		problem = fmt.Sprintf("its encryption %q is unknown; use the operator that made it, version %q", m.Stored.Encryption, m.Operator)
	case m.State.Revision < 1 || m.State.LastRevision < m.State.Revision || m.Snapshot.Size < 1 || m.Stored.Size < 1:
		problem = "it lacks a revision or a size; choose another backup"
	}
	if problem != "" {
		return Manifest{}, fmt.Errorf("%w: the manifest %q in %s: %s", ErrUnusable, object, s, problem)
	}
	return m, nil
}

func readManifest(ctx context.Context, s store.Store, object string) ([]byte, error) {
	body, err := s.Get(ctx, object, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, manifestLimit))
	if err != nil {
		return nil, fmt.Errorf("reading %q in %s: %w", object, s, err)
	}
	return content, nil
}
