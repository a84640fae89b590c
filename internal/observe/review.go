package observe

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/api/v1alpha1"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/drills"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/schedule"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/render"
)

// Review is what there is to say of a spec before it is stored, in the words in which conditions say it after that.
type Review struct {
	// Refused is what the cluster can never become, by its own status alone.
	Refused []core.Problem
	// Warnings are about other objects, which may come, go and change later than the spec.
	Warnings []core.Problem
	// err is what could not be found out.
	err error
}

// Err is what could not be found out. Nothing is refused for it.
func (r *Review) Err() error { return r.err }

func (r *Review) warn(problem core.Problem) {
	if !problem.IsZero() && !slices.Contains(r.Warnings, problem) {
		r.Warnings = append(r.Warnings, problem)
	}
}

func (r *Review) refuse(problem core.Problem) {
	if !problem.IsZero() && len(r.Refused) == 0 {
		r.Refused = append(r.Refused, problem)
	}
}

// reasonScheduleInvalid is that of a schedule, or a time zone, that is none.
const reasonScheduleInvalid core.Reason = "ScheduleInvalid"

func (r *Review) failed(err error) { r.err = errors.Join(r.err, err) }

// Review looks at the spec that a cluster is to have; before is nil if it is to be made. What the API server can judge by the spec
// alone has been refused before.
func (o *Observer) Review(ctx context.Context, before, wanted *v1alpha1.EtcdCluster) *Review {
	r := &Review{}
	c := render.Cluster{EtcdCluster: wanted, Domain: o.Domain, Operator: o.Operator, Voters: int(*wanted.Spec.Size)}
	if before == nil {
		o.reviewNames(ctx, c, r)
	} else {
		o.reviewRestored(ctx, before, wanted, r)
		if before.Spec.Version != wanted.Spec.Version {
			r.refuse(core.VersionRefused(wanted.Spec.Version, versions(Recorded(wanted))))
		}
		selector := func(e *v1alpha1.EtcdCluster) any { return e.Spec.PodTemplate.Spec.NodeSelector }
		if !equality.Semantic.DeepEqual(before.Spec.Storage, wanted.Spec.Storage) || !equality.Semantic.DeepEqual(selector(before), selector(wanted)) {
			o.reviewVolumes(ctx, c, r)
		}
	}
	if b := wanted.Spec.Backup; b != nil && b.Schedule != "" {
		r.reviewSchedule(schedule.Field, b.Schedule, b.TimeZone)
	}
	if b := wanted.Spec.Backup; b != nil && b.Drill != nil {
		r.refuse(drillRefused(wanted))
		r.reviewSchedule(drills.Field, b.Drill.Schedule, b.Drill.TimeZone)
	}
	o.reviewClasses(ctx, c, r)
	for _, problem := range o.missing(ctx, c.Namespace, references(c, c.Spec.PodTemplate.Spec.Env, c.AddedVolumes())) {
		r.warn(problem)
	}
	o.reviewPasswords(ctx, c, r)
	o.reviewSources(ctx, c, r)
	return r
}

func (r *Review) reviewSchedule(part, wanted, zone string) {
	if _, err := schedule.Parse(part, wanted, zone); err != nil {
		r.refuse(core.Problem{Reason: reasonScheduleInvalid, Message: err.Error()})
	}
}

// versions are those that members are last known to have run.
func versions(recorded core.Report) (all []string) {
	for _, m := range recorded.Members {
		if m.Version != "" {
			all = append(all, m.Version)
		}
	}
	return all
}

// reviewNames looks whether the names of a new cluster's objects are someone else's.
func (o *Observer) reviewNames(ctx context.Context, c render.Cluster, r *Review) {
	wanted := c.Objects()
	for ordinal := range int(*c.Spec.Size) {
		wanted = append(wanted, &appsv1.StatefulSet{
			TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
			ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: fmt.Sprintf("%s-%d", c.Name, ordinal)},
		})
	}
	for _, object := range wanted {
		live, err := render.Empty(object)
		if err == nil {
			err = o.Live.Get(ctx, client.ObjectKeyFromObject(object), live)
		}
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			r.failed(err)
		case foreign(live, c):
			r.warn(core.NameTaken(object.GetObjectKind().GroupVersionKind().Kind, object.GetName()))
		}
	}
}

// reviewVolumes compares the volumes that members have with those that are wanted.
func (o *Observer) reviewVolumes(ctx context.Context, c render.Cluster, r *Review) {
	held, err := claims(ctx, o.Live, c)
	if err != nil {
		r.failed(err)
		return
	}
	var database int64
	recorded := Recorded(c.EtcdCluster)
	for _, m := range recorded.Members {
		database = max(database, m.Figures.DBSize)
	}
	first, why, count := "", "", 0
	for _, m := range recorded.Members {
		member := core.Member{Name: m.Name}
		for i := range held {
			if held[i].Labels[render.LabelMember] == m.Name {
				member.Volumes = append(member.Volumes, o.volume(ctx, c, &held[i], database))
			}
		}
		misfit(c, &member)
		for _, volume := range member.Volumes {
			if refused := core.ShrinkRefused(m.Name, volume, m.Figures.DBSize); !refused.IsZero() {
				r.refuse(refused)
			}
		}
		misfits := slices.IndexFunc(member.Volumes, func(v core.Volume) bool { return v.Misfit != "" && !v.Deleting })
		if misfits < 0 {
			continue
		}
		if count++; why == "" {
			why = member.Volumes[misfits].Misfit
		}
		if first == "" || first == recorded.Leader {
			first = m.Name
		}
	}
	if count > 0 {
		r.warn(core.Exchanging(count, first, why))
	}
}

// reviewClasses looks for the StorageClasses of the volumes.
func (o *Observer) reviewClasses(ctx context.Context, c render.Cluster, r *Review) {
	storage := c.Spec.Storage
	if storage.Medium == v1alpha1.StorageMediumMemory {
		return
	}
	r.warn(o.classMissing(ctx, classField, storage.StorageClassName))
	if storage.WAL != nil {
		r.warn(o.classMissing(ctx, walClassField, storage.WAL.StorageClassName))
	}
}

// reviewPasswords looks for the passwords that others give.
func (o *Observer) reviewPasswords(ctx context.Context, c render.Cluster, r *Review) {
	if !c.WantsAuth() {
		return
	}
	look := func(user string, from v1alpha1.AuthPasswordSecret) {
		secret, err := o.secret(ctx, c, from.Name)
		if err != nil {
			r.failed(err)
			return
		}
		r.warn(passwordMissing(user, from, secret))
	}
	if root, made := c.RootSecret(); !made {
		look(core.RootUser, v1alpha1.AuthPasswordSecret{Name: root, Key: render.KeyPassword})
	}
	for _, user := range c.Spec.Security.Auth.Users {
		if user.PasswordSecret != nil {
			look(string(user.Name), *user.PasswordSecret)
		}
	}
}

// reviewSources looks for the certificates that others make. cert-manager makes them once it is asked to.
func (o *Observer) reviewSources(ctx context.Context, c render.Cluster, r *Review) {
	for _, plane := range c.Planes() {
		if c.AsksCertManager(plane) {
			continue
		}
		source, err := readSource(ctx, o.Live, c, plane, o.Now())
		if err != nil {
			r.failed(err)
		} else if source != nil {
			r.warn(source.problem)
		}
	}
}
