package specs

import (
	"strings"

	"sigs.k8s.io/yaml"
)

// choice is a value, in YAML.
type choice struct{ text, passing string }

type choices []choice

func these(texts ...string) (values choices) {
	for _, text := range texts {
		values = append(values, choice{text: text})
	}
	return values
}

// butNot adds values that a cluster cannot stay with, and why.
func (c choices) butNot(passing string, texts ...string) choices {
	for _, text := range texts {
		c = append(c, choice{text, passing})
	}
	return c
}

func (c choice) value() Value {
	var value any
	if err := yaml.Unmarshal([]byte(c.text), &value); err != nil {
		panic("a value of the table is no YAML: " + c.text)
	}
	return Value{whole(value), c.passing}
}

// whole turns the numbers of YAML into those of objects.
func whole(value any) any {
	switch value := value.(type) {
	case float64:
		return int64(value)
	case map[string]any:
		for key, part := range value {
			value[key] = whole(part)
		}
	case []any:
		for i, part := range value {
			value[i] = whole(part)
		}
	}
	return value
}

// What the domains name besides the nodes and the default class of the environment; a namespace has to have it.
const (
	// OtherClass is a storage class that cannot grow volumes.
	OtherClass = "other"
	// Files is a ConfigMap and a Secret with the key a, and Shared a claim whose volume every node reaches.
	Files, Shared = "files", "shared"
	// Account is a service account.
	Account = "walker"
)

// quota of its own: the default follows the size of the volumes, at the next restart after they have grown.
const quota = `quota-backend-bytes: "536870912"`

// term is a term of an affinity that concerns no pod here.
const term = `topologyKey: kubernetes.io/hostname, namespaces: [default], matchLabelKeys: [app.kubernetes.io/name], mismatchLabelKeys: [app.kubernetes.io/instance],
  labelSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: In, values: [d]}]},
  namespaceSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: NotIn, values: [d]}]}`

const (
	podSpec = "spec.podTemplate.spec."
	network = "spec.security.networkPolicy."
)

// blocks are blocks of addresses, with what is left out of them.
var blocks = these("{cidr: 192.0.2.0/24}", "{cidr: '2001:db8::/32', except: ['2001:db8:1::/48']}", "{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.3.4/32]}",
	"{cidr: 10.1.2.3/8}", "{cidr: 10.0.0.0/8, except: [192.0.2.0/24]}")

// requirements are those of a label.
var requirements = these("{key: a, operator: Exists}", "{key: example.com/a, operator: In, values: [b, '']}", "{key: A.b_c, operator: NotIn, values: [1.0-x]}",
	"{key: a, operator: DoesNotExist, values: [b]}", "{key: a b, operator: Exists}")

