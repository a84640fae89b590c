// Package task is what the operator and its agents tell each other. An agent is a pod that moves data between members, volumes
// and a store. It never talks to the Kubernetes API: its task is in a variable, what it needs is mounted, and what has become of
// it is its exit code and its termination message.
package task

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Variable is the environment variable that holds a [Task] as JSON.
const Variable = "ETCD_AGENT_TASK"

// ExitFinal is the exit code for what would fail again, however often it is tried. Others are worth another try.
const ExitFinal = 3

// Where an agent finds what it needs.
const (
	// Message is where it leaves its [Result].
	Message = "/run/etcd-agent/result"
	// ClientTLS has ca.crt, tls.crt and tls.key, by which it talks to members.
	ClientTLS = "/etc/etcd-agent/client-tls"
	// Login has username and password, by which etcd knows it.
	Login = "/etc/etcd-agent/login"
	// SourceTLS and SourceLogin have the same for an etcd outside; tls.crt and tls.key may be missing there.
	SourceTLS   = "/etc/etcd-agent/source-tls"
	SourceLogin = "/etc/etcd-agent/source-login"
	// StoreCredentials are those for the store.
	StoreCredentials = "/etc/etcd-agent/store-credentials" //nolint:gosec // A folder.
	// StoreCA has ca.crt, whom to trust for the store's certificate.
	StoreCA = "/etc/etcd-agent/store-ca"
	// Identity has identity.txt, a private key of age.
	Identity = "/etc/etcd-agent/identity"
	// Volume is the root of the volume that is the store.
	Volume = "/var/lib/etcd-agent/store"
	// Scratch is empty at first.
	Scratch = "/var/lib/etcd-agent/scratch"
	// Programs has the agent's own program where it runs in an image that lacks it.
	Programs = "/var/lib/etcd-agent/bin"
	// Data and WAL are where a member's volumes are mounted.
	Data = "/var/lib/etcd"
	WAL  = "/var/lib/etcd-wal"
	// Etcd is where images of etcd have etcd and etcdutl.
	Etcd = "/usr/local/bin"
)

// Keys of Secrets that agents read.
const (
	KeyCA       = "ca.crt"
	KeyIdentity = "identity.txt"
)

// Kind is what is to be done.
type Kind string

// Kinds of tasks.
const (
	// Backup makes a backup.
	Backup Kind = "Backup"
	// Inspect reads what there is of a backup.
	Inspect Kind = "Inspect"
	// Verify restores a backup on trial.
	Verify Kind = "Verify"
	// Delete removes a backup from the store.
	Delete Kind = "Delete"
	// List writes what the store has to the standard output: a [Found] on each line, and at last one with the end.
	List Kind = "List"
	// Check reads all that a restore needs through, and changes nothing.
	Check Kind = "Check"
	// Fill gives a member's volume the data of a backup, and moves aside what it had.
	Fill Kind = "Fill"
	// RollBack gives a member's volume back what it had.
	RollBack Kind = "RollBack"
	// Confirm deletes what a member's volume had.
	Confirm Kind = "Confirm"
	// Compare compares what a restored cluster serves with what its volumes were filled with.
	Compare Kind = "Compare"
	// Archive stores all changes of a cluster, until it is told to end.
	Archive Kind = "Archive"
	// Mirror repeats on members what an etcd outside does, until it is told to end.
	Mirror Kind = "Mirror"
	// CutOver waits until members have all that an etcd outside has, and compares it.
	CutOver Kind = "CutOver"
)

// Task is what an agent is to do.
type Task struct {
	Kind Kind `json:"kind"`
	// OperatorVersion is the version of who asks.
	OperatorVersion string `json:"operatorVersion,omitempty"`
	Store           Store  `json:"store"`
	// Cluster and Name are whose backup it is, and what it is called in the store.
	Cluster Cluster `json:"cluster"`
	Name    string  `json:"name"`
	// Members can be asked for a snapshot.
	Members []Member `json:"members,omitempty"`
	// Source is an etcd outside: it is backed up instead of members, or mirrored by them.
	Source *Source `json:"source,omitempty"`
	// TLS and Login are whether members are reached by TLS, and ask who is there.
	TLS   bool `json:"tls,omitempty"`
	Login bool `json:"login,omitempty"`
	// Recipients are public keys of age.
	Recipients []string `json:"recipients,omitempty"`
	// Identity is whether there is a private key.
	Identity bool `json:"identity,omitempty"`
	// Spec is that of the EtcdCluster, to be kept with the backup.
	Spec json.RawMessage `json:"spec,omitempty"`
	// Restore is what a restore is about.
	Restore *Restore `json:"restore,omitempty"`
	// Archive is how changes are archived.
	Archive *Archiving `json:"archive,omitempty"`
}

