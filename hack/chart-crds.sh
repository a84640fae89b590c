#!/usr/bin/env bash
# Copies the generated custom resource definitions into the Helm chart, as templates, so that `helm upgrade`
# updates them (it never touches a chart's crds/ folder) and `helm uninstall` keeps them.
set -euo pipefail

# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=$root/charts/etcd-operator/templates/crds
compgen -G "$root/config/crd/bases/*.yaml" >/dev/null || die "there is no definition in config/crd/bases; run: make generate"

mkdir -p "$target"
rm -f "$target"/*.yaml
for crd in "$root"/config/crd/bases/*.yaml; do
  {
    echo '{{- /* Generated from config/crd/bases by hack/chart-crds.sh. Do not edit. */}}'
    echo '{{- if .Values.crds.install }}'
    # Braces in a description are text, not a template. The first "annotations:" is that of the metadata.
    sed -E 's/\{\{/{{ "{{" }}/g' "$crd" | awk '
      { print }
      /^  annotations:$/ && !done {
        print "    {{- if .Values.crds.keep }}"
        print "    helm.sh/resource-policy: keep"
        print "    {{- end }}"
        done = 1
      }
      END { exit !done }' || die "$crd has no metadata.annotations to add helm.sh/resource-policy to"
    echo '{{- end }}'
  } >"$target/$(basename "$crd")"
done
