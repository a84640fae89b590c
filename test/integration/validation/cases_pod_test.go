//go:build integration

package validation

import (
	"fmt"
	"strings"
)

// metadataRefusals are about labels and annotations, and about services.
var metadataRefusals = []refusal{
	{name: "a label that is the operator's", spec: "podTemplate: {metadata: {labels: {etcd.etcd.io/cluster: x}}}",
		want: []string{"spec.podTemplate.metadata.labels", "etcd.etcd.io/cluster", "belong to the operator"}},
	{name: "a recommended label", spec: "podTemplate: {metadata: {labels: {app.kubernetes.io/name: x}}}",
		want: []string{"spec.podTemplate.metadata.labels", "app.kubernetes.io/name", "belong to the operator"}},
	{name: "a label with a space", spec: "podTemplate: {metadata: {labels: {a b: x}}}",
		want: []string{"spec.podTemplate.metadata.labels", `["a b"]`, "[prefix/]name"}},
	{name: "an over-long label", spec: "podTemplate: {metadata: {labels: {" + strings.Repeat("a", 64) + ": x}}}",
		want: []string{"spec.podTemplate.metadata.labels", strings.Repeat("a", 64), "at most 63"}},
	{name: "a label value with a space", spec: "podTemplate: {metadata: {labels: {a: b c}}}",
		want: []string{"spec.podTemplate.metadata.labels[a]", `"b c"`, "a label value must be"}},
	{name: "an over-long label value", spec: "podTemplate: {metadata: {labels: {a: " + strings.Repeat("b", 64) + "}}}",
		want: []string{"spec.podTemplate.metadata.labels.a", "may not be more than 63"}},
	{name: "33 labels", spec: "podTemplate: {metadata: {labels: {" + manyKeys(33) + "}}}", want: []string{"spec.podTemplate.metadata.labels", "33", "at most 32"}},
	{name: "an annotation that is the operator's", spec: "podTemplate: {metadata: {annotations: {etcd.etcd.io/x: x}}}",
		want: []string{"spec.podTemplate.metadata.annotations", "etcd.etcd.io/x", "belong to the operator"}},
	{name: "an annotation with two slashes", spec: "podTemplate: {metadata: {annotations: {a/b/c: x}}}",
		want: []string{"spec.podTemplate.metadata.annotations", `["a/b/c"]`, "[prefix/]name"}},
	{name: "an over-long annotation", spec: "podTemplate: {metadata: {annotations: {a: " + strings.Repeat("b", 4097) + "}}}",
		want: []string{"spec.podTemplate.metadata.annotations.a", "may not be more than 4096"}},
	{name: "an unknown type of service", spec: "services: {client: {type: ExternalName}}",
		want: []string{"spec.services.client.type", `"ExternalName"`, `"ClusterIP", "NodePort", "LoadBalancer"`}},
	{name: "a service annotation that is the operator's", spec: "services: {client: {annotations: {etcd.etcd.io/x: x}}}",
		want: []string{"spec.services.client.annotations", "etcd.etcd.io/x", "belong to the operator"}},
	{name: "a service annotation without a name", spec: `services: {client: {annotations: {"": x}}}`,
		want: []string{"spec.services.client.annotations", `[""]`, "[prefix/]name"}},
}

