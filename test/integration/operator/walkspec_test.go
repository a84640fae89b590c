//go:build integration

package operator

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/environment"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/integration/specs"
)

// knobs are what changes are made to, from the definition.
func knobs(t *testing.T) []*specs.Node {
	t.Helper()
	root, err := specs.Load("../../../config/crd/bases/etcd.etcd.io_etcdclusters.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return root.Knobs()
}

// furnish makes what the specs of walks name.
func (s *scene) furnish() {
	s.Helper()
	wait, immediate := storagev1.VolumeBindingWaitForFirstConsumer, storagev1.VolumeBindingImmediate
	for _, class := range []*storagev1.StorageClass{
		{ObjectMeta: metav1.ObjectMeta{Name: specs.OtherClass}, VolumeBindingMode: &wait},
		{ObjectMeta: metav1.ObjectMeta{Name: specs.Shared}, VolumeBindingMode: &immediate},
	} {
		class.Provisioner = environment.Provisioner
		// The classes are not of a namespace: all walks have them together, and they end with the environment.
		if err := env.Client.Create(s.Context(), class); err != nil && !apierrors.IsAlreadyExists(err) {
			s.Fatal(err)
		}
	}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: s.namespace, Name: name} }
	for _, object := range []client.Object{
		&corev1.ConfigMap{ObjectMeta: meta(specs.Files), Data: map[string]string{"a": "text"}},
		&corev1.Secret{ObjectMeta: meta(specs.Files), StringData: map[string]string{"a": "text"}},
		&corev1.ServiceAccount{ObjectMeta: meta(specs.Account)},
		&corev1.PersistentVolumeClaim{ObjectMeta: meta(specs.Shared), Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To(specs.Shared), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}},
	} {
		s.create(object)
	}
}

// raw is the cluster as the API server has it.
func (s *scene) raw() *unstructured.Unstructured {
	s.Helper()
	cluster := &unstructured.Unstructured{}
	cluster.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("EtcdCluster"))
	s.get("demo", cluster)
	return cluster
}

func (s *scene) spec() map[string]any {
	s.Helper()
	return s.raw().Object["spec"].(map[string]any)
}

func (s *scene) specText() string {
	s.Helper()
	text, err := json.Marshal(s.spec())
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// turn sets a knob of the cluster, and returns the refusal if it is refused.
func (w *walk) turn(knob *specs.Node, value any) error {
	w.Helper()
	_, err := w.set(knob, value)
	if err != nil {
		w.refusals++
	}
	return err
}

// set sets a field of the cluster, or removes it. A refusal has to name the field and to touch nothing.
func (s *scene) set(knob *specs.Node, value any, options ...client.UpdateOption) (changed *unstructured.Unstructured, refusal error) {
	s.Helper()
	var before *unstructured.Unstructured
	s.eventually(knob.Path+" is set", patience, func() error {
		before = s.raw()
		changed = before.DeepCopy()
		knob.Set(changed.Object["spec"].(map[string]any), value)
		refusal = env.Client.Update(s.Context(), changed, append(options, client.FieldValidation("Strict"))...)
		if apierrors.IsInvalid(refusal) || apierrors.IsBadRequest(refusal) {
			return nil
		}
		return refusal // nil, or a conflict
	})
	if refusal == nil {
		return changed, nil
	}
	if !strings.Contains(refusal.Error(), knob.Path) {
		s.Errorf("%s cannot be %v, but the refusal does not name it: %v", knob.Path, value, refusal)
	}
	if after := s.raw(); after.GetGeneration() != before.GetGeneration() || !reflect.DeepEqual(before.Object["spec"], after.Object["spec"]) {
		s.Errorf("%s was refused to be %v, but changed the spec to %v", knob.Path, value, after.Object["spec"])
	}
	return nil, refusal
}

// makeable checks that Kubernetes takes the objects that a spec is made into.
func (s *scene) makeable(knob *specs.Node, value any, content *unstructured.Unstructured) {
	s.Helper()
	cluster := &v1alpha1.EtcdCluster{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content.Object, cluster); err != nil {
		s.Fatalf("%s is %v: %v", knob.Path, value, err)
	}
	rendered := render.Cluster{EtcdCluster: cluster, Domain: "cluster.local", Voters: 3}
	objects := rendered.Objects()
	for _, object := range append(objects, rendered.StatefulSet(core.ApplyMember{Member: "demo-0", Start: core.StartSealed})) {
		if err := env.Client.Create(s.Context(), object, client.DryRunAll, client.FieldValidation("Strict")); err != nil {
			s.Errorf("%s may be %v, but %T %s cannot be made: %v", knob.Path, value, object, object.GetName(), err)
		}
	}
}

// TestDrawnSpecs tries many values of each field: what the schema forbids is refused by the field's name, and of what is
// drawn from it something is accepted, for each field that a walk is to change. What is accepted can be made. The cluster has a
// NetworkPolicy, so that its peers are made into something.
func TestDrawnSpecs(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	cluster := s.demo(3, fixedQuota)
	cluster.Spec.Security.NetworkPolicy.Mode = v1alpha1.NetworkPolicyEnabled
	for _, name := range []string{"scratch", "files"} { // what mounts name
		cluster.Spec.PodTemplate.Spec.Volumes = append(cluster.Spec.PodTemplate.Spec.Volumes, v1alpha1.Volume{Name: name, EmptyDir: &corev1.EmptyDirVolumeSource{}})
	}
	s.create(cluster)
	r := rand.New(rand.NewPCG(1, 1))
	accepted, refused := 0, 0
	for _, knob := range knobs(t) {
		missing := map[string]bool{}
		for _, place := range knob.Drawn() {
			missing[place] = true
		}
		for tries := 0; tries < 6 || len(missing) > 0 && tries < 300; tries++ {
			wrong := knob.Wrong(r)
			if _, err := s.set(knob, wrong, client.DryRunAll); err == nil {
				t.Errorf("%s may be %v, which the schema forbids", knob.Path, wrong)
			}
			drawn, _ := knob.Draw(r)
			changed, err := s.set(knob, drawn.Value, client.DryRunAll)
			if err != nil {
				refused++
				continue
			}
			accepted++
			s.makeable(knob, drawn.Value, changed)
			for _, place := range knob.Places(drawn.Value) {
				delete(missing, place)
			}
		}
		for place := range missing {
			t.Errorf("%s was never accepted", place)
		}
	}
	t.Logf("%d drawn values were accepted, %d refused", accepted, refused)
}
