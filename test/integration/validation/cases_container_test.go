//go:build integration

package validation

import "strings"

// containerRefusals are about the etcd container.
var containerRefusals = []refusal{
	inPod("an unnamed pull secret", "imagePullSecrets: [{}]", "imagePullSecrets", "a name of 1 to 253"),
	inPod("an unknown pull policy", "imagePullPolicy: Sometimes", "imagePullPolicy", `"Sometimes"`, `"Always", "IfNotPresent", "Never"`),
	inPod("no grace", "terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds", "0", "greater than or equal to 5"),
	inPod("too much grace", "terminationGracePeriodSeconds: 601", "terminationGracePeriodSeconds", "601", "less than or equal to 600"),

	inPod("requests above limits", "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}", "resources.requests", "must not exceed limits", `"2Gi"`, `"1Gi"`),
	inPod("requests above limits in another unit", "resources: {requests: {cpu: 2}, limits: {cpu: 1900m}}", "resources.requests", "must not exceed limits", "1900m"),
	inPod("a request of 0", `resources: {requests: {cpu: "0"}}`, "resources.requests", "above 0", `{"cpu":"0"}`),
	inPod("a negative limit", "resources: {limits: {memory: -1Gi}}", "resources.limits", "above 0", "-1Gi"),
	inPod("a limit that is no quantity", "resources: {limits: {memory: lots}}", "resources.limits", "lots"),
	inPod("a broken exponent", "resources: {limits: {memory: 1e1.5}}", "resources", "limits must be quantities"),
	inPod("an unknown resource to request", "resources: {requests: {gpu: 1}}", "resources.requests", "only name cpu, memory and ephemeral-storage", "gpu"),
	inPod("an unknown resource to limit", "resources: {limits: {cpu: 1, Memory: 1Gi}}", "resources.limits", "only name cpu, memory and ephemeral-storage", "Memory"),
	inPod("resource claims", "resources: {claims: [{name: a}]}", "resources.claims", "must not be set"),

	inPod("a variable of the operator", "env: [{name: INITIAL_CLUSTER_STATE, value: new}]", "env", "INITIAL_CLUSTER_STATE", "tells members"),
	inPod("an etcd variable", "env: [{name: ETCD_NAME, value: x}]", "env", `["ETCD_NAME"]`, "use spec.config"),
	inPod("an unnamed variable", `env: [{name: "", value: x}]`, "env", "1 to 253"),
	inPod("an over-long variable", "env: [{name: "+strings.Repeat("A", 254)+", value: x}]", "env", "1 to 253"),
	inPod("an over-long value", "env: [{name: A, value: "+strings.Repeat("x", 4097)+"}]", "env", `["A"]`, "at most 4096"),
	inPod("a value and a source", "env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]", "env", `["A"]`, "no value beside it"),
	inPod("a source that is none", "env: [{name: A, valueFrom: {}}]", "env", `["A"]`, "exactly one of fieldRef"),
	inPod("a variable twice", "env: [{name: A, value: x}, {name: A, value: y}]", "env[1]", "Duplicate value"),
	inPod("65 variables", "env: ["+manyVariables(65)+"]", "env", "65", "at most 64"),
}

func manyVariables(n int) string {
	names := strings.Split(manyKeys(n), ", ")
	for i := range names {
		names[i] = "{name: " + strings.TrimSuffix(names[i], ": x") + "}"
	}
	return strings.Join(names, ", ")
}

