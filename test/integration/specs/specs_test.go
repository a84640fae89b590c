package specs

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

const definition = "../../../config/crd/bases/etcd.etcd.io_etcdclusters.yaml"

func load(t *testing.T) *Node {
	t.Helper()
	root, err := Load(definition)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// forgotten are the leaves that no change will ever reach, and no exclusion says why.
func (n *Node) forgotten() (paths []string) {
	if excluded(n.Path) != "" {
		return nil
	}
	if domain := domains[n.Path]; domain != nil {
		var set []string
		for _, choice := range domain {
			set = append(set, n.Places(choice.value().Value)...)
		}
		return slices.DeleteFunc(n.Drawn(), func(path string) bool { return slices.Contains(set, path) })
	}
	if n.schema.AdditionalProperties != nil && keyPattern(n.schema) == "" {
		return []string{n.Path}
	}
	if len(n.children) == 0 {
		if _, ok := fromSchema(random(1), n.schema); !ok {
			return []string{n.Path}
		}
	}
	for _, child := range n.children {
		paths = append(paths, child.forgotten()...)
	}
	return paths
}

func TestNoFieldIsForgotten(t *testing.T) {
	root := load(t)
	for _, path := range root.forgotten() {
		t.Errorf("%s gets no values: the schema alone does not give any. Add it to the domains, or to the exclusions with the reason", path)
	}
	t.Logf("%d fields, %d knobs", len(root.leaves()), len(root.Knobs()))
}

func TestANewFieldIsNoticed(t *testing.T) {
	text := apiextensionsv1.JSONSchemaProps{Type: "string"}
	length := int64(10)
	for name, c := range map[string]struct {
		path string
		add  func(*apiextensionsv1.JSONSchemaProps)
		want []string
	}{
		"a text": {"spec", func(s *apiextensionsv1.JSONSchemaProps) { s.Properties["new"] = text }, []string{"spec.new"}},
		"below a domain": {podSpec + "resources", func(s *apiextensionsv1.JSONSchemaProps) {
			s.Properties = map[string]apiextensionsv1.JSONSchemaProps{"requests": {Type: "boolean"}, "limits": {Type: "boolean"}, "new": text}
		}, []string{podSpec + "resources.new"}},
		"a number without bounds": {"spec", func(s *apiextensionsv1.JSONSchemaProps) {
			s.Properties["new"] = apiextensionsv1.JSONSchemaProps{Type: "integer", Format: "int32"}
		}, []string{"spec.new"}},
		"a map of whatever keys": {"spec", func(s *apiextensionsv1.JSONSchemaProps) {
			s.Properties["new"] = apiextensionsv1.JSONSchemaProps{Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Schema: &apiextensionsv1.JSONSchemaProps{Type: "boolean"}}}
		}, []string{"spec.new"}},
		"items of a list": {"spec", func(s *apiextensionsv1.JSONSchemaProps) {
			s.Properties["new"] = apiextensionsv1.JSONSchemaProps{Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &text}}
		}, []string{"spec.new[]"}},
		"a text of a limited length": {"spec", func(s *apiextensionsv1.JSONSchemaProps) {
			s.Properties["new"] = apiextensionsv1.JSONSchemaProps{Type: "string", MaxLength: &length}
		}, nil},
		"a boolean": {"spec", func(s *apiextensionsv1.JSONSchemaProps) {
			s.Properties["new"] = apiextensionsv1.JSONSchemaProps{Type: "boolean"}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			schema := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"paused": {Type: "boolean"}}}
			c.add(&schema)
			if got := newNode(c.path, &schema, true).forgotten(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("forgotten are %q, want %q", got, c.want)
			}
		})
	}
}

// TestTheTablesNameFields keeps the tables free of what the schema does not have.
func TestTheTablesNameFields(t *testing.T) {
	var paths []string
	var walk func(n *Node)
	walk = func(n *Node) {
		paths = append(paths, n.Path)
		for _, child := range n.children {
			walk(child)
		}
	}
	walk(load(t))
	for path, domain := range domains {
		if !slices.Contains(paths, path) {
			t.Errorf("there is no %s, but a domain for it", path)
		}
		if excluded(path) != "" {
			t.Errorf("%s has a domain and is excluded", path)
		}
		if !slices.ContainsFunc(domain, func(c choice) bool { return c.passing == "" }) {
			t.Errorf("%s has no value that a cluster can stay with", path)
		}
	}
	for path := range exclusions {
		if !slices.Contains(paths, path) {
			t.Errorf("there is no %s to be excluded", path)
		}
	}
	for path := range Kept {
		if !slices.Contains(paths, path) {
			t.Errorf("there is no %s to be kept", path)
		}
	}
}

func TestTheSameSeedDrawsTheSame(t *testing.T) {
	draw := func(seed uint64) (text string) {
		r, spec := random(seed), map[string]any{}
		for _, knob := range load(t).Knobs() {
			if change, ok := knob.Change(r, spec, false); ok {
				knob.Set(spec, change.Value)
			}
			text += fmt.Sprintln(knob.Path, knob.Get(spec), knob.Wrong(r))
		}
		return text
	}
	first := draw(1)
	if draw(1) != first {
		t.Error("the same seed drew two specs")
	}
	if draw(2) == first {
		t.Error("two seeds drew the same spec")
	}
}

func TestDrawnTextsMatchTheirPatterns(t *testing.T) {
	r, seen := random(1), 0
	var walk func(n *Node)
	walk = func(n *Node) {
		for _, pattern := range []string{patternOf(n.schema), keyPattern(n.schema)} {
			if pattern == "" || n.schema.XIntOrString {
				continue
			}
			seen++
			for range 200 {
				text := matching(r, pattern, limit(n.schema))
				if !regexp.MustCompile(pattern).MatchString(text) || (limit(n.schema) > 0 && int64(len(text)) > limit(n.schema)) {
					t.Errorf("%s: %q was drawn for %s of at most %d", n.Path, text, pattern, limit(n.schema))
				}
			}
		}
		for _, child := range n.children {
			walk(child)
		}
	}
	walk(load(t))
	if seen < 10 {
		t.Errorf("only %d patterns were found in the schema", seen)
	}
}

func TestGetAndSet(t *testing.T) {
	size := &Node{Path: "spec.storage.wal.size"}
	spec := map[string]any{"size": int64(3)}
	if got := size.Get(spec); got != nil {
		t.Errorf("the size is %v before it is set", got)
	}
	size.Set(spec, "1Gi")
	want := map[string]any{"size": int64(3), "storage": map[string]any{"wal": map[string]any{"size": "1Gi"}}}
	if !reflect.DeepEqual(spec, want) || size.Get(spec) != "1Gi" {
		t.Errorf("the spec is %v", spec)
	}
	size.Set(spec, nil)
	if size.Get(spec) != nil || !strings.Contains(fmt.Sprint(spec), "wal") {
		t.Errorf("the spec is %v", spec)
	}
}
