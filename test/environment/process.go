package environment

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a running program. It dies with the test binary, however that ends.
type process struct {
	command *exec.Cmd
	done    chan struct{}
}

// spawn starts a command on an operating-system thread of its own, after enter has run on that thread: what enter
// changes of the thread's namespaces is what the command gets. The thread lives as long as the command, because
// the kernel sends the parent-death signal when the thread that started a child ends.
func spawn(command *exec.Cmd, enter func() error) (*process, error) {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	command.SysProcAttr.Setpgid = true
	p := &process{command: command, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, and its namespaces, end with the goroutine
		if enter != nil {
			if err := enter(); err != nil {
				started <- err
				return
			}
		}
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = command.Wait() // the outcome is in command.ProcessState
		close(p.done)
	}()
	return p, <-started
}

// seldomGC has programs of Go collect garbage a quarter as often as they would: tests have more memory than processors.
const seldomGC = "GOGC=400"

// spawnLogged starts a program of the host with its output in a log file.
func spawnLogged(path, log string, arguments ...string) (*process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make the log of %s: %w", path, err)
	}
	defer func() { _ = file.Close() }() // the process has its own copy
	command := exec.Command(path, arguments...)
	command.Stdout, command.Stderr, command.Env = file, file, append(os.Environ(), seldomGC)
	p, err := spawn(command, nil)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return p, nil
}

// signal sends a signal to the process and those it started. A process that has ended is no error.
func (p *process) signal(signal syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	pid := p.command.Process.Pid
	if err := syscall.Kill(-pid, signal); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("send %v to process %d (%s): %w", signal, pid, p.command.Path, err)
	}
	return nil
}

// end asks the process to end, kills it after the grace period, and waits for its end.
func (p *process) end(grace time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("process %d (%s) did not end within 10 s of SIGKILL", p.command.Process.Pid, p.command.Path)
	}
}

// exitStatus is the exit code as a container runtime reports it, and the signal that ended the process or 0.
func (p *process) exitStatus() (code int, signal syscall.Signal) {
	status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return p.command.ProcessState.ExitCode(), 0
	}
	if status.Signaled() {
		return 128 + int(status.Signal()), status.Signal()
	}
	return status.ExitStatus(), 0
}
