#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that the local cluster needs, and any that are named, but only those that are
# missing:
#
#   install-packages.sh [PACKAGE...]
set -euo pipefail

packages=(containerd runc containernetworking-plugins iptables iproute2 conntrack "$@")

if [[ $(uname -s) != Linux ]]; then
  echo "install-packages.sh: the local cluster needs Linux; use kind, which needs Docker: make kind-create" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  # A machine with Docker's own packages has containerd and runc under another name; one with Node.js' own has npm in it.
  case $package in
    containerd) command -v containerd >/dev/null && command -v ctr >/dev/null && continue ;;
    runc | npm) command -v "$package" >/dev/null && continue ;;
    nodejs) command -v node >/dev/null && continue ;;
  esac
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "==> packages: all there"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "install-packages.sh: this machine has no apt-get; install what these Debian packages hold: ${missing[*]}" >&2
  exit 1
fi
if ((EUID != 0)); then
  echo "install-packages.sh: installing ${missing[*]} needs root: run it with sudo" >&2
  exit 1
fi

# Debian starts a containerd service of its own, which the local cluster does not use: this file, which is
# Debian's way to say so, keeps services from being started meanwhile.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

log=$(mktemp)
started=$SECONDS
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
# The lists of packages are fetched only when those at hand do not do.
if ! install; then
  apt-get update -q >"$log" 2>&1 || {
    echo "install-packages.sh: apt-get update failed; its output:" >&2
    cat "$log" >&2
    exit 1
  }
  install || {
    echo "install-packages.sh: installing ${missing[*]} failed; apt-get's output:" >&2
    cat "$log" >&2
    exit 1
  }
fi
rm -f "$log"
echo "==> packages: installed ${missing[*]} in $((SECONDS - started)) s"
