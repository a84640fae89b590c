package environment

import (
	"bytes"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
)

// longestTermination and mostTerminationLines are how much of a container's log a kubelet keeps as its last words
// (https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).
const (
	longestTermination   = 2048
	mostTerminationLines = 80
)

// terminationMessage is what a container that failed has left: the end of its log, if its spec asks for that. The file
// for termination messages is not looked at.
func (c *containerRun) terminationMessage(code int) string {
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
