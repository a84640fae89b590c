package observe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// askAuthEvery is how often etcd is asked whether its users and roles were changed by hand, once they are as declared: the question
// goes through the raft log of a cluster that is otherwise left alone. readSecretsEvery is how often the Secrets of passwords are
// read then, of which there may be many.
const (
	askAuthEvery     = 30 * time.Second
	readSecretsEvery = 10 * time.Second
)

// longestPassword is what etcd can hash.
const longestPassword = 72

// access is what there is of passwords.
type access struct {
	core.Auth
	// passwords are by user.
	passwords map[string]string
	// login is that of the operator; nil if it has no password.
	login *etcd.Login
	// secrets are those of others that were read, by name, and versions those of all that were.
	secrets  map[string]*corev1.Secret
	versions []string
	// generation is that of the EtcdCluster, readAt when the Secrets were read, and askedAt when etcd was last asked.
	generation      int64
	readAt, askedAt time.Time
	// proven is whose password etcd takes or refuses, as of its revision provenAt.
	proven   map[string]core.Proof
	provenAt uint64
}

// access reads the Secrets of passwords, if etcd asks clients who they are, or is to, or did so when it was last seen.
func (o *Observer) access(ctx context.Context, c render.Cluster, recorded core.Report) (*access, error) {
	a := &access{Auth: core.Auth{Wanted: c.WantsAuth()}, passwords: map[string]string{}, secrets: map[string]*corev1.Secret{}, generation: c.Generation, readAt: o.Now()}
	if !a.Wanted && !recorded.Auth.Managed {
		if slices.ContainsFunc(recorded.Conditions, func(r core.Condition) bool { return r.Type == core.AuthReady }) {
			return a, o.own(ctx, c, a)
		}
		return a, nil
	}
	known, _ := o.accesses.Load(c.UID)
	before, looked := known.(*access)
	if looked && before.generation == a.generation && a.readAt.Sub(before.readAt).Abs() < readSecretsEvery && recorded.Auth.Settled(a.Wanted, before.Hash) {
		return before, nil
	}
	a.Users, a.Roles = c.AuthUsers(), c.AuthRoles()
	if err := o.own(ctx, c, a); err != nil {
		return nil, err
	}
	for _, user := range c.Spec.Security.Auth.Users {
		if a.Wanted && user.PasswordSecret != nil {
			if err := o.password(ctx, c, a, string(user.Name), *user.PasswordSecret); err != nil {
				return nil, err
			}
		}
	}
	for i := range a.Users {
		_, a.Users[i].Password = a.passwords[a.Users[i].Name]
	}
	a.Hash = hashOf(a.Users, a.Roles, recorded.ClusterID, a.versions)
	if looked {
		a.remember(before)
	}
	o.accesses.Store(c.UID, a)
	return a, nil
}

// remember takes over what is known from before, of passwords that are still the same.
func (a *access) remember(before *access) {
	a.askedAt, a.provenAt, a.proven = before.askedAt, before.provenAt, map[string]core.Proof{}
	for user, proof := range before.proven {
		if a.passwords[user] == before.passwords[user] {
			a.proven[user] = proof
		}
	}
}

func hashOf(parts ...any) string {
	hash := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(hash, "%#v\n", part)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

// own reads the passwords of the operator's own user and of root.
func (o *Observer) own(ctx context.Context, c render.Cluster, a *access) error {
	if err := o.made(ctx, c, a, core.OperatorUser, c.OperatorAuthSecret()); err != nil {
		return err
	}
	root, made := c.RootSecret()
	var err error
	if made {
		err = o.made(ctx, c, a, core.RootUser, root)
	} else {
		err = o.password(ctx, c, a, core.RootUser, v1alpha1.AuthPasswordSecret{Name: root, Key: render.KeyPassword})
	}
	if err != nil {
		return err
	}
	if users := slices.DeleteFunc([]string{core.OperatorUser, core.RootUser}, func(u string) bool { return a.passwords[u] == "" }); len(users) > 0 {
		a.login = &etcd.Login{Version: hashOf(c.Namespace, c.Name, string(c.UID), a.versions)}
		for _, user := range users {
			a.login.Users = append(a.login.Users, etcd.UserPassword{User: user, Password: a.passwords[user]})
		}
	}
	return nil
}

// made reads the password from a Secret that the operator makes.
func (o *Observer) made(ctx context.Context, c render.Cluster, a *access, user, name string) error {
	secret, problem, err := ReadAuthSecret(ctx, o.Live, c, name)
	switch {
	case err != nil:
		return err
	case !problem.IsZero():
		a.Problem = problem
		return nil
	case a.Wanted && AuthSecretDue(c, secret):
		a.SecretsDue = append(a.SecretsDue, name)
	}
	a.take(user, secret, render.KeyPassword)
	return nil
}

// take takes a password down if it can be used, and tells whether.
func (a *access) take(user string, secret *corev1.Secret, key string) bool {
	if secret == nil {
		a.versions = append(a.versions, "")
		return false
	}
	a.versions = append(a.versions, string(secret.UID)+"/"+secret.ResourceVersion)
	password := secret.Data[key]
	if !usable(password) {
		return false
	}
	a.passwords[user] = string(password)
	return true
}

// password reads a password from a Secret of someone else's.
func (o *Observer) password(ctx context.Context, c render.Cluster, a *access, user string, from v1alpha1.AuthPasswordSecret) error {
	secret, known := a.secrets[from.Name]
	if !known {
		var err error
		if secret, err = o.secret(ctx, c, from.Name); err != nil {
			return err
		}
		a.secrets[from.Name] = secret
	}
	if !a.take(user, secret, from.Key) && a.Problem.IsZero() {
		a.Problem = passwordMissing(user, from, secret)
	}
	return nil
}

// passwordMissing says that a Secret has no password for a user.
func passwordMissing(user string, from v1alpha1.AuthPasswordSecret, secret *corev1.Secret) core.Problem {
	text := fmt.Sprintf("has no password of 1 to %d bytes under the key %s", longestPassword, from.Key)
	switch {
	case secret == nil:
		text = "does not exist"
	case usable(secret.Data[from.Key]):
		return core.Problem{}
	}
	return core.Problem{Reason: core.ReasonSecretMissing, Message: fmt.Sprintf("the password of user %s is missing: Secret %s %s", user, from.Name, text)}
}

func (o *Observer) secret(ctx context.Context, c render.Cluster, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := o.Live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s/%s: %w", c.Namespace, name, err)
	}
	return secret, nil
}

