//go:build integration

package operator

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup"
)

// outside makes an etcd that the cluster of the scene knows nothing of, and is a connection to it.
func (s *scene) outside(size int32) (v1alpha1.ExternalEtcd, *clientv3.Client) {
	s.Helper()
	if _, err := buildOperator(); err != nil {
		s.Fatal(err)
	}
	old := s.demo(size)
	old.Name = "old"
	s.create(old)
	source := v1alpha1.ExternalEtcd{}
	s.eventually("the etcd outside serves", patience, func() error {
		s.get("old", old)
		if !meta.IsStatusConditionTrue(old.Status.Conditions, "Available") || len(old.Status.Endpoints) <= int(size) {
			return fmt.Errorf("its status is %+v", old.Status)
		}
		return nil
	})
	var endpoints []string
	for _, endpoint := range old.Status.Endpoints[1:] {
		endpoints = append(endpoints, endpoint)
		source.Endpoints = append(source.Endpoints, v1alpha1.EtcdEndpoint(endpoint))
	}
	return source, s.connect(endpoints...)
}

func beginsWith(source v1alpha1.ExternalEtcd, store v1alpha1.BackupStore, mirror v1alpha1.MirrorMode) func(*v1alpha1.EtcdClusterSpec) {
	return func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Backup = &v1alpha1.BackupSpec{Store: store}
		spec.Bootstrap = &v1alpha1.BootstrapSpec{Source: &source, Mirror: mirror}
	}
}

// mirrored waits until the condition of that name has a reason.
func (s *scene) mirrored(reason string) time.Duration {
	s.Helper()
	return s.eventually("the cluster says "+reason, longPatience, func() error {
		said := meta.FindStatusCondition(s.cluster().Status.Conditions, "Mirrored")
		if said == nil || said.Reason != reason {
			return fmt.Errorf("it says %+v", said)
		}
		return nil
	})
}

// letsIn is how many members the client Service sends clients to.
func (s *scene) letsIn() (members int) {
	s.Helper()
	var slices discoveryv1.EndpointSliceList
	if err := env.Client.List(s.Context(), &slices, client.InNamespace(s.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "demo-client"}); err != nil {
		s.Fatal(err)
	}
	for i := range slices.Items {
		members += len(slices.Items[i].Endpoints)
	}
	return members
}

// digest is all that an etcd has.
func (s *scene) digest(connection *clientv3.Client) backup.Content {
	s.Helper()
	now, err := connection.Get(s.Context(), "x")
	if err != nil {
		s.Fatal(err)
	}
	has, err := backup.DigestCluster(s.Context(), connection, now.Header.Revision)
	if err != nil {
		s.Fatal(err)
	}
	return has
}

// A new cluster begins with what an etcd outside has.
func TestImport(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	source, old := s.outside(1)
	for i := range 20 {
		if _, err := old.Put(t.Context(), fmt.Sprint("key-", i), "value"); err != nil {
			t.Fatal(err)
		}
	}
	s.create(s.demo(3, byDefault, beginsWith(source, s.store(), "")))
	s.settled()
	if has, want := s.digest(s.connect()), s.digest(old); has != want {
		t.Errorf("the cluster has %+v, the etcd outside %+v", has, want)
	}
	made := s.becomes("demo-import", "Completed", "Verified", metav1.ConditionTrue)
	if made.Status.Keys != 20 {
		t.Errorf("the backup of it has %+v", made.Status)
	}
	if meta.FindStatusCondition(s.cluster().Status.Conditions, "Mirrored") != nil {
		t.Error("nobody has asked for a mirror")
	}
	s.put("more", "value")
	s.sealed()
	// It goes with the cluster.
	cluster := s.cluster()
	s.delete(cluster)
	s.gone(cluster)
	s.gone(made)
}

// A new cluster repeats what an etcd outside does until it takes its place, with the same revisions. Clients wait until then.
func TestImportWithAMirror(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.operate()
	source, old := s.outside(1)
	put := func(key, value string) {
		t.Helper()
		if _, err := old.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		put(fmt.Sprint("key-", i), "before")
	}
	s.create(s.demo(3, byDefault, beginsWith(source, s.store(), v1alpha1.MirrorFollow)))
	s.mirrored("Following")
	if in := s.letsIn(); in != 0 {
		t.Errorf("clients are sent to %d members", in)
	}
	for i := range 20 {
		put(fmt.Sprint("key-", i%7), fmt.Sprint("since-", i))
	}
	if _, err := old.Delete(t.Context(), "key-1", clientv3.WithRange("key-15")); err != nil {
		t.Fatal(err)
	}
	// A pod of the mirror that goes is no harm.
	var pods corev1.PodList
	if err := env.Client.List(t.Context(), &pods, client.InNamespace(s.namespace), client.MatchingLabels{"app.kubernetes.io/name": "etcd-mirror"}); err != nil || len(pods.Items) != 1 {
		t.Fatalf("the pods of the mirror are %+v: %v", pods.Items, err)
	}
	s.delete(&pods.Items[0])
	put("last", "value")
	want := s.digest(old)
	s.change(func(spec *v1alpha1.EtcdClusterSpec) { spec.Bootstrap.Mirror = v1alpha1.MirrorCutOver })
	took := s.mirrored("CutOver")
	took += s.eventually("clients are let in", patience, func() error {
		if in := s.letsIn(); in != 3 {
			return fmt.Errorf("they are sent to %d members", in)
		}
		return nil
	})
	t.Logf("cut over after %v", took.Round(100*time.Millisecond))
	if has := s.digest(s.connect()); has != want {
		t.Errorf("the cluster has %+v, the etcd outside %+v", has, want)
	}
	s.settled()
	s.put("more", "value")
	s.nothingRuns("etcd-mirror")
}

// nothingRuns waits until no pod of a kind of agents is left.
func (s *scene) nothingRuns(app string) {
	s.Helper()
	s.eventually("no "+app+" is left", patience, func() error {
		var pods corev1.PodList
		if err := env.Client.List(s.Context(), &pods, client.InNamespace(s.namespace), client.MatchingLabels{"app.kubernetes.io/name": app}); err != nil {
			return err
		}
		if len(pods.Items) > 0 {
			return fmt.Errorf("%d are", len(pods.Items))
		}
		return nil
	})
}
