//go:build integration

package operator

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// secrets are what must not be seen anywhere, in each of the ways in which it could be written, by what it is.
type secrets map[string][]string

// add adds a secret.
func (k secrets) add(what string, value []byte) {
	var forms []string
	if block, _ := pem.Decode(value); block == nil {
		forms = append(forms, string(value))
	} else {
		for line := range strings.Lines(string(value)) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") && len(line) > 30 {
				forms = append(forms, line)
			}
		}
	}
	// In the midst of something else, base64 has one of three forms.
	for start := range 3 {
		end := start + (len(value)-start)/3*3
		forms = append(forms, base64.StdEncoding.EncodeToString(value[start:end]))
	}
	// As Go prints bytes; what is at the beginning all keys have in common.
	part := value[len(value)/2:]
	part = part[:min(len(part), 16)]
	k[what] = append(forms, strings.Trim(fmt.Sprintf("%d", part), "[]"), fmt.Sprintf("%x", part))
}

// collect adds what the Secrets of a namespace hold by now, but for certificates.
func (k secrets) collect(s *scene) {
	s.Helper()
	var list corev1.SecretList
	if err := env.Client.List(s.Context(), &list, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
	for i := range list.Items {
		for key, value := range list.Items[i].Data {
			if !slices.Contains([]string{corev1.TLSCertKey, render.KeyAuthority, corev1.BasicAuthUsernameKey}, key) {
				k.add(fmt.Sprintf("%s of Secret %s, version %s", key, list.Items[i].Name, list.Items[i].ResourceVersion), value)
			}
		}
	}
}

// foundIn are the secrets that are in one of the texts.
func (k secrets) foundIn(texts map[string]string) (found []string) {
	for place, text := range texts {
		for what, forms := range k {
			if slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(text, form) }) {
				found = append(found, place+" holds "+what)
			}
		}
	}
	slices.Sort(found)
	return found
}

// texts are what people and programs see who may not read Secrets, by where: the logs of the operator and of the members, all
// objects that are no Secrets, and the command lines of processes.
func (i *installation) texts(s *scene) map[string]string {
	i.Helper()
	texts := map[string]string{}
	for _, namespace := range []string{i.namespace, s.namespace} {
		i.objectTexts(namespace, texts)
		err := filepath.WalkDir(filepath.Join(env.Logs(), namespace), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			texts["log "+path] = string(content)
			return err
		})
		if err != nil {
			i.Fatal(err)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		i.Fatal(err)
	}
	for _, process := range processes {
		// One that has ended has none. Those of other tests are left out.
		if line, err := os.ReadFile(process); err == nil && bytes.Contains(line, []byte(s.namespace)) {
			texts["command line "+process] = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
		}
	}
	return texts
}

// objectTexts adds all objects of a namespace but Secrets.
func (i *installation) objectTexts(namespace string, texts map[string]string) {
	i.Helper()
	kinds, err := env.Clientset.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		i.Fatal(err)
	}
	for _, group := range kinds {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			i.Fatal(err)
		}
		for _, kind := range group.APIResources {
			if kind.Kind == "Secret" || !slices.Contains(kind.Verbs, "list") {
				continue
			}
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(version.WithKind(kind.Kind + "List"))
			if err := env.Client.List(i.Context(), list, client.InNamespace(namespace)); err != nil {
				i.Fatalf("list %s: %v", kind.Name, err)
			}
			for _, object := range list.Items {
				texts[fmt.Sprintf("%s %s/%s", kind.Kind, namespace, object.GetName())] = asJSON(i, object.Object)
			}
		}
	}
}

// checkSecrets checks that no secret can be seen.
func (i *installation) checkSecrets(s *scene, k secrets) {
	i.Helper()
	texts := i.texts(s)
	texts["metrics"] = i.metricsPage()
	total, kinds := 0, map[string]int{}
	for place, text := range texts {
		kind, _, _ := strings.Cut(place, " ")
		kinds[kind]++
		total += len(text)
	}
	i.Logf("%d secrets were looked for in %d bytes of %v", len(k), total, kinds)
	for _, kind := range []string{"log", "command", "metrics", "EtcdCluster", "Event", "Pod", "StatefulSet", "ConfigMap"} {
		if kinds[kind] == 0 {
			i.Errorf("no %s was looked at", kind)
		}
	}
	for _, found := range k.foundIn(texts) {
		i.Error(found)
	}
}

