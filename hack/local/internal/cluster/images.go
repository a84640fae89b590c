//go:build linux

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/hack/local/internal/images"
)

// importLimit bounds one call of ctr.
const importLimit = 2 * time.Minute

// Load puts the images of archives into every node that runs.
func (c *Cluster) Load(ctx context.Context, archives []string) error {
	if err := c.useState(); err != nil {
		return err
	}
	running := slices.DeleteFunc(c.nodes(), func(n node) bool {
		return !exists(c.containerdSocket(n)) || !c.runs(n.name+"-containerd")
	})
	if len(running) == 0 {
		return fmt.Errorf("no node runs: start the cluster with local-cluster up")
	}
	for _, archive := range archives {
		contents, err := images.Contents(archive)
		if err != nil {
			return err
		}
		started := time.Now()
		results := make([]string, len(running))
		if err := forEach(indices(running), func(i int) error {
			loaded, err := c.loadInto(ctx, running[i], archive, contents)
			results[i] = running[i].name + " has it"
			if loaded {
				results[i] = running[i].name + " loaded"
			}
			return err
		}); err != nil {
			return err
		}
		names := make([]string, 0, len(contents))
		for name := range contents {
			names = append(names, name)
		}
		slices.Sort(names)
		c.say("%s: %s (%.1f s)", strings.Join(names, ", "), strings.Join(results, ", "), time.Since(started).Seconds())
	}
	if len(running) < c.Nodes {
		c.say("%d of %d nodes do not run and got nothing: load again once they do", c.Nodes-len(running), c.Nodes)
	}
	return nil
}

// loadInto imports an archive into one node, unless the node has its images already.
func (c *Cluster) loadInto(
	ctx context.Context, n node, archive string, contents map[string]string,
) (loaded bool, err error) {
	complete := true
	for name, digest := range contents {
		if complete = complete && c.hasImage(ctx, n, name, digest); !complete {
			break
		}
	}
	if complete {
		return false, nil
	}
	path, err := filepath.Abs(archive)
	if err != nil {
		return false, fmt.Errorf("finding image archive %q: %w", archive, err)
	}
	if _, err := c.ctr(ctx, n, "images", "import", path); err != nil {
		return false, fmt.Errorf("loading %q into %s: %w (read %s)", archive, n.name, err, c.logFile(n.name+"-containerd"))
	}
	return true, nil
}

// hasImage says whether the node has exactly this image under the name.
func (c *Cluster) hasImage(ctx context.Context, n node, name, configDigest string) bool {
	listed, err := c.ctr(ctx, n, "images", "list", `name=="`+name+`"`)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(listed)) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && fields[0] == name {
			manifest, err := c.ctr(ctx, n, "content", "get", fields[2])
			return err == nil && images.ConfigDigest(manifest) == configDigest
		}
	}
	return false
}

// ctr calls containerd's own client for a node.
func (c *Cluster) ctr(ctx context.Context, n node, arguments ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, importLimit)
	defer cancel()
	where := []string{"--address", c.containerdSocket(n), "--namespace", "k8s.io"}
	command := exec.CommandContext(ctx, tool("ctr"), append(where, arguments...)...)
	var problem bytes.Buffer
	command.Stderr = &problem
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("ctr %s: %w: %s", strings.Join(arguments, " "), err, bytes.TrimSpace(problem.Bytes()))
	}
	return output, nil
}

// makePauseImage writes the archive of the image that every pod needs.
func (c *Cluster) makePauseImage() (archive string, err error) {
	archive = c.path("pause.tar")
	if err := os.MkdirAll(c.State, 0o755); err != nil {
		return "", fmt.Errorf("making the state directory: %w", err)
	}
	return archive, images.Write(images.Spec{
		Name: pauseImage, Entrypoint: []string{"/pause"}, User: "65535:65535",
		Binaries: map[string]string{"/pause": filepath.Join(c.Bin, "pause")},
	}, archive)
}

func indices[T any](items []T) []int {
	all := make([]int, len(items))
	for i := range all {
		all[i] = i
	}
	return all
}
