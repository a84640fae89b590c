package environment

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// searchPath is where programs of a container are looked for.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// mount shows a file or folder of the host in a container.
type mount struct {
	source, target string
	readOnly       bool
}

// containerSandbox is what a container sees of the host.
type containerSandbox struct {
	// root is an empty folder that becomes the container's file system.
	root         string
	readOnlyRoot bool
	mounts       []mount
	hostname     string
	network      *podNetwork
	credential   *syscall.Credential
}

// startProgram starts a process that sees only the container's sandbox, with the host's folder of programs
// in /usr/local/bin.
func startProgram(programs string, arguments []string, container Container) (Running, error) {
	if len(arguments) == 0 {
		return nil, errors.New("no command specified")
	}
	sandbox := container.sandbox
	mounts := append([]mount{
		{source: programs, target: "/usr/local/bin", readOnly: true},
		{source: "/dev", target: "/dev"},
		{source: "/proc", target: "/proc"},
	}, sandbox.mounts...)
	if err := os.MkdirAll(filepath.Join(sandbox.root, "tmp"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(filepath.Join(sandbox.root, "tmp"), 0o1777); err != nil {
		return nil, err
	}
	path := arguments[0]
	if !strings.Contains(path, "/") {
		path = "/usr/local/bin/" + path
	}
	if folder, found := strings.CutPrefix(path, "/usr/local/bin/"); found {
		if _, err := os.Stat(filepath.Join(programs, folder)); err != nil {
			return nil, fmt.Errorf("exec: %q: executable file not found in $PATH", arguments[0])
		}
	}
	directory := container.WorkingDirectory
	if directory == "" {
		directory = "/"
	}
	command := &exec.Cmd{
		Path: path, Args: arguments, Env: append([]string{"PATH=" + searchPath}, container.Environment...), Dir: directory,
		Stdout: container.Log, Stderr: container.Log,
		// A process-id namespace makes the program process 1, which matters for how it ends on a signal.
		SysProcAttr: &syscall.SysProcAttr{Chroot: sandbox.root, Credential: sandbox.credential, Cloneflags: syscall.CLONE_NEWPID},
	}
	p, err := spawn(command, func() error { return sandbox.enter(mounts) })
	if err != nil {
		return nil, err
	}
	return firstProcess{p}, nil
}

// enter moves the calling thread into the sandbox; the root folder is left to chroot.
func (s containerSandbox) enter(mounts []mount) error {
	if err := syscall.Unshare(syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("make mount and host name namespaces: %w", err)
	}
	if err := unix.Setns(int(s.network.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("join the pod's network namespace: %w", err)
	}
	if err := syscall.Sethostname([]byte(s.hostname)); err != nil {
		return fmt.Errorf("set the host name %s: %w", s.hostname, err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := syscall.Mount(s.root, s.root, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the container's root %s: %w", s.root, err)
	}
	for _, mount := range mounts {
		if err := mount.apply(s.root); err != nil {
			return err
		}
	}
	if s.readOnlyRoot {
		return remountReadOnly(s.root)
	}
	return nil
}

// apply shows the mount's source at its target below a root.
func (m mount) apply(root string) error {
	target := filepath.Join(root, m.target)
	information, err := os.Stat(m.source)
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	if information.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		var file *os.File
		if file, err = os.OpenFile(target, os.O_CREATE, 0o644); err == nil {
			err = file.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("make the mount point %s: %w", m.target, err)
	}
	if err := syscall.Mount(m.source, target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", m.source, m.target, err)
	}
	if m.readOnly {
		return remountReadOnly(target)
	}
	return nil
}

// remountReadOnly makes an existing bind mount read-only.
func remountReadOnly(target string) error {
	if err := syscall.Mount("", target, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}

// firstProcess is a container's first process.
type firstProcess struct{ process *process }

func (p firstProcess) Signal(signal syscall.Signal) error { return p.process.signal(signal) }
func (p firstProcess) Done() <-chan struct{}              { return p.process.done }
func (p firstProcess) Exit() (int, syscall.Signal)        { return p.process.exitStatus() }
