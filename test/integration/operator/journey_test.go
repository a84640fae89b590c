//go:build integration

package operator

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// journey is the way of a backup or a restore from phase to phase. It is made again and again, each time with the operator's end at
// another write.
type journey struct {
	name string
	// size is that of the cluster.
	size int32
	// lanes is how many clusters share the deaths between them, each in a scene of its own.
	lanes int
	// phases are those in which the operator dies, and how often in each of them unless SWEEP is full.
	phases []leg
	// prepare, if set, brings about what the journey begins with; begin begins it. The name is another one each time.
	prepare, begin func(s *scene, name string)
	// phase is that of the object that makes it; empty before there is one.
	phase func(s *scene, name string) string
	// ended is nil at the end, which is compared with what the cluster had before the journey, and in its backup.
	ended func(s *scene, name string, had, saved []string) error
}

// leg is a phase of a journey.
type leg struct {
	phase string
	// writes is how many the operator makes in it at least.
	writes int
	deaths int
}

// at is where the backups of the scenes are.
var at = v1alpha1.BackupStore{Volume: &v1alpha1.VolumeStore{ClaimName: "backups", Path: "etcd/backups"}}

var journeys = []journey{
	{
		name: "backup", size: 1, lanes: 2,
		phases: []leg{{"", 1, 1}, {"Pending", 2, 2}, {"Running", 2, 2}, {"Completed", 1, 1}, {"Verifying", 2, 2}},
		begin:  func(s *scene, name string) { s.backup(name) },
		phase: func(s *scene, name string) string {
			backup := &v1alpha1.EtcdBackup{}
			_ = env.Client.Get(s.Context(), s.key(name), backup)
			return string(backup.Status.Phase)
		},
		ended: func(s *scene, name string, had, _ []string) error {
			backup := &v1alpha1.EtcdBackup{}
			s.get(name, backup)
			if !meta.IsStatusConditionTrue(backup.Status.Conditions, "Verified") || backup.Status.Phase != "Completed" {
				return fmt.Errorf("phase %s, conditions %+v", backup.Status.Phase, backup.Status.Conditions)
			}
			if int(backup.Status.Keys) != len(had) {
				return fmt.Errorf("it has %d keys of %d", backup.Status.Keys, len(had))
			}
			return nil
		},
	},
	{
		name: "restore in place", size: 3, lanes: 3,
		phases: []leg{
			{"", 1, 1}, {"Pending", 2, 1}, {"Checking", 2, 1}, {"BackingUp", 2, 1}, {"Stopping", 3, 1}, {"Filling", 3, 1}, {"Starting", 6, 1},
			{"Comparing", 1, 1}, {"Restored", 1, 1}, {"Confirming", 3, 1}, {"Completed", 1, 1},
		},
		begin: func(s *scene, name string) { s.restore(name, "seed") },
		phase: phaseOfRestore,
		ended: func(s *scene, name string, _, saved []string) error {
			return s.restoreEnded(name, "Completed", 1, saved)
		},
	},
	{
		name: "restore that is rolled back", size: 3, lanes: 3,
		phases: []leg{{"Restored", 1, 1}, {"RollingBack", 9, 3}, {"RolledBack", 1, 1}},
		prepare: func(s *scene, name string) {
			s.restore(name, "seed", func(spec *v1alpha1.EtcdRestoreSpec) {
				spec.Completion, spec.SafetyBackup = v1alpha1.CompleteManually, v1alpha1.SafetySkip
			})
			s.restoreIs(name, "Restored")
			s.settled()
			s.put("new", "since "+name)
		},
		begin: func(s *scene, name string) { s.changeRestore(name, v1alpha1.CompleteByRollBack) },
		phase: phaseOfRestore,
		ended: func(s *scene, name string, had, _ []string) error {
			return s.restoreEnded(name, "RolledBack", 0, had)
		},
	},
	{
		name: "cluster that begins with a backup", size: 3, lanes: 3,
		phases: []leg{
			{"", 4, 1}, {"Pending", 2, 1}, {"Filling", 6, 2}, {"Starting", 5, 2}, {"Comparing", 1, 1}, {"Restored", 1, 1}, {"Confirming", 3, 1}, {"Completed", 1, 1},
		},
		prepare: func(s *scene, _ string) {
			cluster := s.cluster()
			s.delete(cluster)
			s.gone(cluster)
			s.nothingLeft("PersistentVolumeClaim backups")
			s.gone(&v1alpha1.EtcdRestore{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: render.BootstrapRestore("demo")}})
		},
		begin: func(s *scene, _ string) {
			s.create(s.demo(3, func(spec *v1alpha1.EtcdClusterSpec) {
				spec.Bootstrap = &v1alpha1.BootstrapSpec{BackupRef: &v1alpha1.BackupReference{Name: "seed"}}
			}))
		},
		phase: func(s *scene, _ string) string { return phaseOfRestore(s, render.BootstrapRestore("demo")) },
		ended: func(s *scene, _ string, _, saved []string) error {
			return s.restoreEnded(render.BootstrapRestore("demo"), "Completed", 0, saved)
		},
	},
}

