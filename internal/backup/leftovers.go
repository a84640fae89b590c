package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// preparedBy is a folder of what a restore has prepared, named by the UID of its object.
var preparedBy = regexp.MustCompile(`^restore-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

// removeLeftovers removes what other restores have left on the volumes: those that were killed, and those that failed although their
// volume was filled. They are over, since only one restore at a time works on a volume.
func (t Target) removeLeftovers() error {
	for _, p := range t.places() {
		mount := filepath.Dir(p.live)
		entries, err := os.ReadDir(mount)
		if err != nil {
			return fmt.Errorf("looking for what earlier restores have left: %w", err)
		}
		for _, entry := range entries {
			uid := preparedBy.FindStringSubmatch(entry.Name())
			if uid == nil || !entry.IsDir() || uid[1] == t.Restore {
				continue
			}
			other := t
			other.Restore = uid[1]
			if err := other.discard(); err != nil {
				return fmt.Errorf("removing what the restore %s has left in %s: %w", other.Restore, mount, err)
			}
		}
	}
	return nil
}

// discard removes what a restore that is over has left, unless it has moved data of a cluster aside and nobody has said since what is to
// become of that. Before a cluster's first data there was none: what was moved aside then is what another try had brought.
func (t Target) discard() error {
	aside := slices.ContainsFunc(t.places(), func(p place) bool { return exists(filepath.Dir(p.aside)) })
	there, err := t.marker()
	if first := err == nil && there.First; aside && !first {
		return nil
	}
	for _, p := range t.places() {
		// Before the marker, which says that it may go.
		if err := os.RemoveAll(filepath.Dir(p.aside)); err != nil {
			return err
		}
	}
	_, err = t.remove()
	return err
}
