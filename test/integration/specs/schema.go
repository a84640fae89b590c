// Package specs draws specs of EtcdClusters, and changes of them, from the schema of the CustomResourceDefinition: each
// field gets values that the schema allows, and now and then one that it does not. What the schema cannot tell, which
// versions or storage classes there are, stands in a small table.
package specs

import (
	"fmt"
	"os"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// Node is a place in the schema, with what lies below it.
type Node struct {
	// Path is the name of the place as users write it, e.g. spec.storage.size. The items of a list are called [], the values of
	// a map {}.
	Path     string
	schema   *apiextensionsv1.JSONSchemaProps
	required bool
	children []*Node
}

// Load reads the spec's schema from the file of the definition.
func Load(path string) (*Node, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(content, &definition); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	return newNode("spec", &schema, true), nil
}

func newNode(path string, schema *apiextensionsv1.JSONSchemaProps, required bool) *Node {
	n := &Node{Path: path, schema: schema, required: required}
	for name := range schema.Properties {
		property := schema.Properties[name]
		n.children = append(n.children, newNode(path+"."+name, &property, slices.Contains(schema.Required, name)))
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		n.children = append(n.children, newNode(path+"[]", schema.Items.Schema, true))
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		n.children = append(n.children, newNode(path+"{}", schema.AdditionalProperties.Schema, true))
	}
	// Maps have no order, and the same seed has to draw the same.
	slices.SortFunc(n.children, func(a, b *Node) int { return strings.Compare(a.Path, b.Path) })
	return n
}

// name is that of a property within its object.
func (n *Node) name() string { return n.Path[strings.LastIndex(n.Path, ".")+1:] }

// isObject is whether it has properties with names of their own, rather than items or keys.
func (n *Node) isObject() bool { return len(n.schema.Properties) > 0 }

// Knobs are what a change changes, one at a time: the fields that are always there, and as a whole what can be left out.
func (n *Node) Knobs() []*Node {
	switch {
	case excluded(n.Path) != "":
		return nil
	case domains[n.Path] != nil, !n.isObject(), n.Path != "spec" && n.schema.Default == nil:
		return []*Node{n}
	}
	var knobs []*Node
	for _, child := range n.children {
		knobs = append(knobs, child.Knobs()...)
	}
	return knobs
}

// leaves are the places that have nothing below them.
func (n *Node) leaves() []*Node {
	if len(n.children) == 0 {
		return []*Node{n}
	}
	var leaves []*Node
	for _, child := range n.children {
		leaves = append(leaves, child.leaves()...)
	}
	return leaves
}

// Drawn are the leaves at or below this node that get values.
func (n *Node) Drawn() (paths []string) {
	for _, leaf := range n.leaves() {
		if excluded(leaf.Path) == "" {
			paths = append(paths, leaf.Path)
		}
	}
	return paths
}

// Places are the paths of all leaves that a value of this node sets.
func (n *Node) Places(value any) []string {
	var found []string
	switch value := value.(type) {
	case map[string]any:
		for key, part := range value {
			for _, child := range n.children {
				if child.Path == n.Path+"."+key || child.Path == n.Path+"{}" {
					found = append(found, child.Places(part)...)
				}
			}
		}
	case []any:
		for _, part := range value {
			found = append(found, n.children[0].Places(part)...)
		}
	}
	if len(n.children) == 0 {
		found = append(found, n.Path)
	}
	return found
}
