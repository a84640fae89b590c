// Package observe reads everything about an etcd cluster, from Kubernetes and from etcd, into one plain value that
// decisions are made from. It writes nothing and decides nothing.
package observe

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Etcd asks the members of a cluster.
type Etcd interface {
	Observe(ctx context.Context, endpoints []etcd.Endpoint) core.Etcd
	ReadAuth(ctx context.Context, address string, question etcd.AuthQuestion) (core.AuthStore, error)
}

// Observer reads clusters.
type Observer struct {
	// Cache reads our own objects; it lags behind.
	Cache client.Reader
	// Live reads from the API server, for what is seldom needed and not worth a cache: events, storage classes.
	Live client.Reader
	Etcd Etcd
	// Domain is the DNS domain of the Kubernetes cluster.
	Domain string
	// Operator are the operator's own pods.
	Operator render.Operator
	// Agents are what is the same for all agents.
	Agents render.Agents
	// Progress asks an agent how far it is, see [AskProgress]; nil if none is to be asked.
	Progress func(ctx context.Context, address string) (task.Progress, error)
	Now      func() time.Time

	// reach remembers the nodes that volumes can be reached from.
	reach sync.Map
	// watch remembers since when there has been a look at anything.
	watch watch
	// accesses remembers what there was of passwords, by the cluster's UID. To forget it only means to read and to ask again.
	accesses sync.Map
}

// Observed is an observation, with what acting on it needs.
type Observed struct {
	core.Observation
	Render render.Cluster
	// Endpoints are the members that run, as the operator reaches them.
	Endpoints []etcd.Endpoint
	// Passwords are those of etcd's users that are to have one.
	Passwords map[string]string
}

// holdings is what Kubernetes has of a cluster.
type holdings struct {
	workloads []appsv1.StatefulSet
	pods      []corev1.Pod
	claims    []corev1.PersistentVolumeClaim
}

// Observe reads one cluster: what Kubernetes has, then what etcd says. In this order a StatefulSet without an entry in the
// member list is one whose member was removed, since it was made after the entry.
func (o *Observer) Observe(ctx context.Context, cluster *v1alpha1.EtcdCluster) (Observed, error) {
	heldBack, cluster, err := o.heldBack(ctx, cluster)
	if err != nil {
		return Observed{}, err
	}
	recorded := sinceRestore(cluster, Recorded(cluster))
	built := render.Cluster{EtcdCluster: cluster, Domain: o.Domain, Operator: o.Operator}
	held, err := o.holdings(ctx, built)
	if err != nil {
		return Observed{}, err
	}
	observed := Observed{Render: built}
	now := o.Now()
	observed.Now, observed.WatchedSince = now.Truncate(time.Second), o.watch.look(now, time.Now())
	observed.Cluster = core.Cluster{
		Namespace: cluster.Namespace, Name: cluster.Name, UID: string(cluster.UID),
		Generation: cluster.Generation, Deleting: !cluster.DeletionTimestamp.IsZero(), Recorded: recorded,
		Restored: cluster.Annotations[render.AnnotationRestoredClusterID],
	}
	if observed.Cluster.Deleting {
		o.accesses.Delete(cluster.UID)
		return observed, nil
	}
	planes, err := o.planes(ctx, built, held)
	if err != nil {
		return Observed{}, err
	}
	access, err := o.access(ctx, built, recorded)
	if err != nil {
		return Observed{}, err
	}
	own := credentials(built, planes)
	observed.Endpoints = endpoints(built, held.pods, own, access.login)
	observed.Etcd = o.Etcd.Observe(ctx, observed.Endpoints)
	if access.login == nil && refused(observed.Etcd) {
		// etcd asks who is there though nothing here says so: its data may be that of an earlier cluster.
		if err := o.own(ctx, built, access); err != nil {
			return Observed{}, err
		}
		observed.Endpoints = endpoints(built, held.pods, own, access.login)
		observed.Etcd = o.Etcd.Observe(ctx, observed.Endpoints)
	}
	observed.Auth, observed.Passwords = o.readAuth(ctx, recorded, access, observed), access.passwords
	built.PeerURLs = peerURLs(built, held, observed.Etcd.List)
	built = o.target(built, recorded, held, observed.Etcd)
	moves(built, observed.Etcd.List)
	built.Trust = trust(built, planes)
	observed.Planes = o.presented(ctx, built, planes, observed.Endpoints)
	observed.Render, observed.Cluster.Spec = built, spec(cluster, built, memberNames(recorded, observed.Etcd))
	observed.Cluster.Spec.HeldBack = heldBack
	if observed.Objects, err = o.objects(ctx, built); err != nil {
		return Observed{}, err
	}
	if observed.Members, err = o.members(ctx, built, held, observed.Etcd); err != nil {
		return Observed{}, err
	}
	if observed.StaleConfigs, err = o.staleConfigs(ctx, built, held); err != nil {
		return Observed{}, err
	}
	return observed, nil
}

