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

# Stand-ins for kinds of the Prometheus operator, so that their objects can be created, and of cert-manager, so that kubectl knows
# what is asked about.
install_foreign_kinds() {
  local group kind
  while read -r group kind; do
    kubectl apply --filename - >/dev/null <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ${kind,,}s.$group}
spec:
  group: $group
  scope: Namespaced
  names: {kind: $kind, plural: ${kind,,}s, singular: ${kind,,}}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
YAML
    kubectl wait --for=condition=Established "crd/${kind,,}s.$group" >/dev/null
  done <<<"monitoring.coreos.com ServiceMonitor
monitoring.coreos.com PrometheusRule
cert-manager.io Certificate
cert-manager.io CertificateRequest"
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

# may_named ACCOUNT NAMESPACE EXPECTED VERB RESOURCE/NAME: the same, for one object.
may_named() {
  local account=$1 namespace=$2 expected=$3 verb=$4 object=$5 answer
  answer=$(kubectl auth can-i "$verb" "$object" ${namespace:+--namespace=$namespace} --as "system:serviceaccount:$account" 2>/dev/null || true)
  checked=$((checked + 1))
  [[ $answer == "$expected" ]] || die "RBAC: $account may $verb $object in '${namespace:-no namespace}': $answer, expected $expected"
}

# What the operator needs in a namespace (or in all, with an empty one), and the neighbours that it must not have.
check_operator_permissions() {
  local account=$1 namespace=$2
  # A policy narrows create and delete to drills.
  may "$account" "$namespace" yes get,list,watch,create,patch,delete etcdclusters.etcd.etcd.io
  may "$account" "$namespace" no update,deletecollection etcdclusters.etcd.etcd.io
  may "$account" "$namespace" yes patch etcdclusters.etcd.etcd.io/status
  may "$account" "$namespace" no update etcdclusters.etcd.etcd.io/status
  may "$account" "$namespace" yes update etcdclusters.etcd.etcd.io/finalizers
  may "$account" "$namespace" yes get,list,watch,create,patch,delete \
    configmaps statefulsets.apps poddisruptionbudgets.policy networkpolicies.networking.k8s.io
  may "$account" "$namespace" yes get,list,create,patch,delete certificates.cert-manager.io
  may "$account" "$namespace" yes get certificaterequests.cert-manager.io
  may "$account" "$namespace" no list,create,patch,update certificaterequests.cert-manager.io
  may "$account" "$namespace" yes get,list,watch,create,patch services
  may "$account" "$namespace" no delete services
  may "$account" "$namespace" no update,deletecollection services configmaps statefulsets.apps networkpolicies.networking.k8s.io
  may "$account" "$namespace" yes get,list,watch,patch,delete pods
  may "$account" "$namespace" yes create pods/eviction
  may "$account" "$namespace" yes patch pods/resize
  may "$account" "$namespace" no create,update pods
  may "$account" "$namespace" yes get,list,watch,create,patch,delete persistentvolumeclaims
  may "$account" "$namespace" yes get,list,watch,create,patch,delete etcdbackups.etcd.etcd.io
  may "$account" "$namespace" yes get,list,watch,create,patch etcdrestores.etcd.etcd.io
  may "$account" "$namespace" no delete,update etcdrestores.etcd.etcd.io
  may "$account" "$namespace" yes list,watch,create,delete jobs.batch
  may "$account" "$namespace" no update,patch jobs.batch
  may "$account" "$namespace" yes create,patch events.events.k8s.io
  may "$account" "$namespace" yes list events
  may "$account" "$namespace" no watch,create,delete events
  may "$account" "$namespace" yes get,create,update secrets
  may "$account" "$namespace" no list,watch,patch,delete,deletecollection secrets
  may "$account" "$namespace" no create pods/exec
}

