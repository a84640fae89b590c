// Package sim explores, breadth-first, what can happen to a cluster around the real decision core.
//
// A [State] is a small model of Kubernetes and of etcd. From every state every possible next step is taken: a step of
// the environment (a controller, the scheduler, a kubelet, an etcd process), a fault, a change by the user, or one pass
// of the operator. A pass makes a core.Observation of the state, calls core.Decide, and carries the actions out under
// the preconditions that internal/act has. Every state is visited once; a trace to a violation is as short as can be.
//
// What is modeled:
//   - the EtcdCluster: deleted and made again under its name, its size (0 hibernates), template, CPU and memory, storage
//     class and size, members to replace, pause, the recorded status, conflicts;
//   - per member: the StatefulSet with what its controller has seen of it, the pod, the claim, the data on its volume,
//     the node;
//   - etcd: founding from a static initial cluster, the refusal to found again while a peer knows better; the member
//     list with voters, learners and members that have not started yet, by IDs that are never used again; the rules by
//     which MemberAdd, MemberPromote and MemberRemove are refused
//     (https://etcd.io/docs/v3.6/op-guide/runtime-configuration/); that a joining member has to know the list as it is,
//     and a removed one ends; quorum, leadership, what each process answers; the alarm CORRUPT;
//   - writes: clients write all the time, so that whoever does not take part while a quorum commits lacks an acknowledged
//     write until it has caught up, and may not lead before;
//   - versions, in the worlds that have the topic: the minors 3.5 to 3.7 that members run and that the user asks for; etcd's
//     cluster version, the version of each member's data, and what etcd was told to go back to; when etcd refuses that, and
//     which members do not start or may not join for their version (https://etcd.io/docs/v3.6/downgrades/downgrading-etcd/
//     and server/etcdserver/version of etcd); entries of 3.5 in the log, with which 3.7 does not start;
//   - changes in place: CPU and memory of a pod that runs, which its kubelet has yet to see, its node puts off or never has, or
//     Kubernetes refuses, and of which there may be so little that etcd ends; volumes that grow, or of a class that does not let
//     them;
//   - certificates, in the worlds that have them: those of members among each other, by which the operator comes to them as well.
//     Secrets with the authority that signs, the next one and those that are trusted; whom a pod trusts since it started, which
//     certificate its kubelet has brought to it; at which URLs etcd lists the members, and that they understand each other there;
//   - restores, in the worlds that have them: EtcdRestores around the real restores.Decide, one at a time, and with their volumes what
//     agents do to those, one rename after the other. A restore brings data of another etcd cluster with the same members; whichever
//     of the two starts while nobody runs on the other is the one that counts. A cluster can begin with it. Runs may start when a restore
//     has come to a phase, since that is far from where others start;
//   - faults: crashes, deleted pods and StatefulSets, lost and wiped volumes, corrupt data, unreadable logs, nodes that
//     are gone, members cut off from the others, members that only the operator cannot reach, members removed by hand,
//     quota, an operator that ends between two writes, a cache that stands still while the cluster moves on, a lost status,
//     Secrets of certificates that are deleted, grow old, or have another authority put into them;
//   - passes that come late: what disrupts is carried out only after other things have happened, as by a second
//     operator that was paused while it still held the lease;
//   - time, as far as patience goes: "a long time passes" is a step, after which whoever is unhealthy has been so for
//     longer than any patience.
//
// What is not: safety backups (what was there is aside as well), what data has besides whose it is, and restores beside changes of the
// version or certificates. Nobody takes the note off by hand that a restore holds the cluster, nor is the EtcdCluster deleted and made
// again while a restore that began before is half-way: the end of that is not always what it should be. Claims of members that were
// removed before a restore, and are not deleted yet, are left by it to the user; and a claim that is deleted since its member was removed
// between a restore and its end takes with it what was aside on it. Applying a StatefulSet never comes late.
// Nor patches of a minor, alarms for space, supporting objects, several volumes a member, volumes that
// would be too small for the database, members in memory, members that were added by hand, disks that are emptied under a pod that
// stays, the certificates of clients, and authorities that grow old or are of no use. Data gets a later version together with the cluster version: in etcd it takes moments. Members never write a
// snapshot by themselves, so that the log keeps what it has until it is flushed. A founding member counts as having run
// from the moment that the operator has recorded it: before that only etcd itself can refuse to found again, and volumes
// are not lost in the moment before etcd can. The only member of a cluster may be stranded if its pod is lost between two
// wishes for its version; see stranded. In place of every recorded status the model keeps the facts that decisions depend
// on; conflicts are thus rarer than in reality, which makes more possible, not less. A name may be used again if nothing
// was ever made under it: etcd's IDs tell the two apart.
package sim
