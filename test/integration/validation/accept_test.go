//go:build integration

package validation

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

const defaults = `
size: 3
version: 3.6.16
repository: gcr.io/etcd-development/etcd
storage: {medium: Disk, size: 10Gi, retention: {whenDeleted: Retain, whenScaled: Delete}}
security: {tls: {client: {mode: Disabled}, peer: {mode: Disabled}}}
podTemplate: {metadata: {}, spec: {imagePullPolicy: IfNotPresent, terminationGracePeriodSeconds: 30}}
services: {client: {type: ClusterIP}}
healing: {memberUnhealthyAfter: 10m}
`

func TestDefaults(t *testing.T) {
	for name, spec := range map[string]string{
		"an empty spec":          "{}",
		"the defaults written":   defaults,
		"nulls":                  "{size: null, version: null, storage: null, services: null, healing: null, podTemplate: {spec: null}}",
		"empty parts":            "{storage: {}, security: {tls: {}}, services: {client: {}}, healing: {}, podTemplate: {spec: {}}}",
		"part of the retention":  "storage: {retention: {whenScaled: Delete}}",
		"one of the planes' TLS": "security: {tls: {peer: {}}}",
	} {
		t.Run(name, func(t *testing.T) {
			stored := object(t, newName(), spec)
			if err := create(t, stored); err != nil {
				t.Fatal(err)
			}
			requireSpec(t, stored, defaults)
		})
	}
	t.Run("a log volume has a default size", func(t *testing.T) {
		stored := object(t, newName(), "storage: {wal: {}}")
		if err := create(t, stored); err != nil {
			t.Fatal(err)
		}
		if size, _, _ := unstructured.NestedString(stored.Object, "spec", "storage", "wal", "size"); size != "2Gi" {
			t.Errorf("spec.storage.wal.size is %q, not 2Gi", size)
		}
	})
	t.Run("growth has a default threshold", func(t *testing.T) {
		stored := object(t, newName(), "storage: {autoGrow: {limit: 10Gi}}")
		if err := create(t, stored); err != nil {
			t.Fatal(err)
		}
		if threshold, _, _ := unstructured.NestedInt64(stored.Object, "spec", "storage", "autoGrow", "thresholdPercent"); threshold != 80 {
			t.Errorf("spec.storage.autoGrow.thresholdPercent is %d, not 80", threshold)
		}
	})
}

