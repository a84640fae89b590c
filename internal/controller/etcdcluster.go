// Package controller ties observing, deciding and acting together, one thin reconciler per kind.
package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/act"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/etcd"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/metrics"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Watcher follows members, so that their failures are heard of at once.
type Watcher interface {
	Watch(cluster string, endpoints []etcd.Endpoint)
}

// EtcdClusterReconciler brings every EtcdCluster to what its spec asks.
type EtcdClusterReconciler struct {
	Client   client.Client
	Observer *observe.Observer
	Actor    *act.Actor
	Watcher  Watcher
	Events   events.EventRecorder

	// failures are the last failed step of each cluster, by its name. They only explain; nothing is decided from them.
	failures sync.Map
	// superseded are the resource versions, by the cluster's name, that our own last write of the status replaced. The cache shows
	// them for a moment longer; deciding from them would only run into conflicts.
	superseded sync.Map
}

// Reconcile observes, decides and acts, once.
func (r *EtcdClusterReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.EtcdCluster{}
	if err := r.Client.Get(ctx, request.NamespacedName, cluster); apierrors.IsNotFound(err) {
		r.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading EtcdCluster %s: %w", request, err)
	}
	if old, ok := r.superseded.Load(request.NamespacedName); ok && old == cluster.ResourceVersion {
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	observed, err := r.Observer.Observe(ctx, cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	r.Watcher.Watch(request.String(), observed.Endpoints)
	if !render.IsDrill(cluster) {
		metrics.Certificates(cluster.Namespace, cluster.Name, observed.Planes)
	}
	last, _ := r.failures.Load(request.NamespacedName)
	if failure, ok := last.(core.Failure); ok {
		observed.Failure = failure
	}
	decision := core.Decide(observed.Observation)
	// The report is written first: it records what is about to be done, and the write fails if the spec or the
	// status was changed since it was read.
	if err := r.report(ctx, cluster, decision); err != nil {
		return passing(err)
	}
	err = r.Actor.Do(ctx, observed, decision.Actions, func(action core.Action, err error) {
		r.acted(ctx, cluster, action, err)
		r.heldBack(cluster, observed, action, err)
	})
	if act.IsPutOff(err) && observed.HeldBack() {
		return ctrl.Result{RequeueAfter: decision.LookAgain}, nil
	}
	if err != nil {
		return passing(err)
	}
	r.failures.Delete(request.NamespacedName)
	return ctrl.Result{RequeueAfter: decision.LookAgain}, nil
}

// soon is when to look again after the world has changed under a decision, or before the cache shows that it has.
const soon = 20 * time.Millisecond

// askAgain is when to ask etcd again for what it refused for now: it wants its members to have been connected for five
// seconds before it changes them.
const askAgain = 300 * time.Millisecond

// passing turns errors that only mean a changed world into another look.
func passing(err error) (ctrl.Result, error) {
	switch {
	case act.IsPutOff(err):
		return ctrl.Result{RequeueAfter: askAgain}, nil
	case act.IsPassing(err):
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	return ctrl.Result{}, err
}

// report writes the status if it has changed, and tells people what is new.
func (r *EtcdClusterReconciler) report(ctx context.Context, cluster *v1alpha1.EtcdCluster, decision core.Decision) error {
	before := observe.Recorded(cluster)
	if !render.IsDrill(cluster) {
		// Nobody is to be called out for what serves nobody.
		metrics.Report(cluster.Namespace, cluster.Name, before, decision.Report)
	}
	if decision.Report.Equal(before) {
		return nil
	}
	status, version := observe.Status(decision.Report), cluster.ResourceVersion
	if err := applyStatus(ctx, r.Client, cluster, "EtcdCluster", &status); err != nil {
		return err
	}
	if cluster.ResourceVersion != version {
		r.superseded.Store(client.ObjectKeyFromObject(cluster), version)
	}
	tell(r.Events, cluster, decision.Events)
	return nil
}

// acted records one action that was carried out, or was not.
func (r *EtcdClusterReconciler) acted(ctx context.Context, cluster *v1alpha1.EtcdCluster, action core.Action, err error) {
	logger := log.FromContext(ctx).WithValues("step", action.Step(), "on", describe(action))
	switch {
	case err != nil && act.IsPassing(err):
		logger.V(1).Info("step put off", "why", err.Error())
		return
	case err != nil:
		problem := core.Problem{Reason: core.ReasonStepFailed, Message: err.Error()}
		var taken *act.NameTakenError
		if errors.As(err, &taken) {
			problem = core.Problem{Reason: core.ReasonNameTaken, Message: taken.Error()}
		} else if strings.Contains(err.Error(), "exceeded quota") {
			problem.Reason = core.ReasonQuotaExceeded
		}
		r.failures.Store(client.ObjectKeyFromObject(cluster), core.Failure{Step: action.Step(), Problem: problem})
	default:
		logger.Info("step done")
		if action.Disruptive() {
			r.Events.Eventf(cluster, nil, corev1.EventTypeNormal, action.Step(), action.Step(), "%s", describe(action))
		}
	}
	metrics.Step(cluster.Namespace, cluster.Name, action.Step(), err)
}

// heldBack remembers since when a restart has been put off, and why.
func (r *EtcdClusterReconciler) heldBack(cluster *v1alpha1.EtcdCluster, observed observe.Observed, action core.Action, err error) {
	var putOff *act.PutOffError
	if _, restarts := action.(core.RestartMember); !restarts || !errors.As(err, &putOff) {
		return
	}
	failure := core.Failure{Step: action.Step(), Problem: core.Problem{Reason: core.ReasonStepFailed, Message: putOff.Error()}, PutOffSince: observed.Now}
	if before := observed.Failure; before.Step == failure.Step && !before.PutOffSince.IsZero() {
		failure.PutOffSince = before.PutOffSince
	}
	r.failures.Store(client.ObjectKeyFromObject(cluster), failure)
}

func describe(action core.Action) string {
	switch step := action.(type) {
	case core.ApplyObject:
		return step.Kind + " " + step.Name
	case core.DeleteObject:
		return step.Kind + " " + step.Name
	case core.ApplyMember:
		return "StatefulSet " + step.Member
	case core.MarkVolumes:
		return "claims of member " + step.Member
	case core.DeleteConfig:
		return "ConfigMap " + step.Config.Name
	case core.RestartMember:
		return fmt.Sprintf("member %s restarts with its new template", step.Member)
	case core.MoveLeader:
		return fmt.Sprintf("leadership moved from %s to %s", step.From, step.To)
	case core.RecreateMember:
		return fmt.Sprintf("member %s is made again", step.Member)
	case core.ResizeMember:
		return fmt.Sprintf("member %s gets other CPU and memory in place", step.Member)
	case core.ExpandVolumes:
		return "claims of member " + step.Member
	case core.WriteCertificates:
		return fmt.Sprintf("%s certificates", step.Plane)
	case core.WriteAuthSecret:
		return "Secret " + step.Name
	case core.ChangeAuth:
		return fmt.Sprintf("%d changes of users and roles", len(step.Steps))
	}
	return describeMembership(action)
}

func describeMembership(action core.Action) string {
	switch step := action.(type) {
	case core.AddMember:
		return fmt.Sprintf("member %s is added as a learner", step.Member)
	case core.PromoteMember:
		return fmt.Sprintf("member %s (%s) has caught up and is a voter now", step.Member, step.ID)
	case core.RemoveMember:
		return fmt.Sprintf("member %s (%s) is removed from the cluster", step.Member, step.ID)
	case core.DeleteMember:
		return fmt.Sprintf("StatefulSet of the removed member %s is deleted", step.Member)
	case core.RetireVolumes:
		return fmt.Sprintf("claims of the removed member %s are marked as such", step.Member)
	case core.DeleteVolumes:
		return fmt.Sprintf("claims of the removed member %s are deleted", step.Member)
	case core.EnableDowngrade:
		return "etcd is told of the downgrade to " + step.Target
	case core.CancelDowngrade:
		return "the downgrade of etcd is canceled"
	case core.MovePeerURL:
		return fmt.Sprintf("member %s (%s) is reached by others at %s", step.Member, step.ID, step.URL)
	case core.DisarmAlarm:
		return fmt.Sprintf("alarm %s of the removed member %s is cleared", step.Alarm, step.ID)
	}
	return action.Step()
}

// forget drops everything that is held in memory about a cluster that is gone.
func (r *EtcdClusterReconciler) forget(name types.NamespacedName) {
	r.Watcher.Watch(name.String(), nil)
	r.failures.Delete(name)
	r.superseded.Delete(name)
	metrics.Forget(name.Namespace, name.Name)
}
