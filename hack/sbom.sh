#!/usr/bin/env bash
# Writes the bills of materials of the programs in the operator's image, for each of its architectures, into build/sbom (CycloneDX
# as JSON), and checks that each names every module that is built into the program:
#
#   hack/sbom.sh [GOARCH...]
set -euo pipefail

# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export CGO_ENABLED=0 GOOS=linux

# missing PROGRAM FILE: the modules that are built in and not listed, as MODULE@VERSION. That of the program itself is of any version.
missing() {
  local file=$2 module
  go list -deps -f '{{with .Module}}{{.Path}}@{{.Version}}{{end}}' "./cmd/$1" | sort -u | while read -r module; do
    [[ $module == *@ ]] || module+='?'
    grep --quiet --fixed-strings "\"pkg:golang/${module//+/%2B}" "$file" || echo "${module%\?}"
  done
}

write() {
  local file=$root/build/sbom/$1_linux_$2.cdx.json lacks
  export GOARCH=$2
  # The standard library has a licence as well, but none that is found.
  cyclonedx-gomod app -json -std -licenses -assert-licenses -main "cmd/$1" -output "$file" . 2> >(grep -v 'no licenses detected' >&2)
  lacks=$(missing "$1" "$file")
  [[ -z $lacks ]] || die "$file does not list what is built in: ${lacks//$'\n'/, }"
  # That the comparison compares anything.
  grep --quiet --fixed-strings '"pkg:golang/go.etcd.io/etcd/client/v3@' "$file" || die "$file does not list the client of etcd"
  echo "    ${file#"$root/"}: $(grep --count '"purl"' "$file") components"
}

cd "$root"
require_go
hack/build.sh tools/sbom
mkdir -p build/sbom
[[ $# -gt 0 ]] || set -- amd64 arm64
for architecture in "$@"; do
  for program in etcd-operator etcd-agent; do write "$program" "$architecture"; done
done
