package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// RequireLocal skips a test that reaches into nodes from the machine that runs it.
func (k *Kubernetes) RequireLocal(what string) {
	k.T.Helper()
	if OnKind() {
		k.T.Skipf("%s from outside needs the local cluster; this is kind", what)
	}
}

// EtcdVersions are the versions of etcd whose image every node has, or any if nodes can pull images.
func (k *Kubernetes) EtcdVersions() (have func(version string) bool, all []string) {
	k.T.Helper()
	if OnKind() {
		return func(string) bool { return true }, nil
	}
	var nodes corev1.NodeList
	if err := k.List(context.Background(), &nodes); err != nil {
		k.T.Fatal(err)
	}
	repository := strings.TrimSuffix(EtcdImage(), EtcdVersion())
	count := map[string]int{}
	for i := range nodes.Items {
		for _, image := range nodes.Items[i].Status.Images {
			for _, name := range image.Names {
				if version, ok := strings.CutPrefix(name, repository); ok {
					count[version]++
				}
			}
		}
	}
	for version, n := range count {
		if n == len(nodes.Items) {
			all = append(all, version)
		}
	}
	slices.Sort(all)
	return func(version string) bool { return slices.Contains(all, version) }, all
}

// RequireVersions fails a test whose etcd images the cluster does not have. Nodes report new images after a while.
func (k *Kubernetes) RequireVersions(versions ...string) {
	k.T.Helper()
	k.Eventually("the nodes have the images of etcd "+strings.Join(versions, ", ")+", which hack/cluster.sh has to load", 30*time.Second,
		func(context.Context) error {
			have, all := k.EtcdVersions()
			for _, version := range versions {
				if !have(version) {
					return fmt.Errorf("they have no etcd %s, only %v", version, all)
				}
			}
			return nil
		})
}

// Node does something to a node of the local cluster: stop, start, disconnect, connect.
func (k *Kubernetes) Node(action, node string) {
	k.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if output, err := exec.CommandContext(ctx, "local-cluster", "node", action, node).CombinedOutput(); err != nil {
		k.T.Fatalf("local-cluster node %s %s: %v: %s", action, node, err, output)
	}
}

// FailNode makes a node of the local cluster fail, by stop or disconnect, until the function that it gives is called, or
// the test ends.
func (k *Kubernetes) FailNode(action, node string) (mend func()) {
	k.T.Helper()
	mended, back := false, map[string]string{"stop": "start", "disconnect": "connect"}[action]
	mend = func() {
		if mended {
			return
		}
		mended = true
		k.Node(back, node)
		k.Eventually("node "+node+" is ready again", 3*time.Minute, func(ctx context.Context) error {
			found := &corev1.Node{}
			if err := k.Get(ctx, key("", node), found); err != nil {
				return err
			}
			for _, c := range found.Status.Conditions {
				if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
					return nil
				}
			}
			return fmt.Errorf("it is not")
		})
	}
	k.T.Cleanup(mend)
	k.Node(action, node)
	return mend
}

// MemberAwayFromOperator is a member of the cluster on a node that no pod of the operator runs on, and that node.
func (k *Kubernetes) MemberAwayFromOperator(cluster string) (member, node string) {
	k.T.Helper()
	var operators corev1.PodList
	if err := k.List(context.Background(), &operators, client.InNamespace(OperatorNamespace)); err != nil {
		k.T.Fatal(err)
	}
	taken := map[string]bool{}
	for i := range operators.Items {
		taken[operators.Items[i].Spec.NodeName] = true
	}
	for name, pod := range k.Pods(cluster) {
		if pod.Spec.NodeName != "" && !taken[pod.Spec.NodeName] {
			return strings.TrimSuffix(name, "-0"), pod.Spec.NodeName
		}
	}
	k.T.Fatalf("the operator is on every node that a member of %s is on", cluster)
	return "", ""
}

