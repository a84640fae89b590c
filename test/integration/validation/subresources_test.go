//go:build integration

package validation

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
)

func TestScale(t *testing.T) {
	created := object(t, newName(), "{}")
	if err := create(t, created); err != nil {
		t.Fatal(err)
	}
	stored := &v1alpha1.EtcdCluster{}
	stored.Namespace, stored.Name = created.GetNamespace(), created.GetName()
	scaleTo := func(replicas int32) error {
		scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
		return api().SubResource("scale").Update(t.Context(), stored.DeepCopy(), client.WithSubResourceBody(scale))
	}
	if err := scaleTo(5); err != nil {
		t.Fatalf("scale to 5: %v", err)
	}
	for _, replicas := range []int32{4, 11, -1} {
		if err := scaleTo(replicas); err == nil || !strings.Contains(err.Error(), fmt.Sprint(replicas)) {
			t.Errorf("scale to %d: %v", replicas, err)
		}
	}
	scale := &autoscalingv1.Scale{}
	if err := api().SubResource("scale").Get(t.Context(), stored, scale); err != nil {
		t.Fatal(err)
	}
	if scale.Spec.Replicas != 5 {
		t.Errorf("the scale subresource reads %d replicas, not 5", scale.Spec.Replicas)
	}
}

// fullStatus is a status with every list as long as it may be.
func fullStatus() v1alpha1.EtcdClusterStatus {
	size, now := resource.MustParse("3Gi"), metav1.NewTime(time.Now().Truncate(time.Second))
	status := v1alpha1.EtcdClusterStatus{
		ObservedGeneration: 1, Phase: "Running", ClusterID: "cdf818194e3a8c32", Version: "3.6.16", Leader: "main-0",
		NextOrdinal: 2147483647, MemberCount: 9, ReadyMembers: 9, Ready: "9/9", DBSize: &size, MeasuredAt: &now, Selector: "etcd.etcd.io/cluster=main",
	}
	for i := range 16 {
		status.Conditions = append(status.Conditions, metav1.Condition{
			Type: fmt.Sprint("Condition", i), Status: metav1.ConditionTrue, Reason: "Reason",
			Message: strings.Repeat("m", 32768), LastTransitionTime: now,
		})
		status.Endpoints = append(status.Endpoints, strings.Repeat("e", 512))
	}
	for i := range 9 {
		status.BootstrapMembers = append(status.BootstrapMembers, fmt.Sprintf("%s-%d", strings.Repeat("a", 40), i))
	}
	for i := range 32 {
		status.Members = append(status.Members, v1alpha1.MemberStatus{
			Name: fmt.Sprintf("%s-%d", strings.Repeat("a", 40), i), ID: "ffffffffffffffff",
			Role: "learner", Version: "3.6.16",
			HealthySince: &now, Message: strings.Repeat("m", 1024), DBSize: &size, DBSizeInUse: &size, Revision: 1, RaftLag: 1,
		})
	}
	return status
}

func TestStatus(t *testing.T) {
	created := object(t, newName(), "{}")
	if err := create(t, created); err != nil {
		t.Fatal(err)
	}
	stored := &v1alpha1.EtcdCluster{}
	if err := api().Get(t.Context(), client.ObjectKeyFromObject(created), stored); err != nil {
		t.Fatal(err)
	}
	seven := int32(7)
	stored.Status, stored.Spec.Size = fullStatus(), &seven
	if err := api().Status().Update(t.Context(), stored); err != nil {
		t.Fatalf("a full status is refused: %v", err)
	}
	if *stored.Spec.Size != 3 || stored.Generation != 1 {
		t.Error("a write of the status changed the spec")
	}
	if stored.Status.Ready != "9/9" || len(stored.Status.Members) != 32 {
		t.Errorf("the status was not stored: %v", stored.Status.Ready)
	}
	stored.Status.Ready, stored.Spec.Size = "0/0", &seven
	if err := api().Update(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	if stored.Status.Ready != "9/9" || *stored.Spec.Size != 7 {
		t.Error("a write of the spec changed the status, or did not change the spec")
	}
	stored.Status.Members = append(stored.Status.Members, v1alpha1.MemberStatus{Name: "one-too-many"})
	if err := api().Status().Update(t.Context(), stored); err == nil || !strings.Contains(err.Error(), "at most 32") {
		t.Errorf("33 members: %v", err)
	}
}

func TestDiscovery(t *testing.T) {
	resources, err := server.Clientset.Discovery().ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	index := slices.IndexFunc(resources.APIResources, func(r metav1.APIResource) bool {
		return r.Name == "etcdclusters"
	})
	if index < 0 {
		t.Fatal("there are no etcdclusters")
	}
	found := resources.APIResources[index]
	slices.Sort(found.Categories)
	if !slices.Equal(found.ShortNames, []string{"etcd"}) || !slices.Equal(found.Categories, []string{"all", "etcd"}) ||
		found.SingularName != "etcdcluster" || found.Kind != "EtcdCluster" || !found.Namespaced {
		t.Errorf("etcdclusters are offered as %+v", found)
	}
}

// kubectl runs kubectl and returns what it says. What another server at the same address offered, which kubectl
// remembers in the home directory, is not looked at.
func kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	fixed := []string{"--kubeconfig", server.Kubeconfig, "--cache-dir", t.TempDir()}
	command := exec.CommandContext(t.Context(), root+"/build/bin/kubectl", append(fixed, arguments...)...)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

func TestKubectl(t *testing.T) {
	t.Run("the samples are accepted", func(t *testing.T) {
		kubectl(t, "create", "--dry-run=server", "--validate=strict", "-f", root+"/config/samples")
	})
	t.Run("the definition fits a client-side apply", func(t *testing.T) {
		kubectl(t, "apply", "--dry-run=server", "-f", definitionPath)
	})
	t.Run("the table", func(t *testing.T) {
		stored := object(t, newName(), "{}")
		if err := create(t, stored); err != nil {
			t.Fatal(err)
		}
		head := strings.Split(kubectl(t, "get", "etcd", "-o", "wide"), "\n")[0]
		want := []string{"NAME", "READY", "VERSION", "LEADER", "DB", "SIZE", "STATUS", "AGE", "MESSAGE"}
		if !slices.Equal(strings.Fields(head), want) {
			t.Errorf("the columns are %s", head)
		}
	})
	t.Run("every field is explained", func(t *testing.T) {
		for _, path := range []string{
			"", ".storage", ".storage.wal", ".storage.autoGrow", ".storage.retention", ".healing", ".security", ".security.tls", ".podTemplate",
			".podTemplate.metadata", ".podTemplate.spec", ".podTemplate.spec.volumes", ".services", ".services.client",
		} {
			if text := kubectl(t, "explain", "etcdcluster.spec"+path); strings.Contains(text, "<no description>") {
				t.Errorf("a field is not explained:\n%s", text)
			}
		}
	})
}
