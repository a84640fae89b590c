package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	// The image has no time zones.
	_ "time/tzdata"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/controller"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// managerFlags are the settings of the manager.
type managerFlags struct {
	namespaces    []string
	leaderElect   bool
	metrics       string
	probes        string
	logLevel      string
	logFormat     string
	clusterDomain string
	ownNamespace  string
	ownLabels     string
	agentImage    string
	webhook       webhookFlags
	concurrency   int
	qps           float32
	burst         int
}

func managerCommand() *cobra.Command { return (&managerFlags{}).command() }

func (f *managerFlags) command() *cobra.Command {
	command := &cobra.Command{
		Use:   "manager",
		Short: "Runs the controllers",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return f.run(command.Context()) },
	}
	flags := command.Flags()
	flags.StringSliceVar(&f.namespaces, "namespaces", nil, "namespaces to work in; empty means all")
	flags.BoolVar(&f.leaderElect, "leader-elect", true, "let one of several managers work at a time")
	flags.StringVar(&f.metrics, "metrics-bind-address", ":8080", "where /metrics is served; 0 turns it off")
	flags.StringVar(&f.probes, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "json", "json or console")
	flags.StringVar(&f.clusterDomain, "cluster-domain", "", "DNS domain of the Kubernetes cluster; empty means that of /etc/resolv.conf, or cluster.local")
	flags.StringVar(&f.ownNamespace, "operator-namespace", os.Getenv("POD_NAMESPACE"), "namespace of the operator's own pods, which the NetworkPolicies of clusters let in; empty means that it runs in no pod")
	flags.StringVar(&f.ownLabels, "operator-labels", "", "labels of the operator's own pods, as key=value,...; empty means all pods of its namespace")
	flags.StringVar(&f.agentImage, "agent-image", "", "image with the program etcd-agent, which the operator's own has; without it no backups are made")
	f.webhook.add(flags)
	flags.IntVar(&f.concurrency, "concurrent-reconciles", 8, "EtcdClusters that are worked on at the same time")
	flags.Float32Var(&f.qps, "kube-api-qps", 200, "requests per second to the API server")
	flags.IntVar(&f.burst, "kube-api-burst", 400, "requests to the API server in a burst")
	return command
}

// run starts the manager and blocks until the context is done.
func (f *managerFlags) run(ctx context.Context) error {
	if err := f.setLogger(); err != nil {
		return err
	}
	operator, err := f.operator()
	if err != nil {
		return err
	}
	webhooks, keeper, err := f.webhook.server(f.ownNamespace)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no way to reach the API server (in a pod: is a service account mounted? elsewhere: set KUBECONFIG): %w", err)
	}
	config.QPS, config.Burst = f.qps, f.burst
	config.UserAgent = "etcd-operator/" + version
	grace := 20 * time.Second
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         controller.CacheOptions(f.namespaces),
		Metrics:                       metricsserver.Options{BindAddress: f.metrics},
		HealthProbeBindAddress:        f.probes,
		WebhookServer:                 webhooks,
		LeaderElection:                f.leaderElect,
		LeaderElectionID:              "etcd-operator.etcd.etcd.io",
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &grace,
	})
	if err != nil {
		return fmt.Errorf("starting the manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	options := controller.Options{
		Domain: f.domain(), Operator: operator, Agents: render.Agents{Image: f.agentImage, Version: version}, Concurrency: f.concurrency,
		Namespaces: f.namespaces,
	}
	if err := controller.Add(mgr, options); err != nil {
		return err
	}
	if webhooks != nil {
		if err := f.webhook.addTo(mgr, keeper, &observe.Observer{Domain: options.Domain, Operator: operator, Now: time.Now}); err != nil {
			return err
		}
	}
	ctrl.Log.Info("starting", "version", version, "clusterDomain", options.Domain, "namespaces", f.namespaces)
	return mgr.Start(ctx)
}

func (f *managerFlags) setLogger() error {
	var level zapcore.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return fmt.Errorf("--log-level=%q is not a level: use debug, info, warn or error", f.logLevel)
	}
	options := []zap.Opts{zap.Level(level), zap.UseDevMode(false)}
	switch f.logFormat {
	case "json":
		options = append(options, zap.JSONEncoder(readableTime))
	case "console":
		options = append(options, zap.ConsoleEncoder(readableTime))
	default:
		return fmt.Errorf("--log-format=%q is not a format: use json or console", f.logFormat)
	}
	ctrl.SetLogger(zap.New(options...))
	return nil
}

func readableTime(config *zapcore.EncoderConfig) { config.EncodeTime = zapcore.RFC3339NanoTimeEncoder }

// operator are the operator's own pods.
func (f *managerFlags) operator() (render.Operator, error) {
	own, err := labels.ConvertSelectorToLabelsMap(f.ownLabels)
	if err != nil {
		return render.Operator{}, fmt.Errorf("--operator-labels=%q are not labels: use key=value,key=value: %w", f.ownLabels, err)
	}
	if len(own) > 0 && f.ownNamespace == "" {
		return render.Operator{}, fmt.Errorf("--operator-labels=%q are those of pods in no namespace: set --operator-namespace, or POD_NAMESPACE", f.ownLabels)
	}
	return render.Operator{Namespace: f.ownNamespace, Labels: own}, nil
}

func (f *managerFlags) domain() string {
	if f.clusterDomain != "" {
		return f.clusterDomain
	}
	file, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return defaultDomain
	}
	defer func() { _ = file.Close() }()
	return domainOf(bufio.NewScanner(file))
}

const defaultDomain = "cluster.local"

// domainOf finds the DNS domain of the Kubernetes cluster: the kubelet gives every pod the search path
// "<namespace>.svc.<domain> svc.<domain> <domain>"
// (https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/).
func domainOf(resolvConf *bufio.Scanner) string {
	for resolvConf.Scan() {
		fields := strings.Fields(resolvConf.Text())
		if len(fields) == 0 || fields[0] != "search" {
			continue
		}
		// The last one: in a namespace called svc the first begins with it, too.
		for _, search := range slices.Backward(fields[1:]) {
			if domain, ok := strings.CutPrefix(search, "svc."); ok {
				return strings.TrimSuffix(domain, ".")
			}
		}
	}
	return defaultDomain
}
