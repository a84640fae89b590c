//go:build integration

package validation

import (
	"fmt"
	"strings"
)

// certificateRefusals are about where certificates come from, and for how long clients are given to follow.
var certificateRefusals = []refusal{
	fromSource("client", "no source", "{}", "spec.security.tls.client.source must have exactly one of certManager and secrets"),
	fromSource("client", "two sources", "{certManager: {issuerRef: {name: a}}, secrets: {server: {name: a}, operator: {name: b}}}", "exactly one of certManager and secrets"),
	fromSource("client", "a source that is null", "{certManager: null}", "exactly one of certManager and secrets"),
	fromSource("client", "an unknown source", "{vault: {}}", "vault", "unknown field"),
	fromSource("client", "a source as a word", "cert-manager", "object"),
	fromSource("client", "one Secret only", "{secrets: {server: {name: a}}}", "secrets.operator", "Required value"),
	fromSource("client", "a Secret without a name", "{secrets: {server: {}, operator: {name: b}}}", "secrets.server.name", "Required value"),
	fromSource("client", "a Secret with an empty name", "{secrets: {server: {name: ''}, operator: {name: b}}}", "secrets.server.name", "at least 1"),
	fromSource("client", "a Secret in another namespace", "{secrets: {server: {name: other/a}, operator: {name: b}}}", "secrets.server.name", "must be the name of a Secret"),
	fromSource("client", "a Secret by its path", "{secrets: {server: {name: ../a}, operator: {name: b}}}", "secrets.server.name", "must be the name of a Secret"),
	fromSource("client", "a member's Secret", "{secrets: {member: {name: a}}}", "secrets.member", "unknown field"),
	fromSource("peer", "no source", "{}", "spec.security.tls.peer.source must have exactly one of certManager and secrets"),
	fromSource("peer", "two sources", "{certManager: {issuerRef: {name: a}}, secrets: {member: {name: a}}}", "exactly one of certManager and secrets"),
	fromSource("peer", "a Secret of servers", "{secrets: {server: {name: a}}}", "unknown field"),
	fromSource("peer", "no issuer", "{certManager: {}}", "certManager.issuerRef", "Required value"),
	fromSource("peer", "an issuer without a name", "{certManager: {issuerRef: {kind: Issuer}}}", "issuerRef.name", "Required value"),
	fromSource("peer", "an issuer in another namespace", "{certManager: {issuerRef: {name: a/b}}}", "issuerRef.name", "must be the name of an issuer"),
	fromSource("peer", "an issuer with a namespace", "{certManager: {issuerRef: {name: a, namespace: b}}}", "issuerRef.namespace", "unknown field"),
	fromSource("peer", "an over-long issuer", "{certManager: {issuerRef: {name: "+strings.Repeat("a", 254)+"}}}", "issuerRef.name", "may not be more than 253"),
	fromSource("peer", "a kind in lower case", "{certManager: {issuerRef: {name: a, kind: issuer}}}", "issuerRef.kind", "must be the kind of an issuer"),
	fromSource("peer", "an empty kind", "{certManager: {issuerRef: {name: a, kind: ''}}}", "issuerRef.kind", "must be the kind of an issuer"),
	fromSource("peer", "a group with its version", "{certManager: {issuerRef: {name: a, group: cert-manager.io/v1}}}", "issuerRef.group", "must be an API group"),

	overlap("2d", "must be a duration of hours, minutes and seconds from 0s to 720h"),
	overlap("-1h", "must be a duration"),
	overlap("721h", "is 721h", "from 0s to 720h"),
	overlap("''", "at least 2"),
	overlap("1h, authorityDuration: 5h", "is 1h", "a sixth of authorityDuration (5h) at most"),
}

func fromSource(plane, name, source string, want ...string) refusal {
	return refusal{
		name: name + " of certificates for " + plane + "s", spec: fmt.Sprintf("security: {tls: {%s: {source: %s}}}", plane, source),
		want: append([]string{"spec.security.tls." + plane + ".source"}, want...),
	}
}

func overlap(value string, want ...string) refusal {
	return refusal{
		name: "an overlap of " + value, spec: fmt.Sprintf("security: {tls: {certificates: {overlap: %s}}}", value),
		want: append([]string{"spec.security.tls.certificates.overlap"}, want...),
	}
}
