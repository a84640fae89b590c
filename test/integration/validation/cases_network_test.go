//go:build integration

package validation

import (
	"fmt"
	"strings"
)

// networkRefusals are about spec.security.networkPolicy.
var networkRefusals = []refusal{
	{name: "an unknown mode", spec: "security: {networkPolicy: {mode: true}}", want: []string{"spec.security.networkPolicy.mode", "string"}},
	{name: "a mode in lower case", spec: "security: {networkPolicy: {mode: enabled}}",
		want: []string{"spec.security.networkPolicy.mode", `"enabled"`, `"Disabled", "Enabled"`}},
	{name: "an unknown list", spec: "security: {networkPolicy: {peers: []}}", want: []string{`unknown field "spec.security.networkPolicy.peers"`}},
	{name: "clients that are no list", spec: "security: {networkPolicy: {clients: {podSelector: {}}}}", want: []string{"spec.security.networkPolicy.clients", "unknown field"}},
	{name: "clients as a word", spec: "security: {networkPolicy: {clients: Anyone}}", want: []string{"spec.security.networkPolicy.clients", "array"}},
	{name: "17 readers of metrics", spec: "security: {networkPolicy: {metrics: [" + repeat("{podSelector: {}}", 17) + "]}}",
		want: []string{"spec.security.networkPolicy.metrics", "17", "at most 16"}},

	inClients("an entry that is nobody", "{}", "[0]", "podSelector, namespaceSelector or both, or ipBlock alone, or anyone alone", "{anyone: {}} is everybody"),
	inClients("a selector that was forgotten", "{podSelector: null}", "[0]", "an entry must have podSelector"),
	inClients("an anyone that was forgotten", "{anyone: null}", "[0]", "an entry must have podSelector"),
	inClients("anyone of some pods", "{anyone: {}, podSelector: {}}", "[0]", "anyone alone"),
	inClients("anyone but some addresses", "{anyone: {}, ipBlock: {cidr: 10.0.0.0/8}}", "[0]", "anyone alone"),
	inClients("addresses of a namespace", "{ipBlock: {cidr: 10.0.0.0/8}, namespaceSelector: {}}", "[0]", "ipBlock alone"),
	inClients("anyone as a word", "{anyone: true}", "[0].anyone", "object"),
	inClients("anyone with something in it", "{anyone: {but: me}}", "[0].anyone.but", "unknown field"),
	inClients("a second entry that is nobody", "{podSelector: {}}, {}", "[1]", "an entry must have podSelector"),

	inClients("a label as a name", "{podSelector: {app: web}}", "[0].podSelector.app", "unknown field"),
	inClients("a label with a space", "{podSelector: {matchLabels: {a b: x}}}", "[0].podSelector.matchLabels", "matchLabels keys must be label names"),
	inClients("a label with an empty name", "{namespaceSelector: {matchLabels: {example.com/: x}}}", "[0].namespaceSelector.matchLabels", "keys must be label names"),
	inClients("a label with a prefix of 254 characters", "{podSelector: {matchLabels: {"+strings.Repeat("a", 254)+"/a: x}}}", "matchLabels", "keys must be label names"),
	inClients("a label's value with a slash", "{podSelector: {matchLabels: {a: b/c}}}", "[0].podSelector.matchLabels[a]", "a label value must be"),
	inClients("a label's value of 64 characters", "{podSelector: {matchLabels: {a: "+strings.Repeat("b", 64)+"}}}", "matchLabels.a", "may not be more than 63"),
	inClients("a label's value that is no text", "{podSelector: {matchLabels: {a: true}}}", "matchLabels.a", "string"),
	inClients("nine labels", "{podSelector: {matchLabels: {"+manyKeys(9)+"}}}", "[0].podSelector.matchLabels", "at most 8"),
	inClients("nine requirements", "{podSelector: {matchExpressions: ["+repeat("{key: a, operator: Exists}", 9)+"]}}", "[0].podSelector.matchExpressions", "at most 8"),
	inClients("17 values", "{podSelector: {matchExpressions: [{key: a, operator: In, values: ["+repeat("b", 17)+"]}]}}", "matchExpressions[0].values", "at most 16"),
	inClients("a requirement without a key", "{podSelector: {matchExpressions: [{operator: Exists}]}}", "matchExpressions[0].key", "Required value"),
	inClients("a requirement without an operator", "{podSelector: {matchExpressions: [{key: a}]}}", "matchExpressions[0].operator", "Required value"),
	inClients("a requirement of an empty key", `{podSelector: {matchExpressions: [{key: "", operator: Exists}]}}`, "matchExpressions[0].key", "at least 1"),
	inClients("a requirement of a key with a space", "{podSelector: {matchExpressions: [{key: a b, operator: Exists}]}}", "matchExpressions[0].key", "a key of matchExpressions must be a label name"),
	inClients("an operator in lower case", "{podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}",
		"matchExpressions[0].operator", `"in"`, `"In", "NotIn", "Exists", "DoesNotExist"`),
	inClients("In without values", "{podSelector: {matchExpressions: [{key: a, operator: In}]}}", "matchExpressions[0]", "must have values with the operators In and NotIn"),
	inClients("NotIn with an empty list", "{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: []}]}}", "matchExpressions[0]", "must have values"),
	inClients("Exists with a value", "{namespaceSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}", "matchExpressions[0]", "none with Exists and DoesNotExist"),
	inClients("a value with a line break", `{podSelector: {matchExpressions: [{key: a, operator: In, values: ["b\nc"]}]}}`, "matchExpressions[0].values[0]", "a label value must be"),

	inClients("a block that is missing", "{ipBlock: {}}", "[0].ipBlock.cidr", "Required value"),
	inClients("an empty block", `{ipBlock: {cidr: ""}}`, "[0].ipBlock.cidr", "at least 1"),
	inClients("an address as a block", "{ipBlock: {cidr: 192.0.2.7}}", "[0].ipBlock.cidr", `"192.0.2.7"`, "a block of addresses"),
	inClients("a name as a block", "{ipBlock: {cidr: example.com/24}}", "[0].ipBlock.cidr", `"example.com/24"`),
	inClients("a block with too long a prefix", "{ipBlock: {cidr: 192.0.2.0/33}}", "[0].ipBlock.cidr", `"192.0.2.0/33"`),
	inClients("a block with an address in it", "{ipBlock: {cidr: 192.0.2.7/24}}", "[0].ipBlock.cidr", `"192.0.2.7/24"`, "nothing after the prefix"),
	inClients("a block with leading zeros", "{ipBlock: {cidr: 192.000.002.000/24}}", "[0].ipBlock.cidr", "192.000.002.000/24"),
	inClients("a block in upper case", "{ipBlock: {cidr: '2001:DB8::/32'}}", "[0].ipBlock.cidr", "2001:DB8::/32", "in its shortest form"),
	inClients("a block in a long form", "{ipBlock: {cidr: '2001:db8:0:0::/32'}}", "[0].ipBlock.cidr", "2001:db8:0:0::/32", "in its shortest form"),
	inClients("a block of a zone", "{ipBlock: {cidr: 'fe80::%eth0/64'}}", "[0].ipBlock.cidr", "fe80::%eth0/64"),
	inClients("a block of 4 in 6", "{ipBlock: {cidr: '::ffff:192.0.2.0/120'}}", "[0].ipBlock.cidr", "::ffff:192.0.2.0/120"),
	inClients("a block with a line break", `{ipBlock: {cidr: "192.0.2.0/24\n"}}`, "[0].ipBlock.cidr", `192.0.2.0/24\n`),
	inClients("an over-long block", "{ipBlock: {cidr: '"+strings.Repeat("1", 44)+"'}}", "[0].ipBlock.cidr", "may not be more than 43"),
	inClients("an exception that is no block", "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.1]}}", "[0].ipBlock.except", `["10.2.0.1"] are not`),
	inClients("an exception with an address in it", "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.1/16]}}", "[0].ipBlock.except", `["10.1.0.1/16"] are not`),
	inClients("an exception beside its block", "{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}", "[0].ipBlock.except", "within 10.0.0.0/8", `["11.0.0.0/16"]`),
	inClients("an exception of another kind", "{ipBlock: {cidr: 10.0.0.0/8, except: ['2001:db8::/32']}}", "[0].ipBlock.except", "within 10.0.0.0/8"),
	inClients("an exception of all of it", "{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}", "[0].ipBlock.except", "and smaller"),
	inClients("17 exceptions", "{ipBlock: {cidr: 10.0.0.0/8, except: ["+repeat("10.1.0.0/16", 17)+"]}}", "[0].ipBlock.except", "at most 16"),
}

// inClients is a case about the entries of spec.security.networkPolicy.clients.
func inClients(name, entries string, want ...string) refusal {
	return refusal{name: name, spec: fmt.Sprintf("security: {networkPolicy: {clients: [%s]}}", entries), want: append([]string{"spec.security.networkPolicy.clients"}, want...)}
}
