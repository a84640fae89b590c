// Package webhook is the admission webhook: it says before a spec is stored what conditions would say of it after that. Nothing
// depends on it. It keeps its certificate by itself.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
)

// Where objects are sent to.
const (
	// Path is where EtcdClusters are sent to, and their sizes as the scale subresource has them.
	Path = "/validate-etcdcluster"
	// RestorePath is where EtcdRestores are sent to.
	RestorePath = "/validate-etcdrestore"
)

// patience is how long a look at other objects may take. The API server waits a little longer.
const patience = 3 * time.Second

// Anybody who reaches the webhook can make it read: qps and burst bound that, apart from what the operator asks for itself.
const (
	qps   = 20
	burst = 40
)

// Client is one that reads what there is, not what there was, and takes nothing from what the operator may ask for.
func Client(mgr ctrl.Manager) (client.Client, error) {
	config := rest.CopyConfig(mgr.GetConfig())
	config.QPS, config.Burst, config.RateLimiter = qps, burst, nil
	live, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server for the webhook: %w", err)
	}
	return live, nil
}

// Webhook answers the API server by what an observer says that reads what there is.
type Webhook struct {
	Scheme   *runtime.Scheme
	Observer *observe.Observer
	// Operator is the name of the operator's user. Nobody else may change what it notes on objects; empty, and everybody may.
	Operator string
}

// Add adds the webhook to a manager that serves webhooks.
func (w Webhook) Add(mgr ctrl.Manager) error {
	server := mgr.GetWebhookServer()
	server.Register(Path, w.Clusters())
	server.Register(RestorePath, w.Restores())
	return mgr.AddReadyzCheck("webhook", server.StartedChecker())
}

// Clusters reviews EtcdClusters.
func (w Webhook) Clusters() *admission.Webhook {
	clusters := clusters{w}
	validator := admission.WithValidator[*v1alpha1.EtcdCluster](w.Scheme, clusters)
	return harmless(func(ctx context.Context, request admission.Request) admission.Response {
		if request.SubResource != "scale" {
			return validator.Handler.Handle(ctx, request)
		}
		scale := &autoscalingv1.Scale{}
		if err := json.Unmarshal(request.Object.Raw, scale); err != nil {
			return admission.Errored(http.StatusBadRequest, fmt.Errorf("reading the Scale of EtcdCluster %s/%s: %w", request.Namespace, request.Name, err))
		}
		return clusters.scaled(ctx, client.ObjectKey{Namespace: request.Namespace, Name: request.Name}, scale.Spec.Replicas)
	})
}

// Restores reviews EtcdRestores.
func (w Webhook) Restores() *admission.Webhook {
	validator := admission.WithValidator[*v1alpha1.EtcdRestore](w.Scheme, restores{w})
	return harmless(validator.Handler.Handle)
}

// harmless is a handler of which nothing is refused for what goes wrong in it: failurePolicy is about no answer, and not about a bad
// one.
func harmless(handle func(context.Context, admission.Request) admission.Response) *admission.Webhook {
	return &admission.Webhook{Handler: admission.HandlerFunc(func(ctx context.Context, request admission.Request) (answer admission.Response) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		defer func() {
			if panicked := recover(); panicked != nil {
				answer = failed(ctx, fmt.Errorf("panic: %v: %s", panicked, debug.Stack()))
			}
		}()
		answer = handle(ctx, request)
		if !answer.Allowed && answer.Result.Code != http.StatusForbidden {
			return failed(ctx, errors.New(answer.Result.Message))
		}
		return answer
	})}
}

func failed(ctx context.Context, err error) admission.Response {
	ctrl.LoggerFrom(ctx).Error(err, "the webhook failed, and lets the request through")
	return admission.Allowed("")
}

// others is whether it is certain that somebody other than the operator asks.
func (w Webhook) others(ctx context.Context) bool {
	request, err := admission.RequestFromContext(ctx)
	return err == nil && w.Operator != "" && request.UserInfo.Username != w.Operator
}

// clusters reviews EtcdClusters.
type clusters struct{ Webhook }

// ValidateCreate implements admission.Validator.
func (c clusters) ValidateCreate(ctx context.Context, made *v1alpha1.EtcdCluster) (admission.Warnings, error) {
	return c.review(ctx, nil, made)
}

// ValidateUpdate implements admission.Validator. Who takes a finalizer away is not held up.
func (c clusters) ValidateUpdate(ctx context.Context, before, wanted *v1alpha1.EtcdCluster) (admission.Warnings, error) {
	if !wanted.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	return c.review(ctx, before, wanted)
}

// ValidateDelete implements admission.Validator.
func (c clusters) ValidateDelete(ctx context.Context, cluster *v1alpha1.EtcdCluster) (admission.Warnings, error) {
	return say(ctx, c.Observer.ReviewDeletion(ctx, cluster))
}

// review looks at notes and spec. Who sets a label or applies the same again hears nothing.
func (c clusters) review(ctx context.Context, before, wanted *v1alpha1.EtcdCluster) (warnings admission.Warnings, err error) {
	if c.others(ctx) {
		if warnings, err = say(ctx, c.Observer.ReviewNotes(ctx, before, wanted)); err != nil {
			return warnings, err
		}
	}
	if before != nil && equality.Semantic.DeepEqual(before.Spec, wanted.Spec) {
		return warnings, nil
	}
	more, err := say(ctx, c.Observer.Review(ctx, before, wanted))
	return append(warnings, more...), err
}

// scaled reviews another size.
func (c clusters) scaled(ctx context.Context, key client.ObjectKey, size int32) admission.Response {
	before, wanted, err := c.Observer.Scaled(ctx, key, size)
	switch {
	case err != nil:
		return admission.Errored(http.StatusInternalServerError, err)
	case wanted == nil:
		return admission.Allowed("")
	}
	warnings, err := c.ValidateUpdate(ctx, before, wanted)
	if err != nil {
		return admission.Denied(err.Error()).WithWarnings(warnings...)
	}
	return admission.Allowed("").WithWarnings(warnings...)
}

// restores reviews EtcdRestores.
type restores struct{ Webhook }

// ValidateCreate implements admission.Validator. What the operator makes waits for its turn.
func (r restores) ValidateCreate(ctx context.Context, made *v1alpha1.EtcdRestore) (admission.Warnings, error) {
	if !r.others(ctx) {
		return nil, nil
	}
	return say(ctx, r.Observer.ReviewRestore(ctx, made))
}

// ValidateUpdate implements admission.Validator.
func (r restores) ValidateUpdate(context.Context, *v1alpha1.EtcdRestore, *v1alpha1.EtcdRestore) (admission.Warnings, error) {
	return nil, nil
}

// ValidateDelete implements admission.Validator.
func (r restores) ValidateDelete(context.Context, *v1alpha1.EtcdRestore) (admission.Warnings, error) {
	return nil, nil
}

// say is a review as the API server is told it.
func say(ctx context.Context, review *observe.Review) (warnings admission.Warnings, err error) {
	if err := review.Err(); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "the webhook could not look at everything")
	}
	for _, problem := range review.Warnings {
		warnings = append(warnings, problem.Message)
	}
	for _, problem := range review.Refused {
		err = errors.New(problem.Message)
	}
	return warnings, err
}