// peerURLs names the members of the list, and says where they are reached. Before there is a list, those that found the cluster
// have been told.
func peerURLs(c render.Cluster, held holdings, list core.MemberList) map[string]string {
	urls := map[string]string{}
	for i := range list.Members {
		l := &list.Members[i]
		if l.Name = c.MemberOf(l.PeerURL); l.Name != "" {
			urls[l.Name] = l.PeerURL
		}
	}
	for i := range held.workloads {
		if !list.Known {
			maps.Copy(urls, render.InitialURLs(&held.workloads[i]))
		}
	}
	return urls
}

// memberNames are the members whose client URLs are published.
func memberNames(recorded core.Report, etcd core.Etcd) []string {
	var names []string
	switch {
	case etcd.List.Known:
		for _, l := range etcd.List.Members {
			if l.Name != "" && !l.Learner {
				names = append(names, l.Name)
			}
		}
	case len(recorded.Members) > 0:
		for _, m := range recorded.Members {
			if m.Role != core.RoleLearner {
				names = append(names, m.Name)
			}
		}
	default:
		names = slices.Clone(recorded.BootstrapMembers)
	}
	slices.SortFunc(names, core.CompareNames)
	return names
}

// spec is the part of the spec that decisions depend on.
func spec(cluster *v1alpha1.EtcdCluster, built render.Cluster, members []string) core.Spec {
	var replace []string
	for _, name := range strings.Split(cluster.Annotations[render.AnnotationReplaceMembers], ",") {
		if name = strings.TrimSpace(name); name != "" {
			replace = append(replace, name)
		}
	}
	size := int(*cluster.Spec.Size)
	if built.Sleeps() {
		size = 0
	}
	return core.Spec{
		Size: size, Restore: built.HeldBy(), Rests: built.RestsFor(), Bootstrap: built.BeginsWith(), Version: built.Spec.Version, FinalVersion: cluster.Spec.Version,
		MemberHash: built.MemberHash(), RestartHash: built.RestartHash(), StorageHash: built.StorageHash(),
		MaxLearners: built.MaxLearners(), SnapshotCount: built.SnapshotCount(), Replace: replace,
		UnhealthyAfter: cluster.Spec.Healing.MemberUnhealthyAfter.Duration,
		KeepRemoved:    cluster.Spec.Storage.Retention.WhenScaled == v1alpha1.RetentionRetain,
		InMemory:       cluster.Spec.Storage.Medium == v1alpha1.StorageMediumMemory,
		Peers:          built.Peers(),
		Paused:         cluster.Spec.Paused, Selector: labels.SelectorFromSet(built.Selector()).String(),
		Endpoints: built.Endpoints(members),
	}
}