// domains are the values of what the schema alone cannot tell, with everything below. Some are there to be refused.
var domains = map[string]choices{
	"spec.size":       these("1", "2", "3", "3", "5").butNot("there would be no pods", "0"),
	"spec.version":    these("3.5.33", "3.6.14", "3.6.15", "3.6.16", "3.7.3", "3.5.4").butNot("there is no such image", "3.6.100"),
	"spec.repository": these("gcr.io/etcd-development/etcd", "mirror.example.com/etcd", "mirror.example.com/etcd:v3").butNot("there is no such image", "registry.invalid/nothing"),
	"spec.config": these("{"+quota+"}", "{"+quota+", max-txn-ops: '64'}", "{"+quota+", max-txn-ops: '256', snapshot-count: '500'}",
		"{"+quota+", auto-compaction-mode: periodic, auto-compaction-retention: 1h}", "{"+quota+", heartbeat-interval: '50', election-timeout: '600'}",
		"{"+quota+", experimental-corrupt-check-time: 1h}", "{"+quota+", corrupt-check-time: 1h, max-learners: '1'}",
		"{"+quota+", feature-gates: StopGRPCServiceOnDefrag=true}", "{"+quota+", log-level: warn, metrics: extensive, pre-vote: 'false'}",
		"{quota-backend-bytes: '99999999999999'}", "{"+quota+", name: me}", "{"+quota+", no-such-flag: x}",
	).butNot("etcd does not start", "{"+quota+", tls-min-version: TLS1.3, tls-max-version: TLS1.2}"),
	"spec.storage.storageClassName":     these("standard", OtherClass).butNot("there is no such class", "nothing"),
	"spec.storage.wal.storageClassName": these("standard", OtherClass).butNot("there is no such class", "nothing"),

	network + "clients[].anyone":                               these("{}"),
	network + "metrics[].anyone":                               these("{}"),
	network + "clients[].ipBlock":                              blocks,
	network + "metrics[].ipBlock":                              blocks,
	network + "clients[].podSelector.matchExpressions[]":       requirements,
	network + "metrics[].podSelector.matchExpressions[]":       requirements,
	network + "clients[].namespaceSelector.matchExpressions[]": requirements,
	network + "metrics[].namespaceSelector.matchExpressions[]": requirements,

	podSpec + "nodeSelector": these("{kubernetes.io/os: linux}", "{topology.kubernetes.io/region: region-1, kubernetes.io/arch: amd64}", "{topology.kubernetes.io/zone: zone-2}", "{a b: c}").
		butNot("no node has it", "{disk: none}"),
	podSpec + "priorityClassName":       these("system-cluster-critical", "system-node-critical").butNot("there is no such class", "nothing"),
	podSpec + "serviceAccountName":      these("default", Account).butNot("there is no such account", "nobody"),
	podSpec + "schedulerName":           these("default-scheduler").butNot("there is no such scheduler", "nobody"),
	podSpec + "imagePullSecrets[].name": these("registry", "mirror"),
	podSpec + "resources": these("{requests: {cpu: 50m, memory: 128Mi}}", "{requests: {cpu: 200m, memory: 128Mi}}", "{requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 1Gi}}",
		"{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}", "{requests: {cpu: 2}, limits: {cpu: 1}}", "{limits: {gpu: 1}}"),
	podSpec + "env[]": these("{name: A, value: x}", "{name: A, value: ''}", "{name: B, value: $(A)}", "{name: ETCD_NAME, value: me}", "{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}",
		"{name: C, valueFrom: {configMapKeyRef: {name: files, key: a}}}", "{name: C, valueFrom: {configMapKeyRef: {name: files, key: b, optional: true}}}",
		"{name: C, valueFrom: {secretKeyRef: {name: files, key: a, optional: false}}}", "{name: D, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}",
		"{name: D, valueFrom: {resourceFieldRef: {containerName: etcd, resource: limits.memory, divisor: 1Mi}}}").
		butNot("there is no such ConfigMap", "{name: C, valueFrom: {configMapKeyRef: {name: nothing, key: a}}}"),
	podSpec + "volumes[]": these("{name: scratch, emptyDir: {}}", "{name: scratch, emptyDir: {medium: Memory, sizeLimit: 16Mi}}", "{name: data, emptyDir: {}}",
		"{name: files, configMap: {name: files, defaultMode: 292, optional: false, items: [{key: a, path: a, mode: 292}]}}",
		"{name: files, secret: {secretName: files, defaultMode: 292, optional: true, items: [{key: a, path: a, mode: 292}]}}",
		"{name: files, persistentVolumeClaim: {claimName: shared, readOnly: false}}",
		`{name: files, projected: {defaultMode: 292, sources: [{configMap: {name: files, optional: true, items: [{key: a, path: a, mode: 292}]}},
		  {secret: {name: files, optional: false, items: [{key: a, path: b, mode: 292}]}}, {downwardAPI: {items: [{path: c, mode: 292, fieldRef: {apiVersion: v1, fieldPath: metadata.name}}]}}]}}`).
		butNot("there is no such Secret", "{name: files, secret: {secretName: nothing}}"),
	podSpec + "volumeMounts[]": these("{name: scratch, mountPath: /scratch}", "{name: scratch, mountPath: /scratch, subPath: a}", "{name: scratch, mountPath: /scratch, subPathExpr: $(HOSTNAME)}",
		"{name: files, mountPath: /files, readOnly: true, recursiveReadOnly: Disabled, mountPropagation: None}", "{name: files, mountPath: /var/lib/etcd/files}"),
	podSpec + "tolerations[]": these("{key: a, operator: Exists}", "{key: a, operator: Equal, value: b, effect: NoSchedule}", "{key: c, operator: Exists, effect: NoExecute, tolerationSeconds: 60}",
		"{operator: Exists, value: b}"),
	podSpec + "topologySpreadConstraints[]": these("{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway}",
		"{maxSkew: 2, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, minDomains: 1, nodeAffinityPolicy: Honor, nodeTaintsPolicy: Ignore}",
		`{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, matchLabelKeys: [app.kubernetes.io/name],
		  labelSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: In, values: [d]}]}}`,
		"{maxSkew: 0, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}"),
	podSpec + "securityContext": these("{runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000}", "{fsGroup: 2000, fsGroupChangePolicy: Always, supplementalGroups: [1, 2], supplementalGroupsPolicy: Merge}",
		"{runAsNonRoot: true, seccompProfile: {type: Localhost, localhostProfile: etcd.json}}", "{appArmorProfile: {type: Localhost, localhostProfile: etcd}}",
		"{seLinuxOptions: {level: 's0:c1,c2', type: container_t}, seLinuxChangePolicy: Recursive}", "{sysctls: [{name: net.ipv4.tcp_keepalive_time, value: '60'}]}", "{runAsUser: 0}"),
	nodeTerms + "preferredDuringSchedulingIgnoredDuringExecution[]": these("{weight: 1, preference: {matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [zone-1]}]}}",
		"{weight: 100, preference: {matchFields: [{key: metadata.name, operator: In, values: [node-2]}]}}", "{weight: 101, preference: {}}"),
	nodeTerms + "requiredDuringSchedulingIgnoredDuringExecution": these("{nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [linux]}]}]}",
		"{nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: NotIn, values: [node-9]}]}]}").
		butNot("no node has it", "{nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [plan9]}]}]}"),
	podSpec + "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[]":     these("{weight: 1, podAffinityTerm: {"+term+"}}", "{weight: 0, podAffinityTerm: {"+term+"}}"),
	podSpec + "affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[]":      these("{" + term + "}"),
	podSpec + "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[]": these("{weight: 100, podAffinityTerm: {" + term + "}}"),
	podSpec + "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[]": these("{"+term+"}").
		butNot("a fourth member has no node", "{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {etcd.etcd.io/cluster: demo}}}"),
}

