package render_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

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
		{"default", plain(), core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: founders}},
		{"sealed", plain(), core.ApplyMember{Member: "demo-0", Start: core.StartSealed, Retry: 7}},
		{"join", plain(), core.ApplyMember{Member: "demo-7", Start: core.StartJoin, InitialCluster: []string{"demo-1", "demo-7"}}},
		{"everything", everything(), core.ApplyMember{Member: "demo-1", Start: core.StartSealed}},
		{"version-3.5", version35(), core.ApplyMember{Member: "demo-0", Start: core.StartSealed, Stopped: true}},
		{"memory", memory(), core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: []string{"demo-0"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var text []byte
			for _, object := range append(test.cluster.Objects(), test.cluster.StatefulSet(test.member)) {
				text = append(append(text, "---\n"...), yamlOf(t, object)...)
			}
			path := filepath.Join("testdata", test.name+".yaml")
			if *update {
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(golden), string(text)); diff != "" {
				t.Errorf("not as in %s (run with -update if that is meant):\n%s", path, diff)
			}
		})
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

// plain is a cluster as the API server fills it in when nothing is asked for.
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
