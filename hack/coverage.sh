#!/usr/bin/env bash
# Merges what the unit and the integration tests covered (build/coverage/*, written by hack/test.sh), prints it by
# package, writes build/results/coverage.json and fails below the floor. Left out: generated code and the wiring of
# the programs (cmd/*/main.go).
set -euo pipefail

# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

floor=${COVERAGE_FLOOR:-80}
data=$root/build/coverage
profile=$data/profile.out

cd "$root"
require_go
for kind in unit integration; do
  compgen -G "$data/$kind/cov*" >/dev/null || die "there is no coverage of the $kind tests in $data/$kind; run: make coverage"
done

go tool covdata textfmt -i="$data/unit,$data/integration" -o "$data/all.out"
grep -Ev '/(zz_generated[^/]*\.go|cmd/[^/]+/main\.go):' "$data/all.out" >"$profile"

# A line of the profile is: file.go:from,to statements count
figures=$(awk '
  NR == 1 { next }
  {
    package = $1; sub(/\/[^\/]*$/, "", package)
    if (!($1 in statements)) { statements[$1] = $2; all[package] += $2; total += $2 }
    if ($3 > 0 && !($1 in hit)) { hit[$1] = 1; covered[package] += $2; sum += $2 }
  }
  END {
    for (package in all) printf "%s %.1f\n", package, 100 * covered[package] / all[package]
    printf "total %.1f\n", total ? 100 * sum / total : 0
  }' "$profile" | sort)

module=$(go list -m)
awk -v module="$module/" '{ sub(module, "", $1); printf "%-40s %6s %%\n", $1, $2 }' <<<"$figures"
while read -r name value; do
  if [[ $name == total ]]; then
    result coverage.total "$value" % "$floor" "$(awk -v a="$value" -v b="$floor" 'BEGIN { printf "%.3f", a / b }')"
  else
    result "coverage.${name#"$module/"}" "$value" %
  fi
done <<<"$figures" | write_results coverage

total=$(awk '$1 == "total" { print $2 }' <<<"$figures")
awk -v total="$total" -v floor="$floor" 'BEGIN { exit !(total >= floor) }' ||
  die "coverage is $total %, the floor is $floor %; see it by line with: go tool cover -html=$profile"
echo "coverage is $total % (floor $floor %)"
