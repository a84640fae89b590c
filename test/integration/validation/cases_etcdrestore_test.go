//go:build integration

package validation

import "strings"

// restoreOf is an EtcdRestore's spec with something more in it.
func restoreOf(more string) string {
	return strings.TrimSuffix("{clusterRef: {name: demo}, backupRef: {name: good}, "+more, ", ") + "}"
}

var etcdRestoreRefusals = []refusal{
	// Names.
	{name: "an over-long name", objectName: strings.Repeat("a", 51), spec: restoreOf(""), want: []string{"metadata.name", "has 51 characters", "at most 50"}},
	{name: "a name with dots", objectName: "a.b", spec: restoreOf(""), want: []string{"metadata.name must be of lower-case letters"}},
	{name: "nothing", spec: "{}", want: []string{"spec.clusterRef", "spec.backupRef", "Required"}},
	{name: "no cluster", spec: "backupRef: {name: good}", want: []string{"spec.clusterRef", "Required"}},
	{name: "no backup", spec: "clusterRef: {name: demo}", want: []string{"spec.backupRef", "Required"}},
	{name: "a cluster elsewhere", spec: "{clusterRef: {name: ../demo}, backupRef: {name: good}}", want: []string{"spec.clusterRef.name", "../demo"}},
	{name: "an over-long cluster", spec: "{clusterRef: {name: " + strings.Repeat("a", 41) + "}, backupRef: {name: good}}", want: []string{"spec.clusterRef.name", "40"}},
	{name: "a backup elsewhere", spec: "{clusterRef: {name: demo}, backupRef: {name: other/good}}", want: []string{"spec.backupRef.name", "other/good"}},
	{name: "a backup without a name", spec: "{clusterRef: {name: demo}, backupRef: {name: ''}}", want: []string{"spec.backupRef.name", "at least 1"}},
	{name: "a backup with dots", spec: "{clusterRef: {name: demo}, backupRef: {name: a.b}}", want: []string{"spec.backupRef.name", "a.b"}},
	{name: "a backup with a newline", spec: `{clusterRef: {name: demo}, backupRef: {name: "good\n"}}`, want: []string{"spec.backupRef.name"}},
	{name: "a backup that is a flag", spec: "{clusterRef: {name: demo}, backupRef: {name: --help}}", want: []string{"spec.backupRef.name", "--help"}},
	{name: "an over-long backup", spec: "{clusterRef: {name: demo}, backupRef: {name: " + strings.Repeat("a", 53) + "}}", want: []string{"spec.backupRef.name", "52"}},
	{name: "a namespace of the backup", spec: "{clusterRef: {name: demo}, backupRef: {name: good, namespace: other}}", want: []string{"unknown field"}},
	{name: "a store", spec: restoreOf("store: {s3: {bucket: etcd}}"), want: []string{`unknown field "spec.store"`}},

	// What never changes.
	{name: "another cluster", from: restoreOf(""), spec: "{clusterRef: {name: other}, backupRef: {name: good}}", want: []string{"clusterRef and backupRef cannot be changed: make another EtcdRestore"}},
	{name: "another backup", from: restoreOf(""), spec: "{clusterRef: {name: demo}, backupRef: {name: other}}", want: []string{"clusterRef and backupRef cannot be changed"}},
	{name: "another revision", from: restoreOf("revision: 7"), spec: restoreOf("revision: 8"), want: []string{"revision, pointInTime and latest cannot be changed: make another EtcdRestore"}},
	{name: "a revision afterwards", from: restoreOf(""), spec: restoreOf("revision: 7"), want: []string{"revision, pointInTime and latest cannot be changed"}},
	{name: "a revision no more", from: restoreOf("revision: 7"), spec: restoreOf(""), want: []string{"revision, pointInTime and latest cannot be changed"}},
	{name: "another moment", from: restoreOf("pointInTime: '2026-03-01T10:15:30.500000Z'"), spec: restoreOf("pointInTime: '2026-03-01T10:15:30.500001Z'"), want: []string{"revision, pointInTime and latest cannot be changed"}},
	{name: "a moment for a revision", from: restoreOf("revision: 7"), spec: restoreOf("pointInTime: '2026-03-01T10:15:30.500000Z'"), want: []string{"revision, pointInTime and latest cannot be changed"}},
	{name: "another bump", from: restoreOf(""), spec: restoreOf("bumpRevision: 0"), want: []string{"bumpRevision cannot be changed: make another EtcdRestore"}},
	{name: "no safety afterwards", from: restoreOf(""), spec: restoreOf("safetyBackup: Skip"), want: []string{"safetyBackup cannot be changed: make another EtcdRestore"}},

	// To what.
	{name: "the latest afterwards", from: restoreOf(""), spec: restoreOf("latest: true"), want: []string{"revision, pointInTime and latest cannot be changed"}},
	{name: "the latest no more", from: restoreOf("latest: true"), spec: restoreOf("latest: false"), want: []string{"revision, pointInTime and latest cannot be changed"}},
	{name: "a revision and the latest", spec: restoreOf("revision: 7, latest: true"), want: []string{"revision, pointInTime and latest are three ways to say how far"}},
	{name: "a moment and the latest", spec: restoreOf("pointInTime: '2026-03-01T10:15:30.500000Z', latest: true"), want: []string{"revision, pointInTime and latest are three ways to say how far"}},
	{name: "the latest in words", spec: restoreOf("latest: yes please"), want: []string{"spec.latest", "boolean"}},
	{name: "a revision and a moment", spec: restoreOf("revision: 7, pointInTime: '2026-03-01T10:15:30.500000Z'"), want: []string{"revision, pointInTime and latest are three ways to say how far"}},
	{name: "revision 0", spec: restoreOf("revision: 0"), want: []string{"spec.revision", "greater than or equal to 1"}},
	{name: "a negative revision", spec: restoreOf("revision: -1"), want: []string{"spec.revision", "-1"}},
	{name: "a revision beyond 64 bits", spec: restoreOf("revision: 9223372036854775808"), want: []string{"spec.revision"}},
	{name: "a revision in words", spec: restoreOf("revision: latest"), want: []string{"spec.revision", "integer"}},
	{name: "half a revision", spec: restoreOf("revision: 1.5"), want: []string{"spec.revision", "integer"}},
	{name: "a moment in words", spec: restoreOf("pointInTime: yesterday"), want: []string{"spec.pointInTime", "date-time"}},
	{name: "a day", spec: restoreOf("pointInTime: '2026-03-01'"), want: []string{"spec.pointInTime", "date-time"}},
	{name: "a moment without a zone", spec: restoreOf("pointInTime: '2026-03-01T10:15:30'"), want: []string{"spec.pointInTime", "date-time"}},
	{name: "a moment that is none", spec: restoreOf("pointInTime: '2026-02-30T10:15:30Z'"), want: []string{"spec.pointInTime"}},
	{name: "an empty moment", spec: restoreOf("pointInTime: ''"), want: []string{"spec.pointInTime"}},
	{name: "the moment that stands for none", spec: restoreOf("pointInTime: '0001-01-01T00:00:00Z'"), want: []string{"spec.pointInTime must be a moment since 2000"}},
	{name: "a moment before etcd", spec: restoreOf("pointInTime: '1999-12-31T23:59:59.999999Z'"), want: []string{"spec.pointInTime must be a moment since 2000"}},
	{name: "a negative bump", spec: restoreOf("bumpRevision: -1"), want: []string{"spec.bumpRevision", "greater than or equal to 0"}},
	{name: "a bump that is too far", spec: restoreOf("bumpRevision: 1000000000001"), want: []string{"spec.bumpRevision", "less than or equal to 1000000000000"}},
	{name: "a bump in words", spec: restoreOf("bumpRevision: '10'"), want: []string{"spec.bumpRevision", "integer"}},
	{name: "safety by a word of one's own", spec: restoreOf("safetyBackup: Waived"), want: []string{"spec.safetyBackup", "Waived", `"Required", "Skip"`}},
	{name: "an empty safety", spec: restoreOf("safetyBackup: ''"), want: []string{"spec.safetyBackup", `"Required", "Skip"`}},

	// Its end.
	{name: "a completion that nobody knows", spec: restoreOf("completion: Commit"), want: []string{"spec.completion", "Commit", `"Automatic", "Manual", "Confirm", "RollBack"`}},
	{name: "rolled back at once", spec: restoreOf("completion: RollBack"), want: []string{"spec.completion is Confirm or RollBack only once there is something"}},
	{name: "confirmed at once", spec: restoreOf("completion: Confirm"), want: []string{"spec.completion is Confirm or RollBack only once there is something"}},
	{
		name: "rolled back when it is over", from: restoreOf("completion: Manual"), status: "phase: Completed", spec: restoreOf("completion: RollBack"),
		want: []string{"spec.completion cannot become RollBack: what the cluster had is given up"},
	},
	{
		name: "rolled back when it is confirmed", from: restoreOf("completion: Manual"), status: "phase: Confirming", spec: restoreOf("completion: RollBack"),
		want: []string{"spec.completion cannot become RollBack"},
	},
	{
		name: "confirmed when it is rolled back", from: restoreOf("completion: Manual"), status: "phase: RolledBack", spec: restoreOf("completion: Confirm"),
		want: []string{"spec.completion cannot become Confirm: the cluster is given back what it had"},
	},
	{
		name: "confirmed on the way back", from: restoreOf("completion: Manual"), status: "phase: RollingBack", spec: restoreOf("completion: Confirm"),
		want: []string{"spec.completion cannot become Confirm"},
	},
	{name: "an agent that is a word", spec: restoreOf("agent: fast"), want: []string{"spec.agent", "object"}},
}