// planted are ways in which a secret could get to where it can be seen.
func (i *installation) planted(s *scene) map[string]func(secret string) {
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: s.namespace, Name: name} }
	return map[string]func(string){
		"ConfigMap": func(secret string) {
			s.create(&corev1.ConfigMap{ObjectMeta: named("planted"), Data: map[string]string{"key": "x" + secret}})
		},
		"Event": func(secret string) {
			s.create(&eventsv1.Event{
				ObjectMeta: named("planted"), EventTime: metav1.NowMicro(), Type: "Normal", Reason: "Planted", Action: "Plant",
				ReportingController: "test", ReportingInstance: "test", Note: "it is " + secret,
				Regarding: corev1.ObjectReference{Kind: "EtcdCluster", Namespace: s.namespace, Name: "demo"},
			})
		},
		"Pod": func(secret string) {
			s.create(&corev1.Pod{ObjectMeta: named("planted"), Spec: corev1.PodSpec{
				NodeSelector: map[string]string{"no-such": "node"},
				Containers:   []corev1.Container{{Name: "main", Image: "registry.example/nothing:v1", Args: []string{"--password=" + secret}}},
			}})
		},
		"EtcdCluster": func(secret string) {
			cluster := s.demo(1)
			s.create(cluster)
			cluster.Status.Conditions = []metav1.Condition{{
				Type: "Degraded", Status: "True", Reason: "Planted", Message: "etcd says " + secret, LastTransitionTime: metav1.Now(),
			}}
			if err := env.Client.Status().Update(s.Context(), cluster); err != nil {
				s.Fatal(err)
			}
		},
		"log": func(secret string) {
			logs, err := filepath.Glob(filepath.Join(env.Logs(), i.namespace, "*", "manager-0.log"))
			if err != nil || len(logs) == 0 {
				s.Fatalf("the operator's logs are %v: %v", logs, err)
			}
			file, err := os.OpenFile(logs[0], os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				s.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			if _, err := fmt.Fprintln(file, `{"msg":"`+secret+`"}`); err != nil {
				s.Fatal(err)
			}
		},
		"command": func(secret string) {
			ctx, cancel := context.WithCancel(s.Context())
			process := exec.CommandContext(ctx, "sh", "-c", "sleep 60; true", s.namespace, secret)
			if err := process.Start(); err != nil {
				s.Fatal(err)
			}
			s.Cleanup(func() {
				cancel()
				_ = process.Wait()
			})
		},
	}
}

// checkTheSearch checks that secrets are found wherever they can be seen, and however they are written. The operator has ended.
func (i *installation) checkTheSearch(s *scene, k secrets) {
	i.Helper()
	for kind, plant := range i.planted(s) {
		secret := rand.Text()
		k.add("what was planted: "+kind, []byte(secret))
		plant(secret)
		found := k.foundIn(i.texts(s))
		if !slices.ContainsFunc(found, func(text string) bool {
			return strings.HasPrefix(text, kind+" ") && strings.HasSuffix(text, "planted: "+kind)
		}) {
			i.Errorf("a secret that can be seen in %s is not found: %v", kind, found)
		}
	}
}

// TestSecretsAreFoundHoweverTheyAreWritten is the test of the search.
func TestSecretsAreFoundHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte(rand.Text() + rand.Text() + rand.Text() + rand.Text())})
	other := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte(rand.Text() + rand.Text() + rand.Text() + rand.Text())})
	k := secrets{}
	k.add("key", key)
	for how, write := range map[string]func([]byte) string{
		"as it is":                   func(b []byte) string { return string(b) },
		"as JSON":                    func(b []byte) string { return asJSON(t, string(b)) },
		"as a Secret":                func(b []byte) string { return asJSON(t, secretWith(b)) },
		"as base64 of a longer text": func(b []byte) string { return base64.StdEncoding.EncodeToString(append([]byte("key:"), b...)) },
		"as base64 of a longer one":  func(b []byte) string { return base64.StdEncoding.EncodeToString(append([]byte("a key:"), b...)) },
		"by fmt":                     func(b []byte) string { return fmt.Sprintf("%v", secretWith(b)) },
		"as hexadecimals":            func(b []byte) string { return fmt.Sprintf("%x", b) },
	} {
		if found := k.foundIn(map[string]string{"text": "before " + write(key) + " after"}); len(found) != 1 {
			t.Errorf("%s it is not found", how)
		}
		if found := k.foundIn(map[string]string{"text": "before " + write(other) + " after"}); len(found) != 0 {
			t.Errorf("%s it is taken for another one", how)
		}
	}
}

func asJSON(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// secretWith is a Secret with a key.
func secretWith(key []byte) *corev1.Secret {
	return &corev1.Secret{Data: map[string][]byte{"tls.key": key}}
}
