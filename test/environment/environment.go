// Package environment runs a real Kubernetes control plane for integration tests, and plays the nodes.
//
// kube-apiserver, its etcd and kube-controller-manager are the real programs. What a cluster has besides
// (scheduler, kubelets, volume provisioner, cluster DNS) is played by one node agent in the test's process, small and
// fast: it runs a pod's containers as real processes, each pod with an address and a network namespace of
// its own, each container in a folder tree of its own.
//
// A test binary moves itself into a private network and mount namespace first, so that nothing it makes
// outlives it or meets anything else on the host:
//
//	func TestMain(m *testing.M) {
//		environment.Isolate()
//		os.Exit(run(m)) // environment.Start, m.Run, Stop
//	}
package environment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Options say what Start starts. The zero value is a cluster of three nodes without the project's CRDs.
type Options struct {
	// Nodes is how many nodes the cluster has; 0 means 3. They are called node-1, node-2, ... and lie in zone-1,
	// zone-2 and zone-3 in turn.
	Nodes int
	// CRDs are files or folders of CustomResourceDefinitions, relative to the repository's root.
	CRDs []string
	// Scheme is the scheme of Environment.Client; nil means client-go's own.
	Scheme *runtime.Scheme
	// APIServerOnly leaves out the controller manager and the node agent: enough to test CRD validation.
	APIServerOnly bool
	// Images adds images to those that the nodes can pull. The key is a repository ("registry/path/name") or its
	// last part ("name"). "etcd" is always there.
	Images map[string]Runner
	// ElectionTimeout is that of etcd containers that set none themselves, with a fifth of it as their heartbeat, the most that etcd takes; 0 means etcd's
	// own 1 s. A new cluster waits up to three election timeouts for its first leader.
	ElectionTimeout time.Duration
	// RestartBackOff is the delay before a container's second restart, doubled with each further one
	// up to MaxRestartBackOff; 0 means 200 ms and 5 s. The first restart is immediate.
	RestartBackOff, MaxRestartBackOff time.Duration
	// LogFolder receives one file per process; "" means build/logs/integration/<test binary>-<pid>, which Stop removes
	// unless a test of a namespace made by NewNamespace failed.
	LogFolder string
	// DataFolder holds volumes and the API server's data; "" means a new folder in the system's folder for
	// temporary files. A folder on a tmpfs is faster, and costs 128 MB of memory per etcd member.
	DataFolder string
	// AuditLog makes the API server log to audit.log in the log folder who changes something, and what service accounts ask for.
	AuditLog bool
}

// Environment is a running cluster.
type Environment struct {
	// Config is an administrator's access to the API server, without client-side rate limits.
	Config *rest.Config
	// Kubeconfig is a file with the same access, for programs.
	Kubeconfig string
	// Client reads and writes without a cache.
	Client client.Client
	// Clientset is the typed client of the built-in kinds.
	Clientset kubernetes.Interface

	options  Options
	control  *controlPlane
	agent    *nodeAgent
	network  *clusterNetwork
	dns      *dnsServer
	folder   string
	logs     string
	ownsLogs bool

	startCertManager func() error

	mutex      sync.Mutex
	namespaces int
	failed     bool
}

// Start starts a cluster and returns when it is ready for objects. The context bounds only the start.
func Start(ctx context.Context, options Options) (_ *Environment, err error) {
	if options.Nodes == 0 {
		options.Nodes = 3
	}
	if options.Scheme == nil {
		options.Scheme = clientgoscheme.Scheme
	}
	if err := requireIsolation(); err != nil {
		return nil, err
	}
	e := &Environment{options: options}
	e.startCertManager = sync.OnceValue(e.runCertManager)
	defer func() {
		if err != nil {
			e.markFailed()
			err = errors.Join(err, e.Stop())
		}
	}()
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	if err := e.makeFolders(root); err != nil {
		return nil, err
	}
	if e.network, err = openClusterNetwork(); err != nil {
		return nil, err
	}
	if e.control, err = startAPIServer(ctx, root, e.folder, e.logs, options.AuditLog); err != nil {
		return nil, err
	}
	e.Config, e.Kubeconfig = e.control.config, e.control.kubeconfig
	if err := e.makeClients(root); err != nil {
		return nil, err
	}
	if options.APIServerOnly {
		return e, nil
	}
	err = e.startNodes(ctx, root)
	return e, err
}

// makeFolders makes the folders for data and logs.
func (e *Environment) makeFolders(root string) (err error) {
	removeStaleFolders()
	if e.folder = e.options.DataFolder; e.folder == "" {
		if e.folder, err = os.MkdirTemp("", dataFolderPattern()); err != nil {
			return fmt.Errorf("make a folder for the cluster's data: %w", err)
		}
	}
	if e.logs = e.options.LogFolder; e.logs == "" {
		name := fmt.Sprintf("%s-%d", strings.TrimSuffix(filepath.Base(os.Args[0]), ".test"), os.Getpid())
		e.logs, e.ownsLogs = filepath.Join(root, "build", "logs", "integration", name), true
	}
	for _, folder := range []string{e.folder, e.logs} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make the folder %s: %w", folder, err)
		}
	}
	return nil
}

