package v1alpha1_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// maxApplied is what the annotations of an object may hold together. A client-side `kubectl apply` keeps the
// whole object there, as JSON.
const maxApplied = 262144

// definitions are those of all kinds, by the name of the kind.
func definitions(t *testing.T) map[string]apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions: %v", err)
	}
	all := map[string]apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(content, &definition); err != nil {
			t.Fatal(err)
		}
		all[definition.Spec.Names.Kind] = definition
	}
	return all
}

func TestDefinitionsFitAClientSideApply(t *testing.T) {
	for kind, definition := range definitions(t) {
		applied, err := json.Marshal(definition)
		if err != nil {
			t.Fatal(err)
		}
		if len(applied) > maxApplied*9/10 {
			t.Errorf("the definition of %s has %d bytes as JSON, over nine tenths of the %d that can be applied", kind, len(applied), maxApplied)
		}
	}
}

// embedded are the types of Kubernetes' own, which carry no limits. Rules in CEL bound what they can.
var embedded = []string{
	".apiVersion", ".kind", ".metadata", ".status.conditions[]",
	".spec.podTemplate.spec.affinity", ".spec.podTemplate.spec.topologySpreadConstraints[]", ".spec.podTemplate.spec.tolerations[]",
	".spec.podTemplate.spec.imagePullSecrets[]", ".spec.podTemplate.spec.resources", ".spec.podTemplate.spec.env[]",
	".spec.podTemplate.spec.securityContext", ".spec.podTemplate.spec.volumeMounts[]",
	".spec.podTemplate.spec.volumes[].configMap", ".spec.podTemplate.spec.volumes[].secret", ".spec.podTemplate.spec.volumes[].emptyDir",
	".spec.podTemplate.spec.volumes[].projected", ".spec.podTemplate.spec.volumes[].persistentVolumeClaim",
	".spec.agent.resources", ".spec.agent.tolerations[]", ".spec.backup.agent.resources", ".spec.backup.agent.tolerations[]",
}

func TestEverythingIsLimitedAndExplained(t *testing.T) {
	for kind, definition := range definitions(t) {
		t.Run(kind, func(t *testing.T) { checkLimits(t, "", definition.Spec.Versions[0].Schema.OpenAPIV3Schema) })
	}
}

// checkLimits fails for each list, map and string of the schema that has no limit, and each field without words.
func checkLimits(t *testing.T, path string, schema *apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	for _, prefix := range embedded {
		if path == prefix {
			return
		}
	}
	if schema.Description == "" && !strings.HasSuffix(path, "[]") {
		t.Errorf("%s is not explained", path)
	}
	switch {
	case schema.Type == "string" && schema.MaxLength == nil && len(schema.Enum) == 0 && schema.Format != "date-time":
		t.Errorf("%s: the string has no maxLength", path)
	case schema.Type == "array" && schema.MaxItems == nil:
		t.Errorf("%s: the list has no maxItems", path)
	case schema.AdditionalProperties != nil && schema.MaxProperties == nil:
		t.Errorf("%s: the map has no maxProperties", path)
	}
	for name, property := range schema.Properties {
		checkLimits(t, path+"."+name, &property)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		checkLimits(t, path+"[]", schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		checkLimits(t, path+"[]", schema.AdditionalProperties.Schema)
	}
}

func TestEveryRuleHasAMessage(t *testing.T) {
	var check func(path string, schema *apiextensionsv1.JSONSchemaProps)
	check = func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		for _, rule := range schema.XValidations {
			if rule.Message == "" {
				t.Errorf("%s: no message for the case that the expression fails: %s", path, rule.Rule)
			}
		}
		for name, property := range schema.Properties {
			check(path+"."+name, &property)
		}
		if schema.Items != nil && schema.Items.Schema != nil {
			check(path+"[]", schema.Items.Schema)
		}
		if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
			check(path+"[]", schema.AdditionalProperties.Schema)
		}
	}
	for kind, definition := range definitions(t) {
		check(kind, definition.Spec.Versions[0].Schema.OpenAPIV3Schema)
	}
}

// TestZeroValuesAreLeftOut: what a Go client did not set must reach the API server as absent, or the defaults
// would not apply.
func TestZeroValuesAreLeftOut(t *testing.T) {
	encoded, err := json.Marshal(v1alpha1.EtcdCluster{})
	if err != nil {
		t.Fatal(err)
	}
	if string(encoded) != `{"spec":{}}` {
		t.Errorf("an empty cluster is written as %s", encoded)
	}
}

func TestScheme(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, definition := range definitions(t) {
		for _, kind := range []string{definition.Spec.Names.Kind, definition.Spec.Names.ListKind} {
			if _, err := scheme.New(v1alpha1.GroupVersion.WithKind(kind)); err != nil {
				t.Error(err)
			}
		}
		if group := definition.Spec.Group; group != v1alpha1.GroupVersion.Group {
			t.Errorf("the group of %s is %s in the definition and %s in Go", definition.Spec.Names.Kind, group, v1alpha1.GroupVersion.Group)
		}
	}
}
