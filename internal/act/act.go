// Package act carries out what was decided: one function per action, each idempotent and safe to be cut off anywhere.
// Whatever takes something away is checked against the live objects first and carries preconditions (UIDs, resource
// versions), so that a stale decision does nothing.
package act

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Etcd carries out calls to members.
type Etcd interface {
	Observe(ctx context.Context, endpoints []etcd.Endpoint) core.Etcd
	MemberList(ctx context.Context, address string) (core.MemberList, error)
	MoveLeader(ctx context.Context, address, to string) error
	AddLearner(ctx context.Context, address, peerURL string) error
	Promote(ctx context.Context, address, id string) error
	Remove(ctx context.Context, address, id string) error
	MovePeerURL(ctx context.Context, address, id, peerURL string) error
	Disarm(ctx context.Context, address, id, alarm string) error
	EnableDowngrade(ctx context.Context, address, target string) error
	CancelDowngrade(ctx context.Context, address string) error
	FlushLog(ctx context.Context, address string, entries int) error
	AuthStatus(ctx context.Context, address string) (enabled bool, revision uint64, err error)
	ChangeAuth(ctx context.Context, address string, step core.AuthStep, password string) error
	Agree(ctx context.Context, endpoints []etcd.Endpoint, revision int64) (string, error)
	// IsRefusal is whether etcd only refused for now.
	IsRefusal(err error) bool
}

// Actor carries out actions.
type Actor struct {
	// Client writes; its reads may be cached and are not used here.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	Etcd Etcd
}

// StepError says which step failed.
type StepError struct {
	Step string
	Err  error
}

// Error implements error.
func (e *StepError) Error() string { return e.Step + ": " + e.Err.Error() }

// Unwrap implements errors.
func (e *StepError) Unwrap() error { return e.Err }

// NameTakenError is an object that bears a name of ours but is not ours.
type NameTakenError struct{ Kind, Namespace, Name string }

// Error implements error.
func (e *NameTakenError) Error() string {
	return core.NameTaken(e.Kind, e.Name).Message
}

// StaleError is a decision that does not fit the live objects any more. It is no failure: the next observation decides
// anew.
type StaleError struct{ What string }

// Error implements error.
func (e *StaleError) Error() string { return "the observation was stale: " + e.What }

// PutOffError is what etcd refuses to do for now, e.g. because its members have not been connected for long enough, or the API
// server, because of a disruption budget.
type PutOffError struct{ Err error }

// Error implements error.
func (e *PutOffError) Error() string { return e.Err.Error() }

// Unwrap implements errors.
func (e *PutOffError) Unwrap() error { return e.Err }

// IsPassing is whether an error only means that something has changed meanwhile, or has to be asked again later.
func IsPassing(err error) bool {
	var stale *StaleError
	return errors.As(err, &stale) || apierrors.IsConflict(err) || IsPutOff(err)
}

// IsPutOff is whether etcd, or the API server, refused for now.
func IsPutOff(err error) bool {
	var putOff *PutOffError
	return errors.As(err, &putOff)
}

// Do carries out the actions of one decision: supporting objects first, all at once; then members, all at once; then
// what disrupts, alone. done is called after every action.
func (a *Actor) Do(ctx context.Context, o observe.Observed, actions []core.Action, done func(core.Action, error)) error {
	var objects, members, disruptive []core.Action
	for _, action := range actions {
		switch {
		case action.Disruptive():
			disruptive = append(disruptive, action)
		case isObject(action):
			objects = append(objects, action)
		default:
			members = append(members, action)
		}
	}
	var failed []error
	for _, batch := range [][]core.Action{objects, members, disruptive} {
		errs := make([]error, len(batch))
		var wg sync.WaitGroup
		for i, action := range batch {
			wg.Go(func() {
				if err := a.do(ctx, o, action); err != nil {
					errs[i] = &StepError{Step: action.Step(), Err: err}
				}
			})
		}
		wg.Wait()
		broken := false
		for i, action := range batch {
			done(action, errs[i])
			broken = broken || errs[i] != nil && isNeeded(action)
		}
		failed = append(failed, errs...)
		if broken {
			break
		}
	}
	return worst(failed)
}

