#!/usr/bin/env bash
# Kubernetes in Docker, for machines that have Docker and kind:
#
#   hack/kind/kind.sh create   a cluster with three workers; KIND_NODE_IMAGE picks the Kubernetes version
#   hack/kind/kind.sh deploy   builds the operator's image, installs it, and runs the sample like the quickstart
#   hack/kind/kind.sh delete
set -euo pipefail

export PROVIDER=kind
# shellcheck source=hack/cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cluster.sh"

cluster_require
case ${1:-} in
  create)
    cluster_up
    echo "export KUBECONFIG=$KUBECONFIG"
    ;;
  deploy)
    cluster_is_up || die "there is no kind cluster $KIND_CLUSTER; run: make kind-create"
    exec "$root/hack/quickstart.sh"
    ;;
  delete) cluster_down ;;
  *) die "unknown command '${1:-}'; use: hack/kind/kind.sh create|deploy|delete" ;;
esac