func (o *Observer) holdings(ctx context.Context, c render.Cluster) (holdings, error) {
	ours := []client.ListOption{client.InNamespace(c.Namespace), client.MatchingLabels(c.Selector())}
	var workloads appsv1.StatefulSetList
	if err := o.Cache.List(ctx, &workloads, ours...); err != nil {
		return holdings{}, fmt.Errorf("listing the StatefulSets of %s/%s: %w", c.Namespace, c.Name, err)
	}
	var pods corev1.PodList
	if err := o.Cache.List(ctx, &pods, ours...); err != nil {
		return holdings{}, fmt.Errorf("listing the pods of %s/%s: %w", c.Namespace, c.Name, err)
	}
	claims, err := claims(ctx, o.Cache, c)
	if err != nil {
		return holdings{}, err
	}
	// A label can be set by anyone. What counts as a member's has its name and, for pods, its owner too. Pods whose
	// StatefulSet is gone count: they are in the way of the next one.
	return holdings{
		workloads: slices.DeleteFunc(workloads.Items, func(w appsv1.StatefulSet) bool { return !isMember(c, w.Name) }),
		pods:      slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !IsMemberPod(c, &p) }),
		claims:    claims,
	}, nil
}

// claims are those of the members, also of those that have gone.
func claims(ctx context.Context, reader client.Reader, c render.Cluster) ([]corev1.PersistentVolumeClaim, error) {
	var list corev1.PersistentVolumeClaimList
	if err := reader.List(ctx, &list, client.InNamespace(c.Namespace), client.MatchingLabels(c.Selector())); err != nil {
		return nil, fmt.Errorf("listing the claims of %s/%s: %w", c.Namespace, c.Name, err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.PersistentVolumeClaim) bool { return !isMemberClaim(c, &p) }), nil
}

// smallestVolume is the capacity of the smallest data volume, in bytes; 0 if none is bound yet.
func smallestVolume(claims []corev1.PersistentVolumeClaim) int64 {
	var smallest int64
	for i := range claims {
		capacity := claims[i].Status.Capacity.Storage().Value()
		if strings.HasPrefix(claims[i].Name, render.DataVolume+"-") && capacity > 0 && (smallest == 0 || capacity < smallest) {
			smallest = capacity
		}
	}
	return smallest
}

func isMember(c render.Cluster, name string) bool {
	_, ours := c.Ordinal(name)
	return ours
}

// IsMemberPod is whether a pod is one of the cluster's members: by its owner and its name, not by a label that anyone
// can set.
func IsMemberPod(c render.Cluster, pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "StatefulSet" && isMember(c, owner.Name) && pod.Name == render.PodName(owner.Name)
}

func isMemberClaim(c render.Cluster, claim *corev1.PersistentVolumeClaim) bool {
	member := claim.Labels[render.LabelMember]
	named := claim.Name == render.ClaimName(render.DataVolume, member) || claim.Name == render.ClaimName(render.WALVolume, member)
	return named && isMember(c, member)
}

// objects compares the supporting objects with what they should be.
func (o *Observer) objects(ctx context.Context, c render.Cluster) ([]core.Object, error) {
	var objects []core.Object
	for _, wanted := range c.Objects() {
		object := core.Object{Kind: wanted.GetObjectKind().GroupVersionKind().Kind, Name: wanted.GetName()}
		live, err := render.Empty(wanted)
		if err != nil {
			return nil, err
		}
		err = o.Cache.Get(ctx, client.ObjectKeyFromObject(wanted), live)
		switch {
		case apierrors.IsNotFound(err):
			object.State = core.Missing
		case err != nil:
			return nil, fmt.Errorf("reading %s %s/%s: %w", object.Kind, c.Namespace, object.Name, err)
		default:
			applied, err := render.Applied(wanted)
			if err != nil {
				return nil, err
			}
			if object.State, err = state(c, live, applied); err != nil {
				return nil, err
			}
		}
		objects = append(objects, object)
	}
	return o.surplus(ctx, c, objects)
}

// surplus adds the objects of ours that should not exist any more.
func (o *Observer) surplus(ctx context.Context, c render.Cluster, objects []core.Object) ([]core.Object, error) {
	for _, unwanted := range c.Surplus() {
		kind := unwanted.GetObjectKind().GroupVersionKind().Kind
		live, err := render.Empty(unwanted)
		if err != nil {
			return nil, err
		}
		err = o.Cache.Get(ctx, client.ObjectKeyFromObject(unwanted), live)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("reading %s %s/%s: %w", kind, c.Namespace, unwanted.GetName(), err)
		case metav1.IsControlledBy(live, c.EtcdCluster) && live.GetDeletionTimestamp() == nil:
			objects = append(objects, core.Object{Kind: kind, Name: live.GetName(), State: core.Surplus})
		}
	}
	return objects, nil
}

