//go:build integration

package operator

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// memberName finds the names of members; what follows an ordinal is the rest of another object's name.
var memberName = regexp.MustCompile(`\bdemo-([0-9]+)\b`)

// historyLine is a line of JSON with an annotation that tells how an object came about.
var historyLine = regexp.MustCompile(`(?m)^ *"(` + strings.Join([]string{
	render.AnnotationInitialCluster, render.AnnotationBootstrapMembers, render.AnnotationFoundedBy, render.AnnotationReplaceMembers,
	render.AnnotationStorageHash,
}, "|") + `)":.*\n`)

// likeNew is the snapshot of the scene without its history: members are called by their rank, and who founded the cluster,
// who was there when a member joined, and how a pod was started for the first time is left out.
func (s *scene) likeNew() map[string]string {
	s.Helper()
	ranks := map[string]string{}
	for i, name := range s.members() {
		ranks[name] = fmt.Sprintf("demo-%d", i)
	}
	rename := func(text string) string {
		return memberName.ReplaceAllStringFunc(text, func(name string) string {
			if rank := ranks[name]; rank != "" {
				return rank
			}
			return "gone:" + name
		})
	}
	kept := s.kept()
	snapshot := map[string]string{}
	for key, text := range s.snapshot() {
		if kept[key] {
			continue
		}
		if key == "status" {
			founders := fmt.Sprint(s.cluster().Status.BootstrapMembers)
			snapshot[key] = rename(strings.Replace(text, founders, "", 1))
			continue
		}
		snapshot[rename(key)] = rename(s.withoutHistory(key, text))
	}
	return snapshot
}

// kept are the claims of removed members that the spec wants kept; by their keys in a snapshot.
func (s *scene) kept() map[string]bool {
	s.Helper()
	kept := map[string]bool{}
	if s.cluster().Spec.Storage.Retention.WhenScaled == v1alpha1.RetentionRetain {
		for _, claim := range s.claims() {
			kept["PersistentVolumeClaim "+claim.Name] = claim.Annotations[render.AnnotationRemoved] != ""
		}
	}
	return kept
}

// withoutHistory drops of an object what tells how it came about.
func (s *scene) withoutHistory(key, text string) string {
	s.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		s.Fatalf("%s is %q: %v", key, text, err)
	}
	spec, _ := object["spec"].(map[string]any)
	delete(spec, "volumeClaimTemplates") // They cannot be changed; the claims themselves are compared.
	if ports, ok := spec["ports"].([]any); ok {
		for _, port := range ports {
			delete(port.(map[string]any), "nodePort") // Kubernetes draws it.
		}
	}
	if strings.HasPrefix(key, "Pod ") {
		if containers, ok := spec["containers"].([]any); ok {
			delete(containers[0].(map[string]any), "args")
		}
		if volumes, ok := spec["volumes"].([]any); ok {
			// The StatefulSet controller adds those of the claims in any order.
			slices.SortFunc(volumes, func(a, b any) int { return strings.Compare(nameOf(a), nameOf(b)) })
		}
	}
	if s.classIsOpen(key) {
		delete(spec, "storageClassName")
	}
	data, err := json.MarshalIndent(object, "", " ")
	if err != nil {
		s.Fatal(err)
	}
	return historyLine.ReplaceAllString(string(data), "")
}

func nameOf(part any) string {
	name, _ := part.(map[string]any)["name"].(string)
	return name
}

// classIsOpen is whether it is a claim whose class the spec does not name: then a volume keeps the class that it was made
// with, however the spec was then.
func (s *scene) classIsOpen(key string) bool {
	s.Helper()
	storage := s.cluster().Spec.Storage
	switch {
	case strings.HasPrefix(key, "PersistentVolumeClaim "+render.WALVolume+"-"):
		return storage.WAL != nil && storage.WAL.StorageClassName == nil
	case strings.HasPrefix(key, "PersistentVolumeClaim "):
		return storage.StorageClassName == nil
	}
	return false
}

// fresh is likeNew of a new cluster with a spec.
func fresh(t *testing.T, size int32, changes ...func(*v1alpha1.EtcdClusterSpec)) map[string]string {
	t.Helper()
	return newScene(t).fresh(size, changes...)
}

func (s *scene) fresh(size int32, changes ...func(*v1alpha1.EtcdClusterSpec)) map[string]string {
	s.Helper()
	o := s.operate()
	s.running(size, changes...)
	s.sealed()
	s.tidy(patience)
	time.Sleep(time.Second) // the mark on the claims may follow
	like := s.likeNew()
	o.stop()
	s.delete(s.cluster())
	return like
}

// isLikeNew waits until the cluster is as a new one with the same spec.
func (s *scene) isLikeNew(like map[string]string) {
	s.Helper()
	s.eventually("everything is as in a new cluster", 20*time.Second, func() error { return s.unlikeNew(like) })
}

// unlikeNew is what differs from a new cluster with the same spec.
func (s *scene) unlikeNew(like map[string]string) error {
	s.Helper()
	if diff := cmp.Diff(like, s.likeNew()); diff != "" {
		return fmt.Errorf("- new, + here:\n%s", diff)
	}
	return nil
}