check_permissions() {
  checked=0
  check_operator_permissions cluster-wide:cluster-wide-etcd-operator ""
  may cluster-wide:cluster-wide-etcd-operator "" yes get,list storageclasses.storage.k8s.io
  may cluster-wide:cluster-wide-etcd-operator cluster-wide yes get,create,update leases.coordination.k8s.io
  may cluster-wide:cluster-wide-etcd-operator default no get,create leases.coordination.k8s.io
  may cluster-wide:cluster-wide-etcd-operator cluster-wide no patch,delete,list leases.coordination.k8s.io

  local namespace
  for namespace in team-a team-b; do check_operator_permissions namespaced:namespaced-etcd-operator $namespace; done
  may namespaced:namespaced-etcd-operator default no get,list pods services etcdclusters.etcd.etcd.io
  may namespaced:namespaced-etcd-operator namespaced no get leases.coordination.k8s.io
  may namespaced:namespaced-etcd-operator "" no get storageclasses.storage.k8s.io
  may everything:etcd-runner "" yes get,list storageclasses.storage.k8s.io
  may everything:etcd-runner "" no get,list pods
  local verb configuration=validatingwebhookconfigurations.admissionregistration.k8s.io
  for verb in get patch; do
    may_named everything:etcd-runner "" yes $verb $configuration/everything-everything-etcd
    may_named everything:etcd-runner "" no $verb $configuration/another
    may_named issued:issued-etcd-operator "" no $verb $configuration/issued-etcd-operator
  done
  may everything:etcd-runner "" no list,watch,create,update,delete $configuration
  for verb in get update; do
    may_named everything:etcd-runner everything yes $verb secrets/everything-etcd-webhook
    may_named everything:etcd-runner everything no $verb secrets/another
  done
  echo "    $checked permissions as expected"
}

# The NetworkPolicies of clusters let in the pods with the labels that the manager is told: those that its own pods are sure to have.
check_operator_labels() {
  local release told own
  for release in cluster-wide namespaced everything; do
    told=$(kubectl --namespace "$release" get deployments --output jsonpath='{.items[0].spec.template.spec.containers[0].args}' |
      grep -o -- '--operator-labels=[^"]*' | cut -d= -f2- | tr , '\n' | sort)
    own=$(kubectl --namespace "$release" get deployments --output go-template='
      {{- range $key, $value := (index .items 0).spec.selector.matchLabels }}{{ $key }}={{ $value }}{{ "\n" }}{{ end }}' | sort)
    [[ -n $own && $told == "$own" ]] || die "the operator of $release is told that its labels are '$told', but it is selected by '$own'"
  done
}

# The webhook asks for the namespaces that are watched, and is never waited for; whom to trust for it outlives an upgrade.
check_webhook() {
  local name=everything-everything-etcd path answer trust
  kubectl get validatingwebhookconfiguration $name >/dev/null
  for path in '{.webhooks[0].failurePolicy}=Ignore' '{.webhooks[0].sideEffects}=None' '{.webhooks[0].timeoutSeconds}=3' \
    '{.webhooks[0].namespaceSelector.matchExpressions[0].values}=["team-a","team-b"]' '{.webhooks[1].failurePolicy}=Ignore' \
    '{.webhooks[1].timeoutSeconds}=3' '{.webhooks[1].namespaceSelector.matchExpressions[0].values}=["team-a","team-b"]'; do
    answer=$(kubectl get validatingwebhookconfiguration $name --output jsonpath="${path%%=*}")
    [[ $answer == "${path#*=}" ]] || die "the configuration of the webhook has ${path%%=*} $answer, expected ${path#*=}"
  done
  trust=$(openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=check 2>/dev/null | base64 --wrap=0)
  kubectl patch validatingwebhookconfiguration $name --field-manager etcd-operator --type strategic --patch \
    "{\"webhooks\": [{\"name\": \"etcdclusters.etcd.etcd.io\", \"clientConfig\": {\"caBundle\": \"$trust\"}}]}" >/dev/null
  helm upgrade everything "$chart" --namespace everything --wait=hookOnly --values "$chart/ci/everything-values.yaml" \
    --set crds.install=false,rbac.userRoles=false,webhook.timeoutSeconds=4 >/dev/null
  answer=$(kubectl get validatingwebhookconfiguration $name --output jsonpath='{.webhooks[0].timeoutSeconds} {.webhooks[0].clientConfig.caBundle}')
  [[ $answer == "4 $trust" ]] || die "helm upgrade has changed whom to trust for the webhook: $answer"
  answer=$(kubectl get validatingwebhookconfiguration issued-etcd-operator --output jsonpath='{.metadata.annotations.cert-manager\.io/inject-ca-from}')
  [[ $answer == issued/hook ]] || die "cert-manager is told to inject the authorities of '$answer'"
  if answer=$(helm template "$chart" --set webhook.enabled=true,webhook.certManager.certificate=hook 2>&1); then
    die "half of what cert-manager needs is accepted"
  fi
  [[ $answer == *"belong together"* ]] || die "the refusal does not say why: $answer"
}

# A policy takes a moment until it is in force.
check_deletion_protection() {
  kubectl apply --filename - >/dev/null <<YAML
apiVersion: etcd.etcd.io/v1alpha1
kind: EtcdCluster
metadata: {name: precious, namespace: team-a}
spec: {deletionProtection: Enabled}
YAML
  local tries answer
  for tries in {1..60}; do
    answer=$(kubectl delete etcdcluster precious --namespace team-a --dry-run=server 2>&1) || break
    [[ $tries -lt 60 ]] || die "a protected EtcdCluster can be deleted: $answer"
    sleep 0.5
  done
  [[ $answer == *"spec.deletionProtection is Enabled; set it to Disabled first"* ]] || die "the refusal does not say why: $answer"
  kubectl patch etcdcluster precious --namespace team-a --type merge --patch '{"spec":{"deletionProtection":"Disabled"}}' >/dev/null
  kubectl delete etcdcluster precious --namespace team-a --wait=false >/dev/null
}

# check_secret_writes: the operator's account takes over no Secret, neither as it is nor as one of an EtcdCluster.
check_secret_writes() {
  local account=system:serviceaccount:cluster-wide:cluster-wide-etcd-operator tries owner answer
  kubectl create secret generic foreign --namespace team-a --type kubernetes.io/tls \
    --from-literal tls.crt= --from-literal tls.key= >/dev/null 2>&1
  for owner in "" ', "ownerReferences": [{"apiVersion": "etcd.etcd.io/v1alpha1", "kind": "EtcdCluster", "name": "x", "uid": "1", "controller": true}]'; do
    for tries in {1..60}; do
      answer=$(kubectl replace --as "$account" --dry-run=server --filename - 2>&1 <<JSON
{"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": "eA=="},
 "metadata": {"name": "foreign", "namespace": "team-a"$owner}}
JSON
      ) || break
      [[ $tries -lt 60 ]] || die "the operator may change a Secret of somebody else: $answer"
      sleep 0.5
    done
    [[ $answer == *"the etcd operator"* ]] || die "the refusal does not say why: $answer"
  done
  kubectl delete secret foreign --namespace team-a >/dev/null
}

