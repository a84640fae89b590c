package core

// Reason says in one word why something is as it is. The same word stands in conditions, events, metrics and docs.
type Reason string

// Reasons of what is being done.
const (
	ReasonCreating     Reason = "Creating"
	ReasonSettled      Reason = "Settled"
	ReasonRollingOut   Reason = "RollingOut"
	ReasonMemberDown   Reason = "MemberDown"
	ReasonHibernated   Reason = "Hibernated"
	ReasonRestoring    Reason = "Restoring"
	ReasonPaused       Reason = "Paused"
	ReasonDeleting     Reason = "Deleting"
	ReasonRecreating   Reason = "RecreatingMember"
	ReasonCleaningUp   Reason = "CleaningUp"
	ReasonLeaderMoving Reason = "MovingLeader"
	ReasonScalingOut   Reason = "ScalingOut"
	ReasonScalingIn    Reason = "ScalingIn"
	ReasonJoining      Reason = "MemberJoining"
	ReasonReplacing    Reason = "ReplacingMember"
	ReasonExchanging   Reason = "ExchangingMember"
	ReasonWaking       Reason = "WakingUp"
	ReasonExpanding    Reason = "ExpandingVolumes"
	ReasonDowngrading  Reason = "Downgrading"
	ReasonDisarming    Reason = "DisarmingAlarm"
	ReasonCertificates Reason = "ChangingCertificates"
	ReasonChangingAuth Reason = "ChangingAuth"
)

// Reasons of how the cluster is.
const (
	ReasonQuorumServes    Reason = "QuorumServes"
	ReasonQuorumLost      Reason = "QuorumLost"
	ReasonNotAnswering    Reason = "NotAnswering"
	ReasonNoReadyMember   Reason = "NoReadyMember"
	ReasonAllHealthy      Reason = "AllMembersHealthy"
	ReasonMemberUnhealthy Reason = "MemberUnhealthy"
	ReasonLeaderChanged   Reason = "LeaderChanged"
	ReasonMemberHealthy   Reason = "MemberHealthy"
	ReasonValid           Reason = "Valid"
	ReasonAuthEnabled     Reason = "AuthEnabled"
)

// Reasons of what is in the way.
const (
	ReasonImagePullFailed      Reason = "ImagePullFailed"
	ReasonContainerConfig      Reason = "ContainerConfigError"
	ReasonDiskFull             Reason = "DiskFull"
	ReasonCrashLooping         Reason = "CrashLooping"
	ReasonUnschedulable        Reason = "Unschedulable"
	ReasonStorageClassMissing  Reason = "StorageClassMissing"
	ReasonVolumePending        Reason = "VolumePending"
	ReasonPodRefused           Reason = "PodRefused"
	ReasonQuotaExceeded        Reason = "QuotaExceeded"
	ReasonNameTaken            Reason = "NameTaken"
	ReasonDataVolumesExist     Reason = "DataVolumesExist"
	ReasonVolumeLost           Reason = "VolumeLost"
	ReasonVolumeEmpty          Reason = "VolumeEmpty"
	ReasonDataCorrupt          Reason = "DataCorrupt"
	ReasonDataDiffers          Reason = "DataDiffers"
	ReasonMemberRemoved        Reason = "MemberRemoved"
	ReasonNodeGone             Reason = "NodeGone"
	ReasonReplacementAsked     Reason = "ReplacementAsked"
	ReasonClusterIDMismatch    Reason = "ClusterIDMismatch"
	ReasonForeignMember        Reason = "ForeignMember"
	ReasonVersionHopRefused    Reason = "VersionHopRefused"
	ReasonHibernationRefused   Reason = "HibernationRefused"
	ReasonRestoreRefused       Reason = "RestoreRefused"
	ReasonRestoreInFlight      Reason = "RestoreInFlight"
	ReasonStorageChangeRefused Reason = "StorageChangeRefused"
	ReasonAlarmRaised          Reason = "AlarmRaised"
	ReasonCertificateExpiring  Reason = "CertificateExpiring"
	ReasonCertificatesLost     Reason = "CertificatesLost"
	ReasonSourceNotReady       Reason = "CertificateSourceNotReady"
	ReasonSecretMissing        Reason = "SecretMissing"
	ReasonLoginRefused         Reason = "LoginRefused"
	ReasonAuthNotManaged       Reason = "AuthNotManaged"
	ReasonStepFailed           Reason = "StepFailed"
)
