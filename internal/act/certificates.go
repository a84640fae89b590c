package act

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/observe"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/pki"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// writeCertificates does one step for the certificates of a plane, if all its Secrets are still those that were decided about.
// Should it end in between, what it did not come to is due still.
func (a *Actor) writeCertificates(ctx context.Context, o observe.Observed, step core.WriteCertificates) error {
	c := o.Render
	usage, err := a.usage(ctx, c, step.Plane)
	if err != nil {
		return err
	}
	plane, err := observe.ReadPlane(ctx, a.Live, c, step.Plane, usage, o.Now)
	switch {
	case err != nil:
		return err
	case plane.Lost != "":
		return &StaleError{What: fmt.Sprintf("members run that trust an authority of the plane %s which is gone", step.Plane)}
	case plane.Version != step.Version:
		return &StaleError{What: fmt.Sprintf("the certificates of the plane %s have changed", step.Plane)}
	}
	switch step.Change {
	case core.MakeAuthority:
		return a.makeAuthority(ctx, c, &plane, o.Now)
	case core.RequestCertificates:
		return a.requestCertificates(ctx, c, &plane, o.Now)
	case core.TrustAuthority:
		plane.Trusted = plane.Trusted.With(plane.Next.Bundle...)
	case core.UseAuthority:
		plane.Authority, plane.Next = plane.Next, nil
	case core.IssueCertificates:
		return a.issue(ctx, c, &plane, o.Now, plane.Due)
	case core.DistrustOthers:
		plane.Trusted = plane.Authority.Bundle
	default:
		return fmt.Errorf("no way is known to carry out %s", step.Change)
	}
	return a.putAuthorities(ctx, c, &plane, o.Now)
}

// makeAuthority makes the next authority, or takes that of the source, to be trusted as well; or the first one, with all that it is
// to sign, if no member that runs trusts any.
func (a *Actor) makeAuthority(ctx context.Context, c render.Cluster, plane *observe.Plane, now time.Time) error {
	authority, elsewhere := plane.Take()
	if !elsewhere {
		var err error
		if authority, err = pki.NewAuthority(c.AuthorityName(plane.Name), now, c.Spec.Security.TLS.Certificates.AuthorityDuration.Duration); err != nil {
			return err
		}
	}
	first := plane.Trust == core.TrustNothing
	plane.Trusted = plane.Trusted.With(authority.Bundle...)
	if !first {
		plane.Next = &authority
		return a.putAuthorities(ctx, c, plane, now)
	}
	plane.Authority, plane.Next = &authority, nil
	if err := a.putAuthorities(ctx, c, plane, now); err != nil {
		return err
	}
	var all []string
	for _, wanted := range c.Certificates(plane.Name) {
		all = append(all, wanted.Secret)
	}
	return a.issue(ctx, c, plane, now, all)
}

// requestCertificates asks cert-manager for what is wanted, and for nothing else. That it has been asked is noted before, and until it
// is asked for nothing any more.
func (a *Actor) requestCertificates(ctx context.Context, c render.Cluster, plane *observe.Plane, now time.Time) error {
	asks := c.AsksCertManager(plane.Name)
	if asks && !plane.Requested {
		plane.Requested = true
		if err := a.putAuthorities(ctx, c, plane, now); err != nil {
			return err
		}
	}
	apply, withdraw, err := observe.Requests(ctx, a.Live, c, plane.Name)
	if err != nil && !meta.IsNoMatchError(err) {
		return err
	}
	for _, request := range apply {
		if err := a.apply(ctx, c, request); err != nil {
			return err
		}
	}
	for _, request := range withdraw {
		if err := a.Client.Delete(ctx, request, client.Preconditions{UID: ptr.To(request.GetUID())}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting %s: %w", describe(request), err)
		}
	}
	if !asks {
		plane.Requested = false
		return a.putAuthorities(ctx, c, plane, now)
	}
	return nil
}

// usage is who talks TLS on a plane, by what there is now.
func (a *Actor) usage(ctx context.Context, c render.Cluster, plane core.PlaneName) (observe.Usage, error) {
	pods, err := a.pods(ctx, c)
	if err != nil {
		return observe.Usage{}, err
	}
	var workloads appsv1.StatefulSetList
	if err := a.Live.List(ctx, &workloads, client.InNamespace(c.Namespace), client.MatchingLabels(c.Selector())); err != nil {
		return observe.Usage{}, fmt.Errorf("listing the StatefulSets of %s/%s: %w", c.Namespace, c.Name, err)
	}
	return observe.UsageOf(plane, pods, workloads.Items), nil
}

func (a *Actor) putAuthorities(ctx context.Context, c render.Cluster, plane *observe.Plane, now time.Time) error {
	return a.put(ctx, c.Authorities(plane.Name, plane.Authority, plane.Next, plane.Trusted.PEM(), now, plane.Requested), plane.AuthoritySecret)
}

// issue writes Secrets of a plane: with a new certificate if there has to be one, and with whom to trust.
func (a *Actor) issue(ctx context.Context, c render.Cluster, plane *observe.Plane, now time.Time, due []string) error {
	for _, wanted := range c.Certificates(plane.Name) {
		if !slices.Contains(due, wanted.Secret) {
			continue
		}
		var pair pki.Pair
		before := plane.Secrets[wanted.Secret]
		if before != nil {
			pair = render.Pair(before)
		}
		if plane.Renews(wanted, now) {
			var err error
			if pair, err = plane.Renew(wanted, now); err != nil {
				return err
			}
		}
		if err := a.put(ctx, c.Secret(wanted.Secret, pair, plane.Trusted.PEM()), before); err != nil {
			return err
		}
	}
	return nil
}

// put makes a Secret, or replaces it if it is just as it was read.
func (a *Actor) put(ctx context.Context, secret, before *corev1.Secret) error {
	var err error
	if before == nil {
		err = a.Client.Create(ctx, secret, client.FieldOwner(render.FieldManager))
	} else {
		secret.UID, secret.ResourceVersion = before.UID, before.ResourceVersion
		err = a.Client.Update(ctx, secret, client.FieldOwner(render.FieldManager))
	}
	if err != nil {
		return fmt.Errorf("writing Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return nil
}

// movePeerURL makes etcd list another peer URL of a voter, if the member list is still the one that was decided on. A learner
// would become a voter by that (https://github.com/etcd-io/etcd/issues/21736).
func (a *Actor) movePeerURL(ctx context.Context, o observe.Observed, step core.MovePeerURL) error {
	live, err := a.unchanged(ctx, o, step.Expect)
	if err != nil {
		return err
	}
	if !votes(live.List, step.ID) {
		return &StaleError{What: fmt.Sprintf("member %s has no vote", step.Member)}
	}
	return a.ask(o, step.Via, func(address string) error { return a.Etcd.MovePeerURL(ctx, address, step.ID, step.URL) })
}
