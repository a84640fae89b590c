package observe

import (
	"slices"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

type recordedText struct {
	name   string
	reason core.Reason
	text   string
}

// recordedTexts are the telling lines of the last 2048 bytes that etcd 3.5.33, 3.6.16 and 3.7.3 wrote in three-member
// clusters whose data was damaged, taken away or kept from them. Stack traces are shortened.
var recordedTexts = []recordedText{
	{"3.5: sealed, no data", core.ReasonVolumeEmpty, `{"level":"fatal","ts":"2026-11-23T23:55:09.707799Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: sealed, no data", core.ReasonVolumeEmpty, `{"level":"fatal","ts":"2026-11-23T23:51:05.776723Z","caller":"etcdmain/etcd.go:183","msg":"discovery failed","error":"cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: sealed, no data", core.ReasonVolumeEmpty, `{"level":"fatal","ts":"2026-11-24T00:01:34.847393Z","caller":"etcdmain/etcd.go:157","msg":"discovery failed","error":"cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.5: removed while it runs", core.ReasonMemberRemoved, `{"level":"warn","ts":"2026-11-24T00:05:55.952366Z","caller":"rafthttp/peer_status.go:66","msg":"peer became inactive (message send to peer failed)","peer-id":"b4417526994db04c","error":"failed to dial b4417526994db04c on stream Message (the member has been permanently removed from the cluster)"}`},
	{"3.5: removed, restarted", core.ReasonMemberRemoved, `{"level":"fatal","ts":"2026-11-24T00:05:56.114220Z","caller":"etcdmain/etcd.go:219","msg":"listener failed","error":"server is stopping","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: removed, restarted", core.ReasonMemberRemoved, `{"level":"fatal","ts":"2026-11-24T00:01:37.521571Z","caller":"etcdmain/etcd.go:198","msg":"listener failed","error":"server is stopping","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: removed, restarted", core.ReasonMemberRemoved, `{"level":"fatal","ts":"2026-11-24T00:12:12.570944Z","caller":"etcdmain/etcd.go:172","msg":"listener failed","error":"server is stopping","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.5: bit flipped in the log", core.ReasonDataCorrupt, `{"level":"fatal","ts":"2026-11-23T23:55:23.758544Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"walpb: crc mismatch","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.5: bits flipped at the beginning of the database", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-23T23:56:03.522422Z","caller":"backend/backend.go:201","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"checksum error","stacktrace":"go.etcd.io/etcd/server/v3/mvcc/backend.newBackend"}`},
	{"3.5: bits flipped in all pages", core.ReasonDataCorrupt, `00110000002600000000. Pages stack: [8 2])

goroutine 137 [running]:
go.etcd.io/bbolt.(*DB).freepages.func2()
	go.etcd.io/bbolt@v1.3.12/db.go:1204 +0x8d
created by go.etcd.io/bbolt.(*DB).freepages in goroutine 136
	go.etcd.io/bbolt@v1.3.12/db.go:1202 +0x1ef`},
	{"3.5: database almost empty", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-24T00:16:41.119532Z","caller":"backend/backend.go:201","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"file size too small","stacktrace":"go.etcd.io/etcd/server/v3/mvcc/backend.newBackend"}`},
	{"3.5: database deleted, a snapshot is there", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-23T23:56:37.298961Z","caller":"etcdserver/server.go:520","msg":"failed to recover v3 backend from snapshot","error":"failed to find database snapshot file (snap: snapshot file doesn't exist)","stacktrace":"go.etcd.io/etcd/server/v3/etcdserver.NewServer"}`},
	{"3.5: database is zeros", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-23T23:56:06.903829Z","caller":"backend/backend.go:201","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"invalid database","stacktrace":"go.etcd.io/etcd/server/v3/mvcc/backend.newBackend"}`},
	{"3.5: file of the log missing", core.ReasonDataCorrupt, `{"level":"fatal","ts":"2026-11-23T23:55:46.900744Z","caller":"etcdserver/storage.go:96","msg":"failed to open WAL","error":"wal: file not found","stacktrace":"go.etcd.io/etcd/server/v3/etcdserver.readWAL"}`},
	{"3.5: first pages are zeros", core.ReasonDataCorrupt, `: 14, but self identifies as 0
go.etcd.io/bbolt.(*Tx).page(0x169f060d40f0?, 0x169f063f5470?)
go.etcd.io/bbolt.(*DB).freepages(0x169f063b4248)`},
	{"3.5: log cut short", core.ReasonDataCorrupt, `panic: tocommit(469) is out of range [lastIndex(238)]. Was the raft log corrupted, truncated, or lost?`},
	{"3.5: log has no content", core.ReasonDataCorrupt, `panic: cannot use none as id`},
	{"3.5: second half of the log is zeros", core.ReasonDataCorrupt, `{"level":"fatal","ts":"2026-11-23T23:55:43.672114Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"proto: Record: illegal tag 0 (wire type 0)","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: bit flipped in the log", core.ReasonDataCorrupt, `{"level":"fatal","ts":"2026-11-23T23:51:19.141143Z","caller":"etcdmain/etcd.go:183","msg":"discovery failed","error":"walpb: crc mismatch: expected: 5e8e7c0a computed: 47f509dc: in file '0000000000000000-0000000000000000.wal' at position: 26240","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: bits flipped at the beginning of the database", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-23T23:55:14.369357Z","caller":"backend/backend.go:205","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"checksum error","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.6: bits flipped in all pages", core.ReasonDataCorrupt, `000f0000002000000001. Pages stack: [10 7])

goroutine 124 [running]:
go.etcd.io/bbolt.(*DB).freepages.func2()
	go.etcd.io/bbolt@v1.4.3/db.go:1248 +0x8d
created by go.etcd.io/bbolt.(*DB).freepages in goroutine 123
	go.etcd.io/bbolt@v1.4.3/db.go:1246 +0x1ef`},
	{"3.6: database almost empty", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-24T00:14:34.163540Z","caller":"backend/backend.go:205","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"file size too small 5000","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.6: database is zeros", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-23T23:55:17.668424Z","caller":"backend/backend.go:205","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"invalid database","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.6: file of the log missing", core.ReasonDataCorrupt, `{"level":"fatal","ts":"2026-11-23T23:51:42.140470Z","caller":"etcdserver/bootstrap.go:621","msg":"failed to open WAL","error":"openAtIndex failed: [openAtIndex] selectWALFiles failed: wal: file not found which matches the snapshot index '0'","stacktrace":"go.etcd.io/etcd/server/v3/etcdserver.openWALFromSnapshot"}`},
	{"3.6: first pages are zeros", core.ReasonDataCorrupt, `common/page.go:83 +0x1c7
go.etcd.io/bbolt.(*Tx).page(0x12d41a0a2000?, 0x12d41a247300?)
go.etcd.io/bbolt.(*DB).freepages(0x12d41a0606c8)
go.etcd.io/etcd/server/v3/storage.OpenBackend.func1()`},
	{"3.6: log cut short", core.ReasonDataCorrupt, `panic: tocommit(469) is out of range [lastIndex(234)]. Was the raft log corrupted, truncated, or lost?`},
	{"3.6: log has no content", core.ReasonDataCorrupt, `panic: cannot use none as id`},
	{"3.7: bit flipped in the log", core.ReasonDataCorrupt, `{"level":"fatal","ts":"2026-11-24T00:01:48.938919Z","caller":"etcdmain/etcd.go:157","msg":"discovery failed","error":"walpb: crc mismatch: expected: 6243162d computed: 75f299ff: in file '0000000000000000-0000000000000000.wal' at position: 25576","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: bits flipped at the beginning of the database", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-24T00:02:29.937126Z","caller":"backend/backend.go:215","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"checksum error","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.7: database almost empty", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-24T00:16:18.423474Z","caller":"backend/backend.go:215","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"file size too small 5000","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.7: database is zeros", core.ReasonDataCorrupt, `{"level":"panic","ts":"2026-11-24T00:02:33.175634Z","caller":"backend/backend.go:215","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"invalid database","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.7: file of the log missing", core.ReasonDataCorrupt, `{"level":"fatal","ts":"2026-11-24T00:02:13.013318Z","caller":"etcdserver/bootstrap.go:637","msg":"failed to open WAL","error":"openAtIndex failed: [openAtIndex] selectWALFiles failed: wal: file not found which matches the snapshot index '0'","stacktrace":"go.etcd.io/etcd/server/v3/etcdserver.openWALFromSnapshot"}`},
	{"3.7: first pages are zeros", core.ReasonDataCorrupt, `panic: assertion failed: Page expected to be: 16, but self identifies as 0`},
	{"3.7: headers of pages flipped", core.ReasonDataCorrupt, `panic: assertion failed: page 15: has unexpected type/flags: 1012`},
	{"3.7: log cut short", core.ReasonDataCorrupt, `panic: tocommit(468) is out of range [lastIndex(237)]. Was the raft log corrupted, truncated, or lost?`},
	{"3.7: log has no content", core.ReasonDataCorrupt, `{"level":"info","ts":"2026-11-24T00:01:56.912013Z","caller":"membership/cluster.go:286","msg":"recovered/added member from store","cluster-id":"0","local-member-id":"0","recovered-remote-peer-id":"aae2854420a869e2","recovered-remote-peer-urls":["http://127.9.37.2:2380"],"recovered-remote-peer-is-learner":false}
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0xc71510]

goroutine 1 [running]:
go.etcd.io/etcd/server/v3/etcdserver.bootstrap({...})`},
}

// harmlessTexts are those, recorded in the same way, of members whose data need not be the cause.
var harmlessTexts = []recordedText{
	{"3.5: database not readable", "", `{"level":"panic","ts":"2026-11-24T00:06:54.703602Z","caller":"backend/backend.go:201","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"open /var/lib/etcd/data/member/snap/db: permission denied","stacktrace":"go.etcd.io/etcd/server/v3/mvcc/backend.newBackend"}`},
	{"3.5: folder not readable", "", `{"level":"fatal","ts":"2026-11-24T00:06:54.360747Z","caller":"etcdmain/etcd.go:435","msg":"failed to list data directory","dir":"/var/lib/etcd/data","error":"open /var/lib/etcd/data: permission denied","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.identifyDataDirOrDie"}`},
	{"3.5: log not readable", "", `{"level":"fatal","ts":"2026-11-24T00:06:54.821447Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"open /var/lib/etcd/data/member/wal/0000000000000000-0000000000000000.wal: permission denied","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.5: no memory", "", `{"level":"panic","ts":"2026-11-24T00:07:25.666586Z","caller":"backend/backend.go:201","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"cannot allocate memory","stacktrace":"go.etcd.io/etcd/server/v3/mvcc/backend.newBackend"}`},
	{"3.5: port taken", "", `{"level":"fatal","ts":"2026-11-24T00:07:32.382398Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"listen tcp 127.9.35.3:2380: bind: address already in use","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.5: the database cannot be read to its end, perhaps the disk", "", `go.etcd.io/bbolt.(*DB).freepages.func2()
	go.etcd.io/bbolt@v1.3.12/db.go:1202 fp=0x2f475cd967e0 sp=0x2f475cd967d8 pc=0xa578a0
created by go.etcd.io/bbolt.(*DB).freepages in goroutine 135
	go.etcd.io/bbolt@v1.3.12/db.go:1202 +0x1ef`},
	{"3.5: the others cannot be reached", "", `{"level":"warn","ts":"2026-11-24T00:06:05.103016Z","caller":"etcdserver/cluster_util.go:84","msg":"failed to get cluster response","address":"http://127.9.35.4:2380/members","error":"Get \"http://127.9.35.4:2380/members\": dial tcp 127.9.35.4:2380: connect: connection refused"}
{"level":"fatal","ts":"2026-11-24T00:06:05.107861Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.5: told of too few members", "", `{"level":"fatal","ts":"2026-11-24T00:06:04.764998Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"error validating peerURLs {...}: member count is unequal","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.5: volume full", "", `{"level":"fatal","ts":"2026-11-24T00:07:14.804892Z","caller":"backend/batch_tx.go:282","msg":"failed to commit tx","error":"write /var/lib/etcd/data/member/snap/db: no space left on device","stacktrace":"go.etcd.io/etcd/server/v3/mvcc/backend.(*batchTx).commit"}`},
	{"3.5: volume full at first", "", `panic: failed to create WAL`},
	{"3.5: volume full, log to be repaired", "", `{"level":"fatal","ts":"2026-11-24T00:07:17.029621Z","caller":"etcdserver/storage.go:105","msg":"failed to read WAL, cannot be repaired","error":"no space left on device","stacktrace":"go.etcd.io/etcd/server/v3/etcdserver.readWAL"}`},
	{"3.5: volume read-only", "", `{"level":"fatal","ts":"2026-11-24T00:07:02.293740Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"cannot access data directory: open /var/lib/etcd/data/.touch: read-only file system","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: data of a newer version", "", `{"level":"fatal","ts":"2026-11-24T00:07:21.127768Z","caller":"membership/downgrade.go:69","msg":"invalid downgrade; server version is lower than determined cluster version","current-server-version":"3.5.33","determined-cluster-version":"3.6","stacktrace":"go.etcd.io/etcd/server/v3/etcdserver/api/membership.mustDetectDowngrade"}`},
	{"3.6: database deleted, the cause is cut off", "", `panic: failed to recover v3 backend from snapshot`},
	{"3.6: database not readable", "", `{"level":"panic","ts":"2026-11-24T00:06:39.536368Z","caller":"backend/backend.go:205","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"open /var/lib/etcd/data/member/snap/db: permission denied","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.6: folder not readable", "", `{"level":"fatal","ts":"2026-11-24T00:06:39.194982Z","caller":"etcdmain/etcd.go:227","msg":"failed to list data directory","dir":"/var/lib/etcd/data","error":"open /var/lib/etcd/data: permission denied","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.identifyDataDirOrDie"}`},
	{"3.6: log not readable", "", `{"level":"fatal","ts":"2026-11-24T00:06:39.680663Z","caller":"etcdmain/etcd.go:183","msg":"discovery failed","error":"[openWALFiles] os.OpenFile failed (\"/var/lib/etcd/data/member/wal/0000000000000000-0000000000000000.wal\"): open /var/lib/etcd/data/member/wal/0000000000000000-0000000000000000.wal: permission denied","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: members differ, perhaps the other is wrong", core.ReasonDataDiffers, `{"level":"fatal","ts":"2026-11-24T00:14:48.874590Z","caller":"etcdmain/etcd.go:183","msg":"discovery failed","error":"c443efb01cd5c852 found data inconsistency with peers","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: no memory", "", `{"level":"panic","ts":"2026-11-24T00:07:12.058337Z","caller":"backend/backend.go:205","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"cannot allocate memory","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.6: port taken", "", `{"level":"fatal","ts":"2026-11-24T00:07:20.968868Z","caller":"etcdmain/etcd.go:183","msg":"discovery failed","error":"listen tcp 127.9.36.3:2380: bind: address already in use","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: the database cannot be read to its end, perhaps the disk", "", `go.etcd.io/bbolt.(*DB).freepages.func2()
	go.etcd.io/bbolt@v1.4.3/db.go:1247 +0x26 fp=0x19bdd6fc47e0 sp=0x19bdd6fc4788 pc=0xa54d46
created by go.etcd.io/bbolt.(*DB).freepages in goroutine 120
	go.etcd.io/bbolt@v1.4.3/db.go:1246 +0x1ef`},
	{"3.6: the others cannot be reached", "", `bers","error":"Get \"http://127.9.36.4:2380/members\": dial tcp 127.9.36.4:2380: connect: connection refused"}
{"level":"fatal","ts":"2026-11-24T00:05:46.907015Z","caller":"etcdmain/etcd.go:183","msg":"discovery failed","error":"cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: told of too few members", "", `{"level":"fatal","ts":"2026-11-24T00:05:46.583215Z","caller":"etcdmain/etcd.go:183","msg":"discovery failed","error":"error validating peerURLs {...}: member count is unequal","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.6: volume full", "", `{"level":"fatal","ts":"2026-11-24T00:06:59.337282Z","caller":"backend/batch_tx.go:282","msg":"failed to commit tx","error":"write /var/lib/etcd/data/member/snap/db: no space left on device","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.(*batchTx).commit"}`},
	{"3.6: volume full at first", "", `panic: failed to create WAL`},
	{"3.6: volume full, log to be repaired", "", `{"level":"fatal","ts":"2026-11-24T00:07:01.328153Z","caller":"etcdserver/bootstrap.go:631","msg":"failed to read WAL, cannot be repaired","error":"no space left on device","stacktrace":"go.etcd.io/etcd/server/v3/etcdserver.openWALFromSnapshot"}`},
	{"3.6: volume read-only", "", `{"level":"fatal","ts":"2026-11-24T00:06:49.098283Z","caller":"etcdmain/etcd.go:183","msg":"discovery failed","error":"cannot access data directory: open /var/lib/etcd/data/.touch: read-only file system","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: data of a newer version", "", `{"level":"fatal","ts":"2026-11-24T00:14:00.035369Z","caller":"etcdmain/etcd.go:183","msg":"discovery failed","error":"version \"3.7.0\" is not supported","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: database deleted, the cause is cut off", "", `: failed to recover v3 backend from snapshot`},
	{"3.7: database not readable", "", `{"level":"panic","ts":"2026-11-24T00:13:18.812077Z","caller":"backend/backend.go:215","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"open /var/lib/etcd/data/member/snap/db: permission denied","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.7: entry that 3.5 has written", "", `panic({0xf38860?, 0x2b4995a2b0b0?})
go.etcd.io/etcd/pkg/v3/pbutil.MustUnmarshalMessage({0x11dab20?, 0x2b499560b400?}, {0x2b499549c900?, 0x2b499567f7a0?, 0x0?})
go.etcd.io/etcd/server/v3/etcdserver/apply.Apply(0x2b4995503900, 0x2b4995717260, {0x11ddc00, 0x2b4995735980}, {0x11e45a0, 0x2b49954b3170}, 0x0)`},
	{"3.7: folder not readable", "", `{"level":"fatal","ts":"2026-11-24T00:13:18.416419Z","caller":"etcdmain/etcd.go:201","msg":"failed to list data directory","dir":"/var/lib/etcd/data","error":"open /var/lib/etcd/data: permission denied","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.identifyDataDirOrDie"}`},
	{"3.7: log not readable", "", `{"level":"fatal","ts":"2026-11-24T00:13:18.964659Z","caller":"etcdmain/etcd.go:157","msg":"discovery failed","error":"[openWALFiles] os.OpenFile failed (\"/var/lib/etcd/data/member/wal/0000000000000000-0000000000000000.wal\"): open /var/lib/etcd/data/member/wal/0000000000000000-0000000000000000.wal: permission denied","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: members differ, perhaps the other is wrong", core.ReasonDataDiffers, `{"level":"fatal","ts":"2026-11-24T00:16:33.280695Z","caller":"etcdmain/etcd.go:157","msg":"discovery failed","error":"aae2854420a869e2 found data inconsistency with peers","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: no memory", "", `{"level":"panic","ts":"2026-11-24T00:13:51.150045Z","caller":"backend/backend.go:215","msg":"failed to open database","path":"/var/lib/etcd/data/member/snap/db","error":"cannot allocate memory","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.newBackend"}`},
	{"3.7: port taken", "", `{"level":"fatal","ts":"2026-11-24T00:13:59.856540Z","caller":"etcdmain/etcd.go:157","msg":"discovery failed","error":"listen tcp 127.9.37.3:2380: bind: address already in use","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: the database cannot be read to its end, perhaps the disk", "", `go.etcd.io/bbolt.(*DB).freepages(0x2ed099fdf800)
	go.etcd.io/bbolt@v1.5.0/db.go:1299 +0x18b fp=0x2ed099f8f6e0 sp=0x2ed099f8f5c0 pc=0xa3a8eb
created by go.etcd.io/etcd/server/v3/storage.OpenBackend in goroutine 1
	go.etcd.io/etcd/server/v3@v3.7.3/storage/backend.go:75 +0x18d`},
	{"3.7: the others cannot be reached", "", `:2380/members","error":"Get \"http://127.9.37.4:2380/members\": dial tcp 127.9.37.4:2380: connect: connection refused"}
{"level":"fatal","ts":"2026-11-24T00:12:22.487850Z","caller":"etcdmain/etcd.go:157","msg":"discovery failed","error":"cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: told of too few members", "", `{"level":"fatal","ts":"2026-11-24T00:12:22.178631Z","caller":"etcdmain/etcd.go:157","msg":"discovery failed","error":"error validating peerURLs {...}: member count is unequal","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
	{"3.7: volume full", "", `{"level":"fatal","ts":"2026-11-24T00:13:38.482194Z","caller":"backend/batch_tx.go:282","msg":"failed to commit tx","error":"write /var/lib/etcd/data/member/snap/db: no space left on device","stacktrace":"go.etcd.io/etcd/server/v3/storage/backend.(*batchTx).commit"}`},
	{"3.7: volume full at first", "", `panic: failed to create WAL`},
	{"3.7: volume full, log to be repaired", "", `{"level":"fatal","ts":"2026-11-24T00:13:40.545034Z","caller":"etcdserver/bootstrap.go:647","msg":"failed to read WAL, cannot be repaired","error":"no space left on device","stacktrace":"go.etcd.io/etcd/server/v3/etcdserver.openWALFromSnapshot"}`},
	{"3.7: volume read-only", "", `{"level":"fatal","ts":"2026-11-24T00:13:28.483182Z","caller":"etcdmain/etcd.go:157","msg":"discovery failed","error":"cannot access data directory: open /var/lib/etcd/data/.touch: read-only file system","stacktrace":"go.etcd.io/etcd/server/v3/etcdmain.startEtcdOrProxyV2"}`},
}

func TestWhatIsWrongWithTheData(t *testing.T) {
	for _, test := range append(recordedTexts, harmlessTexts...) {
		t.Run(test.name, func(t *testing.T) {
			if got := dataProblem(test.text); got != test.reason {
				t.Errorf("got %q, want %q, for\n%s", got, test.reason, test.text)
			}
		})
	}
}

// TestDataProblemOfLongMessages: what tells it need not be the last line.
func TestDataProblemOfLongMessages(t *testing.T) {
	const before, after = "{\"level\":\"info\",\"msg\":\"opened backend db\"}\n", "\n\ngoroutine 1 [running]:\nmain.main()\n"
	for _, test := range recordedTexts {
		if got := dataProblem(before + test.text + after); got != test.reason {
			t.Errorf("%s: got %q, want %q", test.name, got, test.reason)
		}
	}
}

// TestDataProblemBesideOthers: an error of the operating system may be the cause of all else.
func TestDataProblemBesideOthers(t *testing.T) {
	for _, cause := range notTheData {
		for _, test := range recordedTexts {
			if got := dataProblem("write /var/lib/etcd/data: " + cause + "\n" + test.text); got != "" {
				t.Errorf("%s, after %q: got %q", test.name, cause, got)
			}
		}
	}
}

// TestDataProblemInTheOtherLogFormat: --log-format=console writes the fields with spaces between them.
func TestDataProblemInTheOtherLogFormat(t *testing.T) {
	const text = "panic\tbackend/backend.go:205\tfailed to open database\t" + `{"path": "/var/lib/etcd/data/member/snap/db", "error": "invalid database"}`
	if got := dataProblem(text); got != core.ReasonDataCorrupt {
		t.Errorf("got %q for %s", got, text)
	}
	if got := dataProblem(strings.ReplaceAll(text, "invalid database", "timeout")); got != "" {
		t.Errorf("got %q for a database that is in use", got)
	}
}

// FuzzDataProblem: a member's volume is given up for what is known to prove it, and for nothing that the operating system is to blame
// for.
func FuzzDataProblem(f *testing.F) {
	for _, test := range append(recordedTexts, harmlessTexts...) {
		f.Add(test.text)
	}
	known := []core.Reason{"", core.ReasonMemberRemoved, core.ReasonDataDiffers, core.ReasonVolumeEmpty, core.ReasonDataCorrupt}
	f.Fuzz(func(t *testing.T, text string) {
		if got := dataProblem(text); !slices.Contains(known, got) {
			t.Errorf("%q", got)
		}
		if got := dataProblem(text + "\n" + notTheData[0]); got != "" {
			t.Errorf("got %q though %s", got, notTheData[0])
		}
		_ = diskFull(text)
	})
}
