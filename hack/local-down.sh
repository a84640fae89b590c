#!/usr/bin/env bash
# Removes the local Kubernetes with all that ran in it, also after an unclean stop.
set -euo pipefail

export PROVIDER=local
# shellcheck source=hack/cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

cluster_require
"$root/hack/build.sh" local
cluster_down