// requireSpec compares the cluster's spec with one in YAML.
func requireSpec(t *testing.T, stored *unstructured.Unstructured, want string) {
	t.Helper()
	// Both through JSON, so that numbers have the same type.
	got, err := yaml.Marshal(stored.Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	expected, err := yaml.Marshal(object(t, "any", want).Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, expected) {
		t.Errorf("the spec is\n%s\nnot\n%s", got, expected)
	}
}

// everything uses every field at once.
const everything = `
size: 5
version: 3.6.16
repository: registry.example.com:5000/team/etcd
paused: true
storage:
  medium: Disk
  size: 20Gi
  storageClassName: fast.example.com
  wal: {size: 4Gi, storageClassName: faster}
  autoGrow: {limit: 100Gi, thresholdPercent: 90}
  retention: {whenDeleted: Delete, whenScaled: Retain}
security: {tls: {client: {mode: Disabled}, peer: {mode: Disabled}}}
config:
  snapshot-count: "10000"
  quota-backend-bytes: "8589934592"
  heartbeat-interval: "200"
  election-timeout: "50000"
  auto-compaction-mode: periodic
  auto-compaction-retention: 30m
  feature-gates: InitialCorruptCheck=true,CompactHashCheck=true
  log-level: debug
  metrics: extensive
  max-learners: "2"
  pre-vote: "true"
  corrupt-check-time: 1h30m
  cors: "*"
  backend-batch-interval: 0.5s
  tls-min-version: TLS1.3
services: {client: {type: LoadBalancer, annotations: {example.com/lb: internal}}}
healing: {memberUnhealthyAfter: 1h30m0.5s}
podTemplate:
  metadata:
    labels: {team: storage, example.com/tier: ""}
    annotations: {example.com/note: "any text, with\nlines"}
  spec:
    affinity:
      nodeAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: In, values: [ssd]}]}]
        preferredDuringSchedulingIgnoredDuringExecution:
        - {weight: 100, preference: {matchExpressions: [{key: a, operator: Exists}]}}
      podAffinity:
        preferredDuringSchedulingIgnoredDuringExecution:
        - {weight: 1, podAffinityTerm: {topologyKey: topology.kubernetes.io/zone, labelSelector: {matchLabels: {a: b}}}}
      podAntiAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
        - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {a: b}}}
    topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: DoNotSchedule
      minDomains: 3
      nodeAffinityPolicy: Honor
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      matchLabelKeys: [a]
      labelSelector: {matchLabels: {a: b}}
    nodeSelector: {kubernetes.io/os: linux}
    tolerations:
    - {key: dedicated, operator: Equal, value: etcd, effect: NoSchedule}
    - {operator: Exists, effect: NoExecute, tolerationSeconds: 30}
    - {key: plain}
    priorityClassName: system-cluster-critical
    schedulerName: my-scheduler
    serviceAccountName: etcd
    imagePullSecrets: [{name: registry}]
    imagePullPolicy: Always
    terminationGracePeriodSeconds: 60
    resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: 2, memory: 1Gi, ephemeral-storage: 1Gi}}
    env:
    - {name: GOMEMLIMIT, value: 900MiB}
    - {name: GOMAXPROCS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: k}}}
    - {name: EMPTY, value: ""}
    securityContext:
      runAsUser: 1000
      runAsGroup: 0
      fsGroup: 1000
      fsGroupChangePolicy: OnRootMismatch
      runAsNonRoot: true
      supplementalGroups: [1, 2]
      seccompProfile: {type: Localhost, localhostProfile: etcd.json}
      appArmorProfile: {type: RuntimeDefault}
      seLinuxOptions: {level: "s0:c123,c456"}
      sysctls: [{name: net.ipv4.tcp_keepalive_time, value: "60"}]
    volumes:
    - {name: certs, secret: {secretName: certs, defaultMode: 288, items: [{key: a, path: b}]}}
    - {name: settings, configMap: {name: settings}}
    - {name: scratch, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
    - {name: all, projected: {sources: [{secret: {name: a}}]}}
    - {name: shared, persistentVolumeClaim: {claimName: shared}}
    volumeMounts:
    - {name: certs, mountPath: /etc/certs, readOnly: true}
    - {name: scratch, mountPath: /scratch, subPath: a}
    - {name: shared, mountPath: /backup, mountPropagation: None}
`

func TestAccepted(t *testing.T) {
	accepted := map[string]string{
		"everything at once":     everything,
		"in memory":              "{size: 1, storage: {medium: Memory, size: 64Mi}, config: {unsafe-no-fsync: 'true'}}",
		"hibernated":             "size: 0",
		"size as a number":       "storage: {size: 1073741824}",
		"the largest volume":     "storage: {size: 64Ti}",
		"a prerelease":           "version: 3.7.0-rc.1",
		"experimental flags":     "{version: 3.5.33, config: {experimental-initial-corrupt-check: 'true', experimental-corrupt-check-time: 1h}}",
		"a gate of 3.7":          "{version: 3.7.3, config: {feature-gates: 'PriorityRequest=true,AllBeta=false'}}",
		"by revisions":           "config: {auto-compaction-mode: revision, auto-compaction-retention: '1000'}",
		"a local registry":       "repository: localhost:5000/etcd",
		"replaced soon":          "healing: {memberUnhealthyAfter: 30s}",
		"replaced late":          "healing: {memberUnhealthyAfter: 168h}",
		"replaced in Go's words": "healing: {memberUnhealthyAfter: 168h0m0s}",
		"replaced after seconds": "healing: {memberUnhealthyAfter: 604800s}",
		"growth in numbers":      "storage: {size: 1073741824, autoGrow: {limit: 2147483648}}",
	}
	for _, size := range []int{0, 1, 3, 5, 7, 9} {
		accepted[fmt.Sprint("size ", size)] = fmt.Sprint("size: ", size)
	}
	for name, spec := range accepted {
		t.Run(name, func(t *testing.T) {
			stored := object(t, newName(), spec)
			if err := create(t, stored); err != nil {
				t.Fatal(err)
			}
			// What was accepted must be readable as the Go type, or it would break every list of a controller.
			var typed v1alpha1.EtcdCluster
			if err := api().Get(t.Context(), client.ObjectKeyFromObject(stored), &typed); err != nil {
				t.Errorf("accepted, but not readable: %v", err)
			}
		})
	}
}

// TestEveryFieldIsUsed keeps `everything` complete.
func TestEveryFieldIsUsed(t *testing.T) {
	var spec v1alpha1.EtcdClusterSpec
	if err := yaml.UnmarshalStrict([]byte(everything), &spec); err != nil {
		t.Fatal(err)
	}
	for _, part := range []any{
		spec, spec.Storage, *spec.Storage.WAL, *spec.Storage.AutoGrow, spec.Storage.Retention, spec.Healing, spec.PodTemplate, spec.PodTemplate.Metadata,
		spec.PodTemplate.Spec, spec.Services.Client, spec.Security.TLS,
	} {
		value := reflect.ValueOf(part)
		for i := range value.NumField() {
			if field := value.Type().Field(i); value.Field(i).IsZero() && field.Name != "Backup" {
				t.Errorf("%s.%s is not used", value.Type().Name(), field.Name)
			}
		}
	}
}
