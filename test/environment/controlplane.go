package environment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	apiServerStart  = 60 * time.Second
	controllerStart = 30 * time.Second
	// apiServerPort is the port of the service "kubernetes", so that its name leads to the API server without kube-proxy.
	apiServerPort = 443
)

// controllers are those of kube-controller-manager that the operator's objects need.
var controllers = []string{
	"statefulset-controller", "deployment-controller", "replicaset-controller", "job-controller", "cronjob-controller",
	"garbage-collector-controller", "namespace-controller", "ttl-after-finished-controller",
	"endpoints-controller", "endpointslice-controller",
	"persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller",
	"disruption-controller", "resourcequota-controller",
	"serviceaccount-controller", "root-ca-certificate-publisher-controller", "clusterrole-aggregation-controller",
}

// controlPlane is the cluster's etcd, API server and controller manager, and cert-manager if it was asked for.
type controlPlane struct {
	root, logs string
	files      *apiServerFiles
	config     *rest.Config
	kubeconfig string

	etcd, apiServer, controllerManager, certManager *process
}

// auditPolicy has logged who changes something, and all that service accounts ask for: what permissions are needed for.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

// startAPIServer starts etcd and the API server, and waits until it is ready.
func startAPIServer(ctx context.Context, root, folder, logs string, audit bool) (*controlPlane, error) {
	c := &controlPlane{root: root, logs: logs}
	var err error
	if c.files, err = writeAPIServerFiles(filepath.Join(folder, "control-plane")); err != nil {
		return nil, err
	}
	if err := c.startEtcd(filepath.Join(folder, "control-plane", "etcd")); err != nil {
		return nil, err
	}
	arguments := apiServerArguments(c.files)
	if audit {
		policy := filepath.Join(folder, "control-plane", "audit-policy.yaml")
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("write %s: %w", policy, err), c.stop())
		}
		// A file that is full would be moved away, and a test would miss what it holds.
		arguments = append(arguments, "--audit-policy-file="+policy, "--audit-log-path="+filepath.Join(logs, "audit.log"), "--audit-log-maxsize=100000")
	}
	if c.apiServer, err = c.start("kube-apiserver", arguments...); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	c.config = &rest.Config{
		Host: fmt.Sprintf("https://127.0.0.1:%d", apiServerPort), BearerToken: c.files.token,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.files.authority}, QPS: -1,
	}
	if c.kubeconfig, err = c.writeKubeconfig("kubeconfig", c.files.token); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	if err := c.waitForAPIServer(ctx); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// start starts a Kubernetes program of build/bin.
func (c *controlPlane) start(name string, arguments ...string) (*process, error) {
	path, err := program(c.root, name)
	if err != nil {
		return nil, err
	}
	return spawnLogged(path, filepath.Join(c.logs, filepath.Base(name)+".log"), arguments...)
}

// startEtcd starts the API server's own etcd.
func (c *controlPlane) startEtcd(data string) (err error) {
	c.etcd, err = c.start("etcd-3.6/etcd",
		"--data-dir="+data, "--unsafe-no-fsync",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--log-level=warn")
	return err
}

// apiServerArguments is the API server's command line. Pods get no service account tokens, because
// the ServiceAccount admission plugin is off.
func apiServerArguments(files *apiServerFiles) []string {
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", fmt.Sprintf("--secure-port=%d", apiServerPort), "--advertise-address=" + gatewayAddress.String(),
		"--tls-cert-file=" + files.certificateFile, "--tls-private-key-file=" + files.keyFile,
		"--token-auth-file=" + files.tokenFile, "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + files.serviceAccountKeyFile, "--service-account-signing-key-file=" + files.serviceAccountKeyFile,
		"--service-cluster-ip-range=10.96.0.0/12", "--allow-privileged=true",
		"--disable-admission-plugins=ServiceAccount",
		// Without kube-proxy, Services lead nowhere: webhooks are reached at the pods behind them.
		"--enable-aggregator-routing=true",
		// Not on by default, but in some distributions: who makes an object that its owner waits for may change that owner's finalizers.
		"--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
		"--enable-priority-and-fairness=false", "--profiling=false",
	}
}

// waitForAPIServer waits until the API server is ready, or has ended.
func (c *controlPlane) waitForAPIServer(ctx context.Context) error {
	clientset, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 25*time.Millisecond, apiServerStart, true, func(ctx context.Context) (bool, error) {
		select {
		case <-c.apiServer.done:
			return false, errors.New("it ended")
		default:
		}
		_, last = clientset.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for kube-apiserver, whose log is %s: %w", filepath.Join(c.logs, "kube-apiserver.log"), errors.Join(err, last))
	}
	return nil
}

// startControllerManager starts kube-controller-manager.
func (c *controlPlane) startControllerManager() error {
	kubeconfig, err := c.writeKubeconfig("controller-manager.kubeconfig", c.files.controllerToken)
	if err != nil {
		return err
	}
	c.controllerManager, err = c.start("kube-controller-manager",
		"--kubeconfig="+kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--controllers="+strings.Join(controllers, ","),
		"--kube-api-qps=2000", "--kube-api-burst=4000",
		"--concurrent-statefulset-syncs=10", "--concurrent-namespace-syncs=20", "--concurrent-gc-syncs=20",
		"--root-ca-file="+c.files.authorityFile, "--profiling=false")
	return err
}

// waitForControllers waits for something that a controller makes.
func (c *controlPlane) waitForControllers(ctx context.Context, clientset kubernetes.Interface) error {
	err := wait.PollUntilContextTimeout(ctx, 25*time.Millisecond, controllerStart, true, func(ctx context.Context) (bool, error) {
		select {
		case <-c.controllerManager.done:
			return false, errors.New("it ended")
		default:
		}
		_, err := clientset.CoreV1().ServiceAccounts(corev1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for kube-controller-manager: %w; its log is %s", err, filepath.Join(c.logs, "kube-controller-manager.log"))
	}
	return nil
}

// writeKubeconfig writes a kubeconfig for the bearer of a token.
func (c *controlPlane) writeKubeconfig(name, token string) (string, error) {
	config := api.NewConfig()
	config.Clusters["test"] = &api.Cluster{Server: c.config.Host, CertificateAuthorityData: c.files.authority}
	config.AuthInfos["test"] = &api.AuthInfo{Token: token}
	config.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	path := filepath.Join(filepath.Dir(c.files.kubeconfig), name)
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("write the kubeconfig %s: %w", path, err)
	}
	return path, nil
}

// stop ends the control plane. Nothing of it is used again, so its programs are killed rather than asked.
func (c *controlPlane) stop() error {
	var failures []error
	for _, process := range []*process{c.certManager, c.controllerManager, c.apiServer, c.etcd} {
		if process != nil {
			failures = append(failures, process.end(0))
		}
	}
	return errors.Join(failures...)
}
