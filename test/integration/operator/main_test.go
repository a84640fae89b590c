//go:build integration

// Package operator tests the operator against a real kube-apiserver, a real kube-controller-manager and real etcd
// processes. Each test is one situation, with a namespace and operators of its own.
package operator

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/environment"
)

// atOnce is how many tests run at the same time: they wait more than they compute.
const atOnce = "6"

// env is the cluster that all tests of the package share.
var env *environment.Environment

func TestMain(m *testing.M) {
	environment.Isolate()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", atOnce)
	}
	debug.SetGCPercent(400) // There is more memory than there are processors.
	ctrllog.SetLogger(logr.Discard())
	scheme, err := newScheme()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	env, err = environment.Start(ctx, environment.Options{
		CRDs: []string{"config/crd/bases"}, Scheme: scheme, AuditLog: true,
		Images:          map[string]environment.Runner{"etcd-operator": operatorImage()},
		ElectionTimeout: 500 * time.Millisecond, MaxRestartBackOff: 2 * time.Second,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the environment:", err)
		return 1
	}
	defer func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the environment:", err)
			code = 1
		}
	}()
	return m.Run()
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}
