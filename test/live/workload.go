package live

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/test/history"
)

// Names of the clients of a workload.
const (
	// ByService reaches the cluster as most applications do: by the client Service. One connection leads to one member.
	ByService = "service"
	// ByMembers names all members and asks for changes of them from time to time, as etcd's documentation suggests.
	ByMembers = "members"
)

// Workload is a client workload that runs against a cluster.
type Workload struct {
	*history.Run
	kubernetes *Kubernetes
	clients    []history.Client
}

// StartWorkload begins to write to and read from a cluster all the time, by two clients with etcd's defaults: their
// backoff and retries are what applications get. The only setting is the keepalive, at gRPC's shortest, as without it a
// client does not notice that a node is gone.
func (k *Kubernetes) StartWorkload(cluster string, options history.Options) *Workload {
	k.T.Helper()
	// On kind a port is forwarded, which ends with the pod it leads to.
	k.RequireLocal("a client that outlives pods")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found, err := k.GetCluster(ctx, cluster)
	if err != nil {
		k.T.Fatal(err)
	}
	if len(found.Status.Endpoints) < 2 {
		k.T.Fatalf("status.endpoints of %s is %v, want the Service and its members", cluster, found.Status.Endpoints)
	}
	w := &Workload{kubernetes: k}
	for _, name := range []string{ByService, ByMembers} {
		config := clientv3.Config{DialTimeout: 5 * time.Second, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 2 * time.Second, PermitWithoutStream: true}
		if name == ByMembers {
			config.Endpoints, config.AutoSyncInterval = found.Status.Endpoints[1:], 2*time.Second
		}
		client, err := k.etcd(ctx, cluster+"-client", config)
		if err != nil {
			k.T.Fatal(err)
		}
		k.T.Cleanup(func() { _ = client.Close() })
		w.clients = append(w.clients, history.Client{Name: name, Client: client})
	}
	k.Eventually("both clients write", 30*time.Second, func(ctx context.Context) error {
		for _, client := range w.clients {
			trying, done := context.WithTimeout(ctx, time.Second)
			_, err := client.Put(trying, "history/started", client.Name)
			done()
			if err != nil {
				return err
			}
		}
		return nil
	})
	w.Run = history.Start(context.Background(), w.clients, options)
	k.T.Cleanup(func() { w.Stop() })
	return w
}

// Client is one of the workload's clients.
func (w *Workload) Client() *clientv3.Client { return w.clients[0].Client }

// Finish ends the workload and fails the test if its history is not linearizable, an acknowledged write is lost, or members
// differ in their data.
func (w *Workload) Finish() history.Result {
	k := w.kubernetes
	k.T.Helper()
	result := w.Stop()
	k.T.Logf("workload: %s", result)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := w.Check(ctx); err != nil {
		k.T.Errorf("the history of the clients: %v", err)
	}
	hashing, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	if err := history.HashKV(hashing, w.Client()); err != nil {
		k.T.Errorf("the data of the members: %v", err)
	}
	if result.Worst().Writes == 0 {
		k.T.Errorf("no write was acknowledged: nothing was tested")
	}
	return result
}
