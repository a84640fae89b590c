package render_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// TestBugsOfObjects has what other operators and charts got wrong in the objects that they made.
func TestBugsOfObjects(t *testing.T) {
	c := plain()
	c.Domain, c.Spec.Repository = "example.org", "registry.example.com:5000/team/etcd"
	set := c.StatefulSet(core.ApplyMember{Member: "demo-0", Start: core.StartBootstrap, InitialCluster: []string{"demo-0"}})
	pod := set.Spec.Template.Spec
	etcd := pod.Containers[0]
	var peers, clients *corev1.Service
	var budget *policyv1.PodDisruptionBudget
	for _, object := range c.Objects() {
		switch object := object.(type) {
		case *corev1.Service:
			if object.Name == c.PeerService() {
				peers = object
			} else {
				clients = object
			}
		case *policyv1.PodDisruptionBudget:
			budget = object
		}
	}
	for bug, avoided := range map[string]bool{
		"improbable etcd-cluster-operator#92, etcd-io PR#434: peers that are not ready have no name": peers.Spec.PublishNotReadyAddresses,
		"clients are led to peers that are not ready":                                                !clients.Spec.PublishNotReadyAddresses,
		"etcd-io#444, coreos#1021 and #1322, kamaji-etcd#57: the domain is cluster.local":            !strings.Contains(strings.Join(etcd.Args, " "), "cluster.local"),
		"etcd-io: the port of a registry is taken for the version":                                   etcd.Image == "registry.example.com:5000/team/etcd:v3.6.16",
		"kcp helm-charts#174: there are no probes":                                                   etcd.StartupProbe != nil && etcd.LivenessProbe != nil && etcd.ReadinessProbe != nil,
		"bitnami/charts#1908, #5443, #12832, #14731, #16069: a pod that stops removes its member":    etcd.Lifecycle.PreStop.Exec == nil && len(pod.Containers) == 1 && len(pod.InitContainers) == 0,
		"etcd-io#293, PR#398, cozystack#3962: all members on one node":                               spreadOver(pod, corev1.LabelHostname) && spreadOver(pod, corev1.LabelTopologyZone),
		"etcd-io PR#399, cozystack PR#351: no budget, or one that lets too many go":                  budget != nil && budget.Spec.MaxUnavailable == nil && budget.Spec.MinAvailable.IntValue() == 2,
		"cozystack#347: claims go with the object of their member":                                   set.Spec.PersistentVolumeClaimRetentionPolicy == nil && len(set.Spec.VolumeClaimTemplates[0].OwnerReferences) == 0,
	} {
		if !avoided {
			t.Error(bug)
		}
	}
}

func spreadOver(pod corev1.PodSpec, key string) bool {
	return slices.ContainsFunc(pod.TopologySpreadConstraints, func(s corev1.TopologySpreadConstraint) bool { return s.TopologyKey == key })
}