# Every alert of the chart is rendered, with all that a person needs of it.
check_alerts() {
  local rules='{range .items[0].spec.groups[*].rules[*]}' end='{"\n"}{end}' count field
  rules() { kubectl --namespace everything get prometheusrules.monitoring.coreos.com --output jsonpath="$rules$1$end"; }
  count=$(grep -c -- '- alert:' "$chart/templates/prometheusrule.yaml")
  [[ $(rules '{.alert}' | grep -c .) == "$count" ]] || die "of the chart's $count alerts these are rendered: $(rules '{.alert}' | xargs)"
  for field in .expr .labels.severity .annotations.summary .annotations.description; do
    [[ $(rules "{$field}" | grep -c .) == "$count" ]] || die "an alert lacks $field: $(rules "{.alert}: {$field}")"
  done
  if ! command -v promtool >/dev/null; then
    echo "    skipped: promtool is not installed (Debian: prometheus)"
    return
  fi
  kubectl --namespace everything get prometheusrules.monitoring.coreos.com --output jsonpath='{.items[0].spec}' \
    >"$work/rules.yaml"
  promtool check rules "$work/rules.yaml"
  cp hack/alerts-test.yaml "$work"
  promtool test rules "$work/alerts-test.yaml"
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
install_foreign_kinds
for namespace in team-a team-b; do kubectl create namespace $namespace >/dev/null; done

say "installs"
install cluster-wide
kubectl wait --for=condition=Established crd/etcdclusters.etcd.etcd.io >/dev/null
install namespaced --values "$chart/ci/namespaced-values.yaml"
install everything --values "$chart/ci/everything-values.yaml" --set crds.install=false,rbac.userRoles=false
install issued --set crds.install=false,rbac.userRoles=false,webhook.enabled=true,webhook.certManager.certificate=hook,webhook.certManager.secretName=hook
timed "permissions" check_permissions
timed "the webhook" check_webhook
timed "the operator's labels" check_operator_labels
timed "samples" kubectl apply --dry-run=server --filename config/samples
timed "alerts" check_alerts
timed "deletion protection" check_deletion_protection
timed "Secrets" check_secret_writes
timed "upgrade, uninstall, install again" check_upgrade_and_uninstall
say "the chart is in order"
