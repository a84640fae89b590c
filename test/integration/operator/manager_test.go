//go:build integration

package operator

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/controller"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// operator is a running operator: a manager as cmd/etcd-operator makes it, in the test's process.
type operator struct {
	ctrl.Manager
	// agent is its user agent, by which its requests are found in the API server's audit log.
	agent string
	stop  func()
}

// operators numbers the user agents.
var operators atomic.Int64

// ownPods are what operators take for their own pods.
var ownPods = render.Operator{Namespace: "etcd-operator-system", Labels: map[string]string{"app": "operator"}}

// operatorOptions say how an operator differs from the usual one.
type operatorOptions struct {
	// namespaces that it works in; nil means that of the scene.
	namespaces []string
	// writes, if set, see each of its writes.
	writes *writes
	// now, if set, is its clock.
	now func() time.Time
	// still, if set, is a cache that can stand still.
	still *stillness
	// outage, if set, can cut it off from the API server.
	outage *outage
}

// operate starts an operator that works until the test ends, or stop is called.
func (s *scene) operate() *operator {
	s.Helper()
	return s.operateWith(operatorOptions{namespaces: []string{s.namespace}})
}

func (s *scene) operateWith(options operatorOptions) *operator {
	s.Helper()
	if options.namespaces == nil {
		options.namespaces = []string{s.namespace}
	}
	o := &operator{agent: fmt.Sprintf("operator-%d", operators.Add(1))}
	access := rest.CopyConfig(env.Config)
	access.UserAgent = o.agent
	setup := ctrl.Options{
		Scheme: env.Client.Scheme(), Cache: controller.CacheOptions(options.namespaces), Logger: s.log(o.agent),
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller:              config.Controller{SkipNameValidation: ptr.To(true)},
		GracefulShutdownTimeout: ptr.To(20 * time.Second),
	}
	if options.outage != nil {
		access.Wrap(options.outage.wrap)
	}
	setup.NewClient = func(config *rest.Config, own client.Options) (client.Client, error) {
		if options.still != nil {
			options.still.Reader = own.Cache.Reader
			own.Cache.Reader = options.still
		}
		if options.writes != nil {
			return options.writes.newClient(config, own)
		}
		return client.New(config, own)
	}
	var err error
	if o.Manager, err = ctrl.NewManager(access, setup); err != nil {
		s.Fatalf("make a manager: %v", err)
	}
	own := controller.Options{
		Domain: "cluster.local", Operator: ownPods, Agents: render.Agents{Image: "etcd-operator:test", Version: "test"}, Concurrency: 4, Now: options.now,
		Namespaces: options.namespaces,
	}
	if options.writes != nil {
		own.WrapEtcd = options.writes.wrapEtcd
	}
	if err := controller.Add(o.Manager, own); err != nil {
		s.Fatalf("add the controllers: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Start(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the manager ended with: %v", err)
		}
	})
	if options.writes != nil {
		options.writes.end = cancel
	}
	s.Cleanup(o.stop)
	return o
}

// log writes an operator's log beside those of the scene's pods.
func (s *scene) log(agent string) logr.Logger {
	folder := filepath.Join(env.Logs(), s.namespace)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		s.Fatal(err)
	}
	file, err := os.Create(filepath.Join(folder, agent+".log"))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = file.Close() })
	return funcr.New(func(prefix, arguments string) {
		_, _ = fmt.Fprintln(file, time.Now().Format("15:04:05.000"), prefix, arguments)
	}, funcr.Options{Verbosity: 1})
}