// state compares one live object with what would be applied.
func state(c render.Cluster, live client.Object, applied *unstructured.Unstructured) (core.ObjectState, error) {
	switch {
	case ofEarlier(live, c):
		return core.Leaving, nil
	case foreign(live, c):
		return core.Foreign, nil
	case live.GetDeletionTimestamp() != nil:
		return core.Leaving, nil
	}
	holds, err := render.Holds(live, applied)
	if err != nil {
		return core.Missing, err
	}
	if !holds {
		return core.Drifted, nil
	}
	return core.Current, nil
}

// foreign is whether an object belongs to someone else.
func foreign(live client.Object, c render.Cluster) bool {
	return !metav1.IsControlledBy(live, c.EtcdCluster) && !ofEarlier(live, c)
}

// staleConfigs are the configurations that neither the spec nor any member refers to.
func (o *Observer) staleConfigs(ctx context.Context, c render.Cluster, held holdings) ([]core.StaleConfig, error) {
	var configs corev1.ConfigMapList
	if err := o.Cache.List(ctx, &configs, client.InNamespace(c.Namespace), client.MatchingLabels(c.Selector())); err != nil {
		return nil, fmt.Errorf("listing the ConfigMaps of %s/%s: %w", c.Namespace, c.Name, err)
	}
	used := []string{c.ConfigMap(), c.TrustConfigMap()}
	for i := range held.workloads {
		used = append(used, configsOf(held.workloads[i].Spec.Template.Spec)...)
	}
	for i := range held.pods {
		used = append(used, configsOf(held.pods[i].Spec)...)
	}
	var stale []core.StaleConfig
	for i := range configs.Items {
		config := &configs.Items[i]
		if metav1.IsControlledBy(config, c.EtcdCluster) && config.DeletionTimestamp == nil && !slices.Contains(used, config.Name) {
			stale = append(stale, core.StaleConfig{Name: config.Name, UID: string(config.UID)})
		}
	}
	return stale, nil
}

// versionOf is the etcd version of a pod, by the tag of its image.
func versionOf(pod corev1.PodSpec) string {
	for _, container := range pod.Containers {
		if container.Name == render.ContainerName {
			_, version, _ := strings.Cut(container.Image[strings.LastIndex(container.Image, ":")+1:], "v")
			return version
		}
	}
	return ""
}

// trustOf is the ConfigMap with whom a pod's etcd trusts; none if it talks no TLS.
func trustOf(pod corev1.PodSpec) (names []string) {
	for i := range pod.Volumes {
		if volume := &pod.Volumes[i]; volume.Name == render.TrustVolume && volume.ConfigMap != nil {
			names = append(names, volume.ConfigMap.Name)
		}
	}
	return names
}

// configsOf are the ConfigMaps that a pod's etcd reads its settings from, and whom it trusts.
func configsOf(pod corev1.PodSpec) []string {
	names := trustOf(pod)
	for _, container := range pod.Containers {
		for _, source := range container.EnvFrom {
			if container.Name == render.ContainerName && source.ConfigMapRef != nil {
				names = append(names, source.ConfigMapRef.Name)
			}
		}
	}
	return names
}

