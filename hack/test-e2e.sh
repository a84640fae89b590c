#!/usr/bin/env bash
# End-to-end tests: the operator as a pod, installed by its chart, on real kubelets with real volumes. Arguments
# go to `go test`, e.g. hack/test-e2e.sh -run TestCreate. Tests that are parallel run last, three at a time: they wait more than
# they compute. Before them come those that take away what others need, or have to keep up. See hack/with-cluster.sh for the cluster.
set -euo pipefail

# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$root"
require_go
hack/build.sh tools/test cert-manager
mkdir -p build/test
OBJECT_STORE=1 ETCD_MINORS="3.5 3.6 3.7" exec hack/with-cluster.sh gotestsum --format standard-verbose --hide-summary skipped --jsonfile build/test/e2e.jsonl -- \
  -tags e2e -count 1 -parallel 3 -timeout 90m ./test/e2e/... "$@"
