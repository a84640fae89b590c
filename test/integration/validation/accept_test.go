//go:build integration

package validation

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
security:
  tls: {client: {mode: Required}, peer: {mode: Required}, certificates: {duration: 2160h, authorityDuration: 87600h, overlap: 1h}}
  auth: {mode: Disabled}
  networkPolicy: {mode: Disabled, clients: [{podSelector: {}}], metrics: [{podSelector: {}}]}
podTemplate: {metadata: {}, spec: {imagePullPolicy: IfNotPresent, terminationGracePeriodSeconds: 30}}
deletionProtection: Disabled
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
		"an empty policy":        "security: {networkPolicy: {}}",
		"lists that are null":    "security: {networkPolicy: {clients: null, metrics: null}}",
		"no authentication":      "security: {auth: {}}",
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

// TestNobodyMayConnect: an empty list is not the default, also not after a program in Go has read and written it.
func TestNobodyMayConnect(t *testing.T) {
	cluster := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: newName()}}
	cluster.Spec.Security.NetworkPolicy.Clients = []v1alpha1.NetworkPeer{}
	if err := api().Create(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api().Delete(context.Background(), cluster) })
	for range 2 {
		stored := object(t, cluster.Name, "{}")
		if err := api().Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
			t.Fatal(err)
		}
		clients, _, _ := unstructured.NestedSlice(stored.Object, "spec", "security", "networkPolicy", "clients")
		metrics, _, _ := unstructured.NestedSlice(stored.Object, "spec", "security", "networkPolicy", "metrics")
		if clients == nil || len(clients) > 0 || len(metrics) != 1 {
			t.Errorf("clients are %v, readers of metrics %v", clients, metrics)
		}
		cluster.Spec.Paused = true
		if err := api().Update(t.Context(), cluster); err != nil {
			t.Fatal(err)
		}
	}
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
deletionProtection: Enabled
storage:
  medium: Disk
  size: 20Gi
  storageClassName: fast.example.com
  wal: {size: 4Gi, storageClassName: faster}
  autoGrow: {limit: 100Gi, thresholdPercent: 90}
  retention: {whenDeleted: Delete, whenScaled: Retain}
security:
  tls:
    client: {mode: Permissive, dnsNames: [etcd.example.com, "*.example.com", localhost], ipAddresses: [192.0.2.7, "2001:db8::1"], source: {certManager: {issuerRef: {name: team, kind: ClusterIssuer, group: cert-manager.io}}}}
    peer: {mode: Required, source: {secrets: {member: {name: given}}}}
    certificates: {duration: 10m, authorityDuration: 1h, overlap: 10m}
  auth:
    mode: Enabled
    rootSecret: {name: root-password}
    roles:
    - name: app
      permissions:
      - {access: ReadWrite, prefix: /app/}
      - {access: Read, prefix: ""}
      - {access: Write, key: /lock}
      - {access: Read, range: {start: a, end: b}}
      - {access: Read, range: {start: z}}
    - {name: nothing}
    users:
    - {name: App_1@example.com, roles: [app, nothing], passwordSecret: {name: app, key: word}}
    - {name: web.example.com, roles: [app, root]}
  networkPolicy:
    mode: Enabled
    clients:
    - podSelector:
        matchLabels: {app: web, example.com/tier: ""}
        matchExpressions:
        - {key: example.com/track, operator: NotIn, values: [canary, ""]}
        - {key: team, operator: Exists}
      namespaceSelector: {}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.3.4/32]}
    - ipBlock: {cidr: "2001:db8::/32"}
    metrics:
    - anyone: {}
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
bootstrap: {backupRef: {name: yesterday}}
backup:
  store:
    s3:
      bucket: etcd-backups
      prefix: prod/eu
      endpoint: https://s3.example.com:9000
      region: eu-central-1
      pathStyle: true
      credentialsSecret: {name: s3}
      caSecret: {name: s3-ca}
      serverSideEncryption: aws:kms
      kmsKeyID: alias/etcd
  encryption: {recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p], identitySecret: {name: identity}}
  agent: {serviceAccountName: backup, repository: registry.example.com/etcd, resources: {limits: {memory: 1Gi}}, nodeSelector: {a: b}, tolerations: [{operator: Exists}]}
  schedule: 15 3 * * MON-FRI
  timeZone: Europe/Berlin
  suspend: true
  verification: {mode: Sampled, every: 10}
  retention: {keepLast: 3, keepWithin: 72h, keepDaily: 7, keepWeekly: 4, keepMonthly: 12}
  drill: {schedule: 30 4 * * SUN, timeZone: Europe/Berlin}
  continuous: {flushInterval: 1s, segmentSize: 64Mi, keepFor: 87600h, baseEvery: 10m}
