package render

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
)

// How a member starts on an empty volume is in annotations of its pod, from there in variables of its container, and from
// there in its arguments: the kubelet works these out at each start of the container, from the pod as it is then. So a
// member is sealed without a restart of its pod, whose arguments can never be changed. etcd itself reads ETCD_* only.
const (
	initialURLsVariable  = "INITIAL_CLUSTER"
	initialStateVariable = "INITIAL_CLUSTER_STATE"
	initialURLsFlag      = "--initial-cluster="
	initialStateFlag     = "--initial-cluster-state="
	stateNew             = "new"
	stateExisting        = "existing"
)

// StartAnnotations are the annotations of a pod that say how its member starts on an empty volume.
func (c Cluster) StartAnnotations(member core.ApplyMember) map[string]string {
	members, state := []string{member.Member}, stateExisting
	if member.Start != core.StartSealed {
		members = member.InitialCluster
	}
	if member.Start == core.StartBootstrap {
		state = stateNew
	}
	var initial []string
	for _, other := range members {
		initial = append(initial, other+"="+c.startURL(member, other))
	}
	return map[string]string{AnnotationInitialURLs: strings.Join(initial, ","), AnnotationInitialState: state}
}

// InitialURLs are the peer URLs of the members with which the member of a StatefulSet founds a cluster; none if it does not.
func InitialURLs(set *appsv1.StatefulSet) map[string]string {
	if StartOf(set) != core.StartBootstrap {
		return nil
	}
	urls := map[string]string{}
	for _, entry := range strings.Split(set.Spec.Template.Annotations[AnnotationInitialURLs], ",") {
		if name, url, is := strings.Cut(entry, "="); is {
			urls[name] = url
		}
	}
	return urls
}

// startURL is the peer URL of a member as another one, or itself, is told of it when it starts. Who founds or joins has to say
// what etcd lists; to one that is sealed it is nothing but words, which then do not depend on the list.
func (c Cluster) startURL(starting core.ApplyMember, member string) string {
	if starting.Start == core.StartSealed {
		return c.WantedPeerURL(member)
	}
	return c.PeerURL(member)
}

func reference(variable string) string { return "$(" + variable + ")" }

func startVariables() []corev1.EnvVar {
	from := func(variable, annotation string) corev1.EnvVar {
		path := fmt.Sprintf("metadata.annotations['%s']", annotation)
		return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	return []corev1.EnvVar{from(initialURLsVariable, AnnotationInitialURLs), from(initialStateVariable, AnnotationInitialState)}
}

// PodStart reads how a pod's etcd would start on an empty volume if its container started again. That is fixed if it does
// not come from the annotations, as in pods that an earlier operator had made. What is not understood counts as not sealed.
func PodStart(pod *corev1.Pod) (start core.Start, fixed bool) {
	var urls, state string
	for i := range pod.Spec.Containers {
		container := &pod.Spec.Containers[i]
		if container.Name != ContainerName {
			continue
		}
		for _, arg := range container.Args {
			if value, ok := strings.CutPrefix(arg, initialURLsFlag); ok {
				urls = value
			}
			if value, ok := strings.CutPrefix(arg, initialStateFlag); ok {
				state = value
			}
		}
	}
	fixed = urls != reference(initialURLsVariable) || state != reference(initialStateVariable)
	if !fixed {
		urls, state = pod.Annotations[AnnotationInitialURLs], pod.Annotations[AnnotationInitialState]
	}
	switch {
	case state == stateNew:
		return core.StartBootstrap, fixed
	case state == stateExisting && urls != "" && !strings.Contains(urls, ","):
		// One that joins is told of others.
		return core.StartSealed, fixed
	}
	return core.StartJoin, fixed
}