// Port is where an archiver or a mirror serves /healthz, /readyz and /metrics, and an agent that reads what is to be restored [ProgressPath].
const Port = 8080

// ProgressPath is where an agent tells its [Progress].
const ProgressPath = "/progress"

// Progress is how far an agent is.
type Progress struct {
	// Read is how many bytes were read from the store, of Total.
	Read  int64 `json:"read"`
	Total int64 `json:"total"`
}

// Archiving is how changes are archived.
type Archiving struct {
	// FlushInterval is after what time a change is on the store, and SegmentSize how much is stored at once before.
	FlushInterval time.Duration `json:"flushInterval"`
	SegmentSize   int64         `json:"segmentSize"`
	// KeepFor is how far back moments can be recovered, and BaseEvery how often a backup is made that recoveries begin with.
	KeepFor   time.Duration `json:"keepFor"`
	BaseEvery time.Duration `json:"baseEvery"`
}

// Restore is what the tasks of a restore are about.
type Restore struct {
	// ID tells the restore from all others.
	ID string `json:"id"`
	// First is whether it brings a cluster its first data.
	First bool `json:"first,omitempty"`
	// Member is whose volume it is, and InitialCluster are all members with their peer URLs.
	Member         string            `json:"member,omitempty"`
	InitialCluster map[string]string `json:"initialCluster,omitempty"`
	// WAL is whether the log is on a volume of its own.
	WAL bool `json:"wal,omitempty"`
	// LetEverybodyIn is whether the cluster asks nobody who is there, whatever the one did that was backed up.
	LetEverybodyIn bool `json:"letEverybodyIn,omitempty"`
	// BumpRevision is by how much the revision is raised.
	BumpRevision uint64 `json:"bumpRevision,omitempty"`
	// Revision, Moment or Latest is what to recover to, by what was archived; with none of them it is the backup itself. Latest is for
	// Check only, which finds out what revision that is.
	Revision int64     `json:"revision,omitempty"`
	Moment   time.Time `json:"moment,omitzero"`
	Latest   bool      `json:"latest,omitempty"`
	// Expected is what the cluster is to have.
	Expected *Content `json:"expected,omitempty"`
}

// Content stands for what a cluster has at a revision.
type Content struct {
	Revision int64  `json:"revision"`
	Keys     int64  `json:"keys"`
	Digest   string `json:"digest"`
}

// Store is where backups are kept. One of its kinds is given.
type Store struct {
	S3    *S3    `json:"s3,omitempty"`
	GCS   *GCS   `json:"gcs,omitempty"`
	Azure *Azure `json:"azure,omitempty"`
	// Folder is one of the volume's, which may be its root.
	Folder *string `json:"folder,omitempty"`
	// Credentials and CA are whether there are any.
	Credentials bool `json:"credentials,omitempty"`
	CA          bool `json:"ca,omitempty"`
	// Login says in words whose rights the agent has.
	Login string `json:"login,omitempty"`
}

// S3 is a bucket of S3.
type S3 struct {
	Endpoint   string `json:"endpoint"`
	Region     string `json:"region,omitempty"`
	Bucket     string `json:"bucket"`
	Prefix     string `json:"prefix,omitempty"`
	PathStyle  bool   `json:"pathStyle,omitempty"`
	Encryption string `json:"encryption,omitempty"`
	KMSKey     string `json:"kmsKey,omitempty"`
}

// GCS is a bucket of Google Cloud Storage.
type GCS struct {
	Endpoint string `json:"endpoint,omitempty"`
	Bucket   string `json:"bucket"`
	Prefix   string `json:"prefix,omitempty"`
	KMSKey   string `json:"kmsKey,omitempty"`
}

