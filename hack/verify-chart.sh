#!/usr/bin/env bash
# Checks the Helm chart on a real kube-apiserver (no nodes): installs it with each set of values in
# charts/etcd-operator/ci, upgrades and uninstalls it, and asks the apiserver what the operator may do: all that
# it needs and nothing that it does not. Also checks the samples against the definitions, and the alerts.
set -euo pipefail

# shellcheck source=hack/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

chart=$root/charts/etcd-operator
work=$(mktemp -d)
export KUBECONFIG=$work/kubeconfig
pids=()

stop() {
  # Nothing of it is worth a graceful end, which takes the apiserver a minute.
  [[ ${#pids[@]} == 0 ]] || kill -KILL "${pids[@]}" 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT

free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); do
    (: </dev/tcp/127.0.0.1/$port) 2>/dev/null || break
  done
  echo "$port"
}

start_apiserver() {
  local etcd peer secure token
  etcd=http://127.0.0.1:$(free_port) peer=http://127.0.0.1:$(free_port) secure=$(free_port)
  token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
  echo "$token,admin,admin,system:masters" >"$work/tokens.csv"
  openssl genrsa -out "$work/accounts.key" 2048 2>/dev/null

  "$bin/etcd-3.6/etcd" --data-dir "$work/etcd" --unsafe-no-fsync --log-level error \
    --listen-client-urls "$etcd" --advertise-client-urls "$etcd" --listen-peer-urls "$peer" \
    --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" >"$work/etcd.log" 2>&1 &
  pids+=($!)
  disown
  kube-apiserver --etcd-servers "$etcd" --cert-dir "$work/certs" --bind-address 127.0.0.1 --secure-port "$secure" \
    --authorization-mode RBAC --token-auth-file "$work/tokens.csv" --service-cluster-ip-range 10.0.0.0/24 \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$work/accounts.key" \
    --service-account-signing-key-file "$work/accounts.key" --disable-admission-plugins ServiceAccount \
    >"$work/apiserver.log" 2>&1 &
  pids+=($!)
  disown

  kubectl config set-credentials admin --token "$token" >/dev/null
  kubectl config set-cluster check --server "https://127.0.0.1:$secure" --insecure-skip-tls-verify >/dev/null
  kubectl config set-context check --cluster check --user admin >/dev/null
  kubectl config use-context check >/dev/null
  local tries
  for tries in {1..60}; do
    kubectl get --raw /readyz >/dev/null 2>&1 && return
    kill -0 "${pids[@]}" 2>/dev/null || break
    sleep 0.5
  done
  tail -n 20 "$work"/*.log >&2
  die "the apiserver did not become ready after $tries tries; its log is above"
}

# Stand-ins for kinds of the Prometheus operator, so that their objects can be created.
install_monitoring_kinds() {
  local kind
  for kind in ServiceMonitor PrometheusRule; do
    kubectl apply --filename - >/dev/null <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ${kind,,}s.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: $kind, plural: ${kind,,}s, singular: ${kind,,}}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
YAML
    kubectl wait --for=condition=Established "crd/${kind,,}s.monitoring.coreos.com" >/dev/null
  done
}

# install RELEASE [HELM FLAG...]: into a namespace of the release's name. The apiserver warns of a pod template
# that the "restricted" pod security standard would refuse, and a warning is a failure here.
install() {
  local release=$1
  shift
  echo "    $release"
  helm lint --strict --quiet "$chart" "$@" >/dev/null
  kubectl create namespace "$release" >/dev/null
  kubectl label namespace "$release" pod-security.kubernetes.io/warn=restricted >/dev/null
  helm upgrade --install "$release" "$chart" --namespace "$release" --wait=hookOnly "$@" >/dev/null
  kubectl --namespace "$release" get deployments --output yaml |
    kubectl replace --dry-run=server --warnings-as-errors --filename - >/dev/null
}

# may ACCOUNT NAMESPACE EXPECTED VERB,... RESOURCE[/SUB]...: the apiserver's own answer, for each pair.
may() {
  local account=$1 namespace=$2 expected=$3 verbs=$4 verb resource answer where
  shift 4
  where=--all-namespaces
  [[ -z $namespace ]] || where=--namespace=$namespace
  for resource in "$@"; do
    for verb in ${verbs//,/ }; do
      answer=$(kubectl auth can-i "$verb" "${resource%%/*}" "$where" --as "system:serviceaccount:$account" \
        --subresource "$([[ $resource != */* ]] || echo "${resource#*/}")" 2>/dev/null || true)
      checked=$((checked + 1))
      [[ $answer == "$expected" ]] ||
        die "RBAC: $account may $verb $resource in '${namespace:-all namespaces}': $answer, expected $expected"
    done
  done
}