// isNeeded is whether what follows rests on an action. A disruption budget or a NetworkPolicy that cannot be made, a volume that
// cannot grow, a pod that cannot be sealed, or a user that cannot be added must not keep a member from being replaced. Who is to be
// promoted was seen to be sealed.
func isNeeded(action core.Action) bool {
	switch step := action.(type) {
	case core.ApplyObject:
		return step.Kind != "PodDisruptionBudget" && step.Kind != "NetworkPolicy"
	case core.ExpandVolumes, core.DeleteObject, core.DeleteConfig, core.SealPod, core.ChangeAuth, core.WriteAuthSecret:
		return false
	}
	return true
}

// worst joins the errors that are failures; those that pass count only if there are no others.
func worst(errs []error) error {
	failures := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil || IsPassing(err) })
	if len(failures) > 0 {
		return errors.Join(failures...)
	}
	return errors.Join(errs...)
}

func isObject(action core.Action) bool {
	_, ok := action.(core.ApplyObject)
	return ok
}

func (a *Actor) do(ctx context.Context, o observe.Observed, action core.Action) error {
	switch step := action.(type) {
	case core.ApplyObject:
		return a.applyObject(ctx, o.Render, step)
	case core.ApplyMember:
		if step.FlushLog > 0 {
			if err := a.flushLog(ctx, o, step.Member, step.FlushLog); err != nil {
				return err
			}
		}
		return a.applyMember(ctx, o.Render, step)
	case core.SealPod:
		return a.sealPod(ctx, o.Render, step)
	case core.MarkVolumes:
		return a.markVolumes(ctx, o.Render, step)
	case core.ExpandVolumes:
		return a.expandVolumes(ctx, o.Render, step)
	case core.ResizeMember:
		return a.resizeMember(ctx, o.Render, step)
	case core.WriteCertificates:
		return a.writeCertificates(ctx, o, step)
	case core.WriteAuthSecret:
		return a.writeAuthSecret(ctx, o.Render, step)
	case core.ChangeAuth:
		return a.changeAuth(ctx, o, step)
	case core.DeleteObject:
		return a.deleteObject(ctx, o.Render, step)
	case core.DeleteConfig:
		return a.deleteConfig(ctx, o.Render, step)
	case core.RestartMember:
		return a.restartMember(ctx, o, step)
	case core.RecreateMember:
		return a.recreateMember(ctx, o.Render, step)
	default:
		return a.doInEtcd(ctx, o, action)
	}
}

// doInEtcd carries out what changes etcd itself, or rests on what etcd says.
func (a *Actor) doInEtcd(ctx context.Context, o observe.Observed, action core.Action) error {
	switch step := action.(type) {
	case core.MoveLeader:
		return a.ask(o, step.From, func(address string) error { return a.Etcd.MoveLeader(ctx, address, step.ToID) })
	case core.AddMember:
		return a.addMember(ctx, o, step)
	case core.PromoteMember:
		return a.promoteMember(ctx, o, step)
	case core.RemoveMember:
		return a.removeMember(ctx, o, step)
	case core.DeleteMember:
		return a.deleteMember(ctx, o, step)
	case core.RetireVolumes:
		return a.retireVolumes(ctx, o, step)
	case core.DeleteVolumes:
		return a.deleteVolumes(ctx, o, step)
	case core.EnableDowngrade:
		return a.ask(o, step.Via, func(address string) error { return a.Etcd.EnableDowngrade(ctx, address, step.Target) })
	case core.CancelDowngrade:
		return a.ask(o, step.Via, func(address string) error { return a.Etcd.CancelDowngrade(ctx, address) })
	case core.MovePeerURL:
		return a.movePeerURL(ctx, o, step)
	case core.DisarmAlarm:
		return a.ask(o, step.Via, func(address string) error { return a.Etcd.Disarm(ctx, address, step.ID, step.Alarm) })
	}
	return fmt.Errorf("no way is known to carry out %T", action)
}

