package environment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Runner runs containers of one image repository.
type Runner interface {
	// Pull tells whether the repository has the tag. Its error is reported as a kubelet reports a failed pull.
	Pull(tag string) error
	// Start starts a container. An error is reported as a container that could not be started.
	Start(tag string, container Container) (Running, error)
}

// Container is what a runner runs.
type Container struct {
	Namespace, Pod, Name, Image string
	// Command and Arguments replace the image's own if they are not empty; references are expanded already.
	Command, Arguments []string
	// Environment has entries of the form NAME=value.
	Environment      []string
	WorkingDirectory string
	// Log is where the output goes.
	Log *os.File

	sandbox containerSandbox
}

// Running is a container's process.
type Running interface {
	// Signal sends a signal; a process that has ended is no error.
	Signal(signal syscall.Signal) error
	// Done is closed when the process has ended.
	Done() <-chan struct{}
	// Exit is the exit code, and the signal that ended the process or 0. It is valid when Done is closed.
	Exit() (code int, signal syscall.Signal)
}

// ProgramImage is a Runner for images that consist of a folder of programs, as minimal images do.
type ProgramImage struct {
	// Programs finds the host's folder whose programs a tag has in /usr/local/bin.
	Programs func(tag string) (folder string, err error)
	// Entrypoint is the command of containers that name none.
	Entrypoint []string
	// Environment has variables of the form NAME=value, for containers that do not set them.
	Environment []string
}

// Pull implements Runner.
func (i ProgramImage) Pull(tag string) error {
	_, err := i.Programs(tag)
	return err
}

// Start implements Runner.
func (i ProgramImage) Start(tag string, container Container) (Running, error) {
	folder, err := i.Programs(tag)
	if err != nil {
		return nil, err
	}
	command := container.Command
	if len(command) == 0 {
		command = i.Entrypoint
	}
	// Of two entries for one variable the later counts.
	container.Environment = append(append([]string{}, i.Environment...), container.Environment...)
	return startProgram(folder, append(append([]string{}, command...), container.Arguments...), container)
}

// etcdTag has the minor version as its group. Any patch version runs the one that build/bin has.
var etcdTag = regexp.MustCompile(`^v(3\.\d+)\.\d{1,2}$`)

// etcdImage finds etcd, etcdctl and etcdutl of the tag's minor version in build/bin. An election timeout of 0 leaves etcd's own.
func etcdImage(binaries string, electionTimeout time.Duration) Runner {
	// Processes are killed here, and the machine never is: what they have written is there without being flushed to the disk.
	environment := []string{"ETCD_UNSAFE_NO_FSYNC=true"}
	if electionTimeout > 0 {
		environment = append(environment,
			fmt.Sprintf("ETCD_ELECTION_TIMEOUT=%d", electionTimeout.Milliseconds()),
			fmt.Sprintf("ETCD_HEARTBEAT_INTERVAL=%d", electionTimeout.Milliseconds()/5),
		)
	}
	return ProgramImage{
		Entrypoint: []string{"etcd"}, Environment: environment,
		Programs: func(tag string) (string, error) {
			match := etcdTag.FindStringSubmatch(tag)
			if match == nil {
				return "", errors.New("not found")
			}
			path, err := filepath.EvalSymlinks(filepath.Join(binaries, "etcd-"+match[1], "etcd"))
			if errors.Is(err, fs.ErrNotExist) {
				return "", fmt.Errorf("not found: there is no build/bin/etcd-%s/etcd; if the version exists, run hack/build.sh etcd/%s", match[1], match[1])
			}
			return filepath.Dir(path), err
		},
	}
}

// findImage splits a reference into repository and tag, and finds the repository's runner.
func findImage(images map[string]Runner, reference string) (runner Runner, tag string, err error) {
	name, _, _ := strings.Cut(reference, "@")
	repository, tag := name, "latest"
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		repository, tag = name[:colon], name[colon+1:]
	}
	runner, found := images[repository]
	if !found {
		runner, found = images[repository[strings.LastIndex(repository, "/")+1:]]
	}
	if !found {
		return nil, "", fmt.Errorf("%s: not found", reference)
	}
	if err := runner.Pull(tag); err != nil {
		return nil, "", fmt.Errorf("%s: %w", reference, err)
	}
	return runner, tag, nil
}