// volumeRefusals are about volumes and where they are mounted.
var volumeRefusals = []refusal{
	inPod("a volume called data", "volumes: [{name: data, emptyDir: {}}]", "volumes", "data, wal, trust, server-tls or peer-tls", "the member's own"),
	inPod("a volume called as that of the certificates", "volumes: [{name: server-tls, emptyDir: {}}]", "volumes", "server-tls", "the member's own"),
	inPod("a volume in upper case", "volumes: [{name: Certs, emptyDir: {}}]", "volumes[0].name", `"Certs"`, "DNS labels"),
	inPod("an over-long volume", "volumes: [{name: "+strings.Repeat("a", 64)+", emptyDir: {}}]", "volumes[0].name", "may not be more than 63"),
	inPod("a volume twice", "volumes: [{name: a, emptyDir: {}}, {name: a, emptyDir: {}}]", "volumes[1]", "Duplicate value"),
	inPod("nine volumes", "volumes: ["+repeat("{name: a, emptyDir: {}}", 9)+"]", "volumes", "9", "at most 8"),
	inPod("a volume of nothing", "volumes: [{name: a}]", "volumes[0]", "volume a must have exactly one of", "has 0"),
	inPod("a volume of two", "volumes: [{name: a, emptyDir: {}, secret: {secretName: b}}]", "volumes[0]", "exactly one of", "has 2"),
	inPod("a folder of the node", "volumes: [{name: a, hostPath: {path: /}}]", "unknown field", "hostPath"),
	inPod("a secret without a name", "volumes: [{name: a, secret: {}}]", "volumes[0]", "volume a must name its source", "secret.secretName"),
	inPod("a configMap without a name", "volumes: [{name: a, configMap: {}}]", "volumes[0]", "volume a must name its source", "configMap.name"),
	inPod("a mode beyond 0777", "volumes: [{name: a, secret: {secretName: b, defaultMode: 512}}]", "volumes[0]", "defaultMode of volume a", "0 to 511"),
	inPod("a mode beyond 32 bits", "volumes: [{name: a, configMap: {name: b, items: [{key: c, path: d, mode: 99999999999}]}}]", "volumes[0].configMap.items[0].mode", "int32"),
	inPod("projected nothing", "volumes: [{name: a, projected: {}}]", "volumes[0]", "1 to 16 projected sources"),
	inPod("65 items", "volumes: [{name: a, secret: {secretName: b, items: ["+repeat("{key: a, path: b}", 65)+"]}}]", "volumes[0]", "at most 64 items"),
	inPod("an unknown medium", "volumes: [{name: a, emptyDir: {medium: Tape}}]", "volumes[0]", "emptyDir.medium Memory or none"),
	inPod("a limit of 0", `volumes: [{name: a, emptyDir: {sizeLimit: "0"}}]`, "volumes[0]", "emptyDir.sizeLimit a quantity above 0"),
	inPod("a limit that is no quantity", "volumes: [{name: a, emptyDir: {sizeLimit: 1e1.5}}]", "volumes[0]", "emptyDir.sizeLimit a quantity above 0"),

	inPod("a mount without a volume", "volumeMounts: [{name: a, mountPath: /a}]", "volumeMounts", `not ["a"]`, "must each name a volume of spec.podTemplate.spec.volumes"),
	inPod("a mount of another volume", "volumes: [{name: b, emptyDir: {}}], volumeMounts: [{name: b, mountPath: /b}, {name: data, mountPath: /a}]", "volumeMounts", `not ["data"]`),
	mountAt("a", "absolute path", `["a"]`),
	mountAt("/a:b", "without colons", `["/a:b"]`),
	mountAt("/a/../var/lib/etcd", "two dots"),
	mountAt("/var//lib/etcd", "two slashes"),
	mountAt("/", "must not cover", `["/"]`),
	mountAt("/etc", "must not cover", `["/etc"]`),
	mountAt("/var/lib/", "must not cover", `["/var/lib/"]`),
	mountAt("/var/lib/etcd", "must not cover", "/var/lib/etcd"),
	mountAt("/var/lib/etcd-wal/member", "must not cover"),
	mountAt("/usr/local/bin/etcd", "must not cover"),
	mountAt("/proc/1", "must not cover"),
	mountAt("/"+strings.Repeat("a", 512), "at most 512"),
	inPod("a mount path twice", "volumes: [{name: a, emptyDir: {}}], volumeMounts: ["+repeat("{name: a, mountPath: /a}", 2)+"]", "volumeMounts[1]", "Duplicate value"),
	inPod("two sub-paths", mount("mountPath: /a, subPath: b, subPathExpr: c"), "volumeMounts", "at most one of subPath and subPathExpr"),
	inPod("an over-long sub-path", mount("mountPath: /a, subPath: "+strings.Repeat("b", 513)), "volumeMounts", "at most 512"),
	inPod("mounts into the node", mount("mountPath: /a, mountPropagation: Bidirectional"), "volumeMounts", `["Bidirectional"]`, "None or HostToContainer"),
}

func mount(fields string) string {
	return "volumes: [{name: a, emptyDir: {}}], volumeMounts: [{name: a, " + fields + "}]"
}

func mountAt(path string, want ...string) refusal {
	return inPod("mounted at "+path, mount(`mountPath: "`+path+`"`), append([]string{"volumeMounts"}, want...)...)
}

// securityContextRefusals are about the "restricted" pod security standard.
var securityContextRefusals = []refusal{
	secured("root", "runAsUser: 0", ".runAsUser", "not 0", "never run as root"),
	secured("a negative user", "runAsUser: -1", ".runAsUser", "not -1", "from 1 to 2147483647"),
	secured("a user beyond 64 bits", "runAsUser: 99999999999999999999", ".runAsUser"),
	secured("a negative group", "fsGroup: -1", "fsGroup", "from 0 to 2147483647"),
	secured("perhaps root", "runAsNonRoot: false", ".runAsNonRoot", "must not be false", "restricted"),
	secured("no seccomp", "seccompProfile: {type: Unconfined}", ".seccompProfile.type", "not Unconfined", "RuntimeDefault or Localhost"),
	secured("a seccomp profile without a name", "seccompProfile: {type: Localhost}", ".seccompProfile.localhostProfile", "must be set with type Localhost"),
	secured("no AppArmor", "appArmorProfile: {type: Unconfined}", ".appArmorProfile.type", "not Unconfined"),
	secured("an SELinux type", "seLinuxOptions: {type: spc_t}", ".seLinuxOptions", "container_t"),
	secured("an SELinux user", "seLinuxOptions: {user: system_u}", ".seLinuxOptions", "no user and role"),
	secured("Windows", "windowsOptions: {hostProcess: true}", ".windowsOptions", "Linux"),
	secured("an unsafe sysctl", "sysctls: [{name: kernel.msgmax, value: '1'}]", ".sysctls", `["kernel.msgmax"]`, "safe ones"),
	secured("33 groups", "supplementalGroups: ["+repeat("1", 33)+"]", ".supplementalGroups", "at most 32"),
	secured("a group beyond 32 bits", "supplementalGroups: [4294967296]", ".supplementalGroups", "to 2147483647"),
	secured("an unknown policy", "fsGroupChangePolicy: Never", ".fsGroupChangePolicy", "OnRootMismatch or Always"),
}

func secured(name, fields string, want ...string) refusal {
	return inPod(name, "securityContext: {"+fields+"}", append([]string{"spec.podTemplate.spec.securityContext"}, want...)...)
}
