#!/usr/bin/env bash
# Generates all that is made of something else: Go code and definitions of the API types, the chart's copy of the
# definitions, the API reference and the chart's table of values.
#
#   hack/generate.sh            generates
#   hack/generate.sh --verify   the same, and fails if that changed a file
set -euo pipefail

# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

generate() {
  hack/build.sh tools/codegen tools/chart-docs
  controller-gen object crd paths=./api/v1alpha1 output:crd:artifacts:config=config/crd/bases
  hack/chart-crds.sh
  mkdir -p docs/reference
  crd-ref-docs --source-path=api --config=hack/crd-ref-docs.yaml --renderer=markdown \
    --output-path=docs/reference/api.md --log-level=ERROR
  helm-docs --chart-search-root=charts --sort-values-order=file --log-level=warning
}

generated() {
  {
    find api -name "zz_generated*" -type f
    find config/crd charts/etcd-operator/templates/crds docs/reference/api.md charts/etcd-operator/README.md -type f
  } | sort | xargs sha256sum
}

cd "$root"
require_go
case ${1:-} in
  "") generate ;;
  --verify)
    before=$(generated 2>/dev/null || true)
    generate
    if ! changed=$(diff <(echo "$before") <(generated)); then
      awk '/^[<>]/ { print $3 }' <<<"$changed" | sort -u >&2
      die "the files above were out of date and have been generated again; commit them"
    fi
    echo "everything generated is up to date"
    ;;
  *) die "unknown argument '$1'; use: hack/generate.sh [--verify]" ;;
esac