const nodeTerms = podSpec + "affinity.nodeAffinity."

// Kept is what a change does not remove, and why.
var Kept = map[string]string{
	"spec.config": "without a quota of its own a cluster follows the size of its volumes only with the next restart",
}

const (
	unknownHere = "the nodes of the tests do not know it"
	gated       = "Kubernetes drops it unless a feature gate is on"
	refused     = "every value is refused"
)

// exclusions are the places that are left as they are, with everything below, and why.
var exclusions = map[string]string{
	"spec.backup":                       "nothing of it is to be seen in the cluster's own objects; see backup_test.go",
	"spec.bootstrap":                    "it cannot be changed; see restore_test.go",
	"spec.healing.memberUnhealthyAfter": "nothing of it is to be seen in the objects; it matters when nodes are lost",
	"spec.security.tls":                 "certificates are others in every cluster, and clients have to follow; see tls_test.go",
	"spec.security.auth":                "clients have to log in; see auth_test.go",
	"spec.storage.medium":               "it cannot be changed",

	podSpec + "env[].valueFrom.fileKeyRef":                                         unknownHere,
	podSpec + "resources.claims":                                                   refused,
	podSpec + "securityContext.seLinuxOptions.role":                                refused,
	podSpec + "securityContext.seLinuxOptions.user":                                refused,
	podSpec + "securityContext.windowsOptions":                                     refused,
	podSpec + "volumeMounts[].bindMountOptions":                                    gated,
	podSpec + "volumes[].emptyDir.mode":                                            gated,
	podSpec + "volumes[].configMap.defaultUser":                                    gated,
	podSpec + "volumes[].configMap.items[].user":                                   gated,
	podSpec + "volumes[].secret.defaultUser":                                       gated,
	podSpec + "volumes[].secret.items[].user":                                      gated,
	podSpec + "volumes[].projected.defaultUser":                                    gated,
	podSpec + "volumes[].projected.sources[].configMap.items[].user":               gated,
	podSpec + "volumes[].projected.sources[].secret.items[].user":                  gated,
	podSpec + "volumes[].projected.sources[].downwardAPI.items[].user":             gated,
	podSpec + "volumes[].projected.sources[].clusterTrustBundle":                   unknownHere,
	podSpec + "volumes[].projected.sources[].podCertificate":                       unknownHere,
	podSpec + "volumes[].projected.sources[].serviceAccountToken":                  unknownHere,
	podSpec + "volumes[].projected.sources[].downwardAPI.items[].resourceFieldRef": unknownHere,
}

// excluded is why a place is left as it is; "" if it is not.
func excluded(path string) string {
	for at, why := range exclusions {
		if rest, below := strings.CutPrefix(path, at); below && (rest == "" || strings.ContainsAny(rest[:1], ".[{")) {
			return why
		}
	}
	return ""
}
