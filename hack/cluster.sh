# shellcheck shell=bash
# The Kubernetes cluster that the quickstart, the end-to-end tests and the benchmarks use, and the operator
# in it. It is sourced, never run. PROVIDER says which cluster:
#
#   local  (default) real Kubernetes processes on this machine, without Docker: hack/local
#   kind   Kubernetes in Docker: hack/kind

# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROVIDER=${PROVIDER:-local}
KIND_CLUSTER=${KIND_CLUSTER:-etcd-operator}
NAMESPACE=etcd-operator-system
read -r -a ETCD_MINORS <<<"${ETCD_MINORS:-3.6}"

chart=$root/charts/etcd-operator
images=$root/build/images
version=${VERSION:-$(sed -n 's/^appVersion: *//p' "$chart/Chart.yaml")}
operator_image=ghcr.io/etcd-k8s-operator/etcd-operator:$version
# The etcd that the samples run is the one that hack/etcd/3.6 builds.
etcd_version=$(sed -nE 's#^.*go\.etcd\.io/etcd/server/v3 (v[0-9.]+).*$#\1#p' "$root/hack/etcd/3.6/go.mod")
etcd_image=gcr.io/etcd-development/etcd:$etcd_version
# The S3 server for tests of backups. OBJECT_STORE=1 brings it to the nodes of the local cluster; kind pulls it.
object_store_image=ghcr.io/versity/versitygw:$(sed -nE 's#^.*github\.com/versity/versitygw (v[0-9.]+).*$#\1#p' "$root/hack/versitygw/go.mod")

case $PROVIDER in
  local) export KUBECONFIG=/var/lib/etcd-operator-local/kubeconfig ;;
  kind) export KUBECONFIG=$root/build/kind/kubeconfig ;;
  *) die "PROVIDER is '$PROVIDER'; it must be local or kind" ;;
esac

# Says at the start what would otherwise fail in the middle.
cluster_require() {
  if [[ $PROVIDER == kind ]]; then
    require_commands \
      "docker=install Docker, or use the local cluster, which needs none: make quickstart" \
      "kind=install kind v0.30 or newer (https://kind.sigs.k8s.io)" \
      "kubectl=install it, or run: hack/build.sh kubernetes" \
      "helm=install Helm v3.17 or newer, or run: hack/build.sh tools/helm"
    docker info >/dev/null 2>&1 || die "the Docker engine does not answer; start it, and check with: docker info"
    return
  fi
  [[ $(uname -s) == Linux ]] || die "the local cluster needs Linux, this is $(uname -s); use kind: make kind-create deploy-test"
  command -v apt-get >/dev/null || die "the local cluster installs Debian packages, but apt-get is missing; use kind: make kind-create deploy-test"
  [[ $EUID == 0 ]] || die "the local cluster makes network namespaces and mounts and so needs root; run as root, or use kind: make kind-create deploy-test"
  require_go
}

cluster_is_up() {
  case $PROVIDER in
    local) [[ -x $bin/local-cluster ]] && "$bin/local-cluster" status >/dev/null 2>&1 ;;
    kind) kind get clusters 2>/dev/null | grep -qx "$KIND_CLUSTER" ;;
  esac
}

# Builds the programs that make up the cluster; nothing to do for kind, which has them in its image.
cluster_build() {
  [[ $PROVIDER == local ]] || return 0
  timed "Debian packages" "$root/hack/local/install-packages.sh"
  timed "programs of the local Kubernetes (cached; about 8 minutes the first time on 2 cores)" \
    "$root/hack/build.sh" kubernetes "${ETCD_MINORS[@]/#/etcd/}" coredns local tools/helm ${OBJECT_STORE:+versitygw}
}

cluster_up() {
  case $PROVIDER in
    local) timed "local Kubernetes, 3 nodes" "$bin/local-cluster" up ;;
    kind)
      if cluster_is_up; then
        echo "    the kind cluster $KIND_CLUSTER is there already"
      else
        timed "kind cluster $KIND_CLUSTER, 3 workers" kind create cluster --name "$KIND_CLUSTER" \
          --config "$root/hack/kind/cluster.yaml" --wait 3m ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"}
      fi
      mkdir -p "$(dirname "$KUBECONFIG")"
      kind get kubeconfig --name "$KIND_CLUSTER" >"$KUBECONFIG"
      chmod 600 "$KUBECONFIG"
      ;;
  esac
}

