//go:build integration

package validation

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"
)

// refusal is an object that must not be accepted.
type refusal struct {
	// name of the case, or of the object if objectName is set.
	name, objectName string
	// from is the spec that is stored before; "" means that the cluster is being created.
	from string
	// status is what it has become by then.
	status string
	// spec is what is asked for.
	spec string
	// want is what the answer must say: the field, the value, what is allowed.
	want []string
}

// refusals are all tables of cases, by kind and subject.
var refusals = map[string]map[string][]refusal{
	"EtcdCluster": clusterTables,
	"EtcdBackup":  {"backups": etcdBackupRefusals, "agents": agentRefusals(backupOf)},
	"EtcdRestore": {"restores": etcdRestoreRefusals, "agents": agentRefusals(restoreOf)},
}

var clusterTables = map[string][]refusal{
	"cluster": clusterRefusals, "config values": configValueRefusals, "config keys": configKeyRefusals,
	"storage": storageRefusals, "transitions": transitionRefusals, "metadata and services": metadataRefusals,
	"scheduling": schedulingRefusals, "containers": containerRefusals, "volumes": volumeRefusals,
	"security context": securityContextRefusals, "authentication": authRefusals, "network": networkRefusals, "certificates": certificateRefusals,
	"backups": backupRefusals, "agents": agentRefusals(backed),
}

func TestRefusals(t *testing.T) {
	for kind, subjects := range refusals {
		t.Run(kind, func(t *testing.T) {
			var answers []string
			count := 0
			for subject, cases := range subjects {
				t.Run(subject, func(t *testing.T) {
					for _, c := range cases {
						count++
						t.Run(c.name, func(t *testing.T) { answers = append(answers, refuse(t, kind, c)) })
					}
				})
			}
			t.Logf("%d cases", count)
			if !t.Failed() {
				t.Run("every rule is tested", func(t *testing.T) { requireEveryRule(t, kind, strings.Join(answers, "\n")) })
			}
		})
	}
}

// refuse asks for the object of the case and returns the API server's refusal.
func refuse(t *testing.T, kind string, c refusal) string {
	t.Helper()
	name := c.objectName
	if name == "" {
		name = newName()
	}
	var err error
	if c.from == "" {
		err = tryCreate(t, objectOf(t, kind, name, c.spec))
	} else {
		stored := objectOf(t, kind, name, c.from)
		if err := create(t, stored); err != nil {
			t.Fatalf("the spec before is refused: %v", err)
		}
		if c.status != "" {
			stored.Object["status"] = fields(t, c.status)
			if err := api().Status().Update(t.Context(), stored); err != nil {
				t.Fatalf("the status before is refused: %v", err)
			}
		}
		err = tryUpdate(t, stored, fields(t, c.spec))
	}
	if err == nil {
		t.Fatalf("accepted:\n%s", c.spec)
	}
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		t.Fatalf("refused for another reason than the object itself: %v", err)
	}
	for _, want := range c.want {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal does not say %q:\n%v", want, err)
		}
	}
	for _, flaw := range []string{"no such key", "no such overload", "failed rule"} {
		if strings.Contains(err.Error(), flaw) {
			t.Errorf("a rule of the definition is at fault: %v", err)
		}
	}
	return err.Error()
}

// requireEveryRule fails for each rule of a kind's definition that none of the answers comes from.
func requireEveryRule(t *testing.T, kind, answers string) {
	t.Helper()
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(readFile(t, definitionOf(kind)), &definition); err != nil {
		t.Fatal(err)
	}
	rules := rulesOf(definition.Spec.Versions[0].Schema.OpenAPIV3Schema)
	t.Logf("%d rules", len(rules))
	for _, rule := range rules {
		answer := answerOf(rule)
		if answer.MatchString("") {
			t.Errorf("the message of this rule has no words of its own: %s", rule.Rule)
		}
		if !answer.MatchString(answers) {
			t.Errorf("no case is refused by this rule: %s\n(%s)", rule.Rule, rule.Message)
		}
	}
}

// definitionOf is the file with the definition of a kind.
func definitionOf(kind string) string {
	return root + "/config/crd/bases/etcd.etcd.io_" + strings.ToLower(kind) + "s.yaml"
}

// rulesOf is every CEL rule of the schema and of what is in it.
func rulesOf(schema *apiextensionsv1.JSONSchemaProps) []apiextensionsv1.ValidationRule {
	rules := slices.Clone([]apiextensionsv1.ValidationRule(schema.XValidations))
	for _, property := range schema.Properties {
		rules = append(rules, rulesOf(&property)...)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		rules = append(rules, rulesOf(schema.Items.Schema)...)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		rules = append(rules, rulesOf(schema.AdditionalProperties.Schema)...)
	}
	return rules
}

var formatted = regexp.MustCompile(`^'([^']*)'\.format\(`)

// answerOf matches what the API server says when the rule refuses: the message with values filled in.
func answerOf(rule apiextensionsv1.ValidationRule) *regexp.Regexp {
	text := rule.Message
	if match := formatted.FindStringSubmatch(rule.MessageExpression); match != nil {
		text = match[1]
	}
	pattern := regexp.QuoteMeta(text)
	for _, verb := range []string{"%s", "%d"} {
		pattern = strings.ReplaceAll(pattern, verb, ".*")
	}
	return regexp.MustCompile(pattern)
}
