//go:build integration

package validation

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

var (
	listedFlag = regexp.MustCompile(`(?m)^\s+--([a-z0-9-]+)`)
	quoted     = regexp.MustCompile(`'([a-z0-9-]+)'`)
)

// TestFlags compares the flags that spec.config knows with those of the etcd programs at hand.
func TestFlags(t *testing.T) {
	known, notIn35 := flagsOfTheDefinition(t)
	programs, err := filepath.Glob(root + "/build/bin/etcd-*/etcd")
	if err != nil || len(programs) == 0 {
		t.Fatalf("no etcd is built: %v", err)
	}
	for _, program := range programs {
		minor := strings.TrimPrefix(filepath.Base(filepath.Dir(program)), "etcd-")
		t.Run(minor, func(t *testing.T) {
			for _, flag := range flagsOf(t, program) {
				if !slices.Contains(known, flag) && !isOwned(t, flag) {
					t.Errorf("spec.config does not know --%s", flag)
				}
			}
			for _, flag := range notIn35 {
				if got, want := hasFlag(t, program, flag), minor != "3.5"; got != want && !strings.HasPrefix(flag, "experimental-") {
					t.Errorf("etcd %s has --%s: %t, but the definition says %t", minor, flag, got, want)
				}
			}
		})
	}
	t.Run("each known flag is one of some etcd", func(t *testing.T) {
		for _, flag := range known {
			has := func(program string) bool { return hasFlag(t, program, flag) }
			if len(programs) == 3 && !slices.ContainsFunc(programs, has) {
				t.Errorf("no etcd has --%s", flag)
			}
		}
	})
}

// flagsOf is what the program's help lists.
func flagsOf(t *testing.T, program string) []string {
	t.Helper()
	help, err := exec.CommandContext(t.Context(), program, "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%s --help: %v", program, err)
	}
	var flags []string
	for _, match := range listedFlag.FindAllStringSubmatch(string(help), -1) {
		flags = append(flags, match[1])
	}
	return flags
}

// hasFlag is whether the program knows the flag, listed or not.
func hasFlag(t *testing.T, program, flag string) bool {
	t.Helper()
	output, _ := exec.CommandContext(t.Context(), program, "--"+flag+"=1", "--version").CombinedOutput()
	return !strings.Contains(string(output), "not defined")
}

// isOwned is whether the API server refuses the flag because it is not for users to set.
func isOwned(t *testing.T, flag string) bool {
	t.Helper()
	err := tryCreate(t, object(t, newName(), `{"config": {"`+flag+`": "1"}}`))
	return err != nil && strings.Contains(err.Error(), "must not set")
}

// flagsOfTheDefinition reads the names of flags from the rules: those that may be set, and those that 3.5 lacks.
func flagsOfTheDefinition(t *testing.T) (known, notIn35 []string) {
	t.Helper()
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(readFile(t, definitionPath), &definition); err != nil {
		t.Fatal(err)
	}
	spec := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	for _, rule := range spec.Properties["config"].XValidations {
		if strings.Contains(rule.Message, "knows no such") {
			known = quotedNames(rule.Rule)
		}
	}
	for _, rule := range spec.XValidations {
		if strings.Contains(rule.Message, "etcd 3.5 does not know") {
			notIn35 = quotedNames(rule.Rule)
		}
	}
	if len(known) < 50 || len(notIn35) < 10 {
		t.Fatalf("the rules do not list the flags: %v, %v", known, notIn35)
	}
	return known, notIn35
}

// quotedNames is the first list of quoted names in a rule.
func quotedNames(rule string) []string {
	_, list, _ := strings.Cut(rule, "k in [")
	list, _, _ = strings.Cut(list, "]")
	var found []string
	for _, match := range quoted.FindAllStringSubmatch(list, -1) {
		found = append(found, match[1])
	}
	return found
}
