//go:build linux

package cluster

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of the mount table.
type mount struct{ target, kind string }

// mounts returns the mount table of this machine, oldest first.
func mounts() []mount {
	content, _ := os.ReadFile("/proc/self/mountinfo")
	return parseMounts(string(content))
}

func parseMounts(table string) []mount {
	// Spaces and the like are written in octal.
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var found []mount
	for line := range strings.Lines(table) {
		before, after, ok := strings.Cut(line, " - ")
		fields, kinds := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) >= 5 && len(kinds) >= 1 {
			found = append(found, mount{target: unescape.Replace(fields[4]), kind: kinds[0]})
		}
	}
	return found
}

// unmountBelow takes away all mounts at or below a directory, newest first.
func unmountBelow(directory string) error {
	// A few rounds, because one mount may have hidden another.
	for range 5 {
		var below []string
		for _, m := range mounts() {
			if m.target == directory || strings.HasPrefix(m.target, directory+"/") {
				below = append(below, m.target)
			}
		}
		if len(below) == 0 {
			return nil
		}
		for _, target := range slices.Backward(below) {
			if err := unix.Unmount(target, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
				return fmt.Errorf("unmounting %q: %w", target, err)
			}
		}
	}
	return fmt.Errorf("mounts below %q come back although they were unmounted: see /proc/self/mountinfo", directory)
}
