package main

import (
	"bufio"
	"context"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

func TestDomainOf(t *testing.T) {
	for name, test := range map[string]struct{ resolvConf, want string }{
		"as the kubelet writes it":  {"search etcd.svc.example.org svc.example.org example.org\nnameserver 10.0.0.10\noptions ndots:5\n", "example.org"},
		"of more than one label":    {"search a.svc.k8s.prod.example.org svc.k8s.prod.example.org k8s.prod.example.org", "k8s.prod.example.org"},
		"with a dot at the end":     {"search a.svc.cluster.local. svc.cluster.local. cluster.local.", "cluster.local"},
		"with the node's own after": {"nameserver 10.0.0.10\n\nsearch a.svc.c.test svc.c.test c.test corp.example.com", "c.test"},
		"in a namespace called svc": {"search svc.svc.c.test svc.c.test c.test", "c.test"},
		"outside Kubernetes":        {"search corp.example.com\nnameserver 1.1.1.1", "cluster.local"},
		"empty":                     {"", "cluster.local"},
		"of tabs":                   {"search\ta.svc.c.test\tsvc.c.test", "c.test"},
		"commented out":             {"# search a.svc.c.test svc.c.test\n; search svc.d.test", "cluster.local"},
	} {
		if got := domainOf(bufio.NewScanner(strings.NewReader(test.resolvConf))); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestDomainFlagComesFirst(t *testing.T) {
	if got := (&managerFlags{clusterDomain: "given.test"}).domain(); got != "given.test" {
		t.Error(got)
	}
	if got := (&managerFlags{}).domain(); got == "" {
		t.Error("there is always a domain")
	}
}

// TestOwnPods: the namespace is that of the pod, unless it is given.
func TestOwnPods(t *testing.T) {
	for name, test := range map[string]struct {
		pod, flags string
		want       render.Operator
	}{
		"as the chart says it":  {"operators", "--operator-labels=app.kubernetes.io/name=etcd-operator,app=b", render.Operator{Namespace: "operators", Labels: map[string]string{"app.kubernetes.io/name": "etcd-operator", "app": "b"}}},
		"without labels":        {"operators", "", render.Operator{Namespace: "operators", Labels: map[string]string{}}},
		"somewhere else":        {"operators", "--operator-namespace=elsewhere", render.Operator{Namespace: "elsewhere", Labels: map[string]string{}}},
		"outside of Kubernetes": {"", "", render.Operator{Labels: map[string]string{}}},
	} {
		t.Setenv("POD_NAMESPACE", test.pod)
		f := &managerFlags{}
		if err := f.command().ParseFlags(strings.Fields(test.flags)); err != nil {
			t.Fatal(err)
		}
		if got, err := f.operator(); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v (%v), want %+v", name, got, err, test.want)
		}
	}
}

// TestRefusedFlags: what cannot work is refused before anything starts, with what is allowed.
func TestRefusedFlags(t *testing.T) {
	t.Setenv("KUBECONFIG", "/does/not/exist")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("POD_NAMESPACE", "")
	for flags, want := range map[string]string{
		"--log-level=loud":              `--log-level="loud" is not a level: use debug, info, warn or error`,
		"--log-format=xml":              `--log-format="xml" is not a format: use json or console`,
		"--concurrent-reconciles=many":  `invalid argument "many" for "--concurrent-reconciles" flag`,
		"--nonsense":                    "unknown flag: --nonsense",
		"surplus":                       `unknown command "surplus" for "manager"`,
		"--operator-labels=manager":     `--operator-labels="manager" are not labels: use key=value,key=value`,
		"--operator-labels=a=b":         `--operator-labels="a=b" are those of pods in no namespace: set --operator-namespace`,
		"--webhook-bind-address=9443":   `--webhook-bind-address="9443" is not an address: use [HOST]:PORT, or 0 to turn the webhook off`,
		"--webhook-bind-address=:99999": `--webhook-bind-address=":99999" is not an address`,
		"--webhook-bind-address=:9443 --webhook-service=a --operator-namespace=b": `--webhook-bind-address=":9443" needs a certificate: set --webhook-configuration`,
		"--webhook-bind-address=:9443 --webhook-certificate-dir=/nowhere":         "no way to reach the API server",
		"--log-level=debug":                     "no way to reach the API server",
		"--log-format=console --namespaces=a,b": "no way to reach the API server",
	} {
		command := managerCommand()
		command.SetArgs(strings.Fields(flags))
		command.SetOut(io.Discard)
		command.SetErr(io.Discard)
		err := command.ExecuteContext(context.Background())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", flags, err, want)
		}
	}
}