// makeClients makes the clients and installs the CRDs.
func (e *Environment) makeClients(root string) (err error) {
	if e.Client, err = client.New(e.Config, client.Options{Scheme: e.options.Scheme}); err != nil {
		return fmt.Errorf("make a client of %s: %w", e.Config.Host, err)
	}
	if e.Clientset, err = kubernetes.NewForConfig(e.Config); err != nil {
		return fmt.Errorf("make a clientset of %s: %w", e.Config.Host, err)
	}
	return e.installCRDs(root, e.options.CRDs)
}

// installCRDs installs CRDs of files or folders, and waits until they can be used.
func (e *Environment) installCRDs(root string, files []string) error {
	var paths []string
	for _, path := range files {
		if !filepath.IsAbs(path) {
			path = filepath.Join(root, path)
		}
		paths = append(paths, path)
	}
	if len(paths) == 0 {
		return nil
	}
	_, err := envtest.InstallCRDs(e.Config, envtest.CRDInstallOptions{
		Paths: paths, ErrorIfPathMissing: true, MaxTime: 20 * time.Second, PollInterval: 20 * time.Millisecond,
	})
	if err != nil {
		return fmt.Errorf("install the CRDs of %v: %w", paths, err)
	}
	return nil
}

// startNodes starts the controller manager, the cluster's DNS and the node agent.
func (e *Environment) startNodes(ctx context.Context, root string) (err error) {
	if err := e.control.startControllerManager(); err != nil {
		return err
	}
	images := map[string]Runner{"etcd": etcdImage(filepath.Join(root, "build", "bin"), e.options.ElectionTimeout)}
	for name, runner := range e.options.Images {
		images[name] = runner
	}
	e.agent, err = newNodeAgent(nodeAgentOptions{
		client: e.Clientset, network: e.network, images: images, nodes: e.options.Nodes,
		folder: e.folder, logs: e.logs,
		backOff: e.options.RestartBackOff, maxBackOff: e.options.MaxRestartBackOff,
	})
	if err != nil {
		return err
	}
	if e.dns, err = startDNS(gatewayAddress, e.agent.records()); err != nil {
		return err
	}
	if err := useResolver(e.folder); err != nil {
		return err
	}
	if err := e.agent.start(ctx); err != nil {
		return err
	}
	return e.control.waitForControllers(ctx, e.Clientset)
}

// Stop ends every process of the cluster and removes its folders. It can be called twice.
func (e *Environment) Stop() error {
	var failures []error
	if e.agent != nil {
		failures = append(failures, e.agent.stop())
	}
	if e.dns != nil {
		e.dns.stop()
	}
	if e.control != nil {
		failures = append(failures, e.control.stop())
	}
	if e.network != nil {
		failures = append(failures, e.network.close())
	}
	if e.folder != "" {
		failures = append(failures, os.RemoveAll(e.folder))
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.ownsLogs && !e.failed {
		failures = append(failures, os.RemoveAll(e.logs))
	}
	return errors.Join(failures...)
}

// NewNamespace makes a namespace that is emptied when the test ends. The logs of its pods are kept only if the test fails.
func (e *Environment) NewNamespace(t testing.TB) string {
	t.Helper()
	e.mutex.Lock()
	e.namespaces++
	name := fmt.Sprintf("test-%d", e.namespaces)
	e.mutex.Unlock()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := e.Client.Create(t.Context(), namespace); err != nil {
		t.Fatalf("create the namespace %s: %v", name, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			e.markFailed()
			t.Logf("the pods' logs are in %s", filepath.Join(e.logs, name))
		} else if err := os.RemoveAll(filepath.Join(e.logs, name)); err != nil {
			t.Errorf("remove the logs of %s: %v", name, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := e.EmptyNamespace(ctx, name); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return name
}

// EmptyNamespace ends all that runs in a namespace without waiting for grace periods: processes are killed. It returns when its pods,
// claims and volumes are gone. What else it has stays until the environment ends: for Kubernetes, to delete a namespace is to look for
// everything that it could have, which takes a good part of the processors if each test does it.
func (e *Environment) EmptyNamespace(ctx context.Context, name string) error {
	if e.agent == nil {
		return nil
	}
	return e.agent.emptyNamespace(ctx, name)
}

// Logs is the folder of the processes' logs: <program>.log, and <namespace>/<pod>/<container>-<restarts>.log.
func (e *Environment) Logs() string { return e.logs }

// markFailed makes Stop keep the logs.
func (e *Environment) markFailed() {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.failed = true
}
