package act

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// passwordBytes is how many random bytes a password is made of.
const passwordBytes = 32

// writeAuthSecret writes one of the operator's own Secrets of passwords. A password that is there is kept.
func (a *Actor) writeAuthSecret(ctx context.Context, c render.Cluster, step core.WriteAuthSecret) error {
	before, problem, err := observe.ReadAuthSecret(ctx, a.Live, c, step.Name)
	switch {
	case err != nil:
		return err
	case !problem.IsZero():
		return &StaleError{What: problem.Message}
	case !observe.AuthSecretDue(c, before):
		return &StaleError{What: "Secret " + step.Name + " is as it should be by now"}
	}
	password := observe.Password(before)
	if password == "" {
		random := make([]byte, passwordBytes)
		_, _ = rand.Read(random) // It never fails.
		password = base64.RawURLEncoding.EncodeToString(random)
	}
	return a.put(ctx, c.AuthSecret(step.Name, password), before)
}

// changeAuth makes changes of users and roles one after the other, if these are still as they were when it was decided. Should it
// end in between, the next look finds the rest.
func (a *Actor) changeAuth(ctx context.Context, o observe.Observed, step core.ChangeAuth) error {
	return a.ask(o, step.Via, func(address string) error {
		switch enabled, revision, err := a.Etcd.AuthStatus(ctx, address); {
		case err != nil:
			return err
		case enabled != step.Enabled || revision != step.Revision:
			return &StaleError{What: "etcd's users and roles have changed"}
		}
		for _, change := range step.Steps {
			if err := a.Etcd.ChangeAuth(ctx, address, change, o.Passwords[change.User]); err != nil {
				return err
			}
		}
		return nil
	})
}
