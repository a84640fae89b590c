//go:build integration

package validation

import "strings"

// clusterRefusals are about the name and the fields of spec itself.
var clusterRefusals = []refusal{
	{name: "a name of 41 characters", objectName: strings.Repeat("a", 41), spec: "{}",
		want: []string{"metadata.name", strings.Repeat("a", 41), "has 41 characters", "at most 40"}},
	{name: "a name with dots", objectName: "my.cluster", spec: "{}",
		want: []string{"metadata.name my.cluster", "no dots"}},
	{name: "a name that begins with a digit", objectName: "1st", spec: "{}",
		want: []string{"metadata.name 1st", "a letter first"}},
	{name: "a name in upper case", objectName: "Main", spec: "{}", want: []string{"metadata.name", `"Main"`, "lower case"}},
	{name: "a name with a newline", objectName: "a\nb", spec: "{}", want: []string{"metadata.name", `a\nb`}},

	{name: "size 2", spec: "size: 2", want: []string{"spec.size", "not 2", "0, 1, 3, 5, 7 or 9", "no more failures than 1", "use 1 or 3"}},
	{name: "size 4", spec: "size: 4", want: []string{"spec.size", "not 4", "use 3 or 5"}},
	{name: "size 8", spec: "size: 8", want: []string{"spec.size", "not 8", "use 7 or 9"}},
	{name: "size 10", spec: "size: 10", want: []string{"spec.size", "10", "less than or equal to 9"}},
	{name: "size 11", spec: "size: 11", want: []string{"spec.size", "11", "less than or equal to 9"}},
	{name: "size -1", spec: "size: -1", want: []string{"spec.size", "-1", "greater than or equal to 0"}},
	{name: "size beyond 64 bits", spec: "size: 99999999999999999999", want: []string{"spec.size"}},
	{name: "size as text", spec: `size: "3"`, want: []string{"spec.size", "integer"}},
	{name: "size as a fraction", spec: "size: 3.5", want: []string{"spec.size", "integer"}},
	{name: "size 0 in memory", spec: "{size: 0, storage: {medium: Memory}}",
		want: []string{"spec.size", "size 0", "medium Disk", "would lose its data"}},

	{name: "version with v", spec: "version: v3.6.16", want: []string{"spec.version", `"v3.6.16"`, "without a leading v"}},
	{name: "version without patch", spec: `version: "3.6."`, want: []string{"spec.version", "3.6.", "MAJOR.MINOR.PATCH"}},
	{name: "version as a number", spec: "version: 3.6", want: []string{"spec.version", "string"}},
	{name: "version too short", spec: `version: "3.6"`, want: []string{"spec.version", `"3.6"`, "at least 5"}},
	{name: "version 3.4", spec: "version: 3.4.30", want: []string{"spec.version", `"3.4.30"`, "3.5, 3.6 or 3.7"}},
	{name: "version 3.8", spec: "version: 3.8.0", want: []string{"spec.version", `"3.8.0"`, "3.5, 3.6 or 3.7"}},
	{name: "version latest", spec: "version: latest", want: []string{"spec.version", `"latest"`, "e.g. 3.6.16"}},
	{name: "version with a digest", spec: "version: 3.6.16@sha256:abc", want: []string{"spec.version", "e.g. 3.6.16"}},
	{name: "version with a leading zero", spec: "version: 3.6.016", want: []string{"spec.version", `"3.6.016"`}},
	{name: "version with an empty suffix", spec: `version: "3.6.16-"`, want: []string{"spec.version", `"3.6.16-"`}},
	{name: "version that is not semantic", spec: `version: "3.6.16-rc.01"`, want: []string{"spec.version", `"3.6.16-rc.01"`}},
	{name: "version with a second line", spec: `version: "3.6.16\n3.6.16"`, want: []string{"spec.version", "MAJOR.MINOR.PATCH"}},
	{name: "version that corrupts", spec: "version: 3.5.2", want: []string{"spec.version", `"3.5.2"`, "can corrupt data", "3.5.11 or later"}},
	{name: "version without health endpoints", spec: "version: 3.5.10", want: []string{"spec.version", `"3.5.10"`, "/livez", "3.5.11 or later"}},
	{name: "version that corrupts, prerelease", spec: "version: 3.5.0-rc.1", want: []string{"spec.version", "can corrupt data"}},
	{name: "version over-long", spec: "version: 3.6.16-" + strings.Repeat("a", 64), want: []string{"spec.version", "may not be more than 64"}},

	{name: "repository with a tag", spec: "repository: quay.io/coreos/etcd:v3.6.16",
		want: []string{"spec.repository", "quay.io/coreos/etcd:v3.6.16", "without tag or digest"}},
	{name: "repository with a digest", spec: "repository: quay.io/coreos/etcd@sha256:0123", want: []string{"spec.repository", "without tag or digest"}},
	{name: "repository with a space", spec: "repository: quay.io/coreos/etcd --privileged", want: []string{"spec.repository", "must be an image name"}},
	{name: "repository empty", spec: `repository: ""`, want: []string{"spec.repository", "at least 1"}},
	{name: "repository over-long", spec: "repository: " + strings.Repeat("a", 256), want: []string{"spec.repository", "may not be more than 255"}},

	{name: "backup", spec: "backup: {}", want: []string{"spec.backup", "reserved", "remove the field"}},
	{name: "TLS that is not there yet", spec: "security: {tls: {client: {mode: Enabled}}}",
		want: []string{"spec.security.tls.client.mode", `"Enabled"`, "supported values", "Disabled"}},
	{name: "peer TLS that is not there yet", spec: "security: {tls: {peer: {mode: disabled}}}",
		want: []string{"spec.security.tls.peer.mode", `"disabled"`, "Disabled"}},
	{name: "an unknown field", spec: "replicas: 3", want: []string{`unknown field "spec.replicas"`}},
	{name: "an unknown field deep inside", spec: "storage: {retention: {whenReplaced: Delete}}",
		want: []string{`unknown field "spec.storage.retention.whenReplaced"`}},
	{name: "paused as text", spec: `paused: "yes"`, want: []string{"spec.paused", "boolean"}},
}
