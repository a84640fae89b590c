//go:build bench

package bench

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// operation is something that is done to a running cluster.
type operation struct {
	name string
	// from and to are the sizes of the cluster before and after it.
	from, to int32
	// missing says why it cannot be measured here.
	missing func(*stage) string
	// prepare comes before the clients and the clock start.
	prepare func(*stage)
	// run does it, and waits until the cluster is as redundant as it should be.
	run func(*stage)
	// quiet is without clients: the cluster does not serve.
	quiet bool
	// floor is what the pods themselves need.
	floor func(floors) time.Duration
	// limit is what it may take.
	limit     func(floors) time.Duration
	limitText string
	// smooth is whether clients must not notice it: no failed write, no gap of gapLimit, one leader change.
	smooth bool
}

// gapLimit is how long clients of a smooth operation may be without a successful write.
const gapLimit = 250 * time.Millisecond

func (o operation) target() string {
	var parts []string
	if o.limit != nil {
		parts = append(parts, "at most "+o.limitText)
	}
	if o.smooth {
		parts = append(parts, fmt.Sprintf("0 failed, gap under %v, 1 leader change", gapLimit))
	}
	return strings.Join(parts, ", ")
}

// missedBy are the targets that a measurement missed.
func (o operation) missedBy(m measured) []string {
	var missed []string
	if o.limit != nil && m.took > o.limit(m.floors) {
		missed = append(missed, fmt.Sprintf("%.2f s, at most %.2f s is wanted", m.took.Seconds(), o.limit(m.floors).Seconds()))
	}
	if !o.smooth {
		return missed
	}
	for _, name := range slices.Sorted(maps.Keys(m.result.Clients)) {
		f := m.result.Clients[name]
		if f.Failed > 0 {
			missed = append(missed, fmt.Sprintf("%d writes failed (%s)", f.Failed, name))
		}
		if f.LongestGap >= gapLimit {
			missed = append(missed, fmt.Sprintf("gap of %d ms (%s)", f.LongestGap.Milliseconds(), name))
		}
	}
	if m.result.Elections > 1 {
		missed = append(missed, fmt.Sprintf("%d leader changes", m.result.Elections))
	}
	return missed
}

// nextMinor is what is upgraded to; the image of it is built by hack/etcd/3.7.
const nextMinor = "3.7.3"

var operations = []operation{
	{name: "scale 1 to 3", from: 1, to: 3, run: scaleTo(3), floor: floors.ready,
		limit: func(f floors) time.Duration { return 2*f.Ready + 2*time.Second }, limitText: "2 x pod-ready + 2 s"},
	{name: "scale 3 to 5", from: 3, to: 5, run: scaleTo(5), floor: floors.ready},
	{name: "scale 5 to 3", from: 5, to: 3, run: scaleTo(3), floor: func(f floors) time.Duration { return f.Gone }},
	// What etcd itself costs its clients: every smooth operation moves the leadership once.
	{name: "MoveLeader alone", from: 3, to: 3, run: moveLeader},
	{name: "rolling change", from: 3, to: 3, run: roll, floor: floors.rollout, smooth: true},
	{name: "resources in place", from: 3, to: 3, run: resize, floor: func(f floors) time.Duration { return f.Resize },
		missing: (*stage).resizeMissing},
	{name: "storage expansion", from: 3, to: 3, run: expand, floor: func(f floors) time.Duration { return f.Expand }},
	{name: "pod deleted, follower", from: 3, to: 3, run: deletePod(false), floor: floors.restart,
		limit: floors.killed, limitText: "pod-ready + 5 s"},
	{name: "pod deleted, leader", from: 3, to: 3, run: deletePod(true), floor: floors.restart,
		limit: floors.killed, limitText: "pod-ready + 5 s"},
	{name: "process killed, leader", from: 3, to: 3, run: killLeader, floor: func(f floors) time.Duration { return f.Killed },
		limit: func(f floors) time.Duration { return f.Killed + 5*time.Second }, limitText: "pod-ready + 5 s"},
	{name: "volume lost", from: 3, to: 3, run: loseVolume, floor: func(f floors) time.Duration { return f.Gone + f.Ready },
		limit: func(f floors) time.Duration { return f.Gone + f.Ready + 5*time.Second }, limitText: "pod-ready + 5 s + copy"},
	{name: "patch upgrade", from: 3, to: 3, missing: (*stage).olderPatchMissing, prepare: toOlderPatch, run: toVersion(live.EtcdVersion()),
		floor: floors.rollout, smooth: true},
	{name: "minor upgrade", from: 3, to: 3, missing: (*stage).nextMinorMissing, run: toVersion(nextMinor), floor: floors.rollout, smooth: true},
	{name: "downgrade", from: 3, to: 3, missing: (*stage).nextMinorMissing, prepare: toVersion(nextMinor), run: toVersion(live.EtcdVersion()),
		floor: floors.rollout},
	{name: "leader's node cut off", from: 3, to: 3, prepare: leadAwayFromOperator, run: cutOffLeader},
	{name: "hibernate", from: 3, to: 0, run: hibernate, quiet: true, floor: func(f floors) time.Duration { return f.Stop }},
	{name: "wake", from: 0, to: 3, prepare: hibernate, run: wake, quiet: true, floor: func(f floors) time.Duration { return f.Wake }},
}

