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
	probe := func() bool { return tryCreate(t, object(t, newName(), stale)) == nil }
	installDefinition(t, removeRules, probe)
	err := create(t, stored)
	installDefinition(t, nil, func() bool { return !probe() })
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

// TestStoredModesOfTLS: TLS was off by default once. A cluster that was stored then stays as it is, with the mode that was filled in
// at that time, also when its manifest is applied again; one that is made now talks TLS.
func TestStoredModesOfTLS(t *testing.T) {
	off, on := [2]string{"Disabled", "Disabled"}, [2]string{"Required", "Required"}
	plain := func() bool { return modesOfTLS(t, dryRun(t)) == off }
	installDefinition(t, func(schema *apiextensionsv1.JSONSchemaProps) {
		for _, plane := range []string{"client", "peer"} {
			fields := schema.Properties["spec"].Properties["security"].Properties["tls"].Properties[plane].Properties
			mode := fields["mode"]
			mode.Default = &apiextensionsv1.JSON{Raw: []byte(`"Disabled"`)}
			fields["mode"] = mode
		}
	}, plain)
	manifest := object(t, newName(), "size: 3")
	apply := func() *unstructured.Unstructured {
		applied := manifest.DeepCopy()
		if err := api().Patch(t.Context(), applied, client.Apply, client.FieldOwner("somebody")); err != nil { //nolint:staticcheck // The typed way needs generated code.
			t.Fatal(err)
		}
		return applied
	}
	stored := apply()
	t.Cleanup(func() { _ = api().Delete(context.Background(), stored) })
	installDefinition(t, nil, func() bool { return !plain() })
	if err := api().Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
		t.Fatal(err)
	}
	for what, modes := range map[string]struct{ are, want [2]string }{
		"one that was stored":         {modesOfTLS(t, stored), off},
		"one that is applied again":   {modesOfTLS(t, apply()), off},
		"one that is made afterwards": {modesOfTLS(t, dryRun(t)), on},
	} {
		if modes.are != modes.want {
			t.Errorf("the modes of %s are %v, not %v", what, modes.are, modes.want)
		}
	}
}

// dryRun is what would be made of an empty spec.
func dryRun(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	cluster := object(t, newName(), "{}")
	if err := tryCreate(t, cluster); err != nil {
		t.Fatal(err)
	}
	return cluster
}

// modesOfTLS are those of clients and of peers.
func modesOfTLS(t *testing.T, cluster *unstructured.Unstructured) (modes [2]string) {
	t.Helper()
	for i, plane := range []string{"client", "peer"} {
		mode, _, err := unstructured.NestedString(cluster.Object, "spec", "security", "tls", plane, "mode")
		if err != nil {
			t.Fatal(err)
		}
		modes[i] = mode
	}
	return modes
}

// installDefinition puts the definition of the repository in place, or one that is changed, and waits until the API server
// uses it.
func installDefinition(t *testing.T, change func(*apiextensionsv1.JSONSchemaProps), inEffect func() bool) {
	t.Helper()
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(readFile(t, definitionPath), &definition); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(definition.Spec.Versions[0].Schema.OpenAPIV3Schema)
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
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) { return inEffect(), nil })
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