// schedulingRefusals are about where pods run.
var schedulingRefusals = []refusal{
	inPod("a node label in upper case before the slash", "nodeSelector: {A/b: x}", "nodeSelector", `["A/b"]`, "[prefix/]name"),
	inPod("33 node labels", "nodeSelector: {"+manyKeys(33)+"}", "nodeSelector", "at most 32"),
	inPod("33 tolerations", "tolerations: ["+repeat("{operator: Exists}", 33)+"]", "tolerations", "33", "at most 32"),
	inPod("an over-long toleration", "tolerations: [{key: a, value: "+strings.Repeat("b", 64)+"}]", "tolerations", "values at most 63"),
	inPod("an unknown operator", "tolerations: [{key: a, operator: In}]", "tolerations", `["In"]`, "Exists or Equal"),
	inPod("an unknown effect", "tolerations: [{key: a, effect: Evict}]", "tolerations", `["Evict"]`, "NoSchedule, PreferNoSchedule or NoExecute"),
	inPod("Exists with a value", "tolerations: [{key: a, operator: Exists, value: b}]", "tolerations", "Exists must have no value"),
	inPod("Equal without a key", "tolerations: [{value: b}]", "tolerations", "with Equal a key"),
	inPod("seconds without NoExecute", "tolerations: [{key: a, effect: NoSchedule, tolerationSeconds: 5}]", "tolerations", "only be set with effect NoExecute"),

	inPod("a constraint without a key", "topologySpreadConstraints: [{maxSkew: 1, whenUnsatisfiable: DoNotSchedule}]", "topologyKey", "Required value"),
	inPod("a constraint with an empty key", spread(`maxSkew: 1, topologyKey: "", whenUnsatisfiable: DoNotSchedule`), "topologyKey must have 1 to 317"),
	inPod("maxSkew 0", spread("maxSkew: 0, topologyKey: zone, whenUnsatisfiable: DoNotSchedule"), "maxSkew must be from 1 to 1000", "[0]"),
	inPod("maxSkew beyond 32 bits", spread("maxSkew: 99999999999, topologyKey: zone, whenUnsatisfiable: DoNotSchedule"), "maxSkew", "int32"),
	inPod("whenUnsatisfiable", spread("maxSkew: 1, topologyKey: zone, whenUnsatisfiable: Never"), `["Never"]`, "DoNotSchedule or ScheduleAnyway"),
	inPod("minDomains with ScheduleAnyway", spread("maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, minDomains: 3"), "minDomains", "with whenUnsatisfiable DoNotSchedule"),
	inPod("nodeTaintsPolicy", spread("maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, nodeTaintsPolicy: Obey"), "nodeTaintsPolicy must be Honor or Ignore"),
	inPod("nine matchLabelKeys", spread("maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, matchLabelKeys: ["+repeat("a", 9)+"]"), "at most 8 matchLabelKeys"),
	inPod("a constraint twice", "topologySpreadConstraints: ["+repeat("{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}", 2)+"]", "topologySpreadConstraints[1]", "Duplicate value"),

	inPod("17 node terms", "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: ["+repeat("{}", 17)+"]}}}",
		"affinity.nodeAffinity", "at most 16 required"),
	inPod("node weight 0", "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, preference: {}}]}}",
		"affinity.nodeAffinity", "from 1 to 100", "[0]"),
	inPod("17 pod terms", "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: ["+repeat("{topologyKey: a}", 17)+"]}}", "affinity.podAffinity", "at most 16"),
	inPod("pod weight 101", podTerm("podAffinity", 101, "zone"), "affinity.podAffinity", "from 1 to 100", "[101]"),
	inPod("an empty pod key", podTerm("podAffinity", 1, `""`), "affinity.podAffinity", "topologyKey of 1 to 317"),
	inPod("17 opposed pod terms", "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: ["+repeat("{topologyKey: a}", 17)+"]}}",
		"affinity.podAntiAffinity", "at most 16"),
	inPod("opposed pod weight -5", podTerm("podAntiAffinity", -5, "zone"), "affinity.podAntiAffinity", "[-5]"),
	inPod("an over-long opposed pod key", podTerm("podAntiAffinity", 1, strings.Repeat("a", 318)), "affinity.podAntiAffinity", "topologyKey of 1 to 317"),
	inPod("priorityClassName", "priorityClassName: High", "priorityClassName", `"High"`, "lower-case letters"),
	inPod("schedulerName", "schedulerName: my_scheduler", "schedulerName", `"my_scheduler"`, "lower-case letters"),
	inPod("serviceAccountName", "serviceAccountName: ../default", "serviceAccountName", `"../default"`, "lower-case letters"),
}

// inPod is a case about spec.podTemplate.spec.
func inPod(name, spec string, want ...string) refusal {
	return refusal{name: name, spec: "podTemplate: {spec: {" + spec + "}}", want: append([]string{"spec.podTemplate.spec."}, want...)}
}

// repeat is the text n times, separated by commas.
func repeat(text string, n int) string { return strings.TrimSuffix(strings.Repeat(text+", ", n), ", ") }

func spread(fields string) string { return "topologySpreadConstraints: [{" + fields + "}]" }

func podTerm(kind string, weight int, key string) string {
	return fmt.Sprintf("affinity: {%s: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: %d, podAffinityTerm: {topologyKey: %s}}]}}", kind, weight, key)
}