// TestDeathOnTheWay ends the operator at writes in every phase of backups and restores, before or after they are made: some, drawn
// by CRASH_SEED, which the log tells, or with SWEEP=full each. Another operator takes over, and the end is the same: one backup, which was tried
// out; or exactly the data that the restore is to end with, and nothing of what it took.
func TestDeathOnTheWay(t *testing.T) {
	t.Parallel()
	seed := setting(t, "CRASH_SEED", time.Now().Nanosecond()/1000)
	t.Logf("CRASH_SEED=%d", seed)
	for _, journey := range journeys {
		t.Run(journey.name, func(t *testing.T) {
			t.Parallel()
			deaths := journey.deaths(rand.New(rand.NewPCG(uint64(seed), 2)))
			for lane := range journey.lanes {
				t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
					t.Parallel()
					s := newScene(t)
					o := s.operate()
					saved := s.seeded(journey.size)
					o.stop()
					beyond := map[string]int{} // by phase, the first write that there was not
					for i := lane; i < len(deaths); i += journey.lanes {
						phase, write := deaths[i].phase, deaths[i].write
						if first, known := beyond[phase]; known && write >= first {
							continue
						}
						if struck := s.makes(journey, fmt.Sprintf("%s-%d", strings.Fields(journey.name)[0], i), deaths[i], saved); !struck {
							beyond[phase] = write
						}
					}
				})
			}
		})
	}
}

// end is where an operator dies.
type end struct {
	fault
	leg
	// write is which one of the phase it is, from 1.
	write int
}

// mostWrites is how many more writes than for certain there may be in a phase.
const mostWrites = 12

// deaths are those of a run.
func (j journey) deaths(random *rand.Rand) (all []end) {
	for _, leg := range j.phases {
		var possible []end
		writes := leg.writes
		if fullSweep() {
			writes += mostWrites
		}
		for write := range writes {
			for _, fault := range deaths {
				possible = append(possible, end{fault, leg, write + 1})
			}
		}
		if !fullSweep() {
			random.Shuffle(len(possible), func(a, b int) { possible[a], possible[b] = possible[b], possible[a] })
			possible = possible[:leg.deaths]
		}
		all = append(all, possible...)
	}
	if !fullSweep() {
		random.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
		all = all[:(len(all)+1)/2]
	}
	return all
}

// seeded makes a cluster, and a backup of it that is called seed, and is what is in that.
func (s *scene) seeded(size int32) (saved []string) {
	s.Helper()
	s.store()
	s.running(size, func(spec *v1alpha1.EtcdClusterSpec) { spec.Backup = &v1alpha1.BackupSpec{Store: at} })
	s.sealed()
	for i := range 5 {
		s.put(fmt.Sprint("key-", i), "before")
	}
	s.backup("seed", func(spec *v1alpha1.EtcdBackupSpec) { spec.Store = &at })
	s.becomes("seed", "Completed", "Verified", metav1.ConditionTrue)
	return s.content()
}

// makes has a journey made, on which the operator dies once, unless there is no such write.
func (s *scene) makes(j journey, name string, end end, saved []string) (struck bool) {
	s.Helper()
	what := fmt.Sprintf("%s: %s write %d in %q", name, end.name, end.write, end.phase)
	o := s.operate()
	s.settled()
	s.put("key-0", "after")
	s.put("late", name)
	had := s.content()
	if j.prepare != nil {
		j.prepare(s, name)
	}
	o.stop()
	w := end.strike(end.write)
	w.skip = func(write string) bool { return isReport(write) || j.phase(s, name) != end.phase }
	first := s.operateWith(operatorOptions{writes: w})
	j.begin(s, name)
	s.eventually(what+": it strikes or is not reached", longPatience, func() error {
		select {
		case <-w.died:
			struck = true
			return nil
		default:
		}
		if err := j.ended(s, name, had, saved); err != nil {
			return err
		}
		return s.nothingOnTheWay() // The operator may have something to do after the end.
	})
	first.stop()
	second := s.operate()
	took := s.eventually(what+": the end is reached all the same", longPatience, func() error { return j.ended(s, name, had, saved) })
	s.eventually(what+": nothing is left of it", patience, s.nothingOnTheWay)
	s.settled()
	s.sealed()
	second.stop()
	switch {
	case struck:
		s.Logf("%s (%s): ended %v later", what, w.names[end.write-1], took.Round(time.Millisecond))
	case end.write <= end.writes:
		s.Fatalf("%s: there are only %q", what, w.names)
	}
	return struck
}

