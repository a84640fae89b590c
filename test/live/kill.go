package live

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// KillEtcd ends the etcd process of a member, or of a pod of a hand-written StatefulSet, without warning. Nodes of the local
// cluster share the process table of the machine; the process is told by the namespace of this test in its arguments.
func (k *Kubernetes) KillEtcd(member string) {
	k.T.Helper()
	k.RequireLocal("killing a process")
	var found []int
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		k.T.Fatal(err)
	}
	for _, name := range processes {
		// A process may have ended by now.
		line, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		named, ours := false, false
		for argument := range bytes.SplitSeq(line, []byte{0}) {
			named = named || string(argument) == "--name="+member
			ours = ours || strings.HasPrefix(string(argument), "--initial-cluster-token="+k.Namespace+"-")
		}
		if named && ours {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if err != nil {
				k.T.Fatal(err)
			}
			found = append(found, pid)
		}
	}
	if len(found) != 1 {
		k.T.Fatalf("the processes of member %s are %v, want one", member, found)
	}
	if err := syscall.Kill(found[0], syscall.SIGKILL); err != nil {
		k.T.Fatal(fmt.Errorf("killing the process of %s: %w", member, err))
	}
}
