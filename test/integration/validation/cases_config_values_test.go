//go:build integration

package validation

import "strings"

// configValueRefusals are about values of etcd flags.
var configValueRefusals = []refusal{
	{name: "a value with a newline", spec: `config: {cors: "*\n--force-new-cluster"}`,
		want: []string{"spec.config", `["cors"]`, "control characters such as newlines"}},
	{name: "a value with NUL", spec: `config: {cors: "a\0b"}`, want: []string{"spec.config", `["cors"]`, "control characters"}},
	{name: "an empty value", spec: `config: {cors: ""}`, want: []string{"spec.config", `["cors"]`, "must not be empty"}},
	{name: "an over-long value", spec: "config: {cors: " + strings.Repeat("x", 513) + "}", want: []string{"spec.config.cors", "may not be more than 512"}},
	{name: "a number that is not text", spec: "config: {snapshot-count: 10000}", want: []string{"spec.config.snapshot-count", "string"}},
	{name: "no value at all", spec: "config: {snapshot-count: [1]}", want: []string{"spec.config.snapshot-count", "string"}},

	{name: "text for a number", spec: "config: {snapshot-count: many}", want: []string{"spec.config", "snapshot-count=many", "whole number", "e.g. 10000"}},
	{name: "a negative number", spec: `config: {max-txn-ops: "-1"}`, want: []string{"spec.config", "max-txn-ops=-1", "whole number"}},
	{name: "a number with a unit", spec: "config: {max-request-bytes: 10MB}", want: []string{"spec.config", "max-request-bytes=10MB", "whole number"}},
	{name: "a number of 10 digits", spec: `config: {max-concurrent-streams: "4294967296"}`, want: []string{"max-concurrent-streams=4294967296", "at most 9 digits"}},
	{name: "a number with an injection", spec: `config: {snapshot-count: "1 --force-new-cluster"}`, want: []string{"snapshot-count=1 --force-new-cluster", "whole number"}},
	{name: "heartbeat 0", spec: `config: {heartbeat-interval: "0"}`, want: []string{"spec.config", "heartbeat-interval=0", "at least 1"}},
	{name: "no learners", spec: `config: {max-learners: "0"}`, want: []string{"spec.config", "max-learners=0", "at least 1"}},
	{name: "a duration without a unit", spec: `config: {backend-batch-interval: "100"}`, want: []string{"backend-batch-interval=100", "a duration with a unit"}},
	{name: "a duration in days", spec: `{version: 3.6.16, config: {corrupt-check-time: 1d}}`, want: []string{"corrupt-check-time=1d", "a duration with a unit", "e.g. 500ms"}},
	{name: "yes for true", spec: `config: {pre-vote: "yes"}`, want: []string{"pre-vote=yes", "true or false"}},
	{name: "True", spec: `config: {pre-vote: "True"}`, want: []string{"pre-vote=True", "in lower case"}},

	{name: "auto-compaction-mode", spec: "config: {auto-compaction-mode: hourly}", want: []string{"spec.config[auto-compaction-mode]", "hourly", "periodic, revision"}},
	{name: "auto-compaction-retention", spec: "config: {auto-compaction-retention: sometimes}",
		want: []string{"spec.config[auto-compaction-retention]", "sometimes", "a duration such as 30m"}},
	{name: "a duration for revisions", spec: "config: {auto-compaction-mode: revision, auto-compaction-retention: 1h}",
		want: []string{"spec.config[auto-compaction-retention]", "1h", "with auto-compaction-mode revision a number of revisions"}},
	{name: "log-level", spec: "config: {log-level: verbose}", want: []string{"spec.config[log-level]", "verbose", "debug, info, warn, error, panic, fatal"}},
	{name: "metrics", spec: "config: {metrics: all}", want: []string{"spec.config[metrics]", "all", "basic, extensive"}},
	{name: "freelist", spec: "config: {backend-bbolt-freelist-type: tree}", want: []string{"spec.config[backend-bbolt-freelist-type]", "tree", "array, map"}},
	{name: "an old TLS", spec: "config: {tls-min-version: TLS1.0}", want: []string{"tls-min-version=TLS1.0", "TLS1.2 or TLS1.3"}},
	{name: "an unknown gate", spec: "config: {feature-gates: Faster=true}", want: []string{"spec.config[feature-gates]", "Faster=true", "etcd knows AllAlpha"}},
	{name: "a gate without a value", spec: "config: {feature-gates: AllBeta}", want: []string{"spec.config[feature-gates]", "AllBeta", "Gate=true or Gate=false"}},

	{name: "quota with a unit", spec: "config: {quota-backend-bytes: 8Gi}", want: []string{"spec.config[quota-backend-bytes]", "8Gi", "whole number of bytes"}},
	{name: "quota switched off", spec: `config: {quota-backend-bytes: "-1"}`, want: []string{"spec.config[quota-backend-bytes]", "-1", "whole number of bytes"}},
	{name: "quota beyond the volume", spec: `{storage: {size: 1Gi}, config: {quota-backend-bytes: "2147483648"}}`,
		want: []string{"spec.config[quota-backend-bytes]", "2147483648", "spec.storage.size 1Gi", "must not be larger"}},
	{name: "no fsync on disk", spec: `config: {unsafe-no-fsync: "true"}`, want: []string{"spec.config[unsafe-no-fsync]", "medium Disk", "would be lost"}},

	{name: "election too soon after the heartbeat", spec: `config: {heartbeat-interval: "200", election-timeout: "999"}`,
		want: []string{"spec.config[election-timeout] is 999", "heartbeat-interval 200", "at least 5 times"}},
	{name: "heartbeat too slow for the default election", spec: `config: {heartbeat-interval: "201"}`, want: []string{"is 1000", "heartbeat-interval 201", "at least 5 times"}},
	{name: "election too late", spec: `config: {election-timeout: "50001"}`, want: []string{"spec.config[election-timeout] is 50001", "at most 50000"}},
}
