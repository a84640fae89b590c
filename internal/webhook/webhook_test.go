package webhook_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/webhook"
)

// TestAnswers: what is wrong with a spec is said to whoever changes it, and to nobody else.
func TestAnswers(t *testing.T) {
	const missing = "StorageClass nothing does not exist: make it, or set spec.storage.storageClassName to one of: (there are none)"
	const refused = "a member runs version \"three\", which is not one that the operator knows"
	cluster := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo", UID: "uid"}}
	cluster.Spec = spec()
	cluster.Spec.Storage.StorageClassName = new("nothing")
	cluster.Status.Members = []v1alpha1.MemberStatus{{Name: "demo-0", Version: "three"}}
	changed := func(change func(c *v1alpha1.EtcdCluster)) *v1alpha1.EtcdCluster {
		other := cluster.DeepCopy()
		change(other)
		return other
	}
	for name, test := range map[string]struct {
		before, wanted *v1alpha1.EtcdCluster
		warnings       []string
		refused        string
	}{
		"it is made":              {nil, cluster, []string{missing}, ""},
		"it is changed":           {cluster, changed(func(c *v1alpha1.EtcdCluster) { c.Spec.Paused = true }), []string{missing}, ""},
		"it is changed too far":   {cluster, changed(func(c *v1alpha1.EtcdCluster) { c.Spec.Version = "3.7.3" }), []string{missing}, refused},
		"it is applied once more": {cluster, cluster, nil, ""},
		"it has another label":    {cluster, changed(func(c *v1alpha1.EtcdCluster) { c.Labels = map[string]string{"a": "b"} }), nil, ""},
		"it is being deleted": {cluster, changed(func(c *v1alpha1.EtcdCluster) {
			c.DeletionTimestamp, c.Spec.Version = &metav1.Time{Time: time.Now()}, "3.7.3"
		}), nil, ""},
		"it is deleted, as by then": {cluster, nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer := handler(t, interceptor.Funcs{}).Handle(context.Background(), request(t, test.before, test.wanted))
			if !slices.Equal(answer.Warnings, test.warnings) || answer.Allowed != (test.refused == "") || answer.Result.Message != test.refused {
				t.Errorf("allowed %v %q, warnings %q", answer.Allowed, answer.Result.Message, answer.Warnings)
			}
		})
	}
}

// TestAnAPIServerThatIsSlow is not waited for: what cannot be looked at in time is let through.
func TestAnAPIServerThatIsSlow(t *testing.T) {
	cluster := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo"}}
	cluster.Spec = spec()
	hangs := interceptor.Funcs{
		Get: func(ctx context.Context, _ client.WithWatch, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			<-ctx.Done()
			return ctx.Err()
		},
		List: func(ctx context.Context, _ client.WithWatch, _ client.ObjectList, _ ...client.ListOption) error {
			<-ctx.Done()
			return ctx.Err()
		},
	}
	began := time.Now()
	answer := handler(t, hangs).Handle(context.Background(), request(t, nil, cluster))
	if took := time.Since(began); !answer.Allowed || len(answer.Warnings) > 0 || took > 4*time.Second {
		t.Errorf("after %v: allowed %v, warnings %q", took, answer.Allowed, answer.Warnings)
	}
}

// TestAFailureRefusesNothing, be it the webhook's own, or an object that it cannot read.
func TestAFailureRefusesNothing(t *testing.T) {
	broken := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo"}}
	strange := request(t, nil, broken)
	strange.Object.Raw = []byte(`{"spec":{"size":{"of":"another kind"}}}`)
	scale := strange
	scale.SubResource, scale.Object.Raw = "scale", []byte(`{"spec":{"replicas":"three"}}`)
	nowhere := scale
	nowhere.Object.Raw = []byte(`{"spec":{"replicas":3}}`)
	for name, request := range map[string]admission.Request{
		"a panic": request(t, nil, broken), "an object of a later version": strange, "a strange size": scale, "a size of a cluster that is gone": nowhere,
	} {
		if answer := handler(t, interceptor.Funcs{}).Handle(context.Background(), request); !answer.Allowed {
			t.Errorf("%s: %v", name, answer.Result)
		}
	}
}

func spec() v1alpha1.EtcdClusterSpec {
	return v1alpha1.EtcdClusterSpec{Size: new(int32(1)), Version: "3.6.16", Storage: v1alpha1.StorageSpec{Size: new(resource.MustParse("1Gi"))}}
}

// operator is the user of the operator.
const operator = "system:serviceaccount:operators:etcd-operator"

func handler(t *testing.T, funcs interceptor.Funcs) *admission.Webhook {
	t.Helper()
	return reviewer(t, funcs).Clusters()
}

// reviewer is a webhook in a Kubernetes with some objects.
func reviewer(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) webhook.Webhook {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
	return webhook.Webhook{Scheme: scheme, Observer: &observe.Observer{Cache: reader, Live: reader, Now: time.Now}, Operator: operator}
}

// request is what the API server asks when an object becomes another one. Somebody asks who is not the operator.
func request[T any](t *testing.T, before, wanted *T) admission.Request {
	t.Helper()
	raw := func(object *T) runtime.RawExtension {
		if object == nil {
			return runtime.RawExtension{}
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		return runtime.RawExtension{Raw: text}
	}
	operation := admissionv1.Update
	switch {
	case before == nil:
		operation = admissionv1.Create
	case wanted == nil:
		operation = admissionv1.Delete
	}
	asked := admissionv1.AdmissionRequest{Operation: operation, Object: raw(wanted), OldObject: raw(before)}
	asked.UserInfo.Username = "somebody"
	return admission.Request{AdmissionRequest: asked}
}
