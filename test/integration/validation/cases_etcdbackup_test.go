//go:build integration

package validation

import "strings"

// backupOf is an EtcdBackup's spec with something more in it.
func backupOf(more string) string {
	return strings.TrimSuffix("{clusterRef: {name: demo}, "+more, ", ") + "}"
}

// inStore is a backup in a store.
func inStore(store string) string { return backupOf("store: {" + store + "}") }

// at is a backup that is in a volume already.
func at(path string) string { return backupOf(`store: {volume: {claimName: a}}, path: ` + path) }

// key is a public key of age.
const key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

// path is where a backup could be.
const path = "default/demo/1b4e28ba-2fa1-11d2-883f-0016d3cca427/demo-260301-0315"

var etcdBackupRefusals = []refusal{
	// Names.
	{name: "an over-long name", objectName: strings.Repeat("a", 53), spec: backupOf(""), want: []string{"metadata.name", "has 53 characters", "at most 52"}},
	{name: "a name with dots", objectName: "a.b", spec: backupOf(""), want: []string{"metadata.name must be of lower-case letters"}},
	{name: "a name that leaves", objectName: "a..b", spec: backupOf(""), want: []string{"metadata.name", "a..b"}},

	// Whose backup.
	{name: "nothing", spec: "{}", want: []string{"spec.clusterRef", "Required"}},
	{name: "no cluster", spec: "clusterRef: {}", want: []string{"spec.clusterRef.name", "Required"}},
	{name: "a cluster without a name", spec: "clusterRef: {name: ''}", want: []string{"spec.clusterRef.name", "at least 1"}},
	{name: "a cluster elsewhere", spec: "clusterRef: {name: other/demo}", want: []string{"spec.clusterRef.name", "other/demo"}},
	{name: "a namespace", spec: "clusterRef: {name: demo, namespace: other}", want: []string{`unknown field "spec.clusterRef.namespace"`}},
	{name: "a cluster in capitals", spec: "clusterRef: {name: Demo}", want: []string{"spec.clusterRef.name", "Demo"}},
	{name: "a cluster of a number", spec: "clusterRef: {name: 1demo}", want: []string{"spec.clusterRef.name", "1demo"}},
	{name: "a cluster with a newline", spec: `clusterRef: {name: "demo\n"}`, want: []string{"spec.clusterRef.name"}},
	{name: "an over-long cluster", spec: "clusterRef: {name: " + strings.Repeat("a", 41) + "}", want: []string{"spec.clusterRef.name", "40"}},

	// What never changes.
	{name: "another cluster", from: backupOf(""), spec: "clusterRef: {name: other}", want: []string{"clusterRef cannot be changed: make another EtcdBackup"}},
	{name: "another bucket", from: inStore("s3: {bucket: etcd}"), spec: inStore("s3: {bucket: other}"), want: []string{"store cannot be changed: make another EtcdBackup"}},
	{name: "another kind of store", from: inStore("s3: {bucket: etcd}"), spec: inStore("gcs: {bucket: etcd}"), want: []string{"store cannot be changed"}},
	{name: "a store afterwards", from: backupOf(""), spec: inStore("s3: {bucket: etcd}"), want: []string{"store cannot be changed"}},
	{name: "a store no more", from: inStore("s3: {bucket: etcd}"), spec: backupOf(""), want: []string{"store cannot be changed"}},
	{name: "another path", from: at(path), spec: at(path + "-2"), want: []string{"path cannot be changed: make another EtcdBackup"}},
	{name: "a path afterwards", from: inStore("volume: {claimName: a}"), spec: at(path), want: []string{"path cannot be changed"}},
	{name: "a path no more", from: at(path), spec: inStore("volume: {claimName: a}"), want: []string{"path cannot be changed"}},

	// An etcd outside.
	{name: "another etcd outside", from: backupOf("source: " + outside), spec: backupOf("source: {endpoints: ['http://b:2379']}"), want: []string{"source cannot be changed: make another EtcdBackup"}},
	{name: "an etcd outside afterwards", from: backupOf(""), spec: backupOf("source: " + outside), want: []string{"source cannot be changed"}},
	{name: "of an etcd outside, and in the store already", spec: at(path + ", source: " + outside), want: []string{"set one of path and source"}},
	{name: "outside with TLS, and nobody to trust", spec: backupOf("source: {endpoints: ['https://a:2379']}"), want: []string{"spec.source", "https:// with tlsSecret"}},
	{name: "outside by another protocol", spec: backupOf("source: {endpoints: ['unix:///etcd.sock']}"), want: []string{"spec.source.endpoints[0]", "such as https://10.0.0.1:2379"}},

	// Paths.
	{name: "a path in no store", spec: backupOf("path: " + path), want: []string{"path is where the backup is in the store: set store as well"}},
	{name: "a path that leaves", spec: at("../demo/1b4e28ba/demo"), want: []string{"spec.path", "../demo"}},
	{name: "a path that leaves at its end", spec: at("default/demo/1b4e28ba/.."), want: []string{"spec.path"}},
	{name: "a path that leaves within", spec: at("default/../1b4e28ba/demo"), want: []string{"spec.path"}},
	{name: "an absolute path", spec: at("/" + path), want: []string{"spec.path"}},
	{name: "a path that is a flag", spec: at("-f/demo/1b4e28ba/demo"), want: []string{"spec.path"}},
	{name: "a path of a folder", spec: at(path + "/"), want: []string{"spec.path"}},
	{name: "a path of three", spec: at("default/demo/1b4e28ba"), want: []string{"spec.path"}},
	{name: "a path of five", spec: at(path + "/manifest.json"), want: []string{"spec.path"}},
	{name: "a path with a newline", spec: at(`"` + path + `\n"`), want: []string{"spec.path"}},
	{name: "a path with a NUL", spec: at(`"` + path + `\0"`), want: []string{"spec.path"}},
	{name: "a path with a variable", spec: at("default/$(HOME)/1b4e28ba/demo"), want: []string{"spec.path"}},
	{name: "a path with an escape", spec: at("default/%2e%2e/1b4e28ba/demo"), want: []string{"spec.path"}},
	{name: "a path of a URL", spec: at("'s3://etcd/demo/1b4e28ba'"), want: []string{"spec.path"}},
	{name: "a path whose UID is none", spec: at("default/demo/latest/demo"), want: []string{"spec.path"}},
	{name: "an over-long path", spec: at("default/demo/1b4e28ba/" + strings.Repeat("a", 500)), want: []string{"spec.path", "512"}},

	// Stores.
	{name: "an empty store", spec: inStore(""), want: []string{"spec.store", "exactly one of s3, gcs, azure and volume"}},
	{name: "two stores", spec: inStore("gcs: {bucket: etcd}, volume: {claimName: a}"), want: []string{"spec.store", "exactly one of"}},
	{name: "a store that nobody knows", spec: inStore("ftp: {host: a}"), want: []string{`unknown field "spec.store.ftp"`}},
	{name: "a host's folder", spec: inStore("volume: {claimName: a, hostPath: /}"), want: []string{"unknown field"}},
	{name: "a bucket with two dots", spec: inStore("s3: {bucket: a..b}"), want: []string{"spec.store.s3.bucket", "a..b"}},
	{name: "a bucket with a query", spec: inStore("s3: {bucket: 'etcd?acl'}"), want: []string{"spec.store.s3.bucket", "etcd?acl"}},
	{name: "a bucket with a newline", spec: inStore(`s3: {bucket: "etcd\n"}`), want: []string{"spec.store.s3.bucket"}},
	{name: "a short bucket", spec: inStore("s3: {bucket: ab}"), want: []string{"spec.store.s3.bucket", "at least 3"}},
	{name: "an over-long bucket", spec: inStore("s3: {bucket: " + strings.Repeat("a", 64) + "}"), want: []string{"spec.store.s3.bucket", "63"}},
	{name: "a bucket of Google's with two dots", spec: inStore("gcs: {bucket: a..b}"), want: []string{"spec.store.gcs.bucket", "a..b"}},
	{name: "a bucket of Google's with a path", spec: inStore("gcs: {bucket: a/o/b}"), want: []string{"spec.store.gcs.bucket", "a/o/b"}},
	{name: "an endpoint without a host", spec: inStore("s3: {bucket: etcd, endpoint: 'https:///etcd'}"), want: []string{"spec.store.s3.endpoint", "URL of a server"}},
	{name: "an endpoint with a fragment", spec: inStore("gcs: {bucket: etcd, endpoint: 'https://a/#b'}"), want: []string{"spec.store.gcs.endpoint", "URL of a server"}},
	{name: "an endpoint with a newline", spec: inStore(`azure: {account: prod, container: etcd, endpoint: "https://a\nX: b"}`), want: []string{"spec.store.azure.endpoint", "URL of a server"}},
	{name: "an endpoint that is a socket", spec: inStore("s3: {bucket: etcd, endpoint: 'unix:///run/docker.sock'}"), want: []string{"spec.store.s3.endpoint", "URL of a server"}},
	{name: "an over-long endpoint", spec: inStore("s3: {bucket: etcd, endpoint: 'https://" + strings.Repeat("a", 505) + "'}"), want: []string{"spec.store.s3.endpoint", "512"}},
	{name: "a region with a dot", spec: inStore("s3: {bucket: etcd, region: evil.example.com/}"), want: []string{"spec.store.s3.region", "evil.example.com/"}},
	{name: "a prefix that leaves", spec: inStore("gcs: {bucket: etcd, prefix: a/../../b}"), want: []string{"spec.store.gcs.prefix", "separated by single slashes"}},
	{name: "a prefix of a dot", spec: inStore("azure: {account: prod, container: etcd, prefix: ./a}"), want: []string{"spec.store.azure.prefix", "begins with a dot"}},
	{name: "an over-long prefix", spec: inStore("s3: {bucket: etcd, prefix: " + strings.Repeat("a", 257) + "}"), want: []string{"spec.store.s3.prefix", "256"}},
	{name: "an absolute folder", spec: inStore("volume: {claimName: a, path: /etc}"), want: []string{"spec.store.volume.path", "separated by single slashes"}},
	{name: "a folder with a backslash", spec: inStore(`volume: {claimName: a, path: 'a\b'}`), want: []string{"spec.store.volume.path", "separated by single slashes"}},
	{name: "a hidden folder", spec: inStore("volume: {claimName: a, path: a/.ssh}"), want: []string{"spec.store.volume.path", "begins with a dot"}},
	{name: "a claim with two dots", spec: inStore("volume: {claimName: a..b}"), want: []string{"spec.store.volume.claimName", "a..b"}},
	{name: "no claim", spec: inStore("volume: {path: a}"), want: []string{"spec.store.volume.claimName", "Required"}},
	{name: "a key without encryption", spec: inStore("s3: {bucket: etcd, kmsKeyID: a}"), want: []string{"kmsKeyID is for serverSideEncryption aws:kms only"}},
	{name: "a key with a header", spec: inStore(`s3: {bucket: etcd, serverSideEncryption: 'aws:kms', kmsKeyID: "a\r\nx-amz-acl: public-read"}`), want: []string{"spec.store.s3.kmsKeyID"}},
	{name: "a key of Google's with a space", spec: inStore("gcs: {bucket: etcd, kmsKeyName: a b}"), want: []string{"spec.store.gcs.kmsKeyName", "a b"}},
	{name: "a scope with a slash", spec: inStore("azure: {account: prod, container: etcd, encryptionScope: a/bcd}"), want: []string{"spec.store.azure.encryptionScope"}},
	{name: "an account that is a host", spec: inStore("azure: {account: evil.com, container: etcd}"), want: []string{"spec.store.azure.account", "evil.com"}},
	{name: "credentials in the open", spec: inStore("s3: {bucket: etcd, secretAccessKey: a}"), want: []string{"unknown field"}},
	{name: "a Secret that leaves", spec: inStore("s3: {bucket: etcd, credentialsSecret: {name: ../a}}"), want: []string{"spec.store.s3.credentialsSecret.name", "../a"}},
	{name: "a Secret with two dots", spec: inStore("s3: {bucket: etcd, caSecret: {name: a..b}}"), want: []string{"spec.store.s3.caSecret.name", "a..b"}},
	{name: "a Secret of another namespace", spec: inStore("s3: {bucket: etcd, caSecret: {name: a, namespace: b}}"), want: []string{"unknown field"}},

	// How.
	{name: "no recipients", spec: backupOf("encryption: {}"), want: []string{"spec.encryption.recipients", "Required"}},
	{name: "nine recipients", spec: backupOf("encryption: {recipients: [" + repeat(key, 9) + "]}"), want: []string{"spec.encryption.recipients", "at most 8"}},
	{name: "a recipient twice", spec: backupOf("encryption: {recipients: [" + repeat(key, 2) + "]}"), want: []string{"spec.encryption.recipients[1]", "Duplicate"}},
	{name: "a recipient of a plugin", spec: backupOf("encryption: {recipients: [age1yubikey1" + strings.Repeat("q", 50) + "]}"), want: []string{"spec.encryption.recipients"}},
	{name: "a recipient that is a file", spec: backupOf("encryption: {recipients: [/etc/passwd]}"), want: []string{"spec.encryption.recipients"}},
	{name: "two recipients in one", spec: backupOf(`encryption: {recipients: ["` + key + `\n` + key + `"]}`), want: []string{"spec.encryption.recipients"}},
	{name: "a private key that is nowhere", spec: backupOf("encryption: {recipients: [" + key + "], identitySecret: {}}"), want: []string{"spec.encryption.identitySecret.name", "Required"}},
	{name: "samples", spec: backupOf("verification: Sampled"), want: []string{"spec.verification is Always or Never: Sampled is for the schedule"}},
	{name: "a verification that nobody knows", spec: backupOf("verification: Sometimes"), want: []string{"spec.verification", "Sometimes"}},
	{name: "a verification of its own", spec: backupOf("verification: {mode: Always}"), want: []string{"spec.verification"}},
	{name: "a policy that nobody knows", spec: backupOf("deletionPolicy: Recycle"), want: []string{"spec.deletionPolicy", "Recycle", `"Delete", "Retain"`}},
	{name: "a schedule", spec: backupOf("schedule: '@daily'"), want: []string{`unknown field "spec.schedule"`}},
}
