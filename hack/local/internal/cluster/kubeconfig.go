//go:build linux

package cluster

import (
	"crypto/x509/pkix"
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// administrators is the group that may do everything.
const administrators = "system:masters"

// contextName is the cluster's name in kubeconfig files.
const contextName = "etcd-operator-local"

// kubeconfigFor is where a program of the cluster finds its kubeconfig.
func (c *Cluster) kubeconfigFor(program string) string {
	return c.path("kubeconfigs", program+".yaml")
}

// writeKubeconfigs writes the administrator's kubeconfig, for the host, and one for every program, each with
// the user that Kubernetes knows it by.
func (c *Cluster) writeKubeconfigs(a *authority) error {
	users := map[string]pkix.Name{
		"kube-controller-manager": {CommonName: "system:kube-controller-manager"},
		"kube-scheduler":          {CommonName: "system:kube-scheduler"},
		"kube-proxy":              {CommonName: "system:kube-proxy"},
		"coredns":                 {CommonName: "local-cluster:coredns", Organization: []string{administrators}},
		"provisioner":             {CommonName: "local-cluster:provisioner", Organization: []string{administrators}},
		// local-cluster itself, so that its requests can be told from those of the administrator.
		"local-cluster": {CommonName: "local-cluster", Organization: []string{administrators}},
	}
	for _, n := range c.nodes() {
		users["kubelet-"+n.name] = pkix.Name{CommonName: "system:node:" + n.name, Organization: []string{"system:nodes"}}
	}
	for program, user := range users {
		server := apiServerAddress
		if program == "local-cluster" {
			server = hostAPIServerAddress
		}
		if err := c.writeKubeconfig(a, c.kubeconfigFor(program), user, server); err != nil {
			return err
		}
	}
	return c.writeKubeconfig(a, c.Kubeconfig(), pkix.Name{CommonName: "kubernetes-admin", Organization: []string{administrators}}, hostAPIServerAddress)
}

func (c *Cluster) writeKubeconfig(a *authority, path string, user pkix.Name, server string) error {
	who, err := a.issue(user, nil)
	if err != nil {
		return err
	}
	config := api.NewConfig()
	config.Clusters[contextName] = &api.Cluster{Server: "https://" + server, CertificateAuthorityData: a.pem}
	config.AuthInfos[user.CommonName] = &api.AuthInfo{ClientCertificateData: who.certificate, ClientKeyData: who.key}
	config.Contexts[contextName] = &api.Context{Cluster: contextName, AuthInfo: user.CommonName}
	config.CurrentContext = contextName
	content, err := clientcmd.Write(*config)
	if err == nil {
		err = writeFile(path, content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing kubeconfig %q: %w", path, err)
	}
	return nil
}

// client talks to the API server the way users on the host do.
func (c *Cluster) client() (kubernetes.Interface, error) {
	path := c.kubeconfigFor("local-cluster")
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %q: %w (is the local cluster up?)", path, err)
	}
	// Conditions are polled quickly while the cluster starts.
	config.QPS, config.Burst = 100, 200
	// The cluster is on this machine: a proxy variable of the caller must not be used.
	config.Proxy = nil
	return kubernetes.NewForConfig(config)
}
