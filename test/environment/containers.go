package environment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// containerRun is one container of a pod, through all its restarts.
type containerRun struct {
	worker *podWorker
	spec   *corev1.Container

	// log is the file of the last start's output, which begins at logStart.
	log      string
	logStart int64

	// The worker's mutex protects these.
	status  corev1.ContainerStatus
	process Running
}

// newContainerRun makes a container that has not started yet, or not since its node was stopped.
func newContainerRun(worker *podWorker, spec *corev1.Container, previous []corev1.ContainerStatus) *containerRun {
	c := &containerRun{worker: worker, spec: spec}
	c.status = corev1.ContainerStatus{
		Name: spec.Name, Image: spec.Image, Started: ptr.To(false),
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
	}
	for _, status := range previous {
		if status.Name != spec.Name || status.ContainerID == "" {
			continue
		}
		c.status.RestartCount = status.RestartCount + 1
		ended := &corev1.ContainerStateTerminated{
			ExitCode: 255, Reason: "ContainerStatusUnknown", ContainerID: status.ContainerID, FinishedAt: metav1.Now(),
			Message: "The container could not be located when the pod was terminated",
		}
		if status.State.Terminated != nil {
			ended = status.State.Terminated
		}
		c.status.LastTerminationState.Terminated = ended
	}
	return c
}

// startError is a failure before a container's process exists, with the reason that a kubelet gives.
type startError struct {
	reason  string
	backOff string // the reason while the next attempt is awaited
	cause   error
}

func (e *startError) Error() string { return e.cause.Error() }

// run starts the container, again and again as the pod's restart policy says, until its end. It tells whether the last
// exit was a success.
func (c *containerRun) run(initContainer bool) bool {
	policy := c.worker.pod.Spec.RestartPolicy
	if initContainer && policy == corev1.RestartPolicyAlways {
		policy = corev1.RestartPolicyOnFailure
	}
	backOff, failures := c.worker.agent.backOff, 0
	for {
		process, err := c.start()
		if err != nil {
			var failure *startError
			errors.As(err, &failure)
			c.setWaiting(failure.reason, failure.Error())
			c.worker.writeStatus()
			if failure.backOff != "" {
				c.setWaiting(failure.backOff, fmt.Sprintf("Back-off pulling image %q: %s: %s", c.spec.Image, failure.reason, failure.Error()))
			}
			if !c.pause(backOff) {
				return false
			}
			backOff = min(2*backOff, c.worker.agent.maxBackOff)
			continue
		}
		started := time.Now()
		code := c.supervise(process)
		if c.ending() || policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure && code == 0 {
			return code == 0
		}
		if time.Since(started) > 2*c.worker.agent.maxBackOff {
			backOff, failures = c.worker.agent.backOff, 0
		}
		// As with a kubelet the first restart is immediate.
		if failures++; failures > 1 {
			c.awaitRestart(backOff)
			if !c.pause(backOff) {
				return false
			}
			backOff = min(2*backOff, c.worker.agent.maxBackOff)
		}
		c.change(func() { c.status.RestartCount++ })
	}
}

// ending tells whether the pod is being stopped.
func (c *containerRun) ending() bool {
	select {
	case <-c.worker.stop:
		return true
	default:
		return c.worker.context.Err() != nil
	}
}

// pause waits, and tells whether the container is still to run.
func (c *containerRun) pause(duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return !c.ending()
	case <-c.worker.stop:
		return false
	case <-c.worker.context.Done():
		return false
	}
}

// change changes the container's state and lets it be written.
func (c *containerRun) change(update func()) {
	c.worker.mutex.Lock()
	update()
	c.worker.mutex.Unlock()
	notify(c.worker.dirty)
}

// keepLastState moves the state of a container that ended to where the next start finds it. The caller holds the mutex.
func (c *containerRun) keepLastState() {
	if ended := c.status.State.Terminated; ended != nil {
		c.status.LastTerminationState = corev1.ContainerState{Terminated: ended}
	}
}

func (c *containerRun) setWaiting(reason, message string) {
	c.change(func() {
		c.keepLastState()
		c.status.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	})
}

// awaitRestart reports that the container will be restarted after a back-off.
func (c *containerRun) awaitRestart(backOff time.Duration) {
	c.change(func() {
		c.keepLastState()
		c.status.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason: "CrashLoopBackOff",
			Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
				backOff, c.spec.Name, c.worker.name, c.worker.namespace, c.worker.uid),
		}}
	})
}

