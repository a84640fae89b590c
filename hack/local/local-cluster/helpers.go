//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/proxy"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/storage"
)

// provisionerCommand runs as a process of the cluster.
func provisionerCommand() *cobra.Command {
	var kubeconfig, volumes string
	command := &cobra.Command{
		Use: "provisioner", Hidden: true, Args: cobra.NoArgs, Short: "Make, resize and remove volumes",
		RunE: func(command *cobra.Command, _ []string) error {
			return storage.Run(command.Context(), kubeconfig, volumes)
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the cluster")
	command.Flags().StringVar(&volumes, "volumes", "", "directory of all volumes")
	return command
}

// proxyCommand runs as a process of the cluster.
func proxyCommand() *cobra.Command {
	var options proxy.Options
	command := &cobra.Command{
		Use: "api-proxy", Hidden: true, Args: cobra.NoArgs, Short: "Let this machine reach the API server, pods and Services",
		RunE: func(command *cobra.Command, _ []string) error { return proxy.Run(command.Context(), options) },
	}
	command.Flags().StringVar(&options.Target, "target", "", "address of the API server")
	command.Flags().StringVar(&options.DNS, "dns", "", "name server for names in SOCKS requests")
	return command
}
