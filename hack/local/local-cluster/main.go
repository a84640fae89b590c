//go:build linux

// Command local-cluster runs a real Kubernetes with several nodes on a Linux machine that has neither Docker
// nor an image registry.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := rootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "local-cluster:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	c := &cluster.Cluster{Output: os.Stdout}
	root := &cobra.Command{
		Use:           "local-cluster",
		Short:         "Runs a real Kubernetes with several nodes on this machine, without Docker and without an image registry",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			var err error
			c.Program, err = os.Executable()
			c.State = filepath.Clean(c.State)
			return err
		},
	}
	root.PersistentFlags().StringVar(&c.State, "state", cluster.DefaultState, "directory of everything that the cluster writes")
	root.AddCommand(upCommand(c), downCommand(c), statusCommand(c), loadCommand(c), nodeCommand(c), imageCommand(),
		provisionerCommand(), proxyCommand())
	return root
}

// privileged refuses to run a command as anybody but root.
func privileged(run func(command *cobra.Command, arguments []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, arguments []string) error {
		if err := cluster.RequireRoot(); err != nil {
			return err
		}
		return run(command, arguments)
	}
}

func upCommand(c *cluster.Cluster) *cobra.Command {
	nodes := 3
	command := &cobra.Command{
		Use: "up", Short: "Start the cluster, or make sure that it runs", Args: cobra.NoArgs,
		RunE: privileged(func(command *cobra.Command, _ []string) error {
			wanted := 0
			if command.Flags().Changed("nodes") {
				wanted = nodes
				if nodes < 1 || nodes > cluster.MaximumNodes {
					return fmt.Errorf("--nodes is %d; it has to be between 1 and %d", nodes, cluster.MaximumNodes)
				}
			}
			var err error
			if c.Bin, err = filepath.Abs(c.Bin); err != nil {
				return fmt.Errorf("finding the directory of --bin %q: %w", c.Bin, err)
			}
			return c.Up(command.Context(), wanted)
		}),
	}
	command.Flags().IntVar(&nodes, "nodes", nodes, "how many nodes to start")
	command.Flags().StringVar(&c.Bin, "bin", besideThisProgram(), "directory of the Kubernetes, etcd and CoreDNS programs")
	return command
}

// besideThisProgram is the directory through which this program was called. It may be a link there: what it
// links to is not looked at.
func besideThisProgram() string {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "build/bin"
	}
	return filepath.Dir(path)
}

func downCommand(c *cluster.Cluster) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End the cluster and remove all of it", Args: cobra.NoArgs,
		RunE: privileged(func(command *cobra.Command, _ []string) error { return c.Down(command.Context()) }),
	}
}

func statusCommand(c *cluster.Cluster) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show what runs", Args: cobra.NoArgs,
		RunE: privileged(func(command *cobra.Command, _ []string) error { return c.Status(command.Context()) }),
	}
}

func loadCommand(c *cluster.Cluster) *cobra.Command {
	return &cobra.Command{
		Use: "load FILE.tar...", Short: "Load image archives into every node", Args: cobra.MinimumNArgs(1),
		RunE: privileged(func(command *cobra.Command, archives []string) error {
			return c.Load(command.Context(), archives)
		}),
	}
}

func nodeCommand(c *cluster.Cluster) *cobra.Command {
	node := &cobra.Command{Use: "node", Short: "Make a node fail, and bring it back"}
	for _, action := range []struct {
		name, short string
		run         func(context.Context, string) error
	}{
		{"stop", "Stop a node as if its machine had lost power", c.StopNode},
		{"start", "Start a stopped node again", c.StartNode},
		{"disconnect", "Unplug a node's network cable", c.DisconnectNode},
		{"connect", "Plug a node's network cable in again", c.ConnectNode},
	} {
		node.AddCommand(&cobra.Command{
			Use: action.name + " NAME", Short: action.short, Args: cobra.ExactArgs(1),
			RunE: privileged(func(command *cobra.Command, names []string) error {
				return action.run(command.Context(), names[0])
			}),
		})
	}
	return node
}