// containerID identifies one start of the container.
func (c *containerRun) containerID() string {
	return fmt.Sprintf("test://%s-%s-%d", c.worker.uid, c.spec.Name, c.status.RestartCount)
}

// start starts the container's process. Its error is a startError, except that a program that cannot be executed counts as one
// that ended.
func (c *containerRun) start() (Running, error) {
	pod := c.worker.current()
	if pod == nil {
		pod = c.worker.pod
	}
	runner, tag, err := findImage(c.worker.agent.images, c.spec.Image)
	if err != nil {
		return nil, &startError{"ErrImagePull", "ImagePullBackOff", err}
	}
	container, err := c.configure(pod)
	if err != nil {
		return nil, &startError{reason: "CreateContainerConfigError", cause: err}
	}
	defer func() { _ = container.Log.Close() }() // the process has its own copy
	process, err := runner.Start(tag, container)
	now := metav1.Now()
	c.change(func() {
		c.keepLastState()
		c.status.ContainerID, c.status.ImageID = c.containerID(), c.spec.Image+"@test"
		c.status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		c.status.Started = ptr.To(c.spec.StartupProbe == nil)
		c.status.Ready = c.spec.StartupProbe == nil && c.spec.ReadinessProbe == nil
		c.process = process
	})
	if err != nil {
		return failedProcess(err.Error()), nil
	}
	return process, nil
}

// failedProcess is the process of a program that could not be executed.
type failedProcess string

func (failedProcess) Signal(syscall.Signal) error { return nil }
func (failedProcess) Exit() (int, syscall.Signal) { return 128, 0 }
func (failedProcess) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// supervise watches a running container until its end, ends it when the pod ends, and returns its exit code.
func (c *containerRun) supervise(process Running) int {
	probes := c.startProbes(process)
	stop := c.worker.stop
	var rested <-chan time.Time
	for ended := false; !ended; {
		select {
		case <-process.Done():
			ended = true
		case <-stop:
			stop, rested = nil, time.After(c.preStopSleep())
		case <-rested:
			c.signal(process, syscall.SIGTERM)
		case <-c.worker.kill:
			c.signal(process, syscall.SIGKILL)
			<-process.Done()
		case <-c.worker.context.Done():
			c.signal(process, syscall.SIGKILL)
			<-process.Done()
		}
	}
	probes()
	code, _ := process.Exit()
	reason, message := "Completed", c.terminationMessage(code)
	if code != 0 {
		reason = "Error"
	}
	if failure, failed := process.(failedProcess); failed {
		reason, message = "StartError", "failed to create containerd task: "+string(failure)
	}
	c.change(func() {
		ended := &corev1.ContainerStateTerminated{
			ExitCode: int32(code), Reason: reason, Message: message, FinishedAt: metav1.Now(), ContainerID: c.status.ContainerID,
		}
		if running := c.status.State.Running; running != nil {
			ended.StartedAt = running.StartedAt
		}
		c.status.State = corev1.ContainerState{Terminated: ended}
		c.status.Ready, c.status.Started, c.process = false, ptr.To(false), nil
	})
	_ = os.RemoveAll(c.root()) // a container's own files end with it
	return code
}

// preStopSleep is a tenth of the time for which a container is to go on before it is asked to end: its Services are not
// served here, so that nobody has to forget it.
func (c *containerRun) preStopSleep() time.Duration {
	if hooks := c.spec.Lifecycle; hooks != nil && hooks.PreStop != nil {
		return time.Duration(hooks.PreStop.Sleep.Seconds) * time.Second / 10
	}
	return 0
}

// signal sends a signal to the container's process.
func (c *containerRun) signal(process Running, signal syscall.Signal) {
	if signal == syscall.SIGTERM {
		_ = process.Signal(syscall.SIGCONT) // a runtime thaws a paused container before it ends it
	}
	if err := process.Signal(signal); err != nil {
		c.worker.report(err)
	}
}

// root is the folder that becomes the container's file system.
func (c *containerRun) root() string {
	return filepath.Join(podFolder(c.worker.agent.folder, c.worker.uid), "roots", c.spec.Name)
}

