//go:build integration

package validation

import "strings"

// agentRefusals are about how agents run, which all kinds say in the same way; with is a spec with something more in it.
func agentRefusals(with func(more string) string) []refusal {
	agent := func(name, spec string, want ...string) refusal {
		return refusal{name: name, spec: with("agent: {" + spec + "}"), want: append([]string{"agent."}, want...)}
	}
	resources := func(name, spec string, want ...string) refusal {
		return agent(name, "resources: {"+spec+"}", append([]string{"agent.resources"}, want...)...)
	}
	toleration := func(name, spec string) refusal {
		return agent(name, "tolerations: [{"+spec+"}]", "agent.tolerations", "the tolerations of agents have")
	}
	const named, above = "requests and limits of cpu, memory and ephemeral-storage", "above 0, e.g. 500m of cpu"
	return []refusal{
		agent("an account that leaves", "serviceAccountName: ../default", "agent.serviceAccountName", "../default"),
		agent("an account in capitals", "serviceAccountName: Backup", "agent.serviceAccountName", "Backup"),
		agent("an account with two dots", "serviceAccountName: a..b", "agent.serviceAccountName", "a..b"),
		agent("an account with a newline", `serviceAccountName: "a\n"`, "agent.serviceAccountName"),
		agent("an over-long account", "serviceAccountName: "+strings.Repeat("a", 254), "agent.serviceAccountName", "253"),
		agent("an image with a tag", "repository: 'example.com/etcd:v3.6.16'", "agent.repository"),
		agent("an image with a digest", "repository: 'example.com/etcd@sha256:abc'", "agent.repository"),
		agent("an image with a flag", "repository: '--privileged'", "agent.repository"),
		agent("no image", "repository: ''", "agent.repository", "at least 1"),
		agent("an over-long image", "repository: example.com/"+strings.Repeat("a", 250), "agent.repository", "255"),
		resources("claims", "claims: [{name: gpu}]", named),
		resources("a device", "limits: {example.com/gpu: 1}", named),
		resources("huge pages", "requests: {hugepages-2Mi: 1Gi}", named),
		resources("a thousand resources", "limits: {"+manyKeys(1000)+"}", "agent.resources.limits"),
		resources("no memory", "limits: {memory: 0}", above),
		resources("negative requests", "requests: {cpu: -1}", above),
		resources("requests above limits", "requests: {memory: 2Gi}, limits: {memory: 1Gi}", "requests not above limits"),
		resources("memory that is none", "requests: {memory: lots}", "agent.resources.requests.memory"),
		agent("a node label in capitals before the slash", "nodeSelector: {A/b: x}", "agent.nodeSelector", "[prefix/]name"),
		agent("a node label without a name", `nodeSelector: {"": x}`, "agent.nodeSelector", "[prefix/]name"),
		agent("a node label with a newline", `nodeSelector: {"a\nb": x}`, "agent.nodeSelector", "[prefix/]name"),
		agent("a node label's value with a space", "nodeSelector: {a: b c}", "agent.nodeSelector", "a label value must be"),
		agent("17 node labels", "nodeSelector: {"+manyKeys(17)+"}", "agent.nodeSelector", "at most 16"),
		agent("17 tolerations", "tolerations: ["+repeat("{operator: Exists}", 17)+"]", "agent.tolerations", "at most 16"),
		toleration("an unknown operator", "key: a, operator: In"),
		toleration("an unknown effect", "key: a, effect: Evict"),
		toleration("Exists with a value", "key: a, operator: Exists, value: b"),
		toleration("Equal without a key", "value: b"),
		toleration("seconds without NoExecute", "key: a, effect: NoSchedule, tolerationSeconds: 5"),
		toleration("an over-long value", "key: a, value: "+strings.Repeat("b", 64)),
		toleration("an over-long key", "operator: Exists, key: "+strings.Repeat("b", 318)),
		agent("something else of a pod", "hostNetwork: true", "unknown field"),
		agent("a command", "command: [sh]", "unknown field"),
	}
}