`

func TestAccepted(t *testing.T) {
	accepted := map[string]string{
		"everything at once":              everything,
		"in memory":                       "{size: 1, storage: {medium: Memory, size: 64Mi}, config: {unsafe-no-fsync: 'true'}}",
		"hibernated":                      "size: 0",
		"size as a number":                "storage: {size: 1073741824}",
		"the largest volume":              "storage: {size: 64Ti}",
		"a prerelease":                    "version: 3.7.0-rc.1",
		"experimental flags":              "{version: 3.5.33, config: {experimental-initial-corrupt-check: 'true', experimental-corrupt-check-time: 1h}}",
		"a gate of 3.7":                   "{version: 3.7.3, config: {feature-gates: 'PriorityRequest=true,AllBeta=false'}}",
		"by revisions":                    "config: {auto-compaction-mode: revision, auto-compaction-retention: '1000'}",
		"a local registry":                "repository: localhost:5000/etcd",
		"replaced soon":                   "healing: {memberUnhealthyAfter: 30s}",
		"replaced late":                   "healing: {memberUnhealthyAfter: 168h}",
		"replaced in Go's words":          "healing: {memberUnhealthyAfter: 168h0m0s}",
		"replaced after seconds":          "healing: {memberUnhealthyAfter: 604800s}",
		"growth in numbers":               "storage: {size: 1073741824, autoGrow: {limit: 2147483648}}",
		"users before they are asked for": "security: {auth: {users: [{name: app, roles: [a]}], roles: [{name: a}]}}",
		"users while TLS begins":          "security: {tls: {client: {mode: Permissive}}, auth: {mode: Enabled, users: [{name: app}]}}",
		"users with passwords alone":      "security: {auth: {mode: Enabled, users: [{name: app, passwordSecret: {name: a}}]}}",
		"as much as there can be":         auth("roles: " + many(100, "{name: role-%d, permissions: "+many(100, "{access: ReadWrite, key: k%d}")+"}") + ", users: " + many(100, "{name: user-%d, roles: "+many(16, "role-%d")+"}")),
		"no time for clients":             "security: {tls: {certificates: {overlap: 0s}}}",
		"an issuer in few words":          "security: {tls: {peer: {source: {certManager: {issuerRef: {name: team.example.com}}}}}}",
		"an issuer of someone else's":     "security: {tls: {peer: {source: {certManager: {issuerRef: {name: a, kind: StepIssuer, group: certmanager.step.sm}}}}}}",
		"certificates of one's own":       "security: {tls: {client: {mode: Required, source: {secrets: {server: {name: a}, operator: {name: b}}}}}}",
		"nobody else":                     "security: {networkPolicy: {mode: Enabled, clients: [], metrics: []}}",
		"all addresses":                   "security: {networkPolicy: {mode: Enabled, clients: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}]}}",
		"backups at Google's":             "backup: {store: {gcs: {bucket: etcd, prefix: a/b, credentialsSecret: {name: a}, kmsKeyName: projects/a/locations/b/keyRings/c/cryptoKeys/d}}}",
		"backups at Microsoft's":          "backup: {store: {azure: {account: prod, container: etcd-backups, endpoint: 'http://azurite:10000/devstoreaccount1', credentialsSecret: {name: a}}}}",
		"backups by the hour":             "backup: {store: {volume: {claimName: a}}, schedule: '@hourly', timeZone: America/Argentina/Buenos_Aires}",
		"changes as by default":           "backup: {store: {volume: {claimName: a}}, continuous: {}}",
		"changes in other words":          "backup: {store: {volume: {claimName: a}}, continuous: {flushInterval: 5m, segmentSize: 1048576, keepFor: 1h0m0s, baseEvery: 720h}}",
		"an empty selector":               "security: {networkPolicy: {mode: Enabled, clients: [{podSelector: {matchLabels: {}, matchExpressions: []}}]}}",
		"a lone namespace":                "security: {networkPolicy: {mode: Enabled, metrics: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]}}",
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

// TestOtherKindsAccepted: EtcdBackups and EtcdRestores as people make them, and what changes of them later.
func TestOtherKindsAccepted(t *testing.T) {
	agent := `agent: {serviceAccountName: backup.prod, repository: 'localhost:5000/etcd', resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {memory: 1Gi, ephemeral-storage: 8Gi}}, ` +
		`nodeSelector: {kubernetes.io/os: linux, disk: ""}, tolerations: [{operator: Exists}, {key: a, value: b, effect: NoExecute, tolerationSeconds: 5}]}`
	for name, test := range map[string]struct {
		kind, spec string
		// status is what it has become when it is changed to the last spec; empty without a change.
		status, changed string
	}{
		"a backup in few words":               {kind: "EtcdBackup", spec: backupOf("")},
		"a backup with all that there is":     {kind: "EtcdBackup", spec: backupOf("store: {s3: {bucket: a.b-c, endpoint: 'https://[2001:db8::1]:9000/base', serverSideEncryption: 'aws:kms', kmsKeyID: 'arn:aws:kms:eu-central-1:1:key/a', caSecret: {name: a.b-c}}}, encryption: {recipients: [" + key + "], identitySecret: {name: a}}, verification: Never, deletionPolicy: Retain, " + agent)},
		"a backup that is there":              {kind: "EtcdBackup", spec: at(path)},
		"a backup at Google's":                {kind: "EtcdBackup", spec: inStore("gcs: {bucket: a_b.example.com, kmsKeyName: projects/a/locations/b/keyRings/c/cryptoKeys/d}")},
		"a backup that gets a key to read it": {kind: "EtcdBackup", spec: backupOf("encryption: {recipients: [" + key + "]}"), status: "phase: Completed", changed: backupOf("encryption: {recipients: [" + key + "], identitySecret: {name: a}}")},
		"a backup that is to stay":            {kind: "EtcdBackup", spec: backupOf(""), status: "phase: Completed", changed: backupOf("deletionPolicy: Retain, verification: Never")},
		"a restore in few words":              {kind: "EtcdRestore", spec: restoreOf("")},
		"a restore with all that there is":    {kind: "EtcdRestore", spec: restoreOf("pointInTime: '2026-03-01T10:15:30.500000+02:00', bumpRevision: 0, safetyBackup: Skip, completion: Manual, " + agent)},
		"a restore to a revision":             {kind: "EtcdRestore", spec: restoreOf("revision: 1000000000000000, bumpRevision: 1000000000000")},
		"a restore that is confirmed":         {kind: "EtcdRestore", spec: restoreOf("completion: Manual"), status: "phase: Restored", changed: restoreOf("completion: Confirm")},
		"a restore that is rolled back":       {kind: "EtcdRestore", spec: restoreOf(""), status: "phase: Filling", changed: restoreOf("completion: RollBack")},
		"a restore that was confirmed":        {kind: "EtcdRestore", spec: restoreOf("completion: Manual"), status: "phase: Completed", changed: restoreOf("completion: Confirm")},
		"a restore that is applied again":     {kind: "EtcdRestore", spec: restoreOf("completion: Manual"), status: "phase: RolledBack", changed: restoreOf("completion: Automatic")},
		"a restore whose agents go elsewhere": {kind: "EtcdRestore", spec: restoreOf(""), status: "phase: Filling", changed: restoreOf("agent: {nodeSelector: {a: b}}")},
	} {
		t.Run(name, func(t *testing.T) {
			stored := objectOf(t, test.kind, newName(), test.spec)
			if err := create(t, stored); err != nil {
				t.Fatal(err)
			}
			var typed client.Object = &v1alpha1.EtcdBackup{}
			if test.kind == "EtcdRestore" {
				typed = &v1alpha1.EtcdRestore{}
			}
			if err := api().Get(t.Context(), client.ObjectKeyFromObject(stored), typed); err != nil {
				t.Errorf("accepted, but not readable: %v", err)
			}
			if test.changed == "" {
				return
			}
			stored.Object["status"] = fields(t, test.status)
			if err := api().Status().Update(t.Context(), stored); err != nil {
				t.Fatal(err)
			}
			if err := tryUpdate(t, stored, fields(t, test.changed)); err != nil {
				t.Errorf("the change is refused: %v", err)
			}
		})
	}
}

// TestStatusOfARestore: what has become of a restore can be written, whatever its completion says.
func TestStatusOfARestore(t *testing.T) {
	stored := objectOf(t, "EtcdRestore", newName(), restoreOf("completion: Manual"))
	if err := create(t, stored); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ spec, status string }{
		{restoreOf("completion: Manual"), "phase: Restored"},
		{restoreOf("completion: Confirm"), "phase: Confirming"},
		{restoreOf("completion: Confirm"), "phase: Completed"},
		{restoreOf("completion: RollBack"), ""},
	} {
		stored.Object["spec"] = fields(t, step.spec)
		err := api().Update(t.Context(), stored)
		if step.status == "" {
			if err == nil {
				t.Error("what is given up is rolled back")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		stored.Object["status"] = fields(t, step.status)
		if err := api().Status().Update(t.Context(), stored); err != nil {
			t.Fatalf("%s: %v", step.status, err)
		}
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
		spec.PodTemplate.Spec, spec.Services.Client, spec.Security, spec.Security.TLS, spec.Security.TLS.Client, spec.Security.TLS.Peer, spec.Security.TLS.Certificates, spec.Security.Auth, spec.Security.Auth.Users[0],
		spec.Security.Auth.Roles[0], spec.Security.NetworkPolicy, *spec.Security.NetworkPolicy.Clients[0].PodSelector,
		spec.Security.NetworkPolicy.Clients[0].PodSelector.MatchExpressions[0], *spec.Security.NetworkPolicy.Clients[1].IPBlock,
		*spec.Backup, spec.Backup.Store, *spec.Backup.Store.S3, *spec.Backup.Encryption, *spec.Backup.Agent, spec.Backup.Verification, spec.Backup.Retention,
		*spec.Backup.Continuous,
	} {
		value := reflect.ValueOf(part)
		for i := range value.NumField() {
			if field := value.Type().Field(i); value.Field(i).IsZero() && !slices.Contains([]string{"GCS", "Azure", "Volume"}, field.Name) {
				t.Errorf("%s.%s is not used", value.Type().Name(), field.Name)
			}
		}
	}
}
