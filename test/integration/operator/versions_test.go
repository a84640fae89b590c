//go:build integration

package operator

import (
	"fmt"
	"testing"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

func etcdVersion(version string) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = version }
}

// runs waits until all members run a version, as they say themselves.
func (s *scene) runs(version string) {
	s.Helper()
	// The way may be over a minor between, with a wait for etcd's cluster version there.
	took := s.eventually("all members run "+version, 2*longPatience, func() error {
		if _, err := s.tidyNow(); err != nil {
			return err
		}
		for _, m := range s.cluster().Status.Members {
			if m.Version != version {
				return fmt.Errorf("member %s runs %s", m.Name, m.Version)
			}
		}
		return nil
	})
	s.Logf("all members run %s after %v", version, took)
}

// someRuns waits until one member runs a version.
func (s *scene) someRuns(version string) {
	s.Helper()
	s.eventually("a member runs "+version, longPatience, func() error {
		for _, m := range s.cluster().Status.Members {
			if m.Version == version {
				return nil
			}
		}
		return fmt.Errorf("none does: %s", summary(s.cluster()))
	})
}

// walks are ways from one version to others, each told by spec.version alone.
var walks = []struct {
	name     string
	versions []string
}{
	{"3.5 to 3.7", []string{"3.5.33", "3.7.3"}},
	{"3.7 to 3.5 and up again", []string{"3.7.3", "3.5.33", "3.6.16"}},
}

func TestVersionWalks(t *testing.T) {
	t.Parallel()
	for _, walk := range walks {
		t.Run(walk.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			l := s.live(3, etcdVersion(walk.versions[0]))
			h := s.follow()
			s.eventually("the history knows all pods", patience, func() error {
				if counts := h.counts(); len(counts) < 9 {
					return fmt.Errorf("it knows %v", counts)
				}
				return nil
			})
			h.mark()
			for _, version := range walk.versions[1:] {
				s.change(etcdVersion(version))
				s.runs(version)
			}
			if fewest, _ := h.since(); fewest < 2 {
				t.Errorf("at the worst moment %d members ran", fewest)
			}
			l.finish()
		})
	}
}

// TestADowngradeIsCancelled: the version goes up again after the first member has gone back.
func TestADowngradeIsCancelled(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3, etcdVersion("3.7.3"))
	s.change(etcdVersion("3.6.16"))
	s.someRuns("3.6.16")
	s.change(etcdVersion("3.7.3"))
	s.runs("3.7.3")
	l.finish()
	// It is not left in force: the way back has to be asked for again, and is open.
	s.change(etcdVersion("3.6.16"))
	s.runs("3.6.16")
}

// TestAnUpgradeIsTakenBack: before the last member has moved etcd's cluster version has not, and no downgrade is needed.
func TestAnUpgradeIsTakenBack(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(3, etcdVersion("3.6.16"))
	s.change(etcdVersion("3.7.3"))
	s.someRuns("3.7.3")
	s.change(etcdVersion("3.6.16"))
	s.runs("3.6.16")
	l.finish()
	for _, event := range s.events() {
		if event.Reason == "EnableDowngrade" {
			t.Errorf("etcd was told of a downgrade: %s", event.Note)
		}
	}
}

// TestAnUpgradeWhileMembersJoin: size and version change at once.
func TestAnUpgradeWhileMembersJoin(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.live(1, etcdVersion("3.6.16"))
	s.change(func(spec *v1alpha1.EtcdClusterSpec) {
		size(3)(spec)
		etcdVersion("3.7.3")(spec)
	})
	s.runs("3.7.3")
	l.finish()
}
