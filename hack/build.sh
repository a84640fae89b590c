#!/usr/bin/env bash
# Builds the third-party programs that the local cluster and the tests run, each from a Go module of
# its own under hack/, or from the npm packages that a package-lock.json there names, and links them into build/bin.
#
#   hack/build.sh MODULE...      e.g. hack/build.sh kubernetes etcd/3.6 coredns
#
# A Go module's programs are its `tool` lines. The files ldflags and folders beside its go.mod, if there are any, say how
# they are linked, and which folders of other modules come with them: MODULE FOLDER NAME, one a line. The result is cached by
# content (the module's files and the Go version), outside the checkout, so that a second clone builds nothing again. Set
# ETCD_OPERATOR_CACHE to move the cache.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${ETCD_OPERATOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/etcd-k8s-operator}
mkdir -p "$cache" "$root/build/bin"

# build_go and build_npm FOLDER STAGING: put the programs into the staging folder.
build_go() {
  local dir=$1 staging=$2 ldflags="-s -w"
  [[ -f $dir/ldflags ]] && ldflags+=" $(tr '\n' ' ' <"$dir/ldflags")"
  echo "==> building ${dir#"$root/hack/"}: $(cd "$dir" && go list tool | sed -E 's#/v[0-9]+$##; s#.*/##; s#^server$#etcd#' | sort | paste -sd' ')"
  (cd "$dir" && CGO_ENABLED=0 go build -trimpath -ldflags "$ldflags" -o "$staging/" tool) || return 1
  # etcd's main package is called server.
  [[ -f $staging/server ]] && mv "$staging/server" "$staging/etcd"
  if [[ -f $dir/folders ]]; then
    while read -r from folder name; do
      cp -r --no-preserve=mode "$(cd "$dir" && go list -m -f '{{.Dir}}' "$from")/$folder" "$staging/$name" || return 1
    done <"$dir/folders"
  fi
}

build_npm() {
  local dir=$1 packages=$2/${1##*/}
  command -v npm >/dev/null || { echo "hack/build.sh: npm is not installed; install the Debian packages nodejs and npm" >&2; return 1; }
  echo "==> installing ${dir#"$root/hack/"}"
  mkdir "$packages"
  cp "$dir"/package*.json "$packages"
  # Nothing that is downloaded runs while it is installed.
  npm ci --prefix "$packages" --ignore-scripts --no-audit --no-fund --loglevel error
}

build_module() {
  local module=$1 dir=$root/hack/$1 key out staging started kind=go
  [[ -f $dir/package-lock.json ]] && kind=npm
  [[ $kind == npm || -f $dir/go.mod ]] || { echo "hack/build.sh: hack/$module has no go.mod; see hack/README.md for the modules" >&2; exit 2; }
  key=$({ go version; (cd "$dir" && find . -type f -print0 | sort -z | xargs -0 sha256sum); } | sha256sum | cut -c1-16)
  out=$cache/${module//\//-}-$key
  if [[ ! -d $out ]]; then
    started=$SECONDS
    staging=$(mktemp -d "$cache/.staging-XXXXXX")
    "build_$kind" "$dir" "$staging" || {
      rm -rf "$staging"
      echo "hack/build.sh: building hack/$module failed; the message is above" >&2
      exit 1
    }
    chmod 755 "$staging"
    # Another build of the same content may have finished first: then its result stands.
    mv -T "$staging" "$out" 2>/dev/null || rm -rf "$staging"
    echo "==> built $module in $((SECONDS - started)) s"
  fi
  local target=$root/build/bin
  # Several versions of etcd are kept side by side, each in a folder of its own.
  [[ $module == etcd/* ]] && target=$root/build/bin/etcd-${module#etcd/} && mkdir -p "$target"
  ln -sf "$out"/* "$target/"
}

for module in "$@"; do build_module "$module"; done
