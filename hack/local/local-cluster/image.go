//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/images"
)

// imageCommand makes an image archive. It needs neither root nor a running cluster.
func imageCommand() *cobra.Command {
	var spec images.Spec
	var binaries []string
	var output string
	command := &cobra.Command{
		Use: "image", Short: "Make an image archive from static programs", Args: cobra.NoArgs,
		Example: "  local-cluster image --name gcr.io/etcd-development/etcd:v3.6.16 --entrypoint /usr/local/bin/etcd \\\n    --binary build/bin/etcd-3.6/etcd=/usr/local/bin/etcd --output etcd.tar",
		RunE: func(*cobra.Command, []string) error {
			spec.Binaries = map[string]string{}
			for _, binary := range binaries {
				source, destination, found := strings.Cut(binary, "=")
				if !found || source == "" || !strings.HasPrefix(destination, "/") {
					return fmt.Errorf("--binary is %q; it has to be SOURCE=DESTINATION, with an absolute path in the image, such as build/bin/etcd=/usr/local/bin/etcd", binary)
				}
				spec.Binaries[destination] = source
			}
			if len(binaries) == 0 {
				return errors.New("an image needs at least one --binary SOURCE=DESTINATION")
			}
			return images.Write(spec, output)
		},
	}
	flags := command.Flags()
	flags.StringVar(&spec.Name, "name", "", "name and tag that pods use")
	flags.StringArrayVar(&spec.Entrypoint, "entrypoint", nil, "program that the container starts; repeat for its fixed arguments")
	flags.StringArrayVar(&spec.Command, "cmd", nil, "arguments that a pod may replace; repeat for more")
	flags.StringVar(&spec.User, "user", "", "UID or UID:GID to run as, such as 65532:65532 (default root)")
	flags.StringArrayVar(&binaries, "binary", nil, "SOURCE=DESTINATION: a static program and its path in the image; repeat for more")
	flags.StringVar(&output, "output", "", "archive to write")
	for _, name := range []string{"name", "output"} {
		if err := command.MarkFlagRequired(name); err != nil {
			// Only a flag that was never defined fails here.
			panic(err)
		}
	}
	return command
}