// LoseVolume takes a member's claim, its volume and its pod away, as if the disk was gone.
func (k *Kubernetes) LoseVolume(member string) {
	k.T.Helper()
	claim, volume := k.claim(member)
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = k.Namespace, member+"-0"
	// The claim stays, Terminating, as long as the pod uses it, and the volume as long as the claim.
	k.MustDelete(claim)
	k.MustDelete(volume)
	k.MustDelete(pod)
	k.Eventually("the volume of "+member+" is gone", 2*time.Minute, func(ctx context.Context) error {
		err := k.Get(ctx, client.ObjectKeyFromObject(volume), volume)
		if err == nil {
			return fmt.Errorf("it is %s", volume.Status.Phase)
		}
		return client.IgnoreNotFound(err)
	})
}

// claim is the claim of a member's data, and its volume.
func (k *Kubernetes) claim(member string) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume) {
	k.T.Helper()
	claim, volume := &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolume{}
	if err := k.Get(context.Background(), key(k.Namespace, "data-"+member+"-0"), claim); err != nil {
		k.T.Fatal(err)
	}
	if err := k.Get(context.Background(), key("", claim.Spec.VolumeName), volume); err != nil {
		k.T.Fatal(err)
	}
	return claim, volume
}

// DataFolder is where the machine that runs the local cluster has the data of a member.
func (k *Kubernetes) DataFolder(member string) string {
	k.T.Helper()
	_, volume := k.claim(member)
	if volume.Spec.Local == nil {
		k.T.Fatalf("volume %s is not of kind local", volume.Name)
	}
	return filepath.Join(volume.Spec.Local.Path, "data")
}

// CorruptLog changes a byte in a record of each file of etcd's write-ahead log: etcd finds that its checksum is wrong when
// it starts, and does not. folder is the data directory.
func CorruptLog(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "member", "wal", "*.wal"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s has no log: %w", folder, err)
	}
	for _, file := range files {
		if err := corruptRecord(file, 2); err != nil {
			return err
		}
	}
	return nil
}

// corruptRecord changes the last byte of a record of a log file, which belongs to its data. A record begins with a
// little-endian 64-bit field: in its lower 56 bits the length, above them, if the sign is set, in the lowest three bits
// the padding that follows (server/storage/wal/encoder.go). The length itself stays right: a record that ends behind the
// end of the file would be taken for a torn write, and cut off.
func corruptRecord(name string, number int) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	offset := int64(0)
	for record := 0; ; record++ {
		var field [8]byte
		if _, err := file.ReadAt(field[:], offset); err != nil {
			return fmt.Errorf("record %d of %s: %w", record, name, err)
		}
		bits := binary.LittleEndian.Uint64(field[:])
		length, padding := int64(bits&(1<<56-1)), int64(0)
		if bits>>63 == 1 {
			padding = int64(bits >> 56 & 7)
		}
		if length == 0 {
			return fmt.Errorf("%s has %d records only", name, record)
		}
		if record < number {
			offset += 8 + length + padding
			continue
		}
		var last [1]byte
		at := offset + 8 + length - 1
		if _, err := file.ReadAt(last[:], at); err != nil {
			return err
		}
		last[0] ^= 1
		_, err := file.WriteAt(last[:], at)
		return err
	}
}

// CorruptDatabase changes a value wherever etcd's database has it, to another one of the same length: what etcd reads from
// its database, which it maps into memory, is wrong from then on, and nothing in the file's format shows it.
func CorruptDatabase(folder, value, other string) error {
	name := filepath.Join(folder, "member", "snap", "db")
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	found := 0
	for from := 0; ; found++ {
		at := bytes.Index(data[from:], []byte(value))
		if at < 0 || len(other) != len(value) {
			break
		}
		if _, err := file.WriteAt([]byte(other), int64(from+at)); err != nil {
			return err
		}
		from += at + len(value)
	}
	if found == 0 {
		return fmt.Errorf("%s does not have the value %q, or %q is not as long", name, value, other)
	}
	return nil
}