// ReadAuthSecret reads one of the operator's own Secrets of passwords; nil if there is none. One that belongs to someone else, or to
// an earlier cluster of the name, is a problem.
func ReadAuthSecret(ctx context.Context, live client.Reader, c render.Cluster, name string) (*corev1.Secret, core.Problem, error) {
	secret := &corev1.Secret{}
	err := live.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, secret)
	owner := metav1.GetControllerOf(secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, core.Problem{}, nil
	case err != nil:
		return nil, core.Problem{}, fmt.Errorf("reading Secret %s/%s: %w", c.Namespace, name, err)
	case ofEarlier(secret, c):
		return nil, core.Problem{Reason: core.ReasonCleaningUp, Message: fmt.Sprintf("waiting until Secret %s of an earlier cluster of this name is deleted", name)}, nil
	case owner != nil && owner.UID != c.UID, owner == nil && secret.Labels[render.LabelCluster] != c.Name:
		return nil, core.Problem{Reason: core.ReasonNameTaken, Message: fmt.Sprintf("Secret %s exists but does not belong to this cluster; delete or rename it", name)}, nil
	}
	return secret, core.Problem{}, nil
}

// AuthSecretDue is whether one of the operator's own Secrets of passwords has to be written: it has none, or it does not go with
// the EtcdCluster as it should, or goes though it should not.
func AuthSecretDue(c render.Cluster, secret *corev1.Secret) bool {
	return secret == nil || !usable(secret.Data[render.KeyPassword]) || metav1.IsControlledBy(secret, c.EtcdCluster) != c.OwnsAuthSecrets()
}

// Password is the password in one of the operator's own Secrets; empty if there is none that can be used.
func Password(secret *corev1.Secret) string {
	if secret == nil || !usable(secret.Data[render.KeyPassword]) {
		return ""
	}
	return string(secret.Data[render.KeyPassword])
}

func usable(password []byte) bool { return len(password) > 0 && len(password) <= longestPassword }

// readAuth asks etcd for its users and roles.
func (o *Observer) readAuth(ctx context.Context, recorded core.Report, a *access, seen Observed) core.Auth {
	auth := a.Auth
	address := seen.asked()
	if address == "" || !auth.Wanted && !recorded.Auth.Managed && a.login == nil {
		return auth
	}
	question := etcd.AuthQuestion{Passwords: a.passwords, Proven: a.proven, ProvenAt: a.provenAt}
	if recorded.Auth.Settled(auth.Wanted, auth.Hash) {
		question.Settled = recorded.Auth.Revision
		if o.Now().Sub(a.askedAt).Abs() < askAuthEvery {
			return auth
		}
	}
	store, err := o.Etcd.ReadAuth(ctx, address, question)
	if err != nil {
		auth.Error = err.Error()
		return auth
	}
	if a.askedAt = o.Now(); store.Read {
		a.provenAt, a.proven = store.Revision, map[string]core.Proof{}
		for _, user := range store.Users {
			if user.Proof != core.ProofNone {
				a.proven[user.Name] = user.Proof
			}
		}
	}
	auth.Known, auth.Store = true, store
	return auth
}

// asked is the address of the member that is asked: of a voter that serves, a follower if there is one. Whoever is asked hashes
// passwords.
func (o Observed) asked() string {
	leader := ""
	for _, endpoint := range o.Endpoints {
		for _, s := range o.Etcd.Statuses {
			serves := s.Member == endpoint.Member && s.Answered && s.LeaderID != "" && !s.Learner && s.ClusterID == o.Etcd.List.ClusterID
			switch {
			case !o.Etcd.List.Known || !serves:
			case s.ID != s.LeaderID:
				return endpoint.Address
			default:
				leader = endpoint.Address
			}
		}
	}
	return leader
}

// refused is whether a member does not let the operator in.
func refused(seen core.Etcd) bool {
	return slices.ContainsFunc(seen.Statuses, func(s core.Status) bool { return s.Refused })
}
