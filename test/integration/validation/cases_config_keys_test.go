//go:build integration

package validation

import (
	"fmt"
	"strings"
)

// configKeyRefusals are about which etcd flags may be set, and with which version.
var configKeyRefusals = []refusal{
	{name: "a misspelled flag", spec: `config: {snapshot-cuont: "10000"}`,
		want: []string{"spec.config", `["snapshot-cuont"]`, "keys are names of etcd 3.5 to 3.7 flags"}},
	{name: "a flag with dashes", spec: `config: {--force-new-cluster: "true"}`,
		want: []string{"spec.config", `["--force-new-cluster"]`, "without leading dashes"}},
	{name: "a flag as a variable", spec: `config: {ETCD_SNAPSHOT_COUNT: "10000"}`, want: []string{"spec.config", "ETCD_SNAPSHOT_COUNT"}},
	{name: "a flag with its value", spec: `config: {"snapshot-count=5 --name": x}`, want: []string{"spec.config", "snapshot-count=5 --name"}},
	{name: "a key with a newline", spec: `config: {"snapshot-count\nname": x}`, want: []string{"spec.config", "knows no"}},
	{name: "an empty key", spec: `config: {"": x}`, want: []string{"spec.config", `[""]`}},
	{name: "an over-long key", spec: "config: {? " + strings.Repeat("a", 10000) + " : x}", want: []string{"spec.config", "knows no such etcd flag"}},
	{name: "65 keys", spec: "config: {" + manyKeys(65) + "}", want: []string{"spec.config", "65", "at most 64"}},
	{name: "a huge map", spec: "config: {" + manyKeys(20000) + "}", want: []string{"spec.config", "20000", "at most 64"}},

	{name: "name", spec: "config: {name: other}", want: []string{"spec.config", `["name"]`, "belong to the operator", "remove the key"}},
	{name: "data-dir", spec: "config: {data-dir: /tmp}", want: []string{"spec.config", `["data-dir"]`, "directories"}},
	{name: "force-new-cluster", spec: `config: {force-new-cluster: "true"}`, want: []string{"spec.config", `["force-new-cluster"]`, "membership"}},
	{name: "several that the operator owns", spec: "config: {initial-cluster-state: new, listen-peer-urls: 'http://0.0.0.0:1', discovery-srv: x, config-file: /x}",
		want: []string{"spec.config", "config-file", "discovery-srv", "initial-cluster-state", "listen-peer-urls", "belong to the operator"}},
	{name: "cert-file", spec: "config: {cert-file: /x, peer-auto-tls: 'true'}",
		want: []string{"spec.config", "cert-file", "peer-auto-tls", "belong to spec.security"}},
	{name: "auth-token", spec: "config: {auth-token: jwt}", want: []string{"spec.config", "auth-token", "spec.security"}},
	{name: "skipping verification", spec: `config: {experimental-peer-skip-client-san-verification: "true"}`, want: []string{"spec.config", "spec.security"}},
	{name: "log-outputs", spec: "config: {log-outputs: /dev/null, proxy-read-timeout: '5'}",
		want: []string{"spec.config", "log-outputs", "proxy-read-timeout", "do not apply to a member in a pod"}},
	{name: "help", spec: `config: {help: "true"}`, want: []string{"spec.config", "help", "do not apply"}},

	{name: "experimental with 3.7", spec: "{version: 3.7.3, config: {experimental-corrupt-check-time: 1h}}",
		want: []string{"spec.config", "experimental-corrupt-check-time", "3.7.3", "use the name without experimental-"}},
	{name: "experimental on the way to 3.7", from: "{version: 3.6.16, config: {experimental-corrupt-check-time: 1h}}",
		spec: "{version: 3.7.3, config: {experimental-corrupt-check-time: 1h}}", want: []string{"experimental-corrupt-check-time", "3.7.3", "would not start"}},
	{name: "feature-gates with 3.5", spec: "{version: 3.5.33, config: {feature-gates: AllBeta=true}}",
		want: []string{"spec.config", "feature-gates", "3.5.33", "does not know the flag"}},
	{name: "max-learners with 3.5", spec: "{version: 3.5.33, config: {max-learners: '2'}}", want: []string{"spec.config", "max-learners", "3.5.33"}},
	{name: "feature-gates on the way back to 3.5", from: "{version: 3.6.16, config: {feature-gates: AllBeta=true}}",
		spec: "{version: 3.5.33, config: {feature-gates: AllBeta=true}}", want: []string{"feature-gates", "3.5.33", "would not start"}},
	{name: "a gate of 3.7 with 3.6", spec: "{version: 3.6.16, config: {feature-gates: PriorityRequest=true}}",
		want: []string{"spec.config[feature-gates]", "PriorityRequest=true", "3.6.16", "from 3.7 on"}},
}

// manyKeys is n entries of a YAML map.
func manyKeys(n int) string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf("key-%d: x", i)
	}
	return strings.Join(entries, ", ")
}
