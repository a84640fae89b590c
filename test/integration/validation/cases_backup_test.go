//go:build integration

package validation

// s3 is a spec whose backups go to a bucket with something more in it.
func s3(more string) string { return "backup: {store: {s3: {bucket: etcd, " + more + "}}}" }

// backed is a spec with something more in spec.backup.
func backed(more string) string {
	return "backup: {store: {volume: {claimName: backups}}, " + more + "}"
}

// outside is an etcd, and imported a cluster that begins with what one has.
const outside = "{endpoints: ['http://a:2379']}"

func imported(source string) string {
	return "backup: {store: {volume: {claimName: a}}}\nbootstrap: {source: " + source + "}"
}

var backupRefusals = []refusal{
	{name: "no store", spec: "backup: {}", want: []string{"spec.backup.store", "Required"}},
	{name: "an empty store", spec: "backup: {store: {}}", want: []string{"spec.backup.store", "exactly one of s3, gcs, azure and volume"}},
	{name: "two stores", spec: "backup: {store: {volume: {claimName: a}, s3: {bucket: etcd}}}", want: []string{"spec.backup.store", "exactly one of"}},
	{name: "a bucket in capitals", spec: "backup: {store: {s3: {bucket: Etcd}}}", want: []string{"spec.backup.store.s3.bucket", "Etcd"}},
	{name: "a bucket with a path", spec: "backup: {store: {s3: {bucket: etcd/prod}}}", want: []string{"spec.backup.store.s3.bucket"}},
	{name: "no bucket", spec: "backup: {store: {s3: {prefix: a}}}", want: []string{"spec.backup.store.s3.bucket", "Required"}},
	{name: "an endpoint without a scheme", spec: s3("endpoint: 's3.example.com:9000'"), want: []string{"spec.backup.store.s3.endpoint", "URL of a server"}},
	{name: "an endpoint that is a file", spec: s3("endpoint: 'file:///etc/passwd'"), want: []string{"spec.backup.store.s3.endpoint", "URL of a server"}},
	{name: "an endpoint with a password", spec: s3("endpoint: 'https://me:secret@s3.example.com'"), want: []string{"spec.backup.store.s3.endpoint", "URL of a server"}},
	{name: "an endpoint with a query", spec: s3("endpoint: 'https://s3.example.com/?a=b'"), want: []string{"spec.backup.store.s3.endpoint", "URL of a server"}},
	{name: "a prefix that leaves", spec: s3("prefix: ../other"), want: []string{"spec.backup.store.s3.prefix", "separated by single slashes"}},
	{name: "a prefix with a slash before", spec: s3("prefix: /a"), want: []string{"spec.backup.store.s3.prefix", "separated by single slashes"}},
	{name: "a prefix with two slashes", spec: s3("prefix: a//b"), want: []string{"spec.backup.store.s3.prefix", "separated by single slashes"}},
	{name: "a prefix with a newline", spec: s3(`prefix: "a\nb"`), want: []string{"spec.backup.store.s3.prefix", "separated by single slashes"}},
	{name: "an encryption that is none", spec: s3("serverSideEncryption: rot13"), want: []string{"spec.backup.store.s3.serverSideEncryption", "AES256", "aws:kms"}},
	{name: "a key for nothing", spec: s3("kmsKeyID: a"), want: []string{"spec.backup.store.s3", "kmsKeyID is for serverSideEncryption aws:kms only"}},
	{name: "a key for another encryption", spec: s3("serverSideEncryption: AES256, kmsKeyID: a"), want: []string{"kmsKeyID is for serverSideEncryption aws:kms only"}},
	{name: "a Secret without a name", spec: s3("credentialsSecret: {}"), want: []string{"spec.backup.store.s3.credentialsSecret.name", "Required"}},
	{name: "a Secret elsewhere", spec: s3("credentialsSecret: {name: other/secret}"), want: []string{"spec.backup.store.s3.credentialsSecret.name", "other/secret"}},
	{name: "an account in capitals", spec: "backup: {store: {azure: {account: Prod, container: etcd}}}", want: []string{"spec.backup.store.azure.account", "Prod"}},
	{name: "a container with two dashes", spec: "backup: {store: {azure: {account: prod, container: a--b}}}", want: []string{"spec.backup.store.azure.container", "a--b"}},
	{name: "no container", spec: "backup: {store: {azure: {account: prod}}}", want: []string{"spec.backup.store.azure.container", "Required"}},
	{name: "a short bucket of Google's", spec: "backup: {store: {gcs: {bucket: ab}}}", want: []string{"spec.backup.store.gcs.bucket", "at least 3"}},
	{name: "a claim elsewhere", spec: "backup: {store: {volume: {claimName: ../a}}}", want: []string{"spec.backup.store.volume.claimName", "../a"}},
	{name: "a path that leaves", spec: "backup: {store: {volume: {claimName: a, path: ../b}}}", want: []string{"spec.backup.store.volume.path", "separated by single slashes"}},
	{name: "no recipients", spec: backed("encryption: {recipients: []}"), want: []string{"spec.backup.encryption.recipients", "at least 1"}},
	{name: "a private key", spec: backed("encryption: {recipients: [AGE-SECRET-KEY-1QQQ]}"), want: []string{"spec.backup.encryption.recipients"}},
	{name: "a key of ssh", spec: backed("encryption: {recipients: ['ssh-ed25519 AAAA']}"), want: []string{"spec.backup.encryption.recipients"}},
	{name: "three fields", spec: backed("schedule: '* * *'"), want: []string{"spec.backup.schedule", "five fields"}},
	{name: "a schedule of seconds", spec: backed("schedule: '0 15 3 * * *'"), want: []string{"spec.backup.schedule", "five fields"}},
	{name: "a schedule in words", spec: backed("schedule: every night"), want: []string{"spec.backup.schedule", "five fields"}},
	{name: "a schedule that Go would take", spec: backed("schedule: '@every 1s'"), want: []string{"spec.backup.schedule", "five fields"}},
	{name: "a zone within a schedule", spec: backed("schedule: 'TZ=UTC 1 2 * * *'"), want: []string{"spec.backup.schedule", "five fields"}},
	{name: "a zone without a schedule", spec: backed("timeZone: UTC"), want: []string{"spec.backup", "timeZone is for the schedule"}},
	{name: "a zone that leaves", spec: backed("schedule: '@daily', timeZone: ../../etc/passwd"), want: []string{"spec.backup.timeZone", "../../etc/passwd"}},
	{name: "samples without a number", spec: backed("verification: {mode: Sampled}"), want: []string{"spec.backup.verification", "every is for mode Sampled"}},
	{name: "a number without samples", spec: backed("verification: {mode: Always, every: 3}"), want: []string{"spec.backup.verification", "every is for mode Sampled"}},
	{name: "a mode that is none", spec: backed("verification: {mode: Sometimes}"), want: []string{"spec.backup.verification.mode", "Sometimes"}},
	{name: "fewer than none", spec: backed("retention: {keepLast: -1}"), want: []string{"spec.backup.retention.keepLast", "-1"}},
	{name: "an age in days", spec: backed("retention: {keepWithin: 7d}"), want: []string{"spec.backup.retention.keepWithin", "7d", "e.g. 72h"}},
	{name: "a negative age", spec: backed("retention: {keepWithin: -1h}"), want: []string{"spec.backup.retention.keepWithin", "-1h"}},
	{name: "an age of centuries", spec: backed("retention: {keepWithin: 900000h}"), want: []string{"spec.backup.retention.keepWithin", "up to 876000h"}},
	{name: "changes stored all the time", spec: backed("continuous: {flushInterval: 500ms}"), want: []string{"spec.backup.continuous.flushInterval", "500ms", "from 1s to 5m"}},
	{name: "changes stored at once", spec: backed("continuous: {flushInterval: 0.5s}"), want: []string{"spec.backup.continuous.flushInterval", "0.5s", "from 1s to 5m"}},
	{name: "changes stored seldom", spec: backed("continuous: {flushInterval: 6m}"), want: []string{"spec.backup.continuous.flushInterval", "6m", "from 1s to 5m"}},
	{name: "changes stored never", spec: backed("continuous: {flushInterval: ''}"), want: []string{"spec.backup.continuous.flushInterval", "at least 2"}},
	{name: "segments of nothing", spec: backed("continuous: {segmentSize: 1023Ki}"), want: []string{"spec.backup.continuous.segmentSize", "1023Ki", "from 1Mi to 64Mi"}},
	{name: "segments without limit", spec: backed("continuous: {segmentSize: 65Mi}"), want: []string{"spec.backup.continuous.segmentSize", "65Mi", "from 1Mi to 64Mi"}},
	{name: "changes kept for days", spec: backed("continuous: {keepFor: 7d}"), want: []string{"spec.backup.continuous.keepFor", "7d", "e.g. 168h"}},
	{name: "changes not kept", spec: backed("continuous: {keepFor: 59m}"), want: []string{"spec.backup.continuous.keepFor", "59m", "from 1h to 87600h"}},
	{name: "changes kept for ever", spec: backed("continuous: {keepFor: 87601h}"), want: []string{"spec.backup.continuous.keepFor", "87601h", "from 1h to 87600h"}},
	{name: "bases all the time", spec: backed("continuous: {baseEvery: 9m}"), want: []string{"spec.backup.continuous.baseEvery", "9m", "from 10m to 720h"}},
	{name: "bases seldom", spec: backed("continuous: {baseEvery: 721h}"), want: []string{"spec.backup.continuous.baseEvery", "721h", "from 10m to 720h"}},
	{name: "bases never", spec: backed("continuous: {baseEvery: -24h}"), want: []string{"spec.backup.continuous.baseEvery", "-24h", "from 10m to 720h"}},
	{name: "an image with a tag", spec: backed("agent: {repository: 'registry.example.com/etcd:v3.6.16'}"), want: []string{"spec.backup.agent.repository"}},
	{name: "data in memory", spec: "{size: 1, storage: {medium: Memory, size: 64Mi}, bootstrap: {backupRef: {name: a}}}", want: []string{"spec.bootstrap", "needs spec.storage.medium Disk"}},
	{name: "data of nothing", spec: "bootstrap: {}", want: []string{"spec.bootstrap", "set one of backupRef and source"}},
	{name: "data of two", spec: "{backup: {store: {volume: {claimName: a}}}, bootstrap: {backupRef: {name: a}, source: " + outside + "}}", want: []string{"spec.bootstrap", "set one of backupRef and source"}},
	{name: "a mirror of a backup", spec: "bootstrap: {backupRef: {name: a}, mirror: Follow}", want: []string{"spec.bootstrap", "follows the etcd of spec.bootstrap.source"}},
	{name: "a mirror that does something else", spec: imported(outside + ", mirror: Always"), want: []string{"spec.bootstrap.mirror", "Always", "Follow", "CutOver"}},
	{name: "data of outside, kept nowhere", spec: "bootstrap: {source: " + outside + "}", want: []string{"spec.bootstrap.source", "set spec.backup.store"}},
	{name: "outside is nowhere", spec: imported("{endpoints: []}"), want: []string{"spec.bootstrap.source.endpoints", "at least 1"}},
	{name: "outside is everywhere", spec: imported("{endpoints: ['http://a', 'http://b', 'http://c', 'http://d', 'http://e', 'http://f', 'http://g', 'http://h', 'http://i', 'http://j']}"), want: []string{"spec.bootstrap.source.endpoints", "at most 9"}},
	{name: "outside twice", spec: imported("{endpoints: ['http://a:2379', 'http://a:2379']}"), want: []string{"spec.bootstrap.source.endpoints[1]", "Duplicate"}},
	{name: "outside without a scheme", spec: imported("{endpoints: ['10.0.0.1:2379']}"), want: []string{"spec.bootstrap.source.endpoints[0]", "such as https://10.0.0.1:2379"}},
	{name: "outside with a path", spec: imported("{endpoints: ['http://a:2379/v3']}"), want: []string{"spec.bootstrap.source.endpoints[0]", "such as https://10.0.0.1:2379"}},
	{name: "outside with a password", spec: imported("{endpoints: ['http://root:secret@a:2379']}"), want: []string{"spec.bootstrap.source.endpoints[0]", "such as https://10.0.0.1:2379"}},
	{name: "outside with a flag", spec: imported("{endpoints: ['http://a:2379 --insecure']}"), want: []string{"spec.bootstrap.source.endpoints[0]", "such as https://10.0.0.1:2379"}},
	{name: "outside in two lines", spec: imported(`{endpoints: ["http://a:2379\nhttp://b:2379"]}`), want: []string{"spec.bootstrap.source.endpoints[0]", "such as https://10.0.0.1:2379"}},
	{name: "TLS, and nobody to trust", spec: imported("{endpoints: ['https://a:2379']}"), want: []string{"spec.bootstrap.source", "https:// with tlsSecret"}},
	{name: "somebody to trust, and no TLS", spec: imported("{endpoints: ['https://a:2379', 'http://b:2379'], tlsSecret: {name: a}}"), want: []string{"spec.bootstrap.source", "https:// with tlsSecret"}},
	{name: "a Secret out of the namespace", spec: imported("{endpoints: ['http://a:2379'], credentialsSecret: {name: ../a}}"), want: []string{"spec.bootstrap.source.credentialsSecret.name"}},
	{name: "another etcd outside", from: imported(outside), spec: imported("{endpoints: ['http://b:2379']}"), want: []string{"spec.bootstrap", "cannot be changed"}},
	{name: "a mirror afterwards", from: imported(outside), spec: imported(outside + ", mirror: Follow"), want: []string{"spec.bootstrap", "cannot be changed"}},
	{name: "no mirror any more", from: imported(outside + ", mirror: Follow"), spec: imported(outside), want: []string{"spec.bootstrap", "cannot be changed"}},
	{name: "a mirror once more", from: imported(outside + ", mirror: CutOver"), spec: imported(outside + ", mirror: Follow"), want: []string{"spec.bootstrap.mirror", "cannot go back to Follow"}},
	{name: "data of outside at a revision", spec: imported(outside + ", revision: 7"), want: []string{"spec.bootstrap.revision, pointInTime and latest", "set backupRef as well"}},
	{name: "the latest of outside", spec: imported(outside + ", latest: true"), want: []string{"spec.bootstrap.revision, pointInTime and latest", "set backupRef as well"}},
	{name: "data at a revision and a moment", spec: "bootstrap: {backupRef: {name: a}, revision: 7, pointInTime: '2026-03-01T10:15:30.500000Z'}", want: []string{"spec.bootstrap", "three ways to say how far"}},
	{name: "the latest data at a revision", spec: "bootstrap: {backupRef: {name: a}, revision: 7, latest: true}", want: []string{"spec.bootstrap", "three ways to say how far"}},
	{name: "data at revision 0", spec: "bootstrap: {backupRef: {name: a}, revision: 0}", want: []string{"spec.bootstrap.revision", "greater than or equal to 1"}},
	{name: "data before etcd", spec: "bootstrap: {backupRef: {name: a}, pointInTime: '1999-12-31T23:59:59.999999Z'}", want: []string{"spec.bootstrap.pointInTime must be a moment since 2000"}},
	{name: "data at another revision", from: "bootstrap: {backupRef: {name: a}, revision: 7}", spec: "bootstrap: {backupRef: {name: a}, revision: 8}", want: []string{"spec.bootstrap.revision, pointInTime and latest cannot be changed"}},
	{name: "the latest data afterwards", from: "bootstrap: {backupRef: {name: a}}", spec: "bootstrap: {backupRef: {name: a}, latest: true}", want: []string{"spec.bootstrap.revision, pointInTime and latest cannot be changed"}},
	{name: "data at a moment no more", from: "bootstrap: {backupRef: {name: a}, pointInTime: '2026-03-01T10:15:30.500000Z'}", spec: "bootstrap: {backupRef: {name: a}}", want: []string{"spec.bootstrap.revision, pointInTime and latest cannot be changed"}},
	{name: "other data", from: "bootstrap: {backupRef: {name: a}}", spec: "bootstrap: {backupRef: {name: b}}", want: []string{"spec.bootstrap", "cannot be changed"}},
	{name: "data afterwards", from: "{}", spec: "bootstrap: {backupRef: {name: b}}", want: []string{"spec.bootstrap", "cannot be changed"}},
	{name: "data taken back", from: "bootstrap: {backupRef: {name: a}}", spec: "{}", want: []string{"spec.bootstrap", "cannot be changed"}},
}
