package environment

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// longestTermination and mostTerminationLines are how much of a container's log a kubelet keeps as its last words
// (https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).
const (
	longestTermination   = 2048
	mostTerminationLines = 80
	// longestMessage is what it keeps of a file.
	longestMessage = 4096
)

// messageFile is the host's file that the container finds at its terminationMessagePath, if its spec names one.
func (c *containerRun) messageFile() string {
	if c.spec.TerminationMessagePath == "" || c.spec.TerminationMessagePath == corev1.TerminationMessagePathDefault {
		return ""
	}
	return filepath.Join(podFolder(c.worker.agent.folder, c.worker.uid), "messages", c.spec.Name)
}

// makeMessageFile makes an empty one, for a container to write to.
func (c *containerRun) makeMessageFile() error {
	if c.messageFile() == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.messageFile()), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(c.messageFile(), nil, 0o666); err != nil {
		return err
	}
	return os.Chmod(c.messageFile(), 0o666)
}

// terminationMessage is what a container has left: what it wrote to its file for that, or if it failed the end of its log, if
// its spec asks for that. The file at the default place is not looked at.
func (c *containerRun) terminationMessage(code int) string {
	if path := c.messageFile(); path != "" {
		if content, err := os.ReadFile(path); err == nil && len(content) > 0 {
			return string(content[:min(len(content), longestMessage)])
		}
	}
	if code == 0 || c.spec.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		return ""
	}
	file, err := os.Open(c.log)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	information, err := file.Stat()
	if err != nil {
		return ""
	}
	// Pods of one name share a log: what earlier ones have said is not this one's.
	from := max(c.logStart, information.Size()-longestTermination)
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(file, longestTermination))
	if err != nil {
		return ""
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	if len(lines) > mostTerminationLines {
		lines = lines[len(lines)-mostTerminationLines:]
	}
	return string(bytes.Join(lines, nil))
}