func requests(cpu, memory string) *corev1.ResourceRequirements {
	return &corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
	}}
}

func (s *stage) etcd() *clientv3.Client { return s.workload.Client() }

func scaleTo(size int32) func(*stage) {
	return func(s *stage) {
		s.Change(s.name, func(spec *v1alpha1.EtcdClusterSpec) { spec.Size = &size })
		s.WaitSettled(s.name, operationLimit)
		if size < s.size {
			s.WaitEndState(s.name, s.etcd(), int(size), operationLimit)
		}
	}
}

// roll changes a setting, to one that it did not have before.
func roll(s *stage) {
	s.Change(s.name, func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Config["snapshot-count"] = v1alpha1.ConfigValue(fmt.Sprint(5000 + time.Now().Unix()%5000))
	})
	s.WaitSettled(s.name, operationLimit)
}

func resize(s *stage) {
	s.Change(s.name, func(spec *v1alpha1.EtcdClusterSpec) { spec.PodTemplate.Spec.Resources = requests(moreCPU, moreMemory) })
	s.Eventually("all containers have more", operationLimit, func(context.Context) error { return resized(s.Pods(s.name)) })
	s.WaitSettled(s.name, operationLimit)
}

// resized is whether the containers of pods have been given more.
func resized(pods map[string]corev1.Pod) error {
	want := requests(moreCPU, moreMemory).Requests
	for name, pod := range pods {
		if len(pod.Status.ContainerStatuses) == 0 {
			return fmt.Errorf("pod %s has no container", name)
		}
		has := pod.Status.ContainerStatuses[0].Resources
		if has == nil || !has.Requests.Cpu().Equal(*want.Cpu()) || !has.Requests.Memory().Equal(*want.Memory()) {
			return fmt.Errorf("pod %s has %v", name, has)
		}
	}
	return nil
}

// resizeMissing asks whether the nodes change resources in place, by the floor: it is zero where they do not.
func (s *stage) resizeMissing() string {
	if s.floors.Resize == 0 {
		return "the kubelet does not resize a pod in place"
	}
	return ""
}

func expand(s *stage) {
	s.Change(s.name, func(spec *v1alpha1.EtcdClusterSpec) { spec.Storage.Size = &moreStorageQuantity })
	s.Eventually("all claims have more", operationLimit, func(ctx context.Context) error { return expanded(ctx, s.Kubernetes, s.name) })
	s.WaitSettled(s.name, operationLimit)
}

