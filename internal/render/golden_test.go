package render_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden shows all objects of a cluster as they are sent to the API server.
func TestGolden(t *testing.T) {
	founders := []string{"demo-0", "demo-1", "demo-2"}
	for _, test := range []struct {
		name    string
		cluster render.Cluster
		member  core.ApplyMember
	}{
		{"plain", plain(), core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: founders}},
		{"sealed", plain(), core.ApplyMember{Member: "demo-0", Start: core.StartSealed, Retry: 7}},
		{"join", plain(), core.ApplyMember{Member: "demo-7", Start: core.StartJoin, InitialCluster: []string{"demo-1", "demo-7"}}},
		{"everything", everything(), core.ApplyMember{Member: "demo-1", Start: core.StartSealed}},
		{"version-3.5", version35(), core.ApplyMember{Member: "demo-0", Start: core.StartSealed, Stopped: true}},
		{"default", tls(), core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: founders}},
		{"tls-on-its-way", tlsOnItsWay(), core.ApplyMember{Member: "demo-3", Start: core.StartJoin, InitialCluster: []string{"demo-0", "demo-3"}}},
		{"memory", memory(), core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: []string{"demo-0"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var text []byte
			for _, object := range append(test.cluster.Objects(), test.cluster.StatefulSet(test.member)) {
				text = append(append(text, "---\n"...), yamlOf(t, object)...)
			}
			golden(t, test.name, text)
		})
	}
}

// golden compares with what is kept under a name.
func golden(t *testing.T, name string, text []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("not as in %s (run with -update if that is meant):\n%s", path, diff)
	}
}

// TestGoldenArchiver shows the Deployment of an archiver: of a cluster that asks for nothing else, and of one that sets all.
func TestGoldenArchiver(t *testing.T) {
	for name, c := range map[string]render.Cluster{"archiver": archived(tls(), v1alpha1.AgentSpec{}), "archiver-everything": archived(everything(), v1alpha1.AgentSpec{
		ServiceAccountName: "backup", NodeSelector: map[string]v1alpha1.LabelValue{"pool": "backup"},
		Resources: &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")}},
	})} {
		deployment, err := c.Archiver(render.Agents{Image: "etcd-operator:1", Version: "1"})
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, yamlOf(t, deployment))
	}
}

// archived is a cluster of three members, one of them a learner, whose changes are stored.
func archived(c render.Cluster, agent v1alpha1.AgentSpec) render.Cluster {
	seconds := func(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Second} }
	c.Spec.Backup = &v1alpha1.BackupSpec{
		Store: v1alpha1.BackupStore{S3: &v1alpha1.S3Store{
			Bucket: "etcd", Region: "us-east-1", CredentialsSecret: &v1alpha1.SecretName{Name: "s3"}, CASecret: &v1alpha1.SecretName{Name: "s3-ca"},
		}},
		Encryption: &v1alpha1.BackupEncryption{Recipients: []string{"age1"}, IdentitySecret: &v1alpha1.SecretName{Name: "identity"}},
		Agent:      &agent,
		Continuous: &v1alpha1.ContinuousBackup{FlushInterval: seconds(5), SegmentSize: quantity("8Mi"), KeepFor: seconds(604800), BaseEvery: seconds(86400)},
	}
	c.Status.ClusterID = "cdf8"
	c.Status.Members = []v1alpha1.MemberStatus{{Name: "demo-2", Role: core.RoleLeader}, {Name: "demo-0", Role: core.RoleVoter}, {Name: "demo-3", Role: core.RoleLearner}}
	return c
}

// An archiver runs only where there is something that will stay the same to follow.
func TestArchives(t *testing.T) {
	now := metav1.Now()
	for name, change := range map[string]func(*v1alpha1.EtcdCluster){
		"not asked for": func(c *v1alpha1.EtcdCluster) { c.Spec.Backup.Continuous = nil },
		"no backups":    func(c *v1alpha1.EtcdCluster) { c.Spec.Backup = nil },
		"not founded":   func(c *v1alpha1.EtcdCluster) { c.Status.ClusterID = "" },
		"hibernates":    func(c *v1alpha1.EtcdCluster) { c.Spec.Size = new(int32(0)) },
		"is deleted":    func(c *v1alpha1.EtcdCluster) { c.DeletionTimestamp = &now },
		"is restored":   func(c *v1alpha1.EtcdCluster) { c.Annotations = map[string]string{render.AnnotationRestore: "undo"} },
	} {
		c := archived(plain(), v1alpha1.AgentSpec{})
		if !c.Archives() {
			t.Fatal("it is not archived although it could be")
		}
		if change(c.EtcdCluster); c.Archives() {
			t.Errorf("%s: it is archived", name)
		}
	}
}

