package observe_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
)

// review is what there is to say of a change of the cluster; nil means that it is made as it is.
func (s *situation) review(t *testing.T, change func(*v1alpha1.EtcdClusterSpec)) *observe.Review {
	t.Helper()
	reader := s.client(t)
	o := observe.Observer{Cache: reader, Live: reader, Domain: "cluster.local", Now: now.Local}
	if change == nil {
		return o.Review(context.Background(), nil, s.cluster)
	}
	wanted := s.cluster.DeepCopy()
	change(&wanted.Spec)
	return o.Review(context.Background(), s.cluster, wanted)
}

func messages(problems []core.Problem) (texts []string) {
	for _, problem := range problems {
		texts = append(texts, problem.Message)
	}
	return texts
}

func (s *situation) recorded(versions ...string) *situation {
	names := []string{"demo-0", "demo-1", "demo-2"}
	for i, version := range versions {
		s.cluster.Status.Members = append(s.cluster.Status.Members, v1alpha1.MemberStatus{Name: names[i], Version: version, DBSize: new(resource.MustParse("1Gi"))})
	}
	s.cluster.Status.Leader = "demo-0"
	return s
}

// TestRefusals: what a cluster can never become is refused, by what its own status says.
func TestRefusals(t *testing.T) {
	version := func(version string) func(*v1alpha1.EtcdClusterSpec) {
		return func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = version }
	}
	small := func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Size = new(resource.MustParse("1280Mi")) }
	for name, test := range map[string]struct {
		runs   []string
		change func(*v1alpha1.EtcdClusterSpec)
		want   string
	}{
		"the next minor":                  {[]string{"3.6.16"}, version("3.7.3"), ""},
		"two minors, by way of the one":   {[]string{"3.5.20"}, version("3.7.3"), ""},
		"amid an upgrade, back":           {[]string{"3.7.3", "3.6.16"}, version("3.6.16"), ""},
		"back by two minors":              {[]string{"3.7.3"}, version("3.5.33"), ""},
		"an older patch":                  {[]string{"3.6.16"}, version("3.6.12"), ""},
		"of members that nobody has seen": {nil, version("3.5.11"), ""},
		"back too far":                    {[]string{"3.6.16"}, version("3.5.11"), "spec.version is 3.5.11 but a member runs 3.6.16, from which etcd goes back to 3.5.26 or a later 3.5 only; set it to one of these"},
		"back too far, by way of another": {[]string{"3.7.3"}, version("3.5.11"), "spec.version is 3.5.11 but a member runs 3.7.3, from which etcd goes back to 3.5.26 or a later 3.5 only; set it to one of these"},
		"back too far, amid an upgrade":   {[]string{"3.6.16", "3.7.3"}, version("3.6.2"), "spec.version is 3.6.2 but a member runs 3.7.3, from which etcd goes back to 3.6.11 or a later 3.6 only; set it to one of these"},
		"from one that nobody knows":      {[]string{"3.9.0"}, version("3.7.3"), ""},
		"from one that is none":           {[]string{"three"}, version("3.7.3"), `a member runs version "three", which is not one that the operator knows`},
		"a way that nobody knows":         {[]string{"3.10.0"}, version("3.7.3"), ""},
		"another major":                   {[]string{"4.0.0"}, version("3.7.3"), "spec.version is 3.7.3 but members run 4.0.0: the major version cannot change"},
		"volumes that the data fits in":   {[]string{"3.6.16"}, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Size = new(resource.MustParse("2Gi")) }, ""},
		"volumes that the data has left":  {[]string{"3.6.16"}, small, "spec.storage.size asks for volumes of 1280 MiB, but the database of member demo-0 has 1024 MiB: volumes need one and a half times that, for log and snapshots; ask for more, or compact and defragment first"},
		"drills by no schedule": {nil, func(spec *v1alpha1.EtcdClusterSpec) {
			spec.Backup = &v1alpha1.BackupSpec{Drill: &v1alpha1.BackupDrill{Schedule: "@daily", TimeZone: "Mars"}}
		}, `spec.backup.drill.timeZone is "Mars", which is no time zone: use a name such as Europe/Berlin`},
		"drills in memory": {nil, func(spec *v1alpha1.EtcdClusterSpec) {
			spec.Storage.Medium, spec.Backup = v1alpha1.StorageMediumMemory, &v1alpha1.BackupSpec{Drill: &v1alpha1.BackupDrill{Schedule: "@daily"}}
		}, "spec.backup.drill needs spec.storage.medium Disk, not Memory: the data of a backup is put on volumes before members start; remove it"},
		"backups by no schedule": {nil, func(spec *v1alpha1.EtcdClusterSpec) {
			spec.Backup = &v1alpha1.BackupSpec{Schedule: "@daily", TimeZone: "Mars"}
		}, `spec.backup.timeZone is "Mars", which is no time zone: use a name such as Europe/Berlin`},
		"what was wrong before, unchanged": {[]string{"4.0.0"}, func(spec *v1alpha1.EtcdClusterSpec) { spec.Paused = true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(class("fast", true)).recorded(test.runs...)
			s.cluster.Spec.Storage.Size = new(resource.MustParse("4Gi"))
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			r := s.add(s.claim("demo-0")).review(t, test.change)
			if got := messages(r.Refused); r.Err() != nil || !slices.Equal(got, want) {
				t.Errorf("got  %q (%v)\nwant %q", got, r.Err(), want)
			}
		})
	}
}

