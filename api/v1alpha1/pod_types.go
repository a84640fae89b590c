package v1alpha1

import corev1 "k8s.io/api/core/v1"

// PodTemplate is what members' pods get beside what the operator gives them. A change of it rolls the members,
// one at a time.
type PodTemplate struct {
	// Metadata is added to every pod.
	// +kubebuilder:default={}
	// +optional
	Metadata PodMetadata `json:"metadata,omitzero"`

	// Spec is merged into every pod.
	// +kubebuilder:default={}
	// +optional
	Spec PodSpec `json:"spec,omitzero"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule=`self.matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$')`,message="a label value must be empty or at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
type LabelValue string

// AnnotationValue is the value of an annotation.
//
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// PodMetadata is the part of a pod's metadata that can be added to.
type PodMetadata struct {
	// Labels are added to every pod. Those under etcd.etcd.io/ and app.kubernetes.io/ are the operator's.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)`,message="spec.podTemplate.metadata.labels keys must be label names: [prefix/]name with a name of at most 63 letters, digits, '-', '_' and '.'",messageExpression=`'spec.podTemplate.metadata.labels keys must be label names ([prefix/]name with a name of at most 63 letters, digits, -, _ and .), not %s'.format([self.filter(k, !(k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253))])`
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !(k.startsWith('etcd.etcd.io/') || k.startsWith('app.kubernetes.io/')))`,message="spec.podTemplate.metadata.labels must not use etcd.etcd.io/ and app.kubernetes.io/: the operator owns these names",messageExpression=`'spec.podTemplate.metadata.labels must not set %s: names under etcd.etcd.io/ and app.kubernetes.io/ belong to the operator'.format([self.filter(k, k.startsWith('etcd.etcd.io/') || k.startsWith('app.kubernetes.io/'))])`
	// +optional
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// Annotations are added to every pod. Those under etcd.etcd.io/ are the operator's.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)`,message="spec.podTemplate.metadata.annotations keys must be annotation names: [prefix/]name with a name of at most 63 letters, digits, '-', '_' and '.'",messageExpression=`'spec.podTemplate.metadata.annotations keys must be annotation names ([prefix/]name with a name of at most 63 letters, digits, -, _ and .), not %s'.format([self.filter(k, !(k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253))])`
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !(k.startsWith('etcd.etcd.io/')))`,message="spec.podTemplate.metadata.annotations must not use etcd.etcd.io/: the operator owns these names",messageExpression=`'spec.podTemplate.metadata.annotations must not set %s: names under etcd.etcd.io/ belong to the operator'.format([self.filter(k, k.startsWith('etcd.etcd.io/'))])`
	// +optional
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// PodSpec is the part of a pod's spec that can be chosen. The fields mean what they mean in a pod.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))`,message="spec.podTemplate.spec.volumeMounts must each name a volume of spec.podTemplate.spec.volumes",messageExpression=`'spec.podTemplate.spec.volumeMounts must each name a volume of spec.podTemplate.spec.volumes, not %s'.format([self.volumeMounts.filter(m, !has(self.volumes) || !self.volumes.exists(v, v.name == m.name)).map(m, m.name)])`,fieldPath=".volumeMounts"
type PodSpec struct {
	// Affinity of the pods. Left out, members prefer different hosts and zones.
	// +kubebuilder:validation:XValidation:rule=`!has(self.nodeAffinity) || ((!has(self.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution) || size(self.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms) <= 16) && (!has(self.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution) || size(self.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution) <= 16))`,message="spec.podTemplate.spec.affinity.nodeAffinity must have at most 16 required and 16 preferred terms",fieldPath=".nodeAffinity"
	// +kubebuilder:validation:XValidation:rule=`!has(self.nodeAffinity) || !has(self.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution) || self.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution.all(t, t.weight >= 1 && t.weight <= 100)`,message="spec.podTemplate.spec.affinity.nodeAffinity weights must be from 1 to 100",messageExpression=`'spec.podTemplate.spec.affinity.nodeAffinity weights must be from 1 to 100, not all of %s'.format([self.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution.map(t, t.weight)])`,fieldPath=".nodeAffinity"
	// +kubebuilder:validation:XValidation:rule=`!has(self.podAffinity) || ((!has(self.podAffinity.requiredDuringSchedulingIgnoredDuringExecution) || size(self.podAffinity.requiredDuringSchedulingIgnoredDuringExecution) <= 16) && (!has(self.podAffinity.preferredDuringSchedulingIgnoredDuringExecution) || size(self.podAffinity.preferredDuringSchedulingIgnoredDuringExecution) <= 16))`,message="spec.podTemplate.spec.affinity.podAffinity must have at most 16 required and 16 preferred terms",fieldPath=".podAffinity"
	// +kubebuilder:validation:XValidation:rule=`!has(self.podAffinity) || !has(self.podAffinity.preferredDuringSchedulingIgnoredDuringExecution) || self.podAffinity.preferredDuringSchedulingIgnoredDuringExecution.all(t, t.weight >= 1 && t.weight <= 100)`,message="spec.podTemplate.spec.affinity.podAffinity weights must be from 1 to 100",messageExpression=`'spec.podTemplate.spec.affinity.podAffinity weights must be from 1 to 100, not all of %s'.format([self.podAffinity.preferredDuringSchedulingIgnoredDuringExecution.map(t, t.weight)])`,fieldPath=".podAffinity"
	// +kubebuilder:validation:XValidation:rule=`!has(self.podAffinity) || ((!has(self.podAffinity.requiredDuringSchedulingIgnoredDuringExecution) || self.podAffinity.requiredDuringSchedulingIgnoredDuringExecution.all(t, size(t.topologyKey) >= 1 && size(t.topologyKey) <= 317)) && (!has(self.podAffinity.preferredDuringSchedulingIgnoredDuringExecution) || self.podAffinity.preferredDuringSchedulingIgnoredDuringExecution.all(t, size(t.podAffinityTerm.topologyKey) >= 1 && size(t.podAffinityTerm.topologyKey) <= 317)))`,message="spec.podTemplate.spec.affinity.podAffinity terms must have a topologyKey of 1 to 317 characters, e.g. kubernetes.io/hostname",fieldPath=".podAffinity"
	// +kubebuilder:validation:XValidation:rule=`!has(self.podAntiAffinity) || ((!has(self.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution) || size(self.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution) <= 16) && (!has(self.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution) || size(self.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution) <= 16))`,message="spec.podTemplate.spec.affinity.podAntiAffinity must have at most 16 required and 16 preferred terms",fieldPath=".podAntiAffinity"
	// +kubebuilder:validation:XValidation:rule=`!has(self.podAntiAffinity) || !has(self.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution) || self.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.all(t, t.weight >= 1 && t.weight <= 100)`,message="spec.podTemplate.spec.affinity.podAntiAffinity weights must be from 1 to 100",messageExpression=`'spec.podTemplate.spec.affinity.podAntiAffinity weights must be from 1 to 100, not all of %s'.format([self.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.map(t, t.weight)])`,fieldPath=".podAntiAffinity"
	// +kubebuilder:validation:XValidation:rule=`!has(self.podAntiAffinity) || ((!has(self.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution) || self.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.all(t, size(t.topologyKey) >= 1 && size(t.topologyKey) <= 317)) && (!has(self.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution) || self.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.all(t, size(t.podAffinityTerm.topologyKey) >= 1 && size(t.podAffinityTerm.topologyKey) <= 317)))`,message="spec.podTemplate.spec.affinity.podAntiAffinity terms must have a topologyKey of 1 to 317 characters, e.g. kubernetes.io/hostname",fieldPath=".podAntiAffinity"
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// TopologySpreadConstraints of the pods. A constraint without a labelSelector gets that of the cluster's
	// members. Left out, members spread over zones and hosts where they can.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=topologyKey
	// +listMapKey=whenUnsatisfiable
	// +kubebuilder:validation:XValidation:rule=`self.all(c, size(c.topologyKey) >= 1 && size(c.topologyKey) <= 317)`,message="spec.podTemplate.spec.topologySpreadConstraints topologyKey must have 1 to 317 characters, e.g. topology.kubernetes.io/zone"
	// +kubebuilder:validation:XValidation:rule=`self.all(c, c.maxSkew >= 1 && c.maxSkew <= 1000)`,message="spec.podTemplate.spec.topologySpreadConstraints maxSkew must be from 1 to 1000",messageExpression=`'spec.podTemplate.spec.topologySpreadConstraints maxSkew must be from 1 to 1000, not %s'.format([self.filter(c, c.maxSkew < 1 || c.maxSkew > 1000).map(c, c.maxSkew)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(c, c.whenUnsatisfiable in ['DoNotSchedule','ScheduleAnyway'])`,message="spec.podTemplate.spec.topologySpreadConstraints whenUnsatisfiable must be DoNotSchedule or ScheduleAnyway",messageExpression=`'spec.podTemplate.spec.topologySpreadConstraints whenUnsatisfiable must be DoNotSchedule or ScheduleAnyway, not %s'.format([self.filter(c, !(c.whenUnsatisfiable in ['DoNotSchedule','ScheduleAnyway'])).map(c, c.whenUnsatisfiable)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(c, !has(c.minDomains) || (c.minDomains >= 1 && c.minDomains <= 1000 && c.whenUnsatisfiable == 'DoNotSchedule'))`,message="spec.podTemplate.spec.topologySpreadConstraints minDomains must be from 1 to 1000, with whenUnsatisfiable DoNotSchedule"
	// +kubebuilder:validation:XValidation:rule=`self.all(c, (!has(c.nodeAffinityPolicy) || c.nodeAffinityPolicy in ['Honor','Ignore']) && (!has(c.nodeTaintsPolicy) || c.nodeTaintsPolicy in ['Honor','Ignore']))`,message="spec.podTemplate.spec.topologySpreadConstraints nodeAffinityPolicy and nodeTaintsPolicy must be Honor or Ignore"
	// +kubebuilder:validation:XValidation:rule=`self.all(c, (!has(c.matchLabelKeys) || size(c.matchLabelKeys) <= 8) && (!has(c.labelSelector) || ((!has(c.labelSelector.matchLabels) || size(c.labelSelector.matchLabels) <= 16) && (!has(c.labelSelector.matchExpressions) || size(c.labelSelector.matchExpressions) <= 16))))`,message="spec.podTemplate.spec.topologySpreadConstraints must have at most 8 matchLabelKeys, 16 matchLabels and 16 matchExpressions each"
	// +optional
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// NodeSelector of the pods.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)`,message="spec.podTemplate.spec.nodeSelector keys must be label names: [prefix/]name with a name of at most 63 letters, digits, '-', '_' and '.'",messageExpression=`'spec.podTemplate.spec.nodeSelector keys must be label names ([prefix/]name with a name of at most 63 letters, digits, -, _ and .), not %s'.format([self.filter(k, !(k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253))])`
	// +optional
	NodeSelector map[string]LabelValue `json:"nodeSelector,omitempty"`

	// Tolerations of the pods.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +kubebuilder:validation:XValidation:rule=`self.all(t, (!has(t.key) || size(t.key) <= 317) && (!has(t.value) || size(t.value) <= 63))`,message="spec.podTemplate.spec.tolerations keys must have at most 317 characters, values at most 63"
	// +kubebuilder:validation:XValidation:rule=`self.all(t, !has(t.operator) || t.operator in ['','Exists','Equal'])`,message="spec.podTemplate.spec.tolerations operator must be Exists or Equal",messageExpression=`'spec.podTemplate.spec.tolerations operator must be Exists or Equal, not %s'.format([self.filter(t, has(t.operator) && !(t.operator in ['','Exists','Equal'])).map(t, t.operator)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(t, !has(t.effect) || t.effect in ['','NoSchedule','PreferNoSchedule','NoExecute'])`,message="spec.podTemplate.spec.tolerations effect must be NoSchedule, PreferNoSchedule or NoExecute",messageExpression=`'spec.podTemplate.spec.tolerations effect must be NoSchedule, PreferNoSchedule or NoExecute, not %s'.format([self.filter(t, has(t.effect) && !(t.effect in ['','NoSchedule','PreferNoSchedule','NoExecute'])).map(t, t.effect)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(t, has(t.operator) && t.operator == 'Exists' ? (!has(t.value) || t.value == '') : (has(t.key) && t.key != ''))`,message="spec.podTemplate.spec.tolerations with operator Exists must have no value, and with Equal a key"
	// +kubebuilder:validation:XValidation:rule=`self.all(t, !has(t.tolerationSeconds) || (has(t.effect) && t.effect == 'NoExecute'))`,message="spec.podTemplate.spec.tolerations tolerationSeconds must only be set with effect NoExecute"
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// PriorityClassName of the pods.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')`,message="spec.podTemplate.spec.priorityClassName must be the name of a PriorityClass: at most 253 lower-case letters, digits, '-' and '.'"
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// SchedulerName is the scheduler that places the pods.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')`,message="spec.podTemplate.spec.schedulerName must be the name of a scheduler: at most 253 lower-case letters, digits, '-' and '.'"
	// +optional
	SchedulerName string `json:"schedulerName,omitempty"`

	// ServiceAccountName is the account of the pods. Its token is not mounted: etcd does not call Kubernetes.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')`,message="spec.podTemplate.spec.serviceAccountName must be the name of a ServiceAccount: at most 253 lower-case letters, digits, '-' and '.'"
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// ImagePullSecrets are the Secrets that the image is pulled with.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +kubebuilder:validation:XValidation:rule=`self.all(s, has(s.name) && size(s.name) >= 1 && size(s.name) <= 253)`,message="spec.podTemplate.spec.imagePullSecrets must each have a name of 1 to 253 characters"
	// +optional
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// ImagePullPolicy of the etcd image.
	// +kubebuilder:default=IfNotPresent
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +optional
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// TerminationGracePeriodSeconds is how long a member may take to stop, leadership handed over, before it is
	// killed.
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=600
	// +optional
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`

	// Resources of the etcd container: cpu, memory and ephemeral-storage. Left out, 100m CPU and 128Mi of memory
	// are requested, without limits.
	// +kubebuilder:validation:XValidation:rule=`!has(self.requests) || size(self.requests) == ['cpu','memory','ephemeral-storage'].filter(k, k in self.requests).size()`,message="spec.podTemplate.spec.resources.requests must only name cpu, memory and ephemeral-storage",messageExpression=`'spec.podTemplate.spec.resources.requests must only name cpu, memory and ephemeral-storage, not all of %s'.format([self.requests])`,fieldPath=".requests"
	// +kubebuilder:validation:XValidation:rule=`!has(self.limits) || size(self.limits) == ['cpu','memory','ephemeral-storage'].filter(k, k in self.limits).size()`,message="spec.podTemplate.spec.resources.limits must only name cpu, memory and ephemeral-storage",messageExpression=`'spec.podTemplate.spec.resources.limits must only name cpu, memory and ephemeral-storage, not all of %s'.format([self.limits])`,fieldPath=".limits"
	// +kubebuilder:validation:XValidation:rule=`['cpu','memory','ephemeral-storage'].all(k, !has(self.requests) || !(k in self.requests) || quantity(string(self.requests[k])).isGreaterThan(quantity('0')))`,message="spec.podTemplate.spec.resources.requests must be quantities above 0, e.g. 500m of cpu or 1Gi of memory",messageExpression=`'spec.podTemplate.spec.resources.requests must be quantities above 0, e.g. 500m of cpu or 1Gi of memory, not %s'.format([self.requests])`,fieldPath=".requests"
	// +kubebuilder:validation:XValidation:rule=`['cpu','memory','ephemeral-storage'].all(k, !has(self.limits) || !(k in self.limits) || quantity(string(self.limits[k])).isGreaterThan(quantity('0')))`,message="spec.podTemplate.spec.resources.limits must be quantities above 0, e.g. 500m of cpu or 1Gi of memory",messageExpression=`'spec.podTemplate.spec.resources.limits must be quantities above 0, e.g. 500m of cpu or 1Gi of memory, not %s'.format([self.limits])`,fieldPath=".limits"
	// +kubebuilder:validation:XValidation:rule=`!has(self.requests) || !has(self.limits) || ['cpu','memory','ephemeral-storage'].all(k, !(k in self.requests) || !(k in self.limits) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)`,message="spec.podTemplate.spec.resources.requests must not exceed limits",messageExpression=`'spec.podTemplate.spec.resources.requests must not exceed limits: %s against %s'.format([self.requests, self.limits])`,fieldPath=".requests"
	// +kubebuilder:validation:XValidation:rule=`!has(self.claims)`,message="spec.podTemplate.spec.resources.claims must not be set: the pods have no resource claims",fieldPath=".claims"
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// Env is added to the etcd container, by value or by valueFrom. Names beginning with ETCD_ are
	// etcd settings: use spec.config.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:XValidation:rule=`self.all(e, !e.name.startsWith('ETCD_'))`,message="spec.podTemplate.spec.env must not set ETCD_* variables: etcd would read them as settings; use spec.config",messageExpression=`'spec.podTemplate.spec.env must not set %s: etcd would read it as a setting; use spec.config'.format([self.filter(e, e.name.startsWith('ETCD_')).map(e, e.name)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(e, !(e.name in ['INITIAL_CLUSTER','INITIAL_CLUSTER_STATE']))`,message="spec.podTemplate.spec.env must not set INITIAL_CLUSTER and INITIAL_CLUSTER_STATE: the operator tells members by them how to start"
	// +kubebuilder:validation:XValidation:rule=`self.all(e, size(e.name) >= 1 && size(e.name) <= 253)`,message="spec.podTemplate.spec.env names must have 1 to 253 characters",messageExpression=`'spec.podTemplate.spec.env names must have 1 to 253 characters, not %s'.format([self.filter(e, !(size(e.name) >= 1 && size(e.name) <= 253)).map(e, e.name)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(e, !has(e.value) || size(e.value) <= 4096)`,message="spec.podTemplate.spec.env values must have at most 4096 characters",messageExpression=`'spec.podTemplate.spec.env values must have at most 4096 characters: %s'.format([self.filter(e, has(e.value) && size(e.value) > 4096).map(e, e.name)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(e, !has(e.valueFrom) || ((!has(e.value) || e.value == '') && [has(e.valueFrom.fieldRef), has(e.valueFrom.resourceFieldRef), has(e.valueFrom.configMapKeyRef), has(e.valueFrom.secretKeyRef), has(e.valueFrom.fileKeyRef)].filter(x, x).size() == 1))`,message="spec.podTemplate.spec.env valueFrom must have exactly one of fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, and no value beside it",messageExpression=`'spec.podTemplate.spec.env valueFrom must have exactly one of fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, and no value beside it: %s'.format([self.filter(e, has(e.valueFrom) && !((!has(e.value) || e.value == '') && [has(e.valueFrom.fieldRef), has(e.valueFrom.resourceFieldRef), has(e.valueFrom.configMapKeyRef), has(e.valueFrom.secretKeyRef), has(e.valueFrom.fileKeyRef)].filter(x, x).size() == 1)).map(e, e.name)])`
	// +optional
	Env []corev1.EnvVar `json:"env,omitempty"`

	// SecurityContext of the pods. Left out, members run as user and group 65532 under the "restricted" pod
	// security standard; fields given here replace those defaults one by one.
	// +kubebuilder:validation:XValidation:rule=`!has(self.runAsUser) || (self.runAsUser >= 1 && self.runAsUser <= 2147483647)`,message="spec.podTemplate.spec.securityContext.runAsUser must be from 1 to 2147483647: members never run as root",messageExpression=`'spec.podTemplate.spec.securityContext.runAsUser must be from 1 to 2147483647, not %s: members never run as root'.format([self.runAsUser])`,fieldPath=".runAsUser"
	// +kubebuilder:validation:XValidation:rule=`(!has(self.runAsGroup) || (self.runAsGroup >= 0 && self.runAsGroup <= 2147483647)) && (!has(self.fsGroup) || (self.fsGroup >= 0 && self.fsGroup <= 2147483647))`,message="spec.podTemplate.spec.securityContext.runAsGroup and fsGroup must be from 0 to 2147483647"
	// +kubebuilder:validation:XValidation:rule=`!has(self.runAsNonRoot) || self.runAsNonRoot`,message="spec.podTemplate.spec.securityContext.runAsNonRoot must not be false: members keep to the restricted pod security standard",fieldPath=".runAsNonRoot"
	// +kubebuilder:validation:XValidation:rule=`!has(self.seccompProfile) || self.seccompProfile.type in ['RuntimeDefault','Localhost']`,message="spec.podTemplate.spec.securityContext.seccompProfile.type must be RuntimeDefault or Localhost: members keep to the restricted pod security standard",messageExpression=`'spec.podTemplate.spec.securityContext.seccompProfile.type must be RuntimeDefault or Localhost, not %s: members keep to the restricted pod security standard'.format([self.seccompProfile.type])`,fieldPath=".seccompProfile"
	// +kubebuilder:validation:XValidation:rule=`!has(self.seccompProfile) || (self.seccompProfile.type == 'Localhost') == (has(self.seccompProfile.localhostProfile) && size(self.seccompProfile.localhostProfile) >= 1 && size(self.seccompProfile.localhostProfile) <= 253)`,message="spec.podTemplate.spec.securityContext.seccompProfile.localhostProfile must be set with type Localhost, to at most 253 characters, and not with another type",fieldPath=".seccompProfile"
	// +kubebuilder:validation:XValidation:rule=`!has(self.appArmorProfile) || self.appArmorProfile.type in ['RuntimeDefault','Localhost']`,message="spec.podTemplate.spec.securityContext.appArmorProfile.type must be RuntimeDefault or Localhost: members keep to the restricted pod security standard",messageExpression=`'spec.podTemplate.spec.securityContext.appArmorProfile.type must be RuntimeDefault or Localhost, not %s: members keep to the restricted pod security standard'.format([self.appArmorProfile.type])`,fieldPath=".appArmorProfile"
	// +kubebuilder:validation:XValidation:rule=`!has(self.seLinuxOptions) || (!has(self.seLinuxOptions.user) && !has(self.seLinuxOptions.role) && (!has(self.seLinuxOptions.type) || self.seLinuxOptions.type in ['','container_t','container_init_t','container_kvm_t','container_engine_t']))`,message="spec.podTemplate.spec.securityContext.seLinuxOptions must have no user and role, and as type container_t, container_init_t, container_kvm_t, container_engine_t or none: members keep to the restricted pod security standard",fieldPath=".seLinuxOptions"
	// +kubebuilder:validation:XValidation:rule=`!has(self.windowsOptions)`,message="spec.podTemplate.spec.securityContext.windowsOptions must not be set: members run on Linux",fieldPath=".windowsOptions"
	// +kubebuilder:validation:XValidation:rule=`!has(self.sysctls) || (size(self.sysctls) <= 16 && self.sysctls.all(c, c.name in ['kernel.shm_rmid_forced','net.ipv4.ip_local_port_range','net.ipv4.ip_local_reserved_ports','net.ipv4.ip_unprivileged_port_start','net.ipv4.ping_group_range','net.ipv4.tcp_fin_timeout','net.ipv4.tcp_keepalive_intvl','net.ipv4.tcp_keepalive_probes','net.ipv4.tcp_keepalive_time','net.ipv4.tcp_syncookies']))`,message="spec.podTemplate.spec.securityContext.sysctls must be at most 16 of the safe ones (kernel.shm_rmid_forced, net.ipv4.ip_local_port_range, net.ipv4.tcp_keepalive_time, ...): members keep to the restricted pod security standard",messageExpression=`'spec.podTemplate.spec.securityContext.sysctls must be at most 16, and safe ones such as net.ipv4.tcp_keepalive_time, not all of %s: members keep to the restricted pod security standard'.format([self.sysctls.map(c, c.name)])`,fieldPath=".sysctls"
	// +kubebuilder:validation:XValidation:rule=`!has(self.supplementalGroups) || (size(self.supplementalGroups) <= 32 && (size(self.supplementalGroups) == 0 || (self.supplementalGroups.min() >= 0 && self.supplementalGroups.max() <= 2147483647)))`,message="spec.podTemplate.spec.securityContext.supplementalGroups must be at most 32 numbers from 0 to 2147483647",fieldPath=".supplementalGroups"
	// +kubebuilder:validation:XValidation:rule=`(!has(self.fsGroupChangePolicy) || self.fsGroupChangePolicy in ['OnRootMismatch','Always']) && (!has(self.supplementalGroupsPolicy) || self.supplementalGroupsPolicy in ['Merge','Strict'])`,message="spec.podTemplate.spec.securityContext.fsGroupChangePolicy must be OnRootMismatch or Always, supplementalGroupsPolicy Merge or Strict"
	// +optional
	SecurityContext *corev1.PodSecurityContext `json:"securityContext,omitempty"`

	// Volumes are added to the pods.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:XValidation:rule=`self.all(v, !(v.name in ['data','wal','trust','server-tls','peer-tls']))`,message="spec.podTemplate.spec.volumes must not be named data, wal, trust, server-tls or peer-tls: those are the member's own"
	// +optional
	Volumes []Volume `json:"volumes,omitempty"`

	// VolumeMounts are added to the etcd container; each must name a volume of spec.podTemplate.spec.volumes.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=mountPath
	// +kubebuilder:validation:XValidation:rule=`self.all(m, m.mountPath.startsWith('/') && size(m.mountPath) <= 512 && !m.mountPath.contains(':'))`,message="spec.podTemplate.spec.volumeMounts mountPath must be an absolute path of at most 512 characters without ':'",messageExpression=`'spec.podTemplate.spec.volumeMounts mountPath must be an absolute path of at most 512 characters without colons, not %s'.format([self.filter(m, !(m.mountPath.startsWith('/') && size(m.mountPath) <= 512 && !m.mountPath.contains(':'))).map(m, m.mountPath)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(m, !(m.mountPath.contains('..')))`,message="spec.podTemplate.spec.volumeMounts mountPath must not hold '..'",messageExpression=`'spec.podTemplate.spec.volumeMounts mountPath must not hold two dots: %s'.format([self.filter(m, m.mountPath.contains('..')).map(m, m.mountPath)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(m, !(m.mountPath.contains('//')))`,message="spec.podTemplate.spec.volumeMounts mountPath must not hold '//'",messageExpression=`'spec.podTemplate.spec.volumeMounts mountPath must not hold two slashes in a row: %s'.format([self.filter(m, m.mountPath.contains('//')).map(m, m.mountPath)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(m, !(m.mountPath in ['/','/etc','/etc/','/tmp','/tmp/','/usr','/proc','/sys','/dev','/var','/var/','/var/lib','/var/lib/'] || ['/var/lib/etcd','/usr/','/proc/','/sys/','/dev/'].exists(p, m.mountPath.startsWith(p))))`,message="spec.podTemplate.spec.volumeMounts mountPath must not cover files of the member",messageExpression=`'spec.podTemplate.spec.volumeMounts mountPath must not cover files of the member (/, /etc, /tmp, /var, /var/lib, or anything of /var/lib/etcd*, /usr, /proc, /sys, /dev): %s'.format([self.filter(m, m.mountPath in ['/','/etc','/etc/','/tmp','/tmp/','/usr','/proc','/sys','/dev','/var','/var/','/var/lib','/var/lib/'] || ['/var/lib/etcd','/usr/','/proc/','/sys/','/dev/'].exists(p, m.mountPath.startsWith(p))).map(m, m.mountPath)])`
	// +kubebuilder:validation:XValidation:rule=`self.all(m, (!has(m.subPath) || size(m.subPath) <= 512) && (!has(m.subPathExpr) || size(m.subPathExpr) <= 512) && !(has(m.subPath) && has(m.subPathExpr)))`,message="spec.podTemplate.spec.volumeMounts must have at most one of subPath and subPathExpr, of at most 512 characters"
	// +kubebuilder:validation:XValidation:rule=`self.all(m, !has(m.mountPropagation) || m.mountPropagation in ['None','HostToContainer'])`,message="spec.podTemplate.spec.volumeMounts mountPropagation must be None or HostToContainer: Bidirectional needs a privileged container",messageExpression=`'spec.podTemplate.spec.volumeMounts mountPropagation must be None or HostToContainer, not %s'.format([self.filter(m, has(m.mountPropagation) && !(m.mountPropagation in ['None','HostToContainer'])).map(m, m.mountPropagation)])`
	// +optional
	VolumeMounts []corev1.VolumeMount `json:"volumeMounts,omitempty"`
}

// Volume is a volume that can be added to the pods. Of the kinds of volume it knows those that the "restricted"
// pod security standard allows and that are of use beside etcd.
//
// +kubebuilder:validation:XValidation:rule=`[has(self.configMap), has(self.secret), has(self.emptyDir), has(self.projected), has(self.persistentVolumeClaim)].filter(x, x).size() == 1`,message="spec.podTemplate.spec.volumes: a volume needs exactly one of configMap, secret, emptyDir, projected, persistentVolumeClaim",messageExpression=`'spec.podTemplate.spec.volumes: volume %s must have exactly one of configMap, secret, emptyDir, projected, persistentVolumeClaim, has %s'.format([self.name, [has(self.configMap), has(self.secret), has(self.emptyDir), has(self.projected), has(self.persistentVolumeClaim)].filter(x, x).size()])`
// +kubebuilder:validation:XValidation:rule=`(!has(self.configMap) || (has(self.configMap.name) && size(self.configMap.name) >= 1 && size(self.configMap.name) <= 253)) && (!has(self.secret) || (has(self.secret.secretName) && size(self.secret.secretName) >= 1 && size(self.secret.secretName) <= 253)) && (!has(self.persistentVolumeClaim) || (has(self.persistentVolumeClaim.claimName) && size(self.persistentVolumeClaim.claimName) >= 1 && size(self.persistentVolumeClaim.claimName) <= 253))`,message="spec.podTemplate.spec.volumes: configMap.name, secret.secretName and persistentVolumeClaim.claimName must have 1 to 253 characters",messageExpression=`'spec.podTemplate.spec.volumes: volume %s must name its source (configMap.name, secret.secretName, persistentVolumeClaim.claimName) with 1 to 253 characters'.format([self.name])`
// +kubebuilder:validation:XValidation:rule=`(!has(self.configMap) || (!has(self.configMap.defaultMode) || (self.configMap.defaultMode >= 0 && self.configMap.defaultMode <= 511))) && (!has(self.secret) || (!has(self.secret.defaultMode) || (self.secret.defaultMode >= 0 && self.secret.defaultMode <= 511))) && (!has(self.projected) || (!has(self.projected.defaultMode) || (self.projected.defaultMode >= 0 && self.projected.defaultMode <= 511)))`,message="spec.podTemplate.spec.volumes: defaultMode must be from 0 to 511 (octal 0777)",messageExpression=`'spec.podTemplate.spec.volumes: defaultMode of volume %s must be from 0 to 511 (octal 0777)'.format([self.name])`
// +kubebuilder:validation:XValidation:rule=`(!has(self.configMap) || !has(self.configMap.items) || size(self.configMap.items) <= 64) && (!has(self.secret) || !has(self.secret.items) || size(self.secret.items) <= 64) && (!has(self.projected) || (has(self.projected.sources) && size(self.projected.sources) >= 1 && size(self.projected.sources) <= 16))`,message="spec.podTemplate.spec.volumes: at most 64 items, and 1 to 16 projected sources",messageExpression=`'spec.podTemplate.spec.volumes: volume %s must have at most 64 items, or 1 to 16 projected sources'.format([self.name])`
// +kubebuilder:validation:XValidation:rule=`!has(self.emptyDir) || ((!has(self.emptyDir.medium) || self.emptyDir.medium in ["",'Memory']) && (!has(self.emptyDir.sizeLimit) || (quantity(string(self.emptyDir.sizeLimit)).isGreaterThan(quantity('0')))))`,message="spec.podTemplate.spec.volumes: emptyDir.medium must be Memory or left out, emptyDir.sizeLimit a quantity above 0",messageExpression=`'spec.podTemplate.spec.volumes: volume %s must have as emptyDir.medium Memory or none, as emptyDir.sizeLimit a quantity above 0'.format([self.name])`
type Volume struct {
	// Name of the volume: at most 63 lower-case letters, digits and '-'.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,message="spec.podTemplate.spec.volumes names must be DNS labels: at most 63 lower-case letters, digits and '-'"
	Name string `json:"name"`

	// ConfigMap is a ConfigMap of the namespace.
	// +optional
	ConfigMap *corev1.ConfigMapVolumeSource `json:"configMap,omitempty"`
	// Secret is a Secret of the namespace.
	// +optional
	Secret *corev1.SecretVolumeSource `json:"secret,omitempty"`
	// EmptyDir is an empty folder that lives as long as the pod.
	// +optional
	EmptyDir *corev1.EmptyDirVolumeSource `json:"emptyDir,omitempty"`
	// Projected is several sources in one folder.
	// +optional
	Projected *corev1.ProjectedVolumeSource `json:"projected,omitempty"`
	// PersistentVolumeClaim is a claim of the namespace. All members share it.
	// +optional
	PersistentVolumeClaim *corev1.PersistentVolumeClaimVolumeSource `json:"persistentVolumeClaim,omitempty"`
}
