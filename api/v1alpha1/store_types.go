package v1alpha1

import corev1 "k8s.io/api/core/v1"

// BackupStore is where backups are kept: one of the kinds of stores below.
//
// +kubebuilder:validation:XValidation:rule="[has(self.s3), has(self.gcs), has(self.azure), has(self.volume)].filter(given, given).size() == 1",message="a store is exactly one of s3, gcs, azure and volume: set one of them"
type BackupStore struct {
	// S3 is a bucket of Amazon S3, or of a server that speaks its protocol.
	// +optional
	S3 *S3Store `json:"s3,omitempty"`

	// GCS is a bucket of Google Cloud Storage.
	// +optional
	GCS *GCSStore `json:"gcs,omitempty"`

	// Azure is a container of Azure Blob Storage.
	// +optional
	Azure *AzureStore `json:"azure,omitempty"`

	// Volume is a directory of a PersistentVolumeClaim in the same namespace.
	// +optional
	Volume *VolumeStore `json:"volume,omitempty"`
}

// S3Store is a bucket of Amazon S3, or of a server that speaks its protocol.
//
// +kubebuilder:validation:XValidation:rule="!has(self.kmsKeyID) || (has(self.serverSideEncryption) && self.serverSideEncryption == 'aws:kms')",message="kmsKeyID is for serverSideEncryption aws:kms only: set that, or remove kmsKeyID"
type S3Store struct {
	// Bucket has to exist.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`
	Bucket string `json:"bucket"`

	// Prefix is what the names of all objects begin with, without a slash at its end.
	// +optional
	Prefix StorePath `json:"prefix,omitempty"`

	// Endpoint is the URL of the server; Amazon's for the region if it is left out.
	// +optional
	Endpoint StoreEndpoint `json:"endpoint,omitempty"`

	// Region of the bucket.
	// +kubebuilder:default="us-east-1"
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9-]*$`
	// +optional
	Region string `json:"region,omitempty"`

	// PathStyle puts the bucket into the URL's path, not into the host's name, as most servers other than Amazon's need.
	// +optional
	PathStyle bool `json:"pathStyle,omitempty"`

	// CredentialsSecret has the keys access-key-id, secret-access-key and, for temporary ones, session-token. Without it
	// the identity of the agents' service account is used.
	// +optional
	CredentialsSecret *SecretName `json:"credentialsSecret,omitempty"`

	// CASecret has, under ca.crt, whom to trust for the endpoint's certificate.
	// +optional
	CASecret *SecretName `json:"caSecret,omitempty"`

	// ServerSideEncryption asks the server to encrypt what it stores: AES256, or aws:kms.
	// +kubebuilder:validation:Enum=AES256;"aws:kms"
	// +optional
	ServerSideEncryption string `json:"serverSideEncryption,omitempty"`

	// KMSKeyID is the key for aws:kms; the bucket's own if it is left out.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[!-~]+$`
	// +optional
	KMSKeyID string `json:"kmsKeyID,omitempty"`
}

// StorePath is what the names of objects begin with.
//
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$') && !self.matches('(^|/)[.]')",message="a prefix or path is made of elements of letters, digits, _, - and ., separated by single slashes, none of which begins with a dot"
type StorePath string

// StoreEndpoint is the URL of a server.
//
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^https?://[^/?#@]+(/[^?#@]*)?$')",message="endpoint is the URL of a server, such as https://s3.example.com:9000"
type StoreEndpoint string

// GCSStore is a bucket of Google Cloud Storage.
type GCSStore struct {
	// Bucket has to exist.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=222
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?([.][a-z0-9]([a-z0-9_-]*[a-z0-9])?)*$`
	Bucket string `json:"bucket"`

	// Prefix is what the names of all objects begin with, without a slash at its end.
	// +optional
	Prefix StorePath `json:"prefix,omitempty"`

	// Endpoint is the URL of the server; Google's if it is left out.
	// +optional
	Endpoint StoreEndpoint `json:"endpoint,omitempty"`

	// CredentialsSecret has the key of a service account under service-account.json. Without it the identity of the agents'
	// service account is used.
	// +optional
	CredentialsSecret *SecretName `json:"credentialsSecret,omitempty"`

	// CASecret has, under ca.crt, whom to trust for the endpoint's certificate.
	// +optional
	CASecret *SecretName `json:"caSecret,omitempty"`

	// KMSKeyName is the full name of the key that objects are encrypted with; the bucket's own if it is left out.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[!-~]+$`
	// +optional
	KMSKeyName string `json:"kmsKeyName,omitempty"`
}

