// Package sim explores, breadth-first, what can happen to a cluster around the real decision core.
//
// A [State] is a small model of Kubernetes and of etcd. From every state every possible next step is taken: a step of
// the environment (a controller, the scheduler, a kubelet, an etcd process), a fault, a change by the user, or one pass
// of the operator. A pass makes a core.Observation of the state, calls core.Decide, and carries the actions out under
// the preconditions that internal/act has. Every state is visited once; a trace to a violation is as short as can be.
//
// What is modeled:
//   - the EtcdCluster: deleted and made again under its name, spec changes, pause, the recorded status, conflicts;
//   - per member: the StatefulSet with what its controller has seen of it, the pod, the claim, the data on its volume;
//   - etcd: founding from a static initial cluster, the refusal to found again while a peer knows better, quorum,
//     leadership, members that lag behind, what each process answers;
//   - faults: crashes, deleted pods and StatefulSets, lost volumes, quota, an operator that ends between two writes, a
//     cache that stands still while the cluster moves on, members that only the operator cannot reach, a lost status;
//   - passes that come late: what disrupts is carried out only after other things have happened, as by a second
//     operator that was paused while it still held the lease.
//
// What is not: sizes that change, learners, versions, alarms, supporting objects, nodes, several volumes a member, the
// retention policy Delete, partitions between members, disks that are emptied under a pod that stays, and time. A
// founding member counts as having run from the moment that the operator has recorded it: before that only etcd itself
// can refuse to found again. In place of every recorded status the model keeps the two facts that decisions
// depend on; conflicts are thus rarer than in reality, which makes more possible, not less.
package sim
