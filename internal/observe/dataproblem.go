package observe

import (
	"regexp"
	"slices"
	"strings"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// The texts below were recorded from etcd 3.5.33, 3.6.16 and 3.7.3, save for those marked as from the sources. The files are
// those of the Go modules go.etcd.io/etcd/server/v3, go.etcd.io/raft/v3 (go.etcd.io/etcd/raft/v3 in 3.5) and
// go.etcd.io/bbolt.

// notTheData are errors of the operating system. The data may be all right, or is until there is room again.
var notTheData = []string{
	"permission denied", "operation not permitted", "read-only file system",
	"no space left on device", "disk quota exceeded", "file too large", "too many open files",
	"cannot allocate memory", "out of memory", "input/output error",
}

// removedTexts are those of a member that the others have removed.
var removedTexts = []string{
	// etcdserver/server.go and etcdserver/api/rafthttp/util.go.
	"the member has been permanently removed from the cluster",
	// etcdserver/server.go, after any error that says that the member has been removed. From the sources.
	"data-dir used by this member must be removed",
	// etcdmain/etcd.go with the error of embed/serve.go: etcd has stopped itself before it was ready, which it does only if
	// it has been removed. The texts above are further up and seldom within what Kubernetes keeps.
	`"msg":"listener failed","error":"server is stopping"`,
}

// noLogText: there is no raft log, and none of the members that etcd was told of says what the cluster is
// (etcdserver/bootstrap.go, in 3.5 etcdserver/server.go; the cause is from etcdserver/cluster_util.go). A sealed member is
// told of no other.
const noLogText = "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"

// bootstrappedText: a founder finds no raft log, and the others say that it has published itself before
// (etcdserver/bootstrap.go, in 3.5 etcdserver/server.go).
const bootstrappedText = "has already been bootstrapped"

// askedOthers recognizes what etcdserver/cluster_util.go writes about each other member that did not answer. Then it is a
// member that joins, whose volume has to be empty. With long names these lines are further up than Kubernetes keeps.
var askedOthers = regexp.MustCompile(`/members\\?"`)

// corruptTexts prove that what is on the volume is not what etcd has written.
var corruptTexts = []string{
	// storage/wal/walpb/record.go, in 3.5 wal/walpb/record.go.
	"walpb: crc mismatch",
	// storage/wal/walpb/record.pb.go, in 3.5 wal/walpb/record.pb.go. The like text of 3.7 does not name the record, and
	// can come of an entry that 3.5 has written.
	"proto: Record: ",
	// storage/wal/wal.go, in 3.5 wal/wal.go: the log lacks a file or what is in one. From the sources: all but the first.
	"wal: file not found", "wal: conflicting metadata found", "wal: snapshot mismatch", "wal: snapshot not found",
	"wal: slice bounds out of range",
	// raft's raft.go: the log does not say whose it is.
	"panic: cannot use none as id",
	// backend.go with the errors of bbolt (errors/errors.go, in 3.5 errors.go; the last is from db.go).
	`"error":"invalid database"`, `"error":"checksum error"`, `"error":"file size too small`,
	// bbolt's internal/common/page.go, in 3.5 page.go.
	"but self identifies as ", "has unexpected type/flags: ",
	// storage/backend.go, in 3.5 etcdserver/backend.go: there is a snapshot, the database is older or not there.
	"failed to find database snapshot file (snap: snapshot file doesn't exist)",
	// etcdserver/bootstrap.go, in 3.5 etcdserver/server.go. From the sources.
	") of the backend is missing",
}

// lostEntries is raft's log.go: the member has confirmed entries that it does not have any more.
var lostEntries = regexp.MustCompile(`tocommit\(\d+\) is out of range \[lastIndex\(\d+\)\]`)

// dataProblem says what is wrong with the data of a member, if the message that its etcd has left proves it: all that
// Kubernetes keeps, the last 2048 bytes of the log. Whatever else may have come over etcd is "".
//
// MemberRemoved is to be checked against the list of members. A removed etcd often ends with exit code 0, of
// which Kubernetes keeps no message, so that not finding it proves nothing. VolumeEmpty counts only for a sealed member: of
// one that joins it may mean that the others cannot be reached. A folder of the log that etcd may not read looks the same.
//
// DataDiffers says nothing of whose data is wrong, this member's or the other's.
func dataProblem(message string) core.Reason {
	// Of the two log formats one has a space there.
	message = strings.ReplaceAll(message, `": "`, `":"`)
	message = strings.ReplaceAll(message, `", "`, `","`)
	contains := func(text string) bool { return strings.Contains(message, text) }
	switch {
	case slices.ContainsFunc(notTheData, contains):
		return ""
	case slices.ContainsFunc(removedTexts, contains):
		return core.ReasonMemberRemoved
	case contains("found data inconsistency with peers"): // etcdserver/corrupt.go
		return core.ReasonDataDiffers
	case contains(bootstrappedText):
		return core.ReasonVolumeEmpty
	case contains(noLogText) && !askedOthers.MatchString(message):
		return core.ReasonVolumeEmpty
	case slices.ContainsFunc(corruptTexts, contains), lostEntries.MatchString(message), logWithoutOwner(message), pagesUnreadable(message):
		return core.ReasonDataCorrupt
	}
	return ""
}

// logWithoutOwner recognizes what became in 3.7 of "cannot use none as id": the members are read from the database
// (etcdserver/api/membership/cluster.go) by a member that has no ID, and etcdserver/bootstrap.go finds no log to go on with.
func logWithoutOwner(message string) bool {
	return strings.Contains(message, `"cluster-id":"0","local-member-id":"0"`) &&
		strings.Contains(message, "invalid memory address or nil pointer dereference") &&
		strings.Contains(message, "etcdserver.bootstrap(")
}

// diskFull says how it shows that etcd ended since its volume takes nothing more; empty if it does not. Of a snapshot of its log
// that 3.6 or 3.7 could not save (etcdserver/server.go) Kubernetes keeps only the end of the stack: that volume cannot be
// written to, and the usual cause is assumed.
func diskFull(message string) string {
	switch {
	case strings.Contains(message, "no space left on device"), strings.Contains(message, "disk quota exceeded"):
		return shorten(lastLine(message))
	case strings.Contains(message, "zap.(*Logger).Panic(") && strings.Contains(message, "etcdserver.(*EtcdServer).snapshot("):
		return "a snapshot of its log could not be saved"
	}
	return ""
}

// pagesUnreadable recognizes a panic by its stack alone: the text is often further up than Kubernetes keeps. While the
// database is opened bbolt's db.go walks through all pages and panics if they make no sense. A stack with frame pointers
// is another matter: the Go runtime has given up, be it that the disk cannot be read or that there is no memory.
func pagesUnreadable(message string) bool {
	return strings.Contains(message, "go.etcd.io/bbolt.(*DB).freepages") &&
		!strings.Contains(message, " fp=0x") && !strings.Contains(message, "fatal error: ")
}