// expanded is whether the claims whose names have a part have been given more.
func expanded(ctx context.Context, k *live.Kubernetes, part string) error {
	claims, err := claimsOf(ctx, k, part)
	if err != nil {
		return err
	}
	for _, claim := range claims {
		if has := claim.Status.Capacity.Storage(); has.Cmp(moreStorageQuantity) != 0 {
			return fmt.Errorf("claim %s has %v", claim.Name, has)
		}
	}
	return nil
}

func claimsOf(ctx context.Context, k *live.Kubernetes, part string) ([]corev1.PersistentVolumeClaim, error) {
	var all corev1.PersistentVolumeClaimList
	err := k.List(ctx, &all, client.InNamespace(k.Namespace))
	return slices.DeleteFunc(all.Items, func(c corev1.PersistentVolumeClaim) bool { return !strings.Contains(c.Name, part) }), err
}

// member is a member that leads, or one that does not, and its ID.
func (s *stage) member(leads bool) (name string, id uint64) {
	s.T.Helper()
	leader := s.Leader(s.etcd())
	members := s.MustMembers(s.etcd())
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if (name == leader) == leads {
			return name, members[name]
		}
	}
	s.T.Fatalf("members are %v, the leader is %s", members, leader)
	return "", 0
}

// moveLeader hands the leadership over, as the operator does, and nothing else.
func moveLeader(s *stage) {
	follower, _ := s.member(false)
	s.MoveLeader(s.etcd(), follower)
}

func deletePod(ofLeader bool) func(*stage) {
	return func(s *stage) {
		member, _ := s.member(ofLeader)
		deleteAndWait(s.Kubernetes, member+"-0")
		s.WaitSettled(s.name, operationLimit)
	}
}

// deleteAndWait deletes a pod and waits until one of that name is ready again. It gives when the old one was gone, and when
// the new one was ready.
func deleteAndWait(k *live.Kubernetes, name string) (gone, ready time.Duration) {
	k.T.Helper()
	old := &corev1.Pod{}
	at := types.NamespacedName{Namespace: k.Namespace, Name: name}
	if err := k.Get(context.Background(), at, old); err != nil {
		k.T.Fatal(err)
	}
	began := time.Now()
	k.MustDelete(&corev1.Pod{ObjectMeta: old.ObjectMeta})
	k.Eventually("another pod "+name+" is ready", operationLimit, func(ctx context.Context) error {
		now := &corev1.Pod{}
		err := k.Get(ctx, at, now)
		if gone == 0 && (client.IgnoreNotFound(err) == nil && now.UID != old.UID) {
			gone = time.Since(began)
		}
		if err == nil && (now.UID == old.UID || !live.Ready(now)) {
			err = fmt.Errorf("pod %s is %s", now.UID, now.Status.Phase)
		}
		return err
	})
	return gone, time.Since(began)
}

func killLeader(s *stage) {
	leader, _ := s.member(true)
	killAndWait(s.Kubernetes, leader)
	s.WaitSettled(s.name, operationLimit)
}

// killAndWait kills etcd in a pod and waits until its container was restarted and is ready.
func killAndWait(k *live.Kubernetes, member string) time.Duration {
	k.T.Helper()
	at := types.NamespacedName{Namespace: k.Namespace, Name: member + "-0"}
	restarts := func(ctx context.Context) (int32, bool, error) {
		pod := &corev1.Pod{}
		if err := k.Get(ctx, at, pod); err != nil || len(pod.Status.ContainerStatuses) == 0 {
			return 0, false, err
		}
		return pod.Status.ContainerStatuses[0].RestartCount, live.Ready(pod) && pod.Status.ContainerStatuses[0].Ready, nil
	}
	before, _, err := restarts(context.Background())
	if err != nil {
		k.T.Fatal(err)
	}
	began := time.Now()
	k.KillEtcd(member)
	k.Eventually("the container of "+member+" was restarted", operationLimit, func(ctx context.Context) error {
		now, ready, err := restarts(ctx)
		if err == nil && (now == before || !ready) {
			err = fmt.Errorf("%d restarts, %d before, ready: %v", now, before, ready)
		}
		return err
	})
	return time.Since(began)
}