// TestWarnings: other objects come and go, so that nothing is refused because of them.
func TestWarnings(t *testing.T) {
	secret := func(name string, keys ...string) client.Object {
		object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string][]byte{}}
		for _, key := range keys {
			object.Data[key] = []byte("x")
		}
		return object
	}
	from := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	growing := class("fast", true)
	growing.AllowVolumeExpansion = new(true)
	for name, test := range map[string]struct {
		objects []client.Object
		// create is whether the cluster is made so; otherwise it is changed.
		create bool
		change func(*v1alpha1.EtcdClusterSpec)
		want   []string
	}{
		"nothing to say": {[]client.Object{class("fast", true)}, true, func(*v1alpha1.EtcdClusterSpec) {}, nil},
		"classes that do not exist": {[]client.Object{class("fast", true)}, true, func(spec *v1alpha1.EtcdClusterSpec) {
			spec.Storage.StorageClassName, spec.Storage.WAL = new("fsat"), &v1alpha1.WALStorage{StorageClassName: new("lgo")}
		}, []string{
			"StorageClass fsat does not exist: make it, or set spec.storage.storageClassName to one of: fast",
			"StorageClass lgo does not exist: make it, or set spec.storage.wal.storageClassName to one of: fast",
		}},
		"no default class":  {nil, true, func(*v1alpha1.EtcdClusterSpec) {}, []string{"there is no default StorageClass: set spec.storage.storageClassName to one of: (there are none)"}},
		"memory needs none": {nil, true, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Medium = v1alpha1.StorageMediumMemory }, nil},
		"volumes that cannot grow": {[]client.Object{class("fast", true)}, false, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Size = new(resource.MustParse("2Gi")) }, []string{
			"2 members are exchanged one by one, demo-1 first: claim data-demo-0-0 has 1Gi, 2Gi is asked for, and its StorageClass fast does not let it grow",
		}},
		"volumes that can": {[]client.Object{growing}, false, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Size = new(resource.MustParse("2Gi")) }, nil},
		"volumes of another class": {[]client.Object{class("fast", true), class("slow", false)}, false, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.StorageClassName = new("slow") }, []string{
			"2 members are exchanged one by one, demo-1 first: claim data-demo-0-0 is of StorageClass fast and slow is asked for",
		}},
		"what pods refer to": {[]client.Object{class("fast", true), secret("there", "a")}, true, func(spec *v1alpha1.EtcdClusterSpec) {
			pod := &spec.PodTemplate.Spec
			pod.Env = []corev1.EnvVar{
				{Name: "A", Value: "a"},
				{Name: "B", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: from("there"), Key: "a"}}},
				{Name: "C", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: from("there"), Key: "b"}}},
				{Name: "D", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: from("gone"), Key: "b"}}},
				{Name: "E", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: from("gone"), Key: "c"}}},
				{Name: "F", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: from("optional"), Key: "c", Optional: new(true)}}},
				{Name: "G", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: from("config"), Key: "c"}}},
			}
			pod.Volumes = []v1alpha1.Volume{
				{Name: "s", Secret: &corev1.SecretVolumeSource{SecretName: "gone"}},
				{Name: "c", ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: from("files")}},
				{Name: "e", EmptyDir: &corev1.EmptyDirVolumeSource{}},
				{Name: "p", Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{Secret: &corev1.SecretProjection{LocalObjectReference: from("there"), Items: []corev1.KeyToPath{{Key: "c"}}}},
					{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: from("parts")}},
				}}},
			}
		}, []string{
			"Secret there has no key b, which spec.podTemplate.spec.env names: add it",
			"Secret gone, which spec.podTemplate.spec.env names, does not exist: make it",
			"ConfigMap config, which spec.podTemplate.spec.env names, does not exist: make it",
			"Secret gone, which spec.podTemplate.spec.volumes names, does not exist: make it",
			"ConfigMap files, which spec.podTemplate.spec.volumes names, does not exist: make it",
			"Secret there has no key c, which spec.podTemplate.spec.volumes names: add it",
			"ConfigMap parts, which spec.podTemplate.spec.volumes names, does not exist: make it",
		}},
		"passwords": {[]client.Object{class("fast", true), secret("there", "password"), secret("other", "token")}, true, func(spec *v1alpha1.EtcdClusterSpec) {
			password := func(name string) *v1alpha1.AuthPasswordSecret {
				return &v1alpha1.AuthPasswordSecret{Name: name, Key: "password"}
			}
			spec.Security.Auth = v1alpha1.AuthSpec{Mode: v1alpha1.AuthEnabled, Users: []v1alpha1.AuthUser{
				{Name: "a", PasswordSecret: password("there")}, {Name: "b", PasswordSecret: password("gone")}, {Name: "c", PasswordSecret: password("other")}, {Name: "d"},
			}}
		}, []string{
			"the password of user b is missing: Secret gone does not exist",
			"the password of user c is missing: Secret other has no password of 1 to 72 bytes under the key password",
		}},
		"certificates": {[]client.Object{class("fast", true)}, true, func(spec *v1alpha1.EtcdClusterSpec) {
			spec.Security.TLS.Peer = v1alpha1.PeerTLS{Mode: v1alpha1.PeerTLSRequired, Source: &v1alpha1.PeerCertificateSource{Secrets: &v1alpha1.PeerCertificateSecrets{Member: v1alpha1.CertificateSecret{Name: "given"}}}}
		}, []string{"peer certificates: Secret given does not exist"}},
		"names that are taken": {[]client.Object{
			class("fast", true),
			&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-client"}},
		}, true, func(*v1alpha1.EtcdClusterSpec) {}, []string{"Service demo-client exists but does not belong to this cluster: delete or rename it, or choose another name for the cluster"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(test.objects...)
			change := test.change
			if test.create {
				test.change(&s.cluster.Spec)
				change = nil
			} else {
				s.recorded("3.6.16", "3.6.16")
				for _, member := range []string{"demo-0", "demo-1"} {
					claim := s.claim(member)
					claim.Spec.StorageClassName = new("fast")
					s.add(claim)
				}
			}
			r := s.review(t, change)
			if got := messages(r.Warnings); r.Err() != nil || len(r.Refused) > 0 || !slices.Equal(got, test.want) {
				t.Errorf("got  %q, refused %q (%v)\nwant %q", got, messages(r.Refused), r.Err(), test.want)
			}
		})
	}
}

