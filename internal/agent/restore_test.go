package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/archive"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
)

// An archive that ends before the backup was made is not the latest that there is, and may only be late.
func TestAnArchiveThatIsBehindABackup(t *testing.T) {
	now := time.Now()
	made := func(etcd string, revision int64, ago time.Duration) (m backup.Manifest) {
		m.Name, m.Cluster.EtcdID, m.State.Revision = "named", etcd, revision
		m.Begun, m.Ended = now.Add(-ago-time.Second), now.Add(-ago)
		return m
	}
	archived := archive.Recovery{Base: made("c1", 10, time.Hour), Last: 20}
	for name, c := range map[string]struct {
		named          backup.Manifest
		refused, final bool
	}{
		"all of it is archived":                  {made("c1", 20, 10*time.Minute), false, false},
		"it is not archived yet":                 {made("c1", 21, time.Minute), true, false},
		"it was never archived":                  {made("c1", 21, 10*time.Minute), true, true},
		"another etcd cluster came later":        {made("c2", 5, 10*time.Minute), true, true},
		"another etcd cluster was there earlier": {made("c0", 50, 2*time.Hour), false, false},
	} {
		err := outdated(c.named, archived, now)
		if (err != nil) != c.refused || errors.Is(err, archive.ErrUnrecoverable) != c.final {
			t.Errorf("%s: %v", name, err)
		}
	}
}
