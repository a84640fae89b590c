#!/usr/bin/env bash
# Runs a command against a Kubernetes cluster with the operator installed:
#
#   hack/with-cluster.sh COMMAND...
#
# KUBECONFIG, PROVIDER and the names of the images, such as ETCD_IMAGE, are set for the command. A cluster that was up
# before stays up; one that was started here is removed at the end unless KEEP=1. When the command fails, what could
# explain it is left in build/results/diagnostics.txt.
set -euo pipefail

# shellcheck source=hack/cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

[[ $# -gt 0 ]] || die "no command given; use: hack/with-cluster.sh COMMAND..."

was_up=yes

finish() {
  local status=$?
  if [[ $status != 0 ]]; then
    mkdir -p "$results"
    diagnose >"$results/diagnostics.txt" 2>&1
    echo "error: failed with $status; the state of the cluster is in $results/diagnostics.txt" >&2
  fi
  if [[ $was_up == no && ${KEEP:-0} != 1 ]]; then
    timed "removing the cluster (KEEP=1 keeps it)" cluster_down || true
  fi
  exit "$status"
}

cluster_require
cluster_build
cluster_is_up || was_up=no
trap finish EXIT
cluster_up
load_images
timed "operator, by its Helm chart, in namespace $NAMESPACE" install_operator

export PROVIDER ETCD_IMAGE=$etcd_image OPERATOR_IMAGE=$operator_image OBJECT_STORE_IMAGE=$object_store_image
say "$*"
cd "$root"
"$@"
