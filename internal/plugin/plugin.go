// Package plugin is kubectl etcd: what takes more than an object and kubectl itself.
package plugin

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// Command is the plugin. Its flags for reaching Kubernetes are those of kubectl.
func Command(version string) *cobra.Command {
	access := &access{overrides: &clientcmd.ConfigOverrides{}}
	root := &cobra.Command{
		Use:           "kubectl-etcd",
		Short:         "Looks after etcd clusters of etcd-k8s-operator",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl etcd"},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&access.kubeconfig, "kubeconfig", "", "the file that says how to reach Kubernetes, instead of what kubectl uses")
	flags.StringVar(&access.overrides.CurrentContext, "context", "", "the context of that file")
	flags.StringVarP(&access.overrides.Context.Namespace, "namespace", "n", "", "the namespace of the objects, instead of that of the context")
	root.AddCommand(backupsCommand(access))
	return root
}

// access is how Kubernetes is reached.
type access struct {
	kubeconfig string
	overrides  *clientcmd.ConfigOverrides
}

// kube are the clients of a Kubernetes, and the namespace to work in.
type kube struct {
	client.Client
	set       kubernetes.Interface
	namespace string
}

func (a *access) connect() (*kube, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, a.overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("how to reach Kubernetes: %w", err)
	}
	k := &kube{}
	if k.namespace, _, err = loader.Namespace(); err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	if k.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	k.set, err = kubernetes.NewForConfig(config)
	return k, err
}
