#!/usr/bin/env bash
# Builds the images that the local cluster runs into build/images, without Docker.
set -euo pipefail

export PROVIDER=local
# shellcheck source=hack/cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

require_go
"$root/hack/build.sh" local etcd/3.6
image_archives
ls -l "$images"/*.tar
