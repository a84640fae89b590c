//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// minor is the minor of a version, e.g. 3.6.
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// walk changes the version and waits until all members run it. It gives the minors that members ran, in the order in which
// they were first seen, and fails when two members are more than a minor apart.
func (l *life) walk(to string) []string {
	l.T.Helper()
	minors := []string{"3.5", "3.6", "3.7"}
	var seen []string
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Version = to })
	l.Eventually("the cluster runs "+to, 8*patience, func(ctx context.Context) error {
		now, err := l.GetCluster(ctx, "demo")
		if err != nil {
			return err
		}
		lowest, highest := len(minors), -1
		for _, m := range now.Status.Members {
			if at := slices.Index(minors, minor(m.Version)); at >= 0 {
				lowest, highest = min(lowest, at), max(highest, at)
				if !slices.Contains(seen, minors[at]) {
					seen = append(seen, minors[at])
				}
			}
		}
		if highest-lowest > 1 {
			l.T.Fatalf("members are more than a minor apart: %+v", now.Status.Members)
		}
		if now.Status.Version != to {
			return fmt.Errorf("the cluster runs %s, members ran %v", now.Status.Version, seen)
		}
		return nil
	})
	l.settled(3)
	l.wantStorageVersion(minor(to))
	return seen
}

// wantStorageVersion waits until each member's data is in the format of a minor, and no downgrade is open. 3.5 does not
// know either.
func (l *life) wantStorageVersion(minor string) {
	l.T.Helper()
	if minor == "3.5" {
		return
	}
	l.Eventually("storage is that of "+minor, patience, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		etcd := l.workload.Client()
		list, err := etcd.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, m := range list.Members {
			status, err := etcd.Status(ctx, m.ClientURLs[0])
			if err != nil {
				return err
			}
			if status.StorageVersion != minor+".0" || status.DowngradeInfo.GetEnabled() {
				return fmt.Errorf("that of %s is %s, a downgrade is open: %v", m.Name, status.StorageVersion, status.DowngradeInfo)
			}
		}
		return nil
	})
}

func TestLifeUpgradeOverTwoMinors(t *testing.T) {
	t.Parallel()
	l := beginLifeAt(t, "3.5.33", "3.6.16", "3.7.3")
	if seen := l.walk("3.7.3"); !slices.Equal(seen, []string{"3.5", "3.6", "3.7"}) {
		t.Errorf("members ran %v, want one minor after the other", seen)
	}
	l.finish(3)
	if len(l.ids) != 3 {
		t.Errorf("members were %v, want the same three", l.ids)
	}
}

func TestLifeDowngrade(t *testing.T) {
	t.Parallel()
	l := beginLifeAt(t, "3.7.3", "3.6.16")
	l.walk("3.6.16")
	l.finish(3)
	if len(l.ids) != 3 {
		t.Errorf("members were %v, want the same three", l.ids)
	}
}

// Going back before the cluster version has moved: one member runs the new minor when the spec is put back.
func TestLifeUpgradeTakenBackMidway(t *testing.T) {
	t.Parallel()
	l := beginLifeAt(t, "3.6.16", "3.7.3")
	l.Change("demo", func(s *v1alpha1.EtcdClusterSpec) { s.Version = "3.7.3" })
	l.Eventually("one member runs 3.7", 2*patience, func(ctx context.Context) error {
		now, err := l.GetCluster(ctx, "demo")
		if err != nil {
			return err
		}
		for _, m := range now.Status.Members {
			if minor(m.Version) == "3.7" {
				return nil
			}
		}
		return fmt.Errorf("members are %+v", now.Status.Members)
	})
	l.walk("3.6.16")
	l.finish(3)
}

// beginLifeAt makes a cluster of an etcd version that is to run others later.
func beginLifeAt(t *testing.T, version string, others ...string) *life {
	t.Helper()
	return beginLife(t, 3, func(s *v1alpha1.EtcdClusterSpec) { s.Version = version }, append(others, version)...)
}