// TestAReviewThatCannotRead refuses and warns of nothing that it does not know.
func TestAReviewThatCannotRead(t *testing.T) {
	broken := errors.New("the API server is away")
	for name, change := range map[string]func(*v1alpha1.EtcdClusterSpec){
		"at creation": nil,
		"at a change": func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Size = new(resource.MustParse("2Gi")) },
	} {
		s := newSituation().recorded("3.6.16")
		s.cluster.Spec.Security.Auth = v1alpha1.AuthSpec{Mode: v1alpha1.AuthEnabled, Users: []v1alpha1.AuthUser{{Name: "a", PasswordSecret: &v1alpha1.AuthPasswordSecret{Name: "gone", Key: "password"}}}}
		s.fail = interceptor.Funcs{
			Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return broken
			},
			List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return broken },
		}
		if r := s.review(t, change); !errors.Is(r.Err(), broken) || len(r.Refused) > 0 || len(r.Warnings) > 0 {
			t.Errorf("%s: refused %q, warned %q (%v)", name, messages(r.Refused), messages(r.Warnings), r.Err())
		}
	}
}

// TestAPodThatWaitsForWhatItNames: the condition says what the warning said.
func TestAPodThatWaitsForWhatItNames(t *testing.T) {
	const volume, variable = "Secret gone, which spec.podTemplate.spec.volumes names, does not exist: make it", "Secret lost, which spec.podTemplate.spec.env names, does not exist: make it"
	for name, test := range map[string]struct {
		status corev1.ContainerStatus
		volume string
		want   string
	}{
		"its volume":              {waiting("ContainerCreating", ""), "extra", "pod demo-0-0: " + volume},
		"a volume of ours":        {waiting("ContainerCreating", ""), "server-tls", ""},
		"its variable":            {waiting("CreateContainerConfigError", `secret "lost" not found`), "", "pod demo-0-0: " + variable},
		"what else is in the way": {waiting("ErrImagePull", "no"), "extra", "pod demo-0-0: image etcd:v3.6.16 cannot be pulled: no"},
	} {
		s := newSituation()
		s.cluster.Spec.PodTemplate.Spec.Volumes = []v1alpha1.Volume{{Name: "extra"}}
		pod := s.pod("demo-0")
		if test.volume != "" {
			pod.Spec.Volumes = []corev1.Volume{{Name: test.volume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "gone"}}}}
		} else {
			pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "lost"}, Key: "b"}}}}
		}
		setContainer(pod, test.status)
		if got := s.add(pod).member(t, "demo-0").Pod.Problem.Message; got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