# What the operator needs in a namespace (or in all, with an empty one), and the neighbours that it must not have.
check_operator_permissions() {
  local account=$1 namespace=$2
  may "$account" "$namespace" yes get,list,watch etcdclusters.etcd.etcd.io
  may "$account" "$namespace" no create,update,patch,delete etcdclusters.etcd.etcd.io
  may "$account" "$namespace" yes patch,update etcdclusters.etcd.etcd.io/status
  may "$account" "$namespace" yes get,list,watch,create,patch,delete \
    services configmaps statefulsets.apps poddisruptionbudgets.policy
  may "$account" "$namespace" no update,deletecollection services configmaps statefulsets.apps
  may "$account" "$namespace" yes get,list,watch,patch,delete pods
  may "$account" "$namespace" yes create pods/eviction
  may "$account" "$namespace" yes patch pods/resize
  may "$account" "$namespace" no create,update pods
  may "$account" "$namespace" yes get,list,watch,patch,delete persistentvolumeclaims
  may "$account" "$namespace" no create persistentvolumeclaims
  may "$account" "$namespace" yes create,patch events.events.k8s.io
  may "$account" "$namespace" yes list events
  may "$account" "$namespace" no watch,create,delete events
  may "$account" "$namespace" no get,list secrets
  may "$account" "$namespace" no create pods/exec
}

check_permissions() {
  checked=0
  check_operator_permissions cluster-wide:cluster-wide-etcd-operator ""
  may cluster-wide:cluster-wide-etcd-operator "" yes get,list,watch storageclasses.storage.k8s.io
  may cluster-wide:cluster-wide-etcd-operator cluster-wide yes get,create,update leases.coordination.k8s.io
  may cluster-wide:cluster-wide-etcd-operator default no get,create leases.coordination.k8s.io
  may cluster-wide:cluster-wide-etcd-operator cluster-wide no patch,delete,list leases.coordination.k8s.io

  local namespace
  for namespace in team-a team-b; do check_operator_permissions namespaced:namespaced-etcd-operator $namespace; done
  may namespaced:namespaced-etcd-operator default no get,list pods services etcdclusters.etcd.etcd.io
  may namespaced:namespaced-etcd-operator namespaced no get leases.coordination.k8s.io
  may namespaced:namespaced-etcd-operator "" no get storageclasses.storage.k8s.io
  may everything:etcd-runner "" yes get,list,watch storageclasses.storage.k8s.io
  may everything:etcd-runner "" no get,list pods
  echo "    $checked permissions as expected"
}

check_alerts() {
  if ! command -v promtool >/dev/null; then
    echo "    skipped: promtool is not installed (Debian: prometheus)"
    return
  fi
  kubectl --namespace everything get prometheusrules.monitoring.coreos.com --output jsonpath='{.items[0].spec}' \
    >"$work/rules.yaml"
  promtool check rules "$work/rules.yaml"
}

check_upgrade_and_uninstall() {
  local crd=etcdclusters.etcd.etcd.io
  kubectl annotate crd $crd check=old --overwrite >/dev/null
  kubectl patch crd $crd --type json --patch \
    '[{"op": "replace", "path": "/spec/names/shortNames", "value": ["outdated"]}]' >/dev/null
  helm upgrade cluster-wide "$chart" --namespace cluster-wide --wait=hookOnly --force-conflicts >/dev/null
  [[ $(kubectl get crd $crd --output jsonpath='{.spec.names.shortNames[0]}') != outdated ]] ||
    die "helm upgrade did not upgrade the definition $crd"
  helm uninstall cluster-wide --namespace cluster-wide --wait=hookOnly >/dev/null
  kubectl get crd $crd >/dev/null || die "helm uninstall removed the definition $crd, and with it every cluster"
  helm upgrade --install cluster-wide "$chart" --namespace cluster-wide --wait=hookOnly >/dev/null ||
    die "the chart cannot be installed again after helm uninstall"
}

cd "$root"
require_go
require_commands "openssl=install the Debian package openssl"
timed "programs" hack/build.sh kubernetes etcd/3.6 tools/helm
timed "kube-apiserver" start_apiserver
install_monitoring_kinds
for namespace in team-a team-b; do kubectl create namespace $namespace >/dev/null; done

say "installs"
install cluster-wide
kubectl wait --for=condition=Established crd/etcdclusters.etcd.etcd.io >/dev/null
install namespaced --values "$chart/ci/namespaced-values.yaml"
install everything --values "$chart/ci/everything-values.yaml" --set crds.install=false,rbac.userRoles=false
timed "permissions" check_permissions
timed "samples" kubectl apply --dry-run=server --filename config/samples
timed "alerts" check_alerts
timed "upgrade, uninstall, install again" check_upgrade_and_uninstall
say "the chart is in order"
