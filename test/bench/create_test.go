//go:build bench

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/live"
)

// target is how much slower than the floor a creation may be.
const target = 1.5

// rounds is how many pairs are measured; BENCH_ROUNDS changes it.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("BENCH_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 7
}

// TestBenchCreate times the creation of a 3-member cluster, from the API call to Available and a committed write
// through the client Service. The floor is one hand-written StatefulSet with the same image, volumes, flags and
// probes, from the API call to three ready pods and a committed write through a Service. The two take turns. The operator's
// cluster talks TLS on both planes, as users get it; the floor is plain, since what issues certificates for that would be an
// operator of its own.
func TestBenchCreate(t *testing.T) {
	k := live.Connect(t)
	var ours, available, allReady, floor []time.Duration
	writes := 0
	for round := range rounds() {
		f := measureFloor(t, k, fmt.Sprintf("floor-%d", round))
		o := measureOperator(t, k, fmt.Sprintf("ours-%d", round))
		floor = append(floor, f)
		ours, available, allReady = append(ours, o.written), append(available, o.available), append(allReady, o.ready)
		writes = o.writes
		t.Logf("round %d: operator %.2f s (Available %.2f s, 3/3 ready %.2f s, %d API writes), floor %.2f s, ratio %.2f",
			round+1, o.written.Seconds(), o.available.Seconds(), o.ready.Seconds(), o.writes, f.Seconds(), o.written.Seconds()/f.Seconds())
	}
	ratio := median(ours) / median(floor)
	fmt.Printf("\ncreation of 3 members, %d rounds        median   samples (s)\n", rounds())
	fmt.Printf("  floor: hand-written StatefulSet      %6.2f s   %s\n", median(floor), row(floor))
	fmt.Printf("  operator: to Available + write       %6.2f s   %s\n", median(ours), row(ours))
	fmt.Printf("  operator: to Available               %6.2f s   %s\n", median(available), row(available))
	fmt.Printf("  operator: to 3/3 ready               %6.2f s   %s\n", median(allReady), row(allReady))
	fmt.Printf("  ratio                                %6.2f     (target: at most %.1f)\n", ratio, target)
	fmt.Printf("  API writes of the operator           %6d     (0: no audit log here)\n\n", writes)
	err := WriteResults("create", []Figure{
		Against("create.to-available-and-write", median(ours), median(floor), "s"),
		Against("create.to-available", median(available), median(floor), "s"),
		Against("create.to-all-ready", median(allReady), median(floor), "s"),
		{Name: "create.api-writes", Value: float64(writes), Unit: "count"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if ratio > target {
		t.Errorf("the creation takes %.2f times the floor, at most %.1f is wanted", ratio, target)
	}
}

type sample struct {
	available, written, ready time.Duration
	writes                    int
}

func measureOperator(t *testing.T, k *live.Kubernetes, name string) sample {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cluster := k.Cluster(name, 3)
	s, started := sample{}, time.Now()
	k.MustCreate(cluster)
	k.Eventually(name+" is Available", time.Minute, func(ctx context.Context) error {
		now, err := k.GetCluster(ctx, name)
		if err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(now.Status.Conditions, "Available") {
			return errors.New(live.Summary(now.Status.Conditions))
		}
		return nil
	})
	s.available = time.Since(started)
	commit(ctx, t, k, name+"-client")
	s.written = time.Since(started)
	k.Eventually(name+" has all members ready", time.Minute, func(ctx context.Context) error {
		now, err := k.GetCluster(ctx, name)
		if err == nil && now.Status.ReadyMembers != 3 {
			err = fmt.Errorf("%d are ready", now.Status.ReadyMembers)
		}
		return err
	})
	s.ready = time.Since(started)
	k.WaitSettled(name, time.Minute)
	k.ResourceVersionsAtRest(3 * time.Second)
	s.writes = apiWrites(t, k.Namespace, name)
	k.MustDelete(cluster)
	waitGone(k, name)
	return s
}

func measureFloor(t *testing.T, k *live.Kubernetes, name string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	set, services := handWritten(k, name)
	started := time.Now()
	for _, object := range append(services, set) {
		k.MustCreate(object)
	}
	k.Eventually(name+" has all pods ready", time.Minute, func(ctx context.Context) error {
		err := k.Get(ctx, client.ObjectKeyFromObject(set), set)
		if err == nil && set.Status.ReadyReplicas != 3 {
			err = fmt.Errorf("%d are ready", set.Status.ReadyReplicas)
		}
		return err
	})
	commit(ctx, t, k, name+"-client")
	took := time.Since(started)
	for _, object := range append(services, set) {
		k.MustDelete(object)
	}
	waitGone(k, name)
	return took
}

// commit writes a key through a Service, as soon as that leads somewhere.
func commit(ctx context.Context, t *testing.T, k *live.Kubernetes, service string) {
	t.Helper()
	etcd, err := k.Etcd(ctx, service)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	k.Eventually("a committed write through "+service, time.Minute, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := etcd.Put(ctx, "bench", service)
		return err
	})
}

// handWritten is what someone without an operator would write: one StatefulSet that starts its pods in parallel, with
// a static initial cluster and without TLS. Pod, volumes and settings are those that the operator gives its members.
func handWritten(k *live.Kubernetes, name string) (*appsv1.StatefulSet, []client.Object) {
	cluster := k.Cluster(name, 3)
	grace := int64(30)
	cluster.Spec.Repository = strings.TrimSuffix(live.EtcdImage(), ":v"+live.EtcdVersion())
	cluster.Spec.PodTemplate.Spec.TerminationGracePeriodSeconds = &grace
	size := resource.MustParse("1Gi")
	cluster.Spec.Storage.Size = &size
	cluster.Spec.Security.TLS.Client.Mode, cluster.Spec.Security.TLS.Peer.Mode = v1alpha1.ClientTLSDisabled, v1alpha1.PeerTLSDisabled
	built := render.Cluster{EtcdCluster: cluster, Domain: "cluster.local", Voters: 3}
	set := built.StatefulSet(core.ApplyMember{Member: name, Start: core.StartBootstrap, InitialCluster: []string{name}})

	replicas := int32(3)
	set.Spec.Replicas, set.OwnerReferences = &replicas, nil
	set.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{}
	for i := range set.Spec.VolumeClaimTemplates {
		set.Spec.VolumeClaimTemplates[i].OwnerReferences = nil
	}
	var services []client.Object
	container := &set.Spec.Template.Spec.Containers[0]
	for _, object := range built.Objects() {
		object.SetOwnerReferences(nil)
		switch typed := object.(type) {
		case *corev1.Service:
			services = append(services, typed)
		case *corev1.ConfigMap:
			for variable, value := range typed.Data {
				container.Env = append(container.Env, corev1.EnvVar{Name: variable, Value: value})
			}
		}
	}
	container.EnvFrom = nil
	container.Env = append(container.Env, corev1.EnvVar{Name: "POD", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"},
	}})
	var members []string
	for n := range 3 {
		members = append(members, fmt.Sprintf("%s-%d=http://%s-%d.%s.%s.svc.cluster.local:2382", name, n, name, n, built.PeerService(), k.Namespace))
	}
	for i, arg := range container.Args {
		flag, _, _ := strings.Cut(arg, "=")
		host := fmt.Sprintf("http://$(POD).%s.%s.svc.cluster.local", built.PeerService(), k.Namespace)
		switch flag {
		case "--name":
			container.Args[i] = "--name=$(POD)"
		case "--initial-cluster":
			container.Args[i] = flag + "=" + strings.Join(members, ",")
		case "--initial-advertise-peer-urls":
			container.Args[i] = flag + "=" + host + ":2382"
		case "--advertise-client-urls":
			container.Args[i] = flag + "=" + host + ":2379"
		}
	}
	return set, services
}

func waitGone(k *live.Kubernetes, name string) {
	k.T.Helper()
	k.Eventually("everything of "+name+" is gone", time.Minute, func(ctx context.Context) error {
		if left := len(k.Pods(name)); left > 0 {
			return fmt.Errorf("%d pods are left", left)
		}
		var claims corev1.PersistentVolumeClaimList
		if err := k.List(ctx, &claims, client.InNamespace(k.Namespace)); err != nil {
			return err
		}
		for i := range claims.Items {
			_ = client.IgnoreNotFound(k.Delete(ctx, &claims.Items[i]))
		}
		if len(claims.Items) > 0 {
			return fmt.Errorf("%d claims are left", len(claims.Items))
		}
		return nil
	})
}

// auditLog is where the local cluster logs every write.
const auditLog = "/var/lib/etcd-operator-local/logs/audit.log"

// apiWrites counts the writes that the operator made for a cluster, events left out: they are best effort.
func apiWrites(t *testing.T, namespace, name string) int {
	t.Helper()
	file, err := os.Open(auditLog)
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	count := 0
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry struct {
			Stage     string
			User      struct{ Username string }
			ObjectRef struct{ Namespace, Name, Resource string }
		}
		if json.Unmarshal(lines.Bytes(), &entry) != nil || entry.Stage != "ResponseComplete" {
			continue
		}
		if strings.HasSuffix(entry.User.Username, ":etcd-operator") && entry.ObjectRef.Namespace == namespace &&
			strings.Contains(entry.ObjectRef.Name, name) && entry.ObjectRef.Resource != "events" {
			count++
		}
	}
	return count
}