// AzureStore is a container of Azure Blob Storage.
type AzureStore struct {
	// Account is the storage account.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:Pattern=`^[a-z0-9]+$`
	Account string `json:"account"`

	// Container has to exist.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9](-?[a-z0-9])*$`
	Container string `json:"container"`

	// Prefix is what the names of all blobs begin with, without a slash at its end.
	// +optional
	Prefix StorePath `json:"prefix,omitempty"`

	// Endpoint is the URL of the account; https://<account>.blob.core.windows.net if it is left out.
	// +optional
	Endpoint StoreEndpoint `json:"endpoint,omitempty"`

	// CredentialsSecret has account-key or sas-token. Without it the workload identity of the agents' service account is used.
	// +optional
	CredentialsSecret *SecretName `json:"credentialsSecret,omitempty"`

	// CASecret has, under ca.crt, whom to trust for the endpoint's certificate.
	// +optional
	CASecret *SecretName `json:"caSecret,omitempty"`

	// EncryptionScope is what blobs are encrypted with; the container's own if it is left out.
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]+$`
	// +optional
	EncryptionScope string `json:"encryptionScope,omitempty"`
}

// VolumeStore is a directory of a PersistentVolumeClaim.
type VolumeStore struct {
	// ClaimName is the PersistentVolumeClaim. Agents on all nodes have to reach it, so it is ReadWriteMany unless all run
	// on one node.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	ClaimName string `json:"claimName"`

	// Path is the directory on the volume; its root if it is left out.
	// +optional
	Path StorePath `json:"path,omitempty"`
}

// SecretName is a Secret of the same namespace.
type SecretName struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
}

// AgentSpec is how the pods of agents run, which move the data between members and the store.
type AgentSpec struct {
	// ServiceAccountName is whose identity agents have towards the store. They never talk to the Kubernetes API.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Repository is the etcd image, without its tag, in which agents restore: the cluster's if it is left out.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`
	// +optional
	Repository string `json:"repository,omitempty"`

	// Resources of agents; 100m of CPU and 128Mi of memory are requested if they are left out.
	// +kubebuilder:validation:XValidation:rule=`!has(self.claims) && (!has(self.requests) || size(self.requests) == ['cpu','memory','ephemeral-storage'].filter(k, k in self.requests).size()) && (!has(self.limits) || size(self.limits) == ['cpu','memory','ephemeral-storage'].filter(k, k in self.limits).size())`,message="the resources of agents are requests and limits of cpu, memory and ephemeral-storage: remove the others"
	// +kubebuilder:validation:XValidation:rule=`['cpu','memory','ephemeral-storage'].all(k, (!has(self.requests) || !(k in self.requests) || (quantity(string(self.requests[k])).isGreaterThan(quantity('0')) && (!has(self.limits) || !(k in self.limits) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0))) && (!has(self.limits) || !(k in self.limits) || quantity(string(self.limits[k])).isGreaterThan(quantity('0'))))`,message="the resources of agents must be quantities above 0, e.g. 500m of cpu or 1Gi of memory, and requests not above limits"
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// NodeSelector are labels that the nodes of agents have.
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)`,message="the nodeSelector of agents has label names as keys: [prefix/]name with a name of at most 63 letters, digits, '-', '_' and '.'"
	// +optional
	NodeSelector map[string]LabelValue `json:"nodeSelector,omitempty"`

	// Tolerations of agents.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +kubebuilder:validation:XValidation:rule=`self.all(t, (!has(t.key) || size(t.key) <= 317) && (!has(t.value) || size(t.value) <= 63) && (!has(t.operator) || t.operator in ['','Exists','Equal']) && (!has(t.effect) || t.effect in ['','NoSchedule','PreferNoSchedule','NoExecute']) && (has(t.operator) && t.operator == 'Exists' ? (!has(t.value) || t.value == '') : (has(t.key) && t.key != '')) && (!has(t.tolerationSeconds) || (has(t.effect) && t.effect == 'NoExecute')))`,message="the tolerations of agents have the operator Exists without a value or Equal with a key, the effect NoSchedule, PreferNoSchedule or NoExecute, tolerationSeconds with NoExecute only, and keys of at most 317 characters, values of at most 63"
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
}

// BackupEncryption encrypts what is stored with age (https://age-encryption.org).
type BackupEncryption struct {
	// Recipients are public keys of age, such as age-keygen prints. Who has one of the private keys can read the backup.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^age1[02-9ac-hj-np-z]{58}$`
	// +listType=set
	Recipients []string `json:"recipients"`

	// IdentitySecret has, under identity.txt, a private key that fits. It is needed to verify a backup, and to restore it.
	// +optional
	IdentitySecret *SecretName `json:"identitySecret,omitempty"`
}