func phaseOfRestore(s *scene, name string) string {
	restore := &v1alpha1.EtcdRestore{}
	_ = env.Client.Get(s.Context(), s.key(name), restore)
	return string(restore.Status.Phase)
}

// restoreEnded is nil once a restore has ended as it is to, with so many safety backups, and the cluster has a content.
func (s *scene) restoreEnded(name string, phase v1alpha1.RestorePhase, safeties int, content []string) error {
	restore := &v1alpha1.EtcdRestore{}
	if err := env.Client.Get(s.Context(), s.key(name), restore); err != nil {
		return err
	}
	if restore.Status.Phase != phase {
		return fmt.Errorf("phase %q, conditions %+v", restore.Status.Phase, restore.Status.Conditions)
	}
	var backups v1alpha1.EtcdBackupList
	if err := env.Client.List(s.Context(), &backups, client.InNamespace(s.namespace)); err != nil {
		return err
	}
	made := 0
	for i := range backups.Items {
		if backups.Items[i].Annotations[render.AnnotationSafetyFor] == string(restore.UID) {
			made++
		}
	}
	if made != safeties {
		return fmt.Errorf("%d safety backups were made, not %d", made, safeties)
	}
	if err := isSettled(s.cluster()); err != nil {
		return err
	}
	if has := s.content(); !slices.Equal(has, content) {
		return fmt.Errorf("the cluster has\n%s\nand is to have\n%s", strings.Join(has, "\n"), strings.Join(content, "\n"))
	}
	return nil
}

// content is every key that the cluster has, with all that etcd says of it.
func (s *scene) content() (all []string) {
	s.Helper()
	connection := s.connect()
	defer connection.Close()
	s.eventually("all keys are read", patience, func() error {
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		answer, err := connection.Get(ctx, "", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		all = nil
		for _, kv := range answer.Kvs {
			all = append(all, kv.String())
		}
		return nil
	})
	return all
}

// nothingOnTheWay is nil if no agent is left, nobody holds the cluster, its volumes have no other data than its own, and each EtcdBackup
// has one manifest and one snapshot.
func (s *scene) nothingOnTheWay() error {
	var jobs batchv1.JobList
	if err := env.Client.List(s.Context(), &jobs, client.InNamespace(s.namespace)); err != nil {
		return err
	}
	if agents := agentsOf(s); len(jobs.Items)+len(agents) > 0 {
		return fmt.Errorf("there are %d Jobs, and the pods %v", len(jobs.Items), agents)
	}
	if holder := s.cluster().Annotations[render.AnnotationRestore]; holder != "" {
		return fmt.Errorf("EtcdRestore %s holds the cluster", holder)
	}
	for _, claim := range s.claims() {
		entries, err := os.ReadDir(env.VolumeFolder(&claim))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if entry.Name() != "data" {
				return fmt.Errorf("claim %s has %s", claim.Name, entry.Name())
			}
		}
	}
	var backups v1alpha1.EtcdBackupList
	if err := env.Client.List(s.Context(), &backups, client.InNamespace(s.namespace)); err != nil {
		return err
	}
	stored, err := s.storedObjects()
	if err != nil {
		return err
	}
	for i := range backups.Items {
		location := backups.Items[i].Status.Path
		if !slices.Equal(stored[location], []string{"manifest.json", "snapshot"}) {
			return fmt.Errorf("EtcdBackup %s has %q at %s", backups.Items[i].Name, stored[location], location)
		}
		delete(stored, location)
	}
	if len(stored) > 0 {
		return fmt.Errorf("of no EtcdBackup are %q", stored)
	}
	return nil
}

// storedObjects are the objects of the store, by their folders, and without what is random in their names.
func (s *scene) storedObjects() (map[string][]string, error) {
	claim := &corev1.PersistentVolumeClaim{}
	if err := env.Client.Get(s.Context(), s.key(at.Volume.ClaimName), claim); err != nil {
		return nil, err
	}
	root := filepath.Join(env.VolumeFolder(claim), string(at.Volume.Path))
	objects := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		name := entry.Name()
		if strings.HasPrefix(name, "snapshot-") {
			name = "snapshot"
		}
		objects[folder] = append(objects[folder], name)
		return err
	})
	return objects, err
}
