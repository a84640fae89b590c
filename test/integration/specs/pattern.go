package specs

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// quantityPattern begins the pattern that Kubernetes gives to every quantity.
const quantityPattern = `^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))`

var (
	valueRule = regexp.MustCompile(`^self\.matches\('([^']*)'\)$`)
	keyRule   = regexp.MustCompile(`^self\.all\(k, k\.matches\('([^']*)'\)( && .*)?\)$`)
)

// patternOf is the pattern that a text has to match, by the schema itself or by a rule that says nothing else.
func patternOf(schema *apiextensionsv1.JSONSchemaProps) string {
	if schema.Pattern != "" {
		return schema.Pattern
	}
	return ruled(schema, valueRule)
}

// keyPattern is the pattern that the keys of a map have to match.
func keyPattern(schema *apiextensionsv1.JSONSchemaProps) string { return ruled(schema, keyRule) }

func ruled(schema *apiextensionsv1.JSONSchemaProps, rule *regexp.Regexp) string {
	for _, validation := range schema.XValidations {
		if match := rule.FindStringSubmatch(validation.Rule); match != nil {
			return match[1]
		}
	}
	return ""
}

// matching draws a text that matches a pattern and is not longer than most, if there is a most.
func matching(r *rand.Rand, pattern string, most int64) string {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		panic("the definition has a pattern that cannot be read: " + err.Error())
	}
	for {
		var text strings.Builder
		writeMatch(r, parsed, &text)
		if most == 0 || int64(text.Len()) <= most {
			return text.String()
		}
	}
}

func writeMatch(r *rand.Rand, part *syntax.Regexp, text *strings.Builder) {
	repeat := func(least, most int) {
		for range least + r.IntN(min(most-least, 3)+1) {
			writeMatch(r, part.Sub[0], text)
		}
	}
	switch part.Op { //nolint:exhaustive // Anchors are empty, and other kinds are not in use.
	case syntax.OpLiteral:
		text.WriteString(string(part.Rune))
	case syntax.OpCharClass:
		at := 2 * r.IntN(len(part.Rune)/2)
		text.WriteRune(part.Rune[at] + r.Int32N(part.Rune[at+1]-part.Rune[at]+1))
	case syntax.OpStar:
		repeat(0, 3)
	case syntax.OpPlus:
		repeat(1, 4)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		most := part.Max
		if most < 0 {
			most = part.Min + 3
		}
		repeat(part.Min, most)
	case syntax.OpAlternate:
		writeMatch(r, part.Sub[r.IntN(len(part.Sub))], text)
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range part.Sub {
			writeMatch(r, sub, text)
		}
	}
}
