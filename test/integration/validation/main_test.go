//go:build integration

// Package validation checks the definitions against a real API server: what they fill in, what they accept and
// what they refuse, with which words.
package validation

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/environment"
)

const (
	root           = "../../.."
	definitionPath = root + "/config/crd/bases/etcd.etcd.io_etcdclusters.yaml"
	startLimit     = 2 * time.Minute
)

// server is the API server that all tests of the package share.
var server *environment.Environment

func TestMain(m *testing.M) {
	environment.Isolate()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	var err error
	server, err = environment.Start(ctx, environment.Options{
		CRDs: []string{"config/crd/bases"}, Scheme: scheme, APIServerOnly: true,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the API server:", err)
		return 1
	}
	defer func() {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the API server:", err)
			code = 1
		}
	}()
	return m.Run()
}

// object is an EtcdCluster of the default namespace with the given spec, written in YAML.
func object(t *testing.T, name, spec string) *unstructured.Unstructured {
	t.Helper()
	return objectOf(t, "EtcdCluster", name, spec)
}

// objectOf is an object of a kind, in the default namespace.
func objectOf(t *testing.T, kind, name, spec string) *unstructured.Unstructured {
	t.Helper()
	made := &unstructured.Unstructured{Object: map[string]any{"spec": fields(t, spec)}}
	made.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	made.SetNamespace("default")
	made.SetName(name)
	return made
}

// fields are what is written in YAML.
func fields(t *testing.T, text string) map[string]any {
	t.Helper()
	fields := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("the test's spec is not YAML: %v\n%s", err, text)
	}
	return fields
}

// create creates the cluster and deletes it when the test ends. Unknown fields are errors.
func create(t *testing.T, cluster *unstructured.Unstructured) error {
	t.Helper()
	err := api().Create(t.Context(), cluster, client.FieldValidation("Strict"))
	if err == nil {
		t.Cleanup(func() {
			if err := api().Delete(context.Background(), cluster); err != nil {
				t.Errorf("clean up: %v", err)
			}
		})
	}
	return err
}

// tryCreate asks the API server whether it would create the cluster.
func tryCreate(t *testing.T, cluster *unstructured.Unstructured) error {
	t.Helper()
	return api().Create(t.Context(), cluster, client.DryRunAll, client.FieldValidation("Strict"))
}

// tryUpdate asks the API server whether it would replace the spec of the stored cluster by another one.
func tryUpdate(t *testing.T, stored *unstructured.Unstructured, spec any) error {
	t.Helper()
	changed := stored.DeepCopy()
	changed.Object["spec"] = spec
	return api().Update(t.Context(), changed, client.DryRunAll, client.FieldValidation("Strict"))
}

// api reads and writes without a cache.
func api() client.Client { return server.Client }

var names atomic.Int64

// newName is a name that no other test has.
func newName() string { return fmt.Sprintf("test-%d", names.Add(1)) }

// readFile reads a file of the repository.
func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
