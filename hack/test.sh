#!/usr/bin/env bash
# Runs kinds of tests one after the other, then says what they took and how many tests passed:
#
#   hack/test.sh [unit] [sim] [integration] [e2e] [coverage]
#
# "coverage" checks the merged coverage of the unit and integration tests of the same run. One kind failing does
# not keep the others from running. GOTESTFLAGS are added to every `go test`, e.g. GOTESTFLAGS=-race;
# TEST_TIMEOUT is how long each may take, 60m if left out.
set -euo pipefail

# shellcheck source=hack/cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

read -r -a flags <<<"${GOTESTFLAGS:-}"
measured=./api/...,./internal/...,./cmd/...

# go_test KIND ARGUMENT...: plain `go test` output on the screen, events for the final count in build/test.
go_test() {
  local kind=$1
  shift
  gotestsum --format standard-quiet --hide-summary skipped --jsonfile "build/test/$kind.jsonl" -- \
    -timeout "${TEST_TIMEOUT:-60m}" "${flags[@]}" "$@"
}

# covered KIND ARGUMENT...: the same; leaves coverage data in build/coverage/KIND if "coverage" was asked for.
covered() {
  local kind=$1 data=$root/build/coverage/$1
  shift
  if [[ $coverage == no ]]; then
    go_test "$kind" "$@"
  else
    rm -rf "$data"
    mkdir -p "$data"
    go_test "$kind" -cover -covermode atomic -coverpkg "$measured" "$@" -args -test.gocoverdir="$data"
  fi
}

run() {
  case $1 in
    unit) { command -v npm >/dev/null || hack/local/install-packages.sh nodejs npm; } && hack/build.sh etcd/3.5 etcd/3.6 etcd/3.7 versitygw fake-gcs-server azurite && covered unit ./api/... ./internal/... ./cmd/... ./test/history/... ./test/live/... ;;
    sim) go_test sim ./test/sim/... ;;
    integration)
      hack/build.sh kubernetes etcd/3.5 etcd/3.6 etcd/3.7 cert-manager tools/helm &&
        covered integration -tags integration ./test/integration/... ./test/environment/...
      ;;
    e2e) hack/test-e2e.sh "${flags[@]}" ;;
    coverage) hack/coverage.sh ;;
  esac
}

# tests ACTION: how many tests of this run ended so. A test with subtests counts once, and each subtest too.
tests() { cat build/test/*.jsonl 2>/dev/null | grep -c "\"Action\":\"$1\".*\"Test\":" || true; }

cd "$root"
require_go
[[ $# -gt 0 ]] || die "no kind given; use: hack/test.sh [unit] [sim] [integration] [e2e] [coverage]"
coverage=no
for kind in "$@"; do
  case $kind in
    unit | sim | integration) ;;
    e2e) cluster_require ;;
    coverage) coverage=yes ;;
    *) die "there is no kind of tests '$kind'; there are unit, sim, integration, e2e and coverage" ;;
  esac
done

rm -rf build/test
mkdir -p build/test
hack/build.sh tools/test
summary=() figures=() failed=0
for kind in "$@"; do
  say "$kind"
  started=$SECONDS outcome=ok
  run "$kind" || outcome=FAILED failed=1
  summary+=("$(printf '%-12s %-7s %5d s' "$kind" "$outcome" $((SECONDS - started)))")
  figures+=("$(result "$kind.duration" $((SECONDS - started)) s)")
done

passed=$(tests pass) failures=$(tests fail)
# What failed to build or to start has no test to count, but it is a failure.
[[ $failed == 0 || $failures != 0 ]] || failures=1
figures+=("$(result tests.passed "$passed" count)" "$(result tests.failed "$failures" count)")
printf '%s\n' "${figures[@]}" | write_results test
say "Summary"
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failures failed"
exit $failed