func loseVolume(s *stage) {
	member, id := s.member(false)
	s.LoseVolume(member)
	s.WaitReplaced(s.name, s.etcd(), member, id, operationLimit)
}

func toVersion(version string) func(*stage) {
	return func(s *stage) {
		s.Change(s.name, func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = version })
		s.Eventually("the cluster runs "+version, operationLimit, func(ctx context.Context) error {
			now, err := s.GetCluster(ctx, s.name)
			if err == nil && now.Status.Version != version {
				err = fmt.Errorf("it runs %s", now.Status.Version)
			}
			return err
		})
		s.WaitSettled(s.name, operationLimit)
	}
}

func (s *stage) nextMinorMissing() string {
	if have, _ := s.EtcdVersions(); !have(nextMinor) {
		return "the nodes have no image of etcd " + nextMinor
	}
	return ""
}

// olderPatch is another patch of the minor that the cluster runs, if the nodes have one.
func (s *stage) olderPatch() string {
	minor := live.EtcdVersion()[:strings.LastIndex(live.EtcdVersion(), ".")+1]
	_, all := s.EtcdVersions()
	for _, version := range all {
		if strings.HasPrefix(version, minor) && version != live.EtcdVersion() {
			return version
		}
	}
	return ""
}

func (s *stage) olderPatchMissing() string {
	if s.olderPatch() == "" {
		return "the nodes have the image of one patch only"
	}
	return ""
}

func toOlderPatch(s *stage) { toVersion(s.olderPatch())(s) }

// leadAwayFromOperator makes a member lead whose node the operator is not on: the operator is not what is cut off.
func leadAwayFromOperator(s *stage) {
	s.RequireLocal("cutting off a node")
	etcd, err := s.Etcd(context.Background(), s.name+"-client")
	if err != nil {
		s.T.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	member, _ := s.MemberAwayFromOperator(s.name)
	s.MoveLeader(etcd, member)
	s.Eventually("the operator has seen it", operationLimit, func(ctx context.Context) error {
		now, err := s.GetCluster(ctx, s.name)
		if err == nil && now.Status.Leader != member {
			err = fmt.Errorf("%q leads", now.Status.Leader)
		}
		return err
	})
}

// cutOffLeader cuts the leader's node off until another member leads, and waits for the redundancy to come back.
func cutOffLeader(s *stage) {
	leader, _ := s.member(true)
	mend := s.FailNode("disconnect", s.Pods(s.name)[leader+"-0"].Spec.NodeName)
	s.Eventually("another member leads", operationLimit, func(ctx context.Context) error {
		now, err := s.GetCluster(ctx, s.name)
		if err == nil && (now.Status.Leader == "" || now.Status.Leader == leader) {
			err = fmt.Errorf("%q leads", now.Status.Leader)
		}
		return err
	})
	mend()
	s.WaitSettled(s.name, operationLimit)
}

func hibernate(s *stage) {
	size := int32(0)
	s.Change(s.name, func(spec *v1alpha1.EtcdClusterSpec) { spec.Size = &size })
	s.Eventually("no pod is left", operationLimit, func(ctx context.Context) error {
		now, err := s.GetCluster(ctx, s.name)
		if left := len(s.Pods(s.name)); err == nil && (left > 0 || now.Status.Phase != "Hibernated") {
			err = fmt.Errorf("%d pods, phase %s", left, now.Status.Phase)
		}
		return err
	})
}

func wake(s *stage) {
	size := int32(3)
	s.Change(s.name, func(spec *v1alpha1.EtcdClusterSpec) { spec.Size = &size })
	s.WaitSettled(s.name, operationLimit)
}
