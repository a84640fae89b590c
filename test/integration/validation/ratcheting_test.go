//go:build integration

package validation

import (
	"context"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// stale is what today's rules refuse in several places.
const stale = `
size: 3
version: 3.7.3
config:
  experimental-corrupt-check-time: 1h
  removed-flag: x
  unsafe-no-fsync: "true"
  quota-backend-bytes: "99999999999"
podTemplate: {metadata: {labels: {a b: x}}, spec: {env: [{name: ETCD_NAME, value: x}]}}
storage: {storageClassName: Fast}
`

// TestStaleObject: an object that was stored before a rule came is not locked by it.
func TestStaleObject(t *testing.T) {
	stored := object(t, strings.Repeat("a", 45), stale)
	stored.SetFinalizers([]string{"etcd.etcd.io/test"})
	installDefinition(t, true)
	err := create(t, stored)
	installDefinition(t, false)
	if err != nil {
		t.Fatal(err)
	}
	change := func(name string, fields ...string) {
		t.Run(name, func(t *testing.T) {
			var value any = true
			if len(fields) > 1 && fields[1] == "size" {
				value = int64(5)
			}
			if err := unstructured.SetNestedField(stored.Object, value, fields...); err != nil {
				t.Fatal(err)
			}
			if err := api().Update(t.Context(), stored); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
	change("an unrelated field", "spec", "paused")
	change("scaling", "spec", "size")
	t.Run("the status", func(t *testing.T) {
		stored.Object["status"] = map[string]any{"ready": "3/3"}
		if err := api().Status().Update(t.Context(), stored); err != nil {
			t.Errorf("refused: %v", err)
		}
	})
	t.Run("a new fault is still refused", func(t *testing.T) {
		changed := stored.DeepCopy()
		changed.Object["spec"].(map[string]any)["size"] = int64(4)
		if err := api().Update(t.Context(), changed, client.DryRunAll); err == nil {
			t.Error("accepted")
		}
	})
	stored.SetFinalizers(nil)
	if err := api().Update(t.Context(), stored); err != nil {
		t.Errorf("the finalizer cannot be removed: %v", err)
	}
}

// installDefinition puts the definition of the repository in place, or one without any rule, and waits until
// the API server uses it.
func installDefinition(t *testing.T, bare bool) {
	t.Helper()
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(readFile(t, definitionPath), &definition); err != nil {
		t.Fatal(err)
	}
	if bare {
		removeRules(definition.Spec.Versions[0].Schema.OpenAPIV3Schema)
	}
	content, err := yaml.Marshal(definition)
	if err != nil {
		t.Fatal(err)
	}
	applied := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(content, applied); err != nil {
		t.Fatal(err)
	}
	unstructured.RemoveNestedField(applied.Object, "status")
	unstructured.RemoveNestedField(applied.Object, "metadata", "creationTimestamp")
	if err := api().Patch(t.Context(), applied, client.Apply, client.ForceOwnership, client.FieldOwner("test")); err != nil { //nolint:staticcheck // The typed way needs generated code.
		t.Fatal(err)
	}
	probe := newName()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) {
		accepted := tryCreate(t, object(t, probe, stale)) == nil
		return accepted == bare, nil
	})
	if err != nil {
		t.Fatalf("the definition does not take effect: %v", err)
	}
}

func removeRules(schema *apiextensionsv1.JSONSchemaProps) {
	schema.XValidations = nil
	for name, property := range schema.Properties {
		removeRules(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		removeRules(schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		removeRules(schema.AdditionalProperties.Schema)
	}
}
