package core

import "time"

// Report is the status of a cluster as a plain value.
type Report struct {
	ObservedGeneration int64
	Phase              string
	Conditions         []Condition
	ClusterID          string
	BootstrapMembers   []string
	// NextOrdinal is that of the next member: those below it have been used.
	NextOrdinal  int
	Version      string
	Leader       string
	MemberCount  int
	ReadyMembers int
	Ready        string
	Endpoints    []string
	Selector     string
	Members      []MemberReport
	MeasuredAt   time.Time
	Auth         AuthReport
}

// Condition types.
const (
	Available   = "Available"
	Progressing = "Progressing"
	Degraded    = "Degraded"
	// CertificatesValid is reported of clusters that talk TLS.
	CertificatesValid = "CertificatesValid"
	// AuthReady is reported of clusters whose etcd asks clients who they are, or is to.
	AuthReady = "AuthReady"
)

// Truth is the status of a condition.
type Truth string

// The three truths.
const (
	True    Truth = "True"
	False   Truth = "False"
	Unknown Truth = "Unknown"
)

// Condition is one condition of a report.
type Condition struct {
	Type    string
	Status  Truth
	Reason  Reason
	Message string
	// Since is when Status last changed.
	Since time.Time
}

// Roles of a member.
const (
	RoleLeader  = "leader"
	RoleVoter   = "voter"
	RoleLearner = "learner"
)

// MemberReport is the report of one member.
type MemberReport struct {
	Name         string
	ID           string
	Role         string
	Version      string
	Healthy      bool
	HealthySince time.Time
	Message      string
	Figures      Figures
}

// Figures change all the time; they are reported with every other change and otherwise seldom.
type Figures struct {
	DBSize      int64
	DBSizeInUse int64
	Revision    int64
	RaftLag     int64
}

// Phases, which sum the conditions up.
const (
	PhasePending     = "Pending"
	PhaseCreating    = "Creating"
	PhaseRunning     = "Running"
	PhaseUpdating    = "Updating"
	PhaseDegraded    = "Degraded"
	PhaseUnavailable = "Unavailable"
	PhaseHibernated  = "Hibernated"
	PhaseRestoring   = "Restoring"
	PhasePaused      = "Paused"
	PhaseDeleting    = "Deleting"
)

// condition finds a condition of the report.
func (r Report) condition(kind string) (Condition, bool) {
	for _, c := range r.Conditions {
		if c.Type == kind {
			return c, true
		}
	}
	return Condition{}, false
}

// member finds a member of the report.
func (r Report) member(name string) (MemberReport, bool) {
	for _, m := range r.Members {
		if m.Name == name {
			return m, true
		}
	}
	return MemberReport{}, false
}