func yamlOf(t *testing.T, object client.Object) []byte {
	t.Helper()
	applied, err := render.Applied(object)
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(applied.Object)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// plain is a cluster as the API server fills it in when nothing is asked for but that TLS is off.
func plain() render.Cluster {
	cluster := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo", UID: "uid-1"}}
	cluster.Spec = v1alpha1.EtcdClusterSpec{
		Size: new(int32(3)), Version: "3.6.16", Repository: "gcr.io/etcd-development/etcd",
		Storage: v1alpha1.StorageSpec{
			Medium: v1alpha1.StorageMediumDisk, Size: quantity("10Gi"),
			Retention: v1alpha1.RetentionSpec{WhenDeleted: v1alpha1.RetentionRetain, WhenScaled: v1alpha1.RetentionDelete},
		},
	}
	cluster.Spec.Services.Client.Type = corev1.ServiceTypeClusterIP
	cluster.Status.BootstrapMembers = []string{"demo-0", "demo-1", "demo-2"}
	return render.Cluster{EtcdCluster: cluster, Domain: "cluster.local", Voters: 3}
}

func version35() render.Cluster {
	c := plain()
	c.Spec.Version = "3.5.30"
	c.Spec.Config = map[string]v1alpha1.ConfigValue{"experimental-initial-corrupt-check": "false", "snapshot-count": "5000"}
	return c
}

// tls is a cluster as the API server fills it in when nothing is asked for, with whom its members trust.
func tls() render.Cluster {
	c := plain()
	c.Spec.Security.TLS.Client.Mode, c.Spec.Security.TLS.Peer.Mode = v1alpha1.ClientTLSRequired, v1alpha1.PeerTLSRequired
	c.Trust = map[core.PlaneName]string{core.PlaneClient: "those of the clients", core.PlanePeer: "those of the peers"}
	return c
}

// tlsOnItsWay is a cluster of 3.5 that is on its way to TLS: one member is listed at its new URL already.
func tlsOnItsWay() render.Cluster {
	c := tls()
	c.Spec.Version, c.Spec.Security.TLS.Client.Mode = "3.5.33", v1alpha1.ClientTLSPermissive
	c.PeersBoth = true
	c.PeerURLs = map[string]string{"demo-0": "https://demo-0-0.demo-peer.default.svc.cluster.local:2380"}
	return c
}

func memory() render.Cluster {
	c := plain()
	c.Spec.Size, c.Voters = new(int32(1)), 1
	c.Spec.Storage = v1alpha1.StorageSpec{Medium: v1alpha1.StorageMediumMemory, Size: quantity("256Mi")}
	c.Spec.Config = map[string]v1alpha1.ConfigValue{"unsafe-no-fsync": "true"}
	return c
}

// everything is a cluster that sets whatever can be set.
func everything() render.Cluster {
	c := plain()
	c.Spec.Storage.StorageClassName = new("fast")
	c.Spec.Storage.WAL = &v1alpha1.WALStorage{Size: quantity("2Gi"), StorageClassName: new("faster")}
	c.Spec.Storage.Retention.WhenDeleted = v1alpha1.RetentionDelete
	c.Spec.Config = map[string]v1alpha1.ConfigValue{
		"feature-gates": "StopGRPCServiceOnDefrag=true", "quota-backend-bytes": "1073741824", "log-level": "warn",
	}
	c.Spec.Services.Client = v1alpha1.ClientService{
		Type: corev1.ServiceTypeNodePort, Annotations: map[string]v1alpha1.AnnotationValue{"example.com/balance": "internal"},
	}
	c.Operator = render.Operator{Namespace: "etcd-operator-system", Labels: map[string]string{"app.kubernetes.io/component": "manager"}}
	c.Spec.Security.NetworkPolicy = v1alpha1.NetworkPolicySpec{
		Mode: v1alpha1.NetworkPolicyEnabled,
		Clients: []v1alpha1.NetworkPeer{
			{PodSelector: &v1alpha1.LabelSelector{}},
			{
				NamespaceSelector: &v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "storage"}},
				PodSelector: &v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{
					{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []v1alpha1.LabelValue{"a", "b"}},
				}},
			},
			{IPBlock: &v1alpha1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.128/25"}}},
		},
		Metrics: []v1alpha1.NetworkPeer{{Anyone: &v1alpha1.Anyone{}}},
	}
	c.Spec.PodTemplate = v1alpha1.PodTemplate{
		Metadata: v1alpha1.PodMetadata{
			Labels:      map[string]v1alpha1.LabelValue{"team": "storage"},
			Annotations: map[string]v1alpha1.AnnotationValue{"example.com/note": "keep"},
		},
		Spec: v1alpha1.PodSpec{
			Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"nvme"}}},
				}}},
			}},
			TopologySpreadConstraints: []corev1.TopologySpreadConstraint{
				{MaxSkew: 1, TopologyKey: "rack", WhenUnsatisfiable: corev1.DoNotSchedule},
				{
					MaxSkew: 2, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.ScheduleAnyway,
					LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "storage"}},
				},
			},
			NodeSelector:                  map[string]v1alpha1.LabelValue{"pool": "etcd"},
			Tolerations:                   []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: "etcd", Effect: corev1.TaintEffectNoSchedule}},
			PriorityClassName:             "system-cluster-critical",
			SchedulerName:                 "my-scheduler",
			ServiceAccountName:            "etcd",
			ImagePullSecrets:              []corev1.LocalObjectReference{{Name: "registry"}},
			ImagePullPolicy:               corev1.PullAlways,
			TerminationGracePeriodSeconds: new(int64(60)),
			Resources: &corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("4Gi")},
			},
			Env:             []corev1.EnvVar{{Name: "GOGC", Value: "80"}, {Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}},
			SecurityContext: &corev1.PodSecurityContext{RunAsUser: new(int64(1000)), SupplementalGroups: []int64{2000}},
			Volumes: []v1alpha1.Volume{
				{Name: "scratch", EmptyDir: &corev1.EmptyDirVolumeSource{}},
				{Name: "extra", ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "extra"}}},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}, {Name: "extra", MountPath: "/extra", ReadOnly: true}},
		},
	}
	return c
}

func quantity(text string) *resource.Quantity { return new(resource.MustParse(text)) }