// configure resolves everything that the container needs.
func (c *containerRun) configure(pod *corev1.Pod) (container Container, err error) {
	if err := checkSupported(pod, c.spec); err != nil {
		return container, err
	}
	variables, err := c.worker.podInputs(pod).environment(c.worker.context, c.spec)
	if err != nil {
		return container, err
	}
	if err := os.RemoveAll(c.root()); err != nil {
		return container, err
	}
	if err := os.MkdirAll(c.root(), 0o755); err != nil {
		return container, err
	}
	if err := c.makeMessageFile(); err != nil {
		return container, err
	}
	mounts, err := c.mounts(pod, variables)
	if err != nil {
		return container, err
	}
	logs := c.worker.agent.podLogs(pod.Namespace, pod.Name)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return container, err
	}
	// Pods of one name follow one another: the log of each start is appended to.
	log, err := os.OpenFile(filepath.Join(logs, fmt.Sprintf("%s-%d.log", c.spec.Name, c.status.RestartCount)),
		os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return container, err
	}
	c.log = log.Name()
	if information, err := log.Stat(); err == nil {
		c.logStart = information.Size()
	}
	security := c.spec.SecurityContext
	return Container{
		Namespace: pod.Namespace, Pod: pod.Name, Name: c.spec.Name, Image: c.spec.Image,
		Command: expandAll(c.spec.Command, variables), Arguments: expandAll(c.spec.Args, variables),
		Environment: environmentList(variables), WorkingDirectory: c.spec.WorkingDir, Log: log,
		sandbox: containerSandbox{
			root: c.root(), readOnlyRoot: security != nil && ptr.Deref(security.ReadOnlyRootFilesystem, false),
			mounts: mounts, hostname: hostname(pod), network: c.worker.network,
			credential: credential(pod.Spec.SecurityContext, security),
		},
	}, nil
}

// mounts are the container's volumes and the files that every container has.
func (c *containerRun) mounts(pod *corev1.Pod, variables map[string]string) ([]mount, error) {
	var mounts []mount
	for _, file := range []string{"hosts", "hostname", "resolv.conf"} {
		mounts = append(mounts, mount{source: filepath.Join(c.worker.systemFolder(), file), target: "/etc/" + file})
	}
	if file := c.messageFile(); file != "" {
		mounts = append(mounts, mount{source: file, target: c.spec.TerminationMessagePath})
	}
	written := map[string]bool{}
	for _, volume := range pod.Spec.Volumes {
		written[volume.Name] = volume.EmptyDir == nil && volume.PersistentVolumeClaim == nil
	}
	volumeMounts := append([]corev1.VolumeMount{}, c.spec.VolumeMounts...)
	sort.SliceStable(volumeMounts, func(i, j int) bool { return volumeMounts[i].MountPath < volumeMounts[j].MountPath })
	for _, volumeMount := range volumeMounts {
		source := c.worker.folders[volumeMount.Name]
		if part := volumeMount.SubPath + expand(volumeMount.SubPathExpr, variables); part != "" {
			source = filepath.Join(source, part)
			if _, err := os.Stat(source); os.IsNotExist(err) && !written[volumeMount.Name] {
				if err := os.MkdirAll(source, 0o755); err != nil {
					return nil, fmt.Errorf("failed to create subPath directory for volumeMount %q: %w", volumeMount.Name, err)
				}
				if err := shareWithGroup(source, pod.Spec.SecurityContext); err != nil {
					return nil, fmt.Errorf("let the pod's group use the volume %s: %w", volumeMount.Name, err)
				}
			}
		}
		mounts = append(mounts, mount{source: source, target: volumeMount.MountPath, readOnly: volumeMount.ReadOnly || written[volumeMount.Name]})
	}
	return mounts, nil
}

// checkSupported refuses what this agent would silently leave out.
func checkSupported(pod *corev1.Pod, container *corev1.Container) error {
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe, container.StartupProbe} {
		if probe != nil && (probe.Exec != nil || probe.GRPC != nil) {
			return errors.New("the test node agent runs only httpGet and tcpSocket probes")
		}
	}
	if hooks := container.Lifecycle; hooks != nil && (hooks.PostStart != nil || hooks.PreStop != nil && hooks.PreStop.Sleep == nil) {
		return errors.New("the test node agent runs no lifecycle hooks but preStop.sleep")
	}
	if pod.Spec.HostNetwork || pod.Spec.HostPID {
		return errors.New("the test node agent does not share the host's namespaces")
	}
	return nil
}

// environmentList has entries of the form NAME=value, in order.
func environmentList(variables map[string]string) []string {
	list := make([]string, 0, len(variables))
	for name, value := range variables {
		list = append(list, name+"="+value)
	}
	sort.Strings(list)
	return list
}
