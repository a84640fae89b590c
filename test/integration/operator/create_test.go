//go:build integration

package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

// creations are the ways to make a cluster.
var creations = []struct {
	name   string
	size   int32
	change func(*v1alpha1.EtcdClusterSpec)
	// argument is what etcd is to be started with, if anything special.
	argument string
	claims   int
}{
	{name: "one member", size: 1, claims: 1},
	{name: "three members", size: 3, claims: 3},
	{name: "five members", size: 5, claims: 5},
	{name: "a volume for the log", size: 3, claims: 6, argument: "--wal-dir=/var/lib/etcd-wal/wal", change: func(spec *v1alpha1.EtcdClusterSpec) {
		size := resource.MustParse("512Mi")
		spec.Storage.WAL = &v1alpha1.WALStorage{Size: &size}
	}},
	{name: "in memory", size: 3, claims: 0, change: func(spec *v1alpha1.EtcdClusterSpec) {
		size := resource.MustParse("256Mi")
		spec.Storage = v1alpha1.StorageSpec{Medium: v1alpha1.StorageMediumMemory, Size: &size}
	}},
	{name: "with settings", size: 3, claims: 3, change: func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Config = map[string]v1alpha1.ConfigValue{"max-txn-ops": "7", "auto-compaction-mode": "revision", "auto-compaction-retention": "1000"}
	}},
	{name: "etcd 3.5", size: 3, claims: 3, change: func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.5.33" }},
	{name: "etcd 3.7", size: 3, claims: 3, change: func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.7.3" }},
}

func TestCreate(t *testing.T) {
	t.Parallel()
	for _, creation := range creations {
		t.Run(creation.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			cluster := s.demo(creation.size, byDefault)
			if creation.change != nil {
				creation.change(&cluster.Spec)
			}
			s.needs(cluster.Spec.Version)
			s.operate()
			started := time.Now()
			s.create(cluster)
			s.says("Available", "QuorumServes")
			available := time.Since(started)
			cluster = s.settled()
			t.Logf("available after %v, settled after %v", available.Round(time.Millisecond), time.Since(started).Round(time.Millisecond))

			s.put("key", "value")
			s.holds("key", "value")
			s.checkStatus(cluster)
			s.checkStory()
			if claims := s.claims(); len(claims) != creation.claims {
				t.Errorf("there are %d claims, not %d", len(claims), creation.claims)
			}
			for name, pod := range s.pods() {
				if arguments := pod.Spec.Containers[0].Args; creation.argument != "" && !slices.Contains(arguments, creation.argument) {
					t.Errorf("pod %s starts etcd with %v, without %s", name, arguments, creation.argument)
				}
			}
			if creation.name == "with settings" {
				s.checkTransactionLimit(7)
			}
		})
	}
}

// checkStatus compares the status with what etcd itself says.
func (s *scene) checkStatus(cluster *v1alpha1.EtcdCluster) {
	s.Helper()
	status, size := cluster.Status, int(*cluster.Spec.Size)
	if status.Version != cluster.Spec.Version || int(status.MemberCount) != size || int(status.ReadyMembers) != size ||
		status.Ready != fmt.Sprintf("%d/%d", size, size) || len(status.Members) != size || status.DBSize == nil || status.DBSize.Sign() <= 0 {
		s.Errorf("the status of a cluster of %d members of %s is %+v", size, cluster.Spec.Version, status)
	}
	s.eventually("the leader is who etcd says it is", patience, func() error {
		status = s.cluster().Status
		if said := fmt.Sprintf("%x", s.member("demo-0").Leader); s.idOf(status, status.Leader) != said {
			return fmt.Errorf("the status says that %s leads, etcd %s", status.Leader, said)
		}
		return nil
	})
	for _, m := range status.Members {
		said := s.member(m.Name)
		role := v1alpha1.MemberRole("voter")
		if m.Name == status.Leader {
			role = "leader"
		}
		if m.ID != fmt.Sprintf("%x", said.Header.MemberId) || m.Version != said.Version || status.ClusterID != fmt.Sprintf("%x", said.Header.ClusterId) ||
			!m.Healthy || m.Message != "" || m.HealthySince == nil || m.DBSize == nil || m.Role != role {
			s.Errorf("member %s is reported as %+v, etcd says %+v", m.Name, m, said)
		}
	}
	endpoints := []string{fmt.Sprintf("https://demo-client.%s.svc.cluster.local:2379", s.namespace)}
	for n := range size {
		endpoints = append(endpoints, fmt.Sprintf("https://demo-%d-0.demo-peer.%s.svc.cluster.local:2379", n, s.namespace))
	}
	if !slices.Equal(status.Endpoints, endpoints) {
		s.Errorf("the endpoints are %v, not %v", status.Endpoints, endpoints)
	}
	scale := &autoscalingv1.Scale{}
	if err := env.Client.SubResource("scale").Get(s.Context(), cluster, scale); err != nil {
		s.Fatalf("read the scale: %v", err)
	}
	if int(scale.Spec.Replicas) != size || int(scale.Status.Replicas) != size || scale.Status.Selector != "etcd.etcd.io/cluster=demo" {
		s.Errorf("the scale of %d members is %+v", size, scale)
	}
}

func (s *scene) idOf(status v1alpha1.EtcdClusterStatus, name string) string {
	for _, m := range status.Members {
		if m.Name == name {
			return m.ID
		}
	}
	return ""
}

// checkStory checks that the events tell of the creation, and of no trouble.
func (s *scene) checkStory() {
	s.Helper()
	s.tells("Creating", "QuorumServes", "LeaderChanged", "Settled")
	for _, event := range s.events() {
		if event.Type != "Normal" {
			s.Errorf("the creation of a good cluster warns: %s: %s", event.Reason, event.Note)
		}
	}
}

// events are those about the cluster.
func (s *scene) events() []eventsv1.Event {
	s.Helper()
	var list eventsv1.EventList
	if err := env.Client.List(s.Context(), &list, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool { return e.Regarding.Kind != "EtcdCluster" })
}

// tells waits until there are events with these reasons.
func (s *scene) tells(reasons ...string) {
	s.Helper()
	s.eventually("the events tell "+strings.Join(reasons, ", "), patience, func() error {
		var told []string
		for _, event := range s.events() {
			told = append(told, event.Reason)
		}
		for _, reason := range reasons {
			if !slices.Contains(told, reason) {
				return fmt.Errorf("they tell %v", told)
			}
		}
		return nil
	})
}