cluster_down() {
  case $PROVIDER in
    local) "$bin/local-cluster" down ;;
    kind) kind delete cluster --name "$KIND_CLUSTER" ;;
  esac
}

# archive IMAGE FILE SOURCE=PATH...: an image archive of static binaries, made anew only when one has changed.
archive() {
  local image=$1 file=$images/$2.tar key binary args=()
  shift 2
  for binary in "$@"; do args+=(--binary "$binary"); done
  key=$({ echo "$image"; for binary in "$@"; do sha256sum <"${binary%%=*}"; done; } | sha256sum | cut -c1-16)
  if [[ -f $file && $(cat "$file.key" 2>/dev/null) == "$key" ]]; then return; fi
  mkdir -p "$images"
  "$bin/local-cluster" image --name "$image" --entrypoint "${1#*=}" --user 65532:65532 "${args[@]}" --output "$file"
  echo "$key" >"$file.key"
}

# etcd_archive MINOR: the image of the etcd that hack/etcd/MINOR builds.
etcd_archive() {
  local built=$bin/etcd-$1 tag
  tag=$(sed -nE 's#^.*go\.etcd\.io/etcd/server/v3 (v[0-9.]+).*$#\1#p' "$root/hack/etcd/$1/go.mod")
  archive "gcr.io/etcd-development/etcd:$tag" "etcd-$1" "$built/etcd=/usr/local/bin/etcd" \
    "$built/etcdctl=/usr/local/bin/etcdctl" "$built/etcdutl=/usr/local/bin/etcdutl"
}

# Images for the local cluster, without Docker, under the names that users pull. ETCD_MINORS are those of etcd; tests
# that move between them set it.
image_archives() {
  make --no-print-directory -C "$root" build VERSION="$version"
  archive "$operator_image" etcd-operator "$bin/etcd-operator=/usr/local/bin/etcd-operator" "$bin/etcd-agent=/usr/local/bin/etcd-agent"
  local minor
  for minor in "${ETCD_MINORS[@]}"; do etcd_archive "$minor"; done
  [[ -z ${OBJECT_STORE:-} ]] || archive "$object_store_image" versitygw "$bin/versitygw=/usr/local/bin/versitygw"
}

# Builds the images and brings them to the nodes.
load_images() {
  case $PROVIDER in
    local)
      timed "images" image_archives
      timed "images to the nodes" "$bin/local-cluster" load "$images"/*.tar
      ;;
    kind)
      timed "operator image" docker build --tag "$operator_image" --build-arg VERSION="$version" "$root"
      timed "operator image to the nodes" kind load docker-image --name "$KIND_CLUSTER" "$operator_image"
      ;;
  esac
}

# What the image contains: a new build under the same tag has to roll the operator's pod.
operator_build_id() {
  case $PROVIDER in
    local) cat "$images/etcd-operator.tar.key" ;;
    kind) docker image inspect --format '{{.Id}}' "$operator_image" ;;
  esac
}

# install_operator [HELM FLAG...]: the operator as a pod, by its chart, in a namespace that enforces the
# "restricted" pod security standard.
install_operator() {
  kubectl create namespace "$NAMESPACE" --dry-run=client --output yaml | kubectl apply --filename - >/dev/null
  kubectl label namespace "$NAMESPACE" --overwrite pod-security.kubernetes.io/enforce=restricted >/dev/null
  helm upgrade --install etcd-operator "$chart" --namespace "$NAMESPACE" --hide-notes \
    --set image.tag="$version" --set-string podAnnotations."etcd\.etcd\.io/build"="$(operator_build_id)" \
    --wait --timeout 3m "$@" >/dev/null || {
    diagnose >&2
    die "the operator did not become ready; its pods, events and logs are above"
  }
  kubectl --namespace "$NAMESPACE" get pods
}

# What a person would look at first when something does not come up.
diagnose() {
  kubectl get nodes --output wide || true
  kubectl get etcdclusters --all-namespaces --output yaml || true
  kubectl get pods,statefulsets,persistentvolumeclaims,services --all-namespaces --output wide || true
  kubectl get events --all-namespaces --sort-by=.metadata.creationTimestamp | tail -n 60 || true
  kubectl --namespace "$NAMESPACE" logs --selector app.kubernetes.io/name=etcd-operator --tail 300 --prefix || true
}
