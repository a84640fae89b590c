package observe

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// target is the cluster as it is to be next: with the version to run next on the way to that of the spec.
func (o *Observer) target(built render.Cluster, recorded core.Report, held holdings, etcd core.Etcd) render.Cluster {
	var fleet core.Fleet
	answered := map[string]bool{}
	for _, s := range etcd.Statuses {
		if s.Answered {
			fleet.Runs, answered[s.Member] = append(fleet.Runs, s.Version), true
			fleet.Answers, fleet.Told = append(fleet.Answers, s.Version), cmp.Or(fleet.Told, s.DowngradeTarget)
		}
	}
	templates := map[string]string{}
	for i := range held.workloads {
		w := &held.workloads[i]
		fleet.Asleep = fleet.Asleep || w.Spec.Replicas != nil && *w.Spec.Replicas == 0
		templates[w.Name] = versionOf(w.Spec.Template.Spec)
	}
	for _, m := range recorded.Members {
		if !answered[m.Name] && m.Version != "" {
			fleet.Runs, fleet.Away, answered[m.Name] = append(fleet.Runs, m.Version), append(fleet.Away, templates[m.Name]), true
		}
	}
	for _, version := range unheard(recorded, held.claims, etcd.List, answered) {
		fleet.Runs, fleet.Asleep = append(fleet.Runs, version), true
	}
	fleet.Joining = etcd.List.Joining(int(*built.Spec.Size))
	built.PeersBoth = peersBoth(built, held, etcd.List)
	built.VolumeSize = smallestVolume(held.claims)
	built.Voters = voters(int(*built.Spec.Size), recorded, etcd)
	if next := core.Waypoint(built.Spec.Version, fleet); next != built.Spec.Version {
		built.EtcdCluster = built.DeepCopy()
		built.Spec.Version = next
	}
	return built
}

// unheard are the versions that members ran of which only their claims say so, e.g. those of an earlier EtcdCluster.
func unheard(recorded core.Report, claims []corev1.PersistentVolumeClaim, list core.MemberList, known map[string]bool) []string {
	var versions []string
	for i := range claims {
		note, member := claims[i].Annotations, claims[i].Labels[render.LabelMember]
		data, version := note[render.AnnotationClusterID], note[render.AnnotationVersion]
		listed := slices.ContainsFunc(list.Members, func(l core.Listed) bool { return l.Name == member })
		other := recorded.ClusterID != "" && data != recorded.ClusterID || list.Known && !listed
		if data != "" && version != "" && !known[member] && !other && note[render.AnnotationRemoved] != render.Removed {
			versions = append(versions, version)
		}
	}
	return versions
}

// voters is the number of voters that the disruption budget is for: those that there may be before it is looked at again. One
// more learner can be promoted until then, and without the list it is not known which of the members that were reported have
// been. One that was removed counts until the list is without it.
func voters(size int, recorded core.Report, etcd core.Etcd) int {
	count, promotable := 0, 0
	for _, l := range etcd.List.Members {
		switch {
		case !l.Learner:
			count++
		case etcd.Promotable(l):
			promotable = 1
		}
	}
	count += promotable
	if !etcd.List.Known {
		count = len(recorded.Members)
	}
	switch {
	case count > 0:
		return count
	case len(recorded.BootstrapMembers) > 0:
		return len(recorded.BootstrapMembers)
	}
	return size
}
