package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BackupSpec says where a cluster is backed up to, when, and what is kept.
//
// +kubebuilder:validation:XValidation:rule="!has(self.timeZone) || has(self.schedule)",message="timeZone is for the schedule: set schedule, or remove timeZone"
type BackupSpec struct {
	// Store is where backups are kept. EtcdBackups of the cluster that name no store go there.
	// +required
	Store BackupStore `json:"store"`

	// Encryption encrypts what is stored. EtcdBackups that name no store use it too.
	// +optional
	Encryption *BackupEncryption `json:"encryption,omitempty"`

	// Agent is how the pods run that move the data.
	// +optional
	Agent *AgentSpec `json:"agent,omitempty"`

	// Schedule is when backups are made, in the form of cron (minute, hour, day of month, month and day of week), or
	// one of @hourly, @daily, @weekly and @monthly. Without it only EtcdBackups that people make are made.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[0-9A-Za-z*/,?-]+( +[0-9A-Za-z*/,?-]+){4})$')",message="schedule has five fields as in cron (minute hour day-of-month month day-of-week), such as 15 3 * * *, or is @hourly, @daily, @weekly or @monthly"
	// +optional
	Schedule string `json:"schedule,omitempty"`

	// TimeZone is that of the schedule, such as Europe/Berlin; UTC if it is left out.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$`
	// +optional
	TimeZone string `json:"timeZone,omitempty"`

	// Suspend stops making and removing backups by schedule, and drills.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Verification is which of the scheduled backups are restored on trial and compared with the cluster.
	// +kubebuilder:default={mode: Always}
	// +optional
	Verification BackupVerification `json:"verification,omitzero"`

	// Retention is which of the scheduled backups are kept. The last verified one is never removed.
	// +kubebuilder:default={keepLast: 7}
	// +optional
	Retention BackupRetention `json:"retention,omitzero"`

	// Drill tries now and then whether a backup can be restored, and how long that takes.
	// +optional
	Drill *BackupDrill `json:"drill,omitempty"`

	// Continuous stores all changes beside the backups, so that the cluster can be restored to any moment.
	// +optional
	Continuous *ContinuousBackup `json:"continuous,omitempty"`
}

// VerificationMode is when backups are verified.
//
// +kubebuilder:validation:Enum=Always;Never;Sampled
type VerificationMode string

// Modes of verification.
const (
	// VerifyAlways verifies every backup.
	VerifyAlways VerificationMode = "Always"
	// VerifyNever verifies none.
	VerifyNever VerificationMode = "Never"
	// VerifySampled verifies one of every few scheduled backups.
	VerifySampled VerificationMode = "Sampled"
)

// BackupVerification is which scheduled backups are verified.
//
// +kubebuilder:validation:XValidation:rule="(has(self.every) && self.every > 0) == (self.mode == 'Sampled')",message="every is for mode Sampled, which needs it: set both or neither"
type BackupVerification struct {
	// Mode is Always, Sampled (one of every few) or Never.
	// +kubebuilder:default=Always
	// +optional
	Mode VerificationMode `json:"mode,omitempty"`

	// Every is of how many scheduled backups one is verified, in mode Sampled.
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Every int32 `json:"every,omitempty"`
}

// BackupRetention is which scheduled backups are kept: those that any of its rules keeps. With all of them left out or 0, all are.
type BackupRetention struct {
	// KeepLast is how many of the newest are kept.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	// +optional
	KeepLast int32 `json:"keepLast,omitempty"`

	// KeepWithin is how old those are at most that are kept for their age, such as 72h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9]') && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,6}([.][0-9]{1,9})?s)?$') && duration(self) <= duration('876000h')`,message="spec.backup.retention.keepWithin must be a duration of hours, minutes and seconds up to 876000h, e.g. 72h",messageExpression=`'spec.backup.retention.keepWithin is %s, must be a duration of hours, minutes and seconds up to 876000h, e.g. 72h'.format([self])`
	// +optional
	KeepWithin *metav1.Duration `json:"keepWithin,omitempty"`

	// KeepDaily is for how many days the newest of each day is kept.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	// +optional
	KeepDaily int32 `json:"keepDaily,omitempty"`

	// KeepWeekly is for how many weeks, from Monday on, the newest of each week is kept.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	// +optional
	KeepWeekly int32 `json:"keepWeekly,omitempty"`

	// KeepMonthly is for how many months the newest of each month is kept.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	// +optional
	KeepMonthly int32 `json:"keepMonthly,omitempty"`
}

// BackupDrill is when the newest backup is restored into an EtcdCluster of its own, with -drill at the end of its name.
type BackupDrill struct {
	// Schedule is as that of backups.
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[0-9A-Za-z*/,?-]+( +[0-9A-Za-z*/,?-]+){4})$`
	// +required
	Schedule string `json:"schedule"`

	// TimeZone is UTC if it is left out.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$`
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
}

// ContinuousBackup is how all changes are stored.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.segmentSize) || (size(string(self.segmentSize)) <= 32 && isQuantity(string(self.segmentSize)) && quantity(string(self.segmentSize)).compareTo(quantity('1Mi')) >= 0 && quantity(string(self.segmentSize)).compareTo(quantity('64Mi')) <= 0)`,message="spec.backup.continuous.segmentSize must be a quantity from 1Mi to 64Mi, e.g. 8Mi",messageExpression=`'spec.backup.continuous.segmentSize is %s, must be a quantity from 1Mi to 64Mi, e.g. 8Mi'.format([self.segmentSize])`,fieldPath=".segmentSize"
type ContinuousBackup struct {
	// FlushInterval is after what time a change is on the store.
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9]') && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,6}([.][0-9]{1,9})?s)?$') && duration(self) >= duration('1s') && duration(self) <= duration('5m')`,message="spec.backup.continuous.flushInterval must be a duration of hours, minutes and seconds from 1s to 5m, e.g. 5s",messageExpression=`'spec.backup.continuous.flushInterval is %s, must be a duration of hours, minutes and seconds from 1s to 5m, e.g. 5s'.format([self])`
	// +optional
	FlushInterval metav1.Duration `json:"flushInterval,omitzero"`

	// SegmentSize is how much is collected at most before it is stored at once. The archiver holds a few times as much in memory.
	// +kubebuilder:default="8Mi"
	// +optional
	SegmentSize *resource.Quantity `json:"segmentSize,omitempty"`

	// KeepFor is how far back the cluster can be restored to any moment. What is older is removed.
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9]') && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,6}([.][0-9]{1,9})?s)?$') && duration(self) >= duration('1h') && duration(self) <= duration('87600h')`,message="spec.backup.continuous.keepFor must be a duration of hours, minutes and seconds from 1h to 87600h, e.g. 168h",messageExpression=`'spec.backup.continuous.keepFor is %s, must be a duration of hours, minutes and seconds from 1h to 87600h, e.g. 168h'.format([self])`
	// +optional
	KeepFor metav1.Duration `json:"keepFor,omitzero"`

	// BaseEvery is how often a backup is made that restores begin with.
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[0-9]') && self.matches('^([0-9]{1,6}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,6}([.][0-9]{1,9})?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('720h')`,message="spec.backup.continuous.baseEvery must be a duration of hours, minutes and seconds from 10m to 720h, e.g. 24h",messageExpression=`'spec.backup.continuous.baseEvery is %s, must be a duration of hours, minutes and seconds from 10m to 720h, e.g. 24h'.format([self])`
	// +optional
	BaseEvery metav1.Duration `json:"baseEvery,omitzero"`
}
