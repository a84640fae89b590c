#!/usr/bin/env bash
# From nothing to a running 3-member etcd cluster on a real Kubernetes: builds what is missing, starts the
# cluster, installs the operator by its chart, applies the sample, and writes and reads a key. Run it again at
# any time: what is there is reused.
#
#   hack/quickstart.sh                 on the local cluster (no Docker)
#   PROVIDER=kind hack/quickstart.sh   on kind
set -euo pipefail

# shellcheck source=hack/cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

sample=$root/config/samples/etcd_v1alpha1_etcdcluster.yaml
client=$root/config/samples/etcdctl.yaml
started=$SECONDS

# etcdctl ARGUMENT...: runs etcdctl in the pod of that name, which goes through the client Service and shows the certificate for
# applications like any other client.
etcdctl() { kubectl exec --namespace default etcdctl -- /usr/local/bin/etcdctl "$@"; }

create_cluster() {
  kubectl apply --filename "$sample"
  kubectl wait --namespace default --for=condition=Available --timeout 3m etcdcluster/demo || {
    diagnose >&2
    die "the cluster demo did not become Available within 3 minutes; its conditions above say why"
  }
}

# A pod of an earlier run may still have the certificate of an earlier cluster.
create_client() {
  kubectl delete --ignore-not-found --filename "$client"
  kubectl apply --filename "$client"
  kubectl wait --for=condition=Ready --timeout 60s --filename "$client" || {
    kubectl describe --filename "$client" >&2
    die "the pod etcdctl did not become ready within a minute; its events above say why"
  }
}

write_and_read() {
  local written answer
  written="hello at $(date -u +%H:%M:%S)"
  answer=$(etcdctl put greeting "$written") || die "writing a key through the Service demo-client failed"
  echo "    etcdctl put greeting '$written': $answer"
  answer=$(etcdctl get greeting --print-value-only) || die "reading a key through the Service demo-client failed"
  echo "    etcdctl get greeting: $answer"
  [[ $answer == "$written" ]] || die "wrote '$written' but read '$answer'"
}

cluster_require
cluster_build
cluster_up
load_images
timed "operator, by its Helm chart, in namespace $NAMESPACE" install_operator
timed "cluster demo: 3 members with persistent volumes" create_cluster
timed "etcdctl in a pod, with a certificate of the cluster's" create_client
timed "a key written and read through the Service demo-client" write_and_read

say "The cluster (everything took $((SECONDS - started)) s)"
kubectl get etcdclusters --namespace default
echo
kubectl get pods --namespace default --output wide

delete_cluster="make local-down"
[[ $PROVIDER == kind ]] && delete_cluster="make kind-delete"
cat <<TEXT

==> What to try next

  export KUBECONFIG=$KUBECONFIG PATH=$bin:\$PATH

  kubectl get etcdclusters --watch                  # the table above, live
  kubectl describe etcdcluster demo                 # conditions, members and events
  kubectl delete pod demo-0-0                       # it comes back as the same member, with its data
  kubectl logs --namespace $NAMESPACE deployment/etcd-operator --follow
  kubectl exec demo-0-0 -- /usr/local/bin/etcdctl member list --write-out table    # in a member
  kubectl exec etcdctl -- /usr/local/bin/etcdctl get greeting                      # as an application does, with its certificate

  kubectl delete etcdcluster demo                   # removes the cluster
  $delete_cluster                                   # removes all of it
TEXT