// members joins what belongs to each member: by the member's label, checked against the owner.
func (o *Observer) members(ctx context.Context, c render.Cluster, held holdings, etcd core.Etcd) ([]core.Member, error) {
	byName := map[string]*core.Member{}
	member := func(name string) *core.Member {
		if byName[name] == nil {
			byName[name] = &core.Member{Name: name}
		}
		return byName[name]
	}
	for i := range held.claims {
		claim := &held.claims[i]
		m := member(claim.Labels[render.LabelMember])
		m.Volumes = append(m.Volumes, o.volume(ctx, c, claim, largestDatabase(etcd)))
	}
	for i := range held.workloads {
		workload := &held.workloads[i]
		observed, err := o.workload(c, workload)
		if err != nil {
			return nil, err
		}
		member(workload.Name).Workload = observed
	}
	for i := range held.pods {
		pod := &held.pods[i]
		m := member(memberOf(pod))
		m.Pod = ObservePod(pod)
		o.explainWaitingPod(ctx, c, pod, &m.Pod)
		// What the node never has was accepted, and noted, before the kubelet said so. Of another wish that says nothing.
		infeasible := m.Pod.ResizeRefused && m.Pod.MemberHash == c.MemberHash()
		if infeasible {
			m.Pod.MemberHash = ""
		}
		m.Pod.ResizeRefused = infeasible || pod.Annotations[render.AnnotationResizeRefused] == c.MemberHash()
		m.Node = o.node(ctx, pod, held.claims)
	}
	var members []core.Member
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		m := byName[name]
		misfit(c, m)
		o.explainMissingPod(ctx, c, m)
		members = append(members, *m)
	}
	return members, nil
}

func (o *Observer) workload(c render.Cluster, live *appsv1.StatefulSet) (core.Workload, error) {
	w := core.Workload{
		UID:         string(live.UID),
		MemberHash:  live.Annotations[render.AnnotationMemberHash],
		StorageHash: live.Annotations[render.AnnotationStorageHash],
		Version:     versionOf(live.Spec.Template.Spec),
		Settled:     live.Status.ObservedGeneration >= live.Generation,
		Start:       render.StartOf(live),
		Stopped:     live.Spec.Replicas != nil && *live.Spec.Replicas == 0,
	}
	if initial := live.Annotations[render.AnnotationInitialCluster]; initial != "" {
		w.InitialCluster = strings.Split(initial, ",")
	}
	w.Retry, _ = strconv.ParseInt(live.Annotations[render.AnnotationRetry], 10, 64)
	wanted := c.Fitting(live).StatefulSet(core.ApplyMember{
		Member: live.Name, Start: w.Start, InitialCluster: w.InitialCluster, Stopped: c.Sleeps(), Retry: w.Retry,
	})
	applied, err := render.Applied(wanted)
	if err != nil {
		return w, err
	}
	if w.State, err = state(c, live, applied); err != nil {
		return w, err
	}
	// Another hash means that the spec, or the operator, has changed since it was applied; that alone is no drift:
	// it reaches the member when it is rolled.
	scaled := live.Spec.Replicas != nil && *live.Spec.Replicas != *wanted.Spec.Replicas
	if w.State == core.Drifted && !scaled && live.Annotations[render.AnnotationAppliedHash] != applied.GetAnnotations()[render.AnnotationAppliedHash] {
		w.State = core.Current
	}
	return w, nil
}

// memberOf is the member that a pod is of: its owner.
func memberOf(pod *corev1.Pod) string { return metav1.GetControllerOf(pod).Name }

// endpoints are the members that run, as the operator reaches them: by IP address, since the names of pods that have
// just started do not resolve yet. A member that is stopping is left alone: etcd waits for open streams, ours too, for
// seconds before it stops.
func endpoints(c render.Cluster, pods []corev1.Pod, credentials *secured, login *etcd.Login) []etcd.Endpoint {
	var reachable []etcd.Endpoint
	for i := range pods {
		pod := &pods[i]
		if pod.Status.PodIP == "" || pod.DeletionTimestamp != nil || !ObservePod(pod).Running {
			continue
		}
		endpoint := etcd.Endpoint{
			Member:  memberOf(pod),
			Address: "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(render.ClientPort)),
		}
		if render.TalksTLS(pod.Spec) && credentials != nil {
			endpoint.Address = "https" + strings.TrimPrefix(endpoint.Address, "http")
			endpoint.Credentials = credentials.of(c.Host(endpoint.Member))
		}
		if endpoint.Credentials == nil || !credentials.root() {
			endpoint.Login = login
		}
		reachable = append(reachable, endpoint)
	}
	slices.SortFunc(reachable, func(a, b etcd.Endpoint) int { return strings.Compare(a.Member, b.Member) })
	return reachable
}