// Azure is a container of Azure Blob Storage.
type Azure struct {
	Endpoint        string `json:"endpoint,omitempty"`
	Account         string `json:"account"`
	Container       string `json:"container"`
	Prefix          string `json:"prefix,omitempty"`
	EncryptionScope string `json:"encryptionScope,omitempty"`
}

// Cluster is an EtcdCluster.
type Cluster struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// Source is an etcd outside.
type Source struct {
	// URLs are where its members serve clients.
	URLs []string `json:"urls"`
	// TLS and Login are whether there are files for it.
	TLS   bool `json:"tls,omitempty"`
	Login bool `json:"login,omitempty"`
}

// Member is where a member serves clients.
type Member struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Result is what has become of a task: an agent's termination message, as JSON.
type Result struct {
	// Problem is why it failed; empty if it did not.
	Problem string `json:"problem,omitempty"`
	// Differs is whether it failed since the backup is not what it ought to be.
	Differs bool     `json:"differs,omitempty"`
	Backup  *Stored  `json:"backup,omitempty"`
	Checked *Checked `json:"checked,omitempty"`
	Filled  *Filled  `json:"filled,omitempty"`
	// CutOver is what a cluster and the one that it has mirrored both have.
	CutOver *Content  `json:"cutOver,omitempty"`
	Trial   *Verified `json:"verified,omitempty"`
}

// Stored is a backup in a store.
type Stored struct {
	Began      time.Time `json:"began"`
	Ended      time.Time `json:"ended"`
	Member     string    `json:"member"`
	Version    string    `json:"version"`
	ClusterID  string    `json:"clusterID"`
	Revision   int64     `json:"revision"`
	Keys       int64     `json:"keys"`
	Hash       uint32    `json:"hash"`
	Size       int64     `json:"size"`
	StoredSize int64     `json:"storedSize"`
	Recipients []string  `json:"recipients,omitempty"`
}

// Found is one thing of what a store has. All but one of its fields are left out.
type Found struct {
	Backup  *FoundBackup  `json:"backup,omitempty"`
	Archive *FoundArchive `json:"archive,omitempty"`
	// End says that nothing follows.
	End *FoundEnd `json:"end,omitempty"`
}

// FoundEnd is the end, by which it is seen whether all of it came through.
type FoundEnd struct {
	// Count is how much was found.
	Count int `json:"count"`
}

// FoundBackup is a backup. With a problem it cannot be used, and little is known of it.
type FoundBackup struct {
	// Path is <namespace>/<cluster>/<UID>/<backup>.
	Path    string `json:"path"`
	Stored  Stored `json:"stored"`
	Problem string `json:"problem,omitempty"`
}

// FoundArchive is a stretch of a cluster's life that any revision of can be restored.
type FoundArchive struct {
	Cluster Cluster   `json:"cluster"`
	First   int64     `json:"first"`
	Last    int64     `json:"last"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	// Missing is how many revisions after that are not archived, before it goes on.
	Missing int64 `json:"missing,omitempty"`
}

// Checked is what can be restored.
type Checked struct {
	// Target is the revision of the last change that is archived, if that is what is wanted.
	Target int64 `json:"target,omitempty"`
}

// Filled is a volume that has the data of a backup.
type Filled struct {
	// ClusterID is what etcd will call the cluster.
	ClusterID string  `json:"clusterID"`
	Content   Content `json:"content"`
}

// Verified is a trial that ended well.
type Verified struct {
	Took time.Duration `json:"took"`
}

// longestProblem keeps a message within what Kubernetes keeps of it: 4096 bytes
// (https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/). JSON may write a byte as six.
const longestProblem = 600

// Encode is the result as a termination message.
func (r Result) Encode() []byte {
	if len(r.Problem) > longestProblem {
		cut := longestProblem
		for !utf8.RuneStart(r.Problem[cut]) {
			cut--
		}
		r.Problem = r.Problem[:cut] + "…"
	}
	content, err := json.Marshal(r)
	if err != nil {
		content = fmt.Appendf(nil, `{"problem":%q}`, "the result cannot be written as JSON: "+err.Error())
	}
	return content
}

// Decode reads a termination message. What is not a result is a problem by itself: the last words of what ran.
func Decode(message string) Result {
	var result Result
	if err := json.Unmarshal([]byte(message), &result); err != nil {
		return Result{Problem: message}
	}
	return result
}