func (a *Actor) applyObject(ctx context.Context, c render.Cluster, step core.ApplyObject) error {
	for _, object := range c.Objects() {
		if object.GetObjectKind().GroupVersionKind().Kind == step.Kind && object.GetName() == step.Name {
			return a.apply(ctx, c, object)
		}
	}
	return &StaleError{What: fmt.Sprintf("%s %s is not part of the cluster any more", step.Kind, step.Name)}
}

// apply server-side applies an object, unless its name is taken by one that is not ours. The caches hold our objects
// only, so that this has to be asked of the API server.
func (a *Actor) apply(ctx context.Context, c render.Cluster, object client.Object) error {
	applied, err := render.Applied(object)
	if err != nil {
		return err
	}
	live, err := render.Empty(object)
	if err != nil {
		return err
	}
	switch err := a.Live.Get(ctx, client.ObjectKeyFromObject(object), live); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("reading %s: %w", describe(applied), err)
	case !metav1.IsControlledBy(live, c.EtcdCluster):
		if owner := metav1.GetControllerOf(live); owner != nil && owner.Kind == "EtcdCluster" && owner.Name == c.Name {
			return &StaleError{What: describe(applied) + " of an earlier cluster of the same name is still there"}
		}
		return &NameTakenError{Kind: applied.GetKind(), Namespace: applied.GetNamespace(), Name: applied.GetName()}
	case live.GetDeletionTimestamp() != nil:
		return &StaleError{What: describe(applied) + " is being deleted"}
	default:
		if workload, ok := live.(*appsv1.StatefulSet); ok {
			if err := fit(applied, workload); err != nil {
				return err
			}
		}
	}
	err = a.serverSideApply(ctx, applied)
	if service, ok := live.(*corev1.Service); ok && apierrors.IsInvalid(err) && service.UID != "" {
		if err = a.replacePorts(ctx, service, object); err == nil {
			err = a.serverSideApply(ctx, applied)
		}
	}
	if err != nil {
		return fmt.Errorf("applying %s: %w", describe(applied), err)
	}
	return nil
}

func (a *Actor) serverSideApply(ctx context.Context, applied *unstructured.Unstructured) error {
	return a.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(render.FieldManager), client.ForceOwnership)
}

// replacePorts sets the ports of a Service whose numbers were changed by hand. An apply cannot: ports are told apart by
// their number, so that ours would stand beside the changed one under the same name, which is refused.
func (a *Actor) replacePorts(ctx context.Context, live *corev1.Service, wanted client.Object) error {
	ours, ok := wanted.(*corev1.Service)
	if !ok {
		return nil
	}
	changed := live.DeepCopy()
	changed.Spec.Ports = ours.Spec.Ports
	patch := client.MergeFromWithOptions(live, client.MergeFromWithOptimisticLock{})
	return a.Client.Patch(ctx, changed, patch, client.FieldOwner(render.FieldManager))
}

// fit makes an applied StatefulSet fit the live one. One that is sealed stays sealed: who would unseal it has not seen
// yet that the member has run.
func fit(applied *unstructured.Unstructured, live *appsv1.StatefulSet) error {
	if applied.GetAnnotations()[render.AnnotationStart] != render.StartSealed && live.Annotations[render.AnnotationStart] == render.StartSealed {
		return &StaleError{What: describe(applied) + " is sealed by now"}
	}
	applied.SetResourceVersion(live.ResourceVersion)
	return render.KeepStorage(applied, live)
}

// deleteExactly deletes the object with a UID, unless that is gone; another one of its name stays.
func (a *Actor) deleteExactly(ctx context.Context, kind string, object client.Object, uid types.UID, options ...client.DeleteOption) error {
	err := a.Client.Delete(ctx, object, append(options, client.Preconditions{UID: &uid})...)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s %s/%s: %w", kind, object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

func describe(object *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
}
