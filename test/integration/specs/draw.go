package specs

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Value is what a place is set to.
type Value struct {
	Value any
	// Passing is why the cluster cannot stay with it: its pods cannot run, or it would be another kind of cluster. "" if it can.
	Passing string
}

// Draw draws a value that the schema allows, which a rule may still refuse. There is none if the place is excluded.
func (n *Node) Draw(r *rand.Rand) (drawn Value, ok bool) {
	if excluded(n.Path) != "" {
		return Value{}, false
	}
	if domain := domains[n.Path]; len(domain) > 0 {
		return domain[r.IntN(len(domain))].value(), true
	}
	switch {
	case n.isObject():
		return n.drawObject(r), true
	case n.schema.Items != nil:
		return n.drawList(r), true
	case n.schema.AdditionalProperties != nil:
		return n.drawMap(r), true
	}
	value, ok := fromSchema(r, n.schema)
	return Value{Value: value}, ok
}

// drawObject draws what is required, and half of what is not.
func (n *Node) drawObject(r *rand.Rand) (drawn Value) {
	object := map[string]any{}
	for _, child := range n.children {
		if !child.required && r.IntN(2) == 0 {
			continue
		}
		if part, ok := child.Draw(r); ok {
			object[child.name()] = part.Value
			drawn.Passing += part.Passing
		}
	}
	drawn.Value = object
	return drawn
}

// drawList draws a list of one or two items, of which no two have the same keys.
func (n *Node) drawList(r *rand.Rand) (drawn Value) {
	var items []any
	seen := map[string]bool{}
	for range 1 + r.IntN(2) {
		item, ok := n.children[0].Draw(r)
		if key := n.itemKey(item.Value); ok && !seen[key] {
			seen[key] = true
			items = append(items, item.Value)
			drawn.Passing += item.Passing
		}
	}
	drawn.Value = items
	return drawn
}

// itemKey is what must not be in a list twice.
func (n *Node) itemKey(item any) string {
	object, ok := item.(map[string]any)
	if !ok || len(n.schema.XListMapKeys) == 0 {
		return fmt.Sprint(item)
	}
	var key strings.Builder
	for _, name := range n.schema.XListMapKeys {
		fmt.Fprint(&key, object[name], " ")
	}
	return key.String()
}

// drawMap draws a map of one or two entries, by the pattern of their keys.
func (n *Node) drawMap(r *rand.Rand) (drawn Value) {
	entries := map[string]any{}
	for range 1 + r.IntN(2) {
		if value, ok := n.children[0].Draw(r); ok {
			entries[matching(r, keyPattern(n.schema), 0)] = value.Value
			drawn.Passing += value.Passing
		}
	}
	drawn.Value = entries
	return drawn
}

const letters = "abcdefghijklmnopqrstuvwxyz"

// fromSchema draws a value from what the schema says of a place alone, if that is enough.
func fromSchema(r *rand.Rand, schema *apiextensionsv1.JSONSchemaProps) (any, bool) {
	switch {
	case len(schema.Enum) > 0:
		return strings.Trim(string(schema.Enum[r.IntN(len(schema.Enum))].Raw), `"`), true
	case schema.Type == "boolean":
		return r.IntN(2) == 0, true
	case schema.Type == "integer" && schema.Minimum != nil && schema.Maximum != nil:
		low, high := int64(*schema.Minimum), int64(*schema.Maximum)
		return []int64{low, high, low + r.Int64N(high-low+1)}[r.IntN(3)], true
	case schema.XIntOrString && strings.HasPrefix(schema.Pattern, quantityPattern):
		size := 1 + r.Int64N(4)
		return []any{fmt.Sprintf("%dGi", size), fmt.Sprintf("%dMi", size<<10), size << 30}[r.IntN(3)], true
	case schema.Type == "string" && patternOf(schema) != "":
		return matching(r, patternOf(schema), limit(schema)), true
	case schema.Type == "string" && schema.MaxLength != nil && schema.Format == "":
		length := []int64{1 + r.Int64N(8), limit(schema)}[r.IntN(2)]
		text := make([]byte, min(length, limit(schema)))
		for i := range text {
			text[i] = letters[r.IntN(len(letters))]
		}
		return string(text), true
	}
	return nil, false
}

func limit(schema *apiextensionsv1.JSONSchemaProps) int64 {
	if schema.MaxLength == nil {
		return 0
	}
	return *schema.MaxLength
}

// Wrong draws a value that the schema alone forbids.
func (n *Node) Wrong(r *rand.Rand) any {
	wrong := []any{map[string]any{"neither": "text nor number"}}
	if n.isObject() || n.schema.AdditionalProperties != nil || n.schema.Items != nil {
		wrong = []any{"a text", true, int64(7)}
	}
	if n.schema.Type == "boolean" || n.schema.Type == "integer" || len(n.schema.Enum) > 0 {
		wrong = append(wrong, "none of them")
	}
	if n.schema.Minimum != nil && n.schema.Maximum != nil {
		wrong = append(wrong, int64(*n.schema.Minimum)-1, int64(*n.schema.Maximum)+1)
	}
	if most := limit(n.schema); most > 0 {
		wrong = append(wrong, strings.Repeat("x", int(most)+1))
	}
	if pattern := patternOf(n.schema); pattern != "" {
		wrong = append(wrong, " no match ")
	}
	return wrong[r.IntN(len(wrong))]
}

// Get is the value of a place in a spec, nil if it has none.
func (n *Node) Get(spec map[string]any) any {
	var value any = map[string]any{"spec": spec}
	for _, name := range strings.Split(n.Path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[name]
	}
	return value
}

// Set gives a place in a spec a value; nil removes it.
func (n *Node) Set(spec map[string]any, value any) {
	names := strings.Split(n.Path, ".")
	object := spec
	for _, name := range names[1 : len(names)-1] {
		inner, ok := object[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			object[name] = inner
		}
		object = inner
	}
	if value == nil {
		delete(object, names[len(names)-1])
		return
	}
	object[names[len(names)-1]] = value
}

// Change draws another value for a knob than it has in a spec, good for the cluster to stay with if that is asked for.
// Nothing is drawn if the knob has but one value. A value of nil removes the field.
func (n *Node) Change(r *rand.Rand, spec map[string]any, lasting bool) (Value, bool) {
	before := n.Get(spec)
	if before != nil && n.schema.Default == nil && !n.required && r.IntN(3) == 0 {
		return Value{}, true
	}
	for range 20 {
		drawn, ok := n.Draw(r)
		same := reflect.DeepEqual(drawn.Value, before) || (before == nil && drawn.Value == false)
		if ok && !same && (!lasting || drawn.Passing == "") {
			return drawn, true
		}
	}
	return Value{}, false
}
