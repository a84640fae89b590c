#!/usr/bin/env bash
# Starts the local Kubernetes, building what is missing, and says how to reach it.
set -euo pipefail

export PROVIDER=local
# shellcheck source=hack/cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

cluster_require
cluster_build
cluster_up
printf '\nexport KUBECONFIG=%s PATH=%s:%s\n' "$KUBECONFIG" "$bin" "\$PATH"
