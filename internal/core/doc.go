// Package core decides what happens next to an etcd cluster.
//
// It is a pure function of what was observed and of the clock: [Decide] takes an [Observation] and returns a
// [Decision], which names the actions to carry out, why, what to report, and when to look again. It knows no
// client, no context, no clock, no randomness and no logger, and it imports the standard library and a semver
// package only (a test enforces that). Nothing is remembered between two calls: after a crash at any point the
// next observation leads to the right next step.
//
// The laws of the package:
//   - What is not known is a value of its own: a member that did not answer is not a dead member.
//   - At most one action of a decision disrupts anything; the others are idempotent.
//   - Nothing waits for the readiness of a pod before it repairs: a learner, and a member without quorum, are
//     never ready (etcd's /readyz, https://etcd.io/docs/v3.6/op-guide/monitoring/).
package core
