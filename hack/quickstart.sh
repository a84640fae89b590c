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
endpoint=http://demo-client.default.svc:2379
started=$SECONDS

# etcdctl ARGUMENT...: runs etcdctl in a pod of its own, so that it goes through the client Service like any
# other client, and prints what it printed.
etcdctl() {
  local pod=etcdctl-$RANDOM overrides
  overrides=$(
    cat <<JSON
{"spec": {
  "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
  "containers": [{"name": "$pod", "securityContext": {
    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}}]}}
JSON
  )
  kubectl run "$pod" --namespace default --image "$etcd_image" --restart Never --quiet \
    --override-type strategic --overrides "$overrides" \
    --command -- /usr/local/bin/etcdctl --endpoints "$endpoint" "$@" >/dev/null
  local status=0
  kubectl wait --namespace default --for=jsonpath='{.status.phase}'=Succeeded --timeout 60s "pod/$pod" >/dev/null || status=1
  kubectl logs --namespace default "$pod"
  kubectl delete --namespace default --wait=false "pod/$pod" >/dev/null
  return $status
}

create_cluster() {
  kubectl apply --filename "$sample"
  kubectl wait --namespace default --for=condition=Available --timeout 3m etcdcluster/demo || {
    diagnose >&2
    die "the cluster demo did not become Available within 3 minutes; its conditions above say why"
  }
}

write_and_read() {
  local written answer
  written="hello at $(date -u +%H:%M:%S)"
  answer=$(etcdctl put greeting "$written") || die "writing a key through $endpoint failed: $answer"
  echo "    etcdctl put greeting '$written': $answer"
  answer=$(etcdctl get greeting --print-value-only) || die "reading a key through $endpoint failed: $answer"
  echo "    etcdctl get greeting: $answer"
  [[ $answer == "$written" ]] || die "wrote '$written' through $endpoint but read '$answer'"
}

cluster_require
cluster_build
cluster_up
load_images
timed "operator, by its Helm chart, in namespace $NAMESPACE" install_operator
timed "cluster demo: 3 members with persistent volumes" create_cluster
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
  kubectl run shell --rm -i --restart Never --image $etcd_image --command -- \\
    /usr/local/bin/etcdctl --endpoints $endpoint member list --write-out table

  kubectl delete etcdcluster demo                   # removes the cluster
  $delete_cluster                                   # removes all of it
TEXT
