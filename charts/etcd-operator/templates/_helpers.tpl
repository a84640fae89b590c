{{/* The chart's name, as a label value. */}}
{{- define "etcd-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The prefix of every object's name. 50 characters leave room for the suffixes. */}}
{{- define "etcd-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "etcd-operator.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of what has no namespace: releases of the same name may live in several namespaces. */}}
{{- define "etcd-operator.clusterName" -}}
{{- if .Values.watchNamespaces }}
{{- printf "%s-%s" .Release.Namespace (include "etcd-operator.fullname" .) }}
{{- else }}
{{- include "etcd-operator.fullname" . }}
{{- end }}
{{- end }}

{{- define "etcd-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "etcd-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false: name the ServiceAccount to run as" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "etcd-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "etcd-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: manager
{{- end }}

{{- define "etcd-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "etcd-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: etcd-k8s-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "etcd-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What the operator may do in each namespace that it watches. */}}
{{- define "etcd-operator.namespaceRules" -}}
# A drill restores a backup into an EtcdCluster of its own, and deletes that.
- apiGroups: [etcd.etcd.io]
  resources: [etcdclusters]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [etcd.etcd.io]
  resources: [etcdclusters/status]
  verbs: [patch]
# Some API servers ask for it (the admission plugin OwnerReferencesPermissionEnforcement, which OpenShift has on): a foreground
# deletion of an EtcdCluster waits for the objects that are made for it.
- apiGroups: [etcd.etcd.io]
  resources: [etcdclusters/finalizers]
  verbs: [update]
# The finalizers of backups and restores are patched in and out. A restore notes on the cluster that it holds it, makes a backup
# before, and makes the claims of a cluster that begins with a backup.
- apiGroups: [etcd.etcd.io]
  resources: [etcdbackups]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [etcd.etcd.io]
  resources: [etcdrestores]
  verbs: [get, list, watch, create, patch]
- apiGroups: [etcd.etcd.io]
  resources: [etcdbackups/status, etcdrestores/status]
  verbs: [patch]
# Archivers, which store all changes of a cluster.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, delete]
# Whether the namespace of a backup is being deleted.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# By name only: those with the certificates of the clusters. They cannot be listed.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
# Members are restarted as far as their disruption budget allows.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# CPU and memory change without a restart.
- apiGroups: [""]
  resources: [pods/resize]
  verbs: [patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# For clusters whose certificates cert-manager issues.
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, list, create, patch, delete]
- apiGroups: [cert-manager.io]
  resources: [certificaterequests]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# Why a StatefulSet has no pod, and a claim no volume, is said in events only.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}

{{- define "etcd-operator.storageClassRules" -}}
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [get, list]
# Whether the node of a member is gone, and from which nodes its volume can be reached.
- apiGroups: [""]
  resources: [nodes, persistentvolumes]
  verbs: [get]
{{- end }}

{{/* The operator's ServiceAccount as the one subject of a binding. */}}
{{- define "etcd-operator.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "etcd-operator.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}
