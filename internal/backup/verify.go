package backup

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/backup/store"
)

// scratchLimit is how long the restored etcd may take to serve.
const scratchLimit = time.Minute

// Scratch is where a backup is tried out.
type Scratch struct {
	// Folder is empty, and has room for the snapshot.
	Folder string
	// Etcd and Etcdutl are the programs of the minor that the backup was made of, or the next one.
	Etcd, Etcdutl string
}

// Verified is what a backup has proved to be.
type Verified struct {
	// Revision is that of the restored etcd.
	Revision int64
	Keys     int64
	Hash     uint32
	Took     time.Duration
}

// Verify reads a backup back, restores it, starts etcd on it, and compares with what the cluster said when the backup was
// made. Any error means that it is not verified. The folder is left for whoever wants to see.
func Verify(ctx context.Context, s store.Store, m Manifest, identities string, scratch Scratch) (Verified, error) {
	began := time.Now()
	data := filepath.Join(scratch.Folder, "data")
	client, peer, err := twoAddresses()
	if err != nil {
		return Verified{}, err
	}
	if err := restore(ctx, s, m, identities, scratch, data, peer); err != nil {
		return Verified{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end, err := start(ctx, scratch.Etcd, data, client, peer)
	if err != nil {
		return Verified{}, err
	}
	defer end()
	v, err := compare(ctx, m, client)
	if err != nil {
		return Verified{}, fmt.Errorf("the backup %q, restored: %w", m.Name, err)
	}
	v.Took = time.Since(began)
	return v, nil
}

// restore makes a data directory of a backup, that lets everybody in.
func restore(ctx context.Context, s store.Store, m Manifest, identities string, scratch Scratch, data, peer string) error {
	database := filepath.Join(scratch.Folder, "database")
	if err := downloadDatabase(ctx, s, m, identities, database, func(int64) {}); err != nil {
		return err
	}
	restoration := restoration{
		etcdutl: scratch.Etcdutl, arguments: []string{"--name", "scratch", "--initial-cluster", "scratch=" + peer, "--initial-advertise-peer-urls", peer}, letEverybodyIn: true,
	}
	if err := restoration.run(ctx, database, data); err != nil {
		return fmt.Errorf("etcdutl cannot restore the backup %q: %w", m.Name, err)
	}
	return nil
}

// start runs etcd on a data directory, on loopback addresses only.
func start(ctx context.Context, program, data, client, peer string) (end func(), err error) {
	var said bytes.Buffer
	process := exec.CommandContext(ctx, program, "--name", "scratch", "--data-dir", data, "--listen-client-urls", client, "--advertise-client-urls", client, //nolint:gosec // The caller's program.
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "scratch="+peer, "--log-level", "error")
	process.Stdout, process.Stderr = &said, &said
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("etcd cannot be started on the restored backup: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	end = func() {
		_ = process.Process.Kill()
		<-ended
	}
	limit := time.NewTimer(scratchLimit)
	defer limit.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return nil, fmt.Errorf("etcd ends when it is started on the restored backup: %s", lastLine(said.Bytes()))
		case <-ctx.Done():
			end()
			return nil, ctx.Err()
		case <-limit.C:
			end()
			return nil, fmt.Errorf("etcd does not listen within %s when it is started on the restored backup: %s", scratchLimit, lastLine(said.Bytes()))
		case <-look.C:
			connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(client, "http://"))
			if err == nil {
				_ = connection.Close()
				return end, nil
			}
		}
	}
}

// compare asks the restored etcd for what the member was asked for.
func compare(ctx context.Context, m Manifest, endpoint string) (Verified, error) {
	ctx, cancel := context.WithTimeout(ctx, scratchLimit)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, Logger: zap.NewNop(), Context: ctx, DialTimeout: scratchLimit,
	})
	if err != nil {
		return Verified{}, err
	}
	defer func() { _ = client.Close() }()
	state := m.State
	// A linearizable read waits until it has a leader, and has applied all that it has.
	now, err := client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
	if err != nil {
		return Verified{}, fmt.Errorf("its keys cannot be counted: %w", err)
	}
	if r := now.Header.Revision; r < state.Revision || r > state.LastRevision {
		return Verified{}, differs("its revision is %d, and not %d to %d as the cluster's was", r, state.Revision, state.LastRevision)
	}
	keys, err := client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly(), clientv3.WithRev(state.Revision))
	if err != nil {
		return Verified{}, fmt.Errorf("its keys at revision %d cannot be counted: %w", state.Revision, err)
	}
	if keys.Count != state.Keys {
		return Verified{}, differs("it has %d keys at revision %d, the cluster had %d", keys.Count, state.Revision, state.Keys)
	}
	hash, err := client.HashKV(ctx, endpoint, state.Revision)
	if err == nil && hash.CompactRevision < state.CompactRevision {
		// The cluster was compacted while the snapshot was opened.
		if _, err = client.Compact(ctx, state.CompactRevision, clientv3.WithCompactPhysical()); err == nil {
			hash, err = client.HashKV(ctx, endpoint, state.Revision)
		}
	}
	if err != nil {
		return Verified{}, fmt.Errorf("its hash at revision %d: %w", state.Revision, err)
	}
	if hash.Hash != state.Hash || hash.CompactRevision != state.CompactRevision {
		return Verified{}, differs("its hash at revision %d is %d, compacted at %d; the cluster's was %d, compacted at %d",
			state.Revision, hash.Hash, hash.CompactRevision, state.Hash, state.CompactRevision)
	}
	return Verified{Revision: now.Header.Revision, Keys: keys.Count, Hash: hash.Hash}, nil
}

func differs(format string, values ...any) error { return &DiffersError{fmt.Errorf(format, values...)} }

// twoAddresses are free on the loopback. They are held together, so that they differ.
func twoAddresses() (client, peer string, err error) {
	listen := func() (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	}
	first, err := listen()
	if err != nil {
		return "", "", fmt.Errorf("no port is free on 127.0.0.1: %w", err)
	}
	defer func() { _ = first.Close() }()
	second, err := listen()
	if err != nil {
		return "", "", fmt.Errorf("no second port is free on 127.0.0.1: %w", err)
	}
	defer func() { _ = second.Close() }()
	return "http://" + first.Addr().String(), "http://" + second.Addr().String(), nil
}

// lastLine is the last thing that a program said, which is why it ended.
func lastLine(said []byte) string {
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	return lines[len(lines)-1]
}
